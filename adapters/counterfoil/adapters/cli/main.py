"""What the command line understands, and how it ends: 0 holds, 1 does not, 2 misused, 3 away."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.adapters.cli import audit, demo
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, Malformed, Unavailable

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

HOLDS, DOES_NOT_HOLD, MISUSED, UNAVAILABLE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # a terminal may know fewer letters than names have
    run: Callable[[argparse.Namespace], None] = parsed.run
    try:
        run(parsed)
    except Unavailable as error:
        return _say(error, UNAVAILABLE)
    except Malformed as error:
        return _say(error, MISUSED)
    except CounterfoilError as error:
        return _say(error, DOES_NOT_HOLD)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
    except OSError as error:
        return _say(Unavailable(f"writing failed: {error.strerror}"), UNAVAILABLE)
    return HOLDS


def _say(error: CounterfoilError, status: int) -> int:
    print(f"counterfoil: {error}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="counterfoil",
        description="An event-sourced invoicing engine: what it shows can be rebuilt from the "
        "facts and proved.",
        epilog="Exit status: 0 it holds, 1 it does not, 2 wrong usage, 3 a database is away.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('counterfoil')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    made = commands.add_parser(
        "init",
        help="make the schema of a database, or bring it up to date",
        description="Make the schema of a database, or bring it up to date. Running it twice, or "
        "twice at once, does no harm.",
    )
    _add_database(made)
    made.set_defaults(run=lambda arguments: Billing.init(arguments.database))
    _add_audit(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    shown = commands.add_parser(
        "demo",
        help="write an invoice's whole life into an SQLite file and show its facts",
        description="Draft, finalize, pay in part and correct an invoice, in an SQLite file. "
        "Every run adds an invoice; numbers go on where the last run stopped.",
    )
    shown.add_argument(
        "--out",
        type=Path,
        default=Path("var/demo"),
        metavar="FOLDER",
        help="where to put what the demo makes (default: %(default)s)",
    )
    shown.add_argument("--json", action="store_true", help="print JSON, one fact a line")
    shown.set_defaults(run=demo.run)


def _add_audit(commands: Commands) -> None:
    about = commands.add_parser("audit", help="prove that the log is what was written")
    verbs = about.add_subparsers(title="commands", required=True, metavar="COMMAND")
    verified = verbs.add_parser(
        "verify",
        help="make every hash again and compare",
        description="Read every fact once and make every hash again. Names the first bad position. "
        "A cut-off end, or a history that was written anew as a whole, shows only against a "
        "checkpoint that was kept elsewhere.",
    )
    _add_database(verified)
    verified.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="compare with this checkpoint as well"
    )
    verified.add_argument("--json", action="store_true", help="print JSON")
    verified.set_defaults(run=audit.verify)
    kept = verbs.add_parser(
        "checkpoint",
        help="write the root over all facts to a file",
        description="Write the Merkle root over all facts to a file. Keep it where nobody who can "
        "change the database can change it.",
    )
    _add_database(kept)
    kept.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write")
    kept.add_argument("--json", action="store_true", help="print JSON")
    kept.set_defaults(run=audit.checkpoint)


def _add_database(parser: argparse.ArgumentParser) -> None:
    given = os.environ.get("COUNTERFOIL_DATABASE")
    parser.add_argument(
        "--database",
        default=given,
        required=given is None,
        metavar="DATABASE",
        help="an SQLite file, or postgresql://… (default: COUNTERFOIL_DATABASE)",
    )


if __name__ == "__main__":
    sys.exit(main())
