"""Does a rebuild make the same rows, from whatever log, and whatever becomes of it on the way?"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from time import sleep
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from eventsourcing.persistence import StoredEvent

from counterfoil.adapters.event_store import sqlite
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.billing import Billing
from counterfoil.domain import Money, Reason
from counterfoil.domain.errors import (
    AppendOnly,
    Conflict,
    CorruptHistory,
    Malformed,
    NotFound,
    RebuildNeeded,
    Rejected,
    SchemaTooNew,
    Unavailable,
)
from counterfoil.domain.value import LARGEST
from counterfoil.projections import catalogue, loading, rebuild, swapping
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.lines import TABLE as LINES
from counterfoil.projections.projection import Column, Projection, Table
from projections import worlds
from projections.worlds import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.projections.progress import Progress
    from counterfoil.projections.store import Session, Store
    from projections.worlds import World

# How SQLite says that every commit is flushed.
FULL = 2
LIVES = {
    "empty": (),
    "drafts only": (Step(0, "draft", 0, 3), Step(1, "draft", 0, 0)),
    "discarded": (Step(0, "draft", 0, 3), Step(0, "discard", 0, 0)),
    "one series": (Step(0, "draft", 0, 3), Step(0, "finalize", 0, 0)),
    "everything": worlds.FULL_LIFE,
}


@pytest.mark.slow
@pytest.mark.parametrize("life", LIVES)
def test_a_rebuild_makes_the_rows_that_were_there(world: World, life: str) -> None:
    world.live(LIVES[life])
    before, there = worlds.dump(world), worlds.tables(world)
    said = world.billing.projections.rebuild()
    assert worlds.dump(world) == before
    assert worlds.tables(world) == there
    assert worlds.differences(world) == []
    ((facts,),) = worlds.rows(world, "SELECT count(*) FROM facts")
    assert (said.names, said.facts) == (tuple(PROJECTIONS), facts)
    assert said.rows == {name: len(rows) for name, rows in before.items() if name in said.rows}
    world.live(worlds.FULL_LIFE, "after")
    assert worlds.differences(world) == []


@pytest.mark.slow
@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_a_rebuild_may_be_cut_anywhere(
    world: World, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.live([step for step in worlds.FULL_LIFE if step.tenant == 1])
    world.live([Step(0, what, n, 3) for n in range(9) for what in ("draft", "finalize")])
    before = worlds.dump(world)
    monkeypatch.setattr(loading, "PIECE", piece)
    worlds.execute(world, "DELETE FROM lines")
    seen: list[Progress] = []
    world.billing.projections.rebuild(watch=seen.append)
    assert worlds.dump(world) == before
    loaded = [progress.done for progress in seen if progress.phase == "load"]
    assert loaded == sorted(loaded)
    assert loaded[-1] == seen[0].total


def test_parts_are_cut_between_streams(full: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers would load them; SQLite has one."""
    before = worlds.dump(full)
    monkeypatch.setattr(loading, "PIECE", 5)
    for workers in (1, 3):
        if workers <= full.store.workers_max:
            worlds.execute(full, "DELETE FROM journal")
            full.billing.projections.rebuild(workers=workers)
            assert worlds.dump(full) == before


def test_a_stream_longer_than_a_piece_is_loaded_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PIECE", 4)
    world.live([Step(0, "draft", 0, 3)])
    world.live([Step(0, "metadata", 0, how % 12) for how in range(40)])
    before = worlds.dump(world)
    world.billing.projections.rebuild()
    assert worlds.dump(world) == before
    assert worlds.differences(world) == []


def test_one_or_two_are_rebuilt_and_the_others_stay(full: World) -> None:
    true = worlds.dump(full)
    for table in ("lines", "series", "journal"):
        worlds.execute(full, f"DELETE FROM {table}")
    assert full.billing.projections.rebuild("lines").names == ("lines",)
    assert worlds.dump(full) == {**true, "series": [], "journal": []}
    assert full.billing.projections.rebuild("journal", "series").names == ("series", "journal")
    assert worlds.dump(full) == true


def test_what_there_is_not_is_not_rebuilt(world: World) -> None:
    world.live(worlds.FULL_LIFE[:8])
    there = worlds.tables(world)
    with pytest.raises(NotFound, match="nonsense"):
        world.billing.projections.rebuild("invoices", "nonsense")
    for workers in (0, -1, world.store.workers_max + 1, 10**6):
        with pytest.raises(Malformed, match="workers"):
            world.billing.projections.rebuild(workers=workers)
    assert worlds.tables(world) == there


def test_nothing_to_resume_is_a_rebuild(world: World) -> None:
    world.live(worlds.FULL_LIFE[:8])
    worlds.execute(world, "DELETE FROM lines")
    world.billing.projections.rebuild(resume=True)
    assert worlds.differences(world) == []


def test_a_database_in_memory_is_rebuilt_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PIECE", 3)
    with worlds.opened(":memory:") as world:
        world.live(worlds.FULL_LIFE)
        before = worlds.dump(world)
        world.billing.projections.rebuild()
        assert worlds.dump(world) == before
        world.billing.projections.keep("async")
        world.live(worlds.FULL_LIFE, "x")
        world.billing.projections.keep("inline")
        assert worlds.differences(world) == []


def test_what_no_json_can_be_is_named_in_a_database_in_memory_too() -> None:
    """It has one connection, for which nobody must wait who has it."""
    with worlds.opened(":memory:") as world:
        world.live(worlds.FULL_LIFE[:8])
        worlds.execute(
            world,
            "INSERT INTO facts SELECT (SELECT max(position) + 1 FROM facts), tenant, 'in_bad', 1,"
            " type, CAST('{' AS BLOB), recorded_at, actor_type, actor_id, command_id, NULL, NULL,"
            " hash FROM facts WHERE position = 1",
        )
        for make in (world.billing.projections.rehearse, world.billing.projections.rebuild):
            with pytest.raises(CorruptHistory, match="in_bad"):
                make()


def test_rows_that_are_stored_twice_are_noticed_and_named(world: World) -> None:
    world.live(worlds.FULL_LIFE[:8])
    there = worlds.tables(world)

    def double(progress: Progress) -> None:
        if progress.phase == "index":
            ((mark,),) = worlds.rows(world, "SELECT mark FROM rebuilds")
            worlds.execute(world, f"INSERT INTO lines_{mark} SELECT * FROM lines_{mark}")

    with pytest.raises(Conflict, match="lines does not hold what was loaded into it"):
        world.billing.projections.rebuild("invoices", "lines", watch=double)
    world.billing.projections.rebuild()
    assert worlds.tables(world) == there


def test_a_piece_that_cannot_begin_leaves_no_writer_unflushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT_S", 0.1)
    with worlds.opened(worlds.sqlite(tmp_path)) as world, worlds.opened(world.url) as other:
        with (
            other.store.writing(),
            pytest.raises(Unavailable, match="locked"),
            world.store.writing(lasting=False),
        ):
            pass
        with world.store.writing() as session:
            assert session.select("PRAGMA synchronous", {}) == [(FULL,)]


# --- cut off --------------------------------------------------------------------------------


class _PulledThePlugError(Exception):
    pass


class Faulty:
    """A store whose sessions fail at their n-th call."""

    def __init__(self, store: Store, fails_at: int) -> None:
        self._store = store
        self._left = fails_at
        self.workers_max = store.workers_max
        self.stores_apart = store.stores_apart

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[Any]:
        with self._store.writing(lasting=lasting) as session:
            yield _FaultySession(self, session)

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with self._store.reading() as session:
            yield _FaultySession(self, session)

    @contextmanager
    def alone(self) -> Iterator[Any]:
        with self._store.alone() as session:
            yield _FaultySession(self, session)

    def call(self, method: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._left -= 1
        if self._left == 0:
            raise _PulledThePlugError
        return method(*arguments, **named)


class _FaultySession:
    def __init__(self, store: Faulty, session: Session) -> None:
        self._store = store
        self._session = session
        self.window_max = session.window_max

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._session, name)
        return lambda *arguments, **named: self._store.call(method, arguments, named)


@pytest.mark.parametrize(
    "names", [("series",), pytest.param(("invoices", "series"), marks=pytest.mark.slow)]
)
def test_cut_off_at_any_call_it_changes_nothing_and_is_gone_on_with(
    world: World, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.live(worlds.FULL_LIFE[36:56])
    monkeypatch.setattr(loading, "PIECE", 40)
    true, there = worlds.dump(world), worlds.tables(world)
    for fails_at in count(1):
        # What is damaged stays damaged until the swap: that tells the old tables from the new.
        worlds.execute(world, "DELETE FROM series")
        damaged = worlds.dump(world)
        try:
            rebuild.rebuild(cast("Store", Faulty(world.store, fails_at)), names)
        except _PulledThePlugError:
            pass
        else:
            break
        assert worlds.dump(world) in (damaged, true)
        if fails_at % 3 == 0:  # what is left is thrown away
            rebuild.rebuild(world.store, names)
        else:
            if fails_at % 3 == 1:
                world.live([Step(0, "later", 0, 3)])
            rebuild.rebuild(world.store, names, resume=True)
        assert worlds.dump(world) == true, fails_at
        assert worlds.tables(world) == there, fails_at
    assert fails_at > 15
    assert worlds.dump(world) == true


@contextmanager
def cut_off(phase: str) -> Iterator[Callable[[Progress], None]]:
    """Watch a rebuild, and end it when it comes to this."""

    def cut(progress: Progress) -> None:
        if progress.phase == phase:
            raise _PulledThePlugError

    with pytest.raises(_PulledThePlugError):
        yield cut


def test_what_is_written_after_a_rebuild_was_cut_off_is_in_it_when_it_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PIECE", 30)
    world.live(worlds.FULL_LIFE[:36])
    for phase in ("load", "index", "catch up", "swap"):
        with cut_off(phase) as cut:
            world.billing.projections.rebuild(watch=cut)
        world.live(worlds.FULL_LIFE[36:], phase)
        before = worlds.dump(world)
        world.billing.projections.rebuild(resume=True)
        assert worlds.dump(world) == before
    assert worlds.differences(world) == []


def test_another_rebuild_is_not_resumed_by_mistake(full: World) -> None:
    there = worlds.tables(full)
    with cut_off("index") as cut:
        full.billing.projections.rebuild("lines", watch=cut)
    with pytest.raises(Conflict, match="lines"):
        full.billing.projections.rebuild("invoices", resume=True)
    full.billing.projections.rebuild("invoices")
    assert worlds.tables(full) == there


@pytest.mark.slow
def test_of_two_rebuilds_the_first_is_told_that_another_took_over(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PIECE", 5)
    true, there = worlds.dump(full), worlds.tables(full)
    for phase in ("load", "index", "catch up", "swap"):
        for resume in (False, True):
            done: list[str] = []

            def other(
                progress: Progress,
                phase: str = phase,
                resume: bool = resume,
                done: list[str] = done,
            ) -> None:
                if progress.phase == phase and not done:
                    done.append(phase)
                    rebuild.rebuild(full.store, resume=resume)

            with pytest.raises(Conflict, match="another rebuild"):
                full.billing.projections.rebuild(watch=other)
            assert done
            assert worlds.dump(full) == true
            assert worlds.tables(full) == there


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_who_begins_anew_waits_for_an_index_and_it_for_nobody(world: World) -> None:
    world.live(worlds.FULL_LIFE[:8])
    there = worlds.tables(world)
    waiting = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    with ThreadPoolExecutor(1) as other:

        def begin(progress: Progress) -> None:
            if progress.phase != "index":
                return
            ((mark,),) = worlds.rows(world, "SELECT mark FROM rebuilds")
            with world.store.writing() as session:
                session.held("SELECT 1 FROM rebuilds", {})
                anew.append(other.submit(rebuild.rebuild, world.store, ("lines",)))
                while not (worlds.rows(world, waiting) or anew[0].done()):
                    sleep(0.01)
                session.index(LINES, f"lines_{mark}", f"{mark}", 0)

        anew: list[Future[rebuild.Rebuilt]] = []
        with pytest.raises(Conflict, match="another rebuild"):
            world.billing.projections.rebuild("lines", watch=begin)
        assert anew[0].result().names == ("lines",)
    assert worlds.tables(world) == there


# --- while others write, and read -----------------------------------------------------------


def test_what_is_written_meanwhile_is_in_it(full: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PIECE", 20)
    monkeypatch.setattr(swapping, "PAGE", 7)
    monkeypatch.setattr(swapping, "FEW", 2)
    life = iter(worlds.FULL_LIFE * 3)

    def write(progress: Progress) -> None:
        step = next(life, None)
        if step is not None:
            full.happen(step, "meanwhile" if progress.done % 2 else "")

    full.billing.projections.rebuild(watch=write)
    assert worlds.differences(full) == []
    full.live(life)
    assert worlds.differences(full) == []


def test_while_read_models_follow_a_rebuild_leaves_the_worker_nothing_to_double(
    world: World,
) -> None:
    projections = world.billing.projections
    projections.keep("async")
    world.live(worlds.FULL_LIFE)
    projections.run()
    world.live(worlds.FULL_LIFE, "unfollowed")
    projections.rebuild("invoices", "series")
    assert {one.name: one.lag > 0 for one in projections.status()} == {
        name: name not in {"invoices", "series"} for name in PROJECTIONS
    }
    assert worlds.differences(world) == []
    world.live(worlds.FULL_LIFE, "again")
    projections.run()
    assert worlds.differences(world) == []
    assert {one.lag for one in projections.status()} == {0}


def test_who_reads_one_moment_never_sees_an_empty_table(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their moment began before the new tables were filled."""
    monkeypatch.setattr(swapping, "SWAPS_MAX", 1)
    true = worlds.dump(full)
    (table, *_) = PROJECTIONS["invoices"].tables
    with full.store.reading(table) as session:
        ((facts,),) = session.select("SELECT count(*) FROM facts", {})
        if "://" in full.url:
            with pytest.raises(Conflict):  # it waits for whoever reads, and then gives up
                full.billing.projections.rebuild()
        ((found,),) = session.select("SELECT count(*) FROM invoices", {})
    assert facts
    assert found == len(true["invoices"])


def test_a_verification_during_a_rebuild_raises_no_false_alarm(
    full: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapping, "SWAPS_MAX", 1)
    if "://" not in full.url:
        return
    taken = full.store

    class Slow:
        workers_max = taken.workers_max
        writing, alone = taken.writing, taken.alone

        @contextmanager
        def reading(self, *tables: Table) -> Iterator[Session]:
            with taken.reading(*tables) as session:
                session.select("SELECT 1 FROM projections", {})
                if tables:
                    with pytest.raises(Conflict):
                        full.billing.projections.rebuild()
                yield session

    from counterfoil.projections.verify import verify

    found = verify(cast("Store", Slow()))
    assert [str(one) for one in found.differences] == []


# --- amounts at the edge --------------------------------------------------------------------


def test_the_largest_amounts_are_kept(world: World) -> None:
    acme = world.billing.tenant("a")
    invoice = acme.draft_invoice(customer=worlds.CUSTOMERS[0], currency="EUR")
    acme.add_line(invoice.id, description="All", quantity=100, unit_price="461168601842738.79")
    acme.finalize_invoice(invoice.id)
    acme.record_payment(invoice.id, amount=Money(LARGEST, "EUR"))
    acme.reconcile_invoice(
        invoice.id, status="open", provider_event_id="evt_1", occurred_at=worlds.NOON
    )
    with pytest.raises(Rejected) as refused:
        acme.record_payment(invoice.id, amount=Money(LARGEST, "EUR"))
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    assert worlds.differences(world) == []


# --- versions -------------------------------------------------------------------------------


def other_rows(projection: Projection) -> Projection:
    """Another version of it, whose tables have the same columns and hold other times."""
    return replace(
        projection,
        version=projection.version + 1,
        rows=lambda subject: [
            [(*row[:-1], 4711) for row in rows] for rows in projection.rows(subject)
        ],
    )


def newer(projection: Projection) -> Projection:
    """Another version of it, which shows one column more."""
    tables = tuple(
        Table(
            table.name,
            (*table.columns, Column("fresh", "text")),
            table.key,
            table.indexes,
        )
        for table in projection.tables
    )
    return replace(
        projection,
        version=projection.version + 1,
        tables=tables,
        rows=lambda subject: [[(*row, "new") for row in rows] for rows in projection.rows(subject)],
    )


@contextmanager
def upgraded(*names: str, to: Callable[[Projection], Projection] = newer) -> Iterator[None]:
    """As if this were a Counterfoil that makes other rows of these read models."""
    with pytest.MonkeyPatch.context() as patch:
        known = catalogue.PROJECTIONS
        for name in names:
            patch.setitem(known, name, to(known[name]))
        yield


def test_another_version_asks_for_a_rebuild_by_its_command(full: World) -> None:
    with upgraded("customers", "lines"):
        with pytest.raises(RebuildNeeded) as needed:
            Billing.open(full.url)
        command = "counterfoil projections rebuild lines customers"
        assert needed.value.command == command
        assert f"`{command}`" in str(needed.value)
        assert {
            one.name for one in full.billing.projections.status() if one.state != "current"
        } == {
            "lines",
            "customers",
        }
        full.billing.projections.rebuild("lines", "customers")
        with Billing.open(full.url):
            pass
        assert worlds.rows(full, "SELECT DISTINCT fresh FROM lines") == [("new",)]
        assert worlds.differences(full) == []
    with pytest.raises(SchemaTooNew, match="lines, customers were made by a newer"):
        Billing.open(full.url)


def test_who_writes_rows_of_the_old_version_must_look_again(database: str) -> None:
    with worlds.opened(database) as old:
        old.live(worlds.FULL_LIFE)
        before = worlds.dump(old)
        with upgraded("customers"):
            old.billing.projections.rebuild("customers")
        with pytest.raises(SchemaTooNew):
            old.happen(Step(0, "draft", 0, 3))
        with upgraded("customers"), worlds.opened(database) as new:
            new.invoices["a"] = old.invoices["a"]
            new.live([Step(0, "pay", 0, 3), Step(0, "later", 0, 3)])
            assert worlds.differences(new) == []
            assert len(worlds.rows(new, "SELECT 1 FROM customers")) == len(before["customers"])


@pytest.mark.slow
@pytest.mark.parametrize("to", [newer, other_rows])
@pytest.mark.parametrize("phase", ["load", "catch up"])
def test_a_rebuild_that_was_cut_off_is_not_gone_on_with_by_another_version(
    full: World,
    phase: str,
    to: Callable[[Projection], Projection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some of its rows would be those of the old version."""
    monkeypatch.setattr(loading, "PIECE", 9)
    with cut_off(phase) as cut:
        full.billing.projections.rebuild("customers", watch=cut)
    with upgraded("customers", to=to):
        try:
            full.billing.projections.rebuild("customers", resume=True)
        except Conflict:  # it may refuse, and say so
            full.billing.projections.rebuild("customers")
        assert worlds.differences(full) == []


def test_a_log_that_has_facts_and_no_read_models_asks_for_all_of_them(full: World) -> None:
    true = worlds.dump(full)
    for _, table in worlds.TABLES:
        worlds.execute(full, f"DROP TABLE {table.name}")
    worlds.execute(full, "DELETE FROM projections")
    with pytest.raises(RebuildNeeded) as needed:
        Billing.open(full.url)
    assert needed.value.names == tuple(PROJECTIONS)
    assert {one.state for one in full.billing.projections.status()} == {"outdated"}
    full.billing.projections.rebuild()
    assert worlds.dump(full) == true
    with Billing.open(full.url):
        pass


def test_grants_on_a_table_outlive_its_rebuild(full: World) -> None:
    if isinstance(full.billing.log, SQLiteLog):
        return
    role = "reader_" + full.url[-8:]
    worlds.execute(full, f"CREATE ROLE {role}")
    try:
        worlds.execute(full, f"GRANT SELECT ON invoices TO {role}")
        worlds.execute(full, "GRANT SELECT ON invoices TO PUBLIC")
        query = "SELECT relacl::text FROM pg_class WHERE relname = 'invoices'"
        before = worlds.rows(full, query)
        full.billing.projections.rebuild()
        ((acl,),) = worlds.rows(full, query)
        assert sorted(str(acl).strip("{}").split(",")) == sorted(
            str(before[0][0]).strip("{}").split(",")
        )
    finally:
        worlds.execute(full, f"DROP OWNED BY {role}")
        worlds.execute(full, f"DROP ROLE {role}")


# --- what a deployment brings with it -------------------------------------------------------


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_whatever_isolation_a_deployment_prefers_locks_are_waited_for_first(database: str) -> None:
    with worlds.opened(database) as before:
        name = urlsplit(database).path.removeprefix("/")
        worlds.execute(
            before, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        )
    with worlds.opened(database) as world:
        for transaction in (world.store.writing, world.store.alone):
            with transaction() as session:
                assert session.select("SHOW transaction_isolation", {}) == [("read committed",)]


def test_a_view_of_somebody_else_never_shows_an_old_table(database: str) -> None:
    with worlds.opened(database) as world:
        world.live(worlds.FULL_LIFE)
        worlds.execute(world, "CREATE VIEW theirs AS SELECT id FROM invoices")
        if "://" in database:  # PostgreSQL ties a view to the table itself
            with pytest.raises(Conflict, match="theirs would go on showing the old table invoices"):
                world.billing.projections.rebuild()
            world.billing.projections.rebuild("lines")
            return
        before = worlds.rows(world, "SELECT id FROM theirs ORDER BY id")
        for _ in range(2):
            world.billing.projections.rebuild()
        assert worlds.rows(world, "SELECT id FROM theirs ORDER BY id") == before


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_worker_process_says_what_it_cannot_read_as_one_of_ours_would(database: str) -> None:
    with worlds.opened(database) as world:
        world.live(worlds.FULL_LIFE)
        worlds.execute(
            world,
            "INSERT INTO facts SELECT (SELECT max(position) + 1 FROM facts), tenant, 'in_bad', 1,"
            " 'invoice.voided.v1', body, recorded_at, actor_type, actor_id, command_id, NULL, NULL,"
            " hash FROM facts WHERE position = 1",
        )
        for workers in (1, 2):
            with pytest.raises(CorruptHistory, match="in_bad"):
                world.billing.projections.rebuild(workers=workers)


def test_the_librarys_door_does_not_go_round_the_read_models(world: World) -> None:
    event = StoredEvent("a/in_x", 1, "invoice.voided.v1", b"{}")
    with pytest.raises(AppendOnly, match="front door"):
        world.billing.log.insert_events([event])
