"""Do the sums and the table of transitions hold, whatever is asked in whatever order, and whatever
the processor, its payers, an outsider and the clock do meanwhile?

What must hold is written here a second time, from the design, and is held after each step.
"""

from __future__ import annotations

import os
import random
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from counterfoil.adapters.processors.fake import Fault
from counterfoil.adapters.processors.stripe import StripeProcessor
from counterfoil.adapters.processors.webhook import Delivery
from counterfoil.adapters.tenant import Tenant
from counterfoil.billing import Billing, Declined, FakeProcessor, Paid, Schedule
from counterfoil.domain import Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.errors import (
    Conflict,
    CounterfoilError,
    Malformed,
    NotFound,
    PaymentDeclined,
    ProcessorNotConfigured,
    Reason,
    Rejected,
    Unavailable,
)
from counterfoil.domain.invoice.collecting import Nothing
from counterfoil.domain.invoice.events import (
    CreditApplied,
    CreditWithdrawn,
    DraftDiscarded,
    InvoiceDrafted,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceVoided,
    LineAdded,
    LineRemoved,
    MarkedUncollectible,
    PaidReason,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
)
from counterfoil.domain.ports import (
    CANCELED,
    Charge,
    Intent,
    NeedsAction,
    Outcome,
    Pending,
    Succeeded,
)
from counterfoil.domain.ports import Declined as Refusal
from support import stripe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from counterfoil.adapters.event_store.recorder import FactsRecorder
    from counterfoil.domain.envelope import Recorded
    from counterfoil.domain.ports import EventLog, Processor, Repayment, Transaction
    from counterfoil.domain.value import Event
    from counterfoil.projections.invoice import Invoice

SELLER = Seller(name="Northwind")
ADA = Customer(id="cus_ada", name="Ada", email="ada@example.com")
BEGAN = datetime(2026, 1, 1, 9, tzinfo=UTC)
INVOICES_MAX = 4

# --- the processor, as its operator sees it ---------------------------------------------------


@dataclass(slots=True)
class Money:
    """What the processor's books say of one payment."""

    taken: int = 0
    given_back: int = 0


class Bank(Protocol):
    """A processor in the hands of a test."""

    processor: Processor
    methods: tuple[str, ...]

    def fail(self, how: str) -> None:
        """Let the next request go wrong so."""

    def script(self, outcome: Outcome) -> None:
        """Let the next charge end so, if it can be told that."""

    def keep(self, method: str | None) -> None:
        """Have the customer pay with this from now on."""

    def waiting(self) -> Sequence[str]:
        """The intents that wait for their payer or their bank."""

    def confirm(self, intent: str) -> None:
        """The payer, or the bank, says yes."""

    def refuse(self, intent: str) -> None:
        """And no."""

    def books(self) -> dict[str, Money]:
        """All money that moved, by payment."""


class FakeBank:
    """The fake processor."""

    methods: tuple[str, ...] = (
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_card_chargeDeclinedLostCard",
        "pm_card_authenticationRequired",
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "pm_usBankAccount",
        "pm_card_pendingRefund",
        "pm_card_refundFail",
        "pm_card_mispelt",
    )

    def __init__(self) -> None:
        self._fake = FakeProcessor(slow_s=0)
        self.processor: Processor = self._fake

    def fail(self, how: str) -> None:
        self._fake.fail(Fault[how])

    def script(self, outcome: Outcome) -> None:
        self._fake.script(outcome)

    def keep(self, method: str | None) -> None:
        self._fake.methods[ADA.id] = method

    def waiting(self) -> Sequence[str]:
        live = {"requires_action", "processing"}
        return [one.id for one in self._fake.booked() if one.status in live]

    def confirm(self, intent: str) -> None:
        self._fake.confirm(intent)

    def refuse(self, intent: str) -> None:
        self._fake.refuse(intent)

    def books(self) -> dict[str, Money]:
        return {
            one.payment: Money(one.amount.minor, one.refunded)
            for one in self._fake.booked()
            if one.status == "succeeded"
        }


class StripeBank:
    """Stripe, as far as our server of tests is one."""

    methods: tuple[str, ...] = (
        "pm_card_visa",
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_card_chargeDeclinedLostCard",
        "pm_card_authenticationRequired",
        "pm_usBankAccount",
        "pm_card_refundFail",
        "pm_card_mispelt",
    )
    _faults: ClassVar[dict[str, stripe.Fault]] = {
        "UNREACHABLE": stripe.HangUp(),
        "ANSWER_LOST": stripe.LoseAnswer(),
        "RATE_LIMITED": stripe.Refuse(429, "rate_limit"),
        "NOT_LET_IN": stripe.Refuse(401),
        "SLOW": stripe.Late(0.001),
    }

    def __init__(self, server: stripe.StripeServer) -> None:
        self._server = server
        self.processor: Processor = StripeProcessor(
            "sk_test_1", address=server.address, max_retries=0
        )
        self.keep("pm_card_visa")

    def fail(self, how: str) -> None:
        self._server.fail(self._faults[how])

    def script(self, outcome: Outcome) -> None:
        """Stripe cannot be told."""

    def keep(self, method: str | None) -> None:
        self._server.customer(ADA.id, default_payment_method=method)

    def waiting(self) -> Sequence[str]:
        return [one["id"] for one in self._server.intents() if _waits(one)]

    def confirm(self, intent: str) -> None:
        if self._server.intent(intent)["status"] == "processing":
            self._server.settle(intent)
        else:
            self._server.complete(intent)

    def refuse(self, intent: str) -> None:
        if self._server.intent(intent)["status"] == "processing":
            self._server.settle(intent, error={"code": "debit_not_authorized", "message": "No."})

    def books(self) -> dict[str, Money]:
        intents = self._server.intents()
        backs: dict[str, int] = defaultdict(int)
        for refund in self._server.books().refunds.values() if intents else ():
            if refund["status"] == "succeeded":
                backs[refund["payment_intent"]] += refund["amount"]
        return {
            one["metadata"]["counterfoil_payment"]: Money(one["amount_received"], backs[one["id"]])
            for one in intents
            if one["status"] == "succeeded"
        }


def _waits(intent: dict[str, Any]) -> bool:
    asks = (intent["last_payment_error"] or {}).get("code") == "authentication_required"
    open_still = intent["status"] == "requires_payment_method"
    return intent["status"] in {"requires_action", "processing"} or (asks and open_still)


# --- what is watched --------------------------------------------------------------------------


class WatchedLog:
    """A log that knows whether somebody is in a unit of work."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.inside = 0

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[Transaction]:
        with self._log.transaction(tenant) as transaction:
            self.inside += 1
            try:
                yield transaction
            finally:
                self.inside -= 1

    def read(
        self, tenant: str, stream: str, *, upto: int | None = None
    ) -> Sequence[Recorded[Event]]:
        return self._log.read(tenant, stream, upto=upto)

    def since(self, position: int, *, limit: int) -> Sequence[Recorded[Event]]:
        return self._log.since(position, limit=limit)

    def close(self) -> None:
        self._log.close()


class WatchedProcessor:
    """A processor that counts what it is asked, and is never asked inside a unit of work."""

    def __init__(self, processor: Processor, log: WatchedLog) -> None:
        self._processor, self._log = processor, log
        self.calls = 0

    @property
    def name(self) -> str:
        return self._processor.name

    def default_payment_method(self, customer: str) -> str | None:
        self._count()
        return self._processor.default_payment_method(customer)

    def charge(self, charge: Charge) -> Outcome:
        self._count()
        return self._processor.charge(charge)

    def retrieve(self, charge: Charge) -> Outcome | None:
        self._count()
        return self._processor.retrieve(charge)

    def cancel(self, charge: Charge) -> Outcome:
        self._count()
        return self._processor.cancel(charge)

    def refund(self, repayment: Repayment) -> Outcome:
        self._count()
        return self._processor.refund(repayment)

    def close(self) -> None:
        self._processor.close()

    def _count(self) -> None:
        assert self._log.inside == 0, "asked inside a transaction"
        self.calls += 1


# --- what must hold ---------------------------------------------------------------------------

# Design §4, without what a canonical outsider may say.
TABLE = {
    ("none", "draft"),
    ("draft", "open"),
    ("draft", "discarded"),
    ("open", "paid"),
    ("open", "void"),
    ("open", "uncollectible"),
    ("uncollectible", "paid"),
    ("uncollectible", "void"),
}
BECOMES: dict[type[Event], str] = {
    InvoiceDrafted: "draft",
    DraftDiscarded: "discarded",
    InvoiceFinalized: "open",
    InvoicePaid: "paid",
    InvoiceVoided: "void",
    MarkedUncollectible: "uncollectible",
}
# What each command may be asked in; elsewhere it is refused, or says what is so already.
ASKED_IN = {
    "edit": {"draft"},
    "discard": {"draft"},
    "finalize": {"draft"},
    "send": {"open", "paid"},
    "pay": {"open", "uncollectible"},
    "record": {"open", "uncollectible"},
    "void": {"open", "uncollectible"},
    "give up": {"open"},
    "refund": {"open", "paid", "uncollectible", "void"},
    "credit": {"open", "paid", "uncollectible"},
    "reconcile": {"open", "paid", "uncollectible", "void"},
}
QUIET_IN = {
    "discard": {"discarded"},
    "finalize": {"open", "paid"},
    "void": {"void"},
    "give up": {"uncollectible"},
}


@dataclass(slots=True)
class Told:
    """All that is known of one invoice, from its facts and from what was asked."""

    status: str = "none"
    lines: int = 0
    total: int = 0
    facts: list[Event] = field(default_factory=list)
    by_hand: int = 0
    settled: int = 0

    def of(self, *kinds: type[Event]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kinds)]

    @property
    def live(self) -> list[PaymentAttempted]:
        ended = {one.payment for one in self.of(PaymentSucceeded, PaymentFailed)}
        return [one for one in self.of(PaymentAttempted) if one.payment not in ended]

    @property
    def refunding(self) -> list[RefundAttempted]:
        ended = {one.refund for one in self.of(PaymentRefunded, RefundFailed)}
        return [one for one in self.of(RefundAttempted) if one.refund not in ended]

    @property
    def credits(self) -> list[CreditApplied]:
        gone = {one.credit_note for one in self.of(CreditWithdrawn)}
        return [one for one in self.of(CreditApplied) if one.credit_note not in gone]

    @property
    def late(self) -> bool:
        """Whether the payer of the last failure may still confirm: its intent is withdrawn before
        anything else is paid, and whoever cannot ask for that does not pay.
        """
        failures: list[PaymentFailed] = self.of(PaymentFailed)
        came = {one.payment for one in self.of(PaymentSucceeded)}
        held = {one.payment for one in self.of(PaymentActionRequired)} - came
        return bool(failures) and failures[-1].code != CANCELED and failures[-1].payment in held

    @property
    def gone(self) -> list[PaymentRefunded]:
        """What went back, and did not come back again."""
        stands: dict[str, PaymentRefunded] = {}
        for fact in self.of(PaymentRefunded, RefundFailed):
            if isinstance(fact, PaymentRefunded):
                stands[fact.refund] = fact
            else:
                stands.pop(fact.refund, None)
        return list(stands.values())

    def left(self, payment: PaymentSucceeded) -> int:
        """How much of a payment can still go back."""
        gone: list[PaymentRefunded | RefundAttempted] = [*self.gone, *self.refunding]
        back: int = sum(one.amount for one in gone if one.payment == payment.payment)
        return payment.amount - back

    def take(self, fact: Event) -> None:
        """One more fact: it may change the status as the table says, and not otherwise."""
        match fact:
            case LineAdded():
                self.lines += 1
            case LineRemoved():
                self.lines -= 1
            case InvoiceReconciled(status=status, settled=settled):
                assert (settled == 0) or (status != self.status)
                self.status = status.value
            case InvoiceFinalized(totals=totals):
                assert self.lines > 0
                assert totals.total >= 0
                self.total = totals.total
            case InvoicePaid(reason=reason):
                last = self.facts[-1]
                ours: dict[PaidReason, tuple[type[Event], ...]] = {
                    PaidReason.PAYMENT: (PaymentSucceeded, RefundFailed),
                    PaidReason.CREDITED: (CreditApplied,),
                    PaidReason.NOTHING_DUE: (InvoiceFinalized,),
                }
                assert isinstance(last, ours[reason])
                assert reason is not PaidReason.NOTHING_DUE or self.total == 0
            case InvoiceVoided():
                assert not self.of(PaymentSucceeded)
                assert not self.credits
                assert not self.live
            case PaymentAttempted():
                assert not self.live
            case _:
                pass
        if type(fact) in BECOMES:
            becomes = BECOMES[type(fact)]
            assert (self.status, becomes) in TABLE, f"{self.status} became {becomes}"
            self.status = becomes
        self.facts.append(fact)


@dataclass(frozen=True, slots=True)
class Obeyed:
    """A command that was obeyed, and what it came to."""

    command: str
    name: str
    invoice: str | None
    call: Callable[[], object]
    answer: object


# --- what is drawn ----------------------------------------------------------------------------

GOOD = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))


def line(quantity: str, unit_price: str, tax: Tax, discount: Discount | None = None) -> NewLine:
    return NewLine(
        description="Work", quantity=quantity, unit_price=unit_price, tax=tax, discount=discount
    )


NINETEEN, SEVEN, WITHIN = Tax(rate="19"), Tax(rate="7"), Tax(rate="20", inclusive=True)
LINES = (
    (GOOD,),
    (line("0.75", "98.50", NINETEEN), line("2.5", "98.50", SEVEN, Discount(percent="10"))),
    (line("3", "0.01", NINETEEN), line("1", "10.00", WITHIN), line("2", "98.50", WITHIN)),
    (line("2", "10.00", SEVEN), line("-1", "10.00", NINETEEN)),
    (line("-1", "10.00", SEVEN),),
    (line("1", "0", NINETEEN),),
    (),
)
PAPERWORK = (
    *("add", "change", "remove", "discount", "amend", "discard", "send"),
    *("finalize", "finalize", "void", "give up", "give up"),
)
WHICH = (0, 0, 1, 1, 2, 3)
METHODS = (-1, *range(12))
BOTH = (False, True)
SHARES = ("all", "all", "half", "cent", "over", "nothing")
FAULTS = (None, None, None, "ANSWER_LOST", "UNREACHABLE", "RATE_LIMITED", "NOT_LET_IN", "SLOW")
SCRIPTS = (
    *(None, None, None, None, Pending(), NeedsAction(Intent("")), Succeeded("")),
    Refusal("do_not_honor", "No.", retryable=False),
)
# What each step is drawn from, by Hypothesis and by a walk; what stands twice is drawn twice as
# often.
CHOICES: dict[str, dict[str, Sequence[object]]] = {
    "draft": {
        "lines": LINES,
        "discount": (None, None, Discount(percent="50"), Discount(percent="100")),
        "automatic": BOTH,
        "per_line": BOTH,
        "days": (None, 0, 30),
    },
    "paperwork": {"which": WHICH, "what": PAPERWORK},
    "pay_by_card": {"which": WHICH, "share": ("all", "half", "half", "cent")},
    "pay_anyhow": {
        "which": WHICH,
        "method": METHODS,
        "share": ("all", "all", "half", "half", "cent", "over", "nothing"),
        "fault": FAULTS,
        "script": SCRIPTS,
    },
    "settle_one": {"which": WHICH, "fault": FAULTS, "withdraw": BOTH},
    "settle_all": {"waiting_s": (0, 0, 600.0), "fault": FAULTS},
    "decide": {"which": range(3), "yes": BOTH},
    "record": {"which": WHICH, "share": ("all", "half", "cent", "cent", "over", "nothing")},
    "refund": {
        "which": WHICH,
        "place": (-1, 0, 1, 2),
        "share": SHARES,
        "by_hand": (False, False, True),
        "fault": FAULTS,
    },
    "bounce": {"which": WHICH, "place": range(3)},
    "credit": {
        "which": WHICH,
        "share": ("all", "half", "half", "cent", "over", "nothing"),
        "to": ("refund", "out_of_band", None, None, "wrong"),
    },
    "void_credit": {"which": range(3)},
    "reconcile": {
        "which": WHICH,
        "status": ("open", "open", "paid", "paid", "uncollectible", "void"),
        "when": ("now", "now", "late", "twice"),
    },
    "collect": {
        "days": ((), (1,), (0, 3), (1, 3, 5, 7)),
        "method": METHODS,
        "give_up": BOTH,
        "dry_run": (False, False, True),
        "fault": FAULTS,
    },
    "repeat": {"which": range(200), "other": WHICH, "same": (True, True, False)},
    "expect_another_version": {"which": WHICH, "behind": (-1, 1), "what": range(9)},
    "wait": {"days": (0, 0, 1, 3, 40), "seconds": (0, 1, 700)},
}
# A walk asks most for what moves money.
OFTEN = (
    "pay_by_card",
    "pay_anyhow",
    "pay_anyhow",
    "refund",
    "refund",
    "bounce",
    "settle_one",
    "record",
)


Taken = TypeVar("Taken", bound="Callable[..., None]")


def step(work: Taken) -> Taken:
    """A step that Hypothesis may take as well as a walk."""
    strategies: dict[str, Any] = {
        name: st.sampled_from(among) for name, among in CHOICES[work.__name__].items()
    }
    ruled: Any = rule(**strategies)
    return cast("Taken", ruled(work))


def share_of(share: str, whole: int) -> int:
    """So much of it, in minor units."""
    return {"half": whole // 2, "cent": 1, "over": whole + 1, "nothing": 0}.get(share, whole)


class MoneyMachine(RuleBasedStateMachine):
    """One tenant, a few invoices, one processor, and a clock that only we move."""

    def bank_of(self) -> Bank:
        """The processor of this run."""
        return FakeBank()

    def __init__(self) -> None:
        super().__init__()
        numbers = count(1)
        self.now = BEGAN
        self.server: stripe.StripeServer | None = None
        self.bank = self.bank_of()
        self.billing = Billing.open(
            ":memory:",
            seller=SELLER,
            clock=lambda: self.now,
            ids=lambda prefix, _: f"{prefix}_{next(numbers):04}",
            documents=None,
            pdf=None,
        )
        self.log = WatchedLog(self.billing.log)
        self.processor = WatchedProcessor(self.bank.processor, self.log)
        log = cast("FactsRecorder", self.log)
        house = replace(self.billing._house, log=log, processor=self.processor)
        self.acme = Tenant(house, "acme")
        self.position = 0
        self.commands = count(1)
        self.names: list[str] = []
        self.told: dict[str, Told] = defaultdict(Told)
        self.notes: list[str] = []
        self.obeyed: list[Obeyed] = []
        self.said: list[tuple[str, datetime]] = []
        self.bounced: dict[str, int] = defaultdict(int)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[1] is None:
                self.end()
        finally:
            self.close()

    def close(self) -> None:
        self.billing.close()
        self.processor.close()

    def end(self) -> None:
        """When all answers are in, our books and the processor's say the same, to the cent."""
        # As long as faults are left that were asked for, or something is asked for the first time.
        for _ in range(20):
            for intent in self.bank.waiting():
                self.bank.confirm(intent)
            done = list(self.acme.settle_payments(waiting_s=0))
            if not any(one.error or one.status == "processing" for one in done):
                break
        self.look()
        assert not self.acme.payments.unsettled(before=self.now)
        for told in self.told.values():
            assert not told.live
            assert not told.refunding
        self.hold_money()
        report, verified = self.billing.audit.verify(), self.billing.projections.verify()
        assert report.holds, report.first
        assert verified.holds, [str(one) for one in verified.differences]

    # --- asking -------------------------------------------------------------------------------

    def ask(self, name: str, invoice: str | None, call: Callable[..., object]) -> object:
        """Ask under a new command id, then once more, and hold what holds for every command.

        Returns the answer, or the error.
        """
        told = self.told[invoice] if invoice is not None else Told()
        status, position, calls = told.status, self.last(), self.processor.calls
        command = f"cmd_{next(self.commands)}"

        def once() -> object:
            try:
                return call(command_id=command)
            except CounterfoilError as error:
                return error

        answer = once()
        refused = isinstance(answer, Rejected | NotFound | Malformed | Conflict)
        if refused:
            assert self.last() == position, f"{name} was refused, and something was stored"
            # A Malformed is known once the customer's own method was asked for, and there is none.
            if not isinstance(answer, Malformed):
                assert self.processor.calls == calls, f"{name} was refused, and it was asked"
        if status in QUIET_IN.get(name, ()):
            assert not isinstance(answer, CounterfoilError), answer
            assert self.last() == position
        elif name in ASKED_IN and status not in ASKED_IN[name]:
            assert refused, f"{name} was obeyed by an invoice that is {status}: {answer}"
        self.look()
        if not refused and not isinstance(answer, Unavailable | ProcessorNotConfigured):
            self.obeyed.append(Obeyed(command, name, invoice, once, answer))
            self.again(self.obeyed[-1])
        return answer

    def again(self, one: Obeyed) -> None:
        """The same command again: one effect, one answer."""
        position, calls = self.last(), self.processor.calls
        told = self.told[one.invoice] if one.invoice else Told()
        live = bool(told.live or told.refunding)
        attempts = len(told.of(PaymentAttempted, RefundAttempted))
        answer = one.call()
        self.look()
        assert len(told.of(PaymentAttempted, RefundAttempted)) == attempts
        if live and one.name in {"pay", "refund"}:
            return  # it goes on with what is in progress
        assert self.last() == position, f"{one.name} was asked again, and more was stored"
        assert self.processor.calls == calls, f"{one.name} was asked again, and it was too"
        if one.name not in {"pay", "refund"}:
            assert answer == one.answer
        elif not isinstance(one.answer, CounterfoilError):
            # What was given back may have come back since, and that is what is told.
            bounced = one.name == "refund" and bool(told.of(RefundFailed))
            expected = (type(one.answer), *((PaymentDeclined,) if bounced else ()))
            assert type(answer) in expected, answer

    def last(self) -> int:
        return self.billing.audit.size()

    # --- holding ------------------------------------------------------------------------------

    def look(self) -> None:
        """Take in the new facts, and hold everything of the invoices that they concern."""
        new = self.billing.log.since(self.position, limit=10_000)
        touched = set()
        for one in new:
            self.position = one.envelope.position
            if one.envelope.stream.startswith("in_"):
                self.told[one.envelope.stream].take(one.fact)
                touched.add(one.envelope.stream)
        for invoice in touched:
            self.hold(invoice, self.told[invoice])
        self.hold_money()

    def hold(self, invoice: str, told: Told) -> None:
        if told.status == "discarded":
            with pytest.raises(NotFound):
                self.acme.get_invoice(invoice)
            return
        folded, row = self.acme.get_invoice(invoice), self.acme.invoices.get(invoice)
        assert row == folded
        assert folded.status == told.status
        self.hold_sums(folded, told)
        if told.status != "draft":
            self.hold_payments(invoice, told)
            self.hold_books(invoice, folded, told)

    def hold_sums(self, shown: Invoice, told: Told) -> None:
        """Design §5: exact, always."""
        assert shown.subtotal == sum(line.net for line in shown.lines)
        assert shown.total == shown.subtotal - shown.total_discount + shown.tax + shown.rounding
        assert sum(group.amount for group in shown.tax_groups) == shown.tax
        if told.status == "draft":
            return
        before = sum(one.before_payment for one in told.credits)
        assert shown.amount_due == shown.total - before
        assert shown.amount_remaining == shown.amount_due - shown.amount_paid
        assert 0 <= shown.amount_remaining <= shown.amount_due <= shown.total
        assert shown.amount_paid >= 0
        if told.status == "paid":
            assert shown.amount_remaining == 0
        credited = sum(one.credit.total for one in told.credits)
        assert credited <= shown.total
        for one in told.credits:
            parts = one.before_payment + one.refund + one.customer_credit + one.out_of_band
            assert parts == one.credit.total

    def hold_payments(self, invoice: str, told: Told) -> None:
        """One live attempt; refunds within what was received; and the list says the same."""
        assert len(told.live) <= 1
        listed = {one.id: one for one in self.acme.payments.list(invoice=invoice, limit=100)}
        for received in told.of(PaymentSucceeded):
            assert 0 <= received.surplus <= received.amount
            assert told.left(received) >= 0
            assert listed[received.payment].status == "succeeded"
        live = {id for id, one in listed.items() if one.status in {"processing", "requires_action"}}
        assert live == {one.payment for one in told.live}
        pending = [one for one in self.acme.payments.refunds(invoice) if one.status == "pending"]
        assert {one.id for one in pending} == {one.refund for one in told.refunding}

    def hold_books(self, invoice: str, shown: Invoice, told: Told) -> None:
        """Debits equal credits in every fact's entries; what is owed is what remains."""
        balances: dict[str, int] = defaultdict(int)
        moved: dict[int, int] = defaultdict(int)
        for one in self.acme.journal.entries(invoice):
            assert one.debit >= 0
            assert one.credit >= 0
            balances[one.account] += one.debit - one.credit
            moved[one.version] += one.debit - one.credit
        assert not any(moved.values())
        owed = {"open": "receivable", "paid": "receivable", "uncollectible": "bad_debt"}
        for account in ("receivable", "bad_debt"):
            due = shown.amount_remaining if owed.get(told.status) == account else 0
            assert balances[account] == due, account

    def hold_money(self) -> None:
        """Cash is what the processor has of ours, what was handed over, and what was settled."""
        books, theirs = self.bank.books(), 0
        for told in self.told.values():
            attempted = {one.payment: one.amount for one in told.of(PaymentAttempted)}
            live = {one.payment for one in told.live}
            refunding = {one.payment for one in told.refunding}
            succeeded = {one.payment: one for one in told.of(PaymentSucceeded)}
            asked = {one.refund for one in told.of(RefundAttempted)}
            for payment, amount in attempted.items():
                money = books.get(payment, Money())
                money = replace(money, given_back=money.given_back - self.bounced[payment])
                assert money.taken in {0, amount}
                if payment in live:
                    continue  # nobody has told us yet
                assert (money.taken == amount) == (payment in succeeded), payment
                back = sum(
                    one.amount
                    for one in told.gone
                    if one.payment == payment and one.refund in asked
                )
                assert money.given_back >= back
                if payment not in refunding:
                    assert money.given_back == back
                theirs += money.taken - back
            # What went back by hand.
            theirs -= sum(one.amount for one in told.gone if one.refund not in asked)
            theirs += told.by_hand + told.settled
            theirs -= sum(one.settled_before for one in told.of(PaymentSucceeded))
            theirs -= sum(one.out_of_band for one in told.credits)
        ours = [one for one in self.acme.journal.balances() if one.account == "cash"]
        assert sum(one.balance for one in ours) == theirs
        balances = self.acme.journal.balances()
        assert sum(one.debit for one in balances) == sum(one.credit for one in balances)

    def chosen(self, which: int) -> str:
        return self.names[which % len(self.names)]

    def fault(self, fault: str | None) -> None:
        if fault is not None:
            self.bank.fail(fault)

    # --- what is done -------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Open invoices that are charged automatically: most of what is asked is about money."""
        for _ in range(2):
            invoice = self.acme.draft_invoice(customer=ADA, currency="EUR", lines=[GOOD])
            self.names.append(invoice.id)
            self.acme.finalize_invoice(invoice.id)
        self.look()

    # Hypothesis leaves out rules in each run, so what is rarely asked shares a rule.

    @step
    def draft(
        self,
        lines: tuple[NewLine, ...],
        discount: Discount | None,
        *,
        automatic: bool,
        per_line: bool,
        days: int | None,
    ) -> None:
        if len(self.names) >= INVOICES_MAX:
            return
        answer = self.ask(
            "draft",
            None,
            lambda **call: self.acme.draft_invoice(
                customer=ADA,
                currency="EUR",
                lines=lines,
                discount=discount,
                collection_method="charge_automatically" if automatic else "send_invoice",
                days_until_due=days,
                tax_rounding="per_line" if per_line else "per_group",
                **call,
            ),
        )
        invoice: str = getattr(answer, "id")  # noqa: B009  (an answer may be anything)
        self.names.append(invoice)
        if lines:
            self.finalize(invoice)

    @step
    def paperwork(self, which: int, what: str) -> None:
        """What is no matter of money, in any status."""
        invoice = self.chosen(which)
        known = [one.line.id for one in self.told[invoice].of(LineAdded)] or ["li_none"]
        calls: dict[str, Callable[..., object]] = {
            "add": lambda **call: self.acme.add_line(invoice, **dict(GOOD), **call),
            "change": lambda **call: self.acme.change_line(
                invoice, known[-1], quantity="3", **call
            ),
            "remove": lambda **call: self.acme.remove_line(invoice, known[0], **call),
            "discount": lambda **call: self.acme.set_discount(
                invoice, Discount(amount="1.00"), **call
            ),
            "amend": lambda **call: self.acme.amend_draft(invoice, footer="Thanks.", **call),
        }
        match what:
            case "discard":
                self.ask(what, invoice, lambda **call: self.acme.delete_draft(invoice, **call))
            case "send":
                self.ask(what, invoice, lambda **call: self.acme.send_invoice(invoice, **call))
            case "finalize":
                self.finalize(invoice)
            case "void":
                self.void(invoice)
            case "give up":
                self.give_up(invoice)
            case _:
                self.ask("edit", invoice, calls[what])

    def finalize(self, invoice: str) -> None:
        was = self.told[invoice].status
        answer = self.ask(
            "finalize", invoice, lambda **call: self.acme.finalize_invoice(invoice, **call)
        )
        if was == "draft" and isinstance(answer, CounterfoilError):
            assert isinstance(answer, Rejected)
            assert answer.reason in {Reason.NO_LINES, Reason.NEGATIVE_TOTAL}, answer

    def void(self, invoice: str) -> None:
        told = self.told[invoice]
        may = told.status in ASKED_IN["void"] and not (
            told.live or told.credits or told.of(PaymentSucceeded)
        )
        answer = self.ask("void", invoice, lambda **call: self.acme.void_invoice(invoice, **call))
        if may:
            assert not isinstance(answer, CounterfoilError), answer

    def give_up(self, invoice: str) -> None:
        may = self.told[invoice].status == "open"
        answer = self.ask(
            "give up", invoice, lambda **call: self.acme.mark_uncollectible(invoice, **call)
        )
        if may:
            assert not isinstance(answer, CounterfoilError), answer

    @step
    def pay_by_card(self, which: int, share: str) -> None:
        self.pay(self.chosen(which), "pm_card_visa", share)

    @step
    def pay_anyhow(
        self, which: int, method: int, share: str, fault: str | None, script: Outcome | None
    ) -> None:
        self.pay(self.chosen(which), self.method(method), share, fault, script)

    def method(self, place: int) -> str | None:
        return None if place < 0 else self.bank.methods[place % len(self.bank.methods)]

    def pay(
        self,
        invoice: str,
        method: str | None,
        share: str,
        fault: str | None = None,
        script: Outcome | None = None,
    ) -> None:
        told = self.told[invoice]
        remaining = self.remaining(invoice)
        amount = None if share == "all" else share_of(share, remaining)
        may = told.status in ASKED_IN["pay"] and not told.live
        may = may and 0 < (remaining if amount is None else amount) <= remaining
        attempts, late = len(told.of(PaymentAttempted)), told.late
        if may:
            self.fault(fault)
            if script is not None:
                self.bank.script(script)
        answer = self.ask(
            "pay",
            invoice,
            lambda **call: self.acme.pay_invoice(
                invoice, payment_method=method, amount=amount, **call
            ),
        )
        if may:
            assert not isinstance(answer, Rejected | NotFound), answer
            if method is not None and not (late and isinstance(answer, CounterfoilError)):
                assert len(told.of(PaymentAttempted)) == attempts + 1
        else:
            assert isinstance(answer, Rejected | NotFound | Malformed), answer
        if isinstance(answer, Paid):
            assert answer.unwrap() is answer.invoice

    @step
    def settle_one(self, which: int, fault: str | None, *, withdraw: bool) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        live, position = told.live, self.last()
        if live:
            self.fault(fault)
        ask = self.acme.cancel_payment if withdraw else self.acme.settle_payment
        try:
            answer: object = ask(invoice)
        except (Unavailable, ProcessorNotConfigured):
            assert live
            return
        except (Rejected, NotFound):
            assert told.status in {"draft", "discarded"}
            return
        if not live:
            assert answer is None
            assert self.last() == position
        self.look()
        if withdraw and live and self.ended(told, live[0]) and isinstance(answer, Declined):
            assert live[0].payment not in self.bank.books()

    def ended(self, told: Told, attempt: PaymentAttempted) -> bool:
        return attempt not in told.live

    @step
    def settle_all(self, waiting_s: float, fault: str | None) -> None:
        if self.acme.payments.unsettled(before=self.now):
            self.fault(fault)
        for one in self.acme.settle_payments(waiting_s=waiting_s):
            assert one.error is None or isinstance(one.error, Unavailable | ProcessorNotConfigured)
        self.look()

    @step
    def decide(self, which: int, *, yes: bool) -> None:
        waiting = self.bank.waiting()
        if waiting:
            intent = waiting[which % len(waiting)]
            (self.bank.confirm if yes else self.bank.refuse)(intent)

    @step
    def record(self, which: int, share: str) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        amount = share_of(share, self.remaining(invoice))
        may = told.status in ASKED_IN["record"] and amount > 0
        told.by_hand += amount if may else 0
        answer = self.ask(
            "record",
            invoice,
            lambda **call: self.acme.record_payment(invoice, amount=amount, **call),
        )
        assert may == (not isinstance(answer, CounterfoilError)), answer

    @step
    def refund(
        self, which: int, place: int, share: str, fault: str | None, *, by_hand: bool
    ) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        received: list[PaymentSucceeded] = told.of(PaymentSucceeded)
        meant = None
        if received and (place >= 0 or len(received) == 1):
            meant = received[max(place, 0) % len(received)]
        left = told.left(meant) if meant is not None else 0
        amount = None if share == "all" else share_of(share, left)
        may = 0 < (left if amount is None else amount) <= left
        if may and not by_hand and meant is not None and meant.processor is not None:
            self.fault(fault)
        answer = self.ask(
            "refund",
            invoice,
            lambda **call: self.acme.refund_payment(
                invoice,
                payment=meant.payment if meant is not None and place >= 0 else None,
                amount=amount,
                reference="by bank" if by_hand else None,
                **call,
            ),
        )
        if not may:
            assert isinstance(answer, Rejected | NotFound | Malformed), answer
        elif isinstance(answer, CounterfoilError):
            known = Unavailable | ProcessorNotConfigured | PaymentDeclined
            assert isinstance(answer, known), answer

    @step
    def bounce(self, which: int, place: int) -> None:
        """The payer's bank returns what the processor gave back; its webhook says so, twice."""
        invoice = self.chosen(which)
        told = self.told[invoice]
        asked = {one.refund for one in told.of(RefundAttempted)}
        went = [one for one in told.gone if one.refund in asked]
        if not went:
            return
        back = went[place % len(went)]
        self.bounced[back.payment] += back.amount
        names = {"tenant": "acme", "invoice": invoice, "refund": back.refund}
        about = {
            "id": back.reference,
            "status": "failed",
            "amount": back.amount,
            "currency": "eur",
            "metadata": {f"counterfoil_{name}": value for name, value in names.items()},
        }
        was, paid = told.status, self.remaining(invoice)
        for _ in range(2):
            self.acme.hear(Delivery("evt_bounce", "refund.failed", self.now, about))
            self.look()
            assert back not in told.gone
            failed: RefundFailed = told.of(RefundFailed)[-1]
            owed = was in {"open", "uncollectible"}
            assert failed.surplus == back.reopened - (min(back.reopened, paid) if owed else 0)

    @step
    def credit(self, which: int, share: str, to: str | None) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        left = told.total - sum(one.credit.total for one in told.credits)
        amount = None if share == "all" else share_of(share, left)
        owed = self.remaining(invoice) if told.status in {"open", "uncollectible"} else 0
        after = max(0, (left if amount is None else amount) - owed)
        split: dict[str, Any] = (
            {} if to is None else {"refund": 1 + after} if to == "wrong" else {to: after}
        )
        answer = self.ask(
            "credit",
            invoice,
            lambda **call: self.acme.issue_credit_note(invoice, amount=amount, **split, **call),
        )
        if not isinstance(answer, CounterfoilError):
            self.notes.append(told.of(CreditApplied)[-1].credit_note)
            assert to != "wrong"

    @step
    def void_credit(self, which: int) -> None:
        if not self.notes:
            return
        note = self.notes[which % len(self.notes)]
        invoice = next(
            name
            for name, told in self.told.items()
            if any(one.credit_note == note for one in told.of(CreditApplied))
        )
        told = self.told[invoice]
        stands, may = any(one.credit_note == note for one in told.credits), told.status
        answer = self.ask(
            "void credit", invoice, lambda **call: self.acme.void_credit_note(note, **call)
        )
        if stands:
            allowed = may in {"open", "uncollectible"}
            assert allowed == (not isinstance(answer, CounterfoilError)), answer

    @step
    def reconcile(self, which: int, status: str, when: str) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        known: list[InvoiceReconciled] = told.of(InvoiceReconciled)
        event, at = f"evt_{len(self.said)}", self.now
        if when == "late" and known:
            at = known[-1].occurred_at - timedelta(seconds=1)
        if when == "twice" and known:
            event, at = known[0].provider_event, known[0].occurred_at
        self.said.append((event, at))
        was, remaining, position = told.status, self.remaining(invoice), self.last()
        unexplained = told.settled - sum(one.settled_before for one in told.of(PaymentSucceeded))
        new = not (when in {"late", "twice"} and known)
        if was in ASKED_IN["reconcile"] and new and was != status:
            told.settled += remaining if status == "paid" else -unexplained
        answer = self.ask(
            "reconcile",
            invoice,
            lambda **call: self.acme.reconcile_invoice(
                invoice, status=status, provider_event_id=event, occurred_at=at, **call
            ),
        )
        if was not in ASKED_IN["reconcile"]:
            return
        if new:
            assert not isinstance(answer, CounterfoilError), answer
            assert told.status == status
        elif when == "twice":
            assert self.last() == position
            assert not isinstance(answer, CounterfoilError), answer
        else:
            assert isinstance(answer, Rejected)
            assert answer.reason is Reason.OUTDATED

    @step
    def collect(
        self, days: tuple[int, ...], method: int, fault: str | None, *, give_up: bool, dry_run: bool
    ) -> None:
        schedule = Schedule(retry_after_days=days)
        self.bank.keep(self.method(method))
        position, calls = self.last(), self.processor.calls
        attempts = {name: len(told.of(PaymentAttempted)) for name, told in self.told.items()}
        if fault is not None and not dry_run:
            self.fault(fault)
        for one in self.acme.collect_payments(schedule=schedule, give_up=give_up, dry_run=dry_run):
            known = Unavailable | ProcessorNotConfigured
            if one.invoice.amount_remaining > 0:  # or it should not even be tried
                assert one.error is None or isinstance(one.error, known), one.error
        if dry_run:
            assert (self.last(), self.processor.calls) == (position, calls)
        self.look()
        for name, told in self.told.items():
            assert len(told.of(PaymentAttempted)) <= attempts.get(name, 0) + 1

    @step
    def repeat(self, which: int, other: int, *, same: bool) -> None:
        """An old command again, or another command under its id, which is of no use."""
        if not self.obeyed:
            return
        one = self.obeyed[which % len(self.obeyed)]
        if same:
            self.again(one)
            return
        invoice, position, calls = self.chosen(other), self.last(), self.processor.calls
        with pytest.raises(Malformed, match="command_id"):
            self.acme.pay_invoice(
                invoice, payment_method="pm_visa_2", amount=1, command_id=one.command
            )
        assert (self.last(), self.processor.calls) == (position, calls)

    @step
    def expect_another_version(self, which: int, behind: int, what: int) -> None:
        invoice = self.chosen(which)
        told = self.told[invoice]
        call: dict[str, Any] = {"expected_version": len(told.facts) + behind}
        acme, payment = self.acme, next(iter(told.of(PaymentSucceeded)), None)
        asks: tuple[Callable[[], object], ...] = (
            lambda: acme.pay_invoice(invoice, payment_method="pm_card_visa", **call),
            lambda: acme.pay_invoice(invoice, **call),
            lambda: acme.record_payment(invoice, amount=1, **call),
            lambda: acme.void_invoice(invoice, **call),
            lambda: acme.finalize_invoice(invoice, **call),
            lambda: acme.mark_uncollectible(invoice, **call),
            lambda: acme.issue_credit_note(invoice, **call),
            lambda: acme.refund_payment(
                invoice, payment=payment.payment if payment else None, **call
            ),
            lambda: acme.reconcile_invoice(
                invoice,
                status="paid",
                provider_event_id="evt_stale",
                occurred_at=self.now,
                **call,
            ),
        )
        position, calls = self.last(), self.processor.calls
        refusals = (Conflict, Rejected, Malformed, NotFound)
        unheard = (Unavailable, ProcessorNotConfigured) if what == 1 else ()
        with pytest.raises((*refusals, *unheard)):
            asks[what]()
        assert self.last() == position
        if what != 1:  # the customer's own method is asked for before anything is decided
            assert self.processor.calls == calls

    @step
    def wait(self, days: int, seconds: int) -> None:
        self.now += timedelta(days=days, seconds=seconds)

    def remaining(self, invoice: str) -> int:
        if self.told[invoice].status in {"none", "draft", "discarded"}:
            return 0
        return self.acme.get_invoice(invoice).amount_remaining


class StripeMachine(MoneyMachine):
    """The same with Stripe, which has books of its own in each run, and the clock of the run."""

    def bank_of(self) -> Bank:
        self.server = stripe.StripeServer(customers=[ADA.id], clock=lambda: self.now)
        return StripeBank(self.server.__enter__())

    def close(self) -> None:
        super().close()
        assert self.server is not None
        self.server.__exit__()


# --- the runs ---------------------------------------------------------------------------------


# A long walk is repeated by its seed, which its failure tells.
FIRST = int(os.environ.get("COUNTERFOIL_TEST_SEED", "1000"))


def walk(kind: type[MoneyMachine], seed: int, steps: int) -> None:
    """One run of steps that are drawn evenly, which Hypothesis does not; a failure tells them."""
    drawn, taken = random.Random(seed), []  # noqa: S311  (no secret)
    machine = kind()
    try:
        machine.begin()
        for _ in range(steps):
            name = drawn.choice([*CHOICES, *OFTEN])
            said = {key: drawn.choice(among) for key, among in CHOICES[name].items()}
            taken.append(f"{name}({', '.join(f'{key}={one!r}' for key, one in said.items())})")
            getattr(machine, name)(**said)
        machine.end()
    except BaseException as error:
        error.add_note("\n".join([f"seed {seed}:", *taken]))
        raise
    finally:
        machine.close()


def test_money_adds_up_on_walks_that_are_drawn_evenly() -> None:
    for seed in range(10):
        walk(MoneyMachine, seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "walks"), [(MoneyMachine, 150), (StripeMachine, 25)], ids=["fake", "stripe"]
)
def test_money_adds_up_on_long_walks(kind: type[MoneyMachine], walks: int) -> None:
    for seed in range(FIRST, FIRST + walks):
        walk(kind, seed, 120)


# A quick look at each change; `make test-slow` looks for long, at new examples each time.
QUICK = settings(max_examples=15, stateful_step_count=30)
LONG = settings(
    max_examples=int(os.environ.get("COUNTERFOIL_TEST_MACHINES", "600")),
    stateful_step_count=60,
    derandomize=False,
    print_blob=True,
)


def test_money_adds_up_whatever_is_asked_in_whatever_order() -> None:
    run_state_machine_as_test(MoneyMachine, settings=QUICK)


@pytest.mark.slow
def test_money_adds_up_in_long_runs() -> None:
    run_state_machine_as_test(MoneyMachine, settings=LONG)


@pytest.mark.slow
def test_money_adds_up_with_stripe() -> None:
    few = settings(LONG, max_examples=20, stateful_step_count=25)
    run_state_machine_as_test(StripeMachine, settings=few)


# --- what they have found -----------------------------------------------------------------------


@pytest.fixture
def machine() -> Iterator[MoneyMachine]:
    machine = MoneyMachine()
    yield machine
    machine.close()


def test_an_open_invoice_with_nothing_left_to_pay_is_not_collected(machine: MoneyMachine) -> None:
    """An outsider may call open what was paid by us; no processor is to be asked for 0."""
    acme = machine.acme
    invoice = acme.draft_invoice(customer=ADA, currency="EUR", lines=[GOOD]).id
    acme.finalize_invoice(invoice)
    acme.record_payment(invoice, amount="119.00")
    opened = acme.reconcile_invoice(
        invoice, status="open", provider_event_id="evt_1", occurred_at=BEGAN
    )
    assert (opened.status, opened.amount_remaining) == ("open", 0)
    (collected,) = acme.collect_payments()
    assert (collected.step, collected.error) == (Nothing("nothing_remaining"), None)


def test_a_payment_of_another_version_than_expected_asks_nobody_anything(
    machine: MoneyMachine,
) -> None:
    acme = machine.acme
    invoice = acme.draft_invoice(customer=ADA, currency="EUR", lines=[GOOD]).id
    acme.finalize_invoice(invoice)
    acme.pay_invoice(invoice, payment_method="pm_card_authenticationRequired")
    machine.bank.refuse(*machine.bank.waiting())
    acme.settle_payment(invoice)
    calls = machine.processor.calls
    with pytest.raises(Conflict):
        acme.pay_invoice(invoice, payment_method="pm_card_visa", expected_version=1)
    assert machine.processor.calls == calls
