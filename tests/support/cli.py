"""The command line, run where its test runs: a process of its own would take half a second."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from counterfoil.adapters.cli.main import main


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def counterfoil(*arguments: str) -> Ended:
    """Run a command. What it does not catch is raised, where a program would show a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as ended:  # argparse
            status = int(str(ended.code))
    return Ended(status, out.getvalue(), err.getvalue())
