"""Which computed styles may a print take from the one before it?

A computed style follows from its parent's, from what the cascade gave it, and from the size of the
first page where a length goes by that. The first two are its key here. A print that asks for the
third leaves nothing behind, and neither does a style that was changed after it was computed. The
styles of the host's own prints have another font configuration, and nothing is kept of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from weasyprint.css import ZERO_PIXELS, AnonymousStyle, ComputedStyle, StyleFor
from weasyprint.css.properties import TABLE_WRAPPER_BOX_PROPERTIES
from weasyprint.formatting_structure import build
from weasyprint.layout.page import PageType

from counterfoil.adapters.pdf.faster import Stale

# A document has some 60 styles of up to 20 KiB each: this is enough for a dozen looks in turn.
STYLES_KEPT = 768


class Kept:
    """The computed styles of one engine's prints; those longest unused are forgotten."""

    def __init__(self) -> None:
        self._styles: dict[Hashable, Computed] = {}
        self._sizes = _Sizes(box=None, area=None)
        self._print = 0
        self._of_tables = False

    def __len__(self) -> int:
        return len(self._styles)

    def begin(self) -> _Sizes:
        """Where a new print writes the size of its first page. It does not know it yet."""
        if self._sizes.asked:
            self.forget()
        self._sizes.update(box=None, area=None)
        self._print += 1
        return self._sizes

    def forget(self) -> None:
        """Keep nothing of what was, as after a print that failed on its way."""
        self._styles.clear()
        self._sizes = _Sizes(box=None, area=None)

    def find(self, key: Hashable) -> Computed | None:
        """The style of this key, if it is as it was computed."""
        style = self._styles.pop(key, None)
        if style is None or style.changed:
            return None
        self._styles[key] = style
        return style

    def add(self, key: Hashable, style: Computed) -> None:
        """Keep a style: it holds its parent and its values, so the ids in its key stay theirs."""
        if not hasattr(style, "made_for"):
            style.made_for = self._print
        self._styles[key] = style
        if len(self._styles) > STYLES_KEPT:
            del self._styles[next(iter(self._styles))]

    def copied(self, style: Computed) -> None:
        """Take note that a style is copied, or refuse it to be.

        A copy is given other values, as those of a first line, and what it works out later follows
        from them. What it takes along must therefore be what this print has worked out.
        """
        if not self._of_tables:
            style.changed = True
            if style.made_for != self._print:
                raise Stale

    @contextmanager
    def copying_tables(self) -> Iterator[None]:
        """Let tables copy styles: from what they change in a copy nothing else follows."""
        self._of_tables = True
        try:
            yield
        finally:
            self._of_tables = False


class _Sizes(dict[str, Any]):
    """The sizes of a first page, and whether any length went by them."""

    asked = False

    def __getitem__(self, key: str) -> Any:
        self.asked = True
        return super().__getitem__(key)


if TYPE_CHECKING:
    # Mixed into the library's styles, which are dictionaries.
    _Base = dict[str, Any]
else:
    _Base = object


class Watched(_Base):
    """A style that knows when a value of it is replaced by another than was computed.

    What was worked out from its values may therefore stay with it, until that happens.
    """

    owner: Computed
    font_config: Any
    computing = 0
    set_anew: frozenset[str] = frozenset()

    @cached_property
    def worked_out(self) -> dict[Hashable, Any]:
        """What follows from the values, by what it is."""
        return {}

    @cached_property
    def anonymous_style(self) -> Anonymous:
        """The style of the boxes that have no element. They are shared, so they are watched too."""
        style = AnonymousStyle(self)
        style.__class__ = Anonymous
        style.owner = self.owner
        watched: Anonymous = style
        return watched

    def copy(self) -> Any:
        """Another style with these values, to be changed."""
        self.font_config.kept.copied(self.owner)
        return super().copy()

    def __missing__(self, name: str) -> Any:
        self.computing += 1
        try:
            return super().__missing__(name)  # type: ignore[misc]  # their own kind of dictionary has it
        finally:
            self.computing -= 1

    def __setitem__(self, name: str, value: Any) -> None:
        if not self.computing and self._changes(name, value):
            self.owner.changed = True
            self.worked_out.clear()
        super().__setitem__(name, value)

    def _changes(self, name: str, value: Any) -> bool:
        # Whenever the style of a cell is asked for, it is told again that it has no margin.
        unusual = value is not ZERO_PIXELS and name not in self.owner.set_anew
        return unusual and (name not in self or self[name] != value)


class Computed(Watched, ComputedStyle):
    """The style of an element."""

    changed = False
    made_for: int


class OfPage(Computed):
    """The style of a page or of a box in its margin."""

    # The layout sets these for every page: overflow to the root's, and counters, of which nothing
    # else follows, to what they became when they were set first.
    set_anew = frozenset({"overflow", "counter_set", "counter_reset", "counter_increment"})


class Anonymous(Watched, AnonymousStyle):
    """The style of a box without an element, below one that is kept."""


def keep(configuration: Any) -> None:
    """Keep the styles of the prints that have this font configuration."""
    configuration.kept = Kept()
    if not hasattr(StyleFor.set_computed_styles, "__wrapped__"):
        StyleFor.set_computed_styles = _keeping(StyleFor.set_computed_styles)
        build.wrap_table = _keeping_tables(build.wrap_table)


def _keeping(stock: Any) -> Any:
    @wraps(stock)
    def set_computed_styles(
        self: Any, element: Any, parent: Any, root: Any = None, **rest: Any
    ) -> None:
        kept: Kept | None = getattr(self.font_config, "kept", None)
        pseudo_type = rest.get("pseudo_type")
        of_page = isinstance(element, PageType)
        # Styles of other pseudo-elements are few, and changed by the layout.
        ours = of_page or (isinstance(element, ET.Element) and pseudo_type is None)
        if kept is None or not ours:
            stock(self, element, parent, root, **rest)
            return
        if element is root:
            self.initial_page_sizes = kept.begin()
        computed = self.get_computed_styles()
        above = computed[parent, None] if parent is not None else None
        cascaded = self.get_cascaded_styles().get((element, pseudo_type), {})
        # The weights of rules for pages hold lists.
        weigh = _alike if of_page else tuple
        given = tuple((name, weigh(by), _alike(one)) for name, (one, by) in cascaded.items())
        key = (id(above), rest.get("base_url"), of_page, pseudo_type, given)
        style = kept.find(key)
        if style is None:
            stock(self, element, parent, root, **rest)
            style = computed[element, pseudo_type]
            style.__class__ = OfPage if of_page else Computed
            style.owner = style
            kept.add(key, style)
            return
        computed[element, pseudo_type] = style
        collector = rest.get("target_collector")
        if collector and style["anchor"]:
            collector.collect_anchor(style["anchor"])

    return set_computed_styles


def _keeping_tables(stock: Any) -> Any:
    """A table's style is made into two each time, of which the one is the box around it."""

    @wraps(stock)
    def wrap_table(box: Any, children: Any) -> Any:
        style = box.style
        ours = isinstance(style, Computed) and style["border_collapse"] != "collapse"
        for name in TABLE_WRAPPER_BOX_PROPERTIES if ours else ():
            style[name]  # worked out here it is kept, in the copies it is not
        with style.font_config.kept.copying_tables() if ours else nullcontext():
            wrapper = stock(box, children)
        if ours:
            table = wrapper.get_wrapped_table()
            made = style.worked_out.setdefault(wrap_table, (wrapper.style, table.style))
            if made[0] is wrapper.style:
                wrapper.style.__class__, table.style.__class__ = Anonymous, Computed
                wrapper.style.owner = table.style.owner = style.owner
            wrapper.style, table.style = made
        return wrapper

    return wrap_table


def _alike(value: Any) -> Hashable:
    """The same for values that compute the same. What may be anything is like itself alone."""
    if type(value) is str or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return type(value), *map(_alike, value)
    if type(value) in {int, float, bool}:
        return type(value), repr(value)
    return id(value)
