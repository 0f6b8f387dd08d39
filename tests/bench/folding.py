"""How fast does an invoice of a thousand facts come back from its stored bytes?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from eventsourcing.application import project_aggregate
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import (
    DatetimeAsISO,
    DecimalAsStr,
    JSONTranscoder,
    Mapper,
    StoredEvent,
    UUIDAsHex,
)
from pydantic_core import from_json

from bench.harness import Contender, Pair, timed
from bench.invoices import issued
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.domain.invoice.events import InvoiceDrafted, InvoiceFinalized, LineAdded
from counterfoil.domain.invoice.state import Invoice, Issued, fold

if TYPE_CHECKING:
    from counterfoil.domain.invoice.events import InvoiceEvent


@contextmanager
def stored_invoice(facts: int) -> Iterator[Sequence[Contender]]:
    """An invoice of so many facts, all but the first and the last of them lines."""
    history = issued(facts - 2)
    codec = Codec()
    rows = [(fact.stored_as, codec.encode(fact)) for fact in history]
    bodies = [body for _, body in rows]
    mapper = library_mapper()
    stored = library_events(history, mapper)

    def ours() -> Invoice | None:
        decoded = [
            codec.decode(type_name, body, stream="in_1", position=position)
            for position, (type_name, body) in enumerate(rows, start=1)
        ]
        return fold(cast("list[InvoiceEvent]", decoded))

    def peer() -> LibraryInvoice | None:
        return project_aggregate(None, [mapper.to_domain_event(one) for one in stored])

    ours_folded, peer_folded = ours(), peer()
    assert isinstance(ours_folded, Issued)
    assert peer_folded is not None
    assert len(ours_folded.draft.lines) == len(peer_folded.lines) == facts - 2
    assert ours_folded.document.totals.total == peer_folded.totals["total"]
    yield (
        Contender("decode and fold", "ours", timed(facts, ours)),
        Contender("library's Aggregate", "peer", timed(facts, peer)),
        Contender(
            "parse the same JSON", "limit", timed(facts, lambda: list(map(from_json, bodies)))
        ),
    )


PAIRS = (
    Pair(
        name="fold",
        job="load an invoice of 1,000 facts from its stored bytes",
        unit="event",
        size=1_000,
        setup=stored_invoice,
        note=(
            "Target: less than 8 µs an event. "
            "The peer is eventsourcing's declarative aggregate with its own mapper and JSON, "
            "which checks no value; the limit parses without checking and folds nothing."
        ),
    ),
)


# --- the same invoice, as the library's own guide would write it ------------------------------


@dataclass(frozen=True, slots=True)
class LibraryLine:
    """What a line of ours holds."""

    id: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal
    tax_category: str
    tax_exemption_reason: str | None
    tax_inclusive: bool
    discount_percent: Decimal | None
    discounted: int
    amount: int
    net: int


class LibraryInvoice(Aggregate):
    """An invoice with the content of ours, and no rule."""

    @event("Drafted")
    def __init__(
        self, currency: str, tax_rounding: str, terms: dict[str, Any], metadata: dict[str, str]
    ) -> None:
        self.currency = currency
        self.tax_rounding = tax_rounding
        self.terms = terms
        self.metadata = metadata
        self.lines: list[LibraryLine] = []
        self.number: str | None = None

    @event("LineAdded")
    def add_line(
        self,
        *,
        line_id: str,
        description: str,
        quantity: Decimal,
        unit_price: Decimal,
        tax_rate: Decimal,
        tax_category: str,
        tax_exemption_reason: str | None,
        tax_inclusive: bool,
        discount_percent: Decimal | None,
        discounted: int,
        amount: int,
        net: int,
    ) -> None:
        """Add a line that was priced before."""
        self.lines.append(
            LibraryLine(
                line_id,
                description,
                quantity,
                unit_price,
                tax_rate,
                tax_category,
                tax_exemption_reason,
                tax_inclusive,
                discount_percent,
                discounted,
                amount,
                net,
            )
        )

    @event("Finalized")
    def finalize(
        self,
        *,
        number: str,
        series: str,
        issued_on: str,
        seller: dict[str, Any],
        customer: dict[str, Any],
        totals: dict[str, Any],
    ) -> None:
        """Fix the document."""
        self.number = number
        self.series = series
        self.issued_on = issued_on
        self.seller = seller
        self.customer = customer
        self.totals = totals


Copy = TypeVar("Copy", bound=LibraryInvoice)


def library_mapper() -> Mapper[UUID]:
    """The library's mapper as its application makes it by default."""
    transcoder = JSONTranscoder()
    for transcoding in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(transcoding)
    return Mapper(transcoder)


def library_events(history: Sequence[InvoiceEvent], mapper: Mapper[UUID]) -> list[StoredEvent]:
    """The stored events of the library's invoice that says what ours says."""
    invoice = copied(LibraryInvoice, history)
    return [mapper.to_stored_event(one) for one in invoice.collect_events()]


def copied(kind: type[Copy], history: Sequence[InvoiceEvent]) -> Copy:
    """The library's invoice that says what ours says, with events that are not saved yet."""
    drafted, *added, finalized = history
    assert isinstance(drafted, InvoiceDrafted)
    assert isinstance(finalized, InvoiceFinalized)
    invoice = kind(**drafted.model_dump(mode="json", exclude={"invoice"}))
    for fact in added:
        assert isinstance(fact, LineAdded)
        line = fact.line
        invoice.add_line(
            line_id=line.id,
            description=line.description,
            quantity=line.quantity,
            unit_price=line.unit_price,
            tax_rate=line.tax.rate,
            tax_category=line.tax.category.value,
            tax_exemption_reason=line.tax.exemption_reason,
            tax_inclusive=line.tax.inclusive,
            discount_percent=line.discount.percent if line.discount else None,
            discounted=line.discounted,
            amount=line.amount,
            net=line.net,
        )
    invoice.finalize(**finalized.model_dump(mode="json", exclude={"due_on"}))
    return invoice
