"""What is owed and for how long: a row for every span of time in which an invoice's debt stood.

The spans of a day long past are still there, so the question can be asked as of any day.
"""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.domain.value import LARGEST
from counterfoil.projections.invoice_fold import FoldedInvoice
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

TABLE = Table(
    "ageing",
    (
        *text("tenant", "invoice"),
        *integer("version"),
        *text("customer_id", "currency"),
        *text("due_date", null=True),
        *integer("owed", "since", "until"),
    ),
    key=("tenant", "invoice", "version"),
    indexes=(Index("tenant, until, since"), Index("tenant, customer_id, until")),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    rows: list[Row] = []
    if not invoice.document:
        return (rows,)
    tenant, id, currency = invoice.tenant, invoice.id, invoice.currency
    customer, due = invoice.terms["customer"]["id"], invoice.document["due_on"]
    noted = invoice.books
    for place, (version, since, books) in enumerate(noted, 1):
        owed = books.receivable
        if owed:
            until = noted[place].at if place < len(noted) else LARGEST
            rows.append((tenant, id, version, customer, currency, due, owed, since, until))
    return (rows,)


PROJECTION = Projection("ageing", 1, "invoice", (TABLE,), _rows)
