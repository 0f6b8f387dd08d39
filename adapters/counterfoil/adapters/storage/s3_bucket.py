"""How S3 is asked: one client for all threads, a deadline over all attempts of a call, and every
error of boto3 said in our words.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import local
from time import monotonic
from typing import Any

import boto3
from botocore import exceptions
from botocore.config import Config
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from counterfoil.adapters.storage.s3_errors import Refusal, refused, says
from counterfoil.domain.errors import (
    CounterfoilError,
    IntegrityFailed,
    Malformed,
    ObjectNotFound,
    StorageNotConfigured,
    Unavailable,
)

# What S3 answered, as boto3 has parsed it.
Answer = Mapping[str, Any]

_PIECE = 64 * 1024
_READS_MAX = 3
# Three attempts, each of which may have to ask first where the bucket is.
_REQUESTS_MAX = 12

# What ends a download in the middle; boto3 does not begin one anew.
_CUT_OFF = (exceptions.IncompleteReadError, exceptions.HTTPClientError, HTTPError, OSError)
_UNREACHED = (*_CUT_OFF, exceptions.ConnectionError, ResponseParserError)
_FOREIGN = (exceptions.BotoCoreError, ResponseParserError, HTTPError, OSError)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long S3 is waited for: to connect, for its next bytes, and over all attempts."""

    connect_s: float
    read_s: float
    deadline_s: float


def connected(region: str | None, endpoint: str | None, timing: Timing) -> Any:
    """A client that signs as all regions understand and that an environment cannot make lax."""
    config = Config(
        connect_timeout=timing.connect_s,
        max_pool_connections=32,
        read_timeout=timing.read_s,
        response_checksum_validation="when_supported",
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": "path" if endpoint else "auto"},
        # Left to itself, boto3 signs links for an endpoint of one's own in a way that S3 no
        # longer accepts (SigV2).
        signature_version="s3v4",
    )
    try:
        session = boto3.session.Session()
        return session.client("s3", region_name=region, endpoint_url=endpoint, config=config)
    except ValueError as error:
        raise Malformed("documents", "needs an endpoint and a region that are some") from error
    except exceptions.BotoCoreError as error:
        raise StorageNotConfigured(f"S3 cannot be set up: {error}") from error


class Bucket:
    """A bucket, asked through one client that all threads share."""

    def __init__(self, name: str, client: Any, timing: Timing) -> None:
        self.name = name
        self._client = client
        self._deadline_s = timing.deadline_s
        self._call = local()
        client.meta.events.register("before-send.s3", self._before_request)

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call of a caller, however many requests it takes. None is sent past the deadline."""
        self._call.deadline = monotonic() + self._deadline_s
        try:
            yield
        finally:
            del self._call.deadline

    def ask(
        self, operation: str, *, unless: Container[int] = (), **values: object
    ) -> Answer | Refusal:
        """The answer, or the refusal if its status is one of those that the caller deals with."""
        self._call.requests = 0
        try:
            answer: Answer = getattr(self._client, operation)(Bucket=self.name, **values)
        except exceptions.ClientError as error:
            refusal = _refusal(error)
            if refusal.status in unless:
                return refusal
            raise refused(self.name, refusal) from error
        except _FOREIGN as error:
            raise self._ours(error) from error
        return answer

    def head(self, key: str) -> Answer | None:
        """What is known of the object under a key, or None if there is none."""
        answer = self.ask("head_object", unless={404}, Key=key, ChecksumMode="ENABLED")
        if not isinstance(answer, Refusal):
            return answer
        # The answer to a HEAD has no body to say what was not found.
        if isinstance(self.ask("head_bucket", unless={404}), Refusal):
            raise refused(self.name, Refusal(status=404, code="NoSuchBucket"))
        return None

    def read(self, key: str) -> tuple[bytes, Answer]:
        """The whole body of what is stored, checked against its checksum; begun anew when cut."""
        for _ in range(_READS_MAX - 1):
            with suppress(_CutOff):
                return self._read(key)
        return self._read(key)

    def _read(self, key: str) -> tuple[bytes, Answer]:
        answer = self.ask("get_object", unless={404}, Key=key, ChecksumMode="ENABLED")
        if isinstance(answer, Refusal):
            if answer.code == "NoSuchKey":
                raise ObjectNotFound(f"nothing is stored under {key}")
            raise refused(self.name, answer)
        try:
            return b"".join(self._pieces(answer["Body"])), answer
        except _CUT_OFF as error:
            raise _CutOff(self._says("cut its answer off, each time")) from error
        except exceptions.BotoCoreError as error:
            raise self._ours(error) from error

    def link(self, values: Mapping[str, str], valid_s: int) -> str:
        """A signed address; nothing is sent for it."""
        try:
            address: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self.name, **values}, ExpiresIn=valid_s
            )
        except _FOREIGN as error:
            raise self._ours(error) from error
        return address

    def _says(self, words: str) -> str:
        return says(self.name, words)

    def _pieces(self, body: Any) -> Iterator[bytes]:
        try:
            # To the end, where the checksum is looked at.
            while piece := body.read(_PIECE):
                yield piece
                self._hold_deadline()
        finally:
            body.close()

    def _before_request(self, **_: object) -> None:
        # A client may serve several stores, of which only one is being called in this thread.
        if not hasattr(self._call, "deadline"):
            return
        self._hold_deadline()
        self._call.requests += 1
        # boto3 follows where it is sent, and has no end when every answer sends it elsewhere.
        if self._call.requests > _REQUESTS_MAX:
            raise StorageNotConfigured(
                self._says("sends us in circles: name its region, and its own endpoint")
            )

    def _hold_deadline(self) -> None:
        if monotonic() > self._call.deadline:
            raise Unavailable(self._says(f"did not answer within {self._deadline_s:g} seconds"))

    def _ours(self, error: Exception) -> CounterfoilError:
        match error:
            case exceptions.FlexibleChecksumError():
                return IntegrityFailed(
                    self._says("answered other bytes than were stored: their SHA-256 differs")
                )
            case exceptions.SSLError():
                return Unavailable(
                    self._says("cannot be reached safely: its certificate is no good")
                )
            case _ if isinstance(error, _UNREACHED):
                return Unavailable(self._says(f"cannot be reached now ({type(error).__name__})"))
            case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
                return StorageNotConfigured(
                    self._says(
                        "needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                        " a profile, or a role of this machine"
                    )
                )
            case _:
                # What is left of botocore's own errors are credentials that cannot be had, and
                # settings that contradict one another.
                return StorageNotConfigured(
                    self._says(
                        f"cannot be asked, boto3 is not set up for it: {type(error).__name__}"
                    )
                )


class _CutOff(Unavailable):
    """A body ended before its end."""


def _refusal(error: Any) -> Refusal:
    return Refusal(
        status=error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
        code=str(error.response.get("Error", {}).get("Code", "")),
    )
