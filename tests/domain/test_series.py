"""Are the numbers of a series unbroken, in order of date, and written as its format says?"""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given as over
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from counterfoil.domain.errors import CorruptHistory, Malformed, Reason
from counterfoil.domain.numbering import (
    DocumentKind,
    NumberFormat,
    Numbering,
    Reset,
    write_number,
)
from counterfoil.domain.series.decisions import AssignNumber, OpenSeries, opening
from counterfoil.domain.series.events import NumberAssigned, SeriesEvent, SeriesOpened
from counterfoil.domain.series.state import Series, evolve, fold
from spec import Facts, decide, given

YEARLY = Numbering(format="INV-{year}-{number:04d}")
OPENED = SeriesOpened(
    series="default:invoice:main:2026",
    kind=DocumentKind.INVOICE,
    seller="default",
    format="INV-{year}-{number:04d}",
    year=2026,
    first=1,
)
ENDLESS = OPENED.model_copy(
    update={"series": "default:invoice:main", "format": "{number}", "year": None}
)


def assign(document: str = "inv_1", issued_on: date = date(2026, 3, 1)) -> AssignNumber:
    """Ask for the next number."""
    return AssignNumber(document=document, issued_on=issued_on)


def assigned(
    place: int,
    document: str = "inv_1",
    issued_on: date = date(2026, 3, 1),
    number: str | None = None,
) -> NumberAssigned:
    """A number was given."""
    return NumberAssigned(
        place=place,
        number=number or f"INV-{issued_on.year}-{place:04d}",
        document=document,
        issued_on=issued_on,
    )


# --- opening --------------------------------------------------------------------------------


def test_a_series_is_opened() -> None:
    given().when(OpenSeries(series=OPENED)).then(OPENED)


def test_a_series_that_is_open_stays_as_it_is() -> None:
    given(OPENED).when(OpenSeries(series=OPENED)).then_nothing()
    given(OPENED, assigned(1)).when(OpenSeries(series=OPENED)).then_nothing()


@pytest.mark.parametrize(
    "other",
    [{"format": "{year}/{number}"}, {"first": 2}, {"year": None}, {"kind": "credit_note"}],
    ids=str,
)
def test_a_series_is_not_opened_again_with_other_settings(other: dict[str, object]) -> None:
    command = OpenSeries(series=OPENED.model_copy(update=other))
    given(OPENED).when(command).then_rejected(
        Reason.SERIES_DIFFERS, series="default:invoice:main:2026"
    )


def test_a_new_year_is_a_new_series() -> None:
    opened = opening(YEARLY, DocumentKind.INVOICE, "default", date(2026, 12, 31))
    assert opened == OpenSeries(series=OPENED)
    next_year = opening(YEARLY, DocumentKind.INVOICE, "default", date(2027, 1, 1))
    assert (next_year.series.series, next_year.series.year) == ("default:invoice:main:2027", 2027)


def test_a_series_that_never_starts_again_has_no_year() -> None:
    numbering = Numbering(format="{number}", reset=Reset.NEVER)
    opened = opening(numbering, DocumentKind.INVOICE, "default", date(2026, 12, 31))
    assert opened == OpenSeries(series=ENDLESS)


def test_kinds_and_sellers_are_numbered_apart() -> None:
    names = {
        opening(YEARLY, kind, seller, date(2026, 3, 1)).series.series
        for kind in DocumentKind
        for seller in ("default", "branch")
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b:invoice:c", Reset.NEVER), ("a:invoice:b", "c", Reset.NEVER)),
        (("a", "main", Reset.YEARLY), ("a", "main:2026", Reset.NEVER)),
    ],
    ids=["seller", "year"],
)
def test_two_series_never_share_a_name(
    one: tuple[str, str, Reset], other: tuple[str, str, Reset]
) -> None:
    names = {
        opening(
            Numbering(series=series, format="{year}-{number}", reset=reset),
            DocumentKind.INVOICE,
            seller,
            date(2026, 3, 1),
        ).series.series
        for seller, series, reset in (one, other)
    }
    assert len(names) == 2


# --- assigning ------------------------------------------------------------------------------


def test_numbers_follow_one_another() -> None:
    given(OPENED).when(assign()).then(assigned(1))
    given(OPENED, assigned(1)).when(assign("inv_2")).then(assigned(2, "inv_2"))


def test_the_first_number_may_be_another_for_those_who_come_from_elsewhere() -> None:
    given(OPENED.model_copy(update={"first": 417})).when(assign()).then(assigned(417))


def test_a_document_is_numbered_once() -> None:
    given(OPENED, assigned(1)).when(assign()).then_nothing()


def test_a_series_that_is_not_open_gives_no_number() -> None:
    given().when(assign()).then_not_found()


def test_dates_in_a_series_never_go_back() -> None:
    history = (OPENED, assigned(1, issued_on=date(2026, 3, 2)))
    given(*history).when(assign("inv_2", date(2026, 3, 1))).then_rejected(
        Reason.ISSUE_DATE_BACKWARDS,
        issued_on=date(2026, 3, 1),
        last=date(2026, 3, 2),
        number="INV-2026-0001",
    )


def test_documents_of_one_day_follow_one_another() -> None:
    given(OPENED, assigned(1)).when(assign("inv_2", date(2026, 3, 1))).then(assigned(2, "inv_2"))


@pytest.mark.parametrize("issued_on", [date(2025, 12, 31), date(2027, 1, 1)])
def test_a_yearly_series_numbers_its_own_year(issued_on: date) -> None:
    given(OPENED).when(assign("inv_1", issued_on)).then_rejected(
        Reason.SERIES_DIFFERS, series="default:invoice:main:2026"
    )


def test_a_series_that_never_starts_again_goes_on_over_the_years() -> None:
    last = assigned(9, issued_on=date(2026, 12, 31), number="9")
    given(ENDLESS, *_up_to(last)).when(assign("inv_2", date(2027, 1, 1))).then(
        assigned(10, "inv_2", date(2027, 1, 1), number="10")
    )


def _up_to(last: NumberAssigned) -> tuple[NumberAssigned, ...]:
    """Every number up to this one, so that no test tells of an impossible series."""
    earlier = (
        last.model_copy(update={"place": place, "number": str(place), "document": f"old_{place}"})
        for place in range(1, last.place)
    )
    return (*earlier, last)


@over(days=st.lists(st.integers(0, 364), max_size=30), first=st.integers(1, 10**6))
def test_whatever_is_asked_the_numbers_are_unbroken_and_dated_in_order(
    days: list[int], first: int
) -> None:
    history: Facts = (OPENED.model_copy(update={"first": first}),)
    for place, day in enumerate(sorted(days)):
        issued_on = date.fromordinal(date(2026, 1, 1).toordinal() + day)
        history = (*history, *decide(assign(f"inv_{place}", issued_on), history))
    numbers = [fact for fact in history if isinstance(fact, NumberAssigned)]
    assert [fact.place for fact in numbers] == list(range(first, first + len(days)))
    assert len({fact.number for fact in numbers}) == len(numbers)
    assert [fact.issued_on for fact in numbers] == sorted(fact.issued_on for fact in numbers)


# --- formats --------------------------------------------------------------------------------

FORMAT: TypeAdapter[str] = TypeAdapter(NumberFormat)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("{number}", "7"),
        ("INV-{year}-{number:05d}", "INV-2026-00007"),
        ("{year}{month}/{number:03d}", "202603/007"),
        ("{{{number}}}", "{7}"),
        ("{number:01d}", "7"),
    ],
)
def test_a_number_is_written_as_its_format_says(form: str, written: str) -> None:
    assert FORMAT.validate_python(form) == form
    assert write_number(form, 7, date(2026, 3, 1)) == written


def test_a_number_that_outgrows_its_width_is_written_in_full() -> None:
    assert write_number("{number:03d}", 12_345, date(2026, 3, 1)) == "12345"


@pytest.mark.parametrize(
    "form",
    [
        "",
        "INV",
        "{year}",
        "{number}{number}",
        "{{number}}",
        "{number",
        "number}",
        "{}",
        "{0}",
        "{0}{number}",
        "{{}}{}",
        "{number.__class__}",
        "{number.real}",
        "{number[0]}",
        "{number!r}",
        "{number!s}",
        "{number!a}",
        "{number:d}",
        "{number:x}",
        "{number:,}",
        "{number:+d}",
        "{number:>9d}",
        "{number:>999999999d}",
        "{number:0999999999d}",
        "{number:010d}",
        "{number:0{year}d}",
        "{number:{number}}",
        "{number:{year.__class__}}",
        "{number}{year:>999999999d}",
        "{number}{year!r}",
        "{number}{month.__init__.__globals__}",
        "{number}{day}",
        "{number}{self}",
        "{ number }",
        "{number }",
        "{number}\n",
        "{number}\x00",
        "{number}é",
        "{number}" + "9" * 31,
        "X" * 100 + "{number}",
    ],
)
def test_a_format_that_does_or_holds_anything_else_is_refused(form: str) -> None:
    with pytest.raises(ValidationError):
        FORMAT.validate_python(form)
    with pytest.raises(Malformed):
        Numbering(format=form, reset=Reset.NEVER)


@over(form=st.text(alphabet="{}!:.[]0d1number year_", max_size=40))
def test_every_format_that_is_accepted_can_be_written_and_tells_numbers_apart(form: str) -> None:
    try:
        accepted = FORMAT.validate_python(form)
    except ValidationError:
        return
    written = {write_number(accepted, place, date(2026, 3, 1)) for place in (1, 2, 10**9)}
    assert len(written) == 3
    assert all(len(number) <= 40 for number in written)


@pytest.mark.parametrize("form", ["{number}", "{month}-{number}", "{{year}}-{number}"])
def test_a_series_that_starts_again_each_year_writes_the_year(form: str) -> None:
    with pytest.raises(Malformed):
        Numbering(format=form, reset=Reset.YEARLY)


@pytest.mark.parametrize("first", [0, -1, 10**9 + 1])
def test_the_first_number_is_a_number_that_can_be_written(first: int) -> None:
    with pytest.raises(Malformed):
        Numbering(format="{number}", reset=Reset.NEVER, first=first)


# --- what cannot have happened --------------------------------------------------------------

IMPOSSIBLE: dict[str, tuple[SeriesEvent, ...]] = {
    "a number of no series": (assigned(1),),
    "opened twice": (OPENED, OPENED),
    "opened twice, with a number between": (OPENED, assigned(1), OPENED),
}


@pytest.mark.parametrize("history", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_history_is_corrupt(history: tuple[SeriesEvent, ...]) -> None:
    with pytest.raises(CorruptHistory):
        fold(history)


def test_a_corrupt_history_names_its_stream() -> None:
    with pytest.raises(CorruptHistory) as corrupt:
        evolve(Series(OPENED), OPENED)
    assert corrupt.value.stream == "default:invoice:main:2026"


def test_a_history_without_facts_is_no_series() -> None:
    assert fold(()) is None
