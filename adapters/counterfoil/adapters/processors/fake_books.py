"""The books of the fake processor: what was charged and what went back, in SQLite."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from counterfoil.adapters.processors import cards
from counterfoil.domain.errors import ProcessorNotConfigured
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


class Books:
    """A file, or memory, that all requests read and write in turn."""

    def __init__(self, ledger: str | Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                ledger, check_same_thread=False, isolation_level=None, timeout=60
            )
            _hold_no_others(self._connection)
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ProcessorNotConfigured(
                f"{ledger} cannot hold the books of the fake processor: {error}"
            ) from error
        self._connection.row_factory = sqlite3.Row

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look something up."""
        with self._lock:
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all of it or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close them."""
        with self._lock:
            self._connection.close()


def _hold_no_others(books: sqlite3.Connection) -> None:
    """Keep out of the database of a billing."""
    tables = {
        name for (name,) in books.execute("SELECT name FROM sqlite_schema WHERE type='table'")
    }
    if not tables <= {"charges", "refunds"}:
        raise sqlite3.DatabaseError("it is another database")


def booked(books: sqlite3.Connection, invoice: str) -> tuple[Booked, ...]:
    """All charges, or those of one invoice, oldest first."""
    rows = books.execute(
        "SELECT *, (SELECT coalesce(sum(amount), 0) FROM refunds WHERE charge ="
        " charges.place AND status = 'succeeded') AS refunded FROM charges"
        " WHERE ? IN ('', invoice) AND status != 'forbidden' ORDER BY place",
        (invoice,),
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


def by_key(books: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    """The charge of this key."""
    row: sqlite3.Row | None = books.execute(
        "SELECT * FROM charges WHERE key = ?", (key,)
    ).fetchone()
    return row


def by_intent(books: sqlite3.Connection, intent: str) -> sqlite3.Row | None:
    """The charge of this name."""
    named = _INTENT.fullmatch(intent)
    if named is None or intent != f"pi_fake_{int(named[1]):05}":
        return None
    row: sqlite3.Row | None = books.execute(
        "SELECT * FROM charges WHERE place = ?", (int(named[1]),)
    ).fetchone()
    return row


def book(
    books: sqlite3.Connection, charge: Charge, outcome: Outcome, status: str | None = None
) -> Outcome:
    """Write a new charge down, and what it came to."""
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
    return become(books, row, outcome, status)


def become(
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
    return outcome_of(
        books.execute("SELECT * FROM charges WHERE place = ?", (row["place"],)).fetchone()
    )


def outcome_of(row: sqlite3.Row) -> Outcome:
    """What a charge came to."""
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


def repay(books: sqlite3.Connection, repayment: Repayment) -> Outcome:
    """Give money back, if so much is left of the charge."""
    row = by_intent(books, repayment.charge)
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
    return Succeeded(refund_name(cursor.lastrowid)) if status == "succeeded" else Pending()


def _intent(row: sqlite3.Row) -> str:
    return f"pi_fake_{row['place']:05}"


def refund_name(place: object) -> str:
    """What a refund is called."""
    return f"re_fake_{place:05}"
