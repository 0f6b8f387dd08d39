"""How would the library's own guide keep invoices and lines? One event, one statement, one commit.

The peer of rebuilds and of live projectors: its ProjectionRunner over its own PostgreSQL recorder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from threading import Event
from time import perf_counter
from typing import Any, LiteralString
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier

from bench.folding import LibraryInvoice, copied
from bench.harness import Sample
from bench.invoices import items
from bench.ledger import FACTS_PER_INVOICE, TERMS
from counterfoil.domain.invoice.commands import DraftInvoice
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.state import fold
from examples import FINALIZE, INVOICE

ANSWER_S_MAX = 300
LINES = 3


class PaidInvoice(LibraryInvoice):
    """The library's invoice, with what happens to one after it was finalized."""

    @event("Sent")
    def send(self, delivery: str, to: str) -> None:
        """It went out."""
        self.sent_to = to

    @event("PaymentSucceeded")
    def succeed(self, payment: str, amount: int) -> None:
        """Money came."""
        self.paid = amount

    @event("Paid")
    def settle(self, reason: str) -> None:
        """Nothing is left to pay."""
        self.reason = reason


class RunBooks(Application[UUID]):
    """The library's own application, with its own settings."""


@dataclass(frozen=True, slots=True)
class Books:
    """The library's log in a database, and its runner over it."""

    app: RunBooks
    settings: dict[str, str]

    def add(self, invoices: int) -> int:
        """Save so many more invoices of eight events, and say where the log ends."""
        drafted = decide(
            DraftInvoice(
                invoice=INVOICE,
                currency="EUR",
                terms=TERMS,
                metadata={"order": "4711"},
                lines=items(LINES),
            ),
            None,
        )
        history = (*drafted, *decide(FINALIZE, fold(drafted)))
        end = 0
        for _ in range(invoices):
            invoice = copied(PaidInvoice, history)
            invoice.send(delivery="mail_1", to="ada@example.com")
            invoice.succeed(payment="bank_1", amount=invoice.totals["total"])
            invoice.settle(reason="payment")
            end = self.app.save(invoice)[-1].notification.id
        return end

    def run(self, name: str, end: int, invoices: int) -> Sample:
        """Have a projection of this name take in the events that it has not seen, up to an end.

        The time is from the first event to the last: what the runner takes to start is not in it.
        """
        done = Event()
        times: list[float] = []
        kind = type(name, (InvoicesProjection,), {"name": name, "watch": (times, done, end)})
        with ProjectionRunner(
            application_class=RunBooks,
            projection_class=kind,
            view_class=InvoicesView,
            env=self.settings,
        ):
            if not done.wait(ANSWER_S_MAX):
                raise TimeoutError("the library's runner does not come to the end")
        return Sample(invoices * FACTS_PER_INVOICE, times[-1] - times[0])


@contextmanager
def books(url: str) -> Iterator[Books]:
    """The library's log in an empty database."""
    said = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": said["dbname"],
        "POSTGRES_HOST": said["host"],
        "POSTGRES_PORT": "",
        "POSTGRES_USER": said["user"],
        "POSTGRES_PASSWORD": "-",  # the server asks for none
    }
    with closing(RunBooks(settings)) as app:
        yield Books(app, settings)


class InvoicesView(PostgresTrackingRecorder):
    """Invoices and lines in tables of their own, with fewer columns and indexes than ours have."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        self._names = {
            kind: Identifier(f"{self.tracking_table_name}_{kind}") for kind in ("invoices", "lines")
        }
        self.sql_create_statements += [self._made(statement) for statement in _TABLES]
        self._queries = {name: self._made(query) for name, query in _QUERIES.items()}

    def _made(self, query: LiteralString) -> Composed:
        return SQL(query).format(**self._names)

    def save(self, query: str, values: Mapping[str, object], tracking: Tracking) -> None:
        """One statement and the position, in one transaction."""
        with self.datastore.get_connection() as connection, connection.transaction():
            cursor = connection.cursor()
            self._insert_tracking(cursor, tracking)
            cursor.execute(self._queries[query], values, prepare=True)


class InvoicesProjection(Projection[InvoicesView]):
    """One upsert for each event."""

    # When the first event came and the last was done; what to say it to; and which one is last.
    watch: tuple[list[float], Event, int]

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Store what the event says."""
        times, done, end = self.watch
        if not times:
            times.append(perf_counter())
        name = type(domain_event).__name__
        values = {"id": domain_event.originator_id, "version": domain_event.originator_version}
        self.view.save(name, {**values, **_TOLD[name](domain_event)}, tracking)
        if tracking.notification_id >= end:
            times.append(perf_counter())
            done.set()


def _drafted(said: Any) -> dict[str, object]:
    terms = said.terms
    return {
        "currency": said.currency,
        "customer_id": terms["customer"]["id"],
        "customer": json.dumps(terms["customer"]),
        "due_date": terms["due_date"],
        "description": terms["description"],
        "metadata": json.dumps(said.metadata),
        "created": said.timestamp,
    }


def _line(said: Any) -> dict[str, object]:
    amounts = ("quantity", "unit_price", "tax_rate", "discount_percent")
    decimals: dict[str, Decimal | None] = {name: getattr(said, name) for name in amounts}
    return {
        **decimals,
        "line": said.line_id,
        "description": said.description,
        "tax_category": said.tax_category,
        "discounted": said.discounted,
        "amount": said.amount,
        "net": said.net,
    }


def _finalized(said: Any) -> dict[str, object]:
    return {
        "number": said.number,
        "issued_on": said.issued_on,
        "seller": json.dumps(said.seller),
        "tax_groups": json.dumps(said.totals["groups"]),
        **{name: said.totals[name] for name in ("subtotal", "discount", "tax", "total")},
        "at": said.timestamp,
    }


_TOLD: Mapping[str, Callable[[Any], dict[str, object]]] = {
    "Drafted": _drafted,
    "LineAdded": _line,
    "Finalized": _finalized,
    "Sent": lambda said: {"at": said.timestamp},
    "PaymentSucceeded": lambda said: {"amount": said.amount},
    "Paid": lambda said: {"at": said.timestamp},
}

_TABLES: tuple[LiteralString, ...] = (
    """
    CREATE TABLE IF NOT EXISTS {invoices} (
        id uuid PRIMARY KEY, version bigint NOT NULL, status text NOT NULL,
        currency text NOT NULL, customer_id text NOT NULL, customer text NOT NULL,
        due_date text, description text, metadata text NOT NULL, created timestamptz NOT NULL,
        number text, issued_on text, seller text, tax_groups text, subtotal bigint,
        discount bigint, tax bigint, total bigint, amount_paid bigint NOT NULL DEFAULT 0,
        finalized_at timestamptz, sent_at timestamptz, paid_at timestamptz
    )
    """,
    "CREATE INDEX ON {invoices} (customer_id, created)",
    "CREATE INDEX ON {invoices} (status, created)",
    "CREATE INDEX ON {invoices} (created)",
    """
    CREATE TABLE IF NOT EXISTS {lines} (
        invoice uuid NOT NULL, id text NOT NULL, place bigint NOT NULL, description text NOT NULL,
        quantity numeric NOT NULL, unit_price numeric NOT NULL, tax_rate numeric NOT NULL,
        tax_category text NOT NULL, discount_percent numeric, discounted bigint NOT NULL,
        amount bigint NOT NULL, net bigint NOT NULL, PRIMARY KEY (invoice, id)
    )
    """,
)
_QUERIES: Mapping[str, LiteralString] = {
    "Drafted": """
        INSERT INTO {invoices} (
            id, version, status, currency, customer_id, customer, due_date, description, metadata,
            created
        ) VALUES (
            %(id)s, %(version)s, 'draft', %(currency)s, %(customer_id)s, %(customer)s,
            %(due_date)s, %(description)s, %(metadata)s, %(created)s
        ) ON CONFLICT (id) DO UPDATE SET version = excluded.version
    """,
    "LineAdded": """
        INSERT INTO {lines} VALUES (
            %(id)s, %(line)s, %(version)s, %(description)s, %(quantity)s, %(unit_price)s,
            %(tax_rate)s, %(tax_category)s, %(discount_percent)s, %(discounted)s, %(amount)s,
            %(net)s
        ) ON CONFLICT (invoice, id) DO UPDATE SET amount = excluded.amount, net = excluded.net
    """,
    "Finalized": """
        UPDATE {invoices} SET version = %(version)s, status = 'open', number = %(number)s,
            issued_on = %(issued_on)s, seller = %(seller)s, tax_groups = %(tax_groups)s,
            subtotal = %(subtotal)s, discount = %(discount)s, tax = %(tax)s, total = %(total)s,
            finalized_at = %(at)s
        WHERE id = %(id)s
    """,
    "Sent": "UPDATE {invoices} SET version = %(version)s, sent_at = %(at)s WHERE id = %(id)s",
    "PaymentSucceeded": """
        UPDATE {invoices} SET version = %(version)s, amount_paid = amount_paid + %(amount)s
        WHERE id = %(id)s
    """,
    "Paid": """
        UPDATE {invoices} SET version = %(version)s, status = 'paid', paid_at = %(at)s
        WHERE id = %(id)s
    """,
}
