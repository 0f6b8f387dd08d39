"""Prints of many invoices at once: each on its own, so that one that fails stops nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Unpack, cast

from counterfoil.adapters.tenant.office import made
from counterfoil.adapters.tenant.prints import Prints, StoredDocument
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.invoice.events import (
    DocumentStored,
    InvoiceSent,
    MetadataSet,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    RefundAttempted,
)
from counterfoil.projections.filters import Filters
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.render.options import Options, Print

WORKERS_MAX = 64
# Facts that leave a print as it is.
UNPRINTED = (
    DocumentStored,
    InvoiceSent,
    MetadataSet,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    RefundAttempted,
)


class PrintFilters(Options, Filters):
    """Which invoices, and how to print them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one invoice: `stored` now, or `error`, or neither if it was kept before."""

    invoice: str
    number: str | None
    stored: StoredDocument | None = None
    error: CounterfoilError | None = None


class Bulk(Prints):
    """Prints of many invoices."""

    def store_invoice_pdfs(
        self, *, workers: int = 1, again: bool = False, **wanted: Unpack[PrintFilters]
    ) -> Iterator[Kept]:
        """Print and keep all invoices that meet the filters, so many at once.

        What is kept already as it is now is left alone, unless `again`: a run that was cut off is
        gone on with by starting it once more. Open with `pdf="weasyprint-pool"` to print on more
        than one core.
        """
        if type(workers) is not int or not 1 <= workers <= WORKERS_MAX:
            raise Malformed("workers", f"must be 1 to {WORKERS_MAX}")
        names = Options.__annotations__
        options = cast("Options", {name: said for name, said in wanted.items() if name in names})
        filters = cast(
            "Filters", {name: said for name, said in wanted.items() if name not in names}
        )
        made(Print, **options)
        return self._each(self.invoices.all(**filters), workers, options, again=again)

    def _each(
        self, invoices: Iterator[Invoice], workers: int, options: Options, *, again: bool
    ) -> Iterator[Kept]:
        with ThreadPoolExecutor(workers) as threads:
            waiting: deque[Future[Kept]] = deque()
            try:
                for invoice in invoices:
                    # A thread acts for whoever asked, with their cause and their trace.
                    one = partial(self._one, invoice, options, again=again)
                    waiting.append(threads.submit(copy_context().run, one))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _one(self, invoice: Invoice, options: Options, *, again: bool) -> Kept:
        try:
            if not again and self._is_kept(invoice.id, options):
                return Kept(invoice.id, invoice.number)
            stored = self.store_invoice_pdf(invoice, **options)
        except CounterfoilError as error:
            return Kept(invoice.id, invoice.number, error=error)
        return Kept(invoice.id, invoice.number, stored)

    def _is_kept(self, invoice: str, options: Options) -> bool:
        """Whether the invoice was printed so since anything happened to it that paper shows."""
        recorded = self._house.log.read(self._name, invoice)
        changed = max(
            one.envelope.version for one in recorded if not isinstance(one.fact, UNPRINTED)
        )
        said, branding = made(Print, **options).said, self._branding().digest
        return any(
            one.fact.version >= changed
            and one.fact.options == said
            and one.fact.branding == branding
            for one in recorded
            if isinstance(one.fact, DocumentStored)
        )
