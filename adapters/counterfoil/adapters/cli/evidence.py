"""`counterfoil audit export`: one zip that proves an invoice or a month to an outsider."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.adapters.audit.checkpoint import FOLDER, Checkpoint
from counterfoil.adapters.branding_file import read_branding
from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.billing import Billing
from counterfoil.domain.errors import CounterfoilError

if TYPE_CHECKING:
    from counterfoil.adapters.audit.evidence.export import Exported

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Adds = Callable[[argparse.ArgumentParser], None]


class DoesNotHold(CounterfoilError):
    """A pack was written, and its own verifier finds something."""


def export(arguments: argparse.Namespace) -> None:
    """Write an evidence pack, and say what its verifier says."""
    branding = read_branding(Path(arguments.branding)) if arguments.branding else None
    with Billing.auditing(
        existing(arguments.database),
        arguments.documents,
        pdf="none" if arguments.no_prints else "weasyprint",
        branding=branding,
    ) as audit:
        where = arguments.checkpoint
        checkpoint = None
        if where is not None:
            kept = where.startswith(f"{FOLDER}/") and not Path(where).exists()
            checkpoint = audit.kept(where) if kept else Checkpoint.load(Path(where))
        quiet = arguments.json or not sys.stderr.isatty()
        with shown(arguments) as watch:
            made = audit.export(
                arguments.out,
                tenant=arguments.tenant,
                invoice=arguments.invoice,
                period=arguments.period,
                checkpoint=checkpoint,
                key=arguments.key,
                prints=not arguments.no_prints,
                watch=(lambda _: None) if quiet else watch,
            )
    if arguments.json:
        print(json.dumps(made.as_json(), ensure_ascii=False))
    else:
        _say(made)
    if not made.holds:
        raise DoesNotHold(f"{made.path} is written, and does not hold: {made.problems[0]}")


def _say(made: Exported) -> None:
    print(
        f"{made.path}: {made.facts:,} facts of {made.documents:,} documents under a checkpoint of "
        f"{made.checkpoint.size:,} facts; {made.stored:,} stored PDF, {made.printed:,} printed now"
    )
    for missing in made.missing:
        print(f"Not as it was stored: {missing}")
    print(f"Digest: {made.digest}")
    print("Tell the digest to whoever gets the pack, but not together with it. They run:")
    print(f"    python3 -I -S verify.py {made.path.name} --digest {made.digest}")


def add(verbs: Commands, add_database: Adds, add_tenant: Adds) -> None:
    """Teach the command line this verb."""
    parser = verbs.add_parser(
        "export",
        help="write an evidence pack: a zip that an outsider verifies with python3 alone",
        description="Write one zip with all facts of an invoice, or of all documents that were "
        "numbered in a period; with the proofs that they are in the log, the PDFs as they were "
        "stored, the list of numbers, and verify.py, which checks all of it and needs nothing but "
        "python3. It holds what this tenant recorded, and nothing of any other. The same log, "
        "checkpoint, documents and key make the same bytes. What is wrong with the log or a "
        "document does not stop it: it is said here and in the pack, and the exit status is 1.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--invoice", metavar="ID-OR-NUMBER", help="an invoice, with its credit notes")
    what.add_argument("--period", metavar="PERIOD", help="a year, month or day: 2026-10")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the zip to write")
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="prove it of this checkpoint, as of then: a file, or a key of --documents such as "
        "checkpoints/9-0123456789ab.json (default: of one made now)",
    )
    parser.add_argument(
        "--key",
        type=Path,
        default=os.environ.get("COUNTERFOIL_SIGNING_KEY"),
        metavar="FILE",
        help="sign the pack, and a checkpoint made for it, with this Ed25519 key, a PEM file; "
        "without, a pack proves nothing against whoever makes another (default: "
        "COUNTERFOIL_SIGNING_KEY)",
    )
    parser.add_argument(
        "--documents",
        default=os.environ.get("COUNTERFOIL_DOCUMENTS", "documents"),
        metavar="PLACE",
        help="a folder, or s3://bucket/prefix (default: COUNTERFOIL_DOCUMENTS, or %(default)s)",
    )
    parser.add_argument(
        "--branding",
        default=os.environ.get("COUNTERFOIL_BRANDING"),
        metavar="FILE",
        help="how to print what was never stored (default: COUNTERFOIL_BRANDING)",
    )
    parser.add_argument(
        "--no-prints", action="store_true", help="print nothing anew; only what was stored"
    )
    add_database(parser)
    add_tenant(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=export)
