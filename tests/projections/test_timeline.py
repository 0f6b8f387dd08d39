"""Does every fact have its words, and does the story go on where one of them cannot be read?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.domain.errors import Malformed
from counterfoil.domain.invoice.state import fold
from counterfoil.projections.differences import changes, difference
from counterfoil.projections.paging import Page
from counterfoil.projections.timeline import Asked, Told, Unreadable, cut, entries_of, rests_on
from counterfoil.projections.words import AnyEvent, sentence
from examples import DRAFTED, INVOICE, LINE_ADDED, OPEN, PAID_UP
from golden_facts import FACTS
from histories import History, histories, money_commands
from projections.test_explain import told

EVERY = cast("tuple[AnyEvent, ...]", FACTS)


@pytest.mark.parametrize("fact", EVERY, ids=lambda fact: fact.stored_as)
def test_every_fact_has_words_of_its_own(fact: AnyEvent) -> None:
    says = sentence(fact, "EUR")
    assert says.endswith(".")
    assert "None" not in says
    assert "=" not in says  # a model that was printed as it is
    others = [sentence(other, "EUR") for other in EVERY if other is not fact]
    assert says not in others


def test_every_kind_of_fact_is_tried_above() -> None:
    kinds = {kind for union in get_args(AnyEvent) for kind in (get_args(union) or (union,))}
    assert {type(fact) for fact in FACTS} == kinds


def says(facts: History) -> list[str]:
    return [entry.says for entry in entries_of(INVOICE, [], told(facts))]


def test_a_story_reads_like_one() -> None:
    assert says(PAID_UP)[:4] == [
        "The invoice was drafted for Ada GmbH, in EUR.",
        "Line “Consulting” was added: 2 × 50.00, 100.00 EUR net, 19 % tax.",
        "It was finalized as INV-2026-0001: 119.00 EUR, issued on 2026-03-01.",
        "119.00 EUR came, payment bank_1, reference wire.",
    ]


def test_an_entry_says_what_changed_from_what_to_what() -> None:
    *_, paid = entries_of(INVOICE, [], told(PAID_UP))
    assert [str(change) for change in paid.changes] == ["status: open → paid"]
    *_, received, _ = entries_of(INVOICE, [], told(PAID_UP))
    assert {str(change) for change in received.changes} == {
        "amount paid: 0.00 EUR → 119.00 EUR",
        "amount remaining: 119.00 EUR → 0.00 EUR",
        "payment bank_1: – → 119.00 EUR received",
    }


@given(histories() | histories(money_commands), st.integers(0, 30), st.integers(0, 30))
def test_all_changes_on_the_way_make_the_difference(facts: History, a: int, b: int) -> None:
    first, last = sorted((min(a, len(facts)), min(b, len(facts))))
    states = [fold(facts[:version]) for version in range(first, last + 1)]
    said = {}
    for was, now in pairwise(states):
        for change in changes(was, now):
            if not change.field.startswith("line"):  # lines may share their description
                said[change.field] = change.now
    for change in changes(states[0], states[-1]):
        if not change.field.startswith("line"):
            assert said[change.field] == change.now
    assert changes(states[-1], states[-1]) == ()


@given(histories())
def test_a_difference_forwards_is_the_same_backwards(facts: History) -> None:
    states = [fold(facts[:version]) for version in range(1, len(facts) + 1)]
    for was in states[:3]:
        for now in states[-3:]:
            there = {(c.field, c.was, c.now) for c in difference(was, now) if _not_a_line(c.field)}
            back = {(c.field, c.now, c.was) for c in difference(now, was) if _not_a_line(c.field)}
            assert there == back


def _not_a_line(field: str) -> bool:
    return not field.startswith("line")


# --- what cannot be read ----------------------------------------------------------------------


def unreadable(version: int) -> Unreadable:
    return Unreadable(100 + version, version, "invoice.teleported.v9", "nobody knows it")


@pytest.mark.parametrize("place", range(len(PAID_UP)))
def test_one_unreadable_fact_hides_no_other(place: int) -> None:
    facts: list[Told] = list(told(PAID_UP))
    facts[place] = unreadable(place + 1)
    entries = entries_of(INVOICE, [], facts)
    assert [entry.version for entry in entries] == list(range(1, len(PAID_UP) + 1))
    assert [entry.position for entry in entries if entry.says.startswith("This fact")] == [
        101 + place
    ]
    assert entries[place].problem == "nobody knows it"
    for at, entry in enumerate(entries):
        if at != place and place > 0:  # without its beginning, the currency is not known
            assert entry.says == says(PAID_UP)[at]


def test_a_fact_that_cannot_have_happened_is_told_with_its_problem() -> None:
    entries = entries_of(INVOICE, [], told((*OPEN, LINE_ADDED, DRAFTED)))
    assert [entry.problem is not None for entry in entries] == [False, False, False, True, True]
    assert "cannot happen to an open invoice" in str(entries[3].problem)
    assert entries[3].changes == ()


# --- what need not be read --------------------------------------------------------------------


@given(histories() | histories(money_commands), st.data())
def test_a_page_tells_the_same_without_what_it_does_not_rest_on(
    facts: History, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, len(facts)))
    end = data.draw(st.integers(first, len(facts)))
    whole = told(facts)
    bodies = [(fact.stored_as, Codec().encode(fact)) for fact in facts[:first]]
    needed = rests_on(bodies, whole[first:end])
    assert entries_of(INVOICE, [whole[place] for place in needed], whole[first:end]) == entries_of(
        INVOICE, whole[:first], whole[first:end]
    )


# --- pages ------------------------------------------------------------------------------------


def _page(whole: Sequence[Told], asked: Asked) -> Page[int]:
    """The versions on a page, of what is read for it."""
    versions = [version_in(one) for one in whole]
    read = [version for version in versions if asked.upto is None or version <= asked.upto]
    found = cut(read, asked)
    assert found is not None
    shown = read[found.first : found.end]
    return Page(tuple(reversed(shown) if asked.newest_first else shown), found.more)


def version_in(one: Told) -> int:
    return one.version if isinstance(one, Unreadable) else one.envelope.version


@pytest.mark.parametrize("newest_first", [True, False])
@given(facts=st.integers(1, 30), limit=st.integers(1, 8))
def test_a_walk_in_either_direction_shows_every_entry_once(
    newest_first: bool, facts: int, limit: int
) -> None:
    whole = [unreadable(version) for version in range(1, facts + 1)]
    older, newer = [*range(1, facts + 1)], [*range(1, facts + 1)]
    found = _page(whole, Asked(limit, None, None, newest_first=True))
    while True:
        versions = [*found]
        assert versions == sorted(versions, reverse=True)
        assert [older.pop() for _ in versions] == versions
        if not found.has_more:
            break
        found = _page(whole, Asked(limit, None, versions[-1], newest_first=True))
    assert older == []
    found = _page(whole, Asked(limit, None, None, newest_first=False))
    while True:
        versions = sorted(found)
        assert [newer.pop(0) for _ in versions] == versions
        if not found.has_more:
            break
        asked = Asked(limit, versions[-1], None, newest_first)
        found = _page(whole, asked)
        assert [*found] == sorted(found, reverse=newest_first)
    assert newer == []


@given(st.integers(1, 30), st.integers(1, 8), st.data())
def test_a_page_lies_right_beside_its_cursor(facts: int, limit: int, data: st.DataObject) -> None:
    whole = [unreadable(version) for version in range(1, facts + 1)]
    cursor = data.draw(st.integers(1, facts))
    after = _page(whole, Asked(limit, cursor, None, newest_first=True))
    assert [*after] == [*reversed(range(cursor + 1, min(cursor + limit, facts) + 1))]
    before = _page(whole, Asked(limit, None, cursor, newest_first=True))
    assert [*before] == [*reversed(range(max(cursor - limit, 1), cursor))]
    assert (after.has_more, before.has_more) == (cursor + limit < facts, cursor - limit > 1)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": True}, "limit"),
        ({"after": 1, "before": 2}, "before"),
        ({"after": "1"}, "after"),
        ({"before": -1}, "before"),
        ({"before": 2**70}, "before"),
        ({"newest_first": 1}, "newest_first"),
    ],
)
def test_what_no_page_can_be_is_refused_by_name(asked: dict[str, Any], field: str) -> None:
    usual = {"limit": 10, "after": None, "before": None, "newest_first": True}
    with pytest.raises(Malformed) as refused:
        Asked(**usual | asked)
    assert refused.value.field == field
