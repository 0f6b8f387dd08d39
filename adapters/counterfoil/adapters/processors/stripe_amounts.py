"""How much is an amount for Stripe? Its smallest units are not always the minor units of ISO 4217.

https://docs.stripe.com/currencies: "Zero-decimal currencies" and "Special cases".
"""

from __future__ import annotations

import re
from typing import Final

from counterfoil.domain.money import Money, exponent

_NO_DECIMALS: Final = re.compile("BIF|CLP|DJF|GNF|JPY|KMF|KRW|MGA|PYG|RWF|VND|VUV|XAF|XOF|XPF")
# Given with two decimals for the sake of old callers; both of them must be 0.
_WHOLE_WITH_TWO_DECIMALS: Final = frozenset({"ISK", "UGX"})
# Given with three decimals; the last must be 0, since not every network knows it.
_THREE_DECIMALS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


def to_units(amount: Money) -> int | None:
    """The amount in Stripe's smallest units; None if Stripe cannot take exactly this amount."""
    rule = _rule(amount.currency)
    if rule is None:
        return None
    theirs, step = rule
    units, lost = divmod(amount.minor * 10**theirs, 10 ** _decimals(amount.currency))
    return None if lost or units % step else units


def from_units(units: int, currency: str) -> Money | None:
    """What an answer of Stripe means; None if that is no amount in a currency that we know."""
    code = currency.upper()
    rule = _rule(code)
    if rule is None:
        return None
    minor, lost = divmod(units * 10 ** _decimals(code), 10 ** rule[0])
    return None if lost else Money(minor, code)


def _rule(currency: str) -> tuple[int, int] | None:
    """How many decimals Stripe counts, and of what its units must be a multiple.

    Where ISO 4217 has other than two decimals and Stripe says nothing, nobody knows how Stripe
    would count, and a guess could be wrong by a factor of 100.
    """
    if _NO_DECIMALS.fullmatch(currency):
        return 0, 1
    if currency in _WHOLE_WITH_TWO_DECIMALS:
        return 2, 100
    if currency in _THREE_DECIMALS:
        return 3, 10
    return (2, 1) if exponent(currency) == 2 else None


def _decimals(currency: str) -> int:
    return exponent(currency) or 0
