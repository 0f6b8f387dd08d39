"""Command + credit note → facts, or a refusal.

What may be credited, and where it goes, is the invoice's decision (`ApplyCredit`), because only
the invoice knows what was credited before; the note is the document of that decision.
"""

from __future__ import annotations

from datetime import date
from typing import assert_never

from counterfoil.domain.credit_note.events import (
    CreditNoteEvent,
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.credit_note.state import CreditNote, CreditNoteStatus
from counterfoil.domain.errors import NotFound, Reason, Rejected
from counterfoil.domain.invoice.events import CreditApplied
from counterfoil.domain.invoice.state import Issued
from counterfoil.domain.value import Command, ShortText


class VoidCreditNote(Command):
    reason: ShortText | None = None


class IssueCreditNote(Command):
    """Put in writing what the invoice decided; parties and currency are the invoice's own."""

    document: CreditNoteIssued


class RecordPrint(Command):
    """Keep in mind what was printed and stored, so that it can be proved later."""

    document: CreditNoteStored


CreditNoteCommand = IssueCreditNote | VoidCreditNote | RecordPrint


def document(
    applied: CreditApplied,
    invoice: Issued,
    *,
    number: str,
    series: str,
    issued_on: date,
    reason: str | None,
) -> IssueCreditNote:
    """The credit note that an invoice's decision calls for."""
    of = invoice.document
    return IssueCreditNote(
        document=CreditNoteIssued(
            credit_note=applied.credit_note,
            number=number,
            series=series,
            issued_on=issued_on,
            invoice=invoice.draft.id,
            invoice_number=of.number,
            invoice_issued_on=of.issued_on,
            currency=invoice.draft.currency,
            seller=of.seller,
            customer=of.customer,
            credit=applied.credit,
            before_payment=applied.before_payment,
            refund=applied.refund,
            customer_credit=applied.customer_credit,
            out_of_band=applied.out_of_band,
            reason=reason,
        )
    )


def decide(
    command: CreditNoteCommand, credit_note: CreditNote | None
) -> tuple[CreditNoteEvent, ...]:
    """The facts that obeying this command makes; none when all of it is so already."""
    match command:
        case IssueCreditNote(document=issued):
            if credit_note is None:
                return (issued,)
            if credit_note.status is CreditNoteStatus.VOID:
                raise Rejected(Reason.IS_VOID)
            if credit_note.document == issued:
                return ()
            raise Rejected(Reason.ALREADY_EXISTS, id=issued.credit_note)
        case VoidCreditNote(reason=reason):
            if credit_note is None:
                raise NotFound("credit note")
            if credit_note.status is CreditNoteStatus.VOID:
                return ()
            return (CreditNoteVoided(reason=reason),)
        case RecordPrint(document=stored):
            if credit_note is None:
                raise NotFound("credit note")
            last = credit_note.prints[-1:]
            same = [one.model_copy(update={"version": stored.version}) for one in last] == [stored]
            return () if same else (stored,)
        case _:
            assert_never(command)
