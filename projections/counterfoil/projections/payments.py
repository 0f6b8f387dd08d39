"""Every payment of an invoice, whatever became of it, and every refund."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.projections.invoice_fold import FoldedInvoice
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

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
        Index("tenant, created, invoice, id"),
        Index("tenant, reference", "reference IS NOT NULL"),
    ),
)
REFUNDS = Table(
    "refunds",
    (
        *text("tenant", "invoice", "id", "payment", "currency"),
        *integer("amount", "reopened"),
        *text("reason", "reference", null=True),
        *integer("created"),
    ),
    key=("tenant", "invoice", "id"),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row], Sequence[Row]]:
    if not invoice.payments:
        return (), ()
    tenant, id, currency = invoice.tenant, invoice.id, invoice.currency
    customer = invoice.terms["customer"]["id"]
    refunded = dict.fromkeys(invoice.payments, 0)
    refunds = []
    for at, said in invoice.refunds:
        refunded[said["payment"]] += said["amount"]
        refunds.append(
            (
                tenant,
                id,
                said["refund"],
                said["payment"],
                currency,
                said["amount"],
                said["reopened"],
                said["reason"],
                said["reference"],
                at,
            )
        )
    rows = []
    for name, payment in invoice.payments.items():
        said = payment.said
        rows.append(
            (
                tenant,
                id,
                name,
                payment.status,
                customer,
                currency,
                said["amount"],
                said.get("surplus", 0),
                refunded[name],
                said["processor"],
                said.get("payment_method"),
                said.get("reference"),
                payment.intent,
                payment.failed.get("code"),
                payment.failed.get("message"),
                said.get("received_at"),
                payment.ended_at if payment.attempted_at is None else payment.attempted_at,
                payment.ended_at,
            )
        )
    return rows, refunds


PROJECTION = Projection("payments", 1, "invoice", (TABLE, REFUNDS), _rows)
