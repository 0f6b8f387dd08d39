"""What all values, commands and facts share: frozen, no unknown fields, errors that name the field.

Limits are patterns and lengths that pydantic-core checks itself: they run again over every fact
that is read, and a call back into Python costs ten times as much.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, NewType

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    Strict,
    StringConstraints,
    ValidationError,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from counterfoil.domain.errors import Malformed

# What PostgreSQL's bigint and SQLite's INTEGER hold.
LARGEST = 2**63 - 1


class Value(BaseModel):
    """A frozen value that refuses unknown fields and says which field was wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __init__(self, /, **data: object) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise malformed(error) from error

    # Without this mark, pydantic would decode every stored fact through the method above.
    __init__.__dict__["__pydantic_base_init__"] = True


class Command(Value):
    """An imperative. It may be refused."""


class Event(Value):
    """A fact. `stored_as` is its name in the store and survives any rename in code."""

    stored_as: ClassVar[str]


class Written:
    """A Decimal that is written out: as text, as Decimal or whole number, never as a float."""

    def __init__(self, pattern: str, must_be: str, *, whole: bool = True) -> None:
        self.pattern = pattern
        self.must_be = must_be
        self.whole = whole

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern),
            custom_error_type="decimal",
            custom_error_message=f"must be {self.must_be}",
        )
        number = core_schema.chain_schema([text, core_schema.decimal_schema()])
        return core_schema.json_or_python_schema(
            json_schema=number,
            python_schema=core_schema.no_info_before_validator_function(self._as_text, number),
            # str() would write 0.0000001 as 1E-7, which the pattern does not read.
            serialization=core_schema.plain_serializer_function_ser_schema(
                "{:f}".format, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def _as_text(self, value: object) -> object:
        match value:
            case bool() | float():
                raise PydanticCustomError(
                    "float", "must be text or a Decimal: a float cannot hold a decimal exactly"
                )
            case int() if not self.whole:
                raise PydanticCustomError(
                    "ambiguous",
                    'must be text like "19.99" or a Decimal: a bare integer could mean cents',
                )
            case int():
                return str(value)
            case Decimal() if value.is_finite() and -50 < value.adjusted() < 50:
                return f"{value:f}"
            case Decimal():
                return str(value)
            case _:
                return value


Quantity = Annotated[
    Decimal,
    Written(
        r"^-?[0-9]{1,15}(\.[0-9]{1,12})?$",
        "a decimal number with at most 15 digits before and 12 after the point",
    ),
]
UnitPrice = Annotated[
    Decimal,
    Written(
        r"^[0-9]{1,15}(\.[0-9]{1,12})?$",
        "a decimal number of 0 or more, with at most 15 digits before and 12 after the point; "
        "say a negative quantity to give something back",
        whole=False,
    ),
]
MajorUnits = Annotated[
    Decimal,
    Written(
        r"^[0-9]{1,18}(\.[0-9]{1,12})?$",
        "a decimal number of 0 or more, in whole currency units",
        whole=False,
    ),
]
Percent = Annotated[
    Decimal,
    Written(r"^(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)$", "a percentage from 0 to 100"),
]
# A date, not a number of seconds; in JSON, text like 2026-11-20.
Day = Annotated[date, Strict()]
MinorUnits = Annotated[int, Field(strict=True, ge=-LARGEST, le=LARGEST)]

# PostgreSQL text cannot hold U+0000, and no page can show the other control characters;
# tab, line feed and carriage return are text.
_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
PRINTABLE = rf"^[^{_CONTROL}]*$"
_NOT_BLANK = rf"^[^{_CONTROL}]*[^{_CONTROL}\s][^{_CONTROL}]*$"
_WORD = r"^[!-~]+$"

Text = Annotated[str, StringConstraints(max_length=500, pattern=_NOT_BLANK)]
ShortText = Annotated[str, StringConstraints(max_length=500, pattern=PRINTABLE)]
LongText = Annotated[str, StringConstraints(max_length=5000, pattern=PRINTABLE)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# Ids of our own documents are types of their own; a field says Annotated[InvoiceId, ID].
ID = StringConstraints(max_length=100, pattern=_WORD)
Id = Annotated[str, ID]
InvoiceId = NewType("InvoiceId", str)
LineId = NewType("LineId", str)
PaymentId = NewType("PaymentId", str)
RefundId = NewType("RefundId", str)
CreditNoteId = NewType("CreditNoteId", str)

EMAIL = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"

_WORDS = {
    EMAIL: "must be an e-mail address",
    _NOT_BLANK: "must not be blank and must not hold control characters",
    PRINTABLE: "must not hold control characters",
    _WORD: "must be 1 to 100 printable ASCII characters without spaces",
}


def malformed(error: ValidationError) -> Malformed:
    """Say in our words which fields were wrong; values stay out, they may be personal data."""
    first, *more = (
        (_path(problem["loc"]), _words(problem))
        for problem in error.errors(include_url=False, include_input=False)
    )
    return Malformed(*first, *more)


def _path(loc: tuple[int | str, ...]) -> str:
    if "metadata" in loc:  # what follows are the caller's own words
        loc = loc[: loc.index("metadata") + 1]
    return ".".join(str(part) for part in loc) or "input"


def _words(problem: ErrorDetails) -> str:
    match problem["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not known here"
        case "string_pattern_mismatch":
            pattern = problem["ctx"]["pattern"]
            return _WORDS.get(pattern, f"must match {pattern}")
        case "string_unicode":
            return "must be valid Unicode text"
        case _:
            message = problem["msg"]
            return message[:1].lower() + message[1:]
