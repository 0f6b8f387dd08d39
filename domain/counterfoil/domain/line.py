"""A line: one thing sold, priced once when it is added."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import model_validator

from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.money import in_range, minor_units, round_half_away, scale
from counterfoil.domain.tax import Tax, within
from counterfoil.domain.value import (
    ID,
    LineId,
    MajorUnits,
    MinorUnits,
    Percent,
    Quantity,
    Text,
    UnitPrice,
    Value,
)


class Discount(Value):
    """A reduction by a percentage or by an amount in whole currency units, not both."""

    percent: Percent | None = None
    amount: MajorUnits | None = None

    if TYPE_CHECKING:

        def __init__(
            self, *, percent: Decimal | str | int | None = ..., amount: Decimal | str | None = ...
        ) -> None: ...

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise Malformed("discount", "say either percent or amount")
        return self


class NewLine(Value):
    """A line as its seller says it."""

    description: Text
    quantity: Quantity
    unit_price: UnitPrice
    tax: Tax
    discount: Discount | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            description: str,
            quantity: Decimal | str | int,
            unit_price: Decimal | str,
            tax: Tax,
            discount: Discount | None = ...,
        ) -> None: ...


class LineItem(NewLine):
    """A line that has its id."""

    id: Annotated[LineId, ID]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str,
            description: str,
            quantity: Decimal | str | int,
            unit_price: Decimal | str,
            tax: Tax,
            discount: Discount | None = ...,
        ) -> None: ...


class Line(LineItem):
    """A line with its figures, in minor units.

    `amount` is quantity × unit price less `discounted`, in the terms of the price; `net` is the
    same without tax (EN 16931 BT-131) and differs from it only when the price contains the tax.
    """

    discounted: MinorUnits
    amount: MinorUnits
    net: MinorUnits

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            id: str,
            description: str,
            quantity: Decimal | str | int,
            unit_price: Decimal | str,
            tax: Tax,
            discounted: int,
            amount: int,
            net: int,
            discount: Discount | None = ...,
        ) -> None: ...


def price(item: LineItem, currency: str) -> Line:
    """Work out a line's figures: rounded are the discount and what is left, nothing else (R3)."""
    full = Fraction(item.quantity) * Fraction(item.unit_price) * scale(currency)
    discounted = _discounted(item.discount, full, currency)
    amount = in_range("unit_price", round_half_away(full - discounted))
    if amount * full < 0:  # half a minor unit with a whole one taken off
        amount = 0
    net = amount - within(item.tax, amount) if item.tax.inclusive else amount
    said = {name: getattr(item, name) for name in LineItem.model_fields}
    return Line(**said, discounted=discounted, amount=amount, net=net)


def _discounted(discount: Discount | None, full: Fraction, currency: str) -> int:
    match discount:
        case Discount(percent=Decimal() as percent):
            return in_range("unit_price", round_half_away(full * Fraction(percent) / 100))
        case Discount(amount=Decimal() as amount):
            taken = minor_units("discount.amount", amount, currency)
            if taken > abs(round_half_away(full)):
                raise Rejected(
                    Reason.DISCOUNT_EXCEEDS_LINE, discount=taken, amount=round_half_away(full)
                )
            return taken if full >= 0 else -taken
        case _:
            return 0
