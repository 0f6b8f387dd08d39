"""What stands on a document, in its reader's words: from a read model, with nothing computed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal, localcontext

from stdnum import iban

from counterfoil.domain.credit_note.state import CreditNoteStatus
from counterfoil.domain.invoice.events import CollectionMethod, Status
from counterfoil.domain.line import Discount
from counterfoil.domain.money import EXACT
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.domain.tax import Tax, TaxCategory
from counterfoil.domain.totals import TaxGroup, by_rate
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice, InvoiceLine
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.clean import clean
from counterfoil.projections.render.language import Language, day_in
from counterfoil.projections.render.payment_code import PaymentCode, account, payment_code

Context = dict[str, object]
_VAT_ID = re.compile(r"[A-Z]{2}[0-9A-Z.+* -]{2,20}")


@dataclass(frozen=True, slots=True)
class Reader:
    """In whose language and time a document speaks."""

    language: Language
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Labelled:
    label: str
    value: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Party:
    label: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShownLine:
    description: str
    notes: tuple[str, ...]
    quantity: str
    unit_price: str
    tax: str
    amount: str


@dataclass(frozen=True, slots=True)
class Sum:
    label: str
    amount: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    kind: str
    word: str


@dataclass(frozen=True, slots=True)
class Payment:
    sentence: str
    details: tuple[str, ...] = ()


def invoice_context(
    invoice: Invoice, seller: Seller | None, branding: Branding, reader: Reader
) -> tuple[Context, PaymentCode | None]:
    """What an invoice shows, and the code to pay it by."""
    with localcontext(EXACT):
        pen = _Pen(reader, invoice.currency)
        code = _code(invoice, seller)
        return {
            **_common(pen, branding, seller, invoice.customer),
            "heading": pen.says("title", "draft" if invoice.number is None else "invoice"),
            "number": pen.text(invoice.number),
            "title": _title(pen, "invoice", invoice.number),
            "stamp": _stamp(pen, invoice.status),
            "facts": tuple(_invoice_facts(pen, invoice)),
            "description": pen.text(invoice.description),
            "priced": True,
            "lines": tuple(_line(pen, line) for line in invoice.lines),
            "totals": tuple(_invoice_totals(pen, invoice)),
            "notes": tuple(_tax_notes(pen, invoice.tax_groups)),
            "payment": _payment(pen, invoice, seller),
            "code": code is not None,
            "closing": pen.text(invoice.footer),
        }, code


def credit_note_context(
    note: CreditNote, invoice: Invoice, branding: Branding, reader: Reader
) -> Context:
    """What a credit note shows; the invoice that it corrects says what its lines were called."""
    with localcontext(EXACT):
        pen = _Pen(reader, note.currency)
        void = note.status is CreditNoteStatus.VOID
        voided = note.voided_at and pen.day_of(note.voided_at)
        return {
            **_common(pen, branding, note.seller, note.customer),
            "heading": pen.says("title", "credit_note"),
            "number": pen.text(note.number),
            "title": _title(pen, "credit_note", note.number),
            "stamp": Stamp("void", pen.says("stamp", "void")) if void else None,
            "facts": tuple(_credit_note_facts(pen, note, invoice)),
            "description": pen.named("note", "reason", note.reason) if note.reason else "",
            "priced": False,
            "lines": tuple(_credited(pen, note, invoice)),
            "totals": tuple(_credit_note_totals(pen, note)),
            "notes": tuple(_tax_notes(pen, note.tax_groups)),
            "payment": Payment(pen.says("payment", "credit_note_void", date=voided))
            if voided
            else None,
            "code": False,
            "closing": "",
        }


class _Pen:
    """Writes for one reader, in one currency."""

    def __init__(self, reader: Reader, currency: str) -> None:
        self.language = reader.language
        self.currency = currency
        self._zone = reader.zone

    def says(self, section: str, key: str, **filled: str) -> str:
        label = self.language.labels[section][key]
        return label.format_map(filled) if filled else label

    def named(self, section: str, key: str, value: str) -> str:
        """A value behind its name."""
        return self.says("note", "named", name=self.says(section, key), value=self.text(value))

    def text(self, given: str | None) -> str:
        return clean(given, self.language.direction) if given else ""

    def money(self, minor: int) -> str:
        return self.language.money(minor, self.currency)

    def figure(self, minor: int) -> str:
        return self.language.figure(minor, self.currency)

    def price(self, exact: Decimal) -> str:
        return self.language.price(exact, self.currency)

    def day(self, given: date) -> str:
        return self.language.day(given)

    def day_of(self, moment: datetime) -> str:
        return self.language.day(day_in(moment, self._zone))


def _common(pen: _Pen, branding: Branding, seller: Seller | None, customer: Customer) -> Context:
    brand = branding.name or (seller.name if seller else "")
    edge = [seller.name, _tax_id(pen, seller.tax_id), seller.website] if seller else []
    return {
        "tag": pen.language.tag,
        "direction": pen.language.direction,
        "labels": pen.language.labels,
        "currency": pen.currency,
        "author": clean(seller.name if seller else brand),
        "brand": pen.text(brand),
        "tagline": pen.text(branding.tagline),
        "logo": branding.logo is not None,
        "edge": pen.text(_joined(" · ", *edge)),
        "parties": tuple(_parties(pen, seller, customer)),
    }


def _title(pen: _Pen, kind: str, number: str | None) -> str:
    if number is None:
        return pen.says("title", "draft")
    return f"{pen.says('title', kind)} {pen.text(number)}"


def _stamp(pen: _Pen, status: Status) -> Stamp | None:
    if status in {Status.DRAFT, Status.PAID, Status.VOID}:
        return Stamp(status.value, pen.says("stamp", status.value))
    return None


def _parties(pen: _Pen, seller: Seller | None, customer: Customer) -> Iterator[Party]:
    if seller is not None:
        ids = (_tax_id(pen, seller.tax_id), _known(pen, "registration", seller.registration))
        reached = _joined(" · ", seller.email, seller.phone, seller.website)
        yield _party(pen, "seller", seller.name, [*_address(pen, seller.address), *ids, reached])
    reached = _joined(" · ", customer.email, customer.phone)
    known = (_tax_id(pen, customer.tax_id), reached)
    yield _party(pen, "buyer", customer.name, [*_address(pen, customer.address), *known])


def _party(pen: _Pen, label: str, name: str, lines: Sequence[str | None]) -> Party:
    shown = tuple(pen.text(line) for line in lines if line)
    return Party(pen.says("parties", label), pen.text(name), shown)


def _tax_id(pen: _Pen, given: str | None) -> str:
    """A number for VAT begins with its country; any other is named as the reader's land does."""
    return _known(pen, "vat_id" if _VAT_ID.fullmatch(given or "") else "tax_id", given)


def _known(pen: _Pen, label: str, given: str | None) -> str:
    return f"{pen.says('parties', label)} {given}" if given else ""


def _address(pen: _Pen, address: Address | None) -> Iterator[str]:
    if address is None:
        return
    town = _joined(" ", address.postal_code, address.city)
    country = address.country
    named = pen.language.locale.territories.get(country, country) if country else None
    for line in (address.line1, address.line2, _joined(", ", town, address.state, named)):
        if line:
            yield line


def _joined(between: str, *parts: str | None) -> str:
    return between.join(part for part in parts if part)


def _invoice_facts(pen: _Pen, invoice: Invoice) -> Iterator[Labelled]:
    if invoice.issued_on:
        yield Labelled(pen.says("facts", "issued"), pen.day(invoice.issued_on))
    if invoice.due_date:
        yield Labelled(pen.says("facts", "due"), pen.day(invoice.due_date))
    if invoice.period_start or invoice.period_end:
        period = pen.language.period(invoice.period_start, invoice.period_end)
        yield Labelled(pen.says("facts", "period"), period)
    yield Labelled(pen.says("facts", "customer"), pen.text(invoice.customer.id))
    if invoice.status is not Status.VOID:
        due = pen.money(invoice.amount_remaining)
        yield Labelled(pen.says("totals", "remaining"), due, strong=True)


def _credit_note_facts(pen: _Pen, note: CreditNote, invoice: Invoice) -> Iterator[Labelled]:
    yield Labelled(pen.says("facts", "issued"), pen.day(note.issued_on))
    yield Labelled(pen.says("facts", "corrects"), pen.text(note.invoice_number))
    if invoice.issued_on:
        yield Labelled(pen.says("facts", "corrected_issued"), pen.day(invoice.issued_on))
    yield Labelled(pen.says("facts", "customer"), pen.text(note.customer.id))
    yield Labelled(pen.says("totals", "total"), pen.money(note.total), strong=True)


def _line(pen: _Pen, line: InvoiceLine) -> ShownLine:
    return ShownLine(
        description=pen.text(line.description),
        notes=tuple(_line_notes(pen, line)),
        quantity=pen.language.number(line.quantity),
        unit_price=pen.price(line.unit_price),
        tax=pen.language.percent(line.tax.rate),
        amount=pen.figure(line.net),
    )


def _line_notes(pen: _Pen, line: InvoiceLine) -> Iterator[str]:
    match line.discount:
        case Discount(percent=Decimal() as percent):
            amount, rate = pen.money(-line.discount_amount), pen.language.percent(percent)
            yield pen.says("lines", "discount_percent", percent=rate, amount=amount)
        case Discount():
            yield pen.says("lines", "discount", amount=pen.money(-line.discount_amount))
        case None:
            pass
    if line.tax.inclusive:
        yield pen.says("lines", "included", amount=pen.money(line.amount))


def _credited(pen: _Pen, note: CreditNote, invoice: Invoice) -> Iterator[ShownLine]:
    lines = {line.id: line for line in invoice.lines}
    for credited in note.lines:
        of = lines[credited.line]
        yield ShownLine(
            description=pen.text(of.description),
            notes=(),
            quantity=pen.language.number(credited.quantity) if credited.quantity else "",
            unit_price="",
            tax=pen.language.percent(of.tax.rate),
            amount=pen.figure(credited.taxable),
        )
    if not note.lines:
        for group in note.tax_groups:
            corrected = f"{pen.says('facts', 'corrects')} {note.invoice_number}"
            rate = pen.language.percent(group.tax.rate)
            yield ShownLine(pen.text(corrected), (), "", "", rate, pen.figure(group.taxable))


def _invoice_totals(pen: _Pen, invoice: Invoice) -> Iterator[Sum]:
    yield Sum(pen.says("totals", "subtotal"), pen.money(invoice.subtotal))
    if invoice.total_discount:
        yield Sum(_discount(pen, invoice.discount), pen.money(-invoice.total_discount))
    yield from _taxes(pen, invoice.tax_groups)
    if invoice.rounding:
        yield Sum(pen.says("totals", "rounding"), pen.money(invoice.rounding))
    yield Sum(pen.says("totals", "total"), pen.money(invoice.total), "sum")
    if credited := invoice.pre_payment_credit_notes_amount:
        yield Sum(pen.says("totals", "credited"), pen.money(-credited))
    if invoice.amount_paid:
        yield Sum(pen.says("totals", "paid"), pen.money(-invoice.amount_paid))
    if invoice.status not in {Status.DRAFT, Status.VOID}:
        yield Sum(pen.says("totals", "remaining"), pen.money(invoice.amount_remaining), "due")


def _discount(pen: _Pen, discount: Discount | None) -> str:
    if discount is None or discount.percent is None:
        return pen.says("totals", "discount")
    rate = pen.language.percent(discount.percent)
    return pen.says("totals", "discount_percent", percent=rate)


def _credit_note_totals(pen: _Pen, note: CreditNote) -> Iterator[Sum]:
    yield Sum(pen.says("totals", "subtotal"), pen.money(note.subtotal))
    yield from _taxes(pen, note.tax_groups)
    yield Sum(pen.says("totals", "total"), pen.money(note.total), "sum")
    for label, amount in (
        ("set_off", note.pre_payment_amount),
        ("refund", note.refund),
        ("customer_credit", note.customer_credit),
        ("out_of_band", note.out_of_band),
    ):
        if amount:
            yield Sum(pen.says("totals", label), pen.money(amount))


def _taxes(pen: _Pen, groups: Sequence[TaxGroup]) -> Iterator[Sum]:
    """One row for each rate of a category. One without tax says by its mark which note is its."""
    why = _whys(pen, groups)
    for group in by_rate(groups):
        base, rate = pen.money(group.taxable), pen.language.percent(group.tax.rate)
        if group.tax.category is TaxCategory.OUTSIDE_SCOPE:
            label = pen.says("totals", "untaxed", base=base)
        else:
            label = pen.says("totals", "tax", rate=rate, base=base)
        note = _tax_note(pen, group.tax)
        if len(why) > 1 and note in why:
            label = f"{label} {_mark(why.index(note))}"
        yield Sum(label, pen.money(group.amount))


def _tax_notes(pen: _Pen, groups: Sequence[TaxGroup]) -> Iterator[str]:
    """Why nothing was charged, which the law wants in words (BT-120; VAT directive, 226 no. 11)."""
    why = _whys(pen, groups)
    for place, note in enumerate(why):
        yield f"{_mark(place)} {note}" if len(why) > 1 else note


def _whys(pen: _Pen, groups: Sequence[TaxGroup]) -> list[str]:
    untaxed = (one.tax for one in groups if one.tax.category is not TaxCategory.STANDARD)
    return list(dict.fromkeys(_tax_note(pen, tax) for tax in untaxed))


def _mark(place: int) -> str:
    return f"({place + 1})"


def _tax_note(pen: _Pen, tax: Tax) -> str:
    if tax.category is TaxCategory.STANDARD:
        return ""
    note = pen.says("tax_note", tax.category.value)
    return f"{note} · {pen.text(tax.exemption_reason)}" if tax.exemption_reason else note


def _payment(pen: _Pen, invoice: Invoice, seller: Seller | None) -> Payment | None:
    amount = pen.money(invoice.amount_remaining)
    match invoice.status:
        case Status.DRAFT:
            return Payment(pen.says("payment", "draft"))
        case Status.PAID if invoice.paid_at:
            return Payment(pen.says("payment", "paid", date=pen.day_of(invoice.paid_at)))
        case Status.VOID if invoice.voided_at:
            return Payment(pen.says("payment", "void", date=pen.day_of(invoice.voided_at)))
        case Status.OPEN | Status.UNCOLLECTIBLE:
            if _collected(invoice):
                return Payment(pen.says("payment", "automatic", amount=amount))
            details = tuple(_bank(pen, invoice, seller))
            if invoice.due_date is None:
                return Payment(pen.says("payment", "on_receipt", amount=amount), details)
            due = pen.day(invoice.due_date)
            return Payment(pen.says("payment", "by", amount=amount, date=due), details)
        case _:
            return None


def _collected(invoice: Invoice) -> bool:
    """Whether the money is fetched, so that nobody should send it as well."""
    automatic = invoice.collection_method is CollectionMethod.CHARGE_AUTOMATICALLY
    return automatic and invoice.due_date is None


def _bank(pen: _Pen, invoice: Invoice, seller: Seller | None) -> Iterator[str]:
    if seller is None or seller.iban is None:
        return
    said: Mapping[str, str | None] = {
        "account_holder": seller.name,
        "bank": seller.bank_name,
        "iban": _grouped(seller.iban),
        "bic": seller.bic,
        "reference": invoice.number,
    }
    for label, value in said.items():
        if value:
            yield pen.named("payment", label, value)


def _grouped(given: str) -> str:
    """In fours, as banks print it, if it is one."""
    plain = account(given)
    return str(iban.format(plain)) if plain else given


def _code(invoice: Invoice, seller: Seller | None) -> PaymentCode | None:
    if seller is None or invoice.number is None or invoice.status is not Status.OPEN:
        return None
    if _collected(invoice):
        return None
    remaining = invoice.money("amount_remaining").decimal
    return payment_code(seller, invoice.customer, remaining, invoice.currency, invoice.number)
