"""A credit note as its users see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from counterfoil.domain.credit_note.events import CreditNoteEvent, CreditNoteVoided
from counterfoil.domain.credit_note.state import CreditNoteStatus, fold
from counterfoil.domain.crediting import CreditedLine
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.totals import TaxGroup
from counterfoil.projections.invoice import View


class CreditNote(View):
    """The credit note after all its facts; amounts in minor units."""

    id: str
    number: str
    status: CreditNoteStatus
    currency: str
    invoice: str
    invoice_number: str
    customer: Customer
    seller: Seller
    reason: str | None
    lines: tuple[CreditedLine, ...]
    tax_groups: tuple[TaxGroup, ...]
    subtotal: int
    tax: int
    total: int
    pre_payment_amount: int
    post_payment_amount: int
    refund: int
    customer_credit: int
    out_of_band: int
    created: datetime
    issued_on: date
    voided_at: datetime | None
    version: int


def view_credit_note(facts: Sequence[Recorded[CreditNoteEvent]]) -> CreditNote | None:
    """The credit note that these facts make, if there is one."""
    note = fold(recorded.fact for recorded in facts)
    if note is None:
        return None
    document, credit = note.document, note.document.credit
    return CreditNote(
        id=document.credit_note,
        number=document.number,
        status=note.status,
        currency=document.currency,
        invoice=document.invoice,
        invoice_number=document.invoice_number,
        customer=document.customer,
        seller=document.seller,
        reason=document.reason,
        lines=credit.lines,
        tax_groups=tuple(group for group in credit.groups if group.taxable or group.amount),
        subtotal=credit.subtotal,
        tax=credit.tax,
        total=credit.total,
        pre_payment_amount=document.before_payment,
        post_payment_amount=credit.total - document.before_payment,
        refund=document.refund,
        customer_credit=document.customer_credit,
        out_of_band=document.out_of_band,
        created=facts[0].envelope.recorded_at,
        issued_on=document.issued_on,
        voided_at=next(
            (one.envelope.recorded_at for one in facts if isinstance(one.fact, CreditNoteVoided)),
            None,
        ),
        version=facts[-1].envelope.version,
    )
