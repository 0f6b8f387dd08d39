"""Every payment of an invoice, whatever became of it, and every refund."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from counterfoil.projections.facts import PaymentRefunded
from counterfoil.projections.invoice import View
from counterfoil.projections.invoice_fold import FoldedInvoice
from counterfoil.projections.invoice_fold import Payment as FoldedPayment
from counterfoil.projections.invoice_fold import Refund as FoldedRefund
from counterfoil.projections.paging import (
    LIMIT,
    PAYMENT_BEGAN,
    Asked,
    Conditions,
    Found,
    Page,
    free_text,
    moment,
    moment_of,
    one_of,
    page,
    seek,
    shown,
    word,
)
from counterfoil.projections.projection import (
    Index,
    Projection,
    Question,
    Row,
    Table,
    integer,
    text,
)
from counterfoil.projections.store import Store

TABLE = Table(
    "payments",
    (
        *text("tenant", "invoice", "id", "status", "customer_id", "currency"),
        *integer("amount", "surplus", "refunded"),
        *text("processor", "payment_method", "reference", "intent", null=True),
        *text("failure_code", "failure_message", "received_at", null=True),
        *integer("created"),
        *integer("ended_at", null=True),
    ),
    key=("tenant", "invoice", "id"),
    indexes=(
        Index("tenant, created, id"),
        Index("tenant, id"),
        Index("tenant, reference", "reference IS NOT NULL"),
        Index("tenant, created, invoice", "status IN ('processing', 'requires_action')"),
    ),
)
REFUNDS = Table(
    "refunds",
    (
        *text("tenant", "invoice", "id", "payment", "status", "currency"),
        *integer("amount", "reopened"),
        *text("reason", "reference", "failure_code", "failure_message", null=True),
        *integer("created"),
        *integer("ended_at", null=True),
    ),
    key=("tenant", "invoice", "id"),
    indexes=(Index("tenant, created, invoice", "status = 'pending'"),),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row], Sequence[Row]]:
    refunded: dict[str, int] = {}
    for refund in invoice.refunds.values():
        if refund.status == "succeeded":
            said = refund.said
            refunded[said.payment] = refunded.get(said.payment, 0) + said.amount
    refunds = [_refund_row(invoice, name, refund) for name, refund in invoice.refunds.items()]
    rows = [
        _row(invoice, name, payment, refunded.get(name, 0))
        for name, payment in invoice.payments.items()
    ]
    return rows, refunds


def _row(invoice: FoldedInvoice, name: str, payment: FoldedPayment, refunded: int) -> Row:
    attempted, received, failed = payment.attempted, payment.received, payment.failed
    said = received or attempted
    if said is None:
        raise ValueError(name)
    return (
        invoice.tenant,
        invoice.id,
        name,
        payment.status,
        invoice.customer.id,
        invoice.currency,
        said.amount,
        received.surplus if received else 0,
        refunded,
        said.processor,
        attempted.payment_method if attempted else None,
        received.reference if received else None,
        payment.intent,
        failed.code if failed else None,
        failed.message if failed else None,
        received.received_at if received else None,
        payment.attempted_at if attempted else payment.ended_at,
        payment.ended_at,
    )


def _refund_row(invoice: FoldedInvoice, name: str, refund: FoldedRefund) -> Row:
    said, failed = refund.said, refund.failed
    done = said if isinstance(said, PaymentRefunded) else None
    return (
        invoice.tenant,
        invoice.id,
        name,
        said.payment,
        refund.status,
        invoice.currency,
        said.amount,
        done.reopened if done else 0,
        said.reason,
        done.reference if done else None,
        failed.code if failed else None,
        failed.message if failed else None,
        refund.began_at,
        refund.ended_at,
    )


PROJECTION = Projection("payments", 2, "invoice", (TABLE, REFUNDS), _rows)


# --- asked ------------------------------------------------------------------------------------


class Payment(View):
    """One payment of an invoice, whatever became of it; `amount_refunded` of it went back."""

    id: str
    invoice: str
    status: str
    customer: str
    currency: str
    amount: int
    surplus: int
    amount_refunded: int
    processor: str | None
    payment_method: str | None
    reference: str | None
    intent: str | None
    failure_code: str | None
    failure_message: str | None
    received_at: datetime | None
    created: datetime
    ended_at: datetime | None


class Refund(View):
    """Money that goes back, whatever became of it; `reopened` is the part that is owed again."""

    id: str
    payment: str
    status: str
    currency: str
    amount: int
    reopened: int
    reason: str | None
    reference: str | None
    failure_code: str | None
    failure_message: str | None
    created: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A payment or a refund in progress."""

    invoice: str
    id: str
    is_refund: bool


class Payments:
    """The payments of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def list(
        self,
        *,
        invoice: str | None = None,
        customer: str | None = None,
        status: str | None = None,
        reference: str | None = None,
        limit: int = LIMIT,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> Page[Payment]:
        """A page of payments, newest first."""
        asked = Asked(limit, starting_after, ending_before)
        conditions = Conditions(self._tenant)
        conditions.equal("invoice", "invoice", invoice)
        conditions.equal("customer_id", "customer", customer)
        conditions.equal("status", "status", one_of("status", status, STATUSES))
        if reference is not None:
            conditions.add("reference = :reference", reference=free_text("reference", reference))
        seek(self._store, conditions, asked, began=PAYMENT_BEGAN)
        question = page(_COLUMNS, "payments", conditions, asked)
        rows, more = shown(self._store.ask(question)[0], asked)
        return Page(tuple(map(_payment, rows)), more)

    def refunds(self, invoice: str) -> tuple[Refund, ...]:
        """All refunds of an invoice, whatever became of them, oldest first."""
        names = Refund.model_fields
        query = (
            f"SELECT {', '.join(names)} FROM refunds"
            " WHERE tenant = :tenant AND invoice = :invoice ORDER BY created, id"
        )
        values = {"tenant": self._tenant, "invoice": word("invoice", invoice)}
        (rows,) = self._store.ask(Question(query, values))
        return tuple(
            Refund(**dict(zip(names, (*told, moment(began), _moment(ended)), strict=True)))
            for *told, began, ended in rows
        )

    def unsettled(self, *, before: datetime) -> tuple[Unsettled, ...]:
        """What began at this moment or before and waits for its outcome; the oldest comes first."""
        values = {"tenant": self._tenant, "before": moment_of("before", before)}
        live = "status IN ('processing', 'requires_action')"
        query = (
            f"SELECT invoice, id, 0, created FROM payments WHERE {_SINCE} AND {live} UNION ALL "
            f"SELECT invoice, id, 1, created FROM refunds WHERE {_SINCE} AND status = 'pending' "
            "ORDER BY 4, 1, 2"
        )
        (rows,) = self._store.ask(Question(query, values))
        return tuple(
            Unsettled(invoice, id, is_refund=bool(back)) for invoice, id, back, _ in rows
        )


_SINCE = "tenant = :tenant AND created <= :before"
STATUSES = ("processing", "requires_action", "succeeded", "failed")
_COLUMNS = ", ".join(TABLE.names[1:])


def _payment(row: Found) -> Payment:
    told = dict(zip(TABLE.names[1:], row, strict=True))
    return Payment(
        customer=told.pop("customer_id"),
        amount_refunded=told.pop("refunded"),
        created=moment(told.pop("created")),
        ended_at=_moment(told.pop("ended_at")),
        **told,
    )


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)
