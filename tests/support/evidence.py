"""Packs to be verified and forged: an invoice with all that a pack can hold, and what an outsider,
or a forger who has no key, can do with the files of a pack.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.billing import Billing
from counterfoil.domain import Customer
from support.invoices import SELLER, Borrowed, Clock, counted, issued, many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from counterfoil.billing import Invoice

# Debian builds know it too; whatever runs there must need nothing of ours.
BARE = [sys.executable, "-I", "-S"]


@contextmanager
def office(database: Path | str, documents: Path) -> Iterator[Billing]:
    """A billing whose ids, clock and prints are the same in every run."""
    with Billing.open(
        database,
        seller=SELLER,
        documents=documents,
        pdf=Borrowed(RecordingEngine()),
        clock=Clock(),
        ids=counted(),
    ) as billing:
        yield billing


def year(billing: Billing) -> Invoice:
    """An invoice that was stored, paid in part and corrected; one beside it; one of a rival."""
    acme = billing.tenant("acme")
    invoice = issued(acme)
    acme.store_invoice_pdf(invoice.id)
    acme.record_payment(invoice.id, amount=1000)
    acme.issue_credit_note(invoice.id, amount=500, reason="=too much")
    issued(acme, many(3))
    rival = Customer(id="cus_rival", name="Sekretariat Geheim & Söhne")
    issued(billing.tenant("rival"), customer=rival)
    return acme.invoices.get(invoice.id)


def unpacked(pack: Path, folder: Path) -> Path:
    """The files of a pack in a folder."""
    with zipfile.ZipFile(pack) as archive:
        archive.extractall(folder)
    return folder


def verified(
    pack: Path, *options: str, at: Path, verifier: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """What the verifier says on a machine with nothing but python3: no module of ours, no
    environment, an empty folder; `at` is where those may be made.
    """
    program = verifier or at / "verify.py"
    if verifier is None and not program.exists():
        with zipfile.ZipFile(pack) as archive:
            program.write_bytes(archive.read("verify.py"))
    empty = at / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        [*BARE, str(program), str(pack), *options],
        cwd=empty,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [*empty.iterdir()]
    assert "Traceback" not in done.stderr
    return done


def said(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What it said with --json; `failed` are the names of the checks that did not hold."""
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if told["holds"] else 1)
    told["failed"] = [one["check"] for one in told["checks"] if not one["holds"]]
    return told


def forge(folder: Path) -> None:
    """Make the manifest and its digest anew, as anybody can who changed a file."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"manifest.json", "manifest.sig", "SHA256SUMS"}
    }
    manifest["facts"] = len((folder / "events.jsonl").read_bytes().splitlines())
    written = json.dumps(manifest, indent=1).encode()
    (folder / "manifest.json").write_bytes(written)
    sums = f"{hashlib.sha256(written).hexdigest()}  manifest.json\n"
    signature = folder / "manifest.sig"
    if signature.exists():
        sums += f"{hashlib.sha256(signature.read_bytes()).hexdigest()}  manifest.sig\n"
    (folder / "SHA256SUMS").write_text(sums)


def facts_of(folder: Path) -> list[dict[str, Any]]:
    """The facts of a pack."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def put_facts(folder: Path, facts: list[dict[str, Any]]) -> None:
    """Others instead of them, and everything else that follows from that made anew."""
    lines = (json.dumps(fact, ensure_ascii=False) + "\n" for fact in facts)
    (folder / "events.jsonl").write_text("".join(lines))
    forge(folder)


def rechain(facts: list[dict[str, Any]], link: Callable[..., bytes]) -> list[dict[str, Any]]:
    """The same facts with hashes that fit what they say now."""
    heads: dict[str, str] = {}
    for fact in facts:
        fact["previous"] = heads.get(fact["stream"], fact["previous"])
        made = link(bytes.fromhex(fact["previous"]), fact, fact["body"].encode())
        fact["hash"] = heads[fact["stream"]] = made.hex()
    return facts
