"""What every processor must do, whoever moves the money: one charge a key, no word that the books
do not bear out, and the same kind of fault for the same kind of trouble.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING, Protocol

import pytest

from counterfoil.adapters.processors.fake import FakeProcessor, Fault
from counterfoil.adapters.processors.stripe import StripeProcessor
from counterfoil.domain.errors import ProcessorNotConfigured, RateLimited, Unavailable
from counterfoil.domain.money import Money
from counterfoil.domain.ports import (
    CANCELED,
    Charge,
    Declined,
    NeedsAction,
    Outcome,
    Pending,
    Processor,
    Repayment,
    Succeeded,
)
from support.stripe import HangUp, Late, LoseAnswer, Refuse, StripeServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

VISA = "pm_card_visa"
ASKS = "pm_card_authenticationRequired"
DEBIT = "pm_usBankAccount"


class Bench(Protocol):
    """A processor, and the hands of the payer, the bank and the network."""

    processor: Processor

    def again(self) -> Processor:
        """The same processor in a process that has just started."""

    def intent(self) -> str:
        """The processor's own name of the charge that was made last."""

    def confirm(self, intent: str) -> None:
        """The payer confirms, or the bank pays, as far as that is still possible."""

    def refuse(self, intent: str) -> None:
        """The payer does not confirm, or the bank does not pay."""

    def lose_answer(self, *, refund: bool = False) -> None:
        """The next request is obeyed, and its answer is lost."""

    def unreachable(self) -> None:
        """The next request does not arrive."""

    def rate_limit(self) -> None:
        """The next request is one too many."""

    def lock_out(self) -> None:
        """The next request is made with a key that is not known."""

    def forget_keys(self) -> None:
        """So long a time has passed that idempotency keys are forgotten, if they ever are."""

    def booked(self) -> int:
        """All that was taken, in minor units."""

    def refunded(self) -> int:
        """All that went back, or is on its way."""


class FakeBench:
    """The fake, with its books in memory or in a file."""

    def __init__(self, ledger: str) -> None:
        self._ledger = ledger
        self._opened = [FakeProcessor(ledger)]
        self.processor: Processor = self._opened[0]

    @property
    def _fake(self) -> FakeProcessor:
        return self._opened[-1]

    def again(self) -> Processor:
        if self._ledger != ":memory:":
            self._opened.append(FakeProcessor(self._ledger))
        return self._fake

    def intent(self) -> str:
        return self._fake.booked()[-1].id

    def confirm(self, intent: str) -> None:
        self._fake.confirm(intent)

    def refuse(self, intent: str) -> None:
        self._fake.refuse(intent)

    def lose_answer(self, *, refund: bool = False) -> None:
        del refund
        self._fake.fail(Fault.ANSWER_LOST)

    def unreachable(self) -> None:
        self._fake.fail(Fault.UNREACHABLE)

    def rate_limit(self) -> None:
        self._fake.fail(Fault.RATE_LIMITED)

    def lock_out(self) -> None:
        self._fake.fail(Fault.NOT_LET_IN)

    def forget_keys(self) -> None:
        """It never forgets one."""

    def booked(self) -> int:
        return sum(one.amount.minor for one in self._fake.booked() if one.status == "succeeded")

    def refunded(self) -> int:
        return sum(one.refunded for one in self._fake.booked())

    def close(self) -> None:
        for one in self._opened:
            one.close()


class StripeBench:
    """Stripe's adapter at a Stripe in this process; currencies of two decimals only."""

    def __init__(self, server: StripeServer) -> None:
        self._server = server
        self._opened: list[StripeProcessor] = []
        self.processor = self.again()

    def again(self) -> Processor:
        made = StripeProcessor("sk_test_contract", address=self._server.address, max_retries=0)
        self._opened.append(made)
        return made

    def intent(self) -> str:
        name: str = self._server.intents()[-1]["id"]
        return name

    def confirm(self, intent: str) -> None:
        match self._server.intent(intent)["status"]:
            case "processing":
                self._server.settle(intent)
            case "requires_action" | "requires_payment_method":
                self._server.complete(intent)
            case _:  # Stripe lets nobody confirm what has ended
                pass

    def refuse(self, intent: str) -> None:
        kept = self._server.intent(intent)
        kept["status"] = "requires_payment_method"
        kept["last_payment_error"] = {
            "type": "invalid_request_error",
            "code": "payment_intent_authentication_failure",
            "message": "The provided PaymentMethod has failed authentication.",
        }

    def lose_answer(self, *, refund: bool = False) -> None:
        # A refund is looked for before it is made.
        self._server.fail(*([Late(0)] if refund else []), LoseAnswer())

    def unreachable(self) -> None:
        self._server.fail(HangUp())

    def rate_limit(self) -> None:
        headers = {"Retry-After": "1"}
        self._server.fail(Refuse(429, "rate_limit", "invalid_request_error", headers=headers))

    def lock_out(self) -> None:
        self._server.fail(Refuse(401, None, "invalid_request_error", "Invalid API Key provided"))

    def forget_keys(self) -> None:
        self._server.forget_keys()

    def booked(self) -> int:
        return sum(self._server.charged().values())

    def refunded(self) -> int:
        return sum(self._server.refunded().values())

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture(params=["fake in memory", "fake in a file", "stripe"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "stripe":
        with StripeServer() as server:
            theirs = StripeBench(server)
            yield theirs
            theirs.close()
        return
    ours = FakeBench(":memory:" if request.param.endswith("memory") else str(tmp_path / "books"))
    yield ours
    ours.close()


@pytest.fixture
def processor(bench: Bench) -> Processor:
    return bench.processor


def a_charge(method: str = VISA, *, key: str = "charge_1", minor: int = 11900) -> Charge:
    return Charge(
        key=key,
        amount=Money(minor, "EUR"),
        payment_method=method,
        tenant="acme",
        invoice="in_1",
        payment=f"py_{key}",
        customer="ada",
        attempted_at=datetime.now(UTC),
    )


def of(taken: Outcome, *, key: str = "refund_1", minor: int = 11900) -> Repayment:
    assert isinstance(taken, Succeeded)
    return Repayment(
        key=key,
        amount=Money(minor, "EUR"),
        charge=taken.reference,
        tenant="acme",
        invoice="in_1",
        payment="py_charge_1",
        refund=f"re_{key}",
    )


def at_once(asks: Sequence[Callable[[], Outcome]]) -> list[Outcome | Unavailable]:
    """Ask from a thread each at the same moment; who is not heard may ask again later."""
    start = Barrier(len(asks))

    def one(ask: Callable[[], Outcome]) -> Outcome | Unavailable:
        start.wait(10)
        try:
            return ask()
        except Unavailable as error:
            return error

    with ThreadPoolExecutor(len(asks)) as threads:
        return list(threads.map(one, asks))


# --- charging -------------------------------------------------------------------------------------


def test_a_processor_has_a_name_that_can_be_stored(processor: Processor) -> None:
    assert processor.name.isascii()
    assert processor.name.isprintable()
    assert 0 < len(processor.name) <= 100
    assert " " not in processor.name


def test_a_good_card_is_charged_exactly_what_was_asked(bench: Bench, processor: Processor) -> None:
    assert processor.charge(a_charge(minor=12345)) == Succeeded(bench.intent())
    assert bench.booked() == 12345


def test_the_same_key_is_charged_once(bench: Bench, processor: Processor) -> None:
    first = processor.charge(a_charge())
    assert [processor.charge(a_charge()) for _ in range(3)] == [first] * 3
    assert bench.booked() == 11900


def test_the_same_key_is_charged_once_by_a_process_that_has_just_started(
    bench: Bench, processor: Processor
) -> None:
    first = processor.charge(a_charge())
    assert bench.again().charge(a_charge()) == first
    assert bench.booked() == 11900


def test_eight_at_once_under_one_key_are_one_charge(bench: Bench, processor: Processor) -> None:
    answers = at_once([lambda: processor.charge(a_charge())] * 8)
    heard = {answer for answer in answers if not isinstance(answer, Unavailable)}
    assert heard == {Succeeded(bench.intent())}
    assert bench.booked() == 11900


def test_two_keys_are_two_charges(bench: Bench, processor: Processor) -> None:
    one = processor.charge(a_charge(key="charge_1"))
    other = processor.charge(a_charge(key="charge_2"))
    assert one != other
    assert bench.booked() == 2 * 11900


def test_a_key_that_was_used_for_another_amount_takes_nothing_more(
    bench: Bench, processor: Processor
) -> None:
    processor.charge(a_charge())
    with suppress(Exception):  # what it says is its own: it is a defect of whoever asks
        processor.charge(a_charge(minor=99900))
    assert bench.booked() == 11900


@pytest.mark.parametrize(
    ("method", "code", "retryable"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", True),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds", True),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", True),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card", False),
        ("pm_card_visa_chargeDeclinedStolenCard", "stolen_card", False),
        ("pm_card_chargeDeclinedFraudulent", "fraudulent", False),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", False),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", False),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_velocity_exceeded", True),
        ("pm_card_vissa", "resource_missing", False),
    ],
)
def test_a_refused_card_says_why_and_whether_to_try_again(
    bench: Bench, method: str, code: str, retryable: bool
) -> None:
    refused = bench.processor.charge(a_charge(method))
    assert isinstance(refused, Declined)
    assert (refused.code, refused.retryable) == (code, retryable)
    assert refused.message
    assert bench.processor.charge(a_charge(method)) == refused
    assert bench.booked() == 0


def test_a_card_that_was_refused_is_known_as_refused(bench: Bench, processor: Processor) -> None:
    refused = processor.charge(a_charge("pm_card_visa_chargeDeclinedLostCard"))
    assert processor.retrieve(a_charge("pm_card_visa_chargeDeclinedLostCard")) == refused
    assert bench.again().retrieve(a_charge("pm_card_visa_chargeDeclinedLostCard")) == refused


def test_what_customers_pay_with_is_a_name_or_nothing(processor: Processor) -> None:
    assert isinstance(processor.default_payment_method("nobody"), str | None)


# --- the payer must confirm -----------------------------------------------------------------------


@pytest.mark.parametrize("method", [ASKS, "pm_card_threeDSecure2Required"])
def test_no_money_moves_before_the_payer_has_confirmed(bench: Bench, method: str) -> None:
    asked = bench.processor.charge(a_charge(method))
    assert isinstance(asked, NeedsAction)
    assert asked.intent.id == bench.intent()
    assert asked.intent.client_secret
    assert bench.booked() == 0
    known = replace(a_charge(method), reference=asked.intent.id)
    for again in (
        bench.processor.charge(a_charge(method)),
        bench.processor.retrieve(a_charge(method)),
        bench.processor.retrieve(known),
        bench.again().retrieve(known),
    ):
        assert again == asked
    bench.confirm(asked.intent.id)
    assert bench.booked() == 11900
    for after in (
        bench.processor.retrieve(known),
        bench.processor.retrieve(a_charge(method)),
        bench.processor.charge(a_charge(method)),
    ):
        assert after == Succeeded(asked.intent.id)
    assert bench.booked() == 11900


def test_a_payer_who_does_not_confirm_pays_nothing(bench: Bench, processor: Processor) -> None:
    asked = processor.charge(a_charge(ASKS))
    assert isinstance(asked, NeedsAction)
    bench.refuse(asked.intent.id)
    assert isinstance(processor.retrieve(a_charge(ASKS)), Declined)
    assert bench.booked() == 0


def test_the_secret_of_a_payer_is_in_no_text_of_an_answer(processor: Processor) -> None:
    asked = processor.charge(a_charge(ASKS))
    assert isinstance(asked, NeedsAction)
    secret = asked.intent.client_secret
    assert secret
    assert secret not in f"{asked} {asked!r} {asked.intent} {asked.intent!r}"


def test_a_bank_debit_is_pending_until_the_bank_has_answered(
    bench: Bench, processor: Processor
) -> None:
    assert processor.charge(a_charge(DEBIT)) == Pending()
    assert processor.retrieve(a_charge(DEBIT)) == Pending()
    assert bench.booked() == 0
    bench.confirm(bench.intent())
    assert processor.retrieve(a_charge(DEBIT)) == Succeeded(bench.intent())
    assert bench.booked() == 11900


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_charge_that_was_never_heard_of_is_not_known(bench: Bench, processor: Processor) -> None:
    processor.charge(a_charge(key="charge_2"))
    assert processor.retrieve(a_charge(key="charge_1")) is None
    assert bench.again().retrieve(a_charge(key="charge_1")) is None


def test_a_charge_whose_answer_was_lost_is_found_and_not_taken_twice(
    bench: Bench, processor: Processor
) -> None:
    bench.lose_answer()
    with pytest.raises(Unavailable):
        processor.charge(a_charge())
    assert bench.booked() == 11900
    found = processor.retrieve(a_charge())
    assert found == Succeeded(bench.intent())
    assert bench.again().retrieve(a_charge()) == found
    assert processor.charge(a_charge()) == found
    assert bench.booked() == 11900


def test_a_charge_that_never_arrived_can_be_asked_for_again(
    bench: Bench, processor: Processor
) -> None:
    bench.unreachable()
    with pytest.raises(Unavailable):
        processor.charge(a_charge())
    assert processor.retrieve(a_charge()) is None
    assert processor.charge(a_charge()) == Succeeded(bench.intent())
    assert bench.booked() == 11900


def test_a_refusal_whose_answer_was_lost_stays_a_refusal(
    bench: Bench, processor: Processor
) -> None:
    lost = a_charge("pm_card_visa_chargeDeclinedLostCard")
    bench.lose_answer()
    with pytest.raises(Unavailable):
        processor.charge(lost)
    found = processor.retrieve(lost)
    assert isinstance(found, Declined)
    assert found.code == "lost_card"
    assert processor.charge(lost) == found


Ask = tuple[str, "Callable[[Processor], object]"]
EVERYTHING: list[Ask] = [
    ("charge", lambda processor: processor.charge(a_charge())),
    ("retrieve", lambda processor: processor.retrieve(a_charge())),
    ("cancel", lambda processor: processor.cancel(a_charge())),
    ("refund", lambda processor: processor.refund(of(Succeeded("pi_nobody")))),
]


@pytest.mark.parametrize(("name", "ask"), EVERYTHING, ids=[name for name, _ in EVERYTHING])
def test_every_fault_has_its_kind_whatever_was_asked(
    bench: Bench, name: str, ask: Callable[[Processor], object]
) -> None:
    del name
    bench.rate_limit()
    with pytest.raises(RateLimited) as slow_down:
        ask(bench.processor)
    assert slow_down.value.retry_after_s == 1.0
    bench.unreachable()
    with pytest.raises(Unavailable) as gone:
        ask(bench.processor)
    assert not isinstance(gone.value, RateLimited)
    bench.lock_out()
    with pytest.raises(ProcessorNotConfigured):
        ask(bench.processor)
    assert bench.booked() == 0
    assert bench.processor.charge(a_charge()) == Succeeded(bench.intent())
    assert bench.booked() == 11900


# --- withdrawing ----------------------------------------------------------------------------------


def is_canceled(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Declined) and outcome.code == CANCELED


def test_a_charge_that_is_withdrawn_before_it_arrives_takes_nothing_when_it_does(
    bench: Bench, processor: Processor
) -> None:
    assert is_canceled(processor.cancel(a_charge()))
    assert is_canceled(processor.charge(a_charge()))
    assert is_canceled(bench.again().charge(a_charge()))
    known = processor.retrieve(a_charge())
    assert known is None or is_canceled(known)
    assert is_canceled(processor.cancel(a_charge()))
    assert bench.booked() == 0


def test_a_charge_that_waits_for_its_payer_can_be_withdrawn(
    bench: Bench, processor: Processor
) -> None:
    asked = processor.charge(a_charge(ASKS))
    assert isinstance(asked, NeedsAction)
    assert is_canceled(processor.cancel(replace(a_charge(ASKS), reference=asked.intent.id)))
    bench.confirm(asked.intent.id)
    assert bench.booked() == 0
    assert is_canceled(processor.retrieve(a_charge(ASKS)))
    assert is_canceled(processor.cancel(a_charge(ASKS)))
    assert is_canceled(processor.charge(a_charge(ASKS)))


def test_it_can_be_withdrawn_by_its_key_alone(bench: Bench, processor: Processor) -> None:
    asked = processor.charge(a_charge(ASKS))
    assert isinstance(asked, NeedsAction)
    assert is_canceled(processor.cancel(a_charge(ASKS)))
    bench.confirm(asked.intent.id)
    assert bench.booked() == 0


def test_what_was_taken_cannot_be_withdrawn(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge())
    assert processor.cancel(a_charge()) == taken
    assert bench.booked() == 11900


def test_what_was_refused_takes_nothing_when_it_is_withdrawn(
    bench: Bench, processor: Processor
) -> None:
    processor.charge(a_charge("pm_card_visa_chargeDeclined"))
    assert isinstance(processor.cancel(a_charge("pm_card_visa_chargeDeclined")), Declined)
    assert bench.booked() == 0


def test_a_debit_that_is_withdrawn_takes_nothing_or_says_that_it_may(
    bench: Bench, processor: Processor
) -> None:
    processor.charge(a_charge(DEBIT))
    said = processor.cancel(a_charge(DEBIT))
    assert said == Pending() or is_canceled(said)
    bench.confirm(bench.intent())
    assert bench.booked() == (11900 if said == Pending() else 0)


def test_a_withdrawal_whose_answer_was_lost_can_be_repeated(
    bench: Bench, processor: Processor
) -> None:
    asked = processor.charge(a_charge(ASKS))
    assert isinstance(asked, NeedsAction)
    known = replace(a_charge(ASKS), reference=asked.intent.id)
    bench.lose_answer()
    with pytest.raises(Unavailable):
        processor.cancel(known)
    assert is_canceled(processor.cancel(known))
    assert is_canceled(processor.retrieve(known))


def test_a_charge_and_its_withdrawal_at_once_agree_about_the_money(
    bench: Bench, processor: Processor
) -> None:
    for number in range(8):
        charge, before = a_charge(key=f"charge_{number}"), bench.booked()
        both = [partial(ask, charge) for ask in (processor.charge, processor.cancel)]
        said = at_once(both)
        heard = [one for one in said if not isinstance(one, Unavailable)]
        # Whoever was not heard asks again, and then both tell the same.
        final = processor.cancel(charge)
        taken = bench.booked() - before
        assert taken == (11900 if isinstance(final, Succeeded) else 0)
        assert isinstance(final, Succeeded) or is_canceled(final)
        assert all(one == final or (is_canceled(one) and is_canceled(final)) for one in heard)


# --- giving back ----------------------------------------------------------------------------------


def test_money_goes_back_once_a_key(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge())
    given = processor.refund(of(taken, minor=4000))
    assert isinstance(given, Succeeded)
    assert given != taken
    assert processor.refund(of(taken, minor=4000)) == given
    assert bench.again().refund(of(taken, minor=4000)) == given
    assert bench.refunded() == 4000
    assert bench.booked() == 11900


def test_the_same_refund_is_never_given_twice_however_old_it_is(
    bench: Bench, processor: Processor
) -> None:
    taken = processor.charge(a_charge())
    given = processor.refund(of(taken, minor=4000))
    bench.forget_keys()
    assert processor.refund(of(taken, minor=4000)) == given
    assert bench.refunded() == 4000


def test_two_keys_are_two_refunds(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge())
    one = processor.refund(of(taken, key="refund_1", minor=4000))
    other = processor.refund(of(taken, key="refund_2", minor=4000))
    assert one != other
    assert bench.refunded() == 8000


def test_more_than_is_left_is_not_given_back(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge())
    processor.refund(of(taken, key="refund_1", minor=10000))
    assert isinstance(processor.refund(of(taken, key="refund_2", minor=1901)), Declined)
    assert bench.refunded() == 10000
    assert isinstance(processor.refund(of(taken, key="refund_3", minor=1900)), Succeeded)
    assert isinstance(processor.refund(of(taken, key="refund_4", minor=1)), Declined)
    assert bench.refunded() == 11900


def test_refunds_at_once_never_give_back_more_than_was_taken(
    bench: Bench, processor: Processor
) -> None:
    taken = processor.charge(a_charge())
    each = [of(taken, key=f"refund_{number}", minor=5000) for number in range(4)]
    at_once([partial(processor.refund, one) for one in each])
    assert bench.refunded() <= 11900


def test_a_refund_whose_answer_was_lost_is_given_once(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge())
    bench.lose_answer(refund=True)
    with pytest.raises(Unavailable):
        processor.refund(of(taken))
    assert bench.refunded() == 11900
    assert isinstance(processor.refund(of(taken)), Succeeded)
    assert bench.refunded() == 11900


def test_a_refund_that_never_arrived_can_be_asked_for_again(
    bench: Bench, processor: Processor
) -> None:
    taken = processor.charge(a_charge())
    bench.unreachable()
    with pytest.raises(Unavailable):
        processor.refund(of(taken))
    assert bench.refunded() == 0
    assert isinstance(processor.refund(of(taken)), Succeeded)
    assert bench.refunded() == 11900


def test_a_card_that_is_gone_gets_nothing_back(bench: Bench, processor: Processor) -> None:
    taken = processor.charge(a_charge("pm_card_refundFail"))
    refused = processor.refund(of(taken))
    assert isinstance(refused, Declined)
    assert refused.code == "expired_or_canceled_card"
    assert bench.refunded() == 0


def test_a_refund_that_takes_days_is_pending_and_holds_its_room(
    bench: Bench, processor: Processor
) -> None:
    taken = processor.charge(a_charge("pm_card_pendingRefund"))
    assert processor.refund(of(taken)) == Pending()
    assert isinstance(processor.refund(of(taken, key="refund_2", minor=1)), Declined)


def test_of_a_charge_that_is_not_known_nothing_goes_back(
    bench: Bench, processor: Processor
) -> None:
    try:
        said = processor.refund(of(Succeeded("pi_nobody")))
    except ProcessorNotConfigured:
        pass  # it was charged elsewhere, says a processor that has many accounts
    else:
        assert isinstance(said, Declined)
    assert bench.refunded() == 0


def test_of_a_charge_that_took_nothing_nothing_goes_back(
    bench: Bench, processor: Processor
) -> None:
    processor.charge(a_charge(ASKS))
    refused = processor.refund(of(Succeeded(bench.intent())))
    assert isinstance(refused, Declined)
    assert bench.refunded() == 0
