"""The books: what every fact moved between accounts, its debits always equal to its credits."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.projections.invoice_fold import Books, FoldedInvoice
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

TABLE = Table(
    "journal",
    (
        *text("tenant", "invoice"),
        *integer("version"),
        *text("account", "currency", "customer_id"),
        *integer("debit", "credit", "at"),
    ),
    key=("tenant", "invoice", "version", "account"),
    indexes=(Index("tenant, at, invoice, version"), Index("tenant, account, currency, at")),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    rows = []
    tenant, id, currency = invoice.tenant, invoice.id, invoice.currency
    before = Books()
    for version, at, books in invoice.books:
        for account, was, now in zip(Books._fields, before, books, strict=True):
            moved = now - was
            if moved:
                debit, credit = (moved, 0) if moved > 0 else (0, -moved)
                customer = invoice.terms["customer"]["id"]
                rows.append((tenant, id, version, account, currency, customer, debit, credit, at))
        before = books
    return (rows,)


PROJECTION = Projection("journal", 1, "invoice", (TABLE,), _rows)
