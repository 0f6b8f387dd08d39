"""What Hypothesis draws for the tests of money: invoices of every kind, and ways to credit them.

Nothing here is computed by the code under test; `half_away` is the tests' own rounding.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from hypothesis import strategies as st

from counterfoil.domain.line import Discount, LineItem
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding
from counterfoil.domain.value import LineId

# One or two currencies of each number of decimals that ISO 4217 knows.
DECIMALS = {"JPY": 0, "KRW": 0, "EUR": 2, "USD": 2, "BHD": 3, "TND": 3, "CLF": 4, "UYW": 4}

RATES = ("0", "0.5", "2.1", "5.5", "7", "8.875", "10", "19", "20", "22", "25", "33.333333", "100")


class Sketch(NamedTuple):
    """What a caller says of an invoice, before anybody computes anything."""

    currency: str
    lines: tuple[LineItem, ...]
    discount: Discount | None
    tax_rounding: TaxRounding


class _Said(NamedTuple):
    """A line as it is drawn: its tax by place, its discount by kind and size."""

    quantity: Decimal
    unit_price: Decimal
    tax: int
    percent: Decimal | None
    share: int | None


class Kind(Enum):
    """How a credit note is asked for."""

    LINES = "lines"
    QUANTITIES = "quantities"
    NETS = "nets"
    GROSS = "gross"
    MIXED = "mixed"


class Step(NamedTuple):
    """One credit note of a split: which lines, and how much of what is left of each.

    `picks` are places in the invoice, taken modulo its number of lines.
    """

    kind: Kind
    picks: tuple[int, ...]
    share: Fraction


def half_away(exact: Fraction) -> int:
    """The nearest integer, a half going away from zero: the oracle of these tests."""
    if exact < 0:
        return -half_away(-exact)
    return (exact + Fraction(1, 2)).__floor__()


def written(digits: int, places: int) -> Decimal:
    """That many digits with the point so many places from the right, in no decimal context."""
    return Decimal((int(digits < 0), tuple(int(digit) for digit in str(abs(digits))), -places))


# Strategies are made once: making them while drawing costs more than all that is drawn.


@cache
def currencies() -> st.SearchStrategy[str]:
    """A currency of 0, 2, 3 or 4 decimals."""
    return st.sampled_from(sorted(DECIMALS))


@cache
def positive_quantities() -> st.SearchStrategy[Decimal]:
    """Mostly small and whole, sometimes with as many decimals as a quantity may have."""
    return st.one_of(
        st.integers(1, 12).map(Decimal),
        st.builds(written, st.integers(1, 9_999), st.integers(0, 4)),
        st.builds(written, st.integers(1, 10**14), st.just(12)),
    )


@cache
def quantities() -> st.SearchStrategy[Decimal]:
    """Of either sign, and sometimes 0."""
    return st.one_of(
        positive_quantities(),
        positive_quantities(),
        positive_quantities().map(lambda quantity: quantity.copy_negate()),
        st.just(Decimal(0)),
    )


@cache
def unit_prices() -> st.SearchStrategy[Decimal]:
    """From 0 up; often with more decimals than any currency has."""
    return st.one_of(
        st.builds(written, st.integers(0, 300), st.just(2)),
        st.builds(written, st.integers(0, 99_999), st.integers(0, 3)),
        st.builds(written, st.integers(0, 10**14), st.just(12)),
    )


def exclusive_taxes() -> st.SearchStrategy[Tax]:
    """Every category; a rate where the category allows one. The price does not contain it."""
    return _taxes((False,))


def taxes() -> st.SearchStrategy[Tax]:
    """Every category; the price contains the tax or does not."""
    return _taxes((False, True))


@cache
def _taxes(inclusive: tuple[bool, ...]) -> st.SearchStrategy[Tax]:
    taxed = [Tax(rate=rate, inclusive=inside) for rate in RATES for inside in inclusive]
    untaxed = [
        Tax(
            rate=0,
            category=category,
            exemption_reason="article 132" if category is TaxCategory.EXEMPT else None,
            inclusive=inside,
        )
        for category in TaxCategory
        for inside in inclusive
        if category is not TaxCategory.STANDARD
    ]
    return st.one_of(st.sampled_from(taxed), st.sampled_from(taxed), st.sampled_from(untaxed))


@cache
def percents() -> st.SearchStrategy[Decimal]:
    """From 0 to 100, with up to six decimals."""
    return st.one_of(
        st.integers(0, 100).map(Decimal),
        st.builds(written, st.integers(0, 100 * 10**6), st.just(6)),
    )


@cache
def tax_roundings() -> st.SearchStrategy[TaxRounding]:
    """Per group or per line."""
    return st.sampled_from(TaxRounding)


def invoices() -> st.SearchStrategy[Sketch]:
    """One to twelve lines of either sign, any tax, any discount; the total may be negative."""
    return _sketches(taxes(), quantities())


def exclusive_invoices() -> st.SearchStrategy[Sketch]:
    """As `invoices`, but no price contains its tax."""
    return _sketches(exclusive_taxes(), quantities())


def positive_invoices() -> st.SearchStrategy[Sketch]:
    """As `invoices`, but nothing is given back: no quantity is 0 or less."""
    return _sketches(taxes(), positive_quantities())


def positive_exclusive_invoices() -> st.SearchStrategy[Sketch]:
    """As `positive_invoices`, but no price contains its tax."""
    return _sketches(exclusive_taxes(), positive_quantities())


@cache
def _sketches(
    taxes_of: st.SearchStrategy[Tax], quantities_of: st.SearchStrategy[Decimal]
) -> st.SearchStrategy[Sketch]:
    said = st.builds(
        _Said,
        quantities_of,
        unit_prices(),
        st.integers(0, 2),
        st.one_of(st.none(), st.none(), percents()),
        st.one_of(st.none(), st.none(), st.integers(0, 1000)),
    )
    return st.builds(
        _sketch,
        currencies(),
        # Few taxes for many lines, so that groups have several members.
        st.lists(taxes_of, min_size=1, max_size=3),
        st.lists(said, min_size=1, max_size=12),
        st.one_of(st.none(), percents(), st.integers(0, 50_000)),
        tax_roundings(),
    )


def _sketch(
    currency: str,
    known: list[Tax],
    said: list[_Said],
    reduction: Decimal | int | None,
    tax_rounding: TaxRounding,
) -> Sketch:
    discount = None
    if isinstance(reduction, Decimal):
        discount = Discount(percent=reduction)
    elif reduction is not None:  # it may exceed what there is
        discount = Discount(amount=written(reduction, DECIMALS[currency]))
    lines = tuple(
        LineItem(
            id=LineId(f"line-{place}"),
            description="Consulting",
            quantity=one.quantity,
            unit_price=one.unit_price,
            tax=known[one.tax % len(known)],
            discount=_line_discount(one, currency),
        )
        for place, one in enumerate(said)
    )
    return Sketch(currency, lines, discount, tax_rounding)


def _line_discount(said: _Said, currency: str) -> Discount | None:
    if said.percent is not None:
        return Discount(percent=said.percent)
    if said.share is not None:  # never more than the line: that is refused
        exact = Fraction(said.quantity) * Fraction(said.unit_price) * 10 ** DECIMALS[currency]
        minor = abs(half_away(exact)) * said.share // 1000
        return Discount(amount=written(minor, DECIMALS[currency]))
    return None


@cache
def splits(*kinds: Kind) -> st.SearchStrategy[tuple[Step, ...]]:
    """The credit notes before the one that takes the rest; of any kind when none is said."""
    steps = st.builds(
        Step,
        st.sampled_from(kinds or tuple(Kind)),
        st.lists(st.integers(0, 11), min_size=1, max_size=5, unique=True).map(tuple),
        st.sampled_from([Fraction(1, 100), Fraction(1, 3), Fraction(1, 2), Fraction(1)])
        | st.fractions(Fraction(1, 1000), 1),
    )
    return st.lists(steps, max_size=6).map(tuple)
