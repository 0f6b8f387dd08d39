"""What follows when money is asked for, comes, does not come, or goes back?

What a processor did is a fact whenever it is heard, money that came most of all. What it says twice
or late changes nothing: its own time orders what it says of one payment.
"""

from __future__ import annotations

from decimal import Decimal

from counterfoil.domain.errors import Reason, Rejected
from counterfoil.domain.invoice.commands import (
    AttemptPayment,
    AttemptRefund,
    FailPayment,
    FailRefund,
    RecordPayment,
    RefundPayment,
    RequirePaymentAction,
    SucceedPayment,
)
from counterfoil.domain.invoice.events import (
    InvoiceEvent,
    InvoicePaid,
    News,
    PaidReason,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
    Status,
)
from counterfoil.domain.invoice.state import Issued
from counterfoil.domain.money import Money, in_range, minor_units
from counterfoil.domain.value import PaymentId

Facts = tuple[InvoiceEvent, ...]


def amount_of(given: Money | Decimal | int | None, otherwise: int, invoice: Issued) -> int:
    """What was given in minor units, or this if nothing was."""
    return otherwise if given is None else minor_units("amount", given, invoice.draft.currency)


# --- money that a processor is asked for --------------------------------------------------------


def attempt(command: AttemptPayment, invoice: Issued) -> Facts:
    """A processor is about to be asked; one attempt at a time."""
    amount = amount_of(command.amount, invoice.amount_remaining, invoice)
    attempted = PaymentAttempted(
        payment=command.payment,
        amount=amount,
        processor=command.processor,
        payment_method=command.payment_method,
    )
    if attempted == invoice.attempt:
        return ()
    if not 0 < amount <= invoice.amount_remaining:
        raise Rejected(Reason.PAYMENT_EXCEEDS_REMAINING, left=invoice.amount_remaining)
    if invoice.attempt is not None:
        raise Rejected(Reason.PAYMENT_IN_PROGRESS, payment=invoice.attempt.payment)
    _hold_unused(command.payment, invoice)
    _hold_storable(amount, invoice)
    return (attempted,)


def _hold_unused(payment: PaymentId, invoice: Issued) -> None:
    if invoice.attempted(payment) is not None or invoice.payment(payment) is not None:
        raise Rejected(Reason.PAYMENT_EXISTS, payment=payment)


def require_action(command: RequirePaymentAction, invoice: Issued) -> Facts:
    """The payer must confirm."""
    required = PaymentActionRequired(**dict(command))
    known = any(
        (one.payment, one.intent) == (required.payment, required.intent) for one in invoice.intents
    )
    # Of an intent that is known, only newer news says something: earlier news is late from now on.
    if _heard(command.news, invoice) or (known and command.news is None):
        return ()
    _hold_live(command.payment, invoice)
    _hold_newest(command.payment, command.news, invoice)
    return (required,)


def fail(command: FailPayment, invoice: Issued) -> Facts:
    """The processor refused."""
    failed = PaymentFailed(**dict(command))
    same = any((one.payment, one.code) == (failed.payment, failed.code) for one in invoice.failures)
    if same or _heard(command.news, invoice):
        return ()
    _hold_live(command.payment, invoice)
    _hold_newest(command.payment, command.news, invoice)
    return (failed,)


def succeed(command: SucceedPayment, invoice: Issued) -> Facts:
    """The processor has the money, whatever it said before: a payer may confirm late."""
    known = invoice.payment(command.payment)
    if known is not None and (
        known.reference == command.reference or _heard(command.news, invoice)
    ):
        return ()
    attempt = invoice.attempted(command.payment)
    if known is not None or attempt is None:
        raise _no_attempt(command.payment, invoice)
    settled_before = min(attempt.amount, invoice.settled)
    received = PaymentSucceeded(
        payment=attempt.payment,
        amount=attempt.amount,
        surplus=_surplus(attempt.amount - settled_before, invoice),
        processor=attempt.processor,
        reference=command.reference,
        settled_before=settled_before,
        news=command.news,
    )
    return _with_paid(received, invoice)


def _hold_live(payment: PaymentId, invoice: Issued) -> None:
    if invoice.attempt is None or invoice.attempt.payment != payment:
        raise _no_attempt(payment, invoice)


def _no_attempt(payment: PaymentId, invoice: Issued) -> Rejected:
    why = Reason.PAYMENT_ENDED if invoice.ended(payment) else Reason.NO_SUCH_PAYMENT
    return Rejected(why, payment=payment)


def _heard(news: News | None, invoice: Issued) -> bool:
    """Whether this event of the processor was taken in before; it counts once, for ever."""
    told = [
        *(one.news for one in invoice.intents),
        *(one.news for one in invoice.failures),
        *(one.news for one in invoice.payments),
    ]
    return news is not None and any(
        one is not None and one.provider_event == news.provider_event for one in told
    )


def _hold_newest(payment: PaymentId, news: News | None, invoice: Issued) -> None:
    told = [one.news for one in invoice.intents if one.payment == payment]
    known = max((one.occurred_at for one in told if one is not None), default=None)
    if news is not None and known is not None and news.occurred_at < known:
        raise Rejected(Reason.OUTDATED, known=known, given=news.occurred_at)


# --- money that comes another way ---------------------------------------------------------------


def record(command: RecordPayment, invoice: Issued) -> Facts:
    """Money came by bank, or in cash."""
    amount = minor_units("amount", command.amount, invoice.draft.currency)
    known = invoice.payment(command.payment)
    if known is not None and (known.amount, known.reference) == (amount, command.reference):
        return ()
    _hold_unused(command.payment, invoice)
    _hold_storable(amount, invoice)
    received = PaymentSucceeded(
        payment=command.payment,
        amount=amount,
        surplus=_surplus(amount, invoice),
        reference=command.reference,
        received_at=command.received_at,
    )
    return _with_paid(received, invoice)


def _hold_storable(amount: int, invoice: Issued) -> None:
    """All the money that came, or may still come, must fit wherever it is added up."""
    came = sum(payment.amount for payment in invoice.payments)
    may_come = sum(one.amount for one in invoice.attempts if invoice.payment(one.payment) is None)
    in_range("amount", amount + came + may_come)


def _surplus(amount: int, invoice: Issued) -> int:
    return max(0, amount - invoice.amount_remaining) if _is_owed(invoice) else amount


def _with_paid(received: PaymentSucceeded, invoice: Issued) -> Facts:
    if _is_owed(invoice) and received.amount - received.surplus == invoice.amount_remaining:
        return (received, InvoicePaid(reason=PaidReason.PAYMENT))
    return (received,)


def _is_owed(invoice: Issued) -> bool:
    return invoice.status in {Status.OPEN, Status.UNCOLLECTIBLE}


# --- money that goes back -----------------------------------------------------------------------


def attempt_refund(command: AttemptRefund, invoice: Issued) -> Facts:
    """A processor is about to be asked; what it is asked for is no longer there for others."""
    payment = _received(command.payment, invoice)
    known = invoice.refund_attempt(command.refund)
    if known is not None and (known.payment, known.amount) == (
        command.payment,
        amount_of(command.amount, known.amount, invoice),
    ):
        return ()
    if known is not None or invoice.refund(command.refund) is not None:
        raise Rejected(Reason.REFUND_EXISTS, refund=command.refund)
    left = _refundable(payment, invoice)
    amount = amount_of(command.amount, left, invoice)
    _hold_refundable(amount, left, payment)
    return (RefundAttempted(**{**dict(command), "amount": amount}),)


def fail_refund(command: FailRefund, invoice: Issued) -> Facts:
    """The money did not go back; or it did, and the bank of the payer has returned it."""
    went = invoice.refund(command.refund)
    if went is not None:
        return _came_back(command, went, invoice)
    if any(one.refund == command.refund for one in invoice.refund_failures):
        return ()
    attempted = invoice.refund_attempt(command.refund)
    if attempted is None:
        raise Rejected(Reason.NO_SUCH_REFUND, refund=command.refund)
    return (RefundFailed(**dict(command), payment=attempted.payment),)


def _came_back(command: FailRefund, went: PaymentRefunded, invoice: Issued) -> Facts:
    settles = min(went.reopened, invoice.amount_remaining) if _is_owed(invoice) else 0
    failed = RefundFailed(**dict(command), payment=went.payment, surplus=went.reopened - settles)
    if settles and settles == invoice.amount_remaining:
        return (failed, InvoicePaid(reason=PaidReason.PAYMENT))
    return (failed,)


def refund(command: RefundPayment, invoice: Issued) -> Facts:
    """Money went back: what was attempted under this id, or what is said here."""
    payment = _received(command.payment, invoice)
    if command.refund in invoice.returned:  # that it went is heard late: it has come back since
        return ()
    attempt = invoice.refund_attempt(command.refund)
    known = invoice.refund(command.refund) or attempt
    if known is not None:
        asked = amount_of(command.amount, known.amount, invoice)
        if (known.payment, known.amount) != (command.payment, asked):
            raise Rejected(Reason.REFUND_EXISTS, refund=command.refund)
        if isinstance(known, PaymentRefunded):
            return ()
    left = _refundable(payment, invoice)
    if attempt is not None and attempt in invoice.refunding:  # what is held, is held for this one
        left += attempt.amount
    amount = amount_of(command.amount, left if attempt is None else attempt.amount, invoice)
    _hold_refundable(amount, left, payment)
    return (
        PaymentRefunded(
            payment=command.payment,
            refund=command.refund,
            amount=amount,
            reopened=_reopened(amount, payment, invoice),
            reason=command.reason,
            reference=command.reference,
        ),
    )


def _received(payment: PaymentId, invoice: Issued) -> PaymentSucceeded:
    received = invoice.payment(payment)
    if received is None:
        raise Rejected(Reason.NO_SUCH_PAYMENT, payment=payment)
    return received


def _refundable(payment: PaymentSucceeded, invoice: Issued) -> int:
    gone = sum(one.amount for one in invoice.refunds if one.payment == payment.payment)
    held = sum(one.amount for one in invoice.refunding if one.payment == payment.payment)
    return payment.amount - gone - held


def _hold_refundable(amount: int, left: int, payment: PaymentSucceeded) -> None:
    if not 0 < amount <= left:
        raise Rejected(Reason.REFUND_EXCEEDS_PAYMENT, left=left, payment=payment.payment)


def _reopened(amount: int, payment: PaymentSucceeded, invoice: Issued) -> int:
    """What the customer owes again: nothing once settled, and a surplus goes back first."""
    if not _is_owed(invoice):
        return 0
    earlier = [one for one in invoice.refunds if one.payment == payment.payment]
    surplus_gone = sum(one.amount - one.reopened for one in earlier)
    came_back = [one for one in invoice.refund_failures if one.payment == payment.payment]
    surplus = payment.surplus + sum(one.surplus for one in came_back)
    return amount - min(amount, max(0, surplus - surplus_gone))
