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

from counterfoil.adapters.cli import (
    audit,
    demo,
    evidence,
    invoice,
    past,
    payments,
    pdf,
    projections,
    replay,
)
from counterfoil.adapters.cli.filters import add_filters
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError, Malformed, Unavailable
from counterfoil.projections.catalogue import PROJECTIONS

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
    _add_invoice(commands)
    _add_payments(commands)
    _add_projections(commands)
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


def _add_invoice(commands: Commands) -> None:
    about = commands.add_parser("invoice", help="list a tenant's invoices, show one, or print them")
    verbs = about.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = verbs.add_parser(
        "list",
        help="a page of invoices, newest first",
        description="Show a page of a tenant's invoices, newest first. All that is asked must "
        "hold; whatever cannot be understood is an error.",
    )
    _add_database(listed)
    _add_tenant(listed)
    add_filters(listed)
    _add_paging(listed, "invoice")
    listed.add_argument("--json", action="store_true", help="print JSON")
    listed.set_defaults(run=invoice.list_)
    shown = verbs.add_parser("show", help="one invoice with its lines")
    shown.add_argument("invoice", metavar="ID-OR-NUMBER", help="in_… or a number")
    _add_database(shown)
    _add_tenant(shown)
    shown.add_argument("--json", action="store_true", help="print JSON")
    shown.set_defaults(run=invoice.show)
    _add_pdf(verbs)


def _add_pdf(verbs: Commands) -> None:
    printed = verbs.add_parser(
        "pdf",
        help="print an invoice, or keep the prints of many",
        description="Print one invoice, or a draft, into a file; with --store keep the print in "
        "--documents and record its SHA-256. With --all and --store, do so for every invoice that "
        "is meant: one that fails stops no other, and a run that was cut off is gone on with by "
        "the same command.",
    )
    printed.add_argument("invoice", nargs="?", metavar="ID-OR-NUMBER", help="in_… or a number")
    _add_database(printed)
    _add_tenant(printed)
    printed.add_argument(
        "--documents",
        default=os.environ.get("COUNTERFOIL_DOCUMENTS", "documents"),
        metavar="PLACE",
        help="a folder, or s3://bucket/prefix (default: COUNTERFOIL_DOCUMENTS, or %(default)s)",
    )
    printed.add_argument(
        "--branding",
        default=os.environ.get("COUNTERFOIL_BRANDING"),
        metavar="FILE",
        help="a TOML file with name, colour, tagline and logo (default: COUNTERFOIL_BRANDING)",
    )
    kept = printed.add_mutually_exclusive_group()
    kept.add_argument("--out", metavar="FILE", help="the file to write, or - (default: NUMBER.pdf)")
    kept.add_argument("--store", action="store_true", help="keep the print in --documents")
    paper = printed.add_argument_group("how to print it")
    for option, what in {
        "locale": "the language, as in de-AT (default: the customer's, or en)",
        "timezone": "whose days to write, as in Europe/Berlin (default: the customer's, or UTC)",
        "size": 'A3, A4, A5, B4, B5, Letter, Legal or Ledger, or "A4 landscape" (default: A4)',
        "paper-width": "with --paper-height, as in 100mm or 4in",
        "paper-height": "with --paper-width",
        "margin-top": "as in 20mm, 2cm or 0.8in",
        "margin-right": "likewise",
        "margin-bottom": "likewise",
        "margin-left": "likewise",
    }.items():
        paper.add_argument(f"--{option}", metavar=option.rpartition("-")[2].upper(), help=what)
    paper.add_argument("--archival", action="store_true", help="make PDF/A-3b, for the archive")
    for edge in ("header", "footer"):
        paper.add_argument(
            f"--{edge}-html",
            type=Path,
            metavar="FILE",
            help=f"simple HTML that runs along as the {edge} of every page",
        )
    many = printed.add_argument_group("many at once")
    many.add_argument("--all", action="store_true", help="all invoices that these say:")
    add_filters(many)
    many.add_argument("--workers", type=int, metavar="N", help="processes that print (default: 1)")
    many.add_argument("--again", action="store_true", help="print also what is kept as it is now")
    printed.add_argument("--json", action="store_true", help="print JSON")
    printed.set_defaults(run=pdf.run)


def _add_payments(commands: Commands) -> None:
    about = commands.add_parser("payments", help="list payments, settle them, collect what is due")
    verbs = about.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listed = verbs.add_parser(
        "list",
        help="a page of payments, newest first",
        description="Show a page of a tenant's payments, newest first, whatever became of them.",
    )
    for option, what in {
        "invoice": "of this invoice",
        "customer": "of this customer",
        "status": "processing, requires_action, succeeded or failed",
        "reference": "with this reference, as in a bank statement",
    }.items():
        listed.add_argument(f"--{option}", metavar=option.upper(), help=f"only those {what}")
    _add_paging(listed, "payment")
    settled = verbs.add_parser(
        "settle",
        help="ask what became of payments whose answer never came",
        description="Ask the processor about every payment and refund in progress, and take in "
        "what it says. A payment that never reached it is withdrawn, so that it never will. Run it "
        "every few minutes: it is what finishes the work of processes that were killed.",
    )
    settled.add_argument(
        "--waiting",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="leave alone what is younger, for its answer may still come (default: 600)",
    )
    collected = verbs.add_parser(
        "collect",
        help="charge what is due, and again what was refused",
        description="Charge every open invoice that is charged automatically when it is due, and "
        "again some days after each refusal. Two runs at once charge nothing twice.",
    )
    collected.add_argument(
        "--now",
        metavar="TIME",
        help="as if it were this time, as in 2026-11-20T08:00+01:00; each run with a time to come "
        "makes an attempt, so try it with --dry-run first",
    )
    collected.add_argument(
        "--retry-days",
        metavar="DAYS",
        help="days from each refusal to the next attempt (default: 1,3,5,7)",
    )
    collected.add_argument(
        "--give-up",
        action="store_true",
        help="mark as uncollectible what was refused after the last attempt, or for good",
    )
    collected.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and charge nobody"
    )
    for parser, run in (
        (listed, payments.list_),
        (settled, payments.settle),
        (collected, payments.collect),
    ):
        _add_database(parser)
        _add_tenant(parser)
        if parser is not listed:
            _add_processor(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def _add_processor(parser: argparse.ArgumentParser) -> None:
    given = os.environ.get("COUNTERFOIL_PROCESSOR")
    parser.add_argument(
        "--processor",
        default=given,
        required=given is None,
        metavar="PROCESSOR",
        help="stripe, with the key in STRIPE_API_KEY, or fake:FILE (default: "
        "COUNTERFOIL_PROCESSOR)",
    )


def _add_projections(commands: Commands) -> None:
    about = commands.add_parser("projections", help="the read models: status, rebuild, verify, run")
    verbs = about.add_subparsers(title="commands", required=True, metavar="COMMAND")
    status = verbs.add_parser("status", help="where every read model stands")
    rebuilt = verbs.add_parser(
        "rebuild",
        help="make read models anew from the facts, while everybody goes on",
        description="Load new tables beside the live ones, catch up with what is written "
        "meanwhile, and swap them in one transaction. Killed at any moment, it leaves the live "
        "tables as they are; --resume goes on where it was.",
    )
    rebuilt.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that load (PostgreSQL)"
    )
    rebuilt.add_argument(
        "--dry-run", action="store_true", help="make every row, store none, and say how many"
    )
    rebuilt.add_argument(
        "--resume",
        action="store_true",
        help="go on with a rebuild that was cut off, if there is one",
    )
    verified = verbs.add_parser(
        "verify",
        help="compare every row with what the facts make of it",
        description="Fold every stream again and compare it with the live rows, cell by cell. "
        "Names what differs, with the stored and the true value; exit status 1 if anything does.",
    )
    ran = verbs.add_parser(
        "run",
        help='have read models follow the log (projections="async")',
        description="Take new facts into the read models, each exactly once, until interrupted. "
        "Any number may run; a kill loses nothing.",
    )
    ran.add_argument("--once", action="store_true", help="stop at the present end of the log")
    for parser, run in (
        (status, projections.status),
        (rebuilt, projections.rebuild),
        (verified, projections.verify),
        (ran, projections.run),
    ):
        if parser in {rebuilt, verified}:
            parser.add_argument(
                "names", nargs="*", metavar="NAME", help=f"{', '.join(PROJECTIONS)} (default: all)"
            )
        _add_database(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def _add_paging(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="1 to 100 (default: 20)")
    parser.add_argument("--starting-after", metavar="ID", help=f"the page behind this {what}")
    parser.add_argument("--ending-before", metavar="ID", help=f"the page right before this {what}")


def _add_tenant(parser: argparse.ArgumentParser) -> None:
    given = os.environ.get("COUNTERFOIL_TENANT")
    parser.add_argument(
        "--tenant",
        default=given,
        required=given is None,
        metavar="TENANT",
        help="whose invoices (default: COUNTERFOIL_TENANT)",
    )


def _add_audit(commands: Commands) -> None:
    about = commands.add_parser("audit", help="what happened, and proof that it did")
    verbs = about.add_subparsers(title="commands", required=True, metavar="COMMAND")
    audit.add(verbs, _add_database)
    past.add(verbs, _add_place)
    evidence.add(verbs, _add_database, _add_tenant)
    replay.add(verbs, _add_database)


def _add_place(parser: argparse.ArgumentParser) -> None:
    _add_database(parser)
    _add_tenant(parser)


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
