"""Do the laws of deciding and folding hold over histories that nobody thought of?"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from functools import reduce

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.invoice.commands import (
    DraftInvoice,
    InvoiceCommand,
)
from counterfoil.domain.invoice.events import (
    DiscountSet,
    DraftAmended,
    InvoiceEvent,
    InvoiceFinalized,
    LineChanged,
    LineRemoved,
    Status,
    Terms,
)
from counterfoil.domain.invoice.state import Invoice, Issued, evolve, fold
from counterfoil.domain.line import Discount, LineItem
from counterfoil.domain.tax import Tax, TaxRounding
from counterfoil.domain.value import LineId
from examples import (
    CUSTOMER,
    DISCARDED,
    DRAFTED,
    FINALIZE,
    FINALIZED,
    GIVEN_UP,
    INVOICE,
    LINE_ADDED,
    OPEN,
    PAID_UP,
    SELLER,
    SENT,
    TERMS,
    VAT,
    VOIDED_UP,
    item,
    line,
)
from histories import (
    TAXES,
    History,
    after,
    any_command,
    asked,
    draft_commands,
    histories,
    lasting_commands,
    money_commands,
    own_commands,
)

# --- laws of the fold -----------------------------------------------------------------------


def evolved(history: History) -> Invoice | None:
    """The fold as it is defined: one fact after the other."""
    return reduce(_evolve, history, None)


def _evolve(invoice: Invoice | None, fact: InvoiceEvent) -> Invoice | None:
    return evolve(invoice, fact)


@over(histories())
def test_folding_is_evolving_fact_by_fact(history: History) -> None:
    assert fold(history) == evolved(history)


@over(histories(), st.integers(0, 40))
def test_a_fold_may_stop_anywhere_and_go_on(history: History, place: int) -> None:
    assert fold(history[place:], fold(history[:place])) == fold(history)


@over(st.lists(st.sampled_from((LINE_ADDED, DRAFTED, DISCARDED, FINALIZED, SENT)), max_size=6))
def test_folding_refuses_what_evolving_refuses(facts: list[InvoiceEvent]) -> None:
    history = tuple(facts)
    try:
        expected = evolved(history)
    except CorruptHistory as corrupt:
        with pytest.raises(CorruptHistory, match=str(corrupt).split("(", maxsplit=1)[0]):
            fold(history)
    else:
        assert fold(history) == expected


@over(histories(), any_command)
def test_asked_again_every_command_makes_no_new_fact(
    history: History, command: InvoiceCommand
) -> None:
    facts = asked(command, fold(history))
    assert asked(command, fold((*history, *facts))) == ()


@over(histories(), any_command)
def test_deciding_changes_nothing_that_it_was_given(
    history: History, command: InvoiceCommand
) -> None:
    invoice, before = fold(history), fold(history)
    assert asked(command, invoice) == asked(command, invoice)
    assert invoice == before


# --- laws of money --------------------------------------------------------------------------


@over(histories(own_commands))
def test_what_remains_says_whether_an_invoice_is_paid(history: History) -> None:
    match fold(history):
        case Issued(status=Status.OPEN | Status.UNCOLLECTIBLE) as invoice:
            assert 0 < invoice.amount_remaining <= invoice.amount_due
        case Issued(status=Status.PAID) as invoice:
            assert invoice.amount_remaining == 0
        case Issued(status=Status.VOID) as invoice:
            assert invoice.amount_remaining == invoice.document.totals.total
        case _:
            pass


@over(histories())
def test_what_remains_is_never_negative_whatever_outsiders_say(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        assert invoice.amount_remaining >= 0


@over(histories())
def test_never_more_goes_back_than_came(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        for payment in invoice.payments:
            back = [one.amount for one in invoice.refunds if one.payment == payment.payment]
            held = [one.amount for one in invoice.refunding if one.payment == payment.payment]
            assert sum(back) + sum(held) <= payment.amount
            assert payment.surplus >= 0
            assert payment.settled_before >= 0
            assert payment.surplus + payment.settled_before <= payment.amount


@over(histories(money_commands))
def test_money_counts_once_whoever_told_of_it_first(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        came = sum(payment.amount - payment.surplus for payment in invoice.payments)
        owed_again = sum(one.reopened for one in invoice.refunds)
        assert invoice.settled >= 0
        assert invoice.amount_paid == came - owed_again + invoice.settled
        assert invoice.amount_paid <= invoice.amount_due
        if invoice.status is Status.PAID:
            assert invoice.amount_remaining == 0
        else:
            assert invoice.settled == 0


@over(histories(money_commands))
def test_one_attempt_at_most_is_live_and_all_that_failed_or_succeeded_ended(
    history: History,
) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        live = [one for one in invoice.attempts if not invoice.ended(one.payment)]
        assert live == ([] if invoice.attempt is None else [invoice.attempt])
        assert {one.payment for one in invoice.failures} <= {
            one.payment for one in invoice.attempts
        }


@over(histories(money_commands))
def test_every_refund_is_pending_or_failed_or_made(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        made = {one.refund: (one.payment, one.amount) for one in invoice.refunds}
        asked = {one.refund: (one.payment, one.amount) for one in invoice.refund_attempts}
        missing = {one.refund for one in invoice.refund_failures}
        assert (len(made), len(asked)) == (len(invoice.refunds), len(invoice.refund_attempts))
        assert len(missing) == len(invoice.refund_failures)
        assert missing <= asked.keys()
        assert all(asked.get(refund, said) == said for refund, said in made.items())
        assert {one.refund for one in invoice.refunding} == asked.keys() - made.keys() - missing


@over(histories(money_commands))
def test_an_event_of_the_processor_is_the_news_of_one_fact_that_is_no_success(
    history: History,
) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        told = [*(one.news for one in invoice.intents), *(one.news for one in invoice.failures)]
        events = [news.provider_event for news in told if news is not None]
        assert len(set(events)) == len(events)
        for payment in invoice.attempts:
            of_it = [one.news for one in invoice.intents if one.payment == payment.payment]
            times = [news.occurred_at for news in of_it if news is not None]
            assert times == sorted(times)


@over(histories())
def test_credit_notes_never_pass_the_invoice(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        totals = invoice.document.totals
        assert sum(note.credit.total for note in invoice.credits) <= totals.total
        for place, group in enumerate(totals.groups):
            base = sum(note.credit.groups[place].taxable for note in invoice.credits)
            assert min(0, group.taxable) <= base <= max(0, group.taxable)


@over(histories())
def test_every_id_of_a_payment_is_used_once(history: History) -> None:
    invoice = fold(history)
    if isinstance(invoice, Issued):
        for facts in (invoice.attempts, invoice.payments, invoice.failures):
            ids = [one.payment for one in facts]
            assert len(set(ids)) == len(ids)


# --- finalizing freezes ---------------------------------------------------------------------


@over(
    histories(draft_commands | lasting_commands),
    st.lists(any_command, min_size=1, max_size=25),
)
def test_nothing_changes_a_finalized_document(
    history: History, commands: list[InvoiceCommand]
) -> None:
    finalized = history if isinstance(fold(history), Issued) else OPEN
    before, later = fold(finalized), fold(after(finalized, commands))
    assert isinstance(before, Issued)
    assert isinstance(later, Issued)
    assert later.document == before.document
    assert later.document.totals == before.document.totals
    assert later.draft.lines == before.draft.lines
    assert later.draft.terms == before.draft.terms
    assert later.draft.discount == before.draft.discount
    assert later.draft.currency == before.draft.currency


@pytest.mark.parametrize(
    "fact",
    [
        LINE_ADDED,
        LineChanged(line=line(amount=1)),
        LineRemoved(line=LineId("line_1")),
        DiscountSet(discount=Discount(percent="50")),
        DraftAmended(terms=Terms(customer=CUSTOMER, footer="new")),
        DISCARDED,
        FINALIZED,
    ],
    ids=lambda fact: fact.stored_as,
)
def test_no_fact_that_would_change_a_finalized_document_is_believed(fact: InvoiceEvent) -> None:
    for history in (OPEN, PAID_UP, GIVEN_UP, VOIDED_UP):
        with pytest.raises(CorruptHistory):
            fold((*history, fact))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (SELLER, "name"),
        (CUSTOMER, "name"),
        (CUSTOMER.address, "city"),
        (VAT, "rate"),
        (TERMS, "footer"),
        (FINALIZED, "number"),
        (FINALIZED.totals, "total"),
        (FINALIZED.totals.groups[0], "amount"),
        (LINE_ADDED.line, "net"),
        (FINALIZE, "number"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_what_the_caller_handed_over_cannot_be_changed(value: object, field: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(value, field, "something else")


def test_the_state_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(fold(OPEN), "status", Status.PAID)  # noqa: B010


@over(st.permutations(TAXES), st.sampled_from(TaxRounding))
def test_the_figures_of_a_document_hold(taxes: list[Tax], rounding: TaxRounding) -> None:
    things: tuple[LineItem, ...] = tuple(
        item(f"line_{place}", quantity="3", unit_price="33.33", tax=tax)
        for place, tax in enumerate(taxes)
    )
    command = DraftInvoice(
        invoice=INVOICE, currency="EUR", terms=TERMS, tax_rounding=rounding, lines=things
    )
    *_, finalized = after((), (command, FINALIZE))
    assert isinstance(finalized, InvoiceFinalized)
    figures = finalized.totals
    assert figures.subtotal - figures.discount + figures.tax + figures.rounding == figures.total
    assert sum(group.amount for group in figures.groups) == figures.tax
    assert sum(group.taxable + group.amount for group in figures.groups) == figures.total
