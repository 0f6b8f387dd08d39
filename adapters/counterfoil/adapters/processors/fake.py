"""A processor that moves no money: for demos, for tests, and until a real one is configured.

It keeps books of its own in SQLite, in memory or in a file that outlives the process, as a real one
would; so what an invoice says can be held against them after any crash.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from counterfoil.adapters.processors import cards
from counterfoil.adapters.processors.stripe_amounts import to_units
from counterfoil.adapters.processors.webhook import sign_webhook
from counterfoil.domain.errors import (
    Malformed,
    NotFound,
    ProcessorNotConfigured,
    RateLimited,
    Unavailable,
)
from counterfoil.domain.money import Money
from counterfoil.domain.ports import (
    CANCELED,
    Charge,
    Declined,
    Intent,
    NeedsAction,
    Outcome,
    Pending,
    Repayment,
    Succeeded,
)

_INTENT = re.compile(r"pi_fake_([0-9]{5,15})")
WITHDRAWN = Declined(CANCELED, "It was withdrawn before any money moved.", retryable=True)

# A status is one of Stripe's words; `forbidden` is a key whose charge may not arrive any more.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL,
    invoice TEXT NOT NULL, payment TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, method TEXT NOT NULL, status TEXT NOT NULL,
    code TEXT, message TEXT, retryable INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS refunds (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, charge INTEGER NOT NULL,
    refund TEXT NOT NULL, amount INTEGER NOT NULL, status TEXT NOT NULL) STRICT;
"""


class Fault(Enum):
    """What may go wrong with one request."""

    UNREACHABLE = "it never arrives"
    ANSWER_LOST = "it is obeyed, and nobody hears of it"
    RATE_LIMITED = "it is one too many"
    NOT_LET_IN = "the key is not known"
    SLOW = "it takes its time"


@dataclass(frozen=True, slots=True)
class Booked:
    """A charge in the fake's books, and how much of it went back."""

    id: str
    tenant: str
    invoice: str
    payment: str
    amount: Money
    status: str
    refunded: int


class FakeProcessor:
    """Charges by the name of the payment method, as Stripe does in test mode, or as it is told."""

    def __init__(self, ledger: str | Path = ":memory:", *, slow_s: float = 0.2) -> None:
        self._lock = threading.Lock()
        try:
            self._books = sqlite3.connect(
                ledger, check_same_thread=False, isolation_level=None, timeout=60
            )
            _hold_no_others(self._books)
            self._books.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ProcessorNotConfigured(
                f"{ledger} cannot hold the books of the fake processor: {error}"
            ) from error
        self._books.row_factory = sqlite3.Row
        self._slow_s = slow_s
        self._faults: deque[Fault] = deque()
        self._script: deque[Outcome] = deque()
        # What customers pay with unless a method is said; a good card, for those who do not stand.
        self.methods: dict[str, str | None] = {}
        self.calls = 0

    # --- what a test tells it, and asks -----------------------------------------------------------

    def fail(self, *faults: Fault) -> None:
        """Let the next requests go wrong so, one each."""
        self._faults.extend(faults)

    def script(self, *outcomes: Outcome) -> None:
        """Let the next new charges end so, whatever they are paid with."""
        self._script.extend(outcomes)

    def confirm(self, intent: str) -> Outcome:
        """The payer confirms, or a bank debit comes through."""
        return self._end(intent, None)

    def refuse(self, intent: str, code: str = "authentication_failed") -> Outcome:
        """The payer does not confirm, or a bank debit bounces."""
        return self._end(intent, Declined(code, "The payment was not confirmed.", retryable=True))

    def webhook(
        self, intent: str, secret: str, *, at: datetime, event: str | None = None
    ) -> tuple[bytes, str]:
        """What it would send about a charge as it is now, and the header with its signature."""
        with self._reading() as books:
            row = _by_intent(books, intent)
        if row is None:
            raise NotFound("intent", intent)
        status = row["status"]
        amount = to_units(Money(row["amount"], row["currency"]))
        about: dict[str, object] = {
            "id": intent,
            "object": "payment_intent",
            "status": status,
            "amount": amount,
            "amount_received": amount if status == "succeeded" else 0,
            "currency": row["currency"].lower(),
            "metadata": {
                "counterfoil_tenant": row["tenant"],
                "counterfoil_invoice": row["invoice"],
                "counterfoil_payment": row["payment"],
            },
        }
        if status == "requires_payment_method":
            about["last_payment_error"] = {"code": row["code"], "message": row["message"]}
            status = "payment_failed"
        said = {
            "id": event or f"evt_{intent}_{status}",
            "object": "event",
            "type": f"payment_intent.{status}",
            "created": int(at.timestamp()),
            "data": {"object": about},
        }
        body = json.dumps(said).encode()
        return body, sign_webhook(body, secret, at)

    def booked(self, invoice: str | None = None) -> tuple[Booked, ...]:
        """All charges, or those of one invoice, oldest first."""
        with self._reading() as books:
            rows = books.execute(
                "SELECT *, (SELECT coalesce(sum(amount), 0) FROM refunds WHERE charge ="
                " charges.place AND status = 'succeeded') AS refunded FROM charges"
                " WHERE ? IN ('', invoice) AND status != 'forbidden' ORDER BY place",
                (invoice or "",),
            ).fetchall()
        return tuple(
            Booked(
                id=_intent(row),
                tenant=row["tenant"],
                invoice=row["invoice"],
                payment=row["payment"],
                amount=Money(row["amount"], row["currency"]),
                status=row["status"],
                refunded=row["refunded"],
            )
            for row in rows
        )

    # --- what a processor does --------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "fake"

    def default_payment_method(self, customer: str) -> str | None:
        return self.methods.get(customer, "pm_card_visa")

    def charge(self, charge: Charge) -> Outcome:
        with self._answering(), self._writing() as books:
            row = _by_key(books, charge.key)
            if row is None:
                script = self._script
                outcome = script.popleft() if script else cards.charged(charge.payment_method)
                return _book(books, charge, outcome)
            if (row["amount"], row["currency"]) != (charge.amount.minor, charge.amount.currency):
                raise Malformed("key", "was used for another charge before")
            return _outcome(row)

    def retrieve(self, charge: Charge) -> Outcome | None:
        with self._answering(), self._reading() as books:
            row = _by_key(books, charge.key)
            return None if row is None else _outcome(row)

    def cancel(self, charge: Charge) -> Outcome:
        with self._answering(), self._writing() as books:
            row = _by_key(books, charge.key)
            if row is None:
                return _book(books, charge, WITHDRAWN, status="forbidden")
            if row["status"] in {"requires_action", "processing"}:
                return _become(books, row, WITHDRAWN)
            return _outcome(row)

    def refund(self, repayment: Repayment) -> Outcome:
        with self._answering(), self._writing() as books:
            known = books.execute(
                "SELECT place, status FROM refunds WHERE key = ?", (repayment.key,)
            ).fetchone()
            if known is None:
                return _repay(books, repayment)
            # What was pending when it was asked for has come through when it is asked again.
            books.execute(
                "UPDATE refunds SET status = 'succeeded' WHERE place = ?", (known["place"],)
            )
            return Succeeded(_refund(known["place"]))

    def close(self) -> None:
        with self._lock:
            self._books.close()

    # --- how --------------------------------------------------------------------------------------

    def _end(self, intent: str, outcome: Outcome | None) -> Outcome:
        with self._writing() as books:
            row = _by_intent(books, intent)
            if row is None:
                raise NotFound("intent", intent)
            if row["status"] not in {"requires_action", "processing"}:
                return _outcome(row)
            return _become(books, row, outcome or cards.confirmed(row["method"]))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        self.calls += 1
        fault = self._faults.popleft() if self._faults else None
        match fault:
            case Fault.UNREACHABLE:
                raise Unavailable("the fake processor cannot be reached")
            case Fault.RATE_LIMITED:
                raise RateLimited("the fake processor was asked too much", 1.0)
            case Fault.NOT_LET_IN:
                raise ProcessorNotConfigured("the fake processor does not know the key")
            case Fault.SLOW:
                time.sleep(self._slow_s)
            case Fault.ANSWER_LOST | None:
                pass
        yield
        if fault is Fault.ANSWER_LOST:
            raise Unavailable("the fake processor did not answer in time")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._books

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._books.execute("BEGIN IMMEDIATE")
            try:
                yield self._books
            except BaseException:
                self._books.execute("ROLLBACK")
                raise
            self._books.execute("COMMIT")


def _hold_no_others(books: sqlite3.Connection) -> None:
    """Keep out of the database of a billing."""
    tables = {
        name for (name,) in books.execute("SELECT name FROM sqlite_schema WHERE type='table'")
    }
    if not tables <= {"charges", "refunds"}:
        raise sqlite3.DatabaseError("it is another database")


def _by_key(books: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = books.execute(
        "SELECT * FROM charges WHERE key = ?", (key,)
    ).fetchone()
    return row


def _by_intent(books: sqlite3.Connection, intent: str) -> sqlite3.Row | None:
    named = _INTENT.fullmatch(intent)
    if named is None or intent != f"pi_fake_{int(named[1]):05}":
        return None
    row: sqlite3.Row | None = books.execute(
        "SELECT * FROM charges WHERE place = ?", (int(named[1]),)
    ).fetchone()
    return row


def _book(
    books: sqlite3.Connection, charge: Charge, outcome: Outcome, status: str | None = None
) -> Outcome:
    cursor = books.execute(
        "INSERT INTO charges (key, tenant, invoice, payment, amount, currency, method, status)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, '')",
        (
            charge.key,
            charge.tenant,
            charge.invoice,
            charge.payment,
            charge.amount.minor,
            charge.amount.currency,
            charge.payment_method,
        ),
    )
    row = books.execute("SELECT * FROM charges WHERE place = ?", (cursor.lastrowid,)).fetchone()
    return _become(books, row, outcome, status)


def _become(
    books: sqlite3.Connection, row: sqlite3.Row, outcome: Outcome, status: str | None = None
) -> Outcome:
    """Write down what a charge came to, and say it under the charge's own name."""
    told: tuple[str, str | None, str | None, bool | None]
    match outcome:
        case Succeeded():
            told = ("succeeded", None, None, None)
        case NeedsAction():
            told = ("requires_action", None, None, None)
        case Pending():
            told = ("processing", None, None, None)
        case Declined(code=code, message=message, retryable=retryable):
            word = "canceled" if code == CANCELED else "requires_payment_method"
            told = (status or word, code, message, retryable)
    books.execute(
        "UPDATE charges SET status = ?, code = ?, message = ?, retryable = ? WHERE place = ?",
        (*told, row["place"]),
    )
    return _outcome(
        books.execute("SELECT * FROM charges WHERE place = ?", (row["place"],)).fetchone()
    )


def _outcome(row: sqlite3.Row) -> Outcome:
    intent = _intent(row)
    match row["status"]:
        case "succeeded":
            return Succeeded(intent)
        case "requires_action":
            return NeedsAction(Intent(intent, f"{intent}_secret"))
        case "processing":
            return Pending()
        case _:
            return Declined(row["code"], row["message"], bool(row["retryable"]))


def _repay(books: sqlite3.Connection, repayment: Repayment) -> Outcome:
    row = _by_intent(books, repayment.charge)
    if row is None or row["status"] != "succeeded":
        return Declined("resource_missing", "There is no such payment.", retryable=False)
    (gone,) = books.execute(
        "SELECT coalesce(sum(amount), 0) FROM refunds WHERE charge = ? AND status != 'failed'",
        (row["place"],),
    ).fetchone()
    if repayment.amount.minor > row["amount"] - gone:
        return Declined("charge_already_refunded", "So much is not left of it.", retryable=False)
    outcome = cards.refunded(row["method"])
    if isinstance(outcome, Declined):
        return outcome
    status = "succeeded" if isinstance(outcome, Succeeded) else "pending"
    cursor = books.execute(
        "INSERT INTO refunds (key, charge, refund, amount, status) VALUES (?, ?, ?, ?, ?)",
        (repayment.key, row["place"], repayment.refund, repayment.amount.minor, status),
    )
    return Succeeded(_refund(cursor.lastrowid)) if status == "succeeded" else Pending()


def _intent(row: sqlite3.Row) -> str:
    return f"pi_fake_{row['place']:05}"


def _refund(place: object) -> str:
    return f"re_fake_{place:05}"
