"""The loaded tables of a rebuild, held against what was read and given their indexes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from counterfoil.domain.errors import Conflict, CounterfoilError
from counterfoil.projections.loading import Part
from counterfoil.projections.projection import Table
from counterfoil.projections.store import Store
from counterfoil.projections.totals import stored_totals, summed
from counterfoil.projections.under_way import UnderWay, still_ours


def complete(store: Store, going: UnderWay) -> None:
    """Hold all tables against what was read, and make their indexes, several at a time: the
    database does it while we wait.
    """
    tables = [table for table in going.tables if not table.adds]
    indexes = [(table, number) for table in tables for number in range(table.indexes_count)]
    writers = 2 if store.stores_apart else 1
    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(writers) as others:
        checked = readers.map(lambda table: _hold_totals(store, going, table), tables)
        try:
            _all_done(others.map(lambda index: _index(store, going, *index), indexes))
            _all_done(others.map(lambda table: _survey(store, going, table), tables))
        except CounterfoilError:
            _all_done(checked)  # rows that are there twice have no index, and this says why
            raise
        _all_done(checked)


def _all_done(done: Iterator[None]) -> None:
    for _ in done:
        pass


def _hold_totals(store: Store, going: UnderWay, table: Table) -> None:
    """Hold what is stored against what was read: no row lost, doubled or cut."""
    with store.reading() as session:
        parts = Part.all(session, going.token)
        loaded = summed(part.totals.get(table.name, ()) for part in parts)
        if loaded != stored_totals(session.select, table, going.shadow(table)):
            raise Conflict(
                f"table {table.name} does not hold what was loaded into it: rebuild it again"
            )


def _index(store: Store, going: UnderWay, table: Table, number: int) -> None:
    with still_ours(store, going) as session:
        session.index(table, going.shadow(table), going.mark, number)


def _survey(store: Store, going: UnderWay, table: Table) -> None:
    with still_ours(store, going) as session:
        session.survey(table, going.shadow(table))
