"""What the command line understands, and how it ends: 0 holds, 1 does not, 2 misused, 3 away."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from counterfoil.adapters.cli import demo
from counterfoil.domain.errors import CounterfoilError, Malformed, Unavailable

HOLDS, DOES_NOT_HOLD, MISUSED, UNAVAILABLE = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parsed = _parser().parse_args(arguments)
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
    return parser


if __name__ == "__main__":
    sys.exit(main())
