"""The credit notes as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter

from counterfoil.domain.credit_note.events import (
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.credit_note.state import CreditNoteStatus
from counterfoil.domain.crediting import CreditedLine
from counterfoil.domain.errors import NotFound
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.totals import TaxGroup
from counterfoil.projections import facts
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.history import History
from counterfoil.projections.paging import (
    CREDIT_NOTE_BEGAN,
    LIMIT,
    Asked,
    Conditions,
    Found,
    Page,
    moment,
    not_found,
    page,
    sayable,
    seek,
    shown,
)
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
    if first.type != CreditNoteIssued.stored_as:
        what = f"{first.type} cannot happen to a credit note that was never issued"
        raise history.corrupt(what, first)
    said = _issued(first.body)
    status, version, voided_at = CreditNoteStatus.ISSUED, first.version, None
    for fact in later:
        version = fact.version
        if fact.type == CreditNoteStored.stored_as:
            continue
        if fact.type != CreditNoteVoided.stored_as or voided_at is not None:
            raise history.corrupt(f"{fact.type} cannot happen to a credit note", fact)
        status, voided_at = CreditNoteStatus.VOID, fact.at
    credit = said.credit
    return (
        (
            (
                history.tenant,
                history.stream,
                said.number,
                said.series,
                status.value,
                said.currency,
                said.invoice,
                said.invoice_number,
                _party(said.customer).id,
                said.reason,
                facts.text(said.customer),
                facts.text(said.seller),
                facts.text(credit.lines),
                f"[{','.join(_groups(credit))}]",
                said.issued_on,
                credit.subtotal,
                credit.tax,
                credit.total,
                said.before_payment,
                credit.total - said.before_payment,
                said.refund,
                said.customer_credit,
                said.out_of_band,
                first.at,
                voided_at,
                version,
            ),
        ),
    )


def _groups(credit: facts.Credit) -> Iterator[str]:
    """The tax groups, as text; one that gives nothing back is not shown."""
    for raw in credit.groups:
        group = _group(raw)
        if group.taxable or group.amount:
            yield str(facts.text(raw))


_issued = msgspec.json.Decoder(facts.CreditNoteIssued).decode
_party = msgspec.json.Decoder(facts.Party).decode
_group = msgspec.json.Decoder(facts.TaxGroup).decode


PROJECTION = Projection("credit_notes", 1, "credit_note", (TABLE,), _rows)


# --- asked ------------------------------------------------------------------------------------

_COLUMNS = ", ".join(name for name in TABLE.names[1:] if name not in {"series", "customer_id"})


class CreditNotes:
    """The credit notes of one tenant."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

    def get(self, id: str) -> CreditNote:
        """The credit note; `NotFound` if there is none."""
        if not sayable(id):
            raise NotFound("credit note")
        (rows,) = self._store.ask(
            Question(
                f"SELECT {_COLUMNS} FROM credit_notes WHERE tenant = :tenant AND id = :id",
                {"tenant": self._tenant, "id": id},
            )
        )
        if not rows:
            raise not_found("credit note", id)
        return _credit_note(rows[0])

    def list(
        self,
        *,
        invoice: str | None = None,
        customer: str | None = None,
        limit: int = LIMIT,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> Page[CreditNote]:
        """A page of credit notes, newest first."""
        asked = Asked(limit, starting_after, ending_before)
        conditions = Conditions(self._tenant)
        conditions.equal("invoice", "invoice", invoice)
        conditions.equal("customer_id", "customer", customer)
        seek(self._store, conditions, asked, began=CREDIT_NOTE_BEGAN)
        question = page(_COLUMNS, "credit_notes", conditions, asked)
        rows, more = shown(self._store.ask(question)[0], asked)
        return Page(tuple(map(_credit_note, rows)), more)


def _credit_note(row: Found) -> CreditNote:
    told = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name, parsed in _PARSED.items():
        told[name] = parsed.validate_json(told[name])
    for name in ("created", "voided_at"):
        if told[name] is not None:
            told[name] = moment(told[name])
    return CreditNote(**told)


_PARSED: Mapping[str, TypeAdapter[Any]] = {
    "customer": TypeAdapter(Customer),
    "seller": TypeAdapter(Seller),
    "lines": TypeAdapter(tuple[CreditedLine, ...]),
    "tax_groups": TypeAdapter(tuple[TaxGroup, ...]),
}
