"""What follows when an invoice is drafted, amended, finalized, sent, described or reconciled?

Payments and credit notes have files of their own beside this one.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from counterfoil.domain.errors import CounterfoilError, Malformed, Reason
from counterfoil.domain.invoice.commands import (
    LINES_MAX,
    AddLine,
    AmendDraft,
    ChangeLine,
    DraftInvoice,
    FinalizeInvoice,
    RecordDocument,
    RemoveLine,
    SendInvoice,
    SetDiscount,
    SetMetadata,
)
from counterfoil.domain.invoice.events import (
    DiscountSet,
    DocumentStored,
    DraftAmended,
    InvoiceDrafted,
    InvoiceEvent,
    InvoiceFinalized,
    InvoiceSent,
    LineAdded,
    LineChanged,
    LineRemoved,
    MetadataSet,
    Status,
    Terms,
)
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.line import Discount
from counterfoil.domain.money import Money
from counterfoil.domain.party import Seller
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.value import LARGEST, LineId
from examples import (
    CUSTOMER,
    DRAFT,
    DRAFTED,
    FINALIZE,
    FINALIZED,
    INVOICE,
    ISSUED_ON,
    LATER,
    LINE_ADDED,
    NOON,
    NUMBER,
    OPEN,
    PAID_UP,
    SELLER,
    SEND,
    SENT,
    SERIES,
    STORED,
    TERMS,
    VOIDED_UP,
    attempt,
    change_line,
    draft,
    item,
    line,
    reconcile,
    reconciled,
    record,
)
from spec import decide, given

# --- draft ----------------------------------------------------------------------------------


def test_an_invoice_is_drafted_with_its_lines_and_its_discount() -> None:
    discount = Discount(percent="10")
    given().when(draft(item(), item("line_2"), discount=discount)).then(
        DRAFTED, LINE_ADDED, LineAdded(line=line("line_2")), DiscountSet(discount=discount)
    )


def test_an_invoice_is_drafted_once() -> None:
    given(DRAFTED).when(draft()).then_rejected(Reason.ALREADY_EXISTS, id=INVOICE)


def test_an_invoice_is_not_drafted_with_two_lines_of_one_id() -> None:
    given().when(draft(item(), item(quantity="3"))).then_rejected(Reason.LINE_EXISTS, line="line_1")


def test_a_draft_drops_metadata_without_a_value() -> None:
    command = DraftInvoice(
        invoice=INVOICE, currency="EUR", terms=TERMS, metadata={"order": "42", "empty": ""}
    )
    given().when(command).then(DRAFTED.model_copy(update={"metadata": {"order": "42"}}))


def test_a_draft_keeps_its_own_copy_of_the_metadata() -> None:
    mine = {"order": "42"}
    command = DraftInvoice(invoice=INVOICE, currency="EUR", terms=TERMS, metadata=mine)
    mine["order"] = "43"
    (drafted,) = decide(command, ())
    assert isinstance(drafted, InvoiceDrafted)
    assert drafted.metadata == {"order": "42"}


def test_a_currency_is_written_in_capitals() -> None:
    given().when(draft(currency="eur")).then(DRAFTED)


def test_a_draft_takes_no_discount_finer_than_its_currency() -> None:
    discount = Discount(amount=Decimal("0.5"))
    given().when(draft(currency="JPY", discount=discount)).then_rejected(
        Reason.TOO_PRECISE, field="discount.amount", currency="JPY", exponent=0
    )


def test_a_draft_whose_sums_no_store_could_hold_is_refused() -> None:
    huge = [item(f"line_{place}", unit_price="40000000000000.00") for place in range(600)]
    given().when(draft(*huge)).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="total", limit=LARGEST
    )


# --- lines ----------------------------------------------------------------------------------


def test_a_line_is_added_with_its_figures() -> None:
    given(DRAFTED).when(AddLine(line=item())).then(LINE_ADDED)


def test_the_same_line_is_added_once() -> None:
    given(*DRAFT).when(AddLine(line=item())).then_nothing()


def test_another_line_needs_another_id() -> None:
    given(*DRAFT).when(AddLine(line=item(quantity="3"))).then_rejected(
        Reason.LINE_EXISTS, line="line_1"
    )


def test_an_invoice_holds_so_many_lines_and_no_more() -> None:
    one = line()
    full = tuple(
        LineAdded(line=one.model_copy(update={"id": LineId(f"line_{place}")}))
        for place in range(1, LINES_MAX + 1)
    )
    given(DRAFTED, *full).when(AddLine(line=item("one_more"))).then_rejected(
        Reason.TOO_MANY_LINES, limit=LINES_MAX
    )
    given(DRAFTED, *full[1:]).when(AddLine(line=item())).then(LINE_ADDED)


def test_the_sum_of_all_lines_stays_within_what_a_store_can_hold() -> None:
    huge = LineAdded(line=line("huge", amount=LARGEST // 2, unit_price="1.00"))
    given(DRAFTED, huge).when(AddLine(line=item())).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="total"
    )


def test_a_changed_line_stays_within_what_a_store_can_hold() -> None:
    command = ChangeLine(line=item(quantity="900000000000000", unit_price="900000000000000.00"))
    given(*DRAFT).when(command).then_rejected(Reason.AMOUNT_OUT_OF_RANGE, field="unit_price")


def test_a_changed_line_counts_once_towards_what_a_store_can_hold() -> None:
    huge = LineAdded(line=line("huge", amount=LARGEST // 2 - 10_000, unit_price="1.00"))
    given(*DRAFT, huge).when(change_line(quantity="3")).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="total"
    )
    given(*DRAFT, huge).when(change_line("huge", quantity="3")).then(
        LineChanged(line=line("huge", quantity="3", amount=15_000))
    )


def test_a_line_given_away_counts_with_what_was_taken_off() -> None:
    free = item(
        "free",
        quantity="900000000",
        unit_price="90000000.00",
        discount=Discount(percent="100"),
    )
    given(DRAFTED).when(AddLine(line=free)).then_rejected(Reason.AMOUNT_OUT_OF_RANGE, field="total")


def test_a_discount_takes_no_more_than_its_line() -> None:
    discount = Discount(amount=Decimal("100.01"))
    given(DRAFTED).when(AddLine(line=item(discount=discount))).then_rejected(
        Reason.DISCOUNT_EXCEEDS_LINE, discount=10_001, amount=10_000
    )


def test_a_discount_is_no_finer_than_the_currency() -> None:
    discount = Discount(amount=Decimal("0.001"))
    given(DRAFTED).when(AddLine(line=item(discount=discount))).then_rejected(
        Reason.TOO_PRECISE, field="discount.amount", currency="EUR", exponent=2
    )


def test_of_two_reasons_the_one_that_stands_first_is_said() -> None:
    discount = Discount(amount=Decimal("999.00"))
    given(*DRAFT).when(AddLine(line=item(discount=discount))).then_rejected(Reason.LINE_EXISTS)


def test_a_line_is_changed_in_its_place() -> None:
    given(*DRAFT).when(change_line(quantity="3")).then(
        LineChanged(line=line(quantity="3", amount=15_000))
    )


def test_a_line_changed_into_itself_is_no_change() -> None:
    given(*DRAFT).when(ChangeLine(line=item())).then_nothing()


def test_a_line_read_from_the_draft_may_be_given_back() -> None:
    given(*DRAFT).when(ChangeLine(line=LINE_ADDED.line)).then_nothing()


def test_a_line_that_is_not_there_is_not_changed() -> None:
    given(*DRAFT).when(change_line("line_2", quantity="3")).then_rejected(
        Reason.NO_SUCH_LINE, line="line_2"
    )


def test_a_line_is_removed() -> None:
    removed = LineRemoved(line=LineId("line_1"))
    given(*DRAFT).when(RemoveLine(line=LineId("line_1"))).then(removed)


def test_a_line_that_is_not_there_is_not_removed() -> None:
    given(DRAFTED).when(RemoveLine(line=LineId("line_1"))).then_rejected(
        Reason.NO_SUCH_LINE, line="line_1"
    )


# --- discount and terms ---------------------------------------------------------------------


def test_a_discount_is_set_and_taken_away() -> None:
    ten = DiscountSet(discount=Discount(percent="10"))
    given(*DRAFT).when(SetDiscount(discount=Discount(percent="10"))).then(ten)
    given(*DRAFT, ten).when(SetDiscount(discount=None)).then(DiscountSet(discount=None))


def test_a_discount_that_is_set_already_is_no_change() -> None:
    given(*DRAFT).when(SetDiscount(discount=None)).then_nothing()


def test_a_document_discount_is_no_finer_than_the_currency() -> None:
    command = SetDiscount(discount=Discount(amount=Decimal("0.001")))
    given(*DRAFT).when(command).then_rejected(Reason.TOO_PRECISE, field="discount.amount")


def test_a_document_discount_stays_within_what_a_store_can_hold() -> None:
    command = SetDiscount(discount=Discount(amount=Decimal(10) ** 17))
    given(*DRAFT).when(command).then_rejected(
        Reason.AMOUNT_OUT_OF_RANGE, field="discount.amount", limit=LARGEST
    )


def test_terms_are_amended_as_a_whole() -> None:
    terms = Terms(customer=CUSTOMER, days_until_due=30)
    given(*DRAFT).when(AmendDraft(terms=terms)).then(DraftAmended(terms=terms))


def test_terms_that_hold_already_are_no_change() -> None:
    given(*DRAFT).when(AmendDraft(terms=TERMS)).then_nothing()


def test_terms_say_a_due_date_or_days_until_due() -> None:
    with pytest.raises(Malformed, match="due_date"):
        Terms(customer=CUSTOMER, days_until_due=30, due_date=ISSUED_ON)


def test_a_period_does_not_end_before_it_starts() -> None:
    eve = ISSUED_ON - timedelta(days=1)
    with pytest.raises(Malformed, match="period_end"):
        Terms(customer=CUSTOMER, period_start=ISSUED_ON, period_end=eve)


# --- finalize -------------------------------------------------------------------------------


def test_finalizing_fixes_number_date_parties_and_totals() -> None:
    given(*DRAFT).when(FINALIZE).then(FINALIZED)


def test_the_seller_of_the_terms_goes_before_the_usual_one() -> None:
    branch = Seller(id="branch", name="Branch Ltd")
    amended = DraftAmended(terms=Terms(customer=CUSTOMER, seller=branch))
    given(*DRAFT, amended).when(FINALIZE).then(FINALIZED.model_copy(update={"seller": branch}))


def test_a_due_date_is_so_many_days_after_the_issue_date() -> None:
    amended = DraftAmended(terms=Terms(customer=CUSTOMER, days_until_due=30))
    due_on = FINALIZED.model_copy(update={"due_on": date(2026, 3, 31)})
    given(*DRAFT, amended).when(FINALIZE).then(due_on)


def test_an_invoice_may_be_due_on_the_day_of_issue() -> None:
    amended = DraftAmended(terms=Terms(customer=CUSTOMER, due_date=ISSUED_ON))
    given(*DRAFT, amended).when(FINALIZE).then(FINALIZED.model_copy(update={"due_on": ISSUED_ON}))


def test_an_invoice_is_not_due_before_it_is_issued() -> None:
    eve = ISSUED_ON - timedelta(days=1)
    amended = DraftAmended(terms=Terms(customer=CUSTOMER, due_date=eve))
    given(*DRAFT, amended).when(FINALIZE).then_rejected(
        Reason.DUE_BEFORE_ISSUE, due_on=eve, issued_on=ISSUED_ON
    )


def test_a_due_date_beyond_the_calendar_is_an_error_of_ours() -> None:
    amended = DraftAmended(terms=Terms(customer=CUSTOMER, days_until_due=30))
    command = FinalizeInvoice(number=NUMBER, series=SERIES, issued_on=date.max, seller=SELLER)
    with pytest.raises(CounterfoilError):
        decide(command, (*DRAFT, amended))


def test_an_invoice_is_not_negative() -> None:
    negative = LineAdded(line=line(quantity="-2", amount=-10_000))
    given(DRAFTED, negative).when(FINALIZE).then_rejected(Reason.NEGATIVE_TOTAL, total=-11_900)


def test_a_repeat_of_finalizing_changes_nothing_whatever_it_says() -> None:
    again = FinalizeInvoice(
        number="INV-2026-0002",
        series=SERIES,
        issued_on=ISSUED_ON + timedelta(days=1),
        seller=Seller(name="Somebody else"),
    )
    given(*OPEN).when(again).then_nothing()


def test_the_rounding_rule_of_the_draft_is_part_of_the_document() -> None:
    per_line = DRAFTED.model_copy(update={"tax_rounding": TaxRounding.PER_LINE})
    (finalized,) = decide(FINALIZE, (per_line, LINE_ADDED))
    assert isinstance(finalized, InvoiceFinalized)
    assert finalized.totals.tax_rounding is TaxRounding.PER_LINE


# --- send -----------------------------------------------------------------------------------


def test_an_invoice_is_sent_and_sent_again() -> None:
    again = SendInvoice(delivery="mail_2", to="ada@example.com")
    given(*OPEN).when(SEND).then(SENT)
    given(*OPEN, SENT).when(again).then(InvoiceSent(delivery="mail_2", to="ada@example.com"))


def test_one_delivery_is_recorded_once() -> None:
    given(*OPEN, SENT).when(SEND).then_nothing()


# --- metadata -------------------------------------------------------------------------------


def test_metadata_is_merged() -> None:
    old = MetadataSet(metadata={"order": "42", "team": "a"})
    given(*OPEN, old).when(SetMetadata(metadata={"team": "b", "new": "x"})).then(
        MetadataSet(metadata={"order": "42", "team": "b", "new": "x"})
    )


def test_an_empty_value_takes_its_key_away() -> None:
    old = MetadataSet(metadata={"order": "42", "team": "a"})
    given(*OPEN, old).when(SetMetadata(metadata={"team": ""})).then(
        MetadataSet(metadata={"order": "42"})
    )


def test_metadata_that_is_so_already_is_no_change() -> None:
    old = MetadataSet(metadata={"order": "42"})
    given(*DRAFT, old).when(SetMetadata(metadata={"order": "42"})).then_nothing()
    given(*DRAFT, old).when(SetMetadata(metadata={"unknown": ""})).then_nothing()
    given(*DRAFT, old).when(SetMetadata(metadata={})).then_nothing()


def test_metadata_is_limited_after_the_merge() -> None:
    full = MetadataSet(metadata={f"key_{place}": "x" for place in range(50)})
    given(*OPEN, full).when(SetMetadata(metadata={"one_more": "x"})).then_malformed("metadata")


def test_full_metadata_may_swap_one_key_for_another() -> None:
    rest = {f"key_{place}": "x" for place in range(1, 50)}
    full = MetadataSet(metadata={"key_0": "x", **rest})
    given(*OPEN, full).when(SetMetadata(metadata={"key_0": "", "new": "x"})).then(
        MetadataSet(metadata={**rest, "new": "x"})
    )


@pytest.mark.parametrize(
    ("key", "value"), [("k" * 41, "x"), ("", "x"), ("key", "x" * 501), ("key", "\x00")]
)
def test_keys_and_values_of_metadata_are_limited(key: str, value: str) -> None:
    with pytest.raises(Malformed):
        SetMetadata(metadata={key: value})


# --- documents ------------------------------------------------------------------------------


def test_a_stored_document_is_recorded_once() -> None:
    given(*OPEN).when(RecordDocument(document=STORED)).then(STORED)
    given(*OPEN, STORED).when(RecordDocument(document=STORED)).then_nothing()


def test_the_same_bytes_of_a_later_version_are_no_other_document() -> None:
    later = RecordDocument(document=STORED.model_copy(update={"version": 9}))
    given(*OPEN, STORED).when(later).then_nothing()


def test_a_document_that_replaced_another_is_recorded() -> None:
    other = STORED.model_copy(update={"sha256": "b" * 64})
    given(*OPEN, STORED).when(RecordDocument(document=other)).then(other)


def test_the_last_fact_about_a_key_says_what_is_stored_there() -> None:
    other = STORED.model_copy(update={"sha256": "b" * 64})
    given(*OPEN, STORED, other).when(RecordDocument(document=STORED)).then(STORED)


def test_a_stored_document_keeps_its_own_copy_of_the_options() -> None:
    mine = {"locale": "de"}
    stored = DocumentStored(**{**dict(STORED), "options": mine})
    mine["locale"] = "fr"
    assert stored.options == {"locale": "de"}


# --- reconcile ------------------------------------------------------------------------------


def test_an_outsider_who_says_paid_settles_what_remains() -> None:
    given(*OPEN).when(reconcile(Status.PAID)).then(reconciled(Status.PAID, settled=11_900))
    given(*OPEN, *decide(record(amount=5_000), OPEN)).when(reconcile(Status.PAID)).then(
        reconciled(Status.PAID, settled=6_900)
    )


def test_an_outsider_may_go_where_the_table_refuses() -> None:
    given(*PAID_UP).when(reconcile(Status.VOID)).then(reconciled(Status.VOID))
    given(*VOIDED_UP).when(reconcile(Status.OPEN)).then(reconciled(Status.OPEN))


def test_one_event_of_the_provider_is_believed_once() -> None:
    void = reconciled(Status.VOID)
    given(*OPEN, void).when(reconcile(Status.VOID)).then_nothing()
    given(*OPEN, void).when(reconcile(Status.PAID)).then_nothing()


def test_what_the_invoice_is_already_is_a_fact_too_and_settles_nothing() -> None:
    given(*OPEN).when(reconcile(Status.OPEN)).then(reconciled(Status.OPEN))
    given(*PAID_UP).when(reconcile(Status.PAID)).then(reconciled(Status.PAID))


def test_news_that_changed_nothing_is_known_when_it_comes_again() -> None:
    history = (*OPEN, reconciled(Status.OPEN), reconciled(Status.VOID, provider_event="evt_2"))
    given(*history).when(reconcile(Status.OPEN)).then_nothing()
    given(*OPEN, reconciled(Status.OPEN), *PAID_UP[len(OPEN) :]).when(
        reconcile(Status.OPEN)
    ).then_nothing()


def test_news_that_changed_nothing_makes_older_news_late() -> None:
    history = (*OPEN, reconciled(Status.OPEN, occurred_at=LATER))
    given(*history).when(reconcile(Status.PAID, "evt_2", NOON)).then_rejected(
        Reason.OUTDATED, known=LATER, given=NOON
    )


def test_an_outsider_that_says_paid_twice_settles_once() -> None:
    history = (*OPEN, reconciled(Status.PAID, settled=11_900))
    second = reconciled(Status.PAID, provider_event="evt_2", occurred_at=LATER)
    given(*history).when(reconcile(Status.PAID, "evt_2", LATER)).then(second)
    invoice = fold((*history, second))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_paid, invoice.settled) == (11_900, 11_900)
    third = LATER + timedelta(hours=1)
    given(*history, second).when(reconcile(Status.OPEN, "evt_3", third)).then(
        reconciled(Status.OPEN, settled=-11_900, provider_event="evt_3", occurred_at=third)
    )


def test_news_older_than_what_is_known_is_refused() -> None:
    known = reconciled(Status.PAID, settled=11_900, occurred_at=LATER)
    given(*OPEN, known).when(reconcile(Status.VOID, "evt_2", NOON)).then_rejected(
        Reason.OUTDATED, known=LATER, given=NOON
    )


def test_news_is_measured_by_the_newest_that_is_known() -> None:
    first = reconciled(Status.VOID, provider_event="evt_0", occurred_at=NOON)
    second = reconciled(Status.OPEN, occurred_at=LATER)
    between = NOON + timedelta(hours=1)
    given(*OPEN, first, second).when(reconcile(Status.VOID, "evt_2", between)).then_rejected(
        Reason.OUTDATED, known=LATER, given=between
    )


def test_what_an_outsider_settled_counts_as_paid() -> None:
    invoice = fold((*OPEN, reconciled(Status.PAID, settled=11_900)))
    assert isinstance(invoice, Issued)
    assert (invoice.amount_paid, invoice.amount_remaining) == (11_900, 0)


def test_news_of_the_same_moment_is_not_outdated() -> None:
    known = reconciled(Status.VOID)
    given(*OPEN, known).when(reconcile(Status.OPEN, "evt_2", NOON)).then(
        reconciled(Status.OPEN, provider_event="evt_2")
    )


def test_a_settlement_that_the_outsider_took_back_is_owed_again() -> None:
    history = (*OPEN, reconciled(Status.PAID, settled=11_900))
    taken_back = decide(reconcile(Status.OPEN, "evt_2", LATER), history)
    reopened = fold((*history, *(one for one in taken_back if isinstance(one, InvoiceEvent))))
    assert isinstance(reopened, Issued)
    assert reopened.status is Status.OPEN
    assert reopened.amount_remaining == 11_900


def test_an_attempt_is_never_for_nothing() -> None:
    history = (*PAID_UP, reconciled(Status.OPEN))
    given(*history).when(attempt()).then_rejected(Reason.PAYMENT_EXCEEDS_REMAINING, left=0)


def test_two_currencies_never_add() -> None:
    given(*OPEN).when(record(amount=Money(100, "USD"))).then_rejected(
        Reason.CURRENCY_MISMATCH, field="amount", given="USD", expected="EUR"
    )
