"""The invoices as they are now, one row each: their table and their rows.

Beside it stand their metadata, by key and value, and how many there are of each status. Those are
counted in sixteen slots, so that writers of one tenant seldom wait for each other's row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, TypedDict, Unpack
from zlib import crc32

import msgspec
from pydantic import TypeAdapter

from counterfoil.domain.errors import Conflict, NotFound
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.totals import TaxGroup, total
from counterfoil.domain.value import LARGEST
from counterfoil.projections import facts
from counterfoil.projections.filters import Filters, meeting
from counterfoil.projections.invoice import Invoice, InvoiceLine
from counterfoil.projections.invoice_fold import DISCARDED, FoldedInvoice
from counterfoil.projections.lines import TABLE as LINES
from counterfoil.projections.lines import by_invoice, lines_of, lines_page
from counterfoil.projections.paging import (
    INVOICE_BEGAN,
    LIMIT,
    Asked,
    Conditions,
    Found,
    Page,
    moment,
    not_found,
    page,
    sayable,
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
    said = _metadata(invoice.metadata)
    metadata = [(tenant, id, name, value, created) for name, value in said.items()]
    slot = crc32(id.encode()) % SLOTS
    return (_row(invoice),), metadata, ((tenant, invoice.status, slot, 1),)


_metadata = msgspec.json.Decoder(dict[str, str]).decode


def _row(invoice: FoldedInvoice) -> Row:
    terms, document = invoice.terms, invoice.document
    if document is not None:
        totals = document.totals
        due, paid = totals.total - invoice.pre_payment, invoice.amount_paid
        number, series, issued_on = document.number, document.series, document.issued_on
        due_date, seller = document.due_on, document.seller
    else:
        # Another version is another row, whatever the draft came to.
        totals = _NO_TOTALS if invoice.past else _draft_totals(invoice)
        due, paid = totals.total, 0
        number, series, issued_on = None, None, None
        due_date, seller = terms.due_date, terms.seller
    return (
        invoice.tenant,
        invoice.id,
        invoice.status,
        invoice.currency,
        invoice.customer.id,
        number,
        series,
        terms.subscription,
        terms.collection_method,
        invoice.tax_rounding,
        issued_on,
        due_date,
        terms.period_start,
        terms.period_end,
        terms.description,
        terms.footer,
        facts.text(terms.customer),
        facts.text(seller),
        None if invoice.discount is None else facts.text(invoice.discount),
        facts.text(totals.groups),
        facts.text(invoice.metadata),
        totals.subtotal,
        totals.discount,
        totals.tax,
        totals.rounding,
        totals.total,
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


def _draft_totals(invoice: FoldedInvoice) -> facts.Totals:
    """What a draft comes to as it stands; a finalized document says so itself."""
    lines = [Line.model_validate(msgspec.to_builtins(line)) for line in invoice.lines.values()]
    said = None if invoice.discount is None else facts.text(invoice.discount)
    discount = None if said is None else Discount.model_validate_json(said)
    totals = total(lines, discount, invoice.currency, TaxRounding(invoice.tax_rounding))
    return _totals(totals.model_dump_json())


_NO_TOTALS = facts.Totals(0, 0, 0, 0, 0, msgspec.Raw(b"[]"))
_totals = msgspec.json.Decoder(facts.Totals).decode


PROJECTION = Projection("invoices", 1, "invoice", (TABLE, METADATA, COUNTS), _rows)


# --- asked ------------------------------------------------------------------------------------

_COLUMNS = ", ".join(TABLE.names[1:])
# How many invoices are read at once when all of them are asked for.
STEP = 500


class Asking(TypedDict, total=False):
    """Which page is meant."""

    limit: int
    starting_after: str | None
    ending_before: str | None


class Invoices:
    """The invoices of one tenant."""

    def __init__(self, store: Store, tenant: str, today: Callable[[], date]) -> None:
        self._store = store
        self._tenant = tenant
        self._today = today

    def get(self, id: str) -> Invoice:
        """The invoice; `NotFound` if there is none, or its draft was deleted."""
        return self._one("id", id)

    def by_number(self, number: str) -> Invoice:
        """The invoice that was given this number."""
        return self._one("number", number)

    def list(
        self,
        *,
        limit: int = LIMIT,
        starting_after: str | None = None,
        ending_before: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page[Invoice]:
        """A page of invoices, newest first: those after one, or those right before one."""
        asked = Asked(limit, starting_after, ending_before)
        conditions = meeting(self._tenant, filters, self._today)
        seek(self._store, conditions, asked, began=INVOICE_BEGAN)
        rows, lines = self._store.ask(
            page(_COLUMNS, "invoices", conditions, asked),
            lines_of(page("id", "invoices", conditions, asked, more=0)),
            of=_TOGETHER,
        )
        here, more = shown(rows, asked)
        return Page(_invoices(here, lines), more)

    def find_by_customer(self, customer: str, **asked: Unpack[Asking]) -> Page[Invoice]:
        """A page of a customer's invoices, newest first."""
        return self.list(customer=word("customer", customer), **asked)

    def find_by_status(self, status: str, **asked: Unpack[Asking]) -> Page[Invoice]:
        """A page of the invoices of a status, newest first."""
        return self.list(status=word("status", status), **asked)

    def find_by_subscription(self, subscription: str, **asked: Unpack[Asking]) -> Page[Invoice]:
        """A page of the invoices of a subscription, newest first."""
        return self.list(subscription=word("subscription", subscription), **asked)

    def all(self, **filters: Unpack[Filters]) -> Iterator[Invoice]:
        """All invoices that the filters let through, oldest first, read as they are needed."""
        return self._all(meeting(self._tenant, filters, self._today))

    def count(self, **filters: Unpack[Filters]) -> int:
        """How many invoices the filters let through; by status alone, that is known already."""
        conditions = meeting(self._tenant, filters, self._today)
        said = {name for name, value in filters.items() if value is not None}
        of = "sum(count) FROM invoice_counts" if said <= {"status"} else "count(*) FROM invoices"
        (((count,),),) = self._store.ask(
            Question(f"SELECT {of} WHERE {conditions}", conditions.values)
        )
        return int(count or 0)

    def lines(
        self,
        id: str,
        *,
        limit: int = LIMIT,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> Page[InvoiceLine]:
        """A page of the lines of an invoice, in the order in which they were added."""
        asked = Asked(limit, starting_after, ending_before)
        query = "SELECT 1 FROM invoices WHERE tenant = :tenant AND id = :id"
        if (
            not sayable(id)
            or not self._store.ask(Question(query, {"tenant": self._tenant, "id": id}))[0]
        ):
            raise not_found("invoice", id)
        return lines_page(self._store, self._tenant, id, asked)

    def _one(self, column: str, value: str) -> Invoice:
        if not sayable(value):
            raise NotFound("invoice")
        of = f"FROM invoices WHERE tenant = :tenant AND {column} = :value ORDER BY created, id"
        values = {"tenant": self._tenant, "value": value}
        rows, lines = self._store.ask(
            Question(f"SELECT {_COLUMNS} {of} LIMIT 2", values),
            lines_of(Question(f"SELECT id {of} LIMIT 2", values)),
            of=_TOGETHER,
        )
        if not rows:
            raise not_found("invoice", value)
        if len(rows) > 1:
            raise Conflict(f"several sellers gave the number {value}: list them by number_prefix")
        return _invoices(rows, lines)[0]

    def _all(self, conditions: Conditions) -> Iterator[Invoice]:
        of = f"FROM invoices WHERE {conditions} AND (created, id) > (:after_created, :after_id)"
        of += " ORDER BY created, id LIMIT :step"
        after: Found = (-LARGEST, "")
        while True:
            values = {**conditions.values, "step": STEP}
            values["after_created"], values["after_id"] = after
            rows, lines = self._store.ask(
                Question(f"SELECT {_COLUMNS} {of}", values),
                lines_of(Question(f"SELECT id {of}", values)),
                of=_TOGETHER,
            )
            yield from _invoices(rows, lines)
            if len(rows) < STEP:
                return
            after = (rows[-1][_CREATED], rows[-1][0])


_TOGETHER = (TABLE, LINES)
_CREATED = TABLE.names[1:].index("created")


def _invoices(rows: Sequence[Found], lines: Sequence[Found]) -> tuple[Invoice, ...]:
    by = by_invoice(lines)
    return tuple(_invoice(row, by.get(row[0], ())) for row in rows)


def _invoice(row: Found, lines: Sequence[InvoiceLine]) -> Invoice:
    told = dict(zip(TABLE.names[1:], row, strict=True))
    for name in _PARSED:
        if told[name] is not None:
            told[name] = _PARSED[name].validate_json(told[name])
    for name in _MOMENTS:
        if told[name] is not None:
            told[name] = moment(told[name])
    return Invoice(**told, lines=tuple(lines))


_PARSED: Mapping[str, TypeAdapter[Any]] = {
    "customer": TypeAdapter(Customer),
    "seller": TypeAdapter(Seller),
    "discount": TypeAdapter(Discount),
    "tax_groups": TypeAdapter(tuple[TaxGroup, ...]),
    "metadata": TypeAdapter(dict[str, str]),
}
_MOMENTS = (
    "created",
    "finalized_at",
    "sent_at",
    "paid_at",
    "voided_at",
    "marked_uncollectible_at",
)
