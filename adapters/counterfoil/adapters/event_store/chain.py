"""The hash chain of a stream: each fact's hash covers the one before it and its own whole row.

Every text is preceded by its length, so no two rows can be written the same way. The position is
left out: the log gives it while it stores the row, and checkpoints prove the order of the log.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.rows import NewRow, Row

GENESIS = bytes(32)
# The parts of what is hashed, for those who make the hashes of many rows.
numbers = struct.Struct(">qq").pack
length = struct.Struct(">i").pack
_ABSENT = length(-1)


class Links:
    """Makes the hashes of rows that one append adds to one stream: what they share, once."""

    def __init__(self, row: NewRow | Row) -> None:
        """Take what is shared from any of the rows."""
        self._recorded_at = row.recorded_at
        self._stream = text(row.tenant) + text(row.stream)
        self._origin = origin(
            row.actor_type, row.actor_id, row.command_id, row.causation_id, row.correlation_id
        )

    def link(self, previous: bytes, version: int, type_name: str, body: bytes) -> bytes:
        """The hash of the row that follows the one with hash `previous`."""
        return sha256(
            previous
            + numbers(version, self._recorded_at)
            + self._stream
            + text(type_name)
            + self._origin
            + length(len(body))
            + body
        ).digest()


def link(previous: bytes, row: NewRow | Row) -> bytes:
    """The hash of a row that follows the one with hash `previous` in its stream.

    `facts_hash` in the PostgreSQL schema computes the same.
    """
    return Links(row).link(previous, row.version, row.type, row.body)


def origin(
    actor_type: str,
    actor_id: str,
    command_id: str,
    causation_id: str | None,
    correlation_id: str | None,
) -> bytes:
    """Who asked for an append and why, as it is hashed."""
    return (
        text(actor_type)
        + text(actor_id)
        + _written(command_id)
        + _written(causation_id)
        + _written(correlation_id)
    )


def _written(value: str | None) -> bytes:
    if value is None:
        return _ABSENT
    written = value.encode(errors="surrogateescape")  # damaged text is hashed as it stands
    return length(len(written)) + written


# Not for the ids of commands: they are new each time, and would drive out what comes again.
text = lru_cache(maxsize=4096)(_written)
