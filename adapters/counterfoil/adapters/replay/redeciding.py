"""Finalized invoices and credit notes, decided once more under changed rules.

Commands are not stored, only what was decided; but what a document was decided from is in its own
stream: the draft right before it was finalized, its number, its day and its seller. Payments stay
what they were: money that moved has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import cast

from counterfoil.adapters.replay.rules import Changed, RuleFailed, unchanged
from counterfoil.domain import crediting, line
from counterfoil.domain.crediting import Credit, Creditable, CreditLine
from counterfoil.domain.errors import CorruptHistory, CounterfoilError, Malformed, Rejected
from counterfoil.domain.invoice.commands import FinalizeInvoice
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import (
    CreditApplied,
    InvoiceEvent,
    InvoiceFinalized,
    Status,
)
from counterfoil.domain.invoice.state import Draft, Issued, evolve, fold
from counterfoil.domain.line import Line, LineItem
from counterfoil.domain.money import spread
from counterfoil.domain.tax import Tax
from counterfoil.domain.totals import TaxGroup

Said = int | str | None


@dataclass(frozen=True, slots=True)
class Field:
    """A field that would be another; whole numbers of a document are minor units."""

    name: str
    was: Said
    would_be: Said


@dataclass(frozen=True, slots=True)
class Differing:
    """A document that would be another. `refused` says why it would not be at all; `kept`, why it
    could not be decided again and was left as it is.
    """

    kind: str
    tenant: str
    id: str
    number: str | None = None
    currency: str | None = None
    fields: tuple[Field, ...] = ()
    refused: str | None = None
    kept: str | None = None


@dataclass(slots=True)
class Sums:
    """What all documents of a kind and a currency came to, and what they would come to."""

    kind: str
    currency: str
    documents: int = 0
    differing: int = 0
    subtotal: int = 0
    subtotal_would_be: int = 0
    tax: int = 0
    tax_would_be: int = 0
    total: int = 0
    total_would_be: int = 0

    def add(self, was: tuple[int, int, int], would_be: tuple[int, int, int]) -> None:
        """Count a document: its subtotal less discounts, its tax and its total."""
        self.documents += 1
        self.subtotal += was[0]
        self.tax += was[1]
        self.total += was[2]
        self.subtotal_would_be += would_be[0]
        self.tax_would_be += would_be[1]
        self.total_would_be += would_be[2]


Number = Callable[[str, str], str | None]


class Redeciding:
    """Decides documents again, one stream at a time, and adds up what they would come to."""

    def __init__(self, changed: Changed, number: Number) -> None:
        self.sums: dict[tuple[str, str], Sums] = {}
        self._changed = changed
        self._number = number

    def invoice(
        self, tenant: str, stream: str, facts: Sequence[InvoiceEvent]
    ) -> Sequence[Differing]:
        """The documents of an invoice's stream that would be others: itself, its credit notes."""
        drafted = [*_before_finalized(facts)]
        if len(drafted) == len(facts):
            return ()
        stored = cast("InvoiceFinalized", facts[len(drafted)])
        draft = fold(drafted)
        if not isinstance(draft, Draft):
            raise CorruptHistory("what was finalized is no draft", stream=stream)
        document = Differing("invoice", tenant, stream, stored.number, draft.currency)
        try:
            return [*self._decided(document, draft, stored, facts[len(drafted) + 1 :])]
        except CorruptHistory:
            raise
        except Exception as error:  # an operator's own rules may raise anything
            raise _at(f"invoice {stored.number} ({stream}, tenant {tenant})", error) from error

    def _decided(
        self,
        document: Differing,
        draft: Draft,
        stored: InvoiceFinalized,
        after: Sequence[InvoiceEvent],
    ) -> Iterator[Differing]:
        sums = self._sums(document)
        try:
            repriced = replace(draft, lines=self._lines(draft, stored.issued_on))
            made = _finalized(stored, repriced)
        except Rejected as error:
            sums.add(_figures(stored), (0, 0, 0))
            sums.differing += 1
            yield replace(document, refused=str(error))
            return
        state, would_be = Issued(draft, stored), Issued(repriced, made)
        notes: list[Differing] = []
        for fact in after:
            if isinstance(fact, CreditApplied):
                applied, note = self._credited(document.tenant, state, would_be, fact)
                if applied is not None:
                    would_be = _told(would_be, applied)
                notes.append(note)
            else:
                would_be = _told(would_be, fact)
            state = _told(state, fact)
        fields = tuple(_fields(_invoice_said(state), _invoice_said(would_be)))
        sums.add(_figures(stored), _figures(made))
        if fields:
            sums.differing += 1
            yield replace(document, fields=fields)
        yield from (one for one in notes if one.fields or one.refused or one.kept)

    def _sums(self, document: Differing) -> Sums:
        key = (document.kind, str(document.currency))
        return self.sums.setdefault(key, Sums(*key))

    def _lines(self, draft: Draft, issued_on: date) -> tuple[Line, ...]:
        """The lines as they would be priced."""
        lines = []
        for old in draft.lines:
            tax = old.tax
            if "tax_of" in self._changed.rules:
                tax = cast("Tax", self._changed.ask("tax_of", old, draft.terms, issued_on))
            said = {name: getattr(old, name) for name in LineItem.model_fields}
            lines.append(line.price(LineItem(**{**said, "tax": tax}), draft.currency))
        return tuple(lines)

    def _credited(
        self, tenant: str, state: Issued, would_be: Issued, stored: CreditApplied
    ) -> tuple[CreditApplied | None, Differing]:
        """A credit note as it would stand against the invoice, and what is other in it."""
        document = Differing("credit_note", tenant, stored.credit_note, None, state.draft.currency)
        sums, was = self._sums(document), _credit_figures(stored)
        with unchanged():
            asked = _asked(_creditable(state), stored.credit)
        if asked is None:
            sums.add(was, was)
            why = "what was asked for when it was issued cannot be told from it"
            return stored, self._named(replace(document, kept=why))
        try:
            made = _applied(stored, asked(_creditable(would_be)), state, would_be)
        except Rejected as error:
            sums.add(was, (0, 0, 0))
            sums.differing += 1
            return None, self._named(replace(document, refused=str(error)))
        sums.add(was, _credit_figures(made))
        fields = tuple(_fields(_credit_said(stored), _credit_said(made)))
        if fields:
            sums.differing += 1
            document = self._named(replace(document, fields=fields))
        return made, document

    def _named(self, document: Differing) -> Differing:
        return replace(document, number=self._number(document.tenant, document.id))


def _before_finalized(facts: Sequence[InvoiceEvent]) -> Iterator[InvoiceEvent]:
    for fact in facts:
        if isinstance(fact, InvoiceFinalized):
            return
        yield fact


def _finalized(stored: InvoiceFinalized, draft: Draft) -> InvoiceFinalized:
    command = FinalizeInvoice(
        number=stored.number,
        series=stored.series,
        issued_on=stored.issued_on,
        seller=stored.seller,
    )
    (made, *_) = decide(command, draft)
    return cast("InvoiceFinalized", made)


def _told(invoice: Issued, fact: InvoiceEvent) -> Issued:
    return cast("Issued", evolve(invoice, fact))


def _at(what: str, error: Exception) -> Malformed:
    """Say at which document a rule failed, or gave what no document can hold."""
    if isinstance(error, RuleFailed):
        return Malformed("with", f"{what}: {error}")
    said = str(error) if isinstance(error, CounterfoilError) else type(error).__name__
    return Malformed("with", f"{what}: what the rules give makes no document: {said}")


# --- credit notes -----------------------------------------------------------------------------

Asked = Callable[[Creditable], Credit]


def _creditable(invoice: Issued) -> Creditable:
    earlier = tuple(applied.credit for applied in invoice.credits)
    return Creditable(invoice.document.totals, invoice.draft.lines, earlier)


def _asked(of: Creditable, credit: Credit) -> Asked | None:
    """What was asked for: the first request that leads to the very same credit by our own rules."""
    lines = [
        CreditLine(line=part.line, quantity=part.quantity)
        if part.quantity is not None
        else CreditLine(line=part.line, amount=part.taxable)
        for part in credit.lines
    ]
    ways: tuple[Asked, ...] = (
        crediting.credit_rest,
        lambda of: crediting.credit_amount(of, credit.total),
        lambda of: crediting.credit_lines(of, lines),
    )
    for way in ways:
        try:
            if way(of) == credit:
                return way
        except (Rejected, Malformed):
            continue
    return None


def _applied(
    stored: CreditApplied, credit: Credit, state: Issued, would_be: Issued
) -> CreditApplied:
    owed = state.status in {Status.OPEN, Status.UNCOLLECTIBLE}
    left = max(would_be.amount_remaining, 0)
    before = min(credit.total, left) if owed else 0
    # The part after payment goes where it went, in the same proportion.
    parts = (stored.refund, stored.customer_credit, stored.out_of_band)
    refund, customer, out = spread(credit.total - before, parts if any(parts) else (0, 1, 0))
    return CreditApplied(
        credit_note=stored.credit_note,
        credit=credit,
        before_payment=before,
        refund=refund,
        customer_credit=customer,
        out_of_band=out,
    )


# --- what is other ----------------------------------------------------------------------------


def _figures(document: InvoiceFinalized) -> tuple[int, int, int]:
    totals = document.totals
    return totals.subtotal - totals.discount, totals.tax, totals.total


def _credit_figures(applied: CreditApplied) -> tuple[int, int, int]:
    return applied.credit.subtotal, applied.credit.tax, applied.credit.total


def _invoice_said(invoice: Issued) -> Mapping[str, Said]:
    document, totals = invoice.document, invoice.document.totals
    said: dict[str, Said] = {
        "due_date": None if document.due_on is None else document.due_on.isoformat(),
        "subtotal": totals.subtotal,
        "total_discount": totals.discount,
        **_groups_said(totals.groups),
        "tax": totals.tax,
        "rounding": totals.rounding,
        "total": totals.total,
        "amount_remaining": invoice.amount_remaining,
    }
    taxes = totals.line_taxes or (None,) * len(totals.bases)
    for one, base, tax in zip(invoice.draft.lines, totals.bases, taxes, strict=True):
        said |= {
            f"line {one.id}: net": one.net,
            f"line {one.id}: taxable": base,
            f"line {one.id}: tax": tax,
        }
    return said


def _credit_said(applied: CreditApplied) -> Mapping[str, Said]:
    credit = applied.credit
    said: dict[str, Said] = {
        "subtotal": credit.subtotal,
        **_groups_said(credit.groups),
        "tax": credit.tax,
        "total": credit.total,
        "before_payment": applied.before_payment,
        "refund": applied.refund,
        "customer_credit": applied.customer_credit,
        "out_of_band": applied.out_of_band,
    }
    for part in credit.lines:
        said |= {f"line {part.line}: taxable": part.taxable, f"line {part.line}: tax": part.tax}
    return said


def _groups_said(groups: Sequence[TaxGroup]) -> Mapping[str, Said]:
    said: dict[str, Said] = {}
    for group in groups:
        if group.taxable or group.amount:  # a credit note names groups that it gives nothing of
            name = _tax_said(group.tax)
            said |= {f"{name}: taxable": group.taxable, f"{name}: tax": group.amount}
    return said


def _tax_said(tax: Tax) -> str:
    what = "" if tax.category == "standard" else f" {tax.category.value}"
    why = f" ({tax.exemption_reason})" if tax.exemption_reason else ""
    return f"{tax.rate} %{what}{why}{' inclusive' if tax.inclusive else ''}"


def _fields(was: Mapping[str, Said], would_be: Mapping[str, Said]) -> Iterator[Field]:
    for name in dict.fromkeys((*was, *would_be)):
        if was.get(name) != would_be.get(name):
            yield Field(name, was.get(name), would_be.get(name))
