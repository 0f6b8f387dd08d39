"""What can be asked of a credit note, once the invoice has decided what it takes back?"""

from __future__ import annotations

from datetime import date

import pytest

from counterfoil.domain.credit_note.decisions import (
    IssueCreditNote,
    RecordPrint,
    VoidCreditNote,
    document,
)
from counterfoil.domain.credit_note.events import (
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.credit_note.state import CreditNote, CreditNoteStatus, evolve, fold
from counterfoil.domain.errors import CorruptHistory, Reason
from counterfoil.domain.invoice import state as invoice_state
from counterfoil.domain.value import CreditNoteId
from examples import (
    CUSTOMER,
    HALF_CREDIT,
    HALF_CREDITED,
    INVOICE,
    ISSUED_ON,
    NUMBER,
    OPEN,
    SELLER,
)
from spec import given

ISSUED = CreditNoteIssued(
    credit_note=CreditNoteId("cn_1"),
    number="CN-2026-0001",
    series="default:credit_note:main:2026",
    issued_on=date(2026, 3, 5),
    invoice=INVOICE,
    invoice_number=NUMBER,
    invoice_issued_on=ISSUED_ON,
    currency="EUR",
    seller=SELLER,
    customer=CUSTOMER,
    credit=HALF_CREDIT,
    before_payment=5_950,
    refund=0,
    customer_credit=0,
    out_of_band=0,
    reason="one hour too many",
)
ISSUE = IssueCreditNote(document=ISSUED)
VOIDED = CreditNoteVoided(reason="sent by mistake")
PRINTED = CreditNoteStored(
    key="credit_notes/cn_1.pdf",
    sha256="a" * 64,
    size=9_000,
    options={},
    branding="b" * 64,
    renderer="weasyprint 70.0",
    version=1,
)
VOID = VoidCreditNote(reason="sent by mistake")


def test_a_credit_note_says_what_the_invoice_decided_and_which_invoice_it_corrects() -> None:
    invoice = invoice_state.fold(OPEN)
    assert isinstance(invoice, invoice_state.Issued)
    command = document(
        HALF_CREDITED,
        invoice,
        number="CN-2026-0001",
        series="default:credit_note:main:2026",
        issued_on=date(2026, 3, 5),
        reason="one hour too many",
    )
    assert command == ISSUE


def test_a_credit_note_is_issued() -> None:
    given().when(ISSUE).then(ISSUED)


def test_a_credit_note_is_issued_once() -> None:
    given(ISSUED).when(ISSUE).then_nothing()


def test_a_credit_note_with_other_content_needs_another_id() -> None:
    other = IssueCreditNote(document=ISSUED.model_copy(update={"refund": 1}))
    given(ISSUED).when(other).then_rejected(Reason.ALREADY_EXISTS, id="cn_1")


def test_a_credit_note_is_voided() -> None:
    given(ISSUED).when(VOID).then(VOIDED)


def test_a_void_credit_note_stays_void() -> None:
    given(ISSUED, VOIDED).when(VOID).then_nothing()
    given(ISSUED, VOIDED).when(VoidCreditNote(reason="another reason")).then_nothing()


def test_a_void_credit_note_is_not_issued_again() -> None:
    # A quiet answer would let the invoice count a credit whose document is void.
    given(ISSUED, VOIDED).when(ISSUE).then_rejected(Reason.IS_VOID)


def test_a_print_is_recorded_once_and_a_void_note_is_printed_too() -> None:
    again = RecordPrint(document=PRINTED.model_copy(update={"version": 2}))
    given(ISSUED).when(RecordPrint(document=PRINTED)).then(PRINTED)
    given(ISSUED, PRINTED).when(again).then_nothing()
    given(ISSUED, VOIDED).when(RecordPrint(document=PRINTED)).then(PRINTED)
    given().when(RecordPrint(document=PRINTED)).then_not_found()


def test_what_was_never_issued_is_not_voided() -> None:
    given().when(VOID).then_not_found()


def test_voiding_leaves_the_document_as_it_was() -> None:
    assert fold((ISSUED, VOIDED)) == CreditNote(ISSUED, CreditNoteStatus.VOID)


@pytest.mark.parametrize(
    "history",
    [(VOIDED,), (ISSUED, ISSUED), (ISSUED, VOIDED, VOIDED), (ISSUED, VOIDED, ISSUED)],
    ids=["void first", "issued twice", "void twice", "issued after void"],
)
def test_an_impossible_history_is_corrupt(
    history: tuple[CreditNoteIssued | CreditNoteVoided, ...],
) -> None:
    with pytest.raises(CorruptHistory):
        fold(history)


def test_a_corrupt_history_names_its_stream() -> None:
    with pytest.raises(CorruptHistory) as corrupt:
        evolve(CreditNote(ISSUED), ISSUED)
    assert corrupt.value.stream == "cn_1"


def test_a_history_without_facts_is_no_credit_note() -> None:
    assert fold(()) is None
