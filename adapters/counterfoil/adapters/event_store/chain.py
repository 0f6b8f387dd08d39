"""The hash chain of a stream: each fact's hash covers the one before it and its own whole row.

Every field is preceded by its length, so no two rows can be written the same way. The position is
left out: the log gives it while it stores the row, and checkpoints prove the order of the log.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import datetime

from counterfoil.domain.ports import Origin

GENESIS = bytes(32)


def link(
    previous: bytes,
    *,
    tenant: str,
    stream: str,
    version: int,
    type_name: str,
    body: bytes,
    origin: Origin,
) -> bytes:
    """The hash of a fact that follows the one with hash `previous` in its stream."""
    digest = hashlib.sha256(previous)
    digest.update(struct.pack(">qq", version, microseconds(origin.recorded_at)))
    for field in (
        tenant,
        stream,
        type_name,
        origin.actor.type,
        origin.actor.id,
        origin.command_id,
        origin.causation_id,
        origin.correlation_id,
    ):
        if field is None:
            digest.update(_ABSENT)
        else:
            written = field.encode()
            digest.update(struct.pack(">i", len(written)) + written)
    digest.update(struct.pack(">i", len(body)) + body)
    return digest.digest()


_ABSENT = struct.pack(">i", -1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
