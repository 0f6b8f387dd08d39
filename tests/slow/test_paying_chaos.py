"""Is everybody charged once, and given back once, whoever is killed, unheard or impatient?"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Listener
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.processors.fake import Fault
from counterfoil.billing import Billing, FakeProcessor
from counterfoil.domain.invoice.events import (
    InvoicePaid,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
)
from slow.payers import ADA, SELLER, TOTAL, WORK, Job, Step, Work, fork
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from counterfoil.adapters.processors.fake_books import Booked
    from counterfoil.adapters.tenant import Tenant
    from counterfoil.domain.value import Event

# Run n is drawn from seed FIRST + n; a failure names its seed.
FIRST = int(os.environ.get("COUNTERFOIL_TEST_SEED", "0"))
AT_ONCE = 3
# About as long as a payment takes, so that a kill at a random time falls anywhere in it.
PAYING_S = 0.03
FAULTS = (Fault.ANSWER_LOST, Fault.UNREACHABLE, Fault.SLOW, Fault.RATE_LIMITED)
# What a process may be told when it comes too late, too early, or is not heard.
PAY_ANSWERS = {
    "paid",
    "Unavailable",
    "RateLimited",
    "payment_in_progress",
    "already_paid",
    "settled",
    # Withdrawn by whoever settled first.
    "the payment was declined (canceled): It was withdrawn before any money moved.",
}
REFUND_ANSWERS = {"refunded", "Unavailable", "RateLimited", "refund_exceeds_payment", "settled"}


@dataclass(frozen=True, slots=True)
class World:
    """A database and the books of a processor, both open here and to all processes."""

    url: str
    books: str
    billing: Billing
    fake: FakeProcessor
    forks: Forks
    said: Counter[str] = field(default_factory=Counter)


@contextmanager
def opened(url: str, books: Path, forks: Forks) -> Iterator[World]:
    """Open both, and hold in the end that nothing in the database contradicts itself."""
    Billing.init(url)
    fake = FakeProcessor(books)
    with Billing.open(url, seller=SELLER, processor=fake, pdf=None) as billing:
        yield World(url, str(books), billing, fake, forks)
        report, verified = billing.audit.verify(), billing.projections.verify()
        assert report.holds, report.first
        assert verified.holds, [str(one) for one in verified.differences]


@pytest.fixture
def sqlite(tmp_path: Path, forks: Forks) -> Iterator[World]:
    with opened(str(tmp_path / "log.db"), tmp_path / "books.db", forks) as world:
        yield world


@pytest.fixture
def server(postgres_url: str, tmp_path: Path, forks: Forks) -> Iterator[World]:
    with (
        postgres.database(postgres_url) as url,
        opened(url, tmp_path / "books.db", forks) as world,
    ):
        yield world


@pytest.fixture(params=["sqlite", "server"])
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.getfixturevalue(request.param)
    return made


def say(figures: str) -> None:
    """Show what a run came to, to those who run it with `-s`."""
    sys.stdout.write(figures + "\n")


# --- processes ------------------------------------------------------------------------------


class Forks:
    """Forks processes for jobs, each of which waits to be let go."""

    def __init__(self, asking: Connection, listener: Listener) -> None:
        self._asking = asking
        self._listener = listener
        self._one_at_a_time = threading.Lock()

    def start(self, job: Job) -> Started:
        """A process that has all open and is about to do this."""
        with self._one_at_a_time:
            self._asking.send(job)
            heard = self._listener.accept()
        pid: object = heard.recv()
        assert isinstance(pid, int), pid  # or it says what failed
        return Started(job, pid, heard)


@dataclass(frozen=True, slots=True)
class Started:
    """A process at its job."""

    job: Job
    pid: int
    heard: Connection

    def ended(self, answers: set[str], kill_after_s: float | None = None) -> str:
        """What it answered, or "killed"; it is killed so long after it was let go, if at all."""
        with self.heard as heard:
            try:
                if kill_after_s is not None:
                    time.sleep(kill_after_s)
                    os.kill(self.pid, signal.SIGKILL)
                assert heard.poll(60), f"no answer: {self.job}"
                said: str = heard.recv()
            except (EOFError, ConnectionResetError, ProcessLookupError):
                assert self.job.die_at or kill_after_s is not None, f"{self.job} died"
                return "killed"
        assert said in answers, f"{self.job}: {said}"
        return said


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One process is started anew, whatever this one holds; all others are forks of that one."""
    processes = multiprocessing.get_context("spawn")
    theirs, ours = processes.Pipe(duplex=False)
    with Listener(family="AF_UNIX") as listener, ours:
        process = processes.Process(target=fork, args=(listener.address, theirs), daemon=True)
        process.start()
        theirs.close()
        yield Forks(ours, listener)
        ours.close()
        process.join(10)
        process.kill()


def together(
    world: World, jobs: Sequence[tuple[Job, float | None]], answers: set[str]
) -> list[str]:
    """Let processes work at once, some to be killed after so long; what each of them answered."""
    running = [(world.forks.start(job), after) for job, after in jobs]
    for one, _ in running:
        one.heard.send("go")
    return [one.ended(answers, after) for one, after in running]


# --- one run --------------------------------------------------------------------------------


def issued(world: World, name: str) -> Tenant:
    """A tenant of its own, with an open invoice that bears its name."""
    acme = world.billing.tenant(name)
    acme.draft_invoice(id=f"in_{name}", customer=ADA, currency="EUR", lines=[WORK])
    acme.finalize_invoice(f"in_{name}")
    return acme


def job_of(world: World, name: str, work: Work) -> Job:
    command = None if work is Work.SETTLE else f"{work}_first"
    return Job(world.url, world.books, name, f"in_{name}", work, command)


def pay_to_the_end(acme: Tenant, invoice: str) -> None:
    """Settle what is in progress, and pay anew what was withdrawn."""
    for again in range(3):
        assert [one.error for one in acme.settle_payments(waiting_s=0) if one.error] == []
        if acme.invoices.get(invoice).status == "paid":
            return
        acme.pay_invoice(invoice, command_id=f"last_{again}").unwrap()
    raise AssertionError("it is not paid")


def refund_to_the_end(acme: Tenant, invoice: str, first: str) -> None:
    """Settle what is in progress, and ask again for what was never attempted."""
    acme.refund_payment(invoice, command_id=first)
    assert [one.error for one in acme.settle_payments(waiting_s=0) if one.error] == []


def facts_of(world: World, name: str) -> list[Event]:
    return [one.fact for one in world.billing.log.read(name, f"in_{name}")]


def of(facts: Sequence[Event], *kinds: type[Event]) -> list[Event]:
    return [fact for fact in facts if isinstance(fact, kinds)]


def cash(acme: Tenant) -> int:
    return sum(one.balance for one in acme.journal.balances() if one.account == "cash")


def paid_once(world: World, acme: Tenant, name: str) -> Booked:
    """One charge, one fact of it, and nothing in our books that is not in the processor's."""
    invoice, facts, booked = f"in_{name}", facts_of(world, name), world.fake.booked(f"in_{name}")
    assert len({one.payment for one in booked}) == len(booked)
    (charged,) = [one for one in booked if one.status == "succeeded"]
    (succeeded,) = of(facts, PaymentSucceeded)
    assert isinstance(succeeded, PaymentSucceeded)
    told = (succeeded.payment, succeeded.amount, succeeded.surplus, succeeded.reference)
    assert told == (charged.payment, charged.amount.minor, 0, charged.id)
    assert charged.amount.minor == TOTAL
    assert len(of(facts, InvoicePaid)) == 1
    assert len(of(facts, PaymentAttempted)) == len(of(facts, PaymentSucceeded, PaymentFailed))
    shown = acme.invoices.get(invoice)
    assert (shown.status, shown.amount_paid, shown.amount_remaining) == ("paid", TOTAL, 0)
    ours = {one.id: one.status for one in acme.payments.list(invoice=invoice, limit=100).data}
    theirs = {one.payment for one in booked if one.status == "succeeded"}
    assert {id for id, status in ours.items() if status == "succeeded"} == theirs
    assert set(ours.values()) <= {"succeeded", "failed"}
    assert cash(acme) == charged.amount.minor - charged.refunded
    return charged


def refunded_once(world: World, acme: Tenant, name: str) -> None:
    """One refund, one fact of it, and nothing left of the money in either books."""
    facts = facts_of(world, name)
    (refunded,) = of(facts, PaymentRefunded)
    assert isinstance(refunded, PaymentRefunded)
    assert refunded.amount == TOTAL
    assert len(of(facts, RefundAttempted)) == 1
    charged = paid_once(world, acme, name)
    assert (charged.refunded, cash(acme)) == (TOTAL, 0)
    (shown,) = acme.payments.refunds(f"in_{name}")
    assert (shown.id, shown.status, shown.amount) == (refunded.refund, "succeeded", TOTAL)
    (payment,) = [
        one for one in acme.payments.list(invoice=f"in_{name}").data if one.status == "succeeded"
    ]
    assert payment.amount_refunded == TOTAL


def jobs_after(first: Job, drawn: random.Random) -> list[Job]:
    """Who comes after the crash: the same command again, settling, both, or several at once."""
    settle = replace(first, work=Work.SETTLE, command_id=None)
    again = replace(first)
    ways = ([again], [settle], [again, settle], [again] * 3, [again, again, settle, settle])
    return list(drawn.choice(ways))


def spoilt(job: Job, drawn: random.Random, chance: float) -> tuple[Job, float | None]:
    """The job with what goes wrong: a step at which it dies, a time after which, faults."""
    if drawn.random() < 0.4:
        job = replace(job, faults=tuple(drawn.choices(FAULTS, k=drawn.randint(1, 2))))
    if drawn.random() >= chance:
        return job, None
    if drawn.random() < 0.3:
        return job, drawn.uniform(0, PAYING_S)
    return replace(job, die_at=drawn.choice(list(Step))), None


@contextmanager
def named(seed: int, plan: list[object]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"seed {seed}: COUNTERFOIL_TEST_SEED={seed} repeats it; plan: {plan}")
        raise


def survive(world: World, seed: int, work: Work) -> None:
    """One run: a process that dies, those that come after it, some dying too, and the end."""
    drawn, name = random.Random(f"{work}{seed}"), f"{work}{seed}"  # noqa: S311  (no secret)
    plan: list[object] = []
    with named(seed, plan):
        acme = issued(world, name)
        answers = PAY_ANSWERS
        first = replace(job_of(world, name, work), method=drawn.choice([None, "pm_card_visa"]))
        if work is Work.REFUND:
            answers = REFUND_ANSWERS
            method = drawn.choice(["pm_card_visa", "pm_card_pendingRefund"])
            acme.pay_invoice(first.invoice, payment_method=method).unwrap()
        rounds = [[first]] + [jobs_after(first, drawn) for _ in range(drawn.randint(1, 2))]
        for number, jobs in enumerate(rounds):
            spoilt_jobs = [spoilt(job, drawn, 0.3 if number else 0.9) for job in jobs]
            plan.append([(one.work.value, one.die_at, one.faults, at) for one, at in spoilt_jobs])
            said = together(world, spoilt_jobs, answers)
            plan.append(said)
            world.said.update(said)
        if work is Work.PAY:
            pay_to_the_end(acme, first.invoice)
            paid_once(world, acme, name)
        else:
            refund_to_the_end(acme, first.invoice, f"{work}_first")
            refunded_once(world, acme, name)


def survive_all(world: World, seeds: Sequence[int], work: Work) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(survive, world, seed, work) for seed in seeds]:
            done.result()
    assert world.said["killed"] > len(seeds) / 2, "hardly anybody was killed"
    say(f"{work} {len(seeds)} runs in {time.monotonic() - began:.1f} s: {dict(world.said)}")


# --- the runs -------------------------------------------------------------------------------


def test_whoever_pays_may_be_killed_at_each_step_and_the_customer_is_charged_once(
    sqlite: World,
) -> None:
    """Each step once; what is left is found by the same command again, or by settling."""
    names = {f"step{place}": step for place, step in enumerate(Step)}
    tenants = {name: issued(sqlite, name) for name in names}
    dying = [
        (replace(job_of(sqlite, name, Work.PAY), die_at=step), None) for name, step in names.items()
    ]
    assert set(together(sqlite, dying, set())) == {"killed"}
    for place, (name, acme) in enumerate(tenants.items()):
        first = job_of(sqlite, name, Work.PAY)
        if place % 2:
            acme.pay_invoice(first.invoice, payment_method=first.method, command_id="pay_first")
        pay_to_the_end(acme, first.invoice)
        paid_once(sqlite, acme, name)


@pytest.mark.slow
@pytest.mark.parametrize("step", Step)
def test_whoever_gives_back_may_be_killed_at_each_step_and_one_refund_is_made(
    sqlite: World, step: Step
) -> None:
    for name, settles in (("repeated", False), ("settled", True)):
        acme, first = issued(sqlite, name), job_of(sqlite, name, Work.REFUND)
        acme.pay_invoice(first.invoice).unwrap()
        assert together(sqlite, [(replace(first, die_at=step), None)], set()) == ["killed"]
        if settles:
            list(acme.settle_payments(waiting_s=0))
        refund_to_the_end(acme, first.invoice, "refund_first")
        refunded_once(sqlite, acme, name)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_200_payments_that_crash_anywhere_are_each_charged_once(sqlite: World, part: int) -> None:
    survive_all(sqlite, range(FIRST + part * 50, FIRST + (part + 1) * 50), Work.PAY)


@pytest.mark.slow
def test_the_last_50_of_them_crash_on_a_server(server: World) -> None:
    survive_all(server, range(FIRST + 150, FIRST + 200), Work.PAY)


@pytest.mark.slow
def test_refunds_that_crash_anywhere_are_each_made_once(world: World) -> None:
    runs = 30 if "://" in world.url else 60
    survive_all(world, range(FIRST, FIRST + runs), Work.REFUND)


# --- all at once ----------------------------------------------------------------------------

ALL = 8


def at_once(world: World, jobs: Sequence[Job], answers: set[str]) -> Counter[str]:
    """What processes are told that do this at the same moment."""
    return Counter(together(world, [(job, None) for job in jobs], answers))


@pytest.mark.slow
@pytest.mark.parametrize("faulty", [False, True], ids=["heard", "unheard"])
def test_eight_processes_that_pay_one_invoice_at_once_charge_it_once(
    world: World, faulty: bool
) -> None:
    faults = (Fault.ANSWER_LOST if faulty else Fault.SLOW,)
    for name in ("a", "b", "c"):
        acme, job = issued(world, name), job_of(world, name, Work.PAY)
        jobs = [replace(job, faults=faults, command_id=f"pay_{place}") for place in range(ALL)]
        said = at_once(world, jobs, PAY_ANSWERS)
        assert said["Unavailable" if faulty else "paid"] == 1, said
        pay_to_the_end(acme, job.invoice)
        paid_once(world, acme, name)
        assert len(of(facts_of(world, name), PaymentAttempted)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("faulty", [False, True], ids=["heard", "unheard"])
def test_eight_processes_with_one_command_id_charge_once_and_hear_the_same(
    world: World, faulty: bool
) -> None:
    faults = (Fault.ANSWER_LOST if faulty else Fault.SLOW,)
    for name in ("a", "b", "c"):
        acme, job = issued(world, name), job_of(world, name, Work.PAY)
        said = at_once(world, [replace(job, faults=faults)] * ALL, PAY_ANSWERS)
        if not faulty:
            assert said == {"paid": ALL}
        pay_to_the_end(acme, job.invoice)
        paid_once(world, acme, name)
        assert len(of(facts_of(world, name), PaymentAttempted)) == 1


@pytest.mark.slow
def test_eight_processes_that_give_one_payment_back_at_once_make_one_refund(world: World) -> None:
    for name, same in (("same", True), ("other", False)):
        acme, job = issued(world, name), job_of(world, name, Work.REFUND)
        acme.pay_invoice(job.invoice).unwrap()
        commands = ["refund_first" if same else f"refund_{place}" for place in range(ALL)]
        said = at_once(world, [replace(job, command_id=one) for one in commands], REFUND_ANSWERS)
        assert said["refunded"] == (ALL if same else 1), said
        list(acme.settle_payments(waiting_s=0))
        refunded_once(world, acme, name)
