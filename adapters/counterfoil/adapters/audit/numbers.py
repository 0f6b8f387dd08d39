"""Are numbers without gaps? Each series gives the places from its first on, one after the other;
each number that was given is of a document that says so, and no document says one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Raw, ValidationError
from msgspec.json import decode

from counterfoil.adapters.audit.report import Broken
from counterfoil.domain.credit_note.events import CreditNoteIssued
from counterfoil.domain.invoice.events import InvoiceFinalized
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event

SERIES: tuple[type[Event], ...] = (SeriesOpened, NumberAssigned)
DOCUMENTS: tuple[type[Event], ...] = (InvoiceFinalized, CreditNoteIssued)

Body = dict[str, Raw]
# The last place of a series before those that are looked at, by its tenant and stream.
Before = Callable[[str, str], int | None]


class Place(NamedTuple):
    """Where a fact stands."""

    position: int
    tenant: str
    stream: str
    version: int


class Told(NamedTuple):
    """A number that was given, or that a document says it has, and of which series' stream."""

    place: Place
    number: str
    series: str


Half = dict[tuple[str, str], Told]


class Numbers:
    """Follows series and documents as their facts come by, in the order of the log."""

    def __init__(self, before: Before) -> None:
        self._before = before
        self._last: dict[tuple[str, str], int | None] = {}
        # By tenant and document. A number and its document are stored in one transaction, so
        # hardly anything ever waits here for its other half.
        self.given: Half = {}
        self.said: Half = {}

    def take(self, kind: type[Event], at: Place, body: Body) -> str | None:
        """What is wrong with this fact of a series or with this document, if anything is."""
        try:
            if kind is SeriesOpened:
                return self._open(at, decode(body["first"], type=int))
            number = decode(body["number"], type=str)
            if kind is NumberAssigned:
                document = decode(body["document"], type=str)
                return self._assign(at, decode(body["place"], type=int), document, number)
            series = decode(body["series"], type=str)
        except (ValidationError, KeyError):
            return "the body says no number"
        return self.match((at.tenant, at.stream), said=Told(at, number, series))

    def match(
        self, document: tuple[str, str], *, given: Told | None = None, said: Told | None = None
    ) -> str | None:
        """Bring the halves of a numbered document together."""
        given = given or self.given.pop(document, None)
        said = said or self.said.pop(document, None)
        if said is None:
            return None if given is None else _wait(self.given, document, given)
        if given is None:
            return _wait(self.said, document, said)
        if given.number != said.number:
            return f"{document[1]} says {said.number}, its series gave it {given.number}"
        if given.series != said.series:
            return f"{document[1]} says another series than the one that gave it its number"
        return None

    def left(self) -> Iterator[Broken]:
        """The halves that found no other, once all facts have come by."""
        for (_, document), given in self.given.items():
            yield Broken(*given.place, f"{given.number} was given to {document}, which has it not")
        for said in self.said.values():
            yield Broken(*said.place, f"no series gave it its number {said.number}")

    def _open(self, at: Place, first: int) -> str | None:
        last = self._last_of(at)
        if last is not None:
            return "the series was opened before"
        self._last[at.tenant, at.stream] = first - 1
        return None

    def _assign(self, at: Place, place: int, document: str, number: str) -> str | None:
        last, self._last[at.tenant, at.stream] = self._last_of(at), place
        problem = self.match((at.tenant, document), given=Told(at, number, at.stream))
        if last is None:
            return "a number of a series that was never opened"
        if place != last + 1:
            return f"place {place} of the series follows place {last}"
        return problem

    def _last_of(self, at: Place) -> int | None:
        key = (at.tenant, at.stream)
        if key not in self._last:
            self._last[key] = self._before(*key)
        return self._last[key]


def _wait(waiting: Half, document: tuple[str, str], half: Told) -> str | None:
    other = waiting.setdefault(document, half)
    return None if other is half else f"{document[1]} has {other.number} already"


def last_place(kind: type[Event] | None, body: Body) -> int | None:
    """The last place of a series whose last fact this is."""
    try:
        if kind is NumberAssigned:
            return decode(body["place"], type=int)
        if kind is SeriesOpened:
            return decode(body["first"], type=int) - 1
    except (ValidationError, KeyError):
        pass
    return None
