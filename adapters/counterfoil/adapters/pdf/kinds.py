"""Elements of one kind are styled once: a table of a thousand rows has four kinds of cells.

Of one kind are elements with the same name and attributes below parents of one kind. Where the
rules ask for nothing else, neither for what comes before an element nor for what is in it, they
say the same of all of a kind, and the same again in the next print by these rules.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import wraps
from typing import Any

from cssselect2 import ElementWrapper

# Attributes that do not differ from document to document.
_USUAL = frozenset(("class", "dir", "lang", "scope"))
# What a compiled selector may ask of an element, of the library's names and Python's.
_LOCAL = {
    *("ancestors", "parent", "id", "classes", "local_name", "namespace_url", "in_html_document"),
    *("etree_element", "attrib", "get", "any", "next"),
}


def install() -> None:
    """Have our documents styled by kinds."""
    from weasyprint.css import StyleFor

    stock = StyleFor.__init__
    if hasattr(stock, "__wrapped__"):
        return

    @wraps(stock)
    def styled(self: Any, html: Any, sheets: Any, hints: Any, fonts: Any, *more: Any) -> None:
        root, matchers = html.wrapper_element, tuple(sheet.matcher for sheet, *_ in sheets)
        ours = isinstance(root, Element) and hasattr(fonts, "kept") and all(map(_local, matchers))
        if ours:
            root.styles, root.rules = self, matchers
        try:
            stock(self, html, sheets, hints, fonts, *more)
        finally:
            if ours:
                root.styles = None

    StyleFor.__init__ = styled


class Element(ElementWrapper):
    """An element of one of our documents, which can be told by its kind."""

    # Of the root, while its document is styled: what holds the styles, and what they follow from.
    styles: Any = None
    rules: tuple[Any, ...] = ()
    # The first element of this kind, and what leads to it if no attribute on the way is unusual.
    first: Element
    path: tuple[Any, ...] | None

    def iter_subtree(self) -> Iterator[Any]:
        """All elements in order; while they are styled, those whose style is not known yet."""
        if self.styles is None:
            yield from super().iter_subtree()
            return
        computed, kept = self.styles.get_computed_styles(), self.styles.font_config.kept
        kinds: dict[Hashable, Element] = {}
        for element in super().iter_subtree():
            etree, above = element.etree_element, element.parent
            described = (etree.tag, *etree.attrib.items())
            element.first = kinds.setdefault(
                (above and above.first.etree_element, *described), element
            )
            if element.first is not element:
                # As others of this document.
                computed[etree, None] = computed[element.first.etree_element, None]
                continue
            path = above.first.path if above else self.rules
            usual = path is not None and _USUAL.issuperset(etree.attrib)
            element.path = (path, *described) if usual else None
            if above is None or element.path is None:
                yield element
                continue
            # As in the print before: on the same path, by the same rules, below the same style.
            key = element.path, id(computed[above.etree_element, None])
            style = kept.find(key)
            if style is None or style["anchor"]:
                yield element
                kept.add(key, computed[etree, None])
            else:
                computed[etree, None] = style


def _local(matcher: Any) -> bool:
    """Whether its selectors ask for an element, its attributes and its ancestors alone."""
    found: bool | None = vars(matcher).get("local")
    if found is None:
        named = (
            matcher.id_selectors,
            matcher.class_selectors,
            matcher.lower_local_name_selectors,
            matcher.namespace_selectors,
        )
        entries = [one for group in named for some in group.values() for one in some]
        entries += matcher.lang_attr_selectors + matcher.other_selectors
        found = matcher.local = all(
            pseudo_element is None and _names(test.__code__) <= _LOCAL
            for test, _, _, pseudo_element, _ in entries
        )
    return found


def _names(code: Any) -> set[str]:
    below = (_names(one) for one in code.co_consts if hasattr(one, "co_names"))
    return set(code.co_names).union(*below)
