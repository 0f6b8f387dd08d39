"""The story of a document, fact by fact: who did what, when, why, and what it changed.

A fact that cannot be read is an entry that says so; the story goes on without it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from counterfoil.domain.credit_note import state as credit_note_state
from counterfoil.domain.credit_note.events import CreditNoteEvent, CreditNoteStored
from counterfoil.domain.envelope import Envelope, Recorded
from counterfoil.domain.errors import CorruptHistory, Malformed
from counterfoil.domain.invoice import state as invoice_state
from counterfoil.domain.invoice.events import (
    DiscountSet,
    DocumentStored,
    DraftAmended,
    InvoiceDrafted,
    InvoiceEvent,
    InvoiceSent,
    LineAdded,
    LineChanged,
    LineRemoved,
    MetadataSet,
)
from counterfoil.domain.invoice.state import Draft, Issued
from counterfoil.domain.line import Line
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event
from counterfoil.projections.differences import Change, State, changes
from counterfoil.projections.invoice import View
from counterfoil.projections.paging import LIMIT_MAX
from counterfoil.projections.words import AnyEvent, sentence


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A fact that is there and cannot be read. Its envelope is None if that cannot be true."""

    position: int
    version: int
    type: str
    problem: str
    envelope: Envelope | None = None


Told = Recorded[Event] | Unreadable


class Entry(View):
    """One fact in the story of a document. `actor` is who did it, `command_id` the request,
    `cause` what led to that, and `correlation` the trace that it was part of; `problem` says why
    a fact could not be read, or cannot have happened.
    """

    position: int
    version: int
    type: str
    recorded_at: datetime | None
    actor: str | None
    command_id: str | None
    cause: str | None
    correlation: str | None
    hash: str | None
    says: str
    changes: tuple[Change, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of a story: beside which version, newest or oldest first."""

    limit: int
    after: int | None
    before: int | None
    newest_first: bool

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= LIMIT_MAX:
            raise Malformed("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
        if self.after is not None and self.before is not None:
            raise Malformed("before", "say after or before, not both")
        for field in ("after", "before"):
            said = getattr(self, field)
            if said is not None:
                version_of(field, said)
        if type(self.newest_first) is not bool:
            raise Malformed("newest_first", "must be True or False")

    @property
    def cursor(self) -> int | None:
        """The version beside which the page lies."""
        return self.before if self.after is None else self.after

    @property
    def forwards(self) -> bool:
        """Whether the page begins with the oldest entry that it may show."""
        return self.after is not None or (self.before is None and not self.newest_first)

    @property
    def upto(self) -> int | None:
        """As far as the stream must be read; None is to its end."""
        return (self.after or 0) + self.limit + 1 if self.forwards else self.before


def version_of(field: str, said: object) -> int:
    """A version that a caller said."""
    if type(said) is not int or not 0 <= said < 2**63:
        raise Malformed(field, "must be the version of an entry, a whole number")
    return said


class Cut(NamedTuple):
    """Which facts of those that were read a page shows, and whether there are more."""

    first: int
    end: int
    more: bool


def cut(versions: Sequence[int], asked: Asked) -> Cut | None:
    """Where a page lies in a stream that was read as far as `asked.upto` says; None if nothing has
    the version beside which it should lie.
    """
    beside = 0 if asked.forwards else len(versions)
    if asked.cursor is not None:
        beside = bisect_left(versions, asked.cursor)
        if versions[beside : beside + 1] != [asked.cursor]:
            return None
    if asked.forwards:
        first = beside if asked.after is None else beside + 1
        end = first + asked.limit
        return Cut(first, min(end, len(versions)), len(versions) > end)
    first = max(beside - asked.limit, 0)
    return Cut(first, beside, first > 0)


def rests_on(before: Sequence[tuple[str, bytes]], shown: Sequence[Told]) -> list[int]:
    """Which of the facts before, told by their types and bodies, decide what these changed.

    Of those that say all there is of something the last one does, of lines those that these name.
    So a page of a long story is told without reading most of what came before.
    """
    lines = {fact.line for one in shown if isinstance(fact := _line_fact(one), LineRemoved)}
    lines |= {fact.line.id for one in shown if isinstance(fact := _line_fact(one), LineChanged)}
    prints = any(isinstance(one, Recorded) and isinstance(one.fact, _PRINTS) for one in shown)
    needed, said = [], set[str]()
    for place in reversed(range(len(before))):
        type_name, body = before[place]
        stem = type_name.rpartition(".")[0]
        idle = (
            stem in _OF_SERIES
            or stem in said
            or (stem in _OF_PRINTS and not prints)
            or (stem in _OF_LINES and (not lines or _line_in(body) not in {None, *lines}))
        )
        if idle:
            continue
        if stem in _LAST_SAYS_ALL:
            said.add(stem)
        needed.append(place)
    return needed[::-1]


def _line_fact(told: Told) -> LineChanged | LineRemoved | None:
    fact = told.fact if isinstance(told, Recorded) else None
    return fact if isinstance(fact, LineChanged | LineRemoved) else None


def _line_in(body: bytes) -> str | None:
    """The line that a fact is about; None if that cannot be seen."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        match msgspec.json.decode(body):
            case {"line": str(name)} | {"line": {"id": str(name)}}:
                return name
            case _:
                pass
    return None


def _stems(*kinds: type[Event]) -> frozenset[str]:
    return frozenset(kind.stored_as.rpartition(".")[0] for kind in kinds)


_PRINTS = (DocumentStored, CreditNoteStored)
_LAST_SAYS_ALL = _stems(DiscountSet, DraftAmended, MetadataSet, InvoiceSent)
_OF_LINES = _stems(LineAdded, LineChanged, LineRemoved)
_OF_PRINTS = _stems(*_PRINTS)
_OF_SERIES = _stems(SeriesOpened, NumberAssigned)


def entries_of(stream: str, before: Sequence[Told], shown: Sequence[Told]) -> list[Entry]:
    """The entries of some facts of a stream, given those before them."""
    if not shown:
        return []
    state, currency = state_after(stream, before), _drafted_in(before)
    found = []
    for told in shown:
        if isinstance(told, Unreadable):
            found.append(_unread(told))
            continue
        currency = currency_of(told.fact) or currency
        was, problem = state, None
        try:
            state = _evolve(stream, state, told.fact)
        except CorruptHistory as error:
            problem = str(error)
        found.append(_entry(told, was, state, currency, problem))
    return found


def state_after(stream: str, told: Iterable[Told]) -> State:
    """The document after these facts, as far as they can be read and can have happened."""
    facts = [one.fact for one in told if isinstance(one, Recorded)]
    try:
        return _fold(stream, facts)
    except CorruptHistory:
        state: State = None
        for fact in facts:
            try:
                state = _evolve(stream, state, fact)
            except CorruptHistory:
                continue
        return state


# What does not belong to its stream is found by the fold, which stops at it with CorruptHistory.


def _fold(stream: str, facts: Sequence[Event]) -> State:
    if stream.startswith(_SERIES):
        return None
    if stream.startswith(_CREDIT_NOTE):
        return credit_note_state.fold(cast("Sequence[CreditNoteEvent]", facts))
    return invoice_state.fold(cast("Sequence[InvoiceEvent]", facts))


def _evolve(stream: str, state: State, fact: Event) -> State:
    if stream.startswith(_SERIES):
        return None
    if stream.startswith(_CREDIT_NOTE):
        note = cast("credit_note_state.CreditNote | None", state)
        return credit_note_state.evolve(note, cast("CreditNoteEvent", fact))
    invoice = cast("invoice_state.Invoice | None", state)
    return invoice_state.evolve(invoice, cast("InvoiceEvent", fact))


_SERIES, _CREDIT_NOTE = "series:", "cn_"


def _entry(
    told: Recorded[Event], was: State, now: State, currency: str | None, problem: str | None
) -> Entry:
    envelope = told.envelope
    says = sentence(cast("AnyEvent", told.fact), currency, _lines(was))
    return Entry(
        says=says,
        changes=changes(was, now),
        problem=problem,
        **_placed(envelope),
    )


def _unread(told: Unreadable) -> Entry:
    says = f"This fact cannot be read; what follows is told without it: {told.problem}."
    placed = _NOWHERE if told.envelope is None else _placed(told.envelope)
    here = {"position": told.position, "version": told.version, "type": told.type}
    return Entry(says=says, changes=(), problem=told.problem, **placed | here)


_NOWHERE: dict[str, Any] = dict.fromkeys(
    ("recorded_at", "actor", "command_id", "cause", "correlation", "hash")
)


def _placed(envelope: Envelope) -> dict[str, Any]:
    return {
        "position": envelope.position,
        "version": envelope.version,
        "type": envelope.type,
        "recorded_at": envelope.recorded_at,
        "actor": f"{envelope.actor.type.value}:{envelope.actor.id}",
        "command_id": envelope.command_id,
        "cause": envelope.causation_id,
        "correlation": envelope.correlation_id,
        "hash": envelope.hash.hex(),
    }


def _lines(state: State) -> Sequence[Line]:
    match state:
        case Draft(lines=lines) | Issued(draft=Draft(lines=lines)):
            return lines
        case _:
            return ()


def currency_of(fact: Event) -> str | None:
    """The currency of a document that begins with this fact."""
    return fact.currency if isinstance(fact, InvoiceDrafted) else None


def _drafted_in(told: Sequence[Told]) -> str | None:
    first = told[0] if told else None
    return currency_of(first.fact) if isinstance(first, Recorded) else None
