"""How far something long has come: a bar on a terminal, plain lines elsewhere, or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from counterfoil.projections.progress import Progress, Watch

# Between two plain lines of progress.
QUIET_S = 5.0


@contextmanager
def shown(arguments: argparse.Namespace, what: str = "facts") -> Iterator[Watch]:
    """Progress as a bar on a terminal, plain lines elsewhere, JSON where that is asked for."""
    if arguments.json:
        yield _spaced(lambda progress, _: print(json.dumps(asdict(progress)), flush=True))
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _spaced(lambda progress, rate: _say(progress, rate, what))


def _say(progress: Progress, rate: float, what: str) -> None:
    speed = f" ({rate:,.0f}/s)" if rate else ""
    print(
        f"{progress.phase}: {progress.done:,} of {progress.total:,} {what}{speed}",
        file=sys.stderr,
        flush=True,
    )


def _spaced(say: Callable[[Progress, float], None]) -> Watch:
    """Say something when a phase begins, and every few seconds."""
    phase, began, first, said = "", 0.0, 0, 0.0

    def watch(progress: Progress) -> None:
        nonlocal phase, began, first, said
        now = monotonic()
        if progress.phase != phase:
            phase, began, first, said = progress.phase, now, progress.done, 0.0
        if now - said >= QUIET_S:
            said = now
            say(progress, (progress.done - first) / (now - began) if now > began else 0)

    return watch


class _Rate(TextColumn):
    """How many facts a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def _bar() -> Iterator[Watch]:
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(""),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks = {}

        def watch(progress: Progress) -> None:
            if progress.phase not in tasks:
                tasks[progress.phase] = bar.add_task(progress.phase, total=progress.total)
            task = tasks[progress.phase]
            bar.update(task, completed=progress.done, total=progress.total)

        yield watch
