"""Does nothing get lost when read models are kept otherwise while others write?"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from counterfoil.billing import Billing
from counterfoil.domain.errors import Conflict, Unavailable
from projections import worlds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.worlds import World

FOLDER = Path(__file__).parents[1]
WRITE = """
import sys
sys.path.insert(0, sys.argv[1])
from itertools import count
from projections import worlds
with worlds.opened(sys.argv[2]) as world:
    print("open", flush=True)
    for turn in count():
        for step in worlds.FULL_LIFE:
            world.happen(step, f"{sys.argv[3]}{turn}")
            print(step.what, flush=True)
"""


@contextmanager
def writing(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes, opened before this goes on; it is killed at the end."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(FOLDER), url, name],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline()
        yield writer
        assert writer.poll() is None, "the writer has failed"
    finally:
        writer.kill()
        writer.communicate()


def wrote(writer: subprocess.Popen[str], times: int) -> None:
    """Wait until it has written so often."""
    assert writer.stdout is not None
    for _ in range(times):
        assert writer.stdout.readline()


def switch(url: str, mode: str) -> None:
    with Billing.open(url, projections=mode):
        pass


def test_switching_there_and_back_loses_nothing(world: World) -> None:
    life = [*worlds.FULL_LIFE]
    for place, mode in enumerate(("async", "inline", "async", "async", "inline", "inline")):
        world.live(life[place * 11 : place * 11 + 11])
        switch(world.url, mode)
        assert {one.mode for one in world.billing.projections.status()} == {mode}
        assert worlds.differences(world) == []
    world.live(life[66:])
    assert worlds.differences(world) == []
    assert {one.lag for one in world.billing.projections.status()} == {0}


def test_who_was_open_before_keeps_what_the_database_asks_for(database: str) -> None:
    with worlds.opened(database) as first, worlds.opened(database) as second:
        first.live(worlds.FULL_LIFE[:6], "x")
        second.billing.projections.keep("async")
        before = worlds.dump(first)
        first.live(worlds.FULL_LIFE[:6], "y")
        assert worlds.dump(first) == before
        second.billing.projections.keep("inline")
        assert len(worlds.dump(first)["invoices"]) == 2 * len(before["invoices"])
        first.live(worlds.FULL_LIFE[:6], "z")
        assert len(worlds.dump(first)["invoices"]) == 3 * len(before["invoices"])
        assert worlds.differences(first) == []


def test_another_process_that_writes_throughout_misses_no_switch(database: str) -> None:
    with worlds.opened(database) as world, writing(database, "w") as writer:
        for mode in ("async", "inline") * 4:
            wrote(writer, 5)
            switch(database, mode)
        wrote(writer, 5)
    with worlds.opened(database) as world:
        assert worlds.differences(world) == []
        ((made,),) = worlds.rows(
            world, "SELECT count(*) FROM facts WHERE type = 'invoice.finalized.v1'"
        )
        numbered = worlds.rows(world, "SELECT count(*) FROM invoices WHERE number IS NOT NULL")
        assert numbered == [(made,)]


def test_threads_that_write_throughout_miss_no_switch(world: World) -> None:
    over = threading.Event()
    failed: list[BaseException] = []

    def write(name: str) -> None:
        turn = 0
        try:
            while not over.is_set():
                turn += 1
                world.live(worlds.FULL_LIFE[:20], f"{name}{turn}")
                over.wait(0.05)  # or the first switch never sees an end
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write, args=(name,)) for name in ("p", "q")]
    for thread in threads:
        thread.start()
    try:
        for mode in ("async", "inline") * 3:
            over.wait(0.05)
            world.billing.projections.keep(mode)
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert not failed
    assert worlds.differences(world) == []


def test_a_worker_that_runs_while_the_mode_changes_doubles_nothing(world: World) -> None:
    until = threading.Event()
    worker = threading.Thread(target=world.billing.projections.run, kwargs={"until": until})
    worker.start()
    try:
        for place, mode in enumerate(("async", "inline") * 3):
            world.live(worlds.FULL_LIFE[:25], f"t{place}")
            world.billing.projections.keep(mode)
    finally:
        until.set()
        worker.join(10)
    assert worlds.differences(world) == []


def test_read_models_that_have_stopped_do_not_become_inline(world: World) -> None:
    world.billing.projections.keep("async")
    worlds.insert_fact(world, "a", "in_bad", "invoice.voided.v1", b'{"reason":null}')
    with pytest.raises((Unavailable, Conflict), match=r"invoice\.voided"):
        world.billing.projections.keep("inline")
    assert {one.mode for one in world.billing.projections.status()} == {"async"}
