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
def sqlite_files(saves: int) -> Iterator[Sequence[Contender]]:
    """Three SQLite files that only ever grow, by so many saves in a sample."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        folder = Path(made)
        with ours(folder) as log, library(folder) as recorder, raw(folder) as connection:
            yield (
                Contender("SQLiteLog", "ours", all_of(saves, lambda: ours_save(log))),
                Contender(
                    "library's recorder", "peer", all_of(saves, lambda: library_save(recorder))
                ),
                Contender(
                    "mapper and recorder", "peer", all_of(saves, lambda: mapped_save(recorder))
                ),
                Contender(
                    "sqlite3 executemany", "limit", all_of(saves, lambda: raw_save(connection))
                ),
            )


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
    now = datetime.now(UTC)
    append = Append(Stream(new_id("in", now), (), 0, GENESIS), FACTS)
    origin = Origin(now, Actor(type="user", id="u_bench"), new_id("cmd", now))

    def save() -> None:
        with log.transaction(TENANT) as transaction:
            transaction.append([append], origin, None)

    return save


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


PAIRS = (
    Pair(
        name="save-sqlite",
        job="save 8 facts of a new invoice to an SQLite file",
        unit="save",
        # So many that every sample holds a checkpoint of the journal; a median of samples of
        # which only some do would not count it.
        size=300,
        setup=sqlite_files,
        note=(
            "Target: as fast as the recorder. "
            "Ours encodes the facts, chains their hashes and stores who, when and why; "
            "the recorder alone is given the bytes and stores no envelope, "
            "and the mapper makes them of the library's own events; "
            "the limit is given the whole rows of ours. All flush the disk once a save."
        ),
    ),
)
