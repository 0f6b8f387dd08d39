"""`counterfoil invoice pdf`: print one invoice into a file, or keep the prints of many."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from counterfoil.adapters.branding_file import read_branding
from counterfoil.adapters.cli.filters import chosen, filters
from counterfoil.adapters.cli.opening import existing
from counterfoil.adapters.cli.progress import shown
from counterfoil.adapters.pdf.pool import WeasyPrintPool
from counterfoil.adapters.tenant import Tenant
from counterfoil.adapters.tenant.bulk import Kept
from counterfoil.billing import Billing, Branding, Invoice
from counterfoil.domain.errors import (
    CounterfoilError,
    Malformed,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.projections.progress import Progress
from counterfoil.projections.render.options import Options

# The options of a print, as the command line says them.
PRINT = (
    "locale",
    "timezone",
    "size",
    "paper-width",
    "paper-height",
    "margin-top",
    "margin-right",
    "margin-bottom",
    "margin-left",
)
STDOUT = "-"


class SomeFailed(CounterfoilError):
    """Not all invoices could be printed and kept."""


def run(arguments: argparse.Namespace) -> None:
    """Print one invoice, or keep the prints of all that are meant."""
    if bool(arguments.invoice) == arguments.all:
        raise Malformed("ID-OR-NUMBER", "say one invoice, or --all")
    if arguments.all:
        _keep_all(arguments)
    else:
        _one(arguments)


def _one(arguments: argparse.Namespace) -> None:
    if chosen(arguments) or arguments.workers is not None:
        raise Malformed("ID-OR-NUMBER", "filters and --workers go with --all")
    if arguments.again:
        raise Malformed("--again", "goes with --all")
    with _billing(arguments, pool=None) as billing:
        acme = billing.tenant(arguments.tenant)
        invoice = _found(acme, arguments.invoice)
        if arguments.store:
            stored = acme.store_invoice_pdf(invoice, **_options(arguments))
            if arguments.json:
                print(json.dumps({"invoice": invoice.id} | asdict(stored)))
            else:
                print(f"{stored.key}, {stored.size:,} bytes, sha256 {stored.sha256}")
            return
        content = acme.render_invoice_pdf(invoice, **_options(arguments))
    if arguments.out == STDOUT:
        sys.stdout.buffer.write(content)
        return
    out = Path(arguments.out or f"{invoice.number or invoice.id}.pdf".replace(os.sep, "-"))
    try:
        out.write_bytes(content)
    except OSError as error:
        raise Unavailable(f"{out} cannot be written: {error.strerror}") from error
    if arguments.json:
        print(json.dumps({"invoice": invoice.id, "file": str(out), "size": len(content)}))
    else:
        print(f"{out}, {len(content):,} bytes")


def _keep_all(arguments: argparse.Namespace) -> None:
    if not arguments.store:
        raise Malformed("--all", "keeps what it prints; say --store as well")
    if arguments.out:
        raise Malformed("--out", "takes one invoice; --all keeps prints in --documents")
    workers = 1 if arguments.workers is None else arguments.workers
    wanted = filters(arguments)
    with (
        _billing(arguments, pool=workers) as billing,
        shown(arguments, "invoices") as watch,
    ):
        acme = billing.tenant(arguments.tenant)
        total = acme.invoices.count(**wanted)
        done: list[Kept] = []
        watch(Progress("print", 0, total))
        for kept in acme.store_invoice_pdfs(
            workers=workers, again=arguments.again, **wanted, **_options(arguments)
        ):
            done.append(kept)
            watch(Progress("print", len(done), max(total, len(done))))
    _report(done, json_=arguments.json)


def _report(done: Sequence[Kept], *, json_: bool) -> None:
    stored = sum(kept.stored is not None for kept in done)
    failed = [kept for kept in done if kept.error is not None]
    before = len(done) - stored - len(failed)
    if json_:
        failures = [{"invoice": one.invoice, "error": str(one.error)} for one in failed]
        print(json.dumps({"stored": stored, "kept_before": before, "failures": failures}))
    else:
        print(f"{stored:,} printed and kept, {before:,} were kept before, {len(failed):,} failed")
        for one in failed:
            print(f"  {one.number or one.invoice}: {one.error}")
    if failed:
        raise SomeFailed(
            f"{len(failed):,} of {len(done):,} invoices were not printed; "
            "the same command goes on with them"
        )


def _billing(arguments: argparse.Namespace, *, pool: int | None) -> Billing:
    fonts = [place for place in os.environ.get("COUNTERFOIL_FONTS", "").split(os.pathsep) if place]
    branding = read_branding(Path(arguments.branding)) if arguments.branding else Branding()
    if arguments.store and arguments.documents == "none":
        raise StorageNotConfigured("--store keeps prints, and --documents none keeps nothing")
    return Billing.open(
        existing(arguments.database),
        documents=arguments.documents,
        branding=branding,
        pdf="weasyprint" if pool is None else WeasyPrintPool(workers=pool, fonts=fonts),
        timezone=os.environ.get("COUNTERFOIL_TIMEZONE", "UTC"),
    )


def _found(acme: Tenant, name: str) -> Invoice:
    return acme.invoices.get(name) if name.startswith("in_") else acme.invoices.by_number(name)


def _options(arguments: argparse.Namespace) -> Options:
    said: dict[str, object] = {"archival": arguments.archival}
    for option in PRINT:
        name = option.replace("-", "_")
        said[name] = getattr(arguments, name)
    for edge in ("header", "footer"):
        path: Path | None = getattr(arguments, f"{edge}_html")
        said[f"{edge}_html"] = None if path is None else _read(path, edge)
    return cast("Options", {name: value for name, value in said.items() if value is not None})


def _read(path: Path, edge: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(f"--{edge}-html", f"{path} cannot be read") from error
