"""Can anything in an invoice, a brand or a header make a print read a file, open a connection, say
what nobody wrote, or run without end?

A listening socket notes every connection, and a hook of the interpreter every file of a folder
that is opened. Whatever is printed must leave both untouched, and end in a PDF without the secret
or in a typed error.
"""

from __future__ import annotations

import base64
import gc
import io
import itertools
import json
import logging
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import unicodedata
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Unpack
from xml.etree import ElementTree as ET

import pikepdf
import pypdfium2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from counterfoil.adapters.pdf.pool import WeasyPrintPool
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import Limits, WeasyPrintEngine
from counterfoil.billing import Asset, Billing, Branding, Invoice, Tenant
from counterfoil.domain import Address, Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import CounterfoilError, Malformed, RenderFailed
from counterfoil.domain.ports import Sheet
from counterfoil.projections.render.clean import MARKS_MAX, clean
from counterfoil.projections.render.options import Options
from counterfoil.projections.render.running import running

SECRET = "CANARY-SECRET-4711"
SVG = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_OPENED: list[str] = []
_WATCHED: set[str] = set()


def _note(event: str, said: tuple[object, ...]) -> None:
    if event == "open" and isinstance(said[0], str | bytes):
        path = os.fsdecode(said[0])
        _OPENED.extend(path for folder in _WATCHED if path.startswith(folder))


# A hook stays for the life of the process, so it is set once, and looks at its own folder only.
sys.addaudithook(_note)


@dataclass
class Trap:
    """What must not be touched, and where it lies."""

    folder: Path
    port: int
    came: list[object] = field(default_factory=list)

    @property
    def text(self) -> Path:
        return self.folder / "canary.txt"

    @property
    def drawing(self) -> Path:
        return self.folder / "canary.svg"

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, html: str) -> str:
        """A vector with its places filled in."""
        inner = f'<svg {SVG}><image href="file://{self.drawing}" width="9" height="9"/></svg>'
        nested = f'<svg {SVG}><image href="{_data(inner)}" width="9" height="9"/></svg>'
        places = {
            "FILE": f"file://{self.text}",
            "DRAWING": f"file://{self.drawing}",
            "PATH": str(self.text),
            "CAPITALS": f"FILE://{self.text}",
            "ENCODED": "file://" + "".join(f"%{ord(sign):02x}" for sign in str(self.text)),
            "LOCALHOST": f"file://localhost{self.text}",
            "ONE": f"file:{self.text}",
            "WEB": self.web,
            "PORT": str(self.port),
            "NESTED": _data(inner),
            "TWICE": _data(nested),
        }
        return re.sub(r"\[([A-Z]+)\]", lambda found: places[found[1]], html)

    def untouched(self) -> None:
        assert self.came == []
        assert _OPENED == []

    def springs_not(self, act: Callable[[], bytes]) -> bytes | CounterfoilError:
        """Act; whatever comes of it is a PDF without the secret, or a typed error."""
        self.came.clear()
        _OPENED.clear()
        try:
            printed = act()
        except CounterfoilError as error:
            self.untouched()
            said = str(error)
            assert SECRET not in said
            return error
        self.untouched()
        with pikepdf.open(io.BytesIO(printed)) as pdf:
            assert len(pdf.attachments) == 0
            for one in pdf.objects:
                if isinstance(one, pikepdf.Stream):
                    try:
                        assert SECRET.encode() not in one.read_bytes()
                    except pikepdf.PdfError:  # a picture stays as it is packed
                        assert SECRET.encode() not in one.read_raw_bytes()
        assert SECRET not in text_of(printed)
        return printed


def _data(drawing: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(drawing.encode()).decode()}"


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    """Set once; it answers with a redirect to the secret, should anybody ask."""
    folder = tmp_path_factory.mktemp("canary")
    _WATCHED.add(str(folder))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = Trap(folder, listening.getsockname()[1])
        one.text.write_text(SECRET)
        one.drawing.write_text(
            f'<svg {SVG} width="99" height="20"><text y="9">{SECRET}</text></svg>'
        )
        _OPENED.clear()

        def answer() -> None:
            while True:
                try:
                    caller, _ = listening.accept()
                except OSError:
                    return
                with caller:
                    one.came.append(1)
                    caller.sendall(
                        f"HTTP/1.0 302 Found\r\nLocation: file://{one.text}\r\n\r\n".encode()
                    )

        waiting = threading.Thread(target=answer, daemon=True)
        waiting.start()
        yield one
        listening.shutdown(socket.SHUT_RDWR)
        waiting.join(5)


@pytest.fixture(scope="session")
def engine() -> WeasyPrintEngine:
    return WeasyPrintEngine()


@pytest.fixture(scope="session")
def strict_pool() -> Iterator[WeasyPrintPool]:
    """Workers that give up soon."""
    with closing(WeasyPrintPool(workers=1, limits=Limits(seconds=2.5))) as one:
        yield one


def page(body: str, head: str = "") -> str:
    return f'<html lang="en"><head><title>t</title>{head}</head><body>{body}</body></html>'


def sheet(body: str, *styles: str, **more: Any) -> Sheet:
    return Sheet(html=page(body), styles=styles, **more)


def text_of(printed: bytes) -> str:
    with closing(pypdfium2.PdfDocument(printed)) as pdf:
        return "\n".join(pdf[number].get_textpage().get_text_range() for number in range(len(pdf)))


def pages_of(printed: bytes) -> int:
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        return len(pdf.pages)


def addresses(printed: bytes) -> list[str]:
    """Where the annotations of a PDF lead, whatever they would do."""
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        found = [note for one in pdf.pages for note in one.get("/Annots", [])]
        acts = [note.A for note in found if "/A" in note]
        assert all(str(act.S) == "/URI" for act in acts)
        assert "/OpenAction" not in pdf.Root
        assert "/AA" not in pdf.Root
        return [str(act.URI) for act in acts]


# --- an invoice of the front door -----------------------------------------------------------

SELLER = Seller(
    name="Counterfoil Ltd",
    iban="DE89370400440532013000",
    address=Address(city="Bonn", country="DE"),
)


def drafted(tenant: Tenant, text: str = "Consulting", **more: Any) -> Invoice:
    """A draft that says this text wherever it can say one; 119.00 EUR."""
    customer = Customer(
        id=text if re.fullmatch("[!-~]{1,100}", text) else "cus_1",
        name=text,
        address=Address(line1=text, line2=text, postal_code=text, city=text, state=text),
        tax_id=text,
        phone=text,
    )
    seller = Seller(
        name=text, address=Address(line1=text, city=text, country="DE"), tax_id=text,
        registration=text, phone=text, website=text, bank_name=text, bic=text,
        iban="DE89370400440532013000",
    )  # fmt: skip
    lines = (
        NewLine(description=text, quantity=2, unit_price="50.00", tax=Tax(rate=19)),
        NewLine(
            description=text, quantity=1, unit_price="0.00",
            tax=Tax(rate=0, category="exempt", exemption_reason=text),
        ),
    )  # fmt: skip
    said: dict[str, Any] = {
        "customer": customer,
        "seller": seller,
        "lines": lines,
        "description": text,
        "footer": text,
        "metadata": {"note": text},
        **more,
    }
    return tenant.draft_invoice(currency="EUR", **said)


@pytest.fixture(scope="session")
def billing(engine: WeasyPrintEngine) -> Iterator[Billing]:
    with Billing.open(":memory:", seller=SELLER, documents=None, pdf=engine) as one:
        yield one


@pytest.fixture(scope="session")
def tenant(billing: Billing) -> Tenant:
    return billing.tenant("acme")


@pytest.fixture(scope="session")
def plain(tenant: Tenant) -> Invoice:
    return drafted(tenant)


# --- 1. the vectors: files and connections ----------------------------------------------------

VECTORS = {
    # those of the study, in its order
    "link rel=attachment": '<link rel="attachment" href="[FILE]"/>',
    "a rel=attachment": '<a rel="attachment" href="[FILE]">x</a>',
    "img of an SVG file": '<img src="[DRAWING]"/>',
    "img of a text file": '<img src="[FILE]"/>',
    "object": '<object data="[DRAWING]"/>',
    "embed": '<embed src="[DRAWING]"/>',
    "style with @import of a file": "<style>@import url([FILE]);</style>",
    "content: url() of a file": "<style>p::before{content:url([DRAWING])}</style><p>x</p>",
    "@font-face of a file": "<style>@font-face{font-family:z;src:url([FILE])}</style>",
    "svg image": f'<svg {SVG} width="9" height="9"><image href="[DRAWING]" width="9"/></svg>',
    "svg use": f'<svg {SVG} width="9" height="9"><use href="[DRAWING]#a"/></svg>',
    "data: svg with an image": '<img src="[NESTED]"/>',
    "svg style with @import": f"<svg {SVG}><style>@import url([WEB]/a);</style></svg>",
    "link rel=stylesheet": '<link rel="stylesheet" href="[WEB]/link"/>',
    "img over HTTP": '<img src="[WEB]/img"/>',
    "@import over HTTP": "<style>@import url([WEB]/import);</style>",
    "background over HTTP": "<style>p{background:url([WEB]/bg)}</style><p>x</p>",
    "@font-face over HTTP": "<style>@font-face{font-family:y;src:url([WEB]/font)}</style>",
    "@color-profile": "<style>@color-profile --x{src:url([WEB]/icc)}</style><p>x</p>",
    "base and a relative image": '<base href="[WEB]/base/"/><img src="rel"/>',
    "style attribute": '<p style="background:url([WEB]/attribute)">x</p>',
    "ftp": '<img src="ftp://127.0.0.1:[PORT]/x"/>',
    # and more
    "HTTPS": '<img src="https://127.0.0.1:[PORT]/x"/>',
    "an attachment over HTTPS": '<a rel="attachment" href="https://127.0.0.1:[PORT]/x">x</a>',
    "a style sheet over HTTPS": '<link rel="stylesheet" href="https://127.0.0.1:[PORT]/x"/>',
    "a base over HTTPS": '<base href="https://127.0.0.1:[PORT]/"/><img src="a"/>',
    "a redirect": '<img src="[WEB]/redirect"/>',
    "FILE:": '<img src="[CAPITALS]"/>',
    "file: with escapes": '<img src="[ENCODED]"/>',
    "file://localhost": '<img src="[LOCALHOST]"/>',
    "file: with one slash": '<img src="[ONE]"/>',
    "file: behind a blank": '<img src=" [FILE]"/>',
    "file: behind a line feed": '<img src="&#10;[FILE]"/>',
    "file: with a query": '<img src="[FILE]?x#y"/>',
    "fi<tab>le:": '<img src="fi&#9;le://[PATH]"/>',
    "a path": '<img src="[PATH]"/>',
    "a path with two slashes": '<img src="//127.0.0.1:[PORT]/x"/>',
    "a UNC path": '<img src="\\\\127.0.0.1@[PORT]\\x\\y.png"/>',
    "jar: of a file": '<img src="jar:[FILE]!/x"/>',
    "data: html": '<img src="data:text/html,%3Ch1%3Ex"/>',
    "data: css": '<link rel="stylesheet" href="data:text/css,p{color:red}"/>',
    "data: svg twice": '<img src="[TWICE]"/>',
    "data: svg that is said to be PNG": '<img src="data:image/png;base64,PHN2Zy8+"/>',
    "DATA: png": '<img src="DATA:image/png;base64,AAAA"/>',
    "an asset that is none": '<img src="asset:nothing"/>',
    "an asset up the tree": '<img src="asset:../../[PATH]"/>',
    "an asset of a file": '<img src="asset:[FILE]"/>',
    "srcset": '<img srcset="[WEB]/x 2x" src="[WEB]/x"/>',
    "picture": '<picture><source srcset="[WEB]/x"/><img src="[WEB]/y"/></picture>',
    "iframe": '<iframe src="[WEB]/x"/>',
    "iframe with its text": '<iframe srcdoc="&lt;img src=[WEB]/x&gt;"/>',
    "video": '<video poster="[WEB]/p" src="[WEB]/v"/>',
    "input": '<input type="image" src="[WEB]/x"/>',
    "form": '<form action="[WEB]/x"><input type="submit"/></form>',
    "script": '<script src="[WEB]/x">1</script>',
    "meta refresh": '<meta http-equiv="refresh" content="0;url=[WEB]/x"/>',
    "link rel=icon": '<link rel="icon" href="[WEB]/x"/>',
    "link rel=preload": '<link rel="preload" as="image" href="[WEB]/x"/>',
    "background attribute": '<table background="[WEB]/x"><tr><td>x</td></tr></table>',
    "xml:base": '<div xml:base="[WEB]/"><img src="a"/></div>',
    "xml:base of a file": '<div xml:base="[FILE]"><img src="canary.svg"/></div>',
    "xlink:href": f'<svg {SVG} width="9" height="9"><image xlink:href="[DRAWING]"/></svg>',
    "svg feImage": f'<svg {SVG}><filter id="f"><feImage xlink:href="[WEB]/x"/></filter></svg>',
    "svg paint": f'<svg {SVG}><rect fill="url([WEB]/x#y)" width="9" height="9"/></svg>',
    "svg mask": f'<svg {SVG}><rect mask="url([FILE]#y)" width="9" height="9"/></svg>',
    "svg font": f"<svg {SVG}><style>@font-face{{font-family:q;src:url([WEB]/f)}}</style></svg>",
    "svg text path": f'<svg {SVG}><text><textPath xlink:href="[WEB]/x#y">z</textPath></text></svg>',
    "svg gradient": f'<svg {SVG}><linearGradient id="g" xlink:href="[DRAWING]#y"/></svg>',
    "svg cursor": f'<svg {SVG}><rect style="cursor:url([WEB]/x)" width="9" height="9"/></svg>',
    "XInclude": '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="[FILE]" parse="text"/>',
    "XInclude of text": '<x xmlns="http://www.w3.org/2001/XInclude"><fallback href="[FILE]"/></x>',
    "a style sheet instruction": '<?xml-stylesheet href="[WEB]/x" type="text/css"?><p>x</p>',
    "an object of another name": '<x:img xmlns:x="http://www.w3.org/1999/xhtml" src="[FILE]"/>',
}
STYLES = {
    "@import": "@import url([WEB]/a);",
    "@import of text": '@import "[FILE]";',
    "@import of data": '@import "data:text/css,p{color:red}";',
    "@import with escapes": "@\\69mport u\\72l([WEB]/a);",
    "@namespace": "@namespace url([WEB]/a);",
    "background": "p{background:url([WEB]/a)}",
    "background with escapes": "p{background:u\\72l([WEB]/a)}",
    "background with an escaped address": "p{background:url(\\66ile://[PATH])}",
    "background in capitals": "P{BACKGROUND:URL([WEB]/a)}",
    "background by a variable": "p{--a:url([WEB]/a);background:var(--a)}",
    "background of a page": "@page{background:url([WEB]/a)}",
    "a margin box": "@page{@top-left{content:url([DRAWING])}}",
    "image-set()": 'p{background-image:image-set("[WEB]/a" 1x)}',
    "src()": 'p{background:src("[WEB]/a")}',
    "cross-fade()": "p{background-image:cross-fade(url([WEB]/a), red)}",
    "content": "p::before{content:url([DRAWING])}",
    "content of an attribute": "p::before{content:attr(title url)}",
    "a list": "p{display:list-item;list-style-image:url([DRAWING])}",
    "a border": "p{border:5px solid;border-image:url([DRAWING]) 30}",
    "a mask": "p{mask-image:url([WEB]/a)}",
    "a font": "@font-face{font-family:z;src:url([FILE])} p{font-family:z}",
    "a font of the system": '@font-face{font-family:z;src:local("[PATH]")} p{font-family:z}',
    "a colour profile": "@color-profile --x{src:url([FILE])} p{color:color(--x 1 0 0)}",
    "a string": "p{string-set:a url([FILE])} @page{@top-left{content:string(a)}}",
    "target-counter()": "p::before{content:target-counter(url([WEB]/a#b), page)}",
    "a counter style": "@counter-style z{system:cyclic;symbols:url([DRAWING])} p{list-style:z}",
}
TEXTS = {
    "an image": '<img src="http://127.0.0.1:[PORT]/x">',
    "a file": '"><img src=file://[PATH]>',
    "an attachment": '<link rel=attachment href="[FILE]"/>',
    "a style": "</style><style>@import url([WEB]);</style>",
    "an end of it all": "</p></td></tr></table></body></html><h1>PAID</h1>",
    "a comment": "--><!-- ]]> <![CDATA[ <b>x</b>",
    "an entity": "&#60;script&#62;&lt;b&gt;&amp;&xxe;&#x0;",
    "a document type": '<!DOCTYPE x [<!ENTITY xxe SYSTEM "[FILE]">]>&xxe;',
    "a template": "{{ 7 * 7 }}{% include '[PATH]' %}{{ self.__init__.__globals__ }}",
    "a format": "{page} {amount.__class__} %s %(x)s ${x} #{x}",
    "a page of CSS": 'x"; } @page { @top-left { content: url([WEB]/x) } } p { x: "',
    "an asset": '"asset:logo" asset:code',
    "an address": "javascript:alert(1) file://[PATH] [WEB]",
    "an instruction": "<?xml-stylesheet href='[WEB]/x'?>",
    "quotes": "\"'`<>&\\/",
}


def test_the_trap_works(trap: Trap) -> None:
    """Or all that stands below would prove nothing."""
    trap.came.clear()
    _OPENED.clear()
    assert trap.text.read_text() == SECRET
    with socket.create_connection(("127.0.0.1", trap.port)) as caller:
        assert b"302" in caller.recv(99)
    assert [str(trap.text)] == _OPENED
    assert len(trap.came) == 1
    carrying = pikepdf.new()
    carrying.add_blank_page()
    carrying.attachments["x"] = SECRET.encode()
    into = io.BytesIO()
    carrying.save(into)
    _OPENED.clear()
    with pytest.raises(AssertionError):
        trap.springs_not(into.getvalue)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_no_markup_makes_the_engine_read_or_connect(
    vector: str, engine: WeasyPrintEngine, trap: Trap
) -> None:
    html = trap.set(vector)
    trap.springs_not(lambda: engine.render(sheet(html)))
    trap.springs_not(lambda: engine.render(Sheet(html=page("x", head=html), styles=())))


def test_no_markup_makes_an_archival_print_read_or_connect(
    engine: WeasyPrintEngine, trap: Trap
) -> None:
    for vector in VECTORS.values():
        html = trap.set(vector)
        trap.springs_not(lambda html=html: engine.render(sheet(html, archival=True)))  # type: ignore[misc]


def test_an_archival_print_closes_what_it_opens(engine: WeasyPrintEngine) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        engine.render(sheet("<p>x</p>", archival=True))
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []


@pytest.mark.parametrize("rule", STYLES.values(), ids=STYLES)
def test_no_style_makes_the_engine_read_or_connect(
    rule: str, engine: WeasyPrintEngine, trap: Trap
) -> None:
    style = trap.set(rule)
    paragraph = trap.set('<p title="[FILE]">x</p>')
    trap.springs_not(lambda: engine.render(sheet(paragraph, style)))
    trap.springs_not(lambda: engine.render(sheet(f"<style>{style}</style>{paragraph}")))
    drawing = f"<svg {SVG}><style>{style}</style><rect width='9' height='9'/></svg>"
    image = Asset("x", "image/svg+xml", drawing.encode())
    trap.springs_not(lambda: engine.render(sheet('<img src="asset:x"/>', images=(image,))))


DRAWN = {name: vector for name, vector in VECTORS.items() if name.startswith(("svg", "xlink"))}


@pytest.mark.parametrize("vector", DRAWN.values(), ids=DRAWN)
def test_no_image_makes_the_engine_read_or_connect(
    vector: str, engine: WeasyPrintEngine, trap: Trap
) -> None:
    """Even one that nobody has cleaned."""
    image = Asset("x", "image/svg+xml", trap.set(vector).encode())
    trap.springs_not(lambda: engine.render(sheet('<img src="asset:x"/>', images=(image,))))


def test_a_refused_image_within_an_image_is_an_error_not_a_gap(
    engine: WeasyPrintEngine, trap: Trap
) -> None:
    html = trap.set(DRAWN["svg image"])
    assert isinstance(trap.springs_not(lambda: engine.render(sheet(html))), RenderFailed)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_nothing_along_the_edges_makes_a_print_read_or_connect(
    vector: str, tenant: Tenant, plain: Invoice, trap: Trap
) -> None:
    html = trap.set(vector)
    loose = html.replace("/>", ">")
    options = Options(
        header_html=f"<p>{html}", footer_html=f"{loose}{loose.replace('<', '<' + chr(10))}"
    )
    trap.springs_not(lambda: tenant.render_invoice_pdf(plain.id, **options))


@pytest.mark.slow
@pytest.mark.parametrize("rule", STYLES.values(), ids=STYLES)
def test_no_style_along_the_edges_makes_a_print_read_or_connect(
    rule: str, tenant: Tenant, plain: Invoice, trap: Trap
) -> None:
    style = trap.set(rule)
    inner = style.partition("{")[2].rpartition("}")[0].replace('"', "'")
    html = f'<style>{style}</style><p style="{inner}">x</p><p style="color:red;{style}">y</p>'
    printed = trap.springs_not(lambda: tenant.render_invoice_pdf(plain.id, header_html=html))
    assert isinstance(printed, bytes)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_an_invoice_makes_a_print_read_or_connect(
    text: str, tenant: Tenant, trap: Trap
) -> None:
    said = trap.set(text)
    invoice = drafted(tenant, said)
    printed = trap.springs_not(lambda: tenant.render_invoice_pdf(invoice.id))
    assert isinstance(printed, bytes)
    assert addresses(printed) == []
    assert "119.00" in text_of(printed)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_of_a_brand_makes_a_print_read_or_connect(
    text: str, engine: WeasyPrintEngine, trap: Trap
) -> None:
    said = trap.set(text)
    brand = Branding(name=said, tagline=said)
    with Billing.open(":memory:", documents=None, pdf=engine, branding=brand) as other:
        at = other.tenant("acme")
        invoice = drafted(at)
        printed = trap.springs_not(lambda: at.render_invoice_pdf(invoice.id))
    assert isinstance(printed, bytes)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_no_logo_makes_a_print_read_or_connect(vector: str, trap: Trap) -> None:
    def made() -> bytes:
        logo = Branding(
            logo=f'<svg {SVG} width="9" height="9">{trap.set(vector)}</svg>'.encode()
        ).logo
        assert logo is not None
        for name in ("[FILE]", "[WEB]", "[PATH]", "[DRAWING]"):
            assert trap.set(name).encode() not in logo.content
        raise Malformed("logo", "nothing of it is left")

    assert isinstance(trap.springs_not(made), Malformed)


@pytest.mark.parametrize(
    "wish", ["../../[PATH]", "[PATH]", "[FILE]", "[WEB]", "..\\x", "a\0b", "."]
)
def test_no_language_or_zone_makes_a_print_read_or_connect(
    wish: str, tenant: Tenant, plain: Invoice, trap: Trap, caplog: pytest.LogCaptureFixture
) -> None:
    name = trap.set(wish)
    trap.springs_not(lambda: tenant.render_invoice_pdf(plain.id, locale=name, timezone=name))
    assert str(trap.folder) not in caplog.text


def test_a_font_of_one_sheet_is_not_the_font_of_the_next(engine: WeasyPrintEngine) -> None:
    before = engine.render(sheet("<p>x</p>", "p { font-family: Noto Sans }"))
    for source in ('local("Noto Sans Hebrew")', 'url("asset:font")'):
        face = f'@font-face {{ font-family: "Noto Sans"; src: {source} }}'
        try:
            engine.render(
                sheet("<p>x</p>", face, attachments=(Asset("font", "font/ttf", b"\0\1\0\0"),))
            )
        except CounterfoilError:
            continue
    assert engine.render(sheet("<p>x</p>", "p { font-family: Noto Sans }")) == before


# --- attachments stand apart from images ------------------------------------------------------


def picture(width: int, height: int, value: int = 255) -> bytes:
    """A grey PNG of so many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(9)
    row = b"\0" + bytes([value]) * ((width + 7) // 8)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def widths(printed: bytes) -> set[int]:
    """How wide the pictures are that a PDF shows."""
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        return {
            int(one.Width)
            for one in pdf.objects
            if isinstance(one, pikepdf.Stream) and one.get("/Subtype") == "/Image"
        }


def test_an_attachment_never_stands_in_for_the_payment_code(tenant: Tenant) -> None:
    """Or whoever attaches a file `code` has the money sent elsewhere."""
    opened = tenant.finalize_invoice(
        drafted(tenant, collection_method="send_invoice", days_until_due=9).id
    )
    usual = widths(tenant.render_invoice_pdf(opened.id))
    sly = Asset("code", "image/png", picture(7, 7, 0))
    try:
        printed = tenant.render_invoice_pdf(opened.id, attachments=(sly,))
    except Malformed:
        return
    assert usual
    assert widths(printed) == usual


def test_an_attachment_never_stands_in_for_the_logo(engine: WeasyPrintEngine) -> None:
    brand = Branding(logo=picture(11, 11))
    sly = Asset("logo", "image/png", picture(7, 7))
    with Billing.open(":memory:", documents=None, pdf=engine, branding=brand) as other:
        at = other.tenant("acme")
        invoice = drafted(at)
        try:
            printed = at.render_invoice_pdf(invoice.id, attachments=(sly,))
        except Malformed:
            return
    assert widths(printed) == {11}


def test_two_attachments_of_one_name_are_both_carried_or_refused(
    tenant: Tenant, plain: Invoice
) -> None:
    both = (Asset("a.txt", "text/plain", b"first"), Asset("a.txt", "text/plain", b"second"))
    try:
        printed = tenant.render_invoice_pdf(plain.id, attachments=both)
    except Malformed:
        return
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        carried = {
            one.read_bytes()
            for one in pdf.objects
            if isinstance(one, pikepdf.Stream) and one.get("/Type") == "/EmbeddedFile"
        }
    assert carried == {b"first", b"second"}


def test_a_large_picture_may_be_attached_for_nobody_decodes_it(
    tenant: Tenant, plain: Invoice
) -> None:
    scan = Asset("scan.png", "image/png", picture(2_480, 3_508))
    with pikepdf.open(io.BytesIO(tenant.render_invoice_pdf(plain.id, attachments=(scan,)))) as pdf:
        assert list(pdf.attachments) == ["scan.png"]


# --- 2. links -----------------------------------------------------------------------------------

LINKS = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "\tjavascript:alert(1)",
    "java\tscript:alert(1)", "java\nscript:alert(1)", "java\r\nscript:alert(1)",
    "\x01javascript:alert(1)", "&#106;avascript:alert(1)", "&#x6A&#x61vascript:alert(1)",
    "java&#9;script:alert(1)", "java&NewLine;script:alert(1)", "javascript&colon;alert(1)",
    "java\u200bscript:alert(1)", "java\u00adscript:alert(1)", "\u00a0javascript:alert(1)",
    "vbscript:x", "VBScript:x", "v&#98;script:x", "livescript:x", "mocha:x",
    "file:///etc/passwd", "FILE:///etc/passwd", "file:\\\\server\\x", "\\\\server\\x",
    "//server/x", "/etc/passwd", "../x", "x",
    "data:text/html,<script>1</script>", "DATA:text/html,x", " data:text/html,x",
    "d&#97;ta:text/html,x", "data:image/png;base64,AAAA", "data:application/pdf,x",
    "http://plain.example/", "ftp://a.example/", "blob:x", "about:blank", "view-source:x",
    "launch:x", "tel:1", "asset:logo", "mailto", "https", "ht&#9;tps://a.example",
    "feed:javascript:alert(1)", "jar:javascript:alert(1)", "",
]  # fmt: skip
_MAY = re.compile(r"(https://|https:[^/]|mailto:)")


@pytest.mark.parametrize("link", LINKS, ids=range(len(LINKS)))
def test_only_https_and_mailto_are_ever_clicked(
    link: str, tenant: Tenant, plain: Invoice, engine: WeasyPrintEngine, trap: Trap
) -> None:
    html = (
        f'<a href="{link}">x</a> <a HREF="{link}">x</a> <a href=\'{link}\'>x</a>'
        f'<p><a href="https://ok.example" href="{link}">x</a></p>'
        f'<a href="{link}" href="https://ok.example">x</a>'
    )
    printed = trap.springs_not(lambda: tenant.render_invoice_pdf(plain.id, header_html=html))
    assert isinstance(printed, bytes)
    assert all(_MAY.match(address) for address in addresses(printed))
    written = ET.Element("a", {"href": re.sub(r"[\x00-\x08]", "", link)})
    written.text = "x"
    direct = trap.springs_not(
        lambda: engine.render(sheet(ET.tostring(written, encoding="unicode")))
    )
    if isinstance(direct, bytes):
        assert all(_MAY.match(address) for address in addresses(direct))


@pytest.mark.slow
@pytest.mark.parametrize(
    "link",
    LINKS,
    ids=range(len(LINKS)),
)
def test_only_https_and_mailto_are_ever_clicked_on_a_screen(
    link: str, tenant: Tenant, plain: Invoice
) -> None:
    shown = tenant.render_invoice_html(plain.id, header_html=f'<a href="{link}">x</a>')
    body = ET.fromstring(shown.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314
    for anchor in body.iter("a"):
        # A browser takes tabs and line feeds out of an address before it reads it (URL, 4.4).
        address = re.sub(r"[\t\r\n]", "", anchor.get("href", "")).strip(
            "".join(map(chr, range(33)))
        )
        scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", address)
        assert scheme is None or scheme[0].lower() in {"https:", "mailto:"}


def test_https_and_mailto_links_work(tenant: Tenant, plain: Invoice) -> None:
    html = '<a href="https://ok.example/a?b=c&amp;d">x</a> <a href="MAILTO:a@ok.example">y</a>'
    printed = tenant.render_invoice_pdf(plain.id, footer_html=html)
    assert [address.lower() for address in addresses(printed)] == [
        "https://ok.example/a?b=c&d",
        "mailto:a@ok.example",
    ]


@pytest.mark.parametrize(
    "style",
    [
        "link: url(javascript:alert(1))", "-weasy-link: url(javascript:alert(1))",
        "link: attr(title)", "link: attr(title url)", "-weasy-link: attr(title)",
        "bookmark-label: url(javascript:alert(1))", "anchor: attr(title)",
    ],
)  # fmt: skip
def test_no_style_makes_a_link(style: str, engine: WeasyPrintEngine) -> None:
    html = f'<p title="javascript:alert(1)" style="{style}">x</p>'
    assert addresses(engine.render(sheet(html))) == []
    assert addresses(engine.render(sheet('<p title="file:///x">x</p>', f"p {{ {style} }}"))) == []


# --- 3. what is shown is what was said ----------------------------------------------------------


@dataclass
class Shown:
    """A front door whose engine keeps the sheets."""

    tenant: Tenant
    engine: RecordingEngine

    def sheet(self, invoice: Invoice, **options: Unpack[Options]) -> Sheet:
        self.engine.sheets.clear()
        self.tenant.render_invoice_pdf(invoice.id, **options)
        return self.engine.sheets[0]


@pytest.fixture(scope="session")
def shown() -> Iterator[Shown]:
    recording = RecordingEngine()
    with Billing.open(":memory:", seller=SELLER, documents=None, pdf=recording) as one:
        yield Shown(one.tenant("acme"), recording)


def skeleton(html: str) -> list[tuple[str, tuple[str, ...]]]:
    """The elements of a page and the names of their attributes."""
    return [(one.tag, tuple(sorted(one.attrib))) for one in ET.fromstring(html).iter()]  # noqa: S314


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_text_adds_an_element_an_attribute_or_a_rule(
    text: str, shown: Shown, trap: Trap
) -> None:
    plain, hostile = (
        shown.sheet(drafted(shown.tenant)),
        shown.sheet(drafted(shown.tenant, trap.set(text))),
    )
    assert skeleton(hostile.html) == skeleton(plain.html)
    assert hostile.styles == plain.styles


COLOURS = [
    '#0b5fff} body::before{content:"PAID IN FULL"}', "#0b5fff\n", "\n#0b5fff", "#0b5fff;", "#0b5ff",
    "#0b5fff0", "#0b5fff /*", "red", "url(http://127.0.0.1/)", "rgb(1,2,3)", "var(--x)", "#0b5fﬀ",
    "#\uff10b5fff", "#\u0661\u0662\u0663456", "#0b5fff\0", "", " #0b5fff", "#0b5fff\u2028",
    "#K0b5ff", "expression(1)", None, 7, ["#0b5fff"],
]  # fmt: skip


@pytest.mark.parametrize("colour", COLOURS, ids=repr)
def test_a_colour_is_six_hexadecimal_digits_and_nothing_behind(colour: object) -> None:
    with pytest.raises(Malformed) as refused:
        Branding(colour=colour)  # type: ignore[arg-type]
    assert refused.value.field == "colour"


RULE = '} body::before { content: "PAID IN FULL" } x {'
PLACES: dict[str, Any] = {
    "size": ["A4" + RULE, "A4;" + RULE, "210mm 297mm", "A4 landscape}", "A4\n}",
             "A4 portrait portrait"],
    "paper_width": ["100mm" + RULE, "100mm}", "1e3mm", "calc(1mm)", "100mm;",
                    float("nan"), float("inf"), 10**400, Decimal("NaN"), Decimal("sNaN"), True,
                    "1_00mm",
                    Decimal("1E+999999"), "100mm\n}", -5],
    "margin_top": ["1mm" + RULE, "-1mm", "1mm 2mm", "var(--x)", [], {}, b"1mm", "1mm/**/"],
    "locale": [["en"], 7, "x" * 501],
    "timezone": [["UTC"], 7],
    "archival": ["yes", 1, "true", None],
    "header_html": [7, ["x"], "x" * 20_001],
    "attachments": ["x", [1], [("a", "b", b"c")], 7],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in PLACES.items() for value in values],
    ids=lambda value: repr(value)[:40],
)
def test_an_option_that_is_none_is_malformed(name: str, value: object, shown: Shown) -> None:
    more = {"paper_height": 200} if name == "paper_width" else {}
    options: Any = {name: value, **more}
    with pytest.raises(Malformed):
        shown.sheet(drafted(shown.tenant), **options)


@pytest.mark.parametrize(
    "locale",
    [
        "de" + RULE,
        "en}",
        "de-DE@x",
        "en_US_POSIX",
        "ar" * 50,
        "de-\n}",
        "x",
        '"',
        "en-x-</style>",
    ],
)
def test_no_language_adds_a_rule_or_an_attribute(locale: str, shown: Shown) -> None:
    invoice = drafted(shown.tenant)
    usual, other = shown.sheet(invoice), shown.sheet(invoice, locale=locale)
    assert skeleton(other.html) == skeleton(usual.html)
    assert "PAID IN FULL" not in "".join(other.styles)
    assert "</style" not in "".join(other.styles)
    assert ET.fromstring(other.html).get("lang", "").replace("-", "").isalnum()  # noqa: S314


EDGES = {
    "a rule out of an attribute": '<p style="color: red} h1 { display: none">x</p>',
    "an escape": '<p style="c\\6flor: red; p\\6fsition: absolute">x</p>',
    "a place": '<p style="position: fixed; top: 0; z-index: 9; transform: rotate(9deg)">x</p>',
    "a float": '<p style="float: footnote; margin: -99mm; padding: 9mm; display: none">x</p>',
    "a string": "<p style=\"string-set: edge 'PAID', title 'PAID'\">x</p>",
    "running elements": '<p style="position: running(footer)">x</p>',
    "a counter": '<p style="counter-reset: page 99; counter-increment: pages 9">x</p>',
    "words": "<p style=\"content: 'PAID IN FULL'\">x</p>",
    "a class": '<p class="stamp paid">x</p>',
    "an id": '<p id="header" name="x" data-title="PAID">x</p>',
    "a page": '<p style="page: first; break-after: page; page-break-before: always">x</p>',
    "a style sheet": "<style>h1 { display: none }</style>",
    "a style sheet in a comment": "<!--><style>h1 { display: none }</style>-->",
    "a style sheet in SVG": "<svg><style>h1 { display: none }</style></svg>",
    "a style sheet in MathML": "<math><mtext><style><img title='</style><style>h1{}'></math>",
    "an end": "</div></body></html><h1 data-title='PAID'>PAID</h1>",
    "a body": '<body class="rtl" style="color: red"><html lang="xx"><head><title>x</title>',
    "a picture of an asset": '<img src="asset:logo"><img src="asset:code">',
    "a noscript": "<noscript><p title='</noscript><style>h1{}</style>'></noscript>",
    "raw text": "<xmp><p></xmp><plaintext><textarea></textarea><style>",
    "a template": "<template><style>h1{}</style></template>",
    "cdata": "<![CDATA[<style>h1{}</style>]]>",
    "a name of another space": '<x:style xmlns:x="http://www.w3.org/1999/xhtml">h1{}</x:style>',
}
_FOREIGN = {"class", "id", "name", "data-title", "data-edge", "title", "onclick", "rel"}


@pytest.mark.parametrize("html", EDGES.values(), ids=EDGES)
def test_nothing_along_the_edges_styles_or_fakes_the_document(html: str, shown: Shown) -> None:
    invoice = drafted(shown.tenant)
    bare = shown.sheet(invoice, header_html="x", footer_html="x")
    dressed = shown.sheet(invoice, header_html=html, footer_html=html)
    assert dressed.styles == bare.styles
    root = ET.fromstring(dressed.html)  # noqa: S314
    assert [part.tag for part in root] == ["head", "body"]
    body = root[1]
    edges = [one for one in body if one.get("class") in {"running-header", "running-footer"}]
    assert len(edges) == 2
    for edge in edges:
        for one in itertools.islice(edge.iter(), 1, None):
            assert one.tag not in {
                "style",
                "script",
                "link",
                "meta",
                "title",
                "body",
                "svg",
                "math",
            }
            assert not _FOREIGN & set(one.attrib)
            style = one.get("style", "")
            assert not re.search(r"[\\]|url|position|display|string|counter|content|page", style)
    for one in edges:
        body.remove(one)
    usual = ET.fromstring(bare.html)[1]  # noqa: S314
    for one in [one for one in usual if one.get("class") in {"running-header", "running-footer"}]:
        usual.remove(one)
    assert ET.tostring(body) == ET.tostring(usual)


def test_no_text_stamps_a_draft_as_paid(tenant: Tenant, engine: WeasyPrintEngine) -> None:
    """The stamp is an element of its own; words that look like it stand where they were said."""
    recording = RecordingEngine()
    with Billing.open(":memory:", documents=None, pdf=recording) as other:
        at = other.tenant("acme")
        at.render_invoice_pdf(drafted(at, '<p class="stamp paid">Paid</p>').id)
    body = ET.fromstring(recording.sheets[0].html)  # noqa: S314
    stamps = [one.get("class") for one in body.iter() if "stamp" in one.get("class", "")]
    assert stamps == ["stamp draft"]


def test_a_page_for_a_screen_holds_no_more_than_its_sheet(shown: Shown) -> None:
    """The words `asset:logo` in a text are no logo."""
    for text in ('"asset:logo"', "<head>", "</style><script>alert(1)</script>"):
        invoice = drafted(shown.tenant, text)
        html = shown.tenant.render_invoice_html(invoice.id, header_html=text)
        tags = {one.tag for one in ET.fromstring(html.removeprefix("<!DOCTYPE html>\n")).iter()}  # noqa: S314
        assert not tags & {"script", "iframe", "object"}
        assert html.count("<style>") == 2


# --- 4. letters that hide, turn round or pile up ------------------------------------------------

_TWO_WAYS = {
    "an override to the left",
    "marks of direction",
    "Hebrew and figures",
    "a pile of Arabic",
}
LETTERS = {
    "an override to the left": "\u202e00.911",
    "overrides without end": "\u202d\u202e" * 200 + "x",
    "isolates without end": "\u2067" * 300 + "x",
    "pops without a push": "\u202c\u2069" * 100 + "x",
    "marks of direction": "\u200f\u200e\u061c1,000\u200f",
    "Hebrew and figures": "שלום 119.00 EUR",
    "Arabic and figures": "مرحبا 119.00 EUR",
    "an old script to the left": "\U00010900\U00010901 119.00",
    "Adlam": "\U0001e900\U0001e901 119.00",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff" * 80 + "x",
    "soft hyphens": "\u00ad" * 400 + "x",
    "tags": "\U000e0041\U000e0042" * 100 + "x",
    "selectors of variants": "x" + "\ufe0f\U000e0100" * 200,
    "a pile": "e" + "\u0301" * 490,
    "a pile of kinds": "e" + "".join(map(chr, range(0x300, 0x370))) * 4,
    "a pile with joiners": "e" + ("\u0301" * 8 + "\u200d") * 50,
    "a pile of Arabic": "ب" + "\u06d6" * 400,
    "a pile of Thai": "ก" + "\u0e49" * 400,
    "noncharacters": "x\ufffe\uffff\ufdd0\U0001ffff\U0010ffff",
    "of private use": "\ue000\U000f0000\U00100000",
    "line and paragraph separators": "a\u2028b\u2029c",
    "tabs and line feeds": "a\tb\nc\rd\r\ne",
    "one very long word": "W" * 500,
    "one very long word without a place to break": "\u00a0".join("W" * 250),
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈" * 30,
    "ideographs": "請求書" * 100,
    "ligatures": "ffi" * 160,
    "objects replaced": "\ufffc\ufff9a\ufffab\ufffb",
    "Mongolian vowel separators": "\u180e" * 200 + "x",
    "jamo": "\u1100\u1161\u11a8" * 100,
    "a Khmer pile": "ក" + "្ក" * 200,
    "a Devanagari pile": "क" + "्क" * 200,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "locale"),
    [
        *((text, "en") for text in LETTERS.values()),
        *((text, "ar") for name, text in LETTERS.items() if name in _TWO_WAYS),
    ],
)
def test_no_letters_break_a_print_or_its_total(text: str, locale: str, tenant: Tenant) -> None:
    printed = tenant.render_invoice_pdf(drafted(tenant, text).id, locale=locale)
    said = text_of(printed)
    digits = "119.00" if locale == "en" else "119"
    assert digits in said.translate(_LATIN)
    assert "\u202e" not in said


_LATIN = {0x660 + digit: str(digit) for digit in range(10)} | {0x66B: "."}
REFUSED = [
    "a\0b",
    "a\x1bb",
    "a\x7fb",
    "a\x85b",
    "a\x9fb",
    "\ud800",
    "x\udfffy",
    "",
    "   ",
    "W" * 501,
]


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_what_no_page_can_show_is_malformed(text: str, tenant: Tenant) -> None:
    with pytest.raises(Malformed):
        Customer(id="cus_1", name=text)
    with pytest.raises(Malformed):
        Branding(name=text)


_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    "html",
    [
        "a\u202eb", "\u2067x",
        *(
            pytest.param(
                html,
            )
            for html in ("a&#x202e;b", "&#8238;00.911", "&#x2067;x", '<img alt="&#x202e;x">')
        ),
    ],
)  # fmt: skip
def test_nothing_along_the_edges_turns_round(html: str) -> None:
    assert not [
        sign for sign in running("header_html", html) if unicodedata.bidirectional(sign) in _TURNING
    ]


@pytest.mark.parametrize(
    "sign",
    [
        "&#1;",
        "&#x1f;",
        "&#xfffe;",
        "&#xffff;",
        "&#x7f;",
        "&#xd800;",
    ],
)
def test_a_sign_that_no_page_shows_is_left_out_along_the_edges(
    sign: str, tenant: Tenant, plain: Invoice
) -> None:
    assert tenant.render_invoice_pdf(plain.id, header_html=f"a{sign}b")


def piled(text: str) -> int:
    """The most marks on one letter; what has no width and no place of its own parts none."""
    shown = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    runs = itertools.groupby(shown, lambda sign: unicodedata.combining(sign) != 0)
    return max((len(list(run)) for is_mark, run in runs if is_mark), default=0)


@pytest.mark.parametrize(
    "pile",
    [
        "\u0301", "\u0489", "\u20dd", "\ufe20", "\u1ab0", "\u0591", "\u064b",
        *(
            pytest.param(
                pile,
            )
            for pile in ("\u06d6", "\u0e49", "\u0670", "\u302a", "\u3099", "\ua66f", "\u0730",
                         "\u0951", "\u05c1", "\U0001e944")
        ),
    ],
    ids=lambda pile: f"U+{ord(pile):04X}",
)  # fmt: skip
def test_marks_do_not_pile_up(pile: str) -> None:
    assert piled(clean("e" + pile * 99)) <= MARKS_MAX


def test_marks_do_not_pile_up_with_joiners_between() -> None:
    assert piled(clean("e" + ("\u0301" * MARKS_MAX + "\u200d") * 9)) <= MARKS_MAX


@given(text=st.text())
def test_cleaned_text_never_turns_what_stands_behind_it(text: str) -> None:
    for direction in ("ltr", "rtl"):
        shown = clean(text, direction)
        assert not [
            one for one in shown if unicodedata.bidirectional(one) in _TURNING - {"FSI", "PDI"}
        ]
        for line in shown.split("\n"):
            assert line.count("\u2068") == line.count("\u2069") <= 1


# --- 5. bombs --------------------------------------------------------------------------------
#
# Each is set off in a child of this file: forked from a warm process, measured, and killed where
# it passes its bound.

_USES = '<g id="a0"><path d="M0 0h9"/></g>' + "".join(
    f'<g id="a{n}">' + f'<use href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 10)
)


def _inline(width: int, height: int) -> str:
    return f'<img src="data:image/png;base64,{base64.b64encode(picture(width, height)).decode()}"/>'


@dataclass(frozen=True)
class Bomb:
    """Options and texts of one print at the front door."""

    header: str | None = None
    text: str = "Consulting"
    lines: int = 1
    line: str = "Consulting"
    options: Options = field(default_factory=Options)
    seconds: float = 3.0
    mebibytes: int = 400


_PARAGRAPHS = "".join(f"<b lang={number:x}>" for number in range(150))
_HEAD = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
_CLAIMED = b"".join(
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\r",
        _HEAD,
        struct.pack(">I", zlib.crc32(_HEAD)),
        b"\0\0\0\0IEND\xaeB`\x82",
    ]
)
BOMBS: dict[str, Callable[[], Bomb]] = {
    "a picture of 8000 by 8000": lambda: Bomb(_inline(8_000, 8_000)[:20_000]),
    "a picture of 2000 by 2000, often": lambda: Bomb((_inline(2_000, 2_000) * 30)[:19_000]),
    "a picture that claims 30000 by 30000": lambda: Bomb(
        f'<img src="data:image/png;base64,{base64.b64encode(_CLAIMED).decode()}">'
    ),
    "a hundred nested elements": lambda: Bomb("<div>" * 100),
    "lists in lists": lambda: Bomb("<ul><li>" * 300),
    "huge letters": lambda: Bomb('<p style="font-size: 1e9pt">x</p>'),
    "endless letters": lambda: Bomb('<p style="font-size: 1e400pt">x</p>'),
    "letters of no size": lambda: Bomb('<p style="font-size: 1e-300pt">x</p>'),
    "letters far apart": lambda: Bomb('<p style="letter-spacing: 1e30mm">xxx</p>'),
    "letters far back": lambda: Bomb('<p style="letter-spacing: -1e9mm">xxx</p>'),
    "lines far apart": lambda: Bomb('<p style="line-height: 1e30">x<br>y</p>'),
    "letters by calculation": lambda: Bomb(
        f'<p style="font-size: {"calc(" * 2_000}1pt{")" * 2_000}">x</p>'
    ),
    "brackets": lambda: Bomb(f'<p style="color: {"(" * 19_000}">x</p>'),
    "variables": lambda: Bomb(
        '<p style="'
        + "".join(f"--a{n}: var(--a{n - 1}) var(--a{n - 1});" for n in range(1, 40))
        + 'color: var(--a39)">x</p>'
    ),
    "styles by the thousand": lambda: Bomb(f'<p style="{"color:red;" * 1_900}">x</p>'),
    "a table of many columns": lambda: Bomb(
        "<table>" + '<tr><td colspan="20">x</td></tr>' * 550 + "</table>"
    ),
    "a table of one row": lambda: Bomb(f"<table><tr>{'<td>x' * 3_000}</tr></table>"),
    "a colspan of a million": lambda: Bomb('<table><tr><td colspan="1000000">x</td></tr></table>'),
    "twenty thousand signs": lambda: Bomb("x" * 20_000),
    "twenty thousand brackets": lambda: Bomb("<" * 20_000),
    "twenty thousand ampersands": lambda: Bomb("&" * 20_000),
    "entities": lambda: Bomb("&lt;" * 5_000),
    "attributes": lambda: Bomb(f"<p {' '.join(f'a{n}=x' for n in range(2_500))}>"),
    "tables misnested": lambda: Bomb("<table><b>" * 1_000 + "x"),
    "a word of five thousand letters": lambda: Bomb(text="W" * 500, lines=1),
    "marks on every line": lambda: Bomb(line="e" + "\u0301" * 490, lines=100),
    "Thai marks on every line": lambda: Bomb(line="ก" + "\u0e49" * 490, lines=100),
    "joined emoji on every line": lambda: Bomb(line="👩\u200d" * 250, lines=30, seconds=6),
    "small paper and long lines": lambda: Bomb(
        line="W " * 249, lines=40,
        options=Options(paper_width=60, paper_height=60, margin_top=0, margin_bottom=0),
        seconds=6,
    ),
    "a long header on many pages": lambda: Bomb(
        "<p>x " * 3_000, lines=120,
        options=Options(paper_width=60, paper_height=60, margin_top=5, margin_bottom=5),
        seconds=15,
    ),
    # --- not mended yet
    "six thousand nested elements": lambda: Bomb("<b>" * 6_000),
    "a thousand nested tables": lambda: Bomb("<table><tr><td>" * 1_000),
    "elements that every paragraph opens anew": lambda: Bomb(f"<p>{_PARAGRAPHS}{'<p>x' * 500}"),
    "a colspan of five thousand digits": lambda: Bomb(
        f'<table><tr><td colspan="{"9" * 5_000}">x</td></tr></table>'
    ),
}  # fmt: skip
_RECURSES = "ElementTree writes by recursion: RecursionError, which is no CounterfoilError"
UNMENDED = {
    "six thousand nested elements": _RECURSES,
    "a thousand nested tables": _RECURSES,
    "elements that every paragraph opens anew": "HTML opens all 150 again in each of 500 <p>",
    "a colspan of five thousand digits": "int() refuses in a callback that cannot raise",
}
LONG = {
    "ten thousand lines of 500 letters": Bomb(line="W" * 500, lines=10_000),
    "ten thousand lines on small paper": Bomb(
        lines=10_000,
        options=Options(
            paper_width=60, paper_height=60,
            margin_top=5, margin_bottom=5, margin_left=5, margin_right=5,
        ),
    ),
}  # fmt: skip
_OUTCOMES = {"printed", "Malformed", "RenderFailed"}


def _set_off(names: list[str]) -> dict[str, tuple[str, float, int]]:
    ran = subprocess.run(
        [sys.executable, __file__, *names], capture_output=True, text=True, timeout=550, check=True
    )
    told: dict[str, tuple[str, float, int]] = json.loads(ran.stdout)
    assert list(told) == names
    return told


def _beyond(told: dict[str, tuple[str, float, int]]) -> dict[str, tuple[str, float, int]]:
    """Those that passed their bounds, or ended otherwise than they may."""
    return {
        name: (outcome, seconds, mebibytes)
        for name, (outcome, seconds, mebibytes) in told.items()
        if outcome not in _OUTCOMES
        or seconds > BOMBS[name]().seconds
        or mebibytes > BOMBS[name]().mebibytes
    }


@pytest.mark.slow
def test_no_bomb_at_the_front_door_goes_off() -> None:
    assert _beyond(_set_off([name for name in BOMBS if name not in UNMENDED])) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name) for name, reason in UNMENDED.items()],
)
def test_no_such_bomb_goes_off_either(name: str) -> None:
    assert _beyond(_set_off([name])) == {}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", LONG.values(), ids=LONG)
def test_no_invoice_is_too_long_to_end(bomb: Bomb) -> None:
    """In the pool, whose prints have an end."""
    line = NewLine(description=bomb.line, quantity=1, unit_price="1.00", tax=Tax(rate=19))
    with Billing.open(
        ":memory:", documents=None, pdf=WeasyPrintPool(workers=1, limits=Limits(seconds=20))
    ) as own:
        tenant = own.tenant("acme")
        invoice = drafted(tenant, lines=(line,) * bomb.lines)
        began = time.monotonic()
        with pytest.raises(RenderFailed):
            tenant.render_invoice_pdf(invoice.id, **bomb.options)
        assert time.monotonic() - began < 60


def _measure(names: list[str]) -> None:
    """Print each in a child of a warm process; tell outcome, seconds and mebibytes."""
    told = {}
    with Billing.open(":memory:", documents=None, pdf=WeasyPrintEngine()) as own:
        tenant = own.tenant("acme")
        tenant.render_invoice_pdf(drafted(tenant).id)
        for name in names:
            bomb = BOMBS[name]()
            line = NewLine(description=bomb.line, quantity=1, unit_price="1.00", tax=Tax(rate=19))
            invoice = drafted(tenant, bomb.text, lines=(line,) * bomb.lines)
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(writing, _outcome(tenant, invoice, bomb).encode())
                os._exit(0)
            os.close(writing)
            _, ended, usage = os.wait4(child, 0)
            with os.fdopen(reading) as said:
                outcome = said.read() or f"killed by signal {ended}"
            seconds = usage.ru_utime + usage.ru_stime
            told[name] = (outcome, round(seconds, 2), usage.ru_maxrss // 1024)
    sys.stdout.write(json.dumps(told))


def _outcome(tenant: Tenant, invoice: Invoice, bomb: Bomb) -> str:
    # Of a processor's time, so that a busy machine is no slow one. The signal kills where no
    # Python runs, too.
    signal.setitimer(signal.ITIMER_PROF, bomb.seconds + 1)
    resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, 4 * 1024**3))
    options = bomb.options.copy()
    options["header_html"] = bomb.header
    faults: list[object] = []
    sys.unraisablehook = faults.append
    try:
        tenant.render_invoice_pdf(invoice.id, **options)
    except (CounterfoilError, RecursionError) as error:
        return type(error).__name__
    return "an error that nobody saw" if faults else "printed"


# Whoever writes sheets of his own may do worse; those end with the worker.
SHEETS: dict[str, Callable[[], Sheet]] = {
    "a gradient without end": lambda: sheet(
        '<p style="height:99px;background:repeating-linear-gradient(red 0,blue 1e-6px)">x</p>'
    ),
    "pages without end": lambda: sheet("word " * 4_000, "@page { size: 10mm; margin: 40mm }"),
    "a megabyte of words": lambda: sheet("word " * 200_000),
    "use of use of use": lambda: sheet(
        '<img src="asset:x"/>',
        images=(
            Asset(
                "x", "image/svg+xml",
                f'<svg {SVG}>{_USES}<use href="#a9"/></svg>'.encode(),
            ),
        ),
    ),
    "fifty thousand rows": lambda: sheet(
        f"<table>{'<tr><td>a</td><td>b</td></tr>' * 50_000}</table>"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("made", SHEETS.values(), ids=SHEETS)
def test_a_sheet_without_end_costs_a_worker_and_not_a_service(
    made: Callable[[], Sheet], strict_pool: WeasyPrintPool
) -> None:
    with pytest.raises(RenderFailed):
        strict_pool.render(made())
    assert strict_pool.render(sheet("<p>still here</p>")).startswith(b"%PDF")


BOUNDED = {
    "a megabyte without a blank": ("x" * 1_000_000, None),
    "colspan of a million": ('<table><tr><td colspan="1000000">x</td></tr></table>', "colspan"),
    "rowspan of a million": ('<table><tr><td rowspan="1000000">x</td></tr></table>', "rowspan"),
    "span of a million": ('<table><colgroup span="1000000"/></table>', "span"),
    "colspan with a sign": ('<table><tr><td colspan="+9">x</td></tr></table>', "colspan"),
    "colspan with a blank": ('<table><tr><td colspan=" 999999">x</td></tr></table>', "colspan"),
    "deep nesting": ("<div>" * 500 + "</div>" * 500, "deeper"),
    "very deep nesting": ("<div>" * 100_000 + "</div>" * 100_000, "deeper"),
    "nine megabytes": ("x" * 9_000_000, "signs"),
    "calc in calc": (f'<p style="width:{"calc(" * 900}1px{")" * 900}">x</p>', "RecursionError"),
    ":not in :not": (f"<style>{':not(' * 900}p{')' * 900}{{}}</style>", "RecursionError"),
    "brackets": (f'<p style="color:rgb{"(" * 9_000}">x</p>', "RecursionError"),
    "huge letters": ('<p style="font-size:1e9pt">x</p>', "engine"),
    "not well-formed": ("<p>", "well-formed"),
    "a document type": ("<!DOCTYPE x>", "document type"),
    "an entity": ("&nbsp;", "well-formed"),
    "a lone surrogate": ("\udc80", "well-formed"),
    "NUL": ("\0", "well-formed"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("html", "says"), BOUNDED.values(), ids=BOUNDED)
def test_a_sheet_beyond_a_bound_is_refused_at_once(
    html: str, says: str | None, engine: WeasyPrintEngine
) -> None:
    if says is None:
        assert engine.render(sheet(html)).startswith(b"%PDF")
        return
    with pytest.raises(RenderFailed, match=says):
        engine.render(sheet(html))


def test_a_document_of_too_many_pages_is_refused() -> None:
    small = WeasyPrintEngine(limits=Limits(pages=3))
    with pytest.raises(RenderFailed, match="4 pages"):
        small.render(sheet('<p style="break-after: page">x</p>' * 3 + "<p>x</p>"))
    assert pages_of(small.render(sheet('<p style="break-after: page">x</p>' * 2 + "x"))) == 3


# --- 7. nothing of it is told -------------------------------------------------------------------

WORD = "Zwetschgenknoedel4711"


@pytest.fixture(scope="session")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def _said(spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture) -> str:
    told = [span.to_json() for span in spans.get_finished_spans()]
    return caplog.text + repr([record.__dict__ for record in caplog.records]) + "".join(told)


def test_nothing_of_an_invoice_is_logged_or_traced(
    tenant: Tenant, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    spans.clear()
    caplog.set_level(logging.DEBUG)
    invoice = drafted(
        tenant, f"{WORD} <b>\u202e", description=f"{WORD} é", footer=f"url({WORD}) {WORD}:"
    )
    tenant.render_invoice_pdf(invoice.id, archival=True)
    tenant.render_invoice_html(invoice.id)
    said = _said(spans, caplog)
    assert "counterfoil.pdf.render" in said
    assert WORD not in said


def test_no_letter_of_a_name_is_logged(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    """Letter by letter, a name in a script that no font has would stand in the log."""
    caplog.set_level(logging.DEBUG)
    tenant.render_invoice_pdf(drafted(tenant, "สมชาย").id)
    assert not set("สมชาย") & set(caplog.text)


FAILING = {
    "huge": f'<p style="font-size: 1e9pt">{WORD}</p>',
    "an image that is none": f'<img src="data:image/png;base64,{WORD}" alt="{WORD}">',
}


def test_too_much_along_an_edge_is_refused_by_its_name(tenant: Tenant) -> None:
    invoice = drafted(tenant, "plain")
    with pytest.raises(Malformed, match="footer_html") as refused:
        tenant.render_invoice_pdf(invoice.id, footer_html=f"<div>{WORD}" * 100)
    assert WORD not in str(refused.value)


@pytest.mark.parametrize("html", FAILING.values(), ids=FAILING)
def test_no_error_says_what_the_page_said(
    html: str, tenant: Tenant, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    spans.clear()
    caplog.set_level(logging.DEBUG)
    invoice = drafted(tenant, WORD)
    with pytest.raises(RenderFailed) as failed:
        tenant.render_invoice_pdf(invoice.id, header_html=html)
    assert WORD not in "".join(traceback.format_exception(failed.value))
    said = _said(spans, caplog)
    assert "RenderFailed" in said
    assert WORD not in said


@pytest.mark.parametrize(
    "html",
    [
        f'<p style="color: {WORD}">x</p>',
        f'<a href="#{WORD}">x</a>',
        f'<p lang="{WORD}">x</p>',
    ],
)
def test_nothing_of_what_runs_along_the_edges_is_logged(
    html: str, tenant: Tenant, plain: Invoice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    tenant.render_invoice_pdf(plain.id, header_html=html)
    assert WORD not in caplog.text


def test_an_engine_starts_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    WeasyPrintEngine().render(sheet("<p>x</p>"))
    assert caplog.text == ""


def test_malformed_input_is_not_repeated(tenant: Tenant, plain: Invoice) -> None:
    for options in ({"size": WORD}, {"margin_top": WORD}, {"header_html": WORD * 1_000}):
        with pytest.raises(Malformed) as refused:
            tenant.render_invoice_pdf(plain.id, **options)  # type: ignore[arg-type]
        assert WORD not in str(refused.value)
    with pytest.raises(Malformed) as refused:
        Branding(colour=WORD, logo=WORD.encode())
    assert WORD not in str(refused.value)


# --- any text at all ------------------------------------------------------------------------

_ANY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80)
_WILD = st.one_of(
    _ANY,
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            ["<", ">", "&", '"', "'", "</p>", "<b>", "]]>", "<!--", "{{", "%}", "\\", "\u202e",
             "é", "\u0301", "&#x", ";", "style=", "<svg>", "שלום", "\u2028", "0", " "]
        ),
        min_size=1, max_size=12,
    ).map("".join),
)  # fmt: skip
_MARKUP = st.lists(
    st.one_of(
        st.sampled_from(
            ["<p>", "</p>", "<table>", "<tr>", "<td colspan=3>", "</table>", "<b>", "</b>",
             "<a href='",
             "'>", "<img src=data:image/png;base64,AAAA>", '<p style="', '">', "color:red;", "&lt;",
             "&#x41;", "&nbsp;", "<!--", "-->", "<style>", "</style>", "<svg>", "<math>", "<br>",
             "<li>",
             "https://a.example", "javascript:x", "<template>", "<select>", "<frameset>", "<title>"]
        ),
        _ANY,
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(text=_WILD)
@example(text="</td>")
@example(text="&")
def test_any_text_makes_the_same_elements_or_is_malformed(shown: Shown, text: str) -> None:
    try:
        page_ = shown.sheet(drafted(shown.tenant, text))
    except Malformed:
        return
    tags = {tag for tag, _ in skeleton(page_.html)}
    assert tags <= {
        "html", "head", "title", "meta", "body", "div", "p", "h1", "h2", "span", "table", "thead",
        "tbody", "tr", "th", "td", "small", "b", "img",
    }  # fmt: skip
    assert not re.search("[\u202a-\u202e\u2066\u2067\x00-\x08]", page_.html)


@given(html=_MARKUP)
def test_any_markup_along_the_edges_is_well_formed_and_harmless(shown: Shown, html: str) -> None:
    wrapped = ET.fromstring(f"<x>{running('header_html', html)}</x>")  # noqa: S314
    for one in wrapped.iter():
        assert one.tag in {"x", "span", *_KEPT}
        assert set(one.attrib) <= {
            "dir",
            "lang",
            "style",
            "href",
            "alt",
            "src",
            "width",
            "height",
            "colspan",
        }


_KEPT = {
    "a", "b", "br", "div", "em", "h1", "h2", "h3", "hr", "i", "img", "li", "ol", "p", "small",
    "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
}  # fmt: skip


@settings(max_examples=15)
@given(text=_WILD, html=_MARKUP)
def test_anything_at_all_is_printed_or_refused_in_words(
    tenant: Tenant, trap: Trap, text: str, html: str
) -> None:
    trap.springs_not(
        lambda: tenant.render_invoice_pdf(
            drafted(tenant, text).id, header_html=html, footer_html=html
        )
    )


if __name__ == "__main__":
    _measure(sys.argv[1:])
