"""Can every fact that was ever stored still be read, and is it still written the same way?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from counterfoil.adapters.event_store.codec import KINDS, Codec
from counterfoil.domain.invoice.state import Issued, evolve
from counterfoil.domain.value import Event
from golden_facts import EARLIER, FACTS

if TYPE_CHECKING:
    from counterfoil.domain.invoice.events import InvoiceEvent

GOLDEN = Path(__file__).parents[1] / "golden"
BEFORE = GOLDEN / "earlier"


def test_every_fact_has_an_example() -> None:
    assert {type(fact) for fact in FACTS} == set(KINDS)
    assert len({kind.stored_as for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.stored_as)
def test_a_fact_is_written_as_its_golden_bytes(fact: Event) -> None:
    written = (GOLDEN / f"{fact.stored_as}.json").read_bytes()
    assert Codec().encode(fact) + b"\n" == written


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_golden_bytes_of_every_version_are_read(path: Path) -> None:
    fact = Codec().decode(path.stem, path.read_bytes(), stream="golden", position=1)
    assert fact in FACTS


def test_every_earlier_shape_has_its_fact() -> None:
    assert {fact.stored_as for fact in EARLIER} == {path.stem for path in BEFORE.glob("*.json")}


@pytest.mark.parametrize("fact", EARLIER, ids=lambda fact: fact.stored_as)
def test_a_fact_that_was_stored_before_it_had_more_fields_is_read_with_their_defaults(
    fact: Event,
) -> None:
    written = (BEFORE / f"{fact.stored_as}.json").read_bytes()
    assert Codec().decode(fact.stored_as, written, stream="golden", position=1) == fact
    assert fact not in FACTS


def test_a_life_of_golden_bytes_of_every_version_folds() -> None:
    lived = [
        *("drafted", "line_added", "line_changed", "discount_set", "draft_amended", "metadata_set"),
        *("finalized", "sent", "payment_attempted", "payment_action_required", "payment_failed"),
        *("payment_succeeded", "paid", "refund_attempted", "payment_refunded", "refund_failed"),
        *("credit_applied", "credit_withdrawn", "reconciled", "document_stored"),
    ]
    for folder in (GOLDEN, BEFORE):
        invoice = None
        for name in (f"invoice.{event}.v1" for event in lived):
            path = folder / f"{name}.json"
            written = (path if path.exists() else GOLDEN / path.name).read_bytes()
            fact = Codec().decode(name, written, stream="golden", position=1)
            invoice = evolve(invoice, cast("InvoiceEvent", fact))
        assert isinstance(invoice, Issued)
        assert (len(invoice.payments), len(invoice.failures), len(invoice.returned)) == (1, 1, 1)
