"""A tenant's documents on paper: printed, kept, and proved to be what was kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

from counterfoil.adapters import telemetry
from counterfoil.adapters.desk import Call, Decided, Request, VersionDiffers, expect
from counterfoil.adapters.names import CREDIT_NOTE, INVOICE, of_kind
from counterfoil.adapters.storage.keys import of_tenant, word
from counterfoil.adapters.tenant.office import (
    Office,
    credit_note_of,
    existing,
    made,
)
from counterfoil.domain.credit_note import decisions as credit_notes
from counterfoil.domain.credit_note.events import CreditNoteIssued, CreditNoteStored
from counterfoil.domain.errors import (
    Conflict,
    CounterfoilError,
    EngineUnavailable,
    IntegrityFailed,
    Malformed,
    NotFound,
    ObjectNotFound,
    RenderFailed,
    StorageNotConfigured,
)
from counterfoil.domain.invoice import commands, decisions
from counterfoil.domain.invoice.events import DocumentStored, InvoiceFinalized
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
    renderer: str
    label: Label
    fallbacks: tuple[Fallback, ...]

    def key(self, folder: str, digest: str = "") -> str:
        draft = "draft" if self.draft else ""
        parts = [word(self.document), draft, *self.options.key, digest[:16]]
        return f"{folder}/{'.'.join(part for part in parts if part)}.pdf"


class Prints(Office):
    """Prints of invoices and credit notes."""

    invoices: Invoices
    credit_notes: CreditNotes

    def render_invoice_pdf(self, invoice: Invoice | str, **options: Unpack[Options]) -> bytes:
        """The invoice as it is now, or the draft, as PDF; nothing is kept."""
        renderer = self._hold_engine()
        return self._print(self._invoice_job(_name(INVOICE, invoice), options, renderer))

    def render_credit_note_pdf(
        self, credit_note: CreditNote | str, **options: Unpack[Options]
    ) -> bytes:
        """The credit note as it is now, as PDF; nothing is kept."""
        renderer = self._hold_engine()
        job = self._credit_note_job(_name(CREDIT_NOTE, credit_note), options, renderer)
        return self._print(job)

    def render_invoice_html(self, invoice: Invoice | str, **options: Unpack[Options]) -> str:
        """The same for a screen: one HTML file that refers to nothing outside itself."""
        self._hold_extra()
        from counterfoil.projections.render.sheet import as_page

        return as_page(self._invoice_job(_name(INVOICE, invoice), options, "").sheet)

    def store_invoice_pdf(
        self, invoice: Invoice | str, **call: Unpack[PrintCall]
    ) -> StoredDocument:
        """Print the invoice, keep the print, and record what is kept where.

        A key is written once. When it holds an earlier state of the invoice, the new print goes
        beside it, under a key that names its digest.
        """
        name = _name(INVOICE, invoice)

        def record(transaction: Transaction, said: Mapping[str, object]) -> Decided:
            stream = transaction.read(name)
            expect(stream, call)
            command = commands.RecordDocument(document=made(DocumentStored, **said))
            return Decided([Append(stream, decisions.decide(command, existing(stream)))], name)

        request = Request("store_invoice_pdf", {"document": name, **_options(call)}, _call(call))
        known = self._desk.known(request)
        if known is not None:
            return _answered(self._prints(name, "invoice", DocumentStored, known.version))
        job = self._invoice_job(name, _options(call), self._hold_engine())
        return self._keep("invoices", job, request, record)

    def store_credit_note_pdf(
        self, credit_note: CreditNote | str, **call: Unpack[PrintCall]
    ) -> StoredDocument:
        """Print the credit note, keep the print, and record what is kept where."""
        name = _name(CREDIT_NOTE, credit_note)

        def record(transaction: Transaction, said: Mapping[str, object]) -> Decided:
            stream = transaction.read(name)
            expect(stream, call)
            command = credit_notes.RecordPrint(document=made(CreditNoteStored, **said))
            facts = credit_notes.decide(command, credit_note_of(stream))
            return Decided([Append(stream, facts)], name)

        asked = {"document": name, **_options(call)}
        request = Request("store_credit_note_pdf", asked, _call(call))
        known = self._desk.known(request)
        if known is not None:
            return _answered(self._prints(name, "credit note", CreditNoteStored, known.version))
        job = self._credit_note_job(name, _options(call), self._hold_engine())
        return self._keep("credit_notes", job, request, record)

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
        return self._link(_name(INVOICE, invoice), found, key, valid_s)

    def link_credit_note_pdf(
        self, credit_note: CreditNote | str, *, key: str | None = None, valid_s: int = LINK_S
    ) -> str:
        """An address where anybody may download what was kept last, or under this key."""
        found = _chosen(self.stored_credit_note_pdfs(credit_note), key)
        return self._link(_name(CREDIT_NOTE, credit_note), found, key, valid_s)

    # --- jobs -----------------------------------------------------------------------------

    def _invoice_job(self, invoice: str, options: Options, renderer: str) -> _Job:
        from counterfoil.projections.render.sheet import invoice_sheet, reader

        shown = self.invoices.get(invoice)
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
            renderer=renderer,
            label=Label(PDF, seller.id if seller else "", f"{shown.number or 'draft'}.pdf"),
            fallbacks=fallbacks,
        )

    def _credit_note_job(self, credit_note: str, options: Options, renderer: str) -> _Job:
        from counterfoil.projections.render.sheet import credit_note_sheet, reader

        shown = self.credit_notes.get(credit_note)
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
            renderer=renderer,
            label=Label(PDF, shown.seller.id, f"{shown.number}.pdf"),
            fallbacks=fallbacks,
        )

    def _hold_engine(self) -> str:
        """Who prints; what hinders that is raised at once, before anything is loaded."""
        fingerprint = self._house.engine.fingerprint
        self._hold_extra()
        return fingerprint

    def _hold_extra(self) -> None:
        if not all(map(find_spec, ("babel", "jinja2", "nh3", "segno", "stdnum", "tinyhtml5"))):
            raise EngineUnavailable(
                "documents need the extra for PDF: pip install 'counterfoil[pdf]'"
            )

    def _branding(self) -> Branding:
        """The branding of the moment, asked once for each print."""
        given = self._house.branding
        branding: object = given if isinstance(given, Branding) else given(self._name)
        if not isinstance(branding, Branding):
            raise Malformed("branding", f"no Branding was given for {self._name}")
        return branding

    def _print(self, job: _Job) -> bytes:
        made_by = job.renderer.split(",")[0]
        with telemetry.span(
            "counterfoil.pdf.render",
            "counterfoil.documents.rendered",
            {"engine": made_by, "archival": job.options.archival, "size": job.options.paper_name},
        ):
            for fallback in job.fallbacks:
                telemetry.tell(fallback)
            try:
                return self._house.engine.render(job.sheet)
            except CounterfoilError:
                raise
            except Exception as error:  # whose engine it is, he may have it raise what he likes
                # The kind alone is told: the text may be the page's own.
                raise RenderFailed(f"the engine failed ({type(error).__name__})") from error

    # --- what is kept ---------------------------------------------------------------------

    def _keep(
        self,
        folder: str,
        job: _Job,
        request: Request,
        record: Callable[[Transaction, Mapping[str, object]], Decided],
    ) -> StoredDocument:
        from counterfoil.projections.render.sheet import template_digest

        expected = request.call.get("expected_version")
        if expected is not None and job.version != expected:
            raise VersionDiffers(
                f"{job.document} would be printed at version {job.version}, expected was {expected}"
            )
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
            "renderer": f"{job.renderer[:400]}, template {template_digest()[:16]}",
            "version": job.version,
        }
        if store.persists:
            self._desk.obey(request, lambda transaction: record(transaction, said))
        return StoredDocument(key, digest, len(content), store.persists)

    def _link(
        self,
        document: str,
        stored: DocumentStored | CreditNoteStored | None,
        key: str | None,
        valid_s: int,
    ) -> str:
        if stored is None:
            raise self._nothing(key)
        facts = (one.fact for one in self._house.log.read(self._name, document))
        issued = (InvoiceFinalized, CreditNoteIssued)
        number = next((one.number for one in facts if isinstance(one, issued)), "draft")
        return self._house.documents.link(self._at(stored.key), f"{number}.pdf", valid_s=valid_s)

    def _prints(
        self, document: str, kind: str, fact: type[Fact], upto: int | None = None
    ) -> tuple[Fact, ...]:
        recorded = self._house.log.read(self._name, document, upto=upto)
        facts = [one.fact for one in recorded]
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
        return of_tenant(self._name, key)


def _answered(prints: Sequence[DocumentStored | CreditNoteStored]) -> StoredDocument:
    """What was kept when the same was asked before."""
    return StoredDocument(prints[-1].key, prints[-1].sha256, prints[-1].size)


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
