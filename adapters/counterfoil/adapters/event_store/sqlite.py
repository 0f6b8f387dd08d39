"""The log in an SQLite file (or in memory): one writer at a time, across threads and processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from eventsourcing.domain import EventSourcingError
from eventsourcing.persistence import ApplicationRecorder, Subscription
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
)

from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import NewRow, new_rows
from counterfoil.adapters.event_store.schema import pending
from counterfoil.adapters.event_store.subscription import PollingSubscription
from counterfoil.adapters.read_models.inline import Inline, Seen
from counterfoil.adapters.read_models.sqlite import SQLiteSession
from counterfoil.domain.errors import AppendOnly, Conflict, Unavailable
from counterfoil.domain.ports import Append, Claim, Origin, Stream
from counterfoil.projections.follow import store
from counterfoil.projections.status import begin

_MEMORY = ":memory:"
_STATEMENTS_CACHED = 128
_LOCK_TIMEOUT_S = 30

_INSERT = (
    "INSERT INTO facts (tenant, stream, version, type, body, recorded_at, actor_type, actor_id,"
    " command_id, causation_id, correlation_id, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

# Of the row with the last position, which is what SQLite gives beside max(). The sign keeps it from
# walking through the log by position.
_HEADS = """
SELECT facts.tenant, facts.stream, facts.version, facts.hash, max(facts.position)
FROM json_each(:streams) AS named
CROSS JOIN facts
    ON facts.tenant = json_extract(named.value, '$[0]')
    AND facts.stream = json_extract(named.value, '$[1]')
WHERE +facts.position <= :upto
GROUP BY facts.tenant, facts.stream
"""


class SQLiteLog(FactsRecorder, SQLiteApplicationRecorder):
    """The event log on the library's SQLite recorder: its connections and journal, our rows."""

    def __init__(self, path: str, codec: Codec | None = None) -> None:
        self.codec = codec or Codec()
        self.url = path
        super().__init__(_Datastore(path), "facts")
        self.migrate()

    def construct_create_table_statements(self) -> list[str]:
        """None: the schema is made by migrations."""
        return []

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[SQLiteTransaction]:
        """Begin a unit of work. The write lock is taken at once, so what is read stays true."""
        with self.begun() as cursor:
            yield SQLiteTransaction(cursor, tenant, self.codec, self.inline)

    def plain(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """What a query finds; its values are written as `:name`."""
        with translated(), self.datastore.get_connection(commit=False) as connection:
            sqlite = connection.cursor().sqlite_cursor.connection
            cursor = sqlite.cursor()
            cursor.row_factory = None  # plain tuples: the library's rows are dearer to take apart
            try:
                return cursor.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "UTF-8" not in str(error):
                    raise
                return _damaged(sqlite, query, values)

    def heads(
        self, streams: Sequence[tuple[str, str]], upto: int
    ) -> Sequence[tuple[str, str, int, bytes]]:
        """The last version and hash of streams as far as a position."""
        found = self.plain(_HEADS, {"streams": json.dumps(streams), "upto": upto})
        return [(tenant, stream, version, hash_) for tenant, stream, version, hash_, _ in found]

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """The events of the log after position `gt`, and those to come."""
        return PollingSubscription(self, gt, topics)

    def migrate(self) -> None:
        """Bring the schema up to date; a newer one is refused."""
        with translated(), self.datastore.get_connection(commit=False) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA user_version")
            if not pending("sqlite", cursor.fetchone()[0]):
                return  # without a lock, so that a copy may be read that nobody may write
        with self.begun() as cursor:
            cursor.execute("PRAGMA user_version")
            for step in pending("sqlite", cursor.fetchone()[0]):
                for statement in _statements(step.sql):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {step.number:d}")
            begin(SQLiteSession(cursor.sqlite_cursor.connection, self.codec))
            cursor.execute("COMMIT")

    def close(self) -> None:
        """Give back every connection."""
        self.datastore.close()

    @contextmanager
    def reading(self) -> Iterator[SQLiteCursor]:
        """Begin a transaction that sees one moment only."""
        with translated(), self.datastore.get_connection(commit=False) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            try:
                yield cursor
            finally:
                connection.rollback()

    @contextmanager
    def begun(self, *, lasting: bool = True) -> Iterator[SQLiteCursor]:
        """Begin a transaction that may write; whoever is in it is alone. One that is not `lasting`
        need not be on the disk before a later one is that lasts.
        """
        # The library begins deferred transactions: one that reads first and writes later fails
        # when another process wrote between (facts/eventsourcing, trap 13).
        with translated(), self.datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            try:
                if not lasting:
                    _flush(cursor, "NORMAL", checkpoint_pages=8_000)
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
            finally:
                connection.rollback()  # of what was not committed
                if not lasting:
                    _flush(cursor, "FULL", checkpoint_pages=1_000)


def _flush(cursor: SQLiteCursor, synchronous: str, *, checkpoint_pages: int) -> None:
    """Flush every commit (`FULL`) or none; put the journal into the file when it is so long. Many
    large transactions take a tenth less time when that happens seldom.
    """
    cursor.execute(f"PRAGMA synchronous = {synchronous}")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")


class SQLiteTransaction:
    """One unit of work under SQLite's write lock: whoever is in it is alone in it."""

    def __init__(
        self, cursor: SQLiteCursor, tenant: str, codec: Codec, inline: Inline | None
    ) -> None:
        self._cursor = cursor
        self._tenant = tenant
        self._codec = codec
        self._inline = inline
        self._seen: Seen = {}

    def claimed(self, command_id: str) -> Claim | None:
        """The claim of this command id, if the command was obeyed before."""
        self._cursor.execute(
            "SELECT fingerprint, stream, version FROM claims WHERE tenant = ? AND command_id = ?",
            (self._tenant, command_id),
        )
        row = self._cursor.fetchone()
        return None if row is None else Claim(*row)

    def read(self, stream: str) -> Stream:
        """All facts of a stream; one that does not exist has none."""
        return self._stream(stream, "")

    def head(self, stream: str) -> Stream:
        """A stream without its facts."""
        self._cursor.execute(
            "SELECT version, hash FROM facts WHERE tenant = ? AND stream = ?"
            " ORDER BY version DESC LIMIT 1",
            (self._tenant, stream),
        )
        version, head = self._cursor.fetchone() or (0, GENESIS)
        return Stream(stream, (), version, head)

    def take(self, stream: str) -> Stream:
        """A stream with its first and its last fact only."""
        last = "(SELECT max(version) FROM facts WHERE tenant = :tenant AND stream = :stream)"
        return self._stream(stream, f"AND (version = 1 OR version = {last})")

    def append(self, appends: Sequence[Append], origin: Origin, claim: Claim | None) -> None:
        """Store facts and the claim of their command; `Conflict` when a version is taken."""
        rows = [
            row for append in appends for row in new_rows(self._tenant, append, origin, self._codec)
        ]
        self._insert(rows, None if claim is None else (origin.command_id, claim))
        if self._inline is not None and rows:
            session = SQLiteSession(self._cursor.sqlite_cursor.connection, self._codec)
            self._inline.look(session.select)
            store(session, self._inline.changes(self._tenant, self._seen, rows, self._codec))
        self._cursor.execute("COMMIT")

    def store(self, rows: Sequence[NewRow], claim: tuple[str, Claim] | None) -> Sequence[int]:
        """Store rows as they are, and return their positions."""
        self._cursor.execute("SELECT coalesce(max(position), 0) FROM facts")
        (last,) = self._cursor.fetchone()
        self._insert(rows, claim)
        self._cursor.execute("COMMIT")
        return [*range(last + 1, last + len(rows) + 1)]

    def _insert(self, rows: Sequence[NewRow], claim: tuple[str, Claim] | None) -> None:
        try:
            if claim is not None:
                command_id, made = claim
                values = (self._tenant, command_id, made.fingerprint, made.stream, made.version)
                self._cursor.execute("INSERT INTO claims VALUES (?, ?, ?, ?, ?)", values)
            # Of a plain tuple sqlite3 binds the values a tenth faster than of a named one.
            self._cursor.executemany(_INSERT, map(tuple, rows))
        except sqlite3.IntegrityError as error:
            raise Conflict("somebody else wrote first; load again and ask again") from error

    def _stream(self, stream: str, which: str) -> Stream:
        self._cursor.execute(
            "SELECT type, version, position, recorded_at, body, hash FROM facts"
            f" WHERE tenant = :tenant AND stream = :stream {which} ORDER BY version",
            {"tenant": self._tenant, "stream": stream},
        )
        rows = self._cursor.fetchall()
        facts = [
            self._codec.decode(type_name, body, stream=stream, position=position)
            for type_name, _, position, _, body, _ in rows
        ]
        self._seen[stream] = rows
        if not rows:
            return Stream(stream, facts, 0, GENESIS)
        return Stream(stream, facts, rows[-1]["version"], rows[-1]["hash"])


class _Datastore(SQLiteDatastore):
    """The library's connections, with a cache of statements that holds all of ours."""

    def __init__(self, path: str) -> None:
        super().__init__(path, originator_id_type="text")
        self.pool.close()
        in_memory = path == _MEMORY
        # Each connection to a plain :memory: is a database of its own, so there it has only one.
        self.pool = _Pool(
            db_name=path,
            lock_timeout=_LOCK_TIMEOUT_S,
            pool_size=1 if in_memory else 5,
            max_overflow=0 if in_memory else 10,
            pool_timeout=_LOCK_TIMEOUT_S,
        )


class _Pool(SQLiteConnectionPool):
    """The library's pool, closed without closing what a thread is using: that would crash Python.

    Such a connection is closed when it is given back.
    """

    def close(self) -> None:
        with self._put_condition:
            self._closed = True
            while self._pool:
                self._pool.popleft().close()

    def put_connection(self, conn: SQLiteConnection) -> None:
        if not self._closed:
            super().put_connection(conn)
            return
        with self._put_condition:
            self._in_use.pop(id(conn), None)
            conn.close()
        if conn.is_writer:
            self._writer_lock.release()

    def _create_connection(self) -> SQLiteConnection:
        if self.is_sqlite_memory_mode:
            return super()._create_connection()
        connection = sqlite3.connect(
            self.db_name,
            check_same_thread=False,
            isolation_level=None,
            cached_statements=_STATEMENTS_CACHED,
            timeout=_LOCK_TIMEOUT_S,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        return SQLiteConnection(sqlite_conn=connection, max_age=self.max_age)


@contextmanager
def translated() -> Iterator[None]:
    """Say foreign errors in our words."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise AppendOnly(str(error)) from error
    except (sqlite3.Error, EventSourcingError) as error:
        raise Unavailable(f"the database file cannot be used now: {error}") from error


def _damaged(
    connection: sqlite3.Connection, query: str, values: Mapping[str, object]
) -> Sequence[tuple[Any, ...]]:
    """What a query finds where text is none, so that an audit can say where it is."""
    before = connection.text_factory
    connection.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        return [tuple(row) for row in connection.execute(query, values)]
    finally:
        connection.text_factory = before


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script, which executescript would run outside a transaction."""
    statement = ""
    for text in script.splitlines(keepends=True):
        statement += text
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
