"""What each customer owes and has paid, by currency.

A row is what one invoice adds to that. A single row for each customer would have all writers who
serve one wait for each other; with an index by customer, adding up is one short walk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.projections.invoice import View
from counterfoil.projections.invoice_fold import OPEN, VOID, Books, FoldedInvoice
from counterfoil.projections.paging import LIMIT, Asked, Found, Page, not_found, sayable, word
from counterfoil.projections.projection import (
    Index,
    Projection,
    Question,
    Row,
    Table,
    integer,
    text,
)
from counterfoil.projections.store import Store
from counterfoil.projections.totals import halves, wholes

TABLE = Table(
    "customers",
    (
        *text("tenant", "invoice", "customer_id", "currency", "name"),
        *text("due_date", null=True),
        *integer("invoiced", "open", "paid", "uncollectible", "credit", "since"),
    ),
    key=("tenant", "invoice"),
    indexes=(Index("tenant, customer_id, currency, since"),),
)


def _rows(invoice: FoldedInvoice) -> tuple[Sequence[Row]]:
    if invoice.document is None:
        return ((),)
    books = invoice.books[-1].books if invoice.books else Books()
    row = (
        invoice.tenant,
        invoice.id,
        invoice.customer.id,
        invoice.currency,
        invoice.customer.name,
        invoice.document.due_on,
        0 if invoice.status == VOID else invoice.document.totals.total,
        books.receivable if invoice.status == OPEN else 0,
        invoice.amount_paid,
        books.bad_debt,
        -books.credit,
        invoice.finalized_at,
    )
    return ((row,),)


PROJECTION = Projection("customers", 1, "invoice", (TABLE,), _rows, reads_books=True)


# --- asked ------------------------------------------------------------------------------------


class CustomerTotals(View):
    """A customer's finalized invoices in one currency; `credit` is what belongs to the customer."""

    customer: str
    currency: str
    name: str
    invoices: int
    invoiced: int
    open: int
    overdue: int
    paid: int
    uncollectible: int
    credit: int


class Customers:
    """The customers of one tenant, as far as they were invoiced."""

    def __init__(self, store: Store, tenant: str, today: Callable[[], date]) -> None:
        self._store = store
        self._tenant = tenant
        self._today = today

    def get(self, customer: str) -> tuple[CustomerTotals, ...]:
        """What a customer owes and has paid, currency by currency."""
        if not sayable(customer):
            raise NotFound("customer")
        (rows,) = self._store.ask(
            Question(
                f"{_TOTALS} AND customer_id = :customer GROUP BY customer_id, currency"
                " ORDER BY currency",
                {**self._values(), "customer": customer},
            )
        )
        if not rows:
            raise not_found("customer", customer)
        return tuple(map(_totals, rows))

    def list(
        self, *, limit: int = LIMIT, starting_after: tuple[str, str] | None = None
    ) -> Page[CustomerTotals]:
        """A page of customers and currencies, by their ids, from behind one of them."""
        asked = Asked(limit, None, None)
        customer, currency = ("", "") if starting_after is None else _after(starting_after)
        if starting_after is not None and currency not in {
            one.currency for one in self.get(customer)
        }:
            raise NotFound("customer", f"{customer} with {currency}")
        (rows,) = self._store.ask(
            Question(
                f"{_TOTALS} AND (customer_id, currency) > (:customer, :currency)"
                " GROUP BY customer_id, currency ORDER BY customer_id, currency LIMIT :limit",
                {
                    **self._values(),
                    "customer": customer,
                    "currency": currency,
                    "limit": asked.limit + 1,
                },
            )
        )
        return Page(tuple(map(_totals, rows[: asked.limit])), len(rows) > asked.limit)

    def _values(self) -> dict[str, object]:
        return {"tenant": self._tenant, "today": self._today().isoformat()}


_SUMS = (
    "invoiced",
    "open",
    "CASE WHEN due_date < :today THEN open ELSE 0 END",
    "paid",
    "uncollectible",
    "credit",
)
# The name is that of the invoice that was finalized last.
_TOTALS = (
    "SELECT customer_id, currency, (SELECT name FROM customers AS last WHERE last.tenant = :tenant"
    " AND last.customer_id = customers.customer_id AND last.currency = customers.currency"
    " ORDER BY since DESC, invoice DESC LIMIT 1), count(*),"
    f" {', '.join(map(halves, _SUMS))} FROM customers WHERE tenant = :tenant"
)


def _totals(row: Found) -> CustomerTotals:
    customer, currency, name, invoices, *sums = row
    names = list(CustomerTotals.model_fields)[4:]
    return CustomerTotals(
        customer=customer,
        currency=currency,
        name=name,
        invoices=invoices,
        **dict(zip(names, wholes(sums), strict=True)),
    )


def _after(said: object) -> tuple[str, str]:
    match said:
        case (customer, currency):
            return word("starting_after", customer), word("starting_after", currency)
        case _:
            raise Malformed("starting_after", "must be a customer's id and a currency")
