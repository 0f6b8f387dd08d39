"""Money that goes back. As with a payment, the attempt is a fact before the processor hears of it,
and what is attempted is no longer there for another refund.
"""

from __future__ import annotations

from typing import Unpack, cast

from counterfoil.adapters.desk import Call, Decided, Request, expect
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.adapters.processors import words
from counterfoil.adapters.tenant.asking import issued_of, key_of, shown, unheard
from counterfoil.adapters.tenant.charging import Charging, without_wait
from counterfoil.adapters.tenant.office import AmountGiven, existing, made
from counterfoil.domain import ports
from counterfoil.domain.errors import Malformed, PaymentDeclined, Reason, Rejected, Unavailable
from counterfoil.domain.invoice import commands, decisions, state
from counterfoil.domain.invoice.events import PaymentSucceeded, RefundAttempted
from counterfoil.domain.invoice.state import Issued
from counterfoil.domain.money import Money
from counterfoil.domain.ports import Append, Outcome, Repayment, Transaction
from counterfoil.domain.value import RefundId
from counterfoil.projections.invoice import Invoice


class Refunding(Charging):
    """Refunds."""

    def refund_payment(
        self,
        invoice: str,
        *,
        payment: str | None = None,
        amount: AmountGiven | None = None,
        reason: str | None = None,
        reference: str | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Give back all that is left of a payment, or a part. `payment` may be left out when there
        was but one. The processor that took it gives it back; what came another way, or what a
        `reference` says went back another way, is recorded.

        `PaymentDeclined` when the processor refuses. A refund that takes days is pending in
        `acme.payments.refunds(id)`, until it is settled.
        """
        said = {
            "invoice": invoice,
            "payment": payment,
            "amount": amount,
            "reason": reason,
            "reference": reference,
        }
        if reference is not None and not reference.strip():
            raise Malformed("reference", "must not be blank: it says how the money went back")
        Request("refund_payment", said, call)  # whatever it says wrong is said before all else
        request = Request("refund_payment", said, without_wait(call))
        refund = RefundId(self._new("re"))

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, call)
            current = existing(stream)
            received = _received(current, payment)
            meant: dict[str, object] = {
                "payment": payment or "none" if received is None else received.payment,
                "refund": refund,
                "amount": amount,
                "reason": reason,
            }
            command: commands.AttemptRefund | commands.RefundPayment
            if reference is None and received is not None and received.processor is not None:
                self._hold_processor(received.payment, received.processor)
                command = made(commands.AttemptRefund, **meant)
            else:
                command = made(commands.RefundPayment, **meant, reference=reference)
            return Decided([Append(stream, decisions.decide(command, current))], invoice)

        answer = self._desk.obey(request, decide)
        match self._history(answer)[-1].fact:
            case RefundAttempted(refund=attempted):
                after = self._bring_back(invoice, attempted)
            case _:
                after = self._invoice(answer)
        self._desk.show(call)
        return after

    def _bring_back(self, invoice: str, refund: RefundId) -> Invoice:
        """Ask the processor for a refund that has not ended, take in what it says, and tell."""
        recorded = self._recorded(invoice)
        issued = issued_of(recorded)
        for attempted in issued.refunding:
            if attempted.refund == refund:
                self._ask_back(issued, attempted)
                recorded = self._recorded(invoice)
        for failed in issued_of(recorded).refund_failures:
            if failed.refund == refund:
                raise PaymentDeclined(failed.code, failed.message, retryable=False)
        return shown(recorded)

    def _ask_back(self, issued: Issued, attempted: RefundAttempted) -> None:
        invoice, refund = issued.draft.id, attempted.refund
        payment = cast("PaymentSucceeded", issued.payment(attempted.payment))
        self._hold_processor(payment.payment, payment.processor)
        repayment = Repayment(
            key=key_of("refund", self._name, invoice, refund),
            amount=Money(attempted.amount, issued.draft.currency),
            charge=payment.reference or "",
            tenant=self._name,
            invoice=invoice,
            payment=payment.payment,
            refund=refund,
        )
        try:
            outcome = self._house.processor.refund(repayment)
        except Unavailable as error:
            raise unheard(error, f"refund {refund}", invoice) from error
        self._take_back(invoice, attempted, outcome)

    def _take_back(self, invoice: str, attempted: RefundAttempted, outcome: Outcome) -> None:
        """Record what a processor said of a refund."""
        command: commands.InvoiceCommand
        match outcome:
            case ports.Succeeded(reference=reference):
                command = commands.RefundPayment(
                    payment=attempted.payment,
                    refund=attempted.refund,
                    reason=attempted.reason,
                    reference=words.name(reference),
                )
            case ports.Declined(code=code, message=message):
                command = commands.FailRefund(
                    refund=attempted.refund,
                    code=words.clean_code(code),
                    message=words.said(message),
                )
            case _:
                return
        self._change("hear_refund", invoice, {}, lambda _: command, {})


def _received(invoice: state.Invoice, payment: str | None) -> PaymentSucceeded | None:
    """The payment that is meant, if its money came."""
    received = invoice.payments if isinstance(invoice, Issued) else ()
    if payment is None and len(received) > 1:
        raise Malformed("payment", "is needed: the invoice was paid by several")
    if payment is None and not received and isinstance(invoice, Issued):
        raise Rejected(Reason.NO_SUCH_PAYMENT, payment="that came")
    meant = [one for one in received if payment in {None, one.payment}]
    return meant[0] if meant else None
