"""Is each fact taken in exactly once, however often, by however many, and through whatever?"""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from counterfoil.billing import Billing
from counterfoil.domain.errors import Malformed, Unavailable
from counterfoil.projections import keeping
from counterfoil.projections.follow import Followed
from projections import worlds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.worlds import Dump, World
    from support.databases import Place

FOLDER = Path(__file__).parents[1]
FOLLOW = """
import sys
sys.path.insert(0, sys.argv[1])
from counterfoil.billing import Billing
from counterfoil.projections import keeping
keeping.PAGE = int(sys.argv[3])
with Billing.open(sys.argv[2]) as billing:
    billing.projections.run(watch=lambda step: print(step.position, flush=True))
"""


def process(world: World, page: int) -> subprocess.Popen[str]:
    """A worker in a process of its own, which says after every page how far it is."""
    return subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(FOLDER), world.url, str(page)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dump]:
    """What the tables hold after the full life when each write keeps them."""
    with worlds.after(worlds.full, tmp_path_factory.mktemp("inline")) as world:
        yield worlds.dump(world)


@pytest.fixture
def behind(place: Place) -> Iterator[World]:
    """The full life, of which no read model knows anything yet."""
    with worlds.after(worlds.full, place, "async") as world:
        assert not any(worlds.dump(world).values())
        yield world


def test_a_full_life_leaves_no_column_empty(inline: Dump) -> None:
    for _, table in worlds.TABLES:
        for name, cells in zip(table.names, zip(*inline[table.name], strict=True), strict=True):
            assert any(cell is not None for cell in cells), f"{table.name}.{name}"


def test_following_twice_is_following_once(behind: World, inline: Dump) -> None:
    projections = behind.billing.projections
    assert projections.step().facts > 0
    projections.run()
    projections.run()
    assert projections.step().facts == 0
    assert worlds.dump(behind) == inline
    assert projections.verify().holds
    assert {(one.state, one.lag) for one in projections.status()} == {("current", 0)}


@pytest.mark.parametrize("page", [1, 3])
def test_pages_of_any_size_make_the_same_rows(
    behind: World, inline: Dump, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAGE", page)
    seen: list[Followed] = []
    behind.billing.projections.run(watch=seen.append)
    assert worlds.dump(behind) == inline
    assert sum(step.facts for step in seen) == seen[-1].position
    assert [step.position for step in seen] == sorted(step.position for step in seen)


def test_threads_that_follow_at_once_take_each_fact_in_once(
    behind: World, inline: Dump, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAGE", 4)
    taken: list[int] = []

    def follow() -> None:
        behind.billing.projections.run(watch=lambda step: taken.append(step.facts))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(follow) for _ in range(4)]:
            done.result(60)
    assert worlds.dump(behind) == inline
    ((facts,),) = worlds.rows(behind, "SELECT max(position) FROM facts")
    assert sum(taken) == facts


@pytest.mark.slow
def test_processes_that_follow_at_once_take_each_fact_in_once(behind: World, inline: Dump) -> None:
    workers = [process(behind, 3) for _ in range(2)]
    for worker in workers:
        worker.communicate(timeout=60)
        assert worker.returncode == 0
    assert worlds.dump(behind) == inline
    assert behind.billing.projections.verify().holds


@pytest.mark.slow
def test_a_worker_that_is_killed_is_gone_on_with(behind: World, inline: Dump) -> None:
    for pages in (1, 3):
        worker = process(behind, 2)
        assert worker.stdout is not None
        for _ in range(pages):
            assert worker.stdout.readline()
        worker.kill()
        worker.communicate()
    positions = worlds.rows(behind, "SELECT DISTINCT position FROM projections")
    assert len(positions) == 1
    assert worlds.differences(behind) == [], "what is there holds as far as its position"
    behind.billing.projections.run()
    assert worlds.dump(behind) == inline


def test_a_worker_follows_until_it_is_told_to_stop(behind: World) -> None:
    until = threading.Event()
    worker = threading.Thread(target=behind.billing.projections.run, kwargs={"until": until})
    worker.start()
    try:
        ((end,),) = worlds.rows(behind, "SELECT max(position) FROM facts")
        behind.billing.projections.wait(int(end or 0))
        behind.live(worlds.FULL_LIFE)
        ((end,),) = worlds.rows(behind, "SELECT max(position) FROM facts")
        behind.billing.projections.wait(int(end or 0))
        assert {one.lag for one in behind.billing.projections.status()} == {0}
    finally:
        until.set()
        worker.join(10)
    assert not worker.is_alive()
    assert behind.billing.projections.verify().holds


def test_who_follows_to_the_present_end_is_not_kept_by_those_who_go_on_writing(
    behind: World,
) -> None:
    steps: list[Followed] = []

    def write(step: Followed) -> None:
        steps.append(step)
        assert len(steps) < 20, "this would never end"
        behind.happen(worlds.Step(0, "draft", 0, 3))

    behind.billing.projections.run(watch=write)
    assert len(steps) <= 3


def test_who_waits_in_vain_is_told_so(behind: World) -> None:
    with pytest.raises(Unavailable, match="counterfoil projections run"):
        behind.billing.projections.wait(1, timeout_s=0.05)


def test_a_mode_that_there_is_not_is_malformed(database: str) -> None:
    for mode in ("", "INLINE", "none"):
        with pytest.raises(Malformed, match="projections"):
            Billing.open(database, projections=mode)
