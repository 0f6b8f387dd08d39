"""Which numbers were used, and by what: one row for each number of every series."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.projections.history import History
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

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
    if first[0] != SeriesOpened.stored_as:
        raise history.corrupt(f"{first[0]} cannot happen to no series", first)
    opened = first[4]
    rows = []
    for fact in numbers:
        type, _, _, at, said = fact
        if type != NumberAssigned.stored_as:
            raise history.corrupt(f"{type} cannot happen to a series", fact)
        rows.append(
            (
                history.tenant,
                history.stream,
                said["place"],
                opened["series"],
                opened["kind"],
                opened["seller"],
                said["number"],
                said["document"],
                said["issued_on"],
                opened["year"],
                opened["first"],
                at,
            )
        )
    return (rows,)


PROJECTION = Projection("series", 1, "series", (TABLE,), _rows)
