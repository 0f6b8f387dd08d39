"""Histories that nobody thought of: random commands are asked of one invoice, and what is refused
is forgotten, as in life.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.errors import Malformed, NotFound, Rejected
from counterfoil.domain.invoice.commands import (
    AddLine,
    AmendDraft,
    ApplyCredit,
    ChangeLine,
    DiscardDraft,
    DraftInvoice,
    InvoiceCommand,
    RecordDocument,
    RemoveLine,
    SendInvoice,
    SetDiscount,
    SetMetadata,
)
from counterfoil.domain.invoice.decisions import decide
from counterfoil.domain.invoice.events import (
    InvoiceEvent,
    Status,
    Terms,
)
from counterfoil.domain.invoice.state import Invoice, fold
from counterfoil.domain.line import Discount
from counterfoil.domain.party import Seller
from counterfoil.domain.tax import Tax, TaxRounding
from counterfoil.domain.value import CreditNoteId, LineId
from examples import (
    ATTEMPTED,
    CUSTOMER,
    DRAFT,
    DRAFTED,
    FINALIZE,
    GIVE_UP,
    GIVEN_UP,
    HALF_CREDITED,
    INVOICE,
    NOON,
    OPEN,
    PAID_UP,
    SEND,
    STORED,
    VAT,
    VOID,
    attempt,
    attempt_refund,
    credit,
    fail,
    fail_refund,
    item,
    reconcile,
    record,
    recorded,
    refund,
    refunded,
    require_action,
    succeed,
    told,
    withdraw,
)

History = tuple[InvoiceEvent, ...]

TAXES = (VAT, Tax(rate="7"), Tax(rate="5.5", inclusive=True), Tax(rate="0", category="zero"))

lines = st.sampled_from(("line_1", "line_2", "line_3"))
payments = st.sampled_from(("pay_1", "pay_2", "pay_3", "bank_1"))
# Mostly the round figures that meet each other: too little, half, all, too much.
sums = st.sampled_from((1, 5_000, 5_950, 11_900, 15_000)) | st.integers(1, 20_000)
amounts = st.none() | sums
refunds = st.sampled_from(("ref_1", "ref_2", "ref_3"))
# Few events and few moments, so that they come twice, late and out of order.
told_by = st.none() | st.builds(
    told,
    st.sampled_from(("evt_pay_1", "evt_pay_2", "evt_pay_3")),
    st.integers(0, 3).map(lambda days: NOON + timedelta(days=days)),
)
codes = st.sampled_from(("card_declined", "expired_card"))
items = st.builds(
    lambda id, quantity, cents, tax, discount: item(
        id, quantity=quantity, unit_price=f"{cents / 100:.2f}", tax=tax, discount=discount
    ),
    lines,
    st.sampled_from(("1", "2.5", "0", "-1", "0.333")),
    st.integers(0, 10_000),
    st.sampled_from(TAXES),
    st.none() | st.builds(Discount, percent=st.integers(0, 100)),
)
terms = st.builds(
    Terms,
    customer=st.just(CUSTOMER),
    seller=st.none() | st.just(Seller(id="branch", name="Branch Ltd")),
    days_until_due=st.none() | st.integers(0, 60),
)
draft_commands: st.SearchStrategy[InvoiceCommand] = st.one_of(
    st.builds(AddLine, line=items),
    st.builds(ChangeLine, line=items),
    st.builds(RemoveLine, line=lines.map(LineId)),
    st.builds(
        SetDiscount,
        discount=st.none()
        | st.builds(Discount, percent=st.integers(0, 100))
        | st.builds(Discount, amount=st.integers(0, 90).map(Decimal)),
    ),
    st.builds(AmendDraft, terms=terms),
    st.just(DiscardDraft()),
    st.just(FINALIZE),
)
lasting_commands: st.SearchStrategy[InvoiceCommand] = st.one_of(
    st.builds(
        DraftInvoice,
        invoice=st.just(INVOICE),
        currency=st.sampled_from(("EUR", "JPY")),
        terms=terms,
        tax_rounding=st.sampled_from(TaxRounding),
    ),
    st.builds(
        SetMetadata,
        metadata=st.dictionaries(st.sampled_from("abc"), st.sampled_from(("", "x", "y"))),
    ),
    st.builds(
        RecordDocument,
        document=st.sampled_from("ab").map(
            lambda digit: STORED.model_copy(update={"sha256": digit * 64})
        ),
    ),
    st.sampled_from((SEND, SendInvoice(delivery="mail_2", to="ada@example.com"), VOID, GIVE_UP)),
    st.builds(attempt, payments, amounts),
    st.builds(require_action, payments, st.sampled_from(("pi_1", "pi_2")), told_by),
    st.builds(fail, payments, codes, told_by),
    st.builds(succeed, payments, news=told_by),
    st.builds(record, payments, sums),
    st.builds(attempt_refund, payments, refunds, amounts),
    st.builds(fail_refund, refunds),
    st.builds(refund, payments, refunds, amounts),
    st.builds(credit, st.sampled_from(("cn_1", "cn_2", "cn_3")), amounts),
    st.builds(
        lambda note, line_id, quantity: ApplyCredit(
            credit_note=CreditNoteId(note),
            lines=(CreditLine(line=line_id, quantity=Decimal(quantity)),),
        ),
        st.sampled_from(("cn_1", "cn_2")),
        lines,
        st.sampled_from(("1", "0.5", "-1")),
    ),
    st.builds(withdraw, st.sampled_from(("cn_1", "cn_2", "cn_3"))),
)
news: st.SearchStrategy[InvoiceCommand] = st.builds(
    reconcile,
    st.sampled_from((Status.OPEN, Status.PAID, Status.UNCOLLECTIBLE, Status.VOID)),
    st.sampled_from(("evt_1", "evt_2", "evt_3")),
    st.integers(0, 5).map(lambda days: NOON + timedelta(days=days)),
)
# Money that comes, fails, comes late and goes back, while an outsider tells of it as well.
money_commands: st.SearchStrategy[InvoiceCommand] = st.one_of(
    st.builds(attempt, payments, amounts),
    st.builds(require_action, payments, news=told_by),
    st.builds(fail, payments, codes, told_by),
    st.builds(succeed, payments, news=told_by),
    st.builds(record, payments, sums),
    st.builds(attempt_refund, payments, refunds, amounts),
    st.builds(fail_refund, refunds),
    st.builds(refund, payments, refunds, amounts),
    st.sampled_from((GIVE_UP, VOID)),
    news,
)
own_commands = st.one_of(draft_commands, lasting_commands)
any_command = st.one_of(own_commands, news)
starts = st.sampled_from(
    (OPEN, (*OPEN, ATTEMPTED), DRAFT, GIVEN_UP, (*OPEN, HALF_CREDITED), PAID_UP, (DRAFTED,), ())
)
# Half of it came, and went back: it may come back, whatever the invoice is by then.
HALF_BACK = (recorded(amount=5_000), refunded(amount=5_000, reopened=5_000))
gone = st.sampled_from(((*OPEN, *HALF_BACK), (*GIVEN_UP, *HALF_BACK)))
back_commands: st.SearchStrategy[InvoiceCommand] = st.one_of(
    st.builds(record, st.sampled_from(("bank_2", "bank_3")), sums),
    st.builds(fail_refund, st.sampled_from(("ref_1", "ref_2"))),
    st.builds(refund, st.sampled_from(("bank_1", "bank_2")), st.sampled_from(("ref_1", "ref_2"))),
    st.just(GIVE_UP),
    news,
)


@st.composite
def histories(
    draw: st.DrawFn,
    commands: st.SearchStrategy[InvoiceCommand] = any_command,
    starts: st.SearchStrategy[History] = starts,
) -> History:
    """Draw what came of some commands, after a start or from nothing."""
    return after(draw(starts), draw(st.lists(commands, min_size=4, max_size=25)))


def after(history: History, commands: Iterable[InvoiceCommand]) -> History:
    """The history after these commands; those that are refused leave no trace."""
    invoice = fold(history)
    for command in commands:
        facts = asked(command, invoice)
        invoice = fold(facts, invoice)
        history = (*history, *facts)
    return history


def asked(command: InvoiceCommand, invoice: Invoice | None) -> History:
    """The facts that this makes; none if it is refused."""
    try:
        return decide(command, invoice)
    except (Rejected, NotFound, Malformed):
        return ()
