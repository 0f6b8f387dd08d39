"""Documents in a bucket of S3, or of a service that speaks its language, each written once.

A put is conditional (`If-None-Match: *`), so the service itself refuses to write over what is
there; it must be one that enforces that, as S3 does. A connection that breaks after the service
has stored a document makes boto3 ask again and be refused because of its own object. So a refusal
is no answer yet: what is there is compared by SHA-256, and the same bytes are a success.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from counterfoil.adapters.storage import keys
from counterfoil.adapters.storage.disposition import attachment
from counterfoil.adapters.storage.s3_errors import Refusal, lacks_lock, refused, says
from counterfoil.domain.errors import (
    Conflict,
    CounterfoilError,
    IntegrityFailed,
    Malformed,
    Unavailable,
)
from counterfoil.domain.ports import Label

if TYPE_CHECKING:
    from counterfoil.adapters.storage.s3_bucket import Answer

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/?")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?[\w-]+=[\w.-]+)*", re.ASCII)
_OPTIONS = ("endpoint", "kms_key", "region", "retention_days")

_EVERY_SELLER = "*"
_RETENTION_DAYS_MAX = 36_500

_MET_ANOTHER = {"ConditionalRequestConflict", "OperationAborted"}
# How often a put is begun again when others put or delete the same key at the same time, and how
# many versions of one key a delete removes.
_PUTS_MAX = 4
_VERSIONS_MAX = 10


class S3Store:
    """A document store in a bucket, below a prefix.

    Stored documents are encrypted by the service, with a key of KMS if one is named. With
    `retention_days` (for all, or by the id of the seller, "*" for the others) nobody at all can
    delete or change a document for so long: Object Lock in compliance mode, which the bucket must
    have. What is stored already keeps the retention that it was stored with.
    """

    persists = True

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint: str | None = None,
        kms_key: str | None = None,
        retention_days: int | Mapping[str, int] | None = None,
        connect_s: float = 3,
        read_s: float = 20,
        deadline_s: float = 60,
        client: Any = None,
    ) -> None:
        """Name the bucket; nothing is asked of it yet. Credentials are those that boto3 finds.

        No attempt begins later than `deadline_s` after the call. A `client` of boto3 of one's own
        comes with its own region, endpoint and time limits, and must sign with `s3v4`.
        """
        if _BUCKET.fullmatch(bucket) is None:
            raise Malformed("documents", "needs the name of an S3 bucket, as in s3://bucket/prefix")
        if endpoint is not None and _ENDPOINT.fullmatch(endpoint) is None:
            raise Malformed("documents", "needs an endpoint such as https://s3.example.com")
        self._prefix = keys.prefix(prefix)
        self._retention_days = _by_seller(retention_days)
        self._encryption = _encryption(kms_key)
        try:
            from counterfoil.adapters.storage.s3_bucket import Bucket, Timing, connected
        except ModuleNotFoundError as error:
            raise Malformed(
                "documents", "needs the extra for S3: pip install 'counterfoil[s3]'"
            ) from error
        timing = Timing(connect_s=connect_s, read_s=read_s, deadline_s=deadline_s)
        self._bucket = Bucket(bucket, client or connected(region, endpoint, timing), timing)

    @classmethod
    def from_address(cls, address: str) -> Self:
        """The store at `s3://bucket/prefix`, with `?region=…&endpoint=…&kms_key=…` and
        `&retention_days=…` as options.
        """
        # Python would leave out line breaks and tabs, and so open another store than was named.
        if any(letter <= " " for letter in address):
            raise Malformed("documents", "must be s3://bucket/prefix without spaces")
        try:
            parts = urlsplit(address)
        except ValueError:
            raise Malformed("documents", "must be s3://bucket/prefix") from None
        if parts.scheme != "s3" or parts.fragment:
            raise Malformed("documents", "must be s3://bucket/prefix")
        given: dict[str, Any] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _OPTIONS:
                raise Malformed(
                    "documents", f"{name} is no option of S3, but {', '.join(_OPTIONS)} are"
                )
            if name in given or not value:
                raise Malformed("documents", f"needs one value of {name}")
            given[name] = value
        if (days := given.get("retention_days")) is not None:
            # What is no number is refused with the numbers that are out of bounds.
            given["retention_days"] = int(days) if re.fullmatch(r"[0-9]{1,6}", days) else 0
        return cls(parts.netloc, parts.path, **given)

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store under a key; `Conflict` if it holds other bytes."""
        at = self._at(key)
        digest = hashlib.sha256(content)
        claims = digest.hexdigest(), base64.b64encode(digest.digest()).decode()
        values = {
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": claims[1],
            "ContentDisposition": attachment(label.file_name),
            "ContentType": _media_type(label.media_type),
            "IfNoneMatch": "*",
            "Key": at,
            "Metadata": {"sha256": claims[0]},
            **self._encryption,
            **self._lock(label.seller),
        }
        with self._bucket.call():
            for turn in range(_PUTS_MAX):
                refusal = self._bucket.ask(
                    "put_object", unless={400, 409, 412}, Body=content, **values
                )
                if not isinstance(refusal, Refusal):
                    return
                if refusal.status != 412 and refusal.code not in _MET_ANOTHER:
                    raise self._malformed(refusal, values)
                if refusal.status == 412 and (held := self._bucket.head(at)) is not None:
                    if not self._is_same(at, held, content, claims):
                        raise Conflict(f"{key} holds another document, and keeps it")
                    return
                time.sleep(0.05 * turn)
        raise Unavailable(says(self._bucket.name, f"is asked by too many for {key} at once"))

    def get(self, key: str) -> bytes:
        """What is stored under a key, checked against the SHA-256 stored with it."""
        at = self._at(key)
        with self._bucket.call():
            content, answer = self._bucket.read(at)
        recorded = answer.get("Metadata", {}).get("sha256")
        if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
            raise IntegrityFailed(f"{key} is not what was stored: its SHA-256 differs")
        return content

    def delete(self, key: str) -> None:
        """Remove what is stored under a key; `Conflict` while its retention forbids that.

        In a bucket with versions the version itself is removed, for good. The marker that S3 would
        otherwise put in front of it only hides the document, and lets another one be put under its
        key while the first is still kept, and charged. A version that somebody else has hidden
        like that before is left alone.
        """
        at = self._at(key)
        with self._bucket.call():
            for _ in range(_VERSIONS_MAX):
                held = self._bucket.head(at)
                if held is None:
                    return
                version = {"VersionId": held["VersionId"]} if "VersionId" in held else {}
                refusal = self._bucket.ask(
                    "delete_object", unless={400, 403, 404, 451}, Key=at, **version
                )
                if isinstance(refusal, Refusal) and refusal.status != 404:
                    if until := _retained(held):
                        raise Conflict(f"{key} {until}")
                    raise refused(self._bucket.name, refusal)
                if not version:
                    return
        raise Conflict(f"{key} is written again and again while it is being deleted")

    def link(self, key: str, file_name: str, *, valid_s: int) -> str:
        """A signed address, with the media type that was stored. It ends before its time when the
        credentials do that it was signed with: those of a role live for some hours only.
        """
        return self._bucket.link(
            {"Key": self._at(key), "ResponseContentDisposition": attachment(file_name)},
            keys.lifetime(valid_s),
        )

    def _at(self, key: str) -> str:
        keys.words(key)
        return self._prefix + key

    def _lock(self, seller: str) -> dict[str, object]:
        days = self._retention_days.get(seller, self._retention_days.get(_EVERY_SELLER))
        if days is None:
            return {}
        return {
            "ObjectLockMode": "COMPLIANCE",
            "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=days),
        }

    def _malformed(self, refusal: Refusal, values: Mapping[str, object]) -> CounterfoilError:
        if refusal.code == "InvalidRequest" and "ObjectLockMode" in values:
            return lacks_lock(self._bucket.name)
        return refused(self._bucket.name, refusal)

    def _is_same(self, at: str, held: Answer, content: bytes, claims: Sequence[str]) -> bool:
        """Whether an object is the document, by its length and by every SHA-256 it comes with."""
        if held.get("ContentLength") != len(content):
            return False
        known = (held.get("Metadata", {}).get("sha256"), _of_whole(held.get("ChecksumSHA256")))
        pairs = [(one, ours) for one, ours in zip(known, claims, strict=True) if one is not None]
        # What another program has stored may have neither.
        if not pairs:
            return self._bucket.read(at)[0] == content
        return all(one == ours for one, ours in pairs)


def _by_seller(retention_days: int | Mapping[str, int] | None) -> Mapping[str, int]:
    match retention_days:
        case None:
            return {}
        case Mapping():
            chosen = dict(retention_days)
        case _:
            chosen = {_EVERY_SELLER: retention_days}
    for days in chosen.values():
        if type(days) is not int or not 1 <= days <= _RETENTION_DAYS_MAX:
            raise Malformed(
                "documents", f"needs retention_days of 1 to {_RETENTION_DAYS_MAX} whole days"
            )
    return chosen


def _encryption(kms_key: str | None) -> Mapping[str, object]:
    if kms_key is None:
        return {"ServerSideEncryption": "AES256"}
    # With a key of the bucket, S3 asks KMS once for many documents.
    return {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": kms_key,
        "BucketKeyEnabled": True,
    }


def _media_type(text: str) -> str:
    if _MEDIA_TYPE.fullmatch(text) is None:
        raise Malformed("media_type", "must be one, such as application/pdf")
    return text


def _of_whole(checksum: str | None) -> str | None:
    """The checksum that S3 says, if it is one of the whole object and not of its parts."""
    return None if checksum is None or "-" in checksum else checksum


def _retained(held: Answer) -> str | None:
    """Why an object cannot be deleted yet, if a retention or a hold is the reason."""
    if held.get("ObjectLockLegalHoldStatus") == "ON":
        return "is under a legal hold, and is kept until somebody lifts that"
    until = held.get("ObjectLockRetainUntilDate")
    if until is None or until <= datetime.now(UTC):
        return None
    return f"is retained until {until:%Y-%m-%d %H:%M} UTC, and can be deleted after that"
