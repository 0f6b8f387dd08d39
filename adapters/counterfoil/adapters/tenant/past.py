"""A tenant's past: the story of a document, what it was at any moment, and why an amount is what it
is. All of it is told from the facts; only for the money of an activity the journal is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import cast

from counterfoil.adapters.event_store.reading import lives, rows_of, told
from counterfoil.adapters.event_store.rows import Row, recorded
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE, of_kind
from counterfoil.adapters.tenant.office import Office
from counterfoil.adapters.zones import zone_of
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.invoice.events import InvoiceEvent, Status
from counterfoil.domain.invoice.state import fold
from counterfoil.projections.activity import Asked as ActivityAsked
from counterfoil.projections.activity import Bucket, activity
from counterfoil.projections.differences import Change, difference
from counterfoil.projections.explain import Explanation, explained
from counterfoil.projections.invoice import Invoice, status_told, view_invoice
from counterfoil.projections.paging import (
    LIMIT,
    Page,
    moment_of,
    not_found,
    one_of,
    sayable,
    word,
)
from counterfoil.projections.timeline import Asked, Entry, cut, entries_of, rests_on, version_of

_SERIES = "series:"
_STATUSES = tuple(status.value for status in Status if status is not Status.DISCARDED)


class Past(Office):
    """What was, and why."""

    def history(
        self,
        document: str,
        *,
        limit: int = LIMIT,
        after: int | None = None,
        before: int | None = None,
        newest_first: bool = True,
    ) -> Page[Entry]:
        """A page of the story of an invoice, a credit note or a number series (`series:…`).

        `after` and `before` name a version: the page lies right beside it, in time, whichever way
        it is shown. A fact that cannot be read is an entry with its `problem`; it hides no other.
        """
        asked = Asked(limit, after, before, newest_first)
        stream, kind = _document(document)
        log = self._house.log
        rows = rows_of(log, self._name, stream, upto=asked.upto)
        if not rows:
            raise NotFound(kind, stream)
        part = cut([row.version for row in rows], asked)
        if part is None:
            raise NotFound("version", f"{asked.cursor} of {stream}")
        earlier = rows[: part.first]
        shown = [told(row, log.codec) for row in rows[part.first : part.end]]
        needed = rests_on([(row.type, row.body) for row in earlier], shown)
        entries = entries_of(stream, [told(earlier[place], log.codec) for place in needed], shown)
        return Page(tuple(reversed(entries) if newest_first else entries), part.more)

    def invoice_as_of(
        self, invoice: str, *, at: datetime | None = None, version: int | None = None
    ) -> Invoice:
        """The invoice as its first facts made it: those recorded at or before a time, or as far as
        a version. Where a clock was set back, versions decide: nothing is known before what came
        earlier in its history.
        """
        if (at is None) == (version is None):
            raise Malformed("at", "say either at or version")
        if version is not None:
            return self._shown(invoice, self._upto(invoice, version))
        until = moment_of("at", at)
        rows = rows_of(self._house.log, self._name, of_kind(INVOICE, invoice))
        return self._shown(invoice, known_at(rows, until))

    def diff(self, invoice: str, version_a: int, version_b: int) -> tuple[Change, ...]:
        """What is other in an invoice between two of its versions, field by field, in words."""
        first, second = (
            [self._fact(row).fact for row in self._upto(invoice, version)]
            for version in (version_a, version_b)
        )
        return difference(fold(first), fold(second))

    def invoices_as_of(
        self, at: datetime, *, status: str | None = None, customer: str | None = None
    ) -> Iterator[Invoice]:
        """All invoices as they were at a time, one by one, in the order of their ids.

        The whole log of the tenant is read, a page at a time: memory does not grow with it.
        """
        until = moment_of("at", at)
        one_of("status", status, _STATUSES)
        if customer is not None:
            word("customer", customer)
        return self._all_as_of(until, status, customer)

    def _all_as_of(self, until: int, status: str | None, customer: str | None) -> Iterator[Invoice]:
        for rows in lives(self._house.log, self._name, "invoice."):
            known = known_at(rows, until)
            # Most invoices are sorted out by the types of their facts, before any is decoded.
            likely = status_told(row.type for row in known)
            if not known or (status is not None and likely not in {None, status}):
                continue
            invoice = view_invoice([self._fact(row) for row in known])
            if invoice is None or status not in {None, invoice.status}:
                continue
            if customer in {None, invoice.customer.id}:
                yield invoice

    def explain(self, invoice: str, amount: str) -> Explanation:
        """Which facts and which rules make an amount, such as `tax`, step by step; it is worked
        out again from the lines, and compared with what is stored.
        """
        rows = rows_of(self._house.log, self._name, of_kind(INVOICE, invoice))
        if not rows:
            raise NotFound("invoice", invoice)
        return explained([self._fact(row) for row in rows], amount)

    def activity(
        self,
        *,
        bucket: str = "day",
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        type: str | Sequence[str] = (),
        actor: str | None = None,
        currency: str | None = None,
        timezone: str | None = None,
    ) -> tuple[Bucket, ...]:
        """How much happened by day, ISO week or month: facts by type and actor, money by currency.

        From `since` on and before `until`, in a time zone whose days these are: the tenant's,
        unless another is said. Both may be days or moments; left out, they are the first fact and
        now. `type` is such as `invoice.finalized`, or several; `actor` such as `user` or
        `user:u_42`; with `currency`, only facts of documents in it count. Buckets in which nothing
        happened are there, with zeros.
        """
        types = (type,) if isinstance(type, str) else tuple(type)
        asked = ActivityAsked(bucket, since, until, types, actor, currency)
        zone = self._house.timezone if timezone is None else zone_of(timezone)
        return activity(self._house.store, self._name, asked, zone, self._house.clock())

    def _upto(self, invoice: str, version: int) -> Sequence[Row]:
        """The rows as far as a version that there is."""
        version_of("version", version)
        stream = of_kind(INVOICE, invoice)
        rows = rows_of(self._house.log, self._name, stream, upto=version)
        if rows and rows[-1].version != version:
            raise NotFound("version", f"{version} of {stream}")
        if not rows:
            raise NotFound("invoice", stream)
        return rows

    def _shown(self, name: str, rows: Sequence[Row]) -> Invoice:
        shown = view_invoice([self._fact(row) for row in rows]) if rows else None
        if shown is None:
            raise NotFound("invoice", name)
        return shown

    def _fact(self, row: Row) -> Recorded[InvoiceEvent]:
        return cast("Recorded[InvoiceEvent]", recorded(row, self._house.log.codec))


def known_at(rows: Sequence[Row], until: int) -> Sequence[Row]:
    """The facts that were known at a time: those before the first that was recorded later."""
    later = (place for place, row in enumerate(rows) if row.recorded_at > until)
    return rows[: next(later, len(rows))]


def _document(name: object) -> tuple[str, str]:
    """The stream of a document, and what kind it is."""
    if not isinstance(name, str) or not sayable(name):
        raise not_found("document", name)
    if name.startswith(_SERIES):
        return name, "series"
    if name.startswith(f"{CREDIT_NOTE}_"):
        return of_kind(CREDIT_NOTE, name), "credit note"
    return of_kind(INVOICE, name), "invoice"
