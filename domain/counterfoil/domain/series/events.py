"""What can have happened to a number series.

Each assigned number is the next fact of the series' own stream, so a gap or a repeat cannot be
stored, and a transaction that is rolled back uses none.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from counterfoil.domain.numbering import DocumentKind, NumberFormat
from counterfoil.domain.value import Day, Event, Id, Text


class SeriesOpened(Event):
    """`year` is the year it is for, or None when it never starts again."""

    stored_as = "series.opened.v1"
    series: Text
    kind: DocumentKind
    seller: Id
    format: NumberFormat
    year: int | None
    first: Annotated[int, Field(ge=1)]


class NumberAssigned(Event):
    stored_as = "series.number_assigned.v1"
    place: Annotated[int, Field(ge=1)]
    number: Text
    document: Id
    issued_on: Day


SeriesEvent = SeriesOpened | NumberAssigned
