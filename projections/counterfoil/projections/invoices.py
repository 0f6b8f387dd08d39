"""The invoices as they are now, one row each: their table and their rows.

Beside it stand their metadata, by key and value, and how many there are of each status. Those are
counted in sixteen slots, so that writers of one tenant seldom wait for each other's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from pydantic_core import to_json

from counterfoil.domain.line import Discount, Line
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.totals import total
from counterfoil.projections.invoice_fold import DISCARDED, FoldedInvoice
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

SLOTS = 16

TABLE = Table(
    "invoices",
    (
        *text("tenant", "id", "status", "currency", "customer_id"),
        *text("number", "series", "subscription", null=True),
        *text("collection_method", "tax_rounding"),
        *text("issued_on", "due_date", "period_start", "period_end", null=True),
        *text("description", "footer", null=True),
        *text("customer"),
        *text("seller", "discount", null=True),
        *text("tax_groups", "metadata"),
        *integer("subtotal", "total_discount", "tax", "rounding", "total"),
        *integer("amount_due", "amount_paid", "amount_remaining"),
        *integer("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount"),
        *integer("attempt_count", "created"),
        *integer("finalized_at", "sent_at", "paid_at", "voided_at", null=True),
        *integer("marked_uncollectible_at", null=True),
        *integer("version"),
    ),
    key=("tenant", "id"),
    indexes=(
        Index("tenant, created, id"),
        Index("tenant, customer_id, created, id"),
        Index("tenant, status, created, id"),
        Index("tenant, currency, created, id"),
        Index("tenant, subscription, created, id", "subscription IS NOT NULL"),
        Index("tenant, number", "number IS NOT NULL"),
        Index("tenant, due_date, id", "due_date IS NOT NULL"),
    ),
)
METADATA = Table(
    "invoice_metadata",
    (*text("tenant", "invoice", "name", "value"), *integer("created")),
    key=("tenant", "invoice", "name"),
    indexes=(Index("tenant, name, value, created, invoice"),),
)
COUNTS = Table(
    "invoice_counts",
    (*text("tenant", "status"), *integer("slot", "count")),
    key=("tenant", "status", "slot"),
    adds="count",
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row], Sequence[Row], Sequence[Row]]:
    if invoice.status == DISCARDED:
        return (), (), ()
    tenant, id, created = invoice.tenant, invoice.id, invoice.created
    metadata = [(tenant, id, name, value, created) for name, value in invoice.metadata.items()]
    slot = crc32(id.encode()) % SLOTS
    return (_row(invoice),), metadata, ((tenant, invoice.status, slot, 1),)


def _row(invoice: FoldedInvoice) -> Row:
    terms, document = invoice.terms, invoice.document
    if document:
        said = document["totals"]
        due, paid = said["total"] - invoice.pre_payment, invoice.amount_paid
        number, series = document["number"], document["series"]
        issued_on, due_date, seller = document["issued_on"], document["due_on"], document["seller"]
    else:
        said = draft_totals(invoice)
        due, paid = said["total"], 0
        number, series, issued_on = None, None, None
        due_date, seller = terms["due_date"], terms["seller"]
    return (
        invoice.tenant,
        invoice.id,
        invoice.status,
        invoice.currency,
        terms["customer"]["id"],
        number,
        series,
        terms["subscription"],
        terms["collection_method"],
        invoice.tax_rounding,
        issued_on,
        due_date,
        terms["period_start"],
        terms["period_end"],
        terms["description"],
        terms["footer"],
        _json(terms["customer"]),
        _json(seller) if seller is not None else None,
        _json(invoice.discount) if invoice.discount is not None else None,
        _json(said["groups"]),
        _json(invoice.metadata),
        said["subtotal"],
        said["discount"],
        said["tax"],
        said["rounding"],
        said["total"],
        due,
        paid,
        due - paid,
        invoice.pre_payment,
        invoice.post_payment,
        invoice.attempt_count,
        invoice.created,
        invoice.finalized_at,
        invoice.sent_at,
        invoice.paid_at,
        invoice.voided_at,
        invoice.marked_uncollectible_at,
        invoice.version,
    )


def _json(value: object) -> str:
    return to_json(value).decode()


def draft_totals(invoice: FoldedInvoice) -> dict[str, Any]:
    """What a draft comes to as it stands; a finalized document says so itself."""
    lines = [Line.model_validate(line) for line in invoice.lines.values()]
    discount = None if invoice.discount is None else Discount.model_validate(invoice.discount)
    totals = total(lines, discount, invoice.currency, TaxRounding(invoice.tax_rounding))
    return totals.model_dump(mode="json")


PROJECTION = Projection("invoices", 1, "invoice", (TABLE, METADATA, COUNTS), _rows)
