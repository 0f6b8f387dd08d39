"""Are the read models what the facts make? Every live row is compared with a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from counterfoil.projections.catalogue import chosen
from counterfoil.projections.loading import Piece, read_piece
from counterfoil.projections.projection import Cell, Key, Projection, Row, Table, added
from counterfoil.projections.status import hold_versions, last_position, mode_of
from counterfoil.projections.store import START, Session, Store


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell that is not what the facts make of it; without a column, a whole row."""

    projection: str
    table: str
    key: Mapping[str, Cell]
    column: str | None
    stored: Cell
    true: Cell

    def __str__(self) -> str:
        where = ", ".join(f"{name} {value}" for name, value in self.key.items())
        match self.column, self.stored:
            case None, None:
                return f"{self.table}: {where}: the row is missing"
            case None, _:
                return f"{self.table}: {where}: the row should not be there"
            case _:
                return (
                    f"{self.table}: {where}: {self.column} is {self.stored!r}, "
                    f"the facts make it {self.true!r}"
                )


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification compared, and the first of what differs."""

    names: tuple[str, ...]
    position: int
    rows: int
    differences: tuple[Difference, ...]
    count: int

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return self.count == 0


# So many differences are described; of more, only the number is said.
DESCRIBED = 100

Watch = Callable[[int, int], None]
_Bound = tuple[Cell, ...]


def verify(
    store: Store, names: Sequence[str] = (), *, watch: Watch = lambda _done, _total: None
) -> Verified:
    """Compare every live row of these read models, or of all, with what the facts make of it now.

    A read model that follows behind is compared with the facts as far as its own position.
    """
    projections = chosen(names)
    found = _Found()
    with store.reading() as session:
        hold_versions(session.select, [one.name for one in projections])
    with store.reading(*(table for one in projections for table in one.tables)) as session:
        end = last_position(session.select)
        positions = _positions(session, end)
        for position in sorted({positions[one.name] for one in projections}):
            group = tuple(one for one in projections if positions[one.name] == position)
            _verify(session, group, position, found, watch)
    return Verified(
        tuple(one.name for one in projections), end, found.rows, tuple(found.described), found.count
    )


def _positions(session: Session, end: int) -> Mapping[str, int]:
    stored = dict(session.select("SELECT name, position FROM projections", {}))
    inline = mode_of(session.select) == "inline"
    return {name: end if inline else position for name, position in stored.items()}


class _Found:
    """What was compared so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.count = 0
        self.described: list[Difference] = []

    def add(self, difference: Difference) -> None:
        self.count += 1
        if len(self.described) < DESCRIBED:
            self.described.append(difference)


def _verify(
    session: Session,
    projections: tuple[Projection, ...],
    position: int,
    found: _Found,
    watch: Watch,
) -> None:
    place, done = START, 0
    bounds: dict[Table, _Bound] = {}
    sums: dict[Table, list[Row]] = {}
    last = False
    while not last:
        piece = read_piece(session, position, place, None)
        rows = piece.rows(projections, lambda: nullcontext(session))
        for projection in projections:
            for table in projection.tables:
                made = rows[table]
                if table.adds:
                    sums[table] = added([*sums.get(table, ()), *made])
                    continue
                upper = None if piece.last else _upper(projection, piece, made)
                stored = _stored(session, table, bounds.get(table), upper)
                _compare(projection, table, made, stored, found)
                if upper is not None:
                    bounds[table] = upper
        place, last, done = piece.reached, piece.last, done + piece.facts
        watch(done, position)
    for projection in projections:
        for table in projection.tables:
            if table.adds:
                there = {table.key_of(row) for row in sums[table]}
                # What has come to nothing may be written down, or not.
                stored = [
                    row
                    for row in _stored(session, table, None, None)
                    if row[-1] or table.key_of(row) in there
                ]
                _compare(projection, table, sums[table], stored, found)


def _upper(projection: Projection, piece: Piece, made: Sequence[Row]) -> _Bound:
    """The key up to which a piece has made rows: a series may be cut between two of its own."""
    tenant, stream, _ = piece.reached
    if projection.kind != "series":
        return (tenant, stream)
    return (tenant, stream, made[-1][2] if made and made[-1][:2] == (tenant, stream) else 0)


def _stored(
    session: Session, table: Table, after: _Bound | None, until: _Bound | None
) -> Sequence[Row]:
    conditions: list[str] = []
    values: dict[str, object] = {}
    for word, sign, bound in (("after", ">", after), ("until", "<=", until)):
        if bound is not None:
            # A bound that names less than the key means all that begins with it.
            names = [f"{word}_{place}" for place in range(len(bound))]
            values.update(zip(names, bound, strict=True))
            columns = ", ".join(table.key[: len(bound)])
            conditions.append(f"({columns}) {sign} ({', '.join(f':{name}' for name in names)})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return session.select(f"SELECT {', '.join(table.names)} FROM {table.name}{where}", values)


def _compare(
    projection: Projection, table: Table, made: Sequence[Row], stored: Sequence[Row], found: _Found
) -> None:
    found.rows += len(stored)
    there = {table.key_of(row): row for row in stored}
    for true in made:
        row = there.pop(table.key_of(true), None)
        if row != true:
            for difference in differences(projection, table, true, row):
                found.add(difference)
    for key in there:
        found.add(_difference(projection, table, key, stored="a row"))


def differences(
    projection: Projection, table: Table, true: Row | None, stored: Row | None
) -> Iterator[Difference]:
    """Which cells of a row are not what the facts make of them; None is a row that is not there."""
    if true is None:
        if stored is not None:
            yield _difference(projection, table, table.key_of(stored), stored="a row")
        return
    key = table.key_of(true)
    if stored is None:
        yield _difference(projection, table, key, true="a row")
        return
    for name, was, is_true in zip(table.names, stored, true, strict=True):
        if was != is_true:
            yield _difference(projection, table, key, name, stored=was, true=is_true)


def _difference(
    projection: Projection,
    table: Table,
    key: Key,
    column: str | None = None,
    *,
    stored: Cell = None,
    true: Cell = None,
) -> Difference:
    named = dict(zip(table.key, key, strict=True))
    return Difference(projection.name, table.name, named, column, stored, true)
