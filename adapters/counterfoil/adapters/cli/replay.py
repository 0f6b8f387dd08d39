"""`counterfoil audit replay`: the same facts once more, as they were or under other rules."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.adapters.audit.evidence.auditor import Auditor
from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.adapters.replay import Differing, Replayed, WhatIf
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.money import Money

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXAMPLE = """\
--with takes a Python file, or a folder with an __init__.py, that defines one or
more of these functions. Each takes the place of Counterfoil's own:

  tax_of(line, terms, issued_on) -> Tax     the tax that a line carries
  price(item, currency) -> Line             the figures of a line
  total(lines, discount, currency, tax_rounding) -> Totals
  on_net(tax, net) -> int                   the tax on top of a net amount
  within(tax, gross) -> int                 the tax that a gross amount contains
  round_half_away(exact) -> int             how anything is rounded
  due_on(terms, issued_on) -> date | None   when an invoice is due

and PROJECTION or PROJECTIONS, read models by the names of ours. What if the
reduced rate had been 5 % from July 2026?

  # july.py
  from datetime import date
  from counterfoil.domain import Tax

  def tax_of(line, terms, issued_on):
      if line.tax.rate == 7 and issued_on >= date(2026, 7, 1):
          return Tax(rate="5", inclusive=line.tax.inclusive)
      return line.tax

  counterfoil audit replay --database counterfoil.db --with july.py

Every finalized invoice is decided again: its lines are priced, and it is
finalized with its own number, date and seller; then its credit notes, by what
was asked for. Payments stay what they were. The file runs in this process, with
all that you may do: name none that you do not trust."""


class Differ(CounterfoilError):
    """What the facts make is not what is live."""


class Help(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the example, and fills those of the description."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else textwrap.fill(text, width)


def moment(said: str) -> int | datetime:
    """A position, or a time with its zone."""
    if said.isascii() and said.isdigit():
        return int(said)
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{said} is no position, and no time as in 2026-11-20T08:00+01:00"
        ) from None


def add(verbs: Commands, database: Callable[[argparse.ArgumentParser], None]) -> None:
    """Teach the command line to replay; `database` adds what says which database."""
    played = verbs.add_parser(
        "replay",
        help="play the log into a fresh database, or decide it again by other rules",
        description="Play the log, fact by fact, into an empty database, make the hash of each "
        "again, make the read models there, and compare every table with the live one, cell by "
        "cell; exit status 1 if anything differs. The database itself is only read.",
        epilog=EXAMPLE,
        formatter_class=Help,
    )
    database(played)
    played.add_argument(
        "--to",
        type=moment,
        metavar="POSITION|TIME",
        help="only as far as a position, or a time as in 2026-11-20T08:00+01:00: the last fact "
        "before the first that was recorded later. Shows counts and sums; nothing is compared",
    )
    played.add_argument(
        "--into",
        metavar="DATABASE",
        help="keep what is made: an SQLite file that is not there yet, or an empty postgresql://… "
        "after `counterfoil init`. It is a database like any other, for `invoice list` and all "
        "else (default: a file in TMPDIR as large as the original, thrown away)",
    )
    played.add_argument(
        "--with",
        dest="rules",
        type=Path,
        metavar="FILE",
        help="what if these rules had been in force? Show which documents would be others, from "
        "→ to, and the sums by currency. Nothing is stored",
    )
    played.add_argument("--json", action="store_true", help="print JSON, one object a line")
    played.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Replay as it was, or as it would be."""
    with Billing.auditing(existing(arguments.database)) as audit:
        if arguments.rules is None:
            _as_it_was(audit, arguments)
        elif arguments.into is None:
            _as_it_would_be(audit, arguments)
        else:
            raise Malformed("into", "goes without --with: what might have been is not stored")


# --- as it was --------------------------------------------------------------------------------


def _as_it_was(audit: Auditor, arguments: argparse.Namespace) -> None:
    with shown(arguments, "facts or rows") as watch:
        done = audit.replay(to=arguments.to, into=arguments.into, watch=watch)
    if arguments.json:
        print(json.dumps(asdict(done) | {"holds": done.holds}, ensure_ascii=False))
    else:
        _say(done, arguments)
    if not done.holds:
        names = dict.fromkeys(difference.projection for difference in done.differences)
        raise Differ(
            f"{done.count:,} cells or rows differ: "
            f"`counterfoil projections rebuild {' '.join(names)}` makes them anew"
        )


def _say(done: Replayed, arguments: argparse.Namespace) -> None:
    print(
        f"{done.facts:,} facts played in {done.play_s:.1f} s ({_rate(done.facts, done.play_s)}): "
        "every hash and position came out the same."
    )
    print(f"Read models made in {done.rebuild_s:.1f} s ({_rate(done.facts, done.rebuild_s)}).")
    if arguments.to is None:
        _say_compared(done)
    else:
        _say_state(done)
    if arguments.into is not None:
        print(f"Kept, with the ids of {done.claims:,} commands, in {_safe(arguments.into)}.")


def _say_compared(done: Replayed) -> None:
    for difference in done.differences:
        print(difference)
    table = _table("table", "live rows", "replayed", "differing")
    for one in done.compared:
        table.add_row(one.name, *(f"{n:,}" for n in (one.rows, one.replayed, one.differing)))
    Console().print(table)
    if done.holds:
        rows = sum(one.rows for one in done.compared)
        print(f"All {rows:,} rows of {len(done.compared)} tables are what the facts make of them.")


def _say_state(done: Replayed) -> None:
    table = _table("table", "rows")
    for name, rows in done.rows.items():
        table.add_row(name, f"{rows:,}")
    Console().print(table)
    table = _table("currency", "status", "invoices", "total", "paid", "remaining", texts=2)
    for one in done.totals:
        amounts = (one.total, one.amount_paid, one.amount_remaining)
        table.add_row(
            one.currency,
            one.status,
            f"{one.invoices:,}",
            *(f"{Money(amount, one.currency).decimal:,f}" for amount in amounts),
        )
    Console().print(table)


def _safe(address: str) -> str:
    """What may be shown of an address: there may be a password in it."""
    return address if "://" not in address else "the database that --into names"


def _rate(facts: int, seconds: float) -> str:
    return f"{facts / seconds:,.0f}/s" if seconds else "at once"


def _table(*names: str, texts: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < texts else "right", no_wrap=True)
    return table


# --- as it would be ---------------------------------------------------------------------------


def _as_it_would_be(audit: Auditor, arguments: argparse.Namespace) -> None:
    # A bar on the terminal takes in what is printed there; what goes elsewhere must go past it.
    out = None if sys.stdout.isatty() else sys.stdout
    tell = partial(_tell_json if arguments.json else _tell, out)
    with shown(arguments, "facts or rows") as watch:
        done = audit.replay(to=arguments.to, with_=arguments.rules, tell=tell, watch=watch)
    if arguments.json:
        said = {name: value for name, value in asdict(done).items() if name != "documents"}
        print(json.dumps(said, ensure_ascii=False))
    else:
        _say_what_if(done)


def _tell_json(out: TextIO | None, document: Differing) -> None:
    print(json.dumps({"document": asdict(document)}, ensure_ascii=False), file=out)


def _tell(out: TextIO | None, document: Differing) -> None:
    kind = document.kind.replace("_", " ")
    name = document.number or document.id
    print(f"{kind} {name} ({document.id}, tenant {document.tenant})", file=out)
    if document.refused is not None:
        print(f"  would be refused: {document.refused}", file=out)
    if document.kept is not None:
        print(f"  left as it is: {document.kept}", file=out)
    for field in document.fields:
        was, would_be = (
            _written(value, document.currency) for value in (field.was, field.would_be)
        )
        print(f"  {field.name}: {was} → {would_be}", file=out)


def _written(value: int | str | None, currency: str | None) -> str:
    match value:
        case None:
            return "–"
        case int() if currency is not None:
            return str(Money(value, currency))
        case _:
            return str(value)


def _say_what_if(done: WhatIf) -> None:
    print(
        f"With another {', '.join(done.changes)}, documents would be others: {done.count:,}. "
        f"{done.facts:,} facts in {done.seconds:.1f} s ({_rate(done.facts, done.seconds)}); "
        "nothing was stored."
    )
    if not done.sums:
        return
    table = _table("documents", "others", "", "was", "would be", "change", texts=3)
    for sums in done.sums:
        what = f"{sums.documents:,} {sums.kind.replace('_', ' ')}s, {sums.currency}"
        differing = f"{sums.differing:,}"
        for name in ("subtotal", "tax", "total"):
            was, would_be = getattr(sums, name), getattr(sums, f"{name}_would_be")
            amounts = (Money(amount, sums.currency) for amount in (was, would_be, would_be - was))
            table.add_row(what, differing, name, *(f"{one.decimal:,f}" for one in amounts))
            what = differing = ""
    Console().print(table)
