"""The front door: open a billing, take a tenant, write and read its invoices.

The one file that knows every concrete class behind the ports.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from counterfoil.adapters.acting import actor
from counterfoil.adapters.audit.evidence.auditor import Auditor
from counterfoil.adapters.audit.evidence.papers import Printer
from counterfoil.adapters.branding_file import read_branding
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.ids import IdFactory, new_id
from counterfoil.adapters.names import of_tenant
from counterfoil.adapters.pdf.lazy import LazyEngine
from counterfoil.adapters.pdf.null import NullEngine
from counterfoil.adapters.processors.fake import FakeProcessor
from counterfoil.adapters.processors.webhook import read_webhook
from counterfoil.adapters.read_models.inline import Inline
from counterfoil.adapters.read_models.sqlite import SQLiteStore
from counterfoil.adapters.replay import Opened, Replay
from counterfoil.adapters.storage.null import NullStore
from counterfoil.adapters.telemetry import ObservedProcessor, ObservedStore
from counterfoil.adapters.tenant import House, Tenant
from counterfoil.adapters.tenant.outcomes import ActionRequired, Declined, Paid, Processing
from counterfoil.adapters.zones import zone_of
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.invoice.collecting import Schedule
from counterfoil.domain.numbering import DocumentKind, Numbering
from counterfoil.domain.party import Seller
from counterfoil.domain.ports import Asset, Clock, DocumentStore, PdfEngine, Processor
from counterfoil.domain.value import Value
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice, InvoiceLine
from counterfoil.projections.keeping import Projections
from counterfoil.projections.paging import Page, Range
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.store import Store

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.postgres import PostgresLog

__all__ = [
    "ActionRequired",
    "Asset",
    "Billing",
    "Branding",
    "CreditNote",
    "Declined",
    "FakeProcessor",
    "Invoice",
    "InvoiceLine",
    "Page",
    "Paid",
    "Processing",
    "Range",
    "Schedule",
    "Tenant",
    "actor",
    "read_webhook",
]

NUMBERING: Mapping[DocumentKind, Numbering] = {
    DocumentKind.INVOICE: Numbering(format="INV-{year}-{number:04d}"),
    DocumentKind.CREDIT_NOTE: Numbering(format="CN-{year}-{number:04d}"),
}


def utc_now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


class Billing:
    """An open database and what is the same for all its tenants. Also a context manager."""

    def __init__(
        self, log: SQLiteLog | PostgresLog, house: House, projections: Projections
    ) -> None:
        self._log = log
        self._house = house
        printer = Printer(house.engine, house.branding)
        self.audit = _auditor(log, house.clock, projections, house.documents, printer)
        self.projections = projections

    @classmethod
    def open(
        cls,
        database: str | Path,
        *,
        seller: Seller | None = None,
        invoice_numbering: Numbering = NUMBERING[DocumentKind.INVOICE],
        credit_note_numbering: Numbering = NUMBERING[DocumentKind.CREDIT_NOTE],
        timezone: str = "UTC",
        clock: Clock = utc_now,
        ids: IdFactory = new_id,
        projections: str | None = None,
        documents: str | Path | DocumentStore | None = "documents",
        pdf: str | PdfEngine | None = "weasyprint",
        branding: Branding | Callable[[str], Branding] | None = None,
        processor: str | Processor | None = None,
    ) -> Self:
        """Open a database: a path is an SQLite file, made if need be; `:memory:` keeps nothing;
        `postgresql://…` is a server, whose schema `Billing.init` made.

        `timezone` says on which day an invoice is issued that is finalized now. `projections`
        says how read models are kept from now on, by whoever writes: "inline", in the transaction
        that stores the facts, as a new database has it; or "async", by `billing.projections.run`.

        `documents` is where prints are kept: a folder, `s3://bucket/prefix`, a store, or None.
        `pdf` is who prints: "weasyprint" in this process, "weasyprint-pool" in processes that can
        be killed, an engine, or None. `branding` is what documents look like, or what gives that
        of a tenant by its name.

        `processor` is who moves money: "stripe", with the key in STRIPE_API_KEY; a processor; or
        "fake", the default, which moves none, and "fake:FILE", whose books outlive the process.
        """
        if projections not in {None, "inline", "async"}:
            raise Malformed("projections", 'must be "inline" or "async"')
        said = _Settings(
            seller=seller,
            invoice_numbering=invoice_numbering,
            credit_note_numbering=credit_note_numbering,
        )
        zone = zone_of(timezone)
        engine, kept_in, mover = _engine(pdf), _documents(documents), _processor(processor)
        is_one = branding is None or isinstance(branding, Branding)
        if not is_one and (isinstance(branding, type) or not callable(branding)):
            raise Malformed("branding", "must be a Branding, or give one for the name of a tenant")
        log = _log(_address(database))
        numbering = {
            DocumentKind.INVOICE: said.invoice_numbering,
            DocumentKind.CREDIT_NOTE: said.credit_note_numbering,
        }
        log.inline = Inline()
        store = _store(log)
        kept = Projections(store)
        try:
            kept.check()
            if projections is not None:
                kept.keep(projections)
        except CounterfoilError:
            log.close()
            raise
        house = House(
            log=log,
            clock=clock,
            ids=ids,
            seller=said.seller,
            numbering=numbering,
            timezone=zone,
            store=store,
            engine=engine,
            documents=ObservedStore(kept_in),
            processor=ObservedProcessor(mover),
            branding=branding or Branding(),
        )
        return cls(log, house, kept)

    @classmethod
    @contextmanager
    def upkeep(cls, database: str | Path) -> Iterator[Projections]:
        """The read models of a database, for whoever makes them anew: `open` refuses those that
        another version of Counterfoil made.
        """
        with closing(_log(_address(database))) as log:
            yield Projections(_store(log))

    @classmethod
    @contextmanager
    def auditing(
        cls,
        database: str | Path,
        documents: str | Path | DocumentStore | None = None,
        clock: Clock = utc_now,
        pdf: str | PdfEngine | None = None,
        branding: Branding | None = None,
    ) -> Iterator[Auditor]:
        """The proofs of a log, whatever state its read models are in."""
        kept_in, engine = _documents(documents), _engine(pdf)
        with closing(_log(_address(database))) as log, closing(engine):
            printer = Printer(engine, branding or Branding())
            yield _auditor(log, clock, Projections(_store(log)), kept_in, printer)

    @staticmethod
    def init(database: str | Path) -> None:
        """Make the schema of a database, or bring it up to date; twice or two at once is fine."""
        with closing(_unchecked(_address(database))) as log:
            log.migrate()

    @classmethod
    def from_env(cls) -> Self:
        """Open what COUNTERFOIL_DATABASE names, with COUNTERFOIL_TIMEZONE, COUNTERFOIL_PROJECTIONS,
        COUNTERFOIL_DOCUMENTS and COUNTERFOIL_PDF (either may be `none`), COUNTERFOIL_PROCESSOR, and
        the file COUNTERFOIL_BRANDING, if they are set.
        """
        database, look = (
            os.environ.get(f"COUNTERFOIL_{name}") for name in ("DATABASE", "BRANDING")
        )
        if not database:
            raise Malformed(
                "COUNTERFOIL_DATABASE", "is not set: name an SQLite file or a postgresql:// address"
            )
        return cls.open(
            database,
            timezone=os.environ.get("COUNTERFOIL_TIMEZONE", "UTC"),
            projections=os.environ.get("COUNTERFOIL_PROJECTIONS"),
            documents=os.environ.get("COUNTERFOIL_DOCUMENTS", "documents"),
            pdf=os.environ.get("COUNTERFOIL_PDF", "weasyprint"),
            branding=read_branding(Path(look)) if look else None,
            processor=os.environ.get("COUNTERFOIL_PROCESSOR"),
        )

    def tenant(self, name: str) -> Tenant:
        """The invoices of one tenant; a name is enough to make one."""
        return Tenant(self._house, of_tenant(name))

    @property
    def log(self) -> SQLiteLog | PostgresLog:
        """The facts themselves, for those who read history."""
        return self._log

    def close(self) -> None:
        """Give back every connection and process."""
        self._house.engine.close()
        self._house.processor.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Settings(Value):
    """What `Billing.open` is told of sellers and numbers."""

    seller: Seller | None
    invoice_numbering: Numbering
    credit_note_numbering: Numbering


def _address(database: object) -> str:
    address = str(database) if isinstance(database, str | Path) else ""
    known = "://" not in address or address.startswith(_POSTGRES)
    if not address or "\0" in address or address.startswith("file:") or not known:
        raise Malformed("database", 'must be the path of a file, ":memory:" or postgresql://…')
    return address


_POSTGRES = ("postgresql://", "postgres://")


def _log(database: str) -> SQLiteLog | PostgresLog:
    log = _unchecked(database)
    if not isinstance(log, SQLiteLog):
        try:
            log.hold_schema()
        except CounterfoilError:
            log.close()
            raise
    return log


def _store(log: SQLiteLog | PostgresLog) -> Store:
    if isinstance(log, SQLiteLog):
        return SQLiteStore(log)
    from counterfoil.adapters.read_models.postgres import PostgresStore

    return PostgresStore(log)


def _auditor(
    log: SQLiteLog | PostgresLog,
    clock: Clock,
    projections: Projections,
    documents: DocumentStore,
    printer: Printer,
) -> Auditor:
    def opened(database: str) -> Opened:
        fresh = _log(_address(database))
        return Opened(fresh, _store(fresh))

    made = Auditor(log, clock, projections, documents, printer)
    made.replay = Replay(Opened(log, _store(log)), opened)
    return made


def _unchecked(database: str) -> SQLiteLog | PostgresLog:
    if not database.startswith(_POSTGRES):
        return SQLiteLog(database)
    try:
        from counterfoil.adapters.event_store.postgres import PostgresLog
    except ImportError:
        raise Malformed(
            "database", "needs the extra for PostgreSQL: pip install 'counterfoil[postgres]'"
        ) from None
    return PostgresLog(database)


def _engine(pdf: object) -> PdfEngine:
    fonts = [place for place in os.environ.get("COUNTERFOIL_FONTS", "").split(os.pathsep) if place]

    def warm() -> PdfEngine:
        from counterfoil.adapters.pdf.weasy import WeasyPrintEngine

        return WeasyPrintEngine(fonts=fonts)

    def pool() -> PdfEngine:
        from counterfoil.adapters.pdf.pool import WeasyPrintPool

        return WeasyPrintPool(fonts=fonts)

    match pdf:
        case None | "none":
            return NullEngine()
        case "weasyprint":
            return LazyEngine(warm)
        case "weasyprint-pool":
            return LazyEngine(pool)
        case str():
            raise Malformed("pdf", 'must be "weasyprint", "weasyprint-pool", "none" or an engine')
        case _ if _has(pdf, "fingerprint", "render", "close"):
            return cast("PdfEngine", pdf)
        case _:
            raise Malformed("pdf", 'must be "weasyprint", "weasyprint-pool", "none" or an engine')


def _documents(place: object) -> DocumentStore:
    match place:
        case None | "none":
            return NullStore()
        case str() if place.startswith("s3://"):
            from counterfoil.adapters.storage.s3 import S3Store

            return S3Store.from_address(place)
        case str() | Path() if str(place) and "://" not in str(place):
            from counterfoil.adapters.storage.folder import FolderStore

            return FolderStore(place)
        case _ if _has(place, "persists", "put", "get", "delete", "link"):
            return cast("DocumentStore", place)
        case _:
            raise Malformed("documents", "must be a folder, s3://bucket/prefix, a store or None")


_PROCESSOR = (
    "name",
    "default_payment_method",
    "charge",
    "retrieve",
    "cancel",
    "refund",
    "close",
)


def _processor(given: object) -> Processor:
    match given:
        case None | "fake":
            return FakeProcessor()
        case str() if given.startswith("fake:") and given != "fake:":
            return FakeProcessor(given.removeprefix("fake:"))
        case "stripe":
            from counterfoil.adapters.processors.stripe import StripeProcessor

            return StripeProcessor.from_env()
        case _ if _has(given, *_PROCESSOR):
            return cast("Processor", given)
        case _:
            raise Malformed("processor", 'must be "stripe", "fake", "fake:FILE" or a processor')


def _has(given: object, *names: str) -> bool:
    """Whether it is a thing, not a class, that can do all this."""
    return not isinstance(given, type) and set(names) <= set(dir(given))
