"""`counterfoil audit activity`: how much happened, drawn in the terminal, and as SVG on request."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from counterfoil.adapters.cli.chart import svg
from counterfoil.adapters.cli.filters import moment_said
from counterfoil.adapters.cli.showing import console, opened, print_json, table
from counterfoil.domain.errors import Malformed, Unavailable
from counterfoil.domain.money import Money
from counterfoil.projections.activity import BUCKETS, Bucket, Sums

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

MEASURES = ("facts", *Sums.model_fields)


def add(verbs: Commands) -> argparse.ArgumentParser:
    """Teach the command line this verb."""
    parser = verbs.add_parser(
        "activity",
        help="how much happened by day, week or month, as a chart",
        description="Count facts, and add up what was invoiced, voided, received, refunded and "
        "credited, by day, ISO week or month. From --since on and before --until; what is left out "
        "is the first fact, and now.",
    )
    parser.add_argument("--bucket", default="day", metavar="BUCKET", help=f"{', '.join(BUCKETS)}")
    for option, what in (("since", "from"), ("until", "before")):
        text = f"{what} this day or moment, as in 2026-11-01 or 2026-11-01T08:00+01:00"
        parser.add_argument(f"--{option}", metavar="WHEN", help=text)
    parser.add_argument(
        "--type", action="append", metavar="TYPE", help="only such facts, as in invoice.finalized"
    )
    parser.add_argument("--actor", help="only what they did, as in user or user:u_42")
    parser.add_argument("--currency", help="only documents in this currency, as in EUR")
    parser.add_argument(
        "--timezone",
        default=os.environ.get("COUNTERFOIL_TIMEZONE", "UTC"),
        metavar="ZONE",
        help="whose days, as in Europe/Berlin (default: COUNTERFOIL_TIMEZONE, or UTC)",
    )
    parser.add_argument(
        "--draw", default="facts", metavar="WHAT", help=f"{', '.join(MEASURES)} (default: facts)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart as SVG, too")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Draw how much happened."""
    if arguments.draw not in MEASURES:
        raise Malformed("draw", f"must be one of {', '.join(MEASURES)}")
    with opened(arguments) as tenant:
        buckets = tenant.activity(
            bucket=arguments.bucket,
            since=_when("since", arguments.since),
            until=_when("until", arguments.until),
            type=arguments.type or (),
            actor=arguments.actor,
            currency=arguments.currency,
            timezone=arguments.timezone,
        )
    currencies = sorted({code for bucket in buckets for code in bucket.sums})
    if arguments.draw != "facts" and len(currencies) > 1:
        named = ", ".join(currencies)
        raise Malformed("currency", f"two currencies never add: say which of {named} to draw")
    currency = currencies[0] if currencies and arguments.draw != "facts" else None
    bars = [(bucket.name, _measured(bucket, arguments.draw, currency)) for bucket in buckets]
    if arguments.svg is not None:
        title = f"{arguments.draw} by {arguments.bucket}, {arguments.tenant}, {arguments.timezone}"
        _write(arguments.svg, svg(title, bars, lambda size: _label(size, currency)))
    if arguments.json:
        print_json([bucket.model_dump(mode="json") for bucket in buckets])
        return
    _draw(bars, currency)
    _print_sums(buckets)


def _measured(bucket: Bucket, measure: str, currency: str | None) -> int:
    if measure == "facts":
        return bucket.facts
    found: int = getattr(bucket.sums.get(currency or "", Sums()), measure)
    return found


def _label(size: int, currency: str | None) -> str:
    return f"{size:,}" if currency is None else str(Money(size, currency))


def _draw(bars: Sequence[tuple[str, int]], currency: str | None) -> None:
    screen = console()
    labels = [_label(size, currency) for _, size in bars]
    names = max((len(name) for name, _ in bars), default=0)
    room = max(screen.width - names - max(map(len, labels), default=0) - 4, 10)
    most = max((abs(size) for _, size in bars), default=0) or 1
    for (name, size), label in zip(bars, labels, strict=True):
        bar = _bar(abs(size) * room * 8 // most) or ("▏" if size else "")
        style = "red" if size < 0 else "cyan"
        screen.print(Text.assemble(f"{name:<{names}}  ", (bar, style), f" {label}"))


def _bar(eighths: int) -> str:
    whole, part = divmod(eighths, 8)
    return "█" * whole + ("▏▎▍▌▋▊▉"[part - 1] if part else "")


def _print_sums(buckets: Sequence[Bucket]) -> None:
    names = tuple(Sums.model_fields)
    sums: dict[str, dict[str, int]] = {}
    for bucket in buckets:
        for code, found in bucket.sums.items():
            so_far = sums.setdefault(code, dict.fromkeys(names, 0))
            sums[code] = {name: so_far[name] + getattr(found, name) for name in names}
    if sums:
        shown = table("in all", *names)
        for column in shown.columns[1:]:
            column.justify = "right"
        for code, whole in sorted(sums.items()):
            amounts = [str(Money(whole[name], code)).removesuffix(f" {code}") for name in names]
            shown.add_row(code, *amounts)
        console().print(shown)
    facts, last = sum(bucket.facts for bucket in buckets), len(buckets)
    print(f"{facts:,} facts in {last:,} {'bucket' if last == 1 else 'buckets'}")


def _when(field: str, said: str | None) -> datetime | date | None:
    try:
        return None if said is None else date.fromisoformat(said)
    except ValueError:
        return moment_said(field, said)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from None
