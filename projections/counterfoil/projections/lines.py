"""The lines of every invoice, in the order in which they were added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from counterfoil.domain.errors import NotFound
from counterfoil.domain.line import Discount
from counterfoil.domain.tax import Tax
from counterfoil.projections.invoice import InvoiceLine
from counterfoil.projections.invoice_fold import DISCARDED, FoldedInvoice
from counterfoil.projections.paging import Asked, Page
from counterfoil.projections.projection import Projection, Row, Select, Table, integer, text

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
    for place, line in enumerate(invoice.lines.values(), 1):
        tax, discount = line.tax, line.discount
        rows.append(
            (
                invoice.tenant,
                invoice.id,
                line.id,
                place,
                line.description,
                line.quantity,
                line.unit_price,
                tax.rate,
                tax.category,
                tax.exemption_reason,
                1 if tax.inclusive else 0,
                None if discount is None else discount.percent,
                None if discount is None else discount.amount,
                line.discounted,
                line.amount,
                line.net,
            )
        )
    return (rows,)


PROJECTION = Projection("lines", 1, "invoice", (TABLE,), _rows)


def lines_of(
    select: Select, tenant: str, invoices: Sequence[str]
) -> Mapping[str, list[InvoiceLine]]:
    """The lines of these invoices."""
    found: dict[str, list[InvoiceLine]] = {invoice: [] for invoice in invoices}
    if not invoices:
        return found
    # As many places as the next power of two: few different queries, each prepared once.
    places = 1 << (len(invoices) - 1).bit_length()
    names = {f"i{place}": invoices[min(place, len(invoices) - 1)] for place in range(places)}
    rows = select(
        f"SELECT {', '.join(TABLE.names[1:])} FROM lines WHERE tenant = :tenant"  # noqa: S608
        f" AND invoice IN ({', '.join(f':{name}' for name in names)}) ORDER BY invoice, place",
        {"tenant": tenant, **names},
    )
    for row in rows:
        found[row[0]].append(_line(row))
    return found


def lines_page(select: Select, tenant: str, invoice: str, asked: Asked) -> Page[InvoiceLine]:
    """A page of an invoice's lines, in their order."""
    cursor = asked.cursor
    place = -1
    values = {"tenant": tenant, "invoice": invoice}
    if cursor is not None:
        rows = select(
            "SELECT place FROM lines WHERE tenant = :tenant AND invoice = :invoice AND id = :id",
            {**values, "id": cursor},
        )
        if not rows:
            raise NotFound("line", cursor)
        ((place,),) = rows
    sign, order = ("<", "DESC") if asked.backwards else (">", "ASC")
    rows = select(
        f"SELECT {', '.join(TABLE.names[1:])} FROM lines WHERE tenant = :tenant"  # noqa: S608
        f" AND invoice = :invoice AND place {sign} :place ORDER BY place {order} LIMIT :limit",
        {**values, "place": place, "limit": asked.limit + 1},
    )
    shown = [_line(row) for row in rows[: asked.limit]]
    return Page(tuple(shown[::-1] if asked.backwards else shown), len(rows) > asked.limit)


def _line(row: Sequence[Any]) -> InvoiceLine:
    (_, id, _, description, quantity, unit_price, *tax, percent, amount, discounted, gross, net) = (
        row
    )
    rate, category, exemption_reason, inclusive = tax
    discount = None
    if percent is not None or amount is not None:
        discount = Discount.model_validate({"percent": percent, "amount": amount})
    return InvoiceLine(
        id=id,
        description=description,
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        tax=Tax(
            rate=rate,
            category=category,
            exemption_reason=exemption_reason,
            inclusive=bool(inclusive),
        ),
        discount=discount,
        discount_amount=discounted,
        amount=gross,
        net=net,
    )
