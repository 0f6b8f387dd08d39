"""The invoices that are measured: lines at two rates, every third with a discount."""

from __future__ import annotations

from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import InvoiceEvent
from counterfoil.domain.invoice.state import fold
from counterfoil.domain.line import Discount, LineItem
from counterfoil.domain.tax import Tax
from examples import FINALIZE, draft, item

_RATES = (Tax(rate="19"), Tax(rate="7"))


def items(count: int) -> tuple[LineItem, ...]:
    """So many different things sold."""
    return tuple(
        item(
            f"line_{place}",
            quantity=f"{place % 9 + 1}.5",
            unit_price=f"{place % 97 + 3}.{place % 89 + 10}",
            tax=_RATES[place % 2],
            discount=Discount(percent="12.5") if place % 3 == 0 else None,
        )
        for place in range(count)
    )


def issued(lines: int) -> tuple[InvoiceEvent, ...]:
    """The facts of a finalized invoice of so many lines: drafted, lines added, finalized."""
    drafted = decide(draft(*items(lines)), None)
    return (*drafted, *decide(FINALIZE, fold(drafted)))
