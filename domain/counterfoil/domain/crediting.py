"""How much of a finalized invoice a credit note takes back, line by line and group by group.

The tax of a credit note is the tax on all that has been credited so far less the tax credited
already. However a full credit is split, it therefore ends at zero in every group; rounding each
note on its own is a cent off in one split of three.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Self

from pydantic import model_validator

from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.line import Line
from counterfoil.domain.money import EXACT, round_half_away, spread
from counterfoil.domain.tax import Tax, TaxRounding, on_net
from counterfoil.domain.totals import TaxGroup, Totals
from counterfoil.domain.value import Id, MinorUnits, Quantity, Value


class CreditLine(Value):
    """What to take back of a line: a quantity, an amount without tax in minor units, or the rest.

    Both carry the sign of the line, so a line with a negative quantity is credited negatively.
    """

    line: Id
    quantity: Quantity | None = None
    amount: MinorUnits | None = None

    if TYPE_CHECKING:

        def __init__(
            self, *, line: str, quantity: Decimal | str | int | None = ..., amount: int | None = ...
        ) -> None: ...

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.quantity is not None and self.amount is not None:
            raise Malformed("quantity", "say quantity or amount, not both")
        return self


class CreditedLine(Value):
    """What was taken back of a line; its tax too when the invoice rounds tax per line."""

    line: Id
    quantity: Quantity | None = None
    taxable: MinorUnits
    tax: MinorUnits | None = None


class Credit(Value):
    """The figures of a credit note, in minor units; groups stand in the invoice's order."""

    lines: tuple[CreditedLine, ...]
    groups: tuple[TaxGroup, ...]
    subtotal: MinorUnits
    tax: MinorUnits
    total: MinorUnits


@dataclass(frozen=True, slots=True)
class Creditable:
    """A finalized document, and the credits that stand against it."""

    totals: Totals
    lines: tuple[Line, ...]
    earlier: tuple[Credit, ...]


def credit_lines(of: Creditable, asked: Sequence[CreditLine]) -> Credit:
    """Take back what was asked of each line, and the tax that belongs to it."""
    if len({wanted.line for wanted in asked}) != len(asked):
        raise Malformed("lines", "a line may be named once only")
    open_lines = _open_lines(of)
    quantities: dict[str, Decimal | None] = {}
    taken: dict[str, int] = {}
    for wanted in asked:
        if wanted.line not in open_lines:
            raise Rejected(Reason.NO_SUCH_LINE, line=wanted.line)
        quantities[wanted.line] = wanted.quantity
        taken[wanted.line] = _taken(wanted, open_lines[wanted.line])
    bases = _by_group(taken, open_lines)
    if of.totals.tax_rounding is TaxRounding.PER_LINE:
        line_taxes = {line: _line_unit(open_lines[line]).tax_on(taken[line]) for line in taken}
        taxes = _by_group(line_taxes, open_lines)
    else:
        line_taxes = {}
        # A group that no named line is in gives back nothing, not even a cent it is behind.
        units = {unit.tax: unit for unit in _units(of)}
        taxes = {tax: units[tax].tax_on(base) for tax, base in bases.items()}
    taken_back = _TakenBack(taken, line_taxes, bases, taxes)
    return _credit(of, taken_back, quantities)


def credit_rest(of: Creditable) -> Credit:
    """Take back all that is left."""
    return credit_lines(of, [CreditLine(line=line.id) for line in of.lines])


def credit_amount(of: Creditable, amount: int) -> Credit:
    """Take back this much, tax included, from all groups and lines in proportion."""
    units = _units(of)
    gross_left = [unit.left + unit.left_tax for unit in units]
    if amount > sum(gross_left):
        raise Rejected(Reason.CREDIT_EXCEEDS_INVOICE, left=sum(gross_left))
    if amount == sum(gross_left):
        return credit_rest(of)
    taken: dict[str, int] = {}
    line_taxes: dict[str, int] = {}
    bases: dict[Tax, int] = {}
    taxes: dict[Tax, int] = {}
    members = _members(_open_lines(of))
    for unit, gross in zip(units, spread(amount, gross_left), strict=True):
        base = bases[unit.tax] = unit.base_of(gross)
        tax = taxes[unit.tax] = gross - base
        lines = members[unit.tax]
        names = [line.line.id for line in lines]
        taken.update(zip(names, spread(base, [line.left for line in lines]), strict=True))
        if of.totals.tax_rounding is TaxRounding.PER_LINE:
            parts = spread(tax, [line.left_tax for line in lines])
            line_taxes.update(zip(names, parts, strict=True))
    return _credit(of, _TakenBack(taken, line_taxes, bases, taxes), {})


@dataclass(slots=True)
class _OpenLine:
    """A line, and what of it is not credited yet; its tax only where that is the line's own."""

    line: Line
    base: int
    tax: int
    left: int
    left_tax: int
    left_quantity: Decimal


def _open_lines(of: Creditable) -> dict[str, _OpenLine]:
    totals = of.totals
    taxes = totals.line_taxes or (0,) * len(of.lines)
    lines: dict[str, _OpenLine] = {
        line.id: _OpenLine(line, base, tax, base, tax, line.quantity)
        for line, base, tax in zip(of.lines, totals.bases, taxes, strict=True)
    }
    for credit in of.earlier:
        for part in credit.lines:
            line = lines[part.line]
            line.left -= part.taxable
            line.left_tax -= part.tax or 0
            line.left_quantity = EXACT.subtract(line.left_quantity, part.quantity or Decimal(0))
    return lines


def _members(open_lines: Mapping[str, _OpenLine]) -> dict[Tax, list[_OpenLine]]:
    members: dict[Tax, list[_OpenLine]] = defaultdict(list)
    for line in open_lines.values():
        members[line.line.tax].append(line)
    return members


def _by_group(of_lines: Mapping[str, int], open_lines: Mapping[str, _OpenLine]) -> dict[Tax, int]:
    sums: dict[Tax, int] = defaultdict(int)
    for line, amount in of_lines.items():
        sums[open_lines[line].line.tax] += amount
    return sums


def _taken(wanted: CreditLine, of: _OpenLine) -> int:
    match wanted:
        case CreditLine(amount=int() as amount):
            if amount == 0 or _within(amount, of.left) != amount:
                raise Rejected(Reason.CREDIT_EXCEEDS_LINE, line=of.line.id, left=of.left)
            return amount
        case CreditLine(quantity=Decimal() as quantity):
            left = of.left_quantity
            if quantity == 0 or quantity * left < 0 or abs(quantity) > abs(left):
                raise Rejected(Reason.CREDIT_EXCEEDS_LINE, line=of.line.id, left=left)
            if quantity == left:
                return of.left
            per_piece = Fraction(of.base) / Fraction(of.line.quantity)
            before = Fraction(of.line.quantity) - Fraction(left)
            upto = round_half_away(per_piece * (before + Fraction(quantity)))
            return _within(upto - round_half_away(per_piece * before), of.left)
        case _:
            return of.left


@dataclass(frozen=True, slots=True)
class _Unit:
    """What tax was computed on at once (a group, or a line), and what of it is left to credit."""

    tax: Tax
    taxable: int
    amount: int
    left: int
    left_tax: int

    def tax_on(self, base: int) -> int:
        """The tax that a credit of this much base gives back, within what is left of it."""
        if base == self.left:
            return self.left_tax
        so_far = _within(on_net(self.tax, self.taxable - self.left + base), self.amount)
        return _within(so_far - (self.amount - self.left_tax), self.left_tax)

    def base_of(self, gross: int) -> int:
        """The largest base that comes, with its tax, to no more than this gross."""
        sign = -1 if self.left < 0 else 1
        bases = range(abs(self.left) + 1)
        fitting = bisect_right(
            bases, abs(gross), key=lambda base: base + abs(self.tax_on(sign * base))
        )
        return sign * max(0, fitting - 1)


def _units(of: Creditable) -> list[_Unit]:
    return [
        _Unit(
            tax=group.tax,
            taxable=group.taxable,
            amount=group.amount,
            left=group.taxable - sum(credit.groups[place].taxable for credit in of.earlier),
            left_tax=group.amount - sum(credit.groups[place].amount for credit in of.earlier),
        )
        for place, group in enumerate(of.totals.groups)
    ]


def _line_unit(line: _OpenLine) -> _Unit:
    return _Unit(line.line.tax, line.base, line.tax, line.left, line.left_tax)


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """What a credit takes back: bases and taxes, by line and by group."""

    bases: Mapping[str, int]
    taxes: Mapping[str, int]
    group_bases: Mapping[Tax, int]
    group_taxes: Mapping[Tax, int]


def _credit(of: Creditable, taken: _TakenBack, quantities: Mapping[str, Decimal | None]) -> Credit:
    units = _units(of)
    groups = tuple(
        TaxGroup(
            tax=unit.tax,
            taxable=taken.group_bases.get(unit.tax, 0),
            amount=taken.group_taxes.get(unit.tax, 0),
        )
        for unit in units
    )
    subtotal = sum(group.taxable for group in groups)
    tax = sum(group.amount for group in groups)
    _hold_caps(units, groups, subtotal + tax)
    return Credit(
        lines=tuple(
            CreditedLine(
                line=line,
                quantity=quantities.get(line),
                taxable=base,
                tax=taken.taxes.get(line),
            )
            for line, base in taken.bases.items()
            if base or taken.taxes.get(line) or quantities.get(line)
        ),
        groups=groups,
        subtotal=subtotal,
        tax=tax,
        total=subtotal + tax,
    )


def _hold_caps(units: Sequence[_Unit], groups: Sequence[TaxGroup], total: int) -> None:
    for unit, group in zip(units, groups, strict=True):
        base_fits = _within(group.taxable, unit.left) == group.taxable
        if not base_fits or _within(group.amount, unit.left_tax) != group.amount:
            raise Rejected(Reason.CREDIT_EXCEEDS_GROUP, left=unit.left, rate=group.tax.rate)
    left = sum(unit.left + unit.left_tax for unit in units)
    if total > left:
        raise Rejected(Reason.CREDIT_EXCEEDS_INVOICE, left=left)
    if total <= 0:
        raise Rejected(Reason.NOTHING_TO_CREDIT, total=total)


def _within(value: int, limit: int) -> int:
    """The value, kept between 0 and a limit of either sign."""
    return max(0, min(value, limit)) if limit >= 0 else min(0, max(value, limit))
