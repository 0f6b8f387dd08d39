"""Which work does WeasyPrint repeat that our prints can spare, and why is it safe to?

No lever changes what a print shows, nor any print of the host's own: each goes by the type of a
style or the font configuration that only our engine makes, or gives what the library would give.
All go by names that the library does not promise, so they are left out where its version is
another than the one that was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib.metadata import version
from threading import Lock
from typing import Any

_MEASURED = {"weasyprint": "70.0", "pydyf": "0.13.0", "cssselect2": "0.10.1"}
# Heights of lines and sets of font features, which the library remembers for good.
MEASURES_KEPT = 1_000
_INSTALLING = Lock()


class Stale(Exception):
    """What an earlier print left may not be used in this one, which is to be made once more."""


def pull(configuration: Any) -> None:
    """Let prints with this font configuration go by every lever there is."""
    if any(version(name) != measured for name, measured in _MEASURED.items()):
        return
    with _INSTALLING:
        for lever in (
            _keep_styles,
            _style_kinds,
            _work_out_once,
            _plan_boxes,
            _paint_what_shows,
            _go_short_ways,
            _number_pages_once,
            _let_pages_go,
        ):
            # A name is missing after all: the print is right without.
            with suppress(ImportError, AttributeError):
                lever(configuration)


@contextmanager
def printing(configuration: Any) -> Iterator[None]:
    """One print. What it left half done is not kept for the next."""
    for measures in (configuration.strut_layouts, configuration.font_features):
        if len(measures) > MEASURES_KEPT:
            measures.clear()
    try:
        yield
    except BaseException:
        if (kept := getattr(configuration, "kept", None)) is not None:
            kept.forget()
        raise
    finally:
        for shaper in getattr(configuration, "shapers_used", ()):
            shaper.forget()
        for used in ("shapers_used", "pens", "fonts_used"):
            getattr(configuration, used, {}).clear()


def _keep_styles(configuration: Any) -> None:
    """A page of six lines spends a sixth of its time on styles that the one before it had too."""
    from counterfoil.adapters.pdf import kept

    kept.keep(configuration)


def _work_out_once(_configuration: Any) -> None:
    """The font of a style, its name and its height are asked for with every line of text."""
    from weasyprint.text import line_break

    for name in ("get_font_description", "_font_style_cache_key", "strut"):
        _wrap(line_break, name, _once)


def _once(stock: Callable[..., Any]) -> Callable[..., Any]:
    from counterfoil.adapters.pdf.kept import Watched

    def once(style: Any, *more: Any, **named: Any) -> Any:
        if not isinstance(style, Watched):
            return stock(style, *more, **named)
        key = (stock, more, *named.items())
        found = style.worked_out.get(key)
        if found is None:
            found = style.worked_out[key] = stock(style, *more, **named)
        return found

    return once


_SIDES = ("top", "right", "bottom", "left")
_LENGTHS = (
    *(f"{name}_{side}" for name in ("margin", "padding") for side in _SIDES),
    *("width", "min_width", "max_width", "height", "min_height", "max_height"),
)
_RADII = tuple(f"border_{each}_radius" for each in ("top_left", "top_right")) + tuple(
    f"border_{each}_radius" for each in ("bottom_right", "bottom_left")
)


def _plan_boxes(_configuration: Any) -> None:
    """Margins, paddings and sizes in pixels are the same for every box of a style."""
    from weasyprint.layout import percent

    _wrap(percent, "resolve_percentages", lambda stock: _planned(stock, _sizes))
    _wrap(percent, "resolve_radii_percentages", lambda stock: _planned(stock, _radii))


def _planned(stock: Callable[..., None], plan: Callable[[Any], dict[str, Any]]) -> Any:
    from weasyprint.formatting_structure.boxes import Box

    from counterfoil.adapters.pdf.kept import Watched

    def resolve(box: Any, *around: Any, **named: Any) -> None:
        style = box.style
        planned = None
        # What stands in for an absolute box is none, and hands on what is set on it.
        if isinstance(style, Watched) and isinstance(box, Box):
            planned = style.worked_out.get(plan)
            if planned is None:
                planned = style.worked_out[plan] = plan(style)
        if planned:
            box.__dict__.update(planned)
        else:
            stock(box, *around, **named)

    return resolve


def _sizes(style: Any) -> dict[str, Any]:
    """What a box of this style is given, whatever is around it; nothing where that matters."""
    if style["border_collapse"] == "collapse" or style["box_sizing"] != "content-box":
        return {}
    plan = {f"border_{side}_width": style[f"border_{side}_width"] for side in _SIDES}
    for name in _LENGTHS:
        value = style[name]
        if value == "auto":
            plan[name] = 0 if name in {"min_width", "min_height"} else value
        elif getattr(value, "unit", None) == "px":
            plan[name] = value.value
        else:
            return {}
    return plan


def _radii(style: Any) -> dict[str, Any]:
    """Corners without a radius; nothing where one has."""
    square = all((0, "px") in style[name] for name in _RADII)
    return dict.fromkeys(_RADII, (0, 0)) if square else {}


def _paint_what_shows(_configuration: Any) -> None:
    """Most boxes have neither background nor border, which their style alone can tell."""
    from weasyprint.draw import border
    from weasyprint.formatting_structure.boxes import PageBox
    from weasyprint.layout import background

    shows, borders = _of_style(_shows), _of_style(_borders)

    def only_shown(stock: Any) -> Any:
        def layout_box_backgrounds(page: Any, box: Any, get_image: Any, **of_another: Any) -> None:
            if of_another or isinstance(box, PageBox) or shows(box.style):
                stock(page, box, get_image, **of_another)
                return
            background.resolve_radii_percentages(box)
            for child in box.all_children():
                layout_box_backgrounds(page, child, get_image)
            box.background = None

        return layout_box_backgrounds

    def with_border(stock: Any) -> Any:
        def draw_border(stream: Any, box: Any) -> None:
            if borders(box.style):
                stock(stream, box)

        return draw_border

    _wrap(background, "layout_box_backgrounds", only_shown)
    _wrap(border, "draw_border", with_border)


def _of_style(question: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Ask a style of ours once. Of others the answer is yes."""
    from counterfoil.adapters.pdf.kept import Watched

    def asked(style: Any) -> bool:
        if not isinstance(style, Watched):
            return True
        found: bool | None = style.worked_out.get(question)
        if found is None:
            found = style.worked_out[question] = question(style)
        return found

    return asked


def _shows(style: Any) -> bool:
    """Whether there may be anything behind a box."""
    return bool(
        style["visibility"] != "visible"
        or style["border_image_source"][0] != "none"
        or style["mask_border_source"][0] != "none"
        or any(kind != "none" for kind, _ in style["background_image"])
        or style["background_color"] == "currentcolor"
        or style["background_color"].alpha
        or style["box_shadow"]
    )


def _borders(style: Any) -> bool:
    """Whether there may be anything around a box."""
    return bool(
        style["border_collapse"] == "collapse"
        or style["border_image_source"][0] != "none"
        or style["column_width"] != "auto"
        or style["column_count"] != "auto"
        or any(style[f"border_{side}_width"] for side in _SIDES)
    )


def _go_short_ways(configuration: Any) -> None:
    """Text that fits on its line, and cells of one such line, need little of what is there for all
    that a line or a cell could be.
    """
    from counterfoil.adapters.pdf import cells, glyphs, lines

    glyphs.install(configuration)
    lines.install(configuration)
    cells.install()


def _style_kinds(_configuration: Any) -> None:
    """A row of a table is styled as the one before it."""
    from counterfoil.adapters.pdf import kinds

    kinds.install()


def _number_pages_once(_configuration: Any) -> None:
    """The references to all pages were made anew for every tag; the numbers tell if they differ."""
    import pydyf

    stock = pydyf.PDF.page_references.fget
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def page_references(pdf: Any) -> Any:
        numbers, references = vars(pdf).get("_counterfoil_pages", (None, ()))
        if numbers != pdf.pages["Kids"]:
            references = stock(pdf)
            pdf._counterfoil_pages = (list(pdf.pages["Kids"]), references)
        return references

    pydyf.PDF.page_references = property(page_references)


def _let_pages_go(_configuration: Any) -> None:
    """The tags of a long print take as much room as its pages, which are done by then."""
    import weasyprint.pdf

    def tagged(stock: Any) -> Any:
        def add_tags(pdf: Any, document: Any, *more: Any) -> None:
            if hasattr(document.font_config, "kept"):
                document.pages = _Leaving(document.pages)
            stock(pdf, document, *more)

        return add_tags

    _wrap(weasyprint.pdf, "add_tags", tagged)


class _Leaving(list[Any]):
    """Pages that are empty once the next one is asked for."""

    def __iter__(self) -> Iterator[Any]:
        for page in super().__iter__():
            yield page
            page._page_box.children = ()


def _wrap(module: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
    """Wrap a function of a module wherever the library imported it, but not twice."""
    stock = getattr(module, name)
    if hasattr(stock, "__wrapped__"):
        return
    wrapped = wraps(stock)(wrapper(stock))
    for place, one in list(sys.modules.items()):
        if place.startswith("weasyprint") and vars(one).get(name) is stock:
            setattr(one, name, wrapped)
