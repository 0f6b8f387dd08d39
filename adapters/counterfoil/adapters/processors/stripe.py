"""Money that Stripe moves: a charge is one PaymentIntent, taken without the payer at the screen.

Stripe forgets an idempotency key after a day and cannot be asked by one. So everything that is
made carries the key in its metadata too, and is found again in Stripe's lists, which, unlike its
search, show at once what was made.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, Self, TypeVar

from counterfoil.domain.errors import Malformed, ProcessorNotConfigured, Unavailable

try:
    import requests
    import stripe
    from requests.adapters import HTTPAdapter
except ModuleNotFoundError as error:
    raise ProcessorNotConfigured(
        "Stripe needs its extra: pip install 'counterfoil[stripe]'"
    ) from error

from counterfoil.adapters.processors.stripe_amounts import to_units
from counterfoil.adapters.processors.stripe_answers import (
    KEY,
    NOT_REPRESENTABLE,
    PLACEHOLDER,
    WITHDRAWN,
    Customer,
    PaymentIntent,
    Problem,
    Refund,
    Refusal,
    bears,
    declined,
    not_paid,
    outcome,
    read,
    refund_outcome,
    refused,
)
from counterfoil.adapters.processors.words import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe.params import (
        PaymentIntentCreateParams,
        PaymentIntentListParams,
        RefundCreateParams,
    )

    from counterfoil.domain.ports import Charge, Outcome, Repayment

T = TypeVar("T")

_API_KEY: Final = re.compile(r"(sk|rk)_[!-~]+")
_ADDRESS: Final = re.compile(r"https?://[^\s?#@]+")
# Stripe's clock and ours differ a little, and a request may be long on its way.
_BEFORE: Final = timedelta(minutes=15)
_AFTER: Final = timedelta(days=1)
_PAGE: Final = 100
_CONNECTIONS: Final = 32
_STILL_OPEN: Final = frozenset(
    {"requires_action", "requires_capture", "requires_confirmation", "requires_payment_method"}
)


class StripeProcessor:
    """A processor at one account of Stripe; several of them can live in one process.

    `customer` maps a customer id of ours to Stripe's, always the same one; without it, ids that
    begin with `cus_` are taken for Stripe's own, and others pay as guests.
    """

    name = "stripe"

    def __init__(
        self,
        api_key: str,
        *,
        address: str | None = None,
        account: str | None = None,
        customer: Callable[[str], str | None] | None = None,
        timeout_s: float = 30.0,
        max_retries: int = 2,
    ) -> None:
        """Name the key; nothing is asked of Stripe yet. `account` is a connected account,
        `address` what answers in place of Stripe: a proxy, or a server of tests. A request waits
        `timeout_s` for its answer, and is repeated up to `max_retries` times.
        """
        if not _API_KEY.fullmatch(api_key):
            raise ProcessorNotConfigured("Stripe needs a secret key: sk_… or a restricted rk_…")
        if address is not None and not _ADDRESS.fullmatch(address):
            raise Malformed("processor", "needs an address such as https://stripe.example.com")
        if timeout_s <= 0 or max_retries < 0:
            raise Malformed("processor", "needs a timeout of more than 0 s, and 0 or more retries")
        self._customer_of = customer or _own
        self._session = _session()
        self._v1 = stripe.StripeClient(
            api_key,
            stripe_account=account,
            base_addresses={"api": address.rstrip("/")} if address else None,
            max_network_retries=max_retries,
            http_client=stripe.RequestsClient(timeout=timeout_s, session=self._session),
        ).v1

    @classmethod
    def from_env(cls) -> Self:
        """The processor of the key in STRIPE_API_KEY."""
        api_key = os.environ.get("STRIPE_API_KEY", "").strip()
        if not api_key:
            raise ProcessorNotConfigured("Stripe needs its secret key in STRIPE_API_KEY")
        return cls(api_key)

    def default_payment_method(self, customer: str) -> str | None:
        """What this customer pays invoices with; None for one whom Stripe does not know."""
        theirs = self._customer_of(customer)
        if not theirs:
            return None
        match self._ask(lambda: read(Customer, self._v1.customers.retrieve(theirs))):
            case Customer() as known:
                return known.pays_with
            case Refusal() as refusal if refusal.is_missing:
                return None
            case Refusal() as refusal:
                raise _unexpected(refusal)

    def charge(self, charge: Charge) -> Outcome:
        """Take money. All that is asked derives from the charge: a repeat asks the very same."""
        units = to_units(charge.amount)
        if units is None:
            return NOT_REPRESENTABLE
        params = self._asked(charge, units)
        params["payment_method"] = charge.payment_method
        params["confirm"] = params["off_session"] = True
        match self._ask(lambda: self._create(params, charge.key)):
            # A repeat is answered with what was true the first time.
            case (
                PaymentIntent(replayed=True, id=id)
                | Refusal(problem=Problem(replayed=True, payment_intent=PaymentIntent(id=id)))
            ):
                return outcome(self._retrieve(id), charge.amount)
            case PaymentIntent() as intent:
                return outcome(intent, charge.amount)
            case Refusal() as refusal if refusal.met_another:
                return self._of_taken_key(charge)
            case Refusal(problem=problem):
                return not_paid(problem)

    def retrieve(self, charge: Charge) -> Outcome | None:
        """What became of a charge, by its payment intent."""
        # That an intent we know of is missing does not mean that it took no money.
        known = charge.reference
        found = self._find(charge) if known is None else self._retrieve(known)
        return None if found is None or _stands_in(found) else outcome(found, charge.amount)

    def cancel(self, charge: Charge) -> Outcome:
        """Cancel the payment intent; where there is none yet, see to it that there never is."""
        units = to_units(charge.amount)
        if units is None:
            return NOT_REPRESENTABLE
        if charge.reference is not None:
            return self._end(charge.reference, charge)
        found = self._find(charge)
        return self._withdraw(charge, units) if found is None else self._end_found(found, charge)

    def refund(self, repayment: Repayment) -> Outcome:
        """Give money back, unless that was done before under the same key."""
        units = to_units(repayment.amount)
        if units is None:
            return NOT_REPRESENTABLE
        params: RefundCreateParams = {
            "payment_intent": repayment.charge,
            "amount": units,
            "metadata": {**_metadata(repayment), "counterfoil_refund": repayment.refund},
        }
        answer = self._ask(lambda: self._find_refund(repayment))
        if isinstance(answer, Refusal):
            raise _unknown(repayment.charge) if answer.is_missing else _unexpected(answer)
        if answer is None:
            answer = self._ask(
                lambda: read(
                    Refund,
                    self._v1.refunds.create(params, {"idempotency_key": repayment.key}),
                )
            )
        match answer:
            case Refund() as refund:
                return refund_outcome(refund, repayment.amount)
            case Refusal() as refusal if refusal.met_another:
                raise Unavailable("Stripe does not show yet what was refunded under this key")
            case Refusal(problem=problem):
                return declined(problem)

    def close(self) -> None:
        """Give back every connection."""
        self._session.close()

    def _asked(self, charge: Charge, units: int) -> PaymentIntentCreateParams:
        """What a charge and its placeholder have in common."""
        params: PaymentIntentCreateParams = {
            "amount": units,
            "currency": charge.amount.currency.lower(),
            # Nobody is there to be sent to another page; without this, Stripe wants to know where
            # the payer returns to, whatever they pay with.
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": _metadata(charge),
        }
        if customer := self._customer_of(charge.customer):
            params["customer"] = customer
        return params

    def _create(self, params: PaymentIntentCreateParams, key: str) -> PaymentIntent:
        made = self._v1.payment_intents.create(params, {"idempotency_key": key})
        return read(PaymentIntent, made)

    def _look(self, name: str) -> PaymentIntent | None:
        match self._ask(lambda: read(PaymentIntent, self._v1.payment_intents.retrieve(name))):
            case PaymentIntent() as intent:
                return intent
            case Refusal() as refusal if refusal.is_missing:
                return None
            case Refusal() as refusal:
                raise _unexpected(refusal)

    def _retrieve(self, name: str) -> PaymentIntent:
        """A payment intent that Stripe has named before."""
        intent = self._look(name)
        if intent is None:
            raise _unknown(name)
        return intent

    def _find(self, charge: Charge) -> PaymentIntent | None:
        """What was made under the key of a charge: its payment intent, or what stands in for it.

        There are never both: Stripe gives a key to whoever comes first, for longer than we look.
        """
        params: PaymentIntentListParams = {
            "created": {
                "gte": int((charge.attempted_at - _BEFORE).timestamp()),
                "lte": int((charge.attempted_at + _AFTER).timestamp()),
            },
            "limit": _PAGE,
        }
        guests: PaymentIntentListParams = {**params}
        if customer := self._customer_of(charge.customer):
            params["customer"] = customer
        found = self._ask(lambda: self._first_intent(params, charge.key))
        if isinstance(found, Refusal) and found.is_missing and customer:
            # What a customer has paid outlives them.
            found = self._ask(lambda: self._first_intent(guests, charge.key))
        if isinstance(found, Refusal):
            raise _unexpected(found)
        return found

    def _first_intent(self, params: PaymentIntentListParams, key: str) -> PaymentIntent | None:
        pages = self._v1.payment_intents.list(params).auto_paging_iter()
        return next((read(PaymentIntent, one) for one in pages if bears(key, one)), None)

    def _find_refund(self, repayment: Repayment) -> Refund | None:
        pages = self._v1.refunds.list({"payment_intent": repayment.charge, "limit": _PAGE})
        listed = pages.auto_paging_iter()
        return next((read(Refund, one) for one in listed if bears(repayment.key, one)), None)

    def _of_taken_key(self, charge: Charge) -> Outcome:
        """What became of a charge whose key was used for another request."""
        found = self._find(charge)
        if found is None:
            raise Unavailable("Stripe does not show yet what was asked under this key")
        return WITHDRAWN if _stands_in(found) else outcome(found, charge.amount)

    def _withdraw(self, charge: Charge, units: int) -> Outcome:
        """Use up the idempotency key, so that a request that is still on its way is refused."""
        params = self._asked(charge, units)
        params["metadata"] = {**_metadata(charge), PLACEHOLDER: "1"}
        match self._ask(lambda: self._create(params, charge.key)):
            case PaymentIntent() as placeholder:
                return self._end_found(placeholder, charge)
            case Refusal() as refusal if refusal.met_another:
                found = self._find(charge)
                if found is None:
                    raise Unavailable("Stripe has this charge, but does not show it yet")
                return self._end_found(found, charge)
            case Refusal(problem=problem) as refusal:
                # The charge says the same of these, and so cannot pass either.
                if problem.param in {"amount", "currency", "customer"}:
                    return declined(problem)
                raise _unexpected(refusal)

    def _end_found(self, found: PaymentIntent, charge: Charge) -> Outcome:
        if _stands_in(found):
            # It is no charge, and takes no money even if Stripe keeps it open.
            self._ask(lambda: self._v1.payment_intents.cancel(found.id))
            return WITHDRAWN
        return self._end(found.id, charge)

    def _end(self, name: str, charge: Charge) -> Outcome:
        """Cancel a payment intent, or say what it came to when that is too late."""
        match self._ask(lambda: read(PaymentIntent, self._v1.payment_intents.cancel(name))):
            case PaymentIntent() as intent:
                return outcome(intent, charge.amount)
            case Refusal() as refusal if refusal.is_missing:
                raise _unknown(name)
            case Refusal(problem=Problem(code="payment_intent_unexpected_state")):
                intent = self._retrieve(name)
                if intent.status in _STILL_OPEN:
                    raise Unavailable(f"{said(name)} changed while it was canceled")
                return outcome(intent, charge.amount)
            case Refusal() as refusal:
                raise _unexpected(refusal)

    def _ask(self, call: Callable[[], T]) -> T | Refusal:
        """Ask Stripe; what the SDK raises is a refusal, or a fault of ours.

        Its errors hold whole answers, with secrets of payers, so none is the cause of one of ours.
        """
        try:
            return call()
        except stripe.StripeError as error:
            answer = refused(error)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # The SDK, or we, found other things in an answer than Stripe puts there.
            raise Unavailable(f"Stripe's answer has no sense ({type(error).__name__})") from None
        if isinstance(answer, Refusal):
            return answer
        raise answer


def _own(customer: str) -> str | None:
    return customer if customer.startswith("cus_") else None


def _metadata(of: Charge | Repayment) -> dict[str, str]:
    return {
        KEY: of.key,
        "counterfoil_tenant": of.tenant,
        "counterfoil_invoice": of.invoice,
        "counterfoil_payment": of.payment,
    }


def _stands_in(intent: PaymentIntent) -> bool:
    return PLACEHOLDER in intent.metadata


def _unknown(name: str) -> ProcessorNotConfigured:
    return ProcessorNotConfigured(
        f"Stripe does not know {said(name)}: it was made at another account, or in another mode"
    )


def _unexpected(refusal: Refusal) -> Unavailable:
    said_code = declined(refusal.problem).code
    return Unavailable(f"Stripe refuses what we ask: {said_code} (HTTP {refusal.status})")


def _session() -> requests.Session:
    """Connections that all threads share, and that `close` gives back."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    # Or what a .netrc says of this host would be sent in place of our key.
    session.auth = _as_it_is
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return session


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
