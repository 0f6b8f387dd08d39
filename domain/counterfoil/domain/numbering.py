"""Number series: what makes one, and how a place in it is written."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from counterfoil.domain.errors import Malformed
from counterfoil.domain.value import Id, Value


class DocumentKind(StrEnum):
    """Invoices and credit notes are numbered apart."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit_note"


class Reset(StrEnum):
    """When a series starts again: every year, or never."""

    YEARLY = "yearly"
    NEVER = "never"


_EXAMPLE = date(2026, 11, 20)


def write_number(form: str, place: int, issued_on: date) -> str:
    """Write a place in a series, as in `INV-{year}-{number:05d}`."""
    parts = []
    for literal, field, spec, _ in Formatter().parse(form):
        parts.append(literal)
        match field:
            case None:
                pass
            case "number":
                parts.append(f"{place:{spec or 'd'}}")
            case "year":
                parts.append(f"{issued_on.year:04d}")
            case "month":
                parts.append(f"{issued_on.month:02d}")
            case _:
                raise ValueError(field)
    return "".join(parts)


def _usable(form: str) -> str:
    try:
        parts = [part for part in Formatter().parse(form) if part[1] is not None]
        understood = all(
            conversion is None and spec in _SPECS.get(field or "", ())
            for _, field, spec, conversion in parts
        )
        once = [field for _, field, _, _ in parts].count("number") == 1
        if understood and once and len(write_number(form, 10**9, _EXAMPLE)) <= 40:
            return form
    except ValueError:
        pass  # unbalanced braces: refused below, in our words
    raise PydanticCustomError(
        "number_format",
        "must hold {number} or {number:05d} once, may hold {year} and {month}, "
        "and come to at most 40 characters",
    )


_SPECS = {
    "number": ("", *(f"0{width}d" for width in range(1, 10))),
    "year": ("",),
    "month": ("",),
}

NumberFormat = Annotated[
    str, StringConstraints(max_length=60, pattern=r"^[ -~]+$"), AfterValidator(_usable)
]


class Numbering(Value):
    """How one kind of document is numbered; `first` is for those who come from another system."""

    series: Id = "main"
    format: NumberFormat
    reset: Reset = Reset.YEARLY
    first: Annotated[int, Field(ge=1, le=10**9)] = 1

    if TYPE_CHECKING:

        def __init__(
            self, *, format: str, series: str = ..., reset: Reset | str = ..., first: int = ...
        ) -> None: ...

    @model_validator(mode="after")
    def _year_tells_years_apart(self) -> Self:
        fields = {field for _, field, _, _ in Formatter().parse(self.format)}
        if self.reset is Reset.YEARLY and "year" not in fields:
            raise Malformed("format", "must hold {year} when the series starts again each year")
        return self
