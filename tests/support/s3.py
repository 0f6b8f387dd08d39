"""Where do the tests get an S3 from? From moto's server, in this process, behind a guard that takes
nothing which S3 would not take, and that fails when and how a test asks for it.
"""

from __future__ import annotations

import io
import socket
import struct
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from uuid import uuid4

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from support.sigv4 import Asked, Refused, check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTEST0001", "a-secret-that-no-message-may-tell"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
    # Nothing of whoever runs the tests, and no service of the machine that may be asked.
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error instead of doing what was asked."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """Reset the connection before anything has happened."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Do what was asked, and reset the connection instead of answering."""


@dataclass(frozen=True, slots=True)
class Late:
    """Answer only after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CutAnswer:
    """Send half of the body, and then nothing more."""


@dataclass(frozen=True, slots=True)
class FlipBit:
    """Send the body with one bit wrong."""


@dataclass(frozen=True, slots=True)
class DamageBody:
    """Receive the body with one bit wrong."""


@dataclass(frozen=True, slots=True)
class StopReading:
    """Read half of the body, say so, and read what else there is when told to go on."""

    reached: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)
    read: Event = field(default_factory=Event)


Fault = Refuse | HangUp | LoseAnswer | Late | CutAnswer | FlipBit | DamageBody | StopReading


class S3:
    """A server, in the hands of its operator."""

    def __init__(self) -> None:
        self.url = ""
        self.clock_ahead = timedelta(0)
        self.seen: list[Asked] = []
        self._lock = Lock()
        self._faults: deque[Fault] = deque()
        self._always: Fault | None = None
        self._closing = Event()
        self._moto_lock = Lock()
        self._moto = DomainDispatcherApplication(create_backend_app)

    def fail(self, *faults: Fault) -> None:
        """Fail the next requests, each in its way."""
        self._faults.extend(faults)

    def fail_always(self, fault: Fault) -> None:
        """Fail every request that is not failed otherwise."""
        self._always = fault

    def mend(self) -> None:
        """Work well, forget what was seen, and have the right time."""
        self._faults.clear()
        self._always = None
        self.clock_ahead = timedelta(0)
        self.seen.clear()

    @cached_property
    def client(self) -> Any:
        """A client that all tests may share."""
        return self.client_with(ACCESS_KEY, SECRET_KEY)

    def client_with(self, access_key: str, secret_key: str) -> Any:
        """A client with credentials of its own, that does not wait long."""
        config = Config(
            connect_timeout=5,
            read_timeout=5,
            max_pool_connections=32,
            retries={"mode": "standard", "total_max_attempts": 3},
            s3={"addressing_style": "path"},
            signature_version="s3v4",
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=config,
        )

    def bucket(self, *, locking: bool = False, versions: bool = False) -> str:
        """The name of a new bucket."""
        name = f"test-{uuid4().hex}"
        self.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locking)
        if versions:
            self.client.put_bucket_versioning(
                Bucket=name, VersioningConfiguration={"Status": "Enabled"}
            )
        return name

    def close(self) -> None:
        """Let go whoever waits for an answer that comes late."""
        self._closing.set()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Serve one request, as WSGI has it."""
        fault = self._next_fault()
        if isinstance(fault, HangUp):
            raise _reset(environ)
        asked = self._received(environ, fault)
        with self._lock:
            self.seen.append(asked)
        try:
            if isinstance(fault, Refuse):
                raise Refused(fault.status, fault.code)
            if isinstance(fault, Late):
                self._closing.wait(fault.seconds)
            check(asked, {ACCESS_KEY: SECRET_KEY}, datetime.now(UTC) + self.clock_ahead)
        except Refused as refused:
            return _refusal(asked, refused, start)
        environ["wsgi.input"] = io.BytesIO(asked.body)
        # One at a time: between its look at a condition and its write, moto lets others in.
        with self._moto_lock:
            chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        body = b"".join(chunks)
        if isinstance(fault, LoseAnswer):
            raise _reset(environ)
        if isinstance(fault, FlipBit):
            body = _with_flipped_bit(body)
        start(status, list(headers))
        return _cut(body) if isinstance(fault, CutAnswer) else [body]

    def _next_fault(self) -> Fault | None:
        with self._lock:
            return self._faults.popleft() if self._faults else self._always

    def _received(self, environ: WSGIEnvironment, fault: Fault | None) -> Asked:
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
        }
        raw, length = environ["wsgi.input"], int(headers.get("content-length") or 0)
        match fault:
            case StopReading():
                body = raw.read(length // 2)
                fault.reached.set()
                fault.go_on.wait(60)
                # Of a client that was killed there may be a rest, its end, or a reset.
                with suppress(ConnectionError):
                    body += raw.read(length - len(body))
                fault.read.set()
            case DamageBody():
                body = _with_flipped_bit(raw.read(length))
            case _:
                body = raw.read(length)
        path, _, query = environ["RAW_URI"].partition("?")
        pairs = tuple(parse_qsl(query, keep_blank_values=True))
        return Asked(environ["REQUEST_METHOD"], path, pairs, headers, body)


@contextmanager
def serving() -> Iterator[S3]:
    """Yield a server that listens on this machine only."""
    s3 = S3()
    server = make_server("127.0.0.1", 0, s3, threaded=True, request_handler=_Quiet)
    s3.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield s3
    finally:
        s3.close()
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: what a test wants to know stands in `seen`."""

    def connection_dropped(
        self, error: BaseException, environ: WSGIEnvironment | None = None
    ) -> None:
        """Let go of the connection, which would otherwise be kept for a next request."""
        self.close_connection = True


def _refusal(asked: Asked, refused: Refused, start: StartResponse) -> Iterable[bytes]:
    body = f"<Error><Code>{refused.code}</Code><Message>no</Message></Error>".encode()
    start(f"{refused.status} no", [("Content-Type", "application/xml")])
    return [] if asked.method == "HEAD" else [body]


def _reset(environ: WSGIEnvironment) -> ConnectionResetError:
    """Have the connection reset, not closed in order, as soon as the server lets go of it."""
    connection = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return ConnectionResetError()


def _cut(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError


def _with_flipped_bit(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
