"""Command + series → facts, or a refusal."""

from __future__ import annotations

from datetime import date
from typing import assert_never

from counterfoil.domain.errors import NotFound, Reason, Rejected
from counterfoil.domain.numbering import DocumentKind, Numbering, Reset, write_number
from counterfoil.domain.series.events import NumberAssigned, SeriesEvent, SeriesOpened
from counterfoil.domain.series.state import Series
from counterfoil.domain.value import Command, Day, Id


class OpenSeries(Command):
    """Ask for a series; one that is open with the same settings stays as it is."""

    series: SeriesOpened


class AssignNumber(Command):
    document: Id
    issued_on: Day


SeriesCommand = OpenSeries | AssignNumber


def opening(numbering: Numbering, kind: DocumentKind, seller: str, issued_on: date) -> OpenSeries:
    """The series that a document of this date belongs to; a new year is a new series."""
    year = issued_on.year if numbering.reset is Reset.YEARLY else None
    parts = [seller, kind, numbering.series, *([str(year)] if year else [])]
    # A colon inside a part is escaped, or two series could share a name.
    name = ":".join(part.replace("%", "%25").replace(":", "%3A") for part in parts)
    return OpenSeries(
        series=SeriesOpened(
            series=name,
            kind=kind,
            seller=seller,
            format=numbering.format,
            year=year,
            first=numbering.first,
        )
    )


def decide(command: SeriesCommand, series: Series | None) -> tuple[SeriesEvent, ...]:
    """The facts that obeying this command makes; none when all of it is so already."""
    match command:
        case OpenSeries(series=wanted):
            if series is None:
                return (wanted,)
            if series.opened == wanted:
                return ()
            raise Rejected(Reason.SERIES_DIFFERS, series=wanted.series)
        case AssignNumber():
            if series is None:
                raise NotFound("series")
            return _assign(command, series)
        case _:
            assert_never(command)


def _assign(command: AssignNumber, series: Series) -> tuple[SeriesEvent, ...]:
    opened, last = series.opened, series.last
    if last is not None and last.document == command.document:
        return ()
    if opened.year not in {None, command.issued_on.year}:
        raise Rejected(Reason.SERIES_DIFFERS, series=opened.series)
    if last is not None and command.issued_on < last.issued_on:
        raise Rejected(
            Reason.ISSUE_DATE_BACKWARDS,
            issued_on=command.issued_on,
            last=last.issued_on,
            number=last.number,
        )
    place = opened.first if last is None else last.place + 1
    return (
        NumberAssigned(
            place=place,
            number=write_number(opened.format, place, command.issued_on),
            document=command.document,
            issued_on=command.issued_on,
        ),
    )
