"""An invoice's facts, folded once for all read models of it.

This is the domain's own fold (`domain/invoice/state.py`) over unparsed values: sums that the
domain works out when it is asked are kept running here, and after every fact that moves money the
books are noted. Tests hold both to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from counterfoil.domain.invoice import events
from counterfoil.domain.invoice.events import Status
from counterfoil.domain.value import Event
from counterfoil.projections.history import Body, Fact, History

DRAFT, OPEN, PAID = Status.DRAFT.value, Status.OPEN.value, Status.PAID.value
UNCOLLECTIBLE, VOID = Status.UNCOLLECTIBLE.value, Status.VOID.value
DISCARDED = Status.DISCARDED.value


class Books(NamedTuple):
    """What one invoice has in each account, debits positive; they add up to nothing."""

    receivable: int = 0
    revenue: int = 0
    tax: int = 0
    cash: int = 0
    credit: int = 0
    bad_debt: int = 0


class Noted(NamedTuple):
    """The books as a fact left them."""

    version: int
    at: int
    books: Books


class Payment:
    """What became of one payment."""

    __slots__ = ("attempted_at", "ended_at", "failed", "intent", "said", "status")

    def __init__(self, status: str, said: Body) -> None:
        self.status = status
        self.said = said
        self.attempted_at: int | None = None
        self.ended_at: int | None = None
        self.intent: str | None = None
        self.failed: Body = {}


class FoldedInvoice:
    """An invoice after its facts, and what the facts were that read models list one by one."""

    __slots__ = (
        "amount_paid", "attempt_count", "books", "cash", "created", "credited", "currency",
        "discount", "document", "finalized_at", "id", "lines", "live", "marked_uncollectible_at",
        "metadata", "paid_at", "payments", "post_payment", "pre_payment", "refunds", "sent_at",
        "settled", "status", "tax_rounding", "tenant", "terms", "version", "voided_at",
    )  # fmt: skip

    def __init__(self, history: History, drafted: Fact) -> None:
        said = drafted[4]
        self.tenant = history.tenant
        self.id = history.stream
        self.currency: str = said["currency"]
        self.tax_rounding: str = said["tax_rounding"]
        self.terms: Body = said["terms"]
        self.metadata: Body = said["metadata"]
        self.created = drafted[3]
        self.version = drafted[1]
        self.status = DRAFT
        self.lines: dict[str, Body] = {}
        self.discount: Body | None = None
        self.document: Body = {}
        self.finalized_at: int | None = None
        self.sent_at: int | None = None
        self.paid_at: int | None = None
        self.voided_at: int | None = None
        self.marked_uncollectible_at: int | None = None
        self.payments: dict[str, Payment] = {}
        self.refunds: list[tuple[int, Body]] = []
        self.credited: dict[str, Body] = {}
        self.live: str | None = None
        self.attempt_count = 0
        self.cash = 0
        self.amount_paid = 0
        self.settled = 0
        self.pre_payment = 0
        self.post_payment = 0
        self.books: list[Noted] = []

    @property
    def total(self) -> int:
        """What the document says is owed in all; only a finalized invoice has one."""
        total: int = self.document["totals"]["total"]
        return total

    @property
    def amount_due(self) -> int:
        """The total less what was credited before payment."""
        return self.total - self.pre_payment

    @property
    def amount_remaining(self) -> int:
        """What is left to pay."""
        return self.amount_due - self.amount_paid

    def note(self, fact: Fact) -> None:
        """Write down what the accounts hold now, if this fact moved anything."""
        books = self._books()
        if books != (self.books[-1].books if self.books else _NOTHING):
            self.books.append(Noted(fact[1], fact[3], books))

    def _books(self) -> Books:
        if self.status == VOID:  # withdrawn: whatever money is here belongs to the customer
            return Books(cash=self.cash, credit=-self.cash)
        totals = self.document["totals"]
        revenue, tax = totals["total"] - totals["tax"], totals["tax"]
        for applied in self.credited.values():
            credit = applied["credit"]
            revenue -= credit["total"] - credit["tax"]
            tax -= credit["tax"]
        # Money that counts towards no invoice, and credit that was not needed to lower one, are
        # the customer's, until they are sent back.
        credit = self.cash - self.amount_paid + self.post_payment
        lost = self.status == UNCOLLECTIBLE
        left = self.amount_remaining
        return Books(
            receivable=0 if lost else left,
            revenue=-revenue,
            tax=-tax,
            cash=self.cash,
            credit=-credit,
            bad_debt=left if lost else 0,
        )


_NOTHING = Books()


def fold_invoice(history: History) -> FoldedInvoice:
    """The invoice after these facts; whatever cannot have happened stops with its position."""
    fact = history.facts[0]
    if fact[0] != events.InvoiceDrafted.stored_as:
        raise history.corrupt(f"{fact[0]} cannot happen to an invoice that was never drafted", fact)
    try:
        invoice = FoldedInvoice(history, fact)
        for fact in history.facts[1:]:
            phase, tell = _TOLD[fact[0]]
            if invoice.status not in phase:
                what = f"{fact[0]} cannot happen to an invoice that is {invoice.status}"
                raise history.corrupt(what, fact)
            tell(invoice, fact)
            invoice.version = fact[1]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise history.corrupt(f"{fact[0]} is nothing that an invoice can be told", fact) from error
    return invoice


# --- one by one -------------------------------------------------------------------------------


def _line_added(invoice: FoldedInvoice, fact: Fact) -> None:
    line = fact[4]["line"]
    invoice.lines[line["id"]] = line


def _line_removed(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.lines.pop(fact[4]["line"], None)


def _discount_set(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.discount = fact[4]["discount"]


def _draft_amended(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.terms = fact[4]["terms"]


def _metadata_set(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.metadata = fact[4]["metadata"]


def _draft_discarded(invoice: FoldedInvoice, _: Fact) -> None:
    invoice.status = DISCARDED


def _document_stored(invoice: FoldedInvoice, fact: Fact) -> None:
    """Nothing that a read model shows."""


def _finalized(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.document = fact[4]
    invoice.status = OPEN
    invoice.finalized_at = fact[3]
    invoice.note(fact)


def _sent(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.sent_at = fact[3]


def _payment_attempted(invoice: FoldedInvoice, fact: Fact) -> None:
    said = fact[4]
    payment = invoice.payments[said["payment"]] = Payment("processing", said)
    payment.attempted_at = fact[3]
    invoice.live = said["payment"]
    invoice.attempt_count += 1


def _payment_action_required(invoice: FoldedInvoice, fact: Fact) -> None:
    payment = invoice.payments[fact[4]["payment"]]
    payment.intent = fact[4]["intent"]
    payment.status = "requires_action"


def _payment_failed(invoice: FoldedInvoice, fact: Fact) -> None:
    payment = invoice.payments[fact[4]["payment"]]
    payment.status, payment.failed, payment.ended_at = "failed", fact[4], fact[3]
    invoice.live = None


def _payment_succeeded(invoice: FoldedInvoice, fact: Fact) -> None:
    said = fact[4]
    payment = invoice.payments.get(said["payment"])
    if payment is None:
        payment = invoice.payments[said["payment"]] = Payment("succeeded", said)
    else:
        payment.status, payment.said = "succeeded", {**payment.said, **said}
    payment.ended_at = fact[3]
    if invoice.live == said["payment"]:
        invoice.live = None
    invoice.cash += said["amount"]
    invoice.amount_paid += said["amount"] - said["surplus"]
    invoice.note(fact)


def _payment_refunded(invoice: FoldedInvoice, fact: Fact) -> None:
    said = fact[4]
    invoice.refunds.append((fact[3], said))
    invoice.cash -= said["amount"]
    invoice.amount_paid -= said["reopened"]
    invoice.note(fact)


def _paid(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.status = PAID
    invoice.paid_at = fact[3]
    invoice.note(fact)


def _marked_uncollectible(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.status = UNCOLLECTIBLE
    invoice.marked_uncollectible_at = fact[3]
    invoice.note(fact)


def _voided(invoice: FoldedInvoice, fact: Fact) -> None:
    invoice.status = VOID
    invoice.voided_at = fact[3]
    invoice.note(fact)


def _credit_applied(invoice: FoldedInvoice, fact: Fact) -> None:
    said = fact[4]
    invoice.credited[said["credit_note"]] = said
    invoice.pre_payment += said["before_payment"]
    invoice.post_payment += said["credit"]["total"] - said["before_payment"]
    invoice.note(fact)


def _credit_withdrawn(invoice: FoldedInvoice, fact: Fact) -> None:
    said = invoice.credited.pop(fact[4]["credit_note"])
    invoice.pre_payment -= said["before_payment"]
    invoice.post_payment -= said["credit"]["total"] - said["before_payment"]
    invoice.note(fact)


def _reconciled(invoice: FoldedInvoice, fact: Fact) -> None:
    status, settled = fact[4]["status"], fact[4]["settled"]
    invoice.status = Status(status).value
    invoice.cash += settled
    invoice.amount_paid += settled
    if status == PAID:
        invoice.paid_at = fact[3]
    elif status == VOID:
        invoice.voided_at = fact[3]
    elif status == UNCOLLECTIBLE:
        invoice.marked_uncollectible_at = fact[3]
    invoice.note(fact)


_Tell = Callable[[FoldedInvoice, Fact], None]
_DRAFT = frozenset({DRAFT})
_ISSUED = frozenset({OPEN, PAID, UNCOLLECTIBLE, VOID})
_EVER = _DRAFT | _ISSUED

# What each fact may happen to, and what it tells. The first one begins the invoice.
_TELLS: dict[type[Event], tuple[frozenset[str], _Tell]] = {
    events.LineAdded: (_DRAFT, _line_added),
    events.LineChanged: (_DRAFT, _line_added),
    events.LineRemoved: (_DRAFT, _line_removed),
    events.DiscountSet: (_DRAFT, _discount_set),
    events.DraftAmended: (_DRAFT, _draft_amended),
    events.MetadataSet: (_EVER, _metadata_set),
    events.DraftDiscarded: (_DRAFT, _draft_discarded),
    events.InvoiceFinalized: (_DRAFT, _finalized),
    events.InvoiceSent: (_ISSUED, _sent),
    events.PaymentAttempted: (_ISSUED, _payment_attempted),
    events.PaymentActionRequired: (_ISSUED, _payment_action_required),
    events.PaymentFailed: (_ISSUED, _payment_failed),
    events.PaymentSucceeded: (_ISSUED, _payment_succeeded),
    events.InvoicePaid: (_ISSUED, _paid),
    events.PaymentRefunded: (_ISSUED, _payment_refunded),
    events.MarkedUncollectible: (_ISSUED, _marked_uncollectible),
    events.InvoiceVoided: (_ISSUED, _voided),
    events.CreditApplied: (_ISSUED, _credit_applied),
    events.CreditWithdrawn: (_ISSUED, _credit_withdrawn),
    events.InvoiceReconciled: (_ISSUED, _reconciled),
    events.DocumentStored: (_EVER, _document_stored),
}
_TOLD = {kind.stored_as: told for kind, told in _TELLS.items()}
