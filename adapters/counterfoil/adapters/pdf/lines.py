"""The short way for text that fits on its line, which is nearly all that a document has.

WeasyPrint asks of every line whether floats stand beside it, where it could be broken and how its
boxes stand to each other, and shapes its text twice: to lay it out and to draw it. A line that is
one piece of text of a plain style needs none of it. It is shaped once, by a Pango layout that all
texts of its style use in turn, and drawn from the glyphs that this gave. Whatever is not so plain
goes the library's own way, and each figure here is worked out in the library's own order, so that
none differs in its last bit.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import Any

from weasyprint.formatting_structure.boxes import TextBox
from weasyprint.layout import inline
from weasyprint.text import line_break
from weasyprint.text.ffi import FROM_UNITS, TO_UNITS, ffi, pango

from counterfoil.adapters.pdf.glyphs import Shaped, plain, runs
from counterfoil.adapters.pdf.kept import Anonymous

_SIMPLE = {
    "direction": "ltr",
    "letter_spacing": "normal",
    "word_spacing": 0,
    "hyphens": "manual",
}
_COLLAPSING = {"normal", "pre-line"}
# Where a text of one line could be broken, or be drawn otherwise than it was measured.
_UNUSUAL = re.compile(r"[\x00-\x1f\x85\xad\u2028\u2029]")
# A width is allowed so much more than there is, because figures are not exact.
_SLACK = 1 + 1e-9


def install(configuration: Any) -> None:
    """Have lines go the short way wherever they can."""
    configuration.shapers_used = set()
    stock = inline.get_next_linebox
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def get_next_linebox(  # noqa: PLR0917  (as the library calls it)
        context: Any, linebox: Any, top: float, bottom: float, skipped: Any, around: Any, *rest: Any
    ) -> Any:
        *_, first_letter_style, first_line_style = rest
        if not (context.excluded_shapes or first_letter_style or first_line_style):
            found = next_line(linebox, top, skipped, around)
            if found is not None:
                return found
        return stock(context, linebox, top, bottom, skipped, around, *rest)

    inline.get_next_linebox = get_next_linebox


def next_line(linebox: Any, position_y: float, skipped: Any, around: Any) -> Any:
    """The next line of a box that holds one plain text, and where the text goes on.

    None if the box holds anything else, or if the line has to be broken.
    """
    style, children = linebox.style, linebox.children
    if len(children) != 1 or type(style) is not Anonymous or around.style["direction"] != "ltr":
        return None
    (child,) = children
    if type(child) is not TextBox or child.style is not style:
        return None
    shaper = _shaper(style)
    begin = 0 if skipped is None else _begin(skipped)
    if shaper is None or begin is None:
        return None
    text, newline, further = child.text.encode()[begin:].decode().partition("\n")
    if not text or text[0] == " " or text[-1] == " " or _UNUSUAL.search(text):
        return None
    if newline and not further:
        return None
    left = around.content_box_x()
    available = left + around.width - left
    start = left + linebox.text_indent
    shaped = shaper.shape(text, (left + available) * _SLACK - start)
    if shaped is None:
        return None

    inline.resolve_percentages(child, around)
    box = child.copy_with_text(text)
    box.pango_layout, box.width, box.height, box.baseline = shaped
    box.margin_top = box.margin_bottom = (shaper.line_height - box.height) / 2
    box.baseline += box.margin_top

    line = linebox.copy_with_children([box])
    line.remove_decoration(start=skipped is not None, end=bool(newline))
    line.width = start + box.width - left
    shift = shaper.shift(available - line.width) if line.width < available else 0
    line.position_x, line.position_y = left + shift, position_y
    line.margin_top = line.margin_bottom = 0
    top, bottom = shaper.reach(box)
    line.baseline = -top
    line.height = bottom - top
    box.position_x = start + shift
    box.position_y = -box.baseline + (position_y - top)
    linebox.position_x, linebox.position_y = left, position_y
    linebox.width, linebox.height = line.width, shaper.size
    return line, {0: {begin + len(text.encode()) + 1: None}} if newline else None


def _begin(skipped: Any) -> int | None:
    """How many bytes of the one text were on the lines before; none if that is not what is said."""
    ((place, within),) = skipped.items()
    if place or within is None:
        return None
    ((number, below),) = within.items()
    return number if below is None else None


def _shaper(style: Any) -> _Shaper | None:
    """What shapes texts of this style, if it is plain."""
    try:
        found: _Shaper | None = style.worked_out[_Shaper]
    except KeyError:
        simple = (
            plain(style)
            and style["white_space"] in _COLLAPSING
            and "justify" not in _alignments(style)
            and all(style[name] == value for name, value in _SIMPLE.items())
        )
        found = style.worked_out[_Shaper] = _Shaper(style) if simple else None
    return found


def _alignments(style: Any) -> tuple[str, str]:
    """Where lines stand, and where those do that end a paragraph."""
    every, last = style["text_align_all"], style["text_align_last"]
    return every, every if last == "auto" else last


class _Shaper:
    """Shapes texts of one style."""

    def __init__(self, style: Any) -> None:
        _, self._align = _alignments(style)
        self.line_height, self._strut_baseline = line_break.strut(style)
        self.size = style["font_size"]
        self._set_up = line_break.Layout(style)
        self._layout = self._set_up.layout
        self._extents = ffi.new("PangoRectangle *")
        self._configuration = style.font_config

    def shape(self, text: str, width: float) -> tuple[Shaped, float, float, float] | None:
        """The text on one line with its width, height and baseline, if it fits."""
        layout, extents = self._layout, self._extents
        self._configuration.shapers_used.add(self)
        given = text.encode()
        pango.pango_layout_set_text(layout, given, len(given))
        line = pango.pango_layout_get_line_readonly(layout, 0)
        pango.pango_layout_line_get_extents(line, ffi.NULL, extents)
        if extents.width > width * TO_UNITS:
            return None
        return (
            Shaped(text, line.resolved_dir, runs(line, self._configuration), width),
            extents.width * FROM_UNITS,
            extents.height * FROM_UNITS,
            pango.pango_layout_get_baseline(layout) * FROM_UNITS,
        )

    def forget(self) -> None:
        """Keep no text: the style may stay for many prints, and its last text is somebody's."""
        pango.pango_layout_set_text(self._layout, b"", 0)

    def shift(self, room: float) -> float:
        """How far from the left a line stands that leaves so much room."""
        if self._align == "center":
            return room / 2
        return room if self._align in {"right", "end"} else 0

    def reach(self, box: Any) -> tuple[float, float]:
        """How far a line with this text goes above its baseline and below."""
        leading = (self.line_height - self.size) / 2
        above, strut_above = -box.baseline, -self._strut_baseline
        return min(above, strut_above), max(
            above + (box.height + box.margin_top + box.margin_bottom),
            strut_above + (self.size + leading + leading),
        )
