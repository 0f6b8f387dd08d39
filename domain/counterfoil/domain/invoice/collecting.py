"""What is to be done next, so that an invoice is paid: a pure function of its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Annotated

from pydantic import Field

from counterfoil.domain.envelope import Recorded
from counterfoil.domain.invoice.events import (
    CollectionMethod,
    InvoiceEvent,
    PaymentAttempted,
    PaymentFailed,
    Status,
)
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.ports import CANCELED
from counterfoil.domain.value import Value


class Schedule(Value):
    """How many days after each failure it is tried again; after the last one, never."""

    retry_after_days: Annotated[
        tuple[Annotated[int, Field(ge=0, le=365)], ...], Field(max_length=50)
    ] = (1, 3, 5, 7)


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is not collected: `why` is its status, or how it is paid."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """It is too early."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Settle:
    """A payment is in progress; `by_payer` says that it waits for them."""

    payment: str
    since: datetime
    by_payer: bool


@dataclass(frozen=True, slots=True)
class Collect:
    """The processor is to be asked now. `not_with` is a payment method that was refused for good;
    where there is no other, it is tried until `ends`, when the schedule has come to its end.
    """

    attempt: int
    not_with: str | None = None
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It was tried as often as the schedule says."""

    attempts: int


Step = Nothing | Wait | Settle | Collect | GiveUp
History = Sequence[Recorded[InvoiceEvent]]


def next_step(history: History, schedule: Schedule, now: datetime, zone: tzinfo) -> Step:
    """What is to be done now; an invoice falls due when its day begins in this zone."""
    match fold(recorded.fact for recorded in history):
        case Issued(status=Status.OPEN) as invoice:
            if invoice.draft.terms.collection_method is not CollectionMethod.CHARGE_AUTOMATICALLY:
                return Nothing(invoice.draft.terms.collection_method)
            return _next(invoice, history, schedule, now, zone)
        case None:
            return Nothing("absent")
        case other:
            return Nothing(other.status)


def _next(
    invoice: Issued, history: History, schedule: Schedule, now: datetime, zone: tzinfo
) -> Step:
    if invoice.amount_remaining <= 0:
        return Nothing("nothing_remaining")
    if invoice.attempt is not None:
        payment = invoice.attempt.payment
        by_payer = any(one.payment == payment for one in invoice.intents)
        return Settle(payment, _attempted_at(payment, history), by_payer)
    failures = [one for one in history if _is_refusal(one.fact)]
    if not failures:
        document = invoice.document
        due = datetime.combine(document.due_on or document.issued_on, time.min, zone)
        return Collect(1) if due <= now else Wait(due)
    if len(failures) > len(schedule.retry_after_days):
        return GiveUp(len(failures))
    last = failures[-1]
    days = schedule.retry_after_days[len(failures) - 1 :]
    again, ends = (last.envelope.recorded_at + timedelta(n) for n in (days[0], sum(days)))
    if now < again:
        return Wait(again)
    return Collect(len(failures) + 1, _refused_for_good(last.fact, invoice), ends)


def _is_refusal(fact: InvoiceEvent) -> bool:
    """What was withdrawn before it arrived was no try."""
    return isinstance(fact, PaymentFailed) and fact.code != CANCELED


def _refused_for_good(fact: InvoiceEvent, invoice: Issued) -> str | None:
    match fact:
        case PaymentFailed(retryable=False, payment=payment):
            attempted = invoice.attempted(payment)
            return attempted.payment_method if attempted else None
        case _:
            return None


def _attempted_at(payment: str, history: History) -> datetime:
    return next(
        one.envelope.recorded_at
        for one in history
        if isinstance(one.fact, PaymentAttempted) and one.fact.payment == payment
    )
