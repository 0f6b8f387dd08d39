"""Read models as an operator sees them: where they stand, whether they hold, and making them so."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event

from counterfoil.domain.errors import Conflict, CorruptHistory, Unavailable
from counterfoil.projections import rebuild as rebuilding
from counterfoil.projections import verify as verifying
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.follow import Followed, follow
from counterfoil.projections.progress import Watch
from counterfoil.projections.projection import Projection
from counterfoil.projections.status import (
    Status,
    hold_versions,
    last_position,
    mode_of,
    statuses,
)
from counterfoil.projections.store import Session, Store

# Facts that a worker takes in one transaction.
PAGE = 4_000
# How long a worker that has nothing to do looks away, and one who waits for it.
POLL_S = 0.1
WAIT_S = 0.01
INLINE = "inline"
# How often writers are asked to make room for another mode.
SWITCHES_MAX = 50


class Projections:
    """All read models of a database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def status(self) -> tuple[Status, ...]:
        """Where every read model stands."""
        return statuses(self._store)

    def rebuild(
        self,
        *names: str,
        workers: int = 1,
        resume: bool = False,
        watch: Watch = lambda _: None,
    ) -> rebuilding.Rebuilt:
        """Make these read models, or all, anew while everybody goes on; see `rebuild.py`."""
        return rebuilding.rebuild(self._store, names, workers=workers, resume=resume, watch=watch)

    def rehearse(self, *names: str, watch: Watch = lambda _: None) -> rebuilding.Rebuilt:
        """Make all rows of these read models, or of all, and store none of them."""
        return rebuilding.rehearse(self._store, names, watch=watch)

    def verify(
        self, *names: str, watch: verifying.Watch = lambda _done, _total: None
    ) -> verifying.Verified:
        """Compare every row of these read models, or of all, with what the facts make of it."""
        return verifying.verify(self._store, names, watch=watch)

    def check(self) -> None:
        """Hold that the tables are those that this code knows; `RebuildNeeded` if not."""
        with self._store.reading() as session:
            hold_versions(session.select)

    def run(
        self,
        *,
        until: Event | None = None,
        watch: Callable[[Followed], None] = lambda _: None,
    ) -> None:
        """Follow the log until `until` is set; without it, until its present end is reached.

        Two at once do no harm: each fact is taken in once, in the transaction that says so. What
        stopped before is tried again.
        """
        with self._store.writing() as session:
            session.execute("UPDATE projections SET problem = NULL, problem_position = NULL", {})
            end = last_position(session.select)
        while until is None or not until.is_set():
            step = self.step()
            watch(step)
            if until is None and (not step.facts or step.position >= end):
                return
            if until is not None and not step.facts:
                until.wait(POLL_S)

    def step(self) -> Followed:
        """Take in the next facts, if read models follow the log. At a fact that cannot be taken in,
        the read models that it concerns stop; the others go on.
        """
        with self._store.reading() as session:  # a look costs nobody anything
            group, position, _ = _furthest(session)
        if not group:
            return Followed(position, 0)
        limit = PAGE
        while True:
            try:
                with self._store.writing() as session:
                    return _step(session, limit)
            except Conflict:  # another worker is at it
                return Followed(position, 0)
            except CorruptHistory:
                if limit == 1:
                    self._stop()
                    return self.step()
                limit //= 2

    def _stop(self) -> None:
        """Take in one fact; whoever cannot stops before it."""
        with self._store.reading() as session:
            group, position, _ = _furthest(session)
        for projection in group:
            try:
                with self._store.writing() as session:
                    if projection in _held(session)[0]:
                        _taken(session, (projection,), position, 1)
            except CorruptHistory as error:
                said = f"{error}" if error.position else f"position {position + 1}: {error}"
                with self._store.writing() as session:
                    session.execute(
                        "UPDATE projections SET problem = :problem, problem_position = :at"
                        " WHERE name = :name AND position = :position",
                        {
                            "name": projection.name,
                            "position": position,
                            "problem": said,
                            "at": position + 1,
                        },
                    )

    def wait(self, position: int | None = None, *, timeout_s: float = 10) -> None:
        """Wait until all read models have taken in the fact at a position, or all there are now."""
        ends = time.monotonic() + timeout_s
        if position is None:
            with self._store.reading() as session:
                position = last_position(session.select)
        while True:
            with self._store.reading() as session:
                if mode_of(session.select) == INLINE:
                    return
                found = session.select(
                    "SELECT name, problem FROM projections WHERE position < :position",
                    {"position": position},
                )
            behind = [(name, problem) for name, problem in found if name in PROJECTIONS]
            if not behind:
                return
            stopped = [f"{name}: {problem}" for name, problem in behind if problem is not None]
            if stopped:
                raise Unavailable(f"read models have stopped: {'; '.join(stopped)}")
            if time.monotonic() > ends:
                raise Unavailable(
                    f"read models are behind position {position}: is "
                    "`counterfoil projections run` running?"
                )
            time.sleep(WAIT_S)

    def keep(self, mode: str) -> None:
        """Keep read models `inline`, in the transaction of whoever writes facts, or `async`."""
        with self._store.reading() as session:
            if mode_of(session.select) == mode:
                return
        if mode == INLINE:
            self.run()  # most of it, while others still write
        for attempt in range(1, SWITCHES_MAX + 1):
            try:
                self._switch(mode)
            except Conflict:  # a writer took his time
                if attempt == SWITCHES_MAX:
                    raise
                time.sleep(POLL_S)
            else:
                return

    def _switch(self, mode: str) -> None:
        with self._store.alone() as session:
            if mode_of(session.select) == mode:
                return
            hold_versions(session.select)
            if mode == INLINE:
                while _step(session, PAGE).facts:
                    pass
                _hold_none_stopped(session)
            session.execute(
                "UPDATE projections SET position = :end", {"end": last_position(session.select)}
            )
            session.execute(
                "UPDATE projecting SET mode = :mode, generation = generation + 1", {"mode": mode}
            )


def _step(session: Session, limit: int) -> Followed:
    group, position, known = _held(session)
    if not group:
        return Followed(position, 0)
    return _taken(session, group, position, limit if known is None else min(limit, known))


def _taken(session: Session, group: tuple[Projection, ...], position: int, limit: int) -> Followed:
    step = follow(session, group, position, limit=limit)
    for projection in group:
        session.execute(
            "UPDATE projections SET position = :position WHERE name = :name",
            {"position": step.position, "name": projection.name},
        )
    return step


def _held(session: Session) -> tuple[tuple[Projection, ...], int, int | None]:
    """Those that are furthest behind, held until the end of the transaction: another worker waits,
    and then sees how far this one came.
    """
    session.execute("UPDATE projections SET position = position", {})
    return _furthest(session)


def _furthest(session: Session) -> tuple[tuple[Projection, ...], int, int | None]:
    """Those that are furthest behind, where they are, and how many facts the next are ahead."""
    end = last_position(session.select)
    if mode_of(session.select) == INLINE:
        return (), end, None
    at: dict[int, tuple[Projection, ...]] = {}
    for name, version, position in session.select(
        "SELECT name, version, position FROM projections WHERE problem IS NULL ORDER BY position",
        {},
    ):
        if name in PROJECTIONS and version == PROJECTIONS[name].version and position < end:
            at[position] = (*at.get(position, ()), PROJECTIONS[name])
    if not at:
        return (), end, None
    position, *others = at
    return at[position], position, others[0] - position if others else None


def _hold_none_stopped(session: Session) -> None:
    stopped = session.select("SELECT name, problem FROM projections WHERE problem IS NOT NULL", {})
    if stopped:
        said = "; ".join(f"{name}: {problem}" for name, problem in stopped)
        raise Unavailable(f"read models have stopped: {said}")
