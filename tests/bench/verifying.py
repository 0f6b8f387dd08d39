"""How many facts a second does a verification prove, beside reading them and hashing the bytes?

The limit reads the same rows in the same order by the same driver, and makes one SHA-256 over all
columns of each; it decodes nothing, knows no stream and follows no chain.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg

from bench.harness import Contender, Pair, Sample, timed
from bench.kept import bare_server
from bench.ledger import FACTS_PER_INVOICE, TENANT, Ledger, fill_postgres, fill_sqlite
from bench.saving import FACTS, VAR
from bench.server import database
from counterfoil.adapters.event_store import chain
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import COLUMNS, Row, new_rows
from counterfoil.adapters.ids import new_id
from counterfoil.billing import Billing
from counterfoil.domain.envelope import Actor
from counterfoil.domain.numbering import DocumentKind
from counterfoil.domain.ports import Append, Origin, Stream
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event

PAGE = 512
# With the number that a series gave it.
PER_INVOICE = FACTS_PER_INVOICE + 1
_READ = f"SELECT {COLUMNS} FROM facts WHERE position > {{0}} ORDER BY position LIMIT {PAGE}"


@dataclass(slots=True)
class Chained(Ledger):
    """The same invoices with the numbers that a series gave them, and with true chains."""

    heads: dict[str, bytes] = field(default_factory=dict)
    places: int = 0

    def rows(self, invoices: int) -> Iterator[tuple[object, ...]]:
        """Rows of facts in the order of the log, of so many more invoices."""
        place = 0
        for values in Ledger.rows(self, invoices):
            bare = Row(*values)  # type: ignore[arg-type]  # a row in all but name
            numbers = self._numbers(bare) if bare.type == "invoice.finalized.v1" else ()
            for row in (*numbers, bare):
                place += 1
                head = self.heads.get(row.stream, GENESIS)
                made = row._replace(position=place, hash=b"")
                made = made._replace(hash=link(head, made))
                self.heads[row.stream] = made.hash
                yield tuple(made)

    def _numbers(self, finalized: Row) -> Iterator[Row]:
        said = json.loads(finalized.body)
        on = datetime.fromisoformat(said["issued_on"]).date()
        facts: list[Event] = []
        if not self.places:
            facts.append(
                SeriesOpened(
                    series=said["series"],
                    kind=DocumentKind.INVOICE,
                    seller=said["seller"]["id"],
                    format="INV-{year}-{number:06d}",
                    year=on.year,
                    first=1,
                )
            )
        self.places += 1
        facts.append(
            NumberAssigned(
                place=self.places, number=said["number"], document=finalized.stream, issued_on=on
            )
        )
        for version, fact in enumerate(facts, self.places + 2 - len(facts)):
            yield finalized._replace(
                stream=said["series"],
                version=version,
                type=fact.stored_as,
                body=Codec().encode(fact),
            )


# --- the pass -------------------------------------------------------------------------------


@contextmanager
def sqlite(events: int) -> Iterator[Sequence[Contender]]:
    """A file of so many facts."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        path = str(Path(made) / "verified.db")
        Billing.open(path).close()
        fill_sqlite(path, Chained(), max(1, events // PER_INVOICE))
        with closing(sqlite3.connect(path)) as connection:
            yield _contenders(path, lambda query: connection.execute(query).fetchall())


@contextmanager
def postgres(events: int) -> Iterator[Sequence[Contender]]:
    """A database of so many facts."""
    with database(bare_server(), "verified") as url:
        Billing.init(url)
        fill_postgres(url, Chained(), max(1, events // PER_INVOICE))
        with psycopg.connect(url, autocommit=True) as connection:

            def rows(query: str) -> list[tuple[object, ...]]:
                cursor = connection.cursor(binary=True)
                return cursor.execute(query.encode()).fetchall()

            yield _contenders(url, rows)


def _contenders(
    address: str, rows: Callable[[str], list[tuple[object, ...]]]
) -> Sequence[Contender]:
    facts = read(rows)
    assert ours(address, 1) == facts == ours(address, 2)
    return (
        Contender("verify, one worker", "ours", real(facts, partial(ours, address, 1))),
        Contender("two workers", "peer", real(facts, partial(ours, address, 2))),
        Contender("read and SHA-256", "limit", real(facts, partial(read, rows))),
    )


def ours(address: str, workers: int) -> int:
    """Verify all of it, and say how many facts there are."""
    with Billing.auditing(address) as audit:
        report = audit.verify(workers=workers)
    assert report.holds, report.first
    return report.facts


def read(rows: Callable[[str], list[tuple[object, ...]]]) -> int:
    """Read all of it and hash what stands in each row."""
    position: object = 0
    facts = 0
    while page := rows(_READ.format(position)):
        for row in page:
            (
                position, tenant, stream, version, type_name, body, at,
                by, who, command, cause, correlation, hash_,
            ) = row  # fmt: skip
            texts = (
                f"{position}{tenant}{stream}{version}{type_name}{at}"
                f"{by}{who}{command}{cause}{correlation}"
            )
            sha256(texts.encode() + body + hash_).digest()  # type: ignore[operator]  # are bytes
        facts += len(page)
    return facts


def real(events: int, work: Callable[[], object]) -> Callable[[], Sample]:
    """A sample of work that waits for a database and for other processes."""

    def sample() -> Sample:
        began = perf_counter()
        work()
        return Sample(events, perf_counter() - began)

    return sample


# --- what a chain costs who appends ---------------------------------------------------------


@contextmanager
def chained(appends: int) -> Iterator[Sequence[Contender]]:
    """Rows of so many appends of eight facts, with hashes and without."""
    codec, now = Codec(), datetime.now(UTC)
    origin = Origin(now, Actor(type="user", id="u_bench"), new_id("cmd", now))
    streams = [Stream(new_id("in", now), (), 0, GENESIS) for _ in range(appends)]

    def rows() -> None:
        for stream in streams:
            for _ in new_rows(TENANT, Append(stream, FACTS), origin, codec):
                pass

    def bare() -> None:
        with unhashed():
            rows()

    yield (
        Contender("rows with hashes", "ours", timed(appends, rows)),
        Contender("rows without", "limit", timed(appends, bare)),
    )


@contextmanager
def unhashed() -> Iterator[None]:
    """Have links without hashes for a moment."""
    linked = chain.Links.link
    chain.Links.link = lambda *_: GENESIS  # type: ignore[method-assign]
    try:
        yield
    finally:
        chain.Links.link = linked  # type: ignore[method-assign]


NOTE = (
    "Target: 0.5 of the limit. Ours follows the chain of every stream, the order of the log and "
    "every number, makes the Merkle root, and looks whether bodies can be read; the limit reads "
    "the same rows and makes one SHA-256 of each. More than one worker are processes, whose start "
    "is in their time."
)
PAIRS = (
    Pair(
        name="verify-sqlite",
        job="verify 200,000 events in an SQLite file",
        unit="event",
        size=200_000,
        setup=sqlite,
        note=NOTE,
    ),
    Pair(
        name="verify-pg",
        job="the same in PostgreSQL",
        unit="event",
        size=200_000,
        setup=postgres,
        note=NOTE,
    ),
    Pair(
        name="chain",
        job="make rows of 8 facts of a new invoice",
        unit="append",
        size=500,
        setup=chained,
        note="What the chain costs: the same rows, of which one has hashes and the other has none.",
    ),
)
# Of these a round takes seconds.
PAIRS_LONG = PAIRS[:2]
