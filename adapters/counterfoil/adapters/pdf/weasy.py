"""WeasyPrint, closed and warm: fonts and style sheets are read once, and nothing is fetched.

A print takes time by the box, so the sheet is lean and the engine does nothing twice. Where time
and memory must have an end, `pool.py` runs this one in processes that can be killed.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from xml.etree import ElementTree as ET

from counterfoil.adapters.pdf import faster
from counterfoil.adapters.pdf.coverage import Coverage
from counterfoil.adapters.pdf.native import (
    fingerprint,
    font_configuration,
    font_files,
    only_these_fonts,
    require_libraries,
)
from counterfoil.adapters.pdf.quiet import hushed
from counterfoil.domain.errors import RenderFailed
from counterfoil.domain.ports import Sheet


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a print may go. Time and memory end only a process, so they are the pool's."""

    html_bytes: int = 8_000_000
    depth: int = 40
    span: int = 100
    pages: int = 1_000
    seconds: float = 60.0
    memory_bytes: int = 1024**3


LIMITS = Limits()
STYLES_KEPT = 256
_LINKS = ("https:", "mailto:", "#")

# What our documents need of WeasyPrint's own style sheet: two dozen rules instead of two hundred,
# each of which would be matched against every cell.
_ELEMENTS = """
html, body, div, p, h1, h2, h3, ul, ol, hr { display: block }
head, title, meta, style, link, script { display: none }
table { display: table; box-sizing: border-box } thead { display: table-header-group }
tbody { display: table-row-group } tfoot { display: table-footer-group } tr { display: table-row }
td, th { display: table-cell } thead, tbody, tfoot { vertical-align: middle }
tr, td, th { vertical-align: inherit } li { display: list-item } ul, ol { padding: 0 0 0 14pt }
b, strong, h1, h2, h3, th { font-weight: bold } i, em { font-style: italic }
u { text-decoration: underline } hr { border-top: 0.5pt solid }
sub { vertical-align: sub; font-size: smaller } sup { vertical-align: super; font-size: smaller }
img, svg { overflow: hidden } *[dir=rtl] { direction: rtl } *[dir=ltr] { direction: ltr }
@page {
  @top-left { vertical-align: middle } @top-right { vertical-align: middle }
  @bottom-left { vertical-align: middle } @bottom-right { vertical-align: middle } }
"""


class WeasyPrintEngine:
    """Prints in this process, one sheet at a time. `fonts` are folders or files of more fonts."""

    def __init__(self, *, fonts: Sequence[str | Path] = (), limits: Limits = LIMITS) -> None:
        require_libraries()
        self._fonts = font_files([Path(place) for place in fonts])
        self._coverage = Coverage(self._fonts)
        self._limits = limits
        self._configuration = font_configuration(self._fonts)
        faster.pull(self._configuration)
        # Pango's fonts are shared by all prints and may be asked by one thread only.
        self._lock = Lock()
        self._style = lru_cache(maxsize=STYLES_KEPT)(self._parsed)
        self.fingerprint = fingerprint(self._fonts)

    def render(self, sheet: Sheet) -> bytes:
        """Print the sheet."""
        tree = _parse(sheet.html, self._limits)
        self._coverage.hold(sheet)
        with self._lock, only_these_fonts(self._configuration), _no_collector(), hushed():
            try:
                try:
                    with faster.printing(self._configuration):
                        return self._print(sheet, tree)
                except faster.Stale:  # it has forgotten what was before
                    with faster.printing(self._configuration):
                        return self._print(sheet, tree)
            except RenderFailed:
                raise
            except Exception as error:  # the engine's own faults are of any kind
                # It names that kind, and not what the page said.
                raise RenderFailed(
                    f"the engine could not print this document ({type(error).__name__})"
                ) from error

    def close(self) -> None:
        """Nothing to give back."""

    def _print(self, sheet: Sheet, tree: ET.Element) -> bytes:
        from weasyprint import Attachment

        from counterfoil.adapters.pdf.closed import ClosedFetcher, Refused, close_profiles
        from counterfoil.adapters.pdf.finishing import finish

        fetcher = ClosedFetcher({f"asset:{one.name}": one for one in sheet.images})
        # By numbers, and of their own: no file takes the place of an image or of another file.
        files = {f"file:{place}": one for place, one in enumerate(sheet.attachments)}
        carried = ClosedFetcher(files, shown=False)
        html = _document()(tree, fetcher, self._style(_ELEMENTS))
        close_profiles()
        written_at = sheet.written_at or datetime.fromtimestamp(0, UTC)
        try:
            document = html.render(
                font_config=self._configuration,
                stylesheets=[self._style(style) for style in sheet.styles],
                pdf_tags=True,
                pdf_variant="pdf/a-3b" if sheet.archival else None,
            )
            if len(document.pages) > self._limits.pages:
                raise RenderFailed(
                    f"the document has {len(document.pages):,} pages; "
                    f"at most {self._limits.pages:,} are printed"
                )
            printed: bytes = document.write_pdf(
                finisher=finish,
                pdf_tags=True,
                pdf_variant="pdf/a-3b" if sheet.archival else None,
                pdf_identifier=hashlib.sha256(sheet.html.encode()).digest()[:16],
                attachments=[
                    Attachment(
                        url=place,
                        url_fetcher=carried,
                        name=one.name,
                        created=written_at,
                        modified=written_at,
                        relationship="Data" if "xml" in one.media_type else "Supplement",
                    )
                    for place, one in files.items()
                ],
            )
        except Refused as error:
            raise RenderFailed(str(error)) from error
        if fetcher.refused:
            raise RenderFailed("an image of this document refers to something outside itself")
        return printed

    def _parsed(self, style: str) -> Any:
        from weasyprint import CSS

        from counterfoil.adapters.pdf.closed import ClosedFetcher

        return CSS(string=style, font_config=self._configuration, url_fetcher=ClosedFetcher({}))


def _parse(html: str, limits: Limits) -> ET.Element:
    """The tree of a sheet, held to its bounds: expat is as fast as C, and mends nothing."""
    if len(html) > limits.html_bytes:
        raise RenderFailed(f"the document has {len(html):,} signs; at most {limits.html_bytes:,}")
    if "<!DOCTYPE" in html or "<!ENTITY" in html:
        raise RenderFailed("a sheet holds no document type")
    try:
        root = ET.fromstring(html)  # noqa: S314  (no document type, so no entities: see above)
    except (ET.ParseError, UnicodeEncodeError) as error:
        raise RenderFailed(f"the sheet is not well-formed: {error}") from error
    waiting = [(root, 1)]
    while waiting:
        element, depth = waiting.pop()
        if depth > limits.depth:
            raise RenderFailed(f"the sheet is nested deeper than {limits.depth} elements")
        for name, value in list(element.attrib.items()):
            if name in {"colspan", "rowspan", "span"} and not _number(value, limits.span):
                raise RenderFailed(f"{name} is no number up to {limits.span}")
            if name == "href" and not value.strip().lower().startswith(_LINKS):
                if element.tag == "a":
                    del element.attrib[name]  # neither code nor a file to click on
                else:
                    raise RenderFailed("a sheet may refer to its own images only")
        waiting.extend((child, depth + 1) for child in element)
    return root


def _number(value: str, most: int) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 5 and int(value) <= most


@cache
def _document() -> Any:
    """WeasyPrint's document, around a tree that is parsed already."""
    from weasyprint import HTML

    from counterfoil.adapters.pdf.kinds import Element

    class Parsed(HTML):
        def __init__(self, tree: ET.Element, fetcher: object, elements: object) -> None:
            self.base_url = None
            self.url_fetcher = fetcher
            self.media_type = "print"
            self.wrapper_element = Element.from_html_root(tree, content_language=None)
            self.etree_element = tree
            self._elements = elements

        def _ua_stylesheets(
            self,
            forms: bool = False,  # noqa: FBT001, FBT002  (WeasyPrint names and calls it so)
        ) -> list[object]:
            return [self._elements]

    return Parsed


@contextmanager
def _no_collector() -> Iterator[None]:
    """A print makes a great many objects and no garbage until its end: looking for some costs half
    of a long one.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
