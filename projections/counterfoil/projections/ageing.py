"""What is owed and for how long: a row for every span of time in which an invoice's debt stood.

The spans of a day long past are still there, so the question can be asked as of any day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta, tzinfo

from counterfoil.domain.errors import Malformed
from counterfoil.domain.value import LARGEST
from counterfoil.projections.invoice import View
from counterfoil.projections.invoice_fold import FoldedInvoice
from counterfoil.projections.paging import microseconds, word
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
from counterfoil.projections.totals import halves, wholes

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
    if invoice.document is None:
        return (rows,)
    tenant, id, currency = invoice.tenant, invoice.id, invoice.currency
    customer, due = invoice.customer.id, invoice.document.due_on
    noted = invoice.books
    for place, (version, since, books) in enumerate(noted, 1):
        owed = books.receivable
        if owed:
            until = noted[place].at if place < len(noted) else LARGEST
            rows.append((tenant, id, version, customer, currency, due, owed, since, until))
    return (rows,)


PROJECTION = Projection("ageing", 2, "invoice", (TABLE,), _rows, reads_books=True)


# --- asked ------------------------------------------------------------------------------------


class Aged(View):
    """What is owed in one currency, by how many days it is late; no due date is never late."""

    currency: str
    not_due: int
    days_1_30: int
    days_31_60: int
    days_61_90: int
    days_over_90: int
    total: int


class Ageing:
    """What a tenant is owed, by age."""

    def __init__(self, store: Store, tenant: str, today: Callable[[], date], zone: tzinfo) -> None:
        self._store = store
        self._tenant = tenant
        self._today = today
        self._zone = zone

    def as_of(self, day: date | None = None, *, customer: str | None = None) -> tuple[Aged, ...]:
        """What was owed at the end of a day, or is owed today, currency by currency."""
        on = self._today() if day is None else day
        if type(on) is not date:
            raise Malformed("day", "must be a date")
        on = min(max(on, _FIRST), _LAST)
        days = {f"day_{late}": (on - timedelta(days=late)).isoformat() for late in (30, 60, 90)}
        values = {"tenant": self._tenant, "day": on.isoformat(), "at": self._end(on), **days}
        of = ""
        if customer is not None:
            of, values["customer"] = " AND customer_id = :customer", word("customer", customer)
        query = f"{_AGED}{of} GROUP BY currency ORDER BY currency"
        (rows,) = self._store.ask(Question(query, values))
        return tuple(
            Aged(**dict(zip(Aged.model_fields, (row[0], *wholes(row[1:])), strict=True)))
            for row in rows
        )

    def _end(self, day: date) -> int:
        """The last microsecond of a day, where the tenant's days begin and end."""
        midnight = datetime.combine(day + timedelta(days=1), time(), self._zone)
        return microseconds(midnight) - 1


# What lies further away has no day ninety days before it, or none after it, in some time zone.
_FIRST, _LAST = date(1, 6, 1), date(9999, 12, 29)
_BUCKETS = (
    "due_date IS NULL OR due_date >= :day",
    "due_date < :day AND due_date >= :day_30",
    "due_date < :day_30 AND due_date >= :day_60",
    "due_date < :day_60 AND due_date >= :day_90",
    "due_date < :day_90",
)
_AGED = (
    "SELECT currency, "
    + ", ".join(halves(f"CASE WHEN {bucket} THEN owed ELSE 0 END") for bucket in _BUCKETS)
    + f", {halves('owed')} FROM ageing WHERE tenant = :tenant AND until > :at AND since <= :at"
)
