"""What does a no of S3 mean for us? Our words name the bucket and what to do, never a secret."""

from __future__ import annotations

from dataclasses import dataclass

from counterfoil.domain.errors import CounterfoilError, StorageNotConfigured, Unavailable

# Asking again may help: S3 is busy, or the bytes were damaged on their way.
_BUSY = {
    "BadDigest",
    "BandwidthLimitExceeded",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
_RIGHTS = (
    "does not let us in: its credentials need s3:PutObject, s3:GetObject, s3:DeleteObject and"
    " s3:ListBucket, with versions also s3:DeleteObjectVersion, with Object Lock also"
    " s3:PutObjectRetention and s3:GetObjectRetention, and with a key of KMS its use"
)
_CREDENTIALS = "does not accept our credentials: look at the access key, its secret and its token"
_EXPIRED = "does not accept our credentials any more: they have expired, renew them"
_REGION = "is in another region: name that one as region"
_KMS = "cannot use its key of KMS: look at kms_key, at the state of that key and at who may use it"
_LOCK = "has no Object Lock: make one with Object Lock, or leave out retention_days"
# Only an operator can help. `RequestTimeTooSkewed` too: boto3 signs with the clock of this machine
# each time, so asking again fails until somebody has set it.
_OPERATOR = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AuthorizationHeaderMalformed": _REGION,
    "ExpiredToken": _EXPIRED,
    "IllegalLocationConstraintException": _REGION,
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidObjectState": "keeps it in an archive class that cannot be read: restore it first",
    "InvalidToken": _CREDENTIALS,
    "NoSuchBucket": "does not exist: make it, or name another",
    "NotImplemented": "is kept by a service that lacks what we need: conditional writes"
    " (If-None-Match), SHA-256 checksums, encryption",
    "ObjectLockConfigurationNotFoundError": _LOCK,
    "PermanentRedirect": _REGION,
    "RequestExpired": _EXPIRED,
    "RequestTimeTooSkewed": "finds our clock wrong by more than 15 minutes: set the clock of this"
    " machine",
    "SignatureDoesNotMatch": _CREDENTIALS,
    "TokenRefreshRequired": _EXPIRED,
    "301": _REGION,
    "401": _CREDENTIALS,
    "403": _RIGHTS,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no of S3 that the caller has an answer to."""

    status: int
    code: str


def refused(bucket: str, refusal: Refusal) -> CounterfoilError:
    """What to say to a no that the caller has no answer to."""
    code, status = refusal.code, refusal.status
    if words := _OPERATOR.get(code):
        return StorageNotConfigured(says(bucket, words))
    if code.startswith("KMS"):
        return StorageNotConfigured(says(bucket, _KMS))
    if status >= 500 or status in {408, 429} or code in _BUSY:
        return Unavailable(says(bucket, f"cannot serve us now ({code})"))
    return StorageNotConfigured(says(bucket, f"refuses what we ask: {code}"))


def lacks_lock(bucket: str) -> StorageNotConfigured:
    """What to say when retention is asked of a bucket that knows none."""
    return StorageNotConfigured(says(bucket, _LOCK))


def says(bucket: str, words: str) -> str:
    """A sentence about a bucket."""
    return f"the S3 bucket {bucket} {words}"
