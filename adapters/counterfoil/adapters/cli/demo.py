"""The product's main job in one command: an invoice's life, and the facts that it left."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from counterfoil.billing import Billing, Branding, Invoice, actor
from counterfoil.domain import Address, CreditLine, Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.credit_note.events import CreditNoteIssued, CreditNoteStored
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import EngineUnavailable, Unavailable
from counterfoil.domain.invoice.events import (
    CreditApplied,
    DocumentStored,
    InvoiceDrafted,
    InvoiceFinalized,
    InvoicePaid,
    LineAdded,
    PaymentAttempted,
    PaymentFailed,
    PaymentSucceeded,
)
from counterfoil.domain.money import Money
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event
from counterfoil.projections.invoice import AmountName

SELLER = Seller(
    name="Northwind Studio GmbH",
    address=Address(line1="Beispielstraße 12", postal_code="10115", city="Berlin", country="DE"),
    tax_id="DE123456789",
    registration="HRB 4711, Amtsgericht Charlottenburg",
    email="billing@northwind.example",
    website="northwind.example",
    bank_name="Beispielbank",
    iban="DE02120300000000202051",
    bic="BYLADEM1001",
)
BRANDING = Branding(
    name="Northwind",
    tagline="Design and engineering",
    logo=b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 48">
<circle cx="24" cy="24" r="22" fill="#1f4fd8"/>
<path d="M14 33V15h4l12 12V15h4v18h-4L18 21v12z" fill="#fff"/>
<path d="M60 35c8-14 22-18 46-18-16 4-27 9-33 18z" fill="#12b5cb"/>
<path d="M64 39c10-8 24-10 44-8-14 1-25 4-32 8z" fill="#14213d"/>
</svg>""",
)
CUSTOMER = Customer(
    id="cus_ada",
    name="Ada Lovelace & Co.",
    address=Address(line1="14 rue de l'Exemple", postal_code="75002", city="Paris", country="FR"),
    email="billing@ada.example",
)


def run(arguments: argparse.Namespace) -> None:
    """Live an invoice's life in `--out`, and show what is stored of it."""
    out: Path = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{out} cannot be made: {error.strerror}") from error
    database = out / "counterfoil.db"
    with Billing.open(
        database, seller=SELLER, documents=out / "documents", branding=BRANDING
    ) as billing:
        before = _last_position(billing)
        invoice = _live(billing)
        printed = _print_documents(billing, invoice, out)
        facts = billing.log.since(before, limit=1000)
    if arguments.json:
        _print_json(facts)
    else:
        _print_tables(facts, invoice, database)
        for line in printed:
            print(line)


def _print_documents(billing: Billing, invoice: Invoice, out: Path) -> Sequence[str]:
    """Keep the prints; where this machine cannot print, leave a page for the browser."""
    acme = billing.tenant("acme")
    (note,) = acme.credit_notes.list(invoice=invoice.id)
    try:
        with actor("job", "printer"):
            kept = (acme.store_invoice_pdf(invoice), acme.store_credit_note_pdf(note))
    except EngineUnavailable as error:
        page = out / f"{invoice.number}.html"
        page.write_text(acme.render_invoice_html(invoice), encoding="utf-8")
        return (f"{error}", f"{page} shows the invoice in a browser")
    places = (out / "documents" / "acme" / one.key for one in kept)
    return [f"{place} (sha256 {one.sha256[:16]}…)" for place, one in zip(places, kept, strict=True)]


def _live(billing: Billing) -> Invoice:
    acme = billing.tenant("acme")
    with actor("user", "u_demo"):
        draft = acme.draft_invoice(
            customer=CUSTOMER,
            currency="EUR",
            collection_method="send_invoice",
            days_until_due=30,
            lines=[
                NewLine(
                    description="Consulting, October",
                    quantity="12.5",
                    unit_price="98.50",
                    tax=Tax(rate="19"),
                    discount=Discount(percent="10"),
                ),
                NewLine(
                    description="Handbook, printed",
                    quantity="3",
                    unit_price="24.90",
                    tax=Tax(rate="7"),
                ),
            ],
        )
        invoice = acme.finalize_invoice(draft.id)
    with actor("job", "bank-import"):
        acme.record_payment(invoice.id, amount="1000.00", reference="SEPA 2026-11-0417")
    with actor("user", "u_demo"):
        book = invoice.lines[1].id
        acme.issue_credit_note(
            invoice.id, lines=[CreditLine(line=book, quantity=1)], reason="one arrived damaged"
        )
    with actor("user", "u_ada"):
        acme.pay_invoice(invoice.id, payment_method="pm_card_chargeDeclinedInsufficientFunds")
        return acme.pay_invoice(invoice.id, payment_method="pm_card_visa").unwrap()


def _last_position(billing: Billing) -> int:
    position = 0
    while facts := billing.log.since(position, limit=1000):
        position = facts[-1].envelope.position
    return position


def _print_json(facts: Sequence[Recorded[Event]]) -> None:
    for recorded in facts:
        at = recorded.envelope
        line = {
            "position": at.position,
            "stream": at.stream,
            "version": at.version,
            "type": at.type,
            "recorded_at": at.recorded_at.isoformat(),
            "actor": f"{at.actor.type}:{at.actor.id}",
            "hash": at.hash.hex(),
            "fact": recorded.fact.model_dump(mode="json"),
        }
        print(json.dumps(line, ensure_ascii=False))


def _print_tables(facts: Sequence[Recorded[Event]], invoice: Invoice, database: Path) -> None:
    console = Console()
    console.print("What is stored: facts")
    events = Table(box=box.SIMPLE_HEAD)
    events.add_column("#", justify="right")
    events.add_column("fact", no_wrap=True)
    events.add_column("what it says")
    events.add_column("by", no_wrap=True)
    for recorded in facts:
        at = recorded.envelope
        says = _says(recorded.fact, invoice.currency)
        events.add_row(str(at.position), at.type.rsplit(".", 1)[0], says, at.actor.id)
    console.print(events)
    title = f"What follows from them: {invoice.number} is {invoice.status}"
    console.print(title)
    figures = Table(box=box.SIMPLE, show_header=False)
    figures.add_column()
    figures.add_column(justify="right")
    for label, name in _FIGURES.items():
        figures.add_row(label, str(invoice.money(name)))
    console.print(figures)
    console.print(f"Made {database}. To read the facts in it:", highlight=False, soft_wrap=True)
    query = "SELECT position, type, body FROM facts_readable"
    console.print(f'  sqlite3 {database} "{query}"', highlight=False, soft_wrap=True)


_FIGURES: dict[str, AmountName] = {
    "subtotal": "subtotal",
    "tax": "tax",
    "total": "total",
    "credited before payment": "pre_payment_credit_notes_amount",
    "paid": "amount_paid",
    "remaining": "amount_remaining",
}


def _says(fact: Event, currency: str) -> str:
    match fact:
        case InvoiceDrafted(terms=terms):
            return f"for {terms.customer.name}"
        case LineAdded(line=line):
            less = f" less {_money(line.discounted, currency)}" if line.discounted else ""
            net = _money(line.net, currency)
            return f"{line.description}: {line.quantity} × {line.unit_price}{less} = {net}"
        case SeriesOpened():
            return f"numbers look like {fact.format}"
        case NumberAssigned():
            return fact.number
        case InvoiceFinalized():
            return f"{fact.number}, total {_money(fact.totals.total, currency)}, due {fact.due_on}"
        case PaymentAttempted():
            return f"{_money(fact.amount, currency)} asked of {fact.processor}"
        case PaymentFailed():
            return f"{fact.code}: {fact.message}"
        case PaymentSucceeded():
            return f"{_money(fact.amount, currency)} by {fact.reference}"
        case CreditApplied():
            return f"{_money(fact.before_payment, currency)} less to pay"
        case CreditNoteIssued():
            return f"{fact.number}, {_money(fact.credit.total, currency)}: {fact.reason}"
        case DocumentStored() | CreditNoteStored():
            return f"a print, {fact.size:,} bytes, sha256 {fact.sha256[:16]}…"
        case InvoicePaid():
            return f"nothing is left to pay ({fact.reason})"
        case _:
            return ""


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency))
