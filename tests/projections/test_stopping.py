"""Does a read model stop at what it cannot understand, say where, and go on when it can?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.upcasters import Upcaster
from counterfoil.domain.errors import CorruptHistory, Unavailable
from counterfoil.projections.catalogue import PROJECTIONS
from projections import worlds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.worlds import World
    from support.databases import Place

OF_INVOICES = {name for name, one in PROJECTIONS.items() if one.kind == "invoice"}
OTHERS = PROJECTIONS.keys() - OF_INVOICES


@pytest.fixture
def behind(place: Place) -> Iterator[World]:
    """A database whose read models follow, with some life in it that they have taken in."""
    with worlds.after(_taken_in, place, "async") as world:
        yield world


def _taken_in(world: World) -> None:
    world.live(worlds.FULL_LIFE[:30])
    world.billing.projections.run()


def stopped(world: World) -> dict[str, int | None]:
    """The read models that stand still, and at which position."""
    return {
        one.name: one.problem_position
        for one in world.billing.projections.status()
        if one.state == "stopped"
    }


def held_at(world: World, position: int, names: set[str]) -> None:
    """Assert that these, and no others, stand before this position, and say so."""
    before = worlds.dump(world)
    assert stopped(world) == dict.fromkeys(names, position)
    for one in world.billing.projections.status():
        if one.name in names:
            assert one.position == position - 1
            assert one.lag > 0
            assert one.problem is not None
            assert f"position {position}" in one.problem
        else:
            assert (one.lag, one.problem) == (0, None)
    world.billing.projections.run()
    assert worlds.dump(world) == before
    assert stopped(world) == dict.fromkeys(names, position)


def test_a_fact_of_an_unknown_type_stops_all_until_it_is_known(
    behind: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoice = behind.invoices["b"][0]
    behind.live(worlds.FULL_LIFE[:5])
    position = worlds.insert_fact(behind, "b", invoice, "invoice.blessed.v1", b'{"metadata":{}}')
    behind.live(worlds.FULL_LIFE[:5], "later")
    behind.billing.projections.run()
    held_at(behind, position, set(PROJECTIONS))
    with pytest.raises(Unavailable, match="invoice\\.blessed"):
        behind.billing.projections.wait(position)
    # The upgrade: the same fact, known under that name.
    known = behind.billing.log.codec._kinds
    monkeypatch.setitem(known, "invoice.blessed.v1", known["invoice.metadata_set.v1"])
    from counterfoil.projections import invoice_fold

    told = invoice_fold._TOLD
    monkeypatch.setitem(told, "invoice.blessed.v1", told["invoice.metadata_set.v1"])
    behind.billing.projections.run()
    assert stopped(behind) == {}
    assert worlds.differences(behind) == []
    assert {one.lag for one in behind.billing.projections.status()} == {0}


def test_an_upcaster_teaches_a_type_too(behind: World) -> None:
    old = Upcaster("invoice.metadata_set.v0", lambda body: {"metadata": body["said"]})
    position = worlds.insert_fact(
        behind, "b", behind.invoices["b"][0], old.of, b'{"said":{"old":"yes"}}'
    )
    behind.billing.projections.run()
    held_at(behind, position, set(PROJECTIONS))
    behind.billing.log.codec = Codec(upcasters=(old,))
    behind.billing.projections.run()
    assert stopped(behind) == {}
    behind.billing.projections.rebuild()
    found = worlds.rows(behind, "SELECT value FROM invoice_metadata WHERE name = 'old'")
    assert found == [("yes",)]
    assert worlds.differences(behind) == []


ABSURD: dict[str, tuple[str, str, bytes | str]] = {
    "a fact before the first": ("in_new", "invoice.voided.v1", b'{"reason":null}'),
    "paid as a draft": ("draft", "invoice.paid.v1", b'{"reason":"payment"}'),
    "drafted twice": ("draft", "invoice.drafted.v1", b"{}"),
    "a stranger in a stream": ("draft", "series.number_assigned.v1", b"{}"),
    "a body without fields": ("draft", "invoice.metadata_set.v1", b"{}"),
    "a body that is a list": ("draft", "invoice.metadata_set.v1", b"[1]"),
    "a body that is null": ("draft", "invoice.metadata_set.v1", b"null"),
    "no JSON": ("draft", "invoice.metadata_set.v1", b"{"),
    "no UTF-8": ("draft", "invoice.metadata_set.v1", b'{"metadata":{"a":"\xff"}}'),
    "a surrogate": ("draft", "invoice.metadata_set.v1", b'{"metadata":{"a":"\\ud800"}}'),
    "metadata that is a number": ("draft", "invoice.metadata_set.v1", b'{"metadata":5}'),
    "a value that is a number": ("draft", "invoice.metadata_set.v1", b'{"metadata":{"a":5}}'),
    "a value that is null": ("draft", "invoice.metadata_set.v1", b'{"metadata":{"a":null}}'),
    "a line that is empty": ("draft", "invoice.line_added.v1", b'{"line":{}}'),
    "terms that are empty": ("draft", "invoice.draft_amended.v1", b'{"terms":{}}'),
    "an amount that is text": ("open", "invoice.payment_succeeded.v1", "amount:'1'"),
    "an amount that is null": ("open", "invoice.payment_succeeded.v1", "amount:null"),
    "an amount with a fraction": ("open", "invoice.payment_succeeded.v1", "amount:1.5"),
    "an amount beyond all bounds": ("open", "invoice.payment_succeeded.v1", "amount:1e30"),
    "a refund of no payment": (
        "open",
        "invoice.payment_refunded.v1",
        b'{"payment":"x","refund":"y","amount":1,"reopened":1,"reason":null,"reference":null}',
    ),
    "a status that there is not": (
        "open",
        "invoice.reconciled.v1",
        b'{"status":"lost","settled":0,"provider":"p","provider_event":"e"}',
    ),
    "a credit note that was not applied": (
        "open",
        "invoice.credit_withdrawn.v1",
        b'{"credit_note":"cn_nope"}',
    ),
}


def absurd(world: World, what: str) -> int:
    """Put it into the log, and return its position."""
    where, type_name, said = ABSURD[what]
    stream = where
    if where in {"draft", "open"}:
        ((found,),) = worlds.rows(
            world, f"SELECT min(id) FROM invoices WHERE tenant = 'a' AND status = '{where}'"
        )
        stream = str(found)
    body = said if isinstance(said, bytes) else _payment(said.partition(":")[2])
    return worlds.insert_fact(world, "a", stream, type_name, body)


def _payment(amount: str) -> bytes:
    number = {"'1'": '"1"', "1e30": "1" + 30 * "0"}.get(amount, amount)
    return (
        f'{{"payment":"p","amount":{number},"surplus":0,"processor":null,"reference":null,'
        '"received_at":null}'
    ).encode()


@pytest.mark.slow
@pytest.mark.parametrize("what", ABSURD)
def test_an_absurd_fact_stops_whom_it_concerns_and_the_others_go_on(
    behind: World, what: str
) -> None:
    behind.live([worlds.Step(0, "draft", 0, 3), worlds.Step(0, "draft", 0, 3)])
    behind.live([worlds.Step(0, "finalize", len(behind.invoices["a"]) - 1, 0)])
    behind.billing.projections.run()
    position = absurd(behind, what)
    behind.live(worlds.FULL_LIFE[:11], "later")
    behind.billing.projections.run()
    found = stopped(behind)
    assert found, "nothing has stopped"
    assert set(found.values()) == {position}
    unreadable = what in {"no JSON", "no UTF-8", "a surrogate"}
    if not unreadable:
        assert not found.keys() & OTHERS, "what it does not concern has stopped"
    held_at(behind, position, set(found))


@pytest.mark.parametrize("what", ["no JSON", "no UTF-8", "paid as a draft"])
def test_a_verification_and_a_rebuild_name_the_place_of_an_absurd_fact(
    behind: World, what: str
) -> None:
    behind.billing.projections.keep("inline")
    position = absurd(behind, what)
    before = worlds.dump(behind)
    with pytest.raises(CorruptHistory, match=f"position {position}"):
        behind.billing.projections.verify("invoices")
    with pytest.raises(CorruptHistory, match=f"position {position}"):
        behind.billing.projections.rebuild("invoices")
    assert worlds.dump(behind) == before


def test_what_has_stopped_goes_on_when_the_fact_is_gone(behind: World) -> None:
    position = worlds.insert_fact(behind, "a", "in_bad", "invoice.voided.v1", b'{"reason":null}')
    behind.billing.projections.run()
    assert stopped(behind)
    worlds.delete_fact(behind, position)
    behind.live(worlds.FULL_LIFE, "later")
    behind.billing.projections.run()
    assert stopped(behind) == {}
    assert worlds.differences(behind) == []


def test_a_series_that_was_never_opened_stops_the_series_alone(behind: World) -> None:
    body = b'{"place":1,"number":"1","document":"in_1","issued_on":"2026-01-01"}'
    position = worlds.insert_fact(behind, "a", "series:x", "series.number_assigned.v1", body)
    behind.live(worlds.FULL_LIFE, "later")
    behind.billing.projections.run()
    held_at(behind, position, {"series"})


def test_a_credit_note_that_was_never_issued_stops_the_credit_notes_alone(behind: World) -> None:
    position = worlds.insert_fact(behind, "a", "cn_x", "credit_note.voided.v1", b'{"reason":null}')
    behind.live(worlds.FULL_LIFE, "later")
    behind.billing.projections.run()
    held_at(behind, position, {"credit_notes"})
