"""Texts as their glyphs: shaped once, and what a glyph is in a PDF found out once a font.

WeasyPrint shapes a text to lay it out, forgets it, and shapes it again to draw it, asking of every
glyph anew what it stands for and how wide it is. Here the glyphs of a laid out text are kept until
it is drawn. What needs more than its glyphs, as an emoji does, is drawn by the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from struct import Struct
from typing import Any, NamedTuple

import weasyprint.draw
from weasyprint.draw import text as drawing
from weasyprint.text import line_break
from weasyprint.text.ffi import FROM_UNITS, ffi, gobject, pango

from counterfoil.adapters.pdf.kept import Watched
from counterfoil.adapters.pdf.native import hold

_GLYPH = ffi.sizeof("PangoGlyphInfo")
# In pixels; what is smaller the library does not draw.
_SMALLEST = 1e-6
# Of each glyph what it is, how wide, and how far from its place; the bits behind may be anything.
_FIGURES = Struct("=Iiii")
_SIGNS = Struct(f"{_FIGURES.size}s{_GLYPH - _FIGURES.size}x")


class Run(NamedTuple):
    """Glyphs of one font, as Pango holds them, and which bytes of the text each stands for."""

    font: Any
    glyphs: bytes
    clusters: list[int]
    offset: int
    length: int
    backwards: bool

    @classmethod
    def of(cls, font: Any, item: Any, glyphs: Any) -> Run:
        """What Pango would let go with the text."""
        number = glyphs.num_glyphs
        return cls(
            font,
            ffi.buffer(glyphs.glyphs, number * _GLYPH)[:],
            ffi.unpack(glyphs.log_clusters, number),
            item.offset,
            item.length,
            bool(item.analysis.level % 2),
        )

    def stands_for(self, place: int, text: bytes) -> str:
        """What the glyph of this place is in the text."""
        begin, end, clusters = self.clusters[place], self.length, self.clusters
        if self.backwards:
            end = clusters[place - 1] if place else end
        elif place < len(clusters) - 1:
            end = clusters[place + 1]
        return text[self.offset + begin : self.offset + end].decode()


class Shaped(line_break.Layout):
    """A text as its glyphs. It can be set up as a layout again, should something ask for one."""

    runs: Sequence[Run]

    def __init__(self, text: str, direction: int, runs: Sequence[Run], max_width: float) -> None:
        self.text, self.first_line_direction, self.runs = text, direction, runs
        # The library asks how wide the text might have been when it ends a line in an ellipsis.
        self.justification_spacing, self.max_width = 0, max_width

    def deactivate(self) -> None:
        """Let the layout go, if there is one."""
        if hasattr(self, "layout"):
            _let_go(self)


_let_go = line_break.Layout.deactivate


def install(configuration: Any) -> None:
    """Have the texts of prints with this font configuration shaped once."""
    configuration.fonts_used, configuration.pens = {}, {}
    stock = drawing.draw_text
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def draw_text(stream: Any, box: Any, offset: float, overflow: str, ellipsis: str) -> None:
        whole = overflow != "ellipsis" and ellipsis == "none"
        if not (type(box.pango_layout) is Shaped and whole and _drawn(stream, box)):
            stock(stream, box, offset, overflow, ellipsis)

    @wraps(_let_go)
    def deactivate(layout: Any) -> None:
        style = layout.style
        if isinstance(style, Watched) and not layout.justification_spacing and plain(style):
            # As it would be set up to be drawn: its lines are broken already.
            pango.pango_layout_set_width(layout.layout, -1)
            pango.pango_layout_set_single_paragraph_mode(layout.layout, 1)
            line = pango.pango_layout_get_line_readonly(layout.layout, 0)
            layout.runs = runs(line, style.font_config)
            layout.__class__ = Shaped
        _let_go(layout)

    weasyprint.draw.draw_text = drawing.draw_text = draw_text
    line_break.Layout.deactivate = deactivate


def runs(line: Any, configuration: Any) -> Sequence[Run]:
    """The glyphs of a line of Pango's."""
    found = []
    run = line.runs
    while run != ffi.NULL:
        item = run.data.item
        found.append(Run.of(_kept(item.analysis.font, configuration), item, run.data.glyphs))
        run = run.next
    return found


def _kept(font: Any, configuration: Any) -> Any:
    """The font, which stays until the print is done, and no longer: what is left of the boxes is
    collected by any thread, and Pango's fonts may be let go by the one that prints alone.
    """
    if font not in configuration.fonts_used:
        hold(int(ffi.cast("uintptr_t", font)))
        configuration.fonts_used[font] = ffi.gc(font, gobject.g_object_unref)
    return font


def plain(style: Any) -> bool:
    """Whether a text of this style is its glyphs and nothing else."""
    found: bool | None = style.worked_out.get(plain)
    if found is None:
        undecorated = style["text_decoration_line"] == "none" and style["visibility"] == "visible"
        found = style.worked_out[plain] = undecorated and style["font_size"] >= _SMALLEST
    return found


def _drawn(stream: Any, box: Any) -> bool:
    """Write the glyphs of a text, unless one needs more than that."""
    parts: list[_Pen | str] = []
    string, pen = "", None
    shows = bool(box.text.strip())
    for run in box.pango_layout.runs if shows else ():
        if pen is None or run.font != pen.pango_font:
            if string:
                parts.append(string)
            pen, string = _pen(stream, run.font, box.style.font_config.pens), ""
            parts.append(pen)
        glyphs = pen.write(run, box.pango_layout.text)
        if glyphs is None:
            return False
        # An empty pair of brackets at the end is left out.
        string += glyphs
        string = string[:-1] if string[-1] == "<" else string + ">"
    stream.set_color(box.style["color"])
    stream.begin_text()
    if shows:
        stream.set_text_matrix(1, 0, 0, -1, box.position_x, box.position_y + box.baseline)
        for part in (*parts, string):
            if isinstance(part, str):
                stream.show_text(part)
            else:
                stream.set_font_size(part.font.hash, part.size)
    stream.end_text()
    # Whoever draws the same text once more has it set up again.
    box.pango_layout.__class__ = line_break.Layout
    del box.pango_layout.runs
    return True


def _pen(stream: Any, pango_font: Any, pens: dict[Any, _Pen]) -> _Pen:
    pen = pens.get(pango_font)
    if pen is None:
        pen = pens[pango_font] = _Pen(stream, pango_font)
    return pen


class _Pen:
    """A font of one size in one print, and how each glyph of it is written that was met."""

    def __init__(self, stream: Any, pango_font: Any) -> None:
        self.pango_font = pango_font
        self.font, self.size = stream.add_font(pango_font)
        self._signs: dict[bytes, str] = {}
        self._rectangles = stream.ink_rect, stream.logical_rect
        font = self.font
        of_pictures = font.bitmap or font.png or font.svg or font.colr
        # An older Pango does not know the size of its font.
        self._plain = not of_pictures and pango.pango_version() >= 14802

    def write(self, run: Run, text: str) -> str | None:
        """The glyphs of a run as a string of the PDF, still open; none if one is not plain."""
        signs = self._signs
        try:
            return "<" + "".join([signs[sign] for (sign,) in _SIGNS.iter_unpack(run.glyphs)])
        except KeyError:
            return self.write(run, text) if self._plain and self._learn(run, text) else None

    def _learn(self, run: Run, text: str) -> bool:
        given, font = text.encode(), self.font
        for place, (sign,) in enumerate(_SIGNS.iter_unpack(run.glyphs)):
            if sign in self._signs:
                continue
            glyph, width, right, up = _FIGURES.unpack(sign)
            if up or glyph == pango.PANGO_GLYPH_EMPTY or glyph & pango.PANGO_GLYPH_UNKNOWN_FLAG:
                return False
            if glyph not in font.to_unicode:
                font.to_unicode[glyph] = run.stands_for(place, given)
            if glyph not in font.widths:
                pango.pango_font_get_glyph_extents(self.pango_font, glyph, *self._rectangles)
                own = self._rectangles[1].width
                font.widths[glyph] = round(own * 1000 * FROM_UNITS / self.size)
            moved = right / self.size
            kerning = font.widths[glyph] + moved - width * 1000 * FROM_UNITS / self.size
            before = f">{-moved}<" if moved else ""
            behind = f">{int(kerning)}<" if kerning else ""
            self._signs[sign] = f"{before}{glyph:04x}{behind}"
        return True
