"""How to pay an invoice, or how it was paid: in words, and as a code for a bank's app."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stdnum import iban

from counterfoil.domain.invoice.events import CollectionMethod, Status
from counterfoil.domain.party import Seller
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.render.payment_code import PaymentCode, account, payment_code
from counterfoil.projections.render.pen import Pen


@dataclass(frozen=True, slots=True)
class Payment:
    sentence: str
    details: tuple[str, ...] = ()


def payment(pen: Pen, invoice: Invoice, seller: Seller | None) -> Payment | None:
    """What is left to do, or was done."""
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


def _bank(pen: Pen, invoice: Invoice, seller: Seller | None) -> Iterator[str]:
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


def code(invoice: Invoice, seller: Seller | None) -> PaymentCode | None:
    """The code for a bank's app, where scanning it would pay what is due."""
    if seller is None or invoice.number is None or invoice.status is not Status.OPEN:
        return None
    if _collected(invoice):
        return None
    remaining = invoice.money("amount_remaining").decimal
    return payment_code(seller, invoice.customer, remaining, invoice.currency, invoice.number)
