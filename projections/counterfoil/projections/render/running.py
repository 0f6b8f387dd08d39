"""What callers let run along the edges of their pages: simple markup, and nothing that acts."""

from __future__ import annotations

from functools import lru_cache
from xml.etree import ElementTree as ET

import nh3
import tinyhtml5
from markupsafe import Markup

from counterfoil.projections.render.clean import clean

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
COLUMNS_MAX = 20


def _attribute(tag: str, name: str, value: str) -> str | None:
    match tag, name:
        case "img", "src":  # a picture of its own, and no other kind that could refer further
            return value if value.startswith(IMAGE) else None
        case ("a", "href") if value.startswith("data:"):
            return None
        case _, "colspan":
            return value if value.isdecimal() and int(value) <= COLUMNS_MAX else None
        case "img", _ if name != "alt":
            return value if value.isdecimal() and int(value) <= 2000 else None
        case _, "style":
            return None if "url" in value.lower() or "\\" in value else value
        case _:
            return value


@lru_cache(maxsize=64)
def running(given: str) -> Markup:
    """The markup with what may stand in a header or footer, well-formed."""
    kept = nh3.clean(
        clean(given).replace("\u2068", "").replace("\u2069", ""),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        filter_style_properties=_STYLES,
        url_schemes={"https", "mailto", "data"},
        link_rel=None,
    )
    body = tinyhtml5.parse(f"<body>{kept}</body>", namespace_html_elements=False).find("body")
    if body is None:
        return Markup()
    inner = "".join(ET.tostring(child, encoding="unicode") for child in body)
    return Markup(ET.tostring(_text(body.text), encoding="unicode") + inner)  # noqa: S704  (made here)


def _text(text: str | None) -> ET.Element:
    element = ET.Element("span")
    element.text = text or ""
    return element
