"""`counterfoil payments`: what was paid, what became of payments without an answer, and collecting
what is due.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.adapters.tenant.collecting import Collected
from counterfoil.adapters.tenant.settling import Settled
from counterfoil.billing import ActionRequired, Billing, Declined, Paid, Schedule
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.invoice.collecting import Collect, GiveUp, Nothing, Settle, Wait
from counterfoil.domain.money import Money
from counterfoil.projections.progress import Progress

# From here on a table has room for ids.
WIDE = 170


class SomeNotAsked(CounterfoilError):
    """The processor could not be asked about all payments."""


def list_(arguments: argparse.Namespace) -> None:
    """Show a page of payments, newest first."""
    with Billing.open(existing(arguments.database)) as billing:
        page = billing.tenant(arguments.tenant).payments.list(
            invoice=arguments.invoice,
            customer=arguments.customer,
            status=arguments.status,
            reference=arguments.reference,
            limit=arguments.limit,
            starting_after=arguments.starting_after,
            ending_before=arguments.ending_before,
        )
    if arguments.json:
        data = [payment.model_dump(mode="json") for payment in page]
        said = {"object": "list", "data": data, "has_more": page.has_more}
        print(json.dumps(said, ensure_ascii=False))
        return
    console = _console()
    is_wide = console.width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("began", "status", "amount", "refunded"):
        right = name in {"amount", "refunded"}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("reference or reason", overflow="fold")
    for name in ("by", "invoice", "id") if is_wide else ():
        table.add_column(name, no_wrap=True)
    for payment in page:
        refunded = Money(payment.amount_refunded, payment.currency)
        table.add_row(
            f"{payment.created:%Y-%m-%d %H:%M}",
            payment.status,
            str(Money(payment.amount, payment.currency)),
            str(refunded) if payment.amount_refunded else "",
            payment.failure_code or payment.reference or payment.intent or "–",
            *((payment.processor or "–", payment.invoice, payment.id) if is_wide else ()),
        )
    console.print(table)
    more = f"; for more: --starting-after {page.data[-1].id}" if page.has_more else ""
    print(f"{_many(len(page), 'payment')}{more}")


def settle(arguments: argparse.Namespace) -> None:
    """Ask what became of payments and refunds whose answer never came."""
    if not 0 <= arguments.waiting < 10**9:
        raise Malformed("--waiting", "must be a number of seconds")
    done: list[Settled] = []
    with _billing(arguments) as billing, shown(arguments, "payments") as watch:
        for settled in billing.tenant(arguments.tenant).settle_payments(
            waiting_s=arguments.waiting
        ):
            done.append(settled)
            watch(Progress("settle", len(done), len(done)))
    if arguments.json:
        said = [
            {"invoice": one.invoice, "id": one.id, "status": one.status, "error": _text(one.error)}
            for one in done
        ]
        print(json.dumps({"settled": said}, ensure_ascii=False))
    else:
        for one in done:
            print(f"{one.id} of {one.invoice}: {one.error or one.status}")
        print(_counted(Counter(one.status or "not asked" for one in done)))
    _hold_all_asked([one.error for one in done if one.error is not None], len(done))


def collect(arguments: argparse.Namespace) -> None:
    """Charge what is due, and what was refused before, as the schedule says."""
    now, schedule = _moment(arguments.now), _schedule(arguments.retry_days)
    done: list[Collected] = []
    with _billing(arguments) as billing, shown(arguments, "invoices") as watch:
        acme = billing.tenant(arguments.tenant)
        total = acme.invoices.count(status="open")
        watch(Progress("collect", 0, total))
        for collected in acme.collect_payments(
            now=now,
            schedule=schedule,
            give_up=arguments.give_up,
            dry_run=arguments.dry_run,
        ):
            done.append(collected)
            watch(Progress("collect", len(done), max(total, len(done))))
    if arguments.json:
        said = [
            {
                "invoice": one.invoice.id,
                "number": one.invoice.number,
                "result": _result(one),
                "detail": _why(one).lstrip(",: ") or None,
                "error": _text(one.error),
            }
            for one in done
        ]
        print(json.dumps({"dry_run": arguments.dry_run, "invoices": said}, ensure_ascii=False))
    else:
        _show(done)
        print(_counted(Counter(_result(one) for one in done)))
        if arguments.dry_run:
            print("Nobody was charged.")
    _hold_all_asked([one.error for one in done if one.error is not None], len(done))


def _show(done: Sequence[Collected]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("number", "customer", "remaining", "result"):
        table.add_column(
            name,
            justify="right" if name == "remaining" else "left",
            no_wrap=name in {"number", "remaining"},
        )
    for one in done:
        table.add_row(
            one.invoice.number,
            one.invoice.customer.name,
            str(one.invoice.money("amount_remaining")),
            f"{_result(one)}{_why(one)}",
        )
    if done:
        _console().print(table)


def _result(one: Collected) -> str:
    match one.outcome, one.step:
        case _ if one.error is not None:
            return "failed"
        case Paid(), _:
            return "paid"
        case Declined(), _:
            return "declined"
        case (ActionRequired(), _) | (_, Settle(by_payer=True)):
            return "waits for the payer"
        case (_, Settle()):
            return "in progress"
        case _, Collect():
            return "to be charged"
        case _, Wait():
            return "too early"
        case _, GiveUp():
            return "given up" if one.invoice.status == "uncollectible" else "tried in vain"
        case _, Nothing(why="no_payment_method" | "no_other_payment_method"):
            return "cannot be charged"
        case _:
            return "nothing to do"


_REASONS = {
    "no_payment_method": "the processor knows no payment method of the customer",
    "no_other_payment_method": "its payment method was refused for good",
    "nothing_remaining": "nothing remains",
    "changed_meanwhile": "it has just changed",
}


def _why(one: Collected) -> str:
    match one.outcome, one.step:
        case _ if one.error is not None:
            return f": {one.error}"
        case Declined(error=error), _:
            return f": {error.code}"
        case None, Wait(until=until):
            return f", until {until:%Y-%m-%d %H:%M}"
        case None, Collect(attempt=attempt):
            return f", attempt {attempt}"
        case None, GiveUp(attempts=attempts):
            return f", {_many(attempts, 'attempt')}"
        case None, Nothing(why=why):
            return f": {_REASONS.get(why, why)}"
        case _:
            return ""


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _counted(results: Counter[str]) -> str:
    return ", ".join(f"{count:,} {result}" for result, count in results.items()) or "Nothing to do."


def _hold_all_asked(errors: Sequence[CounterfoilError], total: int) -> None:
    if errors:
        raise SomeNotAsked(f"{len(errors):,} of {total:,} could not be asked; run it again later")


def _billing(arguments: argparse.Namespace) -> Billing:
    if arguments.processor == "fake":
        raise Malformed("--processor", "needs the file of the fake's books: fake:FILE")
    return Billing.open(
        existing(arguments.database),
        processor=arguments.processor,
        timezone=os.environ.get("COUNTERFOIL_TIMEZONE", "UTC"),
    )


def _moment(said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Malformed("--now", "must be a time with a time zone, as in 2026-11-20T08:00+01:00")
    return at


def _schedule(said: str | None) -> Schedule:
    if said is None:
        return Schedule()
    days = said.split(",") if said else []
    if not all(day.isascii() and day.isdigit() and len(day) <= 3 for day in days):
        raise Malformed("--retry-days", "must be days between attempts, as in 1,3,5,7")
    try:
        return Schedule(retry_after_days=tuple(map(int, days)))
    except Malformed as error:
        raise Malformed("--retry-days", error.problem) from None


def _text(error: CounterfoilError | None) -> str | None:
    return None if error is None else str(error)


def _console() -> Console:
    # Whoever reads what is piped on has all the width there is.
    return Console(width=None if sys.stdout.isatty() else 1_000)
