"""What read models read of each fact, and no more.

The facts themselves are the domain's (`domain/**/events.py`). Here each is a view on its stored
JSON: of what is not named nothing is parsed, and what is only passed on stays the text it is. That
is most of what makes a rebuild fast. A fact that lacks something, or has it in another type, stops
whoever reads it. A test holds every view against the domain's own fields.
"""

from __future__ import annotations

from msgspec import Raw, Struct


class Tax(Struct, gc=False):
    rate: str
    category: str
    exemption_reason: str | None
    inclusive: bool


class Discount(Struct, gc=False):
    percent: str | None
    amount: str | None


class Line(Struct, gc=False):
    description: str
    quantity: str
    unit_price: str
    tax: Tax
    discount: Discount | None
    id: str
    discounted: int
    amount: int
    net: int


class Terms(Struct, gc=False):
    customer: Raw
    seller: Raw
    collection_method: str
    due_date: str | None
    period_start: str | None
    period_end: str | None
    subscription: str | None
    description: str | None
    footer: str | None


class Party(Struct, gc=False):
    """Of a customer, what it is found and called by."""

    id: str
    name: str


class InvoiceDrafted(Struct, gc=False):
    currency: str
    tax_rounding: str
    terms: Terms
    metadata: Raw


class LineSaid(Struct, gc=False):
    """A line that was added or changed."""

    line: Line


class LineRemoved(Struct, gc=False):
    line: str


class DiscountSet(Struct, gc=False):
    discount: Raw


class DraftAmended(Struct, gc=False):
    terms: Terms


class MetadataSet(Struct, gc=False):
    metadata: Raw


class Totals(Struct, gc=False):
    subtotal: int
    discount: int
    tax: int
    rounding: int
    total: int
    groups: Raw


class InvoiceFinalized(Struct, gc=False):
    number: str
    series: str
    issued_on: str
    due_on: str | None
    seller: Raw
    totals: Totals


class PaymentAttempted(Struct, gc=False):
    payment: str
    amount: int
    processor: str
    payment_method: str


class PaymentActionRequired(Struct, gc=False):
    payment: str
    intent: str


class PaymentFailed(Struct, gc=False):
    payment: str
    code: str
    message: str


class PaymentSucceeded(Struct, gc=False):
    payment: str
    amount: int
    surplus: int
    processor: str | None = None
    reference: str | None = None
    received_at: str | None = None
    settled_before: int = 0


class RefundAttempted(Struct, gc=False):
    payment: str
    refund: str
    amount: int
    reason: str | None = None


class RefundFailed(Struct, gc=False):
    refund: str
    code: str
    message: str
    surplus: int = 0


class PaymentRefunded(Struct, gc=False):
    payment: str
    refund: str
    amount: int
    reopened: int
    reason: str | None = None
    reference: str | None = None


class Credit(Struct, gc=False):
    lines: Raw
    groups: list[Raw]
    subtotal: int
    tax: int
    total: int


class TaxGroup(Struct, gc=False):
    taxable: int
    amount: int


class CreditApplied(Struct, gc=False):
    credit_note: str
    credit: Credit
    before_payment: int
    out_of_band: int


class CreditWithdrawn(Struct, gc=False):
    credit_note: str


class InvoiceReconciled(Struct, gc=False):
    status: str
    settled: int


class Nothing(Struct, gc=False):
    """That it happened is all there is to know."""


class CreditNoteIssued(Struct, gc=False):
    number: str
    series: str
    issued_on: str
    invoice: str
    invoice_number: str
    currency: str
    seller: Raw
    customer: Raw
    credit: Credit
    before_payment: int
    refund: int
    customer_credit: int
    out_of_band: int
    reason: str | None = None


class SeriesOpened(Struct, gc=False):
    series: str
    kind: str
    seller: str
    year: int | None
    first: int


class NumberAssigned(Struct, gc=False):
    place: int
    number: str
    document: str
    issued_on: str


def text(raw: Raw) -> str | None:
    """The JSON text as it is stored, or None for none."""
    said = str(raw, "utf-8")
    return None if said == "null" else said
