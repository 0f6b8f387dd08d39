"""Do read models read what the domain stores? Each view is held against the fact that it views."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from counterfoil.adapters.event_store.codec import KINDS, Codec
from counterfoil.domain.credit_note.events import (
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.invoice.events import InvoiceDrafted
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.value import Event
from counterfoil.projections import facts
from counterfoil.projections.invoice_fold import TELLS, read_invoice
from golden_facts import EARLIER, FACTS

EARLIER_BYTES = Path(__file__).parents[1] / "golden" / "earlier"
VIEWS: dict[type[Event], type[msgspec.Struct]] = {
    **{kind: view for kind, (_, view, _) in TELLS.items()},
    InvoiceDrafted: facts.InvoiceDrafted,
    CreditNoteIssued: facts.CreditNoteIssued,
    CreditNoteStored: facts.Nothing,
    CreditNoteVoided: facts.Nothing,
    SeriesOpened: facts.SeriesOpened,
    NumberAssigned: facts.NumberAssigned,
}


def test_every_fact_has_a_view() -> None:
    assert set(VIEWS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.stored_as)
def test_a_view_shows_nothing_that_the_fact_does_not_have(kind: type[Event]) -> None:
    assert set(VIEWS[kind].__struct_fields__) <= set(kind.model_fields)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.stored_as)
def test_a_view_says_what_the_fact_says(fact: Event) -> None:
    shown = msgspec.to_builtins(
        msgspec.json.decode(Codec().encode(fact), type=VIEWS[type(fact)]), enc_hook=parsed
    )
    said = fact.model_dump(mode="json")
    assert within(shown, said)


@pytest.mark.parametrize("fact", EARLIER, ids=lambda fact: fact.stored_as)
def test_a_view_reads_what_was_stored_before_the_fact_had_more_fields(fact: Event) -> None:
    written = (EARLIER_BYTES / f"{fact.stored_as}.json").read_bytes()
    seen = msgspec.json.decode(written, type=VIEWS[type(fact)])
    assert seen == msgspec.json.decode(Codec().encode(fact), type=VIEWS[type(fact)])


def test_facts_of_an_invoice_that_are_read_together_say_what_each_says() -> None:
    of_invoices = [fact for fact in FACTS if fact.stored_as.startswith("invoice.")]
    rows = [
        (fact.stored_as, version, 10 + version, 100 + version, msgspec.Raw(Codec().encode(fact)))
        for version, fact in enumerate(of_invoices, 1)
    ]
    together = read_invoice(msgspec.json.encode(rows))
    assert [(one.type, one.version, one.position, one.at) for one in together] == [
        row[:4] for row in rows
    ]
    for fact, one in zip(of_invoices, together, strict=True):
        alone = msgspec.json.decode(Codec().encode(fact), type=VIEWS[type(fact)])
        assert said(one.body) == said(alone)


def said(view: object) -> object:
    return msgspec.to_builtins(view, enc_hook=parsed)


def parsed(raw: object) -> object:
    assert isinstance(raw, msgspec.Raw)
    return msgspec.json.decode(raw)


def within(shown: object, said: object) -> bool:
    """Whether all that is shown is said so, whatever else is said."""
    match shown, said:
        case dict(), dict():
            return all(within(value, said[name]) for name, value in shown.items())
        case list(), list():
            return len(shown) == len(said) and all(map(within, shown, said))
        case _:
            return shown == said
