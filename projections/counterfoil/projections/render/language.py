"""How a document speaks: its labels, and dates and figures as its reader writes them.

Labels lie in one catalogue for each language; figures and dates are Babel's, for any region of it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import cached_property, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval
from babel.numbers import NumberPattern, parse_pattern

from counterfoil.domain.money import Money, exponent

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "ja", "ar")
ENGLISH = "en"

_TIGHT = re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")

Labels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Language:
    """A language, and the region whose way of writing figures it takes."""

    locale: Locale
    labels: Labels

    @property
    def tag(self) -> str:
        """The name that HTML and PDF have for it, as in de-AT."""
        parts = (self.locale.language, self.locale.script, self.locale.territory)
        return "-".join(part for part in parts if part)

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return str(self.locale.text_direction)

    def money(self, minor: int, currency: str) -> str:
        """An amount with its currency."""
        amount = Money(minor, currency).decimal
        return _written(self._money(currency), amount, self.locale, currency)

    def figure(self, minor: int, currency: str) -> str:
        """An amount whose currency stands elsewhere."""
        amount = Money(minor, currency).decimal
        return self.number(amount, exponent(currency) or 0)

    def price(self, exact: Decimal, currency: str) -> str:
        """A unit price, with all its decimals and no fewer than the currency has."""
        return self.number(exact, exponent(currency) or 0)

    def number(self, value: Decimal, least: int = 0) -> str:
        """A number with all the decimals that it has, and no fewer than these."""
        return _written(self._number(least), value, self.locale)

    def percent(self, value: Decimal) -> str:
        """A percentage: `19` is 19 %."""
        return _written(self._percent, value, self.locale)

    def day(self, value: date) -> str:
        """A date, with the name of its month."""
        return format_date(value, "long", locale=self.locale)

    def period(self, start: date | None, end: date | None) -> str:
        """From one day to another; either may be open."""
        if start is None or end is None:
            return " – ".join("" if on is None else self._short(on) for on in (start, end)).strip()
        return format_interval(start, end, "yMMMd", locale=self.locale)

    def _short(self, value: date) -> str:
        return format_date(value, "medium", locale=self.locale)

    @lru_cache(maxsize=64)  # noqa: B019  (languages are few, and kept for ever themselves)
    def _money(self, currency: str) -> NumberPattern:
        # A pattern of our own: Babel would round by CLDR's digits, which are not ISO's for some.
        digits = exponent(currency) or 0
        pattern = parse_pattern(self.locale.currency_formats["standard"].pattern)
        pattern.frac_prec = (digits, digits)
        return pattern

    @lru_cache(maxsize=16)  # noqa: B019  (languages are few, and kept for ever themselves)
    def _number(self, least: int) -> NumberPattern:
        pattern = parse_pattern(self.locale.decimal_formats[None].pattern)
        pattern.frac_prec = (least, 12)
        return pattern

    @cached_property
    def _percent(self) -> NumberPattern:
        pattern = parse_pattern(self.locale.percent_formats[None].pattern)
        pattern.frac_prec = (0, 6)
        pattern.scale = 0  # ours are hundredths already
        return pattern


def _written(
    pattern: NumberPattern, value: Decimal, locale: Locale, currency: str | None = None
) -> str:
    written: str = pattern.apply(
        value, locale, currency=currency, currency_digits=False, decimal_quantization=False
    )
    # A code of letters needs room to be read (CLDR, currency spacing); Babel gives it none.
    written = _TIGHT.sub("\N{NO-BREAK SPACE}", written)
    # The full-width yen sign, which Japanese asks for, is in no font but those of East Asia.
    return written.replace("\N{FULLWIDTH YEN SIGN}", "\N{YEN SIGN}")


@lru_cache(maxsize=128)
def language(tag: str) -> Language | None:
    """The language of a tag such as `de`, `pt-BR` or `fr_CH`; None if documents do not speak it."""
    try:
        locale = Locale.parse(tag.strip().replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None
    return Language(locale, labels(locale.language)) if locale.language in LANGUAGES else None


@lru_cache(maxsize=len(LANGUAGES))
def labels(name: str) -> Labels:
    """The catalogue of a language."""
    text = files(__package__).joinpath("labels", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def zone(name: str) -> tzinfo | None:
    """The time zone of an IANA name; None if there is none."""
    if name in {"UTC", "Etc/UTC"}:  # needs no data, which a bare system may lack
        return UTC
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def day_in(moment: datetime, where: tzinfo) -> date:
    """The day that a moment falls on there."""
    return moment.astimezone(where).date()
