"""What an invoice is, as far as a later decision reads it, and how each fact changes that.

`evolve` only records: it runs over history for as long as the company lives, so it holds no rule,
no arithmetic and no clock. Sums over recorded facts are properties, asked for when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.invoice.events import (
    CreditApplied,
    CreditWithdrawn,
    DiscountSet,
    DocumentStored,
    DraftAmended,
    DraftDiscarded,
    InvoiceDrafted,
    InvoiceEvent,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceSent,
    InvoiceVoided,
    LineAdded,
    LineChanged,
    LineRemoved,
    MarkedUncollectible,
    MetadataSet,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
    Status,
    Terms,
)
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.tax import TaxRounding
from counterfoil.domain.value import CreditNoteId, InvoiceId, PaymentId, RefundId


@dataclass(frozen=True, slots=True)
class Draft:
    """An invoice that may still change in everything but its currency."""

    id: InvoiceId
    currency: str
    tax_rounding: TaxRounding
    terms: Terms
    metadata: Mapping[str, str]
    lines: tuple[Line, ...] = ()
    discount: Discount | None = None
    documents: tuple[DocumentStored, ...] = ()

    @property
    def status(self) -> Status:
        return Status.DRAFT


@dataclass(frozen=True, slots=True)
class Issued:
    """A finalized invoice: the document never changes, what happened to it since is listed."""

    draft: Draft
    document: InvoiceFinalized
    status: Status = Status.OPEN
    sent: tuple[InvoiceSent, ...] = ()
    attempts: tuple[PaymentAttempted, ...] = ()
    intents: tuple[PaymentActionRequired, ...] = ()
    failures: tuple[PaymentFailed, ...] = ()
    payments: tuple[PaymentSucceeded, ...] = ()
    refund_attempts: tuple[RefundAttempted, ...] = ()
    refund_failures: tuple[RefundFailed, ...] = ()
    refunds: tuple[PaymentRefunded, ...] = ()
    returned: tuple[RefundId, ...] = ()
    credits: tuple[CreditApplied, ...] = ()
    withdrawn: tuple[CreditNoteId, ...] = ()
    reconciled: tuple[InvoiceReconciled, ...] = ()

    @property
    def amount_due(self) -> int:
        """The total less what was credited before payment."""
        return self.document.totals.total - sum(c.before_payment for c in self.credits)

    @property
    def amount_paid(self) -> int:
        """The money that counts towards what is due."""
        received = sum(payment.amount - payment.surplus for payment in self.payments)
        reopened = sum(refund.reopened for refund in self.refunds)
        surplus = sum(failure.surplus for failure in self.refund_failures)
        return received - reopened - surplus + self.settled

    @property
    def settled(self) -> int:
        """What an outsider says was paid, and no payment of ours has explained yet."""
        explained = sum(payment.settled_before for payment in self.payments)
        return sum(news.settled for news in self.reconciled) - explained

    @property
    def amount_remaining(self) -> int:
        """What is left to pay."""
        return self.amount_due - self.amount_paid

    @property
    def attempt(self) -> PaymentAttempted | None:
        """The attempt that has not ended, if there is one; there is never more than one."""
        last = self.attempts[-1] if self.attempts else None
        return None if last is None or self.ended(last.payment) else last

    @property
    def refunding(self) -> tuple[RefundAttempted, ...]:
        """The refunds that have not ended."""
        ended = {one.refund for one in self.refunds} | {one.refund for one in self.refund_failures}
        return tuple(one for one in self.refund_attempts if one.refund not in ended)

    def ended(self, payment: PaymentId) -> bool:
        """Whether it is known what became of this payment."""
        failed = any(one.payment == payment for one in self.failures)
        return failed or self.payment(payment) is not None

    def attempted(self, payment: PaymentId) -> PaymentAttempted | None:
        """The attempt at this payment, if there was one."""
        return next((one for one in self.attempts if one.payment == payment), None)

    def payment(self, payment: PaymentId) -> PaymentSucceeded | None:
        """The payment of this id, if the money came."""
        return next((paid for paid in self.payments if paid.payment == payment), None)

    def refund_attempt(self, refund: RefundId) -> RefundAttempted | None:
        """The attempt at this refund, if there was one."""
        return next((one for one in self.refund_attempts if one.refund == refund), None)

    def refund(self, refund: RefundId) -> PaymentRefunded | None:
        """The refund of this id, if the money went back."""
        return next((one for one in self.refunds if one.refund == refund), None)

    def credit_note(self, credit_note: CreditNoteId) -> CreditApplied | None:
        """The credit note of this id, if it stands."""
        return next((one for one in self.credits if one.credit_note == credit_note), None)


@dataclass(frozen=True, slots=True)
class Discarded:
    """A draft that was deleted; its history stays."""

    id: InvoiceId

    @property
    def status(self) -> Status:
        return Status.DISCARDED


Invoice = Draft | Issued | Discarded


def fold(events: Iterable[InvoiceEvent], invoice: Invoice | None = None) -> Invoice | None:
    """The invoice after these facts: `evolve` over all, with runs of added lines taken at once.

    One line at a time would copy all lines before it, which is quadratic in a long invoice.
    """
    added: list[Line] = []
    for event in events:
        if isinstance(event, LineAdded) and isinstance(invoice, Draft):
            added.append(event.line)
            continue
        invoice = evolve(_with_lines(invoice, added), event)
        added = []
    return _with_lines(invoice, added)


def _with_lines(invoice: Invoice | None, added: list[Line]) -> Invoice | None:
    if isinstance(invoice, Draft) and added:
        return replace(invoice, lines=(*invoice.lines, *added))
    return invoice


def evolve(invoice: Invoice | None, event: InvoiceEvent) -> Invoice:
    """The invoice after one more fact."""
    match invoice:
        case Draft():
            return _evolve_draft(invoice, event)
        case Issued():
            return _evolve_issued(invoice, event)
        case None if isinstance(event, InvoiceDrafted):
            return Draft(
                id=event.invoice,
                currency=event.currency,
                tax_rounding=event.tax_rounding,
                terms=event.terms,
                metadata=event.metadata,
            )
        case _:
            raise _impossible(invoice, event)


def _evolve_draft(draft: Draft, event: InvoiceEvent) -> Invoice:
    match event:
        case LineAdded():
            return replace(draft, lines=(*draft.lines, event.line))
        case LineChanged():
            lines = tuple(event.line if old.id == event.line.id else old for old in draft.lines)
            return replace(draft, lines=lines)
        case LineRemoved():
            return replace(draft, lines=tuple(old for old in draft.lines if old.id != event.line))
        case DiscountSet():
            return replace(draft, discount=event.discount)
        case DraftAmended():
            return replace(draft, terms=event.terms)
        case MetadataSet():
            return replace(draft, metadata=event.metadata)
        case DocumentStored():
            return replace(draft, documents=(*draft.documents, event))
        case DraftDiscarded():
            return Discarded(draft.id)
        case InvoiceFinalized():
            return Issued(draft, event)
        case _:
            raise _impossible(draft, event)


def _evolve_issued(invoice: Issued, event: InvoiceEvent) -> Issued:
    match event:
        case MetadataSet():
            return replace(invoice, draft=replace(invoice.draft, metadata=event.metadata))
        case DocumentStored():
            documents = (*invoice.draft.documents, event)
            return replace(invoice, draft=replace(invoice.draft, documents=documents))
        case InvoiceSent():
            return replace(invoice, sent=(*invoice.sent, event))
        case PaymentAttempted():
            return replace(invoice, attempts=(*invoice.attempts, event))
        case PaymentActionRequired():
            return replace(invoice, intents=(*invoice.intents, event))
        case PaymentFailed():
            return replace(invoice, failures=(*invoice.failures, event))
        case PaymentSucceeded():
            return replace(invoice, payments=(*invoice.payments, event))
        case RefundAttempted():
            return replace(invoice, refund_attempts=(*invoice.refund_attempts, event))
        case RefundFailed():
            went = tuple(one for one in invoice.refunds if one.refund != event.refund)
            returned = () if went == invoice.refunds else (event.refund,)
            return replace(
                invoice,
                refunds=went,
                returned=(*invoice.returned, *returned),
                refund_failures=(*invoice.refund_failures, event),
            )
        case PaymentRefunded():
            return replace(invoice, refunds=(*invoice.refunds, event))
        case CreditApplied():
            return replace(invoice, credits=(*invoice.credits, event))
        case CreditWithdrawn():
            left = tuple(one for one in invoice.credits if one.credit_note != event.credit_note)
            withdrawn = (*invoice.withdrawn, event.credit_note)
            return replace(invoice, credits=left, withdrawn=withdrawn)
        case InvoicePaid():
            return replace(invoice, status=Status.PAID)
        case MarkedUncollectible():
            return replace(invoice, status=Status.UNCOLLECTIBLE)
        case InvoiceVoided():
            return replace(invoice, status=Status.VOID)
        case InvoiceReconciled():
            return replace(invoice, status=event.status, reconciled=(*invoice.reconciled, event))
        case _:
            raise _impossible(invoice, event)


def _impossible(invoice: Invoice | None, event: InvoiceEvent) -> CorruptHistory:
    match invoice:
        case None:
            what, stream = "an invoice that was never drafted", "invoice"
        case Issued():
            what, stream = f"an {invoice.status} invoice", invoice.draft.id
        case _:
            what, stream = f"a {invoice.status} invoice", invoice.id
    return CorruptHistory(f"{event.stored_as} cannot happen to {what}", stream=stream)
