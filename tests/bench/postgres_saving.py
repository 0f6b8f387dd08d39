"""How many saves a second does PostgreSQL take, from one writer and from eight at once?

Every contender has a database of its own on the same server. Writers are processes, as the
workers of a web server are; each holds one connection per contender, and all begin at once.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from time import perf_counter
from uuid import uuid4

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from bench.harness import Contender, Pair, Role, Sample
from bench.saving import BODIES, FACTS, TENANT, Save
from bench.server import database, server
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.ids import new_id
from counterfoil.domain.envelope import Actor
from counterfoil.domain.ports import Append, Origin, Stream

ANSWER_S_MAX = 120
WARM_SAVES = 20
ACTOR = Actor(type="user", id="u_bench")

# Opens one writer's way to save so many new invoices at once.
Opens = Callable[[str, int], AbstractContextManager[Save]]


@dataclass(frozen=True, slots=True)
class Way:
    """A contender as a writer knows it."""

    name: str
    role: Role
    database: str
    opens: Opens


@contextmanager
def writers(milliseconds: int, *, count: int, invoices: int) -> Iterator[Sequence[Contender]]:
    """Writers who save so many invoices at once, again and again, for so long in a sample."""
    with server() as url, ExitStack() as stack:
        urls = [stack.enter_context(database(url, way.database)) for way in WAYS]
        for way, own in zip(WAYS, urls, strict=True):
            SCHEMAS[way.database](own)
        crew = stack.enter_context(writing(count, urls, invoices))
        yield [
            Contender(way.name, way.role, partial(crew.sample, place, milliseconds / 1e3))
            for place, way in enumerate(WAYS)
        ]


# --- processes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crew:
    """Writers that wait to be told which way to save, and for how long."""

    pipes: Sequence[Pipe]
    invoices: int

    def sample(self, place: int, seconds: float) -> Sample:
        """What all of them together saved. Each counts its own time, to the end of its last save;
        a second of the sample is a second in which all of them wrote.
        """
        for pipe in self.pipes:
            pipe.send((place, seconds))
        done = [answer(pipe) for pipe in self.pipes]
        saves = sum(sample.units for sample in done)
        return Sample(saves * self.invoices, saves / sum(1 / sample.cost for sample in done))


@contextmanager
def writing(count: int, urls: Sequence[str], invoices: int) -> Iterator[Crew]:
    """Start writers, and end them; they are ready and warm before this yields."""
    # A fork would copy what this process has open.
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(count, timeout=ANSWER_S_MAX)
    with ExitStack() as stack:
        pipes = []
        for _ in range(count):
            pipe, theirs = context.Pipe()
            process = context.Process(
                target=write, args=(theirs, together, urls, invoices), daemon=True
            )
            process.start()
            stack.callback(process.join, ANSWER_S_MAX)
            stack.enter_context(pipe)  # closed first, which is what ends the writer
            theirs.close()
            pipes.append(pipe)
        for pipe in pipes:
            answer(pipe)
        yield Crew(pipes, invoices)


def answer(pipe: Pipe) -> Sample:
    """What a writer says; one that died says nothing."""
    if not pipe.poll(ANSWER_S_MAX):
        raise TimeoutError("a writer does not answer")
    said = pipe.recv()
    assert isinstance(said, Sample)
    return said


def write(pipe: Pipe, together: Barrier, urls: Sequence[str], invoices: int) -> None:
    """The life of a writer: make ready, then save when told to, until nobody asks any more."""
    with ExitStack() as stack:
        saves = [
            stack.enter_context(way.opens(url, invoices))
            for way, url in zip(WAYS, urls, strict=True)
        ]
        for save in saves:
            for _ in range(WARM_SAVES):
                save()
        pipe.send(Sample(WARM_SAVES, 1))
        gc.disable()
        while True:
            try:
                place, seconds = pipe.recv()
            except EOFError:
                return
            gc.collect()
            together.wait()
            pipe.send(saved(saves[place], seconds))


def saved(save: Save, seconds: float) -> Sample:
    """Save for so long, and at least once."""
    count, began = 0, perf_counter()
    while True:
        save()
        count += 1
        took = perf_counter() - began
        if took >= seconds:
            return Sample(count, took)


# --- ways to save ---------------------------------------------------------------------------


@contextmanager
def ours(url: str, invoices: int) -> Iterator[Save]:
    """As the front door saves, when the caller gave no command id."""
    with closing(PostgresLog(url, pool_size=1)) as log:

        def save() -> None:
            now = datetime.now(UTC)
            appends = [
                Append(Stream(new_id("in", now), (), 0, GENESIS), FACTS) for _ in range(invoices)
            ]
            with log.transaction(TENANT) as transaction:
                transaction.append(appends, Origin(now, ACTOR, new_id("cmd", now)), None)

        yield save


@contextmanager
def library(url: str, invoices: int) -> Iterator[Save]:
    """The library's own recorder, with the same bytes under new ids, which are UUIDs here."""
    with closing(library_datastore(url)) as datastore:
        recorder = PostgresApplicationRecorder(datastore)

        def save() -> None:
            streams = [uuid4() for _ in range(invoices)]
            recorder.insert_events(
                [
                    StoredEvent(stream, version, type_name, body)
                    for stream in streams
                    for version, (type_name, body) in enumerate(BODIES, start=1)
                ]
            )

        yield save


@contextmanager
def raw(url: str, invoices: int) -> Iterator[Save]:
    """One INSERT of rows that need no more thought: no order, no lock, and hashes of no chain."""
    versions = [*range(1, len(BODIES) + 1)] * invoices
    types = [type_name for type_name, _ in BODIES] * invoices
    bodies = [body for _, body in BODIES] * invoices
    hashes = [GENESIS] * len(versions)
    with psycopg.connect(url, autocommit=True) as connection:

        def save() -> None:
            now = datetime.now(UTC)
            streams = [stream for _ in range(invoices) for stream in [new_id("in", now)] * 8]
            connection.cursor(binary=True).execute(
                RAW_INSERT,
                (
                    *(TENANT, int(now.timestamp() * 1e6), ACTOR.type.value, ACTOR.id),
                    new_id("cmd", now),
                    *(streams, versions, types, bodies, hashes),
                ),
                prepare=True,
            )

        yield save


RAW_INSERT = """
INSERT INTO facts (
    tenant, stream, version, type, body, recorded_at, actor_type, actor_id, command_id, hash
)
SELECT %s, new.stream, new.version, new.type, new.body, %s, %s, %s, %s, new.hash
FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::bytea[])
    AS new (stream, version, type, body, hash)
"""


def our_schema(url: str) -> None:
    """What `counterfoil init` makes."""
    with closing(PostgresLog(url, pool_size=1)) as log:
        log.migrate()


def library_schema(url: str) -> None:
    """What the library's recorder makes."""
    with closing(library_datastore(url)) as datastore:
        PostgresApplicationRecorder(datastore).create_table()


def raw_schema(url: str) -> None:
    """Ours, but the database gives out the positions, in no order."""
    our_schema(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE facts ALTER position ADD GENERATED ALWAYS AS IDENTITY")


def library_datastore(url: str) -> PostgresDatastore:
    """The library's connections to a database, with its own settings."""
    said = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return PostgresDatastore(
        dbname=said["dbname"], host=said["host"], port="", user=said["user"], password=""
    )


SCHEMAS: dict[str, Callable[[str], None]] = {
    "ours": our_schema,
    "library": library_schema,
    "raw": raw_schema,
}
WAYS = (
    Way("PostgresLog", "ours", "ours", ours),
    Way("library's recorder", "peer", "library", library),
    Way("unordered INSERT", "limit", "raw", raw),
)
SAMPLE_MS = 300
WHO = (
    "Ours encodes the facts, chains their hashes and stores who, when and why; "
    "the peer is given the bytes and stores no envelope; "
    "the limit is given the whole rows of ours and keeps no order. A flush takes 2 ms."
)

PAIRS = (
    Pair(
        name="save-pg-1",
        job="save 8 facts of a new invoice to PostgreSQL",
        unit="save",
        size=SAMPLE_MS,
        setup=partial(writers, count=1, invoices=1),
        note=f"Target: as fast as the peer. {WHO}",
    ),
    Pair(
        name="save-pg-8",
        job="the same by 8 processes at once",
        unit="save",
        size=SAMPLE_MS,
        setup=partial(writers, count=8, invoices=1),
        note=f"Target: 3 × as fast as the peer, 0.75 of the limit. {WHO}",
    ),
    Pair(
        name="batch-pg-10",
        job="save 10 new invoices of 8 facts each to PostgreSQL at once",
        unit="invoice",
        size=SAMPLE_MS,
        setup=partial(writers, count=1, invoices=10),
        note=f"Target: 1.5 × as fast as the peer. {WHO}",
    ),
    Pair(
        name="batch-pg-100",
        job="save 100 new invoices of 8 facts each to PostgreSQL at once",
        unit="invoice",
        size=SAMPLE_MS,
        setup=partial(writers, count=1, invoices=100),
        note=f"Target: 1.5 × as fast as the peer. {WHO}",
    ),
)
