"""Is what is to be done next, so that an invoice is paid, what its history and the schedule say?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from counterfoil.domain.envelope import Actor, ActorType, Envelope, Recorded
from counterfoil.domain.errors import Malformed
from counterfoil.domain.invoice.collecting import (
    Collect,
    GiveUp,
    History,
    Nothing,
    Schedule,
    Settle,
    Step,
    Wait,
    next_step,
)
from counterfoil.domain.invoice.events import (
    CollectionMethod,
    InvoiceEvent,
    InvoiceFinalized,
    PaymentAttempted,
    PaymentFailed,
    PaymentSucceeded,
    Status,
)
from counterfoil.domain.ports import CANCELED
from counterfoil.domain.value import PaymentId
from examples import (
    DISCARDED,
    DRAFT,
    DRAFTED,
    FINALIZED,
    GIVEN_UP,
    HALF_CREDITED,
    ISSUED_ON,
    LINE_ADDED,
    NOTHING_DUE,
    OPEN,
    PAID,
    PAID_UP,
    SENT,
    STORED,
    TERMS,
    VOIDED_UP,
    action_required,
    attempted,
    reconciled,
    recorded,
    refunded,
    succeeded,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
DUE = datetime(2026, 3, 1, tzinfo=UTC)
DEFAULT = Schedule()
STOLEN = "stolen_card"
NAME = Envelope(
    tenant="acme",
    stream="in_1",
    version=1,
    position=1,
    type="",
    recorded_at=DUE,
    actor=Actor(type=ActorType.SYSTEM, id="system"),
    command_id="cmd_1",
    causation_id=None,
    correlation_id=None,
    hash=b"",
)


class Given:
    """A history that goes on with the time, and what is to be done then."""

    def __init__(self, facts: Iterable[InvoiceEvent] = OPEN, at: datetime = DUE) -> None:
        self.history: History = ()
        self.then(at, *facts)

    def then(self, at: datetime, *facts: InvoiceEvent) -> Given:
        envelope = replace(NAME, recorded_at=at)
        self.history = (*self.history, *(Recorded(envelope, fact) for fact in facts))
        return self

    def refused(
        self, at: datetime, *, code: str = "card_declined", retryable: bool = True, name: str = ""
    ) -> Given:
        payment = name or f"pay_{len(self.history)}"
        return self.then(at, attempted(payment), refusal(payment, code, retryable=retryable))

    def step(self, now: datetime, *days: int, zone: tzinfo = UTC) -> Step:
        schedule = Schedule(retry_after_days=days) if days else DEFAULT
        return next_step(self.history, schedule, now, zone)


def refusal(payment: str, code: str = "card_declined", *, retryable: bool = True) -> PaymentFailed:
    return PaymentFailed(payment=PaymentId(payment), code=code, message="No.", retryable=retryable)


def collects(step: Step) -> tuple[int, str | None]:
    """For the so-manieth time, and what not with; when the schedule ends is a matter of its own."""
    assert isinstance(step, Collect)
    return step.attempt, step.not_with


def due_on(day: date | None) -> InvoiceFinalized:
    return FINALIZED.model_copy(update={"due_on": day})


# --- what is not collected ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ((), "absent"),
        (DRAFT, "draft"),
        ((*DRAFT, DISCARDED), "discarded"),
        (PAID_UP, "paid"),
        (VOIDED_UP, "void"),
        (GIVEN_UP, "uncollectible"),
        ((*DRAFT, FINALIZED, NOTHING_DUE), "paid"),
        ((*OPEN, reconciled(Status.PAID, settled=11_900)), "paid"),
        ((*OPEN, reconciled(Status.VOID)), "void"),
        ((*PAID_UP, refunded(amount=11_900, reopened=0)), "paid"),
        ((*PAID_UP, reconciled(Status.OPEN)), "nothing_remaining"),
    ],
)
def test_what_is_not_open_is_not_collected(facts: tuple[InvoiceEvent, ...], why: str) -> None:
    for now in (DUE - 1_000 * DAY, NOON, NOON + 1_000 * DAY):
        assert Given(facts).step(now) == Nothing(why)


def test_who_pays_on_being_asked_is_not_charged() -> None:
    terms = TERMS.model_copy(update={"collection_method": CollectionMethod.SEND_INVOICE})
    drafted = DRAFTED.model_copy(update={"terms": terms})
    given = Given((drafted, LINE_ADDED, FINALIZED))
    assert given.step(NOON + 1_000 * DAY) == Nothing("send_invoice")
    # Not even if somebody tried once.
    assert given.refused(NOON).step(NOON + 1_000 * DAY) == Nothing("send_invoice")


# --- the first time -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25), date(2026, 12, 31)])
def test_it_falls_due_when_its_day_begins_where_it_was_issued(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    due = datetime(day.year, day.month, day.day, tzinfo=zone)
    given = Given((*DRAFT, due_on(day)))
    for seen_from in (UTC, zone, timezone(timedelta(hours=14))):
        now = due.astimezone(seen_from)
        assert given.step((due.astimezone(UTC) - SECOND).astimezone(seen_from), zone=zone) == Wait(
            due
        )
        assert given.step(now, zone=zone) == Collect(1)


def test_a_day_that_begins_an_hour_late_is_due_when_it_begins() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # summer time begins at midnight there
    given = Given((*DRAFT, due_on(date(2026, 4, 24))))
    begins = datetime(2026, 4, 23, 22, 0, tzinfo=UTC)
    assert isinstance(given.step(begins - SECOND, zone=cairo), Wait)
    assert given.step(begins, zone=cairo) == Collect(1)


def test_without_a_due_date_it_is_due_when_it_is_issued() -> None:
    assert FINALIZED.due_on is None
    midnight = datetime(ISSUED_ON.year, ISSUED_ON.month, ISSUED_ON.day, tzinfo=UTC)
    assert Given().step(midnight) == Collect(1)
    assert Given().step(midnight - SECOND) == Wait(midnight)


@pytest.mark.parametrize("hours", [-12, 0, 14])
def test_the_last_of_all_days_can_be_waited_for(hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    given = Given((*DRAFT, due_on(date.max)))
    assert isinstance(given.step(NOON, zone=zone), Wait)
    assert isinstance(Given((*DRAFT, due_on(date.min))).step(NOON, zone=zone), Collect)


def test_what_was_sent_or_printed_or_credited_in_part_is_collected_all_the_same() -> None:
    assert Given((*OPEN, SENT, STORED, HALF_CREDITED)).step(NOON) == Collect(1)


def test_a_part_that_came_leaves_the_rest_to_be_collected() -> None:
    by_bank = recorded(amount=5_000)
    assert Given((*OPEN, by_bank)).step(NOON) == Collect(1)
    by_card = (attempted(amount=5_000), succeeded(amount=5_000))
    assert Given((*OPEN, *by_card)).step(NOON) == Collect(1)
    given = Given().refused(NOON).then(NOON + SECOND, by_bank)
    assert given.step(NOON + 2 * SECOND) == Wait(NOON + DAY)
    assert collects(given.step(NOON + DAY)) == (2, None)


# --- again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [(1, 3, 5, 7), (1,), (0,), (0, 0, 2), (365,), (7, 1)])
def test_each_refusal_is_followed_by_an_attempt_to_the_second(days: tuple[int, ...]) -> None:
    given, at = Given(), NOON
    for attempt, gap in enumerate(days, 2):
        given.refused(at)
        again = at + gap * DAY
        if gap:
            assert given.step(at, *days) == Wait(again)
            assert given.step(again - SECOND, *days) == Wait(again)
        assert collects(given.step(again, *days)) == (attempt, None)
        at = again + 17 * SECOND
    given.refused(at)
    for now in (at, at + 10_000 * DAY):
        assert given.step(now, *days) == GiveUp(len(days) + 1)


def test_the_default_is_one_three_five_and_seven_days() -> None:
    given, at = Given(), NOON
    for days in (1, 3, 5, 7):
        given.refused(at)
        assert given.step(at) == Wait(at + days * DAY)
        at += days * DAY
    assert given.refused(at).step(at) == GiveUp(5)


def test_without_a_schedule_one_refusal_is_enough() -> None:
    none = Schedule(retry_after_days=())
    assert next_step(Given().history, none, NOON, UTC) == Collect(1)
    assert next_step(Given().refused(NOON).history, none, NOON, UTC) == GiveUp(1)


@pytest.mark.parametrize("days", [(-1,), (366,), (1,) * 51, ("x",), (1.5,), None])
def test_a_schedule_that_makes_no_sense_is_malformed(days: Any) -> None:
    with pytest.raises(Malformed) as refused:
        Schedule(retry_after_days=days)
    assert refused.value.field.startswith("retry_after_days")


def test_a_day_is_24_hours_also_when_the_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 3, 28, 12, 0, tzinfo=berlin).astimezone(UTC)
    given = Given().refused(at)
    assert given.step(at + DAY - SECOND, zone=berlin) == Wait(at + DAY)
    assert collects(given.step((at + DAY).astimezone(berlin), zone=berlin)) == (2, None)


def test_the_time_counts_from_the_refusal_not_from_the_attempt() -> None:
    given = Given().then(NOON, attempted()).then(NOON + 5 * DAY, refusal("pay_1"))
    assert given.step(NOON + 5 * DAY) == Wait(NOON + 6 * DAY)


def test_a_refusal_before_it_was_due_counts_too() -> None:
    given = Given((*DRAFT, due_on(date(2026, 4, 1)))).refused(NOON)
    assert given.step(NOON) == Wait(NOON + DAY)


def test_what_was_refused_for_good_is_not_asked_again_with_the_same_method() -> None:
    given = Given().refused(NOON, code=STOLEN, retryable=False)
    assert collects(given.step(NOON + DAY)) == (2, "pm_1")
    assert given.step(NOON + DAY - SECOND) == Wait(NOON + DAY)


def test_only_the_last_refusal_says_what_not_to_ask_with() -> None:
    given = Given().refused(NOON, retryable=False).refused(NOON + DAY)
    assert collects(given.step(NOON + 4 * DAY)) == (3, None)
    given = Given().refused(NOON).refused(NOON + DAY, retryable=False)
    assert collects(given.step(NOON + 4 * DAY)) == (3, "pm_1")


def test_what_was_withdrawn_was_no_attempt() -> None:
    given = Given().refused(NOON, code=CANCELED)
    assert given.step(NOON) == Collect(1)
    given.refused(NOON, code="card_declined").refused(NOON + DAY, code=CANCELED)
    assert collects(given.step(NOON + DAY)) == (2, None)
    assert given.step(NOON + DAY - SECOND) == Wait(NOON + DAY)
    for hour in range(100):
        given.refused(NOON + DAY + hour * SECOND, code=CANCELED)
    assert collects(given.step(NOON + 2 * DAY)) == (2, None)


def test_what_was_withdrawn_last_forgets_no_method_that_was_refused_for_good() -> None:
    given = Given().refused(NOON, retryable=False).refused(NOON + SECOND, code=CANCELED)
    assert collects(given.step(NOON + DAY)) == (2, "pm_1")


@pytest.mark.parametrize("days", [(1, 3, 5, 7), (1,), (0,), (0, 0, 2), (7, 1)])
def test_it_ends_with_all_days_that_are_left_after_the_last_refusal(days: tuple[int, ...]) -> None:
    given, at = Given(), NOON
    for place, gap in enumerate(days):
        given.refused(at, retryable=False)
        ends = at + sum(days[place:]) * DAY
        for now in (at + gap * DAY, at + 1_000 * DAY):
            assert given.step(now, *days) == Collect(place + 2, "pm_1", ends)
        at += gap * DAY + 17 * SECOND


def test_what_is_due_for_the_first_time_has_no_end_yet() -> None:
    assert Given().step(NOON + 1_000 * DAY) == Collect(attempt=1, not_with=None, ends=None)


def test_a_payment_between_two_attempts_ends_them() -> None:
    given = Given().refused(NOON).then(NOON + SECOND, recorded(), PAID)
    assert given.step(NOON + DAY) == Nothing("paid")
    late = Given().refused(NOON, name="pay_1").then(NOON + SECOND, succeeded("pay_1"), PAID)
    assert late.step(NOON + DAY) == Nothing("paid")


# --- what is in progress --------------------------------------------------------------------------


def test_an_attempt_without_an_outcome_is_settled_first() -> None:
    given = Given().then(NOON, attempted())
    for now in (NOON - DAY, NOON, NOON + 100 * DAY):
        assert given.step(now) == Settle("pay_1", NOON, by_payer=False)


def test_a_payer_who_is_to_confirm_is_waited_for() -> None:
    given = Given().then(NOON, attempted()).then(NOON + SECOND, action_required())
    assert given.step(NOON + DAY) == Settle("pay_1", NOON, by_payer=True)


def test_whether_the_payer_is_waited_for_is_a_matter_of_the_live_payment() -> None:
    given = Given().then(NOON, attempted("pay_1"), action_required("pay_1"), refusal("pay_1"))
    given.then(NOON + DAY, attempted("pay_2"))
    assert given.step(NOON + 2 * DAY) == Settle("pay_2", NOON + DAY, by_payer=False)


def test_an_attempt_in_progress_comes_before_giving_up() -> None:
    given = Given().refused(NOON).then(NOON + DAY, attempted("pay_x"))
    assert next_step(given.history, Schedule(retry_after_days=()), NOON + DAY, UTC) == Settle(
        "pay_x", NOON + DAY, by_payer=False
    )


# --- laws -----------------------------------------------------------------------------------------

ENDS = st.sampled_from(["refused", "for good", "canceled", "asks", "lost", "part", "paid"])


@drawn(
    days=st.lists(st.integers(0, 10), max_size=5).map(tuple),
    ends=st.lists(ENDS, max_size=25),
    waits=st.lists(st.integers(0, 3 * 86_400), min_size=60, max_size=60),
)
def test_nobody_is_charged_twice_within_a_gap_and_it_always_ends(
    days: tuple[int, ...], ends: list[str], waits: list[int]
) -> None:
    schedule, given, now = Schedule(retry_after_days=days), Given(), NOON
    refusals: list[datetime] = []
    left = iter(ends)
    for attempt in range(1_000):
        step = next_step(given.history, schedule, now, UTC)
        match step:
            case Nothing(why="paid"):
                break
            case GiveUp(attempts=attempts):
                assert attempts == len(refusals) == len(days) + 1
                break
            case Wait(until=until):
                assert now < until
                # Sometimes too early, sometimes late.
                now = min(until, now + DAY) if attempt % 3 else until
            case Settle(payment=payment):
                _end(given, payment, "refused" if attempt % 2 else "paid", now)
                if isinstance(given.history[-1].fact, PaymentFailed):
                    refusals.append(now)
            case Collect(attempt=place):
                assert place == len(refusals) + 1
                if refusals:
                    assert now - refusals[-1] >= days[len(refusals) - 1] * DAY
                payment, end = f"pay_{len(given.history)}", next(left, "paid")
                given.then(now, attempted(payment, amount=_owed(given)))
                _end(given, payment, end, now)
                if end in {"refused", "for good"}:
                    refusals.append(now)
            case _:
                raise AssertionError(step)
        now += timedelta(seconds=waits[attempt % len(waits)] % 7_200)
    else:
        raise AssertionError("it never ends")


def _owed(given: Given) -> int:
    parts = [one for one in given.history if isinstance(one.fact, PaymentSucceeded)]
    return 11_900 - 100 * len(parts)


def _end(given: Given, payment: str, end: str, now: datetime) -> None:
    live = next(
        one.fact.amount
        for one in given.history
        if isinstance(one.fact, PaymentAttempted) and one.fact.payment == payment
    )
    match end:
        case "refused":
            given.then(now, refusal(payment))
        case "for good":
            given.then(now, refusal(payment, STOLEN, retryable=False))
        case "canceled":
            given.then(now, refusal(payment, CANCELED))
        case "asks":
            given.then(now, action_required(payment))
        case "lost":
            pass
        case "part":
            given.then(now, refusal(payment, CANCELED), recorded(f"bank_{payment}", amount=100))
        case _:
            given.then(now, succeeded(payment, amount=live), PAID)


@drawn(
    hours=st.lists(st.integers(0, 400), min_size=1, max_size=8),
    later=st.integers(0, 10_000),
    sooner=st.integers(0, 10_000),
)
def test_the_later_it_is_the_less_is_waited_for(hours: list[int], later: int, sooner: int) -> None:
    given, at = Given(), NOON
    for gap in hours:
        at += timedelta(hours=gap)
        given.refused(at)
    first, then = sorted((sooner, later))
    before, after = (given.step(at + timedelta(hours=many)) for many in (first, then))
    if not isinstance(before, Wait):
        assert after == before
