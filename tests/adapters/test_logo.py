"""Can a logo do anything but be seen: refer, run, style, blow up, or carry what its file said?

Logos are uploaded by whoever may change a brand. They are made harmless when they are given, in
the process of the service itself, so nothing here may take long either.
"""

from __future__ import annotations

import base64
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.ports import Asset, PdfEngine, Sheet
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.logo import (
    BYTES_MAX,
    EDGE_MAX,
    SVG_BYTES_MAX,
    SVG_ELEMENTS_MAX,
    clean_logo,
)

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
OUTSIDE = "http://127.0.0.1:9/x"


def svg(inside: str, attributes: str = "") -> bytes:
    return (
        f'<svg xmlns="{SVG}" xmlns:xlink="{XLINK}" width="90" height="30" {attributes}>'
        f"{inside}</svg>"
    ).encode()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], last: bytes = b"") -> bytes:
    """A grey picture that is white all over, of so many pixels in next to no bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    row = b"\0" + b"\xff" * ((width + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
            *(chunk(kind, body) for kind, body in chunks),
            chunk(b"IDAT", pixels),
            *([chunk(last[:4], last[4:])] if last else []),
            chunk(b"IEND", b""),
        ]
    )


def zeros(mebibytes: int) -> bytes:
    """So many of them, packed into a thousandth."""
    packer, part = zlib.compressobj(9), b"\0" * 1024**2
    return b"".join(packer.compress(part) for _ in range(mebibytes)) + packer.flush()


def claimed(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and has none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )


def jpeg_of_many_scans(scans: int, edge: int = 1900) -> bytes:
    """A progressive JPEG of 17 bytes a scan, each of which makes a decoder pass over all blocks."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body

    def packed(bits: str) -> bytes:
        bits += "1" * (-len(bits) % 8)
        whole = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
        return whole.replace(b"\xff", b"\xff\0")

    blocks = ((edge + 7) // 8) ** 2
    one = b"\1" + b"\0" * 15
    runs, left = "", blocks
    while left > 0:  # end-of-band runs of up to 32,767 blocks
        run = min(max(left, 16_384), 32_767)
        runs += "0" + format(run - 16_384, "014b")
        left -= run
    head = [
        b"\xff\xd8",
        segment(0xDB, b"\0" + b"\1" * 64),
        segment(0xC2, struct.pack(">BHHB", 8, edge, edge, 1) + b"\1\x11\0"),
        segment(0xC4, b"\x00" + one + b"\0"),
        segment(0xC4, b"\x10" + one + b"\xe0"),
        segment(0xDA, b"\1\1\0\0\0\0") + packed("0" * blocks),
        segment(0xDA, b"\1\1\0\1\x3f\1") + packed(runs),
    ]
    refinement = segment(0xDA, b"\1\1\0\1\x3f\x10") + packed(runs)
    return b"".join(head) + refinement * scans + b"\xff\xd9"


def saved(picture: Image.Image, form: str, **said: object) -> bytes:
    into = io.BytesIO()
    picture.save(into, form, **said)
    return into.getvalue()


def shown_or_refused(given: bytes) -> Asset | None:
    """The logo, or nothing where it is refused in the way that is agreed; all else is a fault."""
    try:
        return clean_logo(given)
    except Malformed:
        return None


# --- drawings: what refers is refused ---------------------------------------------------------

REFERRING = {
    "a picture of a file": '<image href="file:///etc/passwd" width="9" height="9"/>',
    "a picture by xlink": f'<image xlink:href="{OUTSIDE}" width="9" height="9"/>',
    "a picture of its own": '<image href="data:image/png;base64,AAAA" width="9" height="9"/>',
    "a drawing in a drawing": '<image href="data:image/svg+xml,%3Csvg/%3E"/>',
    "use of another file": f'<use href="{OUTSIDE}#x"/>',
    "use of its own": '<g id="a"/><use href="#a"/>',
    "a style sheet": f"<style>@import url({OUTSIDE});</style>",
    "an empty style sheet": "<style/>",
    "a font": f"<style>@font-face{{font-family:q;src:url({OUTSIDE})}}</style>",
    "a script": "<script>1</script>",
    "a link": '<a href="javascript:alert(1)"><path d="M0 0"/></a>',
    "a link by xlink": '<a xlink:href="javascript:alert(1)"><path d="M0 0"/></a>',
    "text": "<text>PAID IN FULL</text>",
    "foreign markup": "<foreignObject><p/></foreignObject>",
    "a filter": f'<filter id="f"><feImage href="{OUTSIDE}"/></filter>',
    "a mask": '<mask id="m"/>',
    "a pattern": '<pattern id="p"/>',
    "a symbol": '<symbol id="s"/>',
    "a marker": '<marker id="m"/>',
    "an animation": '<animate attributeName="href" to="javascript:1"/>',
    "a setting": '<set attributeName="fill" to="red"/>',
    "something unknown": "<sneaky/>",
    "a paint elsewhere": f'<rect fill="url({OUTSIDE}#x)"/>',
    "a quoted paint": "<rect fill=\"url('#x')\"/>",
    "a paint in capitals": f'<rect fill="URL({OUTSIDE}#x)"/>',
    "a paint in a style": f'<rect style="fill: url({OUTSIDE}#x)"/>',
    "a paint escaped": f'<rect fill="u\\rl({OUTSIDE}#x)"/>',
    "a paint by character": f'<rect fill="&#117;rl({OUTSIDE}#x)"/>',
    "a paint behind another": f'<rect fill="url(#a) url({OUTSIDE})"/>',
    "a paint with a line feed": f'<rect fill="url(&#10;{OUTSIDE}#x)"/>',
    "a clip elsewhere": f'<rect clip-path="url({OUTSIDE}#x)"/>',
    "a handler": '<rect onload="alert(1)"/>',
    "a handler in capitals": '<rect ONCLICK="alert(1)"/>',
    "a gradient's parent": '<linearGradient id="g" xlink:href="#h"/>',
    "a gradient's parent, plain": '<linearGradient id="g" href="#h"/>',
    "a script of no namespace": '<script xmlns="">1</script>',
    "a namespace of its own": '<x:image xmlns:x="http://www.w3.org/2000/svg" href="file:///etc"/>',
}


@pytest.mark.parametrize("inside", REFERRING.values(), ids=REFERRING)
def test_a_drawing_that_refers_runs_or_styles_is_refused(inside: str) -> None:
    with pytest.raises(Malformed) as refused:
        clean_logo(svg(inside))
    assert refused.value.field == "logo"


DROPPED = {
    "xml:base": svg("<path d='M0 0'/>", f'xml:base="{OUTSIDE}"'),
    "a stylesheet instruction": f'<?xml-stylesheet href="{OUTSIDE}"?>'.encode() + svg(""),
    "an instruction within": svg(f'<?xml-stylesheet href="{OUTSIDE}"?>'),
    "a comment": svg(f"<!-- {OUTSIDE} -->"),
    "an editor's elements": svg(f'<s:view xmlns:s="http://s.example/" href="{OUTSIDE}"/>'),
    "an inclusion": svg(
        f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{OUTSIDE}"/>'
    ),
    "markup of another kind": svg(
        f'<img xmlns="http://www.w3.org/1999/xhtml" src="{OUTSIDE}" onerror="alert(1)"/>'
    ),
    "metadata": svg(f"<metadata><x>{OUTSIDE}</x></metadata>"),
    "a class": svg('<rect class="http://127.0.0.1:9/x"/>'),
    "a property that is no paint": svg(f'<rect style="background: {OUTSIDE}; content: attr(x)"/>'),
    "text between": svg(f"{OUTSIDE}<g>{OUTSIDE}</g>{OUTSIDE}"),
    "an attribute of its own": svg(f'<rect src="{OUTSIDE}" data="{OUTSIDE}" filter="x"/>'),
}


@pytest.mark.parametrize("given", DROPPED.values(), ids=DROPPED)
def test_what_a_drawing_says_besides_drawing_is_left_out(given: bytes) -> None:
    cleaned = clean_logo(given).content
    assert b"127.0.0.1" not in cleaned
    assert b"onerror" not in cleaned
    assert b"<?" not in cleaned.removeprefix(b"<?xml version='1.0' encoding='utf-8'?>")
    tags = {element.tag for element in ET.fromstring(cleaned).iter()}  # noqa: S314
    assert tags <= {f"{{{SVG}}}{name}" for name in ("svg", "g", "path", "rect")}


TRICKS = {
    "a document type": b"<!DOCTYPE svg>" + svg(""),
    "an entity": b'<!DOCTYPE svg [<!ENTITY x "y">]>' + svg("&x;"),
    "an outer entity": b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + svg("&x;"),
    "laughs": b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]>"
    + svg("&j;"),
    "an entity that nobody said": svg("<title>&nbsp;</title>"),
    "UTF-16": svg("<script>1</script>").decode().encode("utf-16"),
    "UTF-16 without a mark": svg("<script>1</script>").decode().encode("utf-16-be"),
    "UTF-32": svg("").decode().encode("utf-32"),
    "UTF-7": "<?xml version='1.0' encoding='utf-7'?>".encode("utf-7")
    + svg("<script>1</script>").decode().encode("utf-7"),
    "EBCDIC": svg("<script>1</script>").decode().encode("cp500"),
    "UTF-16 that is said to be UTF-8": b"<?xml version='1.0' encoding='utf-8'?>"
    + svg("").decode().encode("utf-16"),
    "bytes that are no text": b"\xc3\x28" + svg(""),
    "NUL": svg("\0"),
    "HTML": b"<html><script>1</script></html>",
    "an SVG of no namespace": b"<svg><path d='M0 0'/></svg>",
    "another root": f'<g xmlns="{SVG}"/>'.encode(),
    "two roots": svg("") + svg(""),
    "gzip": zlib.compress(svg("")),
    "PDF": b"%PDF-1.7",
    "GIF": b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "nothing": b"",
    "white space": b"  \n",
    "PNG and no more": b"\x89PNG",
    "JPEG and no more": b"\xff\xd8",
    "PNG before SVG": b"\x89PNG\r\n\x1a\n" + svg(""),
}


@pytest.mark.parametrize("given", TRICKS.values(), ids=TRICKS)
def test_no_trick_of_encoding_or_form_gets_past(given: bytes) -> None:
    with pytest.raises(Malformed):
        clean_logo(given)


def test_a_declared_encoding_is_not_believed() -> None:
    """`+ADw-script+AD4-` is an element to whoever reads UTF-7, and a title to everybody else."""
    given = b"<?xml version='1.0' encoding='utf-7'?>" + svg("<title>+ADw-script+AD4-</title>")
    tags = [element.tag for element in ET.fromstring(clean_logo(given).content).iter()]  # noqa: S314
    assert tags == [f"{{{SVG}}}svg", f"{{{SVG}}}title"]


@pytest.mark.parametrize(
    "given", ["/etc/passwd", 7, object(), bytearray(b"x"), ["x"], io.BytesIO()]
)
def test_only_bytes_are_a_logo_never_a_path(given: object) -> None:
    with pytest.raises(Malformed):
        clean_logo(given)
    with pytest.raises(Malformed):
        Branding(logo=given)  # type: ignore[arg-type]


def test_an_asset_that_was_made_elsewhere_is_cleaned_too() -> None:
    sly = Asset("logo", "image/svg+xml", svg("<script>1</script>"))
    with pytest.raises(Malformed):
        Branding(logo=sly)


def test_what_a_designer_saves_is_kept_and_cleaning_it_twice_changes_nothing() -> None:
    drawing = svg(
        '<title>Acme</title><defs><linearGradient id="g"><stop offset="0" stop-color="red"/>'
        '<stop offset="1" style="stop-color:#00f;stop-opacity:.5"/></linearGradient>'
        '<clipPath id="c"><circle cx="9" cy="9" r="9"/></clipPath></defs>'
        '<g transform="scale(2)" clip-path="url(#c)"><path fill="url(#g)" d="M0 0h20v10z"/>'
        '<rect style="fill:#0f0;stroke:url( #g )" width="4" height="4"/></g>'
    )
    once = clean_logo(drawing)
    assert once.media_type == "image/svg+xml"
    assert once.content.count(b"url(") == 3
    assert clean_logo(once.content) == once


# --- drawings: bounds -----------------------------------------------------------------------

_STOPS = '<stop offset="0" stop-color="red"/><stop offset="1" stop-color="blue"/>'
TOO_MUCH = {
    "bytes": svg(f"<title>{'x' * SVG_BYTES_MAX}</title>"),
    "elements": svg("<g/>" * SVG_ELEMENTS_MAX),
    "depth": svg("<g>" * 60 + "</g>" * 60),
    "great depth": svg("<g>" * 8_000 + "</g>" * 8_000),
    "clips in clips": svg(
        '<defs><clipPath id="a0"><rect width="9" height="9"/></clipPath>'
        + "".join(
            f'<clipPath id="a{n}"><g clip-path="url(#a{n - 1})"><rect/><rect/></g></clipPath>'
            for n in range(1, 20)
        )
        + '</defs><rect clip-path="url(#a19)"/>'
    ),
    "clips of clips, in a style": svg(
        '<clipPath id="a"><rect style="clip-path:url(#a)"/></clipPath><rect clip-path="url(#a)"/>'
    ),
    "a clip that clips itself": svg('<clipPath id="a" clip-path="url(#a)"><rect/></clipPath>'),
    "clips used very often": svg(
        f'<clipPath id="a">{"<rect/>" * 400}</clipPath>' + '<rect clip-path="url(#a)"/>' * 400
    ),
}


@pytest.mark.parametrize("given", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_drawing_beyond_a_bound_is_refused(given: bytes) -> None:
    with pytest.raises(Malformed):
        clean_logo(given)


# --- pictures -------------------------------------------------------------------------------


def test_a_picture_is_written_anew_without_what_its_file_said() -> None:
    said = PngImagePlugin.PngInfo()
    said.add_text("Author", "SECRET-4711")
    said.add_itxt("Place", "SECRET-4711")
    given = saved(Image.new("RGB", (40, 20), "red"), "PNG", pnginfo=said, dpi=(72, 72))
    shown = clean_logo(given + b"SECRET-4711")
    assert b"SECRET" not in shown.content
    assert shown.media_type == "image/png"
    assert clean_logo(shown.content) == shown

    exif = Image.Exif()
    exif[0x010E] = "SECRET-4711"
    photo = saved(
        Image.new("RGB", (40, 20)), "JPEG", exif=exif, comment=b"SECRET-4711", icc_profile=b"SECRET"
    )
    assert b"SECRET" not in clean_logo(photo).content


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_becomes_a_plain_picture(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    with Image.open(io.BytesIO(clean_logo(saved(Image.new(mode, (4, 4)), form)).content)) as shown:
        assert shown.mode in {"RGB", "RGBA"}


def test_a_palette_that_is_partly_clear_stays_so() -> None:
    given = saved(Image.new("P", (4, 4)), "PNG", transparency=bytes([0, 9]))
    with Image.open(io.BytesIO(clean_logo(given).content)) as shown:
        assert shown.mode == "RGBA"


def test_a_moving_picture_stands_still() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    given = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(clean_logo(given).content)) as shown:
        assert getattr(shown, "n_frames", 1) == 1


def test_a_large_picture_is_shown_as_finely_as_paper_can() -> None:
    with Image.open(io.BytesIO(clean_logo(png(2_000, 1_000)).content)) as shown:
        assert max(shown.size) == EDGE_MAX
    with Image.open(io.BytesIO(clean_logo(png(60_000, 1)).content)) as shown:
        assert max(shown.size) == EDGE_MAX


OVERSIZED = {
    "8000 by 8000": png(8_000, 8_000),
    "30000 by 30000, claimed": claimed(30_000, 30_000),
    "the most that PNG can claim": claimed(2**31 - 1, 2**31 - 1),
    "one pixel too many": claimed(4_000_001, 1),
    "bytes": png(9, 9) + b"\0" * BYTES_MAX,
    "none at all": claimed(0, 0),
}


@pytest.mark.parametrize("given", OVERSIZED.values(), ids=OVERSIZED)
def test_a_picture_beyond_a_bound_is_refused_before_it_is_decoded(given: bytes) -> None:
    with pytest.raises(Malformed):
        clean_logo(given)


def test_a_picture_that_pillow_warns_of_is_refused_without_a_warning() -> None:
    """Between one and two times Pillow's own bound it only warns."""
    with pytest.raises(Malformed):
        clean_logo(claimed(10_000, 10_000))


# Each chunk that a reader unpacks, too short, and behind the pixels, where it is read last.
LATE = (b"tRNS", b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"zTXt", b"iTXt", b"tEXt", b"eXIf")


@pytest.mark.parametrize("kind", LATE, ids=bytes.decode)
@pytest.mark.parametrize("body", [b"", b"\1", b"x\0", b"x\0\1", b"\0" * 5], ids=repr)
def test_a_broken_chunk_is_refused_or_passed_over(kind: bytes, body: bytes) -> None:
    for picture in (png(9, 9, (kind, body)), png(9, 9, last=kind + body)):
        shown = shown_or_refused(picture)
        assert shown is None or shown.media_type == "image/png"


def test_a_profile_that_ends_too_soon_behind_the_pixels_is_refused_or_passed_over() -> None:
    shown_or_refused(png(9, 9, last=b"iCCP"))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_picture_cut_off_anywhere_is_refused_or_shown(form: str) -> None:
    whole = saved(Image.linear_gradient("L"), form)
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        shown_or_refused(whole[:end])


@given(content=st.binary(max_size=400))
def test_any_bytes_are_a_logo_or_malformed(content: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b'<svg xmlns="%s">' % SVG.encode()):
        shown_or_refused(head + content)


@given(at=st.integers(0, 10_000), put=st.binary(min_size=1, max_size=4))
def test_a_picture_with_bytes_changed_is_a_logo_or_malformed(at: int, put: bytes) -> None:
    for whole in (
        saved(Image.linear_gradient("L"), "PNG"),
        saved(Image.new("RGB", (9, 9)), "JPEG"),
    ):
        place = at % len(whole)
        shown_or_refused(whole[:place] + put + whole[place + len(put) :])


_NAMES = st.sampled_from(
    ["fill", "style", "d", "points", "transform", "viewBox", "clip-path", "x", "r", "id"]
)
_VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40),
    st.sampled_from(["url(#g)", "fill:url(#g)", "1e999", "-0", "nan", ";;:", "fill:", "url("]),
)


@given(attributes=st.dictionaries(_NAMES, _VALUES))
def test_any_attributes_make_a_harmless_drawing_or_are_malformed(
    attributes: dict[str, str],
) -> None:
    shape = ET.Element("path", attributes)
    shown = shown_or_refused(svg(ET.tostring(shape, encoding="unicode")))
    for element in [] if shown is None else ET.fromstring(shown.content).iter():  # noqa: S314
        for name, value in element.attrib.items():
            assert "href" not in name
            assert name != "style"
            assert "url(" not in value.lower() or value.strip() == "url(#g)"


# --- what it costs ----------------------------------------------------------------------------
#
# Cleaning and printing run in a child of this file, which is killed where a bound is passed.


def gradient(kind: str, attributes: str) -> bytes:
    return svg(
        f'<defs><{kind} id="g" {attributes}>{_STOPS}</{kind}></defs>'
        '<rect width="90" height="30" fill="url(#g)"/>'
    )


COSTLY: dict[str, Callable[[], bytes]] = {
    "a gradient that is repeated a million times": lambda: gradient(
        "linearGradient", 'x1="0" x2="0.000001" spreadMethod="repeat"'
    ),
    "a gradient that is reflected a million times": lambda: gradient(
        "linearGradient", 'x1="0" x2="0.000001" spreadMethod="reflect"'
    ),
    "a round gradient that is repeated a million times": lambda: gradient(
        "radialGradient", 'r="0.000001" spreadMethod="repeat"'
    ),
    "a gradient with two thousand stops": lambda: svg(
        f'<defs><linearGradient id="g">{_STOPS * 900}</linearGradient></defs>'
        '<rect width="90" height="30" fill="url(#g)"/>'
    ),
    "clips as often as they may be used": lambda: svg(
        f'<clipPath id="a">{"<rect/>" * 99}</clipPath>' + '<rect clip-path="url(#a)"/>' * 199
    ),
    "a path of all the bytes there may be": lambda: svg(f'<path d="M0 0{"l1 1" * 16_000}"/>'),
    "a path without a blank": lambda: svg(f'<path d="M{"1" * 64_000}"/>'),
    "a path of signs": lambda: svg(f'<path d="M0 0{"-" * 64_000}"/>'),
    "a path of arcs": lambda: svg(f'<path d="M0 0{"a1 1 0 0 0 1 1" * 4_400}"/>'),
    "a polygon of points": lambda: svg(f'<polygon points="{"1," * 32_000}"/>'),
    "a transform of transforms": lambda: svg(f'<g transform="{"scale(9)" * 7_500}"><path/></g>'),
    "a transform of brackets": lambda: svg(f'<g transform="{"(" * 64_000}"><path/></g>'),
    "figures beyond all bounds": lambda: svg(
        '<rect width="1e308" height="1e308" stroke-width="1e308" stroke="red" x="-1e308"'
        ' transform="scale(1e308) translate(1e308)"/>',
        'viewBox="0 0 1e-300 1e-300"',
    ),
    "dashes without end": lambda: svg(
        '<path d="M0 0h1e9" stroke="red" stroke-dasharray="1e-9 1e-9"/>'
    ),
    "a picture of four million pixels": lambda: png(2_000, 2_000),
    "a photograph of few scans": lambda: jpeg_of_many_scans(20),
    "a photograph of five thousand scans": lambda: jpeg_of_many_scans(5_000),
    "a text of eight million letters": lambda: png(
        9, 9, (b"zTXt", b"x\0\0" + zlib.compress(b"x" * 8_000_000, 9))
    ),
    "a profile of eight million bytes": lambda: png(
        9, 9, (b"iCCP", b"x\0\0" + zlib.compress(b"x" * 8_000_000, 9))
    ),
    "pixels beyond those that are said": lambda: png(9, 9, (b"IDAT", zeros(500))),
}
SECONDS_MAX = 3.0  # of a processor's time, so that a busy machine is no slow one
MEBIBYTES_MAX = 400
_UNBOUNDED = "spreadMethod is kept, and WeasyPrint adds a stop for each repetition"
UNMENDED = {
    "a gradient that is repeated a million times": _UNBOUNDED,
    "a gradient that is reflected a million times": _UNBOUNDED,
    "a round gradient that is repeated a million times": _UNBOUNDED,
    "a photograph of five thousand scans": "each scan of a JPEG costs a pass over all its blocks",
}


@pytest.mark.slow
def test_no_logo_costs_much_to_clean_and_to_print() -> None:
    _hold([name for name in COSTLY if name not in UNMENDED])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name) for name, reason in UNMENDED.items()],
)
def test_no_such_logo_costs_much_either(name: str) -> None:
    _hold([name])


def _hold(names: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, __file__, *names], capture_output=True, text=True, timeout=300, check=True
    )
    told = json.loads(ran.stdout)
    assert list(told) == names
    bad = {
        name: (outcome, seconds, mebibytes)
        for name, (outcome, seconds, mebibytes) in told.items()
        if outcome not in {"printed", "Malformed", "RenderFailed"}
        or seconds > SECONDS_MAX
        or mebibytes > MEBIBYTES_MAX
    }
    assert bad == {}


def _measure(names: list[str]) -> None:
    """Clean and print each in a child of a warm process; tell outcome, seconds and mebibytes."""
    from counterfoil.adapters.pdf.weasy import WeasyPrintEngine

    engine = WeasyPrintEngine()
    engine.render(Sheet(html=_PAGE.format(""), styles=()))
    told = {}
    for name in names:
        given = COSTLY[name]()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, _outcome(engine, given).encode())
            os._exit(0)
        os.close(writing)
        _, ended, usage = os.wait4(child, 0)
        with os.fdopen(reading) as said:
            outcome = said.read() or f"killed by signal {ended}"
        seconds = usage.ru_utime + usage.ru_stime
        told[name] = (outcome, round(seconds, 2), usage.ru_maxrss // 1024)
    sys.stdout.write(json.dumps(told))


_PAGE = "<html><head><title>t</title></head><body>{}</body></html>"


def _outcome(engine: PdfEngine, given: bytes) -> str:
    # The signal kills where no Python runs: inside a decoder as well as in a loop.
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX + 1)
    resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))
    image = '<img src="asset:logo" style="width: 75mm; height: 16mm"/>'
    try:
        engine.render(Sheet(html=_PAGE.format(image), styles=(), images=(clean_logo(given),)))
    except CounterfoilError as error:
        return type(error).__name__
    return "printed"


# --- as a brand -------------------------------------------------------------------------------


def test_a_logo_is_what_it_was_however_often_it_is_read() -> None:
    brand = Branding(logo=png(9, 9))
    again = Branding(logo=brand.logo)
    assert again.digest == brand.digest
    assert brand.logo is not None
    assert base64.b64encode(brand.logo.content).startswith(b"iVBOR")


if __name__ == "__main__":
    _measure(sys.argv[1:])
