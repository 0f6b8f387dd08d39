"""A company's logo, made harmless once, when it is given, so that no print has to trust it.

An SVG keeps what draws; what refers, runs or styles is refused. A picture is decoded within bounds
and written anew, without what its file said besides.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from xml.etree import ElementTree as ET

from counterfoil.domain.errors import Malformed
from counterfoil.domain.ports import Asset

BYTES_MAX = 1024 * 1024
SVG_BYTES_MAX = 64 * 1024
SVG_ELEMENTS_MAX = 2_000
# Every use of a gradient or clip draws all of it again, so it is the product that costs.
SVG_REPEATS_MAX = 20_000
PIXELS_MAX = 4_000_000
SCANS_MAX = 64
# No finer than anybody sees on paper: 75 mm at 300 dots an inch.
EDGE_MAX = 900
# The room that a document has for it.
WIDTH_MM, HEIGHT_MM = 75, 16

_SVG = "{http://www.w3.org/2000/svg}"
_DRAWS = {
    "svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon",
    "title", "desc", "defs", "linearGradient", "radialGradient", "stop", "clipPath",
}  # fmt: skip
_STYLES = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity",
    "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "stroke-dasharray", "opacity",
    "stop-color", "stop-opacity", "clip-path", "clip-rule",
}  # fmt: skip
_PLACES = {
    "viewBox", "width", "height", "preserveAspectRatio", "id", "transform", "d", "points",
    "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "fx", "fy",
    "offset", "gradientUnits", "gradientTransform", "clipPathUnits",
}  # fmt: skip
_REFERENCE = re.compile(r"url\(\s*#[A-Za-z_][\w.-]*\s*\)")
_SHARED = ("linearGradient", "radialGradient", "clipPath")


def clean_logo(content: object) -> Asset:
    """The image in a form that is safe to show; `Malformed` if there is none."""
    if not isinstance(content, bytes):
        raise Malformed("logo", "must be the bytes of an SVG, PNG or JPEG file")
    if len(content) > BYTES_MAX:
        raise Malformed("logo", f"must be at most {BYTES_MAX // 1024:,} KiB")
    if content.startswith((b"\x89PNG", b"\xff\xd8")):
        return Asset("logo", "image/png", _picture(content))
    return Asset("logo", "image/svg+xml", _drawing(content))


def size_mm(logo: Asset) -> tuple[float, float]:
    """How wide and high it stands on paper: as large as fits, in its own proportions."""
    if logo.media_type == "image/png":
        width, height = struct.unpack(">II", logo.content[16:24])  # IHDR
    else:
        width, height = _box(ET.fromstring(logo.content))[2:]  # noqa: S314  (ours)
    scale = min(WIDTH_MM / width, HEIGHT_MM / height)
    return round(width * scale, 2), round(height * scale, 2)


def _picture(content: bytes) -> bytes:
    from PIL import Image

    # A progressive JPEG is painted anew by each of its scans, which can be a few bytes long.
    if content.count(b"\xff\xda") > SCANS_MAX:
        raise Malformed("logo", "has too many scans; save it again as PNG")
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture,
        ):
            if picture.width * picture.height > PIXELS_MAX:
                raise Malformed("logo", f"must have at most {PIXELS_MAX:,} pixels")
            shown = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except Malformed:
        raise
    except Exception as error:  # whatever its decoders stumble over
        raise Malformed("logo", "cannot be decoded; save it again as PNG") from error
    shown.thumbnail((EDGE_MAX, EDGE_MAX))
    written = io.BytesIO()
    shown.info.clear()
    shown.save(written, "PNG", optimize=True)
    return written.getvalue()


def _drawing(content: bytes) -> bytes:
    if len(content) > SVG_BYTES_MAX:
        raise Malformed("logo", f"must be at most {SVG_BYTES_MAX // 1024} KiB as SVG")
    try:
        text = content.decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise Malformed("logo", "must hold no document type; save it as plain SVG")
        root = ET.fromstring(text)  # noqa: S314
    except (UnicodeDecodeError, ET.ParseError) as error:
        raise Malformed("logo", "is neither SVG nor PNG nor JPEG") from error
    if root.tag != f"{_SVG}svg":
        raise Malformed("logo", "is neither SVG nor PNG nor JPEG")
    _hold_bounds(root)
    # The box alone says the proportions; a size besides is an engine's chance to misread them.
    root.set("viewBox", " ".join(f"{part:g}" for part in _box(root)))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    ET.register_namespace("", _SVG.strip("{}"))
    written: bytes = ET.tostring(_clean(root), encoding="utf-8")
    return written


def _box(root: ET.Element) -> tuple[float, float, float, float]:
    said = root.get("viewBox") or f"0 0 {root.get('width', '')} {root.get('height', '')}"
    try:
        x, y, width, height = (
            float(part.removesuffix("px")) for part in said.replace(",", " ").split()
        )
    except ValueError:
        raise Malformed("logo", "must have a viewBox, or a width and a height") from None
    if not (0 < width < 1e6 and 0 < height < 1e6 and max(abs(x), abs(y)) < 1e6):
        raise Malformed("logo", "must have a viewBox of ordinary size")
    return x, y, width, height


def _clean(element: ET.Element) -> ET.Element:
    """The element with what draws; what an editor left for itself goes, all else is refused."""
    name = element.tag.removeprefix(_SVG)
    kept = ET.Element(element.tag)
    for attribute, value in _attributes(element).items():
        if "url(" in value.lower().replace("\\", "") and not _REFERENCE.fullmatch(value.strip()):
            raise Malformed("logo", f"refers to something outside itself in {attribute}")
        kept.set(attribute, value)
    kept.text = element.text if name in {"title", "desc"} else None
    for child in element:
        foreign = child.tag.startswith("{") and not child.tag.startswith(_SVG)
        if foreign or child.tag == f"{_SVG}metadata":
            continue
        if child.tag.removeprefix(_SVG) not in _DRAWS:
            raise Malformed(
                "logo",
                f"holds <{child.tag.removeprefix(_SVG)[:40]}>; save it as plain SVG with all "
                "text and symbols turned into paths",
            )
        kept.append(_clean(child))
    return kept


def _attributes(element: ET.Element) -> dict[str, str]:
    said = dict(element.attrib)
    for declaration in said.pop("style", "").split(";"):
        name, _, value = declaration.partition(":")
        said[name.strip()] = value.strip()
    for name in said:
        if name.lower().startswith("on") or name.rpartition("}")[2] == "href":
            raise Malformed("logo", f"holds {name.rpartition('}')[2][:40]}, which a logo needs not")
    return {name: value for name, value in said.items() if name in _PLACES | _STYLES}


def _hold_bounds(root: ET.Element) -> None:
    elements = list(root.iter())
    if len(elements) > SVG_ELEMENTS_MAX:
        raise Malformed("logo", f"must have at most {SVG_ELEMENTS_MAX:,} elements")
    if _depth(root) > 50:
        raise Malformed("logo", "is nested too deeply")
    referring = [one for one in elements if any("url(" in v for v in one.attrib.values())]
    shared = [part for name in _SHARED for one in root.iter(_SVG + name) for part in one.iter()]
    if len(referring) * len(shared) > SVG_REPEATS_MAX:
        raise Malformed("logo", "uses its gradients and clips too often")
    if set(map(id, referring)) & set(map(id, shared)):
        raise Malformed("logo", "has gradients or clips that refer to others")


def _depth(element: ET.Element) -> int:
    deepest, level = 0, [element]
    while level:
        deepest, level = deepest + 1, [child for one in level for child in one]
    return deepest
