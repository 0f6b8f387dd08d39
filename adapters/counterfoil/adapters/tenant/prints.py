"""A tenant's documents on paper: printed, kept, and proved to be what was kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar, Unpack, cast
from urllib.parse import quote

from counterfoil.adapters import telemetry
from counterfoil.adapters.desk import Call, Decided, Request, expect
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE, of_kind
from counterfoil.adapters.tenant.office import (
    Office,
    credit_note_of,
    existing,
    made,
)
from counterfoil.domain.credit_note import decisions as credit_notes
from counterfoil.domain.credit_note.events import CreditNoteStored
from counterfoil.domain.errors import (
    Conflict,
    EngineUnavailable,
    IntegrityFailed,
    NotFound,
    ObjectNotFound,
    StorageNotConfigured,
)
from counterfoil.domain.invoice import commands, decisions
from counterfoil.domain.invoice.events import DocumentStored
from counterfoil.domain.ports import Append, Label, Sheet, Transaction
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.credit_notes import CreditNotes
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.invoices import Invoices
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.options import Options, Print

if TYPE_CHECKING:
    from counterfoil.projections.render.sheet import Fallback

LINK_S = 3600
LINK_MAX_S = 7 * 24 * 3600  # the longest that S3 signs for
# A file system takes 255 bytes for a name; options and digest come behind it.
NAME_MAX = 150
PDF = "application/pdf"

Fact = TypeVar("Fact", DocumentStored, CreditNoteStored)


class PrintCall(Options, Call):
    """How to print, and what every write may be told."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """Where a print is kept, and which bytes; `persisted` is False where nothing is kept."""

    key: str
    sha256: str
    size: int
    persisted: bool = True


@dataclass(frozen=True, slots=True)
class _Job:
    """A document that is ready to be printed, and all that its print depends on."""

    document: str
    draft: bool
    version: int
    sheet: Sheet
    options: Print
    branding: str
    label: Label
    fallbacks: tuple[Fallback, ...]

    def key(self, folder: str, digest: str = "") -> str:
        name = quote(self.document, safe="_")
        if len(name) > NAME_MAX:
            name = hashlib.sha256(self.document.encode()).hexdigest()
        parts = [name, "draft" if self.draft else "", *self.options.key, digest[:16]]
        return f"{folder}/{'.'.join(part for part in parts if part)}.pdf"


class Prints(Office):
    """Prints of invoices and credit notes."""

    invoices: Invoices
    credit_notes: CreditNotes

    def render_invoice_pdf(self, invoice: Invoice | str, **options: Unpack[Options]) -> bytes:
        """The invoice as it is now, or the draft, as PDF; nothing is kept."""
        self._hold_engine()
        return self._print(self._invoice_job(invoice, options))

    def render_credit_note_pdf(
        self, credit_note: CreditNote | str, **options: Unpack[Options]
    ) -> bytes:
        """The credit note as it is now, as PDF; nothing is kept."""
        self._hold_engine()
        return self._print(self._credit_note_job(credit_note, options))

    def render_invoice_html(self, invoice: Invoice | str, **options: Unpack[Options]) -> str:
        """The same for a screen: one HTML file that refers to nothing outside itself."""
        self._hold_extra()
        from counterfoil.projections.render.sheet import as_page

        return as_page(self._invoice_job(invoice, options).sheet)

    def store_invoice_pdf(
        self, invoice: Invoice | str, **call: Unpack[PrintCall]
    ) -> StoredDocument:
        """Print the invoice, keep the print, and record what is kept where.

        A key is written once. When it holds an earlier state of the invoice, the new print goes
        beside it, under a key that names its digest.
        """
        renderer = self._hold_engine()
        job = self._invoice_job(invoice, _options(call))
        stored, said = self._keep("invoices", job, renderer)

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(INVOICE, job.document))
            expect(stream, call)
            command = commands.RecordDocument(document=made(DocumentStored, **said))
            facts = decisions.decide(command, existing(stream))
            return Decided([Append(stream, facts)], job.document)

        return self._record("store_invoice_pdf", job, stored, call, decide)

    def store_credit_note_pdf(
        self, credit_note: CreditNote | str, **call: Unpack[PrintCall]
    ) -> StoredDocument:
        """Print the credit note, keep the print, and record what is kept where."""
        renderer = self._hold_engine()
        job = self._credit_note_job(credit_note, _options(call))
        stored, said = self._keep("credit_notes", job, renderer)

        def decide(transaction: Transaction) -> Decided:
            stream = transaction.read(of_kind(CREDIT_NOTE, job.document))
            expect(stream, call)
            command = credit_notes.RecordPrint(document=made(CreditNoteStored, **said))
            facts = credit_notes.decide(command, credit_note_of(stream))
            return Decided([Append(stream, facts)], job.document)

        return self._record("store_credit_note_pdf", job, stored, call, decide)

    def stored_invoice_pdfs(self, invoice: Invoice | str) -> tuple[DocumentStored, ...]:
        """What was kept of an invoice, the latest last."""
        return self._prints(_name(INVOICE, invoice), "invoice", DocumentStored)

    def stored_credit_note_pdfs(
        self, credit_note: CreditNote | str
    ) -> tuple[CreditNoteStored, ...]:
        """What was kept of a credit note, the latest last."""
        return self._prints(_name(CREDIT_NOTE, credit_note), "credit note", CreditNoteStored)

    def fetch_invoice_pdf(self, invoice: Invoice | str, *, key: str | None = None) -> bytes:
        """What was kept last, or under this key; `IntegrityFailed` if its bytes are others now."""
        return self._fetch(_chosen(self.stored_invoice_pdfs(invoice), key), key)

    def fetch_credit_note_pdf(
        self, credit_note: CreditNote | str, *, key: str | None = None
    ) -> bytes:
        """What was kept last, or under this key; `IntegrityFailed` if its bytes are others now."""
        return self._fetch(_chosen(self.stored_credit_note_pdfs(credit_note), key), key)

    def link_invoice_pdf(
        self, invoice: Invoice | str, *, key: str | None = None, valid_s: int = LINK_S
    ) -> str:
        """An address where anybody may download what was kept last, or under this key, for so
        long. The bytes are not looked at: `fetch_invoice_pdf` proves them.
        """
        found = _chosen(self.stored_invoice_pdfs(invoice), key)
        if found is None:
            raise self._nothing(key)
        name = f"{self.invoices.get(_name(INVOICE, invoice)).number or 'draft'}.pdf"
        return self._house.documents.link(self._at(found.key), name, valid_s=valid_s)

    # --- jobs -----------------------------------------------------------------------------

    def _invoice_job(self, invoice: Invoice | str, options: Options) -> _Job:
        from counterfoil.projections.render.sheet import invoice_sheet, reader

        shown = self.invoices.get(_name(INVOICE, invoice))
        asked, branding = made(Print, **options), self._branding()
        to, fallbacks = reader(asked, shown.customer)
        seller = shown.seller or self._house.seller
        return _Job(
            document=shown.id,
            draft=shown.number is None,
            version=shown.version,
            sheet=invoice_sheet(shown, seller, branding, asked, to),
            options=asked,
            branding=branding.digest,
            label=Label(PDF, seller.id if seller else "", f"{shown.number or 'draft'}.pdf"),
            fallbacks=fallbacks,
        )

    def _credit_note_job(self, credit_note: CreditNote | str, options: Options) -> _Job:
        from counterfoil.projections.render.sheet import credit_note_sheet, reader

        shown = self.credit_notes.get(_name(CREDIT_NOTE, credit_note))
        corrected = self.invoices.get(shown.invoice)
        asked, branding = made(Print, **options), self._branding()
        to, fallbacks = reader(asked, shown.customer)
        return _Job(
            document=shown.id,
            draft=False,
            version=shown.version,
            sheet=credit_note_sheet(shown, corrected, branding, asked, to),
            options=asked,
            branding=branding.digest,
            label=Label(PDF, shown.seller.id, f"{shown.number}.pdf"),
            fallbacks=fallbacks,
        )

    def _hold_engine(self) -> str:
        """Who prints; what hinders that is raised at once, before anything is loaded."""
        fingerprint = self._house.engine.fingerprint
        self._hold_extra()
        return fingerprint

    def _hold_extra(self) -> None:
        if not all(map(find_spec, ("babel", "jinja2", "nh3", "segno", "tinyhtml5"))):
            raise EngineUnavailable(
                "documents need the extra for PDF: pip install 'counterfoil[pdf]'"
            )

    def _branding(self) -> Branding:
        """The branding of the moment, asked once for each print."""
        branding = self._house.branding
        return branding if isinstance(branding, Branding) else branding(self._name)

    def _print(self, job: _Job) -> bytes:
        engine = self._house.engine
        made_by = engine.fingerprint.split(",")[0]
        with telemetry.span(
            "counterfoil.pdf.render",
            "counterfoil.documents.rendered",
            {"engine": made_by, "archival": job.options.archival, "size": job.options.paper_name},
        ):
            for fallback in job.fallbacks:
                telemetry.tell(fallback)
            return engine.render(job.sheet)

    # --- what is kept ---------------------------------------------------------------------

    def _keep(
        self, folder: str, job: _Job, renderer: str
    ) -> tuple[StoredDocument, Mapping[str, object]]:
        from counterfoil.projections.render.sheet import template_digest

        content = self._print(job)
        digest = hashlib.sha256(content).hexdigest()
        store, key = self._house.documents, job.key(folder)
        try:
            store.put(self._at(key), content, job.label)
        except Conflict:
            key = job.key(folder, digest)
            store.put(self._at(key), content, job.label)
        said = {
            "key": key,
            "sha256": digest,
            "size": len(content),
            "options": job.options.said,
            "branding": job.branding,
            "renderer": f"{renderer}, template {template_digest()[:16]}",
            "version": job.version,
        }
        return StoredDocument(key, digest, len(content), store.persists), said

    def _record(
        self,
        name: str,
        job: _Job,
        stored: StoredDocument,
        call: PrintCall,
        decide: Callable[[Transaction], Decided],
    ) -> StoredDocument:
        if stored.persisted:
            said = {"document": job.document, "options": job.options.said}
            self._desk.obey(Request(name, said, _call(call)), decide)
        return stored

    def _prints(self, document: str, kind: str, fact: type[Fact]) -> tuple[Fact, ...]:
        facts = [recorded.fact for recorded in self._house.log.read(self._name, document)]
        if not facts:
            raise NotFound(kind, document)
        return tuple(one for one in facts if isinstance(one, fact))

    def _fetch(self, stored: DocumentStored | CreditNoteStored | None, key: str | None) -> bytes:
        if stored is None:
            raise self._nothing(key)
        content = self._house.documents.get(self._at(stored.key))
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise IntegrityFailed(
                f"{stored.key} is not what was stored: its SHA-256 is not {stored.sha256}"
            )
        return content

    def _nothing(self, key: str | None) -> ObjectNotFound | StorageNotConfigured:
        if not self._house.documents.persists:
            return StorageNotConfigured("documents are not kept here: open with documents=…")
        return ObjectNotFound(f"no print {key or ''} of it was stored".replace("  ", " "))

    def _at(self, key: str) -> str:
        """Where a document of this tenant lies."""
        name = quote(self._name, safe="_").replace(".", "%2E")
        return f"{name}/{key}"


def _name(prefix: str, given: Invoice | CreditNote | str) -> str:
    return of_kind(prefix, given.id if isinstance(given, Invoice | CreditNote) else given)


def _chosen(prints: Sequence[Fact], key: str | None) -> Fact | None:
    """The last one; where a key was said, the last under it."""
    return next((one for one in reversed(prints) if key in {None, one.key}), None)


def _options(call: PrintCall) -> Options:
    said = {name: value for name, value in call.items() if name not in Call.__annotations__}
    return cast("Options", said)


def _call(call: PrintCall) -> Call:
    said = {name: value for name, value in call.items() if name in Call.__annotations__}
    return cast("Call", said)
