"""`counterfoil audit`: is the log what was written?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from counterfoil.adapters.audit import Audit, Checkpoint, Report
from counterfoil.adapters.cli.opening import existing
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError


class DoesNotHold(CounterfoilError):
    """What was to be proved is not so."""


def verify(arguments: argparse.Namespace) -> None:
    """Read the whole log, and say whether it holds."""
    with Billing.auditing(existing(arguments.database)) as audit:
        checkpoint = Checkpoint.load(arguments.checkpoint) if arguments.checkpoint else None
        report = _verified(audit, checkpoint)
    if arguments.json:
        print(json.dumps(asdict(report) | {"holds": report.holds}, ensure_ascii=False))
    elif report.holds:
        print(f"{report.facts} facts hold. Root: {report.root}")
    if report.first is not None:
        place = report.first
        where = f"tenant {place.tenant}, stream {place.stream}, version {place.version}"
        raise DoesNotHold(
            f"position {place.position}"
            + (f" ({where})" if place.stream else "")
            + f": {place.problem}; {report.bad} bad in all"
        )


def checkpoint(arguments: argparse.Namespace) -> None:
    """Write the root over all facts to a file."""
    with Billing.auditing(existing(arguments.database)) as audit:
        made = audit.checkpoint()
    made.save(arguments.out)
    if arguments.json:
        print(json.dumps(made.as_json()))
    else:
        print(f"{made.size} facts, root {made.root}, kept in {arguments.out}")


def _verified(audit: Audit, checkpoint: Checkpoint | None) -> Report:
    if not sys.stderr.isatty():
        return audit.verify(checkpoint)
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("verify", total=audit.size())
        return audit.verify(checkpoint, lambda done: bar.update(task, completed=done))
