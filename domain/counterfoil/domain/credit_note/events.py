"""What can have happened to a credit note. Amounts are minor units of its currency."""

from __future__ import annotations

from typing import Annotated

from counterfoil.domain.crediting import Credit
from counterfoil.domain.money import Currency
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.value import (
    ID,
    CreditNoteId,
    Day,
    Event,
    InvoiceId,
    MinorUnits,
    ShortText,
    Text,
)


class CreditNoteIssued(Event):
    """The document. It names the invoice that it corrects unambiguously (VAT directive, 219)."""

    stored_as = "credit_note.issued.v1"
    credit_note: Annotated[CreditNoteId, ID]
    number: Text
    series: Text
    issued_on: Day
    invoice: Annotated[InvoiceId, ID]
    invoice_number: Text
    invoice_issued_on: Day
    currency: Currency
    seller: Seller
    customer: Customer
    credit: Credit
    before_payment: MinorUnits
    refund: MinorUnits
    customer_credit: MinorUnits
    out_of_band: MinorUnits
    reason: ShortText | None = None


class CreditNoteVoided(Event):
    stored_as = "credit_note.voided.v1"
    reason: ShortText | None = None


CreditNoteEvent = CreditNoteIssued | CreditNoteVoided
