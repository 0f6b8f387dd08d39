"""Read models in the PostgreSQL database that holds the facts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import Cursor
from psycopg import sql as ident
from psycopg.rows import tuple_row

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.read_models import loaders, sql
from counterfoil.domain.errors import CorruptHistory
from counterfoil.projections.history import Fact, History, Stretch
from counterfoil.projections.projection import Key, Question, Row, Table
from counterfoil.projections.store import Place

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.postgres import PostgresLog

# Who writes facts shares this advisory lock, who swaps tables has it alone: the bytes of
# "Readmode". `hold_generation` in the schema says the same number.
_PROJECTING_LOCK = 0x526561646D6F6465

_TYPES = {"text": "text", "integer": "int8"}
_FACT = "tenant, stream, type, version, position, recorded_at, body"
# A stream comes as one JSON text: half of reading facts row by row is taking rows apart. What is
# put together here stands in the order of the index, which the settings below make sure is used.
_WINDOW = b"""
SELECT tenant, stream, count(*), '['::bytea || string_agg(
    convert_to(
        '["' || type || '",' || version || ',' || position || ',' || recorded_at || ',', 'UTF8'
    ) || body || ']'::bytea, ','::bytea
) || ']'::bytea
FROM (
    SELECT tenant, stream, type, version, position, recorded_at, body FROM facts
    WHERE (tenant, stream, version) > (%(tenant)s, %(stream)s, %(version)s)
        AND (%(until_tenant)s::text IS NULL
            OR (tenant, stream) <= (%(until_tenant)s, %(until_stream)s))
        AND position <= %(position)s
    ORDER BY tenant, stream, version LIMIT %(limit)s
) AS ordered
GROUP BY tenant, stream
"""
_BY_KEY = (
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;"
    " SET LOCAL enable_hashagg = off; SET LOCAL enable_sort = off"
)

# A third of what it looks at by default tells one index from another as well.
_SURVEYING = "SET LOCAL default_statistics_target = 30"

# Two indexes are made at a time; helpers of the server's would be in their way.
_INDEXING = (
    "SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL max_parallel_maintenance_workers = 0"
)

# So many streams are taken from the server at once; older libraries of its take them one by one.
_AT_ONCE = 8 if psycopg.capabilities.has_stream_chunked() else 1

# So many new rows are worth a COPY of their own.
_FEW = 20

_ASK = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Connection = psycopg.Connection[Any]


class PostgresStore:
    """The database, as those see it who keep read models in it."""

    stores_apart = True
    workers_max = 64
    workers_why = "because each of them holds connections of the server"

    def __init__(self, log: PostgresLog) -> None:
        self._log = log

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[PostgresSession]:
        """Begin a transaction that changes something; an exception undoes it."""
        with self._log.connection() as connection, connection.transaction():
            if not lasting:
                connection.execute("SET LOCAL synchronous_commit = off")
            yield PostgresSession(connection, self._log.codec)

    @contextmanager
    def reading(self, *tables: Table) -> Iterator[PostgresSession]:
        """Begin a transaction that sees one moment only, however long it reads these tables."""
        with self._log.connection() as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if tables:
                connection.execute(_held(*tables))
            yield PostgresSession(connection, self._log.codec)

    def ask(
        self, *questions: Question, of: Sequence[Table] = ()
    ) -> Sequence[Sequence[tuple[Any, ...]]]:
        """Answer some questions of these tables, all as of one moment and in one round trip."""
        with self._log.connection() as connection:
            session = PostgresSession(connection, self._log.codec)
            if len(questions) == 1:
                return [session.select(*questions[0])]
            with connection.pipeline():
                connection.execute(_ASK, prepare=True)
                connection.execute(_held(*of), prepare=True)
                # Every question has its index; what is asked for a page is never a whole table.
                connection.execute("SET LOCAL enable_seqscan = off", prepare=True)
                asked = [session.asked(*question) for question in questions]
                connection.execute("COMMIT", prepare=True)
            return [cursor.fetchall() for cursor in asked]

    def load_apart(self, token: str, parts: Sequence[int], watch: Callable[[int], None]) -> None:
        """Load parts of a rebuild, each in a process of its own."""
        loaders.run(self._log.url, token, parts, watch)

    @contextmanager
    def alone(self) -> Iterator[PostgresSession]:
        """Begin a transaction that changes something while nobody writes facts."""
        with self.writing() as session:
            # Writers wait behind whoever waits for this, so it must not wait for long itself.
            session.execute("SET LOCAL lock_timeout = '200ms'", {})
            session.execute(f"SELECT pg_advisory_xact_lock({_PROJECTING_LOCK})", {})
            yield session


class PostgresSession:
    """One transaction."""

    window_max = 20_000

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec

    def select(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; its values are written as `:name`."""
        return self.asked(query, values).fetchall()

    def asked(self, query: str, values: Mapping[str, object]) -> Cursor[tuple[Any, ...]]:
        """A query on its way."""
        return self._run(named(query), values)

    def held(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; whoever would change them waits for the end of this."""
        return self.select(f"{query} FOR SHARE", values)

    def execute(self, query: str, values: Mapping[str, object]) -> int:
        """Change something, and say how many rows of it."""
        return self._run(named(query), values).rowcount

    def create(self, table: Table, name: str) -> None:
        """Make an empty table by this name, without indexes; one that is there is dropped."""
        self._connection.execute(f"DROP TABLE IF EXISTS {name}".encode())
        self._connection.execute(sql.create(table, name, "postgres").encode())

    def index(self, table: Table, name: str, mark: str, number: int) -> None:
        """Make one of its indexes, by a name that no other table's has."""
        self._connection.execute(_INDEXING)
        self._connection.execute(sql.index(table, name, mark, number).encode())

    def survey(self, table: Table, name: str) -> None:
        """Let the planner know what is in it."""
        # Of all columns, it would take longer than the indexes.
        self._connection.execute(_SURVEYING)
        self._connection.execute(f"ANALYZE {name} ({', '.join(table.indexed)})".encode())

    def load(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows in a table that has none of their keys."""
        query = f"COPY {name} FROM STDIN (FORMAT BINARY)".encode()
        with refused(table), self._connection.cursor() as cursor, cursor.copy(query) as copy:
            copy.set_types([_TYPES[column.type] for column in table.columns])
            for row in rows:
                copy.write_row(row)

    def insert(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows whose keys should not be there yet; over those that are."""
        if len(rows) < _FEW or self._connection.pgconn.pipeline_status:  # where COPY cannot be
            self.write(table, name, rows)
            return
        try:
            with self._connection.transaction():
                self.load(table, name, rows)
        except psycopg.errors.UniqueViolation:
            self.write(table, name, rows)

    def write(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows over those of the same keys; in a table of sums, add to them."""
        with refused(table):
            self._run(_write(table, name), [list(column) for column in zip(*rows, strict=True)])

    def delete(self, table: Table, name: str, keys: Sequence[Key]) -> None:
        """Delete the rows of these keys."""
        self._run(_delete(table, name), [list(column) for column in zip(*keys, strict=True)])

    def swap(self, table: Table, new: str, old: str) -> None:
        """Put the new table, with the live one's grants, in its place, and call that one `old`."""
        for privilege, grantee in self.select(_GRANTS, {"table": table.name}):
            grant = ident.SQL("GRANT {} ON {} TO {}").format(
                ident.SQL(privilege),
                ident.Identifier(new),
                ident.Identifier(grantee) if grantee else ident.SQL("PUBLIC"),
            )
            self._connection.execute(grant)
        for (owner,) in self.select(_OWNER, {"table": table.name}):
            own = ident.SQL("ALTER TABLE {} OWNER TO {}").format(
                ident.Identifier(new), ident.Identifier(owner)
            )
            self._connection.execute(own)
        self._connection.execute(f"ALTER TABLE IF EXISTS {table.name} RENAME TO {old}".encode())
        self._connection.execute(f"ALTER TABLE {new} RENAME TO {table.name}".encode())

    def views(self, name: str) -> Sequence[str]:
        """The views that would keep to a table when another takes its place."""
        return [view for (view,) in self.select(_VIEWS, {"table": name})]

    def drop(self, name: str) -> None:
        """Drop a table, if it is there."""
        self._connection.execute(f"DROP TABLE IF EXISTS {name}".encode())

    def size(self, name: str) -> int:
        """How many bytes a table and its indexes take."""
        ((size,),) = self.select("SELECT pg_total_relation_size(:name::regclass)", {"name": name})
        return int(size)

    def window(
        self, after: Place, until: Place | None, position: int, limit: int
    ) -> Iterator[Stretch]:
        """The next facts in the order of streams, each stream's as it comes from the server."""
        values = {
            "tenant": after.tenant,
            "stream": after.stream,
            "version": after.version,
            "until_tenant": until and until.tenant,
            "until_stream": until and until.stream,
            "position": position,
            "limit": limit,
        }
        self._connection.execute(_BY_KEY)
        read = self._codec.history
        with self._connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            for tenant, stream, length, facts in cursor.stream(_WINDOW, values, size=_AT_ONCE):
                yield Stretch(tenant, stream, length, partial(read, tenant, stream, facts))

    def page(self, after: int, limit: int) -> list[tuple[str, str, Fact]]:
        """The next facts in the order of the log, with their tenants and streams."""
        rows = self.select(
            f"SELECT {_FACT} FROM facts WHERE position > :after ORDER BY position LIMIT :limit",
            {"after": after, "limit": limit},
        )
        return [
            (tenant, stream, self._codec.plain(*fact, stream=stream))
            for tenant, stream, *fact in rows
        ]

    def histories(self, streams: Iterable[tuple[str, str]], position: int) -> list[History]:
        """Whole streams, as far as a position."""
        return self._histories([*streams], position)

    def beginnings(self, streams: Iterable[tuple[str, str]]) -> list[History]:
        """The first facts of streams."""
        return self._histories([*streams], None)

    def _histories(self, streams: Sequence[tuple[str, str]], position: int | None) -> list[History]:
        if not streams:
            return []
        upto = "version = 1" if position is None else "position <= %s"
        columns = [list(column) for column in zip(*streams, strict=True)]
        rows = self._run(
            f"SELECT {_FACT} FROM unnest(%b::text[], %b::text[]) AS wanted (tenant, stream)"
            f" JOIN facts USING (tenant, stream) WHERE {upto}"
            " ORDER BY tenant, stream, version".encode(),
            columns if position is None else [*columns, position],
        )
        plain = self._codec.plain
        return [
            History(tenant, stream, [plain(*row[2:], stream=stream) for row in found])
            for (tenant, stream), found in groupby(rows, itemgetter(0, 1))
        ]

    def _run(
        self, query: bytes, values: Mapping[str, object] | Sequence[object]
    ) -> Cursor[tuple[Any, ...]]:
        cursor = self._connection.cursor(binary=True, row_factory=tuple_row)
        return cursor.execute(query, values, prepare=True)


# Whoever rebuilds is not always who owns.
_OWNER = """
SELECT pg_get_userbyid(relowner)::text FROM pg_class
WHERE oid = to_regclass(:table) AND pg_get_userbyid(relowner) <> current_user
"""
_VIEWS = """
SELECT DISTINCT ev_class::regclass::text
FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
WHERE classid = 'pg_rewrite'::regclass AND refobjid = to_regclass(:table)
"""
_GRANTS = """
SELECT privilege_type, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee)::text END
FROM pg_class, aclexplode(relacl)
WHERE oid = to_regclass(:table) AND grantee <> relowner
"""


@lru_cache(maxsize=64)
def _held(*tables: Table) -> bytes:
    """Hold tables before the moment is chosen. A table that takes another's place later has been
    written later, and is empty to whoever reads as of a moment before.
    """
    return f"LOCK TABLE {', '.join(table.name for table in tables)} IN ACCESS SHARE MODE".encode()


@contextmanager
def refused(table: Table) -> Iterator[None]:
    """Say of rows that the database cannot hold what they are: made of facts that cannot be."""
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise
    except (psycopg.DataError, psycopg.IntegrityError, OverflowError) as error:
        raise CorruptHistory("facts make rows that no table can hold", stream=table.name) from error


@lru_cache(maxsize=256)
def _write(table: Table, name: str) -> bytes:
    arrays = ", ".join(f"%b::{_ARRAYS[column.type]}" for column in table.columns)
    return sql.insert(table, name, f"SELECT * FROM unnest({arrays})").encode()


@lru_cache(maxsize=256)
def _delete(table: Table, name: str) -> bytes:
    types = {column.name: _ARRAYS[column.type] for column in table.columns}
    arrays = ", ".join(f"%b::{types[column]}" for column in table.key)
    these = " AND ".join(f"{name}.{column} = gone.{column}" for column in table.key)
    return (
        f"DELETE FROM {name} USING unnest({arrays}) AS gone ({', '.join(table.key)}) WHERE {these}"
    ).encode()


_ARRAYS = {"text": "text[]", "integer": "bigint[]"}


@lru_cache(maxsize=512)
def named(query: str) -> bytes:
    """A query whose values are written `:name`, as psycopg wants them."""
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", query.replace("%", "%%")).encode()
