"""Do the ways that spare work give what the library gives, whatever a document says, and are they
taken at all?
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from counterfoil.adapters.pdf import writing
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
from support.sheets import PNG, hard, sheet
from support.stock import printed, stock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from counterfoil.domain.ports import Sheet
    from support.stock import Stock

HARD = hard()


@pytest.fixture(scope="module")
def library() -> Iterator[Stock]:
    """The library alone, in a process of its own."""
    with stock() as alone:
        yield alone


@pytest.fixture(scope="module")
def engine() -> Iterator[WeasyPrintEngine]:
    """Ours, compressing as hard as the library: that is the only thing that may differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "LEVEL", 9)
        yield WeasyPrintEngine()


def held(engine: WeasyPrintEngine, library: Stock, sheets: Sequence[Sheet]) -> None:
    """Print them in turn, and each as the library prints it."""
    for one in sheets:
        assert printed(engine, one) == library.printed(one)


SIGNS = (
    *("a", "AV", "fi", "Total", "12.50", " ", "  ", "\u00a0", "\n", "\t", "-", "/", ",", "(", ")"),
    *("\u00ad", "\u200b", "\u200d", "\u200f", "\u202e", "\u2028", "\u2060", "\u0085"),
    *("ä", "e\u0301", "q\u0303\u0330", "שלום", "שָׁ", "فاتورة", "漢", "\U0001f600", "Ω", "…"),
)
CLASSES = ("a", "b", "c")
SELECTORS = (
    *("p", "td", "div", "table", "tr", "b", "*", ".a", ".b", "td.a", ".a .b", ".a > .b", ".c *"),
    *("p + p", "td ~ td", "tr:first-child td", ":nth-child(2)", ":empty", ":not(.a)", ":has(.b)"),
    *("[style]", "[lang]", ":lang(de)", "#i", "body", "html", "p::before", "td::after"),
    *("p::first-letter", "td::first-line", "p::first-line", "tbody", "thead", ":is(td, p)"),
)
DECLARATIONS = tuple(
    f"{name}: {value}"
    for name, values in {
        "white-space": "pre-line|pre|pre-wrap|nowrap|normal",
        "text-align": "left|right|center|justify|end|justify-all",
        "text-align-last": "right|justify|start",
        "text-indent": "9pt|-4pt|30%|200pt",
        "width": "30pt|4pt|60%|20ch|25vw|min-content|max-content",
        "max-width": "20pt|90%",
        "height": "20pt|3pt|40%",
        "min-height": "15pt",
        "max-height": "4pt",
        "font-size": "5pt|17.3pt|0.8em|150%|0",
        "line-height": "0.4|2|13pt|normal|1.01em",
        "font-weight": "bold",
        "font-style": "italic",
        "font-kerning": "none",
        "font-variant": "small-caps|tabular-nums",
        "letter-spacing": "1pt|-0.3pt",
        "word-spacing": "2pt",
        "direction": "rtl|ltr",
        "unicode-bidi": "bidi-override",
        "vertical-align": "top|middle|bottom|baseline|sub|3pt",
        "hyphens": "auto|none",
        "overflow-wrap": "anywhere|break-word",
        "word-break": "break-all",
        "text-overflow": "ellipsis",
        "overflow": "hidden",
        "block-ellipsis": "auto|'…more'",
        "max-lines": "1|2",
        "continue": "discard",
        "text-decoration": "underline|line-through red",
        "text-transform": "uppercase",
        "color": "red|currentcolor|transparent",
        "background": f"#eee|currentcolor|url({PNG})|linear-gradient(red, blue)|transparent",
        "border": "1pt solid|2pt dotted red|0",
        "border-top": "3pt double blue",
        "border-collapse": "collapse|separate",
        "border-spacing": "3pt 2pt",
        "border-radius": "3pt|20%",
        "box-shadow": "1pt 1pt red",
        "box-sizing": "border-box",
        "outline": "1pt solid",
        "padding": "2pt|3%|1ex 0 0.5ch",
        "padding-bottom": "11pt",
        "margin": "3pt|auto|-2pt|5%",
        "display": "block|inline|inline-block|table-cell|table|flex|grid|list-item|none|inline-table",
        "float": "left|right|footnote",
        "clear": "both",
        "position": "relative|absolute|fixed|running(r)",
        "top": "3pt",
        "visibility": "hidden|collapse",
        "empty-cells": "hide",
        "table-layout": "fixed",
        "opacity": "0.5",
        "transform": "rotate(2deg)",
        "columns": "2",
        "column-rule": "1pt solid red",
        "break-inside": "avoid",
        "break-before": "page|avoid|left",
        "break-after": "avoid|page",
        "orphans": "3",
        "widows": "4",
        "box-decoration-break": "clone",
        "page": "other",
        "content": "'x'|attr(class)|counter(n)|counter(page) '/' counter(pages)|leader('.')",
        "counter-increment": "n",
        "counter-reset": "n 3",
        "string-set": "s content()",
        "bookmark-level": "1",
        "list-style": "square inside|decimal outside",
        "z-index": "1",
        "--x": "3pt",
    }.items()
    for value in values.split("|")
)
PAGES = (
    "",
    "@page { size: 70mm 40mm }",
    "@page { size: 50mm 25mm; margin: 3mm }",
    "@page { @top-left { content: string(s) } @bottom-right { content: counter(page) } }",
    "@page :left { margin: 15mm } @page other { size: 60mm 60mm; background: #eee }",
    "@page { @top-center { content: element(r) } @footnote { border-top: 1pt solid } }",
)


@st.composite
def attributes(draw: st.DrawFn) -> str:
    """What an element says of itself."""
    said = draw(st.integers(0, 9))
    if said < 4:
        return ""
    if said < 8:
        return f' class="{" ".join(draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2)))}"'
    if said < 9:
        return f' style="{escape(draw(st.sampled_from(DECLARATIONS)))}"'
    return draw(st.sampled_from((' lang="de"', ' dir="rtl"', ' id="i"', ' data-x="1"')))


words = st.lists(st.sampled_from(SIGNS), max_size=6).map("".join)


@st.composite
def cells(draw: st.DrawFn, name: str = "td") -> str:
    spans = draw(st.sampled_from(("",) * 6 + (' colspan="2"', ' rowspan="2"')))
    within = draw(st.one_of(words, words, words, blocks()))
    return f"<{name}{spans}{draw(attributes())}>{within}</{name}>"


@st.composite
def tables(draw: st.DrawFn) -> str:
    rows = draw(st.lists(st.lists(cells(), min_size=1, max_size=3), min_size=1, max_size=4))
    body = "".join(f"<tr{draw(attributes())}>{''.join(row)}</tr>" for row in rows)
    body *= draw(st.sampled_from((1, 1, 1, 5)))
    head = f"<thead><tr>{draw(cells('th'))}</tr></thead>" if draw(st.booleans()) else ""
    return f"<table{draw(attributes())}>{head}<tbody>{body}</tbody></table>"


@st.composite
def blocks(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(("p", "div", "p", "b", "li")))
    within = draw(st.lists(st.one_of(words, words.map(lambda text: f"<b>{text}</b>")), max_size=2))
    return f"<{name}{draw(attributes())}>{''.join(within)}</{name}>"


bodies = st.lists(st.one_of(blocks(), blocks(), tables()), min_size=1, max_size=4).map("".join)
rules = st.builds(
    lambda selector, said: f"{selector} {{ {'; '.join(said)} }}",
    st.sampled_from(SELECTORS),
    st.lists(st.sampled_from(DECLARATIONS), min_size=1, max_size=3),
)
styles = st.builds(
    lambda page, said: page + "\n".join(said),
    st.sampled_from(PAGES),
    st.lists(rules, max_size=5),
)


@given(bodies, bodies, styles)
@settings(max_examples=60)
def test_any_document_is_printed_as_the_library_prints_it(
    engine: WeasyPrintEngine, library: Stock, body: str, other: str, style: str
) -> None:
    one, two = sheet(body, style), sheet(other, style)
    held(engine, library, (one, two, one))
