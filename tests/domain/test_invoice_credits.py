"""What follows when a credit note is asked for, or taken away again, against an invoice?"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.invoice.commands import ApplyCredit
from counterfoil.domain.invoice.events import CreditApplied, InvoiceEvent, Status
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.money import Money
from counterfoil.domain.tax import Tax
from counterfoil.domain.value import CreditNoteId
from examples import (
    CREDITED,
    FINALIZE,
    FULL_CREDIT,
    GIVEN_UP,
    HALF_CREDIT,
    HALF_CREDITED,
    OPEN,
    PAID,
    PAID_UP,
    VAT,
    WITHDRAWN,
    applied,
    attempt,
    attempted,
    credit,
    draft,
    item,
    of_line,
    reconciled,
    record,
    recorded,
    withdraw,
)
from spec import Facts, decide, given


def credit_line(
    line: str = "line_1", *, quantity: str | None = None, amount: int | None = None
) -> ApplyCredit:
    """Take back this much of one line."""
    wanted = CreditLine(
        line=line, quantity=None if quantity is None else Decimal(quantity), amount=amount
    )
    return ApplyCredit(credit_note=CreditNoteId("cn_1"), lines=(wanted,))


def finalized(*tax_and_quantity: tuple[Tax, str]) -> tuple[InvoiceEvent, ...]:
    """Make a finalized invoice of lines of 10.00 each, as the domain itself makes it."""
    items = [
        item(f"line_{place}", quantity=quantity, unit_price="10.00", tax=tax)
        for place, (tax, quantity) in enumerate(tax_and_quantity, start=1)
    ]
    drafted = decide(draft(*items), ())
    return tuple(
        fact for fact in (*drafted, *decide(FINALIZE, drafted)) if isinstance(fact, InvoiceEvent)
    )


# --- how much -------------------------------------------------------------------------------


def test_without_lines_or_amount_all_that_is_left_is_taken_back() -> None:
    given(*PAID_UP).when(credit()).then(applied(customer_credit=11_900))
    first = applied("cn_0", HALF_CREDIT, customer_credit=5_950)
    given(*PAID_UP, first).when(credit()).then(applied(figures=HALF_CREDIT, customer_credit=5_950))


def test_a_line_is_credited_by_quantity() -> None:
    figures = of_line(5_000, 950, quantity="1")
    given(*OPEN).when(credit_line(quantity="1")).then(
        applied(figures=figures, before_payment=5_950)
    )


def test_a_line_is_credited_by_amount() -> None:
    given(*OPEN).when(credit_line(amount=5_000)).then(HALF_CREDITED)


def test_an_amount_is_credited_with_the_tax_it_contains() -> None:
    for amount in (5_950, Decimal("59.50"), Money(5_950, "EUR")):
        given(*OPEN).when(credit(amount=amount)).then(HALF_CREDITED)


def test_no_line_is_credited_that_is_not_there() -> None:
    given(*OPEN).when(credit_line("line_9")).then_rejected(Reason.NO_SUCH_LINE, line="line_9")


def test_no_more_of_a_line_is_credited_than_its_quantity() -> None:
    given(*OPEN).when(credit_line(quantity="2.01")).then_rejected(
        Reason.CREDIT_EXCEEDS_LINE, line="line_1", left=Decimal(2)
    )


def test_no_more_of_a_line_is_credited_than_its_amount() -> None:
    given(*OPEN).when(credit_line(amount=10_001)).then_rejected(
        Reason.CREDIT_EXCEEDS_LINE, line="line_1", left=10_000
    )


@pytest.mark.parametrize("wanted", [{"quantity": "-1"}, {"quantity": "0"}])
def test_a_credited_quantity_has_the_sign_of_its_line(wanted: dict[str, str]) -> None:
    given(*OPEN).when(credit_line(quantity=wanted["quantity"])).then_rejected(
        Reason.CREDIT_EXCEEDS_LINE
    )


@pytest.mark.parametrize("amount", [-1, 0])
def test_a_credited_amount_has_the_sign_of_its_line(amount: int) -> None:
    given(*OPEN).when(credit_line(amount=amount)).then_rejected(Reason.CREDIT_EXCEEDS_LINE)


def test_two_credit_notes_take_no_more_of_a_line_than_there_is() -> None:
    history = (*OPEN, applied("cn_0", of_line(5_000, 950, quantity="1"), before_payment=5_950))
    given(*history).when(credit_line(quantity="2")).then_rejected(
        Reason.CREDIT_EXCEEDS_LINE, left=Decimal(1)
    )


def test_no_more_is_credited_at_a_rate_than_was_taxed_at_it() -> None:
    history = finalized((VAT, "10"), (VAT, "-3"))
    given(*history).when(credit_line()).then_rejected(
        Reason.CREDIT_EXCEEDS_GROUP, left=7_000, rate=Decimal(19)
    )


def test_no_more_is_credited_than_the_invoice_comes_to() -> None:
    given(*OPEN).when(credit(amount=11_901)).then_rejected(
        Reason.CREDIT_EXCEEDS_INVOICE, left=11_900
    )
    given(*OPEN, HALF_CREDITED).when(credit("cn_2", amount=5_951)).then_rejected(
        Reason.CREDIT_EXCEEDS_INVOICE, left=5_950
    )


def test_what_was_credited_wholly_has_nothing_left_to_credit() -> None:
    history = (*PAID_UP, applied(customer_credit=11_900))
    given(*history).when(credit("cn_2")).then_rejected(Reason.NOTHING_TO_CREDIT, total=0)


def test_a_credit_note_is_not_negative() -> None:
    history = finalized((VAT, "10"), (Tax(rate="7"), "-3"))
    given(*history).when(credit_line("line_2")).then_rejected(
        Reason.NOTHING_TO_CREDIT, total=-3_210
    )


def test_a_credit_in_another_currency_is_refused() -> None:
    given(*OPEN).when(credit(amount=Money(100, "USD"))).then_rejected(
        Reason.CURRENCY_MISMATCH, given="USD", expected="EUR"
    )


def test_a_line_is_named_once_in_a_credit_note() -> None:
    twice = (CreditLine(line="line_1", amount=1), CreditLine(line="line_1", amount=1))
    command = ApplyCredit(credit_note=CreditNoteId("cn_1"), lines=twice)
    given(*OPEN).when(command).then_malformed("lines")


def test_a_credit_says_lines_or_an_amount() -> None:
    with pytest.raises(Malformed):
        ApplyCredit(
            credit_note=CreditNoteId("cn_1"), lines=(CreditLine(line="line_1"),), amount=100
        )


# --- what becomes of it ---------------------------------------------------------------------


def test_a_credit_before_payment_lowers_what_is_due() -> None:
    given(*OPEN).when(credit(amount=5_950)).then(HALF_CREDITED)
    given(*OPEN, HALF_CREDITED).when(attempt()).then(attempted(amount=5_950))


def test_a_full_credit_of_an_open_invoice_pays_it() -> None:
    given(*OPEN).when(credit()).then(applied(before_payment=11_900), CREDITED)


def test_a_full_credit_of_an_uncollectible_invoice_pays_it() -> None:
    given(*GIVEN_UP).when(credit()).then(applied(before_payment=11_900), CREDITED)


def test_a_credit_of_just_what_remains_pays_the_invoice() -> None:
    half_paid = recorded(amount=5_950)
    given(*OPEN, half_paid).when(credit(amount=5_950)).then(HALF_CREDITED, CREDITED)


def test_what_remains_after_a_credit_pays_the_invoice() -> None:
    given(*OPEN, HALF_CREDITED).when(record(amount=5_950)).then(recorded(amount=5_950), PAID)


def test_a_credit_beyond_what_remains_becomes_customer_credit() -> None:
    given(*OPEN, recorded(amount=5_000)).when(credit()).then(
        applied(before_payment=6_900, customer_credit=5_000), CREDITED
    )


def test_a_credit_of_a_paid_invoice_is_all_after_payment() -> None:
    given(*PAID_UP).when(credit(amount=5_950)).then(
        applied(figures=HALF_CREDIT, customer_credit=5_950)
    )


def test_a_credit_of_a_reconciled_invoice_is_all_after_payment() -> None:
    history = (*OPEN, reconciled(Status.PAID, settled=11_900))
    given(*history).when(credit()).then(applied(customer_credit=11_900))


def test_where_it_goes_may_be_said_in_parts() -> None:
    command = credit(refund=Decimal("60.00"), customer_credit=5_000, out_of_band=900)
    given(*PAID_UP).when(command).then(
        applied(refund=6_000, customer_credit=5_000, out_of_band=900)
    )


def test_the_parts_add_up_to_what_is_credited_after_payment() -> None:
    given(*PAID_UP).when(credit(refund=11_899)).then_rejected(
        Reason.SPLIT_MISMATCH, after_payment=11_900, given=11_899
    )
    given(*PAID_UP).when(credit(refund=6_000, out_of_band=6_000)).then_rejected(
        Reason.SPLIT_MISMATCH, after_payment=11_900, given=12_000
    )


def test_what_lowers_the_amount_due_is_not_refunded_as_well() -> None:
    given(*OPEN).when(credit(refund=11_900)).then_rejected(
        Reason.SPLIT_MISMATCH, after_payment=0, given=11_900
    )


@over(
    paid=st.integers(0, 11_900),
    wanted=st.lists(st.integers(1, 11_900), min_size=1, max_size=6),
)
def test_the_parts_of_every_credit_add_up_and_never_pass_the_invoice(
    paid: int, wanted: list[int]
) -> None:
    history: Facts = (*OPEN, *(decide(record(amount=paid), OPEN) if paid else ()))
    for place, amount in enumerate(wanted):
        try:
            history = (*history, *decide(credit(f"cn_{place}", amount), history))
        except Rejected as refused:
            assert refused.reason is Reason.CREDIT_EXCEEDS_INVOICE  # noqa: PT017
    notes = [fact for fact in history if isinstance(fact, CreditApplied)]
    for fact in notes:
        after = fact.refund + fact.customer_credit + fact.out_of_band
        assert fact.before_payment + after == fact.credit.total
    assert sum(fact.credit.total for fact in notes) <= 11_900
    assert sum(fact.before_payment for fact in notes) <= 11_900 - paid


# --- once, and taken away again -------------------------------------------------------------


def test_a_credit_note_is_applied_once() -> None:
    given(*OPEN, HALF_CREDITED).when(credit(amount=5_950)).then_nothing()


def test_another_credit_needs_another_id() -> None:
    given(*OPEN, HALF_CREDITED).when(credit(amount=2_000)).then_rejected(Reason.ALREADY_EXISTS)


def test_a_withdrawn_credit_is_owed_again() -> None:
    given(*OPEN, HALF_CREDITED).when(withdraw()).then(WITHDRAWN)
    given(*OPEN, HALF_CREDITED, WITHDRAWN).when(attempt()).then(attempted(amount=11_900))


def test_what_was_withdrawn_may_be_credited_again_under_another_id() -> None:
    given(*OPEN, HALF_CREDITED, WITHDRAWN).when(credit("cn_2")).then(
        applied("cn_2", FULL_CREDIT, before_payment=11_900), CREDITED
    )


def test_the_id_of_a_withdrawn_credit_note_is_not_used_again() -> None:
    given(*OPEN, HALF_CREDITED, WITHDRAWN).when(credit(amount=5_950)).then_rejected(
        Reason.ALREADY_EXISTS
    )


def test_a_credit_note_that_does_not_stand_is_not_withdrawn() -> None:
    given(*OPEN).when(withdraw()).then_rejected(Reason.NO_SUCH_CREDIT_NOTE, credit_note="cn_1")
    given(*OPEN, HALF_CREDITED, WITHDRAWN).when(withdraw()).then_rejected(
        Reason.NO_SUCH_CREDIT_NOTE, credit_note="cn_1"
    )


def test_the_credit_note_of_a_paid_invoice_stays() -> None:
    given(*PAID_UP, applied(customer_credit=11_900)).when(withdraw()).then_rejected(
        Reason.ALREADY_PAID
    )


def test_an_invoice_knows_its_live_credit_notes() -> None:
    invoice = fold((*OPEN, HALF_CREDITED))
    assert isinstance(invoice, Issued)
    assert invoice.credit_note(CreditNoteId("cn_1")) == HALF_CREDITED
    assert invoice.credit_note(CreditNoteId("cn_2")) is None
