"""Does money stay exact: decimals by ISO 4217, one currency at a time, one way of rounding?"""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from iso4217 import raw_table

from counterfoil.domain.errors import Malformed, Reason, Rejected
from counterfoil.domain.invoice.commands import DraftInvoice
from counterfoil.domain.invoice.events import Terms
from counterfoil.domain.money import (
    Money,
    exponent,
    in_range,
    minor_units,
    round_half_away,
    scale,
    spread,
)
from counterfoil.domain.party import Customer
from counterfoil.domain.value import LARGEST, InvoiceId
from strategies import DECIMALS, currencies, half_away, written

# ISO's own table, as the maintenance agency publishes it: "N.A." is a metal or a test code.
TABLE = {code: row["CcyMnrUnts"] for code, row in raw_table.items() if code}
PAYABLE = {code: int(str(units)) for code, units in TABLE.items() if str(units).isdigit()}
NO_MONEY = sorted(TABLE.keys() - PAYABLE.keys())

fractions = st.fractions(max_denominator=10**12)
minors = st.integers(-LARGEST, LARGEST)


# --- currencies ---------------------------------------------------------------------------------


def test_every_currency_of_isos_table_has_isos_decimals() -> None:
    assert {code: exponent(code) for code in PAYABLE} == PAYABLE


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [
        *[
            (code, 0)
            for code in [
                "JPY",
                "KRW",
                "CLP",
                "VND",
                "PYG",
                "ISK",
                "UGX",
                "XAF",
                "XOF",
                "XPF",
                "RWF",
            ]
        ],
        *[(code, 0) for code in ["BIF", "DJF", "GNF", "KMF", "VUV"]],
        *[(code, 2) for code in ["EUR", "USD", "GBP", "CHF", "HUF", "MGA", "MRU", "TWD"]],
        *[(code, 3) for code in ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]],
        ("CLF", 4),
        ("UYW", 4),
    ],
)
def test_decimals_are_isos_where_others_copied_them_wrong(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals
    assert scale(currency) == 10**decimals


def test_metals_test_codes_and_baskets_are_no_money() -> None:
    assert {"XXX", "XTS", "XAU", "XDR"} <= set(NO_MONEY)
    assert {code: exponent(code) for code in NO_MONEY} == dict.fromkeys(NO_MONEY)


@pytest.mark.parametrize(
    "currency", ["", " ", "EU", "EURO", "EUR ", "ZZZ", "978", "€", "eur", "DEM", "\ud800", "E\x00R"]
)
def test_what_iso_does_not_list_is_no_money(currency: str) -> None:
    with pytest.raises(Malformed) as refused:
        Money(1, currency)
    assert refused.value.field == "currency"
    with pytest.raises(Malformed) as refused:
        Money.of("1", currency)
    assert refused.value.field == "currency"


@pytest.mark.parametrize("currency", [None, 978, b"EUR", ("EUR",), ["EUR"], {"code": "EUR"}])
def test_a_currency_is_text(currency: Any) -> None:
    with pytest.raises(Malformed) as refused:
        Money(1, currency)
    assert refused.value.field == "currency"


@pytest.mark.parametrize("currency", ["eur", "Eur", "EUR"])
def test_a_document_takes_its_currency_in_either_case(currency: str) -> None:
    assert _draft_in(currency).currency == "EUR"


@pytest.mark.parametrize("currency", ["", "XXX", "XAU", "ZZZ", "EUR ", "\ud800", None, 978, True])
def test_a_document_in_no_currency_is_refused_by_name(currency: Any) -> None:
    with pytest.raises(Malformed) as refused:
        _draft_in(currency)
    assert refused.value.field == "currency"


def _draft_in(currency: str) -> DraftInvoice:
    terms = Terms(customer=Customer(id="c-1", name="Ada"))
    return DraftInvoice(invoice=InvoiceId("i-1"), currency=currency, terms=terms)


# --- amounts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("19.99", "EUR", 1999),
        ("19.9", "EUR", 1990),
        ("19", "EUR", 1900),
        ("-0.01", "EUR", -1),
        ("1.230", "EUR", 123),
        (Decimal("1e2"), "EUR", 10_000),
        ("0", "JPY", 0),
        ("500", "JPY", 500),
        ("1.234", "BHD", 1234),
        ("0.0001", "CLF", 1),
        ("92233720368547758.07", "EUR", 2**63 - 1),
        ("-92233720368547758.07", "EUR", -(2**63) + 1),
    ],
)
def test_money_of_a_decimal_is_its_minor_units(text: str, currency: str, minor: int) -> None:
    assert Money.of(text, currency) == Money(minor, currency)
    assert Money.of(Decimal(text), currency) == Money(minor, currency)


@given(minors, currencies())
def test_an_amount_survives_being_written_and_read(minor: int, currency: str) -> None:
    money = Money(minor, currency)
    assert money.decimal == written(minor, DECIMALS[currency])
    assert Money.of(money.decimal, currency) == money
    assert str(money).replace(",", "") == f"{written(minor, DECIMALS[currency]):f} {currency}"


@given(minors, currencies(), st.integers(1, 20))
def test_an_amount_does_not_depend_on_the_callers_decimal_context(
    minor: int, currency: str, precision: int
) -> None:
    with localcontext(prec=precision):
        shown = Money(minor, currency).decimal
    assert shown == written(minor, DECIMALS[currency])


@pytest.mark.parametrize("minor", [10**28 + 1, -(10**40) - 1])
def test_an_amount_beyond_every_store_is_still_shown_exactly(minor: int) -> None:
    assert Fraction(Money(minor, "EUR").decimal) == Fraction(minor, 100)


@pytest.mark.parametrize("amount", [19.99, 0.0, float("nan"), 19, True, None, b"19", ["19"]])
def test_money_is_made_of_text_or_decimal_never_of_a_float(amount: Any) -> None:
    with pytest.raises(Malformed) as refused:
        Money.of(amount, "EUR")
    assert refused.value.field == "amount"


@pytest.mark.parametrize(
    "amount",
    ["", " ", "ten", "1,00", "1.0.0", "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "0x10", "\0"],
)
def test_what_is_no_decimal_number_is_no_amount(amount: str) -> None:
    with pytest.raises(Malformed) as refused:
        Money.of(amount, "EUR")
    assert refused.value.field == "amount"


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")])
def test_a_decimal_that_is_no_number_is_no_amount(amount: Decimal) -> None:
    with pytest.raises(Malformed) as refused:
        Money.of(amount, "EUR")
    assert refused.value.field == "amount"


@pytest.mark.parametrize("minor", [1.0, "1", Decimal(1), True, None])
def test_minor_units_are_whole_numbers(minor: Any) -> None:
    with pytest.raises(Malformed) as refused:
        Money(minor, "EUR")
    assert refused.value.field == "amount"


@pytest.mark.parametrize(
    ("amount", "currency"),
    [("0.001", "EUR"), ("0.5", "JPY"), ("1.2345", "BHD"), ("0.00001", "CLF")],
)
def test_more_decimals_than_the_currency_has_are_refused_not_rounded(
    amount: str, currency: str
) -> None:
    with pytest.raises(Rejected) as refused:
        Money.of(amount, currency)
    assert refused.value.reason is Reason.TOO_PRECISE
    assert refused.value.facts["field"] == "amount"
    assert refused.value.facts["exponent"] == DECIMALS.get(currency, PAYABLE[currency])


@pytest.mark.parametrize(
    "amount", ["92233720368547758.08", "-92233720368547758.08", "1" + "0" * 25]
)
def test_an_amount_that_a_store_cannot_hold_is_refused(amount: str) -> None:
    with pytest.raises(Rejected) as refused:
        Money.of(amount, "EUR")
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "exponent_", ["1000000", "-1000000", "999999999999999999", "9" * 30, "-" + "9" * 30]
)
def test_a_huge_exponent_is_refused_without_being_written_out(sign: str, exponent_: str) -> None:
    with pytest.raises(Malformed) as refused:
        Money.of(f"{sign}1e{exponent_}", "EUR")
    assert refused.value.field == "amount"


def test_a_very_long_amount_is_refused_with_a_short_answer() -> None:
    with pytest.raises((Malformed, Rejected)) as refused:
        Money.of("0." + "1" * 20_000, "EUR")
    assert len(str(refused.value)) < 1_000


@given(minors)
def test_every_amount_within_the_range_is_in_range(minor: int) -> None:
    assert in_range("total", minor) == minor


@pytest.mark.parametrize("minor", [2**63, -(2**63), 10**100])
def test_beyond_the_range_the_field_is_named(minor: int) -> None:
    with pytest.raises(Rejected) as refused:
        in_range("total", minor)
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    assert refused.value.facts["field"] == "total"


def test_an_int_is_minor_units_and_a_decimal_is_whole_units() -> None:
    assert minor_units("amount", 1999, "EUR") == 1999
    assert minor_units("amount", Decimal("19.99"), "EUR") == 1999
    assert minor_units("amount", Money(1999, "EUR"), "EUR") == 1999


@pytest.mark.parametrize("amount", [2**63, Decimal(2**63), Money(2**63, "EUR")])
def test_however_an_amount_is_given_it_must_fit_the_stores(amount: Money | Decimal | int) -> None:
    with pytest.raises(Rejected) as refused:
        minor_units("amount", amount, "EUR")
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


def test_money_of_another_currency_is_not_converted() -> None:
    with pytest.raises(Rejected) as refused:
        minor_units("refund", Money(1999, "USD"), "EUR")
    assert refused.value.reason is Reason.CURRENCY_MISMATCH
    assert refused.value.facts == {"field": "refund", "given": "USD", "expected": "EUR"}


# --- arithmetic ---------------------------------------------------------------------------------


@given(minors, minors, currencies())
def test_money_adds_and_subtracts_as_its_minor_units_do(a: int, b: int, currency: str) -> None:
    left, right = Money(a, currency), Money(b, currency)
    assert left + right == Money(a + b, currency)
    assert left - right == Money(a - b, currency)
    assert -left == Money(-a, currency)


@given(minors, minors, currencies())
def test_money_compares_as_its_minor_units_do(a: int, b: int, currency: str) -> None:
    left, right = Money(a, currency), Money(b, currency)
    assert (left < right, left <= right, left > right, left >= right) == (
        a < b,
        a <= b,
        a > b,
        a >= b,
    )
    assert (left == right) == (a == b)


@pytest.mark.parametrize("other", [Money(1, "USD"), Money(0, "JPY")])
def test_two_currencies_never_add_and_never_compare(other: Money) -> None:
    euro = Money(1, "EUR")
    for mixed in (
        lambda: euro + other,
        lambda: euro - other,
        lambda: euro < other,
        lambda: euro <= other,
        lambda: euro > other,
        lambda: euro >= other,
    ):
        with pytest.raises(Rejected) as refused:
            mixed()
        assert refused.value.reason is Reason.CURRENCY_MISMATCH


def test_equal_numbers_of_two_currencies_are_not_equal() -> None:
    assert Money(1, "EUR") != Money(1, "USD")
    assert len({Money(1, "EUR"), Money(1, "USD"), Money(1, "EUR")}) == 2


@pytest.mark.parametrize("number", [1, 1.0, Decimal(1)])
def test_a_bare_number_is_no_money_to_add(number: Any) -> None:
    with pytest.raises((TypeError, AttributeError)):
        Money(1, "EUR") + number
    assert Money(1, "EUR") != number


def test_money_cannot_be_changed() -> None:
    money: Any = Money(1, "EUR")
    with pytest.raises(AttributeError):
        money.minor = 2


def test_money_can_be_copied_and_pickled() -> None:
    money = Money(-1999, "BHD")
    assert copy.copy(money) == copy.deepcopy(money) == money
    assert pickle.loads(pickle.dumps(money)) == money  # noqa: S301 - our own bytes


# --- rounding -----------------------------------------------------------------------------------


@given(fractions)
def test_rounding_goes_to_the_nearest_integer_and_a_half_goes_away_from_zero(
    exact: Fraction,
) -> None:
    assert round_half_away(exact) == half_away(exact)
    assert abs(round_half_away(exact) - exact) <= Fraction(1, 2)
    assert round_half_away(-exact) == -round_half_away(exact)


@given(st.integers())
def test_an_integer_stays_and_a_half_grows(whole: int) -> None:
    assert round_half_away(Fraction(whole)) == whole
    half = whole + (Fraction(1, 2) if whole >= 0 else Fraction(-1, 2))
    assert round_half_away(half) == whole + (1 if whole >= 0 else -1)


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [
        ("2.5", 3),
        ("-2.5", -3),
        ("0.5", 1),
        ("-0.5", -1),
        ("1.5", 2),
        ("2.4999999999999999999", 2),
        ("-2.5000000000000000001", -3),
        ("234.5", 235),
        ("-234.5", -235),
    ],
)
def test_half_away_is_neither_half_even_nor_half_up(exact: str, rounded: int) -> None:
    assert round_half_away(Fraction(exact)) == rounded


# --- spreading ----------------------------------------------------------------------------------

weights = st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=12)
totals = st.integers(-(10**12), 10**12)


@given(totals, weights)
@example(5, [0, 0, 0])
@example(5, [3, -3])
@example(0, [3, -3])
@example(-1, [1, 1, 1])
def test_the_parts_of_a_spread_sum_to_the_whole(total: int, weight: list[int]) -> None:
    parts = spread(total, weight)
    assert len(parts) == len(weight)
    assert sum(parts) == total


@given(totals, weights)
@example(-1, [1, 1, 1])
@example(7, [10, -9])
def test_each_part_is_within_one_unit_of_its_exact_share(total: int, weight: list[int]) -> None:
    whole = sum(weight)
    if whole == 0:
        return
    for part, one in zip(spread(total, weight), weight, strict=True):
        assert abs(part - Fraction(total * one, whole)) < 1


@given(totals, weights)
def test_what_can_be_shared_exactly_is(factor: int, weight: list[int]) -> None:
    if sum(weight) != 0:
        assert spread(factor * sum(weight), weight) == [factor * one for one in weight]


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), min_size=2, max_size=12))
def test_a_greater_weight_never_gets_less(total: int, weight: list[int]) -> None:
    pairs = sorted(zip(weight, spread(total, weight), strict=True))
    if sum(weight) > 0:
        assert [part for _, part in pairs] == sorted(part for _, part in pairs)


@given(st.integers(0, 11), st.integers(1, 12))
def test_among_equals_the_first_get_the_odd_units(odd: int, members: int) -> None:
    odd %= members
    assert spread(odd, [1] * members) == [1] * odd + [0] * (members - odd)


@given(totals, weights)
def test_nothing_falls_on_a_weight_of_zero(total: int, weight: list[int]) -> None:
    if sum(weight) != 0:
        parts = spread(total, [*weight, 0])
        assert parts[-1] == 0
        assert parts[:-1] == spread(total, weight)


@given(st.integers(0, 10**12), st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=12))
def test_a_reduction_within_the_whole_never_turns_a_part_around(
    total: int, weight: list[int]
) -> None:
    if sum(weight) > 0:
        for part, one in zip(spread(total % (sum(weight) + 1), weight), weight, strict=True):
            assert min(0, one) <= part <= max(0, one)


def test_nothing_is_spread_over_nothing() -> None:
    assert spread(0, []) == []


@pytest.mark.parametrize(
    ("total", "weight", "parts"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (2, [1, 1, 1], [1, 1, 0]),
        (10, [5, 3, 2], [5, 3, 2]),
        (1, [2, 3], [0, 1]),
        (6, [100, -40], [10, -4]),
    ],
)
def test_a_spread_by_largest_remainder(total: int, weight: list[int], parts: list[int]) -> None:
    assert spread(total, weight) == parts
