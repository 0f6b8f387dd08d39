"""Amounts: whole minor units of one ISO 4217 currency, and the one place where anything is rounded.

Quotients are exact fractions until `round_half_away` is asked for an integer (EN 16931 names no
mode; half away from zero is what the peers do, facts/rules R2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Final

from iso4217 import Currency as IsoCurrency
from pydantic import AfterValidator, PlainValidator, StringConstraints
from pydantic_core import PydanticCustomError

from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.value import LARGEST

_EXPONENTS: Final = {currency.code: currency.exponent for currency in IsoCurrency}


def exponent(currency: str) -> int | None:
    """How many decimals the currency has by ISO 4217, or None if it is no money one can pay in."""
    return _EXPONENTS.get(currency)


def _known(given: str) -> str:
    currency = given.upper() if given.isascii() else given
    if exponent(currency) is None:
        raise PydanticCustomError(
            "currency", "must be an ISO 4217 code of a currency with minor units, such as EUR"
        )
    return currency


Currency = Annotated[str, StringConstraints(max_length=3), AfterValidator(_known)]


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in minor units: `Money(1999, "EUR")`, or `Money.of("19.99", "EUR")`."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise Malformed("amount", "must be whole minor units; use Money.of for decimals")
        if type(self.currency) is not str or exponent(self.currency) is None:
            raise Malformed("currency", "must be an ISO 4217 code of a currency with minor units")

    @classmethod
    def of(cls, amount: str | Decimal, currency: str) -> Money:
        """Make money from a decimal in whole units; more decimals than the currency has refuse."""
        try:
            value = _written(amount)
        except ValueError as error:
            raise Malformed("amount", str(error)) from None
        return cls(minor_units("amount", value, currency), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in whole units, with as many decimals as the currency has."""
        whole = Decimal(self.minor).as_tuple()
        return Decimal((whole.sign, whole.digits, -_decimals(self.currency)))

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __str__(self) -> str:
        return f"{self.decimal:,f} {self.currency}"

    def _same(self, other: object) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"money and {type(other).__name__} do not mix")
        if other.currency != self.currency:
            raise Rejected(
                Reason.CURRENCY_MISMATCH,
                field="amount",
                given=other.currency,
                expected=self.currency,
            )
        return other.minor


def minor_units(field: str, amount: Money | Decimal | int, currency: str) -> int:
    """The amount in minor units: an int is minor units already, a Decimal is whole units."""
    match amount:
        case Money(minor=minor, currency=given):
            if given != currency:
                raise Rejected(
                    Reason.CURRENCY_MISMATCH, field=field, given=given, expected=currency
                )
            return in_range(field, minor)
        case Decimal():
            minor_exactly = Fraction(amount) * 10 ** _decimals(currency)
            if minor_exactly.denominator != 1:
                raise Rejected(
                    Reason.TOO_PRECISE,
                    field=field,
                    given=amount,
                    currency=currency,
                    exponent=_decimals(currency),
                )
            return in_range(field, minor_exactly.numerator)
        case int():
            return in_range(field, amount)


# Quantities are subtracted exactly, whatever decimal context the caller set.
EXACT: Final = Context(prec=60)


def in_range(field: str, minor: int) -> int:
    """The same amount, if every store can hold it."""
    if abs(minor) > LARGEST:
        raise Rejected(Reason.AMOUNT_OUT_OF_RANGE, field=field, limit=LARGEST)
    return minor


def scale(currency: str) -> int:
    """How many minor units make one whole unit."""
    return int(10 ** _decimals(currency))


def round_half_away(exact: Fraction) -> int:
    """The nearest integer; a half goes away from zero, so 2.5 is 3 and -2.5 is -3."""
    doubled = 2 * abs(exact.numerator) + exact.denominator
    magnitude = doubled // (2 * exact.denominator)
    return magnitude if exact >= 0 else -magnitude


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """Split a total in proportion to the weights so that the parts sum to it (largest remainder).

    Weights that cancel out have no proportions; then their magnitudes are taken.
    """
    whole = sum(weights)
    if whole == 0:
        weights = [abs(weight) for weight in weights]
        whole = sum(weights)
    if whole == 0:
        return [total, *([0] * (len(weights) - 1))] if weights else []
    sign = 1 if whole > 0 else -1
    parts = [divmod(total * weight * sign, whole * sign) for weight in weights]
    shares = [share for share, _ in parts]
    by_remainder = sorted(range(len(parts)), key=lambda place: -parts[place][1])
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _decimals(currency: str) -> int:
    decimals = exponent(currency)
    if decimals is None:
        raise Malformed("currency", "must be an ISO 4217 code of a currency with minor units")
    return decimals


_PLAIN: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,12})?")


def _written(amount: object) -> Decimal:
    """A decimal number that was written out; anything that a float could have been is refused."""
    if isinstance(amount, Decimal) and amount.is_finite() and abs(amount.adjusted()) < 50:
        amount = f"{amount:f}"
    if not isinstance(amount, str) or not _PLAIN.fullmatch(amount):
        raise ValueError(
            'must be a decimal number as text, like "19.99", or a Decimal; never a float'
        )
    return Decimal(amount)


def _amount(given: object) -> Money | Decimal | int:
    if isinstance(given, Money) or type(given) is int:
        amount: Money | Decimal | int = given
    else:
        try:
            amount = _written(given)
        except ValueError as error:
            raise PydanticCustomError("amount", "{why}", {"why": str(error)}) from None
    if (amount.minor if isinstance(amount, Money) else amount) <= 0:
        raise PydanticCustomError("amount", "must be more than 0")
    return amount


# What a caller may give where money is meant: an int is minor units, as every amount that we
# return is; text and Decimal are whole units; Money says its currency too.
Amount = Annotated[Money | Decimal | int, PlainValidator(_amount)]
