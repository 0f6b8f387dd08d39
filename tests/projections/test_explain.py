"""Is every amount explained by facts and rules, and found out where it is not what they make?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given

from counterfoil.domain.envelope import Actor, ActorType, Envelope, Recorded
from counterfoil.domain.errors import Malformed
from counterfoil.domain.invoice.events import InvoiceEvent, InvoiceFinalized
from counterfoil.projections.explain import AMOUNTS, RULES, explained
from counterfoil.projections.invoice import view_invoice
from examples import (
    DRAFTED,
    FINALIZED,
    INVOICE,
    LINE_ADDED,
    OPEN,
    PAID_UP,
    TOTALS,
    recorded,
    refund_failed,
    refunded,
)
from histories import History, back_commands, histories, money_commands

BEGAN = datetime(2026, 11, 20, 12, tzinfo=UTC)


def told(facts: History) -> list[Recorded[InvoiceEvent]]:
    return [
        Recorded(
            Envelope(
                tenant="acme",
                stream=INVOICE,
                version=version,
                position=100 + version,
                type=fact.stored_as,
                recorded_at=BEGAN + timedelta(hours=version),
                actor=Actor(type=ActorType.USER, id="u_1"),
                command_id=f"cmd_{version}",
                causation_id=None,
                correlation_id=None,
                hash=bytes(32),
            ),
            fact,
        )
        for version, fact in enumerate(facts, 1)
    ]


@given(histories() | histories(money_commands) | histories(back_commands))
def test_every_amount_of_every_invoice_is_worked_out_anew_and_agrees(facts: History) -> None:
    invoice = view_invoice(told(facts)) if facts else None
    if invoice is None:
        return
    for name in AMOUNTS:
        found = explained(told(facts), name)
        assert found.recomputed == getattr(invoice, name), (name, found.steps)
        assert found.agrees
        assert {rule.name for rule in found.rules} <= RULES.keys()
        versions = {version for step in found.steps for version in step.versions}
        assert {source.version for source in found.facts} == versions


def test_a_tax_is_explained_by_its_lines_its_rate_and_their_rules() -> None:
    found = explained(told(OPEN), "tax")
    assert [(step.says, step.rule, step.versions) for step in found.steps] == [
        ("“Consulting”: 2 × 50.00 = 100.00 EUR", "BT-131", (2,)),
        ("subtotal = 100.00 EUR", "BR-CO-10", ()),
        ("tax on 19 % tax (“Consulting”): 100.00 EUR × 19 % = 19.00 EUR", "BR-CO-17", (1, 2)),
        ("tax = 19.00 EUR", "BR-CO-14", ()),
    ]
    assert [(source.version, source.position) for source in found.facts] == [(1, 101), (2, 102)]
    assert (found.stored, found.recomputed, found.agrees) == (1_900, 1_900, True)


def test_what_remains_names_the_payment_that_lowered_it() -> None:
    found = explained(told(PAID_UP), "amount_remaining")
    assert "invoice.payment_succeeded.v1" in {source.type for source in found.facts}
    assert (found.stored, found.agrees) == (0, True)


def test_a_refund_that_came_back_is_paid_again_as_far_as_it_is_owed() -> None:
    half = recorded(amount=5_000)
    went, back = refunded(amount=2_000, reopened=2_000), refund_failed("bank_1")
    for history in ((*OPEN, half, went, back), (*OPEN, half, went, back, refunded(
        refund="ref_2", amount=5_000, reopened=5_000
    ))):  # fmt: skip
        found = explained(told(history), "amount_paid")
        assert (found.agrees, found.stored) == (True, found.recomputed)
        assert "invoice.refund_failed.v1" in {source.type for source in found.facts}


@pytest.mark.parametrize("name", ["tax", "total", "amount_due", "amount_remaining"])
def test_a_stored_total_that_its_lines_do_not_make_does_not_agree(name: str) -> None:
    wrong = TOTALS.model_copy(update={"tax": 1_901, "total": 11_901})
    doctored: InvoiceFinalized = FINALIZED.model_copy(update={"totals": wrong})
    found = explained(told((DRAFTED, LINE_ADDED, doctored)), name)
    assert not found.agrees
    assert found.stored - found.recomputed == 1


def test_an_amount_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(Malformed, match="one of subtotal, total_discount, tax"):
        explained(told(OPEN), "vat")
