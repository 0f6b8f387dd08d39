"""Does a walk along a list show each thing once, whatever is added or goes away meanwhile?"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.billing import Billing, Page, Tenant
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.invoice import decisions, state
from counterfoil.domain.invoice.commands import DraftInvoice
from counterfoil.domain.invoice.events import InvoiceDrafted, Terms
from counterfoil.domain.ports import Append, Origin, Stream
from counterfoil.domain.value import InvoiceId
from examples import attempt, item
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MANY = 10_000
ADA = Customer(id="cus_1", name="Ada GmbH")
BOB = Customer(id="cus_2", name="Bob Ltd")


def priced(unit_price: str, description: str = "Work") -> NewLine:
    return NewLine(
        description=description,
        quantity="1",
        unit_price=unit_price,
        tax=Tax(rate="0", category="zero"),
    )


WORK = priced("1.00")
SYSTEM = Actor(type="system", id="test")

Ask = Any  # any method that takes limit, starting_after and ending_before


@pytest.fixture(params=["sqlite", "postgres"])
def billing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Billing]:
    """A billing whose clock stands, so that everything in it happens at the same moment."""
    if request.param == "sqlite":
        url = str(tmp_path / "log.db")
        with Billing.open(url, seller=Seller(name="Northwind"), clock=noon) as opened:
            yield opened
        return
    with (
        postgres.ready(request.getfixturevalue("postgres_url")) as url,
        Billing.open(url, seller=Seller(name="Northwind"), clock=noon) as opened,
    ):
        yield opened


@pytest.fixture
def acme(billing: Billing) -> Tenant:
    return billing.tenant("acme")


def noon() -> datetime:
    return NOON


def fill(billing: Billing, many: int) -> list[str]:
    """Draft so many invoices in one unit of work, with ids in no order; every second is Bob's."""
    ids = [f"in_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}" for place in range(many)]
    facts = {}
    for customer in (ADA, BOB):
        asked = DraftInvoice(
            invoice=InvoiceId("in_0"),
            currency="EUR",
            terms=Terms(customer=customer),
            lines=(item(),),
        )
        facts[customer.id] = decisions.decide(asked, None)
    appends = []
    for place, id in enumerate(ids):
        drafted, *lines = facts[(ADA, BOB)[place % 2].id]
        assert isinstance(drafted, InvoiceDrafted)
        named = drafted.model_copy(update={"invoice": id})
        appends.append(Append(Stream(id, (), 0, GENESIS), (named, *lines)))
    with billing.log.transaction("acme") as transaction:
        transaction.append(appends, Origin(NOON, SYSTEM, "fill"), None)
    return ids


def forwards(ask: Ask, limit: int, between: Callable[[str], object] = lambda _: None) -> list[str]:
    """The ids that a walk from the newest to the oldest shows; every page but the last is full."""
    return _walk(ask, limit, between, "starting_after")


def backwards(
    ask: Ask, limit: int, before: str, between: Callable[[str], object] = lambda _: None
) -> list[str]:
    """The ids that a walk towards the newest shows from right before one, in the order shown."""
    return _walk(ask, limit, between, "ending_before", before)


def _walk(
    ask: Ask,
    limit: int,
    between: Callable[[str], object],
    direction: str,
    cursor: str | None = None,
) -> list[str]:
    seen: list[str] = []
    while True:
        place = {} if cursor is None else {direction: cursor}
        page: Page[Any] = ask(limit=limit, **place)
        shown = [one.id for one in page]
        assert len(page) == limit or not page.has_more
        seen = seen + shown if direction == "starting_after" else shown + seen
        if not page.has_more:
            return seen
        cursor = shown[-1] if direction == "starting_after" else shown[0]
        between(cursor)


def draft(tenant: Tenant, customer: Customer = ADA, **said: Any) -> str:
    return tenant.draft_invoice(customer=customer, currency="EUR", **said).id


def sold(tenant: Tenant, customer: Customer = ADA) -> str:
    return tenant.finalize_invoice(draft(tenant, customer, lines=[WORK])).id


def obey(billing: Billing, tenant: str, invoice: str, command: Any) -> None:
    """Obey a command that the front door does not offer."""
    with billing.log.transaction(tenant) as transaction:
        stream = transaction.read(invoice)
        facts: Any = stream.facts
        new = decisions.decide(command, state.fold(facts))
        transaction.append([Append(stream, new)], Origin(NOON, SYSTEM, "cmd"), None)


# --- ten thousand of the same second --------------------------------------------------------


@pytest.mark.slow
def test_ten_thousand_invoices_of_the_same_second_are_each_shown_once_in_both_directions(
    billing: Billing, acme: Tenant
) -> None:
    ids = fill(billing, MANY)
    order = sorted(ids, reverse=True)
    gone: list[str] = []
    places = count()

    def disturb(cursor: str) -> None:
        # Somebody drafts right before, right behind and far from it, and deletes what was read.
        place = next(places)
        if place % 5:
            return
        for name in (f"{cursor}.{place}", f"{cursor[:-1]}.{place}", f"in_{place * 89:04x}.x"):
            draft(acme, BOB, id=name)
        if len(gone) < 20:
            acme.delete_draft(cursor)
            gone.append(cursor)

    there = set(ids)
    seen = forwards(acme.invoices.list, 100, disturb)
    assert len(seen) == len(set(seen))
    assert [id for id in seen if id in there] == order
    assert seen == sorted(seen, reverse=True)

    there -= set(gone)
    gone.clear()
    oldest = seen[-1]
    back = backwards(acme.invoices.list, 100, oldest, disturb)
    assert len(back) == len(set(back))
    assert back == sorted(back, reverse=True)
    assert [id for id in back if id in there] == [id for id in order if id in there][
        : len([id for id in there if id > oldest])
    ]


def test_a_filtered_list_of_the_same_second_is_walked_alike(billing: Billing, acme: Tenant) -> None:
    ids = fill(billing, 1_000)
    order = sorted(ids[1::2], reverse=True)
    lists: Sequence[Ask] = (
        lambda **asked: acme.invoices.list(customer="cus_2", **asked),
        lambda **asked: acme.invoices.list(customer="cus_2", status="draft", **asked),
        lambda **asked: acme.invoices.find_by_customer("cus_2", **asked),
    )
    for ask in lists:
        assert forwards(ask, 99, lambda _: draft(acme)) == order
        assert backwards(ask, 99, order[-1]) == order[:-1]
        # A cursor that the filters do not let through is a place in the order all the same.
        other = sorted(ids[0::2], reverse=True)[250]
        after = [id for id in order if id < other]
        assert [one.id for one in ask(starting_after=other)] == after[:10]
        before = [id for id in order if id > other]
        assert [one.id for one in ask(ending_before=other)] == before[-10:]


def test_the_walk_of_all_is_the_walk_of_the_pages_turned_round(
    billing: Billing, acme: Tenant
) -> None:
    ids = fill(billing, 1_501)
    assert [one.id for one in acme.invoices.all()] == sorted(ids)
    assert [one.id for one in acme.invoices.all(customer="cus_1")] == sorted(ids[0::2])


@pytest.mark.parametrize("many", [500, 501])
def test_all_of_them_ends_where_a_step_ends(billing: Billing, acme: Tenant, many: int) -> None:
    assert [one.id for one in acme.invoices.all()] == []
    ids = fill(billing, many)
    assert [one.id for one in acme.invoices.all()] == sorted(ids)


# --- the edges of a page --------------------------------------------------------------------


def test_an_empty_list_has_one_empty_page_everywhere(acme: Tenant) -> None:
    for ask in (acme.invoices.list, acme.payments.list, acme.credit_notes.list):
        page: Page[Any] = ask()
        assert (page.data, page.has_more, len(page), list(page)) == ((), False, 0, [])
    assert acme.customers.list() == Page((), has_more=False)
    assert acme.series.all() == ()
    invoice = draft(acme)
    assert acme.invoices.lines(invoice) == Page((), has_more=False)
    assert acme.invoices.list(status="paid") == Page((), has_more=False)


def test_has_more_is_right_at_every_place_in_both_directions(
    billing: Billing, acme: Tenant
) -> None:
    order = sorted(fill(billing, 6), reverse=True)
    ask = acme.invoices.list
    for limit in (1, 2, 3, 5, 6, 7, 100):
        first = ask(limit=limit)
        assert [one.id for one in first] == order[:limit]
        assert first.has_more == (limit < 6)
        for place, cursor in enumerate(order):
            after, before = (
                ask(limit=limit, starting_after=cursor),
                ask(limit=limit, ending_before=cursor),
            )
            assert [one.id for one in after] == order[place + 1 :][:limit]
            assert after.has_more == (len(order) - place - 1 > limit)
            assert [one.id for one in before] == order[:place][-limit:]
            assert before.has_more == (place > limit)


def test_ten_is_the_limit_unless_another_is_said(billing: Billing, acme: Tenant) -> None:
    fill(billing, 11)
    page = acme.invoices.list()
    assert (len(page), page.has_more) == (10, True)
    assert len(acme.invoices.find_by_status("draft")) == 10


def test_a_deleted_draft_is_still_a_place_in_the_order(billing: Billing, acme: Tenant) -> None:
    order = sorted(fill(billing, 5), reverse=True)
    acme.delete_draft(order[2])
    assert [one.id for one in acme.invoices.list(starting_after=order[2])] == order[3:]
    assert [one.id for one in acme.invoices.list(ending_before=order[2])] == order[:2]
    assert [one.id for one in acme.invoices.list()] == order[:2] + order[3:]
    assert acme.invoices.count() == 4


def test_lists_are_newest_first_whatever_the_ids_are(billing: Billing) -> None:
    now = [NOON]
    with Billing.open(":memory:", clock=lambda: now[0]) as memory:
        acme = memory.tenant("acme")
        ids = [draft(acme, id=f"in_{letter}") for letter in "zxy"]
        now[0] = NOON.replace(hour=11)  # a clock that was set back
        early = draft(acme, id="in_w")
        assert [one.id for one in acme.invoices.list()] == ["in_z", "in_y", "in_x", early]
        assert [one.id for one in acme.invoices.all()] == [early, "in_x", "in_y", "in_z"]
        assert len(ids) == 3


def test_ids_are_ordered_byte_by_byte_in_both_databases(acme: Tenant) -> None:
    ids = ["in_a", "in_B", "in_~", "in_-", "in_a-b", "in_ab", "in_A", "in_0", "in_10", "in_9"]
    for id in ids:
        draft(acme, id=id)
    assert forwards(acme.invoices.list, 3) == sorted(ids, reverse=True)


# --- the other lists ------------------------------------------------------------------------


def test_lines_are_paged_in_the_order_in_which_they_were_added(acme: Tenant) -> None:
    lines = [priced("1.00", str(place)) for place in range(205)]
    invoice = acme.draft_invoice(customer=ADA, currency="EUR", lines=lines)
    order = [line.id for line in invoice.lines]

    def ask(**asked: Any) -> Any:
        return acme.invoices.lines(invoice.id, **asked)

    for limit in (100, 41, 205 // 5, 100):
        assert forwards(ask, limit) == order
        assert backwards(ask, limit, order[-1]) == order[:-1]
    assert [line.id for line in ask(limit=1)] == order[:1]
    acme.remove_line(invoice.id, order[100])
    left = order[:100] + order[101:]
    assert forwards(ask, 50) == left
    assert (
        tuple(acme.invoices.lines(invoice.id, limit=3)) == acme.invoices.get(invoice.id).lines[:3]
    )


def test_a_line_of_another_invoice_is_no_cursor(acme: Tenant) -> None:
    one, two = (acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK]) for _ in range(2))
    for place in ("starting_after", "ending_before"):
        asked: Any = {place: two.lines[0].id}
        with pytest.raises(NotFound):
            acme.invoices.lines(one.id, **asked)
        asked = {place: two.id}
        with pytest.raises(NotFound):
            acme.invoices.lines(one.id, **asked)
    with pytest.raises(NotFound):
        acme.invoices.lines("in_none")
    acme.delete_draft(one.id)
    with pytest.raises(NotFound):
        acme.invoices.lines(one.id)


def test_payments_of_the_same_second_are_each_shown_once(billing: Billing, acme: Tenant) -> None:
    invoice, other = (
        acme.finalize_invoice(draft(acme, who, lines=[priced("81.00")])).id for who in (ADA, BOB)
    )
    for _ in range(12):
        acme.record_payment(invoice, amount=1)
        acme.record_payment(other, amount=1)
    obey(billing, "acme", invoice, attempt("py_attempt"))
    page = acme.payments.list(limit=100)
    order = [one.id for one in page]
    assert order == sorted(order, reverse=True)
    assert (len(order), page.has_more) == (25, False)
    for limit in (1, 5, 7):
        assert forwards(acme.payments.list, limit) == order
        assert backwards(acme.payments.list, limit, order[-1]) == order[:-1]
    mine = [one.id for one in page if one.invoice == invoice]

    def ask(**asked: Any) -> Any:
        return acme.payments.list(invoice=invoice, **asked)

    assert forwards(ask, 4) == mine
    assert [one.id for one in acme.payments.list(status="processing")] == ["py_attempt"]


def test_credit_notes_of_the_same_second_are_each_shown_once(acme: Tenant) -> None:
    big = priced("100.00")
    first, second = (acme.finalize_invoice(draft(acme, who, lines=[big])).id for who in (ADA, BOB))
    for _ in range(11):
        acme.issue_credit_note(first, amount="1.00")
        acme.issue_credit_note(second, amount="1.00")
    order = [one.id for one in acme.credit_notes.list(limit=100)]
    assert (len(order), order) == (22, sorted(order, reverse=True))
    for limit in (1, 10, 11):
        assert forwards(acme.credit_notes.list, limit) == order
        assert backwards(acme.credit_notes.list, limit, order[-1]) == order[:-1]

    def ask(**asked: Any) -> Any:
        return acme.credit_notes.list(customer="cus_2", **asked)

    assert len(forwards(ask, 4)) == 11
    assert all(one.customer.id == "cus_2" for one in ask(limit=100))
    assert ask(invoice=second, limit=100) == ask(limit=100)


def test_customers_are_each_shown_once_by_id_and_currency(acme: Tenant) -> None:
    wanted = []
    for place in range(12):
        who = Customer(id=f"cus_{place:02d}", name=f"Customer {place}")
        for currency in ("EUR", "USD")[: 1 + place % 2]:
            invoice = acme.draft_invoice(customer=who, currency=currency, lines=[WORK])
            acme.finalize_invoice(invoice.id)
            wanted.append((who.id, currency))
    for limit in (1, 4, 9, 18, 100):
        seen: list[tuple[str, str]] = []
        cursor = None
        while True:
            page = acme.customers.list(limit=limit, starting_after=cursor)
            seen += [(one.customer, one.currency) for one in page]
            if not page.has_more:
                break
            cursor = seen[-1]
        assert seen == wanted


def test_numbers_of_a_series_are_each_shown_once_in_their_order(acme: Tenant) -> None:
    documents = [sold(acme) for _ in range(21)]
    (series,) = acme.series.all()
    for limit in (1, 7, 21, 100):
        seen: list[tuple[int, str]] = []
        after = None
        while True:
            page = acme.series.numbers(series.series, limit=limit, after=after)
            seen += [(one.place, one.document) for one in page]
            if not page.has_more:
                break
            after = seen[-1][0]
        assert seen == list(enumerate(documents, 1))
    assert (series.first, series.last, series.used, series.gaps) == (1, 21, 21, 0)


# --- what is no place in a list -------------------------------------------------------------


def test_what_is_not_in_the_list_is_no_cursor(billing: Billing, acme: Tenant) -> None:
    other = billing.tenant("other")
    theirs = sold(other)
    other.record_payment(theirs, amount=1)
    their_note = other.issue_credit_note(theirs, amount="0.10").id
    mine = sold(acme)
    acme.record_payment(mine, amount=1)
    note = acme.issue_credit_note(mine, amount="0.10").id
    payment = acme.payments.list().data[0].id
    line = acme.invoices.get(mine).lines[0].id
    their_payment = other.payments.list().data[0].id
    (series, _) = acme.series.all()
    lists: Sequence[tuple[Ask, Sequence[str]]] = (
        (acme.invoices.list, (theirs, note, payment, line, "in_none", f"series:{series.series}")),
        (acme.credit_notes.list, (their_note, mine, payment, "cn_none")),
        (acme.payments.list, (their_payment, mine, note, "py_none")),
    )
    for ask, strangers in lists:
        for stranger in (*strangers, "' OR 1=1 --", "%", "_", "in_%", mine.upper(), f"{mine} "):
            for place in ("starting_after", "ending_before"):
                with pytest.raises(NotFound):
                    ask(**{place: stranger})


@pytest.mark.parametrize("cursor", ["", "\0", "a\0b", "\ud800", "x" * 10_000, 3, True, b"in_1", []])
def test_what_can_be_no_id_is_no_cursor_either(acme: Tenant, cursor: object) -> None:
    draft(acme)
    lists: Sequence[Ask] = (acme.invoices.list, acme.credit_notes.list, acme.payments.list)
    for ask in lists:
        for place in ("starting_after", "ending_before"):
            with pytest.raises((Malformed, NotFound)):
                ask(**{place: cursor})


def test_both_cursors_together_are_refused(acme: Tenant) -> None:
    invoice = draft(acme, lines=[WORK])
    asked: Any = {"starting_after": invoice, "ending_before": invoice}
    lists: Sequence[Ask] = (
        acme.invoices.list,
        acme.credit_notes.list,
        acme.payments.list,
        lambda **asked: acme.invoices.lines(invoice, **asked),
        lambda **asked: acme.invoices.find_by_customer("cus_1", **asked),
        lambda **asked: acme.invoices.find_by_status("draft", **asked),
    )
    for ask in lists:
        with pytest.raises(Malformed) as refused:
            ask(**asked)
        assert refused.value.field == "ending_before"


@pytest.mark.parametrize("limit", [0, 101, -1, "abc", "10", True, False, 1.5, 10.0, None, 2**70])
def test_a_limit_is_a_whole_number_from_1_to_100(acme: Tenant, limit: Any) -> None:
    invoice = draft(acme)
    lists: Sequence[Ask] = (
        acme.invoices.list,
        acme.credit_notes.list,
        acme.payments.list,
        acme.customers.list,
        lambda **asked: acme.series.numbers("default:invoice:main:2026", **asked),
        lambda **asked: acme.invoices.lines(invoice, **asked),
        lambda **asked: acme.invoices.find_by_customer("cus_1", **asked),
        lambda **asked: acme.invoices.find_by_status("draft", **asked),
        lambda **asked: acme.invoices.find_by_subscription("sub_1", **asked),
    )
    for ask in lists:
        with pytest.raises(Malformed) as refused:
            ask(limit=limit)
        assert refused.value.field == "limit"


@pytest.mark.parametrize("cursor", ["cus_1", ("cus_1",), ("cus_1", "EUR", 3), ("", "EUR"), 5])
def test_a_place_among_customers_is_an_id_and_a_currency(acme: Tenant, cursor: Any) -> None:
    sold(acme)
    with pytest.raises(Malformed):
        acme.customers.list(starting_after=cursor)


@pytest.mark.parametrize("cursor", [("cus_none", "EUR"), ("cus_1", "USD"), ("cus_1", "EURO")])
def test_a_customer_who_was_never_invoiced_is_no_cursor(
    acme: Tenant, cursor: tuple[str, str]
) -> None:
    sold(acme)
    with pytest.raises((NotFound, Malformed)):
        acme.customers.list(starting_after=cursor)


@pytest.mark.parametrize("after", ["1", 1.0, True])
def test_a_place_in_a_series_is_a_whole_number(acme: Tenant, after: Any) -> None:
    with pytest.raises(Malformed):
        acme.series.numbers("default:invoice:main:2026", after=after)


@pytest.mark.parametrize("billing", ["sqlite"], indirect=True)
def test_a_place_in_a_series_beyond_every_number_is_no_foreign_error(acme: Tenant) -> None:
    with suppress(Malformed):
        assert acme.series.numbers("default:invoice:main:2026", after=2**70).data == ()
