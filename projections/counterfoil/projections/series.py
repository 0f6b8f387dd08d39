"""Which numbers were used, and by what: one row for each number of every series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import LARGEST
from counterfoil.projections import facts
from counterfoil.projections.history import History
from counterfoil.projections.invoice import View
from counterfoil.projections.paging import LIMIT, Asked, Page, not_found, sayable
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

TABLE = Table(
    "series",
    (
        *text("tenant", "stream"),
        *integer("place"),
        *text("series", "kind", "seller", "number", "document", "issued_on"),
        *integer("year", null=True),
        *integer("first", "assigned_at"),
    ),
    key=("tenant", "stream", "place"),
    indexes=(Index("tenant, number"), Index("tenant, document"), Index("tenant, issued_on")),
)


def _rows(history: History) -> tuple[Sequence[Row]]:
    first, *numbers = history.facts
    if first.type != SeriesOpened.stored_as:
        raise history.corrupt(f"{first.type} cannot happen to no series", first)
    opened = _opened(first.body)
    rows = []
    for fact in numbers:
        if fact.type != NumberAssigned.stored_as:
            raise history.corrupt(f"{fact.type} cannot happen to a series", fact)
        said = _assigned(fact.body)
        rows.append(
            (
                history.tenant,
                history.stream,
                said.place,
                opened.series,
                opened.kind,
                opened.seller,
                said.number,
                said.document,
                said.issued_on,
                opened.year,
                opened.first,
                fact.at,
            )
        )
    return (rows,)


_opened = msgspec.json.Decoder(facts.SeriesOpened).decode
_assigned = msgspec.json.Decoder(facts.NumberAssigned).decode


PROJECTION = Projection("series", 1, "series", (TABLE,), _rows)


# --- asked ------------------------------------------------------------------------------------


class SeriesUse(View):
    """How far a series is used; `gaps` counts the places that no document has, which is none."""

    series: str
    kind: str
    seller: str
    year: int | None
    first: int
    last: int
    used: int
    gaps: int


class UsedNumber(View):
    """A number, and the document that has it."""

    series: str
    place: int
    number: str
    document: str
    issued_on: date


class Series:
    """The number series of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def all(self) -> tuple[SeriesUse, ...]:
        """Every series in which a number was given, and how far it is used."""
        (rows,) = self._store.ask(
            Question(
                "SELECT series, kind, seller, year, first, max(place), count(*) FROM series"
                " WHERE tenant = :tenant GROUP BY stream, series, kind, seller, year, first"
                " ORDER BY stream",
                {"tenant": self._tenant},
            )
        )
        return tuple(
            SeriesUse(
                series=series,
                kind=kind,
                seller=seller,
                year=year,
                first=first,
                last=last,
                used=used,
                gaps=last - first + 1 - used,
            )
            for series, kind, seller, year, first, last, used in rows
        )

    def numbers(
        self, series: str, *, limit: int = LIMIT, after: int | None = None
    ) -> Page[UsedNumber]:
        """A page of a series' numbers in their order, from behind a place."""
        asked = Asked(limit, None, None)
        if after is not None and (type(after) is not int or not 0 <= after <= LARGEST):
            raise Malformed("after", "must be a place in the series")
        if not sayable(series):
            raise NotFound("series")
        (rows,) = self._store.ask(
            Question(
                "SELECT series, place, number, document, issued_on FROM series"
                " WHERE tenant = :tenant AND stream = :stream AND place > :after"
                " ORDER BY place LIMIT :limit",
                {
                    "tenant": self._tenant,
                    "stream": f"series:{series}",
                    "after": 0 if after is None else after,
                    "limit": asked.limit + 1,
                },
            )
        )
        if not rows and after is None:
            raise not_found("series", series)
        names = UsedNumber.model_fields
        found = [UsedNumber(**dict(zip(names, row, strict=True))) for row in rows[: asked.limit]]
        return Page(tuple(found), len(rows) > asked.limit)
