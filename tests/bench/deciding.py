"""What do the rules cost, beside the bare arithmetic and beside a simpler rule?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from bench.harness import Contender, Pair, timed
from bench.invoices import issued, items
from counterfoil.domain.crediting import Credit, CreditedLine, CreditLine
from counterfoil.domain.invoice.commands import ApplyCredit
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import CreditApplied, InvoiceFinalized
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.line import Line, LineItem
from counterfoil.domain.tax import on_net
from counterfoil.domain.totals import TaxGroup
from counterfoil.domain.value import CreditNoteId
from examples import FINALIZE, draft

NOTES = 10


@contextmanager
def new_invoice(lines: int) -> Iterator[Sequence[Contender]]:
    """One command that drafts so many lines, and one that finalizes them."""
    command = draft(*items(lines))
    sales = [Sale.of(one) for one in command.lines]

    def ours() -> int:
        (finalized,) = decide(FINALIZE, fold(decide(command, None)))
        assert isinstance(finalized, InvoiceFinalized)
        return finalized.totals.total

    def limit() -> int:
        return bare_total(sales)

    assert ours() == limit()
    yield (
        Contender("decide", "ours", timed(lines, ours)),
        Contender("bare arithmetic", "limit", timed(lines, limit)),
    )


@dataclass(frozen=True, slots=True)
class Sale:
    """The figures of a line, and no more."""

    quantity: Decimal
    unit_price: Decimal
    percent_off: Decimal | None
    tax_rate: Decimal

    @classmethod
    def of(cls, item: LineItem) -> Sale:
        """The figures of an item."""
        percent_off = item.discount.percent if item.discount else None
        return cls(item.quantity, item.unit_price, percent_off, item.tax.rate)


def bare_total(sales: Sequence[Sale]) -> int:
    """What the sales come to with tax per rate, in cents; 28 digits hold all of it exactly."""
    bases: dict[Decimal, Decimal] = {}
    for sale in sales:
        full = sale.quantity * sale.unit_price * 100
        taken = rounded(full * sale.percent_off / 100) if sale.percent_off else 0
        bases[sale.tax_rate] = bases.get(sale.tax_rate, Decimal(0)) + rounded(full - taken)
    return int(sum(base + rounded(base * rate / 100) for rate, base in bases.items()))


def rounded(exact: Decimal) -> Decimal:
    """To a whole cent; what the decimal module calls half up is half away from zero."""
    return exact.quantize(Decimal(1), ROUND_HALF_UP)


@contextmanager
def credited_invoice(lines: int) -> Iterator[Sequence[Contender]]:
    """An open invoice, and ten commands that each credit their tenth of its lines."""
    invoice = fold(issued(lines))
    assert isinstance(invoice, Issued)
    commands = [
        ApplyCredit(
            credit_note=CreditNoteId(f"cn_{note}"),
            lines=tuple(CreditLine(line=line.id) for line in invoice.draft.lines[note::NOTES]),
        )
        for note in range(NOTES)
    ]

    def ours() -> int:
        credited = invoice
        for command in commands:
            folded = fold(decide(command, credited), credited)
            assert isinstance(folded, Issued)
            credited = folded
        return credited.amount_remaining

    def peer() -> int:
        credited = invoice
        for command in commands:
            folded = fold((credit_alone(command, credited),), credited)
            assert isinstance(folded, Issued)
            credited = folded
        return credited.amount_remaining

    # Each of the two rates may be half a cent off on every note: that is what our rule is for.
    assert ours() == 0
    assert abs(peer()) <= NOTES
    yield (
        Contender("decide", "ours", timed(NOTES, ours)),
        Contender("notes rounded alone", "peer", timed(NOTES, peer)),
    )


def credit_alone(command: ApplyCredit, invoice: Issued) -> CreditApplied:
    """The fact of a credit note that neither knows nor asks what was credited before."""
    lines: dict[str, Line] = {line.id: line for line in invoice.draft.lines}
    bases = dict.fromkeys((group.tax for group in invoice.document.totals.groups), 0)
    taken = []
    for wanted in command.lines or ():
        line = lines[wanted.line]
        bases[line.tax] += line.net
        taken.append(CreditedLine(line=wanted.line, taxable=line.net))
    groups = tuple(
        TaxGroup(tax=tax, taxable=base, amount=on_net(tax, base)) for tax, base in bases.items()
    )
    subtotal, tax = sum(bases.values()), sum(group.amount for group in groups)
    return CreditApplied(
        credit_note=command.credit_note,
        credit=Credit(
            lines=tuple(taken), groups=groups, subtotal=subtotal, tax=tax, total=subtotal + tax
        ),
        before_payment=subtotal + tax,
        refund=0,
        customer_credit=0,
        out_of_band=0,
    )


PAIRS = (
    Pair(
        name="decide",
        job="price and finalize an invoice of 100 lines",
        unit="line",
        size=100,
        setup=new_invoice,
        note=(
            "Ours makes the facts of the draft and of the document, each value checked. "
            "The limit comes to the same total and makes nothing else."
        ),
    ),
    Pair(
        name="credit",
        job="credit an invoice of 200 lines in 10 notes",
        unit="note",
        size=200,
        setup=credited_invoice,
        note=(
            "The peer makes facts of the same shape, but rounds every note alone and holds no cap, "
            "so a full credit need not end at 0.00; ours must."
        ),
    ),
)
