"""What every PDF engine must do, whoever prints."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.pdf.lazy import LazyEngine
from counterfoil.adapters.pdf.null import NullEngine
from counterfoil.adapters.pdf.pool import WeasyPrintPool
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import LIMITS, WeasyPrintEngine
from counterfoil.domain.errors import (
    CounterfoilError,
    EngineUnavailable,
    Malformed,
    PdfDisabled,
    RenderFailed,
)
from counterfoil.domain.ports import Asset, Sheet
from counterfoil.projections.render.payment_code import PaymentCode
from support import pdfs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from counterfoil.domain.ports import PdfEngine

# WeasyPrint leaves the colour profile of an archival print open; one test below tells of it.

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
FEW_PAGES = replace(LIMITS, pages=3)
CODE = PaymentCode("epc", "pay here")
PICTURE = Asset("code", "image/png", CODE.png())
SHEET = Sheet(
    html='<html lang="en"><head><title>One</title></head><body><h1>One</h1>'
    '<p>for Ada</p><img src="asset:code" alt="Scan"/></body></html>',
    styles=("@page { size: 100mm 100mm; margin: 10mm } img { width: 40mm }",),
    images=(PICTURE,),
    written_at=AT,
)
LONG = replace(SHEET, html=SHEET.html.replace("<p>", '<p style="break-after: page"></p><p>' * 5, 1))
OTHERS = {
    "html": replace(SHEET, html=SHEET.html.replace("Ada", "Eve")),
    "style": replace(SHEET, styles=("@page { size: 90mm 100mm }",)),
    "image": replace(SHEET, images=(replace(PICTURE, content=PaymentCode("epc", "no").png()),)),
    "attachment": replace(SHEET, attachments=(Asset("a.txt", "text/plain", b"a"),)),
    "archival": replace(SHEET, archival=True),
}

PRINTING = ("weasyprint", "pool", "lazy")
KINDS = (*PRINTING, "recording", "lazy recording")
MADE: dict[str, Callable[[], PdfEngine]] = {
    "weasyprint": lambda: WeasyPrintEngine(limits=FEW_PAGES),
    "pool": lambda: WeasyPrintPool(workers=1, limits=FEW_PAGES),
    "lazy": lambda: LazyEngine(MADE["weasyprint"]),
    "recording": RecordingEngine,
    "lazy recording": lambda: LazyEngine(RecordingEngine),
}


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], PdfEngine]]:
    """Engines by their kind, each made once: a pool takes a second to start."""
    made: list[PdfEngine] = []

    @cache
    def open_(kind: str) -> PdfEngine:
        made.append(MADE[kind]())
        return made[-1]

    yield open_
    for engine in made:
        engine.close()


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, opened: Callable[[str], PdfEngine]) -> PdfEngine:
    return opened(request.param)


@pytest.fixture(params=PRINTING)
def printing(request: pytest.FixtureRequest, opened: Callable[[str], PdfEngine]) -> PdfEngine:
    """An engine that prints what the sheet says."""
    return opened(request.param)


# --- what is printed ------------------------------------------------------------------------


def test_a_print_is_a_pdf_that_others_can_read(engine: PdfEngine) -> None:
    printed = engine.render(SHEET)
    assert printed.startswith(b"%PDF-")
    assert pdfs.page_count(printed) == 1


@pytest.mark.parametrize(
    "kind",
    [
        *PRINTING,
        pytest.param(
            "recording",
        ),
    ],
)
def test_a_print_is_written_without_a_mistake(
    kind: str, opened: Callable[[str], PdfEngine]
) -> None:
    for sheet in (SHEET, OTHERS["attachment"], OTHERS["archival"]):
        assert pdfs.syntax_problems(opened(kind).render(sheet)) == []


def test_a_print_closes_what_it_opens() -> None:
    engine = WeasyPrintEngine()
    engine.render(OTHERS["archival"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine.render(OTHERS["archival"])
        gc.collect()
    assert [str(one.message) for one in caught] == []


def test_a_print_says_what_its_sheet_says(printing: PdfEngine) -> None:
    printed = printing.render(SHEET)
    assert pdfs.pages(printed) == ["One for Ada"]
    assert pdfs.payment_code(printed) == "pay here"


def test_the_same_sheet_gives_the_same_bytes(engine: PdfEngine) -> None:
    for sheet in (SHEET, OTHERS["attachment"], OTHERS["archival"]):
        assert engine.render(sheet) == engine.render(replace(sheet))


def test_what_was_printed_before_leaves_no_trace(engine: PdfEngine) -> None:
    first = engine.render(SHEET)
    for other in OTHERS.values():
        engine.render(other)
    assert engine.render(SHEET) == first


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_another_sheet_gives_other_bytes(engine: PdfEngine, other: Sheet) -> None:
    assert engine.render(other) != engine.render(SHEET)


def test_threads_that_print_at_once_get_each_their_own(engine: PdfEngine) -> None:
    sheets = [SHEET, OTHERS["html"], OTHERS["archival"], OTHERS["attachment"]]
    alone = [engine.render(sheet) for sheet in sheets]
    together = Barrier(len(sheets))

    def print_(number: int) -> bytes:
        together.wait(timeout=60)
        return engine.render(sheets[number])

    with ThreadPoolExecutor(len(sheets)) as threads:
        for _ in range(3):
            assert list(threads.map(print_, range(len(sheets)))) == alone


def test_a_process_of_the_pool_prints_the_same_bytes_as_this_one(
    opened: Callable[[str], PdfEngine],
) -> None:
    here, there = opened("weasyprint"), opened("pool")
    for sheet in (SHEET, *OTHERS.values()):
        assert there.render(sheet) == here.render(sheet)
    assert there.fingerprint == here.fingerprint


@pytest.mark.parametrize("archival", [False, True])
def test_a_print_tells_no_time_but_its_sheets(printing: PdfEngine, archival: bool) -> None:
    sheet = replace(OTHERS["attachment"], archival=archival)
    printed = printing.render(sheet)
    assert b"20260302120000" in _unpacked(printed)
    later = printing.render(replace(sheet, written_at=AT + timedelta(days=1)))
    assert b"20260302120000" not in _unpacked(later)
    assert b"20260303120000" in _unpacked(later)
    never = printing.render(replace(sheet, written_at=None))
    assert never == printing.render(replace(sheet, written_at=None))


def _unpacked(printed: bytes) -> bytes:
    import io

    import pikepdf

    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(printed)) as document:
        document.save(
            out, object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True
        )
    return out.getvalue()


# --- files that a print carries -------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a.txt", "time sheet.csv", "Stunden März 2026.csv", "a#b?c%20d.csv", "請求書.xml", "a:b.txt"],
)
def test_a_file_that_a_print_carries_comes_back_whole(printing: PdfEngine, name: str) -> None:
    content = bytes(range(256)) * 9
    carried = Asset(name, "text/csv", content)
    printed = printing.render(replace(SHEET, attachments=(carried,), archival=True))
    (found,) = pdfs.attached(printed)
    assert (found.name, found.content, found.media_type) == (name, content, "text/csv")
    assert found.dates == ("D:20260302120000Z", "D:20260302120000Z")


def test_a_print_carries_its_files_in_their_order_each_once(printing: PdfEngine) -> None:
    carried = tuple(Asset(f"{name}.txt", "text/plain", name.encode()) for name in "cab")
    printed = printing.render(replace(SHEET, attachments=carried, archival=True))
    assert [one.content for one in pdfs.attached(printed)] == [b"c", b"a", b"b"]


def test_a_file_called_as_an_image_does_not_change_the_page(printing: PdfEngine) -> None:
    other = Asset("code", "image/png", PaymentCode("epc", "pay somebody else").png())
    printed = printing.render(replace(SHEET, attachments=(other,)))
    assert pdfs.payment_code(printed) == "pay here"


def test_two_files_of_one_name_are_both_carried_or_refused(printing: PdfEngine) -> None:
    carried = (Asset("a.txt", "text/plain", b"one"), Asset("a.txt", "text/plain", b"two"))
    try:
        printed = printing.render(replace(SHEET, attachments=carried, archival=True))
    except CounterfoilError:
        return
    assert {one.content for one in pdfs.attached(printed)} == {b"one", b"two"}


# --- fingerprints ---------------------------------------------------------------------------


def test_a_fingerprint_is_short_text_that_stays_the_same(engine: PdfEngine) -> None:
    said = engine.fingerprint
    # `DocumentStored.renderer` holds 500, and takes the template's digest besides.
    assert 0 < len(said) <= 450
    assert said.isprintable()
    engine.render(SHEET)
    assert engine.fingerprint == said


@pytest.mark.parametrize("kind", KINDS)
def test_engines_that_are_alike_have_the_same_fingerprint(
    kind: str, opened: Callable[[str], PdfEngine]
) -> None:
    another = MADE[kind]()
    assert another.fingerprint == opened(kind).fingerprint
    another.close()


@pytest.mark.parametrize(
    "library",
    [
        "weasyprint",
        "pydyf",
        "pango",
        "harfbuzz",
        pytest.param(
            "fontconfig",
        ),
        "zlib",
    ],
)
def test_a_fingerprint_names_what_the_bytes_depend_on(printing: PdfEngine, library: str) -> None:
    said = dict(part.split(" ", 1) for part in printing.fingerprint.split(", "))
    assert any(sign.isdecimal() for sign in said[library])
    if library in {"weasyprint", "pydyf"}:
        assert said[library] == version(library)


def test_other_fonts_make_another_fingerprint(tmp_path: Path) -> None:
    bundled = next(Path(_fonts_folder()).glob("NotoSans-Bold.ttf"))
    (tmp_path / "More.ttf").write_bytes(bundled.read_bytes())
    usual, more = WeasyPrintEngine(), WeasyPrintEngine(fonts=[tmp_path])
    assert usual.fingerprint != more.fingerprint
    pool = WeasyPrintPool(fonts=[tmp_path])
    assert pool.fingerprint == more.fingerprint
    pool.close()


def _fonts_folder() -> str:
    from importlib.resources import files

    return str(files("counterfoil.projections.render").joinpath("fonts"))


@pytest.mark.parametrize("made", [WeasyPrintEngine, WeasyPrintPool])
def test_fonts_that_are_not_there_are_refused_at_once(
    made: type[WeasyPrintEngine | WeasyPrintPool], tmp_path: Path
) -> None:
    with pytest.raises(Malformed) as refused:
        made(fonts=[tmp_path / "none"])
    assert refused.value.field == "fonts"


def test_a_file_that_is_no_font_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(EngineUnavailable, match=r"broken\.ttf"):
        WeasyPrintEngine(fonts=[tmp_path])


# --- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind == "pool" else ()) for kind in KINDS],
)
def test_closing_twice_is_fine_and_what_is_printed_then_is_the_same(kind: str) -> None:
    engine = MADE[kind]()
    engine.close()
    first = engine.render(SHEET)
    engine.close()
    engine.close()
    assert engine.render(SHEET) == first
    engine.close()


def test_a_closed_pool_leaves_no_process_behind() -> None:
    import psutil

    before = set(psutil.Process().children(recursive=True))
    pool = WeasyPrintPool(workers=1, limits=FEW_PAGES)
    pool.render(SHEET)
    workers = set(psutil.Process().children(recursive=True)) - before
    assert workers
    pool.close()
    _, alive = psutil.wait_procs(
        [each for each in workers if "resource_tracker" not in _command(each)], timeout=10
    )
    assert alive == []


def _command(process: object) -> str:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


# --- errors ---------------------------------------------------------------------------------

BAD = {
    "not well-formed": replace(SHEET, html="<html><p>Ada Lovelace</html>"),
    "empty": replace(SHEET, html=""),
    "a document type": replace(SHEET, html="<!DOCTYPE html>" + SHEET.html),
    "an entity": replace(SHEET, html=SHEET.html.replace("Ada", "Ada&nbsp;Lovelace")),
    "an image that is missing": replace(SHEET, images=()),
    "an image elsewhere": replace(SHEET, html=SHEET.html.replace("asset:code", "http://[::1]/x")),
    "too many pages": LONG,
    "a style that breaks the engine": replace(
        SHEET, html=SHEET.html.replace("<h1>", '<h1 style="font-size: 1e9pt">')
    ),
}


@pytest.mark.parametrize("sheet", BAD.values(), ids=BAD.keys())
def test_a_sheet_that_cannot_be_printed_is_a_typed_error_and_the_engine_goes_on(
    printing: PdfEngine, sheet: Sheet
) -> None:
    before = printing.render(SHEET)
    with pytest.raises(RenderFailed) as failed:
        printing.render(sheet)
    assert "Lovelace" not in str(failed.value)
    assert printing.render(SHEET) == before


def test_whoever_collects_garbage_goes_on_after_a_print_and_after_a_failure(
    opened: Callable[[str], PdfEngine],
) -> None:
    engine = opened("weasyprint")
    for sheet in (SHEET, LONG):
        assert gc.isenabled()
        try:
            engine.render(sheet)
        except RenderFailed:
            assert sheet is LONG
        assert gc.isenabled()


# --- no engine ------------------------------------------------------------------------------


@pytest.fixture(params=["null", "lazy"])
def nobody(request: pytest.FixtureRequest) -> PdfEngine:
    return NullEngine() if request.param == "null" else LazyEngine(NullEngine)


def test_without_an_engine_every_print_says_why_and_where_to_read_more(nobody: PdfEngine) -> None:
    for _ in range(2):
        with pytest.raises(PdfDisabled) as disabled:
            nobody.render(SHEET)
        assert disabled.value.reason == "adapter_disabled"
        assert "README" in disabled.value.docs
        with pytest.raises(PdfDisabled):
            _ = nobody.fingerprint
        nobody.close()


def test_a_lazy_engine_is_made_once_and_not_before_it_is_needed() -> None:
    made: list[RecordingEngine] = []

    def make() -> PdfEngine:
        made.append(RecordingEngine())
        return made[-1]

    lazy = LazyEngine(make)
    lazy.close()
    assert made == []
    with ThreadPoolExecutor(8) as threads:
        for printed in threads.map(lambda _: lazy.render(SHEET), range(32)):
            assert printed.startswith(b"%PDF-")
    (engine,) = made
    assert engine.sheets == [SHEET] * 32


def test_a_lazy_engine_that_could_not_be_made_is_tried_again() -> None:
    failing = [True]

    def make() -> PdfEngine:
        if failing.pop():
            raise EngineUnavailable("not yet")
        return RecordingEngine()

    lazy = LazyEngine(make)
    with pytest.raises(EngineUnavailable):
        lazy.render(SHEET)
    failing.append(False)
    assert lazy.render(SHEET)


def test_a_recording_engine_remembers_what_it_was_given() -> None:
    engine = RecordingEngine()
    engine.render(SHEET)
    engine.render(OTHERS["html"])
    assert engine.sheets == [SHEET, OTHERS["html"]]


# --- what is missing ------------------------------------------------------------------------

LIBRARIES = {
    "libpango-1.0.so.0": "libpango-1.0-0",
    "libpangoft2-1.0.so.0": "libpangoft2-1.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libharfbuzz.so.0": "libharfbuzz0b",
    "libharfbuzz-subset.so.0": "libharfbuzz-subset0",
}
ASK = """
import sys
from counterfoil.adapters.pdf.{module} import {engine}
from counterfoil.domain.errors import EngineUnavailable
try:
    {engine}()
except EngineUnavailable as error:
    print(error)
    assert "weasyprint" not in sys.modules
else:
    sys.exit("it was made")
"""


def asked(program: str, **environment: str) -> str:
    """What a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="breaks the loader of Linux")
@pytest.mark.parametrize(("library", "package"), LIBRARIES.items())
def test_a_library_that_cannot_be_loaded_is_named_by_its_package_at_once(
    library: str, package: str, tmp_path: Path
) -> None:
    # The loader finds this one first, and cannot load it.
    (tmp_path / library).touch()
    program = ASK.format(module="weasy", engine="WeasyPrintEngine")
    said = asked(program, LD_LIBRARY_PATH=str(tmp_path))
    assert package in said.split("apt-get install")[0]
    assert package in said.split("apt-get install")[1].split()


@pytest.mark.skipif(sys.platform != "linux", reason="breaks the loader of Linux")
def test_a_pool_misses_a_library_before_it_starts_a_process(tmp_path: Path) -> None:
    (tmp_path / "libharfbuzz-subset.so.0").touch()
    program = ASK.format(module="pool", engine="WeasyPrintPool")
    assert "libharfbuzz-subset0" in asked(program, LD_LIBRARY_PATH=str(tmp_path))


def test_the_libraries_of_this_machine_are_those_that_are_asked_for() -> None:
    if sys.platform == "linux":
        for library in LIBRARIES:
            ctypes.CDLL(library)


def test_without_its_extra_the_engine_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "weasyprint.py").write_text("raise ImportError('not installed')\n")
    program = ASK.format(module="weasy", engine="WeasyPrintEngine")
    assert "counterfoil[pdf]" in asked(program, PYTHONPATH=str(tmp_path))
