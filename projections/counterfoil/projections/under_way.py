"""Whose rebuild is under way, of which read models, and how far it is.

One row of the database says so. Who begins anew or takes over changes its token, so that nobody
else goes on with it, however late he wakes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from counterfoil.domain.errors import Conflict
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.loading import TakenOver, parts_of
from counterfoil.projections.projection import Projection, Table
from counterfoil.projections.status import last_position
from counterfoil.projections.store import Session, Store


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A rebuild that is under way. Whoever else takes it over changes the token."""

    token: str
    mark: str
    projections: tuple[Projection, ...]
    position: int
    phase: str

    @property
    def tables(self) -> Iterator[Table]:
        for projection in self.projections:
            yield from projection.tables

    def shadow(self, table: Table) -> str:
        """What a table is called until it takes the live one's place."""
        return f"{table.name}_{self.mark}"


def begin(session: Session, projections: tuple[Projection, ...], workers: int) -> UnderWay:
    """Begin anew, with empty tables and nothing left of any rebuild before."""
    for table in (table for projection in projections for table in projection.tables):
        if views := session.views(table.name):
            raise Conflict(
                f"{', '.join(views)} would go on showing the old table {table.name}: "
                "drop it, rebuild, and make it again"
            )
    _forget(session)
    position = last_position(session.select)
    going = UnderWay(secrets.token_hex(8), secrets.token_hex(4), projections, position, "load")
    for table in going.tables:
        session.create(table, going.shadow(table))
        if table.adds:  # what is added to must be found
            session.index(table, going.shadow(table), going.mark, 0)
    session.execute(
        "INSERT INTO rebuilds (token, mark, names, position, phase)"
        " VALUES (:token, :mark, :names, :position, 'load')",
        {
            "token": going.token,
            "mark": going.mark,
            "names": _listed(projections),
            "position": position,
        },
    )
    for part in parts_of(session, position, workers):
        part.begin(session, going.token)
    return going


def _forget(session: Session) -> None:
    """Drop what a rebuild left that nobody goes on with, and tables that were replaced."""
    left = session.select("SELECT mark, names FROM rebuilds", {})
    # Whoever works on its tables holds this first, and then them: the other way round, each would
    # wait for the other.
    session.execute("DELETE FROM rebuilds", {})
    for mark, names in left:
        for projection in _unlisted(names):
            for table in projection.tables:
                session.drop(f"{table.name}_{mark}")
    session.execute("DELETE FROM rebuild_parts", {})
    for projection in PROJECTIONS.values():
        for table in projection.tables:
            session.drop(retired(table))


def take_over(session: Session, asked: tuple[Projection, ...]) -> UnderWay | None:
    """Go on with the rebuild that was cut off, if there is one of these read models."""
    found = session.select("SELECT mark, names, position, phase FROM rebuilds", {})
    if not found:
        return None
    ((mark, names, position, phase),) = found
    before = _unlisted(names)
    if before != asked:
        raise Conflict(
            f"the rebuild that was cut off is of {', '.join(one.name for one in before)}: "
            "name the same to go on with it, or leave --resume out to begin anew"
        )
    if names != _listed(asked):
        return None  # its tables are those of another version
    going = UnderWay(secrets.token_hex(8), mark, asked, position, phase)
    for query in ("UPDATE rebuilds SET token = :token", "UPDATE rebuild_parts SET token = :token"):
        session.execute(query, {"token": going.token})
    return going


def _listed(projections: tuple[Projection, ...]) -> str:
    return " ".join(f"{projection.name}:{projection.version}" for projection in projections)


def _unlisted(said: str) -> tuple[Projection, ...]:
    names = {name.partition(":")[0] for name in said.split()}
    return tuple(one for name, one in PROJECTIONS.items() if name in names)


def retired(table: Table) -> str:
    """What a live table is called once it was replaced."""
    return f"{table.name}_replaced"


def is_ours(store: Store, going: UnderWay) -> bool:
    """Whether nobody else took it over."""
    with store.reading() as session:
        query = "SELECT 1 FROM rebuilds WHERE token = :token"
        return bool(session.select(query, {"token": going.token}))


@contextmanager
def still_ours(store: Store, going: UnderWay) -> Iterator[Session]:
    """Write what nobody needs until the tables are swapped. Whoever would take over waits."""
    with store.writing(lasting=False) as session:
        query = "SELECT 1 FROM rebuilds WHERE token = :token"
        _hold(len(session.held(query, {"token": going.token})))
        yield session


def enter(session: Session, going: UnderWay, phase: str) -> None:
    """Begin the next phase."""
    _hold(
        session.execute(
            "UPDATE rebuilds SET phase = :phase WHERE token = :token",
            {"phase": phase, "token": going.token},
        )
    )


def _hold(changed: int) -> None:
    if changed != 1:
        raise TakenOver


def of_token(session: Session, token: str) -> UnderWay:
    """The rebuild of this token, for another process to help with."""
    found = session.select(
        "SELECT mark, names, position, phase FROM rebuilds WHERE token = :token", {"token": token}
    )
    _hold(len(found))
    ((mark, names, position, phase),) = found
    return UnderWay(token, mark, _unlisted(names), position, phase)


def position_of(store: Store, going: UnderWay) -> int:
    """Up to which position its tables follow the log."""
    with store.reading() as session:
        rows = session.select(
            "SELECT position FROM rebuilds WHERE token = :token", {"token": going.token}
        )
        _hold(len(rows))
    return int(rows[0][0])


def reach(session: Session, going: UnderWay, position: int) -> None:
    """Write down up to which position its tables follow the log."""
    _hold(
        session.execute(
            "UPDATE rebuilds SET position = :position WHERE token = :token",
            {"position": position, "token": going.token},
        )
    )
