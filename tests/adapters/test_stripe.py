"""What do we tell of money that Stripe moves, refuses to move, or moves without our hearing of it?

The SDK itself speaks HTTP with a server that is as strict as Stripe and fails as a test asks it to.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import stripe
from iso4217 import Currency

from counterfoil.adapters.processors.stripe import StripeProcessor
from counterfoil.adapters.processors.stripe_amounts import from_units, to_units
from counterfoil.adapters.processors.words import clean_code, said
from counterfoil.domain.errors import (
    CounterfoilError,
    Malformed,
    ProcessorNotConfigured,
    RateLimited,
    Unavailable,
)
from counterfoil.domain.money import Money, exponent
from counterfoil.domain.ports import (
    Charge,
    Declined,
    Intent,
    NeedsAction,
    Pending,
    Repayment,
    Succeeded,
)
from support.stripe import (
    After,
    Garble,
    HangUp,
    Late,
    LoseAnswer,
    Pause,
    Refuse,
    StripeServer,
)
from support.stripe_rules import Card, decline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.domain.ports import Outcome, Processor
    from support.stripe import Fault

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
API_KEY = "sk_test_thatNoMessageMayTell"
CHARGE = Charge(
    key="charge_0001",
    amount=Money(1999, "EUR"),
    payment_method="pm_card_visa",
    tenant="acme",
    invoice="in_1",
    payment="pay_1",
    customer="cus_ada",
    attempted_at=NOW,
)
WITHDRAWN = Declined(
    "canceled", "never charged: the request was withdrawn before it arrived", retryable=True
)


class Desk:
    """A server, and processors that ask it."""

    def __init__(self, server: StripeServer) -> None:
        self.server = server
        self.opened: list[StripeProcessor] = []
        self.processor = self.processor_with()

    def processor_with(
        self,
        api_key: str = API_KEY,
        *,
        account: str | None = None,
        customer: Callable[[str], str | None] | None = None,
        timeout_s: float = 5,
        max_retries: int = 0,
    ) -> StripeProcessor:
        processor = StripeProcessor(
            api_key,
            address=self.server.address,
            account=account,
            customer=customer,
            timeout_s=timeout_s,
            max_retries=max_retries,
        )
        self.opened.append(processor)
        return processor

    def charged(self, method: str) -> tuple[Charge, Outcome]:
        charge = replace(CHARGE, payment_method=method)
        return charge, self.processor.charge(charge)

    def intent_id(self) -> str:
        (intent,) = self.server.intents()
        return str(intent["id"])

    def posts(self) -> int:
        return sum(asked.method == "POST" for asked in self.server.seen)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with StripeServer(customers=["cus_ada"], clock=lambda: NOW) as server:
        desk = Desk(server)
        yield desk
        for processor in desk.opened:
            processor.close()


def repayment(of: str, *, minor: int = 500, key: str = "refund_0001") -> Repayment:
    return Repayment(
        key=key,
        amount=Money(minor, "EUR"),
        charge=of,
        tenant="acme",
        invoice="in_1",
        payment="pay_1",
        refund="ref_1",
    )


def paid(desk: Desk) -> str:
    outcome = desk.processor.charge(CHARGE)
    assert isinstance(outcome, Succeeded)
    return outcome.reference


# Charging


def test_it_is_a_processor(desk: Desk) -> None:
    processor: Processor = desk.processor
    assert processor.name == "stripe"


def test_a_charge_that_succeeds_is_named_by_its_payment_intent(desk: Desk) -> None:
    assert desk.processor.charge(CHARGE) == Succeeded(desk.intent_id())
    assert desk.server.charged() == {"eur": 1999}


def test_a_charge_says_whose_it_is(desk: Desk) -> None:
    desk.processor.charge(CHARGE)
    (asked,) = desk.server.seen
    assert asked.headers["idempotency-key"] == "charge_0001"
    assert asked.params == {
        "amount": "1999",
        "currency": "eur",
        "customer": "cus_ada",
        "payment_method": "pm_card_visa",
        "confirm": "true",
        "off_session": "true",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
        "metadata[counterfoil_key]": "charge_0001",
        "metadata[counterfoil_tenant]": "acme",
        "metadata[counterfoil_invoice]": "in_1",
        "metadata[counterfoil_payment]": "pay_1",
    }


def test_a_repeat_asks_byte_for_byte_the_same_also_from_another_process(desk: Desk) -> None:
    desk.processor.charge(CHARGE)
    desk.processor_with().charge(replace(CHARGE))
    first, again = (asked for asked in desk.server.seen if asked.method == "POST")
    assert (again.body, again.path) == (first.body, first.path)
    assert again.headers["idempotency-key"] == first.headers["idempotency-key"]
    assert desk.server.charges() == 1


def test_a_repeat_tells_what_is_true_now_and_not_what_was_true_first(desk: Desk) -> None:
    charge, outcome = desk.charged("pm_card_threeDSecure2Required")
    assert isinstance(outcome, NeedsAction)
    desk.server.complete(outcome.intent.id)
    assert desk.processor.charge(charge) == Succeeded(outcome.intent.id)


def test_a_repeat_of_a_decline_tells_that_the_payer_has_confirmed_since(desk: Desk) -> None:
    charge, outcome = desk.charged("pm_card_authenticationRequired")
    desk.server.complete(desk.intent_id())
    assert isinstance(outcome, NeedsAction)
    assert desk.processor.charge(charge) == Succeeded(outcome.intent.id)


def test_a_customer_whom_stripe_does_not_know_pays_as_a_guest(desk: Desk) -> None:
    guest = replace(CHARGE, customer="ada@example")
    assert isinstance(desk.processor.charge(guest), Succeeded)
    assert "customer" not in desk.server.seen[0].params
    assert isinstance(desk.processor.retrieve(guest), Succeeded)


def test_a_mapping_names_stripes_customer(desk: Desk) -> None:
    desk.server.customer("cus_999", default_payment_method="pm_card_visa")
    names = {"kunde-7": "cus_999"}
    processor = desk.processor_with(customer=names.get)
    processor.charge(replace(CHARGE, customer="kunde-7"))
    assert desk.server.seen[0].params["customer"] == "cus_999"
    assert processor.default_payment_method("kunde-7") == "pm_card_visa"
    assert processor.default_payment_method("kunde-8") is None


@pytest.mark.parametrize(
    "method", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"]
)
def test_a_payer_who_must_confirm_gets_the_intent_with_its_secret(desk: Desk, method: str) -> None:
    charge, outcome = desk.charged(method)
    intent = desk.server.intents()[0]
    expected = NeedsAction(Intent(intent["id"], intent["client_secret"]))
    assert outcome == expected
    assert desk.processor.retrieve(charge) == expected
    assert desk.server.charged() == {}
    desk.server.complete(intent["id"])
    assert desk.processor.retrieve(charge) == Succeeded(intent["id"])


def test_a_bank_debit_is_pending_until_the_bank_has_decided(desk: Desk) -> None:
    charge, outcome = desk.charged("pm_usBankAccount_success")
    assert outcome == Pending()
    assert desk.processor.retrieve(charge) == Pending()
    desk.server.settle(desk.intent_id())
    assert desk.processor.retrieve(charge) == Succeeded(desk.intent_id())


def test_a_bank_debit_may_still_fail(desk: Desk) -> None:
    charge, _ = desk.charged("pm_sepaDebit_success")
    error = {"code": "insufficient_funds", "message": "The account is empty."}
    desk.server.settle(desk.intent_id(), error=error)
    expected = Declined("insufficient_funds", "The account is empty.", retryable=True)
    assert desk.processor.retrieve(charge) == expected


@pytest.mark.parametrize(
    ("method", "code", "retryable"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", True),
        ("pm_card_chargeDeclined", "generic_decline", True),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds", True),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", True),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_velocity_exceeded", True),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card", False),
        ("pm_card_visa_chargeDeclinedStolenCard", "stolen_card", False),
        ("pm_card_visa_chargeDeclinedFraudulent", "fraudulent", False),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", False),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", False),
    ],
)
def test_a_declined_card_says_why_and_stays_declined(
    desk: Desk, method: str, code: str, retryable: bool
) -> None:
    charge, outcome = desk.charged(method)
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable) == (code, retryable)
    assert outcome.message.startswith(("Your card", "An error"))
    assert desk.processor.retrieve(charge) == outcome
    assert desk.processor.charge(charge) == outcome
    assert desk.server.charged() == {}


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("try_again_later", True),
        ("issuer_not_available", True),
        ("reenter_transaction", True),
        ("do_not_honor", True),
        ("withdrawal_count_limit_exceeded", True),
        ("approve_with_id", True),
        ("a_code_of_tomorrow", True),
        ("incorrect_number", False),
        ("invalid_account", False),
        ("pickup_card", False),
        ("restricted_card", False),
        ("revocation_of_authorization", False),
        ("card_not_supported", False),
        ("authentication_not_handled", False),
    ],
)
def test_a_decline_is_worth_a_retry_unless_it_is_final(
    desk: Desk, code: str, retryable: bool
) -> None:
    desk.server.methods["pm_1"] = decline(code)
    _, outcome = desk.charged("pm_1")
    assert outcome == Declined(code, "Your card was declined.", retryable=retryable)


@pytest.mark.parametrize(
    ("advice", "retryable"),
    [("do_not_try_again", False), ("confirm_card_data", False), ("try_again_later", True)],
)
def test_the_advice_of_the_bank_outweighs_the_code(
    desk: Desk, advice: str, retryable: bool
) -> None:
    desk.server.methods["pm_1"] = decline("generic_decline", advice_code=advice)
    _, outcome = desk.charged("pm_1")
    assert isinstance(outcome, Declined)
    assert outcome.retryable is retryable


def test_no_advice_makes_a_lost_card_good_again(desk: Desk) -> None:
    desk.server.methods["pm_1"] = decline("lost_card", advice_code="try_again_later")
    _, outcome = desk.charged("pm_1")
    assert isinstance(outcome, Declined)
    assert not outcome.retryable


@pytest.mark.parametrize(
    ("charge", "code", "message"),
    [
        (
            replace(CHARGE, payment_method="pm_gone"),
            "resource_missing",
            "No such PaymentMethod: 'pm_gone'",
        ),
        (replace(CHARGE, customer="cus_gone"), "resource_missing", "No such customer: 'cus_gone'"),
        (
            replace(CHARGE, amount=Money(10, "EUR")),
            "amount_too_small",
            "Amount must be at least 50 eur",
        ),
        (
            replace(CHARGE, amount=Money(10**9, "EUR")),
            "amount_too_large",
            "Amount must be no more than 99999999 eur",
        ),
        (
            replace(CHARGE, amount=Money(10**9, "BTN")),
            "invalid_request_error",
            "Invalid currency: btn.",
        ),
    ],
)
def test_a_request_that_stripe_refuses_is_declined_for_good(
    desk: Desk, charge: Charge, code: str, message: str
) -> None:
    assert desk.processor.charge(charge) == Declined(code, message, retryable=False)
    assert desk.processor.retrieve(charge) is None
    assert desk.server.intents() == []


def test_an_amount_that_stripe_cannot_take_is_declined_without_any_call(desk: Desk) -> None:
    charge = replace(CHARGE, amount=Money(1, "MGA"))
    for outcome in (
        desk.processor.charge(charge),
        desk.processor.cancel(charge),
        desk.processor.refund(replace(repayment("pi_1"), amount=Money(1234, "KWD"))),
    ):
        assert isinstance(outcome, Declined)
        assert (outcome.code, outcome.retryable) == ("amount_not_representable", False)
    assert desk.server.seen == []


def test_money_that_was_only_reserved_is_pending(desk: Desk) -> None:
    desk.server.methods["pm_1"] = Card(status="requires_capture")
    charge, outcome = desk.charged("pm_1")
    assert outcome == Pending()
    assert isinstance(desk.processor.cancel(charge), Declined)


def test_an_intent_that_nobody_has_confirmed_waits_for_the_payer(desk: Desk) -> None:
    desk.server.methods["pm_1"] = Card(status="requires_confirmation")
    _, outcome = desk.charged("pm_1")
    assert isinstance(outcome, NeedsAction)


def test_an_intent_without_a_payment_method_is_not_paid(desk: Desk) -> None:
    desk.server.methods["pm_1"] = Card(status="requires_payment_method")
    _, outcome = desk.charged("pm_1")
    assert isinstance(outcome, Declined)
    assert outcome.code == "payment_method_required"


def test_a_status_of_tomorrow_is_no_outcome(desk: Desk) -> None:
    desk.server.methods["pm_1"] = Card(status="requires_patience")
    with pytest.raises(Unavailable, match="requires_patience"):
        desk.charged("pm_1")


@pytest.mark.parametrize(("field", "value"), [("amount_received", 1998), ("currency", "usd")])
def test_another_amount_than_was_asked_is_never_a_success(
    desk: Desk, field: str, value: object
) -> None:
    name = paid(desk)
    desk.server.intent(name)[field] = value
    with pytest.raises(Unavailable, match=name):
        desk.processor.retrieve(CHARGE)


# Faults


def test_a_charge_whose_answer_was_lost_is_made_once(desk: Desk) -> None:
    desk.server.fail(LoseAnswer())
    with pytest.raises(Unavailable):
        desk.processor.charge(CHARGE)
    assert desk.processor.retrieve(CHARGE) == Succeeded(desk.intent_id())
    assert desk.processor.charge(CHARGE) == Succeeded(desk.intent_id())
    assert (desk.server.charges(), desk.server.charged()) == (1, {"eur": 1999})


def test_a_charge_whose_answer_comes_too_late_is_made_once(desk: Desk) -> None:
    desk.server.fail(Late(2))
    with pytest.raises(Unavailable, match="does not answer in time"):
        desk.processor_with(timeout_s=0.1).charge(CHARGE)
    assert desk.processor.charge(CHARGE) == Succeeded(desk.intent_id())
    assert desk.server.charges() == 1


def test_a_charge_that_never_arrived_is_not_known(desk: Desk) -> None:
    desk.server.fail(HangUp())
    with pytest.raises(Unavailable):
        desk.processor.charge(CHARGE)
    assert desk.processor.retrieve(CHARGE) is None
    assert isinstance(desk.processor.charge(CHARGE), Succeeded)


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(500),
        Refuse(503),
        Refuse(409, "lock_timeout", "invalid_request_error"),
        Refuse(400, "idempotency_key_in_use", "idempotency_error"),
        Refuse(302),
        Garble(),
        Garble(b""),
        Garble(b"[]"),
        Garble(b"{}"),
        Garble(b"null"),
        Garble(b'"yes"'),
        Garble(b'{"id": "pi_1", "object": "payment_intent", "status": 7}'),
        Garble(b"<html>", 402),
        Garble(b"{}", 402),
        Garble(b"<html>", 404),
        Garble(b'{"error": "no"}', 400),
        Garble(b'{"error": ["no"]}', 400),
        Garble(b'{"error": {"code": 7}}', 402),
        Garble(b"\xff\xfe", 502),
    ],
    ids=str,
)
def test_an_answer_that_says_nothing_leaves_open_what_happened(desk: Desk, fault: Fault) -> None:
    desk.server.fail(fault)
    with pytest.raises(Unavailable):
        desk.processor.charge(CHARGE)
    assert isinstance(desk.processor.charge(CHARGE), Succeeded)
    assert desk.server.charges() == 1


def test_an_error_that_stripe_keeps_under_the_key_never_becomes_a_second_charge(
    desk: Desk,
) -> None:
    desk.server.fail(Refuse(500, kept=True))
    for ask in (desk.processor.charge, desk.processor.charge, desk.processor.cancel):
        with pytest.raises(Unavailable):
            ask(CHARGE)
    assert desk.processor.retrieve(CHARGE) is None
    desk.server.forget_keys()
    assert desk.processor.cancel(CHARGE) == WITHDRAWN


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "-1"}, None),
    ],
)
def test_too_many_requests_say_when_to_come_back(
    desk: Desk, header: dict[str, str], wait_s: float | None
) -> None:
    desk.server.fail(Refuse(429, "rate_limit", "invalid_request_error", headers=header))
    with pytest.raises(RateLimited) as raised:
        desk.processor.charge(CHARGE)
    assert raised.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(403, None, "invalid_request_error"),
        Refuse(400, "testmode_charges_only", "invalid_request_error"),
        Refuse(404, None, "invalid_request_error"),
    ],
    ids=str,
)
def test_what_only_an_operator_can_mend_says_so(desk: Desk, fault: Fault) -> None:
    desk.server.fail(fault)
    with pytest.raises(ProcessorNotConfigured):
        desk.processor.charge(CHARGE)


def test_a_key_that_stripe_does_not_know_says_where_to_look(desk: Desk) -> None:
    desk.server.revoked.add(API_KEY)
    with pytest.raises(ProcessorNotConfigured, match="STRIPE_API_KEY"):
        desk.processor.charge(CHARGE)


def test_the_sdk_repeats_what_failed_under_the_same_key(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.001)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.001)
    desk.server.fail(LoseAnswer(), Refuse(503))
    assert isinstance(desk.processor_with(max_retries=2).charge(CHARGE), Succeeded)
    keys = {asked.headers["idempotency-key"] for asked in desk.server.seen if asked.body}
    assert (desk.posts(), keys, desk.server.charges()) == (3, {"charge_0001"}, 1)


def test_a_request_beside_the_same_request_is_not_answered_yet(desk: Desk) -> None:
    pause = Pause()
    desk.server.fail(pause)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(desk.processor.charge, CHARGE)
        assert pause.reached.wait(5)
        for ask in (desk.processor.charge, desk.processor.cancel):
            with pytest.raises(Unavailable):
                ask(CHARGE)
        pause.go_on.set()
        assert isinstance(first.result(), Succeeded)
    assert desk.server.charges() == 1
    assert isinstance(desk.processor.cancel(CHARGE), Succeeded)


def test_eight_at_once_charge_once(desk: Desk) -> None:
    def ask(_: int) -> Outcome | None:
        with suppress(Unavailable):
            return desk.processor.charge(CHARGE)
        return None

    with ThreadPoolExecutor(8) as pool:
        heard = set(pool.map(ask, range(8)))
    assert desk.server.charges() == 1
    assert heard <= {None, Succeeded(desk.intent_id())}


def test_a_key_that_others_have_used_is_no_charge(desk: Desk) -> None:
    desk.processor.charge(replace(CHARGE, key="other"))
    desk.server.intents()[0]["metadata"].clear()
    with pytest.raises(Unavailable):
        desk.processor.charge(replace(CHARGE, key="other", amount=Money(777, "EUR")))


# Retrieving


def test_a_known_reference_is_asked_for_directly(desk: Desk) -> None:
    name = paid(desk)
    known = replace(CHARGE, reference=name)
    assert desk.processor.retrieve(known) == Succeeded(name)
    assert desk.server.seen[-1].path == f"/v1/payment_intents/{name}"


def test_an_unknown_charge_is_none(desk: Desk) -> None:
    assert desk.processor.retrieve(CHARGE) is None


def test_a_charge_that_stripe_once_named_is_never_taken_for_one_that_was_not_made(
    desk: Desk,
) -> None:
    with pytest.raises(ProcessorNotConfigured, match="another account"):
        desk.processor.retrieve(replace(CHARGE, reference="pi_unknown"))


def test_a_charge_is_found_behind_many_others(desk: Desk) -> None:
    name = paid(desk)
    first = desk.server.intent(name)
    account = desk.server.books()
    for number in range(250):
        other = f"pi_other{number}"
        account.intents[other] = {**first, "id": other, "metadata": {"counterfoil_key": other}}
    assert desk.processor.retrieve(CHARGE) == Succeeded(name)
    lists = [asked for asked in desk.server.seen if asked.method == "GET"]
    assert [asked.params["limit"] for asked in lists] == ["100", "100", "100"]
    assert {asked.params["customer"] for asked in lists} == {"cus_ada"}


@pytest.mark.parametrize(
    ("made_after", "is_found"),
    [
        (timedelta(minutes=-14), True),
        (timedelta(hours=23), True),
        (timedelta(minutes=-16), False),
        (timedelta(hours=25), False),
    ],
)
def test_a_charge_is_looked_for_from_shortly_before_it_for_a_day(
    desk: Desk, made_after: timedelta, is_found: bool
) -> None:
    paid(desk)
    sought = replace(CHARGE, attempted_at=NOW - made_after)
    assert (desk.processor.retrieve(sought) is not None) is is_found


def test_what_a_customer_has_paid_outlives_them(desk: Desk) -> None:
    name = paid(desk)
    desk.server.customers.clear()
    assert desk.processor.retrieve(CHARGE) == Succeeded(name)


def test_a_canceled_charge_may_be_asked_for_anew(desk: Desk) -> None:
    charge, _ = desk.charged("pm_card_threeDSecure2Required")
    desk.processor.cancel(charge)
    outcome = desk.processor.retrieve(charge)
    assert isinstance(outcome, Declined)
    assert (outcome.code, outcome.retryable) == ("canceled", True)


# Canceling


def test_cancel_wins_against_a_request_that_arrives_later(desk: Desk) -> None:
    desk.server.fail(HangUp())
    with pytest.raises(Unavailable):
        desk.processor.charge(CHARGE)
    on_its_way = desk.server.seen[0]
    assert desk.processor.cancel(CHARGE) == WITHDRAWN
    answer = desk.server.serve(on_its_way)
    assert answer is not None
    assert answer[0] == 400
    assert desk.server.charged() == {}
    assert [intent["status"] for intent in desk.server.intents()] == ["canceled"]


def test_a_withdrawn_charge_is_neither_there_nor_made_by_asking_again(desk: Desk) -> None:
    assert desk.processor.cancel(CHARGE) == WITHDRAWN
    assert desk.processor.retrieve(CHARGE) is None
    assert desk.processor.charge(CHARGE) == WITHDRAWN
    assert desk.processor.cancel(CHARGE) == WITHDRAWN
    assert len(desk.server.intents()) == 1
    assert desk.server.charged() == {}


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_withdrawal_that_broke_off_is_finished_by_the_next(desk: Desk, crash_at: int) -> None:
    desk.server.fail(*[Late(0)] * crash_at, LoseAnswer())
    with pytest.raises(Unavailable):
        desk.processor.cancel(CHARGE)
    assert desk.processor.cancel(CHARGE) == WITHDRAWN
    assert [intent["status"] for intent in desk.server.intents()] == ["canceled"]


def test_cancel_comes_too_late_for_money_that_has_moved(desk: Desk) -> None:
    name = paid(desk)
    assert desk.processor.cancel(CHARGE) == Succeeded(name)
    assert desk.processor.cancel(replace(CHARGE, reference=name)) == Succeeded(name)
    assert desk.server.charged() == {"eur": 1999}


def test_cancel_comes_too_late_for_a_bank_debit(desk: Desk) -> None:
    charge, _ = desk.charged("pm_usBankAccount_success")
    assert desk.processor.cancel(charge) == Pending()


@pytest.mark.parametrize(
    "method",
    [
        "pm_card_authenticationRequired",
        "pm_card_threeDSecure2Required",
        "pm_card_chargeDeclined",
    ],
)
@pytest.mark.parametrize("by_reference", [True, False])
def test_after_a_cancel_the_payer_cannot_confirm_any_more(
    desk: Desk, method: str, by_reference: bool
) -> None:
    charge, _ = desk.charged(method)
    name = desk.intent_id()
    if by_reference:
        charge = replace(charge, reference=name)
    for _ in range(2):
        outcome = desk.processor.cancel(charge)
        assert isinstance(outcome, Declined)
        assert outcome.code == "canceled"
    assert desk.server.intent(name)["status"] == "canceled"


def test_a_request_that_arrives_while_it_is_withdrawn_is_canceled_too(desk: Desk) -> None:
    needs = replace(CHARGE, payment_method="pm_card_threeDSecure2Required")
    desk.server.fail(HangUp())
    with pytest.raises(Unavailable):
        desk.processor.charge(needs)
    on_its_way = desk.server.seen[0]
    desk.server.fail(Late(0), After(lambda: desk.server.serve(on_its_way)))
    outcome = desk.processor.cancel(needs)
    assert isinstance(outcome, Declined)
    assert outcome != WITHDRAWN
    assert {intent["status"] for intent in desk.server.intents()} == {"canceled"}


def test_a_charge_that_has_arrived_but_is_not_shown_yet_is_left_open(desk: Desk) -> None:
    paid(desk)
    desk.server.intents()[0]["metadata"] = {}
    with pytest.raises(Unavailable, match="does not show it yet"):
        desk.processor.cancel(CHARGE)


def test_a_charge_that_stripe_would_refuse_anyway_needs_no_placeholder(desk: Desk) -> None:
    outcome = desk.processor.cancel(replace(CHARGE, amount=Money(1, "EUR")))
    assert isinstance(outcome, Declined)
    assert outcome.code == "amount_too_small"


def test_a_withdrawal_that_stripe_refuses_proves_nothing(desk: Desk) -> None:
    desk.server.fail(Late(0), Refuse(400, "parameter_unknown", "invalid_request_error"))
    with pytest.raises(Unavailable, match="parameter_unknown"):
        desk.processor.cancel(CHARGE)


def test_a_reference_of_another_account_is_not_taken_for_a_charge_that_never_was(
    desk: Desk,
) -> None:
    elsewhere = replace(CHARGE, reference="pi_elsewhere")
    with pytest.raises(ProcessorNotConfigured, match="another account"):
        desk.processor.cancel(elsewhere)
    assert desk.server.intents() == []


def test_a_state_that_changes_under_a_cancel_is_left_open(desk: Desk) -> None:
    charge, _ = desk.charged("pm_card_threeDSecure2Required")
    known = replace(charge, reference=desk.intent_id())
    desk.server.fail(Refuse(400, "payment_intent_unexpected_state", "invalid_request_error"))
    with pytest.raises(Unavailable, match="changed while"):
        desk.processor.cancel(known)
    assert isinstance(desk.processor.cancel(known), Declined)


# Default payment methods


@pytest.mark.parametrize(
    ("customer", "expected"),
    [
        ({"default_payment_method": "pm_card_visa"}, "pm_card_visa"),
        ({"default_payment_method": {"id": "pm_7", "object": "payment_method"}}, "pm_7"),
        ({"default_payment_method": "pm_7", "default_source": "card_1"}, "pm_7"),
        ({"default_source": "card_1"}, "card_1"),
        ({}, None),
        ({"deleted": True}, None),
    ],
)
def test_a_customer_pays_with_the_default_for_invoices(
    desk: Desk, customer: dict[str, object], expected: str | None
) -> None:
    desk.server.customer("cus_ada", **customer)  # type: ignore[arg-type]  # one name at a time
    assert desk.processor.default_payment_method("cus_ada") == expected


def test_unknown_customers_pay_with_nothing(desk: Desk) -> None:
    assert desk.processor.default_payment_method("cus_gone") is None
    assert desk.processor.default_payment_method("kunde-7") is None
    assert len(desk.server.seen) == 1


# Asking


@pytest.mark.parametrize(
    "ask",
    [
        lambda processor: processor.retrieve(CHARGE),
        lambda processor: processor.retrieve(replace(CHARGE, reference="pi_1")),
        lambda processor: processor.cancel(replace(CHARGE, reference="pi_1")),
        lambda processor: processor.default_payment_method("cus_ada"),
        lambda processor: processor.refund(repayment("pi_1")),
    ],
    ids=["retrieve", "retrieve by reference", "cancel", "default payment method", "refund"],
)
def test_a_question_that_stripe_refuses_is_no_answer(
    desk: Desk, ask: Callable[[StripeProcessor], object]
) -> None:
    desk.server.fail(Refuse(400, "parameter_unknown", "invalid_request_error"))
    with pytest.raises(Unavailable, match="parameter_unknown"):
        ask(desk.processor)


def test_what_stripe_has_named_before_and_now_does_not_know_is_no_answer(desk: Desk) -> None:
    paid(desk)
    desk.server.books().intents.clear()
    with pytest.raises(ProcessorNotConfigured):
        desk.processor.charge(CHARGE)


# Refunds


def test_a_refund_is_named_by_stripe_and_says_whose_it_is(desk: Desk) -> None:
    name = paid(desk)
    outcome = desk.processor.refund(repayment(name))
    assert isinstance(outcome, Succeeded)
    assert outcome.reference.startswith("re_")
    asked = desk.server.seen[-1]
    assert asked.headers["idempotency-key"] == "refund_0001"
    assert asked.params == {
        "payment_intent": name,
        "amount": "500",
        "metadata[counterfoil_key]": "refund_0001",
        "metadata[counterfoil_tenant]": "acme",
        "metadata[counterfoil_invoice]": "in_1",
        "metadata[counterfoil_payment]": "pay_1",
        "metadata[counterfoil_refund]": "ref_1",
    }


def test_a_refund_is_given_once_even_when_stripe_has_forgotten_its_key(desk: Desk) -> None:
    name = paid(desk)
    desk.server.fail(Late(0), LoseAnswer())
    with pytest.raises(Unavailable):
        desk.processor.refund(repayment(name))
    desk.server.forget_keys()
    first = desk.processor.refund(repayment(name))
    desk.server.forget_keys()
    assert desk.processor.refund(repayment(name)) == first
    assert desk.server.refunded() == {"eur": 500}


def test_a_refund_is_found_behind_many_others(desk: Desk) -> None:
    name = paid(desk)
    first = desk.processor.refund(repayment(name, minor=1))
    account = desk.server.books()
    [refund] = account.refunds.values()
    for number in range(110):
        other = f"re_other{number}"
        account.refunds[other] = {**refund, "id": other, "metadata": {"counterfoil_key": other}}
    desk.server.forget_keys()
    assert desk.processor.refund(repayment(name, minor=1)) == first
    assert desk.server.refunds() == 111


def test_a_refund_in_parts_ends_with_nothing_left(desk: Desk) -> None:
    name = paid(desk)
    assert isinstance(desk.processor.refund(repayment(name, minor=1000)), Succeeded)
    too_much = desk.processor.refund(repayment(name, minor=1000, key="2"))
    assert isinstance(too_much, Declined)
    assert not too_much.retryable
    assert isinstance(desk.processor.refund(repayment(name, minor=999, key="3")), Succeeded)
    nothing_left = desk.processor.refund(repayment(name, minor=1, key="4"))
    assert isinstance(nothing_left, Declined)
    assert (nothing_left.code, nothing_left.retryable) == ("charge_already_refunded", False)
    assert desk.server.refunded() == desk.server.charged()


def test_a_refund_may_wait_and_is_asked_about_by_asking_again(desk: Desk) -> None:
    _, outcome = desk.charged("pm_card_pendingRefund")
    assert isinstance(outcome, Succeeded)
    assert desk.processor.refund(repayment(outcome.reference)) == Pending()
    account = desk.server.books()
    [refund] = account.refunds.values()
    refund["status"] = "succeeded"
    assert desk.processor.refund(repayment(outcome.reference)) == Succeeded(refund["id"])
    refund["status"] = "lost"
    with pytest.raises(Unavailable, match="lost"):
        desk.processor.refund(repayment(outcome.reference))
    refund |= {"status": "succeeded", "amount": 499}
    with pytest.raises(Unavailable, match=refund["id"]):
        desk.processor.refund(repayment(outcome.reference))


def test_a_refund_that_failed_says_why(desk: Desk) -> None:
    _, outcome = desk.charged("pm_card_refundFail")
    assert isinstance(outcome, Succeeded)
    failed = desk.processor.refund(repayment(outcome.reference))
    assert isinstance(failed, Declined)
    assert (failed.code, failed.retryable) == ("expired_or_canceled_card", False)
    assert desk.server.refunded() == {}


def test_a_refund_from_an_empty_balance_is_worth_a_retry(desk: Desk) -> None:
    name = paid(desk)
    desk.server.fail(Late(0), Refuse(400, "balance_insufficient", "invalid_request_error"))
    outcome = desk.processor.refund(repayment(name))
    assert isinstance(outcome, Declined)
    assert outcome.retryable


def test_a_refund_of_a_payment_at_another_account_is_not_refused_for_good(desk: Desk) -> None:
    with pytest.raises(ProcessorNotConfigured, match="another account"):
        desk.processor.refund(repayment("pi_elsewhere"))


def test_a_key_used_for_another_refund_gives_nothing_back(desk: Desk) -> None:
    name = paid(desk)
    desk.processor.refund(repayment(name))
    account = desk.server.books()
    [refund] = account.refunds.values()
    refund["metadata"] = {}
    with pytest.raises(Unavailable):
        desk.processor.refund(repayment(name, minor=501))
    assert desk.server.refunded() == {"eur": 500}


# Opening


def test_two_accounts_live_in_one_process(desk: Desk) -> None:
    other = desk.processor_with("sk_test_ofAnotherAccount")
    connected = desk.processor_with(account="acct_7")
    for processor in (desk.processor, other, connected):
        assert isinstance(processor.charge(CHARGE), Succeeded)
        assert isinstance(processor.retrieve(CHARGE), Succeeded)
    assert desk.server.charged(API_KEY) == {"eur": 1999}
    assert desk.server.charged("sk_test_ofAnotherAccount") == {"eur": 1999}
    assert desk.server.charged("acct_7") == {"eur": 1999}
    assert stripe.api_key is None


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    with pytest.raises(ProcessorNotConfigured, match="STRIPE_API_KEY"):
        StripeProcessor.from_env()
    monkeypatch.setenv("STRIPE_API_KEY", f"{API_KEY}\n")
    processor = StripeProcessor.from_env()
    assert API_KEY not in repr(processor)
    processor.close()


def test_no_netrc_speaks_in_place_of_the_key(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert isinstance(desk.processor.charge(CHARGE), Succeeded)
    assert desk.server.seen[0].headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.parametrize("api_key", ["", "pk_test_public", "sk_test_with a space", "hunter2"])
def test_what_is_no_secret_key_is_refused_without_being_told(api_key: str) -> None:
    with pytest.raises(ProcessorNotConfigured) as raised:
        StripeProcessor(api_key)
    assert not api_key or api_key not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [{"address": "stripe.example.com"}, {"timeout_s": 0}, {"max_retries": -1}],
    ids=str,
)
def test_settings_that_make_no_sense_are_malformed(wrong: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        StripeProcessor(API_KEY, **wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "counterfoil.adapters.processors.stripe"
    monkeypatch.setitem(sys.modules, "stripe", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ProcessorNotConfigured, match=r"pip install 'counterfoil\[stripe\]'"):
        importlib.import_module(name)


# What may be told


SECRETS = ("thatNoMessageMayTell", "_secret_", "ada@example.com", "4242424242424242")
TELLS_ALL = (
    f"No: {API_KEY}, pi_1_secret_abc of ada@example.com, 4242 4242 4242 4242 4242424242424242"
)


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(400, "parameter_invalid", "invalid_request_error", TELLS_ALL),
        Refuse(401, None, "invalid_request_error", TELLS_ALL),
        Refuse(402, TELLS_ALL, "card_error", TELLS_ALL),
        Refuse(403, TELLS_ALL, "invalid_request_error", TELLS_ALL),
        Refuse(404, None, "invalid_request_error", TELLS_ALL),
        Refuse(429, None, "invalid_request_error", TELLS_ALL),
        Refuse(500, TELLS_ALL, "api_error", TELLS_ALL),
        Garble(TELLS_ALL.encode()),
        Garble(f'{{"id": "{API_KEY}", "client_secret": "pi_1_secret_abc"}}'.encode()),
        LoseAnswer(),
    ],
    ids=lambda fault: f"{type(fault).__name__} {getattr(fault, 'status', '')}",
)
def test_no_error_and_no_outcome_tells_a_secret(desk: Desk, fault: Fault) -> None:
    desk.server.fail(fault)
    told: object
    try:
        told = desk.processor.charge(CHARGE)
    except CounterfoilError as error:
        told = copy(error)
        text = "".join(traceback.format_exception(error))
    else:
        text = ""
    for words in (repr(told), str(told), text):
        assert not any(secret in words for secret in SECRETS), words


def test_no_outcome_shows_the_payers_secret(desk: Desk) -> None:
    _, outcome = desk.charged("pm_card_authenticationRequired")
    assert isinstance(outcome, NeedsAction)
    assert outcome.intent.client_secret
    assert "_secret_" not in f"{outcome!r}{outcome}"


def test_words_of_stripe_are_cut_to_what_a_fact_can_hold() -> None:
    assert said("a\x00b\n c\u2028d" + "x" * 600) == "a b c d" + "x" * 493
    assert clean_code("no such\tcode" + "x" * 200) == "no_such_code" + "x" * 88
    assert clean_code("ü") == "_"
    assert clean_code("") == "unknown"


# Amounts


@pytest.mark.parametrize(
    ("amount", "units"),
    [
        (Money(1999, "EUR"), 1999),
        (Money(1999, "USD"), 1999),
        (Money(500, "JPY"), 500),
        (Money(7, "XOF"), 7),
        (Money(300, "MGA"), 3),
        (Money(5, "ISK"), 500),
        (Money(5, "UGX"), 500),
        (Money(1230, "KWD"), 1230),
        (Money(10, "BHD"), 10),
        (Money(1000, "HUF"), 1000),
        (Money(0, "EUR"), 0),
    ],
)
def test_amounts_are_converted_exactly_both_ways(amount: Money, units: int) -> None:
    assert to_units(amount) == units
    assert from_units(units, amount.currency.lower()) == amount


@pytest.mark.parametrize(
    "amount",
    [
        Money(1, "MGA"),
        Money(250, "MGA"),
        Money(1234, "KWD"),
        Money(1, "TND"),
        Money(10000, "CLF"),
        Money(10, "IQD"),
        Money(10, "LYD"),
        Money(1, "UYI"),
    ],
)
def test_amounts_that_stripe_cannot_take_are_none(amount: Money) -> None:
    assert to_units(amount) is None


WITHOUT_DECIMALS = {
    *("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV"),
    *("XAF", "XOF", "XPF"),
}
WITH_THREE = {"BHD", "JOD", "KWD", "OMR", "TND"}


@pytest.mark.parametrize(("units", "currency"), [(150, "isk"), (1, "xxx"), (1, "clf"), (1, "")])
def test_units_that_are_no_amount_are_none(units: int, currency: str) -> None:
    assert from_units(units, currency) is None


def test_every_currency_keeps_its_value_at_stripe() -> None:
    taken = set()
    for code in (currency.code for currency in Currency):
        for minor in () if exponent(code) is None else (*range(21), 250, 999, 1000, 10**15):
            amount = Money(minor, code)
            units = to_units(amount)
            if units is None:
                continue
            taken.add(code)
            decimals = 0 if code in WITHOUT_DECIMALS else 3 if code in WITH_THREE else 2
            assert Fraction(units, 10**decimals) == Fraction(amount.decimal)
            assert from_units(units, code.lower()) == amount
            assert code not in WITH_THREE or units % 10 == 0
            assert code not in {"ISK", "UGX"} or units % 100 == 0
    assert taken >= WITHOUT_DECIMALS | WITH_THREE | {"EUR", "USD", "ISK", "UGX"}
    assert taken.isdisjoint({"CLF", "IQD", "LYD", "UYI", "UYW"})


# The server is worth what it refuses


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount": "100", "currency": "eur", "colour": "red"}, "parameter_unknown"),
        (
            {"amount": "100", "currency": "eur", "payment_method_types[0]": "card"},
            "payment_method_types_no_longer_supported",
        ),
        ({"currency": "eur"}, "parameter_missing"),
        ({"amount": "1.5", "currency": "eur"}, "parameter_invalid_integer"),
        ({"amount": "150", "currency": "isk"}, "invalid_charge_amount_no_decimal_compatible"),
        ({"amount": "151", "currency": "kwd"}, "invalid_charge_amount_no_decimal_compatible"),
        ({"amount": "100", "currency": "eur", "off_session": "true"}, None),
        ({"amount": "100", "currency": "eur", "confirm": "yes"}, None),
        (
            {
                "amount": "100",
                "currency": "eur",
                "confirm": "true",
                "payment_method": "pm_card_visa",
            },
            None,
        ),
    ],
    ids=str,
)
def test_the_server_refuses_what_stripe_refuses(
    desk: Desk, params: dict[str, str], code: str | None
) -> None:
    client = stripe.StripeClient(API_KEY, base_addresses={"api": desk.server.address})
    with pytest.raises(stripe.InvalidRequestError) as raised:
        client.raw_request("post", "/v1/payment_intents", **params)
    assert raised.value.code == code
    assert desk.server.intents() == []


def test_the_server_confirms_a_payment_intent_that_was_made_without(desk: Desk) -> None:
    client = stripe.StripeClient(API_KEY, base_addresses={"api": desk.server.address})
    intents = client.v1.payment_intents
    made = intents.create({"amount": 100, "currency": "eur"})
    assert made.status == "requires_payment_method"
    assert intents.confirm(made.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    assert desk.server.charged() == {"eur": 100}
