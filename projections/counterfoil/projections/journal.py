"""The books: what every fact moved between accounts, its debits always equal to its credits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from counterfoil.domain.errors import NotFound
from counterfoil.projections.invoice import View
from counterfoil.projections.invoice_fold import Books, FoldedInvoice
from counterfoil.projections.paging import moment, moment_of, sayable
from counterfoil.projections.projection import (
    Index,
    Projection,
    Question,
    Row,
    Table,
    integer,
    text,
)
from counterfoil.projections.store import Store
from counterfoil.projections.totals import halves, wholes

TABLE = Table(
    "journal",
    (
        *text("tenant", "invoice"),
        *integer("version"),
        *text("account", "currency", "customer_id"),
        *integer("debit", "credit", "at"),
    ),
    key=("tenant", "invoice", "version", "account"),
    indexes=(Index("tenant, at, invoice, version"), Index("tenant, account, currency, at")),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    rows = []
    tenant, id, currency = invoice.tenant, invoice.id, invoice.currency
    before = Books()
    for version, at, books in invoice.books:
        for account, was, now in zip(Books._fields, before, books, strict=True):
            moved = now - was
            if moved:
                debit, credit = (moved, 0) if moved > 0 else (0, -moved)
                customer = invoice.customer.id
                rows.append((tenant, id, version, account, currency, customer, debit, credit, at))
        before = books
    return (rows,)


PROJECTION = Projection("journal", 2, "invoice", (TABLE,), _rows, reads_books=True)


# --- asked ------------------------------------------------------------------------------------


class Entry(View):
    """One line of the books: what one fact of an invoice moved into or out of an account."""

    invoice: str
    version: int
    account: str
    currency: str
    customer: str
    debit: int
    credit: int
    at: datetime


class Balance(View):
    """What an account holds: debits less credits."""

    account: str
    currency: str
    debit: int
    credit: int
    balance: int


class Journal:
    """The books of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def entries(self, invoice: str) -> tuple[Entry, ...]:
        """Everything that an invoice's facts moved, in their order."""
        if not sayable(invoice):
            raise NotFound("invoice")
        (rows,) = self._store.ask(
            Question(
                f"SELECT {', '.join(TABLE.names[1:])} FROM journal"
                " WHERE tenant = :tenant AND invoice = :invoice ORDER BY version, account",
                {"tenant": self._tenant, "invoice": invoice},
            )
        )
        return tuple(
            Entry(**dict(zip(Entry.model_fields, (*row[:-1], moment(row[-1])), strict=True)))
            for row in rows
        )

    def balances(self, *, at: datetime | None = None) -> tuple[Balance, ...]:
        """What every account holds now, or held at a moment."""
        upto = None if at is None else moment_of("at", at)
        until = "" if at is None else " AND at <= :at"
        (rows,) = self._store.ask(
            Question(
                f"SELECT account, currency, {halves('debit')}, {halves('credit')} FROM journal"
                f" WHERE tenant = :tenant{until} GROUP BY currency, account"
                " ORDER BY currency, account",
                {"tenant": self._tenant, "at": upto},
            )
        )
        return tuple(_balance(*row[:2], *wholes(row[2:])) for row in rows)


def _balance(account: str, currency: str, debit: int, credit: int) -> Balance:
    return Balance(
        account=account, currency=currency, debit=debit, credit=credit, balance=debit - credit
    )
