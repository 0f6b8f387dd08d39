"""What does one account at Stripe hold, and what becomes of it by each request?"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from support.stripe_rules import (
    CANCEL,
    CONFIRM,
    CREATE,
    LIST,
    OPEN,
    REFUND,
    REFUNDS,
    RETRIEVE,
    Card,
    Json,
    Params,
    Refused,
    amount_of,
    boolean,
    card,
    integer,
    known,
    metadata_of,
    missing,
    one_of,
    page,
)


@dataclass(slots=True)
class World:
    """What all accounts share: time, names, customers, and what cards do."""

    clock: Callable[[], datetime]
    customers: dict[str, Json] = field(default_factory=dict)
    methods: dict[str, Card] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def name(self, kind: str) -> str:
        """A new name."""
        return f"{kind}_3T{next(self.numbers):06d}StripeTest"

    def now(self) -> int:
        """The time as Stripe writes it."""
        return int(self.clock().timestamp())


class Account:
    """The books of one account; whoever calls has the lock."""

    def __init__(self, world: World) -> None:
        self.intents: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self._world = world

    def obey(self, method: str, path: str, params: Params) -> Json:
        """Do what was asked, or raise `Refused`."""
        match method, path.strip("/").split("/"):
            case "POST", ["v1", "payment_intents"]:
                return self._create(known(params, CREATE))
            case "GET", ["v1", "payment_intents"]:
                known(params, LIST)
                self._customer(params.get("customer"))
                intents = [
                    one
                    for one in self.intents.values()
                    if params.get("customer") in {None, one["customer"]}
                ]
                return page("/v1/payment_intents", intents, params)
            case "GET", ["v1", "payment_intents", name]:
                known(params, RETRIEVE)
                return one_of(self.intents, name, "payment_intent", 404, "intent")
            case "POST", ["v1", "payment_intents", name, "confirm"]:
                intent = one_of(self.intents, name, "payment_intent", 404, "intent")
                return self._confirm(intent, known(params, CONFIRM))
            case "POST", ["v1", "payment_intents", name, "cancel"]:
                intent = one_of(self.intents, name, "payment_intent", 404, "intent")
                return self._cancel(intent, known(params, CANCEL))
            case "POST", ["v1", "refunds"]:
                return self._refund(known(params, REFUND))
            case "GET", ["v1", "refunds"]:
                known(params, REFUNDS)
                of = params.get("payment_intent")
                if of is not None:
                    one_of(self.intents, of, "payment_intent", 404, "payment_intent")
                refunds = [
                    one
                    for one in self.refunds.values()
                    if of is None or one["payment_intent"] == of
                ]
                return page("/v1/refunds", refunds, params)
            case "GET", ["v1", "customers", name]:
                known(params, RETRIEVE)
                return one_of(self._world.customers, name, "customer", 404, "id")
            case _:
                raise Refused(
                    404,
                    f"Unrecognized request URL ({method}: {path}). Please see "
                    "https://stripe.com/docs or we can help at https://support.stripe.com/.",
                )

    # Payment intents.

    def _create(self, params: Params) -> Json:
        amount, currency = amount_of(params), params["currency"]
        self._customer(params.get("customer"), deleted=False)
        confirm = boolean(params, "confirm")
        if "off_session" in params and not confirm:
            raise Refused(400, "off_session can only be used with confirm=true.")
        method = params.get("payment_method")
        if method is not None:
            self._card(method, params.get("customer"))
        elif confirm:
            raise Refused(
                400,
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        redirects = params.get("automatic_payment_methods[allow_redirects]") != "never"
        if confirm and redirects and "return_url" not in params:
            raise Refused(
                400,
                "This PaymentIntent is configured to accept payment methods that might redirect "
                "your customer off of your page: you must provide a `return_url`.",
            )
        name = self._world.name("pi")
        intent = self.intents[name] = {
            "id": name,
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": {
                "allow_redirects": "always" if redirects else "never",
                "enabled": True,
            },
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": params.get("capture_method", "automatic_async"),
            "client_secret": f"{name}_secret_{self._world.name('k')[2:]}",
            "confirmation_method": "automatic",
            "created": self._world.now(),
            "currency": currency,
            "customer": params.get("customer"),
            "description": params.get("description"),
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": metadata_of(params),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": method,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "setup_future_usage": None,
            "shipping": None,
            "statement_descriptor": None,
            "status": "requires_confirmation" if method else "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
        return self._charge(intent, params) if confirm else intent

    def _confirm(self, intent: Json, params: Params) -> Json:
        if intent["status"] not in OPEN - {"requires_capture"}:
            raise _unexpected_state(intent, "confirm")
        if method := params.get("payment_method"):
            self._card(method, intent["customer"])
            intent["payment_method"] = method
        if intent["payment_method"] is None:
            raise _unexpected_state(intent, "confirm")
        return self._charge(intent, params)

    def _charge(self, intent: Json, params: Params) -> Json:
        card = self._card(intent["payment_method"], intent["customer"])
        error = card.error
        if boolean(params, "off_session"):
            error = error or card.off_session_error
        if error is not None:
            self.not_paid(intent, error)
            copy = _copy(intent)
            failed = {**intent["last_payment_error"], "payment_intent": copy}
            raise Refused(402, failed.pop("message"), kept=True, **failed)
        match card.status:
            case "succeeded" if intent["capture_method"] == "manual":
                intent["status"] = "requires_capture"
                intent["amount_capturable"] = intent["amount"]
            case "succeeded":
                self.succeed(intent)
            case status:
                intent["status"] = status
                if status == "requires_action":
                    intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        return intent

    def succeed(self, intent: Json) -> None:
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "latest_charge": self._world.name("ch"),
            "last_payment_error": None,
            "next_action": None,
        }

    def not_paid(self, intent: Json, error: Mapping[str, str]) -> None:
        method = intent["payment_method"]
        intent |= {
            "status": "requires_payment_method",
            "latest_charge": self._world.name("ch"),
            "next_action": None,
            "payment_method": None,
            "last_payment_error": {
                "type": "card_error",
                "charge": self._world.name("ch"),
                "doc_url": f"https://docs.stripe.com/error-codes/{error['code']}",
                "payment_method": {"id": method, "object": "payment_method", "type": "card"},
                **error,
            },
        }

    def _cancel(self, intent: Json, params: Params) -> Json:
        if intent["status"] not in OPEN:
            raise _unexpected_state(intent, "cancel")
        intent |= {
            "status": "canceled",
            "amount_capturable": 0,
            "canceled_at": self._world.now(),
            "cancellation_reason": params.get("cancellation_reason"),
            "next_action": None,
        }
        return intent

    # Refunds.

    def _refund(self, params: Params) -> Json:
        if "payment_intent" not in params:
            raise Refused(400, "One of the following params should be provided: payment_intent.")
        intent = one_of(
            self.intents, params["payment_intent"], "payment_intent", 404, "payment_intent"
        )
        if intent["status"] != "succeeded":
            raise Refused(
                400,
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            )
        given_back = sum(
            refund["amount"]
            for refund in self.refunds.values()
            if refund["payment_intent"] == intent["id"] and refund["status"] != "failed"
        )
        left = intent["amount_received"] - given_back
        if left == 0:
            raise Refused(
                400,
                f"Charge {intent['latest_charge']} has already been refunded.",
                code="charge_already_refunded",
            )
        amount = integer(params, "amount") if "amount" in params else left
        if amount <= 0:
            raise Refused(
                400, "Invalid positive integer", param="amount", code="parameter_invalid_integer"
            )
        if amount > left:
            raise Refused(
                400,
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
                param="amount",
            )
        status = self._card(intent["payment_method"], intent["customer"]).refund
        name = self._world.name("re")
        refund = self.refunds[name] = {
            "id": name,
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": intent["latest_charge"],
            "created": self._world.now(),
            "currency": intent["currency"],
            "destination_details": {"type": "card"},
            "metadata": metadata_of(params),
            "payment_intent": intent["id"],
            "reason": params.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": status,
            "transfer_reversal": None,
        }
        if status == "failed":
            refund["failure_reason"] = "expired_or_canceled_card"
        return refund

    # Small things.

    def _card(self, method: str, customer: str | None) -> Card:
        known = self._world.methods.get(method) or card(method)
        if known is None:
            raise missing("PaymentMethod", method, 400, "payment_method")
        if known.customer not in {None, customer}:
            raise Refused(
                400,
                f"The PaymentMethod {method} does not belong to the Customer that you supplied.",
                param="payment_method",
            )
        return known

    def _customer(self, name: str | None, *, deleted: bool = True) -> None:
        if name is not None:
            known = one_of(self._world.customers, name, "customer", 400, "customer")
            if not deleted and known.get("deleted"):
                raise missing("customer", name, 400, "customer")


def _unexpected_state(intent: Json, verb: str) -> Refused:
    return Refused(
        400,
        f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
        kept=True,
        code="payment_intent_unexpected_state",
        payment_intent=_copy(intent),
    )


def _copy(of: Json) -> Json:
    copied: Json = json.loads(json.dumps(of))
    return copied
