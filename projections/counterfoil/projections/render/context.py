"""What stands on a document, in its reader's words: from a read model, with nothing computed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import localcontext

from counterfoil.domain.credit_note.state import CreditNoteStatus
from counterfoil.domain.invoice.events import Status
from counterfoil.domain.money import EXACT
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.clean import clean
from counterfoil.projections.render.figures import (
    charged,
    credit_note_totals,
    credited,
    invoice_totals,
    tax_notes,
)
from counterfoil.projections.render.payment import Payment, code, payment
from counterfoil.projections.render.payment_code import PaymentCode
from counterfoil.projections.render.pen import Pen, Reader

Context = dict[str, object]
_VAT_ID = re.compile(r"[A-Z]{2}[0-9A-Z.+* -]{2,20}")


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
class Stamp:
    kind: str
    word: str


def invoice_context(
    invoice: Invoice, seller: Seller | None, branding: Branding, reader: Reader
) -> tuple[Context, PaymentCode | None]:
    """What an invoice shows, and the code to pay it by."""
    with localcontext(EXACT):
        pen = Pen(reader, invoice.currency)
        to_scan = code(invoice, seller)
        return {
            **_common(pen, branding, seller, invoice.customer),
            "heading": pen.says("title", "draft" if invoice.number is None else "invoice"),
            "number": pen.text(invoice.number),
            "title": _title(pen, "invoice", invoice.number),
            "stamp": _stamp(pen, invoice.status),
            "facts": tuple(_invoice_facts(pen, invoice)),
            "description": pen.text(invoice.description),
            "priced": True,
            "lines": tuple(charged(pen, line) for line in invoice.lines),
            "totals": tuple(invoice_totals(pen, invoice)),
            "notes": tuple(tax_notes(pen, invoice.tax_groups)),
            "payment": payment(pen, invoice, seller),
            "code": to_scan is not None,
            "closing": pen.text(invoice.footer),
        }, to_scan


def credit_note_context(
    note: CreditNote, invoice: Invoice, branding: Branding, reader: Reader
) -> Context:
    """What a credit note shows; the invoice that it corrects says what its lines were called."""
    with localcontext(EXACT):
        pen = Pen(reader, note.currency)
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
            "lines": tuple(credited(pen, note, invoice)),
            "totals": tuple(credit_note_totals(pen, note)),
            "notes": tuple(tax_notes(pen, note.tax_groups)),
            "payment": Payment(pen.says("payment", "credit_note_void", date=voided))
            if voided
            else None,
            "code": False,
            "closing": "",
        }


def _common(pen: Pen, branding: Branding, seller: Seller | None, customer: Customer) -> Context:
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


def _title(pen: Pen, kind: str, number: str | None) -> str:
    if number is None:
        return pen.says("title", "draft")
    return f"{pen.says('title', kind)} {pen.text(number)}"


def _stamp(pen: Pen, status: Status) -> Stamp | None:
    if status in {Status.DRAFT, Status.PAID, Status.VOID}:
        return Stamp(status.value, pen.says("stamp", status.value))
    return None


def _parties(pen: Pen, seller: Seller | None, customer: Customer) -> Iterator[Party]:
    if seller is not None:
        ids = (_tax_id(pen, seller.tax_id), _known(pen, "registration", seller.registration))
        reached = _joined(" · ", seller.email, seller.phone, seller.website)
        yield _party(pen, "seller", seller.name, [*_address(pen, seller.address), *ids, reached])
    reached = _joined(" · ", customer.email, customer.phone)
    known = (_tax_id(pen, customer.tax_id), reached)
    yield _party(pen, "buyer", customer.name, [*_address(pen, customer.address), *known])


def _party(pen: Pen, label: str, name: str, lines: Sequence[str | None]) -> Party:
    shown = tuple(pen.text(line) for line in lines if line)
    return Party(pen.says("parties", label), pen.text(name), shown)


def _tax_id(pen: Pen, given: str | None) -> str:
    """A number for VAT begins with its country; any other is named as the reader's land does."""
    return _known(pen, "vat_id" if _VAT_ID.fullmatch(given or "") else "tax_id", given)


def _known(pen: Pen, label: str, given: str | None) -> str:
    return f"{pen.says('parties', label)} {given}" if given else ""


def _address(pen: Pen, address: Address | None) -> Iterator[str]:
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


def _invoice_facts(pen: Pen, invoice: Invoice) -> Iterator[Labelled]:
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


def _credit_note_facts(pen: Pen, note: CreditNote, invoice: Invoice) -> Iterator[Labelled]:
    yield Labelled(pen.says("facts", "issued"), pen.day(note.issued_on))
    yield Labelled(pen.says("facts", "corrects"), pen.text(note.invoice_number))
    if invoice.issued_on:
        yield Labelled(pen.says("facts", "corrected_issued"), pen.day(invoice.issued_on))
    yield Labelled(pen.says("facts", "customer"), pen.text(note.customer.id))
    yield Labelled(pen.says("totals", "total"), pen.money(note.total), strong=True)
