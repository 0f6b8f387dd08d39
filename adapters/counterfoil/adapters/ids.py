"""New ids: a kind's prefix, then UUIDv7, so that ids sort by the time at which they were made."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

# Makes an id from its kind's prefix and the time.
IdFactory = Callable[[str, datetime], str]


def new_id(prefix: str, now: datetime) -> str:
    """An id such as `in_019aa2c1f3a87c3e9d1b0a2f4c6e8d10` (RFC 9562, section 5.7)."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    random = secrets.randbits(74)
    value = (
        milliseconds << 80 | 7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    )
    return f"{prefix}_{value:032x}"
