"""What a credit note is, and how each fact changes that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from counterfoil.domain.credit_note.events import (
    CreditNoteEvent,
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.errors import CorruptHistory


class CreditNoteStatus(StrEnum):
    """Stripe's two words."""

    ISSUED = "issued"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class CreditNote:
    """The document, whether it still stands, and what was printed of it."""

    document: CreditNoteIssued
    status: CreditNoteStatus = CreditNoteStatus.ISSUED
    prints: tuple[CreditNoteStored, ...] = ()


def fold(
    events: Iterable[CreditNoteEvent], credit_note: CreditNote | None = None
) -> CreditNote | None:
    """The credit note after these facts."""
    for event in events:
        credit_note = evolve(credit_note, event)
    return credit_note


def evolve(credit_note: CreditNote | None, event: CreditNoteEvent) -> CreditNote:
    """The credit note after one more fact."""
    match credit_note, event:
        case None, CreditNoteIssued():
            return CreditNote(event)
        case CreditNote(prints=prints), CreditNoteStored():
            return replace(credit_note, prints=(*prints, event))
        case CreditNote(status=CreditNoteStatus.ISSUED), CreditNoteVoided():
            return replace(credit_note, status=CreditNoteStatus.VOID)
        case CreditNote(document=document), _:
            what, stream = f"an {credit_note.status} credit note", document.credit_note
            raise CorruptHistory(f"{event.stored_as} cannot happen to {what}", stream=stream)
        case _:
            raise CorruptHistory(
                f"{event.stored_as} cannot happen to a credit note that was never issued",
                stream="credit note",
            )
