"""Which command does an invoice in which status obey? The whole table, written out from the
design and not from the code, and each row of the design's own table as a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from counterfoil.domain.errors import NotFound, Reason
from counterfoil.domain.invoice.commands import (
    AddLine,
    AmendDraft,
    ApplyCredit,
    AttemptPayment,
    AttemptRefund,
    ChangeLine,
    DiscardDraft,
    DraftInvoice,
    FailPayment,
    FailRefund,
    FinalizeInvoice,
    InvoiceCommand,
    MarkUncollectible,
    ReconcileInvoice,
    RecordDocument,
    RecordPayment,
    RefundPayment,
    RemoveLine,
    RequirePaymentAction,
    SendInvoice,
    SetDiscount,
    SetMetadata,
    SucceedPayment,
    VoidInvoice,
    WithdrawCredit,
)
from counterfoil.domain.invoice.events import (
    CreditApplied,
    CreditWithdrawn,
    DiscountSet,
    DocumentStored,
    DraftAmended,
    DraftDiscarded,
    InvoiceDrafted,
    InvoiceEvent,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceSent,
    InvoiceVoided,
    LineAdded,
    LineChanged,
    LineRemoved,
    MarkedUncollectible,
    MetadataSet,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
    Status,
    Terms,
)
from counterfoil.domain.invoice.state import fold
from counterfoil.domain.line import Discount
from counterfoil.domain.value import Event, LineId
from examples import (
    ATTEMPTED,
    CREDITED,
    CUSTOMER,
    DISCARDED,
    DRAFT,
    DRAFTED,
    FAILED,
    FINALIZE,
    FINALIZED,
    FULL_CREDIT,
    GIVE_UP,
    GIVEN_UP,
    HALF_CREDITED,
    INVOICE,
    LINE_ADDED,
    MARKED_UNCOLLECTIBLE,
    NOTHING_DUE,
    NUMBER,
    OPEN,
    PAID,
    PAID_UP,
    RECORDED,
    SEND,
    STORED,
    SUCCEEDED,
    VOID,
    VOIDED,
    VOIDED_UP,
    WITHDRAWN,
    applied,
    attempt,
    attempt_refund,
    change_line,
    credit,
    draft,
    fail,
    fail_refund,
    item,
    line,
    reconcile,
    reconciled,
    record,
    recorded,
    refund,
    refund_attempted,
    refunded,
    require_action,
    succeed,
    withdraw,
)
from spec import decide, given

# --- every command against every status -----------------------------------------------------

Kinds = tuple[type[Event], ...]
Answer = Kinds | Reason | type[NotFound]

QUIET: Kinds = ()
NONE = NotFound
EXISTS, GONE = Reason.ALREADY_EXISTS, Reason.DISCARDED
IS_DRAFT, FINAL = Reason.IS_DRAFT, Reason.ALREADY_FINALIZED
IS_PAID, LOST, IS_VOID = Reason.ALREADY_PAID, Reason.IS_UNCOLLECTIBLE, Reason.IS_VOID


@dataclass(frozen=True)
class Row:
    """A command, and its answer in each status; `after` is what it needs to have happened to the
    open invoice before.
    """

    command: InvoiceCommand
    absent: Answer
    draft: Answer
    open: Answer
    paid: Answer
    uncollectible: Answer
    void: Answer
    discarded: Answer
    after: tuple[InvoiceEvent, ...] = ()


def _draft_only(command: InvoiceCommand, fact: type[Event]) -> Row:
    return Row(command, NONE, (fact,), FINAL, FINAL, FINAL, FINAL, GONE)


def _always(command: InvoiceCommand, fact: type[Event]) -> Row:
    return Row(command, NONE, (fact,), (fact,), (fact,), (fact,), (fact,), GONE)


def _once_finalized(
    command: InvoiceCommand, fact: type[Event], after: tuple[InvoiceEvent, ...]
) -> Row:
    return Row(command, NONE, IS_DRAFT, (fact,), (fact,), (fact,), (fact,), GONE, after)


HALF_RECORDED = recorded("half", 5_000)
HALF_REFUNDING = (HALF_RECORDED, refund_attempted("half", amount=5_000))
SETTLES = (PaymentSucceeded, InvoicePaid)

TABLE: dict[type[InvoiceCommand], Row] = {
    DraftInvoice: Row(
        draft(item()),
        absent=(InvoiceDrafted, LineAdded),
        draft=EXISTS,
        open=EXISTS,
        paid=EXISTS,
        uncollectible=EXISTS,
        void=EXISTS,
        discarded=EXISTS,
    ),
    AddLine: _draft_only(AddLine(line=item("line_2")), LineAdded),
    ChangeLine: _draft_only(change_line(quantity="3"), LineChanged),
    RemoveLine: _draft_only(RemoveLine(line=LineId("line_1")), LineRemoved),
    SetDiscount: _draft_only(SetDiscount(discount=Discount(percent="10")), DiscountSet),
    AmendDraft: _draft_only(
        AmendDraft(terms=Terms(customer=CUSTOMER, footer="Thanks")), DraftAmended
    ),
    DiscardDraft: Row(
        DiscardDraft(),
        absent=NONE,
        draft=(DraftDiscarded,),
        open=FINAL,
        paid=FINAL,
        uncollectible=FINAL,
        void=FINAL,
        discarded=QUIET,
    ),
    SetMetadata: _always(SetMetadata(metadata={"order": "42"}), MetadataSet),
    RecordDocument: _always(RecordDocument(document=STORED), DocumentStored),
    FinalizeInvoice: Row(
        FINALIZE,
        absent=NONE,
        draft=(InvoiceFinalized,),
        open=QUIET,
        paid=QUIET,
        uncollectible=LOST,
        void=IS_VOID,
        discarded=GONE,
    ),
    SendInvoice: Row(
        SEND,
        absent=NONE,
        draft=IS_DRAFT,
        open=(InvoiceSent,),
        paid=(InvoiceSent,),
        uncollectible=LOST,
        void=IS_VOID,
        discarded=GONE,
    ),
    VoidInvoice: Row(
        VOID,
        absent=NONE,
        draft=IS_DRAFT,
        open=(InvoiceVoided,),
        paid=IS_PAID,
        uncollectible=(InvoiceVoided,),
        void=QUIET,
        discarded=GONE,
    ),
    MarkUncollectible: Row(
        GIVE_UP,
        absent=NONE,
        draft=IS_DRAFT,
        open=(MarkedUncollectible,),
        paid=IS_PAID,
        uncollectible=QUIET,
        void=IS_VOID,
        discarded=GONE,
    ),
    AttemptPayment: Row(
        attempt(),
        absent=NONE,
        draft=IS_DRAFT,
        open=(PaymentAttempted,),
        paid=IS_PAID,
        uncollectible=(PaymentAttempted,),
        void=IS_VOID,
        discarded=GONE,
    ),
    RecordPayment: Row(
        record("bank_2"),
        absent=NONE,
        draft=IS_DRAFT,
        open=SETTLES,
        paid=IS_PAID,
        uncollectible=SETTLES,
        void=IS_VOID,
        discarded=GONE,
    ),
    # What a processor did is a fact, whenever it is heard.
    RequirePaymentAction: _once_finalized(require_action(), PaymentActionRequired, (ATTEMPTED,)),
    FailPayment: _once_finalized(fail(), PaymentFailed, (ATTEMPTED,)),
    SucceedPayment: Row(
        succeed(),
        absent=NONE,
        draft=IS_DRAFT,
        open=SETTLES,
        paid=(PaymentSucceeded,),
        uncollectible=SETTLES,
        void=(PaymentSucceeded,),
        discarded=GONE,
        after=(ATTEMPTED,),
    ),
    AttemptRefund: _once_finalized(attempt_refund("half"), RefundAttempted, (HALF_RECORDED,)),
    FailRefund: _once_finalized(fail_refund(), RefundFailed, HALF_REFUNDING),
    RefundPayment: _once_finalized(refund("half"), PaymentRefunded, (HALF_RECORDED,)),
    ApplyCredit: Row(
        credit(),
        absent=NONE,
        draft=IS_DRAFT,
        open=(CreditApplied, InvoicePaid),
        paid=(CreditApplied,),
        uncollectible=(CreditApplied, InvoicePaid),
        void=IS_VOID,
        discarded=GONE,
    ),
    WithdrawCredit: Row(
        withdraw(),
        absent=NONE,
        draft=IS_DRAFT,
        open=(CreditWithdrawn,),
        paid=IS_PAID,
        uncollectible=(CreditWithdrawn,),
        void=IS_VOID,
        discarded=GONE,
        after=(HALF_CREDITED,),
    ),
    # This one sentence of the outsider is "paid"; every pair of statuses is tried below.
    ReconcileInvoice: Row(
        reconcile(Status.PAID),
        absent=NONE,
        draft=IS_DRAFT,
        open=(InvoiceReconciled,),
        paid=(InvoiceReconciled,),
        uncollectible=(InvoiceReconciled,),
        void=(InvoiceReconciled,),
        discarded=GONE,
    ),
}
STATUSES = ("absent", *Status)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("command", get_args(InvoiceCommand), ids=lambda one: one.__name__)
def test_every_command_has_its_answer_in_every_status(
    command: type[InvoiceCommand], status: str
) -> None:
    row = TABLE[command]
    question = given(*_history(status, row.after)).when(row.command)
    match getattr(row, status):
        case Reason() as reason:
            question.then_rejected(reason)
        case type():
            question.then_not_found()
        case facts:
            answer = decide(row.command, _history(status, row.after))
            assert tuple(type(fact) for fact in answer) == facts
            if answer:
                question.then(*answer)
            else:
                question.then_nothing()


@pytest.mark.parametrize("status", Status)
def test_each_history_of_the_table_ends_in_its_status(status: Status) -> None:
    for row in TABLE.values():
        invoice = fold(_history(status, row.after))
        assert invoice is not None
        assert invoice.status is status


def _history(status: str, after: tuple[InvoiceEvent, ...]) -> tuple[InvoiceEvent, ...]:
    match status:
        case "absent":
            return ()
        case Status.DRAFT:
            return DRAFT
        case Status.DISCARDED:
            return (*DRAFT, DISCARDED)
        case Status.OPEN:
            return (*OPEN, *after)
        case Status.PAID:
            return (*OPEN, *after, *_paid_by_bank((*OPEN, *after)))
        case Status.UNCOLLECTIBLE:
            return (*OPEN, *after, MARKED_UNCOLLECTIBLE)
        case _:
            # Once something came of it, only an outsider can say that it is void.
            return (*OPEN, *after, reconciled(Status.VOID) if after else VOIDED)


def _paid_by_bank(history: tuple[InvoiceEvent, ...]) -> tuple[InvoiceEvent, ...]:
    left = 11_900
    if HALF_RECORDED in history:
        left -= 5_000
    if HALF_CREDITED in history:
        left -= 5_950
    return (recorded(amount=left), PAID)


# --- draft ----------------------------------------------------------------------------------


def test_a_draft_with_a_line_becomes_open() -> None:
    given(*DRAFT).when(FINALIZE).then(FINALIZED)


def test_a_draft_without_lines_stays_a_draft() -> None:
    given(DRAFTED).when(FINALIZE).then_rejected(Reason.NO_LINES)


def test_a_draft_whose_lines_were_all_removed_stays_a_draft() -> None:
    removed = LineRemoved(line=LineId("line_1"))
    given(*DRAFT, removed).when(FINALIZE).then_rejected(Reason.NO_LINES)


def test_a_draft_with_nothing_due_gets_a_number_and_is_paid_at_once() -> None:
    free = LineAdded(line=line(amount=0, unit_price="0.00"))
    finalized, paid = decide(FINALIZE, (DRAFTED, free))
    assert isinstance(finalized, InvoiceFinalized)
    assert (finalized.number, finalized.totals.total) == (NUMBER, 0)
    assert paid == NOTHING_DUE
    given(DRAFTED, free).when(FINALIZE).then(finalized, NOTHING_DUE)


def test_a_draft_is_paid_in_no_other_way() -> None:
    for command in (attempt(), record(), succeed(), credit(), reconcile(Status.PAID)):
        given(*DRAFT).when(command).then_rejected(Reason.IS_DRAFT, id=INVOICE)


def test_a_draft_is_not_voided_but_discarded() -> None:
    given(*DRAFT).when(VOID).then_rejected(Reason.IS_DRAFT)
    given(*DRAFT).when(DiscardDraft()).then(DISCARDED)


def test_a_discarded_draft_obeys_nothing() -> None:
    given(*DRAFT, DISCARDED).when(FINALIZE).then_rejected(Reason.DISCARDED, id=INVOICE)


def test_a_discarded_draft_is_not_drafted_again() -> None:
    given(*DRAFT, DISCARDED).when(draft()).then_rejected(Reason.ALREADY_EXISTS, id=INVOICE)


# --- open -----------------------------------------------------------------------------------


def test_an_open_invoice_is_paid_when_nothing_remains() -> None:
    given(*OPEN).when(record()).then(RECORDED, PAID)


def test_an_open_invoice_is_voided() -> None:
    given(*OPEN).when(VOID).then(VOIDED)


def test_an_open_invoice_is_given_up() -> None:
    given(*OPEN).when(GIVE_UP).then(MARKED_UNCOLLECTIBLE)


def test_a_finalized_invoice_changes_no_line() -> None:
    given(*OPEN).when(change_line(quantity="3")).then_rejected(
        Reason.ALREADY_FINALIZED, number=NUMBER
    )


def test_a_finalized_invoice_is_not_discarded() -> None:
    given(*OPEN).when(DiscardDraft()).then_rejected(Reason.ALREADY_FINALIZED, number=NUMBER)


# --- uncollectible --------------------------------------------------------------------------


def test_a_late_payment_of_an_uncollectible_invoice_is_welcome() -> None:
    given(*GIVEN_UP).when(record()).then(RECORDED, PAID)


def test_a_late_attempt_on_an_uncollectible_invoice_is_welcome() -> None:
    given(*GIVEN_UP).when(attempt()).then(ATTEMPTED)
    given(*GIVEN_UP, ATTEMPTED).when(succeed()).then(SUCCEEDED, PAID)


def test_a_part_of_an_uncollectible_invoice_may_be_paid() -> None:
    given(*GIVEN_UP).when(record(amount=5_000)).then(recorded(amount=5_000))


def test_an_uncollectible_invoice_is_voided() -> None:
    given(*GIVEN_UP).when(VOID).then(VOIDED)


def test_an_uncollectible_invoice_is_not_sent() -> None:
    given(*GIVEN_UP).when(SEND).then_rejected(Reason.IS_UNCOLLECTIBLE)


# --- paid and void --------------------------------------------------------------------------


def test_a_paid_invoice_goes_nowhere() -> None:
    for command in (VOID, GIVE_UP, attempt(), record("bank_2"), withdraw()):
        given(*PAID_UP).when(command).then_rejected(Reason.ALREADY_PAID, number=NUMBER)


def test_a_paid_invoice_is_corrected_with_a_credit_note_and_stays_paid() -> None:
    given(*PAID_UP).when(credit()).then(applied(customer_credit=11_900))


def test_a_void_invoice_goes_nowhere() -> None:
    for command in (FINALIZE, SEND, GIVE_UP, attempt(), record(), credit(), withdraw()):
        given(*VOIDED_UP).when(command).then_rejected(Reason.IS_VOID, number=NUMBER)


# --- same to same ---------------------------------------------------------------------------


def test_what_is_so_already_makes_no_fact() -> None:
    given(*OPEN).when(FINALIZE).then_nothing()
    given(*VOIDED_UP).when(VOID).then_nothing()
    given(*GIVEN_UP).when(GIVE_UP).then_nothing()
    given(*DRAFT, DISCARDED).when(DiscardDraft()).then_nothing()


# --- void only while untouched --------------------------------------------------------------


def test_an_invoice_that_received_money_is_not_voided() -> None:
    given(*OPEN, recorded(amount=5_000)).when(VOID).then_rejected(
        Reason.MONEY_RECEIVED, received=5_000
    )


def test_an_uncollectible_invoice_that_received_money_is_not_voided() -> None:
    given(*GIVEN_UP, recorded(amount=5_000)).when(VOID).then_rejected(Reason.MONEY_RECEIVED)


def test_money_that_went_back_was_received_all_the_same() -> None:
    back = refunded(amount=5_000, reopened=5_000)
    given(*OPEN, recorded(amount=5_000), back).when(VOID).then_rejected(
        Reason.MONEY_RECEIVED, received=5_000
    )


def test_an_invoice_with_a_live_credit_note_is_not_voided() -> None:
    given(*OPEN, HALF_CREDITED).when(VOID).then_rejected(
        Reason.CREDIT_NOTE_LIVES, credit_note="cn_1"
    )


def test_an_invoice_whose_credit_note_was_withdrawn_is_voided() -> None:
    given(*OPEN, HALF_CREDITED, WITHDRAWN).when(VOID).then(VOIDED)


def test_an_invoice_with_an_attempt_in_progress_is_not_voided() -> None:
    given(*OPEN, ATTEMPTED).when(VOID).then_rejected(Reason.PAYMENT_IN_PROGRESS, payment="pay_1")


def test_an_invoice_whose_attempt_failed_is_voided() -> None:
    given(*OPEN, ATTEMPTED, FAILED).when(VOID).then(VOIDED)


def test_an_invoice_of_which_nothing_is_left_to_void_was_paid_by_credit() -> None:
    history = (*OPEN, applied(figures=FULL_CREDIT, before_payment=11_900), CREDITED)
    given(*history).when(VOID).then_rejected(Reason.ALREADY_PAID)


# --- the canonical outsider -----------------------------------------------------------------

OUTSIDE = (Status.OPEN, Status.PAID, Status.UNCOLLECTIBLE, Status.VOID)


@pytest.mark.parametrize("wanted", OUTSIDE)
@pytest.mark.parametrize("status", OUTSIDE)
def test_an_outsider_takes_an_invoice_from_any_status_to_any(
    status: Status, wanted: Status
) -> None:
    history = _history(status, ())
    settled = 11_900 if wanted is Status.PAID is not status else 0
    given(*history).when(reconcile(wanted)).then(reconciled(wanted, settled=settled))
    invoice = fold((*history, reconciled(wanted, settled=settled)))
    assert invoice is not None
    assert invoice.status is wanted


def test_nobody_else_takes_a_void_invoice_to_paid() -> None:
    history = (*OPEN, ATTEMPTED, reconciled(Status.VOID))
    given(*history).when(succeed()).then(SUCCEEDED.model_copy(update={"surplus": 11_900}))


def test_a_draft_is_not_reconciled() -> None:
    given(DRAFTED, LINE_ADDED).when(reconcile(Status.OPEN)).then_rejected(Reason.IS_DRAFT)
