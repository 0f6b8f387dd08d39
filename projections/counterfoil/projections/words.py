"""What a fact says, as a sentence: one for every kind of fact there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from counterfoil.domain.credit_note.events import (
    CreditNoteEvent,
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.invoice import events
from counterfoil.domain.invoice.events import InvoiceEvent, PaidReason
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.money import Money
from counterfoil.domain.series.events import NumberAssigned, SeriesEvent, SeriesOpened
from counterfoil.domain.tax import Tax

AnyEvent = InvoiceEvent | CreditNoteEvent | SeriesEvent


def sentence(fact: AnyEvent, currency: str | None = None, lines: Sequence[Line] = ()) -> str:
    """What a fact says, of a document in this currency that had these lines."""

    def amount(minor: int) -> str:
        return money(minor, currency)

    match fact:
        case CreditNoteIssued() | CreditNoteVoided() | CreditNoteStored():
            return _of_credit_note(fact)
        case SeriesOpened() | NumberAssigned():
            return _of_series(fact)
        case events.InvoiceDrafted():
            return f"The invoice was drafted for {fact.terms.customer.name}, in {fact.currency}."
        case events.LineAdded():
            return f"Line {named(fact.line)} was added: {line(fact.line, currency)}."
        case events.LineChanged():
            return f"Line {named(fact.line)} was changed to {line(fact.line, currency)}."
        case events.LineRemoved():
            gone = next((named(one) for one in lines if one.id == fact.line), fact.line)
            return f"Line {gone} was removed."
        case events.DiscountSet():
            if fact.discount is None:
                return "The discount was taken away."
            return f"A discount of {discount(fact.discount, currency)} was given on all of it."
        case events.DraftAmended():
            return "The terms of the draft were amended."
        case events.MetadataSet():
            said = ", ".join(fact.metadata)
            return f"Metadata was set: {said}." if said else "All metadata was taken away."
        case events.DraftDiscarded():
            return "The draft was deleted."
        case events.InvoiceFinalized():
            due = f", due on {fact.due_on}" if fact.due_on else ""
            total = amount(fact.totals.total)
            return f"It was finalized as {fact.number}: {total}, issued on {fact.issued_on}{due}."
        case events.InvoiceSent():
            return f"It was sent to {fact.to}."
        case events.MarkedUncollectible():
            return f"It was given up as uncollectible{_because(fact.reason)}."
        case events.InvoiceVoided():
            return f"It was voided{_because(fact.reason)}."
        case events.CreditWithdrawn():
            return f"Credit note {fact.credit_note} was withdrawn from it."
        case events.DocumentStored():
            return _stored("the invoice", fact)
        case _:
            return _of_money(fact, currency)


_OfMoney = (
    events.PaymentAttempted
    | events.PaymentActionRequired
    | events.PaymentFailed
    | events.PaymentSucceeded
    | events.InvoicePaid
    | events.RefundAttempted
    | events.RefundFailed
    | events.PaymentRefunded
    | events.CreditApplied
    | events.InvoiceReconciled
)


def _of_money(fact: _OfMoney, currency: str | None) -> str:
    def amount(minor: int) -> str:
        return money(minor, currency)

    match fact:
        case events.PaymentAttempted():
            asked = f"{fact.processor} was asked for {amount(fact.amount)}"
            return f"Payment {fact.payment}: {asked}, from {fact.payment_method}."
        case events.PaymentActionRequired():
            told = _told(fact.news)
            return f"Payment {fact.payment}: the payer must confirm, intent {fact.intent}{told}."
        case events.PaymentFailed():
            again = "; it may be tried again" if fact.retryable else ""
            why = f"{fact.message} ({fact.code})" if fact.message else fact.code
            return f"Payment {fact.payment} failed: {why}{again}{_told(fact.news)}."
        case events.PaymentSucceeded():
            return _received(fact, currency)
        case events.InvoicePaid():
            return f"It is paid: {_PAID[fact.reason]}."
        case events.RefundAttempted():
            asked = f"{amount(fact.amount)} of payment {fact.payment} is to go back"
            return f"Refund {fact.refund}: {asked}{_because(fact.reason)}."
        case events.RefundFailed():
            why = f"{fact.message} ({fact.code})" if fact.message else fact.code
            more = f"; {amount(fact.surplus)} is customer credit" if fact.surplus else ""
            return f"Refund {fact.refund} of payment {fact.payment} failed: {why}{more}."
        case events.PaymentRefunded():
            again = f"; {amount(fact.reopened)} is owed again" if fact.reopened else ""
            back = f"{amount(fact.amount)} of payment {fact.payment} went back"
            known = f", reference {fact.reference}" if fact.reference else ""
            return f"{back}, refund {fact.refund}{known}{_because(fact.reason)}{again}."
        case events.CreditApplied():
            parts = {
                "lowers what is due": fact.before_payment,
                "is refunded": fact.refund,
                "becomes customer credit": fact.customer_credit,
                "is settled elsewhere": fact.out_of_band,
            }
            split = ", ".join(f"{amount(part)} {what}" for what, part in parts.items() if part)
            total = amount(fact.credit.total)
            return f"Credit note {fact.credit_note} credits {total}{': ' * bool(split)}{split}."
        case events.InvoiceReconciled():
            new = f"; {amount(fact.settled)} of that was not known here" if fact.settled else ""
            said = f"{fact.provider} says that it is {fact.status}"
            heard = f"event {fact.provider_event} of {time(fact.occurred_at)}"
            return f"{said}{new} ({heard})."
        case _:
            assert_never(fact)


_PAID = {
    PaidReason.PAYMENT: "nothing is left to pay",
    PaidReason.CREDITED: "what was left is credited",
    PaidReason.NOTHING_DUE: "nothing was due",
}


def _received(fact: events.PaymentSucceeded, currency: str | None) -> str:
    said = [f"{money(fact.amount, currency)} came, payment {fact.payment}"]
    if fact.processor:
        said.append(f"by {fact.processor}")
    if fact.reference:
        said.append(f"reference {fact.reference}")
    if fact.received_at:
        said.append(f"received {time(fact.received_at)}")
    more = ""
    if fact.surplus:
        more += f"; {money(fact.surplus, currency)} of it is more than was left to pay"
    if fact.settled_before:
        more += f"; {money(fact.settled_before, currency)} of it was known before"
    return f"{', '.join(said)}{more}{_told(fact.news)}."


def _of_credit_note(fact: CreditNoteEvent) -> str:
    match fact:
        case CreditNoteIssued():
            total = money(fact.credit.total, fact.currency)
            of = f"{fact.invoice_number} ({fact.invoice})"
            return f"{fact.number} was issued: it credits {total} of {of}{_because(fact.reason)}."
        case CreditNoteVoided():
            return f"The credit note was voided{_because(fact.reason)}."
        case CreditNoteStored():
            return _stored("the credit note", fact)
        case _:
            assert_never(fact)


def _of_series(fact: SeriesEvent) -> str:
    match fact:
        case SeriesOpened():
            of = f"{fact.kind.value.replace('_', ' ')}s of seller {fact.seller}"
            year = f" in {fact.year}" if fact.year else ""
            return f"Series {fact.series} was opened for {of}{year}, from {fact.first}."
        case NumberAssigned():
            return f"{fact.number} went to {fact.document}, issued on {fact.issued_on}."
        case _:
            assert_never(fact)


# --- parts of sentences -----------------------------------------------------------------------


def money(minor: int, currency: str | None) -> str:
    """An amount with its currency, where that is known."""
    return str(Money(minor, currency)) if currency else f"{minor} minor units"


def named(one: Line) -> str:
    """A line by what was sold."""
    return f"“{one.description}”"


def line(one: Line, currency: str | None) -> str:
    """What a line is made of, and comes to."""
    less = f" less {discount(one.discount, currency)}" if one.discount else ""
    price = f"{one.quantity:f} × {one.unit_price:f}{less}"
    return f"{price}, {money(one.net, currency)} net, {tax(one.tax)}"


def tax(one: Tax) -> str:
    """A tax by its rate, and its category where it is no usual one."""
    how = " included" if one.inclusive else ""
    if one.rate or one.category == "standard":
        return f"{one.rate.normalize():f} % tax{how}"
    return one.category.value.replace("_", " ")


def discount(given: Discount, currency: str | None) -> str:
    """A discount as it was agreed."""
    if given.percent is not None:
        return f"{given.percent.normalize():f} %"
    return f"{given.amount:f} {currency or ''}".rstrip()


def time(moment: datetime) -> str:
    """A moment, to the second."""
    return moment.isoformat(sep=" ", timespec="seconds")


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _told(news: events.News | None) -> str:
    return f" (event {news.provider_event} of {time(news.occurred_at)})" if news else ""


def _stored(what: str, fact: events.DocumentStored | CreditNoteStored) -> str:
    of = f"A print of {what} at version {fact.version} was kept as {fact.key}"
    return f"{of}: {fact.size:,} bytes, SHA-256 {fact.sha256}."
