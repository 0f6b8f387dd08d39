"""Which facts belong into a pack: the whole history of each document, and what its series say.

They are looked for in the facts themselves: a read model may be what is in doubt.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from counterfoil.adapters.audit.walk import PAGE
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import COLUMNS, Row
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE
from counterfoil.domain.credit_note.events import CreditNoteIssued
from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.invoice.events import CreditApplied, InvoiceDrafted
from counterfoil.domain.series.events import NumberAssigned

_ASSIGNED = ("document", "number", "issued_on")
PERIOD = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])(-[0-3][0-9])?)?")


@dataclass(frozen=True, slots=True)
class Choice:
    """The streams of documents that are wanted whole, and versions of the streams of series."""

    of: Mapping[str, str]
    documents: frozenset[str]
    series: Mapping[str, Container[int]]

    def holds(self, row: Row) -> bool:
        """Whether a fact belongs to it."""
        return row.stream in self.documents or row.version in self.series.get(row.stream, ())


class Facts:
    """The facts of one tenant as far as a position, as they are stored."""

    def __init__(self, log: FactsRecorder, tenant: str, until: int) -> None:
        self._log = log
        self.tenant = tenant
        self._until = until

    def stream(self, name: str) -> Iterator[Row]:
        """A stream, version by version."""
        version = -1
        while rows := self._log.select(
            f"SELECT {COLUMNS} FROM facts WHERE tenant = :tenant AND stream = :stream"
            " AND version > :version AND position <= :until ORDER BY version LIMIT :limit",
            {**self._values, "stream": name, "version": version, "limit": PAGE},
        ):
            yield from rows
            version = rows[-1].version

    def all(self) -> Iterator[Row]:
        """All streams, in the order of the log."""
        position = 0
        while rows := self._log.select(
            f"SELECT {COLUMNS} FROM facts WHERE position > :position AND position <= :until"
            " AND tenant = :tenant ORDER BY position LIMIT :limit",
            {**self._values, "position": position, "limit": PAGE},
        ):
            yield from rows
            position = rows[-1].position

    def hash_at(self, stream: str, version: int) -> bytes | None:
        """The hash of a version of a stream, if it is there."""
        found = self._log.plain(
            "SELECT hash FROM facts WHERE tenant = :tenant AND stream = :stream"
            " AND version = :version AND position <= :until",
            {**self._values, "stream": stream, "version": version},
        )
        return bytes(found[0][0]) if found else None

    def series(self) -> list[str]:
        """The streams of all series."""
        found = self._log.plain(
            "SELECT DISTINCT stream FROM facts WHERE tenant = :tenant AND stream LIKE :series"
            " AND position <= :until",
            {**self._values, "series": "series:%"},
        )
        return sorted(stream for (stream,) in found)

    def assigned(self, series: str) -> Iterator[tuple[int, str, str, str]]:
        """The numbers of a series: version, document, number, day."""
        for row in self.stream(series):
            if row.type == NumberAssigned.stored_as:
                said = said_by(row)
                document, number, on = (str(said.get(name)) for name in _ASSIGNED)
                yield row.version, document, number, on

    @property
    def _values(self) -> dict[str, object]:
        return {"tenant": self.tenant, "until": self._until}


def said_by(row: Row) -> Mapping[str, Any]:
    """The body of a fact; nothing where it is none, which the verifier will say."""
    try:
        said = json.loads(row.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def of_invoice(facts: Facts, invoice: str) -> Choice:
    """An invoice by its id or number, with its credit notes; of their series, only the facts that
    opened them and gave these numbers.
    """
    name = invoice if invoice.startswith(f"{INVOICE}_") else _numbered(facts, invoice)
    rows = list(facts.stream(name))
    if not rows or rows[0].type != InvoiceDrafted.stored_as:
        raise NotFound("invoice as of the checkpoint:", invoice)
    notes = [said_by(row) for row in rows if row.type == CreditApplied.stored_as]
    documents = frozenset([name, *(str(note.get("credit_note")) for note in notes)])
    series: dict[str, set[int]] = {}
    number = ""
    for stream in facts.series():
        for version, document, given, _ in facts.assigned(stream):
            if document in documents:
                series.setdefault(stream, {1}).add(version)
                number = given if document == name else number
    return Choice({"invoice": name} | ({"number": number} if number else {}), documents, series)


def of_period(facts: Facts, period: str) -> Choice:
    """The documents that were numbered in a year, a month or on a day; of their series, all as far
    as the first number after it, which shows that there is none between.
    """
    if not PERIOD.fullmatch(period):
        raise Malformed("period", "must be a year, a month or a day: 2026, 2026-10 or 2026-10-05")
    documents: set[str] = set()
    series: dict[str, range] = {}
    for stream in facts.series():
        found, last = False, 1
        for version, document, _, on in facts.assigned(stream):
            last = version
            if on.startswith(period):
                found = True
                documents.add(document)
            elif on > period:
                break
        if found:
            series[stream] = range(1, last + 1)
    if not documents:
        raise NotFound("numbered document as of the checkpoint:", period)
    return Choice({"period": period}, frozenset(documents), series)


# Beyond this many streams, one pass over the log is faster than looking each of them up.
_FEW = 50


def rows_of(facts: Facts, choice: Choice) -> Iterator[Row]:
    """The facts that were chosen, in the order of the log."""
    streams: Iterable[str] = [*choice.documents, *choice.series]
    if len(choice.documents) > _FEW:
        found = facts.all()
    else:
        found = heapq.merge(*map(facts.stream, sorted(streams)), key=attrgetter("position"))
    return (row for row in found if choice.holds(row))


def _numbered(facts: Facts, number: str) -> str:
    for stream in facts.series():
        for _, document, given, _ in facts.assigned(stream):
            if given == number:
                return _corrected(facts, document)
    raise NotFound("invoice as of the checkpoint:", number)


def _corrected(facts: Facts, document: str) -> str:
    """The invoice itself; that of a credit note is the one that it corrects."""
    if not document.startswith(f"{CREDIT_NOTE}_"):
        return document
    issued = (row for row in facts.stream(document) if row.type == CreditNoteIssued.stored_as)
    return next((str(said_by(row).get("invoice")) for row in issued), document)
