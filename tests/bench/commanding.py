"""How long does one caller wait for a whole command: load an invoice, decide, save, be answered?

A sample's time is the median of its commands, times their number: a caller is asked how long he
waits, not how often a disk hiccups. Every command meets an invoice of eight facts that no command
met before; they are made before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, cast
from uuid import UUID

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import event
from psycopg.conninfo import conninfo_to_dict

from bench.folding import LibraryInvoice, copied
from bench.harness import Contender, Pair, Role, Sample
from bench.postgres_saving import ACTOR, RAW_INSERT, our_schema, raw_schema
from bench.saving import FACTS, TENANT
from bench.server import SLOWER_US, database, server
from counterfoil.adapters.desk import Decided, Desk, Request
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.ids import new_id
from counterfoil.adapters.read_models.postgres import PostgresStore
from counterfoil.adapters.tenant.office import existing
from counterfoil.billing import Billing, utc_now
from counterfoil.domain.invoice.commands import SetMetadata
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.state import fold
from counterfoil.domain.ports import Append, Origin, Stream, Transaction
from counterfoil.domain.value import Event
from counterfoil.projections.keeping import Projections

if TYPE_CHECKING:
    from counterfoil.domain.invoice.events import InvoiceEvent

# One command on the invoice of this name, as the caller waits for it.
Command = Callable[[str], object]
# Makes so many new invoices and names them.
Ready = Callable[[int], Sequence[str]]
Opens = Callable[[str], AbstractContextManager[tuple[Ready, Command]]]

METADATA = {"order": "4711"}


@contextmanager
def commands(
    count: int, *, name: str, ours: Opens, slower_us: int
) -> Iterator[Sequence[Contender]]:
    """So many commands in a sample, one after the other."""
    with server(slower_us) as url, ExitStack() as stack:

        def contender(name: str, role: Role, opens: Opens) -> Contender:
            own = stack.enter_context(database(url, role))
            ready, command = stack.enter_context(opens(own))
            return Contender(name, role, partial(sample, count, ready, command))

        yield (
            contender(name, "ours", ours),
            contender("library's Aggregate", "peer", library),
            contender("psycopg alone", "limit", raw),
        )


def sample(count: int, ready: Ready, command: Command) -> Sample:
    """The median of so many commands, for each of them."""
    took = []
    for invoice in ready(count):
        began = perf_counter()
        command(invoice)
        took.append(perf_counter() - began)
    return Sample(count, count * median(took))


@contextmanager
def desk(url: str) -> Iterator[tuple[Ready, Command]]:
    """What happens behind the front door: load, decide, save."""
    our_schema(url)
    with closing(PostgresLog(url)) as log:
        clerk = Desk(log, TENANT, utc_now, new_id, Projections(PostgresStore(log)))

        def command(invoice: str) -> object:
            def decided(transaction: Transaction) -> Decided:
                stream = transaction.read(invoice)
                facts = decide(SetMetadata(metadata=METADATA), existing(stream))
                return Decided([Append(stream, facts)], invoice)

            said = {"invoice": invoice, "metadata": METADATA}
            return clerk.obey(Request("set_metadata", said, {}), decided)

        yield partial(our_invoices, log), command


@contextmanager
def door(url: str) -> Iterator[tuple[Ready, Command]]:
    """The front door: the same, and then the invoice as it is now."""
    our_schema(url)
    with Billing.open(url) as billing:
        tenant = billing.tenant(TENANT)
        log = cast("PostgresLog", billing.log)
        yield (
            partial(our_invoices, log),
            lambda invoice: tenant.set_metadata(invoice, METADATA),
        )


def our_invoices(log: PostgresLog, count: int) -> Sequence[str]:
    """New invoices in our log."""
    now = datetime.now(UTC)
    names = [new_id("in", now) for _ in range(count)]
    with log.transaction(TENANT) as transaction:
        appends = [Append(Stream(name, (), 0, GENESIS), FACTS) for name in names]
        transaction.append(appends, Origin(now, ACTOR, new_id("cmd", now)), None)
    return names


class LibraryBooks(Application[UUID]):
    """The library's own application, with its own settings."""


class CommandedInvoice(LibraryInvoice):
    """The library's invoice, with the one command that is measured."""

    @event("MetadataSet")
    def set_metadata(self, metadata: dict[str, str]) -> None:
        """Merge into the metadata."""
        self.metadata = {**self.metadata, **metadata}


@contextmanager
def library(url: str) -> Iterator[tuple[Ready, Command]]:
    """The library's own guide: get the aggregate from the repository, call it, save it."""
    said = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": said["dbname"],
        "POSTGRES_HOST": said["host"],
        "POSTGRES_PORT": "",
        "POSTGRES_USER": said["user"],
        "POSTGRES_PASSWORD": "-",  # the server asks for none
    }
    with closing(LibraryBooks(settings)) as books:

        def ready(count: int) -> Sequence[str]:
            invoices = [copied(CommandedInvoice, FACTS) for _ in range(count)]
            books.save(*invoices)
            return [str(invoice.id) for invoice in invoices]

        def command(name: str) -> object:
            invoice: CommandedInvoice = books.repository.get(UUID(name))
            invoice.set_metadata(METADATA)
            return books.save(invoice)

        yield ready, command


@contextmanager
def raw(url: str) -> Iterator[tuple[Ready, Command]]:
    """One SELECT, our decoding and rules, one INSERT that commits by itself; no chain, no order."""
    raw_schema(url)
    codec = Codec()
    with psycopg.connect(url, autocommit=True) as connection:

        def store(streams: list[str], versions: list[int], facts: Sequence[Event]) -> None:
            now = datetime.now(UTC)
            connection.cursor(binary=True).execute(
                RAW_INSERT,
                (
                    *(TENANT, int(now.timestamp() * 1e6), ACTOR.type.value, ACTOR.id),
                    *(new_id("cmd", now), streams, versions),
                    [fact.stored_as for fact in facts],
                    [codec.encode(fact) for fact in facts],
                    [GENESIS] * len(facts),
                ),
                prepare=True,
            )

        def ready(count: int) -> Sequence[str]:
            names = [new_id("in", datetime.now(UTC)) for _ in range(count)]
            streams = [name for name in names for _ in FACTS]
            store(streams, [*range(1, len(FACTS) + 1)] * count, FACTS * count)
            return names

        def command(invoice: str) -> None:
            cursor = connection.cursor(binary=True)
            cursor.execute(RAW_SELECT, (TENANT, invoice), prepare=True)
            facts = [
                codec.decode(type_name, body, stream=invoice, position=position)
                for position, _, type_name, body in cursor
            ]
            current = fold(cast("list[InvoiceEvent]", facts))
            decided = decide(SetMetadata(metadata=METADATA), current)
            store([invoice], [len(facts) + 1], decided)

        yield ready, command


RAW_SELECT = """
SELECT position, version, type, body FROM facts
WHERE tenant = %s AND stream = %s ORDER BY version
"""

SECONDS = (
    "The peer checks no value and keeps the library's order; the limit decodes and decides as "
    "ours does, and stores whole rows, but keeps no order and chains no hash."
)
PAIRS = (
    Pair(
        name="command-pg",
        job="load an invoice of 8 facts from PostgreSQL, decide, save 1 fact",
        unit="command",
        size=60,
        setup=partial(commands, name="Desk.obey", ours=desk, slower_us=SLOWER_US),
        note=f"Target: 0.59 of the limit. {SECONDS} A flush takes 2 ms.",
    ),
    Pair(
        name="command-pg-bare",
        job="the same on the disk as it is",
        unit="command",
        size=60,
        setup=partial(commands, name="Desk.obey", ours=desk, slower_us=0),
        note=f"Target: 0.59 of the limit. {SECONDS}",
    ),
    Pair(
        name="door-pg",
        job="the same by the front door, which returns the invoice",
        unit="command",
        size=60,
        setup=partial(commands, name="Tenant", ours=door, slower_us=SLOWER_US),
        note=f"Ours loads the invoice once more for its answer. {SECONDS} A flush takes 2 ms.",
    ),
    Pair(
        name="door-pg-bare",
        job="the same on the disk as it is",
        unit="command",
        size=60,
        setup=partial(commands, name="Tenant", ours=door, slower_us=0),
        note=f"Ours loads the invoice once more for its answer. {SECONDS}",
    ),
)
