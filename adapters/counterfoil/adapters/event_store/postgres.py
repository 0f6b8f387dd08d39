"""The log in PostgreSQL: many writers, one order, and no writer waits for another's disk.

An append locks the log, inserts and commits without waiting for the disk, so that the lock is held
for microseconds and positions become visible in the order in which they were given. Right after
that, on the same connection, a second tiny transaction commits and does wait. The write-ahead log
is flushed in order: once that later record is on the disk, so is the append, and only then is the
caller answered. A crash in between loses only what nobody was told of. Everybody's second
transactions are flushed together, which is where the speed comes from.

What a reader sees may for one flush not be durable yet. What it writes into the same database
comes later in the same write-ahead log and is consistent; whatever leaves the database must wait
for a flush of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from eventsourcing.persistence import ApplicationRecorder, PersistenceError, Subscription
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, tuple_row
from psycopg_pool import PoolTimeout

from counterfoil.adapters.event_store.arrays import ADAPTERS, columns
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import NewRow, microseconds, new_rows
from counterfoil.adapters.event_store.schema import pending
from counterfoil.adapters.event_store.subscription import PollingSubscription
from counterfoil.adapters.read_models.inline import Inline, Seen
from counterfoil.adapters.read_models.postgres import PostgresSession, named
from counterfoil.domain.errors import (
    AppendOnly,
    Conflict,
    CorruptHistory,
    CounterfoilError,
    SchemaMissing,
    Unavailable,
)
from counterfoil.domain.ports import Append, Claim, Origin, Stream
from counterfoil.projections.follow import store
from counterfoil.projections.projection import Change
from counterfoil.projections.status import begin

# Any two numbers that nobody else's advisory locks use: the bytes of "Counterf" and of "oils".
_LOG_LOCK = 0x436F756E74657266
_STREAM_LOCKS = 0x6F696C73

# Read models are kept otherwise since this process looked; `hold_generation` says so.
_OTHER_GENERATION = "CF002"

_WAIT_S = 10
_IDLE_S = 60

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_CLAIM = "INSERT INTO claims VALUES (%s, %s, %s, %s, %s)"
_CLAIMED = "SELECT fingerprint, stream, version FROM claims WHERE tenant = %s AND command_id = %s"
_APPEND = (
    "CALL facts_append(%s::text, %s::bigint, %s::text, %s::text, %s::text, %s::text, %s::text,"
    " %b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::bytea[], %s::bytea, %s::text,"
    " %s::bigint, %s::bigint, %s::boolean)"
)
# The statement takes its snapshot after the lock is held, so the last position is the last.
_INSERT = """
INSERT INTO facts (
    position, tenant, stream, version, type, body, recorded_at, actor_type, actor_id, command_id,
    causation_id, correlation_id, hash
)
SELECT
    (SELECT coalesce(max(position), 0) FROM facts) + new.place, %s, new.stream, new.version,
    new.type, new.body, %s, %s, %s, %s, %s, %s, new.hash
FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::bytea[])
    WITH ORDINALITY AS new (stream, version, type, body, hash, place)
RETURNING position
"""
# It must write to the log, or its commit flushes nothing; a transaction that only takes an id
# commits without a flush and is no barrier.
_BARRIER = "SELECT pg_logical_emit_message(true, 'counterfoil', '')"
_STREAM = """
SELECT type, version, position, recorded_at, body, hash FROM facts
WHERE tenant = %s AND stream = %s ORDER BY version
"""
_HEAD = """
SELECT version, hash FROM facts WHERE tenant = %s AND stream = %s ORDER BY version DESC LIMIT 1
"""
_ENDS = """
SELECT type, version, position, recorded_at, body, hash FROM facts
WHERE tenant = %(tenant)s AND stream = %(stream)s AND (
    version = 1
    OR version = (
        SELECT max(version) FROM facts WHERE tenant = %(tenant)s AND stream = %(stream)s
    )
)
ORDER BY version
"""
# The sum keeps the planner from walking through the log by position.
_HEADS = """
SELECT named.tenant, named.stream, last.version, last.hash
FROM unnest(:tenants::text[], :streams::text[]) AS named (tenant, stream)
CROSS JOIN LATERAL (
    SELECT version, hash FROM facts
    WHERE facts.tenant = named.tenant AND facts.stream = named.stream AND position <= :upto
    ORDER BY position + 0 DESC LIMIT 1
) AS last
"""

Connection = psycopg.Connection[Any]


class PostgresLog(FactsRecorder, PostgresApplicationRecorder):
    """The event log on the library's PostgreSQL recorder: its pool, our rows and our commits."""

    def __init__(
        self,
        url: str,
        codec: Codec | None = None,
        *,
        pool_size: int = 5,
        pool_size_max: int = 20,
        early_lock_release: bool = True,
    ) -> None:
        """Open a pool; `early_lock_release=False` waits for the disk under the lock instead,
        which is a little faster for a single writer on a disk that flushes within 0.1 ms.
        """
        self.codec = codec or Codec()
        self._early = early_lock_release
        self.url = url
        with translated():
            super().__init__(_Datastore(url, pool_size, pool_size_max), events_table_name="facts")

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[PostgresTransaction]:
        """Begin a unit of work. What it reads is checked when it appends: versions are a key."""
        with self.connection() as connection:
            if self.inline is not None and self.inline.doubted:
                self.inline.look(PostgresSession(connection, self.codec).select)
            transaction = PostgresTransaction(
                connection, tenant, self.codec, self.inline, early=self._early
            )
            try:
                yield transaction
            finally:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    connection.rollback()

    def plain(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """What a query finds; its values are written as `:name`."""
        with self.connection() as connection:
            cursor = connection.cursor(binary=True, row_factory=tuple_row)
            return cursor.execute(named(query), values, prepare=True).fetchall()

    def heads(
        self, streams: Sequence[tuple[str, str]], upto: int
    ) -> Sequence[tuple[str, str, int, bytes]]:
        """The last version and hash of streams as far as a position."""
        tenants, names = [[stream[part] for stream in streams] for part in (0, 1)]
        return self.plain(_HEADS, {"tenants": tenants, "streams": names, "upto": upto})

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """The events of the log after position `gt`, and those to come."""
        return PollingSubscription(self, gt, topics, self._listen)

    def _listen(self, seconds: float) -> Iterator[None]:
        # A connection of its own: a subscription lives long, and those of the pool are for work.
        while True:
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    connection.execute("LISTEN facts")
                    while True:
                        yield
                        for _ in connection.notifies(timeout=seconds, stop_after=1):
                            pass
            except psycopg.OperationalError:
                yield  # what is pulled now says by itself if the database is away
                time.sleep(seconds)

    def migrate(self) -> None:
        """Bring the schema up to date; two at once wait for each other, a newer one is refused."""
        with self.connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOG_LOCK,))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_steps"
                " (number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            for step in pending("postgres", _schema(connection)):
                connection.execute(step.sql.encode())
                connection.execute("INSERT INTO schema_steps VALUES (%s)", (step.number,))
            begin(PostgresSession(connection, self.codec))

    def hold_schema(self) -> None:
        """Refuse a database whose schema is not ours: missing, older or newer."""
        with self.connection() as connection:
            found = connection.execute("SELECT to_regclass('schema_steps') AS it").fetchone()
            current = _schema(connection) if found and found["it"] else 0
        if pending("postgres", current):
            raise SchemaMissing(
                f"the database has schema {current}: run `counterfoil init` to bring it up to date"
            )

    def close(self) -> None:
        """Give back every connection."""
        self.datastore.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection of the pool; errors are said in our words."""
        with translated():
            self.datastore.pool.open()
            with self.datastore.pool.connection() as connection:
                try:
                    yield connection
                except psycopg.OperationalError:
                    if connection.broken:  # then its idle neighbours are, most likely, too
                        self.datastore.pool.check()
                    raise


class PostgresTransaction:
    """One unit of work. It begins in the database when it must: to hold a stream, or to append."""

    def __init__(
        self,
        connection: Connection,
        tenant: str,
        codec: Codec,
        inline: Inline | None,
        *,
        early: bool,
    ) -> None:
        self._connection = connection
        self._tenant = tenant
        self._codec = codec
        self._early = early
        self._inline = inline
        self._seen: Seen = {}

    def claimed(self, command_id: str) -> Claim | None:
        """The claim of this command id, if the command was obeyed before."""
        row = self._rows(_CLAIMED, (self._tenant, command_id)).fetchone()
        return None if row is None else Claim(*row)

    def read(self, stream: str) -> Stream:
        """All facts of a stream; one that does not exist has none."""
        return self._stream(stream, self._rows(_STREAM, (self._tenant, stream)))

    def head(self, stream: str) -> Stream:
        """A stream without its facts."""
        row = self._rows(_HEAD, (self._tenant, stream)).fetchone()
        version, head = row or (0, GENESIS)
        return Stream(stream, (), version, head)

    def take(self, stream: str) -> Stream:
        """A stream with its first and its last fact only, held until this unit of work ends."""
        with self._connection.pipeline():
            self._begin()
            self._connection.execute(
                "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
                (_STREAM_LOCKS, f"{self._tenant}/{stream}"),
                prepare=True,
            )
            cursor = self._rows(_ENDS, {"tenant": self._tenant, "stream": stream})
        return self._stream(stream, cursor)

    def append(self, appends: Sequence[Append], origin: Origin, claim: Claim | None) -> None:
        """Store facts and the claim of their command; `Conflict` when a version is taken."""
        rows = [
            row for append in appends for row in new_rows(self._tenant, append, origin, self._codec)
        ]
        generation, changed = None, []
        if self._inline is not None and rows:
            generation = self._inline.generation
            changed = [*self._inline.changes(self._tenant, self._seen, rows, self._codec)]
        begun = self._connection.info.transaction_status != TransactionStatus.IDLE
        if begun or changed or not (rows or claim):
            # A procedure cannot commit inside a transaction that is open.
            made = None if claim is None else (origin.command_id, claim)
            with self._doubting():
                self._store(rows, made, generation, changed)
            return
        said = (claim.fingerprint, claim.stream, claim.version) if claim else (None, None, None)
        values = (
            self._tenant,
            microseconds(origin.recorded_at),
            origin.actor.type.value,
            origin.actor.id,
            origin.command_id,
            origin.causation_id,
            origin.correlation_id,
            *columns(rows),
            *said,
            generation,
            self._early,
        )
        with self._doubting():
            self._connection.execute(_APPEND, values, prepare=True)

    def store(self, rows: Sequence[NewRow], claim: tuple[str, Claim] | None) -> Sequence[int]:
        """Store rows as they are, and return their positions."""
        return self._store(rows, claim, None, ())

    def _store(
        self,
        rows: Sequence[NewRow],
        claim: tuple[str, Claim] | None,
        generation: int | None,
        changed: Sequence[Change],
    ) -> Sequence[int]:
        """In one round trip, lock and all. The log is locked last, and briefly: rows of read models
        are written before.
        """
        if not rows and claim is None:
            self._connection.rollback()  # of a stream that was taken: nothing comes of it
            self._connection.execute(_BARRIER, prepare=True)
            return ()
        with self._connection.pipeline():
            self._begin()
            if generation is not None:
                self._connection.execute("SELECT hold_generation(%s)", (generation,), prepare=True)
            if claim is not None:
                command_id, made = claim
                values = (self._tenant, command_id, made.fingerprint, made.stream, made.version)
                self._connection.execute(_CLAIM, values, prepare=True)
            if changed:
                store(PostgresSession(self._connection, self._codec), changed)
            cursor = self._insert(rows) if rows else None
            self._connection.execute("COMMIT", prepare=True)
            if self._early:
                self._connection.execute(_BARRIER, prepare=True)
        return [position for (position,) in cursor] if cursor else ()

    def _insert(self, rows: Sequence[NewRow]) -> psycopg.Cursor[tuple[Any, ...]]:
        first = rows[0]
        self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOG_LOCK,), prepare=True)
        self._connection.execute("NOTIFY facts", prepare=True)
        return self._rows(
            _INSERT,
            (
                self._tenant,
                first.recorded_at,
                first.actor_type,
                first.actor_id,
                first.command_id,
                first.causation_id,
                first.correlation_id,
                *columns(rows),
            ),
        )

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Have the next unit of work look again when the database asks for other read models."""
        try:
            yield
        except psycopg.Error as error:
            if self._inline is not None and error.sqlstate == _OTHER_GENERATION:
                self._inline.doubted = True
            if isinstance(error, psycopg.DataError):
                problem = "facts make rows that no table can hold"
                raise CorruptHistory(problem, stream=self._tenant) from error
            raise

    def _begin(self) -> None:
        if self._connection.info.transaction_status == TransactionStatus.IDLE:
            # Order and uniqueness come of our locks and keys, whatever a deployment's default is.
            self._connection.execute(_BEGIN, prepare=True)
            if self._early:
                self._connection.execute("SET LOCAL synchronous_commit = off", prepare=True)

    def _rows(
        self, query: LiteralString, values: Sequence[object] | Mapping[str, object]
    ) -> psycopg.Cursor[tuple[Any, ...]]:
        cursor = self._connection.cursor(binary=True, row_factory=tuple_row)
        return cursor.execute(query, values, prepare=True)

    def _stream(self, stream: str, cursor: psycopg.Cursor[tuple[Any, ...]]) -> Stream:
        rows = self._seen[stream] = cursor.fetchall()
        facts = [
            self._codec.decode(type_name, body, stream=stream, position=position)
            for type_name, _, position, _, body, _ in rows
        ]
        _, version, *_, head = rows[-1] if rows else ("", 0, GENESIS)
        return Stream(stream, facts, version, head)


class _Datastore(PostgresDatastore):
    """The library's pool, with everything that a connection string may say."""

    def __init__(self, url: str, pool_size: int, pool_size_max: int) -> None:
        said = conninfo_to_dict(url)
        super().__init__(
            dbname=str(said.get("dbname", "")),
            host=str(said.get("host", "")),
            port=str(said.get("port", "")),
            user=str(said.get("user", "")),
            password="",
            connect_timeout=float(said.get("connect_timeout") or _WAIT_S),
            originator_id_type="text",
            idle_in_transaction_session_timeout=_IDLE_S,
            pool_size=pool_size,
            max_overflow=pool_size_max - pool_size,
        )
        self.pool.conninfo = url
        options = f"-c lock_timeout={_WAIT_S}s {said.get('options') or ''}"  # theirs win over ours
        # But not here: whoever waits for a lock must then see what was done under it.
        options += r" -c default_transaction_isolation=read\ committed"
        self.pool.kwargs = {
            "row_factory": dict_row,
            "options": options,
            "context": ADAPTERS,
            "client_encoding": "utf8",  # texts in arrays are sent as they are hashed
        }


@contextmanager
def translated() -> Iterator[None]:
    """Say foreign errors in our words; their details stay out, they hold values of rows."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(error) from error
    except PersistenceError as error:
        raise Unavailable(f"the database cannot be used now: {error}") from error


def _ours(error: psycopg.Error) -> CounterfoilError:
    said = error.diag.message_primary or str(error).partition("\n")[0]
    match error:
        case _ if error.sqlstate == _OTHER_GENERATION:
            return Conflict("read models are kept otherwise since; ask again")
        case errors.LockNotAvailable():
            return Conflict("somebody else has been holding what this needs; ask again")
        case errors.UniqueViolation() | errors.DeadlockDetected():
            return Conflict("somebody else wrote first; load again and ask again")
        case _ if error.sqlstate == "CF001" or isinstance(error, errors.InsufficientPrivilege):
            return AppendOnly(said)
        case PoolTimeout():
            return Unavailable("all connections to the database are in use, or it is away")
        case _:
            return Unavailable(f"the database cannot be used now: {said}")


def _schema(connection: Connection) -> int:
    row = connection.execute("SELECT coalesce(max(number), 0) AS it FROM schema_steps").fetchone()
    return int(row["it"]) if row else 0
