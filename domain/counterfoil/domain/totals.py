"""What a document comes to: one pass over its lines, every sum exact.

The figures hold by construction: subtotal = sum of line nets (BR-CO-10), tax = sum of the groups
(BR-CO-14), total = subtotal - discount + tax + rounding. `rounding` (BT-114) is 0 unless prices
include tax: there the group's gross is what was agreed, net and tax are derived from it, and what
the rounded line nets leave over stands in `rounding`, never in a line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from counterfoil.domain.line import Discount, Line
from counterfoil.domain.money import in_range, minor_units, round_half_away, spread
from counterfoil.domain.tax import Tax, TaxRounding, on_net, within
from counterfoil.domain.value import LineId, MinorUnits, Value


class TaxGroup(Value):
    """All that is taxed alike (EN 16931 BG-23): its base after discounts, and the tax on it."""

    tax: Tax
    taxable: MinorUnits
    amount: MinorUnits


class Totals(Value):
    """The figures of a document in minor units, and how they were made.

    `bases` holds each line's part of its group's taxable amount, in the order of the lines, and
    `line_taxes` its part of the tax when tax is rounded per line. Credit notes take back these
    parts, so that crediting every line ends at zero in every group.
    """

    subtotal: MinorUnits
    discount: MinorUnits
    tax: MinorUnits
    rounding: MinorUnits
    total: MinorUnits
    tax_rounding: TaxRounding
    groups: tuple[TaxGroup, ...]
    bases: tuple[MinorUnits, ...]
    line_taxes: tuple[MinorUnits, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unit:
    """What tax is computed on at once: a group, or a single line when rounding per line."""

    tax: Tax
    lines: tuple[Line, ...]

    @property
    def amount(self) -> int:
        return sum(line.amount for line in self.lines)


@dataclass(frozen=True, slots=True)
class _Taxed:
    unit: _Unit
    reduction: int
    discount: int
    taxable: int
    tax: int


def total(
    lines: Sequence[Line], discount: Discount | None, currency: str, tax_rounding: TaxRounding
) -> Totals:
    """Add up a document. Discounts are spread over what is taxed at once (largest remainder)."""
    units = _units(lines, tax_rounding)
    agreed = [unit.amount for unit in units]
    reductions = spread(_reduction(discount, sum(agreed), currency), agreed)
    taxed = [_tax(*pair) for pair in zip(units, reductions, strict=True)]
    subtotal = sum(line.net for line in lines)
    reduced = sum(part.discount for part in taxed)
    tax = sum(part.tax for part in taxed)
    due = sum(part.taxable + part.tax for part in taxed)
    for figure in (subtotal, reduced, tax):
        in_range("total", figure)
    bases = _bases(taxed)
    per_line = tax_rounding is TaxRounding.PER_LINE
    return Totals(
        subtotal=subtotal,
        discount=reduced,
        tax=tax,
        rounding=due - (subtotal - reduced + tax),
        total=in_range("total", due),
        tax_rounding=tax_rounding,
        groups=_groups(taxed),
        bases=tuple(bases[line.id] for line in lines),
        line_taxes=tuple(part.tax for part in taxed) if per_line else (),
    )


def by_rate(groups: Sequence[TaxGroup]) -> tuple[TaxGroup, ...]:
    """The groups as a document breaks tax down (BR-S-08): once for each rate of a category, whether
    its prices contained the tax or not.
    """
    sums: dict[Tax, tuple[int, int]] = {}
    for group in groups:
        tax = group.tax.model_copy(update={"inclusive": False})
        taxable, amount = sums.get(tax, (0, 0))
        sums[tax] = (taxable + group.taxable, amount + group.amount)
    return _as_groups(sums)


def _units(lines: Sequence[Line], tax_rounding: TaxRounding) -> list[_Unit]:
    if tax_rounding is TaxRounding.PER_LINE:
        return [_Unit(line.tax, (line,)) for line in lines]
    groups: dict[Tax, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.tax].append(line)
    return [_Unit(tax, tuple(members)) for tax, members in groups.items()]


def _reduction(discount: Discount | None, agreed: int, currency: str) -> int:
    match discount:
        case Discount(percent=Decimal() as percent):
            return round_half_away(agreed * Fraction(percent) / 100)
        case Discount(amount=Decimal() as amount):
            # As with a Stripe coupon, an amount takes off no more than there is.
            return min(minor_units("discount.amount", amount, currency), max(agreed, 0))
        case _:
            return 0


def _tax(unit: _Unit, reduction: int) -> _Taxed:
    left = unit.amount - reduction
    if unit.tax.inclusive:
        tax = within(unit.tax, left)
        discount = reduction - within(unit.tax, reduction)
        return _Taxed(unit, reduction, discount, left - tax, tax)
    return _Taxed(unit, reduction, reduction, left, on_net(unit.tax, left))


def _groups(taxed: Sequence[_Taxed]) -> tuple[TaxGroup, ...]:
    sums: dict[Tax, tuple[int, int]] = {}
    for part in taxed:
        taxable, amount = sums.get(part.unit.tax, (0, 0))
        sums[part.unit.tax] = (taxable + part.taxable, amount + part.tax)
    return _as_groups(sums)


def _as_groups(sums: Mapping[Tax, tuple[int, int]]) -> tuple[TaxGroup, ...]:
    return tuple(
        TaxGroup(tax=tax, taxable=taxable, amount=amount) for tax, (taxable, amount) in sums.items()
    )


def _bases(taxed: Sequence[_Taxed]) -> dict[LineId, int]:
    bases = {}
    for part in taxed:
        amounts = [line.amount for line in part.unit.lines]
        reductions = spread(part.reduction, amounts)
        left = [amount - taken for amount, taken in zip(amounts, reductions, strict=True)]
        if part.unit.tax.inclusive:
            left = [amount - within(part.unit.tax, amount) for amount in left]
        over = spread(part.taxable - sum(left), [abs(base) for base in left])
        for line, base, leftover in zip(part.unit.lines, left, over, strict=True):
            bases[line.id] = base + leftover
    return bases
