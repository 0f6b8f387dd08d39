"""What follows when money goes back, is about to, or does not?"""

from __future__ import annotations

from decimal import Decimal

from counterfoil.domain.errors import Reason
from counterfoil.domain.invoice.commands import AttemptRefund, RefundPayment
from counterfoil.domain.invoice.events import RefundAttempted, Status
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.value import PaymentId, RefundId
from examples import (
    ATTEMPTED,
    FAILED,
    GIVEN_UP,
    OPEN,
    PAID,
    PAID_UP,
    SUCCEEDED,
    VOID,
    attempt,
    attempt_refund,
    attempted,
    fail_refund,
    reconciled,
    record,
    recorded,
    refund,
    refund_attempted,
    refund_failed,
    refunded,
    succeeded,
)
from spec import given

# --- money that went back ------------------------------------------------------------------------


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


# --- refunds that are about to be made ------------------------------------------------------

WHOLE = refund_attempted(amount=11_900)
PART = refund_attempted(amount=5_000)
PARTLY_PAID = (*OPEN, recorded(amount=5_000))


def test_a_refund_is_attempted_for_all_or_a_part_of_a_payment() -> None:
    given(*PAID_UP).when(attempt_refund()).then(WHOLE)
    given(*PAID_UP).when(attempt_refund(amount=Decimal("50.00"))).then(PART)


def test_why_money_shall_go_back_is_kept() -> None:
    command = AttemptRefund(
        payment=PaymentId("bank_1"), refund=RefundId("ref_1"), amount=100, reason="too late"
    )
    given(*PAID_UP).when(command).then(
        RefundAttempted(
            payment=PaymentId("bank_1"), refund=RefundId("ref_1"), amount=100, reason="too late"
        )
    )


def test_an_attempted_refund_moves_no_money_yet() -> None:
    invoice = fold((*PARTLY_PAID, PART))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_paid, invoice.refunds, invoice.refunding) == (5_000, (), (PART,))


def test_a_refund_is_attempted_once() -> None:
    given(*PAID_UP, PART).when(attempt_refund(amount=5_000)).then_nothing()
    given(*PAID_UP, PART).when(attempt_refund()).then_nothing()


def test_a_refund_that_failed_is_not_attempted_again_under_its_id() -> None:
    given(*PAID_UP, PART, refund_failed()).when(attempt_refund()).then_nothing()
    given(*PAID_UP, PART, refund_failed()).when(attempt_refund(amount=100)).then_rejected(
        Reason.REFUND_EXISTS, refund="ref_1"
    )


def test_another_attempted_refund_needs_another_id() -> None:
    given(*PAID_UP, PART).when(attempt_refund(amount=4_999)).then_rejected(
        Reason.REFUND_EXISTS, refund="ref_1"
    )
    back = refunded(amount=100, reopened=0)
    given(*PAID_UP, back).when(attempt_refund(amount=200)).then_rejected(
        Reason.REFUND_EXISTS, refund="ref_1"
    )


def test_an_attempted_refund_is_of_one_payment() -> None:
    history = (*OPEN, recorded("a", 900), recorded("b", 900), refund_attempted("a", amount=900))
    given(*history).when(attempt_refund("b", amount=900)).then_rejected(Reason.REFUND_EXISTS)
    given(*history).when(refund("b", amount=900)).then_rejected(Reason.REFUND_EXISTS)


def test_what_is_held_for_one_refund_is_not_there_for_another() -> None:
    given(*PAID_UP, PART).when(attempt_refund(refund="ref_2", amount=6_901)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=6_900, payment="bank_1"
    )
    given(*PAID_UP, PART).when(refund(refund="ref_2", amount=6_901)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=6_900
    )
    given(*PAID_UP, PART).when(attempt_refund(refund="ref_2")).then(
        refund_attempted(refund="ref_2", amount=6_900)
    )
    given(*PAID_UP, PART).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=6_900, reopened=0)
    )


def test_refunds_in_parallel_never_pass_what_was_received() -> None:
    second = refund_attempted(refund="ref_2", amount=6_900)
    for command in (attempt_refund(refund="ref_3", amount=1), refund(refund="ref_3", amount=1)):
        given(*PAID_UP, PART, second).when(command).then_rejected(
            Reason.REFUND_EXCEEDS_PAYMENT, left=0, payment="bank_1"
        )
    given(*PAID_UP, PART, second).when(attempt_refund(refund="ref_3")).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=0
    )


def test_what_is_held_of_one_payment_is_not_held_of_another() -> None:
    history = (*OPEN, recorded("a", 900), recorded("b", 900), refund_attempted("a", amount=900))
    given(*history).when(attempt_refund("b", "ref_2")).then(
        refund_attempted("b", "ref_2", amount=900)
    )


def test_what_went_back_is_not_held_twice() -> None:
    back = refunded(amount=5_000, reopened=0)
    given(*PAID_UP, PART, back).when(attempt_refund(refund="ref_2")).then(
        refund_attempted(refund="ref_2", amount=6_900)
    )


def test_what_never_came_is_not_attempted_to_go_back() -> None:
    given(*OPEN, ATTEMPTED).when(attempt_refund("pay_1")).then_rejected(
        Reason.NO_SUCH_PAYMENT, payment="pay_1"
    )


def test_of_two_reasons_against_a_refund_the_one_that_stands_first_is_said() -> None:
    for command in (attempt_refund("pay_9", "ref_1", 99_999), refund("pay_9", "ref_1", 99_999)):
        given(*PAID_UP, PART).when(command).then_rejected(Reason.NO_SUCH_PAYMENT)
    for command in (attempt_refund(amount=99_999), refund(amount=99_999)):
        given(*PAID_UP, PART).when(command).then_rejected(Reason.REFUND_EXISTS)


# --- what the processor says of them --------------------------------------------------------


def test_an_attempted_refund_goes_back_whole() -> None:
    given(*PAID_UP, PART).when(refund()).then(refunded(amount=5_000, reopened=0))
    given(*PAID_UP, PART).when(refund(amount=5_000)).then(refunded(amount=5_000, reopened=0))
    given(*PAID_UP, WHOLE).when(refund()).then(refunded(amount=11_900, reopened=0))


def test_an_attempted_refund_goes_back_in_no_other_amount() -> None:
    for amount in (4_999, 5_001):
        given(*PAID_UP, PART).when(refund(amount=amount)).then_rejected(
            Reason.REFUND_EXISTS, refund="ref_1"
        )


def test_what_is_held_for_a_refund_is_there_for_it_beside_others() -> None:
    second = refund_attempted(refund="ref_2", amount=6_900)
    given(*PAID_UP, PART, second).when(refund()).then(refunded(amount=5_000, reopened=0))
    given(*PAID_UP, PART, second, refunded(amount=5_000, reopened=0)).when(
        refund(refund="ref_2")
    ).then(refunded(refund="ref_2", amount=6_900, reopened=0))


def test_a_refund_is_owed_again_by_what_the_invoice_is_when_the_money_goes() -> None:
    given(*PARTLY_PAID, PART).when(refund()).then(refunded(amount=5_000, reopened=5_000))
    given(*PARTLY_PAID, PART, recorded("bank_2", 6_900), PAID).when(refund()).then(
        refunded(amount=5_000, reopened=0)
    )


def test_a_refund_that_was_made_is_heard_once() -> None:
    history = (*PAID_UP, PART, refunded(amount=5_000, reopened=0))
    given(*history).when(refund()).then_nothing()
    given(*history).when(attempt_refund()).then_nothing()


def test_a_refund_fails() -> None:
    given(*PAID_UP, PART).when(fail_refund()).then(refund_failed())


def test_the_failure_of_a_refund_is_heard_once() -> None:
    given(*PAID_UP, PART, refund_failed()).when(fail_refund()).then_nothing()
    given(*PAID_UP, PART, refund_failed()).when(fail_refund(code="other")).then_nothing()


def test_a_refund_that_was_never_attempted_does_not_fail() -> None:
    given(*PAID_UP).when(fail_refund()).then_rejected(Reason.NO_SUCH_REFUND, refund="ref_1")
    given(*PAID_UP, PART).when(fail_refund("ref_2")).then_rejected(Reason.NO_SUCH_REFUND)


def test_a_failed_refund_makes_room_again() -> None:
    given(*PAID_UP, WHOLE).when(attempt_refund(refund="ref_2", amount=1)).then_rejected(
        Reason.REFUND_EXCEEDS_PAYMENT, left=0
    )
    given(*PAID_UP, WHOLE, refund_failed()).when(attempt_refund(refund="ref_2")).then(
        refund_attempted(refund="ref_2", amount=11_900)
    )
    given(*PAID_UP, WHOLE, refund_failed()).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=11_900, reopened=0)
    )


def test_one_refund_fails_and_the_other_stays_held() -> None:
    second = refund_attempted(refund="ref_2", amount=6_900)
    given(*PAID_UP, PART, second, refund_failed()).when(attempt_refund(refund="ref_3")).then(
        refund_attempted(refund="ref_3", amount=5_000)
    )


def test_a_refund_may_go_back_after_its_failure_was_told() -> None:
    given(*PAID_UP, PART, refund_failed()).when(refund()).then(refunded(amount=5_000, reopened=0))


def test_a_refund_does_not_go_back_after_its_failure_made_room_for_another() -> None:
    history = (*PAID_UP, WHOLE, refund_failed())
    for other in (
        refund_attempted(refund="ref_2", amount=1),
        refunded(refund="ref_2", amount=1, reopened=0),
    ):
        given(*history, other).when(refund()).then_rejected(
            Reason.REFUND_EXCEEDS_PAYMENT, left=11_899, payment="bank_1"
        )


# --- money that went back, and came back -----------------------------------------------------

REOPENED = (*PARTLY_PAID, refunded(amount=5_000, reopened=5_000))
GONE_BY_CARD = (*PAID_UP, PART, refunded(amount=5_000, reopened=0))


def test_a_refund_that_comes_back_is_believed() -> None:
    given(*GONE_BY_CARD).when(fail_refund()).then(refund_failed())
    given(*PARTLY_PAID, PART, refunded(amount=5_000, reopened=5_000)).when(fail_refund()).then(
        refund_failed()
    )


def test_a_refund_that_went_another_way_comes_back_too() -> None:
    given(*PAID_UP, refunded(amount=5_000, reopened=0)).when(fail_refund()).then(refund_failed())
    given(*REOPENED).when(fail_refund()).then(refund_failed())


def test_what_comes_back_counts_again_towards_an_open_invoice() -> None:
    before, after = fold(REOPENED), fold((*REOPENED, refund_failed()))
    assert isinstance(before, Issued)
    assert isinstance(after, Issued)
    assert (before.amount_paid, before.amount_remaining) == (0, 11_900)
    assert (after.amount_paid, after.amount_remaining, after.refunds) == (5_000, 6_900, ())
    given(*REOPENED, refund_failed()).when(attempt()).then(attempted(amount=6_900))


def test_what_comes_back_pays_an_invoice_of_which_nothing_else_remains() -> None:
    given(*REOPENED, recorded("bank_2", 6_900)).when(fail_refund()).then(refund_failed(), PAID)
    whole = (*PAID_UP, reconciled(Status.OPEN), refunded(amount=11_900, reopened=11_900))
    given(*whole).when(fail_refund()).then(refund_failed(), PAID)


def test_what_comes_back_to_an_invoice_that_was_paid_meanwhile_is_customer_credit() -> None:
    history = (*REOPENED, recorded("bank_2", 11_900), PAID)
    given(*history).when(fail_refund()).then(refund_failed(surplus=5_000))
    paid = fold((*history, refund_failed(surplus=5_000)))
    assert isinstance(paid, Issued)
    assert (paid.amount_paid, paid.amount_remaining) == (11_900, 0)


def test_what_comes_back_pays_the_part_that_is_owed_and_the_rest_is_customer_credit() -> None:
    given(*REOPENED, recorded("bank_2", 10_000)).when(fail_refund()).then(
        refund_failed(surplus=3_100), PAID
    )


def test_what_was_not_owed_again_is_no_credit_when_it_comes_back() -> None:
    history = (*OPEN, recorded(amount=15_000, surplus=3_100), PAID, reconciled(Status.OPEN))
    back = refunded(amount=4_000, reopened=900)
    given(*history, back).when(fail_refund()).then(refund_failed(), PAID)
    given(*history, back, recorded("bank_2", 900), PAID).when(fail_refund()).then(
        refund_failed(surplus=900)
    )


def test_what_comes_back_lowers_or_pays_what_was_given_up() -> None:
    history = (*GIVEN_UP, recorded(amount=5_000), refunded(amount=5_000, reopened=5_000))
    given(*history).when(fail_refund()).then(refund_failed())
    given(*history, recorded("bank_2", 6_900)).when(fail_refund()).then(refund_failed(), PAID)


def test_what_comes_back_to_a_void_invoice_is_customer_credit() -> None:
    void = reconciled(Status.VOID)
    given(*REOPENED, void).when(fail_refund()).then(refund_failed(surplus=5_000))
    given(*PARTLY_PAID, void, refunded(amount=5_000, reopened=0)).when(fail_refund()).then(
        refund_failed()
    )


def test_a_refund_comes_back_once() -> None:
    for history in (GONE_BY_CARD, REOPENED):
        given(*history, refund_failed()).when(fail_refund()).then_nothing()
        given(*history, refund_failed()).when(fail_refund(code="other")).then_nothing()


def test_a_refund_that_failed_and_went_after_all_may_come_back() -> None:
    history = (*PAID_UP, PART, refund_failed(), refunded(amount=5_000, reopened=0))
    given(*history).when(fail_refund()).then(refund_failed())


def test_what_came_back_may_be_refunded_again() -> None:
    whole = (*PAID_UP, WHOLE, refunded(amount=11_900, reopened=0), refund_failed())
    given(*whole).when(attempt_refund(refund="ref_2")).then(
        refund_attempted(refund="ref_2", amount=11_900)
    )
    given(*REOPENED, refund_failed()).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=5_000, reopened=5_000)
    )


def test_one_refund_comes_back_and_the_other_stays() -> None:
    second = refunded(refund="ref_2", amount=6_900, reopened=0)
    given(*GONE_BY_CARD, second, refund_failed()).when(refund(refund="ref_3")).then(
        refunded(refund="ref_3", amount=5_000, reopened=0)
    )


def test_credit_that_came_back_goes_back_before_anything_is_owed_again() -> None:
    history = (*REOPENED, recorded("bank_2", 10_000), refund_failed(surplus=3_100), PAID)
    given(*history, reconciled(Status.OPEN)).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=5_000, reopened=1_900)
    )


def test_a_refund_that_came_back_does_not_go_again_because_it_is_heard_late_that_it_went() -> None:
    for history in (GONE_BY_CARD, REOPENED):
        given(*history, refund_failed()).when(refund()).then_nothing()


# --- refunds beside everything else ---------------------------------------------------------


def test_a_refund_that_is_held_does_not_change_what_may_be_paid() -> None:
    given(*PARTLY_PAID, PART).when(attempt()).then(attempted(amount=6_900))


def test_an_invoice_with_a_refund_in_progress_received_money_and_is_not_voided() -> None:
    given(*PARTLY_PAID, PART).when(VOID).then_rejected(Reason.MONEY_RECEIVED, received=5_000)


def test_a_refund_goes_on_whatever_the_invoice_became() -> None:
    void = reconciled(Status.VOID)
    given(*PARTLY_PAID, PART, void).when(refund()).then(refunded(amount=5_000, reopened=0))
    given(*PARTLY_PAID, PART, void).when(fail_refund()).then(refund_failed())


def test_a_payment_that_succeeded_late_may_go_back() -> None:
    history = (*OPEN, ATTEMPTED, FAILED, SUCCEEDED, PAID)
    given(*history).when(attempt_refund("pay_1")).then(refund_attempted("pay_1", amount=11_900))


def test_surplus_is_held_and_goes_back_first_too() -> None:
    history = (*OPEN, recorded(amount=15_000, surplus=3_100), PAID, reconciled(Status.OPEN))
    first = refund_attempted(amount=3_000)
    second = refund_attempted(refund="ref_2", amount=1_000)
    given(*history, first, second).when(refund(refund="ref_2")).then(
        refunded(refund="ref_2", amount=1_000, reopened=0)
    )
    given(*history, first, second, refunded(refund="ref_2", amount=1_000, reopened=0)).when(
        refund()
    ).then(refunded(amount=3_000, reopened=900))


def test_a_reason_that_is_said_with_the_refund_is_its_reason() -> None:
    because = PART.model_copy(update={"reason": "too late"})
    command = RefundPayment(
        payment=PaymentId("bank_1"), refund=RefundId("ref_1"), reason="goodwill", reference="re_1"
    )
    given(*PAID_UP, because).when(command).then(
        refunded(amount=5_000, reopened=0).model_copy(
            update={"reason": "goodwill", "reference": "re_1"}
        )
    )


def test_a_refund_of_money_beyond_a_void_invoice_is_held_like_any_other() -> None:
    history = (*OPEN, ATTEMPTED, FAILED, reconciled(Status.VOID), succeeded(surplus=11_900))
    given(*history, refund_attempted("pay_1", amount=11_900)).when(
        attempt_refund("pay_1", "ref_2")
    ).then_rejected(Reason.REFUND_EXCEEDS_PAYMENT, left=0)


def test_a_payment_by_bank_is_not_recorded_again_because_it_goes_back() -> None:
    given(*PARTLY_PAID, PART).when(record(amount=5_000)).then_nothing()
