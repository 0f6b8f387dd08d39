"""What would our documents be, had another rule been in force? The same history, decided again.

The log is read stream by stream, nothing is stored anywhere, and memory does not grow with it: each
document that would be another is told of as it is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.replay.redeciding import Differing, Field, Redeciding, Sums
from counterfoil.adapters.replay.replaying import Opened
from counterfoil.adapters.replay.rules import Changed, changed_by
from counterfoil.domain.credit_note.events import CreditNoteIssued
from counterfoil.domain.errors import CorruptHistory, Malformed
from counterfoil.domain.invoice.events import InvoiceEvent
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.history import History
from counterfoil.projections.loading import read_piece
from counterfoil.projections.progress import Progress, Watch
from counterfoil.projections.projection import Cell, Projection, Row, Table, rows_of
from counterfoil.projections.store import START

# So many documents are kept for the answer; all of them are told of.
KEPT = 1_000

Tell = Callable[[Differing], None]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What changed rules would make of a history: the first documents that would be others, how
    many there are, and the sums by kind and currency.
    """

    changes: tuple[str, ...]
    facts: int
    documents: tuple[Differing, ...]
    count: int
    sums: tuple[Sums, ...]
    seconds: float


class _Told:
    """Counts what is told, and keeps the first of it."""

    def __init__(self, tell: Tell) -> None:
        self.count = 0
        self.kept: list[Differing] = []
        self._tell = tell

    def __call__(self, document: Differing) -> None:
        self.count += 1
        if len(self.kept) < KEPT:
            self.kept.append(document)
        self._tell(document)


def what_if(
    of: Opened, path: Path, upto: int, *, tell: Tell = lambda _: None, watch: Watch = lambda _: None
) -> WhatIf:
    """Run the rules and read models of a file over the log as far as a position."""
    began = perf_counter()
    told = _Told(tell)
    with changed_by(path) as changed:
        redeciding = Redeciding(changed, _Numbers(of.log))
        with changed.in_force():
            for history in _histories(of, upto, watch):
                for document in _others(changed, redeciding, of.log, history):
                    told(document)
        return WhatIf(
            changes=changed.names,
            facts=upto,
            documents=tuple(told.kept),
            count=told.count,
            sums=tuple(redeciding.sums[key] for key in sorted(redeciding.sums)),
            seconds=perf_counter() - began,
        )


def _others(
    changed: Changed, redeciding: Redeciding, log: FactsRecorder, history: History
) -> Sequence[Differing]:
    """The documents of a stream that would be others."""
    others: list[Differing] = []
    if changed.rules and history.kind == "invoice":
        facts = _decoded(log, history)
        with changed.asked():
            others += redeciding.invoice(history.tenant, history.stream, facts)
    for projection in changed.projections:
        if fields := tuple(_cells(changed, projection, history)):
            others.append(Differing(history.kind, history.tenant, history.stream, fields=fields))
    return others


def _histories(of: Opened, upto: int, watch: Watch) -> Iterator[History]:
    """The streams of the log, one after the other; a series may come in several pieces."""
    place, done, last = START, 0, False
    while not last:
        with of.store.reading() as session:
            piece = read_piece(session, upto, place, None)
        yield from piece.histories(of.store.reading)
        place, last, done = piece.reached, piece.last, done + piece.facts
        watch(Progress("decide", done, upto))


def _decoded(log: FactsRecorder, history: History) -> Sequence[InvoiceEvent]:
    """The facts themselves: what projections are given of them is only what these read."""
    recorded = log.read(history.tenant, history.stream, upto=history.facts[-1].version)
    return cast("Sequence[InvoiceEvent]", [one.fact for one in recorded])


class _Numbers:
    """Finds the number of a credit note, which its invoice does not say."""

    def __init__(self, log: FactsRecorder) -> None:
        self._log = log

    def __call__(self, tenant: str, note: str) -> str | None:
        found = self._log.read(tenant, note, upto=1)
        return next(
            (one.fact.number for one in found if isinstance(one.fact, CreditNoteIssued)), None
        )


# --- read models ------------------------------------------------------------------------------


def _cells(changed: Changed, theirs: Projection, history: History) -> Iterator[Field]:
    """The cells that differ, by table, key and column; of rows that one of both lacks, that."""
    was = _rows(PROJECTIONS[theirs.name], history)
    would_be = _made(changed, theirs, history)
    for row in dict.fromkeys((*was, *would_be)):
        old, new = was.get(row), would_be.get(row)
        if old is None or new is None:
            yield Field(row, None if old is None else "a row", None if new is None else "a row")
            continue
        for column in dict.fromkeys((*old, *new)):
            if old.get(column) != new.get(column):
                yield Field(f"{row}: {column}", old.get(column), new.get(column))


# The rows of one stream, by what they are called; each by the names of its columns.
_Rows = dict[str, dict[str, Cell]]


def _rows(projection: Projection, history: History) -> _Rows:
    if history.kind != projection.kind:
        return {}
    return {
        _called(table, row): dict(zip(table.names, row, strict=True))
        for table, rows in rows_of((projection,), history)
        for row in rows
    }


def _called(table: Table, row: Row) -> str:
    """A row's table and the part of its key that its stream does not say already."""
    known = 1 if table.adds else 2
    return " ".join([table.name, *map(str, table.key_of(row)[known:])])


def _made(changed: Changed, projection: Projection, history: History) -> _Rows:
    """Rows as the changed module makes them: what fails here is its own mistake."""
    try:
        return _rows(projection, history)
    except (Exception, SystemExit) as error:
        cause = error.__cause__ if isinstance(error, CorruptHistory) else error
        failed = changed.failed(f"projection {projection.name}", cause or error)
        where = f"{history.kind} {history.stream} (tenant {history.tenant})"
        raise Malformed("with", f"{where}: {failed}") from error
