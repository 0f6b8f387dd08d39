"""Money that a processor takes: asked for once, whatever is killed, lost or repeated.

The attempt is a fact before the processor hears of it, and names all that it will be asked.
"""

from __future__ import annotations

from typing import Unpack, cast

from counterfoil.adapters.desk import (
    Answer,
    Call,
    Decided,
    Request,
    VersionDiffers,
    expect,
    expect_version,
)
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.adapters.tenant.asking import Ask, Asking, History, issued_of, settle, told
from counterfoil.adapters.tenant.office import AmountGiven, existing, made
from counterfoil.adapters.tenant.outcomes import PaymentOutcome
from counterfoil.domain import ports
from counterfoil.domain.errors import (
    Conflict,
    Malformed,
    PaymentPending,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice import commands, decisions
from counterfoil.domain.invoice.events import PaymentAttempted
from counterfoil.domain.invoice.state import Invoice, Issued, fold
from counterfoil.domain.ports import Append, Charge, Outcome, Processor, Transaction
from counterfoil.domain.value import PaymentId


class Charging(Asking):
    """Payments by the processor."""

    def pay_invoice(
        self,
        invoice: str,
        *,
        payment_method: str | None = None,
        amount: AmountGiven | None = None,
        **call: Unpack[Call],
    ) -> PaymentOutcome:
        """Have the processor take all that remains, or a part: `Paid`, `ActionRequired`, `Declined`
        or `Processing`. Without a `payment_method`, the customer's own at the processor is asked.

        When the processor cannot be heard, `Unavailable` is raised, and the payment stays in
        progress: the same `command_id` goes on with it, or `settle_payments` does.
        """
        said = {"invoice": invoice, "payment_method": payment_method, "amount": amount}
        Request("pay_invoice", said, call)  # what is wrong with it is said before anybody is asked
        request = Request("pay_invoice", said, without_wait(call))
        command = made(
            commands.AttemptPayment,
            payment=PaymentId(self._new("py")),
            amount=amount,
            processor=self._house.processor.name,
            payment_method="default" if payment_method is None else payment_method,
        )
        answer = self._desk.known(request)
        if answer is None:
            answer = self._attempt(request, invoice, command, payment_method)
        attempted = cast("PaymentAttempted", self._history(answer)[-1].fact)
        is_new = attempted.payment == command.payment
        outcome = self._bring(invoice, attempted.payment, _charge if is_new else self._ask_again)
        self._desk.show(call)
        return outcome

    def settle_payment(self, invoice: str, **call: Unpack[Call]) -> PaymentOutcome | None:
        """Ask what became of the payment that is in progress, and take it in; None if none is.

        A payment that the processor never heard of is withdrawn, so that it never will.
        """
        return self._end(Request("settle_payment", {"invoice": invoice}, call), invoice, settle)

    def cancel_payment(self, invoice: str, **call: Unpack[Call]) -> PaymentOutcome | None:
        """Withdraw the payment that is in progress, such as one that its payer never confirmed;
        what it came to, if that is too late; None if none is in progress.
        """
        return self._end(Request("cancel_payment", {"invoice": invoice}, call), invoice, _cancel)

    def _attempt(
        self,
        request: Request,
        invoice: str,
        command: commands.AttemptPayment,
        method: str | None,
    ) -> Answer:
        try:
            method, withdrawn = self._ready(invoice, command, method, request.call)
        except (Rejected, VersionDiffers):
            # A twin of this request may have been obeyed since, and that be the reason.
            answer = self._desk.known(request)
            if answer is None:
                raise
            return answer
        meant = made(commands.AttemptPayment, **{**dict(command), "payment_method": method})

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, invoice))
            expect(stream, request.call)
            current = existing(stream)
            facts = decisions.decide(meant, current)
            if self._confirmable(current) not in {None, withdrawn}:
                raise Conflict("another payment has failed meanwhile, and may still be confirmed")
            return Decided([Append(stream, facts)], invoice)

        return self._desk.obey(request, decide)

    def _ready(
        self, invoice: str, command: commands.AttemptPayment, method: str | None, call: Call
    ) -> tuple[str, PaymentId | None]:
        """What to pay with, once nothing else can be paid any more, and what was withdrawn for
        that. Nobody is asked anything for a command that will be refused.
        """
        recorded = self._recorded(invoice)
        expect_version(invoice, recorded[-1].envelope.version, call)
        decisions.decide(command, fold(one.fact for one in recorded))
        issued = issued_of(recorded)
        failed = self._confirmable(issued)
        if failed is not None:
            self._withdraw(failed, recorded, issued)
            decisions.decide(command, fold(one.fact for one in self._recorded(invoice)))
        if method is None:
            method = self._house.processor.default_payment_method(issued.document.customer.id)
        if method is None:
            raise Malformed("payment_method", "is needed: the processor knows none of the customer")
        return method, failed

    def _confirmable(self, invoice: Invoice) -> PaymentId | None:
        """The last payment, if it failed and its payer holds an intent of our processor, and so may
        be tried again until it is withdrawn.
        """
        if not isinstance(invoice, Issued) or not invoice.failures:
            return None
        last = invoice.failures[-1]
        attempted = cast("PaymentAttempted", invoice.attempted(last.payment))
        is_so = (
            last.code != ports.CANCELED
            and invoice.payment(last.payment) is None
            and attempted.processor == self._house.processor.name
            and any(one.payment == last.payment for one in invoice.intents)
        )
        return last.payment if is_so else None

    def _withdraw(self, payment: PaymentId, recorded: History, issued: Issued) -> None:
        """Withdraw what failed, or take in that it came through after all."""
        charge = self._charge(recorded, issued, payment)
        try:
            outcome = self._house.processor.cancel(charge)
        except Unavailable as error:
            raise Unavailable(
                f"{error}; payment {payment} failed, but its payer may still confirm it, so "
                "nothing else is charged before it is withdrawn; try again later"
            ) from error
        match outcome:
            case ports.Succeeded():
                self._take_in(issued.draft.id, payment, outcome)
            case ports.Pending() | ports.NeedsAction():
                raise PaymentPending(payment)
            case ports.Declined():
                pass

    def _end(self, request: Request, invoice: str, ask: Ask) -> PaymentOutcome | None:
        answer = self._desk.known(request)
        if answer is not None:
            recorded = self._history(answer)
            return told(recorded, issued_of(recorded).attempts[-1].payment, None)
        recorded = self._recorded(invoice)
        expect_version(invoice, recorded[-1].envelope.version, request.call)
        live = issued_of(recorded).attempt
        outcome = None
        if live is not None:
            outcome = self._bring(invoice, live.payment, ask, request)
        self._desk.show(request.call)
        return outcome


def _charge(processor: Processor, charge: Charge) -> Outcome:
    return processor.charge(charge)


def _cancel(processor: Processor, charge: Charge) -> Outcome:
    return processor.cancel(charge)


def without_wait(call: Call) -> Call:
    """What the first of two writes is told: only when both are done is it waited for."""
    return cast("Call", {name: said for name, said in call.items() if name != "wait_s"})
