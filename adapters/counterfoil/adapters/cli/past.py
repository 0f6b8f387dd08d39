"""`counterfoil audit history`, `as-of`, `diff` and `explain`: what was, when and why."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from counterfoil.adapters.cli import activity
from counterfoil.adapters.cli.filters import moment_said
from counterfoil.adapters.cli.invoice import print_invoice
from counterfoil.adapters.cli.showing import console, opened, print_json, table
from counterfoil.billing import Tenant
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.money import Money
from counterfoil.projections.explain import AMOUNTS
from counterfoil.projections.timeline import Entry

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class DoesNotAgree(CounterfoilError):
    """A stored amount is not what the facts and the rules make."""


def add(verbs: Commands, place: Callable[[argparse.ArgumentParser], None]) -> None:
    """Teach the command line these verbs; `place` adds what says which database and tenant."""
    for parser, run in (
        (_history(verbs), history),
        (_as_of(verbs), as_of),
        (_diff(verbs), diff),
        (_explain(verbs), explain),
        (activity.add(verbs), activity.run),
    ):
        place(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


# --- history ----------------------------------------------------------------------------------


def _history(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "history",
        help="who did what to a document, when and why",
        description="Show the story of an invoice, a credit note or a number series: every fact in "
        "words, who did it, by which command, and what changed from what to what. A fact that "
        "cannot be read is shown as such, with its position; it hides no other.",
    )
    parser.add_argument(
        "document", metavar="ID-OR-NUMBER", help="in_…, cn_…, series:… or an invoice's number"
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="1 to 100 (default: 20)")
    for option, what in (("after", "newer"), ("before", "older")):
        text = f"the page of {what} facts right beside this version"
        parser.add_argument(f"--{option}", type=int, metavar="VERSION", help=text)
    parser.add_argument("--oldest-first", action="store_true", help="tell it from the beginning")
    return parser


def history(arguments: argparse.Namespace) -> None:
    """Show a page of the story of a document."""
    with opened(arguments) as tenant:
        name = _named(tenant, arguments.document)
        page = tenant.history(
            name,
            limit=arguments.limit,
            after=arguments.after,
            before=arguments.before,
            newest_first=not arguments.oldest_first,
        )
    if arguments.json:
        shown = [entry.model_dump(mode="json") for entry in page]
        print_json({"object": "list", "data": shown, "has_more": page.has_more})
        return
    screen = console()
    screen.print(f"[bold]{escape(name)}[/bold]", highlight=False)
    for entry in page:
        _print_entry(screen, entry)
    versions = [entry.version for entry in page]
    if page.has_more and versions:
        newer = arguments.after is not None or (arguments.oldest_first and not arguments.before)
        more = f"--after {max(versions)}" if newer else f"--before {min(versions)}"
        print(f"for more: {more}")


def _print_entry(screen: Console, entry: Entry) -> None:
    when = "at no known time" if entry.recorded_at is None else _time(entry.recorded_at)
    screen.print()
    screen.print(
        Text.assemble(
            (f"{entry.version:>4}  ", "bold"), (when, "cyan"), f"  {entry.actor or 'nobody known'}"
        )
    )
    _indented(screen, entry.says, "red" if entry.problem else "")
    if entry.problem and entry.problem not in entry.says:
        _indented(screen, entry.problem, "red")
    for change in entry.changes:
        _indented(screen, f"· {change}", "")
    origin = [f"position {entry.position}", entry.type]
    origin += [f"command {entry.command_id}"] if entry.command_id else []
    origin += [f"cause {entry.cause}"] if entry.cause else []
    origin += [f"trace {entry.correlation}"] if entry.correlation else []
    _indented(screen, " · ".join(origin), "dim")


def _indented(screen: Console, text: str, style: str) -> None:
    screen.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, 6)))


# --- as of, and what changed since ------------------------------------------------------------


def _as_of(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "as-of",
        help="an invoice, or all of them, as they were",
        description="Show an invoice as its facts made it up to a time or a version; without an "
        "invoice, all that a tenant had at a time.",
    )
    parser.add_argument("invoice", nargs="?", metavar="ID-OR-NUMBER", help="in_… or a number")
    parser.add_argument(
        "--at", metavar="TIME", help="what was recorded by then, as in 2026-11-20T08:00+01:00"
    )
    parser.add_argument("--version", type=int, metavar="N", help="as this version left it")
    parser.add_argument("--status", help="of all invoices, only those that were so, as in open")
    parser.add_argument("--customer", help="of all invoices, only those of this customer")
    return parser


def as_of(arguments: argparse.Namespace) -> None:
    """Show what there was at a time."""
    at = moment_said("at", arguments.at)
    with opened(arguments) as tenant:
        if arguments.invoice is None:
            _all_as_of(tenant, at, arguments)
            return
        if arguments.status or arguments.customer:
            raise Malformed("status", "and customer are for all invoices; leave out the invoice")
        name = _named(tenant, arguments.invoice)
        invoice = tenant.invoice_as_of(name, at=at, version=arguments.version)
    if arguments.json:
        print(invoice.model_dump_json())
        return
    print_invoice(invoice)
    print(f"as version {invoice.version} left it")


def _all_as_of(tenant: Tenant, at: datetime | None, arguments: argparse.Namespace) -> None:
    if at is None or arguments.version is not None:
        raise Malformed("at", "is needed to show all invoices as they were, and no version")
    found = tenant.invoices_as_of(at, status=arguments.status, customer=arguments.customer)
    count = 0
    for invoice in found:
        count += 1
        if arguments.json:
            print(invoice.model_dump_json())
            continue
        left = f"{invoice.money('amount_remaining')} of {invoice.money('total')} left"
        print(f"{invoice.number or '–':<16} {invoice.status:<13} {left}  {invoice.id}")
    if not arguments.json:
        print(f"{count:,} {'invoice' if count == 1 else 'invoices'} as of {_time(at)}")


def _diff(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "diff",
        help="what is other in an invoice between two versions",
        description="Show field by field what is other in an invoice between two of its versions.",
    )
    parser.add_argument("invoice", metavar="ID-OR-NUMBER", help="in_… or a number")
    parser.add_argument("from_version", type=int, metavar="FROM", help="a version, as in 2")
    parser.add_argument("to_version", type=int, metavar="TO", help="another, as in 5")
    return parser


def diff(arguments: argparse.Namespace) -> None:
    """Show what is other between two versions."""
    with opened(arguments) as tenant:
        name = _named(tenant, arguments.invoice)
        found = tenant.diff(name, arguments.from_version, arguments.to_version)
    if arguments.json:
        print_json([change.model_dump() for change in found])
        return
    shown = table("field", "from", "to")
    for change in found:
        shown.add_row(*map(escape, (change.field, change.was or "–", change.now or "–")))
    console().print(shown)
    between = f"{arguments.from_version} and {arguments.to_version}"
    print(f"{len(found)} differ between versions {between}")


# --- why --------------------------------------------------------------------------------------


def _explain(verbs: Commands) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        "explain",
        help="which facts and rules make an amount",
        description="Work an amount of an invoice out anew, from its lines, and show each step "
        "with its rule and its facts. Exit status 1 if it does not come to what is stored. The "
        "amounts: " + ", ".join(AMOUNTS) + ".",
    )
    parser.add_argument("invoice", metavar="ID-OR-NUMBER", help="in_… or a number")
    parser.add_argument("amount", metavar="AMOUNT", help="one of those above, as in tax")
    return parser


def explain(arguments: argparse.Namespace) -> None:
    """Show why an amount is what it is."""
    with opened(arguments) as tenant:
        why = tenant.explain(_named(tenant, arguments.invoice), arguments.amount)
    stored, again = (str(Money(minor, why.currency)) for minor in (why.stored, why.recomputed))
    if arguments.json:
        print(why.model_dump_json())
    else:
        screen = console()
        shown = table("step", "rule", "versions")
        for step in why.steps:
            shown.add_row(escape(step.says), step.rule, ", ".join(map(str, step.versions)))
        screen.print(shown)
        for rule in why.rules:
            screen.print(Text(f"{rule.name}: {rule.says}", style="dim"))
        for fact in why.facts:
            screen.print(Text(f"version {fact.version}, position {fact.position}: {fact.says}"))
        if why.agrees:
            print(f"{arguments.amount} is {stored}: worked out anew, it comes to the same.")
    if not why.agrees:
        raise DoesNotAgree(f"{arguments.amount} is stored as {stored}, but comes to {again}")


# --- what they share --------------------------------------------------------------------------


def _named(tenant: Tenant, said: str) -> str:
    """The id of a document that is called by its id or its number."""
    if said.startswith(("in_", "cn_", "series:")):
        return said
    return tenant.invoices.by_number(said).id


def _time(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="seconds")
