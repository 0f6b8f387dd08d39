"""The prints that go into a pack: what was stored, fetched again; or, where nothing was, a fresh
print that is marked as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterfoil.adapters.storage.keys import of_tenant
from counterfoil.domain.errors import (
    EngineUnavailable,
    IntegrityFailed,
    Malformed,
    ObjectNotFound,
    PdfDisabled,
    RenderFailed,
    StorageNotConfigured,
)
from counterfoil.domain.ports import DocumentStore, PdfEngine, Sheet
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.options import Print as Options

if TYPE_CHECKING:
    from counterfoil.adapters.audit.evidence.verifier import Document, Print

FOLDER = "documents"


@dataclass(frozen=True, slots=True)
class Paper:
    """A document as the manifest tells of it, and its bytes, if there are any.

    `state` is "stored" for what was kept and still is the same, "printed" for what was printed for
    this pack, and "missing" or "other" for what is not there, or is not what was kept.
    """

    file: str
    state: str
    content: bytes | None
    said: dict[str, object]

    @property
    def holds(self) -> bool:
        """Whether it is what it should be."""
        return self.state in {"stored", "printed"}

    def as_json(self) -> dict[str, object]:
        """For the manifest."""
        file = None if self.content is None else self.file
        return {"state": self.state, "file": file, **self.said}


def fetched(documents: DocumentStore, tenant: str, one: Print, document: Document | None) -> Paper:
    """What was stored, as it is now."""
    said: dict[str, object] = one._asdict()
    content, state = None, "stored"
    try:
        content = documents.get(of_tenant(tenant, one.key))
    except (ObjectNotFound, StorageNotConfigured, Malformed):
        state = "missing"
    except IntegrityFailed:
        state = "other"
    if content is not None and hashlib.sha256(content).hexdigest() != one.sha256:
        state = "other"
    return Paper(
        _file(document.number if document else "draft", one.position), state, content, said
    )


class Printer:
    """Prints documents from what the facts make of them, if an engine is there."""

    def __init__(self, engine: PdfEngine, branding: Branding | Callable[[str], Branding]) -> None:
        self._engine = engine
        self._branding = branding

    def print(
        self, tenant: str, shown: Invoice | CreditNote, invoice: Invoice | None
    ) -> Paper | None:
        """A fresh print; None where nobody prints, or it cannot be printed."""
        try:
            self._engine.fingerprint  # noqa: B018  (no engine says so here)
            content = self._engine.render(self._sheet(tenant, shown, invoice))
        except (PdfDisabled, EngineUnavailable, RenderFailed, ImportError):
            return None
        said: dict[str, object] = {"stream": shown.id}
        return Paper(_file(str(shown.number), "printed"), "printed", content, said)

    def _sheet(self, tenant: str, shown: Invoice | CreditNote, invoice: Invoice | None) -> Sheet:
        from counterfoil.projections.render import sheet

        options = Options()
        branding = (
            self._branding if isinstance(self._branding, Branding) else self._branding(tenant)
        )
        to, _ = sheet.reader(options, shown.customer)
        if isinstance(shown, Invoice):
            return sheet.invoice_sheet(shown, None, branding, options, to)
        if invoice is None:
            raise RenderFailed("the invoice that it corrects cannot be read")
        return sheet.credit_note_sheet(shown, invoice, branding, options, to)


def _file(number: str, mark: object) -> str:
    """A name that every system can unpack; two documents of a pack never have the same."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in number)
    return f"{FOLDER}/{plain[:60]}.{mark}.pdf"
