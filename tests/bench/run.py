"""Which benchmark is run, how often, and where do its figures go? `make bench` comes here."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

# Python looks for modules beside the program; these names start one folder higher.
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import (
    asking,
    commanding,
    deciding,
    folding,
    following,
    kept,
    postgres_saving,
    printing,
    rebuilding,
    report,
    saving,
    verifying,
)
from bench.chromium import NotInstalledError
from bench.harness import Pair, Result, measure

PAIRS: tuple[Pair, ...] = (
    *folding.PAIRS,
    *deciding.PAIRS,
    *saving.PAIRS,
    *postgres_saving.PAIRS,
    *commanding.PAIRS,
    *rebuilding.PAIRS,
    *following.PAIRS,
    *asking.PAIRS,
    *verifying.PAIRS,
    *printing.PAIRS,
)

ROUNDS = 15
# Pairs of which one round takes seconds.
ROUNDS_LONG = 5
LONG = tuple(
    pair.name
    for pair in (*rebuilding.PAIRS, *following.PAIRS, *verifying.PAIRS_LONG, *printing.PAIRS_LONG)
)

EPILOG = """\
from make:  make bench ARGS="--only fold --rounds 30"

the JSON:
  machine    python, system, cores, load, libraries
  rounds     how many counted
  pairs      name, job, unit, note, contenders
    contenders   name, role (ours, peer, limit), seconds_per_unit (median),
                 spread (interquartile range / median), samples (units, seconds),
                 ours_speed_ratio (2.0: ours is twice as fast; null for ours)
                 and ours_speed_ratio_spread
  memory     lines, prints, and the most bytes that were held: ours, chromium

A figure is worth little alone: compare ratios, and runs on the same machine.
"""


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; 0 when it ran, 2 when it cannot be."""
    asked = parse(arguments)
    out = Console(highlight=False)
    if asked.list:
        report.print_list(out, PAIRS)
        out.print(f"[bold]{printing.MEMORY}[/]  {printing.MEMORY_JOB}")
        return 0
    chosen = [pair for pair in PAIRS if not asked.only or pair.name in asked.only]
    tables = asked.json != "-"
    machine, rounds = report.machine(), asked.rounds or ROUNDS
    if tables:
        report.print_machine(out, machine, rounds)
    results: list[Result] = []
    held: Sequence[printing.Held] = ()
    try:
        for pair in chosen:
            with skipped(pair.name):
                result = watched(pair, asked.rounds or rounds_of(pair))
                results.append(result)
                if tables:
                    report.print_result(out, result)
    finally:
        kept.close()
    if not asked.only or printing.MEMORY in asked.only:
        with skipped(printing.MEMORY):
            held = printing.memory()
            if tables:
                printing.print_memory(out, held)
    if tables:
        report.print_legend(out)
    if asked.json is not None:
        told = {
            **report.as_json(machine, rounds, results),
            "memory": [dataclasses.asdict(one) for one in held],
        }
        write(asked.json, json.dumps(told, indent=2))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments, or say what is wrong with them and exit 2."""
    parser = argparse.ArgumentParser(
        prog="make bench",
        usage='%(prog)s ARGS="[--only NAME]... [--rounds N] [--json [FILE]] [--list]"',
        description="Measure ours beside its peers and limits, in turn, and show the ratios.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="name every pair and its job, and end")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="run this pair; may be said again"
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help=f"rounds that count (default: {ROUNDS}; {ROUNDS_LONG} for {', '.join(LONG)})",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write all figures as JSON: beside the table, or instead of it when FILE is left out",
    )
    asked = parser.parse_args(arguments)
    known = [*(pair.name for pair in PAIRS), printing.MEMORY]
    for name in asked.only or ():
        if name not in known:
            parser.error(f"no such pair: {name}; there are {', '.join(known)}")
    # Minutes of measuring are not to be lost to a misspelt folder.
    if asked.json not in {None, "-"} and not Path(asked.json).parent.is_dir():
        parser.error(f"no such folder: {Path(asked.json).parent}")
    return asked


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def rounds_of(pair: Pair) -> int:
    """How many rounds a pair has when nobody says."""
    return ROUNDS_LONG if pair.name in LONG else ROUNDS


@contextmanager
def skipped(name: str) -> Iterator[None]:
    """Go on without what has no peer on this machine."""
    try:
        yield
    except NotInstalledError as missing:
        print(f"bench: {name} is skipped: {missing}", file=sys.stderr)


def watched(pair: Pair, rounds: int) -> Result:
    """Measure, with a bar on stderr where somebody looks at it."""
    with bar(pair.name, rounds + 1) as advance:
        return measure(pair, rounds, after_round=advance)


@contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that is drawn between samples only: a thread that draws would disturb them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    err = Console(stderr=True)
    with Progress(
        *columns, console=err, transient=True, auto_refresh=False, disable=not err.is_terminal
    ) as progress:
        task = progress.add_task(name, total=total)
        progress.refresh()
        yield lambda: progress.update(task, advance=1, refresh=True)


def write(where: str, text: str) -> None:
    """To a file, or to stdout for `-`."""
    if where == "-":
        print(text)
    else:
        Path(where).write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
