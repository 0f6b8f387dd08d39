"""Does the front door move money once and only once, tell what came of it, and ask no processor for
what will be refused?
"""

from __future__ import annotations

import logging
import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from counterfoil.adapters.processors.fake import FakeProcessor, Fault
from counterfoil.adapters.processors.stripe import StripeProcessor
from counterfoil.billing import (
    ActionRequired,
    Billing,
    Declined,
    Invoice,
    Paid,
    Processing,
    Tenant,
)
from counterfoil.domain import Customer, Money, NewLine, Reason, Seller, Tax, errors
from counterfoil.domain.errors import (
    Conflict,
    CounterfoilError,
    Malformed,
    NotFound,
    PaymentDeclined,
    PaymentPending,
    ProcessorNotConfigured,
    RateLimited,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice.events import PaymentAttempted
from counterfoil.domain.ports import Charge, Outcome, Pending, Repayment, Succeeded
from counterfoil.domain.ports import Declined as Refused
from support import postgres
from support.stripe import Late, LoseAnswer, StripeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.adapters.tenant.outcomes import PaymentOutcome
    from counterfoil.projections.payments import Payment

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ADA = Customer(id="cus_1", name="Ada GmbH", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
VISA, ASKS, DEBIT = "pm_card_visa", "pm_card_authenticationRequired", "pm_usBankAccount"
LOST = "pm_card_visa_chargeDeclinedLostCard"
TOTAL = 11900


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Watched:
    """A processor that lets a test look around before it answers, and tells what it was asked."""

    def __init__(self, behind: FakeProcessor, name: str = "fake") -> None:
        self.name = name
        self.asked: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        # An answer that is given in place of the one behind, once.
        self.instead: list[Outcome | Exception] = []
        self.behind = behind

    def _now(self, asked: str) -> Outcome | None:
        self.asked.append(asked)
        self.before(asked)
        said = self.instead.pop(0) if self.instead else None
        if isinstance(said, Exception):
            raise said
        return said

    def default_payment_method(self, customer: str) -> str | None:
        self._now("default_payment_method")
        return self.behind.default_payment_method(customer)

    def charge(self, charge: Charge) -> Outcome:
        return self._now("charge") or self.behind.charge(charge)

    def retrieve(self, charge: Charge) -> Outcome | None:
        return self._now("retrieve") or self.behind.retrieve(charge)

    def cancel(self, charge: Charge) -> Outcome:
        return self._now("cancel") or self.behind.cancel(charge)

    def refund(self, repayment: Repayment) -> Outcome:
        return self._now("refund") or self.behind.refund(repayment)

    def close(self) -> None:
        """Stay open: other billings of the same test go on using it."""


@dataclass
class World:
    """A tenant with an open invoice at hand, the processor behind it, and their clock."""

    billing: Billing
    fake: FakeProcessor
    watched: Watched
    clock: Clock
    name: str = "acme"

    @property
    def acme(self) -> Tenant:
        return self.billing.tenant(self.name)

    def draft(self, **terms: Any) -> Invoice:
        return self.acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], **terms)

    def invoice(self, **terms: Any) -> str:
        """An open invoice of 119.00."""
        return self.acme.finalize_invoice(self.draft(**terms).id).id

    def facts(self, invoice: str) -> list[str]:
        """What has happened to an invoice since it was finalized, in short words."""
        kinds = [one.envelope.type for one in self.billing.log.read(self.name, invoice)]
        since = kinds.index("invoice.finalized.v1") + 1
        return [kind.removeprefix("invoice.").removesuffix(".v1") for kind in kinds[since:]]

    def booked(self, invoice: str) -> int:
        """What the processor took for an invoice, and has not given back."""
        return sum(
            one.amount.minor - one.refunded
            for one in self.fake.booked(invoice)
            if one.status == "succeeded"
        )

    def payments(self, invoice: str) -> tuple[Payment, ...]:
        """Its payments as the read model shows them, oldest first."""
        self.billing.projections.run()
        return tuple(self.acme.payments.list(invoice=invoice, limit=100).data)[::-1]

    def asks(self, invoice: str, method: str = ASKS, **call: Any) -> ActionRequired:
        """Pay with what the payer must confirm."""
        outcome = self.acme.pay_invoice(invoice, payment_method=method, **call)
        assert isinstance(outcome, ActionRequired)
        return outcome


@contextmanager
def opened(database: str, projections: str | None = None) -> Iterator[World]:
    clock, fake = Clock(), FakeProcessor(slow_s=0.02)
    watched = Watched(fake)
    with Billing.open(
        database,
        seller=Seller(name="Northwind"),
        clock=clock,
        processor=watched,
        projections=projections,
        documents=None,
        pdf=None,
    ) as billing:
        yield World(billing, fake, watched, clock)
    fake.close()


@pytest.fixture
def world() -> Iterator[World]:
    """For what does not depend on the database."""
    with opened(":memory:") as made:
        yield made


@pytest.fixture(params=["file", "postgres", "file, async"])
def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """For what may."""
    if request.param == "postgres":
        with (
            postgres.ready(request.getfixturevalue("postgres_url")) as url,
            opened(url) as made,
        ):
            yield made
        return
    projections = "async" if request.param.endswith("async") else None
    with opened(str(tmp_path / "log.db"), projections) as made:
        yield made


@pytest.fixture(params=["inline", "async"])
def either(request: pytest.FixtureRequest) -> Iterator[World]:
    """For what may depend on how read models are kept."""
    with opened(":memory:", request.param) as made:
        yield made


def told(outcome: PaymentOutcome) -> tuple[object, ...]:
    """All that an outcome says, so that two can be compared."""
    match outcome:
        case Paid(invoice):
            return ("paid", invoice)
        case ActionRequired(invoice, intent):
            return ("action required", invoice, intent, intent.client_secret)
        case Declined(invoice, error):
            return ("declined", invoice, error.code, error.message, error.retryable)
        case Processing(invoice, payment):
            return ("processing", invoice, payment)


def at_each(*asks: Callable[[], object]) -> list[Any]:
    """Do these from a thread each at the same moment; errors of ours are answers too."""
    start = Barrier(len(asks))

    def one(ask: Callable[[], object]) -> object:
        start.wait(10)
        try:
            return ask()
        except CounterfoilError as error:
            return error

    with ThreadPoolExecutor(len(asks)) as threads:
        return list(threads.map(one, asks))


def at_once(count: int, ask: Callable[[], object]) -> list[Any]:
    """Do the same from so many threads at the same moment."""
    return at_each(*[ask] * count)


# --- paying ---------------------------------------------------------------------------------------


def test_a_good_card_pays_the_invoice(everywhere: World) -> None:
    invoice = everywhere.invoice()
    outcome = everywhere.acme.pay_invoice(invoice, payment_method=VISA)
    assert isinstance(outcome, Paid)
    shown = outcome.unwrap()
    assert (shown.status, shown.amount_paid, shown.amount_remaining) == ("paid", TOTAL, 0)
    assert shown == everywhere.acme.get_invoice(invoice)
    assert everywhere.facts(invoice) == ["payment_attempted", "payment_succeeded", "paid"]
    assert everywhere.booked(invoice) == TOTAL
    (payment,) = everywhere.payments(invoice)
    assert (payment.status, payment.amount, payment.processor) == ("succeeded", TOTAL, "fake")
    assert payment.reference == everywhere.fake.booked(invoice)[0].id


def test_without_a_method_the_customer_pays_with_their_own(world: World) -> None:
    world.fake.methods[ADA.id] = LOST
    declined = world.acme.pay_invoice(world.invoice())
    assert isinstance(declined, Declined)
    assert declined.error.code == "lost_card"


def test_a_customer_without_a_method_must_be_given_one(world: World) -> None:
    world.fake.methods[ADA.id] = None
    invoice = world.invoice()
    with pytest.raises(Malformed) as refused:
        world.acme.pay_invoice(invoice)
    assert refused.value.field == "payment_method"
    assert world.facts(invoice) == []


def _draft(world: World) -> str:
    return world.draft().id


def _void(world: World) -> str:
    return world.acme.void_invoice(world.invoice()).id


def _paid(world: World) -> str:
    return world.acme.record_payment(world.invoice(), amount=TOTAL).id


def _discarded(world: World) -> str:
    draft = world.draft()
    world.acme.delete_draft(draft.id)
    return draft.id


REFUSED = [
    (_draft, Reason.IS_DRAFT),
    (_void, Reason.IS_VOID),
    (_paid, Reason.ALREADY_PAID),
    (_discarded, Reason.DISCARDED),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
@pytest.mark.parametrize("method", [VISA, None], ids=["said", "default"])
def test_what_cannot_be_paid_is_refused_and_the_processor_hears_nothing(
    world: World, make: Callable[[World], str], reason: Reason, method: str | None
) -> None:
    invoice = make(world)
    with pytest.raises(Rejected) as refused:
        world.acme.pay_invoice(invoice, payment_method=method, command_id="pay")
    assert refused.value.reason is reason
    assert world.watched.asked == []


@pytest.mark.parametrize("method", [VISA, None], ids=["said", "default"])
def test_an_invoice_that_is_not_there_is_not_found_and_the_processor_hears_nothing(
    world: World, method: str | None
) -> None:
    for absent in ("in_absent", "cn_1", "", "in_ 1"):
        for ask in (
            lambda name=absent: world.acme.pay_invoice(name, payment_method=method),
            lambda name=absent: world.acme.settle_payment(name),
            lambda name=absent: world.acme.cancel_payment(name),
            lambda name=absent: world.acme.refund_payment(name),
        ):
            with pytest.raises(NotFound):
                ask()
    assert world.watched.asked == []


BAD_AMOUNTS: list[tuple[object, str]] = [
    (0, "amount"),
    (-1, "amount"),
    (1.0, "amount"),
    (119.0, "amount"),
    (float("nan"), "amount"),
    (True, "amount"),
    (Decimal("-0.01"), "amount"),
    (Decimal("NaN"), "amount"),
    ("-1.00", "amount"),
    ("ten", "amount"),
    ("", "amount"),
    ([], "amount"),
    (TOTAL + 1, "payment_exceeds_remaining"),
    (2**63, "amount_out_of_range"),
    (Money(100, "USD"), "currency_mismatch"),
    (Money(0, "EUR"), "amount"),
    ("1.001", "too_precise"),
    (Decimal("0.001"), "too_precise"),
]


@pytest.mark.parametrize("method", [VISA, None], ids=["said", "default"])
def test_an_amount_that_cannot_be_paid_is_refused_by_name(world: World, method: str | None) -> None:
    invoice = world.invoice()
    for given, name in BAD_AMOUNTS:
        amount: Any = given
        with pytest.raises((Malformed, Rejected)) as refused:
            world.acme.pay_invoice(invoice, payment_method=method, amount=amount, command_id="pay")
        assert why(refused.value) == name, amount
    assert world.watched.asked == []
    assert world.facts(invoice) == []


def why(error: CounterfoilError) -> str:
    """The name under which something was refused."""
    match error:
        case Rejected(reason=reason):
            return reason
        case Malformed(field=field):
            return field.split(".")[0]
        case _:
            return repr(error)


BAD_METHODS = ["", " ", "pm card", "pm_\x00", "pm_\n", "pm_é", "x" * 10_000, 4711, ["pm"]]


@pytest.mark.parametrize("call", [{}, {"command_id": "pay"}], ids=["", "command_id"])
def test_a_payment_method_that_is_no_name_is_refused_by_name(world: World, call: Any) -> None:
    invoice = world.invoice()
    for given in BAD_METHODS:
        method: Any = given
        with pytest.raises(Malformed) as refused:
            world.acme.pay_invoice(invoice, payment_method=method, **call)
        assert refused.value.field == "payment_method", method
    assert world.watched.asked == []
    assert world.facts(invoice) == []


BAD_CALLS: list[dict[str, object]] = [
    {"command_id": ""},
    {"command_id": "a b"},
    {"expected_version": "3"},
    {"comand_id": "pay"},
]
BAD_WAITS: list[dict[str, object]] = [
    {"wait_s": -1},
    {"wait_s": "soon"},
    {"wait_s": float("nan")},
]
VERBS = ["pay", "pay by default", "refund", "settle", "cancel"]


def refuses_before_anybody_is_asked(world: World, verb: str, calls: list[dict[str, Any]]) -> None:
    """Each of these options is refused by its name, and nothing has happened."""
    invoice = world.invoice()
    if verb == "refund":
        world.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    elif verb in {"settle", "cancel"}:
        world.asks(invoice)
    asks: dict[str, Callable[..., object]] = {
        "pay": lambda **call: world.acme.pay_invoice(invoice, payment_method=VISA, **call),
        "pay by default": lambda **call: world.acme.pay_invoice(invoice, **call),
        "refund": lambda **call: world.acme.refund_payment(invoice, **call),
        "settle": lambda **call: world.acme.settle_payment(invoice, **call),
        "cancel": lambda **call: world.acme.cancel_payment(invoice, **call),
    }
    world.watched.asked.clear()
    before = world.facts(invoice)
    for call in calls:
        with pytest.raises(Malformed) as refused:
            asks[verb](**call)
        assert [refused.value.field] == list(call)
        assert world.watched.asked == [], call
        assert world.facts(invoice) == before


@pytest.mark.parametrize(
    "verb",
    VERBS,
)
def test_an_option_that_makes_no_sense_is_refused_before_anybody_is_asked(
    world: World, verb: str
) -> None:
    refuses_before_anybody_is_asked(world, verb, BAD_CALLS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_wait_that_makes_no_sense_is_refused_before_anybody_is_asked(
    world: World, verb: str
) -> None:
    refuses_before_anybody_is_asked(world, verb, BAD_WAITS)


@pytest.mark.parametrize("method", [VISA, None], ids=["said", "default"])
def test_an_invoice_that_changed_since_it_was_seen_is_not_paid(
    world: World, method: str | None
) -> None:
    invoice = world.invoice()
    seen = world.acme.get_invoice(invoice).version
    world.acme.set_metadata(invoice, {"order": "1"})
    with pytest.raises(Conflict, match="load it again"):
        world.acme.pay_invoice(invoice, payment_method=method, expected_version=seen)
    assert world.watched.asked == []
    outcome = world.acme.pay_invoice(invoice, payment_method=VISA, expected_version=seen + 1)
    assert isinstance(outcome, Paid)


@pytest.mark.parametrize("asked", ["settle", "cancel"])
def test_an_invoice_that_changed_since_it_was_seen_is_not_settled_nor_canceled(
    world: World, asked: str
) -> None:
    invoice = world.invoice()
    world.asks(invoice)
    world.watched.asked.clear()
    ask = world.acme.settle_payment if asked == "settle" else world.acme.cancel_payment
    with pytest.raises(Conflict):
        ask(invoice, expected_version=1)
    assert world.watched.asked == []


# --- the payer must confirm -----------------------------------------------------------------------


def test_a_payment_that_its_payer_must_confirm_is_not_paid_until_they_have(
    everywhere: World,
) -> None:
    invoice = everywhere.invoice()
    asked = everywhere.asks(invoice)
    assert asked.invoice.status == "open"
    assert asked.invoice.amount_paid == 0
    assert asked.intent.client_secret == f"{asked.intent.id}_secret"
    assert everywhere.facts(invoice) == ["payment_attempted", "payment_action_required"]
    (payment,) = everywhere.payments(invoice)
    assert (payment.status, payment.intent) == ("requires_action", asked.intent.id)
    again = everywhere.acme.settle_payment(invoice)
    assert again is not None
    assert told(again) == told(asked)
    everywhere.fake.confirm(asked.intent.id)
    paid = everywhere.acme.settle_payment(invoice)
    assert isinstance(paid, Paid)
    assert paid.invoice.status == "paid"
    assert everywhere.facts(invoice)[2:] == ["payment_succeeded", "paid"]
    assert everywhere.booked(invoice) == TOTAL
    (payment,) = everywhere.payments(invoice)
    assert (payment.status, payment.intent) == ("succeeded", asked.intent.id)


def test_a_payer_who_does_not_confirm_leaves_the_invoice_open(world: World) -> None:
    invoice = world.invoice()
    world.fake.refuse(world.asks(invoice).intent.id)
    outcome = world.acme.settle_payment(invoice)
    assert isinstance(outcome, Declined)
    assert outcome.error.code == "authentication_failed"
    assert outcome.invoice.status == "open"
    assert world.booked(invoice) == 0


def test_each_outcome_can_be_caught_and_matched_by_its_name(world: World) -> None:
    asked = world.asks(world.invoice())
    with pytest.raises(errors.ActionRequired) as needed:
        asked.unwrap()
    assert needed.value.intent == asked.intent
    declined = world.acme.pay_invoice(world.invoice(), payment_method=LOST)
    with pytest.raises(PaymentDeclined) as refused:
        declined.unwrap()
    assert (refused.value.code, refused.value.retryable) == ("lost_card", False)
    pending = world.acme.pay_invoice(world.invoice(), payment_method=DEBIT)
    with pytest.raises(PaymentPending) as waiting:
        pending.unwrap()
    assert isinstance(pending, Processing)
    assert waiting.value.payment == pending.payment
    paid = world.acme.pay_invoice(world.invoice(), payment_method=VISA)
    assert isinstance(paid, Paid)
    assert paid.unwrap() == paid.invoice
    assert [told(one)[0] for one in (asked, declined, pending, paid)] == [
        "action required",
        "declined",
        "processing",
        "paid",
    ]


def test_each_outcome_can_be_sent_to_another_process(world: World) -> None:
    for method in (VISA, LOST, ASKS, DEBIT):
        outcome = world.acme.pay_invoice(world.invoice(), payment_method=method)
        sent = pickle.loads(pickle.dumps(outcome))  # noqa: S301  (our own bytes)
        assert told(sent) == told(outcome)
        assert told(copy(outcome)) == told(outcome)


# --- refused, partial, several --------------------------------------------------------------------


def test_a_refused_card_leaves_the_invoice_open_with_its_reason(either: World) -> None:
    invoice = either.invoice()
    outcome = either.acme.pay_invoice(invoice, payment_method=LOST)
    assert isinstance(outcome, Declined)
    assert (outcome.error.code, outcome.error.retryable) == ("lost_card", False)
    assert (outcome.invoice.status, outcome.invoice.attempt_count) == ("open", 1)
    assert outcome.invoice.amount_remaining == TOTAL
    (payment,) = either.payments(invoice)
    assert (payment.status, payment.failure_code) == ("failed", "lost_card")
    assert payment.failure_message == outcome.error.message
    assert either.booked(invoice) == 0


def test_what_was_refused_may_be_tried_again_as_often_as_one_likes(world: World) -> None:
    invoice = world.invoice()
    for attempt in (1, 2, 3):
        outcome = world.acme.pay_invoice(invoice, payment_method=LOST)
        assert isinstance(outcome, Declined)
        assert outcome.invoice.attempt_count == attempt
    paid = world.acme.pay_invoice(invoice, payment_method=VISA)
    assert isinstance(paid, Paid)
    assert paid.invoice.attempt_count == 4
    assert [one.status for one in world.payments(invoice)].count("failed") == 3
    assert world.booked(invoice) == TOTAL


def test_an_invoice_may_be_paid_in_parts(world: World) -> None:
    invoice = world.invoice()
    parts: list[Any] = [1, "50.00", Decimal("10.99"), Money(1000, "EUR")]
    for part in parts:
        outcome = world.acme.pay_invoice(invoice, payment_method=VISA, amount=part)
        assert isinstance(outcome, Paid)
        assert outcome.unwrap().status == "open"
    rest = world.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    assert (rest.status, rest.amount_paid) == ("paid", TOTAL)
    amounts = [one.amount.minor for one in world.fake.booked(invoice)]
    assert amounts == [1, 5000, 1099, 1000, TOTAL - 7100]
    assert world.facts(invoice).count("paid") == 1


def test_what_is_paid_in_another_way_meanwhile_becomes_credit_of_the_customer(
    either: World,
) -> None:
    invoice = either.invoice()
    asked = either.asks(invoice)
    either.acme.record_payment(invoice, amount="100.00", reference="bank")
    either.fake.confirm(asked.intent.id)
    paid = either.acme.settle_payment(invoice)
    assert isinstance(paid, Paid)
    assert (paid.invoice.status, paid.invoice.amount_paid) == ("paid", TOTAL)
    card = next(one for one in either.payments(invoice) if one.processor)
    assert (card.amount, card.surplus) == (TOTAL, 10000)
    either.billing.audit.verify()


def test_money_that_comes_for_a_paid_invoice_is_credit_of_the_customer(world: World) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice)
    world.acme.record_payment(invoice, amount=TOTAL)
    world.fake.confirm(asked.intent.id)
    paid = world.acme.settle_payment(invoice)
    assert isinstance(paid, Paid)
    assert paid.invoice.amount_paid == TOTAL
    card = next(one for one in world.payments(invoice) if one.processor)
    assert (card.amount, card.surplus) == (TOTAL, TOTAL)
    assert world.facts(invoice).count("paid") == 1


def test_money_that_comes_after_an_invoice_was_given_up_pays_it(world: World) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice)
    assert world.acme.mark_uncollectible(invoice).status == "uncollectible"
    world.fake.confirm(asked.intent.id)
    paid = world.acme.settle_payment(invoice)
    assert isinstance(paid, Paid)
    assert paid.invoice.status == "paid"
    assert world.facts(invoice)[-2:] == ["payment_succeeded", "paid"]


def test_an_invoice_that_was_given_up_can_be_paid(world: World) -> None:
    invoice = world.invoice()
    world.acme.mark_uncollectible(invoice)
    paid = world.acme.pay_invoice(invoice, payment_method=VISA)
    assert paid.unwrap().status == "paid"


def test_what_was_credited_while_a_payment_was_on_its_way_is_credit_of_the_customer(
    world: World,
) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice)
    world.acme.issue_credit_note(invoice, amount="100.00")
    world.fake.confirm(asked.intent.id)
    paid = world.acme.settle_payment(invoice)
    assert isinstance(paid, Paid)
    assert (paid.invoice.status, paid.invoice.amount_paid) == ("paid", 1900)
    (payment,) = world.payments(invoice)
    assert (payment.amount, payment.surplus) == (TOTAL, 10000)


def test_an_invoice_with_a_payment_in_progress_is_not_voided(world: World) -> None:
    invoice = world.invoice()
    world.asks(invoice)
    with pytest.raises(Rejected) as refused:
        world.acme.void_invoice(invoice)
    assert refused.value.reason is Reason.PAYMENT_IN_PROGRESS


@pytest.mark.parametrize("method", [ASKS, DEBIT])
def test_an_invoice_never_has_two_payments_in_progress(world: World, method: str) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=method, amount="10.00")
    world.watched.asked.clear()
    for second in (VISA, None):
        with pytest.raises(Rejected) as refused:
            world.acme.pay_invoice(invoice, payment_method=second, amount="10.00")
        assert refused.value.reason is Reason.PAYMENT_IN_PROGRESS
    assert world.watched.asked == []
    assert len(world.fake.booked(invoice)) == 1


def test_eight_who_pay_one_invoice_at_once_charge_it_once(everywhere: World) -> None:
    invoice = everywhere.invoice()
    everywhere.fake.fail(*[Fault.SLOW] * 3)
    answers = at_once(8, lambda: everywhere.acme.pay_invoice(invoice, payment_method=VISA))
    assert [type(answer) for answer in answers].count(Paid) == 1
    for answer in answers:
        assert isinstance(answer, Paid | Rejected | Conflict), answer
        if isinstance(answer, Rejected):
            assert answer.reason in {Reason.PAYMENT_IN_PROGRESS, Reason.ALREADY_PAID}
    assert len(everywhere.fake.booked(invoice)) == 1
    assert everywhere.booked(invoice) == TOTAL
    assert everywhere.facts(invoice) == ["payment_attempted", "payment_succeeded", "paid"]


def test_eight_who_repeat_one_command_at_once_charge_once_and_hear_the_same(
    everywhere: World,
) -> None:
    invoice = everywhere.invoice()
    everywhere.fake.fail(*[Fault.SLOW] * 3)
    answers = at_once(
        8,
        lambda: everywhere.acme.pay_invoice(invoice, payment_method=VISA, command_id="pay"),
    )
    assert {type(answer) for answer in answers} == {Paid}, answers
    assert len(everywhere.fake.booked(invoice)) == 1
    assert everywhere.facts(invoice) == ["payment_attempted", "payment_succeeded", "paid"]


@pytest.mark.parametrize("method", [VISA, None], ids=["said", "default"])
def test_a_command_whose_twin_is_obeyed_meanwhile_has_its_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str | None
) -> None:
    invoice, log = world.invoice(), world.billing.log
    read = log.read

    def twin_first(*said: Any, **more: Any) -> Any:
        monkeypatch.undo()
        pay(world, invoice, method)
        return read(*said, **more)

    monkeypatch.setattr(log, "read", twin_first)
    assert isinstance(pay(world, invoice, method), Paid)
    assert len(world.fake.booked(invoice)) == 1


def test_parts_that_are_paid_at_once_never_add_up_to_more_than_is_owed(everywhere: World) -> None:
    invoice = everywhere.invoice()
    at_once(
        6,
        lambda: everywhere.acme.pay_invoice(invoice, payment_method=VISA, amount="50.00"),
    )
    shown = everywhere.acme.get_invoice(invoice)
    assert everywhere.booked(invoice) == shown.amount_paid <= TOTAL


# --- the same command again -----------------------------------------------------------------------


def pay(world: World, invoice: str, method: str | None = VISA, **more: Any) -> PaymentOutcome:
    return world.acme.pay_invoice(invoice, payment_method=method, **{"command_id": "pay", **more})


def test_a_repeated_command_is_answered_the_same_and_charges_nothing(everywhere: World) -> None:
    for method in (VISA, LOST, ASKS, DEBIT, None):
        invoice, call = everywhere.invoice(), f"pay_{method}"
        first = told(pay(everywhere, invoice, method, command_id=call))
        facts = everywhere.facts(invoice)
        for _ in range(2):
            assert told(pay(everywhere, invoice, method, command_id=call)) == first
        assert everywhere.facts(invoice) == facts
        assert len(everywhere.fake.booked(invoice)) == 1


def test_a_repeat_asks_no_processor_about_a_payment_that_has_ended(world: World) -> None:
    for method in (VISA, LOST, None):
        invoice, call = world.invoice(), f"pay_{method}"
        pay(world, invoice, method, command_id=call)
        world.watched.asked.clear()
        pay(world, invoice, method, command_id=call)
        assert world.watched.asked == []


def test_a_repeat_ignores_the_version_that_its_first_try_has_moved(world: World) -> None:
    invoice = world.invoice()
    seen = world.acme.get_invoice(invoice).version
    first = pay(world, invoice, expected_version=seen)
    assert told(pay(world, invoice, expected_version=seen)) == told(first)


def test_a_repeat_after_the_payer_has_confirmed_says_that_it_is_paid(world: World) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice, command_id="pay")
    world.fake.confirm(asked.intent.id)
    paid = pay(world, invoice, ASKS)
    assert isinstance(paid, Paid)
    assert paid.invoice.status == "paid"


def test_a_repeat_after_it_was_settled_by_others_tells_the_same_as_they_heard(
    world: World,
) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice, command_id="pay")
    assert isinstance(world.acme.cancel_payment(invoice), Declined)
    declined = pay(world, invoice, ASKS)
    assert isinstance(declined, Declined)
    assert declined.error.code == "canceled"
    world.fake.confirm(asked.intent.id)
    assert world.booked(invoice) == 0


def test_a_repeat_after_the_answer_was_lost_finds_the_charge(everywhere: World) -> None:
    invoice = everywhere.invoice()
    everywhere.fake.fail(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable, match="command_id"):
        pay(everywhere, invoice)
    assert everywhere.facts(invoice) == ["payment_attempted"]
    assert everywhere.acme.get_invoice(invoice).status == "open"
    assert isinstance(pay(everywhere, invoice), Paid)
    assert len(everywhere.fake.booked(invoice)) == 1
    assert everywhere.facts(invoice) == ["payment_attempted", "payment_succeeded", "paid"]


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.RATE_LIMITED, Fault.NOT_LET_IN])
def test_a_repeat_of_what_never_arrived_charges_once(world: World, fault: Fault) -> None:
    invoice = world.invoice()
    world.fake.fail(fault)
    with pytest.raises((Unavailable, ProcessorNotConfigured)) as failed:
        pay(world, invoice)
    if fault is Fault.RATE_LIMITED:
        assert isinstance(failed.value, RateLimited)
        assert failed.value.retry_after_s == 1.0
    assert world.booked(invoice) == 0
    assert isinstance(pay(world, invoice), Paid)
    assert isinstance(pay(world, invoice), Paid)
    assert len(world.fake.booked(invoice)) == 1


def test_faults_in_a_row_under_one_command_charge_once(world: World) -> None:
    invoice = world.invoice()
    for fault in (Fault.UNREACHABLE, Fault.ANSWER_LOST, Fault.RATE_LIMITED, Fault.UNREACHABLE):
        # Each repeat looks first what became of it, so the second fault hits the look.
        world.fake.fail(fault)
        with pytest.raises(Unavailable):
            pay(world, invoice)
    world.fake.fail(Fault.SLOW, Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        pay(world, invoice)
    assert isinstance(pay(world, invoice), Paid)
    assert len(world.fake.booked(invoice)) == 1


def test_a_fault_of_the_default_method_leaves_no_trace(world: World) -> None:
    invoice = world.invoice()
    world.watched.instead.append(Unavailable("down"))
    with pytest.raises(Unavailable):
        pay(world, invoice, None)
    assert world.facts(invoice) == []
    assert isinstance(pay(world, invoice, None), Paid)


def test_a_repeat_keeps_to_the_method_that_was_the_customers_own_the_first_time(
    world: World,
) -> None:
    invoice = world.invoice()
    world.fake.fail(Fault.UNREACHABLE)
    with pytest.raises(Unavailable):
        pay(world, invoice, None)
    world.fake.methods[ADA.id] = LOST
    assert isinstance(pay(world, invoice, None), Paid)


@pytest.mark.parametrize(
    "more",
    [{"amount": 100}, {"method": "pm_card_mastercard"}, {"method": None}],
    ids=["amount", "method", "default method"],
)
def test_other_arguments_under_the_same_command_are_malformed(world: World, more: Any) -> None:
    invoice = world.invoice()
    pay(world, invoice)
    world.watched.asked.clear()
    with pytest.raises(Malformed) as refused:
        pay(world, invoice, **more)
    assert refused.value.field == "command_id"
    with pytest.raises(Malformed):
        pay(world, world.invoice())
    with pytest.raises(Malformed):
        world.acme.refund_payment(invoice, command_id="pay")
    assert world.watched.asked == []


def test_a_command_belongs_to_its_tenant(world: World) -> None:
    pay(world, world.invoice())
    world.name = "other"
    invoice = world.invoice()
    assert isinstance(pay(world, invoice), Paid)


def test_two_tenants_with_invoices_of_one_name_are_charged_apart(world: World) -> None:
    for name in ("acme", "other"):
        world.name = name
        world.acme.draft_invoice(id="in_1", customer=ADA, currency="EUR", lines=[WORK])
        world.acme.finalize_invoice("in_1")
        assert isinstance(pay(world, "in_1"), Paid)
    assert {one.tenant for one in world.fake.booked("in_1")} == {"acme", "other"}


@pytest.mark.parametrize("then", ["repeat", "settle"])
@pytest.mark.parametrize("days", [0, 2])
def test_a_command_that_is_repeated_days_later_never_charges_twice(days: int, then: str) -> None:
    """Stripe forgets an idempotency key after a day, and each repeat may lose its answer."""
    clock = Clock()
    with (
        StripeServer(clock=clock) as server,
        Billing.open(
            ":memory:",
            seller=Seller(name="Northwind"),
            clock=clock,
            processor=StripeProcessor("sk_test_late", address=server.address, max_retries=0),
            documents=None,
            pdf=None,
        ) as billing,
    ):
        server.customer(ADA.id)
        acme = billing.tenant("acme")
        drafted = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
        invoice = acme.finalize_invoice(drafted.id).id

        def later_pay() -> PaymentOutcome:
            return acme.pay_invoice(invoice, payment_method=VISA, command_id="pay")

        server.revoked.add("sk_test_late")
        with pytest.raises(ProcessorNotConfigured):
            later_pay()
        server.revoked.clear()
        clock.now += timedelta(days=days)
        server.fail(Late(0), LoseAnswer())
        with suppress(CounterfoilError):
            later_pay()
        for _ in range(2):
            clock.now += timedelta(days=days)
            server.forget_keys()
            with suppress(CounterfoilError):
                later_pay() if then == "repeat" else acme.settle_payment(invoice)
        assert server.charges() <= 1
        shown = acme.get_invoice(invoice)
        assert server.charged().get("eur", 0) == shown.amount_paid


def test_stripe_is_asked_and_understood_as_the_fake_is() -> None:
    with (
        StripeServer() as server,
        Billing.open(
            ":memory:",
            seller=Seller(name="Northwind"),
            processor=StripeProcessor("sk_test_door", address=server.address, max_retries=0),
            documents=None,
            pdf=None,
        ) as billing,
    ):
        server.customer(ADA.id, default_payment_method=VISA)
        acme = billing.tenant("acme")

        def invoice() -> str:
            drafted = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
            return acme.finalize_invoice(drafted.id).id

        paid = acme.pay_invoice(by_default := invoice())
        assert paid.unwrap().status == "paid"
        declined = acme.pay_invoice(invoice(), payment_method=LOST)
        assert isinstance(declined, Declined)
        assert declined.error.code == "lost_card"
        assert isinstance(acme.pay_invoice(debit := invoice(), payment_method=DEBIT), Processing)
        assert isinstance(acme.cancel_payment(debit), Processing)
        asked = acme.pay_invoice(later := invoice(), payment_method=ASKS, command_id="pay")
        assert isinstance(asked, ActionRequired)
        again = acme.pay_invoice(later, payment_method=ASKS, command_id="pay")
        assert told(again) == told(asked)
        server.complete(asked.intent.id)
        assert isinstance(acme.settle_payment(later), Paid)
        server.fail(LoseAnswer())
        with pytest.raises(Unavailable):
            acme.pay_invoice(lost := invoice(), payment_method=VISA, command_id="lost")
        assert isinstance(acme.pay_invoice(lost, payment_method=VISA, command_id="lost"), Paid)
        acme.refund_payment(by_default, amount="19.00")
        assert server.refunded() == {"eur": 1900}
        assert server.charged() == {"eur": 3 * TOTAL}


# --- while the processor is asked -----------------------------------------------------------------


def test_the_attempt_is_a_fact_before_the_processor_hears_of_it(either: World) -> None:
    invoice = either.invoice()
    found: list[object] = []

    def look(asked: str) -> None:
        if asked == "charge":
            found.append(either.billing.log.read("acme", invoice)[-1].fact)

    either.watched.before = look
    either.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    (fact,) = found
    assert isinstance(fact, PaymentAttempted)
    assert (fact.amount, fact.processor, fact.payment_method) == (TOTAL, "fake", VISA)


def test_the_refund_is_a_fact_before_the_processor_hears_of_it(world: World) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    found: list[str] = []
    world.watched.before = lambda _: found.append(world.facts(invoice)[-1])
    world.acme.refund_payment(invoice)
    assert found == ["refund_attempted"]


def test_the_processor_is_never_asked_while_others_wait_for_the_database(
    everywhere: World,
) -> None:
    """Another thread writes to the same invoice, and to the whole tenant, while it is asked."""
    invoice = everywhere.invoice()
    wrote: list[str] = []

    def write(asked: str) -> None:
        with ThreadPoolExecutor(1) as thread:
            metadata = {"n": f"{len(wrote)}"}
            done = thread.submit(everywhere.acme.set_metadata, invoice, metadata)
            done.result(timeout=5)
            thread.submit(everywhere.draft).result(timeout=5)
        wrote.append(asked)

    everywhere.watched.before = write
    everywhere.fake.methods[ADA.id] = ASKS
    asked = everywhere.acme.pay_invoice(invoice, command_id="pay")
    assert isinstance(asked, ActionRequired)
    everywhere.acme.pay_invoice(invoice, command_id="pay")
    everywhere.acme.settle_payment(invoice)
    everywhere.acme.cancel_payment(invoice)
    everywhere.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    everywhere.acme.refund_payment(invoice, amount=100)
    assert wrote == [
        "default_payment_method",
        "charge",
        "retrieve",
        "retrieve",
        "cancel",
        "charge",
        "refund",
    ]
    assert everywhere.booked(invoice) == TOTAL - 100


def test_whoever_settles_while_a_charge_is_on_its_way_takes_it_or_stops_it(world: World) -> None:
    invoice = world.invoice()
    heard: list[object] = []

    def settle(asked: str) -> None:
        if asked == "charge":
            heard.append(world.acme.settle_payment(invoice))

    world.watched.before = settle
    outcome = world.acme.pay_invoice(invoice, payment_method=VISA)
    (settled,) = heard
    assert isinstance(settled, Declined)
    assert isinstance(outcome, Declined)
    assert outcome.error.code == settled.error.code == "canceled"
    assert world.booked(invoice) == 0
    assert world.facts(invoice) == ["payment_attempted", "payment_failed"]


def test_an_answer_that_comes_after_others_have_heard_more_is_not_told(world: World) -> None:
    """The payer confirms, and somebody settles, before the answer to the charge arrives."""
    invoice = world.invoice()

    class Late(FakeProcessor):
        def charge(self, charge: Charge) -> Outcome:
            said = super().charge(charge)
            self.confirm(self.booked(invoice)[0].id)
            world.acme.settle_payment(invoice)
            return said

    late = Late()
    world.watched.behind = late
    outcome = world.acme.pay_invoice(invoice, payment_method=ASKS)
    assert isinstance(outcome, Paid)
    assert world.facts(invoice) == ["payment_attempted", "payment_succeeded", "paid"]
    late.close()


def test_an_error_that_is_no_fault_leaves_the_payment_in_progress(world: World) -> None:
    invoice = world.invoice()
    world.watched.instead.append(RuntimeError("a bug of the processor"))
    with pytest.raises(RuntimeError):
        pay(world, invoice)
    assert world.facts(invoice) == ["payment_attempted"]
    assert isinstance(pay(world, invoice), Paid)


# --- read models that follow behind ---------------------------------------------------------------


@pytest.mark.parametrize("method", [VISA, LOST, ASKS, DEBIT])
def test_a_payment_returns_when_it_is_shown_if_one_waits_for_that(
    tmp_path: Path, method: str
) -> None:
    with opened(str(tmp_path / "log.db"), "async") as world:
        invoice = world.invoice()
        world.billing.projections.run()
        with pytest.raises(Unavailable, match="not shown yet"):
            world.acme.pay_invoice(invoice, payment_method=method, wait_s=0)
        world.billing.projections.run()
        assert len(world.payments(invoice)) == 1


def test_who_waits_reads_what_they_have_written(tmp_path: Path) -> None:
    stop = Event()
    with opened(str(tmp_path / "log.db"), "async") as world, ThreadPoolExecutor(1) as follower:
        following = follower.submit(world.billing.projections.run, until=stop)
        try:
            invoice = world.invoice()
            world.acme.pay_invoice(invoice, payment_method=VISA, wait_s=10).unwrap()
            (payment,) = world.acme.payments.list(invoice=invoice).data
            assert payment.status == "succeeded"
            world.acme.refund_payment(invoice, amount=100, wait_s=10)
            (refund,) = world.acme.payments.refunds(invoice)
            assert refund.status == "succeeded"
        finally:
            stop.set()
        following.result(10)


@pytest.mark.parametrize("method", [ASKS, VISA, LOST, DEBIT])
def test_a_repeat_returns_when_it_is_shown_if_one_waits_for_that(
    tmp_path: Path, method: str
) -> None:
    with opened(str(tmp_path / "log.db"), "async") as world:
        invoice = world.invoice()
        first = pay(world, invoice, method)
        with pytest.raises(Unavailable, match="not shown yet"):
            pay(world, invoice, method, wait_s=0)
        world.billing.projections.run()
        assert told(pay(world, invoice, method, wait_s=0)) == told(first)


@pytest.mark.parametrize("method", [VISA, "pm_card_pendingRefund"])
def test_a_refund_returns_when_it_is_shown_if_one_waits_for_that(
    tmp_path: Path, method: str
) -> None:
    with opened(str(tmp_path / "log.db"), "async") as world:
        invoice = world.invoice()
        world.acme.pay_invoice(invoice, payment_method=method).unwrap()
        world.billing.projections.run()
        with pytest.raises(Unavailable, match="not shown yet"):
            world.acme.refund_payment(invoice, wait_s=0)


# --- canceling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [ASKS, DEBIT])
def test_a_payment_that_has_not_ended_can_be_canceled(world: World, method: str) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=method)
    canceled = world.acme.cancel_payment(invoice)
    assert isinstance(canceled, Declined)
    assert canceled.error.code == "canceled"
    assert world.acme.cancel_payment(invoice) is None
    world.fake.confirm(world.fake.booked(invoice)[0].id)
    assert world.booked(invoice) == 0
    assert isinstance(world.acme.pay_invoice(invoice, payment_method=VISA), Paid)


def test_a_payment_that_never_arrived_can_be_canceled_and_never_will(world: World) -> None:
    invoice = world.invoice()
    world.fake.fail(Fault.UNREACHABLE)
    with pytest.raises(Unavailable):
        pay(world, invoice)
    assert isinstance(world.acme.cancel_payment(invoice), Declined)
    repeated = pay(world, invoice)
    assert isinstance(repeated, Declined)
    assert repeated.error.code == "canceled"
    assert world.booked(invoice) == 0


def test_canceling_too_late_tells_that_it_is_paid(world: World) -> None:
    invoice = world.invoice()
    world.fake.fail(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        pay(world, invoice)
    paid = world.acme.cancel_payment(invoice)
    assert isinstance(paid, Paid)
    assert paid.invoice.status == "paid"
    assert world.booked(invoice) == TOTAL


def test_a_debit_that_cannot_be_canceled_any_more_stays_in_progress(world: World) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=DEBIT)
    world.watched.instead.append(Pending())
    assert isinstance(world.acme.cancel_payment(invoice), Processing)
    world.fake.confirm(world.fake.booked(invoice)[0].id)
    assert isinstance(world.acme.settle_payment(invoice), Paid)


def test_canceling_that_is_not_heard_can_be_repeated(world: World) -> None:
    invoice = world.invoice()
    world.asks(invoice)
    world.fake.fail(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        world.acme.cancel_payment(invoice)
    assert world.facts(invoice)[-1] == "payment_action_required"
    assert isinstance(world.acme.cancel_payment(invoice), Declined)


# --- settling -------------------------------------------------------------------------------------


def test_settling_without_a_payment_in_progress_asks_nobody(world: World) -> None:
    invoice = world.invoice()
    assert world.acme.settle_payment(invoice) is None
    world.acme.pay_invoice(invoice, payment_method=VISA)
    world.watched.asked.clear()
    assert world.acme.settle_payment(invoice) is None
    assert world.acme.cancel_payment(invoice) is None
    assert world.watched.asked == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [REFUSED[0], REFUSED[3]],
)
def test_what_was_never_issued_has_nothing_to_settle(
    world: World, make: Callable[[World], str], reason: Reason
) -> None:
    invoice = make(world)
    for ask in (world.acme.settle_payment, world.acme.cancel_payment):
        with pytest.raises(Rejected) as refused:
            ask(invoice)
        assert refused.value.reason is reason


def test_settling_tells_what_became_of_it(either: World) -> None:
    cases = [(VISA, Paid), (LOST, Declined), (ASKS, ActionRequired), (DEBIT, Processing)]
    for method, kind in cases:
        invoice = either.invoice()
        either.fake.fail(Fault.ANSWER_LOST)
        with pytest.raises(Unavailable):
            either.acme.pay_invoice(invoice, payment_method=method)
        assert type(either.acme.settle_payment(invoice)) is kind
        assert len(either.fake.booked(invoice)) == 1


def test_settling_what_the_processor_never_heard_of_withdraws_it(world: World) -> None:
    invoice = world.invoice()
    world.fake.fail(Fault.UNREACHABLE)
    with pytest.raises(Unavailable):
        pay(world, invoice)
    outcome = world.acme.settle_payment(invoice)
    assert isinstance(outcome, Declined)
    assert outcome.error.code == "canceled"
    assert world.booked(invoice) == 0
    assert isinstance(pay(world, invoice), Declined)
    assert world.booked(invoice) == 0
    assert isinstance(world.acme.pay_invoice(invoice, payment_method=VISA), Paid)


def test_settling_that_is_not_heard_changes_nothing(world: World) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice)
    facts = world.facts(invoice)
    for fault in (Fault.UNREACHABLE, Fault.ANSWER_LOST, Fault.RATE_LIMITED):
        world.fake.fail(fault)
        with pytest.raises(Unavailable, match=invoice):
            world.acme.settle_payment(invoice)
    world.fake.fail(Fault.NOT_LET_IN)
    with pytest.raises(ProcessorNotConfigured):
        world.acme.settle_payment(invoice)
    assert world.facts(invoice) == facts
    world.fake.confirm(asked.intent.id)
    assert isinstance(world.acme.settle_payment(invoice), Paid)


@contextmanager
def elsewhere(world: World, database: str, name: str = "other") -> Iterator[World]:
    """The same database with another processor."""
    fake = FakeProcessor()
    watched = Watched(fake, name)
    with Billing.open(
        database, clock=world.clock, processor=watched, documents=None, pdf=None
    ) as billing:
        yield World(billing, fake, watched, world.clock)
    fake.close()


def test_a_payment_of_another_processor_is_not_asked_of_this_one(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database) as world:
        invoice = world.invoice()
        world.asks(invoice, command_id="pay")
        facts = world.facts(invoice)
        with elsewhere(world, database) as other:
            asks: list[Callable[[], object]] = [
                lambda: other.acme.settle_payment(invoice),
                lambda: other.acme.cancel_payment(invoice),
                lambda: pay(other, invoice, ASKS),
            ]
            for ask in asks:
                with pytest.raises(ProcessorNotConfigured, match=r"one of fake.*here is other"):
                    ask()
            assert other.watched.asked == []
            (settled,) = other.acme.settle_payments(waiting_s=0)
            assert isinstance(settled.error, ProcessorNotConfigured)
            assert other.watched.asked == []
        assert world.facts(invoice) == facts


def test_a_payment_of_another_processor_is_not_refunded_by_this_one(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database) as world:
        invoice = world.invoice()
        world.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
        facts = world.facts(invoice)
        with elsewhere(world, database) as other:
            with pytest.raises(ProcessorNotConfigured, match=r"one of fake.*here is other"):
                other.acme.refund_payment(invoice)
            assert other.watched.asked == []
            assert world.facts(invoice) == facts
            # Whoever gave it back by hand, at the other processor, can say so.
            other.acme.refund_payment(invoice, reference="by hand")


def test_what_failed_at_another_processor_can_be_paid_by_this_one(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database) as world:
        invoice = world.invoice()
        world.fake.refuse(world.asks(invoice).intent.id)
        assert isinstance(world.acme.settle_payment(invoice), Declined)
        with elsewhere(world, database) as other:
            assert isinstance(other.acme.pay_invoice(invoice, payment_method=VISA), Paid)


def test_an_intent_that_failed_is_withdrawn_before_another_payment_is_tried(world: World) -> None:
    """Its payer may hold it still, and try again."""
    invoice = world.invoice()
    asked = world.asks(invoice)
    world.fake.refuse(asked.intent.id)
    assert isinstance(world.acme.settle_payment(invoice), Declined)
    world.watched.asked.clear()
    assert isinstance(world.acme.pay_invoice(invoice, payment_method=VISA), Paid)
    assert world.watched.asked == ["cancel", "charge"]
    assert world.booked(invoice) == TOTAL


def test_an_intent_that_failed_and_came_through_after_all_is_not_paid_again(world: World) -> None:
    invoice = world.invoice()
    world.fake.refuse(world.asks(invoice).intent.id)
    assert isinstance(world.acme.settle_payment(invoice), Declined)
    world.watched.asked.clear()
    world.watched.instead.append(Succeeded("pi_late"))
    with pytest.raises(Rejected) as refused:
        world.acme.pay_invoice(invoice, payment_method=VISA)
    assert refused.value.reason is Reason.ALREADY_PAID
    assert world.watched.asked == ["cancel"]
    assert world.acme.get_invoice(invoice).amount_paid == TOTAL


def test_all_that_waited_long_enough_is_settled(everywhere: World) -> None:
    lost, asks, never, refund = (everywhere.invoice() for _ in range(4))
    everywhere.acme.pay_invoice(refund, payment_method="pm_card_pendingRefund").unwrap()
    everywhere.acme.refund_payment(refund)
    everywhere.clock.now += timedelta(seconds=1)
    everywhere.fake.fail(Fault.ANSWER_LOST, Fault.UNREACHABLE)
    for invoice in (lost, never):
        with pytest.raises(Unavailable):
            everywhere.acme.pay_invoice(invoice, payment_method=VISA)
    everywhere.asks(asks)
    everywhere.billing.projections.run()
    everywhere.clock.now += timedelta(seconds=598)
    assert list(everywhere.acme.settle_payments()) == []
    everywhere.clock.now += timedelta(seconds=1)
    (first,) = everywhere.acme.settle_payments()
    assert (first.invoice, first.status, first.error) == (refund, "succeeded", None)
    everywhere.billing.projections.run()
    everywhere.clock.now += timedelta(seconds=1)
    settled = {one.invoice: one.status for one in everywhere.acme.settle_payments()}
    assert settled == {lost: "succeeded", never: "failed", asks: "requires_action"}
    everywhere.billing.projections.run()
    assert [one.invoice for one in everywhere.acme.settle_payments()] == [asks]
    assert everywhere.acme.get_invoice(lost).status == "paid"
    assert everywhere.acme.get_invoice(never).status == "open"
    assert everywhere.booked(lost) == TOTAL
    assert everywhere.booked(refund) == 0


def test_one_payment_that_cannot_be_settled_stops_no_other(world: World) -> None:
    invoices = [world.invoice() for _ in range(4)]
    for invoice in invoices:
        world.fake.fail(Fault.ANSWER_LOST)
        with pytest.raises(Unavailable):
            world.acme.pay_invoice(invoice, payment_method=VISA)
        world.clock.now += timedelta(seconds=1)
    world.fake.fail(Fault.UNREACHABLE, Fault.SLOW, Fault.RATE_LIMITED)
    settled = list(world.acme.settle_payments(waiting_s=0))
    assert [one.invoice for one in settled] == invoices
    assert [one.status for one in settled] == [None, "succeeded", None, "succeeded"]
    assert isinstance(settled[0].error, Unavailable)
    assert isinstance(settled[2].error, RateLimited)
    assert [one.status for one in world.acme.settle_payments(waiting_s=0)] == ["succeeded"] * 2
    assert list(world.acme.settle_payments(waiting_s=0)) == []


UNSTORABLE: list[Outcome] = [
    Refused("do not honor", "No.", retryable=True),
    Refused("do_not_honor", "x" * 501, retryable=True),
    Refused("do_not_honor", "No.\0", retryable=True),
    Succeeded("x" * 501),
]


@pytest.mark.parametrize("said", UNSTORABLE, ids=["a code", "long words", "control", "a name"])
def test_what_a_processor_says_in_words_that_cannot_be_stored_is_taken_in_all_the_same(
    world: World, said: Outcome
) -> None:
    """Or the payment would be in progress for ever, whatever became of the money."""
    invoice = world.invoice()
    world.watched.instead.append(said)
    outcome = world.acme.pay_invoice(invoice, payment_method=VISA)
    assert isinstance(outcome, Paid if isinstance(said, Succeeded) else Declined)
    assert world.acme.settle_payment(invoice) is None


def test_settling_never_touches_another_tenant(everywhere: World) -> None:
    theirs = World(
        everywhere.billing, everywhere.fake, everywhere.watched, everywhere.clock, "other"
    )
    invoice = theirs.invoice()
    theirs.asks(invoice)
    everywhere.billing.projections.run()
    everywhere.watched.asked.clear()
    assert list(everywhere.acme.settle_payments(waiting_s=0)) == []
    for ask in (
        everywhere.acme.settle_payment,
        everywhere.acme.cancel_payment,
        everywhere.acme.refund_payment,
    ):
        with pytest.raises(NotFound):
            ask(invoice)
    assert everywhere.watched.asked == []
    assert [one.invoice for one in theirs.acme.settle_payments(waiting_s=0)] == [invoice]


@pytest.mark.parametrize("waiting_s", [-1, float("nan"), float("inf"), "1", None, True])
def test_how_long_it_waited_must_be_a_number_of_seconds(world: World, waiting_s: Any) -> None:
    with pytest.raises(Malformed) as refused:
        world.acme.settle_payments(waiting_s=waiting_s)
    assert refused.value.field == "waiting_s"


def test_read_models_that_are_behind_let_nothing_be_settled_twice(tmp_path: Path) -> None:
    with opened(str(tmp_path / "log.db"), "async") as world:
        lost, back = world.invoice(), paid_invoice(world, "pm_card_pendingRefund")
        world.acme.refund_payment(back)
        world.fake.fail(Fault.ANSWER_LOST)
        with pytest.raises(Unavailable):
            world.acme.pay_invoice(lost, payment_method=VISA)
        world.billing.projections.run()
        first = list(world.acme.settle_payments(waiting_s=0))
        facts = world.facts(lost), world.facts(back)
        world.watched.asked.clear()
        assert list(world.acme.settle_payments(waiting_s=0)) == first
        assert {one.status for one in first} == {"succeeded"}
        assert world.watched.asked == []
        assert (world.facts(lost), world.facts(back)) == facts


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.UNREACHABLE])
def test_all_who_ask_at_once_what_became_of_it_agree(everywhere: World, fault: Fault) -> None:
    for number in range(3):
        invoice, call = everywhere.invoice(), f"pay_{number}"
        everywhere.fake.fail(fault)
        with pytest.raises(Unavailable):
            pay(everywhere, invoice, command_id=call)
        answers = at_each(
            partial(everywhere.acme.settle_payment, invoice),
            partial(everywhere.acme.cancel_payment, invoice),
            partial(pay, everywhere, invoice, command_id=call),
            partial(everywhere.acme.settle_payment, invoice),
        )
        final = pay(everywhere, invoice, command_id=call)
        assert {type(answer) for answer in answers} <= {type(final), type(None)}, answers
        ended = ["payment_failed"] if isinstance(final, Declined) else ["payment_succeeded", "paid"]
        assert everywhere.facts(invoice) == ["payment_attempted", *ended]
        assert everywhere.booked(invoice) == (TOTAL if isinstance(final, Paid) else 0)


def test_two_who_settle_at_once_record_one_success(everywhere: World) -> None:
    invoice = everywhere.invoice()
    everywhere.fake.confirm(everywhere.asks(invoice).intent.id)
    everywhere.fake.fail(*[Fault.SLOW] * 4)
    answers = at_once(4, lambda: everywhere.acme.settle_payment(invoice))
    assert {type(answer) for answer in answers} <= {Paid, type(None)}
    assert everywhere.facts(invoice)[2:] == ["payment_succeeded", "paid"]


# --- refunds --------------------------------------------------------------------------------------


def paid_invoice(world: World, method: str = VISA) -> str:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=method).unwrap()
    world.watched.asked.clear()
    return invoice


def test_a_payment_is_given_back_by_the_processor_that_took_it(either: World) -> None:
    invoice = paid_invoice(either)
    shown = either.acme.refund_payment(invoice, amount="19.00", reason="late")
    assert shown.status == "paid"
    assert either.booked(invoice) == 10000
    either.clock.now += timedelta(seconds=1)
    either.acme.refund_payment(invoice)
    assert either.booked(invoice) == 0
    either.billing.projections.run()
    refunds = either.acme.payments.refunds(invoice)
    assert [(one.status, one.amount, one.reason) for one in refunds] == [
        ("succeeded", 1900, "late"),
        ("succeeded", 10000, None),
    ]
    with pytest.raises(Rejected) as refused:
        either.acme.refund_payment(invoice)
    assert refused.value.reason is Reason.REFUND_EXCEEDS_PAYMENT


BAD_REFUNDS: list[tuple[object, str]] = [
    (0, "amount"),
    (-1, "amount"),
    (1.0, "amount"),
    (TOTAL + 1, "refund_exceeds_payment"),
    (Money(1, "USD"), "currency_mismatch"),
    ("0.001", "too_precise"),
]


def test_an_amount_that_cannot_be_given_back_is_refused_by_name(world: World) -> None:
    invoice = paid_invoice(world)
    for given, name in BAD_REFUNDS:
        amount: Any = given
        with pytest.raises((Malformed, Rejected)) as refused:
            world.acme.refund_payment(invoice, amount=amount)
        assert why(refused.value) == name, amount
    assert world.watched.asked == []
    assert world.facts(invoice)[-1] == "paid"


@pytest.mark.parametrize("payment", ["py_absent", "", "\0", 7])
def test_a_payment_that_is_not_there_is_not_given_back(world: World, payment: Any) -> None:
    invoice = paid_invoice(world)
    with pytest.raises((Rejected, Malformed)):
        world.acme.refund_payment(invoice, payment=payment)
    assert world.watched.asked == []


def test_words_of_a_refund_that_cannot_be_stored_are_refused_by_name(world: World) -> None:
    invoice = paid_invoice(world)
    for call in ({"reason": "x" * 501}, {"reason": "\0"}, {"reference": "\0"}, {"reason": 7}):
        more: dict[str, Any] = dict(call)
        with pytest.raises(Malformed) as refused:
            world.acme.refund_payment(invoice, **more)
        assert [refused.value.field] == list(call)
    assert world.watched.asked == []


def test_an_empty_reference_is_none(world: World) -> None:
    invoice = paid_invoice(world)
    with suppress(Malformed):
        world.acme.refund_payment(invoice, reference="")
        assert world.booked(invoice) == 0
    assert world.facts(invoice).count("payment_refunded") == world.watched.asked.count("refund")


def test_what_went_back_of_an_open_invoice_is_owed_again(world: World) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=VISA, amount="50.00").unwrap()
    shown = world.acme.refund_payment(invoice, amount="20.00")
    assert (shown.amount_paid, shown.amount_remaining) == (3000, TOTAL - 3000)
    rest = world.acme.pay_invoice(invoice, payment_method=VISA).unwrap()
    assert (rest.status, rest.amount_paid) == ("paid", TOTAL)
    assert world.booked(invoice) == TOTAL


def test_refunds_at_once_never_give_back_more_than_was_received(everywhere: World) -> None:
    invoice = paid_invoice(everywhere)
    everywhere.fake.fail(*[Fault.SLOW] * 4)
    answers = at_once(4, lambda: everywhere.acme.refund_payment(invoice, amount="60.00"))
    assert [type(answer) for answer in answers].count(Invoice) == 1
    assert everywhere.booked(invoice) == TOTAL - 6000
    kinds = everywhere.facts(invoice)
    assert (kinds.count("refund_attempted"), kinds.count("payment_refunded")) == (1, 1)


def test_a_refund_of_a_part_leaves_room_for_the_rest_alone(world: World) -> None:
    invoice = paid_invoice(world, "pm_card_pendingRefund")
    world.acme.refund_payment(invoice, amount="60.00")
    with pytest.raises(Rejected) as refused:
        world.acme.refund_payment(invoice, amount="60.00")
    assert refused.value.facts["left"] == 5900
    with pytest.raises(Rejected):
        world.acme.refund_payment(invoice, amount="60.00", reference="by bank")


def test_a_refund_that_takes_days_is_pending_until_it_is_settled(either: World) -> None:
    invoice = paid_invoice(either, "pm_card_pendingRefund")
    either.acme.refund_payment(invoice, amount="60.00")
    either.billing.projections.run()
    (refund,) = either.acme.payments.refunds(invoice)
    assert (refund.status, refund.amount) == ("pending", 6000)
    (settled,) = either.acme.settle_payments(waiting_s=0)
    assert (settled.id, settled.status) == (refund.id, "succeeded")
    either.billing.projections.run()
    (refund,) = either.acme.payments.refunds(invoice)
    assert (refund.status, refund.amount) == ("succeeded", 6000)
    assert either.booked(invoice) == TOTAL - 6000


def test_a_refund_that_fails_is_told_and_makes_room_again(either: World) -> None:
    invoice = paid_invoice(either, "pm_card_refundFail")
    for _ in range(2):
        with pytest.raises(PaymentDeclined) as refused:
            either.acme.refund_payment(invoice, command_id="back")
        assert refused.value.code == "expired_or_canceled_card"
    assert either.watched.asked == ["refund"]
    either.billing.projections.run()
    (failed,) = either.acme.payments.refunds(invoice)
    assert (failed.status, failed.failure_code) == ("failed", "expired_or_canceled_card")
    shown = either.acme.refund_payment(invoice, reference="by bank")
    assert shown.status == "paid"
    assert either.watched.asked == ["refund"]


def test_a_repeated_refund_gives_back_once(everywhere: World) -> None:
    invoice = paid_invoice(everywhere)
    first = everywhere.acme.refund_payment(invoice, amount=100, command_id="back")
    assert everywhere.acme.refund_payment(invoice, amount=100, command_id="back") == first
    assert everywhere.booked(invoice) == TOTAL - 100
    with pytest.raises(Malformed) as refused:
        everywhere.acme.refund_payment(invoice, amount=101, command_id="back")
    assert refused.value.field == "command_id"


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.UNREACHABLE, Fault.NOT_LET_IN])
@pytest.mark.parametrize("then", ["repeat", "settle"])
def test_a_refund_that_was_not_heard_is_given_once(world: World, fault: Fault, then: str) -> None:
    invoice = paid_invoice(world)
    world.fake.fail(fault)
    with pytest.raises((Unavailable, ProcessorNotConfigured)):
        world.acme.refund_payment(invoice, amount="60.00", command_id="back")
    with pytest.raises(Rejected):
        world.acme.refund_payment(invoice, amount="60.00")
    if then == "repeat":
        world.acme.refund_payment(invoice, amount="60.00", command_id="back")
    else:
        assert [one.status for one in world.acme.settle_payments(waiting_s=0)] == ["succeeded"]
    assert world.booked(invoice) == TOTAL - 6000
    assert world.facts(invoice)[-2:] == ["refund_attempted", "payment_refunded"]


def test_a_refund_that_went_another_way_asks_no_processor(world: World) -> None:
    invoice = paid_invoice(world)
    world.acme.refund_payment(invoice, amount=100, reference="SEPA 4711")
    (refund,) = world.acme.payments.refunds(invoice)
    assert (refund.status, refund.reference) == ("succeeded", "SEPA 4711")
    by_bank = world.acme.record_payment(world.invoice(), amount=TOTAL).id
    world.acme.refund_payment(by_bank, amount=100)
    assert world.watched.asked == []
    assert world.booked(invoice) == TOTAL


def test_of_several_payments_it_must_be_said_which_goes_back(world: World) -> None:
    invoice = world.invoice()
    world.acme.pay_invoice(invoice, payment_method=VISA, amount="19.00").unwrap()
    world.acme.record_payment(invoice, amount="100.00")
    world.watched.asked.clear()
    with pytest.raises(Malformed) as refused:
        world.acme.refund_payment(invoice)
    assert refused.value.field == "payment"
    card, bank = sorted(world.payments(invoice), key=lambda one: one.processor is None)
    world.acme.refund_payment(invoice, payment=card.id)
    world.acme.refund_payment(invoice, payment=bank.id, amount=1)
    assert world.watched.asked == ["refund"]
    assert world.booked(invoice) == 0
    with pytest.raises(Rejected):
        world.acme.refund_payment(invoice, payment=card.id, amount=1)


def test_what_was_refused_or_is_in_progress_cannot_be_given_back(world: World) -> None:
    for method in (LOST, ASKS, DEBIT):
        invoice = world.invoice()
        world.acme.pay_invoice(invoice, payment_method=method)
        world.watched.asked.clear()
        (payment,) = world.payments(invoice)
        for name in (None, payment.id):
            with pytest.raises(Rejected) as refused:
                world.acme.refund_payment(invoice, payment=name)
            assert refused.value.reason is Reason.NO_SUCH_PAYMENT
        assert world.watched.asked == []


def test_a_surplus_goes_back_before_anything_is_owed_again(world: World) -> None:
    invoice = world.invoice()
    asked = world.asks(invoice)
    world.acme.record_payment(invoice, amount="119.00")
    world.fake.confirm(asked.intent.id)
    world.acme.settle_payment(invoice)
    card = next(one for one in world.payments(invoice) if one.processor)
    shown = world.acme.refund_payment(invoice, payment=card.id)
    assert (shown.status, shown.amount_paid, shown.amount_remaining) == ("paid", TOTAL, 0)
    assert world.booked(invoice) == 0


def test_a_version_that_has_moved_refuses_a_refund(world: World) -> None:
    invoice = paid_invoice(world)
    with pytest.raises(Conflict):
        world.acme.refund_payment(invoice, expected_version=1)
    assert world.watched.asked == []


# --- secrets --------------------------------------------------------------------------------------


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


def test_the_secret_of_a_payer_is_told_to_the_caller_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spans: InMemorySpanExporter
) -> None:
    caplog.set_level(logging.DEBUG)
    written: list[str] = []
    with opened(str(tmp_path / "log.db")) as world:
        invoice = world.invoice()
        asked = world.asks(invoice, command_id="pay")
        secret = asked.intent.client_secret
        assert secret
        written += [str(asked), repr(asked), repr(asked.args), repr(asked.intent)]
        with pytest.raises(errors.ActionRequired) as raised:
            asked.unwrap()
        error = raised.value
        written += ["".join(traceback.format_exception(error)), repr(raised), f"{error}"]
        for fault in (Fault.ANSWER_LOST, Fault.RATE_LIMITED, Fault.NOT_LET_IN):
            world.fake.fail(fault)
            with pytest.raises(CounterfoilError) as failed:
                world.acme.settle_payment(invoice)
            written.append("".join(traceback.format_exception(failed.value)))
        written += [repr(one) for one in world.acme.settle_payments(waiting_s=0)]
        written += [repr(world.acme.settle_payment(invoice)), repr(world.payments(invoice))]
        world.fake.confirm(asked.intent.id)
        written += [repr(world.acme.settle_payment(invoice)), repr(world.payments(invoice))]
        written.append(repr(world.billing.log.since(0, limit=100)))
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    told_spans = [
        f"{one.name} {one.attributes} {one.to_json()}" for one in spans.get_finished_spans()
    ]
    assert any("counterfoil.payments.charge" in one for one in told_spans)
    assert secret.encode() not in stored
    assert asked.intent.id.encode() in stored
    for text in (*written, *told_spans, caplog.text):
        assert secret not in text


# --- a processor of one's own ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "processor",
    ["", "visa", "fake:", "stripe:sk_test_1", 7, FakeProcessor, object()],
    ids=lambda given: repr(given)[:20],
)
def test_what_is_no_processor_is_refused_when_a_billing_is_opened(processor: Any) -> None:
    with pytest.raises(Malformed) as refused:
        Billing.open(":memory:", processor=processor)
    assert refused.value.field == "processor"


def test_a_processor_that_cannot_do_all_is_refused_when_a_billing_is_opened() -> None:
    class Half:
        name = "half"

        def nothing(self, *_: object) -> Succeeded:
            return Succeeded("x")

        charge = retrieve = cancel = refund = close = nothing

    half: Any = Half()
    with pytest.raises(Malformed) as refused:
        Billing.open(":memory:", processor=half)
    assert refused.value.field == "processor"


def test_the_books_of_the_fake_outlive_a_billing(tmp_path: Path) -> None:
    database, ledger = str(tmp_path / "log.db"), f"fake:{tmp_path / 'books.db'}"
    with Billing.open(database, seller=Seller(name="Northwind"), processor=ledger) as billing:
        acme = billing.tenant("acme")
        drafted = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
        invoice = acme.finalize_invoice(drafted.id).id
        assert isinstance(acme.pay_invoice(invoice, payment_method=ASKS), ActionRequired)
    books = FakeProcessor(tmp_path / "books.db")
    (booked,) = books.booked(invoice)
    books.confirm(booked.id)
    books.close()
    with Billing.open(database, processor=ledger) as billing:
        paid = billing.tenant("acme").settle_payment(invoice)
        assert isinstance(paid, Paid)
        assert paid.invoice.issued_on is not None
        assert paid.invoice.issued_on >= date(2026, 1, 1)
