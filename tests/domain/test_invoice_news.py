"""What counts of a processor's news that comes twice, late, or out of order?

An event counts once, for ever. Its own time orders what is said of one payment, and of no other.
"""

from __future__ import annotations

from datetime import timedelta, timezone
from itertools import permutations

import pytest

from counterfoil.domain.errors import Reason
from counterfoil.domain.invoice.commands import InvoiceCommand
from counterfoil.domain.invoice.events import PaymentFailed, Status
from counterfoil.domain.invoice.state import Issued, fold
from examples import (
    ACTION_REQUIRED,
    ATTEMPTED,
    FAILED,
    LATER,
    NOON,
    OPEN,
    PAID,
    SUCCEEDED,
    action_required,
    attempted,
    fail,
    failed,
    reconcile,
    reconciled,
    recorded,
    require_action,
    succeed,
    succeeded,
    told,
)
from histories import after
from spec import given

FIRST, SECOND = told("evt_pay_1", NOON), told("evt_pay_2", LATER)
BETWEEN = NOON + timedelta(hours=1)
LIVE = (*OPEN, ATTEMPTED)

# --- news is kept ---------------------------------------------------------------------------


def test_a_fact_names_the_event_that_told_it() -> None:
    given(*LIVE).when(require_action(news=FIRST)).then(action_required(news=FIRST))
    given(*LIVE).when(fail(news=FIRST)).then(failed(news=FIRST))
    given(*LIVE).when(succeed(news=FIRST)).then(succeeded(news=FIRST), PAID)


def test_what_the_processor_answered_itself_names_no_event() -> None:
    given(*LIVE).when(require_action()).then(ACTION_REQUIRED)
    given(*LIVE).when(fail()).then(FAILED)
    given(*LIVE).when(succeed()).then(SUCCEEDED, PAID)


# --- twice ----------------------------------------------------------------------------------


def test_an_event_counts_once() -> None:
    required, gone = action_required(news=FIRST), failed(news=FIRST)
    given(*LIVE, required).when(require_action(news=FIRST)).then_nothing()
    given(*LIVE, gone).when(fail(news=FIRST)).then_nothing()
    given(*LIVE, succeeded(news=FIRST), PAID).when(succeed(news=FIRST)).then_nothing()


def test_an_event_counts_once_whatever_came_after_it() -> None:
    required = action_required(news=FIRST)
    for since in (
        (failed(news=SECOND),),
        (succeeded(news=SECOND), PAID),
        (FAILED, attempted("pay_2")),
        (action_required(intent="pi_2", news=SECOND),),
        (reconciled(Status.VOID),),
    ):
        given(*LIVE, required, *since).when(require_action(news=FIRST)).then_nothing()


def test_an_event_that_told_a_failure_is_quiet_after_the_late_success() -> None:
    history = (*LIVE, failed(news=FIRST), succeeded(news=SECOND), PAID)
    given(*history).when(fail(news=FIRST)).then_nothing()
    given(*history).when(fail(code="expired_card", news=FIRST)).then_nothing()


def test_an_event_counts_once_whatever_it_is_said_to_say() -> None:
    history = (*LIVE, action_required(news=FIRST))
    given(*history).when(require_action(intent="pi_2", news=FIRST)).then_nothing()
    given(*history).when(fail(news=FIRST)).then_nothing()


def test_an_event_that_told_of_money_is_quiet_even_if_it_names_another_reference() -> None:
    history = (*LIVE, succeeded(news=FIRST), PAID)
    given(*history).when(succeed(reference="ch_2", news=FIRST)).then_nothing()
    given(*history).when(succeed(reference="ch_2", news=SECOND)).then_rejected(Reason.PAYMENT_ENDED)


def test_no_event_that_was_heard_before_keeps_money_from_counting() -> None:
    history = (*LIVE, action_required(news=FIRST))
    given(*history).when(succeed(news=FIRST)).then(succeeded(news=FIRST), PAID)


def test_an_event_counts_once_even_with_another_time() -> None:
    again = told(FIRST.provider_event, LATER)
    given(*LIVE, action_required(news=FIRST)).when(fail(news=again)).then_nothing()


def test_an_event_counts_once_in_an_invoice_and_not_once_in_a_payment() -> None:
    history = (*LIVE, failed(news=FIRST), attempted("pay_2"))
    given(*history).when(require_action("pay_2", news=FIRST)).then_nothing()
    given(*history).when(fail("pay_2", news=FIRST)).then_nothing()


def test_the_events_of_an_outsider_who_reconciles_are_others() -> None:
    history = (*LIVE, reconciled(Status.UNCOLLECTIBLE, provider_event="evt_pay_1"))
    given(*history).when(fail(news=FIRST)).then(failed(news=FIRST))
    given(*LIVE, failed(news=FIRST)).when(reconcile(Status.VOID, "evt_pay_1")).then(
        reconciled(Status.VOID, provider_event="evt_pay_1")
    )


def test_the_event_of_what_was_answered_already_makes_no_second_fact_of_an_end() -> None:
    given(*LIVE, FAILED).when(fail(news=FIRST)).then_nothing()
    given(*LIVE, SUCCEEDED, PAID).when(succeed(news=FIRST)).then_nothing()
    given(*LIVE, failed(news=FIRST)).when(fail()).then_nothing()
    given(*LIVE, failed(news=FIRST)).when(fail(news=SECOND)).then_nothing()
    given(*LIVE, succeeded(news=FIRST), PAID).when(succeed()).then_nothing()
    given(*LIVE, succeeded(news=FIRST), PAID).when(succeed(news=SECOND)).then_nothing()


def test_an_intent_that_is_known_is_heard_again_only_to_know_the_time() -> None:
    given(*LIVE, ACTION_REQUIRED).when(require_action(news=FIRST)).then(action_required(news=FIRST))
    given(*LIVE, action_required(news=FIRST)).when(require_action()).then_nothing()
    given(*LIVE, action_required(news=FIRST)).when(require_action(news=SECOND)).then(
        action_required(news=SECOND)
    )


# --- late, and out of order -----------------------------------------------------------------


def test_a_failure_from_before_the_payer_had_to_act_is_late() -> None:
    history = (*LIVE, action_required(news=SECOND))
    given(*history).when(fail(news=FIRST)).then_rejected(Reason.OUTDATED, known=LATER, given=NOON)


def test_an_older_intent_is_late() -> None:
    history = (*LIVE, action_required(intent="pi_2", news=SECOND))
    given(*history).when(require_action(news=FIRST)).then_rejected(Reason.OUTDATED)
    given(*history).when(require_action(intent="pi_2", news=FIRST)).then_rejected(Reason.OUTDATED)


def test_news_of_a_payment_is_measured_by_the_newest_of_it() -> None:
    third = told("evt_pay_3", BETWEEN)
    history = (*LIVE, action_required(news=SECOND), action_required(intent="pi_2"))
    given(*history).when(fail(news=third)).then_rejected(
        Reason.OUTDATED, known=LATER, given=BETWEEN
    )


def test_news_of_the_same_moment_is_not_late() -> None:
    same = told("evt_pay_3", LATER.astimezone(timezone(timedelta(hours=-5))))
    given(*LIVE, action_required(news=SECOND)).when(fail(news=same)).then(failed(news=same))


def test_what_the_processor_answered_itself_is_never_late() -> None:
    history = (*LIVE, action_required(news=SECOND))
    given(*history).when(fail()).then(FAILED)
    given(*history).when(require_action(intent="pi_2")).then(action_required(intent="pi_2"))


def test_what_was_answered_without_a_time_makes_nothing_late() -> None:
    given(*LIVE, ACTION_REQUIRED).when(fail(news=FIRST)).then(failed(news=FIRST))


def test_a_success_is_never_late() -> None:
    required, gone = action_required(news=SECOND), failed(news=SECOND)
    for history in ((*LIVE, required), (*LIVE, gone), (*LIVE, required, FAILED)):
        given(*history).when(succeed(news=FIRST)).then(succeeded(news=FIRST), PAID)


def test_a_failure_that_is_heard_after_the_success_it_came_before_changes_nothing() -> None:
    history = (*LIVE, succeeded(news=SECOND), PAID)
    given(*history).when(fail(news=FIRST)).then_rejected(Reason.PAYMENT_ENDED, payment="pay_1")
    given(*history).when(require_action(news=FIRST)).then_rejected(Reason.PAYMENT_ENDED)


def test_newer_news_does_not_undo_a_success() -> None:
    history = (*LIVE, succeeded(news=FIRST), PAID)
    given(*history).when(fail(news=SECOND)).then_rejected(Reason.PAYMENT_ENDED)


def test_whatever_order_three_events_come_in_the_money_is_there() -> None:
    act, refuse, take = FIRST, told("evt_pay_2", BETWEEN), told("evt_pay_3", LATER)
    came = succeeded(news=take)
    given(*LIVE, came, PAID).when(fail(news=refuse)).then_rejected(Reason.PAYMENT_ENDED)
    given(*LIVE, failed(news=refuse)).when(require_action(news=act)).then_rejected(
        Reason.PAYMENT_ENDED
    )
    given(*LIVE, failed(news=refuse)).when(succeed(news=take)).then(came, PAID)
    given(*LIVE, action_required(news=act), failed(news=refuse)).when(succeed(news=take)).then(
        came, PAID
    )


@pytest.mark.parametrize("twice", range(3))
def test_in_whatever_order_and_however_often_events_come_the_money_counts_once(twice: int) -> None:
    said = (
        require_action(news=FIRST),
        fail(news=told("evt_pay_2", BETWEEN)),
        succeed(news=told("evt_pay_3", LATER)),
    )
    for order in permutations((*said, said[twice])):
        invoice = fold(after(LIVE, order))
        assert isinstance(invoice, Issued)
        assert (invoice.status, invoice.amount_paid) == (Status.PAID, 11_900)
        assert [one.amount for one in invoice.payments] == [11_900]


def test_payments_of_one_invoice_do_not_order_each_other() -> None:
    history = (*LIVE, action_required(news=SECOND), FAILED, attempted("pay_2"))
    given(*history).when(require_action("pay_2", "pi_2", FIRST)).then(
        action_required("pay_2", "pi_2", FIRST)
    )
    given(*history).when(fail("pay_2", news=FIRST)).then(failed("pay_2", FIRST))


def test_what_an_outsider_says_of_the_invoice_orders_no_payment() -> None:
    known = reconciled(Status.UNCOLLECTIBLE, occurred_at=LATER)
    given(*LIVE, known).when(fail(news=FIRST)).then(failed(news=FIRST))
    given(*LIVE, action_required(news=SECOND)).when(reconcile(Status.VOID)).then(
        reconciled(Status.VOID)
    )


# --- the order of the checks ----------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [require_action(news=FIRST), fail(news=FIRST), succeed(news=FIRST)], ids=type
)
def test_news_of_what_was_never_attempted_is_refused(command: InvoiceCommand) -> None:
    given(*OPEN).when(command).then_rejected(Reason.NO_SUCH_PAYMENT, payment="pay_1")
    given(*OPEN, recorded(amount=100)).when(command).then_rejected(Reason.NO_SUCH_PAYMENT)


def test_an_end_is_said_before_lateness() -> None:
    history = (*LIVE, action_required(news=SECOND), failed())
    given(*history).when(fail(code="expired_card", news=FIRST)).then_rejected(Reason.PAYMENT_ENDED)
    given(*history).when(require_action(news=FIRST)).then_rejected(Reason.PAYMENT_ENDED)


def test_an_event_that_was_refused_may_count_later() -> None:
    given(*OPEN).when(fail(news=FIRST)).then_rejected(Reason.NO_SUCH_PAYMENT)
    given(*LIVE).when(fail(news=FIRST)).then(failed(news=FIRST))


def test_a_failure_keeps_its_own_words() -> None:
    own = PaymentFailed(**{**dict(FAILED), "message": "No funds.", "news": FIRST})
    given(*LIVE, own).when(fail(news=SECOND)).then_nothing()
