"""Read models anew from the facts, while everybody goes on reading and writing the old ones.

Shadow tables are loaded beside the live ones, stream by stream, in pieces that are stored together
with how far they came. Then they are compared with what was loaded while they get their indexes,
catch up with what was written meanwhile, and take the place of the live tables in one transaction.
Killed at any moment, a rebuild leaves the live tables as they are, and goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter

from counterfoil.domain.errors import CorruptHistory, CounterfoilError, Malformed
from counterfoil.projections.catalogue import chosen
from counterfoil.projections.completing import complete
from counterfoil.projections.loading import Part, TakenOver, Target, load, read_piece
from counterfoil.projections.progress import Progress, Watch
from counterfoil.projections.status import last_position
from counterfoil.projections.store import START, Session, Store
from counterfoil.projections.swapping import catch_up, swapped
from counterfoil.projections.under_way import (
    UnderWay,
    begin,
    enter,
    is_ours,
    of_token,
    retired,
    take_over,
)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: of how many facts, and for how long writers had to wait."""

    names: tuple[str, ...]
    facts: int
    rows: dict[str, int]
    seconds: float
    pause_s: float


def rebuild(
    store: Store,
    names: Sequence[str] = (),
    *,
    workers: int = 1,
    resume: bool = False,
    watch: Watch = lambda _: None,
) -> Rebuilt:
    """Rebuild these read models, or all; with `resume`, go on with one that was cut off."""
    if not 1 <= workers <= store.workers_max:
        raise Malformed("workers", f"must be from 1 to {store.workers_max}, {store.workers_why}")
    began = perf_counter()
    projections = chosen(names)
    with store.writing() as session:
        going = take_over(session, projections) if resume else None
        going = going or begin(session, projections, workers)
    try:
        position, pause_s = _made(store, going, watch)
    except CounterfoilError as error:
        # Whoever takes over drops what this one is using, which fails in many ways.
        if isinstance(error, TakenOver) or is_ours(store, going):
            raise
        raise TakenOver from error
    with store.writing() as session:
        for table in going.tables:
            session.drop(retired(table))
    return Rebuilt(
        names=tuple(projection.name for projection in projections),
        facts=position,
        rows=_rows(store, going),
        seconds=perf_counter() - began,
        pause_s=pause_s,
    )


def _made(store: Store, going: UnderWay, watch: Watch) -> tuple[int, float]:
    """Go on from where it is to the end; say at which position, and how long writers waited."""
    if going.phase == "load":
        _load(store, going, watch)
        with store.writing() as session:
            _hold_all_facts(session, going)
            enter(session, going, "index")
    if going.phase in {"load", "index"}:
        watch(Progress("index", going.position, going.position))
        complete(store, going)
        with store.writing() as session:
            enter(session, going, "catch up")
    return swapped(store, going, catch_up(store, going, watch), watch)


def rehearse(store: Store, names: Sequence[str] = (), *, watch: Watch = lambda _: None) -> Rebuilt:
    """Make every row that a rebuild would make, and store none of them."""
    began = perf_counter()
    projections = chosen(names)
    rows: Counter[str] = Counter()
    with store.reading() as session:
        position = last_position(session.select)
        place, done, last = START, 0, False
        while not last:
            piece = read_piece(session, position, place, None)
            for table, made in piece.rows(projections, lambda: nullcontext(session)).items():
                if not table.adds:
                    rows[table.name] += len(made)
            place, done, last = piece.reached, done + piece.facts, piece.last
            watch(Progress("rehearse", done, position))
    return Rebuilt(
        names=tuple(one.name for one in projections),
        facts=position,
        rows=dict(rows),
        seconds=perf_counter() - began,
        pause_s=0,
    )


def _load(store: Store, going: UnderWay, watch: Watch) -> None:
    with store.reading() as session:
        parts = Part.all(session, going.token)
    target = Target(going.token, going.projections, going.position, going.shadow)
    done = sum(part.facts for part in parts)

    def loaded(facts: int) -> None:
        nonlocal done
        done += facts
        watch(Progress("load", done, going.position))

    left = [part for part in parts if not part.done]
    if len(left) > 1:
        store.load_apart(going.token, [part.number for part in left], loaded)
    else:
        for part in left:
            load(store, target, part, loaded)


def load_part(store: Store, token: str, number: int, watch: Callable[[int], None]) -> None:
    """Load one part of a rebuild that another process began."""
    with store.reading() as session:
        going = of_token(session, token)
        parts = {part.number: part for part in Part.all(session, token)}
    target = Target(token, going.projections, going.position, going.shadow)
    load(store, target, parts[number], watch)


def _hold_all_facts(session: Session, going: UnderWay) -> None:
    """Hold that no fact was left out."""
    facts = sum(part.facts for part in Part.all(session, going.token))
    if facts != going.position:
        raise CorruptHistory(
            f"{facts} facts were loaded of {going.position}", stream="the log as a whole"
        )


def _rows(store: Store, going: UnderWay) -> dict[str, int]:
    with store.reading() as session:
        return {
            table.name: session.select(f"SELECT count(*) FROM {table.name}", {})[0][0]
            for table in going.tables
            if not table.adds
        }
