"""What does Stripe refuse before it does anything, and what do its cards for tests do?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Params = dict[str, str]


@dataclass(frozen=True, slots=True)
class Card:
    """How a payment method behaves when it is charged."""

    error: Mapping[str, str] | None = None
    off_session_error: Mapping[str, str] | None = None
    status: str = "succeeded"
    refund: str = "succeeded"
    customer: str | None = None


def decline(decline_code: str, *, code: str = "card_declined", **more: str) -> Card:
    """A card that its bank declines."""
    message = more.pop("message", "Your card was declined.")
    return Card({"code": code, "decline_code": decline_code, "message": message, **more})


_ASKS = {
    "code": "authentication_required",
    "decline_code": "authentication_required",
    "message": "Your card was declined. This transaction requires authentication.",
}
_CARDS = {
    "visa": Card(),
    "mastercard": Card(),
    "chargeDeclined": decline("generic_decline"),
    "chargeDeclinedInsufficientFunds": decline(
        "insufficient_funds", message="Your card has insufficient funds."
    ),
    "chargeDeclinedLostCard": decline("lost_card"),
    "chargeDeclinedStolenCard": decline("stolen_card"),
    "chargeDeclinedFraudulent": decline("fraudulent"),
    "chargeDeclinedVelocityLimitExceeded": decline("card_velocity_exceeded"),
    "chargeDeclinedExpiredCard": Card(
        {"code": "expired_card", "message": "Your card has expired."}
    ),
    "chargeDeclinedIncorrectCvc": Card(
        {"code": "incorrect_cvc", "message": "Your card's security code is incorrect."}
    ),
    "chargeDeclinedProcessingError": Card(
        {
            "code": "processing_error",
            "message": "An error occurred while processing your card. Try again in a little bit.",
        }
    ),
    "authenticationRequired": Card(status="requires_action", off_session_error=_ASKS),
    "threeDSecureRequired": Card(status="requires_action"),
    "threeDSecure2Required": Card(status="requires_action"),
    "pendingRefund": Card(refund="pending"),
    "refundFail": Card(refund="failed"),
}
_DEBITS = ("pm_usBankAccount", "pm_sepaDebit", "pm_bacsDebit")

_CURRENCIES = re.compile(
    "aed|afn|all|amd|ang|aoa|ars|aud|awg|azn|bam|bbd|bdt|bgn|bhd|bif|bmd|bnd|bob|brl|bsd|bwp|byn"
    "|bzd|cad|cdf|chf|clp|cny|cop|crc|cve|czk|djf|dkk|dop|dzd|egp|etb|eur|fjd|fkp|gbp|gel|gip|gmd"
    "|gnf|gtq|gyd|hkd|hnl|htg|huf|idr|ils|inr|isk|jmd|jod|jpy|kes|kgs|khr|kmf|krw|kwd|kyd|kzt|lak"
    "|lbp|lkr|lrd|lsl|mad|mdl|mga|mkd|mmk|mnt|mop|mur|mvr|mwk|mxn|myr|mzn|nad|ngn|nio|nok|npr|nzd"
    "|omr|pab|pen|pgk|php|pkr|pln|pyg|qar|ron|rsd|rub|rwf|sar|sbd|scr|sek|sgd|shp|sle|sos|srd|std"
    "|szl|thb|tjs|tnd|top|try|ttd|twd|tzs|uah|ugx|usd|uyu|uzs|vnd|vuv|wst|xaf|xcd|xof|xpf|yer|zar"
    "|zmw"
)
_LEAST = {"usd": 50, "eur": 50, "chf": 50, "gbp": 30, "jpy": 50, "dkk": 250, "czk": 1500}
_MOST = 99_999_999

CREATE = re.compile(
    r"amount|currency|customer|payment_method|confirm|off_session|description|return_url"
    r"|receipt_email|statement_descriptor_suffix|setup_future_usage|capture_method"
    r"|error_on_requires_action|automatic_payment_methods\[(enabled|allow_redirects)\]"
    r"|allowed_payment_method_types\[\d+\]|metadata\[[^\[\]]{1,40}\]|expand\[\d+\]"
)
CONFIRM = re.compile(r"payment_method|off_session|return_url|expand\[\d+\]")
CANCEL = re.compile(r"cancellation_reason|expand\[\d+\]")
LIST = re.compile(
    r"customer|limit|starting_after|ending_before|created(\[(gt|gte|lt|lte)\])?|expand\[\d+\]"
)
REFUND = re.compile(r"payment_intent|charge|amount|reason|metadata\[[^\[\]]{1,40}\]|expand\[\d+\]")
REFUNDS = re.compile(
    r"payment_intent|charge|limit|starting_after|ending_before|created(\[(gt|gte|lt|lte)\])?"
    r"|expand\[\d+\]"
)
RETRIEVE = re.compile(r"expand\[\d+\]")
OPEN = {"requires_payment_method", "requires_confirmation", "requires_action", "requires_capture"}


def card(method: str) -> Card | None:
    """What a payment method for tests does; None if there is none of this name."""
    if method.startswith(_DEBITS):
        return Card(status="processing")
    name = method.removeprefix("pm_card_")
    if name == method:
        return None
    return _CARDS.get(name) or _CARDS.get(name.removeprefix("visa_"))


class Refused(Exception):
    def __init__(self, status: int, message: str, *, kept: bool = False, **error: Any) -> None:
        self.status, self.kept = status, kept
        self.error: Json = {"message": message, "type": "invalid_request_error", **error}
        super().__init__(message)


def missing(kind: str, name: str, status: int, param: str) -> Refused:
    message = f"No such {kind}: '{name}'"
    return Refused(status, message, code="resource_missing", param=param)


def one_of(things: dict[str, Json], name: str, kind: str, status: int, param: str) -> Json:
    if name not in things:
        raise missing(kind, name, status, param)
    return things[name]


def known(params: Params, pattern: re.Pattern[str]) -> Params:
    for name in params:
        if name.startswith("payment_method_types"):
            raise Refused(
                400,
                "The parameter payment_method_types is no longer supported.",
                code="payment_method_types_no_longer_supported",
            )
        if not pattern.fullmatch(name):
            raise Refused(
                400,
                f"Received unknown parameter: {name}",
                code="parameter_unknown",
                param=name,
            )
    return params


def amount_of(params: Params) -> int:
    for name in ("amount", "currency"):
        if name not in params:
            raise Refused(
                400, f"Missing required param: {name}.", code="parameter_missing", param=name
            )
    amount, currency = integer(params, "amount"), params["currency"]
    if not _CURRENCIES.fullmatch(currency):
        raise Refused(400, f"Invalid currency: {currency}.", param="currency")
    if amount < _LEAST.get(currency, 1):
        raise Refused(
            400,
            f"Amount must be at least {_LEAST.get(currency, 1)} {currency}",
            code="amount_too_small",
            param="amount",
        )
    if amount > _MOST:
        raise Refused(
            400,
            f"Amount must be no more than {_MOST} {currency}",
            code="amount_too_large",
            param="amount",
        )
    step = 100 if currency in {"isk", "ugx"} else 1
    step = 10 if currency in {"bhd", "jod", "kwd", "omr", "tnd"} else step
    if amount % step:
        raise Refused(
            400,
            f"Invalid amount. Charged amounts in {currency} must be evenly divisible by {step}.",
            code="invalid_charge_amount_no_decimal_compatible",
            param="amount",
        )
    return amount


def integer(params: Params, name: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", params[name]):
        raise Refused(
            400,
            f"Invalid integer: {params[name]}",
            code="parameter_invalid_integer",
            param=name,
        )
    return int(params[name])


def boolean(params: Params, name: str) -> bool:
    given = params.get(name, "false")
    if given not in {"true", "false"}:
        raise Refused(400, f"Invalid boolean: {given}", param=name)
    return given == "true"


def metadata_of(params: Params) -> dict[str, str]:
    found = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in params.items()
        if name.startswith("metadata[")
    }
    if len(found) > 50 or any(len(value) > 500 for value in found.values()):
        raise Refused(400, "Metadata values can have up to 500 characters.", param="metadata")
    return found


def page(url: str, things: list[Json], params: Params) -> Json:
    """A page of a list, the newest first."""
    limit = integer(params, "limit") if "limit" in params else 10
    if not 1 <= limit <= 100:
        raise Refused(400, "limit can range between 1 and 100.", param="limit")
    tests: dict[str, Callable[[int, int], bool]] = {
        "created[gt]": int.__gt__,
        "created[gte]": int.__ge__,
        "created[lt]": int.__lt__,
        "created[lte]": int.__le__,
        "created": int.__eq__,
    }
    for name, holds in tests.items():
        if name in params:
            bound = integer(params, name)
            things = [thing for thing in things if holds(thing["created"], bound)]
    newest = [
        thing
        for _, thing in sorted(enumerate(things), key=lambda pair: (-pair[1]["created"], -pair[0]))
    ]
    if after := params.get("starting_after"):
        places = [place for place, thing in enumerate(newest) if thing["id"] == after]
        if not places:
            raise missing("object", after, 400, "starting_after")
        newest = newest[places[0] + 1 :]
    return {
        "object": "list",
        "url": url,
        "has_more": len(newest) > limit,
        "data": newest[:limit],
    }
