"""What follows when money is asked for, comes, or does not come?"""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from counterfoil.domain.errors import Malformed, Reason
from counterfoil.domain.invoice.commands import RecordPayment
from counterfoil.domain.invoice.events import PaymentActionRequired, Status
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.money import Money
from counterfoil.domain.value import LARGEST, PaymentId
from examples import (
    ACTION_REQUIRED,
    ATTEMPTED,
    DRAFT,
    FAILED,
    FINALIZED,
    LATER,
    MARKED_UNCOLLECTIBLE,
    NOON,
    OPEN,
    PAID,
    RECORDED,
    SUCCEEDED,
    TOTALS,
    VOID,
    VOIDED,
    attempt,
    attempted,
    fail,
    failed,
    reconcile,
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


def test_a_payment_fails_once() -> None:
    failed = (*OPEN, ATTEMPTED, FAILED)
    given(*failed).when(fail(code="expired_card")).then_rejected(
        Reason.PAYMENT_ENDED, payment="pay_1"
    )
    given(*failed).when(require_action()).then_rejected(Reason.PAYMENT_ENDED)


def test_a_payment_that_succeeded_stays_so() -> None:
    done = (*OPEN, ATTEMPTED, SUCCEEDED, PAID)
    given(*done).when(fail()).then_rejected(Reason.PAYMENT_ENDED, payment="pay_1")
    given(*done).when(require_action()).then_rejected(Reason.PAYMENT_ENDED)
    given(*done).when(succeed(reference="ch_2")).then_rejected(Reason.PAYMENT_ENDED)


def test_money_by_bank_is_no_attempt_that_a_processor_could_speak_of() -> None:
    for command in (require_action("bank_1"), fail("bank_1"), succeed("bank_1")):
        given(*OPEN, recorded(amount=100)).when(command).then_rejected(Reason.PAYMENT_ENDED)


# --- a success after a failure --------------------------------------------------------------

FIRST_FAILED = (*OPEN, ATTEMPTED, FAILED)


def test_a_payer_may_confirm_after_the_failure_was_told() -> None:
    given(*FIRST_FAILED).when(succeed()).then(SUCCEEDED, PAID)
    given(*OPEN, ATTEMPTED, ACTION_REQUIRED, FAILED).when(succeed()).then(SUCCEEDED, PAID)


def test_a_late_success_of_a_part_leaves_the_rest_to_pay() -> None:
    history = (*OPEN, attempted(amount=5_000), FAILED)
    given(*history).when(succeed()).then(succeeded(amount=5_000))
    given(*history, succeeded(amount=5_000)).when(attempt("pay_2")).then(attempted("pay_2", 6_900))


def test_after_a_late_success_the_failure_is_old_and_no_other_is_believed() -> None:
    late = (*FIRST_FAILED, SUCCEEDED, PAID)
    given(*late).when(succeed()).then_nothing()
    given(*late).when(fail()).then_nothing()
    given(*late).when(fail(code="expired_card")).then_rejected(Reason.PAYMENT_ENDED)
    given(*late).when(require_action()).then_rejected(Reason.PAYMENT_ENDED)
    given(*late).when(succeed(reference="ch_2")).then_rejected(Reason.PAYMENT_ENDED)


def test_a_late_success_does_not_end_the_attempt_that_is_live() -> None:
    second = attempted("pay_2", 5_000)
    history = (*OPEN, attempted(amount=5_000), FAILED, second)
    given(*history).when(succeed()).then(succeeded(amount=5_000))
    invoice = fold((*history, succeeded(amount=5_000)))
    assert isinstance(invoice, Issued)
    assert invoice.attempt == second
    given(*history, succeeded(amount=5_000)).when(attempt("pay_3")).then_rejected(
        Reason.PAYMENT_IN_PROGRESS, payment="pay_2"
    )


def test_what_two_attempts_bring_beyond_the_invoice_is_surplus() -> None:
    history = (*FIRST_FAILED, attempted("pay_2"))
    given(*history).when(succeed()).then(SUCCEEDED, PAID)
    given(*history, SUCCEEDED, PAID).when(succeed("pay_2")).then(succeeded("pay_2", surplus=11_900))


def test_a_failure_of_the_live_attempt_after_the_late_success_of_another_is_a_fact() -> None:
    history = (*FIRST_FAILED, attempted("pay_2"), SUCCEEDED, PAID)
    given(*history).when(fail("pay_2")).then(failed("pay_2"))


def test_a_late_success_after_another_attempt_paid_is_all_surplus() -> None:
    history = (*FIRST_FAILED, attempted("pay_2"), succeeded("pay_2"), PAID)
    given(*history).when(succeed()).then(succeeded(surplus=11_900))


def test_a_late_success_after_the_invoice_was_voided_is_all_surplus() -> None:
    given(*FIRST_FAILED, VOIDED).when(succeed()).then(succeeded(surplus=11_900))


def test_an_attempt_that_failed_and_succeeded_is_not_made_again() -> None:
    history = (*OPEN, attempted(amount=5_000), FAILED, succeeded(amount=5_000))
    given(*history).when(attempt(amount=5_000)).then_rejected(Reason.PAYMENT_EXISTS)
    given(*history).when(record("pay_1", 5_000)).then_rejected(Reason.PAYMENT_EXISTS)


def test_an_invoice_whose_attempt_succeeded_late_is_not_voided() -> None:
    history = (*OPEN, attempted(amount=5_000), FAILED, succeeded(amount=5_000))
    given(*history).when(VOID).then_rejected(Reason.MONEY_RECEIVED, received=5_000)


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


# --- money that an outsider had told of -----------------------------------------------------

SETTLED = reconciled(Status.PAID, settled=11_900)
LATER_OPEN = reconcile(Status.OPEN, "evt_2", LATER)


def test_a_payment_explains_what_an_outsider_settled() -> None:
    explained = succeeded(settled_before=11_900)
    given(*OPEN, ATTEMPTED, SETTLED).when(succeed()).then(explained)
    invoice = fold((*OPEN, ATTEMPTED, SETTLED, explained))
    assert isinstance(invoice, Issued)
    assert (invoice.status, invoice.amount_paid, invoice.settled) == (Status.PAID, 11_900, 0)


def test_a_late_success_explains_it_too() -> None:
    history = (*FIRST_FAILED, SETTLED)
    given(*history).when(succeed()).then(succeeded(settled_before=11_900))


def test_a_payment_of_a_part_explains_that_part() -> None:
    part, explained = attempted(amount=5_000), succeeded(amount=5_000, settled_before=5_000)
    given(*OPEN, part, SETTLED).when(succeed()).then(explained)
    invoice = fold((*OPEN, part, SETTLED, explained))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_paid, invoice.settled) == (11_900, 6_900)


def test_what_was_explained_is_not_explained_again() -> None:
    history = (*FIRST_FAILED, attempted("pay_2"), SETTLED, succeeded(settled_before=11_900))
    given(*history).when(succeed("pay_2")).then(succeeded("pay_2", surplus=11_900))


def test_two_payments_explain_together_and_the_rest_is_surplus() -> None:
    history = (*OPEN, attempted(amount=7_000), FAILED, attempted("pay_2", 7_000), SETTLED)
    first = succeeded(amount=7_000, settled_before=7_000)
    given(*history).when(succeed()).then(first)
    given(*history, first).when(succeed("pay_2")).then(
        succeeded("pay_2", 7_000, surplus=2_100, settled_before=4_900)
    )


def test_an_outsider_settles_only_what_was_left_so_only_that_is_explained() -> None:
    history = (*OPEN, ATTEMPTED, recorded(amount=5_000), reconciled(Status.PAID, settled=6_900))
    given(*history).when(succeed()).then(succeeded(surplus=5_000, settled_before=6_900))


def test_what_the_outsider_took_back_before_is_not_explained() -> None:
    back = reconciled(Status.OPEN, settled=-11_900, provider_event="evt_2", occurred_at=LATER)
    given(*OPEN, ATTEMPTED, SETTLED, back).when(succeed()).then(SUCCEEDED, PAID)


def test_an_outsider_takes_back_only_what_no_payment_explained() -> None:
    history = (*OPEN, attempted(amount=5_000), SETTLED)
    explained = succeeded(amount=5_000, settled_before=5_000)
    back = reconciled(Status.OPEN, settled=-6_900, provider_event="evt_2", occurred_at=LATER)
    given(*history, explained).when(LATER_OPEN).then(back)
    invoice = fold((*history, explained, back))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_paid, invoice.amount_remaining) == (5_000, 6_900)
    given(*history, explained, back).when(attempt("pay_2")).then(attempted("pay_2", 6_900))


def test_money_that_explained_everything_stays_when_the_outsider_says_open() -> None:
    back = reconciled(Status.OPEN, provider_event="evt_2", occurred_at=LATER)
    history = (*OPEN, ATTEMPTED, SETTLED, succeeded(settled_before=11_900))
    given(*history).when(LATER_OPEN).then(back)
    given(*history, back).when(refund("pay_1")).then(
        refunded("pay_1", amount=11_900, reopened=11_900)
    )


def test_an_outsider_who_says_paid_again_settles_what_is_left_after_the_explained() -> None:
    history = (
        *OPEN,
        attempted(amount=5_000),
        SETTLED,
        succeeded(amount=5_000, settled_before=5_000),
        reconciled(Status.OPEN, settled=-6_900, provider_event="evt_2", occurred_at=LATER),
    )
    given(*history).when(reconcile(Status.PAID, "evt_3", LATER)).then(
        reconciled(Status.PAID, settled=6_900, provider_event="evt_3", occurred_at=LATER)
    )


def test_an_explained_payment_may_go_back_like_any_other() -> None:
    history = (*OPEN, ATTEMPTED, SETTLED, succeeded(settled_before=11_900))
    given(*history).when(refund("pay_1")).then(refunded("pay_1", amount=11_900, reopened=0))


# --- as much money as there is room for -----------------------------------------------------

ALMOST_ALL = FINALIZED.model_copy(
    update={"totals": TOTALS.model_copy(update={"total": LARGEST // 2})}
)
LARGE = (*DRAFT, ALMOST_ALL)


def test_money_by_bank_fits_beside_what_came() -> None:
    came = recorded(amount=LARGEST // 2 - 1)
    given(*LARGE, came).when(record("bank_2", LARGEST - 1)).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="amount", limit=LARGEST
    )


def test_all_money_that_may_still_come_fits_where_it_is_added_up() -> None:
    one, two = attempted("pay_1", LARGEST // 2), attempted("pay_2", LARGEST // 2)
    history = (*LARGE, one, failed("pay_1"), two, failed("pay_2"))
    given(*history).when(attempt("pay_3")).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="amount", limit=LARGEST
    )


def test_money_by_bank_fits_beside_what_may_still_come() -> None:
    live = attempted("pay_1", LARGEST // 2)
    given(*LARGE, live).when(record(amount=LARGEST)).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="amount", limit=LARGEST
    )
