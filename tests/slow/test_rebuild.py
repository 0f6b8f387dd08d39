"""Does a rebuild keep its word while everybody writes and reads, and while it is killed?"""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.billing import Billing
from projections import worlds
from slow import writers
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from projections.worlds import World

pytestmark = pytest.mark.slow

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["counterfoil.billing", "counterfoil.adapters.event_store.postgres"]
)
FOLDER = Path(__file__).parents[1]
KILLS = 20
WRITERS = 4
MANY = 400

REBUILD = """
import sys
sys.path.insert(0, sys.argv[1])
from counterfoil.billing import Billing
from counterfoil.projections import loading, rebuild
loading.PIECE, rebuild.PAGE, rebuild.FEW = 150, 20, 10
with Billing.open(sys.argv[2]) as billing:
    print("open", flush=True)
    billing.projections.rebuild(resume=sys.argv[3] == "resume")
    print("done", flush=True)
"""
# What a reader asks, over and over, and what must never be the answer.
QUERIES = (
    "SELECT count(*) FROM invoices",
    "SELECT count(*) FROM lines",
    "SELECT coalesce(sum(count), 0)::bigint FROM invoice_counts",
    "SELECT count(*) FROM journal",
    "SELECT count(*) FROM (SELECT id FROM invoices ORDER BY created LIMIT 100000) AS listed",
)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield worlds.sqlite(tmp_path)
        return
    with postgres.database(request.getfixturevalue("postgres_url")) as url:
        Billing.init(url)
        yield url


@pytest.fixture
def server(postgres_url: str) -> Iterator[str]:
    with postgres.database(postgres_url) as url:
        Billing.init(url)
        yield url


def say(figures: str) -> None:
    """Show what a run came to, to those who run it with `-s`."""
    sys.stdout.write(figures + "\n")


def fill(url: str, invoices: int) -> None:
    """Draft and finalize so many invoices of each of two tenants."""
    with worlds.opened(url) as world:
        for name in ("old", "older"):
            tenant = world.billing.tenant(name)
            for _ in range(invoices // 2):
                drafted = tenant.draft_invoice(
                    customer=writers.ADA, currency="EUR", lines=[writers.WORK, writers.BOOK]
                )
                tenant.finalize_invoice(drafted.id)


@contextmanager
def writing(url: str, folder: Path) -> Iterator[list[Path]]:
    """Processes that draft, finalize and pay throughout, and note every answer."""
    notes = [folder / f"w{place}" for place in range(WRITERS)]
    processes: list[BaseProcess] = [
        _PROCESSES.Process(target=writers.live, args=(url, path.name, path), daemon=True)
        for path in notes
    ]
    for process in processes:
        process.start()
    try:
        wait_until(lambda: all(path.exists() and path.stat().st_size for path in notes))
        yield notes
        assert all(process.exitcode is None for process in processes), "a writer has failed"
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def reading(url: str, readers: int) -> Iterator[list[str]]:
    """Threads that read without a pause; yields what they saw that cannot be, empty at its end."""
    wrong: list[str] = []
    over = threading.Event()
    looks: list[int] = []

    def read() -> None:
        log = PostgresLog(url)
        seen = dict.fromkeys(QUERIES, 0)
        count = 0
        try:
            with log.connection() as connection:
                while not over.is_set():
                    for query in QUERIES:
                        found = connection.execute(query.encode()).fetchone()
                        assert found is not None
                        (value,) = found.values()
                        if int(value) < seen[query]:  # nothing is ever deleted here
                            wrong.append(f"{query}: {value} after {seen[query]}")
                        seen[query] = max(seen[query], int(value))
                        count += 1
        except BaseException as error:
            wrong.append(repr(error))
            raise
        finally:
            looks.append(count)
            log.close()

    threads = [threading.Thread(target=read) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    say(f"{sum(looks)} looks of {readers} readers, {len(wrong)} wrong")


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


def answered(notes: list[Path], kind: str) -> set[str]:
    """The invoices of which a writer was told that this happened."""
    found = set()
    for path in notes:
        for line in path.read_text().splitlines():
            command, invoice, *_ = line.split()
            if command.startswith(f"{kind}_"):
                found.add(invoice)
    return found


def held(world: World, notes: list[Path]) -> int:
    """Assert that everything answered is in the tables, once; return how many invoices it was."""
    assert worlds.differences(world) == []
    there = worlds.rows(world, "SELECT id, status FROM invoices WHERE tenant = 'acme'")
    status = {str(id): str(word) for id, word in there}
    assert len(status) == len(there)
    drafted = answered(notes, "d")
    assert drafted <= status.keys()
    assert len(status) - len(drafted) <= WRITERS  # one each may be there that nobody was told of
    assert all(status[id] in {"open", "paid"} for id in answered(notes, "f"))
    assert all(status[id] == "paid" for id in answered(notes, "p"))
    return len(drafted)


@pytest.mark.parametrize("mode", ["inline", "async"])
def test_a_rebuild_under_load_loses_and_doubles_nothing(
    server: str, tmp_path: Path, mode: str
) -> None:
    fill(server, MANY)
    with ExitStack() as stack:
        world = stack.enter_context(worlds.opened(server, mode))
        projections = world.billing.projections
        until = threading.Event()
        if mode == "async":
            worker = threading.Thread(target=projections.run, kwargs={"until": until})
            worker.start()
            stack.callback(worker.join, 30)
            stack.callback(until.set)
        with writing(server, tmp_path) as notes, reading(server, 2) as wrong:
            pauses = [projections.rebuild().pause_s * 1000 for _ in range(5)]
            time.sleep(0.5)
        assert wrong == []
        if mode == "async":
            ((end,),) = worlds.rows(world, "SELECT max(position) FROM facts")
            projections.wait(int(end or 0), timeout_s=60)
        count = held(world, notes)
        say(
            f"{mode}: {count} invoices written during 5 rebuilds, pauses of"
            f" {', '.join(f'{pause:.1f}' for pause in pauses)} ms"
        )


@pytest.mark.parametrize("mode", ["inline", "async"])
def test_a_rebuild_killed_at_any_moment_is_gone_on_with(database: str, mode: str) -> None:
    fill(database, MANY)
    drawn = random.Random(mode)  # noqa: S311
    finished = 0
    with worlds.opened(database, mode) as world:
        there, true = worlds.tables(world), worlds.dump(world)
        longest = 0.0
        for kill in range(KILLS + 1):
            began = time.monotonic()
            resume = kill % 4 != 3
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    REBUILD,
                    str(FOLDER),
                    database,
                    "resume" if resume else "anew",
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            began = time.monotonic()
            if kill == 0:  # the first one shows how long it takes
                assert process.communicate(timeout=120)[0] == "done\n"
                longest = time.monotonic() - began
                continue
            time.sleep(drawn.uniform(0, longest * 0.7))
            process.kill()
            finished += "done" in process.communicate()[0]
            assert worlds.dump(world) == true
        world.billing.projections.rebuild(resume=True)
        assert worlds.differences(world) == []
        assert worlds.dump(world) == true
        assert worlds.tables(world) == there
    say(f"{mode}: {KILLS} kills of a rebuild of {longest:.2f} s, {finished} came too late")
    assert finished < KILLS


def test_a_rebuild_killed_under_load_loses_nothing(server: str, tmp_path: Path) -> None:
    fill(server, MANY)
    drawn = random.Random(7)  # noqa: S311
    with worlds.opened(server) as world:
        with writing(server, tmp_path) as notes, reading(server, 1) as wrong:
            for _ in range(6):
                process = subprocess.Popen(
                    [sys.executable, "-c", REBUILD, str(FOLDER), server, "resume"],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(drawn.uniform(0, 1))
                process.kill()
                process.communicate()
            rebuilt = world.billing.projections.rebuild(resume=True)
        assert wrong == []
        count = held(world, notes)
        say(f"{count} invoices written, then a pause of {rebuilt.pause_s * 1000:.1f} ms")
