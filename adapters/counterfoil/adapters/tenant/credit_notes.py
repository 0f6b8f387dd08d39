"""A tenant's credit notes: corrections of finalized invoices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Unpack

from counterfoil.adapters.desk import Answer, Call, Decided, Request, expect
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE, chosen, of_kind
from counterfoil.adapters.tenant.office import (
    AmountGiven,
    Office,
    credit_note_of,
    day,
    existing,
    listed,
    made,
)
from counterfoil.domain.credit_note import decisions as credit_notes
from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import NotFound, Reason, Rejected
from counterfoil.domain.invoice import commands, decisions, state
from counterfoil.domain.invoice.events import CreditApplied, InvoiceEvent
from counterfoil.domain.numbering import DocumentKind
from counterfoil.domain.ports import Append, Transaction
from counterfoil.domain.value import LARGEST, CreditNoteId
from counterfoil.projections.credit_note import CreditNote


class CreditNotes(Office):
    """Writes on credit notes."""

    def issue_credit_note(
        self,
        invoice: str,
        *,
        lines: Sequence[CreditLine] | None = None,
        amount: AmountGiven | None = None,
        refund: AmountGiven | None = None,
        customer_credit: AmountGiven | None = None,
        out_of_band: AmountGiven | None = None,
        reason: str | None = None,
        issued_on: date | None = None,
        id: str | None = None,
        **call: Unpack[Call],
    ) -> CreditNote:
        """Correct a finalized invoice: by lines, by an amount with tax, or all that is left.

        First it lowers what is still due. What exceeds that goes to `refund`, `customer_credit`
        and `out_of_band`, which must add up to it; unsaid, all of it is customer credit.
        """
        split = {"refund": refund, "customer_credit": customer_credit, "out_of_band": out_of_band}
        what = {"lines": _asked(lines), "amount": amount, **split}
        said = {"invoice": invoice, "id": id, "reason": reason, "issued_on": issued_on, **what}
        note_id = CreditNoteId(chosen(CREDIT_NOTE, id) or self._new(CREDIT_NOTE))

        apply = made(commands.ApplyCredit, credit_note=note_id, **what)

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, call)
            current = existing(stream)
            note = transaction.read(note_id)
            known = credit_note_of(note)
            if known is not None and known.document.invoice != invoice:
                raise Rejected(Reason.ALREADY_EXISTS, id=note_id)
            facts = decisions.decide(apply, current)
            if not facts:
                return Decided([], note_id)
            issued, applied = _credited(current, facts)
            seller = issued.document.seller
            numbers, assigned = self._take_number(
                transaction, DocumentKind.CREDIT_NOTE, seller, note_id, day("issued_on", issued_on)
            )
            issue = credit_notes.document(
                applied,
                issued,
                number=assigned.number,
                series=numbers.to.name,
                issued_on=assigned.issued_on,
                reason=reason,
            )
            document = credit_notes.decide(issue, known)
            return Decided([numbers, Append(stream, facts), Append(note, document)], note_id)

        answer = self._desk.obey(Request("issue_credit_note", said, call), decide)
        return self._credit_note(answer)

    def preview_credit_note(
        self,
        invoice: str,
        *,
        lines: Sequence[CreditLine] | None = None,
        amount: AmountGiven | None = None,
        refund: AmountGiven | None = None,
        customer_credit: AmountGiven | None = None,
        out_of_band: AmountGiven | None = None,
    ) -> CreditApplied:
        """What issuing this credit note would come to; nothing is stored and no number is used."""
        apply = made(
            commands.ApplyCredit,
            credit_note="preview",  # no note can be called so
            lines=_asked(lines),
            amount=amount,
            refund=refund,
            customer_credit=customer_credit,
            out_of_band=out_of_band,
        )
        history = self._history(Answer(invoice, LARGEST))
        current = state.fold(recorded.fact for recorded in history)
        if current is None:
            raise NotFound("invoice", invoice)
        return _credited(current, decisions.decide(apply, current))[1]

    def void_credit_note(
        self,
        credit_note: str,
        *,
        reason: str | None = None,
        **call: Unpack[Call],
    ) -> CreditNote:
        """Withdraw a credit note while its invoice is not paid; its number stays used."""

        def decide(transaction: Transaction) -> Decided:
            note = transaction.read(of_kind(CREDIT_NOTE, credit_note))
            expect(note, call)
            issued = credit_note_of(note)
            void = made(credit_notes.VoidCreditNote, reason=reason)
            voided = credit_notes.decide(void, issued)
            if issued is None or not voided:
                return Decided([], credit_note)
            stream = transaction.read(issued.document.invoice)
            withdraw = commands.WithdrawCredit(credit_note=CreditNoteId(credit_note))
            facts = decisions.decide(withdraw, existing(stream))
            return Decided([Append(note, voided), Append(stream, facts)], credit_note)

        said = {"credit_note": credit_note, "reason": reason}
        answer = self._desk.obey(Request("void_credit_note", said, call), decide)
        return self._credit_note(answer)


def _asked(lines: Sequence[CreditLine] | None) -> tuple[CreditLine, ...] | None:
    return None if lines is None else listed("lines", lines, CreditLine)


def _credited(
    current: state.Invoice, facts: Sequence[InvoiceEvent]
) -> tuple[state.Issued, CreditApplied]:
    """What crediting decided; it refuses whatever is not finalized."""
    match current, facts:
        case state.Issued(), (CreditApplied() as applied, *_):
            return current, applied
        case _:
            raise AssertionError(facts)
