"""The short way for cells of one line, which nearly all cells are.

The library asks of every cell what could happen to a block: margins that collapse, floats,
footnotes, a break inside. A cell that holds one line of plain text, which fits on the page, has
none of it.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from weasyprint.formatting_structure.boxes import LineBox, TableCellBox
from weasyprint.layout import block, inline

from counterfoil.adapters.pdf.kept import Watched
from counterfoil.adapters.pdf.lines import next_line

_PLAIN = {
    "position": "static",
    "max_lines": "none",
    "continue": "auto",
    "box_decoration_break": "slice",
    "float": "none",
}


def install() -> None:
    """Have cells go the short way wherever they can."""
    stock = block.block_container_layout
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def block_container_layout(  # its parameters have the library's names: some call it by them
        context: Any, box: Any, bottom_space: float, skip_stack: Any, *rest: Any, **named: Any
    ) -> Any:
        # As tables call it. On an empty page even what is too high is shown.
        in_table = type(box) is TableCellBox and not rest and skip_stack is None
        if in_table and not named["page_is_empty"]:
            cell = _laid_out(context, box, bottom_space)
            if cell is not None:
                return cell, None, {"break": "any", "page": cell.style["page"]}, [], False, None
        return stock(context, box, bottom_space, skip_stack, *rest, **named)

    block.block_container_layout = block_container_layout


def _laid_out(context: Any, cell: Any, bottom_space: float) -> Any:
    """The cell with its line, if that is all there is to it."""
    children = cell.children
    if len(children) != 1 or type(children[0]) is not LineBox or not _plain(cell):
        return None
    if cell.height != "auto" or cell.margin_top or context.footnotes:
        return None
    (child,) = children
    top = cell.content_box_y()
    child.position_x, child.position_y = cell.content_box_x(), top
    inline.resolve_percentages(child, cell)
    inline.resolve_one_percentage(child, "text_indent", cell.width)
    line, further = next_line(child, top, None, cell) or (None, None)
    if line is None or further is not None:
        return None
    bottom = line.position_y + line.height
    if context.overflows_page(
        bottom_space, bottom + (cell.border_bottom_width + cell.padding_bottom)
    ):
        return None
    line.resume_at = None
    laid_out = cell.copy_with_children([line])
    height = max(0, bottom - laid_out.content_box_y())
    laid_out.height = max(min(height, laid_out.max_height), laid_out.min_height)
    return laid_out


def _plain(cell: Any) -> bool:
    style = cell.style
    if not isinstance(style, Watched) or cell.first_letter_style or cell.first_line_style:
        return False
    found: bool | None = style.worked_out.get(_plain)
    if found is None:
        found = all(style[name] == value for name, value in _PLAIN.items())
        style.worked_out[_plain] = found
    return found
