"""Loading shadow tables: the streams of the log, one after the other, into rows.

The log is read in the order of streams, so that every row is made once and never touched again.
Each part of that order is loaded piece by piece, and a piece is stored in one transaction with the
place it reaches to, so that whoever goes on later begins there.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace

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

# The rows of a piece, by table.
Rows = Mapping[Table, Sequence[Row]]


class Piece:
    """Some whole streams, one after the other, behind a place and as far as a position. A series
    may be cut at either end.

    How far it `reached`, how many facts there are in it, and whether it is the `last`, is known
    when its stretches have come.
    """

    def __init__(self, session: Session, position: int, after: Place, until: Place | None) -> None:
        self.reached = after
        self.facts = 0
        self.last = False
        self._position = position
        self._after = after
        # The fact that opened the series which is cut at its beginning, if one is.
        self._opened = session.beginnings([after[:2]])
        self._source = self._coming(session, until)
        self.stretches: Iterable[Stretch] = self._source

    def _coming(self, session: Session, until: Place | None) -> Generator[Stretch]:
        limit = min(PIECE, session.window_max)
        while not self.facts and not self.last:
            count, last, held = 0, None, None
            for stretch in session.window(self._after, until, self._position, limit):
                if held is not None:
                    yield held
                count, last, held = count + stretch.length, held, stretch
            self.last = count < limit
            if held is not None and (self.last or self._is_series(held, session)):
                yield held
                last = held
            elif held is not None:
                count -= held.length
            if last is not None:
                self.facts = count
                self.reached = Place(*last[:2], self._known(last) + last.length)
            limit *= 2

    def close(self) -> None:
        """Leave off reading what has not come."""
        self._source.close()

    def _is_series(self, stretch: Stretch, session: Session) -> bool:
        """Whether it may be cut anywhere: of anything else, all facts are needed."""
        return self._read_through(stretch, lambda: nullcontext(session)).kind == "series"

    def _known(self, stretch: Stretch) -> int:
        """How many facts of a stream came in the piece before this."""
        return self._after.version if stretch[:2] == self._after[:2] else 0

    def rows(self, projections: tuple[Projection, ...], reading: Reading) -> Rows:
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
        stretches = iter(self.stretches)
        for stretch in stretches:  # only the first can be one that goes on
            known = self._known(stretch)
            history = self._read_through(stretch, reading)
            _hold_whole(history, stretch, known)
            if known:
                history = history._replace(facts=[*self._opened[0].facts, *history.facts])
            yield history
            break
        for stretch in stretches:
            history = self._read_through(stretch, reading)
            _hold_whole(history, stretch, 0)
            yield history

    def _read_through(self, stretch: Stretch, reading: Reading) -> History:
        try:
            return stretch.read()
        except msgspec.DecodeError:
            # Something in there is no JSON: fact by fact, it can be said what.
            with reading() as session:
                (whole,) = session.histories([stretch[:2]], self._position)
            known = self._known(stretch)
            facts = [fact for fact in whole.facts if fact.version > known]
            return whole._replace(facts=facts[: stretch.length])


def read_piece(session: Session, position: int, after: Place, until: Place | None) -> Piece:
    """The next piece behind a place, all of which has come."""
    piece = Piece(session, position, after, until)
    piece.stretches = list(piece.stretches)
    return piece


def load(store: Store, target: Target, part: Part, watch: Callable[[int], None]) -> None:
    """Load what is left of a part. While one piece becomes rows, the one before it is stored."""
    made = _made_as_they_come if store.stores_apart else _made_of_those_read_ahead
    with ThreadPoolExecutor(max_workers=1) as other, undisturbed():
        storing: Future[Part] | None = None
        for piece, rows in made(store, target, part):
            if storing is not None:
                part = _stored(storing, part, watch)
            storing = other.submit(_store, store, target, part, piece, rows)
            if not store.stores_apart:
                wait([storing])
        if storing is not None:
            _stored(storing, part, watch)


def _stored(storing: Future[Part], before: Part, watch: Callable[[int], None]) -> Part:
    part = storing.result()
    watch(part.facts - before.facts)
    return part


def _made_as_they_come(store: Store, target: Target, part: Part) -> Iterator[tuple[Piece, Rows]]:
    """Pieces, and their rows: another process reads streams while we make rows of others."""
    place, last = part.place, part.done
    while not last:
        with (
            store.reading() as session,
            # Who cannot go on must leave off reading before the transaction can end.
            closing(Piece(session, target.position, place, part.until)) as piece,
        ):
            rows = piece.rows(target.projections, store.reading)
        yield piece, rows
        place, last = piece.reached, piece.last


def _made_of_those_read_ahead(
    store: Store, target: Target, part: Part
) -> Iterator[tuple[Piece, Rows]]:
    """Pieces, and their rows: the next piece is read while we make rows of one."""

    def read(after: Place) -> Piece:
        with store.reading() as session:
            return read_piece(session, target.position, after, part.until)

    if part.done:
        return
    with ThreadPoolExecutor(max_workers=1) as reader:
        coming, last = reader.submit(read, part.place), False
        while not last:
            piece = coming.result()
            last = piece.last
            if not last:
                coming = reader.submit(read, piece.reached)
            yield piece, piece.rows(target.projections, store.reading)


def _store(store: Store, target: Target, part: Part, piece: Piece, rows: Rows) -> Part:
    """Store the rows of a piece, and how far the part is loaded with them."""
    part = _reached(part, piece, rows)
    # A crash of the server that undoes it undoes what came later as well, and the swap comes last.
    with store.writing(lasting=False) as session:
        for table, made in rows.items():
            into = session.write if table.adds else session.load
            if made:
                into(table, target.name(table), made)
        if not part.reach(session, target.token):
            raise TakenOver
    return part


def _hold_whole(history: History, stretch: Stretch, known: int) -> None:
    """Hold that no fact is missing: versions count up by one."""
    facts = history.facts
    if facts[0].version != known + 1 or facts[-1].version - known != len(facts):
        raise history.corrupt("facts of this stream are missing", facts[0])
    if len(facts) != stretch.length:
        raise history.corrupt("facts of this stream are not what they were counted as", facts[0])


def _reached(part: Part, piece: Piece, rows: Rows) -> Part:
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
