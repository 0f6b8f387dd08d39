"""What each customer owes and has paid, by currency.

A row is what one invoice adds to that. A single row for each customer would have all writers who
serve one wait for each other; with an index by customer, adding up is one short walk.
"""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.projections.invoice_fold import OPEN, UNCOLLECTIBLE, VOID, FoldedInvoice
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

TABLE = Table(
    "customers",
    (
        *text("tenant", "invoice", "customer_id", "currency", "name"),
        *text("due_date", null=True),
        *integer("invoiced", "open", "paid", "uncollectible", "credit", "since"),
    ),
    key=("tenant", "invoice"),
    indexes=(Index("tenant, customer_id, currency, since"),),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    if not invoice.document:
        return ((),)
    customer, books = invoice.terms["customer"], invoice.books
    last = books[-1].books if books else None
    row = (
        invoice.tenant,
        invoice.id,
        customer["id"],
        invoice.currency,
        customer["name"],
        invoice.document["due_on"],
        0 if invoice.status == VOID else invoice.total,
        invoice.amount_remaining if invoice.status == OPEN else 0,
        invoice.amount_paid,
        invoice.amount_remaining if invoice.status == UNCOLLECTIBLE else 0,
        -last.credit if last else 0,
        invoice.finalized_at,
    )
    return ((row,),)


PROJECTION = Projection("customers", 1, "invoice", (TABLE,), _rows)
