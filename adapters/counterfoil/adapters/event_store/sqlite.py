"""The log in an SQLite file (or in memory): one writer at a time, across threads and processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from eventsourcing.persistence import PersistenceError
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteCursor, SQLiteDatastore

from counterfoil.adapters.event_store.chain import GENESIS, link, microseconds
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.migrations import pending
from counterfoil.domain.envelope import Actor, ActorType, Envelope, Recorded
from counterfoil.domain.errors import Conflict, CounterfoilError, Unavailable
from counterfoil.domain.ports import Append, Claim, Origin, Stream
from counterfoil.domain.value import LARGEST, Event

_MEMORY = ":memory:"


class AppendOnly(CounterfoilError):
    """The database refused to change or delete what is stored."""


class SQLiteLog(SQLiteApplicationRecorder):
    """The event log on the library's SQLite recorder: its connections and journal, our rows."""

    def __init__(self, path: str, codec: Codec | None = None) -> None:
        self._codec = codec or Codec()
        in_memory = path == _MEMORY
        # Each connection to a plain :memory: is a database of its own, so there it has only one.
        datastore = SQLiteDatastore(
            path,
            lock_timeout=30,
            pool_size=1 if in_memory else 5,
            max_overflow=0 if in_memory else 10,
            originator_id_type="text",
        )
        super().__init__(datastore, "facts")
        self._migrate()

    def construct_create_table_statements(self) -> list[str]:
        """None: the schema is made by migrations."""
        return []

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[SQLiteTransaction]:
        """Begin a unit of work. The write lock is taken at once, so what is read stays true."""
        with self._begun() as cursor:
            yield SQLiteTransaction(cursor, tenant, self._codec)

    def read(
        self, tenant: str, stream: str, *, upto: int | None = None
    ) -> Sequence[Recorded[Event]]:
        """The facts of a stream with their envelopes, as far as version `upto`."""
        return self._select(
            "tenant = ? AND stream = ? AND version <= ? ORDER BY version",
            (tenant, stream, LARGEST if upto is None else upto),
        )

    def since(self, position: int, *, limit: int) -> Sequence[Recorded[Event]]:
        """The next facts of all tenants and streams after a position, in order."""
        return self._select("position > ? ORDER BY position LIMIT ?", (position, limit))

    def close(self) -> None:
        """Give back every connection."""
        self.datastore.close()

    def _select(self, where: str, values: tuple[object, ...]) -> Sequence[Recorded[Event]]:
        with _translated(), self.datastore.get_connection(commit=False) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT * FROM facts WHERE {where}", values)  # noqa: S608  (our own words)
            return [self._recorded(row) for row in cursor.fetchall()]

    def _recorded(self, row: sqlite3.Row) -> Recorded[Event]:
        envelope = Envelope(
            tenant=row["tenant"],
            stream=row["stream"],
            version=row["version"],
            position=row["position"],
            type=row["type"],
            recorded_at=_EPOCH + timedelta(microseconds=row["recorded_at"]),
            actor=_actor(row["actor_type"], row["actor_id"]),
            command_id=row["command_id"],
            causation_id=row["causation_id"],
            correlation_id=row["correlation_id"],
            hash=row["hash"],
        )
        fact = self._codec.decode(
            envelope.type, row["body"], stream=envelope.stream, position=envelope.position
        )
        return Recorded(envelope, fact)

    def _migrate(self) -> None:
        with self._begun() as cursor:
            cursor.execute("PRAGMA user_version")
            for step in pending("sqlite", cursor.fetchone()[0]):
                for statement in _statements(step.sql):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {step.number:d}")

    @contextmanager
    def _begun(self) -> Iterator[SQLiteCursor]:
        # The library begins deferred transactions: one that reads first and writes later fails
        # when another process wrote between (facts/eventsourcing, trap 13).
        with _translated(), self.datastore.get_connection(commit=True) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                connection.commit()
            except BaseException:
                connection.rollback()
                raise


class SQLiteTransaction:
    """One unit of work under SQLite's write lock."""

    def __init__(self, cursor: SQLiteCursor, tenant: str, codec: Codec) -> None:
        self._cursor = cursor
        self._tenant = tenant
        self._codec = codec

    def claimed(self, command_id: str) -> Claim | None:
        """The claim of this command id, if the command was obeyed before."""
        self._cursor.execute(
            "SELECT fingerprint, stream, version FROM claims WHERE tenant = ? AND command_id = ?",
            (self._tenant, command_id),
        )
        row = self._cursor.fetchone()
        return None if row is None else Claim(*row)

    def lock(self, stream: str) -> None:
        """Nothing to do: whoever is in a transaction is alone in it."""

    def read(self, stream: str) -> Stream:
        """All facts of a stream; one that does not exist has none."""
        return self._stream(stream, "")

    def ends(self, stream: str) -> Stream:
        """A stream with its first and its last fact only."""
        last = "(SELECT max(version) FROM facts WHERE tenant = :tenant AND stream = :stream)"
        return self._stream(stream, f"AND (version = 1 OR version = {last})")

    def _stream(self, stream: str, which: str) -> Stream:
        self._cursor.execute(
            "SELECT position, version, type, body, hash FROM facts"  # noqa: S608  (our own words)
            f" WHERE tenant = :tenant AND stream = :stream {which} ORDER BY version",
            {"tenant": self._tenant, "stream": stream},
        )
        rows = self._cursor.fetchall()
        facts = [
            self._codec.decode(type_name, body, stream=stream, position=position)
            for position, _, type_name, body, _ in rows
        ]
        if not rows:
            return Stream(stream, facts, 0, GENESIS)
        return Stream(stream, facts, rows[-1]["version"], rows[-1]["hash"])

    def append(self, appends: Sequence[Append], origin: Origin, claim: Claim | None) -> None:
        """Store facts and the claim of their command; `Conflict` when a version is taken."""
        try:
            if claim is not None:
                self._cursor.execute(
                    "INSERT INTO claims VALUES (?, ?, ?, ?, ?)",
                    (
                        self._tenant,
                        origin.command_id,
                        claim.fingerprint,
                        claim.stream,
                        claim.version,
                    ),
                )
            self._cursor.executemany(
                "INSERT INTO facts (tenant, stream, version, type, body, recorded_at, actor_type,"
                " actor_id, command_id, causation_id, correlation_id, hash)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [row for append in appends for row in self._rows(append, origin)],
            )
        except sqlite3.IntegrityError as error:
            raise Conflict("somebody else wrote first; load again and ask again") from error

    def _rows(self, append: Append, origin: Origin) -> Iterator[tuple[object, ...]]:
        head, stream = append.to.head, append.to.name
        for version, fact in enumerate(append.facts, append.to.version + 1):
            body = self._codec.encode(fact)
            head = link(
                head,
                tenant=self._tenant,
                stream=stream,
                version=version,
                type_name=fact.stored_as,
                body=body,
                origin=origin,
            )
            yield (
                self._tenant,
                stream,
                version,
                fact.stored_as,
                body,
                microseconds(origin.recorded_at),
                origin.actor.type,
                origin.actor.id,
                origin.command_id,
                origin.causation_id,
                origin.correlation_id,
                head,
            )


@contextmanager
def _translated() -> Iterator[None]:
    """Say foreign errors in our words."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise AppendOnly(str(error)) from error
    except (sqlite3.Error, PersistenceError) as error:
        raise Unavailable(f"the database file cannot be used now: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script, which executescript would run outside a transaction."""
    statement = ""
    for text in script.splitlines(keepends=True):
        statement += text
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@lru_cache(maxsize=1024)
def _actor(kind: str, name: str) -> Actor:
    return Actor(type=ActorType(kind), id=name)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
