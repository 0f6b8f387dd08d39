"""Is bad input refused by name, before any fact, and without repeating what was in it?"""

from __future__ import annotations

import copy
import pickle
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import (
    ActionRequired,
    Conflict,
    CorruptHistory,
    CounterfoilError,
    Malformed,
    NotFound,
    Reason,
    Rejected,
)
from counterfoil.domain.invoice.commands import (
    LINES_MAX,
    AddLine,
    ApplyCredit,
    AttemptPayment,
    ChangeLine,
    DraftInvoice,
    FinalizeInvoice,
    RecordPayment,
    RefundPayment,
    SendInvoice,
    SetDiscount,
    SetMetadata,
)
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import (
    InvoiceFinalized,
    LineAdded,
    PaymentSucceeded,
    Terms,
)
from counterfoil.domain.invoice.state import Draft, Issued, fold
from counterfoil.domain.line import Discount, LineItem, price
from counterfoil.domain.money import Money
from counterfoil.domain.numbering import Numbering
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.domain.tax import Tax
from counterfoil.domain.value import CreditNoteId, PaymentId
from strategies import invoices, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strategies import Sketch


def _id(value: Any) -> str:
    """A short name, the same in every process, of a value that may not be printable."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "huge"
    return str(getattr(value, "__name__", ascii(value)[:32]))


NO_NUMBERS = [
    1.0,
    0.1,
    float("nan"),
    float("inf"),
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    True,
    False,
    "",
    " ",
    "ten",
    "1,5",
    "1e2000",
    Decimal("1e2000"),
    Decimal("1e1000000"),
    Decimal("1e-1000000"),
    "1e1000000",
    10**5000,
    [1],
    {"value": 1},
    1j,
]
LINE: dict[str, Any] = {
    "id": "1",
    "description": "Work",
    "quantity": "1",
    "unit_price": "10.00",
    "tax": Tax(rate=19),
}
TERMS = Terms(customer=Customer(id="c-1", name="Ada"))


def _refused(make: Any, given: dict[str, Any]) -> Malformed:
    """What is said of this input; a refusal that names nothing, or another error, is a failure."""
    with pytest.raises(Malformed) as refused:
        make(**given)
    assert all(field and problem for field, problem in refused.value.problems)
    return refused.value


def _names(problem: Malformed, field: str) -> bool:
    return field in problem.field.split(".")


def _draft(**more: Any) -> DraftInvoice:
    return DraftInvoice(**{"invoice": "i-1", "currency": "EUR", "terms": TERMS, **more})


def _started(**more: Any) -> Draft:
    draft = fold(decide(_draft(lines=(LineItem(**LINE),), **more), None))
    assert isinstance(draft, Draft)
    return draft


def _payment(amount: Any) -> RecordPayment:
    return RecordPayment(payment=PaymentId("p-1"), amount=amount)


def _finalize(issued_on: Any = date(2026, 1, 1)) -> FinalizeInvoice:
    return FinalizeInvoice(
        number="1", series="main", issued_on=issued_on, seller=Seller(name="Bob")
    )


def _issued() -> Issued:
    draft = _started()
    issued = fold(decide(_finalize(), draft), draft)
    assert isinstance(issued, Issued)
    return issued


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, None],
    ids=_id,
)
@pytest.mark.parametrize("field", ["quantity", "unit_price"])
def test_a_line_takes_no_number_that_is_not_exact(field: str, value: Any) -> None:
    assert _names(_refused(LineItem, {**LINE, field: value}), field)


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, None],
    ids=_id,
)
def test_a_rate_is_no_number_that_is_not_exact(value: Any) -> None:
    assert _names(_refused(Tax, {"rate": value}), "rate")


@pytest.mark.parametrize("value", NO_NUMBERS, ids=_id)
@pytest.mark.parametrize("field", ["percent", "amount"])
def test_a_discount_is_no_number_that_is_not_exact(field: str, value: Any) -> None:
    assert _names(_refused(Discount, {field: value}), field)


@pytest.mark.parametrize("value", [*NO_NUMBERS[:-4], None, b"5", b"-5", [1]], ids=_id)
def test_a_payment_is_no_number_that_is_not_exact(value: Any) -> None:
    assert _names(_refused(RecordPayment, {"payment": "p-1", "amount": value}), "amount")


@pytest.mark.parametrize(
    "value", [0, -1, "0", "-0.01", Decimal(-1), Money(0, "EUR"), Money(-1, "EUR")]
)
@pytest.mark.parametrize(
    ("command", "field"),
    [
        (RecordPayment, "amount"),
        (AttemptPayment, "amount"),
        (RefundPayment, "amount"),
        (ApplyCredit, "amount"),
        (ApplyCredit, "refund"),
        (ApplyCredit, "customer_credit"),
        (ApplyCredit, "out_of_band"),
    ],
)
def test_money_that_moves_is_more_than_nothing(command: Any, field: str, value: Any) -> None:
    ids: dict[Any, dict[str, Any]] = {
        RecordPayment: {"payment": "p-1"},
        AttemptPayment: {"payment": "p-1", "processor": "x", "payment_method": "y"},
        RefundPayment: {"payment": "p-1", "refund": "r-1"},
        ApplyCredit: {"credit_note": "cn-1"},
    }
    assert _names(_refused(command, {**ids[command], field: value}), field)


@pytest.mark.parametrize(
    "value",
    [
        {"minor": -500, "currency": "EUR"},
        {"minor": 5.0, "currency": "EUR"},
        b"-5",
        Fraction(-5),
        Fraction(5),
    ],
    ids=_id,
)
def test_no_other_way_of_writing_an_amount_slips_past_its_checks(value: Any) -> None:
    assert _names(_refused(RecordPayment, {"payment": "p-1", "amount": value}), "amount")


@pytest.mark.parametrize(
    "value",
    [1.0, True, "1.5", 2**63, -(2**63), 10**5000, Decimal(1)],
    ids=_id,
)
def test_the_amount_of_a_credited_line_is_whole_minor_units(value: Any) -> None:
    assert _names(_refused(CreditLine, {"line": "1", "amount": value}), "amount")


@pytest.mark.parametrize("value", [1.0, float("nan"), True, "NaN", "1e2000", "0.0000000000001"])
def test_the_quantity_of_a_credited_line_is_exact(value: Any) -> None:
    assert _names(_refused(CreditLine, {"line": "1", "quantity": value}), "quantity")


def test_a_credited_line_says_quantity_or_amount_not_both() -> None:
    assert _refused(CreditLine, {"line": "1", "quantity": 1, "amount": 1}).field == "quantity"


def test_a_credit_says_lines_or_amount_not_both() -> None:
    both = {"credit_note": "cn-1", "lines": (CreditLine(line="1"),), "amount": 1}
    assert _refused(ApplyCredit, both).field == "amount"


@pytest.mark.parametrize(
    "value", [-1, "-1", "-0.01", "250", 250, "100.000001", 101, "1e2", "+19", "019%"]
)
def test_a_rate_or_percentage_is_from_0_to_100(value: Any) -> None:
    assert _names(_refused(Tax, {"rate": value}), "rate")
    assert _names(_refused(Discount, {"percent": value}), "percent")


@pytest.mark.parametrize("value", ["-0.01", Decimal(-1), "-0", Decimal("-0")])
def test_a_unit_price_is_never_negative(value: Any) -> None:
    problem = _refused(LineItem, {**LINE, "unit_price": value})
    assert problem.field == "unit_price"
    assert "negative quantity" in problem.problem


@pytest.mark.parametrize("value", [10, 0, 1000])
def test_a_bare_integer_is_no_unit_price_because_it_could_mean_cents(value: int) -> None:
    assert _refused(LineItem, {**LINE, "unit_price": value}).field == "unit_price"
    assert _refused(Discount, {"amount": value}).field == "amount"


@pytest.mark.parametrize(
    "value", ["1" * 16, "0." + "1" * 13, "١٢", "1_0", " 1", "1\n", "+1", ".5", "1."]
)
def test_a_quantity_is_written_plainly(value: str) -> None:
    assert _refused(LineItem, {**LINE, "quantity": value}).field == "quantity"


@pytest.mark.parametrize("amount", ["1_0", "١٢", " 1", "1\n"])
def test_an_amount_is_written_as_plainly_as_a_quantity(amount: str) -> None:
    assert _names(_refused(RecordPayment, {"payment": "p-1", "amount": amount}), "amount")


@pytest.mark.parametrize(
    "given_", [{}, {"percent": 5, "amount": "1.00"}, {"percent": None, "amount": None}]
)
def test_a_discount_says_either_percent_or_amount(given_: dict[str, Any]) -> None:
    assert _refused(Discount, given_).field == "discount"


@pytest.mark.parametrize("amount", ["0.001", "0.015"])
def test_a_discount_more_precise_than_the_currency_is_refused(amount: str) -> None:
    line = LineItem(**{**LINE, "discount": Discount(amount=amount)})
    for command in (_draft(lines=(line,)), _draft(discount=Discount(amount=amount))):
        with pytest.raises(Rejected) as refused:
            decide(command, None)
        assert refused.value.reason is Reason.TOO_PRECISE
        assert refused.value.facts["field"] == "discount.amount"


def test_a_payment_more_precise_than_the_currency_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_payment("0.001"), _issued())
    assert refused.value.reason is Reason.TOO_PRECISE


def test_a_payment_in_another_currency_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_payment(Money(1, "USD")), _issued())
    assert refused.value.reason is Reason.CURRENCY_MISMATCH
    assert refused.value.facts["field"] == "amount"


@pytest.mark.parametrize("amount", [2**63, "1e17", Money(2**63, "EUR"), Decimal(10**17)])
def test_a_payment_beyond_the_stores_is_refused_by_name(amount: Any) -> None:
    with pytest.raises((Rejected, Malformed)) as refused:
        decide(_payment(amount), _issued())
    assert "amount" in str(refused.value)


def test_a_document_discount_beyond_the_stores_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        decide(SetDiscount(discount=Discount(amount="1" + "0" * 17)), _started())
    assert refused.value.reason is Reason.AMOUNT_OUT_OF_RANGE


@pytest.mark.parametrize("quantity", ["0.0000001", "0.000000000001", "0.0000000", "-0.00000001"])
def test_a_tiny_quantity_or_price_can_be_read_back_from_the_store(quantity: str) -> None:
    """Python writes such a Decimal as 1E-7, which is not how we let a number be written."""
    for field in ("quantity", "unit_price"):
        item = LineItem(**{**LINE, field: quantity.lstrip("-")})
        added = LineAdded(line=price(item, "EUR"))
        assert LineAdded.model_validate_json(added.model_dump_json()) == added


@given(invoices())
def test_every_line_can_be_read_back_from_the_store(of: Sketch) -> None:
    for item in of.lines:
        added = LineAdded(line=price(item, of.currency))
        assert LineAdded.model_validate_json(added.model_dump_json()) == added


@given(st.integers(0, 10**15 - 1), st.integers(0, 12))
def test_every_quantity_that_is_let_in_can_be_read_back(digits: int, places: int) -> None:
    item = LineItem(**{**LINE, "quantity": written(digits, places), "unit_price": "0"})
    added = LineAdded(line=price(item, "EUR"))
    again = LineAdded.model_validate_json(added.model_dump_json())
    assert str(again.line.quantity) == str(added.line.quantity)


# --- documents ----------------------------------------------------------------------------------


def test_an_invoice_without_lines_is_not_finalized() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_finalize(), fold(decide(_draft(), None)))
    assert refused.value.reason is Reason.NO_LINES


def test_one_line_too_many_is_refused_by_name() -> None:
    lines = [{**LINE, "id": f"{place}"} for place in range(LINES_MAX + 1)]
    assert _refused(_draft, {"lines": lines}).field == "lines"


def test_an_endless_supply_of_lines_is_not_read_to_its_end() -> None:
    taken = 0

    def claim() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for taken in range(10**9):
            yield {**LINE, "id": f"{taken}"}

    assert _refused(_draft, {"lines": claim()}).field == "lines"
    assert taken <= LINES_MAX + 1


def test_an_endless_credit_is_not_read_to_its_end() -> None:
    claim = ({"line": f"{place}"} for place in range(10**9))
    assert _refused(ApplyCredit, {"credit_note": "cn-1", "lines": claim}).field == "lines"


def test_a_credit_of_no_lines_is_refused() -> None:
    assert _refused(ApplyCredit, {"credit_note": "cn-1", "lines": ()}).field == "lines"


def test_two_lines_of_one_id_are_refused_before_any_fact() -> None:
    with pytest.raises(Rejected) as refused:
        decide(_draft(lines=(LINE, {**LINE, "description": "Other"})), None)
    assert refused.value.reason is Reason.LINE_EXISTS


def test_a_line_of_the_draft_can_be_handed_back_as_it_is() -> None:
    draft = _started()
    assert decide(AddLine(line=draft.lines[0]), draft) == ()
    assert decide(ChangeLine(line=draft.lines[0]), draft) == ()


def test_a_credit_names_a_line_once() -> None:
    twice = (CreditLine(line="1", amount=1), CreditLine(line="1", amount=1))
    with pytest.raises(Malformed) as refused:
        decide(ApplyCredit(credit_note=CreditNoteId("cn-1"), lines=twice), _issued())
    assert refused.value.field == "lines"


def test_a_due_date_before_the_issue_date_is_refused() -> None:
    terms = Terms(customer=TERMS.customer, due_date=date(2025, 12, 31))
    with pytest.raises(Rejected) as refused:
        decide(_finalize(date(2026, 1, 1)), _started(terms=terms))
    assert refused.value.reason is Reason.DUE_BEFORE_ISSUE


def test_a_due_date_on_the_issue_date_is_welcome() -> None:
    terms = Terms(customer=TERMS.customer, due_date=date(2026, 1, 1))
    assert decide(_finalize(date(2026, 1, 1)), _started(terms=terms))


def test_a_due_date_beyond_the_calendar_is_refused_by_name() -> None:
    terms = Terms(customer=TERMS.customer, days_until_due=30)
    with pytest.raises(CounterfoilError):
        decide(_finalize(date(9999, 12, 31)), _started(terms=terms))


def test_terms_say_a_due_date_or_a_number_of_days() -> None:
    both = {"customer": TERMS.customer, "due_date": date(2026, 2, 1), "days_until_due": 30}
    assert _refused(Terms, both).field == "due_date"


@pytest.mark.parametrize("days", [-1, 3651, 10**30, 1.5, "soon", float("nan")])
def test_the_days_until_due_are_a_number_of_days(days: Any) -> None:
    given_ = {"customer": TERMS.customer, "days_until_due": days}
    assert _refused(Terms, given_).field == "days_until_due"


def test_a_period_does_not_end_before_it_starts() -> None:
    period = {"period_start": date(2026, 2, 1), "period_end": date(2026, 1, 31)}
    assert _refused(Terms, {"customer": TERMS.customer, **period}).field == "period_end"


@pytest.mark.parametrize(
    "issued_on",
    [
        0,
        86400,
        86400.0,
        True,
        "0",
        "yesterday",
        "2026-02-30",
        None,
        datetime(2026, 1, 1, 1, tzinfo=UTC),
    ],
    ids=_id,
)
def test_an_issue_date_is_a_date_and_no_number(issued_on: Any) -> None:
    problem = _refused(_finalize, {"issued_on": issued_on})
    assert problem.field == "issued_on"


# --- metadata -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {f"key-{place}": "x" for place in range(51)},
        {"k" * 41: "x"},
        {"": "x"},
        {"key": "x" * 501},
        {"key": 1},
        {"key": None},
        {"key": ["x"]},
        {"key": "\x00"},
        {"ke\x00y": "x"},
        {"key": "\ud800"},
        {"\ud800": "x"},
        {1: "x"},
        "key=x",
        [("key", "x")],
    ],
    ids=_id,
)
def test_metadata_is_a_few_short_texts(metadata: Any) -> None:
    assert _refused(_draft, {"metadata": metadata}).field.split(".")[0] == "metadata"


def test_metadata_at_its_limits_is_welcome() -> None:
    metadata = {f"{place:040d}": "x" * 500 for place in range(50)}
    assert _started(metadata=metadata).metadata == metadata


def test_metadata_does_not_grow_beyond_its_limit_by_merging() -> None:
    draft = _started(metadata={f"a-{place}": "x" for place in range(50)})
    with pytest.raises(Malformed) as refused:
        decide(SetMetadata(metadata={"one": "more"}), draft)
    assert refused.value.field == "metadata"


# --- types and unknown fields -------------------------------------------------------------------

SOUND: dict[Any, dict[str, Any]] = {
    LineItem: LINE,
    Tax: {"rate": "19"},
    Discount: {"percent": "5"},
    Customer: {"id": "c-1", "name": "Ada"},
    Seller: {"name": "Bob"},
    Address: {"city": "Paris"},
    Terms: {"customer": {"id": "c-1", "name": "Ada"}},
    DraftInvoice: {"invoice": "i-1", "currency": "EUR", "terms": TERMS},
    CreditLine: {"line": "1"},
    ApplyCredit: {"credit_note": "cn-1"},
    RecordPayment: {"payment": "p-1", "amount": 1},
    SendInvoice: {"delivery": "d-1", "to": "ada@example.com"},
    Numbering: {"format": "{year}-{number}"},
}


@pytest.mark.parametrize("make", SOUND, ids=_id)
def test_what_is_sound_is_let_in(make: Any) -> None:
    make(**SOUND[make])


@pytest.mark.parametrize("make", SOUND, ids=_id)
def test_an_unknown_field_is_refused_by_name(make: Any) -> None:
    problem = _refused(make, {**SOUND[make], "colour": "red"})
    assert (problem.field, problem.problem) == ("colour", "is not known here")


@pytest.mark.parametrize(
    ("make", "field"),
    [(make, field) for make, sound in SOUND.items() for field in sound],
    ids=_id,
)
@pytest.mark.parametrize("value", [Ellipsis, 1j, [[]], {"x": 1}, date(2026, 1, 1)], ids=_id)
def test_a_wrong_type_is_refused_by_name(make: Any, field: str, value: Any) -> None:
    problem = _refused(make, {**SOUND[make], field: value})
    assert field in {name.split(".")[0] for name, _ in problem.problems}


def test_every_problem_is_named_at_once() -> None:
    wrong = {**LINE, "quantity": 1.0, "unit_price": -1, "description": " ", "colour": "red"}
    named = {field for field, _ in _refused(LineItem, wrong).problems}
    assert named == {"quantity", "unit_price", "description", "colour"}


def test_a_problem_deep_inside_is_named_by_its_path() -> None:
    lines = (LINE, {**LINE, "id": "2", "tax": {"rate": "250"}})
    assert _refused(_draft, {"lines": lines}).field == "lines.1.tax.rate"


def test_a_missing_field_is_named() -> None:
    for field in LINE:
        rest = {name: value for name, value in LINE.items() if name != field}
        problem = _refused(LineItem, rest)
        assert (problem.field, problem.problem) == (field, "is required")


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u00a0", "\u2003\u3000", "x" * 501, None, 5])
def test_a_description_says_something_short(text: Any) -> None:
    assert _refused(LineItem, {**LINE, "description": text}).field == "description"


def _visible(text: str) -> bool:
    return any(unicodedata.category(sign)[0] in "LNPS" for sign in text)


@pytest.mark.parametrize("text", [chr(0xD800), f"ab{chr(0xDFFF)}cd", chr(0xD83D)], ids=_id)
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    problem = _refused(LineItem, {**LINE, "description": text})
    assert (problem.field, problem.problem) == ("description", "must be valid Unicode text")
    assert chr(0xD83D) not in str(problem)


def test_half_a_surrogate_pair_is_no_name_of_a_field() -> None:
    str(_refused(LineItem, {**LINE, "\ud800": "x"})).encode()


ANY_TEXT = st.text(st.characters(), max_size=500) | st.text(
    st.sampled_from(
        "aZ \t\r\n\"'\\/{}<>&%\x00\x07\x1b\x7f\x85\u200b\u202e\u2066\ufeff\ufffe"
        "\ufffd\u05d0\u0627\u4e2d\u0301é😀👩\u200d🚀\ud800\udfff\U0010ffff"
    ),
    max_size=500,
)


@given(ANY_TEXT)
@example("'; DROP TABLE invoices; --")
@example("<script>alert('{{7*7}}')</script>")
@example("\u202eevil\u202c")
@example("👩\u200d👩\u200d👧\u200d👦")
@example("null\x00byte")
@example("e\u0301 is not é")
@example("x" * 500)
@example("\ud83d\ude00")
def test_text_survives_byte_for_byte_or_is_refused_by_name(text: str) -> None:
    if _refusable(text, "description", lambda: LineItem(**{**LINE, "description": text})):
        return
    item = LineItem(**{**LINE, "description": text})
    added = LineAdded(line=price(item, "EUR"))
    stored = added.model_dump_json().encode()
    assert LineAdded.model_validate_json(stored).line.description == text


def _refusable(text: str, field: str, make: Callable[[], object]) -> bool:
    """Whether this is refused; if so, it must be by name, and not of plain text."""
    try:
        make()
    except Malformed as error:
        refused = error
    else:
        return False
    assert not _plain(text), refused
    assert {name for name, _ in refused.problems} == {field}
    return True


def _plain(text: str) -> bool:
    """Text that nobody may refuse: it shows something, and each sign of it can be stored."""
    hidden = {unicodedata.category(sign) for sign in text} & {"Cc", "Cs", "Cn", "Co"}
    return _visible(text) and not hidden


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=500))
def test_metadata_survives_byte_for_byte_or_is_refused_by_name(text: str) -> None:
    if _refusable(text, "metadata", lambda: SetMetadata(metadata={"note": text})):
        return
    command = SetMetadata(metadata={"note": text})
    again = SetMetadata.model_validate_json(command.model_dump_json().encode())
    assert again.metadata["note"] == text


# --- errors say nothing personal ----------------------------------------------------------------

SECRET = "hunter2-Ada-Lovelace-4111111111111111"


@pytest.mark.parametrize(
    ("make", "given_"),
    [
        (LineItem, {**LINE, "quantity": SECRET}),
        (LineItem, {**LINE, "unit_price": SECRET}),
        (LineItem, {**LINE, "id": f"{SECRET} {SECRET}"}),
        (LineItem, {**LINE, "tax": SECRET}),
        (LineItem, {**LINE, "tax": {"rate": SECRET}}),
        (LineItem, {**LINE, "tax": {"rate": 0, "category": SECRET}}),
        (LineItem, {**LINE, "description": f"{SECRET}\x00"}),
        (LineItem, {**LINE, "description": SECRET * 50}),
        (LineItem, {**LINE, "colour": SECRET}),
        (Discount, {"percent": SECRET}),
        (Customer, {"id": "c-1", "name": "Ada", "email": SECRET}),
        (Customer, {"id": "c-1", "name": "Ada", "address": {"country": SECRET}}),
        (Customer, {"id": SECRET + "\x00", "name": {"first": SECRET}}),
        (Terms, {"customer": SECRET}),
        (Terms, {"customer": TERMS.customer, "due_date": SECRET}),
        (Terms, {"customer": TERMS.customer, "days_until_due": SECRET}),
        (Terms, {"customer": TERMS.customer, "collection_method": SECRET}),
        (_draft, {"currency": SECRET}),
        (_draft, {"tax_rounding": SECRET}),
        (_draft, {"metadata": {"key": [SECRET]}}),
        (_draft, {"lines": SECRET}),
        (RecordPayment, {"payment": "p-1", "amount": SECRET}),
        (RecordPayment, {"payment": "p-1", "amount": {"minor": SECRET, "currency": SECRET}}),
        (RecordPayment, {"payment": "p-1", "amount": 1, "received_at": SECRET}),
        (SendInvoice, {"delivery": "d-1", "to": SECRET}),
        (Numbering, {"format": SECRET}),
    ],
    ids=_id,
)
def test_an_error_never_repeats_what_was_given(make: Any, given_: dict[str, Any]) -> None:
    error: BaseException | None = _refused(make, given_)
    while error is not None:
        assert "hunter2" not in str(error)
        assert "hunter2" not in repr(error)
        assert "hunter2" not in repr(getattr(error, "problems", ""))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("key", ["ada@example.com-" + "x" * 40, "hunter2\x00"])
def test_an_error_repeats_no_metadata_key_either(key: str) -> None:
    """Keys are made by callers: an address is as personal there as in a value."""
    problem = _refused(_draft, {"metadata": {key: "x"}})
    assert problem.field.split(".")[0] == "metadata"
    assert key not in str(problem)


# --- errors travel ------------------------------------------------------------------------------

ERRORS = [
    Rejected(Reason.NO_LINES),
    Rejected(Reason.NO_SUCH_LINE, line="7"),
    Malformed("quantity", "is required"),
    Malformed("quantity", "is required", ("tax.rate", "must be a percentage from 0 to 100")),
    NotFound("invoice", "i-1"),
    NotFound("invoice"),
    CorruptHistory("a chain is broken", stream="i-1", position=7),
    ActionRequired("pi_1"),
    Conflict("someone was faster"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_can_be_copied_and_sent_to_another_process(error: CounterfoilError) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_a_refusal_leaves_no_fact_behind() -> None:
    """What was refused may be asked again rightly, of the same invoice."""
    draft = _started()
    with pytest.raises(Malformed):
        AddLine(line=LineItem(**{**LINE, "id": "2", "quantity": 1.0}))
    with pytest.raises(Rejected):
        decide(AddLine(line=LineItem(**{**LINE, "unit_price": "11.00"})), draft)
    assert [type(fact) for fact in decide(_finalize(), draft)] == [InvoiceFinalized]
    payment = _payment(1)
    assert [type(fact) for fact in decide(payment, _issued())] == [PaymentSucceeded]
