"""What a number series is, and how each fact changes that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.series.events import NumberAssigned, SeriesEvent, SeriesOpened


@dataclass(frozen=True, slots=True)
class Series:
    """Its settings and the last place taken in it."""

    opened: SeriesOpened
    last: NumberAssigned | None = None


def fold(events: Iterable[SeriesEvent], series: Series | None = None) -> Series | None:
    """The series after these facts."""
    for event in events:
        series = evolve(series, event)
    return series


def evolve(series: Series | None, event: SeriesEvent) -> Series:
    """The series after one more fact."""
    match series, event:
        case None, SeriesOpened():
            return Series(event)
        case Series(), NumberAssigned():
            return replace(series, last=event)
        case _:
            raise CorruptHistory(
                f"{event.stored_as} cannot happen {'twice' if series else 'to no series'}",
                stream=series.opened.series if series else "series",
            )
