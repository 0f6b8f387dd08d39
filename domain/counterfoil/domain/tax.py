"""What tax a line carries, and how much tax a base makes."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from counterfoil.domain.errors import Malformed
from counterfoil.domain.money import round_half_away
from counterfoil.domain.value import Percent, Text, Value


class TaxCategory(StrEnum):
    """Why this rate applies (EN 16931 BT-151, code list UNCL 5305)."""

    STANDARD = "standard"  # S: the usual case, reduced rates too
    ZERO = "zero"  # Z
    EXEMPT = "exempt"  # E
    REVERSE_CHARGE = "reverse_charge"  # AE
    INTRA_COMMUNITY = "intra_community"  # K
    EXPORT = "export"  # G
    OUTSIDE_SCOPE = "outside_scope"  # O


class TaxRounding(StrEnum):
    """Where tax is rounded: once per group (BR-CO-17), or on every line as Stripe does."""

    PER_GROUP = "per_group"
    PER_LINE = "per_line"


class Tax(Value):
    """A tax rate and what it stands for; `inclusive` says that the price contains it.

    Equal taxes form one group of the document (EN 16931 BG-23).
    """

    rate: Percent
    category: TaxCategory = TaxCategory.STANDARD
    exemption_reason: Text | None = None
    inclusive: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            rate: Decimal | str | int,
            category: TaxCategory | str = ...,
            exemption_reason: str | None = ...,
            inclusive: bool = ...,
        ) -> None: ...

    @model_validator(mode="after")
    def _rate_fits_category(self) -> Self:
        standard = self.category is TaxCategory.STANDARD
        if not standard and self.rate != 0:  # BR-Z-05, BR-E-05, BR-AE-05, BR-IC-05, BR-G-05
            raise Malformed("rate", "must be 0 unless the category is standard")
        if self.category is TaxCategory.EXEMPT and self.exemption_reason is None:  # BR-E-10
            raise Malformed("exemption_reason", "is required when the category is exempt")
        return self


def on_net(tax: Tax, net: int) -> int:
    """The tax that comes on top of a net amount (BR-CO-17)."""
    return round_half_away(net * Fraction(tax.rate) / 100)


def within(tax: Tax, gross: int) -> int:
    """The tax that a gross amount contains."""
    rate = Fraction(tax.rate)
    return round_half_away(gross * rate / (100 + rate))
