"""How a caller wants a document printed: language, paper, margins, what runs along the edges."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Self, TypedDict

from pydantic import Field, PlainValidator, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from counterfoil.domain.errors import Malformed
from counterfoil.domain.money import EXACT
from counterfoil.domain.ports import Asset
from counterfoil.domain.value import ShortText, Value

# Millimetres, width by height, upright.
SIZES: Mapping[str, tuple[str, str]] = {
    "A3": ("297", "420"),
    "A4": ("210", "297"),
    "A5": ("148", "210"),
    "B4": ("250", "353"),
    "B5": ("176", "250"),
    "Letter": ("215.9", "279.4"),
    "Legal": ("215.9", "355.6"),
    "Ledger": ("279.4", "431.8"),
}
# In 72nds of a tenth of a millimetre, which all of them are whole numbers of.
_UNITS = {"mm": 720, "cm": 7_200, "in": 18_288, "pt": 254}
_LENGTH = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)\s*(mm|cm|in|pt)")
PAPER_MM = (Decimal(60), Decimal(1200))
# What must be left between the margins for a page to be a page.
LEFT_MM = Decimal(50)
MARGINS_MM = {"top": 16, "right": 18, "bottom": 22, "left": 18}
RUNNING_MARGIN_MM = 32
RUNNING_MAX = 20_000
ATTACHED_MAX = 20 * 1024 * 1024


def _wrong(problem: str) -> PydanticCustomError:
    return PydanticCustomError("print", "{problem}", {"problem": problem})


def _millimetres(given: object) -> Decimal:
    match given:
        case Decimal():
            length = given
        case int() | float() if not isinstance(given, bool):
            length = Decimal(str(given))
        case str() if found := _LENGTH.fullmatch(given.strip()):
            length = EXACT.divide(EXACT.multiply(Decimal(found[1]), _UNITS[found[2]]), 720)
        case _:
            raise _wrong('must be a length such as "20mm", "2cm", "0.8in" or "56pt"')
    if not length.is_finite() or not 0 <= length <= PAPER_MM[1]:
        raise _wrong(f"must be between 0 and {PAPER_MM[1]} mm")
    return length.quantize(Decimal("0.01"), context=EXACT)


def _size(given: object) -> str:
    name, _, turned = given.strip().lower().partition(" ") if isinstance(given, str) else ("",) * 3
    known = {size.lower(): size for size in SIZES}
    if name not in known or turned.strip() not in {"", "portrait", "landscape"}:
        raise _wrong(f'must be one of {", ".join(SIZES)}, with "landscape" behind it or without')
    return f"{known[name]} landscape" if turned.strip() == "landscape" else known[name]


Length = Annotated[Decimal, PlainValidator(_millimetres)]
Size = Annotated[str, PlainValidator(_size)]
Running = Annotated[str, StringConstraints(max_length=RUNNING_MAX)]


class Options(TypedDict, total=False):
    """How to print a document. Lengths are text with a unit, or a number of millimetres; `size` is
    a name such as "A4", "Letter" or "A4 landscape"; `archival` makes PDF/A-3b; `header_html` and
    `footer_html` run along the edges of every page and take simple markup; `attachments` are files
    that the PDF carries.
    """

    locale: str | None
    timezone: str | None
    archival: bool
    size: str
    paper_width: str | float | None
    paper_height: str | float | None
    margin_top: str | float | None
    margin_right: str | float | None
    margin_bottom: str | float | None
    margin_left: str | float | None
    header_html: str | None
    footer_html: str | None
    attachments: tuple[Asset, ...]


class Print(Value):
    """The same, checked."""

    locale: ShortText | None = None
    timezone: ShortText | None = None
    archival: Annotated[bool, Field(strict=True)] = False
    size: Size = "A4"
    paper_width: Length | None = None
    paper_height: Length | None = None
    margin_top: Length | None = None
    margin_right: Length | None = None
    margin_bottom: Length | None = None
    margin_left: Length | None = None
    header_html: Running | None = None
    footer_html: Running | None = None
    attachments: tuple[Asset, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.paper_width is None) != (self.paper_height is None):
            raise Malformed("paper_width", "and paper_height are said together")
        width, height = self.paper
        for name, length in (("paper_width", width), ("paper_height", height)):
            if length < PAPER_MM[0]:
                raise Malformed(name, f"must be at least {PAPER_MM[0]} mm")
        top, right, bottom, left = self.margins
        if width - left - right < LEFT_MM:
            raise Malformed("margin_left", f"and margin_right leave less than {LEFT_MM} mm")
        if height - top - bottom < LEFT_MM:
            raise Malformed("margin_top", f"and margin_bottom leave less than {LEFT_MM} mm")
        if sum(len(one.content) for one in self.attachments) > ATTACHED_MAX:
            raise Malformed("attachments", f"must be at most {ATTACHED_MAX // 1024**2} MiB in all")
        return self

    @property
    def paper(self) -> tuple[Decimal, Decimal]:
        """Width and height in millimetres."""
        if self.paper_width is not None and self.paper_height is not None:
            return self.paper_width, self.paper_height
        name, _, landscape = self.size.partition(" ")
        width, height = (Decimal(length) for length in SIZES[name])
        return (height, width) if landscape else (width, height)

    @property
    def paper_name(self) -> str:
        """What the paper is called."""
        return self.size if self.paper_width is None else "custom"

    @property
    def margins(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Top, right, bottom, left in millimetres; what runs along an edge gets room."""
        usual = dict(MARGINS_MM)
        if self.header_html is not None:
            usual["top"] = RUNNING_MARGIN_MM
        if self.footer_html is not None:
            usual["bottom"] = RUNNING_MARGIN_MM
        said = {side: getattr(self, f"margin_{side}") for side in usual}
        top, right, bottom, left = (
            Decimal(usual[side]) if said[side] is None else said[side]
            for side in ("top", "right", "bottom", "left")
        )
        return top, right, bottom, left

    @property
    def said(self) -> Mapping[str, str]:
        """What differs from the usual, in words that a fact can hold."""
        words = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value == type(self).model_fields[name].default:
                continue
            match value:
                case tuple():
                    digest = hashlib.sha256(repr(value).encode()).hexdigest()
                    words[name] = f"{len(value)} files, sha256 {digest}"
                case str() if name.endswith("_html"):
                    words[name] = f"sha256 {hashlib.sha256(value.encode()).hexdigest()}"
                case Decimal():
                    words[name] = f"{value}mm"
                case _:
                    words[name] = str(value)
        return words

    @property
    def key(self) -> Sequence[str]:
        """What a file that is printed so is called by, behind its own name; nothing as usual."""
        said = dict(self.said)
        parts = []
        if locale := said.pop("locale", None):
            parts.append(re.sub(r"[^A-Za-z0-9]+", "-", locale).strip("-")[:20])
        if said.pop("archival", None):
            parts.append("archival")
        if size := said.pop("size", None):
            parts.append("-".join(size.lower().split()))
        if said:
            parts.append(hashlib.sha256(repr(sorted(said.items())).encode()).hexdigest()[:8])
        return parts
