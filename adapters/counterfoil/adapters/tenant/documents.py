"""A tenant's finalized invoices: what happens to the document."""

from __future__ import annotations

from datetime import date
from typing import Unpack

from counterfoil.adapters.desk import Answer, Call, Decided, Request, expect
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.adapters.tenant.office import Office, day, draft_of, existing, made
from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.invoice import commands, decisions, state
from counterfoil.domain.invoice.transitions import answer, has_lines
from counterfoil.domain.numbering import DocumentKind
from counterfoil.domain.ports import Append, Stream, Transaction
from counterfoil.domain.value import LARGEST
from counterfoil.projections.invoice import Invoice


class Documents(Office):
    """Writes on documents."""

    def get_invoice(self, invoice: str) -> Invoice:
        """The invoice as it is now; `NotFound` if there is none, or its draft was deleted."""
        return self._invoice(Answer(invoice, LARGEST))

    def finalize_invoice(
        self,
        invoice: str,
        *,
        issued_on: date | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Fix number, dates, parties and totals. With nothing due, the invoice is paid at once."""

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, call)
            current = existing(stream)
            match current:
                case state.Draft():
                    return self._finalize(transaction, stream, current, issued_on)
                case state.Issued(document=document):
                    again = commands.FinalizeInvoice(
                        number=document.number,
                        series=document.series,
                        issued_on=document.issued_on,
                        seller=document.seller,
                    )
                    return Decided([Append(stream, decisions.decide(again, current))], invoice)
                case state.Discarded():
                    raise Rejected(Reason.DISCARDED)

        said = {"invoice": invoice, "issued_on": issued_on}
        return self._invoice(self._desk.obey(Request("finalize_invoice", said, call), decide))

    def _finalize(
        self, transaction: Transaction, stream: Stream, draft: state.Draft, on: date | None
    ) -> Decided:
        seller = draft.terms.seller or self._house.seller
        if seller is None:
            raise Malformed("seller", "is required: name one in Billing.open or in the draft")
        has_lines(draft)  # before a number is taken for it
        numbers, assigned = self._take_number(
            transaction, DocumentKind.INVOICE, seller, stream.name, day("issued_on", on)
        )
        command = commands.FinalizeInvoice(
            number=assigned.number,
            series=numbers.to.name,
            issued_on=assigned.issued_on,
            seller=seller,
        )
        facts = decisions.decide(command, draft)
        return Decided([numbers, Append(stream, facts)], stream.name)

    def send_invoice(
        self,
        invoice: str,
        *,
        to: str | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Record that the invoice was sent to this address, or to the customer's own."""
        delivery = self._new("dlv")

        def build(current: state.Invoice) -> commands.InvoiceCommand:
            answer(commands.SendInvoice, current)
            address = to or draft_of(current).terms.customer.email
            if address is None:
                raise Malformed("to", "is required: the customer has no email")
            return made(commands.SendInvoice, delivery=delivery, to=address)

        said = {"invoice": invoice, "to": to}
        return self._change("send_invoice", invoice, said, build, call)

    def void_invoice(
        self,
        invoice: str,
        *,
        reason: str | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Withdraw an invoice that nothing ever came of; its number stays used."""
        command = made(commands.VoidInvoice, reason=reason)
        said = {"invoice": invoice, "reason": reason}
        return self._change("void_invoice", invoice, said, lambda _: command, call)

    def mark_uncollectible(
        self,
        invoice: str,
        *,
        reason: str | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Give an invoice up as bad debt; a late payment is still welcome."""
        command = made(commands.MarkUncollectible, reason=reason)
        said = {"invoice": invoice, "reason": reason}
        return self._change("mark_uncollectible", invoice, said, lambda _: command, call)
