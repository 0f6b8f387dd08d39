"""Databases in which things happen: random lives of tenants, and everything that the tables hold.

A life is drawn once and lived in several databases, with the same ids and the same times, so that
what their tables hold can be compared cell by cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import psycopg
from hypothesis import strategies as st

from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.read_models.postgres import PostgresStore
from counterfoil.adapters.read_models.sqlite import SQLiteStore
from counterfoil.billing import Billing, Tenant
from counterfoil.domain import Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import Conflict, Malformed, NotFound, Rejected
from counterfoil.domain.invoice import decisions
from counterfoil.domain.invoice.commands import InvoiceCommand, RecordDocument
from counterfoil.domain.invoice.events import InvoiceEvent, PaymentRefunded, PaymentSucceeded
from counterfoil.domain.invoice.state import fold
from counterfoil.domain.ports import Append, Origin
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.projection import Projection, Row, Table
from counterfoil.projections.store import Store
from examples import (
    STORED,
    attempt,
    attempt_refund,
    fail,
    fail_refund,
    refund,
    require_action,
    succeed,
    told,
)
from support import databases

if TYPE_CHECKING:
    from support.databases import Place

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SELLER = Seller(name="Northwind")
CUSTOMERS = (
    Customer(id="cus_1", name="Ada GmbH", email="ada@example.com"),
    Customer(id="cus_2", name="Zoë & Söhne 😀", email="zoe@example.com", tax_id="DE1"),
    Customer(id="cus_3", name='Quote" \\ Sons', email="q@example.com"),
)
TAXES = (
    Tax(rate="19"),
    Tax(rate="7", inclusive=True),
    Tax(rate="0", category="zero"),
    Tax(rate="0", category="exempt", exemption_reason="§ 4 UStG"),
)
TABLES: tuple[tuple[Projection, Table], ...] = tuple(
    (projection, table) for projection in PROJECTIONS.values() for table in projection.tables
)
REFUSED = (Rejected, NotFound, Malformed)

# A table as it stands: its rows, in the order of its key.
Dump = Mapping[str, Sequence[Row]]


class Ids:
    """Ids that every database gives in the same order."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, prefix: str, now: datetime) -> str:
        self.count += 1
        return f"{prefix}_{self.count:06d}"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """A database, its clock, and the documents that were made in it, by tenant."""

    billing: Billing
    url: str
    clock: Clock
    ids: Ids
    invoices: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The database, as the projections see it."""
        log = self.billing.log
        return SQLiteStore(log) if isinstance(log, SQLiteLog) else PostgresStore(log)

    def live(self, life: Iterable[Step], tenant: str = "") -> int:
        """Let all of it happen, and say how much was not refused."""
        return sum(self.happen(step, tenant) for step in life)

    def happen(self, step: Step, prefix: str = "") -> bool:
        """Let one thing happen, unless it is refused."""
        name = f"{prefix}{'ab'[step.tenant]}"
        try:
            _happen(self, self.billing.tenant(name), name, step)
        except REFUSED:
            return False
        return True


@contextmanager
def opened(url: str, projections: str | None = None) -> Iterator[World]:
    """Open a database as a world."""
    clock, ids = Clock(), Ids()
    with Billing.open(url, seller=SELLER, clock=clock, ids=ids, projections=projections) as billing:
        yield World(billing, url, clock, ids)


# --- copies ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lived:
    """Fills a database with a life."""

    life: Callable[[World], object]
    projections: str | None

    def __call__(self, url: str) -> None:
        with opened(url, self.projections) as world:
            self.life(world)
            _STOOD[self] = world


# Each life, and the world as it stood after it, in whichever database.
_STOOD: dict[_Lived, World] = {}


@contextmanager
def after(
    life: Callable[[World], object], place: Place, projections: str | None = None
) -> Iterator[World]:
    """Open a database of its own in which a life was lived, as if this had been the world."""
    lived = _Lived(life, projections)
    with databases.copied(lived, place) as url, opened(url) as world:
        stood = _STOOD[lived]
        world.clock.now, world.ids.count = stood.clock.now, stood.ids.count
        world.invoices = {name: [*ids] for name, ids in stood.invoices.items()}
        world.notes = {name: [*ids] for name, ids in stood.notes.items()}
        yield world


def full(world: World) -> None:
    """All of the full life."""
    assert world.live(FULL_LIFE) > 40


# --- lives ----------------------------------------------------------------------------------


class Step(NamedTuple):
    """Something that a tenant does: to which document, and how much of it."""

    tenant: int
    what: str
    which: int
    how: int


WHAT = (
    "draft", "draft", "draft", "add", "change", "remove", "discount", "amend", "metadata",
    "discard", "finalize", "finalize", "finalize", "send", "pay", "pay", "overpay", "give up",
    "void", "credit", "credit all", "split", "void credit", "reconcile", "attempt", "confirm",
    "fail", "succeed", "hear", "refund", "ask back", "no refund", "give back", "come back",
    "document", "later", "later",
)  # fmt: skip
steps = st.builds(
    Step, st.integers(0, 1), st.sampled_from(WHAT), st.integers(0, 5), st.integers(0, 11)
)
# What every life begins with, so that few are empty.
BEGINNING = (
    Step(0, "draft", 0, 3), Step(0, "finalize", 0, 0), Step(1, "draft", 0, 7),
    Step(0, "draft", 0, 5), Step(1, "finalize", 0, 0),
)  # fmt: skip
lives = st.lists(steps, min_size=15, max_size=45).map(lambda drawn: (*BEGINNING, *drawn))

# Everything there is, in two tenants: every table gets rows, and most columns a value.
FULL_LIFE = tuple(
    Step(tenant, what, which, how)
    for tenant in (1, 0)
    for what, which, how in (
        ("draft", 0, 3), ("draft", 0, 7), ("draft", 0, 11), ("draft", 0, 0), ("draft", 0, 1),
        ("draft", 0, 9), ("discount", 3, 4), ("metadata", 0, 1), ("amend", 1, 2), ("discard", 4, 0),
        ("finalize", 0, 0), ("finalize", 1, 0), ("finalize", 2, 0), ("finalize", 5, 0),
        ("send", 0, 0), ("later", 0, 5), ("attempt", 0, 0), ("confirm", 0, 0), ("fail", 0, 0),
        ("pay", 0, 2), ("attempt", 0, 1), ("succeed", 0, 1), ("ask back", 0, 4),
        ("no refund", 0, 4), ("ask back", 0, 10), ("refund", 0, 1), ("no refund", 0, 1),
        ("refund", 0, 7), ("later", 0, 9),
        ("overpay", 1, 3), ("split", 1, 2), ("credit", 2, 5), ("credit", 5, 4),
        ("void credit", 1, 0), ("give up", 2, 0), ("reconcile", 5, 2), ("later", 0, 9),
        ("draft", 0, 3), ("finalize", 6, 0), ("void", 6, 0), ("document", 0, 1),
        ("draft", 0, 3), ("finalize", 7, 0), ("pay", 7, 1), ("give back", 7, 0), ("pay", 7, 0),
        ("come back", 7, 0),
    )
)  # fmt: skip


def _line(how: int, name: str) -> NewLine:
    return NewLine(
        description=f"Wörk {name}",
        quantity=("1", "2.5", "0.333")[how % 3],
        unit_price=("0.00", "19.99", "100.00", "3.14159")[how % 4],
        tax=TAXES[how % 4],
        discount=(None, Discount(percent="12.5"), Discount(amount="0.01"))[
            how % 3 if how % 4 else 0
        ],
    )


def _happen(world: World, tenant: Tenant, name: str, step: Step) -> None:
    invoices = world.invoices.setdefault(name, [])
    which, how = step.which, step.how
    if step.what == "draft":
        invoice = tenant.draft_invoice(
            customer=CUSTOMERS[how % 3],
            currency=("EUR", "USD")[how % 5 == 4],
            lines=[_line(how + place, str(place)) for place in range(how % 4)],
            tax_rounding=("per_group", "per_line")[how % 2],
            days_until_due=how * 3 if how % 2 else None,
            subscription="sub_1" if how % 3 == 0 else None,
            period_start=NOON.date() if how % 4 == 3 else None,
            period_end=NOON.date() + timedelta(days=30) if how % 4 == 3 else None,
            description="October" if how > 2 else None,
            metadata={"order": str(how), "a": "b"} if how % 2 else {},
        )
        invoices.append(invoice.id)
    elif step.what == "later":
        world.clock.now += timedelta(days=how // 2, microseconds=how * 1234567)
    elif step.what == "void credit":
        notes = world.notes.setdefault(name, [])
        if notes:
            tenant.void_credit_note(notes[which % len(notes)], reason="no")
    elif invoices:
        _happen_to(world, tenant, name, invoices[which % len(invoices)], step)


def _happen_to(world: World, tenant: Tenant, name: str, invoice: str, step: Step) -> None:
    what, how = step.what, step.how
    match what:
        case "add":
            new = _line(how, "more")
            tenant.add_line(invoice, **dict(new))
        case "change" | "remove":
            lines = tenant.get_invoice(invoice).lines
            if lines and what == "change":
                tenant.change_line(invoice, lines[how % len(lines)].id, quantity=how)
            elif lines:
                tenant.remove_line(invoice, lines[how % len(lines)].id)
        case "discount":
            given = (None, Discount(percent=how), Discount(amount=Decimal(how)))[how % 3]
            tenant.set_discount(invoice, given)
        case "amend":
            tenant.amend_draft(
                invoice,
                customer=CUSTOMERS[how % 3],
                footer="Thanks",
                seller=Seller(id="branch", name="Branch") if how % 2 else None,
            )
        case "metadata":
            tenant.set_metadata(invoice, {"a": ("", "x", "ü")[how % 3], f"k{how}": "v"})
        case "discard":
            tenant.delete_draft(invoice)
        case "finalize":
            tenant.finalize_invoice(invoice)
        case "send":
            tenant.send_invoice(invoice)
        case "pay":
            left = tenant.get_invoice(invoice).amount_remaining
            tenant.record_payment(
                invoice, amount=_share(left, how % 4 + 1), reference="wire", received_at=NOON
            )
        case "overpay":
            left = tenant.get_invoice(invoice).amount_remaining
            tenant.record_payment(invoice, amount=_euros(left + 100 * how))
        case "give back" | "come back":
            _back(world, tenant, name, invoice, step)
        case "give up":
            tenant.mark_uncollectible(invoice, reason="gone")
        case "void":
            tenant.void_invoice(invoice)
        case "credit" | "credit all" | "split":
            _credit(world, tenant, name, invoice, step)
        case "reconcile":
            tenant.reconcile_invoice(
                invoice,
                status=("open", "paid", "uncollectible", "void")[how % 4],
                provider_event_id=f"evt_{how}",
                occurred_at=NOON,
            )
        case _:
            obey(world.billing, world.clock.now, name, invoice, _commands(how)[what])


def _back(world: World, tenant: Tenant, name: str, invoice: str, step: Step) -> None:
    facts = [one.fact for one in world.billing.log.read(name, invoice)]
    came = [one.payment for one in facts if isinstance(one, PaymentSucceeded)]
    went = [one.refund for one in facts if isinstance(one, PaymentRefunded)]
    if step.what == "give back" and came:
        amount = None if step.how % 3 else Decimal(1)
        payment = came[step.how % len(came)]
        tenant.refund_payment(invoice, payment=payment, amount=amount, reference="cash")
    if step.what == "come back" and went:
        refund = went[step.how % len(went)]
        obey(world.billing, world.clock.now, name, invoice, fail_refund(refund))


def _credit(world: World, tenant: Tenant, name: str, invoice: str, step: Step) -> None:
    total = tenant.get_invoice(invoice).total
    if step.what == "credit all":
        note = tenant.issue_credit_note(invoice, reason="returned")
    elif step.what == "credit":
        note = tenant.issue_credit_note(
            invoice, amount=_share(total, step.how % 5 + 2), reason="bad"
        )
    else:
        preview = tenant.preview_credit_note(invoice, amount=_share(total, 2))
        after = preview.credit.total - preview.before_payment
        parts = (after // 3, after // 2 - after // 3, after - after // 2)
        refund, credit, out = map(_euros, parts)
        note = tenant.issue_credit_note(
            invoice,
            amount=_share(total, 2),
            refund=refund,
            customer_credit=credit,
            out_of_band=out,
        )
    world.notes.setdefault(name, []).append(note.id)


def _share(amount: int, of: int) -> Decimal:
    return _euros(amount // of)


def _euros(amount: int) -> Decimal:
    return Decimal(amount) / 100


def _commands(how: int) -> Mapping[str, InvoiceCommand]:

    payment = ("pay_1", "pay_2", "pay_3")[how % 3]
    return {
        "attempt": attempt(payment, None if how % 2 else 1),
        "confirm": require_action(payment),
        "fail": fail(payment),
        "succeed": succeed(payment),
        "hear": (
            require_action(payment, f"pi_{how}", told(f"evt_pay_{how}")),
            fail(payment, news=told(f"evt_pay_{how}")),
            succeed(payment, news=told(f"evt_pay_{how}")),
        )[how // 3 % 3],
        "ask back": attempt_refund(payment, f"ref_{how}", None if how % 2 else 1),
        "no refund": fail_refund(f"ref_{how}"),
        "refund": refund(payment, f"ref_{how}", None if how % 2 else 1).model_copy(
            update={"reason": "sorry", "reference": f"re_{how}"}
        ),
        "document": RecordDocument(document=STORED),
    }


def obey(
    billing: Billing, now: datetime, tenant: str, invoice: str, command: InvoiceCommand
) -> None:
    """Obey a command that the front door does not offer yet."""
    origin = Origin(recorded_at=now, actor=Actor(type="system", id="t"), command_id="cmd")
    for attempt_left in reversed(range(10)):
        try:
            with billing.log.transaction(tenant) as transaction:
                stream = transaction.read(invoice)
                facts = cast("Sequence[InvoiceEvent]", stream.facts)
                made = decisions.decide(command, fold(facts))
                transaction.append([Append(stream, made)], origin, None)
                return
        except Conflict:
            if not attempt_left:
                raise


# --- what is there --------------------------------------------------------------------------


def rows(world: World, query: str, values: Mapping[str, object] | None = None) -> list[Row]:
    """The rows that a query finds, its values written `:name`, as plain tuples."""
    with world.store.reading() as session:
        return [tuple(row) for row in session.select(query, values or {})]


def dump(world: World) -> Dump:
    """All rows of all tables, in the order of their keys; slots that are empty left out."""
    with world.store.reading() as session:
        return {
            table.name: [
                tuple(row)
                for row in session.select(
                    f"SELECT {', '.join(table.names)} FROM {table.name}"
                    f" ORDER BY {', '.join(table.key)}",
                    {},
                )
                if not (table.adds and row[-1] == 0)
            ]
            for _, table in TABLES
        }


def tables(world: World) -> set[str]:
    """The names of all tables and indexes that the database has, marks of rebuilds left out."""
    if "://" in world.url:
        query = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        query += " AND relkind = 'r'"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    return {str(name) for (name,) in rows(world, query)}


def execute(world: World, query: str, values: Mapping[str, object] | None = None) -> int:
    """Change the database behind everybody's back."""
    with world.store.writing() as session:
        return session.execute(query, values or {})


def differences(world: World, *names: str) -> list[str]:
    """What a verification says."""
    return [str(one) for one in world.billing.projections.verify(*names).differences]


def insert_fact(
    world: World, tenant: str, stream: str, type_name: str, body: bytes, *, at: int = 1
) -> int:
    """Put a fact into the log behind the front door's back, and return its position."""
    found = rows(
        world,
        "SELECT coalesce(max(version), 0) FROM facts WHERE tenant = :tenant AND stream = :stream",
        {"tenant": tenant, "stream": stream},
    )
    last = rows(world, "SELECT coalesce(max(position), 0) FROM facts")
    version, position = cast("int", found[0][0]) + 1, cast("int", last[0][0]) + 1
    columns = (
        "position, tenant, stream, version, type, body, recorded_at, actor_type, actor_id,"
        " command_id, hash"
    )
    execute(
        world,
        f"INSERT INTO facts ({columns}) VALUES (:position, :tenant, :stream, :version, :type,"
        " :body, :at, 'system', 'test', 'cmd', :hash)",
        {
            "position": position,
            "tenant": tenant,
            "stream": stream,
            "version": version,
            "type": type_name,
            "body": body,
            "at": at,
            "hash": bytes(32),
        },
    )
    return position


def delete_fact(world: World, position: int) -> None:
    """Take a fact out of the log, which nobody may."""
    if "://" in world.url:
        with psycopg.connect(world.url) as connection:
            connection.execute("ALTER TABLE facts DISABLE TRIGGER ALL")
            connection.execute("DELETE FROM facts WHERE position = %s", (position,))
            connection.execute("ALTER TABLE facts ENABLE TRIGGER ALL")
        return
    ((made,),) = rows(world, "SELECT sql FROM sqlite_master WHERE name = 'facts_are_not_deleted'")
    execute(world, "DROP TRIGGER facts_are_not_deleted")
    execute(world, "DELETE FROM facts WHERE position = :position", {"position": position})
    execute(world, str(made))


def sqlite(folder: Path, name: str = "log.db") -> str:
    """The address of a new SQLite database."""
    url = str(folder / name)
    Billing.init(url)
    return url
