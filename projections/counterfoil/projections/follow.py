"""How read models follow the log: new facts in, what they change out, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from counterfoil.projections.history import Fact, History
from counterfoil.projections.projection import Change, Projection, Table, added, changes
from counterfoil.projections.store import Session

# What a table is called while it is used: its own name, or that of its shadow.
Naming = Callable[[Table], str]


def live(table: Table) -> str:
    """The name of the table that readers read."""
    return table.name


class Followed(NamedTuple):
    """How far a step came, and how many facts it took."""

    position: int
    facts: int


def follow(
    session: Session,
    projections: tuple[Projection, ...],
    after: int,
    *,
    limit: int,
    name: Naming = live,
) -> Followed:
    """Bring the next facts into the tables of these projections. Nothing else is changed: whoever
    calls writes down the position, in the same transaction.
    """
    page = session.page(after, limit)
    if page:
        store(session, _found(session, projections, after, page), name)
    return Followed(page[-1][2].position if page else after, len(page))


def _found(
    session: Session,
    projections: tuple[Projection, ...],
    after: int,
    page: Sequence[tuple[str, str, Fact]],
) -> Iterator[Change]:
    """What the facts of a page change, which follow a position of the log."""
    new: dict[tuple[str, str], list[Fact]] = {}
    for tenant, stream, fact in page:
        new.setdefault((tenant, stream), []).append(fact)
    before = _before(session, new, after)
    for (tenant, stream), facts in new.items():
        yield from _changes(projections, before, History(tenant, stream, facts))


def _before(
    session: Session, new: Mapping[tuple[str, str], Sequence[Fact]], after: int
) -> Mapping[tuple[str, str], History]:
    """What the log held of these streams before; of a number series, its beginning."""
    older = {place: facts for place, facts in new.items() if facts[0].version > 1}
    series = {place for place, facts in older.items() if facts[0].type.startswith("series.")}
    found = [
        *session.histories(older.keys() - series, after),
        *session.beginnings(series),
    ]
    return {(history.tenant, history.stream): history for history in found}


def _changes(
    projections: tuple[Projection, ...],
    before: Mapping[tuple[str, str], History],
    new: History,
) -> Iterable[Change]:
    known = before.get((new.tenant, new.stream))
    if known is None:
        if new.facts[0].version > 1:
            raise new.corrupt("the facts before it are missing", new.facts[0])
        return changes(projections, None, new)
    after = History(new.tenant, new.stream, [*known.facts, *new.facts])
    return changes(projections, known, after)


def store(session: Session, changed: Iterable[Change], name: Naming = live) -> None:
    """Store changes, each table's at once."""
    found: dict[Table, list[Change]] = {}
    for change in changed:
        found.setdefault(change.table, []).append(change)
    for table, parts in found.items():
        of = name(table)
        if keys := [key for part in parts for key in part.delete]:
            session.delete(table, of, keys)
        if rows := [row for part in parts for row in part.insert]:
            session.insert(table, of, rows)
        if rows := [row for part in parts for row in part.write]:
            session.write(table, of, rows)
        if rows := added([row for part in parts for row in part.add]):
            session.write(table, of, rows)
