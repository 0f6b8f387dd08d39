"""The part of a document's style that depends on paper, language and brand, as a style sheet.

Every value in it is a number, a colour or one of our own words, written out here.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from importlib.resources import files

from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.language import Language
from counterfoil.projections.render.logo import size_mm
from counterfoil.projections.render.options import Print

FONT = "Noto Sans"
# Behind the bundled fonts: those of East Asia, where somebody has installed them. Which of them is
# asked first decides how a Chinese sign looks that Japanese writes otherwise.
EAST_ASIAN = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC")


@lru_cache(maxsize=1)
def base() -> str:
    """What all documents look like."""
    return files(__package__).joinpath("templates", "style.css").read_text(encoding="utf-8")


def style(branding: Branding, language: Language, options: Print) -> str:
    """What this kind of document looks like."""
    width, height = options.paper
    top, right, bottom, left = options.margins
    fonts = ", ".join(f'"{family}"' for family in families(language))
    start, end = ("left", "right") if language.direction == "ltr" else ("right", "left")
    page = f"size: {_mm(width)} {_mm(height)}; margin: " + " ".join(
        _mm(side) for side in (top, right, bottom, left)
    )
    small = f"font: 7.25pt/1.3 {fonts}; color: #667085"
    footer = "element(footer)" if options.footer_html is not None else "string(edge)"
    running = (
        f"@top-{start} {{ content: element(header); width: 100%; vertical-align: middle; {small} }}"
        if options.header_html is not None
        else f"@top-{end} {{ content: string(title); text-align: {end}; {small} }}"
    )
    first = "" if options.header_html is not None else f"@top-{end} {{ content: none }}"
    colour = branding.colour
    logo = "width: {}mm; height: {}mm".format(*size_mm(branding.logo)) if branding.logo else ""
    return f"""@page {{ {page};
  {running}
  @bottom-{start} {{ content: {footer}; width: 80%; text-align: {start}; {small} }}
  @bottom-{end} {{ content: {_page_of(language)}; width: 20%; text-align: {end}; {small} }} }}
@page :first {{ {first} }}
body {{ font-family: {fonts} }}
.logo {{ {logo} }}
h1 {{ color: {colour} }} .brand {{ color: {colour} }}
.facts, .box {{ background: {branding.tint(0.06)} }}
.lines th, .totals .sum td {{ border-color: {colour} }}
.totals .due {{ background: {branding.tint(0.06)}; color: {colour} }}
.running-header {{ position: running(header) }} .running-footer {{ position: running(footer) }}
"""


def families(language: Language) -> tuple[str, ...]:
    """The fonts to be tried in turn."""
    wanted = f"Noto Sans CJK {_EAST.get(language.locale.language, 'SC')}"
    east = sorted(EAST_ASIAN, key=lambda family: family != wanted)
    return (FONT, "Noto Sans Arabic", "Noto Sans Hebrew", *east)


_EAST = {"ja": "JP"}


def _page_of(language: Language) -> str:
    """Page x of y as CSS content: our own words between the two counters."""
    parts = (
        language.labels["page"]["of"].replace("{page}", "\0page\0").replace("{pages}", "\0pages\0")
    )
    return " ".join(
        f"counter({part})" if part in {"page", "pages"} else _quoted(part)
        for part in parts.split("\0")
        if part
    )


def _quoted(words: str) -> str:
    escaped = "".join(f"\\{ord(sign):x} " if sign in '"\\\n' else sign for sign in words)
    return f'"{escaped}"'


def _mm(length: Decimal) -> str:
    return f"{length:f}mm"
