"""Does the log keep its word while processes are killed, servers crash and everybody writes?"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.billing import Billing
from counterfoil.domain.envelope import Actor
from counterfoil.domain.invoice.events import InvoiceFinalized, InvoiceSent, MetadataSet
from counterfoil.domain.ports import Append, Origin
from counterfoil.domain.series.events import NumberAssigned
from slow import writers
from support import postgres
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from counterfoil.domain.envelope import Recorded
    from counterfoil.domain.value import Event

pytestmark = pytest.mark.slow

# Every process starts as a fork of one that has imported all there is, and has nothing open.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["counterfoil.billing", "counterfoil.adapters.event_store.postgres"]
)

KILLS = 100


@pytest.fixture(scope="module")
def durable() -> Iterator[str]:
    """A server that flushes to a disk, as production does."""
    with postgres.cluster(durable=True) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        Billing.init(tmp_path / "log.db")
        yield str(tmp_path / "log.db")
        return
    with postgres.database(request.getfixturevalue("durable")) as url:
        Billing.init(url)
        yield url


def started(work: Callable[..., None], *arguments: object) -> BaseProcess:
    process = _PROCESSES.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


@contextmanager
def ended(processes: Sequence[BaseProcess]) -> Iterator[None]:
    """Leave no process behind, whatever the test finds."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def wait_until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.001)


def everything(url: str) -> list[Recorded[Event]]:
    facts: list[Recorded[Event]] = []
    with Billing.open(url) as billing:
        while page := billing.log.since(facts[-1].envelope.position if facts else 0, limit=5000):
            facts += page
        report = billing.audit.verify()
    assert report.holds, report.first
    assert [one.envelope.position for one in facts] == list(range(1, len(facts) + 1))
    return facts


def say(figures: str) -> None:
    """Show what a run came to, to those who run it with `-s`."""
    sys.stdout.write(figures + "\n")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "processes", "each"), [("postgres", 8, 250), ("sqlite", 4, 100)])
def test_numbers_have_no_gap_and_no_repeat_whatever_goes_wrong(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, processes: int, each: int
) -> None:
    """Writers are killed until 40 have died; a second tenant counts beside the first."""
    with ExitStack() as stack:
        if kind == "postgres":
            server = request.getfixturevalue("durable")
            url = stack.enter_context(postgres.database(server))
        else:
            url = str(tmp_path / "log.db")
        Billing.init(url)
        began, others = time.time(), each // 5
        work = {
            f"{tenant}{place}": (tenant, each if tenant == "acme" else others)
            for tenant, writers_of in (("acme", processes), ("other", 2))
            for place in range(writers_of)
        }
        for name in work:
            (tmp_path / name).touch()

        def start(name: str) -> BaseProcess:
            tenant, count = work[name]
            chaos = writers.Chaos(lock_timeout_ms=random.choice([5, 50, 500]), rollbacks=0.1)  # noqa: S311
            return started(
                writers.finalize_all,
                url,
                writers.Work(tenant, name, count, began),
                tmp_path / name,
                chaos,
            )

        running = {name: start(name) for name in work}
        stack.enter_context(ended(_Live(running)))
        killed, deadline = 0, time.monotonic() + 150
        while running:
            assert time.monotonic() < deadline, f"not done in time: {sorted(running)}"
            time.sleep(random.uniform(0.02, 0.2))  # noqa: S311
            name = random.choice(list(running))  # noqa: S311
            if running[name].exitcode is None and killed < 40:
                running[name].kill()
                killed += 1
            for other, process in list(running.items()):
                if process.exitcode == 0:
                    del running[other]
                elif process.exitcode is not None:
                    assert process.exitcode == -9, f"{other}: {process.exitcode}"
                    running[other] = start(other)
        facts = everything(url)
        seconds = time.time() - began

    again = Counter(line for name in work for line in lines(tmp_path / name) if "again" in line)
    say(f"{kind}: {seconds:.1f} s, {killed} killed, {dict(again)}")
    for tenant, total in (("acme", processes * each), ("other", 2 * others)):
        ours = [one for one in facts if one.envelope.tenant == tenant]
        assigned = [one.fact for one in ours if isinstance(one.fact, NumberAssigned)]
        assert [fact.place for fact in assigned] == list(range(1, total + 1))
        assert all(one.issued_on <= two.issued_on for one, two in pairwise(assigned))
        finalized = {
            one.envelope.stream: one.fact.number
            for one in ours
            if isinstance(one.fact, InvoiceFinalized)
        }
        assert {str(fact.document): fact.number for fact in assigned} == finalized
        answered = dict(
            line.split(" answered ")
            for name, (of, _) in work.items()
            if of == tenant
            for line in lines(tmp_path / name)
            if " answered " in line
        )
        assert answered == finalized
    if kind == "postgres":
        assert killed == 40


class _Live(list["BaseProcess"]):
    """The processes that a dict holds when they are asked for."""

    def __init__(self, running: dict[str, BaseProcess]) -> None:
        super().__init__()
        self._running = running

    def __iter__(self) -> Iterator[BaseProcess]:
        return iter(list(self._running.values()))


# --- kill -9 --------------------------------------------------------------------------------


def whole(facts: list[Recorded[Event]], notes: Sequence[Path]) -> int:
    """Assert that what was answered is there and nothing is half there; return how much was."""
    by_command: dict[str, list[Recorded[Event]]] = defaultdict(list)
    for one in facts:
        by_command[one.envelope.command_id].append(one)
    for command, stored in by_command.items():
        assert len(stored) in writers.FACTS_OF[command[0]], command
        places = [one.envelope.position for one in stored]
        assert places == list(range(places[0], places[0] + len(places))), command
    answered = [line.split() for path in notes for line in lines(path)]
    for command, stream, version, number in answered:
        assert command in by_command, f"{command} was answered and is lost"
        last = [one for one in by_command[command] if one.envelope.stream == stream][-1]
        assert last.envelope.version == int(version)
        if isinstance(last.fact, InvoiceFinalized):
            assert last.fact.number == number
    places = [one.fact.place for one in facts if isinstance(one.fact, NumberAssigned)]
    assert places == list(range(1, len(places) + 1))
    return len(answered)


def claimed(url: str, commands: Sequence[str]) -> set[str]:
    with Billing.open(url) as billing, billing.log.transaction("acme") as transaction:
        return {command for command in commands if transaction.claimed(command) is not None}


def test_a_killed_writer_leaves_all_of_a_command_or_nothing(database: str, tmp_path: Path) -> None:
    notes = [tmp_path / f"notes{place}" for place in range(KILLS)]
    for place, path in enumerate(notes):
        process = started(writers.live, database, f"w{place}", path)
        with ended([process]):
            wait_until(path.exists)
            if place % 2:
                wait_until(lambda path=path: path.stat().st_size > 0)  # type: ignore[misc]
            time.sleep(random.uniform(0, 0.03))  # noqa: S311
    facts = everything(database)
    answered = whole(facts, notes)
    commands = {one.envelope.command_id for one in facts}
    assert claimed(database, sorted(commands)) == commands
    say(f"{KILLS} kills, {answered} answered, {len(commands)} stored")
    assert len(commands) <= answered + KILLS


def test_a_crashed_server_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Each writer goes on in the same process when the server is back."""
    with postgres.cluster(durable=True) as url:
        Billing.init(url)
        server = Server(url)
        notes = [tmp_path / f"notes{place}" for place in range(6)]
        processes = [
            started(writers.live, url, f"w{place}", path) for place, path in enumerate(notes)
        ]
        with ended(processes):
            for _ in range(5):
                before = [len(lines(path)) for path in notes]
                wait_until(
                    lambda before=before: all(  # type: ignore[misc]
                        len(lines(path)) > count for path, count in zip(notes, before, strict=True)
                    )
                )
                time.sleep(random.uniform(0, 0.3))  # noqa: S311
                server.crash()
            assert all(process.exitcode is None for process in processes)
        facts = everything(url)
        answered = whole(facts, notes)
        commands = {one.envelope.command_id for one in facts}
        assert claimed(url, sorted(commands)) == commands
        say(f"5 crashes, {answered} answered, {len(commands)} stored")


# --- readers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "seconds"), [("postgres", 30), ("sqlite", 10)])
def test_a_reader_that_follows_sees_every_position_once_and_in_order(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, seconds: float
) -> None:
    with ExitStack() as stack:
        if kind == "postgres":
            url = stack.enter_context(postgres.database(request.getfixturevalue("durable")))
        else:
            url = str(tmp_path / "log.db")
        Billing.init(url)
        log = stack.enter_context(closing(_log(url)))
        until = time.time() + seconds
        notes = [tmp_path / f"n{place}" for place in range(8)]
        processes = [
            started(writers.append_until, url, f"w{place}", path, until)
            for place, path in enumerate(notes)
        ]
        seen: list[tuple[int, bytes]] = []
        with ended(processes):
            while True:
                over = all(process.exitcode is not None for process in processes)
                page = log.rows_since(seen[-1][0] if seen else 0, limit=500)
                seen += [(row.position, row.hash) for row in page]
                if over and not page:
                    break
                assert time.time() < until + 60
            assert all(process.exitcode == 0 for process in processes)
        facts = everything(url)
    assert [position for position, _ in seen] == list(range(1, len(facts) + 1))
    assert [digest for _, digest in seen] == [one.envelope.hash for one in facts]
    stored = sum(int(line) for path in notes for line in lines(path))
    assert stored == len(facts)
    say(f"{kind}: {stored} facts in {seconds} s, {stored / seconds:.0f} a second, none missed")


def test_a_subscription_delivers_everything_once_while_processes_write(
    database: str, tmp_path: Path
) -> None:
    until = time.time() + 8
    notes = [tmp_path / f"n{place}" for place in range(4)]
    processes = [
        started(writers.append_until, database, f"w{place}", path, until)
        for place, path in enumerate(notes)
    ]
    seen: list[int] = []
    with ended(processes), closing(_log(database)) as log, log.subscribe() as events:
        watch = threading.Timer(60, events.stop)
        watch.start()
        ending = threading.Thread(target=_append_when_over, args=(log, processes))
        ending.start()
        for event in events:
            seen.append(event.id)
            if event.topic == "invoice.sent.v1":
                break
        ending.join()
        watch.cancel()
    assert seen == list(range(1, len(everything(database)) + 1))


def _append_when_over(log: SQLiteLog | PostgresLog, processes: Sequence[BaseProcess]) -> None:
    """The last fact of all, to know the end by."""
    for process in processes:
        process.join(60)
    _append_after(log, 0, InvoiceSent(delivery="dlv_1", to="ada@example.com"))


def test_no_wake_up_is_lost_while_a_subscription_starts(database: str) -> None:
    with (
        closing(_log(database)) as log,
        closing(_log(database)) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        slowest = 0.0
        for place in range(50):
            last = log.max_notification_id() or 0
            began = time.monotonic()
            fact = MetadataSet(metadata={"n": str(place)})
            wrote = pool.submit(_append_after, other, random.uniform(0, 0.01), fact)  # noqa: S311
            with log.subscribe(gt=last) as events:
                watch = threading.Timer(10, events.stop)
                watch.start()
                assert next(events, None) is not None, f"lost at start {place}"
                watch.cancel()
            wrote.result(10)
            slowest = max(slowest, time.monotonic() - began)
        say(f"50 starts, slowest {slowest:.2f} s")


def _append_after(log: SQLiteLog | PostgresLog, seconds: float, fact: Event) -> None:
    time.sleep(seconds)
    origin = Origin(
        recorded_at=writers.FIRST_DAY,
        actor=Actor(type="system", id="test"),
        command_id="cmd_1",
    )
    with log.transaction("acme") as transaction:
        transaction.append([Append(transaction.head("in_1"), [fact])], origin, None)


def _log(url: str) -> SQLiteLog | PostgresLog:
    return PostgresLog(url) if "://" in url else SQLiteLog(url)


# --- the same command again -----------------------------------------------------------------


@pytest.mark.parametrize(("processes", "times"), [(1, 2), (8, 1)], ids=["twice", "8 at once"])
def test_a_command_asked_again_has_one_effect_and_one_answer(
    database: str, tmp_path: Path, processes: int, times: int
) -> None:
    once = str(tmp_path / "once.db")
    writers.tell(once, 1, tmp_path / "once", None)
    expected = _effects(once)
    notes = [tmp_path / f"n{place}" for place in range(processes)]
    together = _PROCESSES.Barrier(processes) if processes > 1 else None
    asking = [started(writers.tell, database, times, path, together) for path in notes]
    with ended(asking):
        for process in asking:
            process.join(120)
        assert [process.exitcode for process in asking] == [0] * processes
    assert _effects(database) == expected
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for path in notes:
        for line in lines(path):
            name, _, answer = line.partition(" = ")
            answers[name][answer] += 1
    assert len(answers) == len(writers.story())
    for name, given in answers.items():
        assert list(given.values()) == [processes * times], (name, json.dumps(given))


SLOW_DISK = Path(__file__).parents[1] / "bench" / "slow_disk.c"


def test_a_repeat_is_answered_only_when_its_facts_are_on_the_disk(tmp_path: Path) -> None:
    """On a disk that takes 0.5 s, nobody may say sooner that an invoice has its number."""
    flush_s = 0.5
    compiler = shutil.which("cc")
    if compiler is None or not SLOW_DISK.exists():
        pytest.skip("no slow disk: it takes a C compiler")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        shim = Path(made) / "slow_disk.so"
        shim.parent.chmod(0o755)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", shim, SLOW_DISK, "-ldl"], check=True)
        slow = {"SHIM_US": str(int(flush_s * 1_000_000))}
        with (
            postgres.cluster(durable=True, preload=shim, env=slow) as url,
            ThreadPoolExecutor(1) as pool,
        ):
            Billing.init(url)
            with Billing.open(url, seller=writers.SELLER) as billing:
                acme = billing.tenant("acme")
                draft = acme.draft_invoice(
                    customer=writers.ADA, currency="EUR", lines=[writers.WORK]
                )
                began = time.monotonic()
                first = pool.submit(acme.finalize_invoice, draft.id, command_id="f")
                wait_until(lambda: claimed_in(billing, "f"))
                again = acme.finalize_invoice(draft.id, command_id="f")
                took = time.monotonic() - began
                assert first.result(30) == again
    assert took >= flush_s


def claimed_in(billing: Billing, command: str) -> bool:
    with billing.log.transaction("acme") as transaction:
        return transaction.claimed(command) is not None


def _effects(url: str) -> list[tuple[str, list[str]]]:
    effects: dict[str, list[str]] = defaultdict(list)
    for one in everything(url):
        effects[one.envelope.command_id].append(one.envelope.type)
    return sorted(effects.items())
