"""Do the ways that spare work give what the library gives, whatever a document says, and are they
taken at all?
"""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import psutil
import pytest
from cssselect2 import Matcher
from hypothesis import given, settings
from hypothesis import strategies as st
from weasyprint.text.ffi import ffi

from counterfoil.adapters.pdf import cells, glyphs, kept, lines, native, writing
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import LIMITS, WeasyPrintEngine
from counterfoil.domain.errors import RenderFailed
from support.invoices import issued, many, office
from support.sheets import BODY, PAGE, PNG, TABLE_STYLES, hard, sheet
from support.stock import PATH, own, printed, stock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
        "display": "block|inline|inline-block|table-cell|table|inline-table|flex|grid|list-item",
        "float": "left|right|footnote",
        "clear": "both",
        "position": "relative|absolute|fixed|running(r)",
        "top": "3pt",
        "display ": "none",
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
        return (
            f' class="{" ".join(draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=2)))}"'
        )
    if said < 9:
        return f' style="{escape(draw(st.sampled_from(DECLARATIONS)))}"'
    return draw(st.sampled_from((' lang="de"', ' dir="rtl"', ' id="i"', ' data-x="1"')))


words = st.lists(st.sampled_from(SIGNS), max_size=6).map("".join)


@st.composite
def a_cell(draw: st.DrawFn, name: str = "td") -> str:
    spans = draw(st.sampled_from(("",) * 6 + (' colspan="2"', ' rowspan="2"')))
    within = draw(st.one_of(words, words, words, blocks()))
    return f"<{name}{spans}{draw(attributes())}>{within}</{name}>"


@st.composite
def tables(draw: st.DrawFn) -> str:
    rows = draw(st.lists(st.lists(a_cell(), min_size=1, max_size=3), min_size=1, max_size=4))
    body = "".join(f"<tr{draw(attributes())}>{''.join(row)}</tr>" for row in rows)
    body *= draw(st.sampled_from((1, 1, 1, 5)))
    head = f"<thead><tr>{draw(a_cell('th'))}</tr></thead>" if draw(st.booleans()) else ""
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


def drawn(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Two documents of one style, of which the second could be marked by the first, and back."""

    def asked(law: Callable[..., None]) -> Callable[..., None]:
        return settings(max_examples=examples)(given(bodies, bodies, styles)(law))

    return asked


@drawn(30)
def test_any_document_is_printed_as_the_library_prints_it(
    engine: WeasyPrintEngine, library: Stock, body: str, other: str, style: str
) -> None:
    one, two = sheet(body, style), sheet(other, style)
    held(engine, library, (one, two, one))


@pytest.mark.slow
@drawn(300)
def test_any_of_many_documents_is_printed_as_the_library_prints_it(
    engine: WeasyPrintEngine, library: Stock, body: str, other: str, style: str
) -> None:
    one, two = sheet(body, style), sheet(other, style)
    held(engine, library, (one, two, one))


# Each was printed otherwise once, or is the nearest to what was.
FOREMOST = (
    *("blocks, clamped", "cells, clamped as Webkit", "cells, cut off pre-line", "blocks, beside"),
    *("cells, inline block", "mixed, inline", "mixed, floating", "long, beside all"),
    *("blocks, as it is", "cells, pre-line", "mixed, having", "mixed, siblings", "mixed, pictures"),
    *("long, rows kept together", "long, margins of a kind", "mixed, in the current colour"),
    *("table on 36 mm", "long, lower than a row", "mixed, with a foot", "two notes of one look"),
)


def test_what_is_hardest_to_print_is_printed_as_the_library_prints_it(
    engine: WeasyPrintEngine, library: Stock
) -> None:
    held(engine, library, [HARD[name] for name in FOREMOST])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_all_that_is_hard_to_print_is_printed_as_the_library_prints_it_in_any_order(
    engine: WeasyPrintEngine, library: Stock, part: int
) -> None:
    # Four parts, so that workers share them; neighbours stay together in each.
    size = len(HARD) // 4 + 1
    names = list(HARD)[part * size : (part + 1) * size]
    wrong = [
        name
        for order in (names, names[::-1], names[::3] + names[2::3] + names[1::3])
        for name in order
        if printed(engine, HARD[name]) != library.printed(HARD[name])
    ]
    assert wrong == []


@pytest.mark.slow
def test_styles_that_are_forgotten_while_a_print_needs_them_change_nothing(
    library: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LEVEL", 9)
    monkeypatch.setattr(kept, "STYLES_KEPT", 7)
    engines = WeasyPrintEngine(), WeasyPrintEngine()
    for place, name in enumerate([name for name in HARD if "blocks" not in name]):
        held(engines[place % 2], library, (HARD[name], HARD[name]))


@pytest.mark.parametrize(
    ("style", "before", "copied"),
    [
        (
            "b, i { padding: 1ex 0.5ch } td::first-line { font-size: 17pt } i { display: block }",
            "<table><tr><td><b>a<b></b><i></i></b></td></tr></table>",
            "<table><tr><td><b>a<b></b><i></i></b></td></tr></table>",
        ),
        (
            "b { line-height: 3em; padding: 1em } p:nth-child(2)::first-line { font-size: 17pt }",
            "<p><b>bold</b></p>",
            "<p>one</p><p><b>bold</b></p>",
        ),
    ],
)
def test_a_copy_of_a_style_takes_nothing_along_that_an_earlier_print_worked_out(
    engine: WeasyPrintEngine, library: Stock, style: str, before: str, copied: str
) -> None:
    held(engine, library, [sheet(body, style) for body in (before, copied, before, copied)])


def test_next_to_nothing_of_what_is_hard_is_refused_by_the_library(library: Stock) -> None:
    """Two refusals are alike, so a sheet that is refused proves nothing."""
    assert [name for name in FOREMOST if isinstance(library.printed(HARD[name]), str)] == []


OWN = [f"<style>{PAGE} {style}</style>{BODY}" for style in TABLE_STYLES.values()][::6]
OWN += [
    f"<style>{PAGE} p {{ {style} }}</style><p>Two words\nof the host<p>and more " + "x " * 90
    for style in ("float: left", "display: inline-block", "line-clamp: 1; white-space: pre-line")
]


def test_the_hosts_own_documents_are_printed_as_ever(
    engine: WeasyPrintEngine, library: Stock
) -> None:
    engine.render(HARD["mixed, apart"])
    assert [html for html in OWN if own(html) != library.printed(html)] == []


def test_threads_that_print_by_one_engine_and_a_host_that_prints_beside_them_share_nothing(
    engine: WeasyPrintEngine, library: Stock
) -> None:
    names = ("mixed, apart", "blocks, as it is", "mixed, clamped", "cells, center")
    with ThreadPoolExecutor(3) as threads:
        theirs = threads.submit(lambda: [own(html) for html in OWN[-3:] * 2])
        ours = [
            threads.submit(lambda order: [printed(engine, HARD[name]) for name in order], order)
            for order in (names, names[::-1])
        ]
        assert theirs.result() == [library.printed(html) for html in OWN[-3:] * 2]
        for order, done in zip((names, names[::-1]), ours, strict=True):
            assert done.result() == [library.printed(HARD[name]) for name in order]


@pytest.fixture(scope="module")
def invoice() -> Sheet:
    """Our own document of six lines."""
    recorder = RecordingEngine()
    with office(recorder) as tenant:
        tenant.render_invoice_pdf(issued(tenant, many(6)).id)
    return recorder.sheets[0]


def counted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """What a function gives from now on."""
    stock_one, given_back = getattr(owner, name), []

    def counting(*said: object, **named: object) -> object:
        given_back.append(stock_one(*said, **named))
        return given_back[-1]

    monkeypatch.setattr(owner, name, counting)
    return given_back


def test_nearly_all_of_an_invoice_goes_the_short_ways(
    monkeypatch: pytest.MonkeyPatch, invoice: Sheet
) -> None:
    engine = WeasyPrintEngine()
    engine.render(invoice)
    of_cells = counted(monkeypatch, cells, "next_line")
    of_blocks = counted(monkeypatch, lines, "next_line")
    in_cells = counted(monkeypatch, cells, "_laid_out")
    strings = counted(monkeypatch, glyphs, "_drawn")
    styled = counted(monkeypatch, Matcher, "match")
    engine.render(invoice)
    found = [one for one in of_cells + of_blocks if one is not None]
    assert len(found) > 0.8 * len(of_cells + of_blocks) > 40
    assert len([one for one in in_cells if one is not None]) > 0.8 * len(in_cells) > 30
    assert all(strings)
    assert len(strings) > 60
    # By each set of rules the root, and what has an attribute of its own.
    assert len(styled) < 0.2 * invoice.html.count("</") * (1 + len(invoice.styles))


@pytest.mark.parametrize("name", ["mixed, apart", "blocks, pre-line", "blocks, tiny"])
def test_a_print_leaves_neither_fonts_nor_texts_behind(engine: WeasyPrintEngine, name: str) -> None:
    printed(engine, HARD[name])
    left = engine._configuration
    assert (left.pens, left.fonts_used, left.shapers_used) == ({}, {}, set())


def test_a_print_that_fails_leaves_neither_fonts_nor_texts_behind() -> None:
    engine = WeasyPrintEngine(limits=replace(LIMITS, pages=1))
    with pytest.raises(RenderFailed):
        engine.render(HARD["long, low pages"])
    left = engine._configuration
    assert (left.pens, left.fonts_used, left.shapers_used) == ({}, {}, set())
    assert len(left.kept) == 0


def test_no_text_of_a_print_stays_in_a_style_that_is_kept() -> None:
    engine = WeasyPrintEngine()
    engine.render(sheet("<p>Miss Secret</p><table><tr><td>her sum</td></tr></table>"))
    shapers = [
        one
        for style in engine._configuration.kept._styles.values()
        for one in vars(style.anonymous_style).get("worked_out", {}).values()
        if isinstance(one, lines._Shaper)
    ]
    read = native._required(native._PANGO).pango_layout_get_text
    read.argtypes, read.restype = (ctypes.c_void_p,), ctypes.c_char_p
    texts = {read(int(ffi.cast("uintptr_t", one._layout))) for one in shapers}
    assert texts == {b""}


# What each lever wraps.
LEVERS = {
    "styles": ("weasyprint.css.StyleFor.set_computed_styles",),
    "tables": ("weasyprint.formatting_structure.build.wrap_table",),
    "measures": ("weasyprint.text.line_break.strut",),
    "boxes": ("weasyprint.layout.percent.resolve_percentages",),
    "backgrounds": ("weasyprint.layout.background.layout_box_backgrounds",),
    "borders": ("weasyprint.draw.border.draw_border",),
    "texts": ("weasyprint.draw.text.draw_text", "weasyprint.text.line_break.Layout.deactivate"),
    "lines": ("weasyprint.layout.inline.get_next_linebox",),
    "cells": ("weasyprint.layout.block.block_container_layout",),
}
# What a lever needs and does not wrap, or what another needs too.
NEEDED = {
    "weasyprint.css.StyleFor.set_computed_styles": {"styles", "tables"},
    "weasyprint.css.properties.TABLE_WRAPPER_BOX_PROPERTIES": set(LEVERS),
    "counterfoil.adapters.pdf.kept": set(LEVERS),
    "counterfoil.adapters.pdf.glyphs": {"texts", "lines", "cells"},
    "counterfoil.adapters.pdf.cells": {"texts", "lines", "cells"},
    "weasyprint.draw.text.draw_text": {"texts", "lines", "cells"},
    "weasyprint.text.line_break.Layout.deactivate": {"texts", "lines", "cells"},
    "weasyprint.layout.inline.get_next_linebox": {"lines", "cells"},
    "weasyprint.layout.background.layout_box_backgrounds": {"backgrounds", "borders"},
    "pydyf.PDF.page_references": set(),
}
# In a child of its own each, for a wrapped name stays wrapped.
WITHOUT = """
import os, pickle, sys
from importlib import import_module
from counterfoil.adapters.pdf import kinds, weasy, writing
from support.stock import printed
import weasyprint
writing.LEVEL = 9
missing, levers, sheet = pickle.load(sys.stdin.buffer)
def place(name):
    above, _, last = name.rpartition(".")
    try:
        return import_module(above), last
    except ImportError:
        module, _, kind = above.rpartition(".")
        return getattr(import_module(module), kind), last
def wrapped(name):
    return hasattr(vars(place(name)[0])[place(name)[1]], "__wrapped__")
def without(name):
    if name.startswith("counterfoil"):
        sys.modules[name] = None
        engine = weasy.WeasyPrintEngine()
    else:
        owner, last = place(name)
        was = vars(owner)[last]
        delattr(owner, last)
        engine = weasy.WeasyPrintEngine()
        setattr(owner, last, was)
    pulled = {lever for lever, names in levers.items() if all(map(wrapped, names))}
    return pulled, printed(engine, sheet)
found = {}
for name in missing:
    answer, say = os.pipe()
    if not os.fork():
        with os.fdopen(say, "wb") as out:
            pickle.dump(without(name), out)
        os._exit(0)
    os.close(say)
    with os.fdopen(answer, "rb") as child:
        found[name] = pickle.load(child)
    os.wait()
pickle.dump(found, sys.stdout.buffer)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the names go missing in children")
def test_a_name_that_is_missing_costs_its_lever_and_what_stands_on_it(library: Stock) -> None:
    names = {name: {lever} for lever, wraps in LEVERS.items() for name in wraps} | NEEDED
    one = HARD["mixed, apart"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PATH + WITHOUT],
        input=pickle.dumps((list(names), LEVERS, one)),
        stdout=subprocess.PIPE,
        check=True,
    )
    for name, (pulled, made) in pickle.loads(done.stdout).items():  # noqa: S301  (our own process)
        assert made == library.printed(one), name
        assert pulled >= set(LEVERS) - names[name], name


@pytest.mark.slow
def test_the_memory_of_a_process_does_not_grow_with_what_it_printed() -> None:
    engine, process = WeasyPrintEngine(), psutil.Process()

    def some(first: int) -> int:
        for number in range(first, first + 200):
            look = f"p.x {{ padding: {number % 97 / 10}pt; font-size: {8 + number % 13}pt }}"
            text = f'<p class="x" style="color: #{number:06}">No {number} {chr(200 + number)}</p>'
            engine.render(sheet(text + BODY.replace("two", f"two {number}"), look))
        gc.collect()
        return int(process.memory_info().rss)

    some(0)  # what is kept is full by then
    before, after = some(200), some(400)
    assert after - before < 20 * 1024**2
