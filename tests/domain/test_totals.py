"""Do the figures of a document hold, for every document? Laws first, then numbers by hand."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given

from counterfoil.domain.errors import Reason, Rejected
from counterfoil.domain.invoice.commands import AddLine, DraftInvoice, FinalizeInvoice
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import InvoiceFinalized, InvoicePaid, PaidReason, Terms
from counterfoil.domain.invoice.state import fold
from counterfoil.domain.line import Discount, Line, LineItem, price
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding
from counterfoil.domain.totals import Totals, total
from counterfoil.domain.value import InvoiceId, LineId
from strategies import (
    DECIMALS,
    Sketch,
    exclusive_invoices,
    half_away,
    invoices,
    positive_invoices,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from counterfoil.domain.invoice.events import InvoiceEvent

PER_GROUP, PER_LINE = TaxRounding.PER_GROUP, TaxRounding.PER_LINE


def _lines(of: Sketch) -> list[Line]:
    return [price(item, of.currency) for item in of.lines]


def _totals(of: Sketch) -> Totals:
    return total(_lines(of), of.discount, of.currency, of.tax_rounding)


def _contained(tax: Tax, gross: int) -> int:
    """The oracle for the tax inside a gross amount."""
    return half_away(gross * Fraction(tax.rate) / (100 + Fraction(tax.rate)))


def _on_top(tax: Tax, net: int) -> int:
    return half_away(net * Fraction(tax.rate) / 100)


def _agreed(item: LineItem, currency: str) -> tuple[int, int]:
    """The oracle for a line: its discount, and what is left in the terms of its price."""
    full = Fraction(item.quantity) * Fraction(item.unit_price) * 10 ** DECIMALS[currency]
    taken = 0
    if item.discount is not None and item.discount.percent is not None:
        taken = half_away(full * Fraction(item.discount.percent) / 100)
    elif item.discount is not None and item.discount.amount is not None:
        taken = int(Fraction(item.discount.amount) * 10 ** DECIMALS[currency])
        taken = -taken if full < 0 else taken
    left = half_away(full - taken)
    return taken, (0 if left * full < 0 else left)


def _reduction(of: Sketch) -> int:
    """The oracle for the document discount, in the terms of the prices."""
    agreed = sum(_agreed(item, of.currency)[1] for item in of.lines)
    match of.discount:
        case Discount(percent=Decimal() as percent):
            return half_away(agreed * Fraction(percent) / 100)
        case Discount(amount=Decimal() as amount):
            return min(int(Fraction(amount) * 10 ** DECIMALS[of.currency]), max(0, agreed))
        case _:
            return 0


def _shares(whole: int, weights: Sequence[int]) -> list[int]:
    """The oracle for the largest remainder, in fractions: floors, then one more for the greatest
    remainders, the first among equals first.
    """
    if sum(weights) == 0:
        return [0 for _ in weights]
    exact = [Fraction(whole * weight, sum(weights)) for weight in weights]
    shares = [one.__floor__() for one in exact]
    order = sorted(range(len(exact)), key=lambda place: (shares[place] - exact[place], place))
    for place in order[: whole - sum(shares)]:
        shares[place] += 1
    return shares


def _units(of: Sketch) -> list[tuple[Tax, list[int]]]:
    """What is taxed at once: the places of a group's lines, or of a single line."""
    if of.tax_rounding is PER_LINE:
        return [(item.tax, [place]) for place, item in enumerate(of.lines)]
    groups: dict[Tax, list[int]] = defaultdict(list)
    for place, item in enumerate(of.lines):
        groups[item.tax].append(place)
    return list(groups.items())


def _item(
    unit_price: str,
    tax: Tax,
    quantity: str = "1",
    discount: Discount | None = None,
    *,
    id: str = "1",
) -> LineItem:
    return LineItem(
        id=LineId(id),
        description="Work",
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        tax=tax,
        discount=discount,
    )


def _on(rate: str) -> Tax:
    return Tax(rate=rate)


def _in(rate: str) -> Tax:
    return Tax(rate=rate, inclusive=True)


# --- laws of a line -----------------------------------------------------------------------------


@given(invoices())
def test_a_line_is_quantity_times_price_less_its_rounded_discount(of: Sketch) -> None:
    for item, line in zip(of.lines, _lines(of), strict=True):
        assert (line.discounted, line.amount) == _agreed(item, of.currency)


@given(invoices())
def test_a_net_is_the_amount_less_the_tax_that_the_price_contains(of: Sketch) -> None:
    for item, line in zip(of.lines, _lines(of), strict=True):
        inside = _contained(item.tax, line.amount) if item.tax.inclusive else 0
        assert line.net == line.amount - inside


@given(invoices())
def test_a_discount_never_flips_the_sign_of_a_line(of: Sketch) -> None:
    for item, line in zip(of.lines, _lines(of), strict=True):
        full = half_away(
            Fraction(item.quantity) * Fraction(item.unit_price) * 10 ** DECIMALS[of.currency]
        )
        assert min(0, full) <= line.amount <= max(0, full)
        assert line.net * line.amount >= 0
        assert line.discounted * full >= 0


@given(invoices())
def test_pricing_keeps_what_the_caller_said(of: Sketch) -> None:
    for item, line in zip(of.lines, _lines(of), strict=True):
        assert {**dict(line)} == {
            **dict(item),
            "discounted": line.discounted,
            "amount": line.amount,
            "net": line.net,
        }


# --- laws of a document -------------------------------------------------------------------------


@given(invoices())
def test_the_subtotal_is_the_sum_of_the_line_nets(of: Sketch) -> None:  # BR-CO-10
    assert _totals(of).subtotal == sum(line.net for line in _lines(of))


@given(invoices())
def test_the_tax_is_the_sum_of_the_groups(of: Sketch) -> None:  # BR-CO-14
    totals = _totals(of)
    assert totals.tax == sum(group.amount for group in totals.groups)


@given(invoices())
def test_the_total_is_subtotal_less_discount_plus_tax_plus_rounding(of: Sketch) -> None:
    totals = _totals(of)  # BR-CO-13, 15, 16
    assert totals.total == totals.subtotal - totals.discount + totals.tax + totals.rounding
    assert totals.total == sum(group.taxable + group.amount for group in totals.groups)


@given(exclusive_invoices())
def test_without_inclusive_prices_nothing_is_left_to_rounding(of: Sketch) -> None:
    totals = _totals(of)
    assert totals.rounding == 0
    assert sum(group.taxable for group in totals.groups) == totals.subtotal - totals.discount


@given(invoices())
def test_the_rounding_is_a_unit_per_line_and_group_at_most(of: Sketch) -> None:
    assert abs(_totals(of).rounding) <= len(of.lines) + len(_units(of))


@given(invoices())
def test_there_is_one_group_for_each_tax_in_the_order_of_the_lines(of: Sketch) -> None:
    taxes = list(dict.fromkeys(item.tax for item in of.lines))
    assert [group.tax for group in _totals(of).groups] == taxes


@given(invoices())
def test_every_group_is_taxed_as_its_rule_says(of: Sketch) -> None:
    """Exclusive: half away of taxable × rate (BR-CO-17). Inclusive: what the gross contains."""
    amounts = [_agreed(item, of.currency)[1] for item in of.lines]
    units = _units(of)
    agreed = [sum(amounts[place] for place in places) for _, places in units]
    expected: dict[Tax, tuple[int, int]] = {}
    for (tax, _), gross, off in zip(units, agreed, _shares(_reduction(of), agreed), strict=True):
        left = gross - off
        amount = _contained(tax, left) if tax.inclusive else _on_top(tax, left)
        base = left - amount if tax.inclusive else left
        so_far = expected.get(tax, (0, 0))
        expected[tax] = (so_far[0] + base, so_far[1] + amount)
    groups = {group.tax: (group.taxable, group.amount) for group in _totals(of).groups}
    assert groups == expected


@given(exclusive_invoices())
def test_the_document_discount_is_spread_without_loss(of: Sketch) -> None:
    assert _totals(of).discount == _reduction(of)


@given(invoices())
def test_with_inclusive_prices_the_total_is_what_was_agreed_less_the_discount(of: Sketch) -> None:
    agreed = sum(_agreed(item, of.currency)[1] for item in of.lines)
    on_top = sum(group.amount for group in _totals(of).groups if not group.tax.inclusive)
    assert _totals(of).total == agreed - _reduction(of) + on_top


@given(positive_invoices())
def test_a_document_discount_never_turns_a_group_around(of: Sketch) -> None:
    totals = _totals(of)
    assert totals.discount >= 0
    assert all(group.taxable >= 0 and group.amount >= 0 for group in totals.groups)


@given(invoices())
def test_no_tax_has_another_sign_than_its_base(of: Sketch) -> None:
    if of.tax_rounding is PER_GROUP:
        for group in _totals(of).groups:
            assert group.taxable * group.amount >= 0


@given(invoices())
def test_the_bases_of_a_groups_lines_sum_to_the_groups_base(of: Sketch) -> None:
    totals = _totals(of)
    assert len(totals.bases) == len(of.lines)
    for group in totals.groups:
        mine = [b for b, i in zip(totals.bases, of.lines, strict=True) if i.tax == group.tax]
        assert sum(mine) == group.taxable


@given(exclusive_invoices())
def test_a_discount_leaves_each_base_between_nothing_and_the_line_net(of: Sketch) -> None:
    assume(sum(line.amount for line in _lines(of)) > 0)
    for base, line in zip(_totals(of).bases, _lines(of), strict=True):
        assert min(0, line.net) <= base <= max(0, line.net)


@given(invoices())
@example(
    Sketch(
        "EUR",
        (_item("10.02", _in("7"), id="a"), _item("10.00", _in("7"), "-1", id="b")),
        None,
        PER_GROUP,
    )
)
def test_without_a_document_discount_a_base_is_the_net_but_for_rounding(of: Sketch) -> None:
    undiscounted = of._replace(discount=None)
    for base, line in zip(_totals(undiscounted).bases, _lines(of), strict=True):
        assert abs(base - line.net) <= len(of.lines) + 1


@given(invoices())
def test_line_taxes_are_kept_when_and_only_when_tax_is_rounded_per_line(of: Sketch) -> None:
    per_line = _totals(of._replace(tax_rounding=PER_LINE))
    assert len(per_line.line_taxes) == len(of.lines)
    for group in per_line.groups:
        taxes = [
            t for t, i in zip(per_line.line_taxes, of.lines, strict=True) if i.tax == group.tax
        ]
        assert sum(taxes) == group.amount
    assert _totals(of._replace(tax_rounding=PER_GROUP)).line_taxes == ()


@given(exclusive_invoices())
def test_per_line_each_line_is_taxed_on_its_own_base(of: Sketch) -> None:
    totals = _totals(of._replace(tax_rounding=PER_LINE))
    taxed = zip(totals.line_taxes, totals.bases, of.lines, strict=True)
    assert all(tax == _on_top(item.tax, base) for tax, base, item in taxed)


@given(exclusive_invoices())
def test_both_ways_of_rounding_are_less_than_a_unit_per_line_apart(of: Sketch) -> None:
    grouped = _totals(of._replace(tax_rounding=PER_GROUP))
    per_line = _totals(of._replace(tax_rounding=PER_LINE))
    assert grouped.subtotal == per_line.subtotal
    assert grouped.discount == per_line.discount
    # A share of the discount may fall a unit off, and each tax half a unit.
    assert abs(grouped.tax - per_line.tax) <= 2 * len(of.lines)


@given(invoices())
def test_the_same_document_always_comes_to_the_same(of: Sketch) -> None:
    again = Sketch(
        str(of.currency),
        tuple(LineItem.model_validate(item.model_dump()) for item in of.lines),
        of.discount,
        of.tax_rounding,
    )
    assert _totals(again) == _totals(of)


@given(invoices())
def test_the_callers_decimal_context_changes_no_figure(of: Sketch) -> None:
    expected = _totals(of)
    with localcontext(prec=2):
        assert _totals(of) == expected


@given(invoices())
def test_totals_survive_the_store(of: Sketch) -> None:
    totals = _totals(of)
    assert Totals.model_validate_json(totals.model_dump_json()) == totals


@given(invoices())
def test_descriptions_and_ids_have_no_say_in_the_figures(of: Sketch) -> None:
    renamed = tuple(
        LineItem(**{**dict(item), "id": f"other-{place}", "description": "Something else"})
        for place, item in enumerate(of.lines)
    )
    assert _totals(of._replace(lines=renamed)) == _totals(of)


@given(invoices())
def test_trailing_zeros_of_a_rate_make_no_second_group(of: Sketch) -> None:
    first = of.lines[0]
    zeros = Tax(**{**dict(first.tax), "rate": f"{first.tax.rate:.6f}"})
    twin = LineItem(**{**dict(first), "id": "twin", "tax": zeros})
    assert len(_totals(of._replace(lines=(*of.lines, twin))).groups) == len(_totals(of).groups)


# --- the numbers to hold (design 5, facts/rules 3.2) --------------------------------------------


def _document(
    *items: LineItem,
    discount: Discount | None = None,
    tax_rounding: TaxRounding = PER_GROUP,
    currency: str = "EUR",
) -> Totals:
    lines = tuple(LineItem(**{**dict(item), "id": str(place)}) for place, item in enumerate(items))
    return _totals(Sketch(currency, lines, discount, tax_rounding))


def test_part_of_an_hour_is_rounded_before_it_is_taxed() -> None:  # gobl 463
    totals = _document(_item("98.50", _on("19"), "0.75"))
    # 73.875 → 73.88; 14.0372 → 14.04; a full-precision sum would give 87.91.
    assert (totals.subtotal, totals.tax, totals.total) == (7388, 1404, 8792)


def test_a_percentage_off_is_rounded_before_the_line_is() -> None:  # odoo 37896
    totals = _document(_item("348.35", _on("22"), "16", Discount(percent="4")))
    # 5573.60 - 222.94 = 5350.66; × 22 % = 1177.1452.
    assert (totals.subtotal, totals.tax, totals.total) == (535066, 117715, 652781)


@pytest.mark.parametrize(("tax_rounding", "due"), [(PER_GROUP, 3798), (PER_LINE, 3800)])
def test_ten_lines_differ_by_where_tax_is_rounded(tax_rounding: TaxRounding, due: int) -> None:
    ten = [_item("3.60", _on("5.5")) for _ in range(10)]  # odoo 155833
    assert _document(*ten, tax_rounding=tax_rounding).total == due


@pytest.mark.parametrize("tax_rounding", TaxRounding)
def test_one_line_of_ten_does_not_differ(tax_rounding: TaxRounding) -> None:
    assert _document(_item("3.60", _on("5.5"), "10"), tax_rounding=tax_rounding).total == 3798


def test_four_lines_at_twenty_per_cent() -> None:  # lago 2643
    totals = _document(*(_item(p, _on("20")) for p in ("68.33", "57.50", "85.00", "68.33")))
    assert (totals.subtotal, totals.tax, totals.total) == (27916, 5583, 33499)


# --- prices that contain the tax ----------------------------------------------------------------


def test_three_of_nine_ninety_nine_with_nineteen_inside() -> None:
    totals = _document(_item("9.99", _in("19"), "3"))
    # 29.97 × 19 / 119 = 4.7851…
    assert (totals.subtotal, totals.tax, totals.rounding, totals.total) == (2518, 479, 0, 2997)


def test_ten_single_euros_with_seven_inside_keep_their_price() -> None:
    totals = _document(*(_item("1.00", _in("7")) for _ in range(10)))
    # Each: 1.00 - 0.07 = 0.93. Together: 10.00 × 7 / 107 = 0.6542 → 0.65, net 9.35.
    assert totals.subtotal == 930
    assert (totals.tax, totals.rounding, totals.total) == (65, 5, 1000)
    assert sum(totals.bases) == totals.groups[0].taxable == 935
    assert set(totals.bases) == {93, 94}


def test_ten_single_euros_taxed_per_line_need_no_rounding() -> None:
    totals = _document(*(_item("1.00", _in("7")) for _ in range(10)), tax_rounding=PER_LINE)
    assert (totals.subtotal, totals.tax, totals.rounding, totals.total) == (930, 70, 0, 1000)


def test_an_amount_off_inclusive_prices_is_meant_inclusive_too() -> None:
    totals = _document(_item("119.00", _in("19")), discount=Discount(amount="11.90"))
    assert (totals.subtotal, totals.discount, totals.tax, totals.rounding, totals.total) == (
        10_000,
        1_000,
        1_710,
        0,
        10_710,
    )


def test_inclusive_and_exclusive_prices_stand_in_one_document() -> None:
    totals = _document(_item("11.90", _in("19")), _item("10.00", _on("19")))
    assert (totals.subtotal, totals.tax, totals.total) == (2000, 380, 2380)


# --- discounts ----------------------------------------------------------------------------------


def test_a_document_discount_falls_on_the_groups_in_proportion() -> None:
    totals = _document(
        _item("100.00", _on("19")), _item("50.00", _on("7")), discount=Discount(amount="10.00")
    )
    # 10.00 splits 6.67 : 3.33; 93.33 × 19 % = 17.7327, 46.67 × 7 % = 3.2669.
    assert [(group.taxable, group.amount) for group in totals.groups] == [(9333, 1773), (4667, 327)]
    assert (totals.subtotal, totals.discount, totals.tax, totals.total) == (
        15000,
        1000,
        2100,
        16100,
    )


def test_an_amount_takes_off_no_more_than_there_is() -> None:
    totals = _document(_item("5.00", _on("19")), discount=Discount(amount="10.00"))
    assert (totals.discount, totals.tax, totals.total) == (500, 0, 0)


def test_a_whole_per_cent_off_leaves_nothing() -> None:
    totals = _document(
        _item("0.03", _on("19")), _item("9.99", _in("7")), discount=Discount(percent=100)
    )
    assert (totals.tax, totals.total) == (0, 0)


def test_half_a_unit_less_a_whole_one_is_nothing_not_minus_one() -> None:
    assert _document(_item("0.005", _on("19"), discount=Discount(percent=100))).total == 0
    assert _document(_item("0.005", _on("19"), discount=Discount(amount="0.01"))).total == 0


def test_a_discount_by_amount_beyond_the_line_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        _document(_item("1.00", _on("19"), discount=Discount(amount="1.01")))
    assert refused.value.reason is Reason.DISCOUNT_EXCEEDS_LINE


def test_a_discount_on_a_line_given_back_gives_back_less() -> None:
    totals = _document(
        _item("10.00", _on("19"), "-1", Discount(amount="1.00")), _item("20.00", _on("19"))
    )
    assert (totals.subtotal, totals.tax, totals.total) == (1100, 209, 1309)


def test_a_group_of_zero_rate_has_a_base_and_no_tax() -> None:
    free = Tax(rate=0, category=TaxCategory.EXEMPT, exemption_reason="article 132")
    totals = _document(_item("10.00", free), _item("10.00", _on("19")))
    assert [(group.taxable, group.amount) for group in totals.groups] == [(1000, 0), (1000, 190)]


def test_two_exemption_reasons_make_two_groups() -> None:
    kinds = [
        Tax(rate=0, category=TaxCategory.EXEMPT, exemption_reason=why)
        for why in ("art. 132", "135")
    ]
    assert len(_document(*(_item("1.00", tax) for tax in kinds)).groups) == 2


@pytest.mark.parametrize(
    ("currency", "unit_price", "net", "tax"),
    [("JPY", "1050", 1050, 105), ("JPY", "10.5", 11, 1), ("BHD", "1.0005", 1001, 100)],
)
def test_the_currency_says_where_rounding_happens(
    currency: str, unit_price: str, net: int, tax: int
) -> None:
    totals = _document(_item(unit_price, _on("10")), currency=currency)
    assert (totals.subtotal, totals.tax) == (net, tax)


# --- through the front: what finalizing records -------------------------------------------------


def _draft(*items: LineItem, discount: Discount | None = None) -> tuple[InvoiceEvent, ...]:
    return decide(
        DraftInvoice(
            invoice=InvoiceId("i-1"),
            currency="EUR",
            terms=Terms(customer=Customer(id="c-1", name="Ada")),
            lines=items,
            discount=discount,
        ),
        None,
    )


def _finalize(history: tuple[InvoiceEvent, ...]) -> tuple[InvoiceEvent, ...]:
    finalize = FinalizeInvoice(
        number="1", series="main", issued_on=date(2026, 1, 1), seller=Seller(name="Bob")
    )
    return decide(finalize, fold(history))


def test_finalizing_records_the_totals_and_how_they_were_rounded() -> None:
    match _finalize(_draft(_item("98.50", _on("19"), "0.75"))):
        case (InvoiceFinalized(totals=totals),):
            assert (totals.total, totals.tax_rounding) == (8792, PER_GROUP)
        case other:
            pytest.fail(str(other))


def test_a_total_below_zero_is_no_invoice() -> None:
    with pytest.raises(Rejected) as refused:
        _finalize(_draft(_item("1.00", _on("19"), "-1")))
    assert refused.value.reason is Reason.NEGATIVE_TOTAL


def test_a_total_of_zero_is_finalized_and_paid_at_once() -> None:
    match _finalize(_draft(_item("1.00", _on("19")), discount=Discount(percent=100))):
        case (InvoiceFinalized(totals=totals), InvoicePaid(reason=PaidReason.NOTHING_DUE)):
            assert totals.total == 0
        case other:
            pytest.fail(str(other))


@pytest.mark.parametrize(
    ("quantity", "unit_price"),
    [
        ("100000", "999999999999999"),
        ("-100000", "999999999999999"),
        ("999999999999999.999999999999", "999999999999999.999999999999"),
        ("100", "922337203685477.58"),  # 92 233 720 368 547 758.00 and 19 % on top of it
    ],
)
def test_a_document_that_no_store_can_hold_is_refused_by_name(
    quantity: str, unit_price: str
) -> None:
    with pytest.raises(Rejected) as refused:
        _draft(_item(unit_price, _on("19"), quantity))
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    assert refused.value.facts["field"] in {"unit_price", "total"}


def test_lines_that_fit_alone_but_not_together_are_refused_before_any_fact() -> None:
    half = _item("400000000000000", _on("19"), "100")
    drafted = _draft(half)
    with pytest.raises(Rejected) as refused:
        decide(AddLine(line=LineItem(**{**dict(half), "id": "2"})), fold(drafted))
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE
    assert refused.value.facts["field"] == "total"


def test_a_large_document_that_fits_is_not_refused() -> None:
    match _finalize(_draft(_item("400000000000000", _on("19"), "100"))):
        case (InvoiceFinalized(totals=totals),):
            assert totals.total == 4_760_000_000_000_000_000
        case other:
            pytest.fail(str(other))
