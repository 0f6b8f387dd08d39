"""Which invoices a command is about, as its options say it."""

from __future__ import annotations

import argparse
from datetime import date, datetime

from counterfoil.billing import Range
from counterfoil.domain.errors import Malformed
from counterfoil.projections.filters import Filters

_FILTERS = {
    "customer": "of this customer",
    "status": "draft, open, paid, uncollectible or void",
    "subscription": "of this subscription",
    "currency": "in this currency, as in EUR",
    "number-prefix": "whose number begins so, as in INV-2026",
    "created-from": "begun at this moment or later, as in 2026-11-20T08:00+01:00",
    "created-before": "begun before this moment",
    "due-from": "due on this day or later, as in 2026-12-20",
    "due-before": "due before this day",
}


def add_filters(parser: argparse._ActionsContainer) -> None:
    """Let a command be told which invoices are meant."""
    for option, what in _FILTERS.items():
        metavar = option.rpartition("-")[2].upper()
        parser.add_argument(f"--{option}", metavar=metavar, help=f"only those {what}")
    parser.add_argument("--overdue", action="store_true", help="only those open and past due")
    parser.add_argument(
        "--metadata", action="append", metavar="KEY=VALUE", help="only those so marked"
    )


def chosen(arguments: argparse.Namespace) -> bool:
    """Whether anything was said of which invoices are meant."""
    names = (*(option.replace("-", "_") for option in _FILTERS), "overdue", "metadata")
    return any(getattr(arguments, name) not in (None, False) for name in names)


def filters(arguments: argparse.Namespace) -> Filters:
    """Which invoices are meant; what cannot be understood is refused, never ignored."""
    meant = Filters(
        customer=arguments.customer,
        status=arguments.status,
        subscription=arguments.subscription,
        currency=arguments.currency,
        number_prefix=arguments.number_prefix,
    )
    if arguments.overdue:
        meant["overdue"] = True
    if arguments.created_from is not None or arguments.created_before is not None:
        meant["created"] = Range(
            gte=moment_said("created-from", arguments.created_from),
            lt=moment_said("created-before", arguments.created_before),
        )
    if arguments.due_from is not None or arguments.due_before is not None:
        meant["due_date"] = Range(
            gte=_date("due-from", arguments.due_from), lt=_date("due-before", arguments.due_before)
        )
    if arguments.metadata:
        meant["metadata"] = dict(_pair(said) for said in arguments.metadata)
    return meant


def _pair(said: str) -> tuple[str, str]:
    name, equals, value = said.partition("=")
    if not equals:
        raise Malformed("metadata", "must be written KEY=VALUE")
    return name, value


def _date(field: str, said: str | None) -> date | None:
    if said is None:
        return None
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise Malformed(field, "must be a day such as 2026-11-20") from None


def moment_said(field: str, said: str | None) -> datetime | None:
    """A moment as an option says it, with its offset."""
    if said is None:
        return None
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise Malformed(field, "must be a moment such as 2026-11-20T08:00+01:00") from None
    if found.tzinfo is None:
        raise Malformed(field, "must name its offset, as in 2026-11-20T08:00+01:00")
    return found
