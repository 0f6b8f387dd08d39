"""What the processes of the tests of paying do: pay, give back or settle, until a trap kills them.

A trap stands around the processor and the log, so that a process dies at a step that was chosen,
and no line of the product knows of it.
"""

from __future__ import annotations

import os
import signal
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import import_module
from multiprocessing.connection import Client
from typing import TYPE_CHECKING, cast

from counterfoil.adapters.read_models.inline import Inline
from counterfoil.adapters.tenant import Tenant
from counterfoil.billing import Billing, FakeProcessor, Paid
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import CounterfoilError, Rejected
from counterfoil.domain.invoice.events import PaymentAttempted, RefundAttempted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from counterfoil.adapters.event_store.codec import Codec
    from counterfoil.adapters.event_store.recorder import FactsRecorder
    from counterfoil.adapters.event_store.rows import NewRow
    from counterfoil.adapters.processors.fake import Fault
    from counterfoil.adapters.read_models.inline import Seen
    from counterfoil.domain.envelope import Recorded
    from counterfoil.domain.ports import (
        Append,
        Charge,
        Claim,
        EventLog,
        Origin,
        Outcome,
        Repayment,
        Stream,
        Transaction,
    )
    from counterfoil.domain.value import Event
    from counterfoil.projections.projection import Change

SELLER = Seller(name="Northwind")
ADA = Customer(id="cus_1", name="Ada", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
TOTAL = 11900


class Step(StrEnum):
    """Where a process that pays may be killed, in the order in which it gets there."""

    BEFORE_ATTEMPT = "before the attempt is stored"
    IN_ATTEMPT = "while the attempt is stored"
    AFTER_ATTEMPT = "right after the attempt is stored"
    BEFORE_ASKING = "before the processor hears of it"
    IN_BOOKS = "before the processor has written it down"
    BOOKED = "after the processor has written it down"
    BEFORE_RECORD = "between the answer and its record"
    IN_RECORD = "while the answer is recorded"
    AFTER_RECORD = "right after the answer is recorded"


_Steps = tuple[Step | None, Step | None, Step | None]
_ATTEMPT: _Steps = (Step.BEFORE_ATTEMPT, Step.IN_ATTEMPT, Step.AFTER_ATTEMPT)
_RECORD: _Steps = (Step.BEFORE_RECORD, Step.IN_RECORD, Step.AFTER_RECORD)
_NOTHING: _Steps = (None, None, None)


class Work(StrEnum):
    """What a process is to do."""

    PAY = "pay"
    REFUND = "refund"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Job:
    """What a process does about one invoice, and what goes wrong meanwhile."""

    url: str
    books: str
    tenant: str
    invoice: str
    work: Work
    command_id: str | None = None
    method: str | None = "pm_card_visa"
    die_at: Step | None = None
    faults: tuple[Fault, ...] = ()


class Trap:
    """Kills this process at its step; `storing` is the step at which the log is."""

    def __init__(self, step: Step | None) -> None:
        self._step = step
        self.storing: Step | None = None

    def __call__(self, step: Step | None) -> None:
        """This step is reached."""
        if step is not None and step is self._step:
            os.kill(os.getpid(), signal.SIGKILL)


class TrappedTransaction:
    """A unit of work with a trap before, in and after its append."""

    def __init__(self, transaction: Transaction, trap: Trap) -> None:
        self._transaction = transaction
        self._trap = trap

    def claimed(self, command_id: str) -> Claim | None:
        return self._transaction.claimed(command_id)

    def read(self, stream: str) -> Stream:
        return self._transaction.read(stream)

    def head(self, stream: str) -> Stream:
        return self._transaction.head(stream)

    def take(self, stream: str) -> Stream:
        return self._transaction.take(stream)

    def append(self, appends: Sequence[Append], origin: Origin, claim: Claim | None) -> None:
        """Append, with the steps of an attempt or those of what came of it."""
        facts = [fact for one in appends for fact in one.facts]
        before, inside, after = _RECORD if facts else _NOTHING
        if any(isinstance(fact, PaymentAttempted | RefundAttempted) for fact in facts):
            before, inside, after = _ATTEMPT
        self._trap(before)
        self._trap.storing = inside
        self._transaction.append(appends, origin, claim)
        self._trap.storing = None
        self._trap(after)


class TrappedLog:
    """A log all of whose units of work are trapped."""

    def __init__(self, log: EventLog, trap: Trap) -> None:
        self._log = log
        self._trap = trap

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[TrappedTransaction]:
        with self._log.transaction(tenant) as transaction:
            yield TrappedTransaction(transaction, self._trap)

    def read(
        self, tenant: str, stream: str, *, upto: int | None = None
    ) -> Sequence[Recorded[Event]]:
        return self._log.read(tenant, stream, upto=upto)

    def since(self, position: int, *, limit: int) -> Sequence[Recorded[Event]]:
        return self._log.since(position, limit=limit)

    def close(self) -> None:
        self._log.close()


class TrappedInline(Inline):
    """Read models with a trap in them: they are written in the transaction of the facts."""

    def __init__(self, trap: Trap) -> None:
        super().__init__()
        self._trap = trap

    def changes(
        self, tenant: str, seen: Seen, rows: Sequence[NewRow], codec: Codec
    ) -> Iterator[Change]:
        yield from super().changes(tenant, seen, rows, codec)
        self._trap(self._trap.storing)


class TrappedProcessor(FakeProcessor):
    """A processor with a trap before it is asked, before its books are closed, and after."""

    def __init__(self, books: str, trap: Trap) -> None:
        super().__init__(books, slow_s=0.02)
        self._trap = trap
        self._books._connection.set_trace_callback(self._traced)

    def _traced(self, statement: str) -> None:
        if statement == "COMMIT":
            self._trap(Step.IN_BOOKS)

    def charge(self, charge: Charge) -> Outcome:
        self._trap(Step.BEFORE_ASKING)
        outcome = super().charge(charge)
        self._trap(Step.BOOKED)
        return outcome

    def refund(self, repayment: Repayment) -> Outcome:
        self._trap(Step.BEFORE_ASKING)
        outcome = super().refund(repayment)
        self._trap(Step.BOOKED)
        return outcome


def fork(address: str, asked: Connection) -> None:
    """Fork a process for each job that is asked for, from this one: it has imported all there is,
    and has nothing open. Each connects to the address, to be told when to go on.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that nobody has to wait for the dead
    while True:
        try:
            job: Job = asked.recv()
        except EOFError:
            return
        if "://" in job.url:
            for lazily in ("event_store.postgres", "read_models.postgres"):
                import_module(f"counterfoil.adapters.{lazily}")
        if os.fork() == 0:
            with Client(address) as told:
                obey(job, told)
            os._exit(0)


def obey(job: Job, told: Connection) -> None:
    """Open everything, wait for the word, do the job, and say what came of it."""
    trap = Trap(job.die_at)
    try:
        processor = TrappedProcessor(job.books, trap)
        processor.fail(*job.faults)
        with Billing.open(job.url, seller=SELLER, processor=processor, pdf=None) as billing:
            billing.log.inline = TrappedInline(trap)
            log = cast("FactsRecorder", TrappedLog(billing.log, trap))
            house = replace(billing._house, log=log)
            acme = Tenant(house, job.tenant)
            told.send(os.getpid())
            told.recv()
            told.send(_said(lambda: _work(acme, job)))
    except BaseException:
        told.send(traceback.format_exc())
        raise


def _work(acme: Tenant, job: Job) -> str:
    match job.work:
        case Work.PAY:
            outcome = acme.pay_invoice(
                job.invoice, payment_method=job.method, command_id=job.command_id
            )
            return "paid" if isinstance(outcome, Paid) else str(outcome)
        case Work.REFUND:
            acme.refund_payment(job.invoice, command_id=job.command_id)
            return "refunded"
        case Work.SETTLE:
            settled = list(acme.settle_payments(waiting_s=0))
            wrong = [one.error for one in settled if one.error is not None]
            return _named(wrong[0]) if wrong else "settled"


def _said(work: Callable[[], str]) -> str:
    """What came of it; an error that is none of ours ends the process."""
    try:
        return work()
    except CounterfoilError as error:
        return _named(error)


def _named(error: CounterfoilError) -> str:
    return error.reason.value if isinstance(error, Rejected) else type(error).__name__
