"""Does a print cost no more than a worker: is what takes too long, grows too large or dies ended,
said in words, and followed by a worker that prints the next one?
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from counterfoil.adapters.pdf.pool import WeasyPrintPool
from counterfoil.adapters.pdf.weasy import Limits, WeasyPrintEngine
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, EngineUnavailable, Malformed, RenderFailed
from counterfoil.domain.ports import Asset, Sheet

PATIENCE_S = 60.0


def sheet(body: str) -> Sheet:
    html = f'<html lang="en"><head><title>t</title></head><body>{body}</body></html>'
    return Sheet(html=html, styles=())


SHORT = sheet("<p>short</p>")
LONG = sheet(f"<table>{'<tr><td>a</td><td>b</td><td>c</td></tr>' * 20_000}</table>")


_BEFORE: set[int] = set()


def workers() -> list[psutil.Process]:
    """The processes below this one, but for the tracker that Python itself keeps, and those that
    other tests hold.
    """
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.pid not in _BEFORE and "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
        except psutil.ZombieProcess:
            found.append(child)
    return found


def until(holds: Callable[[], bool]) -> None:
    """Look until it holds; a test that waits for nothing fails here and does not hang."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(0.02)


def busy() -> bool:
    """Whether a worker is at work: it has used a processor since it was asked last."""
    return any(one.cpu_percent(0.1) > 50 for one in workers())


def kill_workers() -> None:
    for one in workers():
        one.send_signal(signal.SIGKILL)


@pytest.fixture
def no_one_else() -> Iterator[None]:
    _BEFORE.clear()
    _BEFORE.update(one.pid for one in workers())
    yield
    until(lambda: workers() == [])


@pytest.fixture
def pool(no_one_else: None) -> Iterator[WeasyPrintPool]:
    with closing(WeasyPrintPool(workers=1)) as one:
        assert one.render(SHORT).startswith(b"%PDF")
        yield one


def in_a_child(story: str) -> str:
    """What a program says that does this with a pool; for stories that may never end."""
    program = f"import test_pool\nif __name__ == '__main__':\n    test_pool.{story}()\n"
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    try:
        said, complaint = child.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        pytest.fail("it never ends")
    assert child.returncode == 0, complaint[-1_000:]
    return said.strip()


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except CounterfoilError as error:
        return type(error).__name__
    except BaseException as error:  # noqa: BLE001  (it is told, and judged by the test)
        return f"untyped {type(error).__name__}"
    return "printed"


def tell(*said: str) -> None:
    sys.stdout.write(" ".join(said))
    sys.stdout.flush()


# --- time and memory --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_print_that_takes_too_long_is_given_up_and_the_next_one_works(no_one_else: None) -> None:
    with closing(WeasyPrintPool(workers=1, limits=Limits(seconds=2.0))) as pool:
        pool.render(SHORT)
        [before] = workers()
        began = time.monotonic()
        with pytest.raises(RenderFailed, match="longer than 2 s"):
            pool.render(LONG)
        assert time.monotonic() - began < PATIENCE_S
        assert not before.is_running()
        assert pool.render(SHORT).startswith(b"%PDF")


@pytest.mark.slow
def test_a_print_waits_for_a_worker_without_its_time_running(no_one_else: None) -> None:
    """Or a crowd would be refused what each of it alone is given."""
    slow = sheet(f"<table>{'<tr><td>a</td></tr>' * 600}</table>")
    with closing(WeasyPrintPool(workers=1, limits=Limits(seconds=4.0))) as pool:
        pool.render(SHORT)
        with ThreadPoolExecutor(8) as threads:
            assert all(one.startswith(b"%PDF") for one in threads.map(pool.render, [slow] * 8))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no bound for one process")
def test_a_print_that_grows_too_large_is_given_up_and_the_next_one_works(no_one_else: None) -> None:
    with closing(WeasyPrintPool(workers=1, limits=Limits(memory_bytes=300 * 1024**2))) as pool:
        pool.render(SHORT)
        with pytest.raises(RenderFailed):
            pool.render(LONG)
        assert pool.render(SHORT).startswith(b"%PDF")
        assert max(one.memory_info().vms for one in workers()) <= 300 * 1024**2


# --- workers that die -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_killed_while_it_prints_is_replaced(pool: WeasyPrintPool) -> None:
    with ThreadPoolExecutor(1) as threads:
        printing = threads.submit(pool.render, LONG)
        until(busy)
        kill_workers()
        with pytest.raises(RenderFailed):
            printing.result(PATIENCE_S)
    assert pool.render(SHORT).startswith(b"%PDF")


@pytest.mark.slow
def test_a_worker_killed_while_it_waits_is_replaced(pool: WeasyPrintPool) -> None:
    """The kernel takes whom it likes when memory runs out."""
    kill_workers()
    until(lambda: not workers())
    for _ in range(2):
        assert outcome(lambda: pool.render(SHORT)) in {"printed", "RenderFailed"}
    assert pool.render(SHORT).startswith(b"%PDF")


def starved() -> None:
    """A pool whose workers have not the memory to begin in."""
    pool = WeasyPrintPool(workers=1, limits=Limits(memory_bytes=40 * 1024**2, seconds=10))
    tell(outcome(lambda: pool.render(SHORT)), outcome(lambda: pool.render(SHORT)))
    pool.close()


@pytest.mark.slow
def test_workers_that_cannot_begin_are_said() -> None:
    assert in_a_child("starved") == "EngineUnavailable EngineUnavailable"


def test_fonts_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        WeasyPrintPool(fonts=[tmp_path / "none"])


@pytest.mark.slow
def test_a_font_that_goes_away_is_said(tmp_path: Path, no_one_else: None) -> None:
    font = tmp_path / "x.ttf"
    bundled = WeasyPrintEngine()._fonts[0]
    font.write_bytes(bundled.read_bytes())
    with closing(WeasyPrintPool(workers=1, fonts=[font])) as pool:
        font.unlink()
        with pytest.raises(EngineUnavailable):
            pool.render(SHORT)


def counted() -> None:
    """Pools of no worker and of fewer."""
    tell(*(outcome(lambda n=n: WeasyPrintPool(workers=n)) for n in (0, -1, True, 1.5, "2")))  # type: ignore[misc]


def test_a_pool_of_no_workers_is_refused() -> None:
    assert set(in_a_child("counted").split()) == {"Malformed"}


# --- many, and the end --------------------------------------------------------------------------


@pytest.mark.slow
def test_twenty_prints_at_once_are_twenty_documents(no_one_else: None) -> None:
    sheets = [sheet(f"<p>number {number}</p>") for number in range(20)]
    alone = WeasyPrintEngine()
    with closing(WeasyPrintPool(workers=2)) as pool, ThreadPoolExecutor(20) as threads:
        assert list(threads.map(pool.render, sheets)) == [alone.render(one) for one in sheets]
        assert len(workers()) == 2


@pytest.mark.slow
def test_one_that_fails_among_many_fails_alone(pool: WeasyPrintPool) -> None:
    sheets = [sheet("<img src='file:///etc/passwd'/>") if n % 3 else SHORT for n in range(12)]
    with ThreadPoolExecutor(12) as threads:
        told = list(threads.map(lambda one: outcome(lambda: pool.render(one)), sheets))
    assert told == ["RenderFailed" if n % 3 else "printed" for n in range(12)]


@pytest.mark.slow
def test_a_closed_pool_leaves_nobody_behind(no_one_else: None) -> None:
    pool = WeasyPrintPool(workers=2)
    pool.close()  # nothing was begun
    assert pool.render(SHORT)
    gone = workers()
    assert gone
    pool.close()
    pool.close()
    assert not any(one.is_running() for one in gone)
    assert pool.render(SHORT).startswith(b"%PDF")  # and begins anew if it is asked
    pool.close()


def cut_off() -> None:
    """Three prints by one worker, and the pool is closed before the first is done."""
    pool = WeasyPrintPool(workers=1)
    pool.render(SHORT)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(outcome, lambda: pool.render(LONG)) for _ in range(3)]
        until(busy)
        pool.close()
        try:
            tell(*sorted({one.result(10) for one in waiting}), str(len(workers())))
        except TooLong:
            tell("never")
            os._exit(0)


@pytest.mark.slow
def test_closing_while_it_prints_ends_every_print_in_words() -> None:
    said = in_a_child("cut_off")
    assert said in {"RenderFailed 0", "EngineUnavailable 0"}


@pytest.mark.slow
def test_a_program_that_forgets_to_close_still_ends() -> None:
    in_a_child("forgotten")


def forgotten() -> None:
    """A pool that nobody closes."""
    tell(outcome(lambda: WeasyPrintPool(workers=1).render(SHORT)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_do_not_outlive_a_service_that_is_killed() -> None:
    program = (
        "import test_pool, os, signal\n"
        "if __name__ == '__main__':\n"
        "    pool = test_pool.WeasyPrintPool(workers=2)\n"
        "    pool.render(test_pool.SHORT)\n"
        "    print(*(one.pid for one in test_pool.workers()), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    pids = [int(pid) for pid in ran.stdout.split()]
    assert pids

    def gone(pid: int) -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    try:
        until(lambda: all(map(gone, pids)))
    finally:
        for pid in pids:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


# --- what crosses the border --------------------------------------------------------------------

WORD = "Zwetschgenknoedel4711"
WRONG = {
    "not well-formed": (sheet(f"<p>{WORD}"), "well-formed"),
    "too deep": (sheet("<p>" * 99 + WORD + "</p>" * 99), "deeper"),
    "outside": (sheet(f'<img src="file:///{WORD}"/>'), "own images"),
    "a fault of the engine": (sheet(f'<p style="font-size:1e9pt">{WORD}</p>'), "could not print"),
    "no text": (sheet("\udc80"), "well-formed"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("given", "says"), WRONG.values(), ids=WRONG)
def test_an_error_is_the_same_from_a_worker(given: Sheet, says: str, pool: WeasyPrintPool) -> None:
    with pytest.raises(RenderFailed, match=says) as here:
        WeasyPrintEngine().render(given)
    with pytest.raises(RenderFailed, match=says) as there:
        pool.render(given)
    assert str(there.value) == str(here.value)
    assert WORD not in str(there.value) + str(there.value.__cause__)


@pytest.mark.slow
def test_images_and_attachments_cross_the_border(pool: WeasyPrintPool) -> None:
    carried = Sheet(
        html=SHORT.html, styles=("p { color: red }",),
        attachments=(Asset("a.bin", "application/octet-stream", bytes(range(256)) * 4_000),),
    )  # fmt: skip
    assert pool.render(carried) == WeasyPrintEngine().render(carried)


@pytest.mark.slow
def test_the_front_door_closes_its_pool(no_one_else: None) -> None:
    with Billing.open(":memory:", documents=None, pdf="weasyprint-pool") as billing:
        house = billing.tenant("acme")._house
        assert house.engine.render(SHORT).startswith(b"%PDF")
        assert workers()
