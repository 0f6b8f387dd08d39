"""Where every projection stands: its version, its position, and why it stopped if it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.domain.errors import RebuildNeeded, SchemaTooNew
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.projection import Projection, Select
from counterfoil.projections.store import Session, Store


@dataclass(frozen=True, slots=True)
class Status:
    """Where one projection stands: `version` is that of its tables, `wanted` that of this code,
    `lag` the number of facts that are not in it yet.
    """

    name: str
    version: int
    wanted: int
    mode: str
    position: int
    lag: int
    rows: int
    size: int
    problem: str | None
    problem_position: int | None

    @property
    def state(self) -> str:
        """One word for all of it."""
        if self.version != self.wanted:
            return "outdated" if self.version < self.wanted else "newer"
        if self.problem is not None:
            return "stopped"
        return "behind" if self.lag else "current"


def statuses(store: Store) -> tuple[Status, ...]:
    """Where every projection stands, at one moment."""
    with store.reading() as session:
        there = dict(session.select("SELECT name, version FROM projections", {}))
    tables = [table for name, one in PROJECTIONS.items() if name in there for table in one.tables]
    with store.reading(*tables) as session:
        end, mode = last_position(session.select), mode_of(session.select)
        stored = {
            row[0]: row[1:]
            for row in session.select(
                "SELECT name, version, position, problem, problem_position FROM projections", {}
            )
        }
        return tuple(
            _status(session, one, stored.get(name), mode, end) for name, one in PROJECTIONS.items()
        )


def _status(
    session: Session,
    projection: Projection,
    stored: tuple[int, int, str | None, int | None] | None,
    mode: str,
    end: int,
) -> Status:
    version, position, problem, at = stored or (0, 0, None, None)
    if mode == "inline" and version == projection.version:
        position = end
    tables = [table.name for table in projection.tables] if version else []
    rows = 0
    if tables:
        ((rows,),) = session.select(f"SELECT count(*) FROM {tables[0]}", {})
    return Status(
        projection.name,
        version,
        projection.version,
        mode,
        position,
        end - position,
        rows,
        sum(session.size(table) for table in tables),
        problem,
        at,
    )


def last_position(select: Select) -> int:
    """The last position of the log; 0 when it is empty."""
    ((position,),) = select("SELECT coalesce(max(position), 0) FROM facts", {})
    return int(position)


def mode_of(select: Select) -> str:
    """Whether read models are kept in the writer's transaction, `inline`, or `async`."""
    ((mode,),) = select("SELECT mode FROM projecting", {})
    return str(mode)


def hold_versions(select: Select, names: Sequence[str] = tuple(PROJECTIONS)) -> None:
    """Refuse to go on with tables that another version of a projection made."""
    stored = dict(select("SELECT name, version FROM projections", {}))
    newer = [name for name in names if stored.get(name, 0) > PROJECTIONS[name].version]
    if newer:
        raise SchemaTooNew(
            f"read models {', '.join(newer)} were made by a newer Counterfoil: upgrade this one"
        )
    other = [name for name in names if stored.get(name) != PROJECTIONS[name].version]
    if other:
        said = ", ".join(
            f"{name} (version {stored.get(name, 0)}, this Counterfoil makes "
            f"{PROJECTIONS[name].version})"
            for name in other
        )
        raise RebuildNeeded(f"read models of another version: {said}", other)


def begin(session: Session) -> None:
    """Make the tables of an empty log; those of a log that has facts are made by a rebuild."""
    if last_position(session.select) != 0:
        return
    stored = {name for (name,) in session.select("SELECT name FROM projections", {})}
    for projection in PROJECTIONS.values():
        if projection.name not in stored:
            for table in projection.tables:
                session.create(table, table.name)
                for number in range(table.indexes_count):
                    session.index(table, table.name, "0", number)
            session.execute(
                "INSERT INTO projections (name, version, position) VALUES (:name, :version, 0)",
                {"name": projection.name, "version": projection.version},
            )
