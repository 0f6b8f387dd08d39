"""What can have happened to an invoice. Amounts are minor units of the invoice's currency."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from counterfoil.domain.crediting import Credit
from counterfoil.domain.errors import Malformed
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.money import Currency
from counterfoil.domain.party import Customer, Email, Seller
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.totals import Totals
from counterfoil.domain.value import (
    ID,
    PRINTABLE,
    CreditNoteId,
    Day,
    Event,
    Id,
    InvoiceId,
    LineId,
    LongText,
    MinorUnits,
    PaymentId,
    RefundId,
    Sha256,
    ShortText,
    Text,
    Value,
)

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=PRINTABLE)]
Metadata = Annotated[Mapping[MetadataKey, ShortText], Field(max_length=50)]


class CollectionMethod(StrEnum):
    """Whether the engine charges the customer, or the customer pays on being asked."""

    CHARGE_AUTOMATICALLY = "charge_automatically"
    SEND_INVOICE = "send_invoice"


class Status(StrEnum):
    """What an invoice that has been started is; the first five words are Stripe's."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"
    DISCARDED = "discarded"


class PaidReason(StrEnum):
    """Why nothing is left to pay."""

    PAYMENT = "payment"
    CREDITED = "credited"
    NOTHING_DUE = "nothing_due"


class Terms(Value):
    """Who is billed, by whom, for what and until when; all of it may change while a draft."""

    customer: Customer
    seller: Seller | None = None
    collection_method: CollectionMethod = CollectionMethod.CHARGE_AUTOMATICALLY
    days_until_due: Annotated[int, Field(ge=0, le=3650)] | None = None
    due_date: Day | None = None
    period_start: Day | None = None
    period_end: Day | None = None
    subscription: Id | None = None
    description: LongText | None = None
    footer: LongText | None = None

    @model_validator(mode="after")
    def _dates_agree(self) -> Self:
        if self.days_until_due is not None and self.due_date is not None:
            raise Malformed("due_date", "say either due_date or days_until_due")
        if self.period_start and self.period_end and self.period_end < self.period_start:
            raise Malformed("period_end", "is before period_start")
        return self


class InvoiceDrafted(Event):
    stored_as = "invoice.drafted.v1"
    invoice: Annotated[InvoiceId, ID]
    currency: Currency
    tax_rounding: TaxRounding
    terms: Terms
    metadata: Metadata


class LineAdded(Event):
    stored_as = "invoice.line_added.v1"
    line: Line


class LineChanged(Event):
    stored_as = "invoice.line_changed.v1"
    line: Line


class LineRemoved(Event):
    stored_as = "invoice.line_removed.v1"
    line: Annotated[LineId, ID]


class DiscountSet(Event):
    stored_as = "invoice.discount_set.v1"
    discount: Discount | None


class DraftAmended(Event):
    stored_as = "invoice.draft_amended.v1"
    terms: Terms


class MetadataSet(Event):
    """All metadata that the invoice has from now on."""

    stored_as = "invoice.metadata_set.v1"
    metadata: Metadata


class DraftDiscarded(Event):
    stored_as = "invoice.draft_discarded.v1"


class InvoiceFinalized(Event):
    """The document: what it says never depends on anything outside this stream again."""

    stored_as = "invoice.finalized.v1"
    number: Text
    series: Text
    issued_on: Day
    due_on: Day | None
    seller: Seller
    customer: Customer
    totals: Totals


class InvoiceSent(Event):
    stored_as = "invoice.sent.v1"
    delivery: Id
    to: Email


class News(Value):
    """Which event of the processor told us, and when that happened by the processor's clock."""

    provider_event: Id
    occurred_at: AwareDatetime


class PaymentAttempted(Event):
    stored_as = "invoice.payment_attempted.v1"
    payment: Annotated[PaymentId, ID]
    amount: MinorUnits
    processor: Id
    payment_method: Id


class PaymentActionRequired(Event):
    """The payer must confirm. The intent's secret is not kept, only its name."""

    stored_as = "invoice.payment_action_required.v1"
    payment: Annotated[PaymentId, ID]
    intent: Id
    news: News | None = None


class PaymentFailed(Event):
    stored_as = "invoice.payment_failed.v1"
    payment: Annotated[PaymentId, ID]
    code: Id
    message: ShortText
    retryable: bool
    news: News | None = None


class PaymentSucceeded(Event):
    """Money came. `surplus` is the part beyond what was left to pay: it is customer credit.
    `settled_before` is the part that an outsider had told of already, and that counts once.
    """

    stored_as = "invoice.payment_succeeded.v1"
    payment: Annotated[PaymentId, ID]
    amount: MinorUnits
    surplus: MinorUnits
    processor: Id | None = None
    reference: ShortText | None = None
    received_at: AwareDatetime | None = None
    settled_before: MinorUnits = 0
    news: News | None = None


class InvoicePaid(Event):
    stored_as = "invoice.paid.v1"
    reason: PaidReason


class RefundAttempted(Event):
    """A processor is about to be asked to give this much back."""

    stored_as = "invoice.refund_attempted.v1"
    payment: Annotated[PaymentId, ID]
    refund: Annotated[RefundId, ID]
    amount: MinorUnits
    reason: ShortText | None = None


class RefundFailed(Event):
    """Money did not go back, or came back. Of what was owed again by then, `surplus` is the part
    that nobody owes any more: it is customer credit.
    """

    stored_as = "invoice.refund_failed.v1"
    payment: Annotated[PaymentId, ID]
    refund: Annotated[RefundId, ID]
    code: Id
    message: ShortText
    surplus: MinorUnits = 0


class PaymentRefunded(Event):
    """Money went back. `reopened` is the part that is owed again: all of it, unless the invoice
    was settled or the payment held a surplus.
    """

    stored_as = "invoice.payment_refunded.v1"
    payment: Annotated[PaymentId, ID]
    refund: Annotated[RefundId, ID]
    amount: MinorUnits
    reopened: MinorUnits
    reason: ShortText | None = None
    reference: ShortText | None = None


class MarkedUncollectible(Event):
    stored_as = "invoice.marked_uncollectible.v1"
    reason: ShortText | None = None


class InvoiceVoided(Event):
    stored_as = "invoice.voided.v1"
    reason: ShortText | None = None


class CreditApplied(Event):
    """A credit note stands against the invoice. The part before payment lowers what is due;
    the other three say where the rest went, and add up to it.
    """

    stored_as = "invoice.credit_applied.v1"
    credit_note: Annotated[CreditNoteId, ID]
    credit: Credit
    before_payment: MinorUnits
    refund: MinorUnits
    customer_credit: MinorUnits
    out_of_band: MinorUnits


class CreditWithdrawn(Event):
    stored_as = "invoice.credit_withdrawn.v1"
    credit_note: Annotated[CreditNoteId, ID]


class InvoiceReconciled(Event):
    """A canonical outsider said what the invoice is. `settled` is what it says was paid that we
    have no payment for.
    """

    stored_as = "invoice.reconciled.v1"
    status: Status
    settled: MinorUnits
    provider: Id
    provider_event: Id
    occurred_at: AwareDatetime


class DocumentStored(Event):
    """What was printed of the invoice and kept: where, which bytes, and all that they depend on.
    `version` is that of the invoice which it shows.
    """

    stored_as = "invoice.document_stored.v1"
    key: Text
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]
    options: Mapping[str, str]
    branding: Sha256
    renderer: ShortText
    version: Annotated[int, Field(ge=1)]


InvoiceEvent = (
    InvoiceDrafted
    | LineAdded
    | LineChanged
    | LineRemoved
    | DiscountSet
    | DraftAmended
    | MetadataSet
    | DraftDiscarded
    | InvoiceFinalized
    | InvoiceSent
    | PaymentAttempted
    | PaymentActionRequired
    | PaymentFailed
    | PaymentSucceeded
    | InvoicePaid
    | RefundAttempted
    | RefundFailed
    | PaymentRefunded
    | MarkedUncollectible
    | InvoiceVoided
    | CreditApplied
    | CreditWithdrawn
    | InvoiceReconciled
    | DocumentStored
)
