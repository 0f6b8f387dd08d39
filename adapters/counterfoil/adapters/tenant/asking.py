"""Asking a processor about a payment, and taking in what it says.

All that is asked derives from facts, so whoever finds an attempt without an outcome, at any time
later, can ask what became of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import cast

from counterfoil.adapters.desk import Call, Request
from counterfoil.adapters.names import INVOICE, of_kind
from counterfoil.adapters.processors import words
from counterfoil.adapters.tenant.office import Office
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
    NotFound,
    ProcessorNotConfigured,
    RateLimited,
    Reason,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice import commands
from counterfoil.domain.invoice.events import InvoiceEvent, News, PaymentAttempted
from counterfoil.domain.invoice.state import Discarded, Issued, fold
from counterfoil.domain.money import Money
from counterfoil.domain.ports import Charge, Intent, Outcome, Processor
from counterfoil.domain.value import PaymentId
from counterfoil.projections.invoice import Invoice, view_invoice

# Processors forget the key of a request after a day; so long it may be sent once more.
REPEATABLE = timedelta(hours=20)

History = Sequence[Recorded[InvoiceEvent]]
Ask = Callable[[Processor, Charge], Outcome]


class Asking(Office):
    """What all rooms do that speak with the processor."""

    def _recorded(self, invoice: str) -> History:
        recorded = self._house.log.read(self._name, of_kind(INVOICE, invoice))
        if not recorded:
            raise NotFound("invoice", invoice)
        return cast("History", recorded)

    def _bring(
        self, invoice: str, payment: PaymentId, ask: Ask, request: Request | None = None
    ) -> PaymentOutcome:
        """Ask the processor about a payment that has not ended, take in what it says, and tell.
        What is taken in is the answer to `request`, for whoever repeats it.
        """
        recorded = self._recorded(invoice)
        issued = issued_of(recorded)
        intent = None
        if not issued.ended(payment):
            outcome = self._asked(self._charge(recorded, issued, payment), ask)
            if isinstance(outcome, ports.NeedsAction):
                intent = outcome.intent
            self._take_in(invoice, payment, outcome, request=request)
            recorded = self._recorded(invoice)
        return told(recorded, payment, intent)

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

    def _hold_processor(self, payment: str, name: str | None) -> None:
        """Never ask one processor about another's payment: it would know of none."""
        ours = self._house.processor.name
        if ours != name:
            raise ProcessorNotConfigured(
                f"payment {payment} is one of {name}, and the processor here is {ours}"
            )

    def _asked(self, charge: Charge, ask: Ask) -> Outcome:
        try:
            return ask(self._house.processor, charge)
        except Unavailable as error:
            raise unheard(error, f"payment {charge.payment}", charge.invoice) from error

    def _ask_again(self, processor: Processor, charge: Charge) -> Outcome:
        """Go on with a charge of which nobody knows how far it came."""
        outcome = processor.retrieve(charge)
        if outcome is not None:
            return outcome
        is_repeatable = self._house.clock() - charge.attempted_at < REPEATABLE
        return processor.charge(charge) if is_repeatable else processor.cancel(charge)

    def _take_in(
        self,
        invoice: str,
        payment: PaymentId,
        outcome: Outcome,
        *,
        news: News | None = None,
        request: Request | None = None,
    ) -> None:
        """Record what a processor said of a payment."""
        command = _command(payment, outcome, news)
        if command is None:
            return
        name, said, call = "hear_payment", {}, Call()
        if request is not None:
            name, said = request.name, dict(request.arguments)
            call = Call(command_id=request.command_id)
        try:
            self._change(name, invoice, said, lambda _: command, call)
        except Rejected as refused:
            # Somebody else has heard more of it meanwhile, such as that the payer confirmed.
            if news is not None or refused.reason is not Reason.PAYMENT_ENDED:
                raise


def settle(processor: Processor, charge: Charge) -> Outcome:
    """What became of a charge, which takes no money from now on if it has not arrived yet."""
    return processor.retrieve(charge) or processor.cancel(charge)


def issued_of(recorded: History) -> Issued:
    """The invoice that these facts make; a draft has no payments."""
    match fold(one.fact for one in recorded):
        case Issued() as issued:
            return issued
        case Discarded():
            raise Rejected(Reason.DISCARDED)
        case _:
            raise Rejected(Reason.IS_DRAFT)


def shown(recorded: History) -> Invoice:
    """The invoice as its users see it."""
    return cast("Invoice", view_invoice(recorded))


def key_of(kind: str, *names: str) -> str:
    """What makes a request to a processor the same request, for ever and everywhere."""
    return f"{kind}_{hashlib.sha256(json.dumps(names).encode()).hexdigest()}"


def unheard(error: Unavailable, what: str, invoice: str) -> Unavailable:
    """The same fault, with what can be done about it."""
    problem = (
        f"{error}; {what} of {invoice} is in progress: repeat it under the same command_id, "
        "or settle it later"
    )
    if isinstance(error, RateLimited):
        return RateLimited(problem, error.retry_after_s)
    return Unavailable(problem)


def _command(
    payment: PaymentId, outcome: Outcome, news: News | None
) -> commands.InvoiceCommand | None:
    """What to record: the money has moved or not, so no word of theirs may stand in the way."""
    match outcome:
        case ports.Succeeded(reference=reference):
            return commands.SucceedPayment(
                payment=payment, reference=words.name(reference), news=news
            )
        case ports.NeedsAction(intent=intent):
            return commands.RequirePaymentAction(
                payment=payment, intent=words.name(intent.id), news=news
            )
        case ports.Declined(code=code, message=message, retryable=retryable):
            return commands.FailPayment(
                payment=payment,
                code=words.clean_code(code),
                message=words.said(message),
                retryable=retryable,
                news=news,
            )
        case ports.Pending():
            return None


def told(recorded: History, payment: PaymentId, intent: Intent | None) -> PaymentOutcome:
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
