"""Time zones by their names."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from counterfoil.domain.errors import Malformed


def zone_of(name: str) -> tzinfo:
    """The time zone that a caller named."""
    if name == "UTC":  # needs no data, which a bare system may lack
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise Malformed("timezone", "must be an IANA name such as Europe/Berlin") from None
