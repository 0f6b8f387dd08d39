"""May every fact follow one history and not another, and are the examples what the domain makes?"""

from __future__ import annotations

from typing import get_args

import pytest

from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.invoice.commands import (
    AddLine,
    DiscardDraft,
    InvoiceCommand,
    RecordDocument,
)
from counterfoil.domain.invoice.events import (
    DiscountSet,
    DraftAmended,
    InvoiceEvent,
    LineChanged,
    LineRemoved,
    MetadataSet,
    Status,
)
from counterfoil.domain.invoice.state import evolve, fold
from counterfoil.domain.value import LineId
from examples import (
    ACTION_REQUIRED,
    ATTEMPTED,
    CREDITED,
    DISCARDED,
    DRAFT,
    DRAFTED,
    FAILED,
    FINALIZE,
    FINALIZED,
    GIVE_UP,
    GIVEN_UP,
    HALF_CREDITED,
    LINE_ADDED,
    MARKED_UNCOLLECTIBLE,
    NOTHING_DUE,
    OPEN,
    PAID,
    PAID_UP,
    RECORDED,
    SEND,
    SENT,
    STORED,
    SUCCEEDED,
    TERMS,
    VOID,
    VOIDED,
    VOIDED_UP,
    WITHDRAWN,
    applied,
    attempt,
    attempt_refund,
    credit,
    draft,
    fail,
    fail_refund,
    item,
    line,
    reconcile,
    reconciled,
    record,
    refund,
    refund_attempted,
    refund_failed,
    refunded,
    require_action,
    succeed,
    succeeded,
    withdraw,
)
from histories import History, after

# --- every fact -----------------------------------------------------------------------------

# One example of every fact, with a history that it may follow and one that it may not.
FACTS: dict[type[InvoiceEvent], tuple[InvoiceEvent, History, History]] = {
    type(fact): (fact, before, never)
    for fact, before, never in (
        (DRAFTED, (), DRAFT),
        (LINE_ADDED, (DRAFTED,), OPEN),
        (LineChanged(line=line(amount=1)), DRAFT, OPEN),
        (LineRemoved(line=LineId("line_1")), DRAFT, OPEN),
        (DiscountSet(discount=None), DRAFT, OPEN),
        (DraftAmended(terms=TERMS), DRAFT, OPEN),
        (MetadataSet(metadata={}), OPEN, (*DRAFT, DISCARDED)),
        (DISCARDED, DRAFT, OPEN),
        (FINALIZED, DRAFT, OPEN),
        (SENT, OPEN, DRAFT),
        (ATTEMPTED, OPEN, DRAFT),
        (ACTION_REQUIRED, (*OPEN, ATTEMPTED), DRAFT),
        (FAILED, (*OPEN, ATTEMPTED), DRAFT),
        (SUCCEEDED, (*OPEN, ATTEMPTED), DRAFT),
        (PAID, (*OPEN, RECORDED), DRAFT),
        (refund_attempted(amount=1), PAID_UP, DRAFT),
        (refund_failed(), (*PAID_UP, refund_attempted(amount=1)), DRAFT),
        (refunded(amount=1, reopened=0), PAID_UP, DRAFT),
        (MARKED_UNCOLLECTIBLE, OPEN, DRAFT),
        (VOIDED, OPEN, DRAFT),
        (HALF_CREDITED, OPEN, DRAFT),
        (WITHDRAWN, (*OPEN, HALF_CREDITED), DRAFT),
        (reconciled(Status.VOID), OPEN, DRAFT),
        (STORED, OPEN, (*DRAFT, DISCARDED)),
    )
}


@pytest.mark.parametrize("kind", get_args(InvoiceEvent), ids=lambda one: one.stored_as)
def test_every_fact_may_follow_one_history_and_not_another(kind: type[InvoiceEvent]) -> None:
    fact, before, never = FACTS[kind]
    assert evolve(fold(before), fact) == fold((*before, fact))
    for impossible in (never, (*DRAFT, DISCARDED), () if before else DRAFT):
        with pytest.raises(CorruptHistory) as corrupt:
            evolve(fold(impossible), fact)
        assert fact.stored_as in str(corrupt.value)


def test_a_corrupt_history_names_its_stream() -> None:
    for history, fact in ((DRAFT, SENT), (OPEN, LINE_ADDED), ((*DRAFT, DISCARDED), LINE_ADDED)):
        with pytest.raises(CorruptHistory) as corrupt:
            fold((*history, fact))
        assert corrupt.value.stream == "inv_1"


def test_every_fact_has_a_name_of_its_own_and_a_version() -> None:
    names = [kind.stored_as for kind in get_args(InvoiceEvent)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("invoice.") and name.endswith(".v1") for name in names)


# --- the examples are honest ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "history"),
    [
        ((draft(), AddLine(line=item())), DRAFT),
        ((draft(item()), DiscardDraft()), (*DRAFT, DISCARDED)),
        ((draft(item()), FINALIZE), OPEN),
        ((draft(item()), FINALIZE, SEND), (*OPEN, SENT)),
        ((draft(item()), FINALIZE, record()), PAID_UP),
        ((draft(item()), FINALIZE, GIVE_UP), GIVEN_UP),
        ((draft(item()), FINALIZE, VOID), VOIDED_UP),
        (
            (draft(item()), FINALIZE, attempt(), require_action(), fail()),
            (*OPEN, ATTEMPTED, ACTION_REQUIRED, FAILED),
        ),
        ((draft(item()), FINALIZE, attempt(), succeed()), (*OPEN, ATTEMPTED, SUCCEEDED, PAID)),
        (
            (draft(item()), FINALIZE, credit(amount=5_950), withdraw()),
            (*OPEN, HALF_CREDITED, WITHDRAWN),
        ),
        ((draft(item()), FINALIZE, credit()), (*OPEN, applied(before_payment=11_900), CREDITED)),
        (
            (draft(item()), FINALIZE, record(), refund(amount=1)),
            (*PAID_UP, refunded(amount=1, reopened=0)),
        ),
        (
            (draft(item()), FINALIZE, record(), attempt_refund(amount=1), fail_refund()),
            (*PAID_UP, refund_attempted(amount=1), refund_failed()),
        ),
        (
            (draft(item()), FINALIZE, attempt(), fail(), succeed()),
            (*OPEN, ATTEMPTED, FAILED, SUCCEEDED, PAID),
        ),
        (
            (draft(item()), FINALIZE, attempt(), reconcile(Status.PAID), succeed()),
            (
                *OPEN,
                ATTEMPTED,
                reconciled(Status.PAID, settled=11_900),
                succeeded(settled_before=11_900),
            ),
        ),
        (
            (draft(item()), FINALIZE, RecordDocument(document=STORED)),
            (*OPEN, STORED),
        ),
    ],
    ids=lambda one: type(one[-1]).__name__,
)
def test_an_example_is_what_the_domain_makes(
    commands: tuple[InvoiceCommand, ...], history: History
) -> None:
    assert after((), commands) == history


def test_a_free_invoice_is_the_example_of_nothing_due() -> None:
    free = item(unit_price="0.00")
    *_, last = after((), (draft(free), FINALIZE))
    assert last == NOTHING_DUE
