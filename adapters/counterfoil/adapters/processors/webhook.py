"""Is a webhook really from the processor, and what does it say?

The scheme is Stripe's: a header such as `t=1732190000,v1=<hex>`, in which v1 is the HMAC-SHA256 of
the time, a full stop and the body. Nothing of a body is read before its signature holds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from counterfoil.domain.errors import Malformed

TOLERANCE_S = 300.0
_HEADER_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event of the processor: what happened, when by its clock, and to which of its objects."""

    id: str
    type: str
    occurred_at: datetime
    about: Mapping[str, Any] = field(repr=False)

    @property
    def tenant(self) -> str | None:
        """Whose it is, if we said so when we asked for it."""
        return self._named("tenant")

    @property
    def invoice(self) -> str | None:
        """Which invoice it is about, likewise."""
        return self._named("invoice")

    @property
    def payment(self) -> str | None:
        """Which payment it is about, likewise."""
        return self._named("payment")

    @property
    def refund(self) -> str | None:
        """Which refund it is about, likewise."""
        return self._named("refund")

    def _named(self, what: str) -> str | None:
        said = (self.about.get("metadata") or {}).get(f"counterfoil_{what}")
        return said if isinstance(said, str) else None


def read_webhook(
    body: bytes,
    signature: str | None,
    secrets: str | Sequence[str],
    *,
    now: datetime | None = None,
    tolerance_s: float = TOLERANCE_S,
) -> Delivery:
    """What a webhook says, if its signature was made with one of the secrets (while one replaces
    another, both hold) and not more than `tolerance_s` ago; `Malformed` otherwise.
    """
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    if not known or not all(secret.strip() for secret in known):
        raise Malformed("secrets", "must name at least one secret, and none may be empty")
    signed_at, given = _parts(signature)
    made = [_hmac(body, secret, signed_at) for secret in known]
    # All are compared, so that the time it takes says nothing about which of them fits.
    fits = [hmac.compare_digest(one, other) for one in made for other in given]
    if not any(fits):
        raise Malformed("signature", "fits none of the secrets")
    apart_s = abs((now or datetime.now(UTC)).timestamp() - signed_at)
    if apart_s > tolerance_s:
        raise Malformed("signature", f"was made {apart_s:.0f} s from now; {tolerance_s:.0f} hold")
    return _delivery(body)


def sign_webhook(body: bytes, secret: str, at: datetime) -> str:
    """The header that a processor would send: for tests, and for what stands in for it."""
    signed_at = int(at.timestamp())
    return f"t={signed_at},v1={_hmac(body, secret, signed_at).decode()}"


def _hmac(body: bytes, secret: str, signed_at: int) -> bytes:
    signed = b"%d." % signed_at + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()


def _parts(signature: str | None) -> tuple[int, list[bytes]]:
    if signature is None:
        raise Malformed("signature", "is missing")
    if len(signature) > _HEADER_MAX:
        raise Malformed("signature", "is too long")
    pairs = [part.strip().partition("=") for part in signature.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    given = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()) or len(times[0]) > 15:
        raise Malformed("signature", "must say once when it was made, as t=…")
    if not given:
        raise Malformed("signature", "must hold a v1=…")
    return int(times[0]), given


def _delivery(body: bytes) -> Delivery:
    try:
        said = json.loads(body)
        occurred_at = datetime.fromtimestamp(said["created"], UTC)
        about = said["data"]["object"]
        if not isinstance(about, dict) or not isinstance(about.get("metadata") or {}, dict):
            raise TypeError
        if not isinstance(said["id"], str) or not isinstance(said["type"], str):
            raise TypeError
        return Delivery(said["id"], said["type"], occurred_at, about)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        raise Malformed("body", "is signed, but no event") from None
