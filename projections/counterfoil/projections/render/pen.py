"""Writes in one reader's language and time, in one currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from decimal import Decimal

from counterfoil.projections.render.clean import clean
from counterfoil.projections.render.language import Language, day_in


@dataclass(frozen=True, slots=True)
class Reader:
    """In whose language and time a document speaks."""

    language: Language
    zone: tzinfo


class Pen:
    """Writes for one reader, in one currency."""

    def __init__(self, reader: Reader, currency: str) -> None:
        self.language = reader.language
        self.currency = currency
        self._zone = reader.zone

    def says(self, section: str, key: str, **filled: str) -> str:
        label = self.language.labels[section][key]
        return label.format_map(filled) if filled else label

    def named(self, section: str, key: str, value: str) -> str:
        """A value behind its name."""
        return self.says("note", "named", name=self.says(section, key), value=self.text(value))

    def text(self, given: str | None) -> str:
        return clean(given, self.language.direction) if given else ""

    def money(self, minor: int) -> str:
        return self.language.money(minor, self.currency)

    def figure(self, minor: int) -> str:
        return self.language.figure(minor, self.currency)

    def price(self, exact: Decimal) -> str:
        return self.language.price(exact, self.currency)

    def day(self, given: date) -> str:
        return self.language.day(given)

    def day_of(self, moment: datetime) -> str:
        return self.language.day(day_in(moment, self._zone))
