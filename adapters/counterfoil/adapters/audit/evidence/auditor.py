"""An audit that also packs its proof, for somebody who has neither our database nor our code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.evidence.papers import Printer
from counterfoil.adapters.audit.signing import SigningKey, read_signing_key
from counterfoil.adapters.audit.verify import Audit
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.names import of_tenant
from counterfoil.adapters.replay import Replay
from counterfoil.domain.errors import Malformed
from counterfoil.domain.ports import Clock, DocumentStore
from counterfoil.projections.keeping import Projections
from counterfoil.projections.progress import Watch

if TYPE_CHECKING:
    from counterfoil.adapters.audit.evidence.export import Exported


class Auditor(Audit):
    """Proves the log, packs the proof, and plays the log again."""

    replay: Replay

    def __init__(
        self,
        log: FactsRecorder,
        clock: Clock,
        projections: Projections,
        documents: DocumentStore,
        printer: Printer | None,
    ) -> None:
        super().__init__(log, clock, projections, documents)
        self._printer = printer

    def export(
        self,
        out: Path | str,
        *,
        tenant: str,
        invoice: str | None = None,
        period: str | None = None,
        checkpoint: Checkpoint | None = None,
        key: SigningKey | Path | str | None = None,
        prints: bool = True,
        watch: Watch = lambda _: None,
    ) -> Exported:
        """Write an evidence pack of one `invoice`, by its id or number, or of all documents that
        were numbered in a `period`: 2026, 2026-10 or 2026-10-05.

        It shows the log as it was at the `checkpoint`, or is now; facts after that are not in it.
        With a `key`, the pack is signed, and so is a checkpoint that is made for it. With `prints`,
        what was never stored is printed anew. The pack is written whatever is wrong with its
        content: `problems` and `missing` of the answer tell, and so does its verifier.
        """
        from counterfoil.adapters.audit.evidence.export import Export, Wanted

        if (invoice is None) == (period is None):
            raise Malformed("invoice", "say either an invoice or a period")
        secret = read_signing_key(key) if isinstance(key, str | Path) else key
        wanted = Wanted(of_tenant(tenant), invoice, period)
        printer = self._printer if prints else None
        export = Export(self._log, self._documents, printer, wanted, watch)
        with export.as_of(checkpoint, self._clock, secret) as under:
            return under.write(Path(out), secret)
