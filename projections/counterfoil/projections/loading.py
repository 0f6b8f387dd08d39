"""Loading shadow tables: the streams of the log, one after the other, into rows.

The log is read in the order of streams, so that every row is made once and never touched again.
Each part of that order is loaded piece by piece, and a piece is stored in one transaction with the
place it reaches to, so that whoever goes on later begins there.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from counterfoil.domain.errors import Conflict
from counterfoil.domain.value import LARGEST
from counterfoil.projections.history import History
from counterfoil.projections.projection import Projection, Row, Table, added, rows_of
from counterfoil.projections.store import START, Place, Session, Store
from counterfoil.projections.totals import Totals, summed, totals

# Facts in one piece: some megabytes, and a fraction of a second under SQLite's lock.
PIECE = 20_000


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


class Piece(NamedTuple):
    """Some whole streams, one after the other; a series may be cut at either end."""

    histories: Sequence[History]
    reached: Place
    facts: int
    last: bool

    def rows(self, projections: Sequence[Projection]) -> Mapping[Table, Sequence[Row]]:
        """The rows that these streams make, by table."""
        rows: dict[Table, list[Row]] = {
            table: [] for projection in projections for table in projection.tables
        }
        for history in self.histories:
            for table, made in rows_of(projections, history):
                rows[table].extend(made)
        return {table: added(made) if table.adds else made for table, made in rows.items()}


def load(store: Store, target: Target, part: Part, watch: Callable[[int], None]) -> None:
    """Load what is left of a part. While one piece is stored, the next is read."""
    with ThreadPoolExecutor(max_workers=1) as reader, without_collections():

        def read(after: Place) -> Callable[[], Piece]:
            if store.reads_ahead:
                return reader.submit(_read, store, target, after, part.until).result
            return partial(_read, store, target, after, part.until)

        coming = read(part.place)
        while not part.done:
            piece = coming()
            if not piece.last:
                coming = read(piece.reached)
            rows = piece.rows(target.projections)
            part = _reached(part, piece, rows)
            with store.writing() as session:
                for table, made in rows.items():
                    into = session.write if table.adds else session.load
                    if made:
                        into(table, target.name(table), made)
                if not part.reach(session, target.token):
                    raise TakenOver
            watch(piece.facts)


def _read(store: Store, target: Target, after: Place, until: Place | None) -> Piece:
    with store.reading() as session:
        return read_piece(session, target.position, after, until)


def read_piece(session: Session, position: int, after: Place, until: Place | None) -> Piece:
    """The next streams behind a place, as far as another, with their facts up to a position."""
    limit = PIECE
    while True:
        histories = session.window(after, until, position, limit)
        last = sum(len(history.facts) for history in histories) < limit
        if last or histories[-1].kind == "series":
            break  # a series may be cut anywhere; of anything else, all facts are needed
        histories.pop()
        if histories:
            break
        limit *= 2
    facts = 0
    for history in histories:
        facts += len(history.facts)
        _hold_whole(history, after)
    reached = _end(histories[-1]) if histories else after
    if histories and histories[0].facts[0][1] > 1:
        histories[0] = _begun(session, histories[0])
    return Piece(histories, reached, facts, last)


def _end(history: History) -> Place:
    return Place(history.tenant, history.stream, history.facts[-1][1])


def _hold_whole(history: History, after: Place) -> None:
    """Hold that no fact is missing: versions count up by one."""
    continued = (history.tenant, history.stream) == after[:2]
    expected = after.version + 1 if continued else 1
    first, last = history.facts[0], history.facts[-1]
    if first[1] != expected or last[1] - expected + 1 != len(history.facts):
        raise history.corrupt("facts of this stream are missing", first)


def _begun(session: Session, continued: History) -> History:
    """The rest of a series, with the fact that opened it."""
    (opened,) = session.beginnings([(continued.tenant, continued.stream)])
    return replace(continued, facts=[*opened.facts, *continued.facts])


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
def without_collections() -> Iterator[None]:
    """Nothing that is made here refers to itself; looking for what does costs a third more."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
