"""Does the command line do what its help says, and end as it says?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.cli import counterfoil

if TYPE_CHECKING:
    from pathlib import Path


def program(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line as a program; what is said before any work begins needs none."""
    return subprocess.run(
        [sys.executable, "-m", "counterfoil.adapters.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_shows_an_invoices_life_and_where_it_is(tmp_path: Path) -> None:
    done = program("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "invoice.finalized" in done.stdout
    assert "INV-" in done.stdout
    assert "var/demo/counterfoil.db" in done.stdout
    assert (tmp_path / "var" / "demo" / "counterfoil.db").exists()


@pytest.mark.slow
def test_a_second_demo_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    for place in (1, 2):
        done = program("demo", "--json", "--out", "made", cwd=tmp_path)
        facts = [json.loads(line) for line in done.stdout.splitlines()]
        numbers = [fact["fact"]["number"] for fact in facts if "number_assigned" in fact["type"]]
        assert [number[-4:] for number in numbers] == [f"{place:04d}", f"{place:04d}"]
        assert [fact["type"] for fact in facts[-3:]] == [
            "invoice.paid.v1",
            "invoice.document_stored.v1",
            "credit_note.document_stored.v1",
        ]


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    done = program("demo", "--out", "taken", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == "counterfoil: taken cannot be made: File exists\n"


@pytest.mark.parametrize("arguments", [(), ("dance",), ("demo", "--quickly")])
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...]) -> None:
    done = counterfoil(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: counterfoil")


def test_the_help_says_what_the_exit_status_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = counterfoil("--help")
    assert done.returncode == 0
    assert "Exit status: 0 it holds, 1 it does not, 2 wrong usage" in done.stdout
