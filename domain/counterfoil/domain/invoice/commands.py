"""What can be asked of an invoice. Time and ids arrive with the command; the domain makes none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import Malformed
from counterfoil.domain.invoice.events import (
    DocumentStored,
    Metadata,
    MetadataKey,
    News,
    Status,
    Terms,
)
from counterfoil.domain.line import Discount, LineItem
from counterfoil.domain.money import Amount, Currency
from counterfoil.domain.party import Email, Seller
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.value import (
    ID,
    Command,
    CreditNoteId,
    Day,
    Id,
    InvoiceId,
    LineId,
    PaymentId,
    RefundId,
    ShortText,
    Text,
)

LINES_MAX = 10_000


class DraftInvoice(Command):
    invoice: Annotated[InvoiceId, ID]
    currency: Currency
    terms: Terms
    tax_rounding: TaxRounding = TaxRounding.PER_GROUP
    metadata: Metadata = Field(default_factory=dict)
    lines: Annotated[tuple[LineItem, ...], Field(max_length=LINES_MAX)] = ()
    discount: Discount | None = None


class AddLine(Command):
    line: LineItem


class ChangeLine(Command):
    """The line as it shall be from now on."""

    line: LineItem


class RemoveLine(Command):
    line: Annotated[LineId, ID]


class SetDiscount(Command):
    discount: Discount | None


class AmendDraft(Command):
    """The terms as they shall be from now on."""

    terms: Terms


class SetMetadata(Command):
    """Merge these into the metadata; an empty value takes its key away, as at Stripe."""

    metadata: Mapping[MetadataKey, ShortText]


class DiscardDraft(Command):
    pass


class FinalizeInvoice(Command):
    """`seller` is who issues when the draft's terms name nobody."""

    number: Text
    series: Text
    issued_on: Day
    seller: Seller


class SendInvoice(Command):
    delivery: Id
    to: Email


class VoidInvoice(Command):
    reason: ShortText | None = None


class MarkUncollectible(Command):
    reason: ShortText | None = None


class AttemptPayment(Command):
    """Say that a processor is about to be asked for this much, or for all that remains."""

    payment: Annotated[PaymentId, ID]
    amount: Amount | None = None
    processor: Id
    payment_method: Id


class RequirePaymentAction(Command):
    payment: Annotated[PaymentId, ID]
    intent: Id
    news: News | None = None


class FailPayment(Command):
    payment: Annotated[PaymentId, ID]
    code: Id
    message: ShortText
    retryable: bool
    news: News | None = None


class SucceedPayment(Command):
    """Say that the processor has the money of an attempt."""

    payment: Annotated[PaymentId, ID]
    reference: ShortText | None = None
    news: News | None = None


class RecordPayment(Command):
    """Say that money came another way: by bank, in cash."""

    payment: Annotated[PaymentId, ID]
    amount: Amount
    reference: ShortText | None = None
    received_at: AwareDatetime | None = None


class AttemptRefund(Command):
    """Say that the processor is about to be asked to give back this much, or all that is left."""

    payment: Annotated[PaymentId, ID]
    refund: Annotated[RefundId, ID]
    amount: Amount | None = None
    reason: ShortText | None = None


class FailRefund(Command):
    refund: Annotated[RefundId, ID]
    code: Id
    message: ShortText


class RefundPayment(Command):
    """Say that this much of a payment went back, or all that is left of it; of a refund that was
    attempted, all of it.
    """

    payment: Annotated[PaymentId, ID]
    refund: Annotated[RefundId, ID]
    amount: Amount | None = None
    reason: ShortText | None = None
    reference: ShortText | None = None


class ApplyCredit(Command):
    """Take back lines, or an amount with its tax, or all that is left.

    What exceeds the amount remaining goes to `refund`, `customer_credit` and `out_of_band`, which
    must add up to it; when none is said, all of it becomes customer credit.
    """

    credit_note: Annotated[CreditNoteId, ID]
    lines: Annotated[tuple[CreditLine, ...], Field(min_length=1, max_length=LINES_MAX)] | None = (
        None
    )
    amount: Amount | None = None
    refund: Amount | None = None
    customer_credit: Amount | None = None
    out_of_band: Amount | None = None

    @model_validator(mode="after")
    def _lines_or_amount(self) -> Self:
        if self.lines is not None and self.amount is not None:
            raise Malformed("amount", "say either lines or amount")
        return self


class WithdrawCredit(Command):
    credit_note: Annotated[CreditNoteId, ID]


class ReconcileInvoice(Command):
    """Believe a canonical outsider: the only way past the table, with an event of its own."""

    status: Literal[Status.OPEN, Status.PAID, Status.UNCOLLECTIBLE, Status.VOID]
    provider: Id
    provider_event: Id
    occurred_at: AwareDatetime


class RecordDocument(Command):
    document: DocumentStored


InvoiceCommand = (
    DraftInvoice
    | AddLine
    | ChangeLine
    | RemoveLine
    | SetDiscount
    | AmendDraft
    | SetMetadata
    | DiscardDraft
    | FinalizeInvoice
    | SendInvoice
    | VoidInvoice
    | MarkUncollectible
    | AttemptPayment
    | RequirePaymentAction
    | FailPayment
    | SucceedPayment
    | RecordPayment
    | AttemptRefund
    | FailRefund
    | RefundPayment
    | ApplyCredit
    | WithdrawCredit
    | ReconcileInvoice
    | RecordDocument
)
