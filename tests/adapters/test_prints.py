"""Does a printed document hold what it must, when its bytes are read back by somebody else?"""

# ruff: noqa: RUF001  (letters of other scripts are meant)

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pikepdf
import pytest
import segno
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import LIMITS, Limits, WeasyPrintEngine
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.adapters.telemetry import ObservedStore
from counterfoil.billing import Branding
from counterfoil.domain import CreditLine, Discount, NewLine, Tax
from counterfoil.domain.errors import CounterfoilError, Malformed, ObjectNotFound, RenderFailed
from counterfoil.domain.ports import Asset, Label
from counterfoil.projections.render.language import LANGUAGES, labels
from counterfoil.projections.render.options import SIZES
from support import pdfs
from support.invoices import (
    BUYER,
    LINES,
    SELLER,
    STANDARD,
    SWISS,
    WORK,
    drafted,
    issued,
    many,
    office,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from counterfoil.billing import Invoice, Tenant

# WeasyPrint leaves the colour profile of an archival print open: contracts/test_pdf_engine.py.

LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
SHEETS = (
    Asset("zeiten.csv", "text/csv", b"day;hours\n1;8\n"),
    Asset("invoice.xml", "application/xml", b"<invoice/>"),
)
CJK = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")


@cache
def engine() -> WeasyPrintEngine:
    """One for the whole module: its fonts and style sheets are read once."""
    return WeasyPrintEngine()


@pytest.fixture(scope="module")
def acme() -> Iterator[Tenant]:
    with office(engine()) as tenant:
        yield tenant


@pytest.fixture(scope="module")
def simple(acme: Tenant) -> Invoice:
    return issued(acme, [WORK])


@pytest.fixture(scope="module")
def long(acme: Tenant) -> Invoice:
    return issued(acme, many(40))


@pytest.fixture(scope="module")
def full(acme: Tenant) -> Invoice:
    """An invoice that has everything, of which 100.00 are paid."""
    invoice = issued(
        acme,
        description="For the works at the harbour.\nOrder 4500017.",
        footer="Thank you for your trust.",
        period_start=date(2026, 2, 1),
        period_end=date(2026, 2, 28),
        discount=Discount(percent="5"),
    )
    return acme.record_payment(invoice.id, amount="100.00")


@pytest.fixture(scope="module")
def printed(acme: Tenant, full: Invoice) -> bytes:
    return acme.render_invoice_pdf(full)


@pytest.fixture(scope="module")
def archived(full: Invoice) -> bytes:
    """The same for ever, with a logo and two files."""
    with office(engine(), branding=Branding(logo=LOGO)) as tenant:
        again = issued(tenant, many(40), description="For ever.")
        return tenant.render_invoice_pdf(
            again, archival=True, attachments=SHEETS, footer_html="<b>For ever</b>"
        )


def shows(text: str, *parts: str) -> bool:
    """Whether the parts follow each other, with a little between them or nothing."""
    words = (rf"(?<![\w.,]){re.escape(part)}(?!\w)" for part in parts)
    return re.search(".{0,60}?".join(words), text) is not None


# --- what an invoice must carry -------------------------------------------------------------

FIELDS = {
    "issue date": ["Issue date"],
    "day of issue": ["March 2, 2026"],
    "due date": ["Due date"],
    "due day": ["April 1, 2026"],
    "period": ["Period"],
    "customer number": ["cus_4711"],
    "seller": ["Nordlicht Werkzeuge GmbH", "Speicherstraße 12", "Aufgang C", "20457 Hamburg"],
    "seller's land": ["20457 Hamburg", "Germany"],
    "seller's tax id": ["VAT ID DE136695976"],
    "seller's registration": ["Reg. no. HRB 148 322"],
    "seller's mail": ["rechnung@nordlicht.example"],
    "seller's phone": ["+49 40 5550 1234"],
    "seller's site": ["nordlicht.example"],
    "buyer": ["Analytical Engines Ltd", "12 St James's Square", "SW1Y 4JH London"],
    "buyer's land": ["Greater London", "United Kingdom"],
    "buyer's tax id": ["VAT ID GB123456789"],
    "description": ["For the works at the harbour.", "Order 4500017."],
    "footer": ["Thank you for your trust."],
    "head of the table": ["Description", "Quantity", "Unit price", "VAT"],
    "currency of the table": ["EUR"],
    "line 1": ["2.5", "98.50", "19%", "221.62"],
    "discount of line 1": ["Discount 10%", "24.63"],
    "line 2": ["Torque wrench 20–100 Nm"],
    "discount of line 2": ["Discount", "10.00"],
    "line 3": ["Handbook, printed", "2", "19.90", "7%", "39.80"],
    "line 4": ["Remote support", "12", "100.00", "0%", "1,200.00"],
    "line 6": ["1,234.5", "0.003842", "19%", "3.98"],
    "gross of line 6": ["€4.74 including VAT"],
    "subtotal": ["Subtotal", "€1,805.40"],
    "discount": ["Discount 5%", "€90.27"],
    "tax at 19 %": ["VAT 19%", "€299.82", "€56.97"],  # prices with tax and without
    "tax at 7 %": ["VAT 7%", "€37.81", "€2.65"],
    "no tax": ["€1,140.00", "€0.00"],
    "total": ["Total", "€1,774.75"],
    "paid": ["Paid", "€100.00"],
    "remaining": ["Amount due", "€1,674.75"],
    "reverse charge": ["Reverse charge", "Steuerschuldnerschaft, § 13b UStG"],
    "exemption": ["Exempt from VAT", "§ 4 Nr. 21 UStG"],
    "terms": ["Please pay €1,674.75 by April 1, 2026."],
    "account holder": ["Account holder", "Nordlicht Werkzeuge GmbH"],
    "bank": ["Bank", "Hamburger Volksbank"],
    "IBAN": ["IBAN", "DE89 3704 0044 0532 0130 00"],
    "BIC": ["BIC", "COBADEFFXXX"],
    "reference": ["Reference", "INV-2026"],
}


@pytest.mark.parametrize("parts", FIELDS.values(), ids=FIELDS.keys())
def test_a_printed_invoice_shows_every_field(printed: bytes, parts: Sequence[str]) -> None:
    assert shows(pdfs.text(printed), *parts)


def test_a_printed_invoice_shows_its_own_number_and_period(printed: bytes, full: Invoice) -> None:
    assert full.number is not None
    assert full.number in pdfs.text(printed)
    assert shows(pdfs.text(printed), "Period", "Feb 1", "28, 2026")


def test_every_page_says_which_of_how_many_it_is(acme: Tenant, long: Invoice) -> None:
    for tag in ("en", "de", "fr"):
        pages = pdfs.pages(acme.render_invoice_pdf(long, locale=tag))
        assert len(pages) > 1
        for number, text in enumerate(pages, start=1):
            said = labels(tag)["page"]["of"].format(page=number, pages=len(pages))
            assert said in text


@pytest.mark.parametrize(
    ("status", "stamp"), [("draft", "Draft"), ("paid", "Paid"), ("void", "Void"), ("open", None)]
)
def test_the_stamp_is_printed(acme: Tenant, status: str, stamp: str | None) -> None:
    invoice = drafted(acme, [WORK]) if status == "draft" else issued(acme, [WORK])
    match status:
        case "paid":
            invoice = acme.record_payment(invoice.id, amount="119.00")
        case "void":
            invoice = acme.void_invoice(invoice.id)
        case _:
            pass
    text = pdfs.text(acme.render_invoice_pdf(invoice))
    for word in ("Draft", "Paid", "Void"):
        # "Draft invoice" and "Paid in full on …" are other sentences.
        assert bool(re.search(rf"\b{word}\b(?! in| invoice)", text)) == (word == stamp)


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_print_has_its_title_and_language(acme: Tenant, simple: Invoice, tag: str) -> None:
    with pikepdf.open(io.BytesIO(acme.render_invoice_pdf(simple, locale=tag))) as document:
        title = pdfs.plain(str(document.docinfo["/Title"]))
        assert title == f"{labels(tag)['title']['invoice']} {simple.number}"
        assert str(document.Root.Lang) == tag
        assert document.Root.ViewerPreferences.DisplayDocTitle
        assert pdfs.plain(str(document.docinfo["/Author"])) == SELLER.name


@pytest.mark.parametrize("tag", sorted(set(LANGUAGES) - {"ja"}))
def test_a_print_speaks_its_language(acme: Tenant, full: Invoice, tag: str) -> None:
    read = pdfs.text(acme.render_invoice_pdf(full, locale=tag))
    seen, said = pdfs.letters(read), labels(tag)
    for section, key in (
        ("title", "invoice"),
        ("facts", "issued"),
        ("facts", "due"),
        ("parties", "buyer"),
        ("lines", "quantity"),
        ("totals", "total"),
        ("totals", "remaining"),
        ("tax_note", "reverse_charge"),
        ("payment", "account_holder"),
    ):
        words = said[section][key]
        if tag == "ar":  # pdfium turns letters of ligatures round: each must be there
            assert set(pdfs.letters(words)) <= set(seen)
        else:
            assert pdfs.plain(words) in read


def test_an_arabic_document_runs_from_right_to_left(acme: Tenant, simple: Invoice) -> None:
    arabic = acme.render_invoice_pdf(simple, locale="ar")
    english = acme.render_invoice_pdf(simple)
    middle = 105.0
    # Description, unit price and net of the line, in the order of reading.
    for pdf, turned in ((english, False), (arabic, True)):
        work, net = pdfs.place(pdf, "Work"), pdfs.place(pdf, "100.00")
        assert (work.left > middle) == turned
        assert (net.left < middle) == turned
        assert (work.left > net.left) == turned


def test_a_phone_number_keeps_its_order_in_an_arabic_document(
    acme: Tenant, simple: Invoice
) -> None:
    arabic = acme.render_invoice_pdf(simple, locale="ar")
    assert pdfs.place(arabic, "5550").left < pdfs.place(arabic, "1234").left


def test_an_iban_keeps_its_order_in_an_arabic_document(acme: Tenant, simple: Invoice) -> None:
    arabic = acme.render_invoice_pdf(simple, locale="ar")
    groups = [pdfs.place(arabic, group).left for group in ("3704", "0044", "0532", "0130")]
    assert groups == sorted(groups)


# --- credit notes ---------------------------------------------------------------------------


def test_a_printed_credit_note_shows_what_it_takes_back_and_from_which_invoice(
    acme: Tenant,
) -> None:
    invoice = issued(acme)
    note = acme.issue_credit_note(
        invoice.id,
        lines=[CreditLine(line=invoice.lines[0].id, quantity="1.5")],
        reason="Sent twice",
    )
    pdf = acme.render_credit_note_pdf(note)
    text = pdfs.text(pdf)
    assert shows(text, "Credit note", note.number)
    assert shows(text, "For invoice", str(invoice.number))
    assert "Sent twice" in text
    assert shows(text, "Consulting on site", "1.5", "19%", "132.97")
    assert shows(text, "VAT 19%", "€132.97", "€25.26")
    assert shows(text, "Total", "€158.23")
    assert shows(text, "Analytical Engines Ltd", "12 St James's Square")
    assert "VAT ID DE136695976" in text
    assert "Page 1 of 1" in text
    assert pdfs.payment_code(pdf) is None


def test_a_printed_credit_note_by_amount_shows_how_it_was_split(acme: Tenant) -> None:
    invoice = issued(acme, [WORK])
    acme.record_payment(invoice.id, amount="119.00")
    note = acme.issue_credit_note(
        invoice.id, amount="59.50", refund="30.00", customer_credit="20.00", out_of_band="9.50"
    )
    text = pdfs.text(acme.render_credit_note_pdf(note))
    assert shows(text, "VAT 19%", "€50.00", "€9.50")
    assert shows(text, "Refunded to you", "€30.00")
    assert shows(text, "Kept as your credit", "€20.00")
    assert shows(text, "Settled otherwise", "€9.50")


def test_a_printed_credit_note_says_that_it_is_void(acme: Tenant) -> None:
    note = acme.issue_credit_note(issued(acme, [WORK]).id, amount="59.50")
    pdf = acme.render_credit_note_pdf(acme.void_credit_note(note.id), archival=True)
    assert "has no effect" in pdfs.text(pdf)
    assert pdfs.archival_problems(pdf) == []


# --- the payment code on the page -----------------------------------------------------------


def test_a_phone_reads_off_the_page_how_to_pay(printed: bytes, full: Invoice) -> None:
    assert pdfs.payment_code(printed) == (
        "BCD\n002\n1\nSCT\nCOBADEFFXXX\nNordlicht Werkzeuge GmbH\nDE89370400440532013000\n"
        f"EUR1674.75\n\n\n{full.number}"
    )


def test_a_swiss_code_can_be_read_in_spite_of_the_cross_in_its_middle() -> None:
    with office(engine(), seller=SWISS) as tenant:
        invoice = issued(tenant, [WORK], currency="CHF")
        pdf = tenant.render_invoice_pdf(invoice)
    seen = pdfs.code_squares(pdf)
    assert seen is not None
    # What is meant is proved by projections/test_render.py.
    meant = segno.make(
        _swiss(str(invoice.number)), error="m", mode="byte", encoding="utf-8", boost_error=False
    )
    matrix = [[bool(square) for square in row] for row in meant.matrix]
    assert len(seen) == len(matrix)
    for spoilt, may_be in pdfs.spoilt_blocks(seen, matrix):
        assert spoilt <= may_be
    (place,) = pdfs.images(pdf)
    assert round(place.right - place.left) >= 46  # guidelines 6.4.1


def _swiss(number: str) -> str:
    from counterfoil.projections.render.payment_code import payment_code

    code = payment_code(SWISS, BUYER, Decimal("119.00"), "CHF", number)
    assert code is not None
    return code.content


@pytest.mark.parametrize("what", ["draft", "paid", "void", "foreign", "fetched", "no bank"])
def test_no_code_is_printed_where_nothing_is_to_be_transferred(acme: Tenant, what: str) -> None:
    said: dict[str, Any] = {}
    match what:
        case "foreign":
            said = {"currency": "USD"}
        case "fetched":
            said = {"collection_method": "charge_automatically", "due_date": None}
        case "no bank":
            said = {"seller": SELLER.model_copy(update={"iban": None})}
        case _:
            pass
    invoice = drafted(acme, [WORK], **said) if what == "draft" else issued(acme, [WORK], **said)
    match what:
        case "paid":
            invoice = acme.record_payment(invoice.id, amount="119.00")
        case "void":
            invoice = acme.void_invoice(invoice.id)
        case _:
            pass
    assert pdfs.images(acme.render_invoice_pdf(invoice)) == []


# --- pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "least", "most"), [(1, 1, 1), (6, 1, 1), (40, 2, 3)])
def test_an_invoice_takes_as_many_pages_as_its_lines_need(
    acme: Tenant, lines: int, least: int, most: int
) -> None:
    hold_pages(acme.render_invoice_pdf(issued(acme, many(lines))), lines, least, most)


def test_a_long_list_stands_closer(acme: Tenant) -> None:
    def step(lines: int) -> float:
        pdf = acme.render_invoice_pdf(issued(acme, many(lines)))
        first, second = (pdfs.place(pdf, f"Item {number:05d}") for number in (2, 3))
        return second.top - first.top

    assert step(61) < 0.85 * step(60)


@pytest.mark.slow
@pytest.mark.parametrize("archival", [False, True])
def test_an_invoice_of_1000_lines_is_printed_whole(acme: Tenant, archival: bool) -> None:
    pdf = acme.render_invoice_pdf(issued(acme, many(1_000)), archival=archival)
    hold_pages(pdf, 1_000, 15, 40)
    assert pdfs.syntax_problems(pdf) == []
    if archival:
        assert pdfs.archival_problems(pdf) == []


def hold_pages(pdf: bytes, lines: int, least: int, most: int) -> None:
    pages = pdfs.pages(pdf)
    assert least <= len(pages) <= most
    found = re.findall(r"Item (\d{5})", " ".join(pages))
    assert found == [f"{number:05d}" for number in range(1, lines + 1)]
    for text in pages:
        if "Item 0" in text:  # the head of the table is repeated
            assert shows(text, "Description", "Quantity", "Unit price", "VAT")
    assert f"Page {len(pages)} of {len(pages)}" in pages[-1]


@pytest.mark.parametrize("turned", ["", " landscape"])
@pytest.mark.parametrize("size", SIZES)
def test_a_page_has_the_size_that_was_asked_for(
    acme: Tenant, simple: Invoice, size: str, turned: str
) -> None:
    width, height = (Decimal(side) for side in SIZES[size])
    pdf = acme.render_invoice_pdf(simple, size=size + turned)
    for box in pdfs.boxes(pdf):
        wanted = (height, width) if turned else (width, height)
        assert all(
            abs(is_ - should) <= Decimal("0.1") for is_, should in zip(box, wanted, strict=True)
        )


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [
        ("120mm", "30cm", (120, 300)),
        ("5in", "720pt", (127, 254)),
        (300.5, 100, (Decimal("300.5"), 100)),
        ("60mm", "60mm", None),
        ("90mm", "1200mm", (90, 1200)),
    ],
)
def test_a_page_has_any_width_and_height(
    acme: Tenant, simple: Invoice, width: Any, height: Any, wanted: Any
) -> None:
    options = {"paper_width": width, "paper_height": height}
    if wanted is None:  # between the usual margins nothing is left
        with pytest.raises(Malformed):
            acme.render_invoice_pdf(simple, **options)
        return
    pdf = acme.render_invoice_pdf(simple, **options)
    for box in pdfs.boxes(pdf):
        assert all(
            abs(is_ - should) <= Decimal("0.1") for is_, should in zip(box, wanted, strict=True)
        )
    if wanted[0] == 300.5:
        assert pdfs.boxes(pdf)[0] == wanted


@pytest.fixture(scope="module")
def margins(acme: Tenant, long: Invoice) -> Callable[..., bytes]:
    @cache
    def print_(**said: int) -> bytes:
        return acme.render_invoice_pdf(long, **said)  # type: ignore[arg-type]

    return print_


def test_the_left_margin_is_honoured(margins: Callable[..., bytes]) -> None:
    small, large = margins(margin_left=15), margins(margin_left=45)
    for words in ("Item 00001", "Nordlicht"):
        moved = pdfs.place(large, words).left - pdfs.place(small, words).left
        assert moved == pytest.approx(30, abs=0.5)
    assert min(sign.left for sign in pdfs.signs(large)) >= 44.5


def test_the_right_margin_is_honoured(margins: Callable[..., bytes]) -> None:
    small, large = margins(margin_right=15), margins(margin_right=45)
    moved = pdfs.place(small, "Amount (").right - pdfs.place(large, "Amount (").right
    assert moved == pytest.approx(30, abs=2)
    assert max(sign.right for sign in pdfs.signs(large)) <= 210 - 44.5
    assert max(sign.right for sign in pdfs.signs(small)) > 210 - 25


def test_the_top_margin_is_honoured_on_every_page(margins: Callable[..., bytes]) -> None:
    small, large = margins(margin_top=15), margins(margin_top=45)
    moved = pdfs.place(large, "Issue date").top - pdfs.place(small, "Issue date").top
    assert moved == pytest.approx(30, abs=0.5)
    for head in pdfs.places(large, "Unit price"):
        assert head.top >= 45


def test_the_bottom_margin_is_honoured_on_every_page(margins: Callable[..., bytes]) -> None:
    large = margins(margin_bottom=100)
    lowest = max(place.bottom for place in pdfs.places(large, "Item 0"))
    assert 297 - 120 < lowest <= 297 - 100
    assert pdfs.page_count(large) > pdfs.page_count(margins(margin_bottom=15))


@pytest.mark.parametrize("tag", ["en", "ar"])
def test_what_runs_along_the_edges_is_on_every_page(acme: Tenant, long: Invoice, tag: str) -> None:
    pdf = acme.render_invoice_pdf(
        long,
        locale=tag,
        header_html='<p><b>Confidential</b></p><p style="font-size: 8pt">second row</p>',
        footer_html='<a href="https://nordlicht.example">Visit us</a><br>at the fair',
    )
    pages = pdfs.pages(pdf)
    assert len(pages) > 1
    for text in pages:
        for words in ("Confidential", "second row", "Visit us", "at the fair"):
            assert text.count(words) == 1
    height = 297
    assert all(place.bottom < 32 for place in pdfs.places(pdf, "second row"))
    assert all(place.top > height - 32 for place in pdfs.places(pdf, "at the fair"))


# --- fonts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_font_is_a_bundled_one_and_embedded(acme: Tenant, full: Invoice, tag: str) -> None:
    fonts = pdfs.fonts(acme.render_invoice_pdf(full, locale=tag))
    assert fonts
    for font in fonts:
        assert font.embedded
        assert font.subset
        assert font.to_unicode
        assert re.fullmatch(r"Noto-?Sans(-?(Arabic|Hebrew))?(-Bold)?", font.name)


NAMES = {
    "Arabic": "شركة النور للتجارة",
    "Hebrew": "שלום תעשיות בע״מ",
    "Greek": "Αφοί Παπαδόπουλοι Α.Ε.",
    "Cyrillic": "ООО «Ромашка»",
    "Vietnamese": "Công ty Nguyễn Thị Ánh",
    "Polish": "Zażółć gęślą jaźń",
    "Turkish": "İstanbul Şişli Ğ ı",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_in_any_bundled_script_is_printed_in_an_english_invoice(
    acme: Tenant, name: str
) -> None:
    invoice = issued(acme, [WORK], customer=BUYER.model_copy(update={"name": name}))
    pdf = acme.render_invoice_pdf(invoice, archival=True)
    # The validator refuses a sign that no font has.
    assert pdfs.archival_problems(pdf) == []
    seen = set(pdfs.letters(pdfs.text(pdf)))
    assert set(pdfs.letters(name)) <= seen
    assert "Please pay €119.00 by April 1, 2026." in pdfs.text(pdf)


@pytest.mark.parametrize(
    "name",
    [
        "株式会社サンプル",
        "Ada 😀",
        "W" * 400,
        "x" * 480,
        "a" + "\u0301" * 400,
        "٣" * 100,
        "a\u200db\u00adc",
        "\u202e00.001 rof",
        "-" * 400,
    ],
)
def test_no_name_runs_off_the_page(acme: Tenant, name: str) -> None:
    buyer = BUYER.model_copy(update={"name": name})
    line = NewLine(description=name, quantity=1, unit_price="1.00", tax=STANDARD)
    said = {"description": name, "footer": name}
    pdf = acme.render_invoice_pdf(issued(acme, [line], customer=buyer, **said))
    for sign in pdfs.signs(pdf):
        assert sign.left >= 17
        assert sign.right <= 210 - 17
    assert "€1.19" in pdfs.text(pdf)


@pytest.mark.parametrize(
    "currency",
    [
        "EUR",
        "JPY",
        pytest.param(
            "KWD",
        ),
    ],
)
def test_large_figures_stay_within_the_margins(acme: Tenant, currency: str) -> None:
    decimals = {"EUR": "99", "JPY": "", "KWD": "999"}[currency]
    price = f"999999999.{decimals}".rstrip(".")
    line = NewLine(description="All of it", quantity=1, unit_price=price, tax=STANDARD)
    pdf = acme.render_invoice_pdf(issued(acme, [line] * 2, currency=currency))
    for sign in pdfs.signs(pdf):
        assert 17 <= sign.left <= sign.right <= 210 - 17
    text = pdfs.text(pdf).replace(" ", "")
    assert f"999,999,999.{decimals}".rstrip(".") in text


def test_no_sum_is_broken_on_small_paper(acme: Tenant) -> None:
    line = NewLine(description="All of it", quantity=1, unit_price="10374.51", tax=STANDARD)
    pdf = acme.render_invoice_pdf(issued(acme, [line]), size="A5")
    due = pdfs.places(pdf, "€12,345.67")
    assert len(due) >= 3  # in the facts, as the total, and as what is due
    assert max(place.bottom - place.top for place in due) < 6


@pytest.mark.parametrize("name", ["株式会社サンプル", "Ada 😀"])
def test_an_archival_print_of_signs_that_no_font_has_is_refused_or_valid(
    acme: Tenant, name: str
) -> None:
    # ISO 19005-3, 6.2.11.8: no text may refer to the .notdef glyph.
    invoice = issued(acme, [WORK], customer=BUYER.model_copy(update={"name": name}))
    try:
        pdf = acme.render_invoice_pdf(invoice, archival=True)
    except CounterfoilError:
        return
    assert pdfs.archival_problems(pdf) == []


@pytest.mark.skipif(not CJK.exists(), reason="the fonts of East Asia are not installed")
def test_with_the_fonts_of_east_asia_japanese_is_printed_for_ever() -> None:
    printer = WeasyPrintEngine(fonts=[CJK])
    with office(printer) as tenant:
        buyer = BUYER.model_copy(update={"name": "株式会社サンプル", "preferred_locale": "ja"})
        pdf = tenant.render_invoice_pdf(issued(tenant, [WORK], customer=buyer), archival=True)
    assert "株式会社サンプル" in pdfs.text(pdf).replace(" ", "")
    assert "2026年3月2日" in pdfs.text(pdf).replace(" ", "")
    assert pdfs.archival_problems(pdf) == []


# --- structure ------------------------------------------------------------------------------


def test_a_print_is_tagged_from_its_title_to_its_end(printed: bytes) -> None:
    with pikepdf.open(io.BytesIO(printed)) as document:
        assert document.Root.MarkInfo.Marked
    kinds = [tag.kind for tag in pdfs.tags(printed)]
    assert kinds[0] == "Document"
    assert {"H1", "H2", "P", "Table", "TR", "TH", "TD", "Figure"} <= set(kinds)


def test_every_cell_of_a_line_knows_its_head(acme: Tenant, long: Invoice) -> None:
    tags = pdfs.tags(acme.render_invoice_pdf(long))
    heads = [tag for tag in tags if tag.kind == "TH"]
    assert heads
    assert all(tag.scope or tag.id for tag in heads)
    known = {tag.id for tag in heads}
    assert len(known) == len(heads)
    cells = [tag for tag in tags if tag.kind == "TD" and tag.headers]
    assert len(cells) == 40 * 5 + 4  # the facts above the lines have heads too
    assert {head for cell in cells for head in cell.headers} <= known


def test_elements_that_are_referred_to_by_id_can_be_found(printed: bytes) -> None:
    # ISO 32000-1, table 322: required if any structure elements have element identifiers.
    with pikepdf.open(io.BytesIO(printed)) as document:
        assert "/IDTree" in document.Root.StructTreeRoot


def test_nothing_is_announced_twice(printed: bytes) -> None:
    for tag in pdfs.tags(printed):
        if tag.kind in {"H1", "Table"}:
            assert tag.above[-1:] != (tag.kind,)


def test_every_picture_says_what_it_shows(archived: bytes, printed: bytes) -> None:
    assert [tag.alt for tag in pdfs.tags(printed) if tag.kind == "Figure"] == ["Scan to pay"]
    figures = [tag.alt for tag in pdfs.tags(archived) if tag.kind == "Figure"]
    assert figures == ["Nordlicht Werkzeuge GmbH", "Scan to pay"]


def test_no_element_is_out_of_reach(printed: bytes, archived: bytes) -> None:
    assert pdfs.orphans(printed) == 0
    assert pdfs.orphans(archived) == 0


@pytest.mark.parametrize("which", ["printed", "archived"])
def test_what_repeats_on_every_page_is_an_artifact(
    which: str, request: pytest.FixtureRequest
) -> None:
    pdf: bytes = request.getfixturevalue(which)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        tree = document.Root.StructTreeRoot.ParentTree.Nums
        known = {
            int(tree[at]): {
                mark
                for mark, element in enumerate(tree[at + 1])
                if isinstance(element, pikepdf.Dictionary)
            }
            for at in range(0, len(tree), 2)
        }
    stretches = pdfs.painted(pdf)
    assert any(one.mark == "Artifact" for one in stretches)
    for one in stretches:
        assert one.mark == "Artifact" or one.number in known[one.page], one


def test_a_print_can_be_gone_through_by_its_title(printed: bytes, full: Invoice) -> None:
    with pikepdf.open(io.BytesIO(printed)) as document, document.open_outline() as outline:
        assert [pdfs.plain(entry.title) for entry in outline.root] == [f"Invoice {full.number}"]


# --- for ever -------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", sorted(set(LANGUAGES) - {"ja"}))
def test_an_archival_print_is_pdf_a_3b(acme: Tenant, full: Invoice, tag: str) -> None:
    pdf = acme.render_invoice_pdf(full, archival=True, locale=tag)
    assert pdfs.archival_problems(pdf) == []
    assert pdfs.syntax_problems(pdf) == []


def test_an_archival_print_with_logo_files_and_footer_is_pdf_a_3b(archived: bytes) -> None:
    assert pdfs.archival_problems(archived) == []
    assert pdfs.syntax_problems(archived) == []
    assert pdfs.empty_resources(archived) == []


def test_the_validator_finds_what_a_usual_print_lacks(printed: bytes) -> None:
    assert any("Metadata" in problem for problem in pdfs.archival_problems(printed))
    assert pdfs.syntax_problems(printed) == []
    assert pdfs.empty_resources(printed) == []


def test_an_archival_print_describes_itself_once(archived: bytes) -> None:
    with pikepdf.open(io.BytesIO(archived)) as document:
        said = document.Root.Metadata.read_bytes().decode()
        (intent,) = document.Root.OutputIntents
        assert intent.S == "/GTS_PDFA1"
        assert intent.DestOutputProfile.read_bytes()[36:40] == b"acsp"
        title = str(document.docinfo["/Title"])
    assert len(re.findall(r"<rdf:RDF\b", said)) == 1
    assert re.search(r'pdfaid:part(="|>)3', said)
    assert re.search(r'pdfaid:conformance(="|>)B', said)
    assert title in said
    assert SELLER.name in said


def test_an_archival_print_associates_each_file_once(archived: bytes) -> None:
    files = pdfs.attached(archived)
    assert [(one.name, one.content, one.media_type) for one in files] == [
        (one.name, one.content, one.media_type) for one in SHEETS
    ]
    with pikepdf.open(io.BytesIO(archived)) as document:
        relations = [str(file.AFRelationship) for file in document.Root.AF]
        assert set(relations) <= {"/Data", "/Source", "/Alternative", "/Supplement", "/Unspecified"}
        assert len(document.attachments) == len(SHEETS)


def test_every_date_of_a_print_is_that_of_the_invoice(archived: bytes) -> None:
    with pikepdf.open(io.BytesIO(archived)) as document:
        info = [str(document.docinfo[f"/{name}"]) for name in ("CreationDate", "ModDate")]
        said = document.Root.Metadata.read_bytes().decode()
    dates = [date for one in pdfs.attached(archived) for date in one.dates]
    for written in (*info, *dates):
        assert written.startswith("D:20260302120000")
    assert set(re.findall(r"Date>([^<]+)<", said)) == {"2026-03-02T12:00:00+00:00"}
    assert not re.search(rb"D:20(?!260302120000)", archived)


def test_an_unarchived_print_carries_its_files_too(acme: Tenant, simple: Invoice) -> None:
    pdf = acme.render_invoice_pdf(simple, attachments=SHEETS)
    with pikepdf.open(io.BytesIO(pdf)) as document:
        found = {
            file.filename: file.get_file().read_bytes() for file in document.attachments.values()
        }
    assert found == {one.name: one.content for one in SHEETS}


# --- the same bytes -------------------------------------------------------------------------

PROGRAM = """
import hashlib, sys
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
from counterfoil.billing import Branding
from support.invoices import issued, office
from counterfoil.domain.ports import Asset
logo = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
files = (Asset("a.csv", "text/csv", b"a;b"),)
with office(WeasyPrintEngine(), branding=Branding(logo=logo, colour="#aa3366")) as tenant:
    invoice = issued(tenant)
    note = tenant.issue_credit_note(invoice.id, amount="100.00")
    for pdf in (
        tenant.render_invoice_pdf(invoice),
        tenant.render_invoice_pdf(invoice, archival=True, attachments=files),
        tenant.render_invoice_pdf(invoice, locale="ar", timezone="Asia/Tokyo", header_html="x"),
        tenant.render_credit_note_pdf(note, archival=True),
    ):
        print(hashlib.sha256(pdf).hexdigest())
    print(WeasyPrintEngine().fingerprint)
"""
# One machine has rules of its own for whoever asks for a font, another has no fonts at all.
NO_FONTS = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig/>'
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir>
<match><edit name="family" mode="assign" binding="strong"><string>DejaVu Sans</string></edit>
</match>
<match target="font"><edit name="hinting" mode="assign"><bool>false</bool></edit></match>
</fontconfig>"""


MACHINES: Sequence[Mapping[str, str]] = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C"},
    {
        "PYTHONHASHSEED": "1",
        "TZ": "Pacific/Kiritimati",
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": "1",
    },
    {"PYTHONHASHSEED": "4711", "TZ": "America/St_Johns", "LANG": "ar_EG.UTF-8"},
)


def printed_on(machines: Sequence[Mapping[str, str]], folder: Path) -> list[str]:
    """What the program says on each of the machines, all of which run at once."""
    running = []
    for number, machine in enumerate(machines):
        here = folder / str(number)
        here.mkdir()
        usual = {name: said for name, said in os.environ.items() if not name.startswith("LC_")}
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                cwd=here,
                env={**usual, "PYTHONPATH": _paths(), "TMPDIR": str(here), **machine},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(machines)
    assert {text.count("\n") for text in said} == {5}
    return said


def _paths() -> str:
    root = Path(__file__).parents[2]
    return os.pathsep.join(
        str(root / name) for name in ("domain", "projections", "adapters", "tests")
    )


# Two differ in all of it already; each is a process that loads and prints everything.
@pytest.mark.parametrize("many", [2, pytest.param(len(MACHINES), marks=pytest.mark.slow)])
def test_the_same_invoice_gives_the_same_bytes_in_processes_that_differ(
    tmp_path: Path, many: int
) -> None:
    assert len(set(printed_on(MACHINES[:many], tmp_path))) == 1


@pytest.mark.slow
def test_the_fonts_of_a_machine_and_its_rules_for_them_change_nothing(tmp_path: Path) -> None:
    rules, none = tmp_path / "fonts.conf", tmp_path / "none.conf"
    rules.write_text(FONTS.format(fonts=tmp_path, cache=tmp_path / "cache"))
    none.write_text(NO_FONTS)
    machines = [{"FONTCONFIG_FILE": str(one), "HOME": str(tmp_path)} for one in (rules, none)]
    assert len(set(printed_on(machines, tmp_path))) == 1


def test_to_print_twice_gives_the_same_bytes(acme: Tenant, full: Invoice, printed: bytes) -> None:
    assert acme.render_invoice_pdf(full) == printed
    assert acme.render_invoice_pdf(full.id, locale="xx") == printed
    assert acme.render_invoice_pdf(full, locale="de") != printed


# --- no engine ------------------------------------------------------------------------------

UNLOADED = """
import sys
from counterfoil.domain.errors import PdfDisabled
from support.invoices import issued, office
with office("none") as tenant:
    invoice = issued(tenant)
    before = set(sys.modules)
    for print_ in (tenant.render_invoice_pdf, tenant.store_invoice_pdf):
        try:
            print_(invoice)
        except PdfDisabled as disabled:
            assert disabled.reason == "adapter_disabled", disabled.reason
            assert "README" in disabled.docs
        else:
            sys.exit("it was printed")
    assert tenant.stored_invoice_pdfs(invoice) == ()
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"weasyprint", "babel", "jinja2", "nh3", "segno", "PIL", "pebble"}))
"""


def test_without_an_engine_a_print_is_refused_before_anything_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNLOADED],
        env={**os.environ, "PYTHONPATH": _paths()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_without_an_engine_a_screen_may_still_show_the_invoice() -> None:
    with office("none") as tenant:
        assert "INV-2026-0001" in tenant.render_invoice_html(issued(tenant, [WORK]))


# --- what operators see ---------------------------------------------------------------------


class Operator:
    """What a service that has set up OpenTelemetry would be told."""

    def __init__(self) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()

    def told(self) -> Sequence[ReadableSpan]:
        """The spans since it was asked last."""
        spans = self.spans.get_finished_spans()
        self.spans.clear()
        return spans

    def counted(self, name: str) -> dict[tuple[tuple[str, object], ...], float]:
        """How often something was counted, by its attributes."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            tuple(sorted((point.attributes or {}).items())): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint)
        }


@cache
def installed() -> Operator:
    """Set up once in this process, as OpenTelemetry wants it."""
    operator = Operator()
    tracers = trace.get_tracer_provider()
    if not isinstance(tracers, TracerProvider):
        tracers = TracerProvider()
        trace.set_tracer_provider(tracers)
    tracers.add_span_processor(SimpleSpanProcessor(operator.spans))
    metrics.set_meter_provider(MeterProvider([operator.reader]))
    return operator


@pytest.fixture
def operator() -> Operator:
    found = installed()
    found.told()
    return found


def risen(
    after: Mapping[Any, float], before: Mapping[Any, float]
) -> list[tuple[dict[str, object], float]]:
    return [
        (dict(said), count - before.get(said, 0))
        for said, count in after.items()
        if count > before.get(said, 0)
    ]


PRIVATE = re.compile(
    r"Ada|Analytical|Nordlicht|engines|INV-|cus_|in_\d|DE\d|GB\d|\d{4} \d{4}|London|acme",
    re.IGNORECASE,
)


def hold_private(spans: Sequence[ReadableSpan]) -> None:
    for span in spans:
        told = [span.name, span.status.description or "", *_flat(span.attributes)]
        for event in span.events:
            told += [event.name, *_flat(event.attributes)]
        assert not PRIVATE.search(" ".join(told)), told


def _flat(attributes: Mapping[str, object] | None) -> list[str]:
    return [f"{name}={value}" for name, value in (attributes or {}).items()]


def test_every_print_put_and_get_is_a_span_and_counted_without_a_word_of_it(
    operator: Operator,
) -> None:
    names = ("rendered", "stored", "fetched")
    before = {name: operator.counted(f"counterfoil.documents.{name}") for name in names}
    with office(RecordingEngine()) as tenant:
        invoice = issued(tenant)
        stored = tenant.store_invoice_pdf(invoice, archival=True)
        tenant.fetch_invoice_pdf(invoice)
    spans = operator.told()
    assert [span.name for span in spans] == [
        "counterfoil.pdf.render",
        "counterfoil.documents.put",
        "counterfoil.documents.get",
    ]
    render, put, get = (dict(span.attributes or {}) for span in spans)
    assert render.pop("engine")
    assert render == {"archival": True, "size": "A4", "outcome": "ok"}
    assert put == {"store": "MemoryStore", "bytes": stored.size, "outcome": "ok"}
    assert get == {"store": "MemoryStore", "outcome": "ok"}
    assert all(span.status.status_code is not trace.StatusCode.ERROR for span in spans)
    hold_private(spans)
    for name in names:
        ((said, count),) = risen(operator.counted(f"counterfoil.documents.{name}"), before[name])
        assert count == 1
        assert said["outcome"] == "ok"


def test_a_span_names_the_engine_that_prints(operator: Operator) -> None:
    with office("weasyprint") as tenant:
        tenant.render_invoice_pdf(issued(tenant, [WORK]))
    (span,) = operator.told()
    assert "weasyprint" in str((span.attributes or {})["engine"])


def test_a_counter_has_few_series(operator: Operator) -> None:
    store, label = ObservedStore(MemoryStore()), Label("application/pdf", "default", "a.pdf")
    before = operator.counted("counterfoil.documents.stored")
    for size in range(1, 20):
        store.put(f"invoices/{size}.pdf", b"%" * size, label)
    assert len(risen(operator.counted("counterfoil.documents.stored"), before)) == 1


def test_a_deletion_is_a_span_and_counted(operator: Operator) -> None:
    store = ObservedStore(MemoryStore())
    before = operator.counted("counterfoil.documents.deleted")
    store.delete("invoices/in_1.pdf")
    (span,) = operator.told()
    assert span.name == "counterfoil.documents.delete"
    assert dict(span.attributes or {}) == {"store": "MemoryStore", "outcome": "ok"}
    after = operator.counted("counterfoil.documents.deleted")
    assert [count for _, count in risen(after, before)] == [1]


def test_a_failure_is_told_by_its_kind_alone(operator: Operator) -> None:
    before = operator.counted("counterfoil.documents.rendered")
    tight = Limits(html_bytes=100, seconds=LIMITS.seconds)
    with office(WeasyPrintEngine(limits=tight)) as tenant, pytest.raises(RenderFailed):
        tenant.render_invoice_pdf(issued(tenant))
    with pytest.raises(ObjectNotFound):
        ObservedStore(MemoryStore()).get("invoices/in_1.pdf")
    spans = operator.told()
    assert [dict(span.attributes or {})["outcome"] for span in spans] == [
        "RenderFailed",
        "ObjectNotFound",
    ]
    for span in spans:
        assert span.status.status_code is trace.StatusCode.ERROR
        assert list(span.events) == []
    hold_private(spans)
    ((said, count),) = risen(operator.counted("counterfoil.documents.rendered"), before)
    assert (said["outcome"], count) == ("RenderFailed", 1)


MISSED = BUYER.model_copy(
    update={"preferred_locale": "tlh", "preferred_timezone": "ada@engines.example"}
)


def test_a_wish_that_cannot_be_met_is_logged_and_counted_once_a_print(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    before = operator.counted("counterfoil.documents.fallbacks")
    with office(RecordingEngine()) as tenant, caplog.at_level(logging.WARNING):
        invoice = issued(tenant, [WORK], customer=MISSED)
        assert caplog.records == []
        tenant.render_invoice_pdf(invoice)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert any("locale" in line and "tlh" in line and "en" in line for line in said)
    assert any("timezone" in line and "UTC" in line for line in said)
    assert not any("ada" in line for line in said)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    risen_ = risen(operator.counted("counterfoil.documents.fallbacks"), before)
    assert sorted((str(one["of"]), count) for one, count in risen_) == [
        ("locale", 1),
        ("timezone", 1),
    ]


def test_a_wish_that_is_met_is_not_worth_a_word(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    with office(RecordingEngine()) as tenant, caplog.at_level(logging.WARNING):
        invoice = issued(tenant, [WORK], customer=MISSED)
        tenant.render_invoice_pdf(invoice, locale="de", timezone="Europe/Berlin")
    assert caplog.records == []
    (span,) = operator.told()
    assert list(span.events) == []


def fallbacks(spans: Sequence[ReadableSpan]) -> list[tuple[str, str, str]]:
    return [
        (
            event.name,
            str((event.attributes or {})["wish"]),
            str((event.attributes or {})["instead"]),
        )
        for span in spans
        for event in span.events
    ]


FALLBACKS = [
    ("counterfoil.locale_fallback", "tlh", "en"),
    ("counterfoil.timezone_fallback", "(not a name)", "UTC"),
]


def test_a_wish_that_cannot_be_met_is_an_event_of_the_callers_trace(operator: Operator) -> None:
    with office(RecordingEngine()) as tenant:
        invoice = issued(tenant, [WORK], customer=MISSED)
        with trace.get_tracer("service").start_as_current_span("request"):
            tenant.render_invoice_pdf(invoice)
    spans = operator.told()
    assert fallbacks(spans) == FALLBACKS
    hold_private(spans)


def test_a_wish_that_cannot_be_met_is_an_event_of_the_prints_own_trace(operator: Operator) -> None:
    with office(RecordingEngine()) as tenant:
        tenant.render_invoice_pdf(issued(tenant, [WORK], customer=MISSED))
    assert fallbacks(operator.told()) == FALLBACKS


def test_telemetry_changes_no_byte(operator: Operator, acme: Tenant, simple: Invoice) -> None:
    first = acme.render_invoice_pdf(simple)
    with trace.get_tracer("service").start_as_current_span("request"):
        assert acme.render_invoice_pdf(simple) == first
    assert operator.told()


def test_a_stored_print_says_who_made_it_from_which_template(acme: Tenant) -> None:
    invoice = issued(acme, [WORK])
    stored = acme.store_invoice_pdf(invoice, locale="de", archival=True)
    (fact,) = acme.stored_invoice_pdfs(invoice)
    content = acme.fetch_invoice_pdf(invoice)
    assert fact.sha256 == stored.sha256 == hashlib.sha256(content).hexdigest()
    assert engine().fingerprint in fact.renderer
    assert re.search(r"template [0-9a-f]{16}", fact.renderer)
    assert fact.key == f"invoices/{invoice.id}.de.archival.pdf"
    assert fact.options == {"locale": "de", "archival": "True"}
    assert pdfs.archival_problems(content) == []


def test_a_tax_that_is_not_a_whole_percentage_is_printed_as_it_is(acme: Tenant) -> None:
    line = NewLine(description="A", quantity=1, unit_price="100.00", tax=Tax(rate="8.875"))
    text = pdfs.text(acme.render_invoice_pdf(issued(acme, [line, *LINES[:1]])))
    assert shows(text, "VAT 8.875%", "€100.00", "€8.88")
