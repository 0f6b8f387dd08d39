"""Writes an evidence pack: facts, proofs, prints, numbers and the verifier, in one pass each, so
that a month of ten thousand invoices takes no more memory than one of ten.
"""

from __future__ import annotations

import base64
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, cast

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.evidence import verifier
from counterfoil.adapters.audit.evidence.choice import (
    Choice,
    Facts,
    of_invoice,
    of_period,
    rows_of,
)
from counterfoil.adapters.audit.evidence.leaves import Leaves
from counterfoil.adapters.audit.evidence.papers import Paper, Printer, fetched
from counterfoil.adapters.audit.evidence.zipped import Zipped, zipped
from counterfoil.adapters.audit.signing import SigningKey, public_of, sign
from counterfoil.adapters.audit.walk import LEAF, Part, leaves_of, pages
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import Row
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE
from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import CorruptHistory, IntegrityFailed
from counterfoil.domain.ports import Clock, DocumentStore
from counterfoil.projections.credit_note import CreditNote, view_credit_note
from counterfoil.projections.invoice import Invoice, view_invoice
from counterfoil.projections.progress import Progress, Watch

if TYPE_CHECKING:
    from counterfoil.domain.credit_note.events import CreditNoteEvent
    from counterfoil.domain.invoice.events import InvoiceEvent


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of what a pack is made: an invoice or a period of a tenant."""

    tenant: str
    invoice: str | None
    period: str | None


@dataclass(frozen=True, slots=True)
class Exported:
    """A pack that was written, and what its own verifier says of it."""

    path: Path
    digest: str
    checkpoint: Checkpoint
    facts: int
    documents: int
    stored: int
    printed: int
    missing: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is missing, and its verifier finds nothing."""
        return not self.problems

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "path": str(self.path),
            "holds": self.holds,
            "digest": self.digest,
            "facts": self.facts,
            "documents": self.documents,
            "stored": self.stored,
            "printed": self.printed,
            "missing": list(self.missing),
            "problems": list(self.problems),
            "checkpoint": self.checkpoint.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Export:
    """What it takes to make a pack."""

    log: FactsRecorder
    documents: DocumentStore
    printer: Printer | None
    wanted: Wanted
    watch: Watch

    @contextmanager
    def as_of(
        self, checkpoint: Checkpoint | None, clock: Clock, key: SigningKey | None
    ) -> Iterator[Under]:
        """The same under a checkpoint, or under one that is made now."""
        with Leaves() as leaves:
            places = self._read(leaves, checkpoint)
            problems = []
            if checkpoint is None:
                now = clock().astimezone(UTC)
                made = Checkpoint(leaves.size, leaves.root().hex(), now, places.first_hash)
                checkpoint = made if key is None else made.signed(key)
            elif leaves.root().hex() != checkpoint.root:
                problems.append(
                    f"the first {checkpoint.size} facts of the log are not those of the checkpoint"
                )
            yield Under(self, checkpoint, leaves, places, problems)

    def _read(self, leaves: Leaves, checkpoint: Checkpoint | None) -> Places:
        last = self.log.max_notification_id() or 0
        total = last if checkpoint is None else checkpoint.size
        places = Places()
        for rows in pages(self.log, Part(0, last), LEAF):
            taken = rows[: total - leaves.size] if checkpoint else rows
            leaves.extend(leaves_of(taken))
            places.note(taken)
            self.watch(Progress("tree", leaves.size, total))
            if checkpoint and leaves.size == total:
                break
        if not leaves.size or leaves.size < (checkpoint.size if checkpoint else 0):
            raise IntegrityFailed(
                f"the log has {leaves.size} facts, the checkpoint {total}: some are missing at the"
                " end, and a pack cannot be made under it"
                if checkpoint
                else "the log has no facts"
            )
        leaves.grow()
        return places


class Places:
    """Which place in the tree a position has: they differ where facts are missing from the log."""

    def __init__(self) -> None:
        self.first_hash: str | None = None
        self.last = 0
        self._count = 0
        self._positions = array("q")
        self._indices = array("q")

    def note(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Take in the next rows: position and hash."""
        for position, hash_ in rows:
            if self.first_hash is None:
                self.first_hash = bytes(hash_).hex()
            if position != self.last + 1 or not self._positions:
                self._positions.append(position)
                self._indices.append(self._count)
            self.last = position
            self._count += 1

    def index(self, position: int) -> int:
        """The place of a fact."""
        run = bisect_right(self._positions, position) - 1
        return self._indices[run] + position - self._positions[run]


class Under:
    """A pack that is being made under a checkpoint."""

    def __init__(
        self,
        export: Export,
        checkpoint: Checkpoint,
        leaves: Leaves,
        places: Places,
        problems: list[str],
    ) -> None:
        self._export = export
        self._checkpoint = checkpoint
        self._leaves = leaves
        self._places = places
        self._problems = problems
        self._books = verifier.Books()
        self._positions = array("q")
        self._papers: list[dict[str, object]] = []
        self._missing: list[str] = []
        wanted = export.wanted
        self._facts = Facts(export.log, wanted.tenant, places.last)
        if wanted.invoice is not None:
            self._choice = of_invoice(self._facts, wanted.invoice)
        else:
            self._choice = of_period(self._facts, str(wanted.period))

    def write(self, out: Path, key: SigningKey | None) -> Exported:
        """Write the pack, and have it verified by the program that is in it."""
        with zipped(out) as pack:
            pack.add(verifier.README, [_about(self._choice, self._export.wanted.tenant)])
            pack.add(verifier.VERIFIER, [_own("verifier.py")])
            pack.add(verifier.CHECKPOINT, [_json(self._checkpoint.as_json())])
            pack.add(verifier.EVENTS, self._events())
            pack.add(verifier.PROOFS, self._proofs())
            pack.add(verifier.NUMBERS, self._books.csv(self._choice.of.get("period", "")))
            self._readable(pack)
            self._prints(pack)
            manifest = _json(self._manifest(pack))
            _finish(pack, manifest, key)
        report = verifier.verify(out)
        bad = [f"{one.first} ({one.bad} in all)" for one in report.checks if one.bad]
        return Exported(
            path=out,
            digest=report.digest,
            checkpoint=self._checkpoint,
            facts=len(self._positions),
            documents=len(self._choice.documents),
            stored=len(self._books.prints),
            printed=sum(paper["state"] == "printed" for paper in self._papers),
            missing=tuple(self._missing),
            problems=(*self._problems, *bad),
        )

    # --- facts and proofs -----------------------------------------------------------------

    def _events(self) -> Iterator[bytes]:
        heads: dict[str, tuple[int, bytes]] = {}
        for row in rows_of(self._facts, self._choice):
            version_before, head = heads.get(row.stream, (0, GENESIS))
            if version_before != row.version - 1:
                head = self._facts.hash_at(row.stream, row.version - 1) or GENESIS
            heads[row.stream] = (row.version, row.hash)
            fact = _fact(row, head)
            self._books.take(fact, row.body)
            self._positions.append(row.position)
            yield _line(fact)

    def _proofs(self) -> Iterator[bytes]:
        before: int | None = None
        total = len(self._positions)
        for done, position in enumerate(self._positions, 1):
            index = self._places.index(position)
            path, kept = self._leaves.path(index, before)
            before = index
            said = {"position": position, "index": index, "kept": kept}
            yield _line(said | {"path": [one.hex() for one in path]})
            if done % 1000 == 0:
                self._export.watch(Progress("proofs", done, total))

    # --- what people read -----------------------------------------------------------------

    def _readable(self, pack: Zipped) -> None:
        names = sorted(self._choice.documents)
        invoices = [name for name in names if name.startswith(f"{INVOICE}_")]
        notes = [name for name in names if not name.startswith(f"{INVOICE}_")]
        if "invoice" in self._choice.of:
            content = json.dumps(self._shown(invoices[0]), ensure_ascii=False, indent=1)
            pack.add("invoice.json", [f"{content}\n".encode(errors="backslashreplace")])
        else:
            pack.add("invoices.jsonl", (_line(self._shown(name)) for name in invoices))
        if notes:
            pack.add("credit_notes.jsonl", (_line(self._shown(name)) for name in notes))

    def _shown(self, name: str) -> dict[str, object]:
        try:
            view = self._view(name)
        except CorruptHistory as error:
            return {"id": name, "unreadable": str(error)}
        if view is None:
            return {"id": name, "status": "discarded"}
        return cast("dict[str, object]", view.model_dump(mode="json"))

    def _view(self, name: str) -> Invoice | CreditNote | None:
        log, until = self._export.log, self._places.last
        recorded = log.read(self._facts.tenant, name)
        facts = [one for one in recorded if one.envelope.position <= until]
        if name.startswith(f"{CREDIT_NOTE}_"):
            return view_credit_note(cast("list[Recorded[CreditNoteEvent]]", facts))
        return view_invoice(cast("list[Recorded[InvoiceEvent]]", facts))

    # --- prints ---------------------------------------------------------------------------

    def _prints(self, pack: Zipped) -> None:
        books = self._books
        total = len(books.documents)
        for one in books.prints.values():
            document = books.documents.get(one.stream)
            self._take(pack, fetched(self._export.documents, self._facts.tenant, one, document))
        kept = {one.stream for one in books.prints.values()}
        for done, name in enumerate(sorted(books.documents), 1):
            paper = self._printed(name) if name not in kept else None
            if paper is not None:
                self._take(pack, paper)
            self._export.watch(Progress("prints", done, total))

    def _take(self, pack: Zipped, paper: Paper) -> None:
        if paper.content is not None:
            pack.add(paper.file, [paper.content])
        if not paper.holds:
            self._missing.append(f"{paper.said['key']} is {paper.state}")
        self._papers.append(paper.as_json())

    def _printed(self, name: str) -> Paper | None:
        printer = self._export.printer
        if printer is None:
            return None
        try:
            view = self._view(name)
            corrected = self._view(view.invoice) if isinstance(view, CreditNote) else None
        except CorruptHistory:
            return None
        if view is None or isinstance(corrected, CreditNote):
            return None
        return printer.print(self._facts.tenant, view, corrected)

    # --- the end --------------------------------------------------------------------------

    def _manifest(self, pack: Zipped) -> dict[str, object]:
        made_at = self._checkpoint.made_at
        return {
            "format": verifier.FORMAT,
            "made_by": f"counterfoil {version('counterfoil')}",
            "tenant": self._facts.tenant,
            "of": dict(self._choice.of),
            "as_of": None if made_at is None else made_at.isoformat(),
            "facts": len(self._positions),
            "documents": self._papers,
            "files": pack.files,
        }


def _finish(pack: Zipped, manifest: bytes, key: SigningKey | None) -> None:
    """Add the manifest, its signature, and the digests of both."""
    ends = {verifier.MANIFEST: manifest}
    if key is not None:
        signature = sign(key, verifier.SIGNED_AS + manifest)
        ends[verifier.SIGNATURE] = _json({"public_key": public_of(key), "signature": signature})
    listed = dict(pack.files)
    for name, content in ends.items():
        pack.add(name, [content])
    sums = "".join(
        f"{said['sha256']}  {name}\n" for name, said in pack.files.items() if name not in listed
    )
    pack.add(verifier.SUMS, [sums.encode()])


def _fact(row: Row, previous: bytes) -> dict[str, object]:
    said: dict[str, object] = row._asdict()
    del said["body"]
    body = bytes(row.body)
    said |= {"previous": previous.hex(), "hash": bytes(row.hash).hex()}
    try:
        return said | {"body": body.decode()}
    except UnicodeDecodeError:
        return said | {"body_base64": base64.b64encode(body).decode()}


def _line(said: object) -> bytes:
    # Text that no UTF-8 is comes as lone surrogates, and goes as the escapes that JSON has for it.
    written = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return written.encode(errors="backslashreplace") + b"\n"


def _json(said: object) -> bytes:
    return json.dumps(said, indent=1).encode() + b"\n"


def _own(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


def _about(choice: Choice, tenant: str) -> bytes:
    what = ", ".join(f"{name} {said}" for name, said in choice.of.items())
    text = _own("readme.txt").decode()
    return text.replace("@WHAT@", f"tenant {tenant}, {what}").encode(errors="replace")
