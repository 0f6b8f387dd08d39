"""Does a document say what its read model says, in its reader's words, before an engine sees it?"""

# ruff: noqa: RUF001, S314  (letters of other scripts are meant; the XML is our own)

from __future__ import annotations

import re
import string
import tomllib
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, localcontext
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from counterfoil.billing import Branding
from counterfoil.domain import Address, CreditLine, Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.errors import Malformed
from counterfoil.domain.money import exponent
from counterfoil.domain.ports import Asset
from counterfoil.projections.render.clean import MARKS_MAX, clean
from counterfoil.projections.render.language import LANGUAGES, labels, language
from counterfoil.projections.render.options import SIZES, Print
from counterfoil.projections.render.payment_code import account, payment_code
from counterfoil.projections.render.sheet import (
    Fallback,
    as_page,
    credit_note_sheet,
    invoice_sheet,
    reader,
    template_digest,
)
from support.invoices import (
    BUYER,
    LINES,
    NOON,
    SELLER,
    SWISS,
    WORK,
    Clock,
    drafted,
    issued,
    office,
)
from support.pdfs import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from counterfoil.billing import CreditNote, Invoice, Tenant
    from counterfoil.domain.ports import Sheet
    from counterfoil.projections.render.language import Language

LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'


@pytest.fixture
def acme() -> Iterator[Tenant]:
    with office() as tenant:
        yield tenant


def spoken(tag: str) -> Language:
    found = language(tag)
    assert found is not None
    return found


def sheet_of(invoice: Invoice, branding: Branding | None = None, **options: Any) -> Sheet:
    said = Print(**options)
    to, _ = reader(said, invoice.customer)
    return invoice_sheet(invoice, SELLER, branding or Branding(), said, to)


def credited(tenant: Tenant, note: CreditNote, **options: Any) -> str:
    said = Print(**options)
    to, _ = reader(said, note.customer)
    invoice = tenant.get_invoice(note.invoice)
    return words(credit_note_sheet(note, invoice, Branding(), said, to))


def words(sheet: Sheet) -> str:
    """What a reader reads, in its order."""
    body = ET.fromstring(sheet.html).find("body")
    assert body is not None
    return plain(" ".join(body.itertext()))


# --- languages ------------------------------------------------------------------------------


def places_to_fill(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_catalogue_has_the_same_keys_and_places_to_fill(name: str) -> None:
    english, this = labels("en"), labels(name)
    assert {section: list(said) for section, said in this.items()} == {
        section: list(said) for section, said in english.items()
    }
    for section, said in english.items():
        for key, text in said.items():
            assert this[section][key].strip(), f"{section}.{key} is empty"
            assert places_to_fill(this[section][key]) == places_to_fill(text), f"{section}.{key}"


def test_there_is_a_catalogue_for_each_language_and_no_other() -> None:
    folder = files("counterfoil.projections.render").joinpath("labels")
    found = {entry.name.removesuffix(".toml") for entry in folder.iterdir()}
    assert found == set(LANGUAGES) == {"en", "de", "fr", "es", "it", "nl", "pl", "pt", "ja", "ar"}
    for name in found:
        tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(set(LANGUAGES) - {"en"}))
def test_every_catalogue_says_the_words_of_its_language(name: str) -> None:
    # Such words as IBAN, BIC and Total are the same in many.
    same = [
        f"{section}.{key}"
        for section, said in labels("en").items()
        for key, text in said.items()
        if labels(name)[section][key] == text
    ]
    assert len(same) <= 8, same


@pytest.mark.parametrize(
    ("tag", "currency", "minor", "written"),
    [
        ("en", "EUR", 123_456_789, "€1,234,567.89"),
        ("en", "EUR", -2_463, "-€24.63"),
        ("en", "JPY", 1_234_567, "¥1,234,567"),
        ("en", "KWD", 1_234_567, "KWD 1,234.567"),
        ("de", "EUR", 123_456_789, "1.234.567,89 €"),
        ("de", "KWD", 1_234_567, "1.234,567 KWD"),
        ("de-CH", "CHF", 123_456_789, "CHF 1’234’567.89"),
        ("de-AT", "EUR", 123_456_789, "€ 1.234.567,89"),
        ("fr", "EUR", 123_456_789, "1 234 567,89 €"),
        ("es", "EUR", 123_456_789, "1.234.567,89 €"),
        ("it", "EUR", 123_456_789, "1.234.567,89 €"),
        ("nl", "EUR", 123_456_789, "€ 1.234.567,89"),
        ("pl", "PLN", 123_456_789, "1 234 567,89 zł"),
        ("pt-BR", "BRL", 123_456_789, "R$ 1.234.567,89"),
        ("pt-PT", "EUR", 123_456_789, "1 234 567,89 €"),
        ("ja", "JPY", 1_234_567, "¥1,234,567"),
        ("ja", "EUR", 123_456_789, "€1,234,567.89"),
        ("en-IN", "INR", 123_456_789, "₹12,34,567.89"),
        ("ar", "EUR", 123_456_789, "1,234,567.89 €"),
        ("ar", "KWD", 1_234_567, "1,234.567 د.ك."),
    ],
)
def test_an_amount_is_written_as_its_reader_writes_it(
    tag: str, currency: str, minor: int, written: str
) -> None:
    assert plain(spoken(tag).money(minor, currency)) == written


@pytest.mark.parametrize(
    ("currency", "written"),
    [
        # ISO 4217 says 3, 2 and 2; CLDR shows none of them.
        ("IQD", "IQD 1,234.567"),
        ("LAK", "LAK 12,345.67"),
        ("MMK", "MMK 12,345.67"),
        ("UGX", "UGX 1,234,567"),
        ("CLF", "CLF 123.4567"),
    ],
)
def test_an_amount_has_the_decimals_of_iso_4217(currency: str, written: str) -> None:
    assert plain(spoken("en").money(1_234_567, currency)) == written


@pytest.mark.parametrize("tag", LANGUAGES)
def test_no_language_loses_a_digit_of_any_currency(tag: str) -> None:
    for currency in {one.code for one in Currency if exponent(one.code) is not None}:
        decimals = exponent(currency) or 0
        for minor in (1_234_567_890_123, -7, 0):
            for written in (
                spoken(tag).money(minor, currency),
                spoken(tag).figure(minor, currency),
            ):
                digits = re.sub(r"[^0-9]", "", written)
                assert digits == str(abs(minor)).zfill(decimals + 1), (currency, written)


@pytest.mark.parametrize(
    ("price", "currency", "written"),
    [
        ("98.5", "EUR", "98,50"),
        ("0.003842", "EUR", "0,003842"),
        ("0.000000000001", "EUR", "0,000000000001"),
        ("999999999999999.123456789012", "EUR", "999.999.999.999.999,123456789012"),
        ("5", "JPY", "5"),
        ("5.5", "JPY", "5,5"),
        ("5", "KWD", "5,000"),
        ("1.50000", "EUR", "1,50"),
    ],
)
def test_a_unit_price_has_all_its_decimals(price: str, currency: str, written: str) -> None:
    assert spoken("de").price(Decimal(price), currency) == written


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("en", "March 2, 2026"),
        ("en-GB", "2 March 2026"),
        ("de", "2. März 2026"),
        ("fr", "2 mars 2026"),
        ("es", "2 de marzo de 2026"),
        ("it", "2 marzo 2026"),
        ("nl", "2 maart 2026"),
        ("pl", "2 marca 2026"),
        ("pt", "2 de março de 2026"),
        ("ja", "2026年3月2日"),
        ("ar", "2 مارس 2026"),
    ],
)
def test_a_date_is_written_as_its_reader_writes_it(tag: str, written: str) -> None:
    assert plain(spoken(tag).day(date(2026, 3, 2))) == written


@pytest.mark.parametrize(
    ("start", "end", "written"),
    [
        (date(2026, 2, 1), date(2026, 2, 28), "Feb 1 – 28, 2026"),
        (date(2026, 2, 1), None, "Feb 1, 2026 –"),
        (None, date(2026, 2, 28), "– Feb 28, 2026"),
    ],
)
def test_a_period_may_be_open_at_either_end(
    start: date | None, end: date | None, written: str
) -> None:
    assert plain(spoken("en").period(start, end)) == written


@pytest.mark.parametrize(
    ("wish", "tag"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de-AT"),
        ("de_AT", "de-AT"),
        (" pt-BR ", "pt-BR"),
        ("fr-CA", "fr-CA"),
        ("ar-EG", "ar-EG"),
        ("sv", None),
        ("zh", None),
        ("tlh", None),
        ("deutsch", None),
        ("de-XX", None),
        ("../de", None),
        ("", None),
        ("de\0", None),
        ("🙂", None),
    ],
)
def test_a_locale_is_a_language_with_or_without_a_region(wish: str, tag: str | None) -> None:
    found = language(wish)
    assert (found.tag if found else None) == tag


def test_the_tag_of_a_language_is_one_that_html_and_pdf_know() -> None:
    found = language("de_DE@euro")
    # RFC 5646: letters and digits between hyphens.
    assert found is None or re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", found.tag)


# --- whose language, whose time -------------------------------------------------------------


def customer(locale: str | None = None, zone: str | None = None) -> Customer:
    return Customer(id="cus_1", name="Ada", preferred_locale=locale, preferred_timezone=zone)


@pytest.mark.parametrize(
    ("option", "preferred", "tag", "missed"),
    [
        (None, None, "en", []),
        ("fr", "de", "fr", []),
        (None, "de", "de", []),
        ("", "de", "de", []),
        ("xx", "de", "de", ["xx"]),
        (None, "xx", "en", ["xx"]),
        ("xx", "yy", "en", ["xx", "yy"]),
        ("xx", None, "en", ["xx"]),
        ("fr", "xx", "fr", []),
    ],
)
def test_the_locale_is_the_options_else_the_customers_else_english(
    option: str | None, preferred: str | None, tag: str, missed: list[str]
) -> None:
    to, fallbacks = reader(Print(locale=option), customer(locale=preferred))
    assert to.language.tag == tag
    assert fallbacks == tuple(Fallback("locale", wish, tag) for wish in missed)


@pytest.mark.parametrize(
    ("option", "preferred", "zone", "missed"),
    [
        (None, None, UTC, []),
        ("Asia/Tokyo", "Europe/Berlin", ZoneInfo("Asia/Tokyo"), []),
        (None, "Europe/Berlin", ZoneInfo("Europe/Berlin"), []),
        ("Mars/Olympus", "Europe/Berlin", ZoneInfo("Europe/Berlin"), ["Mars/Olympus"]),
        ("Mars/Olympus", None, UTC, ["Mars/Olympus"]),
        (None, "Europe", UTC, ["Europe"]),
        (None, "../../etc/passwd", UTC, ["(not a name)"]),
        (None, "a" * 400, UTC, ["(not a name)"]),
        (None, "ada@example.com", UTC, ["(not a name)"]),
    ],
)
def test_the_time_zone_is_the_options_else_the_customers_else_utc(
    option: str | None, preferred: str | None, zone: object, missed: list[str]
) -> None:
    to, fallbacks = reader(Print(timezone=option), customer(zone=preferred))
    assert to.zone == zone
    assert fallbacks == tuple(Fallback("timezone", wish, str(zone)) for wish in missed)


SAYABLE = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFFF, exclude_categories=["Cs", "Cc"]),
    max_size=40,
) | st.from_regex(r"[a-z]{2}[-_@.][A-Za-z0-9@._-]{0,8}", fullmatch=True)


@given(wish=SAYABLE)
def test_no_wish_for_a_language_or_zone_ever_raises(wish: str) -> None:
    to, fallbacks = reader(Print(locale=wish, timezone=wish), customer())
    assert to.language.money(100, "EUR")
    assert all(re.fullmatch(r"[A-Za-z0-9_+/-]{1,40}|\(not a name\)", one.wish) for one in fallbacks)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        (None, "March 2, 2026"),
        ("Asia/Tokyo", "March 3, 2026"),
        ("America/Los_Angeles", "March 2, 2026"),
        ("Pacific/Kiritimati", "March 3, 2026"),
    ],
)
def test_the_day_of_payment_is_the_readers(zone: str | None, day: str) -> None:
    clock = Clock()
    with office(clock=clock) as acme:
        invoice = issued(acme, [WORK])
        clock.now = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
        paid = acme.record_payment(invoice.id, amount="119.00")
    assert f"Paid in full on {day}." in words(sheet_of(paid, timezone=zone))


def test_the_day_of_issue_is_what_the_invoice_says_in_every_zone(acme: Tenant) -> None:
    invoice = issued(acme, [WORK])
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        shown = words(sheet_of(invoice, timezone=zone))
        assert "Issue date" in shown
        assert "March 2, 2026" in shown


# --- how to print ---------------------------------------------------------------------------


def test_a_usual_print_says_nothing_of_itself() -> None:
    for usual in (Print(), Print(size="a4"), Print(size=" A4 portrait"), Print(locale=None)):
        assert usual.said == {}
        assert list(usual.key) == []


@pytest.mark.parametrize(
    ("options", "said", "key"),
    [
        ({"locale": "de"}, {"locale": "de"}, ["de"]),
        ({"locale": "pt_BR"}, {"locale": "pt_BR"}, ["pt-BR"]),
        ({"archival": True}, {"archival": "True"}, ["archival"]),
        ({"size": "letter landscape"}, {"size": "Letter landscape"}, ["letter-landscape"]),
        (
            {"size": "A5", "archival": True, "locale": "de"},
            {"size": "A5", "archival": "True", "locale": "de"},
            ["de", "archival", "a5"],
        ),
        ({"margin_top": "2cm"}, {"margin_top": "20.00mm"}, None),
        ({"timezone": "Asia/Tokyo"}, {"timezone": "Asia/Tokyo"}, None),
        (
            {"paper_width": "100mm", "paper_height": 200},
            {"paper_width": "100.00mm", "paper_height": "200.00mm"},
            None,
        ),
    ],
)
def test_a_print_says_what_is_unusual_and_its_key_shows_it(
    options: dict[str, Any], said: dict[str, str], key: list[str] | None
) -> None:
    wanted = Print(**options)
    assert wanted.said == said
    if key is not None:
        assert list(wanted.key) == key
    else:
        (digest,) = wanted.key
        assert re.fullmatch(r"[0-9a-f]{8}", digest)


def test_a_print_says_the_digest_of_what_may_be_private() -> None:
    wanted = Print(
        header_html="<b>for Ada</b>",
        footer_html="bye",
        attachments=(Asset("ada.txt", "text/plain", b"secret"),),
    )
    assert set(wanted.said) == {"header_html", "footer_html", "attachments"}
    assert not {"Ada", "ada", "secret", "bye"} & set(re.findall(r"\w+", repr(wanted.said)))
    assert all(len(text) < 500 for text in wanted.said.values())


def test_prints_that_differ_have_keys_that_differ() -> None:
    a, b = Asset("a", "text/plain", b"a"), Asset("a", "text/plain", b"b")
    wanted: list[dict[str, Any]] = [
        {},
        *({"size": size} for size in SIZES if size != "A4"),
        *({"size": f"{size} landscape"} for size in SIZES),
        {"paper_width": 210, "paper_height": 297},
        {"paper_width": 210, "paper_height": 290},
        *({f"margin_{side}": 25} for side in ("top", "right", "bottom", "left")),
        {"margin_top": 26},
        {"header_html": "a"},
        {"header_html": "b"},
        {"footer_html": "a"},
        {"attachments": (a,)},
        {"attachments": (b,)},
        {"attachments": (a, b)},
        {"locale": "de"},
        {"timezone": "Europe/Berlin"},
        {"archival": True},
    ]
    keys = {tuple(Print(**one).key) for one in wanted}
    assert len(keys) == len(wanted)
    assert all(re.fullmatch(r"[A-Za-z0-9-]{1,40}", part) for key in keys for part in key)


@pytest.mark.parametrize(
    ("said", "length"),
    [
        ("20mm", "20"),
        ("2cm", "20"),
        ("2.5 cm", "25"),
        ("0.8in", "20.32"),
        ("72pt", "25.4"),
        ("0mm", "0"),
        (20, "20"),
        (20.5, "20.5"),
        (Decimal("20.25"), "20.25"),
    ],
)
def test_a_length_is_said_with_a_unit_or_in_millimetres(said: Any, length: str) -> None:
    assert Print(margin_left=said).margins[3] == Decimal(length)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"margin_top": "20"}, "margin_top"),
        ({"margin_top": "20px"}, "margin_top"),
        ({"margin_top": "-1mm"}, "margin_top"),
        ({"margin_top": "1e3mm"}, "margin_top"),
        ({"margin_top": "20mm; size: A0"}, "margin_top"),
        ({"margin_top": True}, "margin_top"),
        ({"margin_top": float("nan")}, "margin_top"),
        ({"margin_top": float("inf")}, "margin_top"),
        ({"margin_top": "9999mm"}, "margin_top"),
        ({"margin_left": 90, "margin_right": 80}, "margin_left"),
        ({"margin_top": 200, "margin_bottom": 60}, "margin_top"),
        ({"paper_width": 100}, "paper_width"),
        ({"paper_height": 100}, "paper_width"),
        ({"paper_width": 50, "paper_height": 200}, "paper_width"),
        ({"paper_width": 200, "paper_height": 50}, "paper_height"),
        ({"size": "A0"}, "size"),
        ({"size": "A4 sideways"}, "size"),
        ({"size": 4}, "size"),
        ({"archival": "yes"}, "archival"),
        ({"archival": 1}, "archival"),
        ({"header_html": "a" * 20_001}, "header_html"),
        ({"locale": "a\0b"}, "locale"),
        ({"paper": "A4"}, "paper"),
    ],
)
def test_what_is_no_paper_margin_or_option_is_refused_by_name(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(Malformed) as refused:
        Print(**options)
    assert refused.value.field == field


def test_what_runs_along_an_edge_gets_room_unless_its_margin_is_said() -> None:
    top, _, bottom, _ = Print().margins
    assert Print(header_html="a").margins[0] > top
    assert Print(footer_html="a").margins[2] > bottom
    assert Print(header_html="a", margin_top=Decimal(10)).margins[0] == 10


CONTEXTS = [
    Context(prec=6),
    pytest.param(
        Context(prec=3),
    ),
    pytest.param(
        Context(prec=28, traps=[Inexact]),
    ),
]


@pytest.mark.parametrize("context", CONTEXTS, ids=["6 digits", "3 digits", "nothing inexact"])
def test_the_callers_decimal_context_changes_nothing(acme: Tenant, context: Context) -> None:
    large = NewLine(description="A bridge", quantity=1, unit_price="12345678901.23", tax=WORK.tax)
    fine = NewLine(
        description="Grains", quantity="123456.789", unit_price="0.00123456789", tax=WORK.tax
    )
    invoice = issued(acme, [large, fine], discount=Discount(percent="3.333333"))
    options: dict[str, Any] = {
        "margin_left": "56.6pt",
        "paper_width": "210mm",
        "paper_height": "297mm",
    }
    usual = sheet_of(invoice, **options)
    with localcontext(context):
        assert sheet_of(invoice, **options) == usual
    assert "12,345,678,901.23" in words(usual)
    assert "0.00123456789" in words(usual)


# --- what is shown --------------------------------------------------------------------------


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_sheet_says_its_language_direction_and_title(acme: Tenant, tag: str) -> None:
    invoice = issued(acme)
    root = ET.fromstring(sheet_of(invoice, locale=tag).html)
    assert root.get("lang") == tag
    assert root.get("dir") == ("rtl" if tag == "ar" else "ltr")
    title = root.findtext("head/title") or ""
    assert plain(title) == f"{labels(tag)['title']['invoice']} {invoice.number}"


@pytest.mark.parametrize("tag", LANGUAGES)
def test_every_document_can_be_said_in_every_language(acme: Tenant, tag: str) -> None:
    open_, paid, void = (issued(acme) for _ in range(3))
    note = acme.issue_credit_note(open_.id, amount="10.00", reason="late")
    documents = [
        drafted(acme),
        acme.get_invoice(open_.id),
        acme.record_payment(paid.id, amount=paid.money("total")),
        acme.void_invoice(void.id),
    ]
    shown = [words(sheet_of(each, locale=tag)) for each in documents]
    shown.append(credited(acme, note, locale=tag))
    for text in shown:
        assert not re.search(r"[{}]|None|Decimal|<bound", text)
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("status", ["draft", "open", "paid", "void", "uncollectible"])
def test_a_stamp_says_draft_paid_or_void_and_nothing_otherwise(acme: Tenant, status: str) -> None:
    match status:
        case "draft":
            invoice = drafted(acme, [WORK])
        case "paid":
            invoice = acme.record_payment(issued(acme, [WORK]).id, amount="119.00")
        case "void":
            invoice = acme.void_invoice(issued(acme, [WORK]).id)
        case "uncollectible":
            invoice = acme.mark_uncollectible(issued(acme, [WORK]).id)
        case _:
            invoice = issued(acme, [WORK])
    assert invoice.status == status
    root = ET.fromstring(sheet_of(invoice).html)
    stamps = [one.text for one in root.iter() if "stamp" in (one.get("class") or "").split()]
    wanted = {"draft": ["Draft"], "paid": ["Paid"], "void": ["Void"]}.get(status, [])
    assert stamps == wanted


def test_a_draft_shows_no_number_and_no_way_to_pay(acme: Tenant) -> None:
    shown = words(sheet_of(drafted(acme, [WORK])))
    assert "Draft invoice" in shown
    assert "This draft is not an invoice yet" in shown
    assert "INV-" not in shown
    assert "IBAN" not in shown


def test_a_draft_that_names_no_seller_shows_the_one_who_would_issue_it(acme: Tenant) -> None:
    assert "Nordlicht Werkzeuge GmbH" in words(sheet_of(drafted(acme, [WORK])))


def test_what_is_still_to_be_paid_is_asked_for_and_what_was_paid_is_shown(acme: Tenant) -> None:
    invoice = acme.record_payment(issued(acme, [WORK]).id, amount="19.00")
    shown = words(sheet_of(invoice))
    assert "Paid -€19.00" in shown
    assert "Amount due €100.00" in shown
    assert "Please pay €100.00 by April 1, 2026." in shown


def test_what_was_credited_before_payment_is_not_asked_for(acme: Tenant) -> None:
    invoice = issued(acme, [WORK])
    acme.issue_credit_note(invoice.id, amount="59.50")
    shown = words(sheet_of(acme.get_invoice(invoice.id)))
    assert "Credited -€59.50" in shown
    assert "Please pay €59.50" in shown


def test_money_that_is_fetched_is_asked_of_nobody(acme: Tenant) -> None:
    invoice = issued(acme, [WORK], collection_method="charge_automatically", due_date=None)
    sheet = sheet_of(invoice)
    assert "€119.00 will be charged to your payment method." in words(sheet)
    assert "IBAN" not in words(sheet)
    assert [one.name for one in sheet.images] == []


def test_without_a_due_date_payment_is_due_on_receipt(acme: Tenant) -> None:
    shown = words(sheet_of(issued(acme, [WORK], due_date=None)))
    assert "Please pay €119.00 on receipt." in shown


def test_a_note_says_once_why_no_tax_was_charged(acme: Tenant) -> None:
    reverse = Tax(rate="0", category="reverse_charge")
    exempt = Tax(rate="0", category="exempt", exemption_reason="Article 132 (1) (i)")
    lines = [
        NewLine(description="A", quantity=1, unit_price="10.00", tax=tax)
        for tax in (reverse, exempt, reverse, exempt, WORK.tax)
    ]
    shown = words(sheet_of(issued(acme, lines)))
    assert shown.count("Reverse charge: VAT is to be accounted for by the recipient") == 1
    assert shown.count("Exempt from VAT · Article 132 (1) (i)") == 1


@pytest.mark.parametrize(
    ("category", "note"),
    [
        ("zero", "Zero rated"),
        ("reverse_charge", "Reverse charge: VAT is to be accounted for by the recipient"),
        ("intra_community", "VAT-exempt intra-Community supply"),
        ("export", "VAT-exempt export"),
        ("outside_scope", "Outside the scope of VAT"),
    ],
)
def test_every_category_without_tax_has_its_note(acme: Tenant, category: str, note: str) -> None:
    tax = Tax(rate="0", category=category)
    line = NewLine(description="A", quantity=1, unit_price="10.00", tax=tax)
    assert note in words(sheet_of(issued(acme, [line])))


def test_the_breakdown_has_one_row_for_each_rate(acme: Tenant) -> None:
    # EN 16931, BR-S-08: each rate of a category once.
    within = NewLine(
        description="Till", quantity=1, unit_price="119.00", tax=Tax(rate="19", inclusive=True)
    )
    shown = words(sheet_of(issued(acme, [WORK, within])))
    assert shown.count("VAT 19% on") == 1


def test_rows_of_the_breakdown_at_the_same_rate_tell_themselves_apart(acme: Tenant) -> None:
    # Said of the same amounts, they would even be the same row twice.
    lines = [
        NewLine(description="A", quantity=1, unit_price="10.00", tax=Tax(rate="0", category=one))
        for one in ("reverse_charge", "zero")
    ]
    root = ET.fromstring(sheet_of(issued(acme, lines)).html)
    rows = ["".join(row.itertext()) for row in root.iter("tr")]
    taxed = [row for row in rows if row.startswith("VAT")]
    assert len(set(taxed)) == len(taxed)


def test_a_line_shows_its_discount_and_what_its_price_contains(acme: Tenant) -> None:
    shown = words(sheet_of(issued(acme)))
    assert "Consulting on site Discount 10% (-€24.63) 2.5 98.50 19% 221.62" in shown
    assert "Torque wrench 20–100 Nm Discount -€10.00 1 100.00 19% 90.00" in shown
    assert "Data traffic per GB €4.74 including VAT 1,234.5 0.003842 19% 3.98" in shown


def test_a_discount_on_the_whole_stands_between_the_sums(acme: Tenant) -> None:
    percent = words(sheet_of(issued(acme, [WORK], discount=Discount(percent="12.5"))))
    assert "Subtotal €100.00 Discount 12.5% -€12.50 VAT 19% on €87.50 €16.63" in percent
    amount = words(sheet_of(issued(acme, [WORK], discount=Discount(amount="12.50"))))
    assert "Subtotal €100.00 Discount -€12.50 VAT" in amount


def test_text_of_strangers_is_text(acme: Tenant) -> None:
    evil = "<b>&amp; \"' </td><script>{{ 7 * 7 }}{% raw %}</script>"
    buyer = BUYER.model_copy(update={"name": evil})
    line = NewLine(description=evil, quantity=1, unit_price="1.00", tax=WORK.tax)
    invoice = issued(acme, [line], customer=buyer, description=evil, footer=evil)
    sheet = sheet_of(invoice)
    assert words(sheet).count(plain(evil)) == 4
    assert "<script" not in sheet.html
    assert ET.fromstring(sheet.html).find(".//script") is None


def test_lines_of_a_description_stay_lines(acme: Tenant) -> None:
    invoice = issued(acme, [WORK], description="one\ntwo\r\nthree")
    assert re.search(r"one\s*\n\s*two\s*\n\s*three", sheet_of(invoice).html)


def test_where_no_logo_is_stands_the_brand_and_else_the_seller(acme: Tenant) -> None:
    invoice = issued(acme, [WORK])
    assert "Nordlicht!" in words(sheet_of(invoice, Branding(name="Nordlicht!", tagline="Ahoy")))
    assert "Ahoy" in words(sheet_of(invoice, Branding(name="Nordlicht!", tagline="Ahoy")))
    sheet = sheet_of(invoice, Branding(logo=LOGO))
    picture = next(one for one in ET.fromstring(sheet.html).iter("img"))
    assert picture.get("alt") == "Nordlicht Werkzeuge GmbH"
    assert picture.get("src") == "asset:logo"
    assert "logo" in {one.name for one in sheet.images}


def test_a_page_for_the_screen_refers_to_nothing_outside_itself(acme: Tenant) -> None:
    page = as_page(sheet_of(issued(acme, [WORK]), Branding(logo=LOGO)))
    assert page.startswith("<!DOCTYPE html>")
    assert "asset:" not in page
    sources = re.findall(r'(?:src|href)="([^"]{,30})', page)
    assert len(sources) == 2
    assert all(source.startswith("data:image/") for source in sources)


def test_a_sheet_tells_the_time_at_which_its_invoice_was_finalized(acme: Tenant) -> None:
    clock = Clock()
    with office(clock=clock) as tenant:
        draft = drafted(tenant, [WORK])
        assert sheet_of(draft).written_at == NOON
        clock.now = NOON + timedelta(days=1)
        tenant.finalize_invoice(draft.id)
        clock.now = NOON + timedelta(days=9)
        paid = tenant.record_payment(draft.id, amount="119.00")
        assert sheet_of(paid).written_at == NOON + timedelta(days=1)


def test_the_same_invoice_makes_the_same_sheet(acme: Tenant) -> None:
    invoice = issued(acme)
    assert sheet_of(invoice, locale="ar") == sheet_of(invoice, locale="ar")
    assert sheet_of(invoice) != sheet_of(invoice, locale="de")
    assert re.fullmatch(r"[0-9a-f]{64}", template_digest())


def test_brands_that_look_different_have_digests_that_differ() -> None:
    brands = [
        Branding(),
        Branding(name="A"),
        Branding(tagline="A"),
        Branding(colour="#000000"),
        Branding(logo=LOGO),
        Branding(logo=LOGO.replace(b"9 9", b"8 8")),
    ]
    assert len({one.digest for one in brands}) == len(brands)
    assert Branding(colour="#ABCDEF").digest == Branding(colour="#abcdef").digest


# --- what would hide, turn round or pile up --------------------------------------------------


def test_marks_that_pile_up_are_cut_and_languages_that_need_marks_are_not() -> None:
    assert len(clean("a" + "\u0301" * 500)) == 1 + MARKS_MAX
    for name in ("Nguyễn Thị Ngọc Ánh", "Zażółć gęślą jaźń", "שָׁלוֹם", "مُحَمَّدٌ"):
        assert plain(clean(name)) == plain(name)


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\ufeff", "\U000e0041"])
def test_what_turns_text_round_or_hides_never_gets_to_the_page(acme: Tenant, sign: str) -> None:
    buyer = BUYER.model_copy(update={"name": f"Ada{sign} 00.001"})
    assert sign not in sheet_of(issued(acme, [WORK], customer=buyer)).html


@pytest.mark.parametrize("name", ["שלום בע״מ", "شركة النور"])
def test_a_name_that_runs_the_other_way_is_set_apart(acme: Tenant, name: str) -> None:
    buyer = BUYER.model_copy(update={"name": name})
    html = sheet_of(issued(acme, [WORK], customer=buyer)).html
    assert f"\u2068{name}\u2069" in html


# --- credit notes ---------------------------------------------------------------------------


def test_a_credit_note_names_its_invoice_and_what_it_takes_back(acme: Tenant) -> None:
    invoice = issued(acme)
    first, third = invoice.lines[0], invoice.lines[2]
    note = acme.issue_credit_note(
        invoice.id,
        lines=[CreditLine(line=first.id, quantity="1.5"), CreditLine(line=third.id, amount=1_990)],
        reason="Sent twice",
    )
    shown = credited(acme, note)
    assert "Credit note CN-2026-0001" in shown
    assert "For invoice" in shown
    assert "INV-2026-0001" in shown
    assert "Invoice date" in shown
    assert "March 2, 2026" in shown
    assert "Reason: Sent twice" in shown
    assert "Consulting on site 1.5 19% 132.97" in shown
    assert "Handbook, printed 7% 19.90" in shown
    assert "VAT 19% on €132.97 €25.26" in shown
    assert "Unit price" not in shown
    assert "Please pay" not in shown


def test_a_credit_note_by_amount_has_a_line_for_each_rate(acme: Tenant) -> None:
    note = acme.issue_credit_note(issued(acme, [WORK, LINES[2]]).id, amount="16.16")
    shown = credited(acme, note)
    assert [group.taxable for group in note.tax_groups] == [1_000, 398]
    assert "19% 10.00" in shown
    assert "7% 3.98" in shown
    assert "Total €16.16" in shown


def test_a_credit_note_after_payment_shows_where_the_money_goes(acme: Tenant) -> None:
    invoice = acme.record_payment(issued(acme, [WORK]).id, amount="119.00")
    note = acme.issue_credit_note(
        invoice.id, amount="59.50", refund="30.00", customer_credit="20.00", out_of_band="9.50"
    )
    shown = credited(acme, note)
    assert "Refunded to you €30.00" in shown
    assert "Kept as your credit €20.00" in shown
    assert "Settled otherwise €9.50" in shown
    assert "Set off" not in shown


def test_a_credit_note_before_payment_is_set_off(acme: Tenant) -> None:
    note = acme.issue_credit_note(issued(acme, [WORK]).id, amount="59.50")
    assert "Set off against the invoice €59.50" in credited(acme, note)


def test_a_void_credit_note_says_so(acme: Tenant) -> None:
    note = acme.issue_credit_note(issued(acme, [WORK]).id, amount="59.50")
    shown = credited(acme, acme.void_credit_note(note.id))
    assert "This credit note was voided on March 2, 2026 and has no effect." in shown
    assert "Void" in shown


# --- the payment code -----------------------------------------------------------------------

EPC = """BCD
002
1
SCT
COBADEFFXXX
Nordlicht Werkzeuge GmbH
DE89370400440532013000
EUR119.00


INV-2026-0001"""

SWISS_CODE = """SPC
0200
1
CH9300762011623852957
S
Alpenglühen AG
Bahnhofstrasse 7

8001
Zürich
CH







119.00
CHF
S
Analytical Engines Ltd
12 St James's Square

SW1Y 4JH
London
GB
NON

INV-2026-0001
EPD"""


def code(
    seller: Seller = SELLER,
    buyer: Customer = BUYER,
    amount: str = "119.00",
    currency: str = "EUR",
    **said: Any,
) -> str | None:
    made = payment_code(
        seller.model_copy(update=said), buyer, Decimal(amount), currency, "INV-2026-0001"
    )
    return made.content if made else None


def checked(country: str, rest: str) -> str:
    """The IBAN with these last characters whose checksum is right."""
    digits = "".join(str(int(sign, 36)) for sign in f"{rest}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{rest}"


def test_a_transfer_in_euro_is_written_by_epc069_12() -> None:
    assert code() == EPC


def test_a_payment_to_a_swiss_account_is_written_as_a_swiss_qr_bill() -> None:
    written = code(SWISS, currency="CHF")
    assert written == SWISS_CODE
    assert len(SWISS_CODE.split("\n")) == 31
    assert code(SWISS, currency="EUR") == SWISS_CODE.replace("CHF", "EUR")


def test_a_swiss_code_without_the_buyers_address_names_no_debtor() -> None:
    written = code(SWISS, Customer(id="cus_1", name="Ada"), currency="CHF")
    assert written is not None
    lines = written.split("\n")
    assert len(lines) == 31
    assert lines[20:27] == [""] * 7


@pytest.mark.parametrize(
    ("said", "currency"),
    [
        ({"iban": None}, "EUR"),
        ({"iban": "DE89370400440532013001"}, "EUR"),  # the checksum
        ({"iban": "DE89370400440532013"}, "EUR"),
        ({"iban": "12345678"}, "EUR"),
        ({"iban": "see below"}, "EUR"),
        ({}, "USD"),
        ({}, "CHF"),  # to a German account
        ({"iban": "CH4431999123000889012"}, "CHF"),  # a QR-IBAN
        ({"iban": "CH93 0076 2011 6238 5295 7"}, "USD"),
        ({"iban": "CH93 0076 2011 6238 5295 7", "address": None}, "CHF"),
        ({"iban": "CH93 0076 2011 6238 5295 7", "address": Address(city="Bern")}, "CHF"),
    ],
)
def test_where_bank_details_allow_no_code_there_is_none(
    said: dict[str, Any], currency: str
) -> None:
    assert code(currency=currency, **said) is None


@pytest.mark.parametrize("amount", ["0", "-1.00", "1000000000.00"])
def test_an_amount_that_no_code_can_say_has_none(amount: str) -> None:
    assert code(amount=amount) is None
    assert code(SWISS, amount=amount, currency="CHF") is None


@pytest.mark.parametrize(
    ("amount", "written"),
    [("0.01", "EUR0.01"), ("1.00", "EUR1.00"), ("999999999.99", "EUR999999999.99")],
)
def test_an_amount_is_written_with_a_point_and_two_decimals(amount: str, written: str) -> None:
    made = code(amount=amount)
    assert made is not None
    assert made.split("\n")[7] == written


def test_one_wrong_sign_in_an_iban_is_noticed() -> None:
    right = "DE89370400440532013000"
    for at, sign in enumerate(right):
        for other in "0123456789" if sign.isdecimal() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            if other != sign:
                assert account(right[:at] + other + right[at + 1 :]) is None


def test_an_iban_may_be_written_in_groups_and_small_letters() -> None:
    assert account("de89 3704 0044 0532 0130 00") == "DE89370400440532013000"
    assert account("DE89\u00a03704 0044 0532 0130 00") == "DE89370400440532013000"


def test_a_name_of_several_lines_is_one_line_of_the_code() -> None:
    written = code(name="Nord\nlicht\tGmbH " + "x" * 80)
    assert written is not None
    lines = written.split("\n")
    assert len(lines) == 11
    assert lines[5].startswith("Nord licht GmbH x")
    assert len(lines[5]) == 70


def test_a_bic_that_is_none_stays_out() -> None:
    written = code(bic="see bank")
    assert written is not None
    assert written.split("\n")[4] == ""


def test_an_account_in_switzerland_whose_bank_is_no_number_has_no_code() -> None:
    assert code(SWISS, currency="CHF", iban=checked("CH", "ABCDE123456789012")) is None


@pytest.mark.parametrize(("country", "length"), [("CH", 22), ("DE", 21), ("DE", 23), ("NL", 20)])
def test_an_iban_has_the_length_of_its_country(country: str, length: int) -> None:
    rest = "0076" * 9
    assert code(SWISS, iban=checked(country, rest[: length - 4])) is None


def test_an_iban_is_written_in_ascii() -> None:
    assert account("DE٨٩370400440532013000") is None


@pytest.mark.parametrize("iban", ["TR330006100519786457841326", "AE070331234567890123456"])
def test_an_account_that_sepa_does_not_reach_has_no_code(iban: str) -> None:
    assert code(iban=iban) is None


def test_an_account_outside_the_eea_has_no_code_without_its_bic() -> None:
    assert code(iban="GB29 NWBK 6016 1331 9268 19", bic="NWBKGB2L") is not None
    assert code(iban="GB29 NWBK 6016 1331 9268 19", bic=None) is None


def test_no_epc_code_is_longer_than_331_bytes() -> None:
    seller = SELLER.model_copy(update={"name": "株" * 80})
    made = payment_code(seller, BUYER, Decimal("1.00"), "EUR", "INV-" + "1" * 90)
    assert made is None or len(made.content.encode()) <= 331


@pytest.mark.parametrize("name", ["株式会社サンプル", "شركة النور", "ООО Ромашка", "Ada 😀"])
def test_a_swiss_code_holds_latin_letters_only(name: str) -> None:
    # Implementation Guidelines QR-bill 2.3, 4.1.1: Latin up to Extended-A, Ș ș Ț ț and €.
    written = code(SWISS, BUYER.model_copy(update={"name": name}), currency="CHF")
    assert written is None or re.fullmatch("[\n\\x20-\\x7e\u00a0-\u017f\u0218-\u021b€]*", written)


def test_no_invoice_that_needs_no_transfer_carries_a_code(acme: Tenant) -> None:
    open_ = issued(acme, [WORK])
    foreign = issued(acme, [WORK], currency="USD")
    fetched = issued(acme, [WORK], collection_method="charge_automatically", due_date=None)
    paid = acme.record_payment(issued(acme, [WORK]).id, amount="119.00")
    void = acme.void_invoice(issued(acme, [WORK]).id)
    assert [one.name for one in sheet_of(open_).images] == ["code"]
    for invoice in (foreign, fetched, paid, void, drafted(acme, [WORK])):
        assert sheet_of(invoice).images == ()
        assert "asset:code" not in sheet_of(invoice).html


def test_the_code_asks_for_what_remains(acme: Tenant) -> None:
    invoice = acme.record_payment(issued(acme, [WORK]).id, amount="19.00")
    part = sheet_of(invoice).images
    assert part != sheet_of(issued(acme, [WORK])).images
    made = payment_code(SELLER, BUYER, Decimal("100.00"), "EUR", str(invoice.number))
    assert made is not None
    assert part[0].content == made.png()
