"""How many saves a second does the event log take, each of them one durable transaction?

Every contender has a file of its own, in one new folder on the disk of this checkout, because
/tmp is often memory. What is made ready for a save is not in its time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from uuid import uuid4

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

from bench.folding import LibraryInvoice, copied, library_mapper
from bench.harness import Contender, Pair, Sample
from bench.invoices import issued
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import new_rows
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.ids import new_id
from counterfoil.domain.envelope import Actor
from counterfoil.domain.ports import Append, Origin, Stream

VAR = Path(__file__).parents[2] / "var"
TENANT = "acme"
FACTS = issued(6)  # drafted, six lines, finalized: eight facts
BODIES = [(fact.stored_as, Codec().encode(fact)) for fact in FACTS]

Save = Callable[[], object]


@contextmanager
def of_facts(saves: int) -> Iterator[Sequence[Contender]]:
    """What a caller has is facts: ours, and those of the library."""
    with files() as (log, recorder, connection):
        yield (
            Contender("SQLiteLog", "ours", all_of(saves, lambda: ours_save(log))),
            Contender("mapper and recorder", "peer", all_of(saves, lambda: mapped_save(recorder))),
            Contender("recorder, of bytes", "peer", all_of(saves, lambda: library_save(recorder))),
            Contender("sqlite3 executemany", "limit", all_of(saves, lambda: raw_save(connection))),
        )


@contextmanager
def of_rows(saves: int) -> Iterator[Sequence[Contender]]:
    """What a recorder is given is bytes: rows of ours, and the library's stored events."""
    with files() as (log, recorder, connection):
        yield (
            Contender("SQLiteLog's store", "ours", all_of(saves, lambda: ours_store(log))),
            Contender("library's recorder", "peer", all_of(saves, lambda: library_save(recorder))),
            Contender("sqlite3 executemany", "limit", all_of(saves, lambda: raw_save(connection))),
        )


@contextmanager
def files() -> Iterator[tuple[SQLiteLog, SQLiteApplicationRecorder, sqlite3.Connection]]:
    """Three SQLite files that only ever grow."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        folder = Path(made)
        with ours(folder) as log, library(folder) as recorder, raw(folder) as connection:
            yield log, recorder, connection


def all_of(saves: int, ready: Callable[[], Save]) -> Callable[[], Sample]:
    """A sample of so many saves, made ready before the clock starts."""

    def sample() -> Sample:
        work = [ready() for _ in range(saves)]
        began = perf_counter()
        for save in work:
            save()
        return Sample(saves, perf_counter() - began)

    return sample


@contextmanager
def ours(folder: Path) -> Iterator[SQLiteLog]:
    with closing(SQLiteLog(str(folder / "ours.db"))) as log:
        yield log


def ours_save(log: SQLiteLog) -> Save:
    """A save as the front door asks for it, when the caller gave no command id."""
    append, origin = new_invoice()

    def save() -> None:
        with log.transaction(TENANT) as transaction:
            transaction.append([append], origin, None)

    return save


def ours_store(log: SQLiteLog) -> Save:
    """A save of rows that are encoded and chained."""
    rows = [*new_rows(TENANT, *new_invoice(), log.codec)]

    def save() -> None:
        with log.transaction(TENANT) as transaction:
            transaction.store(rows, None)

    return save


def new_invoice() -> tuple[Append, Origin]:
    """The facts of a new invoice, and who says so."""
    now = datetime.now(UTC)
    append = Append(Stream(new_id("in", now), (), 0, GENESIS), FACTS)
    return append, Origin(now, Actor(type="user", id="u_bench"), new_id("cmd", now))


@contextmanager
def library(folder: Path) -> Iterator[SQLiteApplicationRecorder]:
    with closing(SQLiteDatastore(str(folder / "library.db"))) as datastore:
        recorder = SQLiteApplicationRecorder(datastore)
        recorder.create_table()
        yield recorder


def library_save(recorder: SQLiteApplicationRecorder) -> Save:
    """A save of the same bytes under a new id, which is a UUID here."""
    stream = uuid4()
    stored = [
        StoredEvent(stream, version, type_name, body)
        for version, (type_name, body) in enumerate(BODIES, start=1)
    ]
    return lambda: recorder.insert_events(stored)


def mapped_save(recorder: SQLiteApplicationRecorder) -> Save:
    """A save of facts of the library's own, which its mapper makes bytes of as ours are made."""
    events = copied(LibraryInvoice, FACTS).collect_events()
    mapper = library_mapper()
    return lambda: recorder.insert_events([mapper.to_stored_event(event) for event in events])


@contextmanager
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """Our schema and the recorder's settings (WAL, synchronous FULL), without our code."""
    path = folder / "raw.db"
    SQLiteLog(str(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        yield connection


def raw_save(connection: sqlite3.Connection) -> Save:
    """A save of rows that need no more thought; their hashes are no chain."""
    now = datetime.now(UTC)
    stream, command = new_id("in", now), new_id("cmd", now)
    at = int(now.timestamp() * 1e6)
    rows = [
        (TENANT, stream, version, type_name, body, at, "user", "u_bench", command, GENESIS)
        for version, (type_name, body) in enumerate(BODIES, start=1)
    ]

    def save() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO facts (tenant, stream, version, type, body, recorded_at, actor_type,"
            " actor_id, command_id, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.execute("COMMIT")

    return save


# So many that every sample holds a checkpoint of the journal; a median of samples of which only
# some do would not count it.
SAVES = 300
PAIRS = (
    Pair(
        name="save-sqlite",
        job="save 8 facts of a new invoice to an SQLite file",
        unit="save",
        size=SAVES,
        setup=of_facts,
        note=(
            "Target: as fast as mapper and recorder. "
            "Ours encodes the facts, chains their hashes and stores who, when and why; "
            "the mapper makes bytes of the library's own events; the recorder alone is given them; "
            "the limit is given the whole rows of ours. All flush the disk once a save."
        ),
    ),
    Pair(
        name="rows-sqlite",
        job="the same, of facts that are encoded already",
        unit="save",
        size=SAVES,
        setup=of_rows,
        note=(
            "Target: as fast as the recorder. "
            "Ours stores who, when, why and the hash with each fact; the recorder stores no "
            "envelope; the limit is given the rows of ours. All flush the disk once a save."
        ),
    ),
)
