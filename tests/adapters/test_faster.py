"""Are our prints what WeasyPrint alone would print, and are the host's own prints left alone?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.pdf import faster, kept, writing
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import LIMITS, WeasyPrintEngine
from counterfoil.billing import Branding
from counterfoil.domain.errors import RenderFailed
from counterfoil.domain.ports import Sheet
from support.invoices import drafted, issued, many, office
from support.stock import own, stock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from support.stock import Stock

# WeasyPrint leaves the colour profile of an archival print open: contracts/test_pdf_engine.py.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file.*sRGB2014:ResourceWarning")

LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
HEAD = '<p style="color: {}; font-size: {}pt">Our letter <b style="padding: 1pt">head</b></p>'
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PAGE = "@page { size: 90mm 120mm; margin: 9mm } body { font: 9pt 'Noto Sans' }"
BODY = (
    '<html lang="en"><head><title>One</title></head><body><p class="a">One <b>two</b> three</p>'
    '<ul><li>four</li></ul><table><tr><td class="a">five</td></tr></table></body></html>'
)
# Each is a way in which one print could mark a style that the next one takes.
SHEETS = {
    name: Sheet(html=html, styles=(PAGE, style), images=(), written_at=AT)
    for name, html, style in (
        ("plain", BODY, ""),
        ("overflow is handed on to the page", BODY, "body { overflow: hidden }"),
        ("overflow of the root", BODY, "html { overflow: hidden }"),
        ("half a page wide", BODY, ".a { width: 50vw; margin-left: 2vh }"),
        (
            "the same on other paper",
            BODY,
            ".a { width: 50vw; margin-left: 2vh } @page { size: 140mm 70mm }",
        ),
        ("a list inside", BODY, "li { list-style: inside square }"),
        (
            "a footnote",
            BODY,
            "b { float: footnote } b::footnote-call, b::footnote-marker { content: '*' }",
        ),
        ("collapsed", BODY, "table { border-collapse: collapse; padding: 9pt }"),
        ("cells with margins", BODY, "td { margin: 9pt; display: table-cell }"),
        ("first of all", BODY, "p::first-line { color: red } p::first-letter { font-size: 2em }"),
        ("one is no 1.0", BODY, ".a { line-height: 1; opacity: 1 }"),
        ("said anew", BODY, ".a { --x: 3pt; padding: var(--x); width: calc(50% - 3pt) }"),
        ("right to left", BODY.replace('lang="en"', 'lang="en" dir="rtl"'), "p { padding: 9% }"),
        ("Greek", BODY.replace('lang="en"', 'lang="el"'), ""),
        ("justified", BODY.replace("three", "three " * 50), "p { text-align: justify }"),
        ("spaced", BODY, "p { word-spacing: 3pt; letter-spacing: 1pt; hyphens: auto }"),
        ("cut off", BODY, "p { text-overflow: ellipsis; width: 20pt; overflow: hidden }"),
        ("round", BODY, ".a { border-radius: 3pt; background: #eee; position: absolute }"),
        (
            "along the edge",
            BODY,
            "ul { position: running(u) } @page { @top-left { content: element(u) } }",
        ),
        ("decorated", BODY, "b { text-decoration: underline wavy red; height: 10ex }"),
    )
}
PLAIN = SHEETS["plain"]
# The host's own document.
HOSTS = (
    "<style>@page { size: A6 } * { font-family: 'Noto Sans' } li { margin: 1em }</style>"
    "<h1>Report</h1><ul><li>one<li lang=de>zwei</ul><p style='width: 50%'>" + "words " * 300
)


def recorded() -> Mapping[str, Sheet]:
    """What the front door has printed of many kinds of documents."""
    recorder = RecordingEngine()
    with office(recorder) as tenant:
        one, six, forty = (issued(tenant, many(number)) for number in (1, 6, 40))
        for language in ("en", "de", "ar"):
            tenant.render_invoice_pdf(six.id, locale=language)
        tenant.render_invoice_pdf(one.id)
        tenant.render_invoice_pdf(forty.id)
        tenant.render_invoice_pdf(forty.id, size="Letter landscape")
        tenant.render_invoice_pdf(six.id, archival=True)
        tenant.render_invoice_pdf(drafted(tenant).id)
        for color, size in (("red", 8), ("blue", 8), ("red", 9)):
            tenant.render_invoice_pdf(six.id, header_html=HEAD.format(color, size))
    with office(recorder, branding=Branding(logo=LOGO, colour="#7f1d1d")) as tenant:
        tenant.render_invoice_pdf(issued(tenant).id)
        tenant.render_invoice_pdf(issued(tenant, many(6)).id, archival=True)
    return {f"document {place}": sheet for place, sheet in enumerate(recorder.sheets)}


@pytest.fixture(scope="module")
def sheets() -> Mapping[str, Sheet]:
    return {**recorded(), **SHEETS}


@pytest.fixture(scope="module")
def library() -> Iterator[Stock]:
    """The library alone, in a process of its own."""
    with stock() as alone:
        yield alone


@pytest.fixture(autouse=True)
def as_pydyf_compresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """That we compress less hard changes bytes, and is the only thing that does."""
    monkeypatch.setattr(writing, "LEVEL", 9)


def orders(names: list[str]) -> Sequence[list[str]]:
    """The names in turn, twice each, backwards, and dealt out otherwise."""
    return names, [name for name in names for _ in range(2)], names[::-1], names[::2] + names[1::2]


def differing(engine: WeasyPrintEngine, library: Stock, sheets: Mapping[str, Sheet]) -> list[str]:
    """Those whose print is not the library's, in any order."""
    return [
        name
        for order in orders(list(sheets))
        for name in order
        if engine.render(sheets[name]) != library.printed(sheets[name])
    ]


@pytest.mark.slow
def test_every_print_is_what_the_library_alone_prints_in_any_order(
    sheets: Mapping[str, Sheet], library: Stock
) -> None:
    assert differing(WeasyPrintEngine(), library, sheets) == []


@pytest.mark.slow
def test_few_styles_kept_are_forgotten_in_turn_and_change_nothing(
    sheets: Mapping[str, Sheet],
    library: Stock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "STYLES_KEPT", 40)
    monkeypatch.setattr(faster, "MEASURES_KEPT", 3)
    engine = WeasyPrintEngine()
    wanted = [*list(sheets)[:9], *SHEETS]
    assert differing(engine, library, {name: sheets[name] for name in wanted}) == []
    assert len(configuration(engine).kept) <= 40


def test_styles_written_into_a_header_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STYLES_KEPT", 50)
    engine = WeasyPrintEngine()
    for width in range(30):
        html = BODY.replace('class="a"', f'style="padding: {width / 100}pt; color: #00{width:04}"')
        engine.render(replace(PLAIN, html=html))
    assert len(configuration(engine).kept) == 50


def test_a_print_takes_its_styles_from_the_one_before() -> None:
    engine = WeasyPrintEngine()
    engine.render(PLAIN)
    before = len(configuration(engine).kept)
    engine.render(replace(PLAIN, html=BODY.replace("five", "six")))
    assert len(configuration(engine).kept) == before > 0


def test_a_print_that_fails_leaves_nothing_behind(
    library: Stock,
) -> None:
    engine = WeasyPrintEngine(limits=replace(LIMITS, pages=1))
    long = replace(PLAIN, html=BODY.replace("One", "One " * 2_000))
    with pytest.raises(RenderFailed):
        engine.render(long)
    assert len(configuration(engine).kept) == 0
    assert engine.render(PLAIN) == library.printed(PLAIN)


@pytest.mark.parametrize("changed", ["weasyprint", "pydyf", "cssselect2"])
def test_another_version_of_a_library_prints_without_the_levers(
    changed: str, library: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(faster._MEASURED, changed, "1.0")
    engine = WeasyPrintEngine()
    assert not hasattr(configuration(engine), "kept")
    assert [engine.render(PLAIN) for _ in range(2)] == [library.printed(PLAIN)] * 2


def test_a_name_that_is_gone_costs_its_lever_only(
    library: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("weasyprint.layout.percent.resolve_radii_percentages")
    engine = WeasyPrintEngine()
    assert [engine.render(PLAIN) for _ in range(2)] == [library.printed(PLAIN)] * 2
    assert len(configuration(engine).kept) > 0


def test_the_hosts_own_prints_are_unchanged_before_during_and_after_ours(
    library: Stock,
) -> None:
    engine = WeasyPrintEngine()
    with ThreadPoolExecutor(1) as another:
        theirs = another.submit(lambda: [own(HOSTS) for _ in range(6)])
        ours = [engine.render(PLAIN) for _ in range(25)]
    assert set(ours) == {library.printed(PLAIN)}
    assert {*theirs.result(), own(HOSTS)} == {library.printed(HOSTS)}


def test_two_engines_share_nothing(library: Stock) -> None:
    engines = WeasyPrintEngine(), WeasyPrintEngine()
    names = list(SHEETS)
    for name, other in zip(names, names[::-1], strict=True):
        assert engines[0].render(SHEETS[name]) == library.printed(SHEETS[name])
        assert engines[1].render(SHEETS[other]) == library.printed(SHEETS[other])
    assert configuration(engines[0]).kept is not configuration(engines[1]).kept


def configuration(engine: WeasyPrintEngine) -> Any:
    """Where an engine keeps what it may use again."""
    return engine._configuration
