"""Is the README true: does its code run and print what it says, do its links lead anywhere?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LINKS = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
PROMISES = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", README)


def test_the_first_block_prints_what_the_second_says() -> None:
    (language, shell), (_, promised) = BLOCKS[:2]
    program = re.fullmatch(r"python3 infra/dev\.py run python - <<'EOF'\n((?:.*\n)*)EOF\n", shell)
    assert language == "sh"
    assert program is not None
    done = subprocess.run(
        [sys.executable, "-"], input=program[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == promised


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize(("name", "path"), PROMISES)
def test_a_promise_names_a_test_that_exists(name: str, path: str) -> None:
    assert f"def {name}(" in (ROOT / path).read_text()


def test_promises_are_linked() -> None:
    section = README.split("## Promises\n")[1].split("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| ")][2:]
    assert len(rows) >= 8
    assert all("](tests/" in row for row in rows)
