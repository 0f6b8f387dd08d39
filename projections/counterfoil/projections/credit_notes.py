"""The credit notes as they are now."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import to_json

from counterfoil.domain.credit_note.events import CreditNoteIssued, CreditNoteVoided
from counterfoil.domain.credit_note.state import CreditNoteStatus
from counterfoil.projections.history import History
from counterfoil.projections.projection import Index, Projection, Row, Table, integer, text

TABLE = Table(
    "credit_notes",
    (
        *text("tenant", "id", "number", "series", "status", "currency"),
        *text("invoice", "invoice_number", "customer_id"),
        *text("reason", null=True),
        *text("customer", "seller", "lines", "tax_groups", "issued_on"),
        *integer("subtotal", "tax", "total", "pre_payment_amount", "post_payment_amount"),
        *integer("refund", "customer_credit", "out_of_band", "created"),
        *integer("voided_at", null=True),
        *integer("version"),
    ),
    key=("tenant", "id"),
    indexes=(
        Index("tenant, created, id"),
        Index("tenant, invoice, created, id"),
        Index("tenant, customer_id, created, id"),
        Index("tenant, number"),
    ),
)


def _rows(history: History) -> tuple[Sequence[Row]]:
    first, *later = history.facts
    type, version, _, created, said = first
    if type != CreditNoteIssued.stored_as:
        raise history.corrupt(f"{type} cannot happen to a credit note that was never issued", first)
    status, voided_at = CreditNoteStatus.ISSUED, None
    for fact in later:
        if fact[0] != CreditNoteVoided.stored_as or voided_at is not None:
            raise history.corrupt(f"{fact[0]} cannot happen to a credit note", fact)
        status, version, voided_at = CreditNoteStatus.VOID, fact[1], fact[3]
    credit = said["credit"]
    # A group that gives nothing back is not shown.
    groups = [group for group in credit["groups"] if group["taxable"] or group["amount"]]
    return (
        (
            (
                history.tenant,
                history.stream,
                said["number"],
                said["series"],
                status.value,
                said["currency"],
                said["invoice"],
                said["invoice_number"],
                said["customer"]["id"],
                said["reason"],
                to_json(said["customer"]).decode(),
                to_json(said["seller"]).decode(),
                to_json(credit["lines"]).decode(),
                to_json(groups).decode(),
                said["issued_on"],
                credit["subtotal"],
                credit["tax"],
                credit["total"],
                said["before_payment"],
                credit["total"] - said["before_payment"],
                said["refund"],
                said["customer_credit"],
                said["out_of_band"],
                created,
                voided_at,
                version,
            ),
        ),
    )


PROJECTION = Projection("credit_notes", 1, "credit_note", (TABLE,), _rows)
