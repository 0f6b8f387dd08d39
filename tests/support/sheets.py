"""Documents that are hard to print: each is a way in which a short way could lose its own."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING

from counterfoil.domain.ports import Sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PAGE = "@page { size: 90mm 120mm; margin: 9mm } body { font: 9pt 'Noto Sans' }"
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAHElEQVR4nGM8ISfHwMDA"
    "wMDAxMDAYGHziIGBAQAZMgJexKqXRAAAAABJRU5ErkJggg=="
)


def sheet(body: str, style: str = "", *, root: str = 'lang="en"', head: str = "") -> Sheet:
    """A document of this body, in this style."""
    return Sheet(
        html=f"<html {root}><head><title>One</title>{head}</head><body>{body}</body></html>",
        styles=(PAGE, style),
        written_at=AT,
    )


TEXTS = {
    "nothing": "",
    "a space": " ",
    "one no-break space": "\u00a0",
    "no-break spaces around": "\u00a0\u00a0ten\u00a0EUR\u00a0",
    "spaces around": "  two  words  ",
    "soft hyphens": "in\u00advoice num\u00adber and a very long wo\u00adrd",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "zero width alone": "\u200b",
    "a zero width joiner alone": "\u200d",
    "a tab": "a\tb",
    "lines": "one\ntwo\nthree",
    "blank lines": "one\n\n\ntwo\n",
    "a first blank line": "\none",
    "lines with spaces": " one \n two  \n three",
    "lines that end in spaces": "one \u00a0\ntwo\u00a0\n",
    "only a newline": "\n",
    "other separators": "a\u2028b\u2029c\u0085d",
    "Hebrew": "שלום 123 עולם",
    "Hebrew in Latin": "Invoice שלום 12.50 עולם (total)",
    "Latin in Hebrew": "שלום Invoice 12.50 (סך) end",
    "Arabic": "فاتورة رقم 123",
    "Arabic in Latin": "Total فاتورة 12 (رقم), end",
    "three scripts": "abc שלום فاتورة Ωμ я",
    "missing": "漢字 and \U0001f600",
    "missing alone": "漢",
    "combining": "e\u0301 a\u0308\u0323 q\u0303\u0330\u0301 x\u20d7 שָׁלוֹם مُحَمَّد",
    "ligatures": "office AVATAR To fi ffl WAVE T. 11/2",
    "controls of direction": "\u202eabc\u202c \u2066שלום\u2069 \u200fabc\u200e",  # noqa: RUF001  (Hebrew)
    "long": "The quick brown fox jumps over the lazy dog, again and again, " * 4,
    "a long word": "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 2,
    "slashes and hyphens": "2026-01/02-03-04/05-06/07-08/09-10/11-12/13-14/15-16/17-18",
    "surrogate pairs": "a\U0001d400b\U0001f1e9\U0001f1eac",
    "numbers": "1,234,567.89",
}
# What may be said of the text of a block and of a cell.
TEXT_STYLES = {
    "as it is": "",
    "pre-line": "white-space: pre-line",
    "pre": "white-space: pre",
    "pre-wrap": "white-space: pre-wrap",
    "nowrap": "white-space: nowrap",
    "narrow": "width: 60pt",
    "very narrow": "width: 4pt",
    "narrow pre-line": "width: 60pt; white-space: pre-line; text-align: right",
    "letters apart": "letter-spacing: 1.3pt",
    "words apart": "word-spacing: 2.1pt",
    "indented": "text-indent: 13.3pt",
    "hanging": "text-indent: -7%; padding-left: 9pt",
    "indented by much": "text-indent: 90%; white-space: pre-line",
    "start": "text-align: start",
    "end": "text-align: end; white-space: pre-line",
    "center": "text-align: center; white-space: pre-line",
    "justify": "text-align: justify",
    "justify all": "text-align: justify-all; white-space: pre-line",
    "last is right": "text-align: left; text-align-last: right; white-space: pre-line",
    "last is justified": "text-align: left; text-align-last: justify",
    "right to left": "direction: rtl",
    "right to left pre-line": "direction: rtl; white-space: pre-line; text-align: start",
    "underlined": "text-decoration: underline wavy red",
    "overlined": "text-decoration: overline line-through",
    "bold italic": "font-weight: bold; font-style: italic",
    "high": "line-height: 2.7",
    "low": "line-height: 0.3; white-space: pre-line",
    "high by length": "line-height: 17pt",
    "tiny": "font-size: 0.01pt",
    "none at all": "font-size: 0",
    "huge": "font-size: 41pt",
    "hidden": "visibility: hidden",
    "small caps": "font-variant: small-caps; font-kerning: none",
    "old figures": "font-feature-settings: 'onum', 'frac'; font-variant-ligatures: none",
    "no ligatures": "font-variant-ligatures: none; font-variant-numeric: tabular-nums",
    "upper": "text-transform: uppercase",
    "capitals": "text-transform: capitalize",
    "wide forms": "text-transform: full-width",
    "broken anywhere": "overflow-wrap: anywhere; width: 30pt",
    "broken words": "overflow-wrap: break-word; width: 30pt; white-space: pre-line",
    "all broken": "word-break: break-all; width: 30pt",
    "hyphens": "hyphens: auto; width: 40pt",
    "no hyphens": "hyphens: none; width: 40pt",
    "hyphens by hand": "hyphens: manual; width: 40pt",
    "cut off": "text-overflow: ellipsis; overflow: hidden; width: 30pt; white-space: nowrap",
    "cut off pre-line": "text-overflow: ellipsis; overflow: hidden; white-space: pre-line",
    "cut off in width": "text-overflow: ellipsis; overflow: hidden; width: 200pt",
    "one line": "max-lines: 1; continue: discard; white-space: pre-line",
    "clamped": "line-clamp: 2; white-space: pre-line",
    "clamped with a sign": "line-clamp: 1 '(more)'; white-space: pre-line",
    "clamped as Webkit": "max-lines: 1; block-ellipsis: auto; white-space: pre-line",
    "ended": "block-ellipsis: auto; continue: discard; height: 14pt; white-space: pre-line",
    "transparent": "color: transparent",
    "half": "opacity: 0.5",
    "turned": "transform: rotate(3deg) scale(1.1)",
    "beside": "float: left; width: 50pt",
    "absolute": "position: absolute; top: 9pt; right: 3pt",
    "relative": "position: relative; top: 3pt; left: 5%",
    "fixed": "position: fixed; bottom: 0",
    "inline": "display: inline",
    "inline block": "display: inline-block; vertical-align: middle",
    "flexible": "display: flex",
    "grid": "display: grid",
    "columns": "columns: 2; column-rule: 1pt solid red; white-space: pre-line",
    "an item": "display: list-item; list-style: square inside",
    "an item outside": "display: list-item; list-style: decimal outside; margin-left: 20pt",
    "first letter": "",
    "first line": "",
    "before": "",
    "after": "",
    "in other letters": "font-family: 'Noto Sans Hebrew', 'Noto Sans Arabic', serif",
    "in another language": "-weasy-lang: 'de'; hyphens: auto",
    "by the character": "padding: 1ch 1ex; width: 20ch; line-height: 1.1lh; text-indent: 1rem",
    "by variables": "--x: calc(3pt + 1em); padding: var(--x); text-indent: calc(var(--x) / 2 - 3%)",
    "by the paper": "width: 40vw; margin-left: 3vmin; white-space: pre-line",
    "to the brim": "width: max-content; white-space: pre-line",
    "as narrow as may be": "width: min-content",
}
_PSEUDO = {
    "first letter": "X::first-letter { font-size: 2em; color: red }",
    "first line": "X::first-line { font-weight: bold; letter-spacing: 1pt }",
    "before": "X::before { content: '→' attr(class) ' ' }",
    "after": "X::after { content: counter(n) ')'; counter-increment: n }",
}


def texts() -> Iterator[tuple[str, Sheet]]:
    """Every style with every text, in blocks and in cells."""
    for name, declarations in TEXT_STYLES.items():
        blocks = "".join(f'<p class="x">{text}</p>' for text in TEXTS.values())
        rows = "".join(
            f'<tr><td class="x">{text}</td><td>3</td><td class="x">{other}</td></tr>'
            for text, other in zip(TEXTS.values(), [*TEXTS.values()][::-1], strict=True)
        )
        pseudo = _PSEUDO.get(name, "")
        blocked = f"p.x {{ {declarations} }}" + pseudo.replace("X", "p.x")
        celled = f"td.x {{ {declarations} }}" + pseudo.replace("X", "td.x")
        yield f"blocks, {name}", sheet(blocks, blocked)
        yield f"cells, {name}", sheet(f"<table>{rows}</table>", celled)


ROWS = "".join(
    f'<tr class="r{row % 3}"><td>{row}</td><td class="b">Item {row}<br/>more</td>'
    f'<td class="n">{row * 7.5:.2f}</td></tr>'
    for row in range(1, 41)
)
TABLE = (
    '<table class="t"><thead><tr><th>No</th><th>Item</th><th class="n">Sum</th></tr></thead>'
    f"<tbody>{ROWS}</tbody><tfoot><tr><td>Σ</td><td></td><td>99.00</td></tr></tfoot></table>"
)
SMALL = (
    '<table class="t"><tr><td class="a">one</td><td rowspan="2">two<br/>lines</td>'
    '<td>three</td></tr><tr><td colspan="1" class="b">four</td><td>five שלום</td></tr>'
    '<tr class="c"><td colspan="3">six</td></tr><tr><td></td><td> </td><td>\u00a0</td></tr></table>'
)
BODY = (
    '<h1 id="top">Head</h1><p class="a">One <b>two</b> three</p><p>Alone</p>'
    f'<ul><li>four</li><li>five</li></ul>{SMALL}<p class="a b" data-k="v-1">End</p>'
    '<p><a href="#top">up</a></p><div class="w"><p>in</p><p></p><p>of</p></div>'
)
TABLE_STYLES = {
    "cells at the top": "td { vertical-align: top }",
    "cells in the middle": "td { vertical-align: middle; height: 30pt }",
    "cells at the bottom": "td { vertical-align: bottom; min-height: 20pt }",
    "cells on a line": "td { vertical-align: baseline } .a { font-size: 20pt }",
    "cells on a line below": "td { vertical-align: sub } .a { font-size: 5pt; padding-top: 9pt }",
    "cells of a height": "td { height: 25pt; max-height: 10pt }",
    "rows of a height": "tr { height: 25% } .a { height: 50% }",
    "collapsed": "table { border-collapse: collapse } td { border: 1pt solid; padding: 2pt }",
    "collapsed unequally": (
        "table { border-collapse: collapse; border: 2pt dotted } .a { border: 3pt double red }"
        ".c { border-top: hidden } .b { border-bottom: 5pt ridge blue }"
    ),
    "apart": "table { border-spacing: 3pt 5pt; border: 1pt solid } td { background: #eee }",
    "empty cells hidden": "td { empty-cells: hide; border: 1pt solid; background: red }",
    "collapsed rows": "tr.c { visibility: collapse } .a { visibility: hidden }",
    "fixed": "table { table-layout: fixed; width: 100% } .a { width: 10pt }",
    "fixed and narrow": "table { table-layout: fixed; width: 40pt } td { overflow: hidden }",
    "wide": "table { width: 100% } .a { width: 33.3% } .b { min-width: 50pt; max-width: 51pt }",
    "margins": "td { margin: 9pt } tr { margin: 3pt } table { margin: 1% auto }",
    "padded by parts": "td { padding: 3% 1em 0.3ex 2ch }",
    "boxed": "td { box-sizing: border-box; width: 40pt; padding: 7pt; border: 1pt solid }",
    "floating": ".a { float: left } .b { position: absolute } .c { position: relative; top: 3pt }",
    "relative cells": "td { position: relative; left: 3pt; top: 1pt }",
    "shadowed": "td { box-shadow: 1pt 1pt 2pt red; outline: 1pt solid; outline-offset: 1pt }",
    "pictures": f"td {{ background: url({PNG}) 3pt / 5pt round, #efe }}",
    "a picture on rows": f"tr.c {{ background: url({PNG}) }} tbody {{ background: #fee }}",
    "gradients": "td { background-image: linear-gradient(red, blue) } tr { background: #eef }",
    "pictures around": f"td {{ border: 3pt solid; border-image: url({PNG}) 1 round }}",
    "pictures around nothing": f"td, p {{ border-image: url({PNG}) 1 / 3px stretch }}",
    "masked": f"td {{ mask-border: url({PNG}) 1 }}",
    "round": "td { border-radius: 3pt 9% / 2pt; border: 1pt solid; background: #ddd }",
    "round and cut": "td { border-radius: 3pt; overflow: hidden } .c { border-radius: 50% }",
    "in the current colour": "td { background: currentcolor; color: #eee } .a { color: red }",
    "in a changed colour": "tr:hover td { color: red } .a { color: inherit; background: inherit }",
    "right to left": "table { direction: rtl }",
    "one cell right to left": ".a { direction: rtl } .c { direction: rtl; text-align: left }",
    "hyphenated": "td { hyphens: auto; width: 9pt }",
    "first letters": "td::first-letter { color: red } .b::first-line { font-weight: bold }",
    "before and after": "td::before { content: '[' } td:last-child::after { content: ']' }",
    "marked": (
        "li::marker { color: red; font-size: 5pt } li + li { list-style: inside upper-roman }"
    ),
    "turned": "table { transform: rotate(4deg) } td { opacity: 0.4 }",
    "turned cells": "td { transform: translate(3pt, 1pt) } tr { opacity: 0.9 }",
    "a table of blocks": "table, tr, td, tbody { display: block }",
    "blocks as a table": "div.w { display: table } .w p { display: table-cell }",
    "inline": "table { display: inline-table } .c { display: none }",
    "named": "table { page: wide } @page wide { size: 150mm 60mm; margin: 3mm }",
    "named cells": "td.a { page: wide } @page wide { size: 150mm 60mm }",
    "with a foot": (
        "td.a, b { float: footnote; counter-increment: footnote } *::footnote-call,"
        "*::footnote-marker { content: counter(footnote) '.'; display: inline }"
    ),
    "in columns": ".w, body { columns: 2; column-rule: 2pt dashed red; column-gap: 9pt }",
    "in many columns": "body { column-width: 40pt; column-fill: auto } h1 { column-span: all }",
    "clamped cells": "td { max-lines: 1; block-ellipsis: auto; text-overflow: ellipsis }",
    "clamped": "td { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }",
    "siblings": "tr + tr td { color: red } td ~ td { color: blue } p + p { margin: 0 }",
    "structure": (
        "td:nth-child(2n) { color: red } p:first-child { color: blue } :empty { padding: 3pt }"
        "tr:last-child { font-weight: bold } p:only-child, p:nth-last-of-type(2) { margin: 9pt }"
    ),
    "either": ":is(td, p):not(.a, .b) { color: red } :where(.w) p { margin: 0 }",
    "having": "tr:has(.a) td { color: red } div:has(> p:empty) { border: 1pt solid }",
    "by language": (
        ":lang(en) .a { color: red } p:lang(de) { color: blue } [lang|=en] { margin: 0 }"
    ),
    "by attribute": (
        '[data-k] { color: red } [data-k^="v"] { margin: 9pt } td[colspan="3"] { color: blue }'
        '[class~="b"] { padding: 1pt } [rowspan] { color: green } p[data-k$="1" i] { width: 50% }'
    ),
    "by id": "#top { color: red } #top + p { color: blue } h1#top ~ table td { color: green }",
    "by the root": ":root { color: #222 } * > td { color: red } * td.a { color: blue }",
    "bookmarked": "p { bookmark-level: 2; bookmark-label: content(); bookmark-state: closed }",
    "said along the edge": (
        "p { string-set: said content(text) } h1 { position: running(h) }"
        "@page { @top-center { content: element(h) } @bottom-left { content: string(said, last) } }"
    ),
    "links that tell": (
        "a::after { content: ' (' target-counter(attr(href), page) target-text(attr(href)) ')' }"
    ),
    "counted": (
        "body { counter-reset: n 3 } td { counter-increment: n 2 }"
        "td::before { content: counter(n, upper-roman) counters(n, '.') }"
    ),
    "anchored": "td { anchor: attr(class); bookmark-level: 1 } p { link: attr(data-k) }",
    "said to be important": "td { color: red !important } .a { color: blue } td.a { padding: 1pt }",
    "layered": "@layer b, a; @layer a { td { color: red } } @layer b { .a { color: blue } }",
    "nested": "table { color: red; & td { color: blue } tr.c & { color: green } }",
    "for print only": "@media print { td { color: red } } @media screen { td { padding: 9pt } }",
    "initial": "td { all: initial } .a { display: revert; color: unset; font: inherit }",
    "outlined": (
        "p, td { outline: 2pt groove red } h1 { outline: 1pt dashed; outline-offset: -3pt }"
    ),
    "overflowing": "td { overflow: hidden; height: 3pt } p { overflow: hidden; height: 2pt }",
    "above and below": (
        "td { z-index: 3; position: relative } p { z-index: -1; position: relative }"
    ),
    "a leader": "p::after { content: leader('.') 'x' } td.a::after { content: leader(dotted) }",
    "object": "td { object-fit: cover; image-resolution: 300dpi; image-rendering: pixelated }",
    "pale": "body { color: rgb(0 0 0 / 40%); background: rgb(9 9 9 / 5%) }",
}
PLACES = [
    *(f"{corner}-corner" for corner in ("top-left", "top-right", "bottom-left", "bottom-right")),
    *(f"{side}-{at}" for side in ("top", "bottom") for at in ("left", "center", "right")),
    *(f"{side}-{at}" for side in ("left", "right") for at in ("top", "middle", "bottom")),
]
_EVERYWHERE = " ".join(
    f"@{place} {{ content: '{place[:3]}' counter(page) '/' counter(pages); color: #{n:03}; }}"
    for n, place in enumerate(PLACES)
)
PAGE_STYLES = {
    "all margins": f"@page {{ margin: 20mm; {_EVERYWHERE} }}",
    "margins of a kind": (
        "@page :first { margin: 20mm; @top-left { content: 'first' } }"
        "@page :left { @bottom-left { content: counter(page); text-align: right } }"
        "@page :right { @bottom-right { content: counter(page); border-top: 1pt solid } }"
        "@page :nth(2n+1) { background: #fee } @page :blank { @top-center { content: 'blank' } }"
        "tr.r2 { break-before: right }"
    ),
    "counted pages": (
        "@page { counter-increment: page 2 own 3; @top-center { content: counter(own) } }"
        "@page :first { counter-reset: page 7 own 1 } tr { counter-increment: own }"
        "@page { @bottom-center { content: counter(page) ' of ' counter(pages) } }"
    ),
    "framed pages": (
        f"@page {{ border: 2pt solid red; padding: 3pt; background: url({PNG}) #eee;"
        "outline: 1pt solid; bleed: 3mm; marks: crop cross }"
    ),
    "low pages": "@page { size: 90mm 50mm }",
    "very low pages": "@page { size: 90mm 35mm }",
    "lower than a row": "@page { size: 90mm 24mm } td { font-size: 14pt }",
    "rows kept together": "tr { break-inside: avoid } @page { size: 90mm 47mm }",
    "cells kept together": "td { break-inside: avoid; orphans: 3; widows: 3 }",
    "groups kept together": "tbody { break-inside: avoid } thead { break-after: avoid }",
    "tables kept together": "table { break-inside: avoid; break-before: page }",
    "rows that break": ".r1 { break-after: page } .r2 { break-before: avoid }",
    "collapsed over pages": (
        "table { border-collapse: collapse } td, th { border: 1pt solid } tr { height: 20pt }"
    ),
    "no header": "thead { display: none } tfoot { display: table-row-group }",
    "a high header": "th { height: 90pt } tfoot td { height: 60pt }",
    "cloned": "table, td, tr { box-decoration-break: clone; border: 1pt solid; padding: 4pt }",
    "notes": (
        "td.n { float: footnote; footnote-display: inline } @page { @footnote { border: 1pt solid;"
        "padding: 3pt; max-height: 20pt } } *::footnote-call, *::footnote-marker { content: '*' }"
    ),
    "notes of blocks": (
        "td.b br { display: none } td.b { float: footnote; footnote-policy: block }"
        "*::footnote-call, *::footnote-marker { content: '*'; color: red }"
    ),
    "beside all": ".b { float: right } table { float: left; width: 60% }",
    "named in turn": (
        ".r1 { page: one } .r2 { page: two } @page one { size: 100mm; @top-left { content: '1' } }"
        "@page two { margin: 20mm } @page two:nth(2) { background: #eef }"
    ),
    "by the paper": "td { padding-left: 3vw; font-size: 2vh } @page { size: A6 landscape }",
    "margins kept": "body, table { margin-break: keep; margin-top: 30pt } p { margin: 9pt 0 }",
    "fixed on all": "h1, th { position: fixed; top: 0 } .w { position: fixed; bottom: 3pt }",
    "absolute over pages": "td.b { position: absolute } table { position: relative }",
    "long columns": "body { columns: 2; column-fill: auto }",
    "balanced columns": "body { columns: 3; column-rule: 1pt solid } .b { display: none }",
    "widows": "td, p { orphans: 2; widows: 4 } @page { size: 90mm 43mm }",
    "running": (
        "h1 { position: running(h); counter-increment: n }"
        "@page { @top-center { content: element(h) } }"
    ),
    "two directions": "table { direction: rtl } @page { size: 90mm 61mm }",
}


def tables() -> Iterator[tuple[str, Sheet]]:
    """A small and mixed document in every style of tables, and a long one on every kind of page."""
    for name, style in TABLE_STYLES.items():
        yield f"mixed, {name}", sheet(BODY, style)
    for name, style in PAGE_STYLES.items():
        yield f"long, {name}", sheet(BODY + TABLE + "<p>" + "words " * 90 + "</p>", style)
    for height in range(30, 84, 3):
        style = f"@page {{ size: 90mm {height}mm }} td {{ padding: 1.7pt; border: 0.3pt solid }}"
        yield f"table on {height} mm", sheet(TABLE, style)
        yield (
            f"table on {height} mm, whole rows",
            sheet(
                TABLE, style + "tr { break-inside: avoid } tr.r2 td { border-bottom: 1pt solid }"
            ),
        )


def kinds() -> Iterator[tuple[str, Sheet]]:
    """Documents that differ only in what is above, around or before their elements."""
    rows = "<tr><td>a</td><td>b</td></tr>" * 3
    style = (
        ".sum td { font-weight: bold } .sum .x td { color: red } table.r { text-align: right }"
        ".in table td { padding-left: 5pt }"
        "body.z td { letter-spacing: 1pt } [dir=rtl] p { margin: 0 }"
    )
    around: tuple[str, ...] = (
        "",
        ' class="sum"',
        ' class="r sum"',
        ' class="r"',
        ' style="color: red"',
    )
    around += (' lang="de"', ' dir="rtl"', ' id="i"', ' data-x="1"', ' style="width: 50vw"')
    for table, group, row in product(around, around[:4], ("", ' class="x"')):
        body = f"<table{table}><tbody{group}>{rows}<tr{row}><td>c</td></tr></tbody></table>"
        yield f"table{table}, group{group}, row{row}", sheet(body, style)
    for root in ('lang="de"', 'dir="rtl"', 'class="z"', 'style="font-size: 20pt"', 'id="h"'):
        yield (
            f"root {root}",
            sheet(f'<div class="in"><table>{rows}</table></div>', style, root=root),
        )
    for inner in ("td { color: red }", "td:first-child { color: red }", "@page { size: 70mm }"):
        head = f"<style>{inner}</style>"
        yield f"in the document: {inner}", sheet(f"<table>{rows}</table>", style, head=head)
    same = '<p id="a">x</p><p id="a">x</p><p name="a"><a name="b" href="#a">y</a></p>'
    yield "ids said twice", sheet(same, "p { bookmark-level: 1 }")
    yield (
        "attributes in another order",
        sheet('<p class="a" lang="de">x</p><p lang="de" class="a">x</p>', "p { hyphens: auto }"),
    )
    yield (
        "styles alike",
        sheet('<p style="color: red">x</p><p style="color: red">x</p><b style="color: red">x</b>'),
    )
    note = '<span style="position: note(n); display: block">{}</span>'
    yield (
        "two notes of one look",
        sheet(
            f"<p>x{note.format(1)}y{note.format(2)}</p>",
            "@page { @bottom-left { content: element(n all-once) } }"
            "*::note-call, *::note-marker, *::note-callback { content: counter(note) }",
        ),
    )
    yield "120 rows", sheet(TABLE.replace(ROWS, ROWS * 3), "td { padding: 2pt }")


def hard() -> Mapping[str, Sheet]:
    """All of them."""
    return {name: one for part in (texts, tables, kinds) for name, one in part()}
