"""Command + invoice → facts, or a refusal. No rule about invoices stands elsewhere.

What may be asked in which status stands in `transitions`; here is what follows from it, and for
money that comes and goes in `paying`.
"""

from __future__ import annotations

from datetime import date, timedelta

from counterfoil.domain.crediting import (
    Credit,
    Creditable,
    credit_amount,
    credit_lines,
    credit_rest,
)
from counterfoil.domain.errors import Malformed, NotFound, Reason, Rejected
from counterfoil.domain.invoice import paying
from counterfoil.domain.invoice.commands import (
    LINES_MAX,
    AddLine,
    AmendDraft,
    ApplyCredit,
    AttemptPayment,
    AttemptRefund,
    ChangeLine,
    DiscardDraft,
    DraftInvoice,
    FailPayment,
    FailRefund,
    FinalizeInvoice,
    InvoiceCommand,
    MarkUncollectible,
    ReconcileInvoice,
    RecordDocument,
    RecordPayment,
    RefundPayment,
    RemoveLine,
    RequirePaymentAction,
    SendInvoice,
    SetDiscount,
    SetMetadata,
    SucceedPayment,
    VoidInvoice,
    WithdrawCredit,
)
from counterfoil.domain.invoice.events import (
    CreditApplied,
    CreditWithdrawn,
    DiscountSet,
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
    PaidReason,
    Status,
    Terms,
)
from counterfoil.domain.invoice.state import Draft, Invoice, Issued
from counterfoil.domain.invoice.transitions import Answer, answer, has_lines, untouched
from counterfoil.domain.line import Discount, Line, LineItem, price
from counterfoil.domain.money import minor_units
from counterfoil.domain.totals import total
from counterfoil.domain.value import LARGEST

Facts = tuple[InvoiceEvent, ...]


def decide(command: InvoiceCommand, invoice: Invoice | None) -> Facts:
    """The facts that obeying this command makes; none when all of it is so already."""
    if invoice is None:
        if isinstance(command, DraftInvoice):
            return _draft(command)
        raise NotFound("invoice")
    if answer(type(command), invoice) is Answer.SAME:
        return ()
    match invoice:
        case Draft():
            return _decide_draft(command, invoice)
        case Issued():
            return _decide_issued(command, invoice)
        case _:
            return ()


def _decide_draft(command: InvoiceCommand, draft: Draft) -> Facts:
    match command:
        case AddLine():
            return _add_line(command, draft)
        case ChangeLine():
            return _change_line(command, draft)
        case RemoveLine():
            _line(draft, command.line)
            return (LineRemoved(line=command.line),)
        case SetDiscount(discount=discount):
            _hold_discount(discount, draft.currency)
            return () if discount == draft.discount else (DiscountSet(discount=discount),)
        case AmendDraft(terms=terms):
            return () if terms == draft.terms else (DraftAmended(terms=terms),)
        case SetMetadata():
            return _set_metadata(command, draft)
        case RecordDocument():
            return _record_document(command, draft)
        case DiscardDraft():
            return (DraftDiscarded(),)
        case FinalizeInvoice():
            return _finalize(command, draft)
        case _:
            raise AssertionError(command)


def _decide_issued(command: InvoiceCommand, invoice: Issued) -> Facts:
    match command:
        case SetMetadata():
            return _set_metadata(command, invoice.draft)
        case RecordDocument():
            return _record_document(command, invoice.draft)
        case SendInvoice():
            return _send(command, invoice)
        case VoidInvoice():
            untouched(invoice)
            return (InvoiceVoided(reason=command.reason),)
        case MarkUncollectible():
            return (MarkedUncollectible(reason=command.reason),)
        case AttemptPayment():
            return paying.attempt(command, invoice)
        case RequirePaymentAction():
            return paying.require_action(command, invoice)
        case FailPayment():
            return paying.fail(command, invoice)
        case SucceedPayment():
            return paying.succeed(command, invoice)
        case RecordPayment():
            return paying.record(command, invoice)
        case AttemptRefund():
            return paying.attempt_refund(command, invoice)
        case FailRefund():
            return paying.fail_refund(command, invoice)
        case RefundPayment():
            return paying.refund(command, invoice)
        case ApplyCredit():
            return _apply_credit(command, invoice)
        case WithdrawCredit():
            return _withdraw_credit(command, invoice)
        case ReconcileInvoice():
            return _reconcile(command, invoice)
        case _:
            raise AssertionError(command)


def _draft(command: DraftInvoice) -> Facts:
    _hold_discount(command.discount, command.currency)
    lines = tuple(price(item, command.currency) for item in command.lines)
    seen = set()
    for line in lines:
        if line.id in seen:
            raise Rejected(Reason.LINE_EXISTS, line=line.id)
        seen.add(line.id)
    _hold_range(lines)
    drafted = InvoiceDrafted(
        invoice=command.invoice,
        currency=command.currency,
        tax_rounding=command.tax_rounding,
        terms=command.terms,
        metadata={key: value for key, value in command.metadata.items() if value},
    )
    discount = () if command.discount is None else (DiscountSet(discount=command.discount),)
    return (drafted, *(LineAdded(line=line) for line in lines), *discount)


def _add_line(command: AddLine, draft: Draft) -> Facts:
    for other in draft.lines:
        if other.id == command.line.id:
            if _said(other) == _said(command.line):
                return ()
            raise Rejected(Reason.LINE_EXISTS, line=other.id)
    if len(draft.lines) >= LINES_MAX:
        raise Rejected(Reason.TOO_MANY_LINES, limit=LINES_MAX)
    line = price(command.line, draft.currency)
    _hold_range((*draft.lines, line))
    return (LineAdded(line=line),)


def _change_line(command: ChangeLine, draft: Draft) -> Facts:
    old = _line(draft, command.line.id)
    line = price(command.line, draft.currency)
    if line == old:
        return ()
    _hold_range((*(other for other in draft.lines if other.id != line.id), line))
    return (LineChanged(line=line),)


def _line(draft: Draft, line_id: str) -> Line:
    for line in draft.lines:
        if line.id == line_id:
            return line
    raise Rejected(Reason.NO_SUCH_LINE, line=line_id)


def _said(item: LineItem) -> tuple[object, ...]:
    return tuple(getattr(item, name) for name in LineItem.model_fields)


def _hold_range(lines: tuple[Line, ...]) -> None:
    # Tax is at most 100 %, so twice the magnitude of all lines bounds every sum of the document.
    if 2 * sum(abs(line.amount) + abs(line.discounted) for line in lines) > LARGEST:
        raise Rejected(Reason.AMOUNT_OUT_OF_RANGE, field="total", limit=LARGEST)


def _hold_discount(discount: Discount | None, currency: str) -> None:
    if discount is not None and discount.amount is not None:
        minor_units("discount.amount", discount.amount, currency)


def _set_metadata(command: SetMetadata, draft: Draft) -> Facts:
    merged = {k: v for k, v in {**draft.metadata, **command.metadata}.items() if v}
    return () if merged == draft.metadata else (MetadataSet(metadata=merged),)


def _record_document(command: RecordDocument, draft: Draft) -> Facts:
    printed = command.document
    # The last one is what is fetched. The same bytes show a later version as well, when nothing
    # that is printed has changed.
    last = draft.documents[-1:]
    same = [one.model_copy(update={"version": printed.version}) for one in last] == [printed]
    return () if same else (printed,)


def _finalize(command: FinalizeInvoice, draft: Draft) -> Facts:
    has_lines(draft)
    totals = total(draft.lines, draft.discount, draft.currency, draft.tax_rounding)
    if totals.total < 0:  # N2: what is owed to the customer is a credit note
        raise Rejected(Reason.NEGATIVE_TOTAL, total=totals.total)
    due_on = _due_on(draft.terms, command.issued_on)
    if due_on is not None and due_on < command.issued_on:
        raise Rejected(Reason.DUE_BEFORE_ISSUE, due_on=due_on, issued_on=command.issued_on)
    finalized = InvoiceFinalized(
        number=command.number,
        series=command.series,
        issued_on=command.issued_on,
        due_on=due_on,
        seller=draft.terms.seller or command.seller,
        customer=draft.terms.customer,
        totals=totals,
    )
    if totals.total == 0:
        return (finalized, InvoicePaid(reason=PaidReason.NOTHING_DUE))
    return (finalized,)


def _due_on(terms: Terms, issued_on: date) -> date | None:
    if terms.days_until_due is None:
        return terms.due_date
    try:
        return issued_on + timedelta(days=terms.days_until_due)
    except OverflowError:
        raise Malformed("days_until_due", "reaches beyond the calendar") from None


def _send(command: SendInvoice, invoice: Issued) -> Facts:
    sent = InvoiceSent(delivery=command.delivery, to=command.to)
    return () if sent in invoice.sent else (sent,)


def _apply_credit(command: ApplyCredit, invoice: Issued) -> Facts:
    known = invoice.credit_note(command.credit_note)
    if known is not None:
        before = invoice.credits[: invoice.credits.index(known)]
        if _credit(command, invoice, before) == known.credit:
            return ()
    if known is not None or command.credit_note in invoice.withdrawn:
        raise Rejected(Reason.ALREADY_EXISTS, id=command.credit_note)
    credit = _credit(command, invoice, invoice.credits)
    owed = invoice.status in {Status.OPEN, Status.UNCOLLECTIBLE}
    before_payment = min(credit.total, invoice.amount_remaining) if owed else 0
    after_payment = credit.total - before_payment
    refund, customer_credit, out_of_band = _split(command, after_payment, invoice)
    applied = CreditApplied(
        credit_note=command.credit_note,
        credit=credit,
        before_payment=before_payment,
        refund=refund,
        customer_credit=customer_credit,
        out_of_band=out_of_band,
    )
    if owed and before_payment == invoice.amount_remaining:
        return (applied, InvoicePaid(reason=PaidReason.CREDITED))
    return (applied,)


def _credit(command: ApplyCredit, invoice: Issued, earlier: tuple[CreditApplied, ...]) -> Credit:
    of = Creditable(
        invoice.document.totals,
        invoice.draft.lines,
        tuple(applied.credit for applied in earlier),
    )
    if command.lines is not None:
        return credit_lines(of, command.lines)
    if command.amount is not None:
        return credit_amount(of, minor_units("amount", command.amount, invoice.draft.currency))
    return credit_rest(of)


def _split(command: ApplyCredit, after_payment: int, invoice: Issued) -> tuple[int, int, int]:
    """Where the part after payment goes (C2): the three add up to it, exactly."""
    said = (command.refund, command.customer_credit, command.out_of_band)
    if said == (None, None, None):
        return 0, after_payment, 0
    refund, customer_credit, out_of_band = (paying.amount_of(part, 0, invoice) for part in said)
    given = refund + customer_credit + out_of_band
    if given != after_payment:
        raise Rejected(Reason.SPLIT_MISMATCH, after_payment=after_payment, given=given)
    return refund, customer_credit, out_of_band


def _withdraw_credit(command: WithdrawCredit, invoice: Issued) -> Facts:
    applied = invoice.credit_note(command.credit_note)
    if applied is None:
        raise Rejected(Reason.NO_SUCH_CREDIT_NOTE, credit_note=command.credit_note)
    return (CreditWithdrawn(credit_note=command.credit_note),)


def _reconcile(command: ReconcileInvoice, invoice: Issued) -> Facts:
    key = (command.provider, command.provider_event)
    if any((news.provider, news.provider_event) == key for news in invoice.reconciled):
        return ()
    newest = max((news.occurred_at for news in invoice.reconciled), default=None)
    if newest is not None and command.occurred_at < newest:
        raise Rejected(Reason.OUTDATED, known=newest, given=command.occurred_at)
    # News that changes nothing is a fact, too: heard again, it is known, and older news is late.
    if command.status is invoice.status:
        settled = 0
    elif command.status is Status.PAID:
        settled = invoice.amount_remaining
    else:  # what the outsider settled is owed again: it is not paid after all
        settled = -invoice.settled
    return (InvoiceReconciled(**dict(command), settled=settled),)
