"""What do the figures look like: a table for people, JSON for machines, and on which machine?"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.harness import Measured, Pair, Result

LIBRARIES = ("pydantic", "pydantic-core", "eventsourcing")

LEGEND = (
    "Medians of the rounds; a spread is the interquartile range over the median before it. "
    "Ours is compared with each other contender round by round: "
    "2.00× is twice as fast, 0.50 of limit is half its speed. "
    "Computation is in CPU time, whatever waits for a disk in real time."
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures depend on besides the code."""

    python: str
    system: str
    cores: int
    load: float
    libraries: Mapping[str, str]


def machine() -> Machine:
    """This machine, as busy as it is now."""
    return Machine(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        cores=cores(),
        load=round(os.getloadavg()[0], 2),
        libraries={**{name: version(name) for name in LIBRARIES}, "sqlite": sqlite3.sqlite_version},
    )


def cores() -> int:
    """The cores that this process may use, which in a container are often not all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def print_machine(console: Console, on: Machine, rounds: int) -> None:
    """Say on what is measured."""
    console.print(
        f"{on.python} on {on.system}, {on.cores} cores, load {on.load} at the start",
        ", ".join(f"{name} {number}" for name, number in on.libraries.items()),
        f"{rounds} rounds after one to warm up, contenders in turn",
        sep="\n",
        style="dim",
    )


def print_result(console: Console, result: Result) -> None:
    """Show one pair: its job, a row for each contender, and what to know about them."""
    pair = result.pair
    console.print()
    console.print(Text.assemble((pair.name, "bold"), ": ", pair.job))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    # In all 79 columns, the same for every pair, so that the tables stand under each other.
    table.add_column("", width=5, no_wrap=True)
    table.add_column("", width=19)
    table.add_column(f"per {pair.unit}", width=9, justify="right")
    table.add_column("a second", width=9, justify="right", no_wrap=True)
    table.add_column("spread", width=6, justify="right", no_wrap=True)
    table.add_column("ours is", width=13, no_wrap=True)
    table.add_column("spread", width=6, justify="right", no_wrap=True)
    for measured in result.measured:
        cost = measured.cost
        table.add_row(
            measured.role,
            measured.name,
            duration(cost.median),
            rate(1 / cost.median),
            f"{cost.spread:.0%}",
            *beside(result, measured),
            style="bold" if measured.role == "ours" else "",
        )
    console.print(table)
    console.print(Text(pair.note, style="dim"))


def print_legend(console: Console) -> None:
    """Say how the table is read."""
    console.print()
    console.print(LEGEND, style="dim")


def print_list(console: Console, pairs: Sequence[Pair]) -> None:
    """Name every pair and its job."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for pair in pairs:
        table.add_row(pair.name, pair.job)
    console.print(table)


def beside(result: Result, other: Measured) -> tuple[str, str]:
    """How fast ours is beside another, in words that say which way to read it, and the spread."""
    if other.role == "ours":
        return "", ""
    ratio = result.speed_beside(other)
    number = f"{ratio.median:.2f}" if ratio.median < 10 else f"{ratio.median:,.0f}"
    words = f"{number}× as fast" if other.role == "peer" else f"{number} of limit"
    return words, f"{ratio.spread:.0%}"


def duration(seconds: float) -> str:
    """A time to three figures, in the unit that suits it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * size:  # what rounds to 1.00 of this unit, not to 1000 of the next
            return f"{three_figures(seconds / size)} {unit}"
    return f"{three_figures(seconds / 1e-9)} ns"


def rate(per_second: float) -> str:
    """How many a second; beyond ten, fractions say nothing."""
    return f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2f}"


def three_figures(value: float) -> str:
    """1.00, 12.5, 142."""
    return f"{value:#.3g}".rstrip(".")


def as_json(on: Machine, rounds: int, results: Sequence[Result]) -> dict[str, object]:
    """All figures, and the samples that they come from. Times are seconds, spreads are shares."""
    return {
        "machine": asdict(on),
        "rounds": rounds,
        "pairs": [
            {
                "name": result.pair.name,
                "job": result.pair.job,
                "unit": result.pair.unit,
                "note": result.pair.note,
                "contenders": [_contender(result, measured) for measured in result.measured],
            }
            for result in results
        ],
    }


def _contender(result: Result, measured: Measured) -> dict[str, object]:
    cost = measured.cost
    ratio = None if measured.role == "ours" else result.speed_beside(measured)
    return {
        "name": measured.name,
        "role": measured.role,
        "seconds_per_unit": cost.median,
        "spread": cost.spread,
        "ours_speed_ratio": ratio and ratio.median,
        "ours_speed_ratio_spread": ratio and ratio.spread,
        "samples": [{"units": one.units, "seconds": one.seconds} for one in measured.samples],
    }
