"""The lines of every invoice, in the order in which they were added."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.projections.invoice_fold import DISCARDED, FoldedInvoice
from counterfoil.projections.projection import Projection, Row, Table, integer, text

TABLE = Table(
    "lines",
    (
        *text("tenant", "invoice", "id"),
        *integer("place"),
        *text("description", "quantity", "unit_price", "tax_rate", "tax_category"),
        *text("tax_exemption_reason", null=True),
        *integer("tax_inclusive"),
        *text("discount_percent", "discount_amount", null=True),
        *integer("discounted", "amount", "net"),
    ),
    key=("tenant", "invoice", "id"),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    if invoice.status == DISCARDED:
        return ((),)
    rows = []
    for place, (id, line) in enumerate(invoice.lines.items(), 1):
        tax, discount = line["tax"], line["discount"]
        rows.append(
            (
                invoice.tenant,
                invoice.id,
                id,
                place,
                line["description"],
                line["quantity"],
                line["unit_price"],
                tax["rate"],
                tax["category"],
                tax["exemption_reason"],
                1 if tax["inclusive"] else 0,
                discount["percent"] if discount is not None else None,
                discount["amount"] if discount is not None else None,
                line["discounted"],
                line["amount"],
                line["net"],
            )
        )
    return (rows,)


PROJECTION = Projection("lines", 1, "invoice", (TABLE,), _rows)
