"""Is the past what the facts say, at every version and every time, in both databases?"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.billing import actor
from counterfoil.domain import Customer
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import CorruptHistory, Malformed, NotFound
from counterfoil.domain.invoice.events import InvoiceSent, LineAdded, LineChanged
from counterfoil.domain.ports import Append, Origin
from counterfoil.domain.value import Event
from counterfoil.projections.explain import AMOUNTS
from counterfoil.projections.invoice import Invoice, view_invoice
from examples import line
from projections import worlds
from projections.worlds import NOON, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from counterfoil.billing import Tenant
    from projections.worlds import World


def documents(world: World, tenant: str) -> Sequence[str]:
    return [*world.invoices[tenant], *world.notes.get(tenant, ())]


# --- history ----------------------------------------------------------------------------------


def test_a_story_tells_every_fact_of_a_document_with_who_when_why_and_by_which_command(
    full: World,
) -> None:
    tenant = full.billing.tenant("a")
    for name in documents(full, "a"):
        told = full.billing.log.read("a", name)
        story = [*tenant.history(name, limit=100, newest_first=False)]
        assert [*reversed(story)] == [*tenant.history(name, limit=100)]
        for entry, fact in zip(story, told, strict=True):
            envelope = fact.envelope
            assert (entry.position, entry.version) == (envelope.position, envelope.version)
            assert (entry.type, entry.recorded_at) == (envelope.type, envelope.recorded_at)
            assert entry.actor == f"{envelope.actor.type.value}:{envelope.actor.id}"
            assert (entry.command_id, entry.hash) == (envelope.command_id, envelope.hash.hex())
            assert entry.cause == envelope.causation_id
            assert entry.problem is None
            assert entry.says.endswith(".")


def test_a_story_says_who_it_was(world: World) -> None:
    with actor("user", "u_42", cause="order_1"):
        invoice = world.billing.tenant("a").draft_invoice(
            customer=worlds.CUSTOMERS[0], currency="EUR"
        )
    (entry,) = world.billing.tenant("a").history(invoice.id)
    assert (entry.actor, entry.cause) == ("user:u_42", "order_1")


def test_a_series_has_a_story_too(full: World) -> None:
    for series in full.billing.tenant("a").series.all():
        story = full.billing.tenant("a").history(f"series:{series.series}", newest_first=False)
        opened, first, *_ = story
        assert opened.says.startswith(f"Series {series.series} was opened for ")
        assert " went to " in first.says


@pytest.mark.parametrize(
    ("type_name", "body"),
    [
        ("invoice.teleported.v1", b"{}"),
        ("invoice.sent.v99", b'{"to":5}'),
        ("invoice.sent.v1", b"{"),
        ("invoice.sent.v1", b"\xff\xfe"),
        ("invoice.payment_succeeded.v1", b'{"payment":"p","amount":1.5}'),
        ("invoice.drafted.v1", b"null"),
    ],
)
def test_a_fact_that_nobody_can_read_is_said_by_position_and_hides_nothing(
    world: World, type_name: str, body: bytes
) -> None:
    world.live((Step(0, "draft", 0, 3), Step(0, "finalize", 0, 0)))
    (invoice,) = world.invoices["a"]
    tenant = world.billing.tenant("a")
    before = [*tenant.history(invoice, newest_first=False)]
    position = worlds.insert_fact(world, "a", invoice, type_name, body)
    worlds.insert_fact(
        world, "a", invoice, "invoice.sent.v1", b'{"delivery":"d","to":"ada@example.com"}'
    )
    *known, lost, sent = tenant.history(invoice, newest_first=False)
    assert known == before
    assert (lost.position, lost.type, lost.actor) == (position, type_name, "system:test")
    assert lost.problem is not None
    assert f"position {position}" in lost.problem
    assert (sent.says, sent.problem) == ("It was sent to ada@example.com.", None)
    assert [str(change) for change in sent.changes] == ["sent to: – → ada@example.com"]
    with pytest.raises(CorruptHistory, match=f"position {position}"):
        tenant.invoice_as_of(invoice, version=lost.version)
    assert tenant.invoice_as_of(invoice, version=lost.version - 1).status == "open"


def test_a_version_or_a_document_that_there_is_not_is_said(full: World) -> None:
    tenant = full.billing.tenant("a")
    name = full.invoices["a"][0]
    cursors: tuple[dict[str, Any], ...] = ({"after": 999}, {"before": 999}, {"after": 0})
    for asked in cursors:
        with pytest.raises(NotFound, match=f"version {next(iter(asked.values()))} of {name}"):
            tenant.history(name, **asked)
    for other in ("in_nope", "cn_nope", "series:nope", "nope", "", "in_\0", full.invoices["b"][0]):
        if other not in full.invoices["a"]:
            with pytest.raises(NotFound):
                tenant.history(other)


# --- as of ------------------------------------------------------------------------------------


lives = worlds.lives


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives, back=st.lists(st.integers(-3, 3), min_size=60, max_size=60))
def test_as_of_any_version_or_time_is_the_fold_of_the_first_facts(
    life: Sequence[Step], back: Sequence[int]
) -> None:
    with worlds.opened(":memory:") as world:
        for step, hours in zip(life, back, strict=False):
            world.happen(step)
            world.clock.now += timedelta(hours=hours)  # a clock may be set back
        for tenant in ("a", "b"):
            for name in world.invoices.get(tenant, ()):
                holds_as_of(world, tenant, name)


def holds_as_of(world: World, name: str, invoice: str) -> None:
    tenant = world.billing.tenant(name)
    facts: Any = world.billing.log.read(name, invoice)
    for version in range(1, len(facts) + 1):
        folded = view_invoice(facts[:version])
        assert shown(tenant, invoice, version=version) == folded
    times = {fact.envelope.recorded_at for fact in facts}
    for at in sorted({*times, *(time - timedelta(microseconds=1) for time in times)}):
        # The first facts up to the first that came later: what was recorded by a clock set back
        # after that was not known yet.
        known = []
        for fact in facts:
            if fact.envelope.recorded_at > at:
                break
            known.append(fact)
        assert shown(tenant, invoice, at=at) == (view_invoice(known) if known else None)


def shown(tenant: Tenant, invoice: str, **asked: Any) -> Invoice | None:
    try:
        return tenant.invoice_as_of(invoice, **asked)
    except NotFound:
        return None


def test_the_newest_version_is_the_invoice_as_it_is(full: World) -> None:
    for name in ("a", "b"):
        tenant = full.billing.tenant(name)
        now = {invoice.id: invoice for invoice in tenant.invoices.all()}
        for invoice in now.values():
            assert tenant.invoice_as_of(invoice.id, version=invoice.version) == invoice
        assert {one.id: one for one in tenant.invoices_as_of(full.clock.now)} == now


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "at"),
        ({"at": NOON, "version": 1}, "at"),
        ({"at": NOON.replace(tzinfo=None)}, "at"),
        ({"at": "2026-11-20"}, "at"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(
    full: World, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(Malformed) as refused:
        full.billing.tenant("a").invoice_as_of(full.invoices["a"][0], **asked)
    assert refused.value.field == field


def test_before_its_first_fact_there_is_no_invoice(full: World) -> None:
    tenant, name = full.billing.tenant("a"), full.invoices["a"][0]
    (*_, first) = tenant.history(name, limit=100)
    assert first.recorded_at is not None
    with pytest.raises(NotFound):
        tenant.invoice_as_of(name, at=first.recorded_at - timedelta(microseconds=1))
    with pytest.raises(NotFound):
        tenant.invoice_as_of(name, version=0)
    with pytest.raises(NotFound):
        tenant.invoice_as_of(name, version=99)
    assert tenant.invoice_as_of(name, at=first.recorded_at).version >= 1


def moments(world: World, tenant: str) -> list[datetime]:
    times = {
        entry.recorded_at
        for name in world.invoices[tenant]
        for entry in world.billing.tenant(tenant).history(name, limit=100)
        if entry.recorded_at is not None
    }
    return sorted({*times, *(time - timedelta(microseconds=1) for time in times)})


@pytest.mark.parametrize("back", [timedelta(), timedelta(hours=30)])
def test_lists_and_ageing_as_of_a_day_agree(world: World, back: timedelta) -> None:
    for place, step in enumerate(worlds.FULL_LIFE):
        world.happen(step)
        world.clock.now += timedelta(hours=9) if place % 4 else -back
    for name in ("a", "b"):
        tenant = world.billing.tenant(name)
        owed_once = Counter[str]()
        for days in range(0, 60, 2):
            day = (NOON - timedelta(days=1) + timedelta(days=days)).date()
            end = datetime.combine(day, NOON.timetz()).replace(hour=0) + timedelta(days=1)
            at = end - timedelta(microseconds=1)
            owed = Counter[str]()
            for invoice in tenant.invoices_as_of(at, status="open"):
                owed[invoice.currency] += invoice.amount_remaining
            aged = {one.currency: one.total for one in tenant.ageing.as_of(day)}
            # Paid by news of an outsider, and refunded since: no longer open, and still owed.
            for invoice in tenant.invoices_as_of(at, status="paid"):
                owed[invoice.currency] += invoice.amount_remaining
            assert {code: sum_ for code, sum_ in owed.items() if sum_} == {
                code: sum_ for code, sum_ in aged.items() if sum_
            }, day
            owed_once += owed
        assert owed_once


def test_lists_as_of_a_time_are_those_of_single_invoices(full: World) -> None:
    tenant = full.billing.tenant("a")
    for at in moments(full, "a"):
        there = [shown(tenant, name, at=at) for name in sorted(full.invoices["a"])]
        expected = [invoice for invoice in there if invoice is not None]
        assert [*tenant.invoices_as_of(at)] == expected
        for status in ("draft", "open", "paid", "void", "uncollectible"):
            assert [*tenant.invoices_as_of(at, status=status)] == [
                invoice for invoice in expected if invoice.status == status
            ]
        of_one = [*tenant.invoices_as_of(at, customer="cus_1")]
        assert of_one == [invoice for invoice in expected if invoice.customer.id == "cus_1"]


def test_a_list_as_of_a_time_refuses_what_it_cannot_understand(full: World) -> None:
    tenant = full.billing.tenant("a")
    for asked in ({"status": "lost"}, {"status": "discarded"}, {"customer": ""}):
        with pytest.raises(Malformed):
            tenant.invoices_as_of(NOON, **asked)
    with pytest.raises(Malformed):
        tenant.invoices_as_of(NOON.replace(tzinfo=None))


# --- differences and reasons ------------------------------------------------------------------


def test_a_difference_names_field_from_and_to(world: World) -> None:
    tenant = world.billing.tenant("a")
    invoice = tenant.draft_invoice(
        customer=Customer(id="cus_1", name="Ada GmbH"), currency="EUR", lines=[worlds._line(5, "x")]
    )
    tenant.finalize_invoice(invoice.id)
    paid = tenant.record_payment(invoice.id, amount="1.00")
    said = {change.field: (change.was, change.now) for change in tenant.diff(invoice.id, 1, 3)}
    assert said["status"] == ("draft", "open")
    assert said["number"] == (None, paid.number)
    assert said["line “Wörk x”"][0] is None
    assert said["total"] == ("0.00 EUR", str(paid.money("total")))
    later = {change.field: (change.was, change.now) for change in tenant.diff(invoice.id, 3, 4)}
    assert later["amount paid"] == ("0.00 EUR", "1.00 EUR")
    assert tenant.diff(invoice.id, 4, 4) == ()
    for versions in ((0, 1), (1, 99), (99, 1)):
        with pytest.raises(NotFound):
            tenant.diff(invoice.id, *versions)


def test_every_amount_that_is_shown_is_explained_and_agrees(full: World) -> None:
    tenant = full.billing.tenant("a")
    for invoice in tenant.invoices.all():
        for name in AMOUNTS:
            why = tenant.explain(invoice.id, name)
            assert (why.stored, why.agrees) == (getattr(invoice, name), True)
    with pytest.raises(NotFound):
        tenant.explain("in_nope", "tax")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lines", "sent", "changed"])
def test_a_page_of_ten_thousand_facts_costs_little_more_than_reading_their_rows(kind: str) -> None:
    with worlds.opened(":memory:", "async") as world:
        tenant = world.billing.tenant("a")
        invoice = tenant.draft_invoice(
            customer=worlds.CUSTOMERS[0], currency="EUR", lines=[worlds._line(5, "x")]
        ).id
        if kind == "sent":
            tenant.finalize_invoice(invoice)
        origin = Origin(NOON, Actor(type="system", id="t"), "cmd")
        with world.billing.log.transaction("a") as transaction:
            transaction.append([Append(transaction.read(invoice), LONG[kind])], origin, None)
        began = perf_counter()
        rows = world.billing.log.read("a", invoice)
        reading_s = perf_counter() - began
        began = perf_counter()
        page = tenant.history(invoice, limit=100)
        telling_s = perf_counter() - began
        assert [entry.version for entry in page] == [
            row.envelope.version for row in reversed(rows[-100:])
        ]
        assert len(rows) > 10_000
        assert telling_s < 3 * reading_s  # it took a hundred times as long to fold all of it


LONG: dict[str, list[Event]] = {
    "lines": [LineAdded(line=line(f"li_{place}")) for place in range(10_000)],
    "sent": [InvoiceSent(delivery=f"m_{place}", to="a@example.com") for place in range(10_000)],
    "changed": [
        *(LineAdded(line=line(f"li_{place}")) for place in range(5_000)),
        *(LineChanged(line=line(f"li_{place}", quantity="3")) for place in range(5_000)),
    ],
}
