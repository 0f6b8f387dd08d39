"""What callers let run along the edges of their pages: simple markup, and nothing that acts."""

from __future__ import annotations

import re
from functools import lru_cache
from xml.etree import ElementTree as ET

import nh3
import tinyhtml5
from markupsafe import Markup

from counterfoil.domain.errors import Malformed
from counterfoil.projections.render.clean import strip

_TAGS = {
    "a", "b", "br", "div", "em", "h1", "h2", "h3", "hr", "i", "img", "li", "ol", "p", "small",
    "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
_STYLES = {
    "color", "background-color", "font-size", "font-style", "font-weight", "letter-spacing",
    "line-height", "text-align", "text-decoration", "text-transform",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"dir", "lang", "style"},
    "a": {"href"},
    "img": {"alt", "height", "src", "width"},
    "td": {"colspan"},
    "th": {"colspan"},
}
IMAGE = "data:image/png;base64,"
LINKS = ("https:", "mailto:")
COLUMNS_MAX = 20
PIXELS_MAX = 2_000
# A few kilobytes of markup that closes nothing are megabytes once everything is closed.
WRITTEN_MAX = 60_000
ELEMENTS_MAX = 1_000
DEPTH_MAX = 20
_TAG = re.compile(r"<(/?)(\w+)")
_VOID = {"br", "hr", "img"}


@lru_cache(maxsize=64)
def running(field: str, given: str) -> Markup:
    """The markup with what may stand in a header or footer, well-formed."""
    kept = nh3.clean(
        given,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        filter_style_properties=_STYLES,
        url_schemes={"https", "mailto", "data"},
        link_rel=None,
    )
    _hold_bounds(field, kept)
    body = tinyhtml5.parse(f"<body>{kept}</body>", namespace_html_elements=False).find("body")
    if body is None:
        return Markup()
    # Only now: before, a sign may have been written as an entity.
    for element in body.iter():
        element.text, element.tail = strip(element.text or ""), strip(element.tail or "")
        for name, value in element.attrib.items():
            element.attrib[name] = strip(value)
    body.tag, body.tail = "div", None
    return Markup(ET.tostring(body, encoding="unicode"))  # noqa: S704  (made here)


def _hold_bounds(field: str, kept: str) -> None:
    elements = depth = deepest = 0
    for closes, tag in _TAG.findall(kept):
        elements += not closes
        if tag not in _VOID:
            depth += -1 if closes else 1
            deepest = max(deepest, depth)
    if len(kept) > WRITTEN_MAX or elements > ELEMENTS_MAX or deepest > DEPTH_MAX:
        raise Malformed(
            field,
            f"is too much for an edge: at most {ELEMENTS_MAX:,} elements, {DEPTH_MAX} of them "
            "one inside the other",
        )


def _attribute(tag: str, name: str, value: str) -> str | None:
    match tag, name:
        case "img", "src":  # a picture of its own, and no other kind that could refer further
            return value if value.startswith(IMAGE) else None
        case "a", "href":
            return value if value.strip().lower().startswith(LINKS) else None
        case _, "colspan":
            return value if _whole(value, COLUMNS_MAX) else None
        case "img", "width" | "height":
            return value if _whole(value, PIXELS_MAX) else None
        case _, "style":
            return None if "url" in value.lower() or "\\" in value else value
        case _:
            return value


def _whole(value: str, most: int) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 6 and int(value) <= most
