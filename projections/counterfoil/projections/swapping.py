"""Rebuilt tables catch up with the log and take the place of the live ones."""

from __future__ import annotations

from time import perf_counter, sleep

from counterfoil.domain.errors import Conflict
from counterfoil.projections.follow import follow
from counterfoil.projections.loading import TakenOver
from counterfoil.projections.progress import Progress, Watch
from counterfoil.projections.status import last_position
from counterfoil.projections.store import Session, Store
from counterfoil.projections.under_way import UnderWay, position_of, reach, retired

# Facts in one step of catching up.
PAGE = 2_000
# With so few facts to go, the writers are held while the rest is caught up.
FEW = 200
# How often the tables are asked for when somebody who reads for long holds them.
SWAPS_MAX = 60


def catch_up(store: Store, going: UnderWay, watch: Watch) -> int:
    """Follow the log until next to nothing is left to follow."""
    position = position_of(store, going)
    while True:
        with store.writing() as session:
            step = follow(session, going.projections, position, limit=PAGE, name=going.shadow)
            reach(session, going, step.position)
            end = last_position(session.select)
        position = step.position
        watch(Progress("catch up", position, max(end, position)))
        if end - position < FEW:
            return position


def swapped(store: Store, going: UnderWay, position: int, watch: Watch) -> tuple[int, float]:
    """Take the place of the live tables; say at which position, and how long writers waited."""
    pause_s = 0.0
    for _ in range(SWAPS_MAX):
        watch(Progress("swap", position, position))
        asked = perf_counter()
        try:
            with store.alone() as session:
                position = _swap(session, going, position)
        except TakenOver:
            raise
        except Conflict:
            # Somebody has been reading the live tables for long. The writers need not wait for him.
            pause_s = max(pause_s, perf_counter() - asked)
            sleep(1)
            position = catch_up(store, going, watch)
        else:
            return position, max(pause_s, perf_counter() - asked)
    raise Conflict("somebody reads the live tables for long; go on later with --resume")


def _swap(session: Session, going: UnderWay, position: int) -> int:
    # A worker that follows the log holds these rows while he does.
    session.execute("UPDATE projections SET position = position", {})
    while True:
        step = follow(session, going.projections, position, limit=PAGE, name=going.shadow)
        position = step.position
        if not step.facts:
            break
    reach(session, going, position)
    stored = dict(session.select("SELECT name, version FROM projections", {}))
    for table in going.tables:
        session.swap(table, going.shadow(table), retired(table))
    for projection in going.projections:
        session.execute(
            "INSERT INTO projections (name, version, position) VALUES (:name, :version, :position)"
            " ON CONFLICT (name) DO UPDATE SET version = excluded.version,"
            " position = excluded.position, problem = NULL, problem_position = NULL",
            {
                "name": projection.name,
                "version": projection.version,
                "position": position,
            },
        )
    if any(stored.get(one.name) != one.version for one in going.projections):
        # Whoever writes rows of the old version must not write them into these tables.
        session.execute("UPDATE projecting SET generation = generation + 1", {})
    session.execute("DELETE FROM rebuilds", {})
    session.execute("DELETE FROM rebuild_parts", {})
    return position
