"""The log, fact by fact in its order, into an empty database.

Nothing is believed: the hash of every fact is made again after the one that the new database holds
before it, its position is counted, and both must come to what is stored. A million facts need no
more memory than a page of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, LiteralString

from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import COLUMNS, Row
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.value import LARGEST
from counterfoil.projections.store import Session

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.postgres import PostgresLog

PAGE = 5_000
# The last hashes of so many streams are kept; those of others are looked up when they go on.
HEADS_KEPT = 10_000

_Stream = tuple[str, str]
_Head = tuple[int, bytes]


def pages(log: FactsRecorder, after: int, upto: int) -> Iterator[Sequence[Row]]:
    """The rows of a log as they are stored, behind a position and as far as another."""
    after = after or -LARGEST - 1  # nothing may hide before the first place
    while rows := log.select(_PAGE, {"after": after, "upto": upto, "limit": PAGE}):
        yield rows
        after = rows[-1].position


def rest(session: Session, after: int, upto: int) -> Iterator[Sequence[Row]]:
    """The rows behind a position, as one transaction sees them."""
    while found := session.select(_PAGE, {"after": after, "upto": upto, "limit": PAGE}):
        yield [Row(*row) for row in found]
        after = found[-1][0]


_PAGE = (
    f"SELECT {COLUMNS} FROM facts WHERE position > :after AND position <= :upto"
    " ORDER BY position LIMIT :limit"
)


class Player:
    """Plays rows into a database that holds nothing else."""

    def __init__(self, log: SQLiteLog | PostgresLog) -> None:
        self.position = 0
        self._log = log
        self._heads: dict[_Stream, _Head] = {}

    def play(self, rows: Sequence[Row]) -> None:
        """Store the next rows, or stop at the first that is not what was written."""
        self._look_up(rows)
        made = [self._follow(place, row) for place, row in enumerate(rows, self.position + 1)]
        load(self._log, "facts", FACT, made)
        self.position += len(made)
        for stream in [*self._heads][: max(0, len(self._heads) - HEADS_KEPT)]:
            del self._heads[stream]

    def _follow(self, position: int, row: Row) -> Row:
        """The row as it must be, made of what is in the new database."""
        stream = (row.tenant, row.stream)
        version, head = self._heads.pop(stream, (0, GENESIS))
        if row.position < position:
            raise _corrupt(f"it stands where position {position} should be", row)
        if row.position > position:
            raise _corrupt(f"position {position} is missing before it", row)
        if row.version != version + 1:
            raise _corrupt(f"version {row.version} follows version {version}", row)
        # It says so itself if nobody knows such a fact, or if no older one can be read.
        self._log.codec.plain(row.type, row.version, position, 0, row.body, stream=row.stream)
        made = row._replace(position=position, hash=link(head, row))
        if made.hash != row.hash:
            raise _corrupt("the hash is not that of this fact after the one before it", row)
        self._heads[stream] = (row.version, made.hash)  # the last that was used is the last to go
        return made

    def _look_up(self, rows: Sequence[Row]) -> None:
        """Find where streams end that began earlier."""
        begun = {
            (row.tenant, row.stream): None
            for row in rows
            if row.version > 1 and (row.tenant, row.stream) not in self._heads
        }
        first = {(row.tenant, row.stream) for row in rows if row.version == 1}
        if older := [stream for stream in begun if stream not in first]:
            self._heads.update(_heads(self._log, older))


def _corrupt(problem: str, row: Row) -> CorruptHistory:
    return CorruptHistory(problem, stream=row.stream, position=row.position)


def _heads(
    log: SQLiteLog | PostgresLog, streams: Sequence[_Stream]
) -> Iterable[tuple[_Stream, _Head]]:
    if isinstance(log, SQLiteLog):
        with log.reading() as cursor:
            for stream in streams:
                cursor.execute(_HEAD, stream)
                if found := cursor.fetchone():
                    yield stream, (found[0], found[1])
        return
    with log.connection() as connection:
        names = [list(part) for part in zip(*streams, strict=True)]
        answer = connection.cursor(binary=True).execute(_HEADS, names, prepare=True)
        for one in answer:
            yield (one["tenant"], one["stream"]), (one["version"], one["hash"])


_HEAD = (
    "SELECT version, hash FROM facts WHERE tenant = ? AND stream = ? ORDER BY version DESC LIMIT 1"
)
_HEADS: LiteralString = """
SELECT wanted.tenant, wanted.stream, last.version, last.hash
FROM unnest(%b::text[], %b::text[]) AS wanted (tenant, stream)
CROSS JOIN LATERAL (
    SELECT version, hash FROM facts
    WHERE facts.tenant = wanted.tenant AND facts.stream = wanted.stream
    ORDER BY version DESC LIMIT 1
) AS last
"""


def load(
    log: SQLiteLog | PostgresLog,
    table: str,
    columns: Mapping[str, str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    """Store rows that are there as a whole or not at all, by the fastest way there is."""
    if isinstance(log, SQLiteLog):
        places = ", ".join("?" * len(columns))
        with log.begun() as writer:
            query = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
            writer.executemany(query, map(tuple, rows))
            writer.execute("COMMIT")
        return
    query = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with (
        log.connection() as connection,
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(query.encode()) as copy,
    ):
        copy.set_types([*columns.values()])
        for row in rows:
            copy.write_row(row)


# Columns, and what PostgreSQL calls their types. The database's own triggers and keys look at each
# row: a position, a version and a command id are there once.
FACT = {
    "position": "int8",
    "tenant": "text",
    "stream": "text",
    "version": "int8",
    "type": "text",
    "body": "bytea",
    "recorded_at": "int8",
    "actor_type": "text",
    "actor_id": "text",
    "command_id": "text",
    "causation_id": "text",
    "correlation_id": "text",
    "hash": "bytea",
}
CLAIM = {
    "tenant": "text",
    "command_id": "text",
    "fingerprint": "bytea",
    "stream": "text",
    "version": "int8",
}
