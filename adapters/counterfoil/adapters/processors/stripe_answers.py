"""What does an answer of Stripe mean for us? Our words name what happened and what to do, never a
key, a secret of a payer, or personal data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterfoil.adapters.processors.stripe_amounts import from_units
from counterfoil.adapters.processors.words import clean_code, said
from counterfoil.domain.errors import (
    CounterfoilError,
    ProcessorNotConfigured,
    RateLimited,
    Unavailable,
)
from counterfoil.domain.money import Money
from counterfoil.domain.ports import (
    Declined,
    Intent,
    NeedsAction,
    Outcome,
    Pending,
    Succeeded,
)

if TYPE_CHECKING:
    from stripe import StripeError, StripeObject

KEY: Final = "counterfoil_key"
PLACEHOLDER: Final = "counterfoil_placeholder"

NOT_REPRESENTABLE: Final = Declined(
    "amount_not_representable", "Stripe cannot take exactly this amount", retryable=False
)
WITHDRAWN: Final = Declined(
    "canceled", "never charged: the request was withdrawn before it arrived", retryable=True
)
_CANCELED: Final = Declined("canceled", "canceled at Stripe before any money moved", retryable=True)
_NOT_PAID: Final = Declined(
    "payment_method_required", "Stripe holds no payment method for it", retryable=True
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Asking the same card or account again ends the same, or is forbidden by the networks:
# https://docs.stripe.com/declines/codes. All others are worth another try.
_FINAL: Final = _words(
    """
    account_closed account_invalid authentication_not_handled authentication_required
    bank_account_restricted bank_account_unusable bank_account_unverified card_not_supported
    currency_not_supported debit_not_authorized do_not_try_again duplicate_transaction expired_card
    fraudulent highest_risk_level incorrect_address incorrect_cvc incorrect_number incorrect_pin
    incorrect_zip invalid_account invalid_amount invalid_cvc invalid_expiry_month
    invalid_expiry_year invalid_number invalid_pin live_mode_test_card lost_card merchant_blacklist
    new_account_information_available no_account not_permitted offline_pin_required
    online_or_offline_pin_required payment_intent_authentication_failure
    payment_intent_mandate_invalid pickup_card pin_try_exceeded restricted_card
    revocation_of_all_authorizations revocation_of_authorization security_violation
    service_not_allowed stolen_card stop_payment_order test_mode_live_card testmode_decline
    transaction_not_allowed
    """
)
_ADVISED_AGAINST: Final = frozenset({"confirm_card_data", "do_not_try_again"})
# Refusals of a request, not of a card, that pass by themselves.
_PASSING: Final = frozenset({"balance_insufficient", "insufficient_funds", "processing_error"})

_BUSY: Final = frozenset({"idempotency_key_in_use", "lock_timeout"})
_OPERATOR: Final = _words(
    """
    account_invalid api_key_expired livemode_mismatch platform_account_required
    platform_api_key_expired secret_key_required testmode_charges_only tls_version_unsupported
    """
)


class _Shape(BaseModel):
    """As much of an object of Stripe as we read; it may hold more."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    replayed: bool = False


class Problem(_Shape):
    type: str | None = None
    code: str | None = None
    decline_code: str | None = None
    advice_code: str | None = None
    message: str | None = None
    param: str | None = None
    payment_intent: PaymentIntent | None = None


class PaymentIntent(_Shape):
    id: str
    status: str
    currency: str
    amount_received: int = 0
    client_secret: str | None = Field(default=None, repr=False)
    last_payment_error: Problem | None = None
    metadata: Mapping[str, str] = {}


class Refund(_Shape):
    id: str
    status: str
    amount: int
    currency: str
    failure_reason: str | None = None


class _Named(_Shape):
    id: str


class _InvoiceSettings(_Shape):
    default_payment_method: str | _Named | None = None


class Customer(_Shape):
    default_source: str | _Named | None = None
    invoice_settings: _InvoiceSettings | None = None

    @property
    def pays_with(self) -> str | None:
        """Stripe's own order: the default for invoices, then what came before those. Of a deleted
        customer Stripe tells neither.
        """
        settings = self.invoice_settings
        method = (settings.default_payment_method if settings else None) or self.default_source
        return method.id if isinstance(method, _Named) else method


AnyShape = TypeVar("AnyShape", bound=_Shape)


def read(shape: type[AnyShape], answer: StripeObject) -> AnyShape:
    """An answer as far as we read it; `ValueError` if it is none."""
    response = answer.last_response
    replayed = response is not None and _is_replayed(response.headers)
    return shape.model_validate({**answer.to_dict(), "replayed": replayed})


def bears(key: str, listed: StripeObject) -> bool:
    """Whether what Stripe lists is what was made under this key of ours."""
    metadata = getattr(listed, "metadata", None)
    return metadata is not None and KEY in metadata and bool(metadata[KEY] == key)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no of Stripe to a request: nothing has happened by it."""

    status: int
    problem: Problem

    @property
    def is_missing(self) -> bool:
        """Whether Stripe does not know what was asked for."""
        return self.problem.code == "resource_missing"

    @property
    def met_another(self) -> bool:
        """Whether another request has used the same idempotency key before."""
        return self.problem.type == "idempotency_error"


def refused(error: StripeError) -> Refusal | CounterfoilError:
    """What an error of the SDK is: a refusal, or a fault that is to be raised."""
    status, problem = error.http_status, _problem(error)
    code = (problem.code if problem else None) or ""
    if status == 429 or code == "rate_limit":
        return RateLimited(_says(error, "asks us to slow down"), _retry_after_s(error.headers))
    if status == 401:
        return ProcessorNotConfigured(
            _says(error, "does not accept our key: look at STRIPE_API_KEY")
        )
    if status == 403 or code in _OPERATOR:
        return ProcessorNotConfigured(
            _says(
                error,
                "does not let us do that: look at the rights of our key and at the account, "
                f"{clean_code(code or 'permission_denied')}",
            )
        )
    if status == 404 and problem and code != "resource_missing":
        return ProcessorNotConfigured(_says(error, "is not what answers at this address"))
    if status is None:
        why = type(error.__cause__ or error).__name__
        return Unavailable(f"Stripe cannot be reached, or does not answer in time ({why})")
    if problem is None:
        return Unavailable(_says(error, "is not what answered, or its answer was damaged"))
    if code in _BUSY:
        return Unavailable(_says(error, "is still busy with the same request"))
    if status not in {400, 402, 404}:
        return Unavailable(_says(error, "cannot serve us now"))
    return Refusal(status, problem)


def outcome(intent: PaymentIntent, amount: Money) -> Outcome:
    """What became of a charge of this amount."""
    match intent.status:
        case "succeeded":
            if from_units(intent.amount_received, intent.currency) != amount:
                raise _other_amount(intent.id)
            return Succeeded(intent.id)
        case "requires_action" | "requires_confirmation":
            return NeedsAction(Intent(intent.id, intent.client_secret))
        case "processing" | "requires_capture":
            return Pending()
        case "requires_payment_method":
            problem = intent.last_payment_error
            return _NOT_PAID if problem is None else not_paid(problem, intent)
        case "canceled":
            return _CANCELED
        case status:
            raise Unavailable(
                f"Stripe says of {said(intent.id)} what we do not know: {said(status)}"
            )


def not_paid(problem: Problem, intent: PaymentIntent | None = None) -> Outcome:
    """What an error means for a charge: off session, a bank that wants the payer to confirm makes
    Stripe answer with an error, and the payer can still confirm its payment intent.
    """
    asks_payer = "authentication_required" in {problem.code, problem.decline_code}
    if asks_payer and (known := intent or problem.payment_intent):
        return NeedsAction(Intent(known.id, known.client_secret))
    return declined(problem)


def declined(problem: Problem) -> Declined:
    """A refusal for the record."""
    codes = {problem.code, problem.decline_code}
    if problem.type == "invalid_request_error":
        retryable = not codes.isdisjoint(_PASSING)
    else:
        retryable = problem.advice_code not in _ADVISED_AGAINST and codes.isdisjoint(_FINAL)
    code = problem.decline_code or problem.code or problem.type or "declined"
    message = said(problem.message or "") or "Stripe gave no reason"
    return Declined(clean_code(code), message, retryable=retryable)


def refund_outcome(refund: Refund, amount: Money) -> Outcome:
    """What became of a refund of this amount."""
    match refund.status:
        case "succeeded":
            if from_units(refund.amount, refund.currency) != amount:
                raise _other_amount(refund.id)
            return Succeeded(refund.id)
        case "pending" | "requires_action":
            return Pending()
        case "failed" | "canceled":
            reason = clean_code(refund.failure_reason or refund.status)
            return Declined(
                reason, f"Stripe could not give it back: {reason}", retryable=reason in _PASSING
            )
        case status:
            raise Unavailable(
                f"Stripe says of {said(refund.id)} what we do not know: {said(status)}"
            )


def _other_amount(name: str) -> Unavailable:
    return Unavailable(f"Stripe moved another amount than was asked, look at {said(name)} there")


def _problem(error: StripeError) -> Problem | None:
    body = error.json_body
    try:
        given = body["error"] if isinstance(body, dict) else None
        replayed = _is_replayed(error.headers or {})
        return Problem.model_validate({**given, "replayed": replayed}) if given else None
    except (KeyError, TypeError, ValidationError):
        return None


def _is_replayed(headers: Mapping[str, str]) -> bool:
    return {name.lower(): value for name, value in headers.items()}.get(
        "idempotent-replayed"
    ) == "true"


def _retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    try:
        seconds = float(lower.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _says(error: StripeError, words: str) -> str:
    request = re.sub(r"[^\w-]", "", error.request_id or "", flags=re.ASCII)[:64]
    where = f"HTTP {error.http_status}" + (f", request {request}" if request else "")
    return f"Stripe {words} ({where})"
