"""Does `counterfoil invoice pdf` print and keep what it is asked for, and end as it says it ends?

Where files, streams and kills matter it is run as a program; what it only refuses, it refuses here.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from typing import TYPE_CHECKING

import pikepdf
import pytest

from counterfoil.adapters.cli.main import DOES_NOT_HOLD, HOLDS, MISUSED, UNAVAILABLE, main
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.billing import Billing
from counterfoil.domain import Numbering
from support import pdfs
from support.invoices import SELLER, WORK, Clock, drafted, issued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN = 4
PATIENCE_S = 120


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with four open invoices, one that is paid, and a draft."""
    path = tmp_path_factory.mktemp("world") / "log.db"
    with Billing.open(
        path,
        seller=SELLER,
        clock=Clock(),
        invoice_numbering=Numbering(format="R/{year}/{number:03d}"),
    ) as billing:
        acme = billing.tenant("acme")
        for place in range(OPEN + 1):
            issued(acme, [WORK], id=f"in_{place}")
        acme.record_payment(f"in_{OPEN}", amount="119.00")
        drafted(acme, [WORK], id="in_draft/1")
    return path


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with that database."""
    shutil.copy(world, tmp_path / "log.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_DATABASE", "log.db")
    monkeypatch.setenv("COUNTERFOIL_TENANT", "acme")
    return tmp_path


def run(*arguments: str) -> int:
    try:
        return main(("invoice", "pdf", *arguments))
    except SystemExit as ended:  # argparse
        return int(str(ended.code))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "counterfoil.adapters.cli.main", "invoice", "pdf", *arguments]


def program(here: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*arguments), cwd=here, capture_output=True, check=False, timeout=PATIENCE_S
    )


def kept(here: Path) -> dict[str, int]:
    """How many prints are recorded of each invoice, each of which is there as it was stored."""
    with reading(here) as billing:
        acme = billing.tenant("acme")
        names = [invoice.id for invoice in acme.invoices.all()]
        for name in names:
            for one in acme.stored_invoice_pdfs(name):
                content = acme.fetch_invoice_pdf(name, key=one.key)
                assert sha256(content).hexdigest() == one.sha256
        assert billing.audit.verify().holds
        assert billing.projections.verify().holds
        return {name: len(acme.stored_invoice_pdfs(name)) for name in names}


def reading(here: Path) -> Billing:
    return Billing.open(
        here / "log.db", documents=here / "documents", pdf=RecordingEngine(), clock=Clock()
    )


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


# --- one invoice ----------------------------------------------------------------------------


def test_an_invoice_goes_into_a_file_of_its_number_or_to_the_output(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    to_output = program(here, "in_0", "--out", "-")
    assert (to_output.returncode, to_output.stderr) == (HOLDS, b"")
    assert names(here) == ["log.db"]
    assert run("R/2026/001") == HOLDS
    printed = (here / "R-2026-001.pdf").read_bytes()
    assert capfd.readouterr().out == f"R-2026-001.pdf, {len(printed):,} bytes\n"
    assert "R/2026/001" in pdfs.text(printed)
    assert to_output.stdout == printed
    assert names(here) == ["R-2026-001.pdf", "log.db"]
    assert kept(here)["in_0"] == 0


def test_the_program_says_in_json_what_it_printed_and_what_it_kept(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("in_draft/1", "--json") == HOLDS
    told = json.loads(capfd.readouterr().out)
    printed = (here / "in_draft-1.pdf").read_bytes()
    assert told == {"invoice": "in_draft/1", "file": "in_draft-1.pdf", "size": len(printed)}
    assert run("R/2026/002", "--store", "--json") == HOLDS
    told = json.loads(capfd.readouterr().out)
    stored = (here / "documents" / "acme" / "invoices" / "in_1.pdf").read_bytes()
    assert told == {
        "invoice": "in_1",
        "key": "invoices/in_1.pdf",
        "sha256": sha256(stored).hexdigest(),
        "size": len(stored),
        "persisted": True,
    }
    assert kept(here)["in_1"] == 1


def test_paper_edges_language_and_branding_are_as_said(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "header.html").write_text("<b>Made for you</b>", encoding="utf-8")
    (here / "branding.toml").write_text('name = "Northwind"\n', encoding="utf-8")
    monkeypatch.setenv("COUNTERFOIL_BRANDING", "branding.toml")
    monkeypatch.setenv("COUNTERFOIL_DOCUMENTS", "kept here")
    options = ("--locale", "de", "--size", "A5 landscape", "--margin-left", "1in", "--archival")
    assert run("in_0", *options, "--header-html", "header.html", "--store") == HOLDS
    assert capfd.readouterr().out.startswith("invoices/in_0.de.archival.a5-landscape.")
    (path,) = (here / "kept here" / "acme" / "invoices").iterdir()
    printed = path.read_bytes()
    said = pdfs.text(printed)
    for words in ("Made for you", "Northwind", "Rechnung"):
        assert words in said
    (box,) = set(pdfs.boxes(printed))
    assert [float(length) for length in box] == [210.0, 148.0]
    with pikepdf.open(io.BytesIO(printed)) as document, document.open_metadata() as metadata:
        assert metadata["pdfaid:part"] == "3"


def test_a_print_takes_the_place_of_the_file_that_it_names(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "out.pdf").write_bytes(b"older, and longer" * 10_000)
    assert run("in_0", "--out", "out.pdf") == HOLDS
    assert (here / "out.pdf").read_bytes().rstrip().endswith(b"%%EOF")
    assert capfd.readouterr().out.startswith("out.pdf, ")


def test_a_place_that_cannot_be_written_is_named(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("in_0", "--out", "nowhere/out.pdf") == UNAVAILABLE
    assert "nowhere/out.pdf cannot be written" in capfd.readouterr().err
    (here / "documents" / "acme").mkdir(parents=True)
    (here / "documents" / "acme" / "invoices").symlink_to(here)
    assert run("in_0", "--store") == DOES_NOT_HOLD
    assert "symbolic link" in capfd.readouterr().err
    assert names(here) == ["documents", "log.db"]


# --- many -----------------------------------------------------------------------------------


def planted(here: Path, invoice: str) -> Path:
    """What no store puts there, so that the print of this invoice cannot be kept."""
    place = here / "documents" / "acme" / "invoices" / f"{invoice}.pdf"
    place.parent.mkdir(parents=True)
    place.symlink_to(here / "log.db")
    return place


def test_many_are_kept_with_progress_and_a_list_of_those_that_failed(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    planted(here, "in_2")
    done = program(here, "--all", "--store", "--status", "open", "--workers", "2")
    assert done.returncode == DOES_NOT_HOLD
    summary, failure = done.stdout.decode().splitlines()
    assert summary == "3 printed and kept, 0 were kept before, 1 failed"
    assert failure.startswith("  R/2026/003: ")
    assert "symbolic link" in failure
    first, *_, last = done.stderr.decode().splitlines()
    assert first == "print: 0 of 4 invoices"
    assert last.startswith("counterfoil: 1 of 4 invoices were not printed; the same command")
    assert list(kept(here).values()) == [1, 1, 0, 1, 0, 0]
    assert run("--all", "--store", "--number-prefix", "R/2026/002", "--json") == HOLDS
    shown = capfd.readouterr()
    progress, told = map(json.loads, shown.out.splitlines())
    assert progress == {"phase": "print", "done": 0, "total": 1}
    assert told == {"stored": 0, "kept_before": 1, "failures": []}
    assert shown.err == ""


@pytest.mark.slow
def test_a_run_that_was_killed_is_gone_on_with_until_nothing_is_left(here: Path) -> None:
    link = planted(here, "in_0")
    many = command("--all", "--store", "--workers", "2")
    with subprocess.Popen(
        many, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        for _ in waiting():
            if len(list(link.parent.glob("*.pdf"))) > 1:
                break
        workers = children(running.pid)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert len(workers) >= 2
    for _ in waiting():
        if not any(alive(worker) for worker in workers):
            break
    printed = sum(kept(here).values())
    assert printed < OPEN + 1
    done = program(here, "--all", "--store", "--workers", "2", "--json")
    *_, told = map(json.loads, done.stdout.splitlines())
    assert done.returncode == DOES_NOT_HOLD
    (failure,) = told["failures"]
    assert failure["invoice"] == "in_0"
    assert "symbolic link" in failure["error"]
    assert (told["stored"], told["kept_before"]) == (OPEN + 1 - printed, printed)
    link.unlink()
    done = program(here, "--all", "--store")
    assert (done.returncode, done.stdout.decode()) == (
        HOLDS,
        f"1 printed and kept, {OPEN + 1} were kept before, 0 failed\n",
    )
    assert list(kept(here).values()) == [1] * (OPEN + 2)
    assert len(list(link.parent.glob("*.pdf"))) == OPEN + 2


def waiting() -> Iterator[None]:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        yield
        time.sleep(0.005)
    raise TimeoutError


def children(process: int) -> list[int]:
    import psutil

    return [one.pid for one in psutil.Process(process).children(recursive=True)]


def alive(process: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_nothing_to_print_is_no_failure(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--all", "--store", "--status", "void") == HOLDS
    assert capfd.readouterr().out == "0 printed and kept, 0 were kept before, 0 failed\n"
    assert names(here) == ["log.db"]


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), MISUSED, "say one invoice, or --all"),
        (("in_0", "--all", "--store"), MISUSED, "say one invoice, or --all"),
        (("--all",), MISUSED, "--store"),
        (("--all", "--out", "x.pdf"), MISUSED, "--store"),
        (("--all", "--store", "--out", "x.pdf"), MISUSED, "--out"),
        (("in_0", "--store", "--out", "x.pdf"), MISUSED, "--out"),
        (("in_0", "--status", "open"), MISUSED, "filters and --workers go with --all"),
        (("in_0", "--overdue"), MISUSED, "filters and --workers go with --all"),
        (("in_0", "--metadata", "a=b"), MISUSED, "filters and --workers go with --all"),
        (("in_0", "--workers", "2"), MISUSED, "filters and --workers go with --all"),
        (("--all", "--store", "--workers", "0"), MISUSED, "workers: must be 1 to 64"),
        (("--all", "--store", "--workers", "65"), MISUSED, "workers: must be 1 to 64"),
        (("--all", "--store", "--workers", "-1"), MISUSED, "workers: must be 1 to 64"),
        (("--all", "--store", "--workers", "x"), MISUSED, "--workers"),
        (("--all", "--store", "--status", "lost"), MISUSED, "status: must be one of"),
        (("--all", "--store", "--status", ""), MISUSED, "status: must be one of"),
        (("--all", "--store", "--metadata", "a"), MISUSED, "KEY=VALUE"),
        (("--all", "--store", "--due-from", "soon"), MISUSED, "due-from"),
        (("--all", "--store", "--size", "A9"), MISUSED, "size"),
        (("in_0", "--size", "A9"), MISUSED, "size"),
        (("in_0", "--margin-top", "much"), MISUSED, "margin_top"),
        (("in_0", "--paper-width", "100mm"), MISUSED, "paper_width"),
        (("in_0", "--header-html", "none.html"), MISUSED, "--header-html: none.html cannot be rea"),
        (("in_0", "--footer-html", "log.db"), MISUSED, "--footer-html: log.db cannot be read"),
        (("in_0", "--branding", "none.toml"), MISUSED, "branding: none.toml cannot be read"),
        (("in_0", "--branding", "log.db"), MISUSED, "branding: log.db is no TOML"),
        (("--all", "--store", "--branding", "none.toml"), MISUSED, "none.toml cannot be read"),
        (("in_0", "--store", "--documents", "gs://a"), MISUSED, "documents"),
        (("in_0", "--store", "--documents", "log.db"), MISUSED, "documents"),
        (("in_0", "--store", "--documents", ""), MISUSED, "documents"),
        (("in_0", "--tenant", "a/b"), MISUSED, "tenant"),
        (("in_none",), DOES_NOT_HOLD, "there is no invoice in_none"),
        (("in_none", "--store"), DOES_NOT_HOLD, "there is no invoice in_none"),
        (("R/2026/999",), DOES_NOT_HOLD, "R/2026/999"),
        (("in_0", "--tenant", "other"), DOES_NOT_HOLD, "there is no invoice in_0"),
        (("in_0", "--database", "none.db"), UNAVAILABLE, "there is no database none.db"),
        (("--all", "--store", "--database", "none.db"), UNAVAILABLE, "there is no database none"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    here: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    assert run(*arguments) == status
    shown = capfd.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert names(here) == ["log.db"]


@pytest.mark.parametrize(
    "option", ["--created-from", "--created-before", "--due-from", "--due-before"]
)
def test_a_filter_that_says_nothing_is_refused_and_not_ignored(here: Path, option: str) -> None:
    assert run("--all", "--store", option, "", "--tenant", "nobody") == MISUSED


def test_again_goes_with_all_only(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("in_none", "--again") == MISUSED
    assert "--again" in capfd.readouterr().err


def test_nobody_is_told_of_a_print_as_kept_that_was_not(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = run("in_0", "--store", "--documents", "none")
    shown = capfd.readouterr()
    assert status != HOLDS or "not kept" in shown.out + shown.err
