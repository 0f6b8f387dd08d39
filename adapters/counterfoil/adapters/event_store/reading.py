"""Reading streams of the log for those who tell history: whole, in part, or one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import COLUMNS, Row, envelope_of, recorded
from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.value import LARGEST
from counterfoil.projections.timeline import Told, Unreadable

PAGE = 2_000


def rows_of(
    log: FactsRecorder, tenant: str, stream: str, *, upto: int | None = None
) -> Sequence[Row]:
    """The rows of a stream, as far as a version, undecoded."""
    return log.select(
        f"SELECT {COLUMNS} FROM facts"
        " WHERE tenant = :tenant AND stream = :stream AND version <= :upto ORDER BY version",
        {"tenant": tenant, "stream": stream, "upto": LARGEST if upto is None else upto},
    )


def told(row: Row, codec: Codec) -> Told:
    """What a row tells; where it cannot be read, what is wrong with it."""
    try:
        return recorded(row, codec)
    except CorruptHistory as error:
        try:
            envelope = envelope_of(row)
        except CorruptHistory:
            envelope = None
        return Unreadable(row.position, row.version, row.type, str(error), envelope)


def lives(log: FactsRecorder, tenant: str, first: str) -> Iterator[Sequence[Row]]:
    """The rows of every stream of a tenant that began as `first` by now, a stream at a time, in
    the order of their names; what is written meanwhile is left out.
    """
    position = int(log.max_notification_id() or 0)
    for _, rows in groupby(_rows(log, tenant, position), lambda row: row.stream):
        life = list(rows)
        if life[0].type.startswith(first):
            yield life


def _rows(log: FactsRecorder, tenant: str, position: int) -> Iterator[Row]:
    stream, version = "", 0
    while page := log.select(
        f"SELECT {COLUMNS} FROM facts WHERE tenant = :tenant"
        " AND (stream, version) > (:stream, :version) AND position <= :position"
        " ORDER BY stream, version LIMIT :limit",
        {
            "tenant": tenant,
            "stream": stream,
            "version": version,
            "position": position,
            "limit": PAGE,
        },
    ):
        yield from page
        stream, version = page[-1].stream, page[-1].version
