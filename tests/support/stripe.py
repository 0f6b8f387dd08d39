"""Where do the tests get a Stripe from? A server in this process speaks Stripe's API in Stripe's
shapes, takes nothing that Stripe would not take, keeps books, and fails as a test asks it to.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, RLock, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from support.stripe_books import Account, World
from support.stripe_rules import Card, Json, Params, Refused, decline

__all__ = [
    "After",
    "Card",
    "Garble",
    "HangUp",
    "Late",
    "LoseAnswer",
    "Pause",
    "Refuse",
    "StripeServer",
    "decline",
]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error instead of doing what was asked; `kept` under the idempotency key, as
    Stripe keeps whatever came of a request that it had begun.
    """

    status: int
    code: str | None = None
    type: str = "api_error"
    message: str = "Something went wrong."
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class HangUp:
    """Reset the connection before anything has happened."""


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Do what was asked, and reset the connection instead of answering."""


@dataclass(frozen=True, slots=True)
class Late:
    """Do what was asked, and answer only after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Garble:
    """Do what was asked, and answer with something else."""

    body: bytes = b"<html>a proxy says hello</html>"
    status: int = 200


@dataclass(frozen=True, slots=True)
class After:
    """Do what was asked, but let something else happen before."""

    other: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pause:
    """Begin with what was asked, say so, and go on when told to."""

    reached: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)


Fault = Refuse | HangUp | LoseAnswer | Late | Garble | After | Pause


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    params: Params
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class _Kept:
    """What was asked under an idempotency key, and what was answered, once that is known."""

    asked: tuple[str, tuple[tuple[str, str], ...]]
    request_id: str
    answer: tuple[int, Json] | None = None


class _Client:
    """An account, and the idempotency keys that were used there."""

    def __init__(self, world: World) -> None:
        self.books = Account(world)
        self.kept: dict[str, _Kept] = {}


class StripeServer:
    """A Stripe, in the hands of its operator: `with StripeServer() as server`.

    Every secret test key has an account of its own, and so has every connected account. Customers
    must be made known, here or by `customer`; they are known to all accounts, as are the payment
    methods that Stripe keeps for tests.
    """

    def __init__(
        self, *, customers: Iterable[str] = (), clock: Callable[[], datetime] | None = None
    ) -> None:
        self.address = ""
        self.seen: list[Asked] = []
        self.revoked: set[str] = set()
        self._world = World(clock or (lambda: datetime.now(UTC)))
        self.methods = self._world.methods
        self.customers = self._world.customers
        self._lock = RLock()
        self._faults: deque[Fault] = deque()
        self._closing = Event()
        self._accounts: dict[str, _Client] = {}
        for name in customers:
            self.customer(name)

    def __enter__(self) -> Self:
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.stripe = self
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    # What an operator, a payer and a bank do.

    def fail(self, *faults: Fault) -> None:
        """Fail the next requests, each in its way."""
        self._faults.extend(faults)

    def customer(
        self,
        name: str,
        *,
        default_payment_method: object = None,
        default_source: str | None = None,
        deleted: bool = False,
    ) -> None:
        """Make a customer known, or change them."""
        self.customers[name] = (
            {"id": name, "object": "customer", "deleted": True}
            if deleted
            else {
                "id": name,
                "object": "customer",
                "created": self._world.now(),
                "default_source": default_source,
                "invoice_settings": {
                    "custom_fields": None,
                    "default_payment_method": default_payment_method,
                    "footer": None,
                    "rendering_options": None,
                },
                "livemode": False,
                "metadata": {},
            }
        )

    def complete(self, intent_id: str) -> None:
        """The payer confirms."""
        with self._lock:
            intent = self.intent(intent_id)
            error, status = intent["last_payment_error"] or {}, intent["status"]
            asks = status == "requires_payment_method" and (
                error.get("code") == "authentication_required"
            )
            if status != "requires_action" and not asks:
                raise ValueError(f"{intent_id} is {status}: nothing to confirm")
            if asks:
                intent["payment_method"] = error["payment_method"]["id"]
            self._books_of(intent_id).succeed(intent)

    def settle(self, intent_id: str, *, error: Mapping[str, str] | None = None) -> None:
        """The bank has decided on a debit: the money came, or this is why it did not."""
        with self._lock:
            intent = self.intent(intent_id)
            if intent["status"] != "processing":
                raise ValueError(f"{intent_id} is {intent['status']}: nothing to settle")
            if error is None:
                self._books_of(intent_id).succeed(intent)
            else:
                self._books_of(intent_id).not_paid(intent, error)

    def forget_keys(self) -> None:
        """A day has passed: idempotency keys are forgotten."""
        with self._lock:
            for account in self._accounts.values():
                account.kept.clear()

    # The books.

    def intent(self, intent_id: str) -> Json:
        """A payment intent, as it is kept."""
        return self._books_of(intent_id).intents[intent_id]

    def books(self) -> Account:
        """The books of the only account that was used."""
        (client,) = self._accounts.values()
        return client.books

    def intents(self, api_key: str | None = None) -> list[Json]:
        """Every payment intent, in order, of all accounts or of one."""
        with self._lock:
            of = [
                account
                for key, account in self._accounts.items()
                if api_key is None or key == api_key
            ]
            return [intent for account in of for intent in account.books.intents.values()]

    def charged(self, api_key: str | None = None) -> dict[str, int]:
        """What was taken, by currency, in Stripe's units."""
        return _sums(
            (intent["currency"], intent["amount_received"]) for intent in self.intents(api_key)
        )

    def refunded(self) -> dict[str, int]:
        """What was given back, or is about to be, by currency, in Stripe's units."""
        with self._lock:
            return _sums(
                (refund["currency"], refund["amount"])
                for account in self._accounts.values()
                for refund in account.books.refunds.values()
                if refund["status"] in {"succeeded", "pending"}
            )

    def charges(self) -> int:
        """How often money was taken."""
        return sum(intent["status"] == "succeeded" for intent in self.intents())

    def refunds(self) -> int:
        """How many refunds were made."""
        with self._lock:
            return sum(len(account.books.refunds) for account in self._accounts.values())

    # One request.

    def serve(self, asked: Asked) -> tuple[int, Mapping[str, str], bytes] | None:
        """The answer, or None for a connection that breaks."""
        with self._lock:
            self.seen.append(asked)
            fault = self._faults.popleft() if self._faults else None
        if isinstance(fault, HangUp):
            return None
        if isinstance(fault, After):
            fault.other()
        request_id = self._world.name("req")
        headers = {"Request-Id": request_id, "Content-Type": "application/json"}
        if version := asked.headers.get("stripe-version"):
            headers["Stripe-Version"] = version
        try:
            account = self._account(asked)
            status, body = self._once(asked, account, fault, headers)
        except Refused as refused:
            status, body = refused.status, {"error": refused.error}
        match fault:
            case LoseAnswer():
                return None
            case Refuse():
                headers |= fault.headers
            case Late(seconds):
                self._closing.wait(seconds)
            case Garble(garbage, status):
                return status, headers, garbage
            case _:
                pass
        return status, headers, json.dumps(body, indent=2).encode()

    def _account(self, asked: Asked) -> _Client:
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            given = base64.b64decode(given).decode().partition(":")[0]
        if not given:
            raise Refused(401, "You did not provide an API key.")
        if not re.fullmatch(r"(sk|rk)_test_\w+", given) or given in self.revoked:
            raise Refused(401, f"Invalid API Key provided: {given[:8]}****{given[-4:]}")
        name = asked.headers.get("stripe-account", given)
        with self._lock:
            return self._accounts.setdefault(name, _Client(self._world))

    def _once(
        self, asked: Asked, account: _Client, fault: Fault | None, headers: dict[str, str]
    ) -> tuple[int, Json]:
        """Do what was asked, unless it was done before under the same idempotency key."""
        key = asked.headers.get("idempotency-key") if asked.method == "POST" else None
        if isinstance(fault, Refuse) and not fault.kept:
            raise _refuse(fault)
        if key is None:
            return self._begin(asked, account, fault)
        if len(key) > 255:
            raise Refused(400, "Idempotency keys are up to 255 characters long.")
        headers["Idempotency-Key"] = key
        same = asked.path, tuple(sorted(asked.params.items()))
        with self._lock:
            before = account.kept.get(key)
            if before is None:
                account.kept[key] = _Kept(same, headers["Request-Id"])
            else:
                return _again(before, same, key, headers)
        try:
            answer = self._begin(asked, account, fault)
        except Refused as refused:
            answer = refused.status, {"error": refused.error}
            if not refused.kept:
                # Whatever fails before it is begun leaves no trace.
                with self._lock:
                    del account.kept[key]
                raise
        # A copy: what is answered again is what was true the first time.
        with self._lock:
            account.kept[key].answer = answer[0], json.loads(json.dumps(answer[1]))
        return answer

    def _begin(self, asked: Asked, account: _Client, fault: Fault | None) -> tuple[int, Json]:
        if isinstance(fault, Pause):
            fault.reached.set()
            fault.go_on.wait(30)
        if isinstance(fault, Refuse):
            raise _refuse(fault)
        with self._lock:
            body = account.books.obey(asked.method, asked.path, asked.params)
            return 200, json.loads(json.dumps(body))

    def _books_of(self, intent_id: str) -> Account:
        for account in self._accounts.values():
            if intent_id in account.books.intents:
                return account.books
        raise KeyError(intent_id)


def _again(
    before: _Kept,
    same: tuple[str, tuple[tuple[str, str], ...]],
    key: str,
    headers: dict[str, str],
) -> tuple[int, Json]:
    """What a second request under an idempotency key is answered."""
    if before.asked != same:
        raise Refused(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            type="idempotency_error",
        )
    if before.answer is None:
        raise Refused(
            409,
            "There is currently another in-progress request using this Idempotency Key: retry.",
            code="idempotency_key_in_use",
            type="idempotency_error",
        )
    headers |= {"Idempotent-Replayed": "true", "Original-Request": before.request_id}
    return before.answer


def _refuse(fault: Refuse) -> Refused:
    code = {} if fault.code is None else {"code": fault.code}
    return Refused(fault.status, fault.message, kept=fault.kept, type=fault.type, **code)


def _sums(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for currency, amount in pairs:
        if amount:
            sums[currency] = sums.get(currency, 0) + amount
    return sums


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    stripe: StripeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what a test wants to know stands in `seen`."""

    def _serve(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        form = body.decode() if self.command == "POST" else parts.query
        asked = Asked(
            self.command,
            parts.path,
            dict(parse_qsl(form, keep_blank_values=True, strict_parsing=bool(form))),
            {name.lower(): value for name, value in self.headers.items()},
            body,
        )
        answer = self.server.stripe.serve(asked)
        if answer is None:
            self._reset()
            return
        status, headers, content = answer
        with suppress(ConnectionError):  # a client that did not wait
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

    def _reset(self) -> None:
        """Have the connection reset, not closed in order."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
