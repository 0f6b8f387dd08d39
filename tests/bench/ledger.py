"""A log of many invoices, as years of business leave it: the facts of a few, under new names.

Nothing decides here and no hash is a chain's, so that a million facts are there in seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import psycopg

from bench.invoices import items
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import microseconds
from counterfoil.adapters.ids import new_id
from counterfoil.domain.invoice.commands import (
    DraftInvoice,
    InvoiceCommand,
    MarkUncollectible,
    RecordPayment,
    VoidInvoice,
)
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import InvoiceEvent, Terms
from counterfoil.domain.invoice.state import Invoice, Issued, fold
from counterfoil.domain.party import Address, Customer
from examples import FINALIZE, INVOICE, SEND, record

TENANT = "acme"
FACTS_PER_INVOICE = 8
# So many invoices are drafted, then all of them finalized and sent, then all of them paid: what
# happens to one of them does not stand together in the log.
BLOCK = 500
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PER_INVOICE = timedelta(milliseconds=8)

CUSTOMER = Customer(
    id="cus_1",
    name="Ada Lovelace GmbH",
    email="billing@example.com",
    tax_id="DE123456789",
    address=Address(line1="Unter den Linden 1", postal_code="10117", city="Berlin", country="DE"),
)
TERMS = Terms(customer=CUSTOMER, due_date=date(2026, 4, 1), description="Consulting in March")

# What stands in the facts of the one invoice, and is another in each that is made of it.
_NAMES = (b'"inv_1"', b'"cus_1"', b'"INV-2026-0001"', b'"bank_1"')


class Told(NamedTuple):
    """One fact of the one invoice, and which names stand in it."""

    type: str
    body: bytes
    names: tuple[int, ...]


# What happens to an invoice at once, then what happens later, and so on.
Life = tuple[tuple[Told, ...], ...]


# A command, or one that depends on the invoice.
Command = InvoiceCommand | Callable[[Invoice | None], InvoiceCommand]


def life(lines: int, *later: Sequence[Command]) -> Life:
    """The facts of an invoice of so many lines, and of what it is told later."""
    drafted = DraftInvoice(
        invoice=INVOICE,
        currency="EUR",
        terms=TERMS,
        metadata={"order": "4711"},
        lines=items(lines),
    )
    invoice: Invoice | None = None
    phases: list[tuple[Told, ...]] = []
    steps: tuple[Sequence[Command], ...] = ((drafted,), *later)
    for commands in steps:
        facts: tuple[InvoiceEvent, ...] = ()
        for command in commands:
            made = decide(command(invoice) if callable(command) else command, invoice)
            invoice = fold(made, invoice)
            facts += made
        phases.append(tuple(map(_told, facts)))
    return tuple(phases)


def _told(fact: InvoiceEvent) -> Told:
    body = Codec().encode(fact)
    there = tuple(place for place, name in enumerate(_NAMES) if name in body)
    return Told(fact.stored_as, body, there)


def pay(invoice: Invoice | None) -> RecordPayment:
    """All that is left to pay."""
    assert isinstance(invoice, Issued)
    return record(amount=invoice.amount_remaining)


# Drafted, three lines; finalized, sent; a payment, paid: eight facts.
PAID_UP = life(3, (FINALIZE, SEND), (pay,))
# One of twenty is a draft, one open, one void, one uncollectible, and all others are paid.
MIXED = (
    life(1),
    life(1, (FINALIZE,)),
    life(1, (FINALIZE,), (VoidInvoice(),)),
    life(1, (FINALIZE,), (MarkUncollectible(),)),
    *[life(1, (FINALIZE,), (pay,))] * 16,
)


@dataclass(slots=True)
class Ledger:
    """Invoices made so far; each list of facts goes on where the one before it ended."""

    lives: Sequence[Life] = (PAID_UP,)
    customers: int = 1_000
    block: int = BLOCK
    position: int = 0
    ids: list[str] = field(default_factory=list)

    def rows(self, invoices: int) -> Iterator[tuple[object, ...]]:
        """Rows of facts in the order of the log, of so many more invoices."""
        for done in range(0, invoices, self.block):
            yield from self._block(min(self.block, invoices - done))

    def customer(self, number: int) -> str:
        """The name of the customer of this invoice."""
        return f"cus_{number % self.customers}"

    def _block(self, invoices: int) -> Iterator[tuple[object, ...]]:
        first = len(self.ids)
        numbers = range(first, first + invoices)
        moments = [BEGAN + number * PER_INVOICE for number in numbers]
        self.ids += [new_id("in", moment) for moment in moments]
        known = [self._names(number) for number in numbers]
        lives = [self.lives[number % len(self.lives)] for number in numbers]
        for phase in range(max(map(len, lives))):
            for place, told in enumerate(lives):
                if phase < len(told):
                    names, at = known[place], microseconds(moments[place]) + phase
                    yield from self._phase(told[phase], told[:phase], names, at)

    def _names(self, number: int) -> tuple[str, ...]:
        return (self.ids[number], self.customer(number), f"INV-2026-{number:06}", f"pay_{number}")

    def _phase(
        self, facts: Sequence[Told], before: Sequence[Sequence[Told]], names: Sequence[str], at: int
    ) -> Iterator[tuple[object, ...]]:
        version = sum(map(len, before))
        for version, (type_name, body, there) in enumerate(facts, version + 1):  # noqa: B020
            for place in there:
                body = body.replace(_NAMES[place], f'"{names[place]}"'.encode())  # noqa: PLW2901
            self.position += 1
            yield (
                *(self.position, TENANT, names[0], version, type_name, body, at),
                *("user", "u_bench", names[0], None, None, GENESIS),
            )


def fill_postgres(url: str, ledger: Ledger, invoices: int) -> None:
    """Store so many more invoices, and have the server look after its table."""
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in ledger.rows(invoices):
                copy.write_row(row)
        connection.execute("VACUUM (ANALYZE) facts")


def fill_sqlite(path: str, ledger: Ledger, invoices: int) -> None:
    """Store so many more invoices, in one transaction."""
    places = ", ".join("?" * len(_TYPES))
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(f"INSERT INTO facts VALUES ({places})", ledger.rows(invoices))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_COPY = "COPY facts FROM STDIN (FORMAT BINARY)"
_TYPES = (
    *("int8", "text", "text", "int8", "text", "bytea", "int8"),
    *("text", "text", "text", "text", "text", "bytea"),
)
