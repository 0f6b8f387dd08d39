"""Does the processor that moves no money do as the name of a card says, as it is told, and as its
books say, whatever process asks?
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.processors.fake import FakeProcessor, Fault
from counterfoil.adapters.processors.fake_books import Booked
from counterfoil.billing import Billing
from counterfoil.domain.errors import (
    CounterfoilError,
    Malformed,
    NotFound,
    ProcessorNotConfigured,
    RateLimited,
    Unavailable,
)
from counterfoil.domain.money import Money
from counterfoil.domain.ports import (
    CANCELED,
    Charge,
    Declined,
    Intent,
    NeedsAction,
    Outcome,
    Pending,
    Repayment,
    Succeeded,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
VISA, ASKS, DEBIT = "pm_card_visa", "pm_card_authenticationRequired", "pm_usBankAccount"


@pytest.fixture
def fake() -> Iterator[FakeProcessor]:
    made = FakeProcessor(slow_s=0.05)
    yield made
    made.close()


def a_charge(
    method: str = VISA, *, key: str = "key_1", invoice: str = "in_1", amount: Money | None = None
) -> Charge:
    return Charge(
        key=key,
        amount=amount or Money(11900, "EUR"),
        payment_method=method,
        tenant="acme",
        invoice=invoice,
        payment=f"py_{key}",
        customer="ada",
        attempted_at=NOON,
    )


def a_refund(charge: str = "pi_fake_00001", *, key: str = "back_1", minor: int = 100) -> Repayment:
    return Repayment(
        key=key,
        amount=Money(minor, "EUR"),
        charge=charge,
        tenant="acme",
        invoice="in_1",
        payment="py_key_1",
        refund=f"re_{key}",
    )


def statuses(fake: FakeProcessor) -> list[str]:
    return [one.status for one in fake.booked()]


# --- the names of cards ---------------------------------------------------------------------------


def test_every_good_card_pays(fake: FakeProcessor) -> None:
    brands = ("visa", "mastercard", "amex", "discover", "diners", "jcb", "unionpay")
    others = ("visa_debit", "mastercard_debit", "mastercard_prepaid", "us", "de", "gb", "jp")
    for name in (*brands, *others, "pendingRefund", "refundFail"):
        assert isinstance(fake.charge(a_charge(f"pm_card_{name}", key=name)), Succeeded), name
    assert set(statuses(fake)) == {"succeeded"}


def test_a_name_that_is_no_name_of_a_test_pays(fake: FakeProcessor) -> None:
    assert isinstance(fake.charge(a_charge("pm_1PqRsTuVwXyZ")), Succeeded)


@pytest.mark.parametrize("brand", ["", "visa_", "mastercard_"])
@pytest.mark.parametrize(
    ("name", "code", "retryable"),
    [
        ("chargeDeclined", "generic_decline", True),
        ("chargeCustomerFail", "generic_decline", True),
        ("chargeDeclinedInsufficientFunds", "insufficient_funds", True),
        ("chargeDeclinedProcessingError", "processing_error", True),
        ("chargeDeclinedVelocityLimitExceeded", "card_velocity_exceeded", True),
        ("chargeDeclinedLostCard", "lost_card", False),
        ("chargeDeclinedStolenCard", "stolen_card", False),
        ("chargeDeclinedFraudulent", "fraudulent", False),
        ("chargeDeclinedExpiredCard", "expired_card", False),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", False),
    ],
)
def test_every_bad_card_is_refused_for_its_reason(
    fake: FakeProcessor, brand: str, name: str, code: str, retryable: bool
) -> None:
    refused = fake.charge(a_charge(f"pm_card_{brand}{name}"))
    assert isinstance(refused, Declined)
    assert (refused.code, refused.retryable) == (code, retryable)
    assert refused.message
    assert statuses(fake) == ["requires_payment_method"]


def test_a_card_of_strong_authentication_asks_its_payer(fake: FakeProcessor) -> None:
    names = ("authenticationRequired", "threeDSecureRequired", "threeDSecure2Required")
    for place, name in enumerate(names, start=1):
        asked = fake.charge(a_charge(f"pm_card_{name}", key=name))
        assert asked == NeedsAction(Intent(f"pi_fake_{place:05}", f"pi_fake_{place:05}_secret")), (
            name
        )
        assert fake.confirm(f"pi_fake_{place:05}") == Succeeded(f"pi_fake_{place:05}")


def test_a_payer_may_confirm_and_be_short_of_money_all_the_same(fake: FakeProcessor) -> None:
    method = "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds"
    assert isinstance(fake.charge(a_charge(method)), NeedsAction)
    refused = fake.confirm("pi_fake_00001")
    assert isinstance(refused, Declined)
    assert refused.code == "insufficient_funds"
    assert fake.retrieve(a_charge(method)) == refused


@pytest.mark.parametrize("method", ["pm_usBankAccount", "pm_sepaDebit", "pm_bacsDebit"])
def test_a_bank_debit_takes_days(fake: FakeProcessor, method: str) -> None:
    assert fake.charge(a_charge(method)) == Pending()
    assert fake.retrieve(a_charge(method)) == Pending()
    assert isinstance(fake.refuse("pi_fake_00001", "debit_not_authorized"), Declined)
    assert statuses(fake) == ["requires_payment_method"]


@pytest.mark.parametrize(
    "method",
    [
        "",
        "pm_card_",
        "pm_card_vissa",
        "pm_card_Visa",
        "pm_card_visa_",
        "pm_card_visa ",
        "pm_card_visa\n",
        "pm_card_visa_visa",
        "pm_card_deu",
        "pm_card_chargeDecline",
        "pm_card_ChargeDeclined",
        "pm_card_visa_chargeDeclinedInsufficentFunds",
        "pm_card_authenticationrequired",
        "card_visa",
        "tok_visa",
        "4242424242424242",
    ],
)
def test_a_misspelt_card_is_refused_for_good(fake: FakeProcessor, method: str) -> None:
    refused = fake.charge(a_charge(method))
    assert isinstance(refused, Declined)
    assert (refused.code, refused.retryable) == ("resource_missing", False)


@pytest.mark.parametrize("method", ["pm_cardvisa", "pm_card", "pm_cards_visa"])
def test_a_misspelt_beginning_does_not_pass_for_a_good_card(
    fake: FakeProcessor, method: str
) -> None:
    assert isinstance(fake.charge(a_charge(method)), Declined)


@pytest.mark.parametrize(
    "name", ["bypassPending", "createDispute", "riskLevelElevated", "gb_debit"]
)
def test_a_card_that_pays_at_stripe_pays_here(fake: FakeProcessor, name: str) -> None:
    assert isinstance(fake.charge(a_charge(f"pm_card_{name}")), Succeeded)


# --- what it is told ------------------------------------------------------------------------------


def test_a_script_is_followed_in_order_by_new_charges_alone(fake: FakeProcessor) -> None:
    refused = Declined("do_not_honor", "No.", retryable=False)
    fake.script(refused, Pending(), NeedsAction(Intent("of no meaning")), Succeeded("neither"))
    assert fake.charge(a_charge(key="1")) == refused
    assert fake.charge(a_charge(key="1")) == refused
    assert fake.charge(a_charge(key="2")) == Pending()
    assert fake.retrieve(a_charge(key="2")) == Pending()
    asked = fake.charge(a_charge(key="3"))
    assert asked == NeedsAction(Intent("pi_fake_00003", "pi_fake_00003_secret"))
    assert fake.charge(a_charge("pm_card_chargeDeclined", key="4")) == Succeeded("pi_fake_00004")
    assert isinstance(fake.charge(a_charge("pm_card_chargeDeclined", key="5")), Declined)


def test_a_request_that_never_arrives_uses_up_no_script(fake: FakeProcessor) -> None:
    fake.script(Pending())
    fake.fail(Fault.UNREACHABLE)
    with pytest.raises(Unavailable):
        fake.charge(a_charge())
    assert fake.charge(a_charge()) == Pending()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.UNREACHABLE, Unavailable),
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.NOT_LET_IN, ProcessorNotConfigured),
    ],
)
def test_a_fault_before_the_request_leaves_nothing_in_the_books(
    fake: FakeProcessor, fault: Fault, kind: type[CounterfoilError]
) -> None:
    fake.fail(fault)
    with pytest.raises(kind):
        fake.charge(a_charge())
    assert fake.booked() == ()
    assert fake.retrieve(a_charge()) is None


def test_a_lost_answer_leaves_all_in_the_books(fake: FakeProcessor) -> None:
    fake.fail(Fault.ANSWER_LOST, Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        fake.charge(a_charge())
    assert statuses(fake) == ["succeeded"]
    with pytest.raises(Unavailable):
        fake.refund(a_refund())
    assert fake.booked()[0].refunded == 100


def test_a_withdrawal_whose_answer_is_lost_still_forbids_the_charge(fake: FakeProcessor) -> None:
    fake.fail(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        fake.cancel(a_charge())
    refused = fake.charge(a_charge())
    assert isinstance(refused, Declined)
    assert refused.code == CANCELED


def test_a_slow_answer_is_slow_and_right(fake: FakeProcessor) -> None:
    fake.fail(Fault.SLOW)
    began = time.monotonic()
    assert fake.charge(a_charge()) == Succeeded("pi_fake_00001")
    assert time.monotonic() - began >= 0.05


def test_faults_come_one_a_request_and_requests_are_counted(fake: FakeProcessor) -> None:
    fake.fail(Fault.UNREACHABLE, Fault.RATE_LIMITED)
    fake.default_payment_method("ada")
    with pytest.raises(Unavailable):
        fake.retrieve(a_charge())
    with pytest.raises(RateLimited):
        fake.cancel(a_charge())
    fake.charge(a_charge())
    assert fake.calls == 3


def test_customers_pay_with_what_they_are_said_to(fake: FakeProcessor) -> None:
    fake.methods |= {"ada": "pm_card_amex", "bob": None}
    assert fake.default_payment_method("ada") == "pm_card_amex"
    assert fake.default_payment_method("bob") is None
    assert fake.default_payment_method("anybody") == VISA


# --- its books ------------------------------------------------------------------------------------


def test_the_books_tell_every_charge_and_what_went_back(fake: FakeProcessor) -> None:
    fake.charge(a_charge())
    fake.charge(a_charge(ASKS, key="key_2", invoice="in_2", amount=Money(500, "JPY")))
    fake.cancel(a_charge(key="key_3", invoice="in_1"))
    fake.refund(a_refund(minor=400))
    first = Booked(
        id="pi_fake_00001",
        tenant="acme",
        invoice="in_1",
        payment="py_key_1",
        amount=Money(11900, "EUR"),
        status="succeeded",
        refunded=400,
    )
    assert fake.booked("in_1") == (first,)
    assert [one.id for one in fake.booked()] == ["pi_fake_00001", "pi_fake_00002"]
    assert fake.booked("in_2")[0].amount == Money(500, "JPY")
    assert fake.booked("in_3") == ()


def test_the_same_requests_are_given_the_same_names_everywhere() -> None:
    def all_of_it(fake: FakeProcessor) -> list[Outcome]:
        charged = [fake.charge(a_charge(m, key=m)) for m in (VISA, ASKS, DEBIT, "pm_card_none")]
        given = [fake.refund(a_refund(key=key)) for key in ("a", "b")]
        fake.close()
        return [*charged, *given]

    first = all_of_it(FakeProcessor())
    assert first == all_of_it(FakeProcessor())
    assert first[0] == Succeeded("pi_fake_00001")
    assert first[-1] == Succeeded("re_fake_00002")


def test_a_key_that_is_used_for_another_amount_is_a_defect_of_who_asks(
    fake: FakeProcessor,
) -> None:
    fake.charge(a_charge())
    for amount in (Money(11901, "EUR"), Money(11900, "USD")):
        with pytest.raises(Malformed):
            fake.charge(a_charge(amount=amount))
    assert len(fake.booked()) == 1


def test_a_pending_refund_comes_through_when_it_is_asked_for_again(fake: FakeProcessor) -> None:
    fake.charge(a_charge("pm_card_pendingRefund"))
    assert fake.refund(a_refund()) == Pending()
    assert fake.booked()[0].refunded == 0
    assert fake.refund(a_refund()) == Succeeded("re_fake_00001")
    assert fake.refund(a_refund()) == Succeeded("re_fake_00001")
    assert fake.booked()[0].refunded == 100


def test_what_has_ended_is_ended(fake: FakeProcessor) -> None:
    fake.charge(a_charge())
    assert fake.refuse("pi_fake_00001") == Succeeded("pi_fake_00001")
    refused = fake.charge(a_charge("pm_card_chargeDeclined", key="key_2"))
    assert fake.confirm("pi_fake_00002") == refused
    assert statuses(fake) == ["succeeded", "requires_payment_method"]


@pytest.mark.parametrize(
    "intent", ["", "pi_fake_", "pi_fake_00009", "pi_fake_x", "pi_fake_-1", "pi_fake_²", "seti_1"]
)
def test_an_intent_that_is_not_there_is_not_found(fake: FakeProcessor, intent: str) -> None:
    fake.charge(a_charge(ASKS))
    for ask in (fake.confirm, fake.refuse):
        with pytest.raises(NotFound):
            ask(intent)
    assert isinstance(fake.refund(a_refund(intent)), Declined)


def test_an_intent_with_a_number_that_no_database_holds_is_not_found(fake: FakeProcessor) -> None:
    with pytest.raises(NotFound):
        fake.confirm(f"pi_fake_{2**63}")


def test_an_intent_is_found_by_its_whole_name_alone(fake: FakeProcessor) -> None:
    fake.charge(a_charge(ASKS))
    for intent in ("1", "00001", "pi_fake_1", "pi_fake_00000001"):
        with pytest.raises(NotFound):
            fake.confirm(intent)


def test_many_at_once_are_booked_each_once(fake: FakeProcessor) -> None:
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda n: fake.charge(a_charge(key=f"key_{n % 10}")), range(80)))
    assert len(fake.booked()) == 10
    assert set(said) == {Succeeded(one.id) for one in fake.booked()}


def test_closing_twice_is_fine() -> None:
    fake = FakeProcessor()
    fake.close()
    fake.close()


@pytest.mark.parametrize("name", ["absent/books.db", "."])
def test_books_that_cannot_be_opened_are_an_error_of_ours(tmp_path: Path, name: str) -> None:
    with pytest.raises(CounterfoilError):
        Billing.open(":memory:", processor=f"fake:{tmp_path / name}")


def test_a_file_that_is_no_book_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "books.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(CounterfoilError):
        Billing.open(":memory:", processor=f"fake:{tmp_path / 'books.db'}")


# --- several processes ----------------------------------------------------------------------------

_CHARGE_ALL = """
import os, sys
from datetime import UTC, datetime
from counterfoil.adapters.processors.fake import FakeProcessor
from counterfoil.domain.money import Money
from counterfoil.domain.ports import Charge

ledger, method, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
fake = FakeProcessor(ledger)
print("ready", flush=True)
sys.stdin.readline()
for n in range(count):
    print(fake.charge(Charge(
        key=f"key_{n}", amount=Money(11900, "EUR"), payment_method=method, tenant="acme",
        invoice="in_1", payment=f"py_{n}", customer="ada",
        attempted_at=datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
    )), flush=True)
os._exit(9)  # as if it were killed: nothing is closed
"""


def charging(ledger: Path, method: str, count: int) -> subprocess.Popen[str]:
    """A process that charges so often, once it is told to, and dies."""
    return subprocess.Popen(
        [sys.executable, "-c", _CHARGE_ALL, str(ledger), method, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_with_one_ledger_charge_each_key_once(tmp_path: Path) -> None:
    ledger, count = tmp_path / "books.db", 20
    both = [charging(ledger, ASKS, count) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    # What either prints after this, it prints while the other is at work.
    said = []
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 9
        said.append(out)
    assert said[0] == said[1]
    fake = FakeProcessor(ledger)
    booked = fake.booked()
    assert [one.payment for one in booked] == [f"py_{n}" for n in range(count)]
    assert [one.id for one in booked] == [f"pi_fake_{n:05}" for n in range(1, count + 1)]
    # The dead processes' charges live on: known by key, and confirmed by name.
    known = fake.charge(a_charge(ASKS, key="key_0"))
    assert known == NeedsAction(Intent("pi_fake_00001", "pi_fake_00001_secret"))
    assert fake.confirm("pi_fake_00001") == Succeeded("pi_fake_00001")
    fake.close()


def test_what_one_confirms_the_other_knows_at_once(tmp_path: Path) -> None:
    here, there = (FakeProcessor(tmp_path / "books.db") for _ in range(2))
    here.charge(a_charge(ASKS))
    assert there.confirm("pi_fake_00001") == Succeeded("pi_fake_00001")
    assert here.retrieve(a_charge(ASKS)) == Succeeded("pi_fake_00001")
    there.refund(a_refund())
    assert here.refund(a_refund()) == Succeeded("re_fake_00001")
    assert here.booked() == there.booked()
    here.close()
    there.close()


def test_no_secret_is_in_the_books(tmp_path: Path) -> None:
    fake = FakeProcessor(tmp_path / "books.db")
    asked = fake.charge(a_charge(ASKS))
    fake.close()
    assert isinstance(asked, NeedsAction)
    assert asked.intent.client_secret
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert asked.intent.client_secret.encode() not in stored
