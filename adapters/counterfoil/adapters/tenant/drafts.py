"""A tenant's drafts: everything may still change, and nothing has a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Unpack

from counterfoil.adapters.desk import Call, Decided, Request, expect
from counterfoil.adapters.names import INVOICE, LINE, chosen, of_kind
from counterfoil.adapters.tenant.office import Office, draft_of, existing, invoice_of, listed, made
from counterfoil.domain.errors import Reason, Rejected
from counterfoil.domain.invoice import commands, decisions, state
from counterfoil.domain.invoice.events import CollectionMethod, Terms
from counterfoil.domain.invoice.transitions import answer
from counterfoil.domain.line import Discount, LineItem, NewLine
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.ports import Append, Transaction
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding
from counterfoil.projections.invoice import Invoice


class _Keep:
    """Stands for what was not said, where None says something."""


KEEP = _Keep()
_UNTAXED = Tax(rate="0", category=TaxCategory.OUTSIDE_SCOPE)


class Drafts(Office):
    """Writes on drafts."""

    def draft_invoice(
        self,
        *,
        customer: Customer,
        currency: str,
        id: str | None = None,
        seller: Seller | None = None,
        lines: Sequence[NewLine] = (),
        discount: Discount | None = None,
        collection_method: CollectionMethod | str = CollectionMethod.CHARGE_AUTOMATICALLY,
        days_until_due: int | None = None,
        due_date: date | None = None,
        period_start: date | None = None,
        period_end: date | None = None,
        subscription: str | None = None,
        description: str | None = None,
        footer: str | None = None,
        metadata: Mapping[str, str] | None = None,
        tax_rounding: TaxRounding | str = TaxRounding.PER_GROUP,
        **call: Unpack[Call],
    ) -> Invoice:
        """Start an invoice; it may hold its first lines at once. Returns the draft."""
        terms = _terms(
            customer=customer,
            seller=seller,
            collection_method=collection_method,
            days_until_due=days_until_due,
            due_date=due_date,
            period_start=period_start,
            period_end=period_end,
            subscription=subscription,
            description=description,
            footer=footer,
        )
        said = {
            "id": id,
            "currency": currency,
            "terms": terms,
            "tax_rounding": tax_rounding,
            "metadata": metadata,
            "lines": listed("lines", lines, NewLine),
            "discount": discount,
        }
        command = made(
            commands.DraftInvoice,
            invoice=chosen(INVOICE, id) or self._new(INVOICE),
            currency=currency,
            terms=terms,
            tax_rounding=tax_rounding,
            metadata=metadata or {},
            lines=tuple(self._item(line, None) for line in listed("lines", lines, NewLine)),
            discount=discount,
        )

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(command.invoice)
            expect(stream, call)
            facts = decisions.decide(command, invoice_of(stream))
            return Decided([Append(stream, facts)], stream.name)

        return self._invoice(self._desk.obey(Request("draft_invoice", said, call), decide))

    def add_line(
        self,
        invoice: str,
        *,
        description: str,
        quantity: Decimal | str | int,
        unit_price: Decimal | str,
        tax: Tax | None = None,
        discount: Discount | None = None,
        id: str | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Add a line to a draft. No tax means that the sale is outside the scope of tax."""
        line = NewLine(
            description=description,
            quantity=quantity,
            unit_price=unit_price,
            tax=tax or _UNTAXED,
            discount=discount,
        )
        command = made(commands.AddLine, line=self._item(line, id))
        said = {"invoice": invoice, "line": line, "id": id}
        return self._change("add_line", invoice, said, lambda _: command, call)

    def change_line(
        self,
        invoice: str,
        line: str,
        *,
        description: str | _Keep = KEEP,
        quantity: Decimal | str | int | _Keep = KEEP,
        unit_price: Decimal | str | _Keep = KEEP,
        tax: Tax | _Keep = KEEP,
        discount: Discount | _Keep | None = KEEP,
        **call: Unpack[Call],
    ) -> Invoice:
        """Change what is said of a line of a draft; the rest of it stays."""
        changes = _said(
            description=description,
            quantity=quantity,
            unit_price=unit_price,
            tax=tax,
            discount=discount,
        )

        def build(current: state.Invoice) -> commands.InvoiceCommand:
            answer(commands.ChangeLine, current)
            old = _line(current, line)
            kept = {name: getattr(old, name) for name in LineItem.model_fields}
            return commands.ChangeLine(line=made(LineItem, **{**kept, **changes}))

        said = {"invoice": invoice, "line": line, **changes}
        return self._change("change_line", invoice, said, build, call)

    def remove_line(
        self,
        invoice: str,
        line: str,
        **call: Unpack[Call],
    ) -> Invoice:
        """Take a line out of a draft."""
        command = made(commands.RemoveLine, line=line)
        said = {"invoice": invoice, "line": line}
        return self._change("remove_line", invoice, said, lambda _: command, call)

    def set_discount(
        self,
        invoice: str,
        discount: Discount | None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Set the discount on the whole of a draft, or take it off with None."""
        command = made(commands.SetDiscount, discount=discount)
        said = {"invoice": invoice, "discount": discount}
        return self._change("set_discount", invoice, said, lambda _: command, call)

    def amend_draft(
        self,
        invoice: str,
        *,
        customer: Customer | _Keep = KEEP,
        seller: Seller | _Keep | None = KEEP,
        collection_method: CollectionMethod | str | _Keep = KEEP,
        days_until_due: int | _Keep | None = KEEP,
        due_date: date | _Keep | None = KEEP,
        period_start: date | _Keep | None = KEEP,
        period_end: date | _Keep | None = KEEP,
        subscription: str | _Keep | None = KEEP,
        description: str | _Keep | None = KEEP,
        footer: str | _Keep | None = KEEP,
        **call: Unpack[Call],
    ) -> Invoice:
        """Change the terms of a draft; what is not said stays."""
        changes = _said(
            customer=customer,
            seller=seller,
            collection_method=collection_method,
            days_until_due=days_until_due,
            due_date=due_date,
            period_start=period_start,
            period_end=period_end,
            subscription=subscription,
            description=description,
            footer=footer,
        )

        def build(current: state.Invoice) -> commands.InvoiceCommand:
            answer(commands.AmendDraft, current)
            terms = dict(draft_of(current).terms)
            return commands.AmendDraft(terms=_terms(**{**terms, **changes}))

        said = {"invoice": invoice, **changes}
        return self._change("amend_draft", invoice, said, build, call)

    def set_metadata(
        self,
        invoice: str,
        metadata: Mapping[str, str],
        **call: Unpack[Call],
    ) -> Invoice:
        """Merge into the metadata; an empty value takes its key away. Allowed at any time."""
        command = made(commands.SetMetadata, metadata=metadata)
        said = {"invoice": invoice, "metadata": metadata}
        return self._change("set_metadata", invoice, said, lambda _: command, call)

    def delete_draft(self, invoice: str, **call: Unpack[Call]) -> None:
        """Delete a draft: lists forget it, its history stays. A finalized invoice is refused."""

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, call)
            facts = decisions.decide(commands.DiscardDraft(), existing(stream))
            return Decided([Append(stream, facts)], invoice)

        self._desk.obey(Request("delete_draft", {"invoice": invoice}, call), decide)

    def _item(self, line: NewLine, id: str | None) -> LineItem:
        return made(LineItem, id=chosen(LINE, id) or self._new(LINE), **dict(line))


def _terms(**said: object) -> Terms:
    return made(Terms, **said)


def _said(**given: object) -> dict[str, object]:
    return {name: value for name, value in given.items() if value is not KEEP}


def _line(current: state.Invoice, line: str) -> LineItem:
    for one in draft_of(current).lines:
        if one.id == line:
            return one
    raise Rejected(Reason.NO_SUCH_LINE, line=line)
