"""A processor that moves no money: for demos, for tests, and until a real one is configured.

It keeps books of its own (`fake_books.py`), in memory or in a file that outlives the process, as a
real one would; so what an invoice says can be held against them after any crash.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path

from counterfoil.adapters.processors import cards
from counterfoil.adapters.processors.fake_books import (
    Booked,
    Books,
    become,
    book,
    booked,
    by_intent,
    by_key,
    outcome_of,
    refund_name,
    repay,
)
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
    Outcome,
    Repayment,
    Succeeded,
)

WITHDRAWN = Declined(CANCELED, "It was withdrawn before any money moved.", retryable=True)


class Fault(Enum):
    """What may go wrong with one request."""

    UNREACHABLE = "it never arrives"
    ANSWER_LOST = "it is obeyed, and nobody hears of it"
    RATE_LIMITED = "it is one too many"
    NOT_LET_IN = "the key is not known"
    SLOW = "it takes its time"


class FakeProcessor:
    """Charges by the name of the payment method, as Stripe does in test mode, or as it is told."""

    def __init__(self, ledger: str | Path = ":memory:", *, slow_s: float = 0.2) -> None:
        self._books = Books(ledger)
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
        with self._books.reading() as books:
            row = by_intent(books, intent)
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
        with self._books.reading() as books:
            return booked(books, invoice or "")

    # --- what a processor does --------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "fake"

    def default_payment_method(self, customer: str) -> str | None:
        return self.methods.get(customer, "pm_card_visa")

    def charge(self, charge: Charge) -> Outcome:
        with self._answering(), self._books.writing() as books:
            row = by_key(books, charge.key)
            if row is None:
                script = self._script
                outcome = script.popleft() if script else cards.charged(charge.payment_method)
                return book(books, charge, outcome)
            if (row["amount"], row["currency"]) != (charge.amount.minor, charge.amount.currency):
                raise Malformed("key", "was used for another charge before")
            return outcome_of(row)

    def retrieve(self, charge: Charge) -> Outcome | None:
        with self._answering(), self._books.reading() as books:
            row = by_key(books, charge.key)
            return None if row is None else outcome_of(row)

    def cancel(self, charge: Charge) -> Outcome:
        with self._answering(), self._books.writing() as books:
            row = by_key(books, charge.key)
            if row is None:
                return book(books, charge, WITHDRAWN, status="forbidden")
            if row["status"] in {"requires_action", "processing"}:
                return become(books, row, WITHDRAWN)
            return outcome_of(row)

    def refund(self, repayment: Repayment) -> Outcome:
        with self._answering(), self._books.writing() as books:
            known = books.execute(
                "SELECT place, status FROM refunds WHERE key = ?", (repayment.key,)
            ).fetchone()
            if known is None:
                return repay(books, repayment)
            # What was pending when it was asked for has come through when it is asked again.
            books.execute(
                "UPDATE refunds SET status = 'succeeded' WHERE place = ?", (known["place"],)
            )
            return Succeeded(refund_name(known["place"]))

    def close(self) -> None:
        self._books.close()

    # --- how --------------------------------------------------------------------------------------

    def _end(self, intent: str, outcome: Outcome | None) -> Outcome:
        with self._books.writing() as books:
            row = by_intent(books, intent)
            if row is None:
                raise NotFound("intent", intent)
            if row["status"] not in {"requires_action", "processing"}:
                return outcome_of(row)
            return become(books, row, outcome or cards.confirmed(row["method"]))

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
