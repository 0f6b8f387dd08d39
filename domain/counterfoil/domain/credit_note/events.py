"""What can have happened to a credit note. Amounts are minor units of its currency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

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
    Sha256,
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


class CreditNoteStored(Event):
    """What was printed of the credit note and kept; as `DocumentStored` is for an invoice."""

    stored_as = "credit_note.document_stored.v1"
    key: Text
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]
    options: Mapping[str, str]
    branding: Sha256
    renderer: ShortText
    version: Annotated[int, Field(ge=1)]


CreditNoteEvent = CreditNoteIssued | CreditNoteVoided | CreditNoteStored
