"""The lines of every invoice, in the order in which they were added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from counterfoil.domain.line import Discount
from counterfoil.domain.tax import Tax
from counterfoil.projections.invoice import InvoiceLine
from counterfoil.projections.invoice_fold import DISCARDED, FoldedInvoice
from counterfoil.projections.paging import Asked, Page, not_found, shown
from counterfoil.projections.projection import Projection, Question, Row, Table, integer, text
from counterfoil.projections.store import Store

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


_COLUMNS = ", ".join(TABLE.names[1:])


def lines_of(invoices: Question) -> Question:
    """What to ask for all lines of the invoices whose ids are asked for."""
    return Question(
        f"SELECT {_COLUMNS} FROM lines WHERE tenant = :tenant"
        f" AND invoice IN ({invoices.query}) ORDER BY invoice, place",
        invoices.values,
    )


def by_invoice(rows: Sequence[Sequence[Any]]) -> Mapping[str, list[InvoiceLine]]:
    """The lines that were found, by their invoices."""
    found: dict[str, list[InvoiceLine]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(_line(row))
    return found


def lines_page(store: Store, tenant: str, invoice: str, asked: Asked) -> Page[InvoiceLine]:
    """A page of an invoice's lines, in their order."""
    place = -1
    values: dict[str, object] = {"tenant": tenant, "invoice": invoice}
    if asked.cursor is not None:
        query = "SELECT place FROM lines WHERE tenant = :tenant AND invoice = :invoice AND id = :id"
        (found,) = store.ask(Question(query, {**values, "id": asked.cursor}))
        if not found:
            raise not_found("line", asked.cursor)
        ((place,),) = found
    sign, order = ("<", "DESC") if asked.backwards else (">", "ASC")
    query = (
        f"SELECT {_COLUMNS} FROM lines WHERE tenant = :tenant AND invoice = :invoice"
        f" AND place {sign} :place ORDER BY place {order} LIMIT :limit"
    )
    (rows,) = store.ask(Question(query, {**values, "place": place, "limit": asked.limit + 1}))
    here, more = shown(rows, asked)
    return Page(tuple(map(_line, here)), more)


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
