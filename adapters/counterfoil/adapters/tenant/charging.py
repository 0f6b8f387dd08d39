"""Money that a processor takes: asked for once, whatever is killed, lost or repeated.

The attempt is a fact before the processor hears of it, and names all that it will be asked. So
whoever finds the attempt without an outcome, at any time later, can ask what became of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Unpack, cast

from counterfoil.adapters.desk import Call, Decided, Request, expect
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.adapters.tenant.office import AmountGiven, Office, existing, made
from counterfoil.adapters.tenant.outcomes import (
    ActionRequired,
    Declined,
    Paid,
    PaymentOutcome,
    Processing,
)
from counterfoil.domain import errors, ports
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import (
    Malformed,
    NotFound,
    ProcessorNotConfigured,
    RateLimited,
    Reason,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice import commands, decisions
from counterfoil.domain.invoice.events import InvoiceEvent, News, PaymentAttempted
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.money import Money
from counterfoil.domain.ports import Append, Charge, Intent, Outcome, Processor, Transaction
from counterfoil.domain.value import PaymentId
from counterfoil.projections.invoice import Invoice, view_invoice

History = Sequence[Recorded[InvoiceEvent]]
Ask = Callable[[Processor, Charge], Outcome]


class Charging(Office):
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
        request = Request("pay_invoice", said, without_wait(call))
        payment = PaymentId(self._new("py"))
        answer = self._desk.known(request)
        if answer is None:
            method = self._ready(invoice, payment, amount, payment_method)
            command = self._attempt(payment, amount, method)

            def decide(transaction: Transaction) -> Decided:
                stream = transaction.read(of_kind(INVOICE, invoice))
                expect(stream, call)
                facts = decisions.decide(command, existing(stream))
                return Decided([Append(stream, facts)], invoice)

            answer = self._desk.obey(request, decide)
        attempted = self._history(answer)[-1].fact
        if not isinstance(attempted, PaymentAttempted):  # only `decide` above could change that
            raise TypeError(type(attempted))
        ask = _charge if attempted.payment == payment else _charge_if_unheard
        return self._bring(invoice, attempted.payment, ask, call)

    def settle_payment(self, invoice: str, **call: Unpack[Call]) -> PaymentOutcome | None:
        """Ask what became of the payment that is in progress, and take it in; None if none is.

        A payment that the processor never heard of is withdrawn, so that it never will.
        """
        live = issued_of(self._recorded(invoice)).attempt
        return None if live is None else self._bring(invoice, live.payment, settle, call)

    def cancel_payment(self, invoice: str, **call: Unpack[Call]) -> PaymentOutcome | None:
        """Withdraw the payment that is in progress, such as one that its payer never confirmed;
        what it came to, if that is too late; None if none is in progress.
        """
        live = issued_of(self._recorded(invoice)).attempt
        return None if live is None else self._bring(invoice, live.payment, _cancel, call)

    def _attempt(
        self, payment: PaymentId, amount: AmountGiven | None, method: str
    ) -> commands.AttemptPayment:
        name = self._house.processor.name
        return made(
            commands.AttemptPayment,
            payment=payment,
            amount=amount,
            processor=name,
            payment_method=method,
        )

    def _ready(
        self, invoice: str, payment: PaymentId, amount: AmountGiven | None, method: str | None
    ) -> str:
        """What to pay with, once nothing else can be paid any more. Nobody is asked anything for a
        command that will be refused.
        """
        recorded = self._recorded(invoice)
        self._hold_allowed(recorded, payment, amount, method)
        issued = issued_of(recorded)
        if self._can_still_confirm(issued):
            self._bring_late(recorded, issued)
            self._hold_allowed(self._recorded(invoice), payment, amount, method)
        if method is None:
            method = self._house.processor.default_payment_method(issued.document.customer.id)
        if method is None:
            raise Malformed("payment_method", "is needed: the processor knows none of the customer")
        return method

    def _hold_allowed(
        self,
        recorded: History,
        payment: PaymentId,
        amount: AmountGiven | None,
        method: str | None,
    ) -> None:
        command = self._attempt(payment, amount, "default" if method is None else method)
        decisions.decide(command, fold(one.fact for one in recorded))

    @staticmethod
    def _can_still_confirm(issued: Issued) -> bool:
        """Whether the payer of the last attempt holds an intent that failed, and may be tried
        again until it is withdrawn.
        """
        last = issued.failures[-1] if issued.failures else None
        return (
            last is not None
            and last.code != ports.CANCELED
            and issued.payment(last.payment) is None
            and any(one.payment == last.payment for one in issued.intents)
        )

    def _bring_late(self, recorded: History, issued: Issued) -> None:
        """Withdraw what failed, or take in that it came through after all."""
        payment = issued.failures[-1].payment
        charge = self._charge(recorded, issued, payment)
        outcome = self._asked(charge, _cancel)
        match outcome:
            case ports.Succeeded():
                self._take_in(issued.draft.id, payment, outcome, None, {})
            case ports.Pending() | ports.NeedsAction():
                raise errors.PaymentPending(payment)
            case ports.Declined():
                pass

    def _bring(self, invoice: str, payment: PaymentId, ask: Ask, call: Call) -> PaymentOutcome:
        """Ask the processor about a payment that has not ended, take in what it says, and tell."""
        recorded = self._recorded(invoice)
        issued = issued_of(recorded)
        intent = None
        if not issued.ended(payment):
            charge = self._charge(recorded, issued, payment)
            outcome = self._asked(charge, ask)
            if isinstance(outcome, ports.NeedsAction):
                intent = outcome.intent
            self._take_in(invoice, payment, outcome, None, call)
            recorded = self._recorded(invoice)
        return _told(recorded, payment, intent)

    def _charge(self, recorded: History, issued: Issued, payment: PaymentId) -> Charge:
        """What the processor is asked: all of it comes from facts."""
        one = next(
            one
            for one in recorded
            if isinstance(one.fact, PaymentAttempted) and one.fact.payment == payment
        )
        attempted = cast("PaymentAttempted", one.fact)
        self._hold_processor(payment, attempted.processor)
        intents = [known.intent for known in issued.intents if known.payment == payment]
        return Charge(
            key=key_of("charge", self._name, issued.draft.id, payment),
            amount=Money(attempted.amount, issued.draft.currency),
            payment_method=attempted.payment_method,
            tenant=self._name,
            invoice=issued.draft.id,
            payment=payment,
            customer=issued.document.customer.id,
            attempted_at=one.envelope.recorded_at,
            reference=intents[-1] if intents else None,
        )

    def _asked(self, charge: Charge, ask: Ask) -> Outcome:
        try:
            return ask(self._house.processor, charge)
        except Unavailable as error:
            raise unheard(error, f"payment {charge.payment}", charge.invoice) from error

    def _hold_processor(self, payment: str, name: str | None) -> None:
        """Never ask one processor about another's payment: it would know of none."""
        ours = self._house.processor.name
        if ours != name:
            raise ProcessorNotConfigured(
                f"payment {payment} is one of {name}, and the processor here is {ours}"
            )

    def _take_in(
        self, invoice: str, payment: PaymentId, outcome: Outcome, news: News | None, call: Call
    ) -> None:
        """Record what a processor said of a payment."""
        command = _command(payment, outcome, news)
        if command is None:
            return
        try:
            self._change("hear_payment", invoice, {}, lambda _: command, waiting(call))
        except Rejected as refused:
            # Somebody else has heard more of it meanwhile, such as that the payer confirmed.
            if news is not None or refused.reason is not Reason.PAYMENT_ENDED:
                raise

    def _recorded(self, invoice: str) -> History:
        recorded = self._house.log.read(self._name, of_kind(INVOICE, invoice))
        return cast("History", recorded)


def key_of(kind: str, *names: str) -> str:
    """What makes a request to a processor the same request, for ever and everywhere."""
    return f"{kind}_{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def _charge(processor: Processor, charge: Charge) -> Outcome:
    return processor.charge(charge)


def _charge_if_unheard(processor: Processor, charge: Charge) -> Outcome:
    return processor.retrieve(charge) or processor.charge(charge)


def settle(processor: Processor, charge: Charge) -> Outcome:
    """What became of a charge, which takes no money from now on if it has not arrived yet."""
    return processor.retrieve(charge) or processor.cancel(charge)


def _cancel(processor: Processor, charge: Charge) -> Outcome:
    return processor.cancel(charge)


def _command(
    payment: PaymentId, outcome: Outcome, news: News | None
) -> commands.InvoiceCommand | None:
    match outcome:
        case ports.Succeeded(reference=reference):
            return commands.SucceedPayment(payment=payment, reference=reference, news=news)
        case ports.NeedsAction(intent=intent):
            return commands.RequirePaymentAction(payment=payment, intent=intent.id, news=news)
        case ports.Declined(code=code, message=message, retryable=retryable):
            return commands.FailPayment(
                payment=payment, code=code, message=message, retryable=retryable, news=news
            )
        case ports.Pending():
            return None


def _told(recorded: History, payment: PaymentId, intent: Intent | None) -> PaymentOutcome:
    """What the facts say of a payment. The secret of an intent is not among them."""
    issued = issued_of(recorded)
    invoice = shown(recorded)
    if issued.payment(payment) is not None:
        return Paid(invoice)
    for failed in issued.failures:
        if failed.payment == payment:
            error = errors.PaymentDeclined(failed.code, failed.message, retryable=failed.retryable)
            return Declined(invoice, error)
    for required in reversed(issued.intents):
        if required.payment == payment:
            if intent is None or intent.id != required.intent:
                intent = Intent(required.intent)
            return ActionRequired(invoice, intent)
    return Processing(invoice, payment)


def issued_of(recorded: History) -> Issued:
    """The invoice that these facts make; a draft has no payments."""
    match fold(one.fact for one in recorded):
        case Issued() as issued:
            return issued
        case None:
            raise NotFound("invoice")
        case other:
            raise Rejected(Reason.IS_DRAFT, id=other.id)


def shown(recorded: History) -> Invoice:
    """The invoice as its users see it."""
    return cast("Invoice", view_invoice(recorded))


def unheard(error: Unavailable, what: str, invoice: str) -> Unavailable:
    """The same fault, with what can be done about it."""
    problem = (
        f"{error}; {what} of {invoice} is in progress: repeat it under the same command_id, "
        "or settle it later"
    )
    if isinstance(error, RateLimited):
        return RateLimited(problem, error.retry_after_s)
    return Unavailable(problem)


def without_wait(call: Call) -> Call:
    """What the first of two writes is told: only the second is waited for."""
    return cast("Call", {name: said for name, said in call.items() if name != "wait_s"})


def waiting(call: Call) -> Call:
    """What the second of two writes is told."""
    return {"wait_s": call["wait_s"]} if "wait_s" in call else {}
