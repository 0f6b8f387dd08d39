"""`counterfoil invoice`: the invoices of a tenant, as a table, one by one, or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from datetime import date, datetime

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.adapters.cli.filters import filters as meant
from counterfoil.adapters.cli.opening import existing
from counterfoil.billing import Billing, Invoice
from counterfoil.domain.money import Money
from counterfoil.projections.invoice import AmountName

# From here on a table has room for ids.
WIDE = 130


def list_(arguments: argparse.Namespace) -> None:
    """Show a page of invoices, newest first."""
    filters = meant(arguments)
    # What is overdue depends on where it is which day.
    zone = os.environ.get("COUNTERFOIL_TIMEZONE", "UTC")
    with Billing.open(existing(arguments.database), timezone=zone) as billing:
        invoices = billing.tenant(arguments.tenant).invoices
        page = invoices.list(
            limit=arguments.limit,
            starting_after=arguments.starting_after,
            ending_before=arguments.ending_before,
            **filters,
        )
        count = invoices.count(**filters)
    if arguments.json:
        shown = [invoice.model_dump(mode="json") for invoice in page]
        print(
            json.dumps(
                {"object": "list", "data": shown, "has_more": page.has_more, "count": count},
                ensure_ascii=False,
            )
        )
        return
    # Whoever reads what is piped on has all the width there is.
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("number", "status", "customer", "due", "total", "remaining"):
        right = name in {"total", "remaining"}
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "customer")
    if console.width >= WIDE:
        table.add_column("id", no_wrap=True)
    for invoice in page:
        table.add_row(
            invoice.number or "–",
            invoice.status,
            invoice.customer.name,
            "–" if invoice.due_date is None else invoice.due_date.isoformat(),
            str(invoice.money("total")),
            str(invoice.money("amount_remaining")),
            *([invoice.id] if console.width >= WIDE else []),
        )
    console.print(table)
    more = ""
    if page.has_more and page.data:
        back = arguments.ending_before is not None
        option, beside = ("ending-before", 0) if back else ("starting-after", -1)
        more = f"; for more: --{option} {page.data[beside].id}"
    print(f"{len(page)} of {count:,} invoices{more}")


def show(arguments: argparse.Namespace) -> None:
    """Show one invoice with its lines, by its id or its number."""
    with Billing.open(existing(arguments.database)) as billing:
        invoices = billing.tenant(arguments.tenant).invoices
        name = arguments.invoice
        invoice = invoices.get(name) if name.startswith("in_") else invoices.by_number(name)
    if arguments.json:
        print(invoice.model_dump_json())
        return
    print_invoice(invoice)


def print_invoice(invoice: Invoice) -> None:
    """Show one invoice with its lines."""
    console = Console()
    title = f"Invoice {invoice.number}" if invoice.number else "Draft"
    console.print(f"{title}, {invoice.status}, for {invoice.customer.name}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("line")
    for name in ("quantity", "unit price", "tax", "net"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in invoice.lines:
        net = str(Money(line.net, invoice.currency))
        table.add_row(
            line.description,
            f"{line.quantity:f}",
            f"{line.unit_price:f}",
            f"{line.tax.rate:f} %",
            net,
        )
    console.print(table)
    figures = Table(box=box.SIMPLE, show_header=False)
    figures.add_column()
    figures.add_column(justify="right")
    for label, name in _FIGURES.items():
        figures.add_row(label, str(invoice.money(name)))
    for label, value in _times(invoice).items():
        figures.add_row(label, value)
    console.print(figures)


_FIGURES: Mapping[str, AmountName] = {
    "subtotal": "subtotal",
    "discount": "total_discount",
    "tax": "tax",
    "total": "total",
    "credited before payment": "pre_payment_credit_notes_amount",
    "paid": "amount_paid",
    "remaining": "amount_remaining",
}


def _times(invoice: Invoice) -> Mapping[str, str]:
    said = {
        "created": invoice.created,
        "issued": invoice.issued_on,
        "due": invoice.due_date,
        "sent": invoice.sent_at,
        "paid": invoice.paid_at,
        "voided": invoice.voided_at,
        "given up": invoice.marked_uncollectible_at,
    }
    return {label: _written(when) for label, when in said.items() if when is not None}


def _written(when: date) -> str:
    return when.isoformat(timespec="seconds") if isinstance(when, datetime) else when.isoformat()
