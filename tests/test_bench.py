"""Does the benchmark measure what it says? Its arithmetic on known samples, and each pair once.

Nothing here looks at how long anything took: a machine that is busy is not wrong.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import chromium, kept, printing, report, run
from bench.harness import (
    Contender,
    Figure,
    Measured,
    Pair,
    Result,
    Role,
    Sample,
    figure,
    measure,
    rotated,
    timed,
    undisturbed,
)

PROGRAM = Path(run.__file__)


def contender(name: str, role: Role, *seconds: float, calls: list[str] | None = None) -> Contender:
    """One that says these times, one after the other, for ten units each."""
    times = iter(seconds)

    def sample() -> Sample:
        if calls is not None:
            calls.append(name)
        return Sample(10, next(times))

    return Contender(name, role, sample)


def pair(*contenders: Contender, sizes: list[int] | None = None) -> Pair:
    """A pair of these, which remembers the sizes it was asked for."""

    @contextmanager
    def setup(size: int) -> Iterator[Sequence[Contender]]:
        if sizes is not None:
            sizes.append(size)
        yield contenders

    return Pair("fake", "do nothing", "unit", 7, setup, "Nothing is done.")


def result(ours: Sequence[float], other: Sequence[float], role: Role = "peer") -> Result:
    """What came of rounds in which ours and another took so many seconds a unit."""
    return Result(
        pair(),
        (
            Measured("we", "ours", tuple(Sample(1, seconds) for seconds in ours)),
            Measured("they", role, tuple(Sample(1, seconds) for seconds in other)),
        ),
    )


# --- turns ----------------------------------------------------------------------------------


def test_each_round_begins_with_the_next_contender() -> None:
    orders = ["".join(rotated("ABC", number)) for number in range(4)]
    assert orders == ["ABC", "BCA", "CAB", "ABC"]


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    measured = measure(
        pair(
            contender("A", "ours", 99, 1, 2, calls=calls),
            contender("B", "peer", 99, 3, 4, calls=calls),
            contender("C", "limit", 99, 5, 6, calls=calls),
        ),
        rounds=2,
        seconds_min=0,
    ).measured
    assert calls == [*"ABC", *"BCA", *"CAB"]
    assert [one.name for one in measured] == ["A", "B", "C"]
    assert [one.samples for one in measured] == [
        (Sample(10, 1), Sample(10, 2)),
        (Sample(10, 3), Sample(10, 4)),
        (Sample(10, 5), Sample(10, 6)),
    ]


def test_a_pair_has_its_own_size_unless_another_is_asked_for() -> None:
    sizes: list[int] = []
    for size in (None, 3):
        fake = pair(contender("A", "ours", 1, 1), sizes=sizes)
        measure(fake, rounds=1, size=size, seconds_min=0)
    assert sizes == [7, 3]


def test_a_short_sample_is_repeated_until_it_is_long_enough() -> None:
    assert undisturbed(contender("A", "ours", 0.5, 0.25, 0.5), 1.0) == Sample(30, 1.25)


def test_no_garbage_is_collected_in_a_sample() -> None:
    seen = []

    def sample() -> Sample:
        seen.append(gc.isenabled())
        return Sample(1, 1)

    undisturbed(Contender("A", "ours", sample), 0)
    assert seen == [False]
    assert gc.isenabled()


def test_garbage_is_collected_again_after_a_sample_that_failed() -> None:
    with pytest.raises(StopIteration):
        undisturbed(contender("A", "ours"), 0)
    assert gc.isenabled()


def test_a_timed_sample_does_its_work_once() -> None:
    done: list[int] = []
    sample = timed(4, lambda: done.append(1))()
    assert (done, sample.units) == ([1], 4)
    assert sample.seconds >= 0


# --- figures --------------------------------------------------------------------------------


def test_a_cost_is_seconds_for_one_unit() -> None:
    assert Sample(10, 5).cost == 0.5


def test_the_spread_is_the_interquartile_range_over_the_median() -> None:
    assert figure([1, 2, 3, 4, 100]) == Figure(median=3, spread=2 / 3)


def test_a_single_round_has_no_spread() -> None:
    assert figure([3]) == Figure(median=3, spread=0)


def test_a_ratio_is_taken_in_each_round_and_only_then_its_median() -> None:
    # The machine was four times as slow in the last two rounds. The medians alone say 4 / 1.
    paired = result(ours=[1, 1, 1, 4, 4], other=[2, 2, 4, 8, 8])
    assert paired.measured[1].cost.median / paired.ours.cost.median == 4
    assert paired.speed_beside(paired.measured[1]) == Figure(median=2, spread=0)


def test_a_ratio_over_one_says_that_ours_is_faster() -> None:
    faster, slower = result(ours=[1], other=[2]), result(ours=[2], other=[1], role="limit")
    assert report.beside(faster, faster.measured[1]) == ("2.00× as fast", "0%")
    assert report.beside(slower, slower.measured[1]) == ("0.50 of limit", "0%")
    assert report.beside(faster, faster.ours) == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (2.5, "2.50 s"),
        (0.0125, "12.5 ms"),
        (17.5e-6, "17.5 µs"),
        (0.0009999, "1.00 ms"),
        (142e-9, "142 ns"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert report.duration(seconds) == shown


# --- the program ----------------------------------------------------------------------------


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = pair(
        contender("we", "ours", 1, 1, 1),
        contender("they", "peer", 2, 2, 2),
        contender("nobody", "limit", 0.5, 0.5, 0.5),
    )
    monkeypatch.setattr(run, "PAIRS", (fake,))
    monkeypatch.setattr(printing, "memory", lambda: [printing.Held(6, 1, 2**20, 4 * 2**20)])


def test_an_unknown_pair_is_wrong_usage_and_the_known_ones_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exited:
        run.main(["--only", "fold", "--only", "bold"])
    assert exited.value.code == 2
    said = capsys.readouterr()
    assert "no such pair: bold" in said.err
    assert all(known.name in said.err for known in run.PAIRS)
    assert said.out == ""


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--json", "no/such/folder/bench.json"]])
def test_what_cannot_work_is_refused_before_anything_is_measured(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        run.main(wrong)
    assert exited.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("fakes")
def test_json_takes_the_place_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--json", "--rounds", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"machine", "rounds", "pairs", "memory"}
    assert set(told["machine"]) == {"python", "system", "cores", "load", "libraries"}
    assert told["rounds"] == 2
    (fake,) = told["pairs"]
    we, they, nobody = fake.pop("contenders")
    assert fake == {
        "name": "fake",
        "job": "do nothing",
        "unit": "unit",
        "note": "Nothing is done.",
    }
    assert they == {
        "name": "they",
        "role": "peer",
        "seconds_per_unit": 0.2,
        "spread": 0,
        "samples": [{"units": 10, "seconds": 2}] * 2,
        "ours_speed_ratio": 2,
        "ours_speed_ratio_spread": 0,
    }
    assert we["ours_speed_ratio"] is None
    assert nobody["ours_speed_ratio"] == 0.5


@pytest.mark.usefixtures("fakes")
def test_json_goes_to_a_file_beside_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    assert run.main(["--json", str(file), "--rounds", "2"]) == 0
    assert json.loads(file.read_text())["pairs"][0]["name"] == "fake"
    shown = capsys.readouterr().out
    for word in ("fake: do nothing", "per unit", "100 ms", "2.00× as fast", "0.50 of limit"):
        assert word in shown
    for word in ("print-memory", "6 lines, 1 times", "1 MiB", "4 MiB", "0.25 of it"):
        assert word in shown
    assert json.loads(file.read_text())["memory"] == [
        {"lines": 6, "prints": 1, "ours": 2**20, "chromium": 4 * 2**20}
    ]


@pytest.mark.usefixtures("fakes")
def test_what_has_no_peer_here_is_skipped_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(run, "PAIRS", (*run.PAIRS, printing.PAIRS[0]))
    assert run.main(["--only", "fake", "--only", "print-page", "--rounds", "1"]) == 0
    shown = capsys.readouterr()
    assert "fake: do nothing" in shown.out
    assert shown.err == (
        "bench: print-page is skipped: there is no chromium; "
        "on Debian: apt-get install -y chromium\n"
    )


def test_the_help_documents_every_key_of_the_json() -> None:
    measured = result(ours=[1], other=[2])
    told = {
        **report.as_json(report.machine(), 1, [measured]),
        "memory": [asdict(printing.Held(6, 1, 1, 4))],
    }
    assert keys(told) - set(report.machine().libraries) <= set(
        run.EPILOG.replace(",", " ").replace("(", " ").replace(")", " ").split()
    )


def test_it_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "--list"], capture_output=True, text=True, check=True
    )
    listed = [line.split()[0] for line in done.stdout.splitlines()]
    assert listed == [*(known.name for known in run.PAIRS), printing.MEMORY]


def keys(value: object) -> set[str]:
    """All keys at any depth."""
    match value:
        case dict():
            return set(value).union(*map(keys, value.values()))
        case list():
            return set[str]().union(*map(keys, value))
        case _:
            return set()


# --- the pairs ------------------------------------------------------------------------------


def test_no_two_pairs_have_one_name() -> None:
    names = [known.name for known in run.PAIRS]
    assert len(set(names)) == len(names)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    kept.close()


@pytest.mark.slow
@pytest.mark.parametrize("known", run.PAIRS, ids=lambda known: known.name)
def test_every_pair_runs(known: Pair) -> None:
    try:
        measured = measure(known, rounds=1, size=10, seconds_min=0)
    except chromium.NotInstalledError as missing:
        pytest.skip(str(missing))
    assert [one.role for one in measured.measured].count("ours") == 1
    assert len(measured.measured) > 1
    assert all(sample.units > 0 for one in measured.measured for sample in one.samples)


@pytest.mark.slow
def test_what_a_print_holds_is_measured() -> None:
    try:
        (held,) = printing.memory([(2, 1)])
    except chromium.NotInstalledError as missing:
        pytest.skip(str(missing))
    assert 0 < held.share < 1
