"""`counterfoil projections`: where read models stand, whether they hold, and making them anew."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.follow import Followed
from counterfoil.projections.progress import Progress
from counterfoil.projections.status import Status


class DoNotHold(CounterfoilError):
    """Read models are not what the facts make, or cannot follow them."""


def status(arguments: argparse.Namespace) -> None:
    """Show where every read model stands; it does not hold when one is outdated or stopped."""
    with Billing.upkeep(existing(arguments.database)) as projections:
        found = projections.status()
    if arguments.json:
        print(json.dumps([asdict(one) | {"state": one.state} for one in found]))
    else:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("read model", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("version", "position", "behind", "rows", "size"):
            table.add_column(name, justify="right", no_wrap=True)
        for one in found:
            size = f"{one.size / 1e6:,.1f} MB"
            numbers = (one.position, one.lag, one.rows)
            table.add_row(one.name, one.state, str(one.version), *(f"{n:,}" for n in numbers), size)
        Console().print(table)
        print(f"Kept {_KEPT[found[0].mode]}.")
    _hold_none_stopped(found)
    outdated = " ".join(one.name for one in found if one.state == "outdated")
    if outdated:
        raise DoNotHold(f"outdated: run `counterfoil projections rebuild {outdated}`")


def _hold_none_stopped(found: Sequence[Status]) -> None:
    stopped = [one for one in found if one.state == "stopped"]
    if stopped:
        said = (f"{one.name} at position {one.problem_position}: {one.problem}" for one in stopped)
        raise DoNotHold(f"stopped: {'; '.join(said)}")


_KEPT = {
    "inline": "inline: in the transaction of whoever writes facts",
    "async": "async: by `counterfoil projections run`",
}


def rebuild(arguments: argparse.Namespace) -> None:
    """Make read models anew while everybody goes on reading and writing the old ones."""
    with Billing.upkeep(existing(arguments.database)) as projections, shown(arguments) as watch:
        names = _names(arguments)
        if arguments.dry_run and (arguments.resume or arguments.workers != 1):
            raise Malformed("dry-run", "stores nothing, so it goes without --resume and --workers")
        if arguments.dry_run:
            done = projections.rehearse(*names, watch=watch)
        else:
            done = projections.rebuild(
                *names, workers=arguments.workers, resume=arguments.resume, watch=watch
            )
    if arguments.json:
        print(json.dumps({"dry_run": arguments.dry_run} | asdict(done)))
        return
    rows = ", ".join(f"{count:,} {name}" for name, count in done.rows.items())
    rate = f"{done.facts:,} facts in {done.seconds:.1f} s ({done.facts / done.seconds:,.0f}/s)"
    if arguments.dry_run:
        print(f"Would rebuild {', '.join(done.names)} from {rate}: {rows}. Nothing was changed.")
    else:
        print(f"Rebuilt {', '.join(done.names)} from {rate}: {rows}.")
        print(f"Writers waited {done.pause_s * 1e3:.1f} ms while the new tables took their place.")


def verify(arguments: argparse.Namespace) -> None:
    """Compare every row with what the facts make of it."""
    with Billing.upkeep(existing(arguments.database)) as projections, shown(arguments) as watch:
        found = projections.verify(
            *_names(arguments),
            watch=lambda done, total: watch(Progress("verify", done, total)),
        )
    if arguments.json:
        print(json.dumps(asdict(found) | {"holds": found.holds}, ensure_ascii=False))
    elif found.holds:
        print(f"{found.rows:,} rows of {', '.join(found.names)} are what the facts make of them.")
    else:
        for difference in found.differences:
            print(difference)
    if not found.holds:
        names = dict.fromkeys(difference.projection for difference in found.differences)
        raise DoNotHold(
            f"{found.count:,} cells or rows differ: "
            f"`counterfoil projections rebuild {' '.join(names)}` makes them anew"
        )


def run(arguments: argparse.Namespace) -> None:
    """Follow the log until interrupted, or once to its present end."""
    ended = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    taken = 0

    def watch(step: Followed) -> None:
        nonlocal taken
        taken += step.facts
        if step.facts and not arguments.json:
            print(f"position {step.position:,} (+{step.facts:,})", file=sys.stderr)

    with Billing.upkeep(existing(arguments.database)) as projections:
        projections.check()
        if projections.status()[0].mode == "inline":
            print(
                "Read models are kept inline: there is nothing to follow. Billing.open(…, "
                'projections="async") has them follow the log.',
                file=sys.stderr,
            )
        else:
            projections.run(until=None if arguments.once else ended, watch=watch)
        found = projections.status()
    if arguments.json:
        print(json.dumps({"facts": taken}))
    _hold_none_stopped(found)


def _names(arguments: argparse.Namespace) -> list[str]:
    names: list[str] = arguments.names
    for name in names:
        if name not in PROJECTIONS:
            raise Malformed("NAME", f"there is no {name}, but {', '.join(PROJECTIONS)}")
    return names
