"""Read models in the SQLite file that holds the facts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.read_models import sql
from counterfoil.domain.errors import CorruptHistory
from counterfoil.projections.history import Fact, History, Stretch
from counterfoil.projections.projection import Key, Question, Row, Table
from counterfoil.projections.rebuild import load_part
from counterfoil.projections.store import Place

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.sqlite import SQLiteLog

_FACT = "tenant, stream, type, version, position, recorded_at, body"
_KEYS = "SELECT tenant, stream, version FROM facts"
_LAST = "ORDER BY tenant, stream, version LIMIT 1 OFFSET :skipped"
# So many rows are stored by one statement: between two steps, threads wait for each other.
_TOGETHER = 200
# Many streams come as one text, made in one step, in which other threads go on, and with it what
# each is called, how many facts it has, and how long its part is. What is put together here stands
# in the order of the index: by a position with a plus, no row can be found.
_WINDOW = """
SELECT
    '[' || coalesce(group_concat('[' || json_quote(tenant) || ',' || json_quote(stream) || ','
        || count || ',' || length(CAST(facts AS BLOB)) || ']'), '') || ']',
    CAST(coalesce(group_concat(facts, ''), '') AS BLOB)
FROM (
    SELECT tenant, stream, count(*) AS count, '[' || group_concat(
        printf('["%s",%d,%d,%d,', type, version, position, recorded_at) || body || ']'
    ) || ']' AS facts
    FROM facts WHERE {those} AND +position <= :position GROUP BY tenant, stream
)
"""


class SQLiteStore:
    """The file, as those see it who keep read models in it. It has one writer at a time."""

    stores_apart = False  # it stores in our own process, and takes turns with us
    workers_max = 1
    workers_why = "because an SQLite file has one writer at a time"

    def __init__(self, log: SQLiteLog) -> None:
        self._log = log

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[SQLiteSession]:
        """Begin a transaction that changes something; an exception undoes it."""
        with self._log.begun(lasting=lasting) as cursor:
            yield SQLiteSession(cursor.sqlite_cursor.connection, self._log.codec)
            cursor.execute("COMMIT")

    @contextmanager
    def reading(self, *_: Table) -> Iterator[SQLiteSession]:
        """Begin a transaction that sees one moment only, however long it reads."""
        with self._log.reading() as cursor:
            yield SQLiteSession(cursor.sqlite_cursor.connection, self._log.codec)

    def ask(
        self,
        *questions: Question,
        of: Sequence[Table] = (),
    ) -> Sequence[Sequence[tuple[Any, ...]]]:
        """Answer some questions of these tables, all as of one moment."""
        with self.reading() as session:
            return [session.select(*question) for question in questions]

    def load_apart(self, token: str, parts: Sequence[int], watch: Callable[[int], None]) -> None:
        """Load parts of a rebuild, one after the other: a file has one writer."""
        for part in parts:
            load_part(self, token, part, watch)

    # Whoever writes to an SQLite file is alone.
    alone = writing


class SQLiteSession:
    """One transaction."""

    window_max = 5_000  # they come as one text; twice as many need twice as much memory

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # plain tuples: the library's rows are dearer to take apart
        self._codec = codec

    def select(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; its values are written as `:name`."""
        self._cursor.execute(query, values)
        return self._cursor.fetchall()

    # There is one writer, who need not hold anything.
    held = select

    def execute(self, query: str, values: Mapping[str, object]) -> int:
        """Change something, and say how many rows of it."""
        self._cursor.execute(query, values)
        return self._cursor.rowcount

    def create(self, table: Table, name: str) -> None:
        """Make an empty table by this name, without indexes; one that is there is dropped."""
        self._cursor.execute(f"DROP TABLE IF EXISTS {name}")
        self._cursor.execute(sql.create(table, name, "sqlite"))

    def index(self, table: Table, name: str, mark: str, number: int) -> None:
        """Make one of its indexes, by a name that no other table's has."""
        self._cursor.execute(sql.index(table, name, mark, number))

    def survey(self, table: Table, name: str) -> None:
        """Nothing: every question has its index, and SQLite chooses without statistics."""

    def load(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows in a table that has none of their keys."""
        place = f"({', '.join('?' * len(table.columns))})"
        together = len(rows) // _TOGETHER * _TOGETHER
        several = f"INSERT INTO {name} VALUES {', '.join([place] * _TOGETHER)}"
        with _refused(table):
            for start in range(0, together, _TOGETHER):
                values = chain.from_iterable(rows[start : start + _TOGETHER])
                self._cursor.execute(several, tuple(values))
            self._cursor.executemany(f"INSERT INTO {name} VALUES {place}", rows[together:])

    def insert(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows whose keys should not be there yet; over those that are."""
        self.write(table, name, rows)

    def write(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows over those of the same keys; in a table of sums, add to them."""
        places = ", ".join("?" * len(table.columns))
        with _refused(table):
            self._cursor.executemany(sql.insert(table, name, f"VALUES ({places})"), rows)

    def delete(self, table: Table, name: str, keys: Sequence[Key]) -> None:
        """Delete the rows of these keys."""
        these = " AND ".join(f"{column} = ?" for column in table.key)
        self._cursor.executemany(f"DELETE FROM {name} WHERE {these}", keys)

    def swap(self, table: Table, new: str, old: str) -> None:
        """Put the new table in the place of the live one, and call that one `old`."""
        # Or a view on the live table would go with it to its new name.
        self._cursor.execute("PRAGMA legacy_alter_table = ON")
        if self.select("SELECT 1 FROM sqlite_master WHERE name = :name", {"name": table.name}):
            self._cursor.execute(f"ALTER TABLE {table.name} RENAME TO {old}")
        self._cursor.execute(f"ALTER TABLE {new} RENAME TO {table.name}")
        self._cursor.execute("PRAGMA legacy_alter_table = OFF")

    def views(self, name: str) -> Sequence[str]:
        """None: here a view keeps to a table's name."""
        return ()

    def drop(self, name: str) -> None:
        """Drop a table, if it is there."""
        # Some builds write zeros over what is dropped, which takes longer than all else here. The
        # facts say the same in this very file.
        ((erases,),) = self.select("PRAGMA secure_delete", {})
        self._cursor.execute("PRAGMA secure_delete = FAST")
        try:
            self._cursor.execute(f"DROP TABLE IF EXISTS {name}")
        finally:
            self._cursor.execute(f"PRAGMA secure_delete = {erases}")

    def size(self, name: str) -> int:
        """How many bytes a table and its indexes take."""
        try:
            ((size,),) = self.select(_SIZE, {"name": name})
        except sqlite3.OperationalError:  # this SQLite was built without dbstat
            return 0
        return int(size)

    def window(self, after: Place, until: Place | None, position: int, limit: int) -> list[Stretch]:
        """The next facts in the order of streams, as far as a place and a position."""
        bound = "" if until is None else " AND (tenant, stream) <= (:until_tenant, :until_stream)"
        those = f"(tenant, stream, version) > (:tenant, :stream, :version){bound}"
        values = {
            **after._asdict(),
            "until_tenant": until and until.tenant,
            "until_stream": until and until.stream,
            "position": position,
            "skipped": limit - 1,
        }
        last = self.select(f"{_KEYS} WHERE {those} AND position <= :position {_LAST}", values)
        if last:
            those += " AND (tenant, stream, version) <= (:last_tenant, :last_stream, :last_version)"
            values.update(zip(("last_tenant", "last_stream", "last_version"), last[0], strict=True))
        ((streams, facts),) = self.select(_WINDOW.format(those=those), values)
        read, end = self._codec.history, 0
        stretches = []
        for tenant, stream, count, length in _streams(streams):
            start, end = end, end + length
            stretches.append(
                Stretch(tenant, stream, count, partial(read, tenant, stream, facts[start:end]))
            )
        return stretches

    def page(self, after: int, limit: int) -> list[tuple[str, str, Fact]]:
        """The next facts in the order of the log, with their tenants and streams."""
        self._cursor.execute(
            f"SELECT {_FACT} FROM facts WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [
            (tenant, stream, self._codec.plain(*fact, stream=stream))
            for tenant, stream, *fact in self._cursor.fetchall()
        ]

    def histories(self, streams: Iterable[tuple[str, str]], position: int) -> list[History]:
        """Whole streams, as far as a position."""
        return [
            history
            for tenant, stream in streams
            for history in self._histories(
                f"SELECT {_FACT} FROM facts WHERE tenant = :tenant AND stream = :stream"
                " AND position <= :position ORDER BY version",
                {"tenant": tenant, "stream": stream, "position": position},
            )
        ]

    def beginnings(self, streams: Iterable[tuple[str, str]]) -> list[History]:
        """The first facts of streams."""
        return [
            history
            for tenant, stream in streams
            for history in self._histories(
                f"SELECT {_FACT} FROM facts WHERE tenant = :tenant AND stream = :stream"
                " AND version = 1",
                {"tenant": tenant, "stream": stream},
            )
        ]

    def _histories(self, query: str, values: Mapping[str, object]) -> list[History]:
        self._cursor.execute(query, values)
        histories = []
        for (tenant, stream), rows in groupby(self._cursor.fetchall(), itemgetter(0, 1)):
            facts = [
                Fact(type, version, position, at, Raw(body))
                for _, _, type, version, position, at, body in rows
            ]
            histories.append(History(tenant, stream, self._codec.newest(facts, stream=stream)))
        return histories


_streams = msgspec.json.Decoder(list[tuple[str, str, int, int]]).decode

_SIZE = (
    "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE aggregate = 1"
    " AND name IN (SELECT name FROM sqlite_master WHERE tbl_name = :name)"
)


@contextmanager
def _refused(table: Table) -> Iterator[None]:
    """Say of rows that the database cannot hold what they are: made of facts that cannot be."""
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError) as error:
        raise CorruptHistory("facts make rows that no table can hold", stream=table.name) from error
