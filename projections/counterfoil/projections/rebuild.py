"""Read models anew from the facts, while everybody goes on reading and writing the old ones.

Shadow tables are loaded beside the live ones, stream by stream, in pieces that are stored together
with how far they came. Then they are compared with what was loaded while they get their indexes,
catch up with what was written meanwhile, and take the place of the live tables in one transaction.
Killed at any moment, a rebuild leaves the live tables as they are, and goes on where it was.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter, sleep

from counterfoil.domain.errors import Conflict, CorruptHistory, CounterfoilError, Malformed
from counterfoil.projections.catalogue import PROJECTIONS, chosen
from counterfoil.projections.follow import follow
from counterfoil.projections.loading import Part, TakenOver, Target, load, parts_of, read_piece
from counterfoil.projections.projection import Projection, Table
from counterfoil.projections.status import last_position
from counterfoil.projections.store import START, Session, Store
from counterfoil.projections.totals import stored_totals, summed

# Facts in one step of catching up.
PAGE = 2_000
# With so few facts to go, the writers are held while the rest is caught up.
FEW = 200
# How often the tables are asked for when somebody who reads for long holds them.
SWAPS_MAX = 60


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: facts in its tables, of so many."""

    phase: str
    done: int
    total: int


Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: of how many facts, and for how long writers had to wait."""

    names: tuple[str, ...]
    facts: int
    rows: dict[str, int]
    seconds: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class _Rebuild:
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
        going = _taken_over(session, projections) if resume else None
        going = going or _begun(session, projections, workers)
    try:
        position, pause_s = _made(store, going, watch)
    except CounterfoilError as error:
        # Whoever takes over drops what this one is using, which fails in many ways.
        if isinstance(error, TakenOver) or _is_ours(store, going):
            raise
        raise TakenOver from error
    with store.writing() as session:
        for table in going.tables:
            session.drop(_retired(table))
    return Rebuilt(
        names=tuple(projection.name for projection in projections),
        facts=position,
        rows=_rows(store, going),
        seconds=perf_counter() - began,
        pause_s=pause_s,
    )


def _is_ours(store: Store, going: _Rebuild) -> bool:
    with store.reading() as session:
        query = "SELECT 1 FROM rebuilds WHERE token = :token"
        return bool(session.select(query, {"token": going.token}))


def _made(store: Store, going: _Rebuild, watch: Watch) -> tuple[int, float]:
    """Go on from where it is to the end; say at which position, and how long writers waited."""
    if going.phase == "load":
        _load(store, going, watch)
        with store.writing() as session:
            _hold_all_facts(session, going)
            _enter(session, going, "index")
    if going.phase in {"load", "index"}:
        watch(Progress("index", going.position, going.position))
        _complete(store, going)
        with store.writing() as session:
            _enter(session, going, "catch up")
    return _swapped(store, going, _catch_up(store, going, watch), watch)


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


def _begun(session: Session, projections: tuple[Projection, ...], workers: int) -> _Rebuild:
    for table in (table for projection in projections for table in projection.tables):
        if views := session.views(table.name):
            raise Conflict(
                f"{', '.join(views)} would go on showing the old table {table.name}: "
                "drop it, rebuild, and make it again"
            )
    _forget(session)
    position = last_position(session.select)
    going = _Rebuild(secrets.token_hex(8), secrets.token_hex(4), projections, position, "load")
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
            session.drop(_retired(table))


def _taken_over(session: Session, asked: tuple[Projection, ...]) -> _Rebuild | None:
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
    going = _Rebuild(secrets.token_hex(8), mark, asked, position, phase)
    for query in ("UPDATE rebuilds SET token = :token", "UPDATE rebuild_parts SET token = :token"):
        session.execute(query, {"token": going.token})
    return going


def _listed(projections: tuple[Projection, ...]) -> str:
    return " ".join(f"{projection.name}:{projection.version}" for projection in projections)


def _unlisted(said: str) -> tuple[Projection, ...]:
    names = {name.partition(":")[0] for name in said.split()}
    return tuple(one for name, one in PROJECTIONS.items() if name in names)


def _retired(table: Table) -> str:
    return f"{table.name}_replaced"


def _load(store: Store, going: _Rebuild, watch: Watch) -> None:
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
        found = session.select(
            "SELECT mark, names, position, phase FROM rebuilds WHERE token = :token",
            {"token": token},
        )
        _hold(len(found))
        ((mark, names, position, phase),) = found
        going = _Rebuild(token, mark, _unlisted(names), position, phase)
        parts = {part.number: part for part in Part.all(session, token)}
    target = Target(token, going.projections, going.position, going.shadow)
    load(store, target, parts[number], watch)


def _hold_all_facts(session: Session, going: _Rebuild) -> None:
    """Hold that no fact was left out."""
    facts = sum(part.facts for part in Part.all(session, going.token))
    if facts != going.position:
        raise CorruptHistory(
            f"{facts} facts were loaded of {going.position}", stream="the log as a whole"
        )


def _complete(store: Store, going: _Rebuild) -> None:
    """Hold all tables against what was read, and make their indexes, several at a time: the
    database does it while we wait.
    """
    tables = [table for table in going.tables if not table.adds]
    indexes = [(table, number) for table in tables for number in range(table.indexes_count)]
    writers = 2 if store.stores_apart else 1
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(writers) as others:
        checked = readers.map(lambda table: _hold_totals(store, going, table), tables)
        try:
            _all_done(others.map(lambda index: _index(store, going, *index), indexes))
            _all_done(others.map(lambda table: _survey(store, going, table), tables))
        except CounterfoilError:
            _all_done(checked)  # rows that are there twice have no index, and this says why
            raise
        _all_done(checked)


def _all_done(done: Iterator[None]) -> None:
    for _ in done:
        pass


def _hold_totals(store: Store, going: _Rebuild, table: Table) -> None:
    """Hold what is stored against what was read: no row lost, doubled or cut."""
    with store.reading() as session:
        parts = Part.all(session, going.token)
        loaded = summed(part.totals.get(table.name, ()) for part in parts)
        if loaded != stored_totals(session.select, table, going.shadow(table)):
            raise Conflict(
                f"table {table.name} does not hold what was loaded into it: rebuild it again"
            )


def _index(store: Store, going: _Rebuild, table: Table, number: int) -> None:
    with _still_ours(store, going) as session:
        session.index(table, going.shadow(table), going.mark, number)


def _survey(store: Store, going: _Rebuild, table: Table) -> None:
    with _still_ours(store, going) as session:
        session.survey(table, going.shadow(table))


@contextmanager
def _still_ours(store: Store, going: _Rebuild) -> Iterator[Session]:
    """Write what nobody needs until the tables are swapped. Whoever would take over waits."""
    with store.writing(lasting=False) as session:
        query = "SELECT 1 FROM rebuilds WHERE token = :token"
        _hold(len(session.held(query, {"token": going.token})))
        yield session


def _enter(session: Session, going: _Rebuild, phase: str) -> None:
    _hold(
        session.execute(
            "UPDATE rebuilds SET phase = :phase WHERE token = :token",
            {"phase": phase, "token": going.token},
        )
    )


def _hold(changed: int) -> None:
    if changed != 1:
        raise TakenOver


def _catch_up(store: Store, going: _Rebuild, watch: Watch) -> int:
    """Follow the log until next to nothing is left to follow."""
    position = _position(store, going)
    while True:
        with store.writing() as session:
            step = follow(session, going.projections, position, limit=PAGE, name=going.shadow)
            _reach(session, going, step.position)
            end = last_position(session.select)
        position = step.position
        watch(Progress("catch up", position, max(end, position)))
        if end - position < FEW:
            return position


def _position(store: Store, going: _Rebuild) -> int:
    with store.reading() as session:
        rows = session.select(
            "SELECT position FROM rebuilds WHERE token = :token", {"token": going.token}
        )
        _hold(len(rows))
    return int(rows[0][0])


def _reach(session: Session, going: _Rebuild, position: int) -> None:
    _hold(
        session.execute(
            "UPDATE rebuilds SET position = :position WHERE token = :token",
            {"position": position, "token": going.token},
        )
    )


def _swapped(store: Store, going: _Rebuild, position: int, watch: Watch) -> tuple[int, float]:
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
            position = _catch_up(store, going, watch)
        else:
            return position, max(pause_s, perf_counter() - asked)
    raise Conflict("somebody reads the live tables for long; go on later with --resume")


def _swap(session: Session, going: _Rebuild, position: int) -> int:
    # A worker that follows the log holds these rows while he does.
    session.execute("UPDATE projections SET position = position", {})
    while True:
        step = follow(session, going.projections, position, limit=PAGE, name=going.shadow)
        position = step.position
        if not step.facts:
            break
    _reach(session, going, position)
    stored = dict(session.select("SELECT name, version FROM projections", {}))
    for table in going.tables:
        session.swap(table, going.shadow(table), _retired(table))
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


def _rows(store: Store, going: _Rebuild) -> dict[str, int]:
    with store.reading() as session:
        return {
            table.name: session.select(f"SELECT count(*) FROM {table.name}", {})[0][0]
            for table in going.tables
            if not table.adds
        }
