"""Is every question answered from the tables as it would be from the facts, and by an index?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import partial
from itertools import combinations, islice
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.read_models.postgres import PostgresStore
from counterfoil.adapters.read_models.sqlite import SQLiteStore
from counterfoil.billing import Billing, Range, Tenant
from counterfoil.domain import Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.errors import Conflict, Malformed, NotFound, Unavailable
from counterfoil.domain.invoice.commands import InvoiceCommand
from counterfoil.domain.invoice.events import Status
from counterfoil.projections.ageing import Aged, Ageing
from counterfoil.projections.credit_notes import CreditNotes
from counterfoil.projections.customers import Customers
from counterfoil.projections.invoices import STEP, Invoices
from counterfoil.projections.journal import Journal
from counterfoil.projections.payments import Payments, Unsettled
from counterfoil.projections.projection import Question
from counterfoil.projections.series import Series
from examples import (
    attempt,
    attempt_refund,
    fail,
    fail_refund,
    refund,
    require_action,
    succeed,
)
from projections import worlds
from support import postgres
from test_paging import fill, obey

if TYPE_CHECKING:
    from counterfoil.projections.invoice import Invoice
    from counterfoil.projections.projection import Table

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ADA = Customer(id="cus_1", name="Ada GmbH", email="ada@example.com")
BOB = Customer(id="cus_2", name="Bob & Söhne 😀", email="bob@example.com")
CY = Customer(id="cus_1%", name="Cy", email="cy@example.com")


def priced(unit_price: str, **said: Any) -> NewLine:
    tax = said.pop("tax", Tax(rate="19"))
    return NewLine(description="Work", quantity="1", unit_price=unit_price, tax=tax, **said)


WORK = priced("100.00")


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def today(self) -> date:
        return self.now.date()


@dataclass
class World:
    """A billing, its clock, and the ids of the invoices that were drafted in it, by tenant."""

    billing: Billing
    clock: Clock
    ids: dict[str, list[str]] = field(default_factory=dict)

    @property
    def acme(self) -> Tenant:
        return self.billing.tenant("acme")

    @property
    def store(self) -> SQLiteStore | PostgresStore:
        log = self.billing.log
        return SQLiteStore(log) if isinstance(log, SQLiteLog) else PostgresStore(log)

    def truth(self, tenant: str = "acme") -> list[Invoice]:
        """All invoices of a tenant as their facts tell them, oldest first."""
        found = []
        for id in self.ids[tenant]:
            try:
                found.append(self.billing.tenant(tenant).get_invoice(id))
            except NotFound:
                continue
        return sorted(found, key=lambda one: (one.created, one.id))


@contextmanager
def opened(request: pytest.FixtureRequest, folder: Any, kind: str, **said: Any) -> Iterator[World]:
    clock = Clock()
    with (
        _database(request, folder, kind) as url,
        Billing.open(url, seller=Seller(name="Northwind"), clock=clock, **said) as billing,
    ):
        yield World(billing, clock)


@contextmanager
def _database(request: pytest.FixtureRequest, folder: Any, kind: str) -> Iterator[str]:
    if kind == "sqlite":
        yield str(folder / "log.db")
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[World]:
    """An empty database."""
    with opened(request, tmp_path, request.param) as made:
        yield made


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def varied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Two tenants with invoices of every kind. It is only read."""
    with opened(request, tmp_path_factory.mktemp("varied"), request.param) as made:
        for tenant in ("acme", "other"):
            _populate(made, tenant)
        made.clock.now = NOON
        yield made


def _populate(world: World, name: str) -> None:
    tenant, clock = world.billing.tenant(name), world.clock
    ids = world.ids.setdefault(name, [])
    clock.now = NOON - timedelta(days=100)
    for place in range(36):
        if place % 3:  # so that some are of the same moment
            clock.now += timedelta(days=2, microseconds=place)
        due = (None, clock.today() + timedelta(days=10), clock.today() + timedelta(days=400))
        invoice = tenant.draft_invoice(
            id=f"in_{name}_{place * 7 % 36:02d}",
            customer=(ADA, BOB, CY)[place % 3],
            currency=("EUR", "USD", "JPY")[place % 5 % 3],
            subscription=(None, "sub_1", "sub_2", None)[place % 4],
            due_date=due[place % 7 % 3],
            metadata=({}, {"a": "x"}, {"a": "x", "b": "%"}, {"a": "_"})[place % 4],
            lines=[
                priced("100", tax=Tax(rate="7", inclusive=True)),
                priced("33", discount=Discount(percent="12.5")),
            ][: 1 + place % 2],
            discount=Discount(percent="10") if place % 6 == 1 else None,
            tax_rounding=("per_group", "per_line")[place % 2],
            seller=Seller(id="s%", name="South") if place % 9 == 4 else None,
        ).id
        ids.append(invoice)
        _end(world, tenant, name, invoice, place)


def _end(world: World, tenant: Tenant, name: str, invoice: str, place: int) -> None:
    what = place % 12
    if what == 0:
        return
    if what == 1:
        tenant.delete_draft(invoice)
        return
    tenant.finalize_invoice(invoice)
    total = tenant.get_invoice(invoice).total
    match what:
        case 2:
            tenant.send_invoice(invoice)
        case 3:
            tenant.record_payment(invoice, amount=total)
        case 4:
            tenant.record_payment(invoice, amount=total // 2, reference="wire", received_at=NOON)
        case 5:
            tenant.void_invoice(invoice)
        case 6:
            tenant.mark_uncollectible(invoice)
        case 7:
            tenant.issue_credit_note(invoice, reason="returned")
        case 8:
            tenant.record_payment(invoice, amount=total + 5)
            tenant.issue_credit_note(invoice, amount=total // 3)
        case 9:
            status = ("open", "paid", "uncollectible", "void")[place // 12]
            tenant.reconcile_invoice(
                invoice, status=status, provider_event_id="evt_1", occurred_at=NOON
            )
        case 10:
            for command in (
                attempt("py_1"), require_action("py_1"), fail("py_1"), attempt("py_2", total // 4),
                succeed("py_2"), refund("py_2", "re_1", total // 8),
            ):  # fmt: skip
                payment = {"payment": f"{command.payment}_{place}"}
                obey(world.billing, name, invoice, command.model_copy(update=payment))
        case _:
            pass


# --- the tables say what the facts say ------------------------------------------------------


def test_an_invoice_of_the_table_is_the_invoice_of_the_facts(varied: World) -> None:
    kinds = set()
    for tenant in ("acme", "other"):
        invoices = varied.billing.tenant(tenant).invoices
        for true in varied.truth(tenant):
            shown = invoices.get(true.id)
            assert shown == true
            assert shown.model_dump_json() == true.model_dump_json()
            assert repr(shown) == repr(true)
            assert tuple(invoices.lines(true.id, limit=100)) == true.lines
            kinds.add(true.status)
    assert kinds == {"draft", "open", "paid", "uncollectible", "void"}
    assert [one.model_dump_json() for one in varied.acme.invoices.all()] == [
        one.model_dump_json() for one in varied.truth()
    ]


def test_a_credit_note_of_the_table_is_the_one_that_was_issued(world: World) -> None:
    acme = world.acme
    invoice = acme.finalize_invoice(
        acme.draft_invoice(customer=BOB, currency="EUR", lines=[WORK, priced("9.99")]).id
    )
    note = acme.issue_credit_note(invoice.id, amount="11.90", reason='a "reason" \\ with signs')
    assert acme.credit_notes.get(note.id) == note
    assert acme.credit_notes.get(note.id).model_dump_json() == note.model_dump_json()
    world.clock.now += timedelta(days=1)
    voided = acme.void_credit_note(note.id)
    assert acme.credit_notes.get(note.id) == voided
    assert acme.credit_notes.list(invoice=invoice.id).data == (voided,)
    assert acme.invoices.get(invoice.id) == acme.get_invoice(invoice.id)


def test_lines_keep_their_order_when_one_is_changed_or_comes_again(world: World) -> None:
    acme = world.acme
    id = acme.draft_invoice(customer=ADA, currency="EUR").id
    for name in ("li_b", "li_a", "li_c"):
        acme.add_line(id, id=name, description=name, quantity="1.50", unit_price="2.500")
    first = acme.invoices.get(id).lines[0].id
    acme.change_line(id, first, description="changed")
    acme.remove_line(id, "li_a")
    acme.add_line(id, id="li_a", description="again", quantity=1, unit_price="1")
    assert [line.id for line in acme.invoices.lines(id)] == ["li_b", "li_c", "li_a"]
    assert acme.invoices.get(id) == acme.get_invoice(id)
    assert repr(acme.invoices.get(id)) == repr(acme.get_invoice(id))


def test_an_invoice_is_found_by_its_number_in_its_tenant_alone(varied: World) -> None:
    acme, other = varied.acme, varied.billing.tenant("other")
    alone = {one.number: one.id for one in varied.truth() if one.number and one.seller}
    unique = [number for number in alone if _holders(varied, number) == 1]
    assert unique
    for number in unique:
        assert acme.invoices.by_number(number) == acme.get_invoice(alone[number])
    (double, *_) = [number for number in alone if _holders(varied, number) > 1]
    with pytest.raises(Conflict, match="several sellers"):
        acme.invoices.by_number(double)
    for unknown in ("INV-2026-9999", "inv-2026-0001", "INV-2026-000_", "%", "INV-2026-0001 "):
        with pytest.raises(NotFound):
            acme.invoices.by_number(unknown)
    their = other.invoices.by_number(unique[-1])
    assert their.id.startswith("in_other")


def _holders(world: World, number: str) -> int:
    return sum(one.number == number for one in world.truth())


def test_a_number_of_another_tenant_is_not_found(world: World) -> None:
    other = world.billing.tenant("other")
    invoice = other.finalize_invoice(
        other.draft_invoice(customer=ADA, currency="EUR", lines=[WORK]).id
    )
    assert invoice.number is not None
    with pytest.raises(NotFound):
        world.acme.invoices.by_number(invoice.number)


# --- filters --------------------------------------------------------------------------------

Meets = Callable[["Invoice"], bool]
MIDDLE = NOON - timedelta(days=60)
TODAY = NOON.date()


def _late(one: Invoice) -> bool:
    return one.status == "open" and one.due_date is not None and one.due_date < TODAY


def _numbered(prefix: str) -> Meets:
    return lambda one: one.number is not None and one.number.startswith(prefix)


def _due(meets: Callable[[date], bool]) -> Meets:
    return lambda one: one.due_date is not None and meets(one.due_date)


def _known(**metadata: str) -> Meets:
    return lambda one: metadata.items() <= one.metadata.items()


SOME: Mapping[str, Sequence[tuple[Any, Meets]]] = {
    "customer": [
        ("cus_1", lambda one: one.customer.id == "cus_1"),
        ("cus_1%", lambda one: one.customer.id == "cus_1%"),
        ("cus__", lambda _: False),
    ],
    "status": [
        ("draft", lambda one: one.status == "draft"),
        (Status.OPEN, lambda one: one.status == "open"),
        ("paid", lambda one: one.status == "paid"),
        ("void", lambda one: one.status == "void"),
        ("uncollectible", lambda one: one.status == "uncollectible"),
    ],
    "subscription": [
        ("sub_1", lambda one: one.subscription == "sub_1"),
        ("' OR 1=1 --", lambda _: False),
    ],
    "currency": [
        ("EUR", lambda one: one.currency == "EUR"),
        ("JPY", lambda one: one.currency == "JPY"),
        ("CHF", lambda _: False),
    ],
    "created": [
        (Range(gt=MIDDLE), lambda one: one.created > MIDDLE),
        (Range(gte=MIDDLE, lt=NOON), lambda one: MIDDLE <= one.created < NOON),
        (
            Range(lte=MIDDLE.astimezone(timezone(timedelta(hours=9)))),
            lambda one: one.created <= MIDDLE,
        ),
        (Range(gt=NOON, lt=MIDDLE), lambda _: False),
    ],
    "due_date": [
        (Range(lt=TODAY), _due(lambda due: due < TODAY)),
        (Range(gte=TODAY, lte=date(2027, 12, 31)), _due(lambda due: due >= TODAY)),
    ],
    "overdue": [(True, _late), (False, lambda one: not _late(one))],
    "number_prefix": [
        ("INV-2026-000", _numbered("INV-2026-000")),
        ("INV", _numbered("INV")),
        ("INV-2026-0001", _numbered("INV-2026-0001")),
        ("%", lambda _: False),
        ("INV-2026-000_", lambda _: False),
    ],
    "metadata": [
        ({"a": "x"}, _known(a="x")),
        ({"a": "x", "b": "%"}, _known(a="x", b="%")),
        ({"b": "_"}, lambda _: False),
    ],
}


def _alone() -> Iterator[tuple[dict[str, Any], Meets]]:
    for name, some in SOME.items():
        for value, meets in some:
            yield {name: value}, meets


def _any(_: Invoice) -> bool:
    return True


NO_FILTER: tuple[dict[str, Any], Meets] = ({}, _any)


def _paired() -> Iterator[tuple[dict[str, Any], Meets]]:
    for (one, first), (other, second) in combinations(_alone(), 2):
        if one.keys() != other.keys():
            yield {**one, **other}, _both(first, second)


def _both(first: Meets, second: Meets) -> Meets:
    return lambda one: first(one) and second(one)


def _hold_answers(varied: World, truth: Sequence[Invoice], filters: Any, meets: Meets) -> int:
    wanted = [one.id for one in truth if meets(one)]
    invoices = varied.acme.invoices
    page = invoices.list(limit=100, **filters)
    assert ([one.id for one in page], page.has_more) == (wanted[::-1], False), filters
    assert invoices.count(**filters) == len(wanted), filters
    return len(wanted)


def test_every_filter_alone_finds_what_a_look_at_each_invoice_finds(varied: World) -> None:
    truth = varied.truth()
    found = 0
    for filters, meets in [NO_FILTER, *_alone()]:
        found += _hold_answers(varied, truth, filters, meets)
        wanted = [one for one in truth if meets(one)]
        assert list(varied.acme.invoices.all(**filters)) == wanted
        assert _paged(varied.acme.invoices, filters) == wanted[::-1]
    assert found > len(truth)


def _paged(invoices: Invoices, filters: Any) -> list[Invoice]:
    seen: list[Invoice] = []
    asked: Any = dict(filters)
    while True:
        page = invoices.list(limit=3, **asked)
        seen += page
        if not page.has_more:
            return seen
        asked["starting_after"] = seen[-1].id


def test_every_two_filters_find_what_a_look_at_each_invoice_finds(varied: World) -> None:
    truth = varied.truth()
    paired = [*_paired()]
    found = sum(_hold_answers(varied, truth, *asked) for asked in paired)
    assert (len(paired) > 300, found > 500) == (True, True)


def test_all_filters_together_are_one_question(varied: World) -> None:
    (one, *_) = [one for one in varied.truth() if one.subscription and one.due_date and one.number]
    assert one.number is not None
    assert one.subscription is not None
    found = varied.acme.invoices.list(
        customer=one.customer.id,
        status=one.status,
        subscription=one.subscription,
        currency=one.currency,
        created=Range(gte=one.created, lte=one.created),
        due_date=Range(gte=one.due_date, lte=one.due_date),
        overdue=_late(one),
        number_prefix=one.number,
        metadata=one.metadata,
    )
    assert found.data == (one,)


def test_a_filter_that_is_none_was_not_said(varied: World) -> None:
    unsaid: Any = dict.fromkeys(SOME)
    assert varied.acme.invoices.count(**unsaid) == len(varied.truth())
    assert varied.acme.invoices.list(**unsaid) == varied.acme.invoices.list()


def test_the_found_by_methods_are_lists_of_one_filter(varied: World) -> None:
    invoices = varied.acme.invoices
    assert invoices.find_by_customer("cus_1", limit=50) == invoices.list(customer="cus_1", limit=50)
    assert invoices.find_by_status("paid") == invoices.list(status="paid")
    assert invoices.find_by_subscription("sub_2") == invoices.list(subscription="sub_2")
    nothing: Any = None
    for ask in (
        invoices.find_by_customer, invoices.find_by_status, invoices.find_by_subscription,
    ):  # fmt: skip
        with pytest.raises(Malformed):
            ask(nothing)


LONG = "x" * 10_000
NAIVE = NOON.replace(tzinfo=None)
TEXT: Any = "2026-01-01"
NUMBER: Any = 1767225600
WRONG: Mapping[str, Sequence[Any]] = {
    "status": ["issued", "Open", "", 3, "open ", "discarded", ["open"], b"open", True],
    "currency": ["EURO", "eur", "", "E%R", 978, "XXX", LONG, ["EUR"]],
    "customer": ["", "\0", "a\0", "a\nb", "\x7f", "\ud800", LONG, 3, b"cus_1", ["cus_1"]],
    "subscription": ["", "\0", "\udfff", LONG, 3, True],
    "number_prefix": ["", "\0", "\ud800", LONG, 2026, b"INV"],
    "overdue": ["yes", "", 0, 1, "true", []],
    "created": [
        *(Range(gt=NAIVE), Range(lte=TODAY), Range(gt=TEXT), Range(lt=NUMBER)),
        *(NOON, 5, "2026", {"gt": NOON}, (NOON, NOON), False, {}),
    ],
    "due_date": [
        *(Range(gt=NOON), Range(gte=NAIVE), Range(lt=TEXT), Range(lt=NUMBER)),
        *(TODAY, {"lt": TODAY}, "2026-01-01", 0),
    ],
    "metadata": [
        *({}, [], "", "a", 0, False, [("a", "x")]),
        *({"a": 1}, {1: "a"}, {"a": None}, {"": "x"}, {"\0": "x"}, {"a": "\ud800"}),
        *({"a": LONG}, {LONG: "x"}),
    ],
    # There are no such filters.
    "customers": ["cus_1"],
    "Status": ["open"],
    "a b": [None],
    "": ["x"],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_filter_is_an_error_for_every_question(varied: World, name: str) -> None:
    invoices = varied.acme.invoices
    for wrong in WRONG[name]:
        asked: Any = {name: wrong}
        for ask in (invoices.list, invoices.count, invoices.all):
            with pytest.raises(Malformed) as refused:
                ask(**asked)
            assert refused.value.field.partition(".")[0] == name
            assert len(str(refused.value)) < 200


WRONG_PAYMENTS: Mapping[str, Sequence[Any]] = {
    "status": ["paid", "", "Failed", 3],
    "customer": ["", "\0", "\ud800", LONG, 3],
    "invoice": ["", "\0", "\ud800", LONG, 3],
    "reference": ["\0", "\ud800", LONG, 3],
}


@pytest.mark.parametrize("name", WRONG_PAYMENTS)
def test_a_wrong_filter_of_other_lists_is_an_error(varied: World, name: str) -> None:
    for wrong in WRONG_PAYMENTS[name]:
        asked: Any = {name: wrong}
        with pytest.raises(Malformed) as refused:
            varied.acme.payments.list(**asked)
        assert refused.value.field == name
        if name in {"customer", "invoice"}:
            with pytest.raises(Malformed):
                varied.acme.credit_notes.list(**asked)


def test_a_range_without_an_end_is_an_error(varied: World) -> None:
    with pytest.raises(Malformed):
        varied.acme.invoices.list(created=Range())


class _Nowhere(tzinfo):
    """A time zone that does not say how far it is from UTC."""

    def utcoffset(self, _: datetime | None) -> None:
        return None

    dst = tzname = utcoffset


def test_a_time_zone_that_says_nothing_is_none(varied: World) -> None:
    with pytest.raises(Malformed):
        varied.acme.invoices.count(created=Range(gt=NOON.replace(tzinfo=_Nowhere())))


@pytest.mark.parametrize(
    "stored",
    [
        "plain",
        "' OR 1=1 --",
        "Ünïcödé 😀",
        "x" * 500,
        "Zahlung\u00a0123",
        "👨‍👩‍👧",
        "two\nlines",
        "a\tb",
    ],
)
def test_whatever_can_be_stored_can_be_found(world: World, stored: str) -> None:
    acme = world.acme
    invoice = acme.draft_invoice(
        customer=ADA, currency="EUR", lines=[WORK], metadata={"note": stored}
    )
    acme.finalize_invoice(invoice.id)
    acme.record_payment(invoice.id, amount=1, reference=stored)
    assert acme.invoices.get(invoice.id).metadata == {"note": stored}
    assert acme.invoices.count(metadata={"note": stored}) == 1
    assert len(acme.payments.list(reference=stored)) == 1


def test_the_most_metadata_that_an_invoice_has_can_be_asked_for(world: World) -> None:
    metadata = {f"key {place}": str(place) for place in range(50)}
    invoice = world.acme.draft_invoice(customer=ADA, currency="EUR", metadata=metadata)
    few = {name: metadata[name] for name in islice(metadata, 8)}
    assert world.acme.invoices.list(metadata=few).data == (invoice,)
    assert world.acme.invoices.count(metadata={**few, "key 0": "1"}) == 0


def test_more_metadata_than_an_invoice_can_have_is_an_error(world: World) -> None:
    with pytest.raises(Malformed):
        world.acme.invoices.count(metadata={f"key {place}": "x" for place in range(2_000)})


def test_metadata_and_counts_follow_every_change(world: World) -> None:
    acme = world.acme
    id = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], metadata={"a": "1"}).id
    acme.set_metadata(id, {"a": "2", "b": "3"})
    assert [acme.invoices.count(metadata={"a": value}) for value in "12"] == [0, 1]
    acme.finalize_invoice(id)
    acme.set_metadata(id, {"b": ""})
    assert acme.invoices.count(metadata={"b": "3"}) == 0
    assert [acme.invoices.count(status=status) for status in ("draft", "open")] == [0, 1]
    deleted = acme.draft_invoice(customer=ADA, currency="EUR", metadata={"a": "2"}).id
    acme.delete_draft(deleted)
    assert (acme.invoices.count(), acme.invoices.count(metadata={"a": "2"})) == (1, 1)
    with pytest.raises(NotFound):
        acme.invoices.get(deleted)


def test_overdue_begins_the_day_after_the_due_date_where_the_seller_is(
    request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    with opened(request, tmp_path, "sqlite", timezone="Asia/Tokyo") as world:
        acme = world.acme
        id = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], due_date=TODAY).id
        acme.finalize_invoice(id)
        world.clock.now = datetime(2026, 11, 20, 14, 59, 59, 999_999, tzinfo=UTC)
        assert (acme.invoices.count(overdue=True), acme.customers.get("cus_1")[0].overdue) == (0, 0)
        world.clock.now += timedelta(microseconds=1)
        assert acme.invoices.count(overdue=True) == 1
        assert acme.customers.get("cus_1")[0].overdue == 11_900
        assert acme.ageing.as_of()[0].days_1_30 == 11_900


# --- strangers ------------------------------------------------------------------------------


def test_nothing_crosses_tenants_in_any_question(varied: World) -> None:
    acme, nobody = varied.acme, varied.billing.tenant("acm_")
    theirs = varied.truth("other")[3]
    for ask in (acme.invoices.get, acme.invoices.lines, nobody.invoices.get):
        with pytest.raises(NotFound):
            ask(theirs.id)
    (their_note, *_) = varied.billing.tenant("other").credit_notes.list()
    with pytest.raises(NotFound):
        acme.credit_notes.get(their_note.id)
    assert acme.credit_notes.list(invoice=their_note.invoice).data == ()
    assert acme.payments.list(invoice=theirs.id).data == ()
    assert acme.journal.entries(theirs.id) == ()
    assert {one.id for one in acme.invoices.all()} <= set(varied.ids["acme"])
    mine = set(varied.ids["acme"])
    assert {one.invoice for one in acme.payments.list(limit=100)} <= mine
    assert {one.invoice for one in acme.credit_notes.list(limit=100)} <= mine
    first = next(one for one in acme.series.all() if one.kind == "invoice")
    numbers = acme.series.numbers(first.series, limit=100)
    assert {one.document for one in numbers} <= mine
    for tenant in (nobody, varied.billing.tenant("ACME"), varied.billing.tenant("%")):
        assert (tenant.invoices.count(), list(tenant.invoices.all())) == (0, [])
        lists: Sequence[Any] = (
            tenant.invoices.list, tenant.payments.list, tenant.credit_notes.list,
            tenant.customers.list, tenant.series.all, tenant.ageing.as_of, tenant.journal.balances,
        )  # fmt: skip
        assert [[*ask()] for ask in lists] == [[]] * 7
        with pytest.raises(NotFound):
            tenant.series.numbers(first.series)
        with pytest.raises(NotFound):
            tenant.customers.get("cus_1")


STRANGE: Sequence[Any] = [
    *(None, 3, "", "\0", "in_\0", "\ud800", LONG, b"in_1", ["in_1"], True),
    *("' OR 1=1 --", "%", "_"),
]


def test_what_can_be_no_name_is_not_found(varied: World) -> None:
    acme = varied.acme
    for strange in STRANGE:
        for ask in (
            acme.invoices.get, acme.invoices.by_number, acme.invoices.lines, acme.credit_notes.get,
            acme.customers.get,
        ):  # fmt: skip
            with pytest.raises(NotFound):
                ask(strange)
    # And none of these questions keeps a connection.
    for _ in range(20):
        with pytest.raises(NotFound):
            acme.invoices.get("in_none")
    assert acme.invoices.count() == len(varied.truth())


# --- all of them ----------------------------------------------------------------------------


class Watched:
    """A store that remembers what it was asked, and how many rows it gave."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked: list[tuple[str, Mapping[str, object]]] = []
        self.given = 0

    def ask(self, *questions: Question, of: Sequence[Table] = ()) -> Any:
        """Ask through."""
        self.asked += questions
        answers = self._store.ask(*questions, of=of)
        self.given += sum(map(len, answers))
        return answers


def test_all_reads_no_more_than_it_shows_and_count_reads_one_row(world: World) -> None:
    fill(world.billing, 3 * STEP)
    watched: Any = Watched(world.store)
    invoices = Invoices(watched, "acme", world.clock.today)
    every = invoices.all()
    assert watched.asked == []
    assert len([*islice(every, 3)]) == 3
    assert watched.given <= 2 * STEP + 1  # the invoices of one step, and a line of each
    watched.given = 0
    assert invoices.count() == 3 * STEP
    assert watched.given == 1
    assert invoices.count(customer="cus_1") == 3 * STEP // 2
    assert watched.given == 2


def test_all_may_be_left_while_it_runs_and_is_no_transaction(world: World) -> None:
    fill(world.billing, STEP + 1)
    walks = [world.acme.invoices.all() for _ in range(16)]
    first = [next(walk).id for walk in walks]  # more walks than there are connections
    assert len(set(first)) == 1
    world.acme.draft_invoice(customer=ADA, currency="EUR", id="in_~")
    assert [one.id for one in walks[0]][-1] == "in_~"


def test_wrong_filters_of_all_are_refused_before_the_first_is_read(varied: World) -> None:
    with pytest.raises(Malformed):
        varied.acme.invoices.all(status="issued")


def test_an_invoice_from_before_1970_is_one_of_all(world: World) -> None:
    world.clock.now = datetime(1969, 12, 31, tzinfo=UTC)
    invoice = world.acme.draft_invoice(customer=ADA, currency="EUR")
    assert world.acme.invoices.list().data == (invoice,)
    assert list(world.acme.invoices.all()) == [invoice]


# --- customers ------------------------------------------------------------------------------


def _sold(world: World, unit_price: str = "100", **said: Any) -> Invoice:
    asked = {"customer": ADA, "currency": "EUR", **said}
    acme = world.acme
    return acme.finalize_invoice(acme.draft_invoice(lines=[_plain(unit_price)], **asked).id)


def _plain(unit_price: str) -> NewLine:
    return priced(unit_price, tax=Tax(rate="0", category="zero"))


def test_a_customer_is_what_the_invoices_come_to(world: World) -> None:
    acme, clock = world.acme, world.clock
    with pytest.raises(NotFound):
        acme.customers.get("cus_1")
    acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
    with pytest.raises(NotFound):
        acme.customers.get("cus_1")
    due = _sold(world, "10", due_date=TODAY)
    _sold(world, "20")
    paid = _sold(world, "40")
    acme.record_payment(paid.id, amount="41")
    part = _sold(world, "80", due_date=TODAY + timedelta(days=1))
    acme.record_payment(part.id, amount="30")
    acme.mark_uncollectible(part.id)
    acme.void_invoice(_sold(world, "160").id)
    _sold(world, "320", currency="USD")
    (euros, dollars) = acme.customers.get("cus_1")
    assert euros.model_dump() == {
        "customer": "cus_1", "currency": "EUR", "name": "Ada GmbH", "invoices": 5,
        "invoiced": 15_000, "open": 3_000, "overdue": 0, "paid": 7_000, "uncollectible": 5_000,
        "credit": 100,
    }  # fmt: skip
    assert (dollars.currency, dollars.open, dollars.invoices) == ("USD", 32_000, 1)
    clock.now += timedelta(days=1)
    assert acme.customers.get("cus_1")[0].overdue == 1_000
    acme.issue_credit_note(due.id, amount="4")
    assert acme.customers.get("cus_1")[0].overdue == 600
    _sold(world, "1", customer=Customer(id="cus_1", name="Ada Ltd"))
    euros, dollars = acme.customers.list()
    assert (euros.name, dollars.name) == ("Ada Ltd", "Ada GmbH")


def test_the_newest_name_wins_in_any_century(world: World) -> None:
    world.clock.now = datetime(2001, 9, 9, 1, 46, tzinfo=UTC)
    _sold(world, customer=Customer(id="cus_1", name="Old"))
    world.clock.now += timedelta(hours=1)
    _sold(world, customer=Customer(id="cus_1", name="New"))
    assert world.acme.customers.get("cus_1")[0].name == "New"


def test_customers_agree_with_their_invoices(varied: World) -> None:
    finalized = [one for one in varied.truth() if one.number is not None]
    pairs = sorted({(one.customer.id, one.currency) for one in finalized})
    shown = varied.acme.customers.list(limit=100)
    assert [(one.customer, one.currency) for one in shown] == pairs
    for totals in shown:
        theirs = [
            one
            for one in finalized
            if (one.customer.id, one.currency) == (totals.customer, totals.currency)
        ]
        assert totals.invoices == len(theirs)
        assert totals.paid == sum(one.amount_paid for one in theirs)
        assert totals.open == sum(one.amount_remaining for one in theirs if one.status == "open")
        assert totals.overdue == sum(one.amount_remaining for one in theirs if _late(one))
        assert totals.uncollectible == sum(
            one.amount_remaining for one in theirs if one.status == "uncollectible"
        )


@pytest.mark.parametrize("ask", ["customers", "balances", "ageing"])
def test_sums_may_pass_what_one_amount_may_not(world: World, ask: str) -> None:
    acme = world.acme
    for _ in range(4):
        invoice = acme.draft_invoice(customer=ADA, currency="EUR")
        acme.add_line(invoice.id, description="All", quantity="40", unit_price="900000000000000")
        acme.finalize_invoice(invoice.id)
    owed = 4 * 40 * 900_000_000_000_000 * 100
    assert owed > 2**63
    if ask == "customers":
        assert acme.customers.get("cus_1")[0].open == owed
    elif ask == "balances":
        assert {one.account: one.balance for one in acme.journal.balances()}["receivable"] == owed
    else:
        assert acme.ageing.as_of()[0].total == owed


# --- ageing ---------------------------------------------------------------------------------


def _aged(world: World, day: date | None = None) -> list[int]:
    found = world.acme.ageing.as_of(day)
    return [] if not found else [*found[0].model_dump(exclude={"currency"}).values()]


def test_each_bucket_begins_and_ends_on_its_day(world: World) -> None:
    world.clock.now = NOON - timedelta(days=200)
    late = [None, -1, 0, 1, 30, 31, 60, 61, 90, 91]
    for place, days in enumerate(late):
        due = None if days is None else TODAY - timedelta(days=days)
        _sold(world, str(2**place), due_date=due)
    world.clock.now = NOON
    assert _aged(world) == [700, 800 + 1600, 3200 + 6400, 12800 + 25600, 51200, 102300]
    assert _aged(world, TODAY) == _aged(world)
    assert _aged(world, TODAY + timedelta(days=1)) == [
        300, 400 + 800, 1600 + 3200, 6400 + 12800, 25600 + 51200, 102300,
    ]  # fmt: skip


def test_a_day_long_past_is_still_as_it_was(world: World) -> None:
    acme, clock = world.acme, world.clock
    invoice = _sold(world, "100", due_date=TODAY + timedelta(days=3))
    dollars = _sold(world, "1", currency="USD", customer=BOB)
    clock.now += timedelta(days=5)
    acme.record_payment(invoice.id, amount="40")
    clock.now += timedelta(days=5)
    acme.record_payment(invoice.id, amount="60")
    acme.void_invoice(dollars.id)
    (first, last) = TODAY, TODAY + timedelta(days=10)
    assert acme.ageing.as_of(first - timedelta(days=1)) == ()
    assert [one.currency for one in acme.ageing.as_of(first)] == ["EUR", "USD"]
    assert _aged(world, first) == [10_000, 0, 0, 0, 0, 10_000]
    assert _aged(world, first + timedelta(days=4)) == [0, 10_000, 0, 0, 0, 10_000]
    assert _aged(world, first + timedelta(days=5)) == [0, 6_000, 0, 0, 0, 6_000]
    assert _aged(world, last - timedelta(days=1)) == [0, 6_000, 0, 0, 0, 6_000]
    assert acme.ageing.as_of(last) == acme.ageing.as_of() == acme.ageing.as_of(date.max) == ()
    assert acme.ageing.as_of(first, customer="cus_2") == (
        Aged(
            currency="USD", not_due=100, days_1_30=0, days_31_60=0, days_61_90=0, days_over_90=0,
            total=100,
        ),
    )  # fmt: skip
    assert acme.ageing.as_of(first, customer="cus_none") == ()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_time_zone_says_where_a_day_ends(
    request: pytest.FixtureRequest, tmp_path: Any, kind: str
) -> None:
    with _database(request, tmp_path, kind) as url:
        clock = Clock()
        clock.now = datetime(2026, 11, 19, 15, 0, tzinfo=UTC)  # midnight in Tokyo
        for zone, wanted in (("Asia/Tokyo", 0), ("UTC", 10_000), ("America/New_York", 10_000)):
            with Billing.open(url, seller=Seller(name="N"), clock=clock, timezone=zone) as billing:
                world = World(billing, clock)
                if zone == "Asia/Tokyo":
                    assert _sold(world).issued_on == date(2026, 11, 20)
                owed = _aged(world, date(2026, 11, 19))
                assert (owed[-1] if owed else 0) == wanted
                assert _aged(world, date(2026, 11, 20))[-1] == 10_000


@pytest.mark.parametrize("day", ["2026-11-20", NOON, 5, True])
def test_a_day_is_a_date(varied: World, day: Any) -> None:
    with pytest.raises(Malformed):
        varied.acme.ageing.as_of(day)


def test_nothing_was_owed_on_the_first_day_of_all(varied: World) -> None:
    assert varied.acme.ageing.as_of(date.min) == ()


def test_ageing_agrees_with_what_is_open(varied: World) -> None:
    for aged in varied.acme.ageing.as_of():
        left = [
            one for one in varied.truth() if one.status == "open" and one.currency == aged.currency
        ]
        assert aged.total == sum(one.amount_remaining for one in left)
        assert aged.total - aged.not_due == sum(one.amount_remaining for one in left if _late(one))


# --- journal, series, payments --------------------------------------------------------------


def test_the_books_balance_after_every_fact_and_at_every_moment(varied: World) -> None:
    acme = varied.acme
    for id in varied.ids["acme"]:
        entries = acme.journal.entries(id)
        for version in {one.version for one in entries}:
            moved = [one for one in entries if one.version == version]
            assert sum(one.debit for one in moved) == sum(one.credit for one in moved)
            assert all((one.debit > 0) != (one.credit > 0) for one in moved)
    for at in (None, NOON - timedelta(days=60), NOON - timedelta(days=365)):
        sums: dict[str, int] = {}
        for one in acme.journal.balances(at=at):
            assert one.balance == one.debit - one.credit
            sums[one.currency] = sums.get(one.currency, 0) + one.balance
        assert not any(sums.values())
    assert acme.journal.balances(at=NOON - timedelta(days=365)) == ()
    receivable = {
        one.currency: one.balance for one in acme.journal.balances() if one.account == "receivable"
    }
    assert receivable == {one.currency: one.total for one in acme.ageing.as_of()}


def test_the_books_say_what_each_fact_moved(world: World) -> None:
    acme = world.acme
    draft = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
    assert acme.journal.entries(draft.id) == ()
    acme.finalize_invoice(draft.id)
    world.clock.now += timedelta(days=1)
    acme.record_payment(draft.id, amount="120.00")
    told = [(one.account, one.debit, one.credit) for one in acme.journal.entries(draft.id)]
    assert told == [
        ("receivable", 11_900, 0), ("revenue", 0, 10_000), ("tax", 0, 1_900),
        ("cash", 12_000, 0), ("credit", 0, 100), ("receivable", 0, 11_900),
    ]  # fmt: skip
    balances = {one.account: one.balance for one in acme.journal.balances()}
    assert balances == {
        "cash": 12_000, "credit": -100, "receivable": 0, "revenue": -10_000, "tax": -1_900
    }  # fmt: skip
    assert {one.account for one in acme.journal.balances(at=NOON)} == {
        "receivable", "revenue", "tax"
    }  # fmt: skip
    for wrong in (NOON.replace(tzinfo=None), TODAY, 3, "now"):
        asked: Any = wrong
        with pytest.raises(Malformed):
            acme.journal.balances(at=asked)


def test_series_have_no_gaps_whatever_became_of_their_documents(varied: World) -> None:
    every = varied.acme.series.all()
    assert [one.gaps for one in every] == [0] * len(every)
    for one in every:
        numbers = varied.acme.series.numbers(one.series, limit=100)
        assert [number.place for number in numbers] == [*range(one.first, one.last + 1)]
    used = {
        number.document: number.number
        for one in every
        for number in varied.acme.series.numbers(one.series, limit=100)
    }
    for invoice in varied.truth():
        assert used.get(invoice.id) == invoice.number


def test_payments_are_listed_whatever_became_of_them(world: World) -> None:
    acme, clock = world.acme, world.clock
    invoice = _sold(world, "100")
    for command in (attempt("py_1"), require_action("py_1"), fail("py_1"), attempt("py_2", 3_000)):
        obey(world.billing, "acme", invoice.id, command)
    assert [(one.id, one.status) for one in acme.payments.list()] == [
        ("py_2", "processing"), ("py_1", "failed")
    ]  # fmt: skip
    failed = acme.payments.list(status="failed").data[0]
    assert (failed.failure_code, failed.intent) == ("card_declined", "pi_1")
    assert (failed.amount, failed.processor, failed.payment_method) == (10_000, "stripe", "pm_1")
    for told in (succeed("py_2"), refund("py_2", "re_1", 1_000), refund("py_2", "re_2", 500)):
        obey(world.billing, "acme", invoice.id, told)
    clock.now += timedelta(seconds=1)
    obey(world.billing, "acme", invoice.id, attempt("py_3"))
    obey(world.billing, "acme", invoice.id, require_action("py_3"))
    received = datetime(2026, 11, 18, 9, tzinfo=timezone(timedelta(hours=1)))
    paid = acme.payments.list(status="succeeded").data[0]
    assert (paid.id, paid.amount, paid.amount_refunded) == ("py_2", 3_000, 1_500)
    assert (paid.reference, paid.customer, paid.currency) == ("ch_1", "cus_1", "EUR")
    assert [one.id for one in acme.payments.list(status="requires_action")] == ["py_3"]
    obey(world.billing, "acme", invoice.id, fail("py_3"))
    acme.record_payment(invoice.id, amount="90", reference="wire", received_at=received)
    wire = acme.payments.list(reference="wire").data[0]
    assert (wire.received_at, wire.surplus, wire.processor) == (received, 500, None)
    assert len(acme.payments.list(customer="cus_1")) == 4
    assert acme.payments.list(customer="cus_2").data == ()


def test_a_payment_that_succeeded_after_it_failed_shows_no_failure(world: World) -> None:
    acme = world.acme
    invoice = _sold(world, "100")
    for command in (attempt("py_1"), fail("py_1"), attempt("py_2"), succeed("py_1")):
        obey(world.billing, "acme", invoice.id, command)
    (late,) = acme.payments.list(status="succeeded")
    assert (late.id, late.failure_code, late.failure_message) == ("py_1", None, None)
    assert (late.reference, late.amount, late.surplus) == ("ch_1", 10_000, 0)
    (live,) = acme.payments.list(status="processing")
    assert (live.id, live.ended_at) == ("py_2", None)
    assert acme.payments.list(status="failed").data == ()
    seen = acme.invoices.get(invoice.id)
    assert seen == acme.get_invoice(invoice.id)
    assert (seen.status, seen.attempt_count) == ("paid", 2)


def test_money_that_an_outsider_told_of_first_is_in_the_books_once(world: World) -> None:
    acme = world.acme
    invoice = _sold(world, "100")
    obey(world.billing, "acme", invoice.id, attempt("py_1", 4_000))
    acme.reconcile_invoice(invoice.id, status="paid", provider_event_id="evt_1", occurred_at=NOON)
    before = acme.journal.balances()
    obey(world.billing, "acme", invoice.id, succeed("py_1"))
    assert acme.journal.balances() == before
    assert acme.payments.list().data[0].surplus == 0
    assert acme.customers.get("cus_1")[0].paid == 10_000
    seen = acme.invoices.get(invoice.id)
    assert seen == acme.get_invoice(invoice.id)
    assert (seen.amount_paid, seen.amount_remaining) == (10_000, 0)


def test_what_an_outsider_says_again_does_not_change_since_when_it_is_so(world: World) -> None:
    acme, clock = world.acme, world.clock
    for status, time in (
        ("paid", "paid_at"),
        ("void", "voided_at"),
        ("uncollectible", "marked_uncollectible_at"),
        ("open", "finalized_at"),
    ):
        invoice = _sold(world, "100")
        for place in range(3):
            clock.now += timedelta(hours=1)
            acme.reconcile_invoice(
                invoice.id,
                status=status,
                provider_event_id=f"evt_{place}",
                occurred_at=NOON + timedelta(days=place),
            )
            seen = acme.invoices.get(invoice.id)
            assert seen == acme.get_invoice(invoice.id)
            first = clock.now - timedelta(hours=place + (status == "open"))
            assert (seen.status, getattr(seen, time)) == (status, first)


# --- by an index ----------------------------------------------------------------------------


def _questions(
    store: Any, today: Callable[[], date], known: Invoice
) -> Iterator[Callable[[], Any]]:
    invoices = Invoices(store, "acme", today)
    assert known.number is not None
    for filters, _ in [NO_FILTER, *_alone()]:
        asked: Any = filters
        yield partial(invoices.list, **asked)
        yield partial(invoices.list, **asked, starting_after=known.id)
        yield partial(invoices.list, **asked, ending_before=known.id)
        yield partial(invoices.count, **asked)
        yield partial(next, invoices.all(**asked), None)
    yield lambda: invoices.get(known.id)
    yield lambda: invoices.by_number(known.number or "")
    yield lambda: invoices.lines(known.id)
    yield lambda: invoices.lines(known.id, starting_after=known.lines[0].id)
    yield lambda: invoices.find_by_customer("cus_1")
    yield lambda: invoices.find_by_status("paid")
    yield lambda: invoices.find_by_subscription("sub_1")
    payments, notes = Payments(store, "acme"), CreditNotes(store, "acme")
    for name in ("invoice", "customer", "reference"):
        asked = {name: "x"}
        yield partial(payments.list, **asked)
    yield lambda: payments.list(status="failed")
    yield payments.list
    yield lambda: payments.unsettled(before=NOON)
    yield lambda: payments.refunds("x")
    yield notes.list
    yield lambda: notes.list(invoice="x")
    yield lambda: notes.list(customer="x")
    yield lambda: notes.get(notes.list().data[0].id)
    series, customers = Series(store, "acme"), Customers(store, "acme", today)
    yield series.all
    yield lambda: series.numbers("x", after=3)
    yield lambda: customers.get("cus_1")
    yield lambda: customers.list(starting_after=("cus_1", "EUR"))
    ageing, journal = Ageing(store, "acme", today, UTC), Journal(store, "acme")
    yield ageing.as_of
    yield lambda: ageing.as_of(customer="cus_1")
    yield lambda: journal.entries(known.id)
    yield journal.balances
    yield lambda: journal.balances(at=NOON)


@pytest.mark.parametrize("varied", ["sqlite"], indirect=True)
def test_every_question_is_answered_by_an_index(varied: World) -> None:
    watched = Watched(varied.store)
    known = next(one for one in varied.truth() if _numbered("INV-2026-0005")(one))
    for ask in _questions(watched, varied.clock.today, known):
        ask()
    assert len(watched.asked) > 150
    for query, values in watched.asked:
        (found,) = varied.store.ask(Question(f"EXPLAIN QUERY PLAN {query}", values))
        plan = [str(row[-1]) for row in found]
        assert any(step.startswith("SEARCH") and "INDEX" in step for step in plan), query
        assert not [step for step in plan if step.startswith("SCAN")], (plan, query)
        # An index on another tenant's rows too would be no index on one tenant's.
        assert all("tenant=?" in step for step in plan if step.startswith("SEARCH")), (plan, query)


@pytest.mark.slow
def test_postgres_reads_no_whole_table_for_a_page_of_many(
    request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    with opened(request, tmp_path, "postgres") as world:
        known = _sold(world, "100")
        assert known.number is not None
        ids = sorted(fill(world.billing, 20_000), reverse=True)
        with world.store.writing() as session:
            session.execute("ANALYZE", {})
        watched = Watched(world.store)
        store: Any = watched
        invoices = Invoices(store, "acme", world.clock.today)
        invoices.get(ids[7])
        invoices.by_number(known.number)
        for limit in (10, 100):
            invoices.list(limit=limit)
            invoices.list(limit=limit, starting_after=ids[10_000])
            invoices.list(limit=limit, ending_before=ids[10_000])
            invoices.list(limit=limit, starting_after=ids[10_000], status="draft")
            invoices.find_by_customer("cus_2", limit=limit, starting_after=ids[15_000])
            invoices.find_by_customer("cus_none", limit=limit)
            invoices.find_by_status("open", limit=limit)
            invoices.list(limit=limit, number_prefix="INV")
            invoices.list(limit=limit, overdue=True)
            invoices.list(limit=limit, metadata={"a": "x"})
            invoices.list(limit=limit, due_date=Range(lt=TODAY))
        invoices.lines(ids[3])
        invoices.count(status="draft")
        for query, values in watched.asked:
            # As the store asks two questions together.
            with world.store.reading() as session:
                session.execute("SET LOCAL enable_seqscan = off", {})
                found = session.select(f"EXPLAIN {query}", values)
            plan = "\n".join(str(row[0]) for row in found)
            for table in ("invoices", "lines", "facts"):
                assert f"Seq Scan on {table}" not in plan, f"{query}\n{plan}"


# --- read models that follow ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_read_models_that_follow_lag_and_can_be_waited_for(
    request: pytest.FixtureRequest, tmp_path: Any, kind: str
) -> None:
    with opened(request, tmp_path, kind, projections="async") as world:
        acme, projections = world.acme, world.billing.projections
        invoice = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
        assert acme.get_invoice(invoice.id) == invoice
        with pytest.raises(NotFound):
            acme.invoices.get(invoice.id)
        assert (acme.invoices.count(), acme.invoices.list().data) == (0, ())
        for position in (None, 1, 2):
            with pytest.raises(Unavailable, match="counterfoil projections run"):
                projections.wait(position, timeout_s=0)
        with pytest.raises(Unavailable, match="counterfoil projections run"):
            acme.set_metadata(invoice.id, {"a": "b"}, wait_s=0)
        projections.run()
        projections.wait()
        assert acme.invoices.get(invoice.id) == acme.get_invoice(invoice.id)
        assert acme.invoices.get(invoice.id).metadata == {"a": "b"}
        # A cursor is a place in the log, so it is known before the list shows it.
        newest = acme.draft_invoice(customer=ADA, currency="EUR")
        assert newest.id not in {one.id for one in acme.invoices.list(limit=100)}
        assert [one.id for one in acme.invoices.list(starting_after=newest.id)] in (
            [invoice.id],
            [],
        )
        projections.wait(2, timeout_s=0)
        with pytest.raises(Unavailable):
            projections.wait(timeout_s=0)
        projections.run()
        projections.wait(timeout_s=0)
        assert acme.invoices.count() == 2


def test_read_models_that_are_kept_inline_need_no_waiting(world: World) -> None:
    world.acme.draft_invoice(customer=ADA, currency="EUR", wait_s=0)
    world.billing.projections.wait(timeout_s=0)


def test_money_that_went_back_is_listed_by_its_invoice(world: World) -> None:
    acme = world.acme
    invoice = _sold(world, "10")
    paid = acme.record_payment(invoice.id, amount=invoice.total)
    (payment,) = acme.payments.list(invoice=paid.id)
    obey(world.billing, "acme", paid.id, refund(payment.id, "re_1", 300))
    (back,) = acme.payments.refunds(paid.id)
    assert (back.id, back.payment, back.amount, back.reopened) == ("re_1", payment.id, 300, 0)
    assert (back.status, back.created, back.ended_at) == ("succeeded", NOON, NOON)
    assert acme.payments.list(invoice=paid.id).data[0].amount_refunded == 300
    assert acme.payments.refunds("in_none") == ()


def test_a_refund_is_listed_whatever_became_of_it(world: World) -> None:
    acme = world.acme
    invoice = acme.record_payment(_sold(world, "10").id, amount="10")
    (payment,) = acme.payments.list(invoice=invoice.id)
    at = [NOON + timedelta(hours=place) for place in range(7)]
    commands: Sequence[InvoiceCommand] = (
        attempt_refund(payment.id, "re_1", 300),
        attempt_refund(payment.id, "re_2", 200),
        attempt_refund(payment.id, "re_3", 100),
        fail_refund("re_2"),
        refund(payment.id, "re_1"),
        fail_refund("re_3"),
        refund(payment.id, "re_3"),
    )
    for when, command in zip(at, commands, strict=True):
        worlds.obey(world.billing, when, "acme", invoice.id, command)
    made, failed, late = acme.payments.refunds(invoice.id)
    assert (made.id, made.status, made.amount, made.created, made.ended_at) == (
        "re_1", "succeeded", 300, at[0], at[4]
    )  # fmt: skip
    assert (failed.id, failed.status, failed.amount, failed.created, failed.ended_at) == (
        "re_2", "failed", 200, at[1], at[3]
    )  # fmt: skip
    assert (failed.failure_code, failed.failure_message, failed.reopened) == (
        "account_closed", "The account is closed.", 0
    )  # fmt: skip
    assert (late.id, late.status, late.failure_code, late.failure_message) == (
        "re_3", "succeeded", None, None
    )  # fmt: skip
    assert (late.created, late.ended_at) == (at[2], at[6])
    assert acme.payments.list().data[0].amount_refunded == 400


def test_a_refund_that_is_pending_moves_nothing_yet(world: World) -> None:
    acme = world.acme
    invoice = acme.record_payment(_sold(world, "10").id, amount="10")
    (payment,) = acme.payments.list(invoice=invoice.id)
    books = acme.journal.balances()
    obey(world.billing, "acme", invoice.id, attempt_refund(payment.id, "re_1"))
    (pending,) = acme.payments.refunds(invoice.id)
    assert (pending.status, pending.amount, pending.reopened) == ("pending", 1_000, 0)
    assert (pending.reference, pending.ended_at) == (None, None)
    assert acme.journal.balances() == books
    assert acme.payments.list().data[0].amount_refunded == 0


# --- what waits for its outcome -------------------------------------------------------------


def test_what_waits_for_its_outcome_is_found_the_longest_first(world: World) -> None:
    acme = world.acme
    paying, asking, refunding, both, done = (_sold(world, "10").id for _ in range(5))
    for place, (invoice, payment) in enumerate(
        ((refunding, "py_r"), (both, "py_b"), (done, "py_d"))
    ):
        when = NOON - timedelta(days=9 - place)
        worlds.obey(world.billing, when, "acme", invoice, attempt(payment, 500))
        worlds.obey(world.billing, when, "acme", invoice, succeed(payment))
    worlds.obey(world.billing, NOON, "acme", done, attempt("py_e"))
    worlds.obey(world.billing, NOON, "acme", done, fail("py_e"))
    told: Sequence[tuple[int, str, InvoiceCommand]] = (
        (4, paying, attempt("py_1")),
        (3, asking, attempt("py_2")),
        (9, asking, require_action("py_2")),
        (2, refunding, attempt_refund("py_r", "re_1")),
        (1, both, attempt_refund("py_b", "re_2")),
        (5, both, attempt("py_3")),
        (0, done, attempt_refund("py_d", "re_3")),
        (1, done, fail_refund("re_3")),
        (1, done, attempt_refund("py_d", "re_4")),
        (2, done, refund("py_d", "re_4")),
    )
    for hours, invoice, command in told:
        worlds.obey(world.billing, NOON + timedelta(hours=hours), "acme", invoice, command)
    assert acme.payments.unsettled(before=NOON + timedelta(days=1)) == (
        Unsettled(both, "re_2", is_refund=True),
        Unsettled(refunding, "re_1", is_refund=True),
        Unsettled(asking, "py_2", is_refund=False),
        Unsettled(paying, "py_1", is_refund=False),
        Unsettled(both, "py_3", is_refund=False),
    )
    assert world.billing.tenant("other").payments.unsettled(before=NOON + timedelta(days=1)) == ()


def test_what_waits_since_a_moment_is_found_from_that_moment_on(world: World) -> None:
    acme = world.acme
    invoice = _sold(world, "10").id
    worlds.obey(world.billing, NOON, "acme", invoice, attempt("py_1"))
    instant = timedelta(microseconds=1)
    waits = Unsettled(invoice, "py_1", is_refund=False)
    assert acme.payments.unsettled(before=NOON - instant) == ()
    assert acme.payments.unsettled(before=NOON) == (waits,)
    there = timezone(timedelta(hours=-5))
    assert acme.payments.unsettled(before=(NOON - instant).astimezone(there)) == ()
    assert acme.payments.unsettled(before=NOON.astimezone(there)) == (waits,)
    worlds.obey(world.billing, NOON, "acme", invoice, succeed("py_1"))
    assert acme.payments.unsettled(before=NOON) == ()


def test_what_waits_is_asked_for_with_a_moment(varied: World) -> None:
    for wrong in (NOON.replace(tzinfo=None), TODAY, 3, "now", None):
        asked: Any = wrong
        with pytest.raises(Malformed) as refused:
            varied.acme.payments.unsettled(before=asked)
        assert refused.value.field == "before"
