"""Do two databases hold the same rows? Both are read in the order of their keys, side by side.

One of them is live, the other was made of the same facts; they may be of different kinds, which
sort alike. No more than a page of each is held at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from counterfoil.projections.progress import Progress, Watch
from counterfoil.projections.projection import Projection, Row, Table
from counterfoil.projections.store import Session
from counterfoil.projections.verify import DESCRIBED, Difference, differences

# Rows that are read at once.
PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Compared:
    """A table in both databases: how many rows each holds, and how many cells or rows differ."""

    name: str
    rows: int
    replayed: int
    differing: int


class Comparison:
    """What was compared so far, and the first of what differs."""

    def __init__(self, watch: Watch = lambda _: None) -> None:
        self.tables: list[Compared] = []
        self.described: list[Difference] = []
        self._watch = watch
        self._seen = 0
        self._total = 0

    @property
    def count(self) -> int:
        """How many cells or whole rows differ."""
        return sum(table.differing for table in self.tables)

    def compare(self, projections: tuple[Projection, ...], live: Session, made: Session) -> None:
        """Compare every cell of these read models as they are live and as they were made."""
        tables = [(one, table) for one in projections for table in one.tables]
        self._total += sum(table_size(live, table) for _, table in tables)
        for projection, table in tables:
            self.tables.append(self._compare(projection, table, live, made))

    def _compare(
        self, projection: Projection, table: Table, live: Session, made: Session
    ) -> Compared:
        rows = replayed = differing = 0
        for stored, true in _pairs(table, _rows(live, table), _rows(made, table)):
            rows += stored is not None
            replayed += true is not None
            if stored != true:
                for difference in differences(projection, table, true, stored):
                    differing += 1
                    if len(self.described) < DESCRIBED:
                        self.described.append(difference)
            self._seen += 1
            if self._seen % PAGE == 0:
                self._say()
        self._say()
        return Compared(table.name, rows, replayed, differing)

    def _say(self) -> None:
        # What should not be there was not counted.
        self._watch(Progress("compare", self._seen, max(self._seen, self._total)))


def table_size(session: Session, table: Table) -> int:
    """How many rows a table holds."""
    # What has come to nothing may be written down, or not.
    where = f" WHERE {table.adds} <> 0" if table.adds else ""
    ((count,),) = session.select(f"SELECT count(*) FROM {table.name}{where}", {})
    return int(count)


def _rows(session: Session, table: Table) -> Iterator[Row]:
    """All rows of a table in the order of their keys, less what has come to nothing."""
    key = ", ".join(table.key)
    after: Row | None = None
    while True:
        names = [f"after_{name}" for name in table.key]
        said = ", ".join(f":{name}" for name in names)
        behind = "" if after is None else f" WHERE ({key}) > ({said})"
        found = session.select(
            f"SELECT {', '.join(table.names)} FROM {table.name}{behind}"
            f" ORDER BY {key} LIMIT {PAGE:d}",
            {} if after is None else dict(zip(names, after, strict=True)),
        )
        for row in found:
            if not table.adds or row[-1]:
                yield row
        if len(found) < PAGE:
            return
        after = table.key_of(found[-1])


def _pairs(
    table: Table, live: Iterator[Row], made: Iterator[Row]
) -> Iterator[tuple[Row | None, Row | None]]:
    """Rows of the same key side by side; None where there is none."""
    stored, true = next(live, None), next(made, None)
    while stored is not None or true is not None:
        if stored == true or true is None or stored is None:
            first, second = stored, true
        else:
            mine, theirs = _order(table, stored), _order(table, true)
            first = stored if mine <= theirs else None
            second = true if theirs <= mine else None
        yield first, second
        if first is not None:
            stored = next(live, None)
        if second is not None:
            true = next(made, None)


def _order(table: Table, row: Row) -> tuple[str | int, ...]:
    """The key as both databases and Python sort it: no column of a key is ever empty."""
    return tuple(cell for cell in table.key_of(row) if cell is not None)
