"""An invoice as its users see it: Stripe's field names, amounts in minor units, from its facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from counterfoil.domain.envelope import Recorded
from counterfoil.domain.invoice.events import (
    CollectionMethod,
    DraftDiscarded,
    InvoiceEvent,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceSent,
    InvoiceVoided,
    MarkedUncollectible,
    Status,
)
from counterfoil.domain.invoice.state import Discarded, Draft, Issued, fold
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.money import Money
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.tax import Tax, TaxRounding
from counterfoil.domain.totals import TaxGroup, Totals, total

AmountName = Literal[
    "subtotal",
    "total_discount",
    "tax",
    "rounding",
    "total",
    "amount_due",
    "amount_paid",
    "amount_remaining",
    "pre_payment_credit_notes_amount",
    "post_payment_credit_notes_amount",
]


class View(BaseModel):
    """What is shown is frozen: change an invoice by a command."""

    model_config = ConfigDict(frozen=True)


class InvoiceLine(View):
    """One line; `net` is its amount without tax."""

    id: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    tax: Tax
    discount: Discount | None
    discount_amount: int
    amount: int
    net: int


class Invoice(View):
    """The invoice after all its facts."""

    id: str
    number: str | None
    status: Status
    currency: str
    customer: Customer
    seller: Seller | None
    collection_method: CollectionMethod
    subscription: str | None
    description: str | None
    footer: str | None
    metadata: Mapping[str, str]
    period_start: date | None
    period_end: date | None
    lines: tuple[InvoiceLine, ...]
    discount: Discount | None
    tax_rounding: TaxRounding
    tax_groups: tuple[TaxGroup, ...]
    subtotal: int
    total_discount: int
    tax: int
    rounding: int
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    pre_payment_credit_notes_amount: int
    post_payment_credit_notes_amount: int
    attempt_count: int
    created: datetime
    issued_on: date | None
    due_date: date | None
    finalized_at: datetime | None
    sent_at: datetime | None
    paid_at: datetime | None
    voided_at: datetime | None
    marked_uncollectible_at: datetime | None
    version: int

    def money(self, name: AmountName) -> Money:
        """One of the amounts together with its currency."""
        amount: int = getattr(self, name)
        return Money(amount, self.currency)


def view_invoice(facts: Sequence[Recorded[InvoiceEvent]]) -> Invoice | None:
    """The invoice that these facts make; None if there is none, or its draft was deleted."""
    match fold(recorded.fact for recorded in facts):
        case None | Discarded():
            return None
        case Draft() as draft:
            totals = total(draft.lines, draft.discount, draft.currency, draft.tax_rounding)
            return _view(draft, None, totals, facts)
        case Issued() as issued:
            return _view(issued.draft, issued, issued.document.totals, facts)


def _view(
    draft: Draft,
    issued: Issued | None,
    totals: Totals,
    facts: Sequence[Recorded[InvoiceEvent]],
) -> Invoice:
    terms, document = draft.terms, issued.document if issued else None
    applied = issued.credits if issued else ()
    before_payment = sum(credit.before_payment for credit in applied)
    return Invoice(
        id=draft.id,
        number=document.number if document else None,
        status=issued.status if issued else draft.status,
        currency=draft.currency,
        customer=terms.customer,
        seller=document.seller if document else terms.seller,
        collection_method=terms.collection_method,
        subscription=terms.subscription,
        description=terms.description,
        footer=terms.footer,
        metadata=draft.metadata,
        period_start=terms.period_start,
        period_end=terms.period_end,
        lines=tuple(_line(line) for line in draft.lines),
        discount=draft.discount,
        tax_rounding=draft.tax_rounding,
        tax_groups=totals.groups,
        subtotal=totals.subtotal,
        total_discount=totals.discount,
        tax=totals.tax,
        rounding=totals.rounding,
        total=totals.total,
        amount_due=issued.amount_due if issued else totals.total,
        amount_paid=issued.amount_paid if issued else 0,
        amount_remaining=issued.amount_remaining if issued else totals.total,
        pre_payment_credit_notes_amount=before_payment,
        post_payment_credit_notes_amount=sum(c.credit.total for c in applied) - before_payment,
        attempt_count=len(issued.attempts) if issued else 0,
        created=facts[0].envelope.recorded_at,
        issued_on=document.issued_on if document else None,
        due_date=document.due_on if document else terms.due_date,
        version=facts[-1].envelope.version,
        **_times(facts),
    )


def _line(line: Line) -> InvoiceLine:
    return InvoiceLine(
        id=line.id,
        description=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        tax=line.tax,
        discount=line.discount,
        discount_amount=line.discounted,
        amount=line.amount,
        net=line.net,
    )


def _times(facts: Sequence[Recorded[InvoiceEvent]]) -> dict[str, datetime | None]:
    """When the invoice last became what it was or is."""
    times: dict[str, datetime | None] = dict.fromkeys((*_BECAME.values(), "sent_at"))
    status = Status.DRAFT
    for recorded in facts:
        match recorded.fact:
            case InvoiceSent():
                times["sent_at"] = recorded.envelope.recorded_at
                continue
            case InvoiceReconciled(status=said) if said is not status:
                status = said
            case fact if type(fact) in _MAKES:
                status = _MAKES[type(fact)]
            case _:
                continue
        if status in _BECAME and not (status is Status.OPEN and times["finalized_at"]):
            times[_BECAME[status]] = recorded.envelope.recorded_at
    return times


_BECAME = {
    Status.OPEN: "finalized_at",
    Status.PAID: "paid_at",
    Status.VOID: "voided_at",
    Status.UNCOLLECTIBLE: "marked_uncollectible_at",
}
_MAKES: dict[type[InvoiceEvent], Status] = {
    InvoiceFinalized: Status.OPEN,
    InvoicePaid: Status.PAID,
    InvoiceVoided: Status.VOID,
    MarkedUncollectible: Status.UNCOLLECTIBLE,
}


def status_told(types: Iterable[str]) -> Status | None:
    """The status of an invoice by the types of its facts; None where only a fact's body tells."""
    status = Status.DRAFT
    for name in types:
        stem = name.rpartition(".")[0]
        if stem == _NEWS:
            return None
        status = _LEADS_TO.get(stem, status)
    return status


def _stem(kind: type[InvoiceEvent]) -> str:
    return kind.stored_as.rpartition(".")[0]


_NEWS = _stem(InvoiceReconciled)
_LEADS_TO = {_stem(kind): status for kind, status in _MAKES.items()} | {
    _stem(DraftDiscarded): Status.DISCARDED
}
