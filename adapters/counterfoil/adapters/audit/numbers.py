"""Are numbers without gaps? Each series gives the places from its first on, one after the other;
each number that was given is of a document that says so, and no document says one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

from counterfoil.adapters.audit.report import Broken
from counterfoil.domain.credit_note.events import CreditNoteIssued
from counterfoil.domain.invoice.events import InvoiceFinalized
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event


class Opened(Struct):
    """What a series says when it is opened."""

    first: int

    @property
    def last(self) -> int:
        """The place before the one that comes next."""
        return self.first - 1


class Given(Struct):
    """What a series says of a number."""

    place: int
    number: str
    document: str

    @property
    def last(self) -> int:
        """The place before the one that comes next."""
        return self.place


class Said(Struct):
    """What a document says of its number."""

    number: str
    series: str


NUMBERED: Mapping[type[Event] | None, type[Struct]] = {
    SeriesOpened: Opened,
    NumberAssigned: Given,
    InvoiceFinalized: Said,
    CreditNoteIssued: Said,
}

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

    def take(self, at: Place, told: object) -> str | None:
        """What is wrong with this fact of a series or with this document, if anything is."""
        match told:
            case Opened(first=first):
                return self._open(at, first)
            case Given():
                return self._assign(at, told)
            case Said(number=number, series=series):
                return self.match((at.tenant, at.stream), said=Told(at, number, series))
            case _:
                raise TypeError(f"{type(told)} says no number")

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

    def _assign(self, at: Place, given: Given) -> str | None:
        last, self._last[at.tenant, at.stream] = self._last_of(at), given.place
        told = Told(at, given.number, at.stream)
        problem = self.match((at.tenant, given.document), given=told)
        if last is None:
            return "a number of a series that was never opened"
        if given.place != last + 1:
            return f"place {given.place} of the series follows place {last}"
        return problem

    def _last_of(self, at: Place) -> int | None:
        key = (at.tenant, at.stream)
        if key not in self._last:
            self._last[key] = self._before(*key)
        return self._last[key]


def _wait(waiting: Half, document: tuple[str, str], half: Told) -> str | None:
    other = waiting.setdefault(document, half)
    return None if other is half else f"{document[1]} has {other.number} already"
