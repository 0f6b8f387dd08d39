"""What Stripe's payment methods for tests do when they are charged, confirmed and refunded."""

from __future__ import annotations

import re

from counterfoil.domain.ports import Declined, Intent, NeedsAction, Outcome, Pending, Succeeded

# The name of an outcome until the processor gives it one.
UNNAMED = ""

_DECLINED = "Your card was declined."
_DECLINES = {
    "chargeDeclined": Declined("generic_decline", _DECLINED, retryable=True),
    "chargeCustomerFail": Declined("generic_decline", _DECLINED, retryable=True),
    "chargeDeclinedInsufficientFunds": Declined(
        "insufficient_funds", "Your card has insufficient funds.", retryable=True
    ),
    "chargeDeclinedProcessingError": Declined(
        "processing_error", "An error occurred while processing your card.", retryable=True
    ),
    "chargeDeclinedVelocityLimitExceeded": Declined(
        "card_velocity_exceeded", "Your card was used too often.", retryable=True
    ),
    "chargeDeclinedLostCard": Declined("lost_card", _DECLINED, retryable=False),
    "chargeDeclinedStolenCard": Declined("stolen_card", _DECLINED, retryable=False),
    "chargeDeclinedFraudulent": Declined("fraudulent", _DECLINED, retryable=False),
    "chargeDeclinedExpiredCard": Declined(
        "expired_card", "Your card has expired.", retryable=False
    ),
    "chargeDeclinedIncorrectCvc": Declined(
        "incorrect_cvc", "Your card's security code is incorrect.", retryable=False
    ),
}
_SHORT_OF_MONEY = "authenticationRequiredChargeDeclinedInsufficientFunds"
_ASK_THE_PAYER = {
    "authenticationRequired",
    "authenticationRequiredOnSetup",
    "threeDSecureRequired",
    "threeDSecure2Required",
    _SHORT_OF_MONEY,
}
_BANK_DEBITS = ("pm_usBankAccount", "pm_sepaDebit", "pm_bacsDebit")
_BRANDS = "visa|mastercard|amex|discover|diners|jcb|unionpay"
_GOOD = re.compile(
    rf"({_BRANDS})(_debit|_prepaid)?|[a-z]{{2}}(_debit)?|pendingRefund|refundFail"
    r"|bypassPending(International)?|create\w*Disputes?\w*|riskLevelElevated|(avs|cvc)\w+"
)
_PREFIX = re.compile(rf"pm_card_(({_BRANDS})_(?=charge))?")


def charged(method: str) -> Outcome:
    """What charging this method comes to."""
    card = _card(method)
    if card is None:
        if method.startswith(_BANK_DEBITS):
            return Pending()
        if method.startswith("pm_") and not method.startswith("pm_card"):
            return Succeeded(UNNAMED)
    elif card in _DECLINES:
        return _DECLINES[card]
    elif card in _ASK_THE_PAYER:
        return NeedsAction(Intent(UNNAMED))
    elif _GOOD.fullmatch(card):
        return Succeeded(UNNAMED)
    # A misspelt name must not pass for a good card.
    return Declined("resource_missing", "There is no such payment method.", retryable=False)


def confirmed(method: str) -> Outcome:
    """What it comes to once the payer has confirmed, or the bank has answered."""
    if _card(method) == _SHORT_OF_MONEY:
        return _DECLINES["chargeDeclinedInsufficientFunds"]
    return Succeeded(UNNAMED)


def refunded(method: str) -> Outcome:
    """What giving money back comes to."""
    match _card(method):
        case "pendingRefund":
            return Pending()
        case "refundFail":
            return Declined("expired_or_canceled_card", "The card is gone.", retryable=False)
        case _:
            return Succeeded(UNNAMED)


def _card(method: str) -> str | None:
    """The name without `pm_card_` and without a brand that makes no difference."""
    prefix = _PREFIX.match(method)
    return None if prefix is None else method[prefix.end() :]
