"""What a processor says by itself, by a webhook: whoever confirmed late, what a bank came to, what
was refunded at its desk. Said twice or late, it changes nothing.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from counterfoil.adapters.processors import stripe_answers, words
from counterfoil.adapters.processors.stripe_amounts import from_units
from counterfoil.adapters.processors.webhook import Delivery
from counterfoil.adapters.tenant.asking import issued_of
from counterfoil.adapters.tenant.documents import Documents
from counterfoil.adapters.tenant.office import made
from counterfoil.adapters.tenant.payments import Payments
from counterfoil.adapters.tenant.settling import Settling
from counterfoil.domain import ports
from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.invoice import commands
from counterfoil.domain.invoice.events import News, Status
from counterfoil.domain.money import Money
from counterfoil.domain.value import PaymentId, RefundId
from counterfoil.projections.invoice import Invoice

# So long it is waited for read models that follow behind, before the processor is to say it again.
BEHIND_S = 5.0

Shape = TypeVar("Shape", bound=BaseModel)

# What is said when an intent is made is not yet an outcome.
_PAYMENTS = {
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
}
_REFUNDS = {"refund.created", "refund.updated", "refund.failed"}
_CANONICAL = {
    "invoice.paid": Status.PAID,
    "invoice.voided": Status.VOID,
    "invoice.marked_uncollectible": Status.UNCOLLECTIBLE,
}


class Hearing(Settling, Payments, Documents):
    """Webhooks."""

    def hear(self, delivery: Delivery) -> Invoice | None:
        """Take in what the processor says, and return the invoice after it; None if it says nothing
        of an invoice of ours.

        `Rejected` with OUTDATED or PAYMENT_ENDED when more is known already: answer the processor
        that all is well, for it would say the same again. `Malformed` if it names another tenant.
        """
        invoice = delivery.invoice
        if invoice is None:
            return self._hear_of_desk(delivery) if delivery.type in _REFUNDS else None
        if delivery.tenant != self._name:
            raise Malformed("metadata.counterfoil_tenant", "names another tenant")
        if delivery.type in _PAYMENTS and delivery.payment:
            self._hear_payment(invoice, PaymentId(delivery.payment), delivery)
        elif delivery.type in _REFUNDS and delivery.refund:
            self._hear_refund(invoice, RefundId(delivery.refund), delivery)
        elif delivery.type in _CANONICAL:
            self.reconcile_invoice(
                invoice,
                status=_CANONICAL[delivery.type],
                provider=self._house.processor.name,
                provider_event_id=delivery.id,
                occurred_at=delivery.occurred_at,
            )
        else:
            return None
        return self.get_invoice(invoice)

    def _hear_payment(self, invoice: str, payment: PaymentId, delivery: Delivery) -> None:
        issued = issued_of(self._recorded(invoice))
        attempted = issued.attempted(payment)
        if attempted is None:
            raise NotFound("payment", words.name(payment))
        self._hold_processor(payment, attempted.processor)
        amount = Money(attempted.amount, issued.draft.currency)
        intent = _read(stripe_answers.PaymentIntent, delivery)
        outcome = stripe_answers.outcome(intent, amount)
        news = News(provider_event=delivery.id, occurred_at=delivery.occurred_at)
        self._take_in(invoice, payment, outcome, news=news)

    def _hear_refund(self, invoice: str, refund: RefundId, delivery: Delivery) -> None:
        issued = issued_of(self._recorded(invoice))
        attempted = issued.refund_attempt(refund)
        if attempted is None:
            raise NotFound("refund", words.name(refund))
        amount = Money(attempted.amount, issued.draft.currency)
        said = _read(stripe_answers.Refund, delivery)
        self._take_back(invoice, attempted, stripe_answers.refund_outcome(said, amount))

    def _hear_of_desk(self, delivery: Delivery) -> Invoice | None:
        """Record what somebody refunded at the processor's own desk, or what came back of that."""
        said = _read(stripe_answers.Refund, delivery)
        amount = from_units(said.amount, said.currency)
        charge = delivery.about.get("payment_intent")
        if amount is None or not isinstance(charge, str):
            return None
        self._desk.show({"wait_s": BEHIND_S})
        ours = self._house.processor.name
        found = [one for one in self.payments.list(reference=charge) if one.processor == ours]
        if not found:
            return None
        payment = found[0]
        command: commands.RefundPayment | commands.FailRefund | None = None
        match stripe_answers.refund_outcome(said, amount):
            case ports.Succeeded(reference=refund):
                command = made(
                    commands.RefundPayment,
                    payment=payment.id,
                    refund=refund,
                    amount=amount,
                    reference=refund,
                )
            case ports.Declined(code=code, message=message):
                issued = issued_of(self._recorded(payment.invoice))
                if issued.refund(RefundId(said.id)) is not None:
                    command = made(commands.FailRefund, refund=said.id, code=code, message=message)
            case _:
                pass
        if command is None:
            return None
        return self._change("hear_refund", payment.invoice, {}, lambda _: command, {})


def _read(shape: type[Shape], delivery: Delivery) -> Shape:
    try:
        return shape.model_validate(delivery.about)
    except ValidationError:
        raise Malformed("body", f"holds no object of {delivery.type}") from None
