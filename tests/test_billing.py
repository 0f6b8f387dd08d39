"""Does the front door keep its word: one effect a command, the right errors, nothing half done?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.desk import Request
from counterfoil.billing import Billing, Tenant, actor
from counterfoil.domain import (
    CreditLine,
    Customer,
    Discount,
    Money,
    NewLine,
    Numbering,
    Reason,
    Seller,
    Tax,
)
from counterfoil.domain.errors import Conflict, Malformed, NotFound, Rejected, Unavailable
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.projections.invoice import Invoice

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ADA = Customer(id="cus_1", name="Ada GmbH", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "log.db")
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def billing(database: str, clock: Clock) -> Iterator[Billing]:
    with Billing.open(database, seller=Seller(name="Northwind"), clock=clock) as opened:
        yield opened


@pytest.fixture
def acme(billing: Billing) -> Tenant:
    return billing.tenant("acme")


def draft(tenant: Tenant, *lines: NewLine) -> Invoice:
    return tenant.draft_invoice(customer=ADA, currency="EUR", lines=lines or (WORK,))


def finalized(tenant: Tenant) -> Invoice:
    return tenant.finalize_invoice(draft(tenant).id)


def count(billing: Billing) -> int:
    return len(billing.log.since(0, limit=1000))


def test_an_invoice_goes_from_draft_to_paid(acme: Tenant, clock: Clock) -> None:
    invoice = acme.draft_invoice(
        customer=ADA, currency="EUR", collection_method="send_invoice", days_until_due=30
    )
    assert (invoice.status, invoice.number, invoice.version) == ("draft", None, 1)
    invoice = acme.add_line(
        invoice.id,
        description="Consulting",
        quantity="2.5",
        unit_price="98.50",
        tax=Tax(rate="19"),
        discount=Discount(percent="10"),
    )
    assert (invoice.subtotal, invoice.tax, invoice.total) == (22162, 4211, 26373)
    invoice = acme.finalize_invoice(invoice.id)
    assert (invoice.status, invoice.number) == ("open", "INV-2026-0001")
    assert (invoice.issued_on, invoice.due_date) == (date(2026, 11, 20), date(2026, 12, 20))
    invoice = acme.send_invoice(invoice.id)
    assert invoice.sent_at == NOON
    invoice = acme.record_payment(invoice.id, amount="63.73")
    assert (invoice.amount_paid, invoice.amount_remaining) == (6373, 20000)
    clock.now += timedelta(days=2)
    invoice = acme.record_payment(invoice.id, amount=Money(20000, "EUR"))
    assert (invoice.status, invoice.amount_remaining) == ("paid", 0)
    assert invoice.paid_at == NOON + timedelta(days=2)
    assert invoice.money("total") == Money.of("263.73", "EUR")
    assert acme.get_invoice(invoice.id) == invoice


def test_a_draft_may_change_until_it_is_finalized(acme: Tenant) -> None:
    invoice = draft(acme)
    invoice = acme.add_line(invoice.id, description="Book", quantity=1, unit_price="10.00")
    work, book = invoice.lines
    assert book.tax.category == "outside_scope"
    invoice = acme.change_line(invoice.id, book.id, quantity=3, discount=Discount(amount="5.00"))
    assert (invoice.lines[1].description, invoice.lines[1].amount) == ("Book", 2500)
    invoice = acme.remove_line(invoice.id, work.id)
    invoice = acme.set_discount(invoice.id, Discount(percent="50"))
    assert (invoice.subtotal, invoice.total_discount, invoice.total) == (2500, 1250, 1250)
    invoice = acme.amend_draft(invoice.id, footer="Thank you.", days_until_due=14)
    invoice = acme.amend_draft(invoice.id, description="October")
    assert (invoice.footer, invoice.description) == ("Thank you.", "October")
    invoice = acme.set_metadata(invoice.id, {"order": "4711"})
    assert invoice.metadata == {"order": "4711"}
    invoice = acme.finalize_invoice(invoice.id)
    assert invoice.due_date == date(2026, 12, 4)
    with pytest.raises(Rejected) as refused:
        acme.change_line(invoice.id, book.id, quantity=1)
    assert refused.value.reason is Reason.ALREADY_FINALIZED


def test_a_deleted_draft_is_forgotten_and_its_history_stays(billing: Billing, acme: Tenant) -> None:
    invoice = draft(acme)
    acme.delete_draft(invoice.id)
    acme.delete_draft(invoice.id)
    with pytest.raises(NotFound, match=invoice.id):
        acme.get_invoice(invoice.id)
    kinds = [recorded.envelope.type for recorded in billing.log.read("acme", invoice.id)]
    assert kinds[-1] == "invoice.draft_discarded.v1"


def test_numbers_are_gapless_and_drafts_burn_none(acme: Tenant) -> None:
    numbers = []
    for _ in range(3):
        empty = acme.draft_invoice(customer=ADA, currency="EUR")
        with pytest.raises(Rejected, match="without lines"):
            acme.finalize_invoice(empty.id)
        draft(acme)
        numbers.append(finalized(acme).number)
    assert numbers == ["INV-2026-0001", "INV-2026-0002", "INV-2026-0003"]


def test_a_new_year_is_a_new_series_and_dates_never_go_back(acme: Tenant, clock: Clock) -> None:
    assert finalized(acme).number == "INV-2026-0001"
    with pytest.raises(Rejected) as refused:
        acme.finalize_invoice(draft(acme).id, issued_on=date(2026, 11, 19))
    assert refused.value.reason is Reason.ISSUE_DATE_BACKWARDS
    clock.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert finalized(acme).number == "INV-2027-0001"


def test_the_day_of_issue_is_that_of_the_seller(clock: Clock) -> None:
    clock.now = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    seller = Seller(name="Northwind")
    with Billing.open(":memory:", seller=seller, clock=clock, timezone="Europe/Berlin") as billing:
        assert finalized(billing.tenant("acme")).number == "INV-2027-0001"


def test_each_seller_and_each_tenant_counts_alone(billing: Billing, acme: Tenant) -> None:
    assert finalized(acme).number == "INV-2026-0001"
    assert finalized(billing.tenant("other")).number == "INV-2026-0001"
    second = Seller(id="south", name="Southwind")
    invoice = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], seller=second)
    invoice = acme.finalize_invoice(invoice.id)
    assert (invoice.number, invoice.seller) == ("INV-2026-0001", second)


def test_numbers_look_as_they_are_asked_to() -> None:
    numbering = Numbering(format="R{number:03d}", reset="never", first=42)
    seller = Seller(name="Northwind")
    with Billing.open(":memory:", seller=seller, invoice_numbering=numbering) as billing:
        acme = billing.tenant("acme")
        assert [finalized(acme).number, finalized(acme).number] == ["R042", "R043"]


def test_a_seller_is_required(clock: Clock) -> None:
    with Billing.open(":memory:", clock=clock) as billing:
        with pytest.raises(Malformed) as refused:
            finalized(billing.tenant("acme"))
        assert refused.value.field == "seller"


def test_a_repeated_command_has_one_effect_and_one_answer(billing: Billing, acme: Tenant) -> None:
    once = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], command_id="a")
    assert acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK], command_id="a") == once
    opened = acme.finalize_invoice(once.id, command_id="b")
    part = acme.record_payment(once.id, amount="19.00", command_id="c")
    acme.record_payment(once.id, amount="100.00", command_id="d")
    stored = count(billing)
    assert acme.finalize_invoice(once.id, command_id="b") == opened
    assert acme.record_payment(once.id, amount="19.00", command_id="c") == part
    assert count(billing) == stored


def test_a_command_id_is_for_one_command(billing: Billing, acme: Tenant) -> None:
    invoice = finalized(acme)
    acme.record_payment(invoice.id, amount="19.00", command_id="a")
    stored = count(billing)
    with pytest.raises(Malformed) as refused:
        acme.record_payment(invoice.id, amount="20.00", command_id="a")
    assert refused.value.field == "command_id"
    with pytest.raises(Malformed):
        acme.void_invoice(invoice.id, command_id="a")
    assert count(billing) == stored


def test_a_refused_command_claims_nothing_and_may_be_asked_again(acme: Tenant) -> None:
    invoice = acme.draft_invoice(customer=ADA, currency="EUR")
    with pytest.raises(Rejected):
        acme.finalize_invoice(invoice.id, command_id="a")
    acme.add_line(invoice.id, description="Work", quantity=1, unit_price="1.00")
    assert acme.finalize_invoice(invoice.id, command_id="a").status == "open"


def test_an_expected_version_refuses_what_is_newer(acme: Tenant) -> None:
    invoice = draft(acme)
    acme.set_metadata(invoice.id, {"a": "b"}, expected_version=invoice.version)
    with pytest.raises(Conflict, match="expected was 2"):
        acme.finalize_invoice(invoice.id, expected_version=invoice.version)


def test_an_id_may_be_chosen_and_is_never_overwritten(acme: Tenant) -> None:
    acme.draft_invoice(customer=ADA, currency="EUR", id="in_mine")
    with pytest.raises(Rejected) as refused:
        acme.draft_invoice(customer=ADA, currency="USD", id="in_mine")
    assert refused.value.reason is Reason.ALREADY_EXISTS
    with pytest.raises(Malformed, match="start with in_"):
        acme.draft_invoice(customer=ADA, currency="EUR", id="mine")


def test_what_does_not_exist_is_not_found(billing: Billing, acme: Tenant) -> None:
    invoice = finalized(acme)
    note = acme.issue_credit_note(invoice.id)
    strangers: tuple[Callable[[], object], ...] = (
        lambda: acme.void_invoice("in_nobody"),
        lambda: acme.get_invoice(note.id),
        lambda: acme.void_invoice(note.id),
        lambda: acme.void_invoice("series:default:invoice:main:2026"),
        lambda: acme.void_credit_note(invoice.id),
        lambda: acme.preview_credit_note("in_nobody"),
        lambda: billing.tenant("other").void_invoice(invoice.id),
        lambda: billing.tenant("other").get_invoice(invoice.id),
    )
    for ask in strangers:
        with pytest.raises(NotFound):
            ask()


@pytest.mark.parametrize("name", ["", "a/b", "a b", "\x00", "é", "x" * 101])
def test_a_tenant_has_a_plain_name(billing: Billing, name: str) -> None:
    with pytest.raises(Malformed) as refused:
        billing.tenant(name)
    assert refused.value.field == "tenant"


@pytest.mark.parametrize("name", ["in_\x00", "in_" + "x" * 10_000_000, "in_ '; DROP TABLE facts"])
def test_an_impossible_id_is_not_found_or_malformed(acme: Tenant, name: str) -> None:
    with pytest.raises(NotFound, match="no such invoice"):
        acme.get_invoice(name)
    with pytest.raises(NotFound, match="no such invoice"):
        acme.void_invoice(name)
    with pytest.raises(Malformed):
        acme.draft_invoice(customer=ADA, currency="EUR", id=name)
    with pytest.raises(Malformed) as refused:
        acme.draft_invoice(customer=ADA, currency="EUR", command_id=name)
    assert refused.value.field == "command_id"


def test_a_misspelt_option_is_refused_before_anything_happens(acme: Tenant) -> None:
    invoice = finalized(acme)
    misspelt: dict[str, Any] = {"comand_id": "k"}
    with pytest.raises(Malformed) as refused:
        acme.record_payment(invoice.id, amount="10.00", **misspelt)
    assert refused.value.field == "comand_id"
    with pytest.raises(Conflict):
        acme.draft_invoice(customer=ADA, currency="EUR", expected_version=9)


def test_what_was_put_together_unchecked_is_checked_before_it_is_stored(
    billing: Billing, acme: Tenant
) -> None:
    unprintable = ADA.model_copy(update={"name": "a\x00b"})
    with pytest.raises(Malformed) as refused:
        acme.draft_invoice(customer=unprintable, currency="EUR")
    assert "name" in refused.value.field
    constructed = Customer.model_construct(id="cus_1", name=object())
    with pytest.raises(Malformed):
        acme.draft_invoice(customer=constructed, currency="EUR")
    negative = WORK.model_copy(update={"unit_price": Decimal(-1)})
    with pytest.raises(Malformed, match="unit_price"):
        draft(acme, negative)
    assert count(billing) == 0


def test_input_of_a_wrong_type_names_its_field(acme: Tenant, clock: Clock) -> None:
    invoice = draft(acme)
    wrong: tuple[tuple[str, Callable[[Any], object], Any], ...] = (
        ("issued_on", lambda day: acme.finalize_invoice(invoice.id, issued_on=day), "2026-01-01"),
        ("lines", lambda lines: acme.issue_credit_note(invoice.id, lines=lines), "abc"),
        ("lines", lambda lines: acme.draft_invoice(customer=ADA, currency="EUR", lines=lines), 5),
        ("expected_version", lambda v: acme.void_invoice(invoice.id, expected_version=v), "1"),
        ("database", Billing.open, None),
        ("database", Billing.open, "mysql://server"),
        ("database", Billing.open, ""),
        ("seller", lambda seller: Billing.open(":memory:", seller=seller), "x"),
        ("timezone", lambda zone: Billing.open(":memory:", timezone=zone), 5),
    )
    for field, ask, value in wrong:
        with pytest.raises(Malformed) as refused:
            ask(value)
        assert refused.value.field == field
    clock.now = NOON.replace(tzinfo=None)
    with pytest.raises(Malformed, match="time zone"):
        draft(acme)


def test_the_table_answers_before_anything_else_is_looked_at(acme: Tenant) -> None:
    empty = acme.draft_invoice(customer=Customer(id="cus_2", name="Bob"), currency="EUR")
    done = finalized(acme)
    asked: tuple[tuple[Reason, Callable[[], object]], ...] = (
        (Reason.IS_DRAFT, lambda: acme.send_invoice(empty.id)),
        (Reason.NO_LINES, lambda: acme.finalize_invoice(empty.id, issued_on=date(2020, 1, 1))),
        (Reason.ALREADY_FINALIZED, lambda: acme.change_line(done.id, "li_nope", quantity=1)),
    )
    for reason, ask in asked:
        with pytest.raises(Rejected) as refused:
            ask()
        assert refused.value.reason is reason


def test_a_deleted_draft_obeys_nothing(acme: Tenant) -> None:
    deleted = draft(acme).id
    acme.delete_draft(deleted)
    asked: tuple[Callable[[], object], ...] = (
        lambda: acme.finalize_invoice(deleted),
        lambda: acme.send_invoice(deleted),
        lambda: acme.amend_draft(deleted, footer="x"),
        lambda: acme.set_metadata(deleted, {"a": "b"}),
    )
    for ask in asked:
        with pytest.raises(Rejected) as refused:
            ask()
        assert refused.value.reason is Reason.DISCARDED


def test_a_credit_note_of_one_id_is_issued_once(acme: Tenant) -> None:
    invoice = finalized(acme)
    note = acme.issue_credit_note(invoice.id, id="cn_mine", amount="19.00")
    assert acme.issue_credit_note(invoice.id, id="cn_mine", amount="19.00") == note
    for other in (invoice.id, finalized(acme).id):
        with pytest.raises(Rejected) as refused:
            acme.issue_credit_note(other, id="cn_mine", amount="20.00")
        assert refused.value.reason is Reason.ALREADY_EXISTS


def test_the_fingerprint_of_a_command_is_for_ever() -> None:
    said = {"customer": ADA, "amount": Money(1, "EUR"), "lines": (WORK,), "footer": None}
    assert Request("draft_invoice", said, {}).fingerprint.hex() == FINGERPRINT


FINGERPRINT = "36660ec3c85cbe54e7213b5bb56ca7bfb3134550b9635d9c188efd6bc7c8b650"


def test_a_closed_billing_is_unavailable(database: str) -> None:
    with Billing.open(database) as billing:
        acme = billing.tenant("acme")
    with pytest.raises(Unavailable):
        acme.get_invoice("in_1")


def test_a_credit_note_lowers_what_is_due_and_its_void_raises_it_again(acme: Tenant) -> None:
    invoice = finalized(acme)
    preview = acme.preview_credit_note(invoice.id, amount="19.00")
    note = acme.issue_credit_note(invoice.id, amount="19.00", reason="damaged")
    assert (note.number, note.total, note.pre_payment_amount) == ("CN-2026-0001", 1900, 1900)
    assert preview.credit.total == note.total
    invoice = acme.get_invoice(invoice.id)
    assert (invoice.total, invoice.amount_due, invoice.amount_remaining) == (11900, 10000, 10000)
    with pytest.raises(Rejected, match=note.id):
        acme.void_invoice(invoice.id)
    voided = acme.void_credit_note(note.id, reason="was fine")
    assert (voided.status, voided.voided_at) == ("void", NOON)
    assert acme.void_credit_note(note.id) == voided
    assert acme.void_invoice(invoice.id).status == "void"


def test_a_credit_note_after_payment_says_where_the_money_went(acme: Tenant) -> None:
    invoice = finalized(acme)
    acme.record_payment(invoice.id, amount="119.00")
    line = CreditLine(line=invoice.lines[0].id, quantity=1)
    with pytest.raises(Rejected) as refused:
        acme.issue_credit_note(invoice.id, lines=[line], refund="1.00")
    assert refused.value.reason is Reason.SPLIT_MISMATCH
    note = acme.issue_credit_note(invoice.id, lines=[line], refund="50.00", out_of_band="9.50")
    assert (note.total, note.post_payment_amount) == (5950, 5950)
    assert (note.refund, note.customer_credit, note.out_of_band) == (5000, 0, 950)
    assert acme.get_invoice(invoice.id).post_payment_credit_notes_amount == 5950


def test_an_outsider_that_is_canonical_is_believed_once(acme: Tenant) -> None:
    invoice = finalized(acme)
    for _ in range(2):
        invoice = acme.reconcile_invoice(
            invoice.id, status="paid", provider_event_id="evt_1", occurred_at=NOON
        )
    assert (invoice.status, invoice.amount_remaining, invoice.version) == ("paid", 0, 4)


def test_facts_know_who_did_it(billing: Billing, acme: Tenant) -> None:
    with actor("user", "u_42"):
        invoice = draft(acme)
    acme.finalize_invoice(invoice.id, command_id="cmd_7")
    recorded = billing.log.read("acme", invoice.id)
    assert [str(one.envelope.actor.id) for one in recorded] == ["u_42", "u_42", "system"]
    assert recorded[-1].envelope.command_id == "cmd_7"


def test_an_actor_of_an_unknown_kind_is_malformed() -> None:
    with pytest.raises(Malformed), actor("robot", "r_1"):
        pass


def at_once(count: int, ask: Callable[[], Invoice]) -> list[Invoice]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: ask(), range(count)))


def test_two_payments_at_once_are_both_kept(acme: Tenant) -> None:
    invoice = finalized(acme)
    at_once(8, lambda: acme.record_payment(invoice.id, amount="10.00"))
    assert acme.get_invoice(invoice.id).amount_paid == 8000


def test_one_command_id_sent_eight_times_at_once_has_one_effect(acme: Tenant) -> None:
    invoice = finalized(acme)
    answers = at_once(8, lambda: acme.record_payment(invoice.id, amount="10.00", command_id="once"))
    assert all(answer == answers[0] for answer in answers)
    assert acme.get_invoice(invoice.id).amount_paid == 1000


def test_twins_with_an_expected_version_get_one_answer(acme: Tenant) -> None:
    invoice = draft(acme)
    answers = at_once(
        8,
        lambda: acme.set_metadata(
            invoice.id, {"a": "b"}, command_id="once", expected_version=invoice.version
        ),
    )
    assert all(answer == answers[0] for answer in answers)


def test_an_invoice_finalized_at_once_gets_one_number(acme: Tenant) -> None:
    invoice = draft(acme)
    answers = at_once(8, lambda: acme.finalize_invoice(invoice.id))
    assert {answer.number for answer in answers} == {"INV-2026-0001"}
    assert finalized(acme).number == "INV-2026-0002"


def test_finalizing_at_once_leaves_no_gap(acme: Tenant) -> None:
    drafts = iter([draft(acme).id for _ in range(16)])
    invoices = at_once(16, lambda: acme.finalize_invoice(next(drafts)))
    assert sorted(str(invoice.number) for invoice in invoices) == [
        f"INV-2026-{place:04d}" for place in range(1, 17)
    ]


def test_the_database_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Malformed, match="COUNTERFOIL_DATABASE"):
        Billing.from_env()
    monkeypatch.setenv("COUNTERFOIL_DATABASE", str(tmp_path / "log.db"))
    with Billing.from_env() as billing:
        assert draft(billing.tenant("acme")).status == "draft"
    assert (tmp_path / "log.db").exists()


def test_an_unknown_time_zone_is_malformed() -> None:
    with pytest.raises(Malformed, match="IANA"):
        Billing.open(":memory:", timezone="Mars/Olympus")
