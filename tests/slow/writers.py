"""What the processes of the chaos tests do. Each writes a line to its file after every answer.

A line is written in one call to the kernel, so it is there if the answer was, whatever kills the
process afterwards; and nothing is acknowledged that the front door did not answer.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Reason, Seller, Tax
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import Conflict, Rejected, Unavailable
from counterfoil.domain.invoice.events import MetadataSet
from counterfoil.domain.ports import Append, Origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from counterfoil.adapters.tenant import Tenant
    from counterfoil.domain.value import Event
    from counterfoil.projections.credit_note import CreditNote
    from counterfoil.projections.invoice import Invoice

SELLER = Seller(name="Northwind")
ADA = Customer(id="cus_1", name="Ada", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
BOOK = NewLine(description="Book", quantity="1", unit_price="7.00", tax=Tax(rate="7"))
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chaos:
    """What goes wrong besides being killed."""

    lock_timeout_ms: int | None = None
    rollbacks: float = 0.0


class Notes:
    """The file in which a writer says what was answered."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        """One line, in one write."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


def day_of(began: float) -> Callable[[], datetime]:
    """A clock on which a day passes in a second."""
    return lambda: FIRST_DAY + timedelta(days=time.time() - began)


@dataclass(frozen=True, slots=True)
class Work:
    """How many invoices of a tenant a writer of this name finalizes, on a clock begun then."""

    tenant: str
    name: str
    count: int
    began: float


def finalize_all(url: str, work: Work, notes: Path, chaos: Chaos) -> None:
    """Finalize invoices, going on where a killed writer of this name stopped."""
    if "://" in url and chaos.lock_timeout_ms is not None:
        url += f"&options=-c%20lock_timeout%3D{chaos.lock_timeout_ms}ms"
    told = Notes(notes)
    done = notes.read_text().count(" answered ")
    with Billing.open(url, seller=SELLER, clock=day_of(work.began)) as billing:
        acme = billing.tenant(work.tenant)
        for place in range(done, work.count):
            if random.random() < chaos.rollbacks:  # noqa: S311
                _roll_back(billing, work.tenant)
            invoice = f"in_{work.name}_{place}"
            _persist(
                told,
                lambda invoice=invoice: acme.draft_invoice(  # type: ignore[misc]
                    id=invoice,
                    customer=ADA,
                    currency="EUR",
                    lines=[WORK],
                    command_id=f"d_{invoice}",
                ),
            )
            opened = _persist(
                told,
                lambda invoice=invoice: acme.finalize_invoice(  # type: ignore[misc]
                    invoice, command_id=f"f_{invoice}"
                ),
            )
            told.write(invoice, "answered", opened.number)


def _persist(told: Notes, ask: Callable[[], Invoice]) -> Invoice:
    while True:
        try:
            return ask()
        except (Conflict, Unavailable) as error:
            told.write("again", type(error).__name__)
        except Rejected as error:
            # Midnight passed between reading the clock and taking the number.
            if error.reason is not Reason.ISSUE_DATE_BACKWARDS:
                raise
            told.write("again", error.reason.value)


class _Nevermind(Exception):
    pass


def _roll_back(billing: Billing, tenant: str) -> None:
    try:
        with billing.log.transaction(tenant) as transaction:
            transaction.take("series:default:invoice:main:2026")
            raise _Nevermind
    except (_Nevermind, Conflict, Unavailable):
        pass


def live(url: str, name: str, notes: Path) -> None:
    """Draft, finalize and pay invoices until killed, however often the database goes away.

    A command's number of facts is in `FACTS_OF`, by the first letter of its id.
    """
    told = Notes(notes)
    billing = _opened(url)
    acme = billing.tenant("acme")
    place = notes.read_text().count("\n") if notes.exists() else 0
    while True:
        place += 1
        key = f"{name}_{place}_{os.getpid()}"
        commands: list[tuple[str, Callable[[], Invoice]]] = [
            (f"d_{key}", lambda key=key: _drafted(acme, key)),  # type: ignore[misc]
            (
                f"f_{key}",
                lambda key=key: acme.finalize_invoice(  # type: ignore[misc]
                    f"in_{key}", command_id=f"f_{key}"
                ),
            ),
            (
                f"p_{key}",
                lambda key=key: acme.record_payment(  # type: ignore[misc]
                    f"in_{key}", amount="245.49", command_id=f"p_{key}"
                ),
            ),
        ]
        for command, ask in commands:
            answer = _stubbornly(ask)
            told.write(command, answer.id, answer.version, answer.number)


FACTS_OF = {"d": {4}, "f": {2, 3}, "p": {2}}


def _drafted(acme: Tenant, key: str) -> Invoice:
    return acme.draft_invoice(
        id=f"in_{key}",
        customer=ADA,
        currency="EUR",
        lines=[WORK, WORK, BOOK],
        command_id=f"d_{key}",
    )


def _opened(url: str) -> Billing:
    while True:
        try:
            return Billing.open(url, seller=SELLER)
        except Unavailable:
            time.sleep(0.01)


def _stubbornly(ask: Callable[[], Invoice]) -> Invoice:
    while True:
        try:
            return ask()
        except (Conflict, Unavailable):
            time.sleep(0.001)


def append_until(url: str, name: str, notes: Path, until: float, streams: int = 5) -> None:
    """Append one to three facts at a time to a few streams, of its own and everybody's."""
    told = Notes(notes)
    drawn = random.Random(name)  # noqa: S311
    actor = Actor(type="system", id=name)
    count = 0
    with Billing.open(url) as billing:
        billing.log.inline = None  # no invoice is told of here, only facts
        while time.time() < until:
            count += 1
            facts: list[Event] = [
                MetadataSet(metadata={"n": f"{name} {count}"}) for _ in range(drawn.randint(1, 3))
            ]
            shared = drawn.random() < 0.2
            stream = "in_all" if shared else f"in_{name}_{drawn.randrange(streams)}"
            origin = Origin(
                recorded_at=datetime.now(UTC), actor=actor, command_id=f"{name} {count}"
            )
            try:
                with billing.log.transaction("acme") as transaction:
                    head = transaction.head(stream)
                    transaction.append([Append(head, facts)], origin, None)
            except Conflict:
                continue
            told.write(len(facts))


Step = tuple[str, "Callable[[Tenant, str], Invoice | CreditNote | None]"]


def story() -> list[Step]:
    """Every write of the front door, in an order in which each is allowed."""
    a, b, c, d, e = (f"in_{letter}" for letter in "abcde")

    def start(invoice: str) -> Step:
        return (
            f"draft {invoice}",
            lambda t, k: t.draft_invoice(
                id=invoice, customer=ADA, currency="EUR", lines=[WORK], command_id=k
            ),
        )

    def issue(invoice: str) -> Step:
        return (f"finalize {invoice}", lambda t, k: t.finalize_invoice(invoice, command_id=k))

    return [
        *(start(invoice) for invoice in (a, b, c, d, e)),
        (
            "add_line",
            lambda t, k: t.add_line(
                a, id="li_1", description="Pen", quantity=2, unit_price="1.00", command_id=k
            ),
        ),
        ("change_line", lambda t, k: t.change_line(a, "li_1", quantity=3, command_id=k)),
        ("remove_line", lambda t, k: t.remove_line(a, "li_1", command_id=k)),
        ("amend_draft", lambda t, k: t.amend_draft(a, footer="Thanks.", command_id=k)),
        ("set_metadata", lambda t, k: t.set_metadata(a, {"order": "1"}, command_id=k)),
        *(issue(invoice) for invoice in (a, b, c, d)),
        ("send", lambda t, k: t.send_invoice(a, command_id=k)),
        ("pay 1", lambda t, k: t.record_payment(a, amount="19.00", command_id=k)),
        ("pay 2", lambda t, k: t.record_payment(a, amount="19.00", command_id=k)),
        (
            "credit",
            lambda t, k: t.issue_credit_note(b, id="cn_1", amount="11.90", command_id=k),
        ),
        ("void credit", lambda t, k: t.void_credit_note("cn_1", reason="no", command_id=k)),
        ("credit with a new id", lambda t, k: t.issue_credit_note(b, amount="1.19", command_id=k)),
        ("void", lambda t, k: t.void_invoice(c, command_id=k)),
        (
            "reconcile",
            lambda t, k: t.reconcile_invoice(
                d,
                status="paid",
                provider_event_id="evt_1",
                occurred_at=FIRST_DAY,
                command_id=k,
            ),
        ),
        ("discard", lambda t, k: _nothing(t.delete_draft(e, command_id=k))),
        (
            "draft with a new id",
            lambda t, k: t.draft_invoice(
                customer=ADA, currency="EUR", lines=[WORK], due_date=date(2026, 3, 1), command_id=k
            ),
        ),
    ]


def _nothing(_: object) -> None:
    return None


def tell(url: str, times: int, notes: Path, together: Barrier | None) -> None:
    """Ask for every step of the story under its one command id, and note every answer."""
    told = Notes(notes)
    with Billing.open(url, seller=SELLER) as billing:
        acme = billing.tenant("acme")
        for place, (name, step) in enumerate(story()):
            if together is not None:
                together.wait(20)
            for _ in range(times):
                answer = step(acme, f"cmd_{place:02d}")
                told.write(name, "=", "" if answer is None else answer.model_dump_json())
