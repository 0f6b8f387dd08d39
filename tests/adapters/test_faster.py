"""Are our prints what WeasyPrint alone would print, and are the host's own prints left alone?"""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from weasyprint import HTML

from counterfoil.adapters.pdf import faster, kept, writing
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import LIMITS, WeasyPrintEngine
from counterfoil.billing import Branding
from counterfoil.domain.errors import RenderFailed
from counterfoil.domain.ports import Sheet
from support.invoices import drafted, issued, many, office

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
# The host's own document: it brings its font along, for a machine may have none.
FONT = next((files("counterfoil.projections.render") / "fonts").glob("NotoSans-Regular*"))  # type: ignore[attr-defined]
HOSTS = (
    f"<style>@font-face {{ font-family: Own; src: url({FONT.as_uri()}) }}"
    "@page { size: A6 } * { font-family: Own } li { margin: 1em }</style>"
    "<h1>Report</h1><ul><li>one<li lang=de>zwei</ul><p style='width: 50%'>" + "words " * 300
)
STOCK = """
import pickle, sys
from weasyprint import HTML
sheets, hosts = pickle.load(sys.stdin.buffer)
own = HTML(string=hosts).write_pdf(pdf_tags=True)
from counterfoil.adapters.pdf import faster, finishing
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
faster.pull = lambda configuration: None
finishing.write_once = lambda pdf: None
engine = WeasyPrintEngine()
printed = {name: engine.render(sheet) for name, sheet in sheets.items()}
pickle.dump((own, printed), sys.stdout.buffer)
"""


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
def stock(sheets: Mapping[str, Sheet]) -> tuple[bytes, Mapping[str, bytes]]:
    """The host's document and ours, by a process in which no lever was ever pulled."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOCK],
        input=pickle.dumps((sheets, HOSTS)),
        capture_output=True,
        check=True,
    )
    own, printed = pickle.loads(done.stdout)  # noqa: S301
    return own, printed


@pytest.fixture(autouse=True)
def as_pydyf_compresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """That we compress less hard changes bytes, and is the only thing that does."""
    monkeypatch.setattr(writing, "LEVEL", 9)


def orders(names: list[str]) -> Sequence[list[str]]:
    """The names in turn, twice each, backwards, and dealt out otherwise."""
    return names, [name for name in names for _ in range(2)], names[::-1], names[::2] + names[1::2]


def differing(
    engine: WeasyPrintEngine, sheets: Mapping[str, Sheet], wanted: Mapping[str, bytes]
) -> list[str]:
    """Those whose print is not what is wanted, in any order."""
    return [
        name
        for order in orders(list(sheets))
        for name in order
        if engine.render(sheets[name]) != wanted[name]
    ]


@pytest.mark.slow
def test_every_print_is_what_the_library_alone_prints_in_any_order(
    sheets: Mapping[str, Sheet], stock: tuple[bytes, Mapping[str, bytes]]
) -> None:
    assert differing(WeasyPrintEngine(), sheets, stock[1]) == []


@pytest.mark.slow
def test_few_styles_kept_are_forgotten_in_turn_and_change_nothing(
    sheets: Mapping[str, Sheet],
    stock: tuple[bytes, Mapping[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "STYLES_KEPT", 40)
    monkeypatch.setattr(faster, "MEASURES_KEPT", 3)
    engine = WeasyPrintEngine()
    wanted = {name: stock[1][name] for name in [*list(sheets)[:9], *SHEETS]}
    assert differing(engine, {name: sheets[name] for name in wanted}, wanted) == []
    assert len(configuration(engine).kept) <= 40


def test_styles_written_into_a_header_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "STYLES_KEPT", 50)
    engine = WeasyPrintEngine()
    for width in range(30):
        html = BODY.replace('class="a"', f'style="padding: {width / 100}pt; color: #00{width:04}"')
        engine.render(replace(SHEETS["plain"], html=html))
    assert len(configuration(engine).kept) == 50


def test_a_print_takes_its_styles_from_the_one_before() -> None:
    engine = WeasyPrintEngine()
    engine.render(SHEETS["plain"])
    before = len(configuration(engine).kept)
    engine.render(replace(SHEETS["plain"], html=BODY.replace("five", "six")))
    assert len(configuration(engine).kept) == before > 0


def test_a_print_that_fails_leaves_nothing_behind(
    stock: tuple[bytes, Mapping[str, bytes]],
) -> None:
    engine = WeasyPrintEngine(limits=replace(LIMITS, pages=1))
    long = replace(SHEETS["plain"], html=BODY.replace("One", "One " * 2_000))
    with pytest.raises(RenderFailed):
        engine.render(long)
    assert len(configuration(engine).kept) == 0
    assert engine.render(SHEETS["plain"]) == stock[1]["plain"]


@pytest.mark.parametrize("library", ["weasyprint", "pydyf", "cssselect2"])
def test_another_version_of_a_library_prints_without_the_levers(
    library: str, stock: tuple[bytes, Mapping[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(faster._MEASURED, library, "1.0")
    engine = WeasyPrintEngine()
    assert not hasattr(configuration(engine), "kept")
    assert [engine.render(SHEETS["plain"]) for _ in range(2)] == [stock[1]["plain"]] * 2


def test_a_name_that_is_gone_costs_its_lever_only(
    stock: tuple[bytes, Mapping[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("weasyprint.layout.percent.resolve_radii_percentages")
    engine = WeasyPrintEngine()
    assert [engine.render(SHEETS["plain"]) for _ in range(2)] == [stock[1]["plain"]] * 2
    assert len(configuration(engine).kept) > 0


def test_the_hosts_own_prints_are_unchanged_before_during_and_after_ours(
    stock: tuple[bytes, Mapping[str, bytes]],
) -> None:
    engine = WeasyPrintEngine()
    with ThreadPoolExecutor(1) as another:
        theirs = another.submit(lambda: [own() for _ in range(6)])
        ours = [engine.render(SHEETS["plain"]) for _ in range(25)]
    assert set(ours) == {stock[1]["plain"]}
    assert {*theirs.result(), own()} == {stock[0]}


def test_two_engines_share_nothing(stock: tuple[bytes, Mapping[str, bytes]]) -> None:
    engines = WeasyPrintEngine(), WeasyPrintEngine()
    names = list(SHEETS)
    for name, other in zip(names, names[::-1], strict=True):
        assert engines[0].render(SHEETS[name]) == stock[1][name]
        assert engines[1].render(SHEETS[other]) == stock[1][other]
    assert configuration(engines[0]).kept is not configuration(engines[1]).kept


def own() -> bytes:
    """A print by the host itself."""
    printed: bytes = HTML(string=HOSTS).write_pdf(pdf_tags=True)
    return printed


def configuration(engine: WeasyPrintEngine) -> Any:
    """Where an engine keeps what it may use again."""
    return engine._configuration
