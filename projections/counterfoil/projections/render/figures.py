"""The lines of a document, its taxes and its sums, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from counterfoil.domain.invoice.events import Status
from counterfoil.domain.line import Discount
from counterfoil.domain.tax import Tax, TaxCategory
from counterfoil.domain.totals import TaxGroup, by_rate
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice, InvoiceLine
from counterfoil.projections.render.pen import Pen


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


def charged(pen: Pen, line: InvoiceLine) -> ShownLine:
    """A line of an invoice."""
    return ShownLine(
        description=pen.text(line.description),
        notes=tuple(_line_notes(pen, line)),
        quantity=pen.language.number(line.quantity),
        unit_price=pen.price(line.unit_price),
        tax=pen.language.percent(line.tax.rate),
        amount=pen.figure(line.net),
    )


def _line_notes(pen: Pen, line: InvoiceLine) -> Iterator[str]:
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


def credited(pen: Pen, note: CreditNote, invoice: Invoice) -> Iterator[ShownLine]:
    """The lines of a credit note, as the invoice called them."""
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


def invoice_totals(pen: Pen, invoice: Invoice) -> Iterator[Sum]:
    """What an invoice comes to, and what is left to pay."""
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


def _discount(pen: Pen, discount: Discount | None) -> str:
    if discount is None or discount.percent is None:
        return pen.says("totals", "discount")
    rate = pen.language.percent(discount.percent)
    return pen.says("totals", "discount_percent", percent=rate)


def credit_note_totals(pen: Pen, note: CreditNote) -> Iterator[Sum]:
    """What a credit note comes to, and where it goes."""
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


def _taxes(pen: Pen, groups: Sequence[TaxGroup]) -> Iterator[Sum]:
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


def tax_notes(pen: Pen, groups: Sequence[TaxGroup]) -> Iterator[str]:
    """Why nothing was charged, which the law wants in words (BT-120; VAT directive, 226 no. 11)."""
    why = _whys(pen, groups)
    for place, note in enumerate(why):
        yield f"{_mark(place)} {note}" if len(why) > 1 else note


def _whys(pen: Pen, groups: Sequence[TaxGroup]) -> list[str]:
    untaxed = (one.tax for one in groups if one.tax.category is not TaxCategory.STANDARD)
    return list(dict.fromkeys(_tax_note(pen, tax) for tax in untaxed))


def _mark(place: int) -> str:
    return f"({place + 1})"


def _tax_note(pen: Pen, tax: Tax) -> str:
    if tax.category is TaxCategory.STANDARD:
        return ""
    note = pen.says("tax_note", tax.category.value)
    return f"{note} · {pen.text(tax.exemption_reason)}" if tax.exemption_reason else note
