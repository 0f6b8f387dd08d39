"""What follows when money is asked for, comes, does not come, or goes back?"""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from counterfoil.domain.errors import Malformed, Reason
from counterfoil.domain.invoice.commands import RecordPayment
from counterfoil.domain.invoice.events import PaymentActionRequired, Status
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.money import Money
from counterfoil.domain.value import PaymentId
from examples import (
    ACTION_REQUIRED,
    ATTEMPTED,
    FAILED,
    GIVEN_UP,
    MARKED_UNCOLLECTIBLE,
    NOON,
    OPEN,
    PAID,
    PAID_UP,
    RECORDED,
    SUCCEEDED,
    attempt,
    attempted,
    fail,
    reconciled,
    record,
    recorded,
    refund,
    refunded,
    require_action,
    succeed,
    succeeded,
)
from spec import given

# --- attempts -------------------------------------------------------------------------------


def test_an_attempt_is_for_all_that_remains() -> None:
    given(*OPEN).when(attempt()).then(ATTEMPTED)
    given(*OPEN, recorded(amount=5_000)).when(attempt()).then(attempted(amount=6_900))


def test_an_attempt_may_be_for_a_part() -> None:
    given(*OPEN).when(attempt(amount=Decimal("50.00"))).then(attempted(amount=5_000))


def test_an_attempt_is_for_no_more_than_remains() -> None:
    given(*OPEN).when(attempt(amount=11_901)).then_rejected(
        Reason.PAYMENT_EXCEEDS_REMAINING, left=11_900
    )


def test_an_attempt_that_is_live_is_not_made_twice() -> None:
    given(*OPEN, ATTEMPTED).when(attempt()).then_nothing()


def test_two_attempts_are_never_live_at_once() -> None:
    given(*OPEN, ATTEMPTED).when(attempt("pay_2")).then_rejected(
        Reason.PAYMENT_IN_PROGRESS, payment="pay_1"
    )
    given(*OPEN, ATTEMPTED, ACTION_REQUIRED).when(attempt("pay_2")).then_rejected(
        Reason.PAYMENT_IN_PROGRESS, payment="pay_1"
    )


def test_a_failed_attempt_makes_room_for_another() -> None:
    given(*OPEN, ATTEMPTED, FAILED).when(attempt("pay_2")).then(attempted("pay_2"))


def test_an_attempt_that_ended_is_not_made_again() -> None:
    given(*OPEN, ATTEMPTED, FAILED).when(attempt()).then_rejected(
        Reason.PAYMENT_EXISTS, payment="pay_1"
    )


def test_an_attempt_does_not_take_the_id_of_money_that_came() -> None:
    given(*OPEN, recorded(amount=100)).when(attempt("bank_1")).then_rejected(
        Reason.PAYMENT_EXISTS, payment="bank_1"
    )


def test_of_two_reasons_the_one_that_stands_first_is_said() -> None:
    given(*OPEN, ATTEMPTED, FAILED).when(attempt(amount=11_901)).then_rejected(
        Reason.PAYMENT_EXCEEDS_REMAINING
    )


# --- what the processor says ----------------------------------------------------------------


def test_the_payer_must_act() -> None:
    given(*OPEN, ATTEMPTED).when(require_action()).then(ACTION_REQUIRED)


def test_the_payer_must_act_once_for_one_intent() -> None:
    given(*OPEN, ATTEMPTED, ACTION_REQUIRED).when(require_action()).then_nothing()


def test_the_payer_may_have_to_act_on_another_intent() -> None:
    given(*OPEN, ATTEMPTED, ACTION_REQUIRED).when(require_action(intent="pi_2")).then(
        PaymentActionRequired(payment=PaymentId("pay_1"), intent="pi_2")
    )


def test_a_payment_that_needs_action_is_not_paid() -> None:
    invoice = fold((*OPEN, ATTEMPTED, ACTION_REQUIRED))
    assert isinstance(invoice, Issued)
    assert (invoice.status, invoice.amount_paid) == (Status.OPEN, 0)


def test_an_attempt_fails() -> None:
    given(*OPEN, ATTEMPTED).when(fail()).then(FAILED)


def test_a_failure_is_heard_once() -> None:
    given(*OPEN, ATTEMPTED, FAILED).when(fail()).then_nothing()


def test_an_attempt_succeeds_and_pays_the_invoice() -> None:
    given(*OPEN, ATTEMPTED).when(succeed()).then(SUCCEEDED, PAID)


def test_a_success_is_heard_once() -> None:
    given(*OPEN, ATTEMPTED, SUCCEEDED, PAID).when(succeed()).then_nothing()


def test_a_partial_success_leaves_the_rest_to_pay() -> None:
    given(*OPEN, attempted(amount=5_000)).when(succeed()).then(succeeded(amount=5_000))


@pytest.mark.parametrize("command", [require_action(), fail(), succeed()], ids=type)
def test_what_was_never_attempted_has_no_outcome(command: object) -> None:
    assert isinstance(command, type(require_action()) | type(fail()) | type(succeed()))
    given(*OPEN).when(command).then_rejected(Reason.NO_SUCH_PAYMENT, payment="pay_1")
    given(*OPEN, attempted("pay_2")).when(command).then_rejected(Reason.NO_SUCH_PAYMENT)


def test_a_payment_ends_once() -> None:
    failed, done = (*OPEN, ATTEMPTED, FAILED), (*OPEN, ATTEMPTED, SUCCEEDED, PAID)
    given(*failed).when(succeed()).then_rejected(Reason.PAYMENT_ENDED, payment="pay_1")
    given(*failed).when(fail(code="expired_card")).then_rejected(Reason.PAYMENT_ENDED)
    given(*failed).when(require_action()).then_rejected(Reason.PAYMENT_ENDED)
    given(*done).when(fail()).then_rejected(Reason.PAYMENT_ENDED, payment="pay_1")
    given(*done).when(succeed(reference="ch_2")).then_rejected(Reason.PAYMENT_ENDED)


# --- money that comes late ------------------------------------------------------------------


def test_a_success_after_giving_up_pays_the_invoice() -> None:
    given(*OPEN, ATTEMPTED, MARKED_UNCOLLECTIBLE).when(succeed()).then(SUCCEEDED, PAID)


def test_a_success_after_the_invoice_was_paid_is_all_surplus() -> None:
    given(*OPEN, ATTEMPTED, RECORDED, PAID).when(succeed()).then(succeeded(surplus=11_900))


def test_a_success_after_the_invoice_was_void_is_all_surplus() -> None:
    given(*OPEN, ATTEMPTED, reconciled(Status.VOID)).when(succeed()).then(succeeded(surplus=11_900))


def test_a_success_after_a_part_was_paid_otherwise_is_surplus_for_that_part() -> None:
    given(*OPEN, ATTEMPTED, recorded(amount=5_000)).when(succeed()).then(
        succeeded(surplus=5_000), PAID
    )


def test_a_failure_after_the_invoice_was_paid_is_a_fact_too() -> None:
    given(*OPEN, ATTEMPTED, RECORDED, PAID).when(fail()).then(FAILED)


# --- money that comes another way -----------------------------------------------------------


def test_money_by_bank_pays_the_invoice() -> None:
    given(*OPEN).when(record(amount=Money(11_900, "EUR"))).then(RECORDED, PAID)


def test_partial_payments_pay_the_invoice_together() -> None:
    first = recorded(amount=11_899)
    given(*OPEN).when(record(amount=11_899)).then(first)
    given(*OPEN, first).when(record("bank_2", 1)).then(recorded("bank_2", 1), PAID)


def test_money_beyond_what_is_left_is_surplus() -> None:
    given(*OPEN).when(record(amount=15_000)).then(recorded(amount=15_000, surplus=3_100), PAID)


def test_surplus_does_not_count_towards_what_is_due() -> None:
    invoice = fold((*OPEN, recorded(amount=15_000, surplus=3_100), PAID))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_due, invoice.amount_paid, invoice.amount_remaining) == (
        11_900,
        11_900,
        0,
    )


def test_the_same_money_is_recorded_once() -> None:
    given(*OPEN, recorded(amount=5_000)).when(record(amount=5_000)).then_nothing()


def test_other_money_needs_another_id() -> None:
    given(*OPEN, recorded(amount=5_000)).when(record(amount=5_001)).then_rejected(
        Reason.PAYMENT_EXISTS, payment="bank_1"
    )
    given(*OPEN, recorded(amount=5_000)).when(record(amount=5_000, reference="2")).then_rejected(
        Reason.PAYMENT_EXISTS, payment="bank_1"
    )
    given(*OPEN, ATTEMPTED, FAILED).when(record("pay_1")).then_rejected(
        Reason.PAYMENT_EXISTS, payment="pay_1"
    )


def test_money_by_bank_does_not_take_the_id_of_a_live_attempt() -> None:
    given(*OPEN, ATTEMPTED).when(record("pay_1", 5_000)).then_rejected(
        Reason.PAYMENT_EXISTS, payment="pay_1"
    )


def test_money_by_bank_does_not_end_a_live_attempt() -> None:
    invoice = fold((*OPEN, ATTEMPTED, recorded(amount=5_000)))
    assert isinstance(invoice, Issued)
    assert invoice.attempt == ATTEMPTED


def test_when_the_money_came_is_kept() -> None:
    command = RecordPayment(payment=PaymentId("bank_1"), amount=11_900, received_at=NOON)
    came = recorded(reference=None).model_copy(update={"received_at": NOON})
    given(*OPEN).when(command).then(came, PAID)


def test_money_finer_than_the_currency_is_refused() -> None:
    given(*OPEN).when(record(amount=Decimal("1.001"))).then_rejected(
        Reason.TOO_PRECISE, field="amount", currency="EUR", exponent=2
    )


@pytest.mark.parametrize(
    "amount", [0, -1, "-1.00", 1.5, True, {"minor": -100, "currency": "EUR"}], ids=repr
)
def test_money_that_comes_is_more_than_nothing(amount: object) -> None:
    with pytest.raises((Malformed, ValidationError)):
        RecordPayment.model_validate({"payment": "bank_1", "amount": amount})


# --- refunds --------------------------------------------------------------------------------


def test_a_payment_is_refunded_whole_or_in_part() -> None:
    given(*PAID_UP).when(refund()).then(refunded(amount=11_900, reopened=0))
    given(*PAID_UP).when(refund(amount=1_000)).then(refunded(amount=1_000, reopened=0))


def test_without_an_amount_the_rest_of_a_payment_goes_back() -> None:
    first = refunded(amount=1_000, reopened=0)
    given(*PAID_UP, first).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=10_900, reopened=0)
    )


def test_never_more_is_refunded_than_was_received() -> None:
    given(*PAID_UP).when(refund(amount=11_901)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=11_900, payment="bank_1"
    )


def test_refunds_together_never_pass_what_was_received() -> None:
    first = refunded(amount=11_000, reopened=0)
    given(*PAID_UP, first).when(refund(refund="ref_2", amount=901)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=900
    )


def test_a_payment_that_went_back_has_nothing_left_to_refund() -> None:
    whole = refunded(amount=11_900, reopened=0)
    given(*PAID_UP, whole).when(refund(refund="ref_2")).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=0
    )


def test_one_payment_is_not_refunded_out_of_another() -> None:
    history = (*OPEN, recorded("small", 100), recorded("big", 11_800), PAID)
    given(*history).when(refund("small", amount=101)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=100, payment="small"
    )


def test_a_refund_is_made_once() -> None:
    whole = refunded(amount=11_900, reopened=0)
    given(*PAID_UP, whole).when(refund()).then_nothing()
    given(*PAID_UP, whole).when(refund(amount=11_900)).then_nothing()


def test_another_refund_needs_another_id() -> None:
    first = refunded(amount=1_000, reopened=0)
    given(*PAID_UP, first).when(refund(amount=2_000)).then_rejected(
        Reason.REFUND_EXISTS, refund="ref_1"
    )


def test_a_refund_id_is_of_one_payment() -> None:
    history = (*OPEN, recorded("a", 900), recorded("b", 900), refunded("a", amount=900, reopened=0))
    given(*history).when(refund("b", amount=900)).then_rejected(Reason.REFUND_EXISTS)


def test_what_never_came_is_not_refunded() -> None:
    given(*OPEN, ATTEMPTED).when(refund("pay_1")).then_rejected(
        Reason.NO_SUCH_PAYMENT, payment="pay_1"
    )


def test_a_refund_of_an_open_invoice_is_owed_again() -> None:
    given(*OPEN, recorded(amount=5_000)).when(refund(amount=2_000)).then(
        refunded(amount=2_000, reopened=2_000)
    )
    given(*GIVEN_UP, recorded(amount=5_000)).when(refund()).then(
        refunded(amount=5_000, reopened=5_000)
    )


def test_what_is_owed_again_may_be_paid_again() -> None:
    history = (*OPEN, recorded(amount=5_000), refunded(amount=2_000, reopened=2_000))
    given(*history).when(attempt()).then(attempted(amount=8_900))


def test_nothing_is_owed_again_once_the_invoice_is_paid() -> None:
    given(*PAID_UP).when(refund(amount=2_000)).then(refunded(amount=2_000, reopened=0))


def test_surplus_goes_back_first() -> None:
    history = (*OPEN, recorded(amount=15_000, surplus=3_100), PAID, reconciled(Status.OPEN))
    first = refunded(amount=3_000, reopened=0)
    given(*history).when(refund(amount=3_000)).then(first)
    given(*history, first).when(refund(refund="ref_2", amount=1_000)).then(
        refunded(refund="ref_2", amount=1_000, reopened=900)
    )
