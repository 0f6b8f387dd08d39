"""Loading shadow tables: the streams of the log, one after the other, into rows.

The log is read in the order of streams, so that every row is made once and never touched again.
Each part of that order is loaded piece by piece, and a piece is stored in one transaction with the
place it reaches to, so that whoever goes on later begins there.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from counterfoil.domain.errors import Conflict
from counterfoil.domain.value import LARGEST
from counterfoil.projections.history import History, Stretch
from counterfoil.projections.projection import Projection, Row, Table, added, rows_of
from counterfoil.projections.store import START, Place, Session, Store
from counterfoil.projections.totals import Totals, summed, totals

# Facts in one piece: some megabytes, and a fraction of a second under SQLite's lock.
PIECE = 20_000
# How long one thread computes while another could go on.
SWITCH_S = 0.000_5


class TakenOver(Conflict):
    """Another rebuild began, or goes on with this one."""

    def __init__(self) -> None:
        super().__init__("another rebuild took over from this one")


@dataclass(frozen=True, slots=True)
class Part:
    """A share of the streams, and how far it is loaded: `facts` of them, whose rows add up to
    `totals`.
    """

    number: int
    place: Place
    until: Place | None
    facts: int
    totals: Mapping[str, Totals]
    done: bool

    @classmethod
    def all(cls, session: Session, token: str) -> list[Part]:
        """The parts of a rebuild; none when somebody else goes on with it."""
        return [
            cls(
                number,
                Place(tenant, stream, version),
                None if until_stream is None else Place(until_tenant, until_stream, 0),
                facts,
                json.loads(said),
                bool(done),
            )
            for (
                number, tenant, stream, version, until_tenant, until_stream, facts, said, done
            ) in session.select(
                "SELECT part, tenant, stream, version, until_tenant, until_stream, facts, totals,"
                " done FROM rebuild_parts WHERE token = :token ORDER BY part",
                {"token": token},
            )
        ]  # fmt: skip

    def begin(self, session: Session, token: str) -> None:
        """Write it down, before anything of it is loaded."""
        session.execute(
            "INSERT INTO rebuild_parts VALUES (:token, :part, :tenant, :stream, :version,"
            " :until_tenant, :until_stream, :facts, :totals, :done)",
            {"token": token, **self._values()},
        )

    def reach(self, session: Session, token: str) -> bool:
        """Write down how far it is loaded, unless somebody else goes on with it."""
        return (
            session.execute(
                "UPDATE rebuild_parts SET tenant = :tenant, stream = :stream, version = :version,"
                " facts = :facts, totals = :totals, done = :done"
                " WHERE part = :part AND token = :token",
                {"token": token, **self._values()},
            )
            == 1
        )

    def _values(self) -> dict[str, object]:
        return {
            "part": self.number,
            "tenant": self.place.tenant,
            "stream": self.place.stream,
            "version": self.place.version,
            "until_tenant": self.until and self.until.tenant,
            "until_stream": self.until and self.until.stream,
            "facts": self.facts,
            "totals": json.dumps(self.totals),
            "done": int(self.done),
        }


def parts_of(session: Session, position: int, count: int) -> Iterator[Part]:
    """So many parts with about as many facts in each, cut between streams that are there."""
    cuts = sorted(
        {
            (tenant, stream)
            for step in range(1, count)
            for tenant, stream in session.select(
                "SELECT tenant, stream FROM facts WHERE position = :position",
                {"position": position * step // count},
            )
        }
    )
    places = [START, *(Place(tenant, stream, 0) for tenant, stream in cuts)]
    for number, place in enumerate(places):
        until = places[number + 1] if number + 1 < len(places) else None
        # A part begins behind the stream at which the one before it ends.
        after = place if place == START else place._replace(version=LARGEST)
        yield Part(number, after, until, 0, {}, done=False)


@dataclass(frozen=True, slots=True)
class Target:
    """What is loaded: these projections as of a position, into tables of these names."""

    token: str
    projections: tuple[Projection, ...]
    position: int
    name: Callable[[Table], str]


# How a session is had that only reads.
Reading = Callable[[], AbstractContextManager[Session]]


class Piece(NamedTuple):
    """Some whole streams, one after the other, behind a place and as far as a position. A series
    may be cut at either end; `opened` is the fact that opened one which is cut at its beginning.
    """

    stretches: Sequence[Stretch]
    after: Place
    position: int
    reached: Place
    last: bool
    opened: History | None

    @property
    def facts(self) -> int:
        """How many facts there are in it."""
        return sum(stretch.length for stretch in self.stretches)

    def rows(
        self, projections: tuple[Projection, ...], reading: Reading
    ) -> Mapping[Table, Sequence[Row]]:
        """The rows that these streams make, by table.

        A stream is read when it is its turn and forgotten before the next, while all of it is in
        the processor's cache.
        """
        rows: dict[Table, list[Row]] = {
            table: [] for projection in projections for table in projection.tables
        }
        for history in self.histories(reading):
            for table, made in rows_of(projections, history):
                if made:
                    rows[table].extend(made)
        return {table: added(made) if table.adds else made for table, made in rows.items()}

    def histories(self, reading: Reading) -> Iterator[History]:
        """The streams, each read when it is its turn."""
        opened = self.opened
        for stretch in self.stretches:
            history = _read_through(stretch, self.after, self.position, reading)
            _hold_whole(history, stretch, self.after)
            if opened is not None:
                history = history._replace(facts=[*opened.facts, *history.facts])
                opened = None
            yield history


def load(store: Store, target: Target, part: Part, watch: Callable[[int], None]) -> None:
    """Load what is left of a part. While one piece becomes rows, the next is read, and the one
    before it is stored.
    """
    with ThreadPoolExecutor(max_workers=2) as others, undisturbed():
        coming = others.submit(_read, store, target, part.place, part.until)
        storing: Future[int] | None = None
        while not part.done:
            piece = coming.result()
            if not piece.last:
                coming = others.submit(_read, store, target, piece.reached, part.until)
            rows = piece.rows(target.projections, store.reading)
            part = _reached(part, piece, rows)
            if storing is not None:
                watch(storing.result())
            storing = others.submit(_store, store, target, part, piece.facts, rows)
            if not store.stores_apart:
                wait([storing])
        if storing is not None:
            watch(storing.result())


def _store(
    store: Store, target: Target, part: Part, facts: int, rows: Mapping[Table, Sequence[Row]]
) -> int:
    """Store the rows of a piece, and how far the part is loaded with them."""
    with store.writing() as session:
        for table, made in rows.items():
            into = session.write if table.adds else session.load
            if made:
                into(table, target.name(table), made)
        if not part.reach(session, target.token):
            raise TakenOver
    return facts


def _read(store: Store, target: Target, after: Place, until: Place | None) -> Piece:
    with store.reading() as session:
        return read_piece(session, target.position, after, until)


def read_piece(session: Session, position: int, after: Place, until: Place | None) -> Piece:
    """The next streams behind a place, as far as another, with their facts up to a position."""

    def end() -> History:
        return _read_through(stretches[-1], after, position, lambda: nullcontext(session))

    limit = min(PIECE, session.window_max)
    while True:
        stretches = session.window(after, until, position, limit)
        last = sum(stretch.length for stretch in stretches) < limit
        if last or end().kind == "series":
            break  # a series may be cut anywhere; of anything else, all facts are needed
        stretches.pop()
        if stretches:
            break
        limit *= 2
    reached, opened = after, None
    if stretches:
        tenant, stream, *_ = stretches[-1]
        reached = Place(tenant, stream, end().facts[-1].version)
        if stretches[0][:2] == after[:2]:
            (opened,) = session.beginnings([after[:2]])
    return Piece(stretches, after, position, reached, last, opened)


def _read_through(stretch: Stretch, after: Place, position: int, reading: Reading) -> History:
    try:
        return stretch.read()
    except msgspec.DecodeError:
        # Something in there is no JSON: fact by fact, it can be said what.
        with reading() as session:
            (whole,) = session.histories([stretch[:2]], position)
        known = after.version if stretch[:2] == after[:2] else 0
        facts = [fact for fact in whole.facts if fact.version > known]
        return whole._replace(facts=facts[: stretch.length])


def _hold_whole(history: History, stretch: Stretch, after: Place) -> None:
    """Hold that no fact is missing: versions count up by one."""
    expected = after.version + 1 if stretch[:2] == after[:2] else 1
    first, last = history.facts[0], history.facts[-1]
    if first.version != expected or last.version - expected + 1 != len(history.facts):
        raise history.corrupt("facts of this stream are missing", first)
    if len(history.facts) != stretch.length:
        raise history.corrupt("facts of this stream are not what they were counted as", first)


def _reached(part: Part, piece: Piece, rows: Mapping[Table, Sequence[Row]]) -> Part:
    sums = {
        table.name: summed([part.totals.get(table.name, ()), totals(table, made)])
        for table, made in rows.items()
        if not table.adds
    }
    return replace(
        part, place=piece.reached, facts=part.facts + piece.facts, totals=sums, done=piece.last
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Nothing that is made here refers to itself; looking for what does costs a third more. And
    whoever waits for a database is to go on soon after it answers: others wait for him in turn.
    """
    collects, seconds = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(seconds)
        if collects:
            gc.enable()
