"""How long does a rebuild take, beside moving the same bytes with nothing made of them?

Both limits read what a rebuild reads, in its order, throw it away, and store rows that a rebuild
made before. What they leave lies around: dropping it would disturb those that follow.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg

from bench.harness import Contender, Pair, Sample
from bench.kept import bare_server
from bench.ledger import FACTS_PER_INVOICE, Ledger, fill_postgres, fill_sqlite
from bench.runner import books
from bench.saving import VAR
from bench.server import database
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.read_models import sql
from counterfoil.adapters.read_models.postgres import PostgresStore
from counterfoil.adapters.read_models.sqlite import SQLiteSession, SQLiteStore
from counterfoil.projections.catalogue import chosen
from counterfoil.projections.loading import PIECE
from counterfoil.projections.projection import Row, Table
from counterfoil.projections.rebuild import rebuild
from counterfoil.projections.store import Store

NAMES = ("invoices", "lines")
TABLES = tuple(table for one in chosen(NAMES) for table in one.tables)
# The library takes so many times as long that it is given so many times fewer events.
PEER_SHARE = 64
CHUNK = 1 << 20
# Rows in one statement of SQLite's.
TOGETHER = 200

FACT = "tenant, stream, type, version, position, recorded_at, body"
READ = f"SELECT {FACT} FROM facts ORDER BY tenant, stream, version"

Work = Callable[[], object]


def real(events: int, work: Work) -> Callable[[], Sample]:
    """A sample of work that waits for a disk."""

    def sample() -> Sample:
        began = perf_counter()
        work()
        return Sample(events, perf_counter() - began)

    return sample


def ours(store: Store, events: int) -> None:
    """The whole of it: load, totals, indexes, catch up, swap."""
    assert rebuild(store, NAMES, workers=1).facts == events


# --- PostgreSQL -----------------------------------------------------------------------------


@contextmanager
def postgres(events: int) -> Iterator[Sequence[Contender]]:
    """A log of so many events, and a shorter one of the library's."""
    invoices = max(1, events // FACTS_PER_INVOICE)
    facts = invoices * FACTS_PER_INVOICE
    peers = max(1, invoices // PEER_SHARE)
    server = bare_server()
    with (
        database(server, "rebuild_ours") as url,
        database(server, "rebuild_library") as theirs,
        closing(PostgresLog(url, pool_size=2)) as log,
        books(theirs) as library,
    ):
        log.migrate()
        fill_postgres(url, Ledger(), invoices)
        store = PostgresStore(log)
        ours(store, facts)
        with psycopg.connect(url, autocommit=True) as connection:
            limit = Moved(connection)
            end, number = library.add(peers), count()
            yield (
                Contender("rebuild", "ours", real(facts, partial(ours, store, facts))),
                Contender(
                    "ProjectionRunner",
                    "peer",
                    lambda: library.run(f"invoices{next(number)}", end, peers),
                ),
                Contender("COPY out and in", "limit", real(facts, limit.bare)),
                Contender("and the indexes", "limit", real(facts, limit.indexed)),
            )


class Moved:
    """The bytes of a rebuild, out of the server and in again."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection
        self._number = count()
        self._rows = {table: self._copied(table) for table in TABLES}

    def _copied(self, table: Table) -> Sequence[bytes]:
        query = f"COPY {table.name} TO STDOUT (FORMAT BINARY)".encode()
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            whole = b"".join(map(bytes, copy))
        return [whole[start : start + CHUNK] for start in range(0, len(whole), CHUNK)]

    def bare(self) -> Mapping[Table, str]:
        """All rows of facts out, ready rows in; the names of the tables that were made."""
        mark = f"moved{next(self._number)}"
        made = {table: f"{table.name}_{mark}" for table in TABLES}
        with self._connection.transaction():
            # Otherwise the server sorts, which takes longer.
            self._connection.execute("SET LOCAL enable_seqscan = off")
            self._connection.execute("SET LOCAL enable_sort = off")
            query = f"COPY ({READ}) TO STDOUT (FORMAT BINARY)".encode()
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                for _ in copy:
                    pass
        with self._connection.transaction():
            for table, name in made.items():
                self._connection.execute(sql.create(table, name, "postgres").encode())
                query = f"COPY {name} FROM STDIN (FORMAT BINARY)".encode()
                with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                    for chunk in self._rows[table]:
                        copy.write(chunk)
        return made

    def indexed(self) -> None:
        """The same, and then the indexes."""
        made = self.bare()
        with self._connection.transaction():
            self._connection.execute("SET LOCAL maintenance_work_mem = '256MB'")
            for table, name in made.items():
                for number in range(table.indexes_count):
                    statement = sql.index(table, name, name.rpartition("_")[2], number)
                    self._connection.execute(statement.encode())


# --- SQLite ---------------------------------------------------------------------------------


@contextmanager
def sqlite(events: int) -> Iterator[Sequence[Contender]]:
    """A file of so many events, and a copy of it for the limits."""
    invoices = max(1, events // FACTS_PER_INVOICE)
    facts = invoices * FACTS_PER_INVOICE
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        path, moved = Path(made) / "ours.db", Path(made) / "moved.db"
        with closing(SQLiteLog(str(path))) as log:
            fill_sqlite(str(path), Ledger(), invoices)
            shutil.copy(path, moved)
            store = SQLiteStore(log)
            ours(store, facts)
            rows = {table: list(rows_of(path, table)) for table in TABLES}
            with closing(sqlite3.connect(moved, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                piece = min(PIECE, SQLiteSession.window_max)
                limit = Scanned(connection, rows, max(1, piece * invoices // facts))
                yield (
                    Contender("rebuild", "ours", real(facts, partial(ours, store, facts))),
                    Contender("SELECT, INSERT", "limit", limit.sampled(facts, limit.bare)),
                    Contender("and the indexes", "limit", limit.sampled(facts, limit.indexed)),
                )


def rows_of(path: Path, table: Table) -> Iterator[Row]:
    """All rows of a read model, in the order in which a rebuild stored them."""
    with closing(sqlite3.connect(path)) as connection:
        yield from connection.execute(f"SELECT * FROM {table.name} ORDER BY rowid")


class Scanned:
    """The rows of a rebuild, read and stored by the cheapest calls of sqlite3."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rows: Mapping[Table, Sequence[Row]],
        invoices: int,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._pieces = max(1, -(-max(map(len, rows.values())) // invoices))

    def sampled(self, events: int, work: Work) -> Callable[[], Sample]:
        """A sample into tables that are not there yet: what the one before made is dropped."""
        sample = real(events, work)

        def fresh() -> Sample:
            for table in TABLES:
                self._connection.execute(f"DROP TABLE IF EXISTS {table.name}")
            return sample()

        return fresh

    def bare(self) -> None:
        """All rows of facts out, ready rows in, in as many transactions as a rebuild's."""
        execute = self._connection.execute
        for _ in execute(READ):
            pass
        execute("BEGIN")
        for table in TABLES:
            execute(sql.create(table, table.name, "sqlite"))
        execute("COMMIT")
        for piece in range(self._pieces):
            execute("BEGIN IMMEDIATE")
            for table, rows in self._rows.items():
                share = -(-len(rows) // self._pieces)
                insert(self._connection, table, rows[piece * share : (piece + 1) * share])
            execute("COMMIT")

    def indexed(self) -> None:
        """The same, and then the indexes."""
        self.bare()
        self._connection.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            for number in range(table.indexes_count):
                self._connection.execute(sql.index(table, table.name, "moved", number))
        self._connection.execute("COMMIT")


def insert(connection: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Store rows, many by each statement, which is cheaper than one by one."""
    place = f"({', '.join('?' * len(table.columns))})"
    for start in range(0, len(rows), TOGETHER):
        these = rows[start : start + TOGETHER]
        values = ", ".join([place] * len(these))
        connection.execute(
            f"INSERT INTO {table.name} VALUES {values}", tuple(chain.from_iterable(these))
        )


LIMITS = (
    "Ours reads, folds, loads, checks totals, indexes and swaps; the limits read the same facts in "
    "the same order, throw them away, and store rows that are ready"
)
PAIRS = (
    Pair(
        name="rebuild-pg",
        job="rebuild invoices and lines from 400,000 events in PostgreSQL",
        unit="event",
        size=400_000,
        setup=postgres,
        note=(
            "Target: 40 × as fast as the peer, 0.4 of the limit. "
            f"{LIMITS}, by COPY both ways. The peer commits one upsert an event; it is given a "
            f"{PEER_SHARE}th of the events, and its time is from the first of them to the last."
        ),
    ),
    Pair(
        name="rebuild-sqlite",
        job="the same in an SQLite file",
        unit="event",
        size=400_000,
        setup=sqlite,
        note=(
            f"Target: 0.4 of the limit. {LIMITS}, in transactions as large as ours, and as seldom "
            "flushed."
        ),
    ),
)
