"""What every write of a tenant does alike: load, decide, append, and show what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from decimal import Decimal
from typing import TypeVar, cast

from counterfoil.adapters.desk import Answer, Call, Decided, Desk, Request, expect
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.ids import IdFactory
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.domain.credit_note import state as credit_note_state
from counterfoil.domain.credit_note.events import CreditNoteEvent
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import Conflict, Malformed, NotFound, Reason, Rejected
from counterfoil.domain.invoice import commands, decisions, state
from counterfoil.domain.invoice.events import InvoiceEvent
from counterfoil.domain.money import Money
from counterfoil.domain.numbering import DocumentKind, Numbering
from counterfoil.domain.party import Seller
from counterfoil.domain.ports import (
    Append,
    Clock,
    DocumentStore,
    PdfEngine,
    Processor,
    Stream,
    Transaction,
)
from counterfoil.domain.series import decisions as series_decisions
from counterfoil.domain.series import state as series_state
from counterfoil.domain.series.events import NumberAssigned, SeriesEvent
from counterfoil.domain.value import Value
from counterfoil.projections.credit_note import CreditNote, view_credit_note
from counterfoil.projections.invoice import Invoice, view_invoice
from counterfoil.projections.keeping import Projections
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.store import Store

# What money may be given as: an int is minor units, text and Decimal are whole units.
AmountGiven = Money | Decimal | str | int
Build = Callable[[state.Invoice], commands.InvoiceCommand]
Made = TypeVar("Made", bound=Value)


@dataclass(frozen=True, slots=True)
class House:
    """What is the same for all tenants of a billing."""

    log: FactsRecorder
    clock: Clock
    ids: IdFactory
    seller: Seller | None
    numbering: Mapping[DocumentKind, Numbering]
    timezone: tzinfo
    store: Store
    engine: PdfEngine
    documents: DocumentStore
    processor: Processor
    branding: Branding | Callable[[str], Branding]


class Office:
    """What the rooms of a tenant share."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self._name = name
        self._desk = Desk(house.log, name, house.clock, house.ids, Projections(house.store))

    def _change(
        self, name: str, invoice: str, said: Mapping[str, object], build: Build, call: Call
    ) -> Invoice:
        """Obey a command that concerns one invoice alone."""

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, call)
            current = existing(stream)
            facts = decisions.decide(build(current), current)
            return Decided([Append(stream, facts)], invoice)

        return self._invoice(self._desk.obey(Request(name, said, call), decide))

    def _take_number(
        self,
        transaction: Transaction,
        kind: DocumentKind,
        seller: Seller,
        document: str,
        said: date | None,
    ) -> tuple[Append, NumberAssigned]:
        """The next number of the series that a document of this day belongs to, or of today.

        The series is held until the end of the unit of work: who waits gets the number after. What
        day it is today is asked once it is held, or a document that waited would be dated before
        the one that it waited for.
        """
        numbering = self._house.numbering[kind]
        opening = series_decisions.opening(numbering, kind, seller.id, said or self._today())
        while True:
            stream = transaction.take(f"series:{opening.series.series}")
            on = said or self._today()
            still = series_decisions.opening(numbering, kind, seller.id, on)
            if still == opening:
                break
            opening = still  # a year ended while we waited
        series = series_state.fold(cast("Sequence[SeriesEvent]", stream.facts))
        opened = series_decisions.decide(opening, series)
        assign = series_decisions.AssignNumber(document=document, issued_on=on)
        taken = series_decisions.decide(assign, series_state.fold(opened, series))
        match taken:
            case (NumberAssigned() as assigned,):
                return Append(stream, (*opened, *taken)), assigned
            case _:
                raise Conflict(f"{document} was given its number meanwhile; load it again")

    def _invoice(self, answer: Answer) -> Invoice:
        shown = view_invoice(self._history(answer))
        if shown is None:
            raise NotFound("invoice", answer.stream)
        return shown

    def _history(self, answer: Answer) -> Sequence[Recorded[InvoiceEvent]]:
        stream = of_kind(INVOICE, answer.stream)
        recorded = self._house.log.read(self._name, stream, upto=answer.version)
        return cast("Sequence[Recorded[InvoiceEvent]]", recorded)

    def _credit_note(self, answer: Answer) -> CreditNote:
        recorded = self._house.log.read(self._name, answer.stream, upto=answer.version)
        shown = view_credit_note(cast("Sequence[Recorded[CreditNoteEvent]]", recorded))
        if shown is None:
            raise NotFound("credit note", answer.stream)
        return shown

    def _new(self, prefix: str) -> str:
        return self._house.ids(prefix, self._house.clock())

    def _today(self) -> date:
        return self._house.clock().astimezone(self._house.timezone).date()


def made(kind: type[Made], **said: object) -> Made:
    """Make a value of what a caller said: pydantic checks what the type checker cannot know.

    Values are taken apart first. One that was copied with an update, or constructed unchecked,
    would be believed as it is, stored, and never read again.
    """
    return kind(**{name: _apart(value) for name, value in said.items()})


def _apart(value: object) -> object:
    match value:
        case Value():
            return value.model_dump(warnings="none")
        case tuple():
            return tuple(_apart(part) for part in value)
        case _:
            return value


def listed(field: str, given: Sequence[Made] | None, kind: type[Made]) -> tuple[Made, ...]:
    """What a caller listed, when it is a list of this kind."""
    if not isinstance(given, list | tuple) or not all(isinstance(one, kind) for one in given):
        raise Malformed(field, f"must be a list of {kind.__name__}")
    return tuple(given)


def day(field: str, given: date | None) -> date | None:
    """The day that a caller said, if one was said."""
    if given is not None and type(given) is not date:
        raise Malformed(field, "must be a date")
    return given


# The log returns facts of any kind. One that does not belong to its stream is found by the fold,
# which stops at it with CorruptHistory, so nothing is checked twice here.


def invoice_of(stream: Stream) -> state.Invoice | None:
    """The invoice that a stream holds, if there is one."""
    return state.fold(cast("Sequence[InvoiceEvent]", stream.facts))


def existing(stream: Stream) -> state.Invoice:
    """The invoice that a stream holds; `NotFound` if there is none."""
    current = invoice_of(stream)
    if current is None:
        raise NotFound("invoice", stream.name)
    return current


def credit_note_of(stream: Stream) -> credit_note_state.CreditNote | None:
    """The credit note that a stream holds, if there is one."""
    return credit_note_state.fold(cast("Sequence[CreditNoteEvent]", stream.facts))


def draft_of(current: state.Invoice) -> state.Draft:
    """What was drafted, whatever became of it since."""
    match current:
        case state.Draft():
            return current
        case state.Issued(draft=draft):
            return draft
        case state.Discarded():
            raise Rejected(Reason.DISCARDED)
