"""Does crediting always add up: however a full credit is split, and in whatever order?

Every test goes through the real decisions; what is left is kept here, by subtraction.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import Reason, Rejected
from counterfoil.domain.invoice.commands import (
    ApplyCredit,
    DraftInvoice,
    FinalizeInvoice,
    RecordPayment,
    WithdrawCredit,
)
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import CreditApplied, InvoicePaid, PaidReason, Status, Terms
from counterfoil.domain.invoice.state import Issued, fold
from counterfoil.domain.line import Discount, LineItem
from counterfoil.domain.money import Money
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding
from counterfoil.domain.value import CreditNoteId, InvoiceId, LineId, PaymentId
from strategies import (
    Kind,
    Sketch,
    Step,
    half_away,
    invoices,
    positive_exclusive_invoices,
    positive_invoices,
    splits,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from counterfoil.domain.invoice.commands import InvoiceCommand

# A story of seven notes costs as much as ten invoices: a third of the profile's examples.
STORIES = settings(max_examples=max(10, settings().max_examples // 3))
PER_GROUP, PER_LINE = TaxRounding.PER_GROUP, TaxRounding.PER_LINE
ZERO = Tax(rate=0, category=TaxCategory.ZERO)


# --- the story's machinery ----------------------------------------------------------------------


def _issued(of: Sketch) -> Issued:
    draft = DraftInvoice(
        invoice=InvoiceId("i-1"),
        currency=of.currency,
        terms=Terms(customer=Customer(id="c-1", name="Ada")),
        tax_rounding=of.tax_rounding,
        lines=of.lines,
        discount=of.discount,
    )
    finalize = FinalizeInvoice(
        number="1", series="main", issued_on=date(2026, 1, 1), seller=Seller(name="Bob")
    )
    drafted = fold(decide(draft, None))
    invoice = fold(decide(finalize, drafted), drafted)
    assert isinstance(invoice, Issued)
    return invoice


def _some(of: Sketch) -> Issued:
    """The invoice of an example; one of 0 or less has nothing to credit and is not looked at."""
    try:
        invoice = _issued(of)
    except Rejected as refused:
        if refused.reason is not Reason.NEGATIVE_TOTAL:
            raise
        reject()
    assume(invoice.document.totals.total > 0)
    return invoice


def _obey(command: InvoiceCommand, invoice: Issued) -> Issued:
    after = fold(decide(command, invoice), invoice)
    assert isinstance(after, Issued)
    return after


def _note(
    place: int, *lines: CreditLine, amount: int | Decimal | Money | None = None
) -> ApplyCredit:
    return ApplyCredit(credit_note=CreditNoteId(f"cn-{place}"), lines=lines or None, amount=amount)


@dataclass(frozen=True)
class Left:
    """What nobody has credited yet, subtracted from what the invoice says."""

    total: int
    groups: tuple[tuple[int, int], ...]
    lines: dict[str, int]
    quantities: dict[str, Fraction]

    @property
    def nothing(self) -> bool:
        return self.total == 0 and not any(map(any, self.groups)) and not any(self.lines.values())


def _left(invoice: Issued) -> Left:
    totals, notes = invoice.document.totals, [one.credit for one in invoice.credits]
    taken: dict[str, int] = defaultdict(int)
    quantities: dict[str, Fraction] = defaultdict(Fraction)
    for part in (part for note in notes for part in note.lines):
        taken[part.line] += part.taxable
        quantities[part.line] += Fraction(part.quantity or 0)
    lines = invoice.draft.lines
    return Left(
        total=totals.total - sum(note.total for note in notes),
        groups=tuple(
            (
                group.taxable - sum(note.groups[place].taxable for note in notes),
                group.amount - sum(note.groups[place].amount for note in notes),
            )
            for place, group in enumerate(totals.groups)
        ),
        lines={
            line.id: base - taken[line.id] for line, base in zip(lines, totals.bases, strict=True)
        },
        quantities={line.id: Fraction(line.quantity) - quantities[line.id] for line in lines},
    )


def _ask(step: Step, place: int, invoice: Issued) -> ApplyCredit:
    left, lines = _left(invoice), invoice.draft.lines
    if step.kind is Kind.GROSS:
        return _note(place, amount=max(1, int(left.total * step.share)))
    ids = dict.fromkeys(lines[pick % len(lines)].id for pick in step.picks)
    kinds = [Kind.LINES, Kind.QUANTITIES, Kind.NETS]
    return _note(
        place,
        *(
            _part(line, kinds[nth % 3] if step.kind is Kind.MIXED else step.kind, step.share, left)
            for nth, line in enumerate(ids)
        ),
    )


def _part(line: str, kind: Kind, share: Fraction, left: Left) -> CreditLine:
    quantity = int(left.quantities[line] * share * 10**12)
    if kind is Kind.QUANTITIES and quantity:
        return CreditLine(line=line, quantity=written(quantity, 12))
    amount = int(left.lines[line] * share)
    if kind is Kind.NETS and amount:
        return CreditLine(line=line, amount=amount)
    return CreditLine(line=line)


# Lines of both signs may only be credited together as far as their group, or the invoice, goes.
OF_MIXED_SIGNS = frozenset(
    {Reason.NOTHING_TO_CREDIT, Reason.CREDIT_EXCEEDS_GROUP, Reason.CREDIT_EXCEEDS_INVOICE}
)


def _credited(
    invoice: Issued,
    split: Iterable[Step],
    may_refuse: frozenset[Reason] = OF_MIXED_SIGNS,
    *,
    first: int = 0,
) -> Issued:
    """The invoice after these notes; an amount with tax is never refused."""
    for place, step in enumerate(split, start=first):
        if _left(invoice).total == 0:
            break
        try:
            invoice = _obey(_ask(step, place, invoice), invoice)
        except Rejected as refused:
            if refused.reason not in may_refuse or step.kind is Kind.GROSS:
                raise
    return invoice


def _credit_the_rest(invoice: Issued) -> Issued:
    if _left(invoice).total == 0:
        with pytest.raises(Rejected) as refused:
            decide(_note(100), invoice)
        assert refused.value.reason is Reason.NOTHING_TO_CREDIT
        return invoice
    return _obey(_note(100), invoice)


def _between(part: int, whole: int) -> bool:
    return min(0, whole) <= part <= max(0, whole)


# --- the laws -----------------------------------------------------------------------------------


@STORIES
@given(positive_invoices(), splits())
def test_however_a_full_credit_is_split_nothing_is_left(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split, frozenset({Reason.NOTHING_TO_CREDIT}))
    assert _left(_credit_the_rest(invoice)).nothing


@STORIES
@given(invoices(), splits())
def test_with_lines_of_both_signs_the_rest_still_takes_all_that_is_left(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split)
    if _left(invoice).total > 0:
        assert _left(_obey(_note(99), invoice)).nothing


@STORIES
@given(positive_invoices(), splits(Kind.GROSS))
def test_a_full_credit_by_amounts_alone_leaves_nothing(of: Sketch, split: tuple[Step, ...]) -> None:
    invoice = _credited(_some(of), split)
    if left := _left(invoice).total:
        invoice = _obey(_note(99, amount=left), invoice)
    assert _left(invoice).nothing


@STORIES
@given(positive_invoices(), st.permutations(range(12)))
def test_a_full_credit_line_by_line_in_any_order_leaves_nothing(
    of: Sketch, order: list[int]
) -> None:
    by_line = [Step(Kind.LINES, (pick,), Fraction(1)) for pick in order]
    invoice = _credited(_some(of), by_line, frozenset({Reason.NOTHING_TO_CREDIT}))
    assert _left(invoice).nothing


@STORIES
@given(invoices(), splits())
def test_at_no_step_is_more_credited_than_the_invoice_says(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _some(of)
    totals = invoice.document.totals
    whole = {line.id: base for line, base in zip(invoice.draft.lines, totals.bases, strict=True)}
    notes = _credited(invoice, split).credits
    for end in range(len(notes) + 1):
        left = _left(replace(invoice, credits=notes[:end]))
        assert _between(left.total, totals.total)
        assert all(_between(left.lines[line], base) for line, base in whole.items())
        for (base, tax), group in zip(left.groups, totals.groups, strict=True):
            assert _between(base, group.taxable)
            assert _between(tax, group.amount)


@STORIES
@given(invoices(), splits())
def test_no_credited_tax_has_the_wrong_sign(of: Sketch, split: tuple[Step, ...]) -> None:
    invoice = _credited(_some(of), split)
    for note in (one.credit for one in invoice.credits):
        for part, group in zip(note.groups, invoice.document.totals.groups, strict=True):
            assert _between(part.amount, group.amount)
            assert _between(part.taxable, group.taxable)


@STORIES
@given(invoices(), splits())
def test_a_credit_note_adds_up(of: Sketch, split: tuple[Step, ...]) -> None:
    invoice = _credited(_some(of), split)
    taxes: dict[str, Tax] = {line.id: line.tax for line in invoice.draft.lines}
    for note in (one.credit for one in invoice.credits):
        assert note.total == note.subtotal + note.tax
        assert note.total > 0
        assert note.subtotal == sum(group.taxable for group in note.groups)
        assert note.tax == sum(group.amount for group in note.groups)
        for group in note.groups:
            mine = [part for part in note.lines if taxes[part.line] == group.tax]
            assert sum(part.taxable for part in mine) == group.taxable
            if of.tax_rounding is PER_LINE:
                assert sum(part.tax or 0 for part in mine) == group.amount


@STORIES
@given(positive_exclusive_invoices(), splits(Kind.LINES, Kind.QUANTITIES, Kind.NETS, Kind.MIXED))
def test_the_tax_of_a_note_is_the_tax_on_all_credited_less_the_tax_already_credited(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of._replace(tax_rounding=PER_GROUP)), split)
    invoice = _credit_the_rest(invoice)
    for place, group in enumerate(invoice.document.totals.groups):
        credited, rate = 0, Fraction(group.tax.rate) / 100
        for note in (one.credit for one in invoice.credits):
            part = note.groups[place]
            before, credited = credited, credited + part.taxable
            assert part.amount == half_away(credited * rate) - half_away(before * rate)


@STORIES
@given(positive_invoices(), splits(Kind.NETS))
def test_a_net_amount_is_credited_as_asked(of: Sketch, split: tuple[Step, ...]) -> None:
    invoice = _some(of)
    for place, step in enumerate(split):
        command = _ask(step, place, invoice)
        try:
            invoice = _obey(command, invoice)
        except Rejected:
            continue
        given_back = {part.line: part.taxable for part in invoice.credits[-1].credit.lines}
        for part in command.lines or ():
            assert part.amount is None or given_back[part.line] == part.amount


@STORIES
@given(positive_invoices(), splits(Kind.QUANTITIES))
def test_a_quantity_is_credited_in_proportion_within_a_unit(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split, frozenset({Reason.NOTHING_TO_CREDIT}))
    left = _left(invoice)
    for line, base in zip(invoice.draft.lines, invoice.document.totals.bases, strict=True):
        share = left.quantities[line.id] / Fraction(line.quantity)
        assert 0 <= share <= 1
        if any(part.quantity for one in invoice.credits for part in one.credit.lines):
            named = [
                part.quantity
                for one in invoice.credits
                for part in one.credit.lines
                if part.line == line.id
            ]
            if named and all(named):
                assert abs(left.lines[line.id] - base * share) <= 1


@STORIES
@given(invoices(), splits(), st.fractions(0, 1))
def test_a_gross_amount_is_credited_to_the_unit(
    of: Sketch, split: tuple[Step, ...], share: Fraction
) -> None:
    invoice = _credited(_some(of), split)
    left = _left(invoice).total
    assume(left > 0)
    amount = max(1, int(left * share))
    after = _obey(_note(99, amount=amount), invoice)
    assert after.credits[-1].credit.total == amount
    assert _left(after).total == left - amount


@STORIES
@given(positive_invoices(), splits(Kind.LINES, Kind.NETS, Kind.QUANTITIES))
def test_a_note_leaves_alone_the_groups_it_does_not_name(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split)
    taxes: dict[str, Tax] = {line.id: line.tax for line in invoice.draft.lines}
    for note in (one.credit for one in invoice.credits):
        named = {taxes[part.line] for part in note.lines}
        for group in note.groups:
            assert group.tax in named or (group.taxable, group.amount) == (0, 0)


CREDIT_REFUSALS = {
    Reason.ALREADY_EXISTS,
    Reason.CREDIT_EXCEEDS_INVOICE,
    Reason.CREDIT_EXCEEDS_GROUP,
}


@STORIES
@given(invoices(), splits())
def test_asking_for_the_same_note_again_changes_nothing(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split)
    for one in invoice.credits:
        again = ApplyCredit(credit_note=one.credit_note, amount=one.credit.total)
        try:
            assert decide(again, invoice) == ()
        except Rejected as refused:
            # The same id with other content, or with what is not left any more.
            assert refused.reason in CREDIT_REFUSALS  # noqa: PT017  (either answer makes no fact)


@STORIES
@given(invoices(), splits())
def test_what_a_note_took_back_survives_the_store(of: Sketch, split: tuple[Step, ...]) -> None:
    for applied in _credited(_some(of), split).credits:
        assert CreditApplied.model_validate_json(applied.model_dump_json()) == applied


# --- withdrawing --------------------------------------------------------------------------------


@STORIES
@given(invoices(), splits(), st.integers(0, 5))
def test_a_withdrawn_note_gives_its_room_back(
    of: Sketch, split: tuple[Step, ...], which: int
) -> None:
    invoice = _credited_in_part(_some(of), split)
    for gone in _one_of(invoice.credits, which):
        before, after = _left(invoice), _left(_withdraw(gone.credit_note, invoice))
        assert after.total == before.total + gone.credit.total
        taken = {part.line: part.taxable for part in gone.credit.lines}
        for line, left in after.lines.items():
            assert left == before.lines[line] + taken.get(line, 0)


@STORIES
@given(invoices(), splits(), st.integers(0, 5))
def test_after_a_note_is_withdrawn_a_full_credit_still_leaves_nothing(
    of: Sketch, split: tuple[Step, ...], which: int
) -> None:
    invoice = _credited_in_part(_some(of), split)
    for gone in _one_of(invoice.credits, which):
        assert _left(_credit_the_rest(_withdraw(gone.credit_note, invoice))).nothing


@STORIES
@given(positive_invoices(), splits(), st.integers(0, 5), st.fractions(0, 1))
def test_after_a_note_is_withdrawn_any_amount_left_can_be_credited(
    of: Sketch, split: tuple[Step, ...], which: int, share: Fraction
) -> None:
    invoice = _credited_in_part(_some(of), split)
    for gone in _one_of(invoice.credits, which):
        invoice = _withdraw(gone.credit_note, invoice)
        amount = max(1, int(_left(invoice).total * share))
        after = _obey(_note(99, amount=amount), invoice)
        assert after.credits[-1].credit.total == amount
        assert _left(_credit_the_rest(after)).nothing


def _credited_in_part(invoice: Issued, split: Iterable[Step]) -> Issued:
    """Without any note that would settle the invoice: then none may be withdrawn any more."""
    for place, step in enumerate(split):
        after = _credited(invoice, [step], first=place)
        invoice = after if after.status is Status.OPEN else invoice
    return invoice


def _one_of(notes: tuple[CreditApplied, ...], which: int) -> tuple[CreditApplied, ...]:
    return notes[which % len(notes) :][:1] if notes else ()


def _withdraw(credit_note: CreditNoteId, invoice: Issued) -> Issued:
    return _obey(WithdrawCredit(credit_note=credit_note), invoice)


def test_withdrawing_what_does_not_stand_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        _withdraw(CreditNoteId("cn-7"), _invoice(_line("a", "1.00")))
    assert refused.value.reason is Reason.NO_SUCH_CREDIT_NOTE


# --- one unit too many --------------------------------------------------------------------------


@STORIES
@given(invoices(), splits())
def test_a_unit_more_than_is_left_of_the_invoice_is_refused(
    of: Sketch, split: tuple[Step, ...]
) -> None:
    invoice = _credited(_some(of), split)
    left = _left(invoice).total
    with pytest.raises(Rejected) as refused:
        decide(_note(99, amount=left + 1), invoice)
    assert refused.value.reason is Reason.CREDIT_EXCEEDS_INVOICE
    assert refused.value.facts["left"] == left


@STORIES
@given(invoices(), splits(), st.integers(0, 11))
def test_a_unit_more_than_is_left_of_a_line_is_refused(
    of: Sketch, split: tuple[Step, ...], pick: int
) -> None:
    invoice = _credited(_some(of), split)
    line, left = list(_left(invoice).lines.items())[pick % len(of.lines)]
    for excess in (left + 1, left - 1):
        if not _between(excess, left):
            with pytest.raises(Rejected) as refused:
                decide(_note(99, CreditLine(line=line, amount=excess)), invoice)
            assert refused.value.reason is Reason.CREDIT_EXCEEDS_LINE
            assert refused.value.facts == {"line": line, "left": left}


@STORIES
@given(invoices(), splits(Kind.QUANTITIES, Kind.LINES), st.integers(0, 11))
def test_more_than_is_left_of_a_quantity_is_refused(
    of: Sketch, split: tuple[Step, ...], pick: int
) -> None:
    invoice = _credited(_some(of), split)
    line, left = list(_left(invoice).quantities.items())[pick % len(of.lines)]
    excess = int(left * 10**12) + (1 if left >= 0 else -1)
    for quantity in (written(excess, 12), written(-excess, 12), Decimal(0)):
        with pytest.raises(Rejected) as refused:
            decide(_note(99, CreditLine(line=line, quantity=quantity)), invoice)
        assert refused.value.reason is Reason.CREDIT_EXCEEDS_LINE


def test_a_line_of_a_mixed_group_is_not_credited_beyond_its_group() -> None:
    invoice = _invoice(_line("a", "1.00"), _line("b", "0.30", quantity="-1"))
    with pytest.raises(Rejected) as refused:
        decide(_note(1, CreditLine(line="a", amount=71)), invoice)
    assert refused.value.reason is Reason.CREDIT_EXCEEDS_GROUP
    assert refused.value.facts["left"] == 70
    assert _left(_obey(_note(1, CreditLine(line="a", amount=70)), invoice)).groups == ((0, 0),)


def test_a_group_is_not_credited_beyond_the_invoice() -> None:
    invoice = _invoice(_line("a", "1.00", ZERO), _line("b", "0.50", Tax(rate=7), quantity="-1"))
    # 1.00 - 0.50 - 0.04 (0.035 away from zero) = 0.46
    with pytest.raises(Rejected) as refused:
        decide(_note(1, CreditLine(line="a", amount=47)), invoice)
    assert refused.value.reason is Reason.CREDIT_EXCEEDS_INVOICE
    assert refused.value.facts["left"] == 46


def test_a_credit_that_gives_nothing_back_is_refused() -> None:
    invoice = _invoice(_line("a", "1.00"), _line("b", "0.30", quantity="-1"))
    with pytest.raises(Rejected) as refused:
        decide(_note(1, CreditLine(line="a", amount=30), CreditLine(line="b")), invoice)
    assert refused.value.reason is Reason.NOTHING_TO_CREDIT


def test_a_line_that_is_not_there_cannot_be_credited() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_note(1, CreditLine(line="zz")), _invoice(_line("a", "1.00")))
    assert refused.value.reason is Reason.NO_SUCH_LINE


def test_money_of_another_currency_cannot_be_credited() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_note(1, amount=Money(1, "USD")), _invoice(_line("a", "1.00")))
    assert refused.value.reason is Reason.CURRENCY_MISMATCH


# --- where the money goes -----------------------------------------------------------------------


@STORIES
@given(positive_invoices(), splits(), st.fractions(0, 1))
def test_the_parts_before_and_after_payment_are_the_whole_of_each_note(
    of: Sketch, split: tuple[Step, ...], share: Fraction
) -> None:
    invoice = _some(of)
    if paid := int(invoice.document.totals.total * share):
        invoice = _obey(RecordPayment(payment=PaymentId("p-1"), amount=paid), invoice)
    invoice = _credit_the_rest(_credited(invoice, split))
    remaining = invoice.document.totals.total - paid
    for one in invoice.credits:
        assert one.before_payment == min(one.credit.total, remaining)
        after = (one.refund, one.customer_credit, one.out_of_band)
        assert after == (0, one.credit.total - one.before_payment, 0)
        remaining -= one.before_payment
    assert remaining == invoice.amount_remaining == 0
    assert invoice.status is Status.PAID


@given(st.integers(0, 500), st.integers(0, 500))
def test_refund_customer_credit_and_out_of_band_add_up_to_what_was_paid(a: int, b: int) -> None:
    low, high = sorted((a, b))
    refund, credit, aside = low, high - low, 500 - high
    command = ApplyCredit(
        credit_note=CreditNoteId("cn-1"),
        refund=refund or None,
        customer_credit=credit or None,
        out_of_band=aside or None,
    )
    match decide(command, _half_paid()):
        case (CreditApplied() as one, InvoicePaid(reason=PaidReason.CREDITED)):
            assert (one.before_payment, one.refund, one.customer_credit, one.out_of_band) == (
                500,
                refund,
                credit,
                aside,
            )
        case other:
            pytest.fail(str(other))


@pytest.mark.parametrize(("refund", "customer_credit"), [(499, None), (501, None), (250, 251)])
def test_parts_that_do_not_add_up_are_refused(refund: int, customer_credit: int | None) -> None:
    command = ApplyCredit(
        credit_note=CreditNoteId("cn-1"), refund=refund, customer_credit=customer_credit
    )
    with pytest.raises(Rejected) as refused:
        decide(command, _half_paid())
    assert refused.value.reason is Reason.SPLIT_MISMATCH
    assert refused.value.facts["after_payment"] == 500


def _half_paid() -> Issued:
    invoice = _invoice(_line("a", "10.00", ZERO))
    return _obey(RecordPayment(payment=PaymentId("p-1"), amount=500), invoice)


# --- numbers by hand ----------------------------------------------------------------------------


def _line(
    id: str,
    unit_price: str,
    tax: Tax | None = None,
    quantity: str = "1",
    discount: Discount | None = None,
) -> LineItem:
    return LineItem(
        id=LineId(id),
        description="Work",
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        tax=tax or Tax(rate=19),
        discount=discount,
    )


def _invoice(
    *lines: LineItem, tax_rounding: TaxRounding = PER_GROUP, discount: Discount | None = None
) -> Issued:
    return _issued(Sketch("EUR", lines, discount, tax_rounding))


def _story(invoice: Issued, *notes: ApplyCredit) -> list[tuple[int, int]]:
    """What each note gives back: without tax, and the tax."""
    for note in notes:
        invoice = _obey(note, invoice)
    return [(one.credit.subtotal, one.credit.tax) for one in invoice.credits]


def test_four_notes_of_four_lines_come_to_the_invoice() -> None:  # lago 2643
    prices = {"a": "68.33", "b": "57.50", "c": "85.00", "d": "68.33"}
    invoice = _invoice(*(_line(id, price, Tax(rate=20)) for id, price in prices.items()))
    assert invoice.document.totals.total == 33499
    notes = [_note(place, CreditLine(line=id)) for place, id in enumerate(prices)]
    given_back = [net + tax for net, tax in _story(invoice, *notes)]
    assert given_back == [8200, 6900, 10200, 8199]
    assert sum(given_back) == 33499


def test_three_thirds_of_a_cent_of_tax_are_one_cent() -> None:
    invoice = _invoice(_line("a", "0.02", quantity="3"))  # 0.06 × 19 % = 0.0114
    notes = [_note(place, CreditLine(line="a", quantity=1)) for place in range(3)]
    # On 2: 0.38 → 0. On 4: 0.76 → 1. On 6: all of it.
    assert _story(invoice, *notes) == [(2, 0), (2, 1), (2, 0)]


def test_with_tax_per_line_each_line_gives_back_its_own_tax() -> None:
    invoice = _invoice(
        *(_line(str(place), "3.60", Tax(rate="5.5")) for place in range(10)), tax_rounding=PER_LINE
    )
    notes = [_note(place, CreditLine(line=str(place))) for place in range(10)]
    assert _story(invoice, *notes) == [(360, 20)] * 10


def test_inclusive_prices_come_back_in_full() -> None:
    seven = Tax(rate=7, inclusive=True)
    invoice = _invoice(*(_line(str(place), "1.00", seven) for place in range(10)))
    notes = [_note(place, CreditLine(line=str(place))) for place in range(10)]
    story = _story(invoice, *notes)
    assert (sum(net for net, _ in story), sum(tax for _, tax in story)) == (935, 65)
    assert all(abs(net + tax - 100) <= 1 for net, tax in story)


def test_a_discounted_document_gives_back_the_discounted_price() -> None:
    invoice = _invoice(
        _line("a", "100.00"), _line("b", "50.00", Tax(rate=7)), discount=Discount(amount="10.00")
    )
    story = _story(invoice, _note(1, CreditLine(line="a")), _note(2, CreditLine(line="b")))
    assert story == [(9333, 1773), (4667, 327)]


def test_a_zero_rated_group_gives_back_no_tax() -> None:
    invoice = _invoice(_line("a", "10.00", ZERO), _line("b", "10.00"))
    story = _story(invoice, _note(1, CreditLine(line="a")), _note(2, amount=1190))
    assert story == [(1000, 0), (1000, 190)]


def test_a_line_given_back_is_credited_negatively_beside_another() -> None:
    invoice = _invoice(_line("a", "10.00"), _line("b", "4.00", quantity="-1"))
    both = (CreditLine(line="a", amount=500), CreditLine(line="b", amount=-200))
    assert _story(invoice, _note(1, *both), _note(2)) == [(300, 57), (300, 57)]


def test_an_amount_falls_on_the_groups_in_proportion() -> None:
    invoice = _invoice(_line("a", "100.00"), _line("b", "119.00", ZERO))  # 119.00 and 119.00
    credit = _obey(_note(1, amount=11900), invoice).credits[0].credit
    assert [(group.taxable, group.amount) for group in credit.groups] == [(5000, 950), (5950, 0)]


def test_the_tax_of_a_group_without_a_base_comes_back_with_that_group_only() -> None:
    """0.01 with 100 % inside is 0.00 and 0.01 of tax; crediting another line leaves it alone."""
    invoice = _invoice(_line("a", "0.01", Tax(rate=100, inclusive=True)), _line("b", "10.00"))
    assert _story(invoice, _note(1, CreditLine(line="b"))) == [(1000, 190)]


def test_after_a_withdrawal_a_note_on_one_group_takes_no_tax_of_another() -> None:
    invoice = _three_cents_withdrawn()
    credit = _obey(_note(3, CreditLine(line="c", amount=500)), invoice).credits[-1].credit
    assert [(group.taxable, group.amount) for group in credit.groups] == [(0, 0), (500, 0)]


def test_after_a_withdrawal_a_small_amount_can_still_be_credited() -> None:
    after = _obey(_note(3, amount=1), _three_cents_withdrawn())
    assert after.credits[-1].credit.total == 1


def _three_cents_withdrawn() -> Issued:
    """0.03 + 0.03 with 0.01 of tax, the first 0.03 credited with the tax and withdrawn again."""
    invoice = _invoice(_line("a", "0.03"), _line("b", "0.03"), _line("c", "10.00", ZERO))
    for place, line in enumerate("ab", start=1):
        invoice = _obey(_note(place, CreditLine(line=line)), invoice)
    return _withdraw(CreditNoteId("cn-1"), invoice)


def test_crediting_the_whole_amount_credits_lines_that_cancel_out_too() -> None:
    invoice = _invoice(
        _line("a", "1.00"), _line("b", "1.00", quantity="-1"), _line("c", "5.00", ZERO)
    )
    assert _left(_obey(_note(1, amount=500), invoice)).nothing


def test_no_line_gives_back_more_than_it_cost() -> None:
    """10.02 and -10.00 with 7 % inside are 9.36 and -9.35 without it."""
    seven = Tax(rate=7, inclusive=True)
    invoice = _invoice(_line("a", "10.02", seven), _line("b", "10.00", seven, quantity="-1"))
    credit = _obey(_note(1), invoice).credits[0].credit
    assert abs(credit.lines[0].taxable) <= 937


def test_tax_per_line_takes_back_no_more_tax_than_its_group_has() -> None:
    """0.03 and -0.03 carry a cent of tax each, 0.02 none: the group has a base and no tax."""
    invoice = _invoice(
        _line("a", "0.03"),
        _line("b", "0.03", quantity="-1"),
        _line("c", "0.02"),
        _line("d", "10.00", ZERO),
        tax_rounding=PER_LINE,
    )
    assert invoice.document.totals.tax == 0
    parts = CreditLine(line="a"), CreditLine(line="b", amount=-2), CreditLine(line="d")
    try:
        invoice = _obey(_note(1, *parts), invoice)
    except Rejected as refused:
        if refused.reason is not Reason.CREDIT_EXCEEDS_GROUP:
            raise
    assert [tax for _, tax in _left(invoice).groups] == [0, 0]


@pytest.mark.parametrize(
    ("lines", "amount"),
    [(("0.37", "-0.34", "0.37"), 36), (("-0.33", "0.24", "0.22"), 11)],
)
def test_with_tax_per_line_any_amount_can_be_credited_within_every_group(
    lines: tuple[str, str, str], amount: int
) -> None:
    invoice = _invoice(
        *(
            _line(str(place), text.lstrip("-"), tax, quantity="-1" if text[0] == "-" else "1")
            for place, (text, tax) in enumerate(
                zip(lines, (Tax(rate=19), Tax(rate=19), ZERO), strict=True)
            )
        ),
        tax_rounding=PER_LINE,
    )
    credit = _obey(_note(1, amount=amount), invoice).credits[0].credit
    assert credit.total == amount
    for part, group in zip(credit.groups, invoice.document.totals.groups, strict=True):
        assert _between(part.taxable, group.taxable)
        assert _between(part.amount, group.amount)


def test_the_callers_decimal_context_changes_no_credit() -> None:
    invoice = _invoice(_line("a", "1.00", ZERO, quantity="12345.678"))
    with localcontext(prec=3):
        invoice = _obey(_note(1, CreditLine(line="a", quantity="1.234")), invoice)
        invoice = _obey(_note(2, CreditLine(line="a", quantity="12344.444")), invoice)
    assert [one.credit.total for one in invoice.credits] == [123, 1234445]
    assert _left(invoice).nothing


# --- scale --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tax_rounding", TaxRounding)
def test_a_thousand_lines_are_credited_in_ten_notes(tax_rounding: TaxRounding) -> None:
    rates = ("0", "5.5", "7", "19", "20")
    invoice = _invoice(
        *(_line(f"{n}", f"{n % 97}.{n % 89:02d}", Tax(rate=rates[n % 5])) for n in range(1_000)),
        tax_rounding=tax_rounding,
    )
    for note in range(10):
        part = (CreditLine(line=f"{n}") for n in range(note, 1_000, 10))
        invoice = _obey(_note(note, *part), invoice)
    assert _left(invoice).nothing
