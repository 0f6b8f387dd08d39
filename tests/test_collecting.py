"""Is what is due collected once, whoever else collects and whatever fails?"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.processors.fake import Fault
from counterfoil.billing import (
    ActionRequired,
    Billing,
    Declined,
    FakeProcessor,
    Paid,
    Processing,
    Schedule,
    Tenant,
    actor,
)
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import (
    Conflict,
    CorruptHistory,
    Malformed,
    NotFound,
    ProcessorNotConfigured,
    RateLimited,
    Reason,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice.collecting import Collect, GiveUp, Nothing, Settle, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.adapters.tenant.collecting import Collected
    from counterfoil.domain.ports import Charge, Outcome

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
VISA = "pm_card_visa"
DECLINED = "pm_card_chargeDeclined"
STOLEN = "pm_card_chargeDeclinedStolenCard"
ASKS = "pm_card_authenticationRequired"
DEBIT = "pm_usBankAccount"


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Shop:
    """A billing, its clock, and the processor behind it."""

    billing: Billing
    acme: Tenant
    fake: FakeProcessor
    clock: Clock

    def open(self, place: int = 1, **said: Any) -> str:
        customer = Customer(id=f"cus_{place}", name=f"Customer {place}")
        draft = self.acme.draft_invoice(customer=customer, currency="EUR", lines=[WORK], **said)
        return self.acme.finalize_invoice(draft.id).id

    def pays_with(self, method: str | None, place: int = 1) -> None:
        self.fake.methods[f"cus_{place}"] = method

    def collect(self, **said: Any) -> list[Collected]:
        return list(self.acme.collect_payments(**said))

    def facts(self, invoice: str) -> list[str]:
        return [type(one.fact).__name__ for one in self.billing.log.read("acme", invoice)]

    def charged(self, invoice: str) -> int:
        return sum(one.status == "succeeded" for one in self.fake.booked(invoice))


def opened(
    fake: FakeProcessor | None = None, database: str | Path = ":memory:", **said: Any
) -> Shop:
    fake, clock = fake or FakeProcessor(), Clock()
    billing = Billing.open(
        database,
        seller=Seller(name="Northwind"),
        clock=clock,
        processor=fake,
        pdf=None,
        documents=None,
        **said,
    )
    return Shop(billing, billing.tenant("acme"), fake, clock)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = opened()
    yield shop
    shop.billing.close()


# --- what is due ----------------------------------------------------------------------------------


def test_what_is_due_is_charged_once(shop: Shop) -> None:
    invoice = shop.open()
    (done,) = shop.collect()
    assert done.step == Collect(1)
    assert isinstance(done.outcome, Paid)
    assert (done.invoice.id, done.invoice.status) == (invoice, "paid")
    assert shop.collect() == []
    assert shop.charged(invoice) == 1


def test_nothing_is_charged_before_the_day_begins() -> None:
    shop = opened(timezone="America/Los_Angeles")
    invoice = shop.open(due_date=date(2026, 12, 1))
    begins = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
    shop.clock.now = begins - SECOND
    assert shop.collect()[0].step == Wait(begins)
    assert shop.fake.calls == 0
    shop.clock.now = begins
    assert isinstance(shop.collect()[0].outcome, Paid)
    assert shop.charged(invoice) == 1
    shop.billing.close()


def test_only_what_is_open_and_charged_automatically_is_looked_at(shop: Shop) -> None:
    shop.acme.draft_invoice(customer=Customer(id="cus_1", name="A"), currency="EUR", lines=[WORK])
    asked = shop.open(collection_method="send_invoice", due_date=date(2026, 11, 20))
    void, lost, paid = shop.open(), shop.open(), shop.open()
    shop.acme.void_invoice(void)
    shop.acme.mark_uncollectible(lost)
    shop.acme.record_payment(paid, amount="119.00")
    assert shop.collect(now=NOON + 100 * DAY) == []
    assert shop.acme.next_collection_step(asked) == Nothing("send_invoice")
    assert shop.fake.calls == 0


def test_a_part_that_came_is_not_charged_again(shop: Shop) -> None:
    invoice = shop.open()
    shop.acme.record_payment(invoice, amount="100.00")
    shop.collect()
    (charge,) = shop.fake.booked(invoice)
    assert charge.amount.minor == 1_900


def test_after_each_refusal_it_is_tried_again_as_the_schedule_says(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(DECLINED)
    for attempt, days in enumerate((1, 3, 5, 7), 1):
        (done,) = shop.collect()
        assert isinstance(done.step, Collect)
        assert (done.step.attempt, done.step.not_with) == (attempt, None)
        assert done.step.ends == (None if attempt == 1 else NOON + 16 * DAY)
        assert isinstance(done.outcome, Declined)
        again = shop.clock.now + days * DAY
        shop.clock.now = again - SECOND
        assert shop.collect()[0].step == Wait(again)
        shop.clock.now = again
    shop.pays_with(VISA)
    assert isinstance(shop.collect()[0].outcome, Paid)
    assert len(shop.fake.booked(invoice)) == 5


def test_another_schedule_is_held(shop: Shop) -> None:
    shop.open()
    shop.pays_with(DECLINED)
    schedule = Schedule(retry_after_days=(2,))
    assert isinstance(shop.collect(schedule=schedule)[0].outcome, Declined)
    shop.clock.now += 2 * DAY
    assert isinstance(shop.collect(schedule=schedule)[0].outcome, Declined)
    shop.clock.now += 100 * DAY
    assert shop.collect(schedule=schedule)[0].step == GiveUp(2)


# --- giving up ------------------------------------------------------------------------------------

ONCE = Schedule(retry_after_days=())


def test_nothing_is_given_up_unasked(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(DECLINED)
    shop.collect(schedule=ONCE)
    calls = shop.fake.calls
    (done,) = shop.collect(schedule=ONCE)
    assert done.step == GiveUp(1)
    assert shop.acme.get_invoice(invoice).status == "open"
    (done,) = shop.collect(schedule=ONCE, give_up=True, dry_run=True)
    assert shop.acme.get_invoice(invoice).status == "open"
    assert shop.fake.calls == calls


def test_what_was_refused_often_enough_is_given_up_when_that_is_asked(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(DECLINED)
    shop.collect(schedule=ONCE, give_up=True)
    assert shop.acme.get_invoice(invoice).status == "open"
    shop.collect(schedule=ONCE, give_up=True)
    assert shop.acme.get_invoice(invoice).status == "uncollectible"
    last = shop.billing.log.read("acme", invoice)[-1].fact
    assert getattr(last, "reason", None) == "payments refused: 1"
    assert shop.collect(schedule=ONCE, give_up=True) == []


def test_what_was_given_up_is_shown_as_it_is_now(shop: Shop) -> None:
    shop.open()
    shop.pays_with(DECLINED)
    shop.collect(schedule=ONCE)
    (done,) = shop.collect(schedule=ONCE, give_up=True)
    assert done.invoice.status == "uncollectible"


# --- payment methods ------------------------------------------------------------------------------


def test_who_has_no_payment_method_is_not_charged(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(None)
    (done,) = shop.collect()
    assert (done.step, done.outcome, done.error) == (Nothing("no_payment_method"), None, None)
    assert "PaymentAttempted" not in shop.facts(invoice)
    shop.pays_with(VISA)
    assert isinstance(shop.collect()[0].outcome, Paid)


def test_a_method_that_was_refused_for_good_is_not_asked_again(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(STOLEN)
    shop.collect()
    assert shop.collect()[0].step == Wait(NOON + DAY)
    for _ in range(15):
        shop.clock.now += DAY
        assert shop.collect()[0].step == Nothing("no_other_payment_method")
    shop.clock.now += DAY
    assert shop.collect()[0].step == GiveUp(1)
    assert shop.acme.next_collection_step(invoice) == Collect(2, STOLEN, NOON + 16 * DAY)
    assert len(shop.fake.booked(invoice)) == 1
    shop.pays_with(VISA)
    assert isinstance(shop.collect()[0].outcome, Paid)


@pytest.mark.parametrize("method", [STOLEN, None])
def test_who_gets_no_other_payment_method_is_given_up_when_the_schedule_ends(
    shop: Shop, method: str | None
) -> None:
    invoice = shop.open()
    shop.pays_with(STOLEN)
    shop.collect()
    shop.pays_with(method)
    for _ in range(15):
        shop.clock.now += DAY
        shop.collect(give_up=True)
    assert shop.acme.get_invoice(invoice).status == "open"
    shop.clock.now += DAY
    (done,) = shop.collect(give_up=True)
    assert (done.step, done.invoice.status) == (GiveUp(1), "uncollectible")
    assert len(shop.fake.booked(invoice)) == 1


# --- what is in progress --------------------------------------------------------------------------


def test_a_payer_who_is_to_confirm_is_not_charged_again(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(ASKS)
    assert isinstance(shop.collect()[0].outcome, ActionRequired)
    for days in (0, 1, 30):
        shop.clock.now += days * DAY
        (done,) = shop.collect()
        assert done.step == Settle(shop.acme.payments.list().data[0].id, NOON, by_payer=True)
    (charge,) = shop.fake.booked(invoice)
    shop.fake.confirm(charge.id)
    assert isinstance(shop.collect()[0].outcome, Paid)
    assert shop.charged(invoice) == 1


def test_a_bank_is_given_its_days(shop: Shop) -> None:
    invoice = shop.open()
    shop.pays_with(DEBIT)
    assert isinstance(shop.collect()[0].outcome, Processing)
    calls = shop.fake.calls
    shop.clock.now += timedelta(seconds=599)
    assert shop.collect()[0].outcome is None
    assert shop.fake.calls == calls
    shop.clock.now += SECOND
    assert isinstance(shop.collect()[0].outcome, Processing)
    (charge,) = shop.fake.booked(invoice)
    shop.fake.refuse(charge.id, "insufficient_funds")
    assert isinstance(shop.collect()[0].outcome, Declined)
    assert shop.collect()[0].step == Wait(shop.clock.now + DAY)


@pytest.mark.parametrize(("fault", "arrived"), [(Fault.ANSWER_LOST, 1), (Fault.UNREACHABLE, 0)])
def test_what_was_charged_without_an_answer_is_asked_for_and_not_charged_again(
    shop: Shop, fault: Fault, arrived: int
) -> None:
    invoice = shop.open()
    method = shop.fake.default_payment_method("cus_1")
    assert method is not None
    shop.fake.fail(fault)
    with pytest.raises(Unavailable):
        shop.acme.pay_invoice(invoice, payment_method=method)
    assert shop.charged(invoice) == arrived
    assert isinstance(shop.collect()[0].step, Settle)
    shop.clock.now += DAY
    shop.collect()
    shop.collect()
    assert shop.charged(invoice) == 1
    assert shop.acme.get_invoice(invoice).status == "paid"


# --- one that fails stops no other ----------------------------------------------------------------


class Choosy(FakeProcessor):
    """It fails for one customer alone."""

    def __init__(self, error: Exception, customer: str) -> None:
        super().__init__()
        self.error, self.customer = error, customer

    def default_payment_method(self, customer: str) -> str | None:
        if customer == self.customer:
            raise self.error
        return super().default_payment_method(customer)


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("away"),
        RateLimited("slow down", 1.0),
        ProcessorNotConfigured("no key"),
        Conflict("somebody else"),
        NotFound("customer", "cus_2"),
        Malformed("customer", "is strange"),
        Rejected(Reason.IS_VOID),
        CorruptHistory("strange", stream="in_1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_one_that_cannot_be_collected_stops_no_other(error: Exception) -> None:
    shop = opened(Choosy(error, "cus_2"))
    invoices = [shop.open(place) for place in (1, 2, 3)]
    done = {one.invoice.id: one for one in shop.collect()}
    assert [one.error is None for one in map(done.__getitem__, invoices)] == [True, False, True]
    assert done[invoices[1]].error is error
    assert [shop.charged(invoice) for invoice in invoices] == [1, 0, 1]
    shop.billing.close()


def test_one_whose_history_is_damaged_stops_no_other(tmp_path: Path) -> None:
    shop = opened(database=tmp_path / "log.db")
    invoices = [shop.open(place) for place in (1, 2, 3)]
    damage(tmp_path / "log.db", invoices[1])
    done = {one.invoice.id: one for one in shop.collect()}
    damaged = done[invoices[1]]
    assert isinstance(damaged.error, CorruptHistory)
    assert (damaged.step, damaged.outcome) == (None, None)
    assert [shop.charged(invoice) for invoice in invoices] == [1, 0, 1]
    shop.billing.close()


def damage(database: Path, invoice: str) -> None:
    """Let the facts of an invoice be no facts, as somebody could who may drop a trigger."""
    with closing(sqlite3.connect(database)) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        changed = connection.execute("UPDATE facts SET body = x'7b7d' WHERE stream = ?", (invoice,))
        assert changed.rowcount > 0
        connection.commit()


# --- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_calls_nobody_and_changes_nothing(shop: Shop) -> None:
    for place, method in enumerate((VISA, DECLINED, ASKS, DEBIT, None, STOLEN)):
        shop.pays_with(method, place)
        shop.open(place)
    for collected in (False, True):
        if collected:
            shop.collect()
        before, calls = len(shop.billing.log.since(0, limit=1_000)), shop.fake.calls
        asked: list[str] = []
        shop.fake.methods = Watched(shop.fake.methods, asked)
        for days in (0, 1, 100):
            done = shop.collect(dry_run=True, give_up=True, now=NOON + days * DAY)
            assert all(one.outcome is None and one.error is None for one in done)
            assert len(done) == (5 if collected else 6)
        assert (len(shop.billing.log.since(0, limit=1_000)), shop.fake.calls) == (before, calls)
        assert asked == []
        shop.fake.methods = dict(shop.fake.methods)


class Watched(dict[str, str | None]):
    """Notes who was asked for."""

    def __init__(self, methods: dict[str, str | None], asked: list[str]) -> None:
        super().__init__(methods)
        self.asked = asked

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.append(key)
        return super().get(key, default)


# --- the time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_time_without_a_zone_is_malformed(shop: Shop, dry_run: bool) -> None:
    invoice = shop.open()
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(Malformed) as refused:
        shop.collect(now=naive, dry_run=dry_run)
    assert refused.value.field == "now"
    with pytest.raises(Malformed):
        shop.acme.next_collection_step(invoice, now=naive)
    assert shop.fake.calls == 0


def test_at_another_time_is_done_what_is_due_then(shop: Shop) -> None:
    invoice = shop.open(due_date=date(2026, 12, 24))
    assert shop.collect()[0].outcome is None
    assert shop.collect(now=NOON - 1_000 * DAY)[0].outcome is None
    christmas = datetime(2026, 12, 24, tzinfo=UTC)
    assert shop.acme.next_collection_step(invoice, now=christmas) == Collect(1)
    assert isinstance(shop.collect(now=christmas)[0].outcome, Paid)


def test_each_run_at_a_time_to_come_makes_one_attempt(shop: Shop) -> None:
    """Whoever asks for it gets it: a refusal is recorded by the clock, which goes on as ever."""
    invoice = shop.open()
    shop.pays_with(DECLINED)
    for attempt in range(1, 6):
        (done,) = shop.collect(now=NOON + 90 * DAY)
        assert isinstance(done.step, Collect)
        assert done.step.attempt == attempt
        assert len(shop.fake.booked(invoice)) == attempt
    assert shop.collect(now=NOON + 90 * DAY)[0].step == GiveUp(5)
    assert len(shop.fake.booked(invoice)) == 5


class Busy(FakeProcessor):
    """Something happens while a charge is on its way."""

    meanwhile: Callable[[], object] | None = None

    def charge(self, charge: Charge) -> Outcome:
        if self.meanwhile is not None:
            self.meanwhile()
        return super().charge(charge)


def test_at_another_time_nobody_who_pays_right_now_is_cut_off() -> None:
    fake = Busy()
    shop = opened(fake)
    invoice = shop.open()
    fake.meanwhile = lambda: shop.collect(now=NOON + DAY)
    assert isinstance(shop.acme.pay_invoice(invoice, payment_method=VISA), Paid)
    shop.billing.close()


def test_an_invoice_that_is_not_there_has_no_next_step(shop: Shop) -> None:
    draft = shop.acme.draft_invoice(
        customer=Customer(id="cus_1", name="A"), currency="EUR", lines=[WORK]
    )
    assert shop.acme.next_collection_step(draft.id) == Nothing("draft")
    for name in ("cn_1", "in_unknown", ""):
        with pytest.raises(NotFound):
            shop.acme.next_collection_step(name)


# --- behind, many, and who ------------------------------------------------------------------------


def test_what_was_paid_a_moment_ago_is_not_charged_while_the_read_models_are_behind() -> None:
    shop = opened(projections="async")
    paid, declined = shop.open(1), shop.open(2)
    shop.billing.projections.run()
    shop.acme.record_payment(paid, amount="119.00")
    shop.acme.pay_invoice(declined, payment_method=DECLINED)
    done = {one.invoice.id: one for one in shop.collect()}
    assert done[paid].step == Nothing("paid")
    assert done[declined].step == Wait(NOON + DAY)
    assert shop.charged(paid) == 0
    assert len(shop.fake.booked(declined)) == 1
    shop.billing.close()


@pytest.mark.parametrize("many", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_many_are_collected_one_after_the_other(shop: Shop, many: int) -> None:
    for _ in range(many):
        shop.open()
    stream = shop.acme.collect_payments()
    assert shop.fake.calls == 0
    first = next(stream)
    assert isinstance(first.outcome, Paid)
    assert len(shop.fake.booked()) == 1
    rest = list(stream)
    assert len({first.invoice.id, *(one.invoice.id for one in rest)}) == many
    assert len(shop.fake.booked()) == many
    assert {one.status for one in shop.fake.booked()} == {"succeeded"}


def test_who_collects_stands_with_the_facts(shop: Shop) -> None:
    invoice = shop.open()
    before = len(shop.facts(invoice))
    with actor("job", "nightly", cause="cron_1"):
        shop.collect()
    recorded = shop.billing.log.read("acme", invoice)[before:]
    assert {(one.envelope.actor.type, one.envelope.actor.id) for one in recorded} == {
        ("job", "nightly")
    }
    assert {one.envelope.causation_id for one in recorded} == {"cron_1"}


# --- two at once ----------------------------------------------------------------------------------


class Together(FakeProcessor):
    """Both runs have decided to charge before either does."""

    meet: Callable[[], object] | None = None

    def default_payment_method(self, customer: str) -> str | None:
        if self.meet is not None:
            self.meet()
        return super().default_payment_method(customer)


@pytest.mark.parametrize("method", [VISA, DECLINED, ASKS, DEBIT])
def test_two_runs_at_once_charge_once(tmp_path: Path, method: str) -> None:
    fake = Together()
    shop = opened(fake, tmp_path / "log.db")
    invoice = shop.open()
    shop.pays_with(method)
    barrier = Barrier(2)
    fake.meet = lambda: barrier.wait(timeout=30)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: shop.collect(), range(2)))
    assert len(fake.booked(invoice)) == 1
    assert shop.facts(invoice).count("PaymentAttempted") == 1
    assert [one.error for (one,) in runs] == [None, None]
    steps = {type(one.step): one.step for (one,) in runs}
    assert steps == {Collect: Collect(1), Nothing: Nothing("changed_meanwhile")}
    shop.billing.close()


class Meanwhile(FakeProcessor):
    """The customer pays while it is looked up what they pay with."""

    pay: Callable[[], object] | None = None

    def default_payment_method(self, customer: str) -> str | None:
        pay, self.pay = self.pay, None
        if pay is not None:
            pay()
        return super().default_payment_method(customer)


@pytest.fixture
def meanwhile() -> Iterator[tuple[Shop, str]]:
    """An invoice that is paid in the middle of being collected."""
    fake = Meanwhile()
    shop = opened(fake)
    invoice = shop.open()
    fake.pay = lambda: shop.acme.pay_invoice(invoice, payment_method=VISA)
    yield shop, invoice
    shop.billing.close()


def test_whoever_pays_at_the_same_time_is_charged_once(meanwhile: tuple[Shop, str]) -> None:
    shop, invoice = meanwhile
    (done,) = shop.collect()
    assert done.outcome is None
    assert shop.charged(invoice) == 1
    assert shop.facts(invoice).count("PaymentAttempted") == 1


def test_whoever_pays_at_the_same_time_is_no_error(meanwhile: tuple[Shop, str]) -> None:
    shop, _ = meanwhile
    (done,) = shop.collect()
    assert (done.step, done.error) == (Nothing("changed_meanwhile"), None)
    assert done.invoice.status == "paid"


COLLECT = """
import json, sys
from datetime import datetime
from counterfoil.billing import Billing, FakeProcessor

database, ledger, noon = sys.argv[1:]
with Billing.open(
    database,
    processor=FakeProcessor(ledger),
    clock=lambda: datetime.fromisoformat(noon),
    documents=None,
    pdf=None,
) as billing:
    print("ready", flush=True)
    sys.stdin.readline()
    done = list(billing.tenant("acme").collect_payments())
print(json.dumps([[one.invoice.id, type(one.error).__name__] for one in done]))
"""


def test_two_processes_at_once_charge_once(tmp_path: Path) -> None:
    database, ledger = tmp_path / "log.db", tmp_path / "ledger.db"
    shop = opened(FakeProcessor(ledger), database)
    invoices = [shop.open(place) for place in range(20)]
    other = subprocess.Popen(
        [sys.executable, "-c", COLLECT, str(database), str(ledger), NOON.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "ready\n"
    other.stdin.write("go\n")
    other.stdin.flush()
    ours = shop.collect()
    theirs = json.loads(other.communicate(timeout=60)[0])
    assert other.returncode == 0
    errors = {type(one.error).__name__ for one in ours} | {error for _, error in theirs}
    assert errors <= {"NoneType", "Conflict"}
    assert sorted(one.invoice for one in shop.fake.booked()) == sorted(invoices)
    for invoice in invoices:
        assert shop.facts(invoice).count("PaymentSucceeded") == 1
    shop.billing.close()
