"""Which command an invoice in which status obeys: the one table that every path goes through.

A cell says YES, or SAME where the wish is a fact already (no event, same answer), or why not.
Two cells hold on a condition as well: `has_lines` for finalizing, `untouched` for voiding.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from counterfoil.domain.errors import Reason, Rejected
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
from counterfoil.domain.invoice.state import Draft, Invoice, Issued


class Answer(Enum):
    """What the table says when it does not refuse."""

    YES = "yes"
    SAME = "same"


Cell = Answer | Reason


class Row(NamedTuple):
    """One command's answers, by status; a discarded draft obeys nothing."""

    draft: Cell
    open: Cell
    paid: Cell
    uncollectible: Cell
    void: Cell
    discarded: Cell = Reason.DISCARDED


YES, SAME = Answer.YES, Answer.SAME
EXISTS, DRAFT, FINAL = Reason.ALREADY_EXISTS, Reason.IS_DRAFT, Reason.ALREADY_FINALIZED
PAID, LOST, VOID = Reason.ALREADY_PAID, Reason.IS_UNCOLLECTIBLE, Reason.IS_VOID

# fmt: off
TABLE: dict[type[InvoiceCommand], Row] = {
    #                         draft   open    paid    uncoll. void
    DraftInvoice:         Row(EXISTS, EXISTS, EXISTS, EXISTS, EXISTS, EXISTS),
    AddLine:              Row(YES,    FINAL,  FINAL,  FINAL,  FINAL),
    ChangeLine:           Row(YES,    FINAL,  FINAL,  FINAL,  FINAL),
    RemoveLine:           Row(YES,    FINAL,  FINAL,  FINAL,  FINAL),
    SetDiscount:          Row(YES,    FINAL,  FINAL,  FINAL,  FINAL),
    AmendDraft:           Row(YES,    FINAL,  FINAL,  FINAL,  FINAL),
    DiscardDraft:         Row(YES,    FINAL,  FINAL,  FINAL,  FINAL,  SAME),
    SetMetadata:          Row(YES,    YES,    YES,    YES,    YES),
    RecordDocument:       Row(YES,    YES,    YES,    YES,    YES),
    FinalizeInvoice:      Row(YES,    SAME,   SAME,   LOST,   VOID),  # while has_lines
    SendInvoice:          Row(DRAFT,  YES,    YES,    LOST,   VOID),
    VoidInvoice:          Row(DRAFT,  YES,    PAID,   YES,    SAME),  # while untouched
    MarkUncollectible:    Row(DRAFT,  YES,    PAID,   SAME,   VOID),
    AttemptPayment:       Row(DRAFT,  YES,    PAID,   YES,    VOID),
    RecordPayment:        Row(DRAFT,  YES,    PAID,   YES,    VOID),
    RequirePaymentAction: Row(DRAFT,  YES,    YES,    YES,    YES),   # what a processor did is a
    FailPayment:          Row(DRAFT,  YES,    YES,    YES,    YES),   # fact whenever it is heard,
    SucceedPayment:       Row(DRAFT,  YES,    YES,    YES,    YES),   # money that came most of all
    AttemptRefund:        Row(DRAFT,  YES,    YES,    YES,    YES),
    FailRefund:           Row(DRAFT,  YES,    YES,    YES,    YES),
    RefundPayment:        Row(DRAFT,  YES,    YES,    YES,    YES),
    ApplyCredit:          Row(DRAFT,  YES,    YES,    YES,    VOID),
    WithdrawCredit:       Row(DRAFT,  YES,    PAID,   YES,    VOID),
    ReconcileInvoice:     Row(DRAFT,  YES,    YES,    YES,    YES),
}
# fmt: on


def has_lines(draft: Draft) -> None:
    """A document without lines says nothing, so it is not finalized."""
    if not draft.lines:
        raise Rejected(Reason.NO_LINES)


def untouched(invoice: Issued) -> None:
    """Voiding says that nothing ever came of the invoice: no money, none on its way, no credit."""
    if invoice.attempt is not None:
        raise Rejected(Reason.PAYMENT_IN_PROGRESS, payment=invoice.attempt.payment)
    if invoice.payments:
        received = sum(payment.amount for payment in invoice.payments)
        raise Rejected(Reason.MONEY_RECEIVED, received=received)
    if invoice.credits:
        raise Rejected(Reason.CREDIT_NOTE_LIVES, credit_note=invoice.credits[0].credit_note)


def answer(kind: type[InvoiceCommand], invoice: Invoice) -> Answer:
    """What the table says to a command of this kind; a refusal is raised."""
    cell: Cell = getattr(TABLE[kind], invoice.status)
    if isinstance(cell, Answer):
        return cell
    match invoice:
        case Issued():
            raise Rejected(cell, id=invoice.draft.id, number=invoice.document.number)
        case _:
            raise Rejected(cell, id=invoice.id)
