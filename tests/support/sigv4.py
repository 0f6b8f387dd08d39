"""Would S3 take this request? It must carry a signature of version 4, in its headers or in its
address, made with a known key, in time, over what was sent; moto looks at none of that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

_STAMP = "%Y%m%dT%H%M%SZ"
_SKEW_MAX = timedelta(minutes=15)
_LINK_MAX = timedelta(days=7)
_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; the names of its headers are in small letters."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The key of the object, which stands behind the bucket in the path."""
        return unquote(self.path).partition("/")[2].partition("/")[2]


@dataclass(frozen=True, slots=True)
class _Signature:
    access_key: str
    scope: str
    signed: tuple[str, ...]
    value: str
    at: datetime
    payload: str


class Refused(Exception):
    """What S3 answers to a request that it does not take."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.code = code
        super().__init__(code)


def check(asked: Asked, secrets: Mapping[str, str], now: datetime) -> None:
    """Refuse what S3 would refuse."""
    signature = _of_address(asked, now) or _of_headers(asked, now)
    if (secret := secrets.get(signature.access_key)) is None:
        raise Refused(403, "InvalidAccessKeyId")
    theirs = {name for name in asked.headers if name.startswith("x-amz-")} | {"host"}
    if theirs - {*signature.signed}:
        raise Refused(403, "AccessDenied")
    if not hmac.compare_digest(_signed(asked, signature, secret), signature.value):
        raise Refused(403, "SignatureDoesNotMatch")
    _check_body(asked, signature.payload)


def _of_address(asked: Asked, now: datetime) -> _Signature | None:
    query = dict(asked.query)
    if "X-Amz-Signature" not in query:
        return None
    at = _moment(query["X-Amz-Date"])
    lasting = timedelta(seconds=int(query["X-Amz-Expires"]))
    if not timedelta(0) < lasting <= _LINK_MAX:
        raise Refused(400, "AuthorizationQueryParametersError")
    if not at - _SKEW_MAX <= now <= at + lasting:
        raise Refused(403, "AccessDenied")
    access_key, _, scope = query["X-Amz-Credential"].partition("/")
    signed = tuple(query["X-Amz-SignedHeaders"].split(";"))
    return _Signature(access_key, scope, signed, query["X-Amz-Signature"], at, _UNSIGNED)


def _of_headers(asked: Asked, now: datetime) -> _Signature:
    method, _, rest = asked.headers.get("authorization", "").partition(" ")
    if method != "AWS4-HMAC-SHA256":
        raise Refused(403, "AccessDenied")
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    at = _moment(asked.headers["x-amz-date"])
    if abs(now - at) > _SKEW_MAX:
        raise Refused(403, "RequestTimeTooSkewed")
    access_key, _, scope = given["Credential"].partition("/")
    return _Signature(
        access_key,
        scope,
        tuple(given["SignedHeaders"].split(";")),
        given["Signature"],
        at,
        asked.headers["x-amz-content-sha256"],
    )


def _signed(asked: Asked, signature: _Signature, secret: str) -> str:
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in asked.query
        if name != "X-Amz-Signature"
    )
    headers = ((name, " ".join(asked.headers.get(name, "").split())) for name in signature.signed)
    canonical = "\n".join(
        (
            asked.method,
            quote(unquote(asked.path), safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            "".join(f"{name}:{value}\n" for name, value in headers),
            ";".join(signature.signed),
            signature.payload,
        )
    )
    to_sign = "\n".join(
        (
            "AWS4-HMAC-SHA256",
            signature.at.strftime(_STAMP),
            signature.scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    key = b"AWS4" + secret.encode()
    for part in signature.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _check_body(asked: Asked, payload: str) -> None:
    length = int(asked.headers.get("content-length") or 0)
    if len(asked.body) != length:
        raise Refused(400, "IncompleteBody")
    # boto3 signs the bodies that it sends without TLS; bodies in signed chunks it never sends.
    if payload.startswith("STREAMING-"):
        raise Refused(501, "NotImplemented")
    digest = hashlib.sha256(asked.body)
    if payload not in {_UNSIGNED, digest.hexdigest()}:
        raise Refused(400, "XAmzContentSHA256Mismatch")
    checksum = base64.b64encode(digest.digest()).decode()
    if asked.headers.get("x-amz-checksum-sha256", checksum) != checksum:
        raise Refused(400, "BadDigest")
    if asked.headers.get("x-amz-sdk-checksum-algorithm", "").upper() == "SHA256" and (
        "x-amz-checksum-sha256" not in asked.headers
    ):
        raise Refused(400, "InvalidRequest")


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
