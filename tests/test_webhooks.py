"""Does a webhook count only when the processor sent it, and then once, whenever it comes?"""

from __future__ import annotations

import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.processors.fake import Fault
from counterfoil.adapters.processors.webhook import Delivery, sign_webhook
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.billing import (
    ActionRequired,
    Billing,
    Declined,
    FakeProcessor,
    Paid,
    Tenant,
    actor,
    read_webhook,
)
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import (
    Conflict,
    CounterfoilError,
    Malformed,
    NotFound,
    ProcessorNotConfigured,
    Reason,
    Rejected,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.domain.ports import Charge, Outcome
    from counterfoil.projections.invoice import Invoice

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SECRET, OTHER = "whsec_first", "whsec_second"
ADA = Customer(id="cus_1", name="Ada Lovelace", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
VISA = "pm_card_visa"
ASKS = "pm_card_authenticationRequired"
DEBIT = "pm_usBankAccount"
BODY = json.dumps(
    {
        "id": "evt_1",
        "type": "payment_intent.succeeded",
        "created": int(NOON.timestamp()),
        "data": {"object": {"id": "pi_1", "metadata": {"counterfoil_tenant": "acme"}}},
    }
).encode()


def mac(body: bytes = BODY, secret: str = SECRET, at: datetime = NOON) -> str:
    signed = f"{int(at.timestamp())}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header(*parts: str, at: datetime = NOON) -> str:
    return ",".join([f"t={int(at.timestamp())}", *parts])


def read(body: bytes = BODY, signature: str | None = None, **said: Any) -> Delivery:
    signature = sign_webhook(body, SECRET, NOON) if signature is None else signature
    return read_webhook(body, signature, **{"secrets": SECRET, "now": NOON, **said})


def hold_refused(field: str, ask: Callable[[], object]) -> None:
    with pytest.raises(Malformed) as refused:
        ask()
    assert refused.value.field == field
    assert SECRET not in str(refused.value)
    assert mac() not in str(refused.value)


def hold_signature_refused(body: bytes, signature: str, now: datetime = NOON) -> None:
    hold_refused("signature", lambda: read(body, signature, now=now))


# --- the signature --------------------------------------------------------------------------------


def test_what_was_signed_is_read() -> None:
    said = read()
    assert (said.id, said.type, said.occurred_at) == ("evt_1", "payment_intent.succeeded", NOON)
    assert said.tenant == "acme"
    assert said.about["id"] == "pi_1"
    assert sign_webhook(BODY, SECRET, NOON) == header(f"v1={mac()}")


def test_a_body_with_another_byte_anywhere_is_refused() -> None:
    for place in range(len(BODY)):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        hold_signature_refused(changed, header(f"v1={mac()}"))
    for body in (BODY + b" ", b" " + BODY, BODY[:-1], b""):
        hold_signature_refused(body, header(f"v1={mac()}"))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        ",",
        "=",
        "t",
        "nonsense",
        header(),
        header("v1="),
        header("v1=abc"),
        header(f"v1={mac()[:-1]}"),
        header(f"v1={mac()}0"),
        header(f"v1={mac().upper()}"),
        header(f"v1={mac(secret=OTHER)}"),
        header(f"v0={mac()}"),
        header(f"V1={mac()}"),
        header(f"v1:{mac()}"),
        header(f"v1={mac()}=="),
        f"v1={mac()}",
        f"t=,v1={mac()}",
        f"t={int(NOON.timestamp())},{header(f'v1={mac()}')}",
        f"t=1,{header(f'v1={mac()}')}",
        f"t=-{int(NOON.timestamp())},v1={mac()}",
        f"t=+{int(NOON.timestamp())},v1={mac()}",
        f"t={NOON.timestamp()},v1={mac()}",
        f"t=1_763_640_000,v1={mac()}",
        f"t=１７６３６４００００,v1={mac()}",  # noqa: RUF001  (the digits of full width are meant)
        f"t={'9' * 5_000},v1={mac()}",
        f"t={'9' * 15},v1={mac()}",
        f"T={int(NOON.timestamp())},v1={mac()}",
        f"t={int(NOON.timestamp()) + 1},v1={mac()}",
        header(f"v1={mac()}é"),
        header("v1=é", "v1=🙂"),
        header(f"v1={mac()}\0"),
        header(f"v1={mac()}", "x=" + "y" * 10_000),
        header(*["v1=abc"] * 100_000),
    ],
    ids=range(34),
)
def test_a_header_that_does_not_fit_is_refused(signature: str) -> None:
    hold_refused("signature", lambda: read(signature=signature))


def test_a_header_that_is_no_unicode_is_refused() -> None:
    hold_refused("signature", lambda: read(signature=header("v1=\ud800")))


def test_a_header_that_is_not_there_is_refused() -> None:
    absent: Any = None
    hold_refused("signature", lambda: read_webhook(BODY, absent, SECRET, now=NOON))


def test_one_of_several_signatures_is_enough() -> None:
    wrong = f"v1={mac(secret=OTHER)}"
    for parts in (
        (wrong, f"v1={mac()}"),
        (f"v1={mac()}", wrong),
        (f"v0={mac(secret=OTHER)}", f"v1={mac()}"),
        ("v1=é", f"v1={mac()}"),
        (f"v1={mac()}", "v2=later", "unknown"),
    ):
        assert read(signature=header(*parts)).id == "evt_1"


def test_while_one_secret_replaces_another_both_hold() -> None:
    for secret in (SECRET, OTHER):
        signature = sign_webhook(BODY, secret, NOON)
        for secrets in ([SECRET, OTHER], (OTHER, SECRET)):
            assert read(signature=signature, secrets=secrets).id == "evt_1"
    hold_refused("signature", lambda: read(secrets=["whsec_third", OTHER]))


@pytest.mark.parametrize("secrets", ["", [], [""], (), [SECRET, ""], ("", SECRET)])
def test_an_empty_secret_lets_nobody_in(secrets: Any) -> None:
    signed_with_nothing = header(f"v1={mac(secret='')}")
    hold_refused("secrets", lambda: read(signature=signed_with_nothing, secrets=secrets))
    hold_refused("secrets", lambda: read(secrets=secrets))


def test_a_blank_secret_lets_nobody_in() -> None:
    signature = sign_webhook(BODY, " \n", NOON)
    hold_refused("secrets", lambda: read(signature=signature, secrets=" \n"))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_signature_holds_for_300_seconds_both_ways(sign: int) -> None:
    signature = sign_webhook(BODY, SECRET, NOON)
    seconds: float
    for seconds in (0, 1, 299, 300):
        assert read(signature=signature, now=NOON + sign * seconds * SECOND).id == "evt_1"
    for seconds in (300.001, 301, 86_400):
        at = NOON + sign * seconds * SECOND
        hold_signature_refused(BODY, signature, now=at)
        assert read(signature=signature, now=at, tolerance_s=seconds).id == "evt_1"


def test_nothing_is_said_of_the_age_of_a_signature_that_is_wrong() -> None:
    old = header(f"v1={mac(secret=OTHER, at=NOON - HOUR)}", at=NOON - HOUR)
    with pytest.raises(Malformed, match="fits none of the secrets"):
        read(signature=old)


def test_the_sdk_accepts_what_we_sign() -> None:
    now = datetime.now(UTC)
    signature = sign_webhook(BODY, SECRET, now)
    event: Any = stripe.Webhook.construct_event(  # type: ignore[no-untyped-call,unused-ignore]
        BODY, signature, SECRET
    )
    said = read_webhook(BODY, signature, SECRET)
    assert (event["id"], event["created"]) == (said.id, said.occurred_at.timestamp())


def sdk_accepts(body: bytes, signature: str, secret: str) -> bool:
    verify: Any = stripe.WebhookSignature.verify_header
    try:
        return bool(verify(body, signature, secret))
    except stripe.SignatureVerificationError:
        return False


def we_accept(body: bytes, signature: str, secret: str) -> bool:
    try:
        read_webhook(body, signature, secret, now=NOON)
    except Malformed as refused:
        return refused.field == "body"
    return True


@given(
    body=st.text(max_size=50),
    signer=st.sampled_from([SECRET, OTHER, "ünï", "x"]),
    reader=st.sampled_from([SECRET, "ünï"]),
    before=st.lists(st.sampled_from(["v0=a", "v1=a", "v1=", "x=1"]), max_size=3),
    after=st.lists(st.sampled_from(["v0=é", "v1=a", "v2="]), max_size=3),
)
def test_we_accept_what_the_sdk_signs_and_what_it_accepts(
    body: str, signer: str, reader: str, before: list[str], after: list[str]
) -> None:
    generate: Any = stripe.WebhookSignature.generate_signature_header
    time, signature = generate(body, signer, int(NOON.timestamp())).split(",")
    parts = ",".join([*before, time, signature, *after])
    accepted = sdk_accepts(body.encode(), parts, reader)
    assert accepted == (signer == reader)
    assert we_accept(body.encode(), parts, reader) == accepted


# --- the body -------------------------------------------------------------------------------------

EVENT = {"id": "e", "type": "t", "created": 1, "data": {"object": {}}}


def events_with(*wrong: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return wrong


def nested(depth: int) -> bytes:
    value = b"[" * depth + b"]" * depth
    return b'{"id":"e","type":"t","created":1,"data":{"object":{"metadata":{"a":' + value + b"}}}}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"\x00",
        b"null",
        b"NaN",
        b"Infinity",
        b"[]",
        b'"text"',
        b"{}",
        b"{",
        b"1" * 5_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        nested(50_000),
        *(
            json.dumps({name: said for name, said in EVENT.items() if name != missing}).encode()
            for missing in EVENT
        ),
        *(
            json.dumps({**EVENT, **wrong}).encode()
            for wrong in events_with(
                {"created": "1"},
                {"created": None},
                {"created": []},
                {"created": float("nan")},
                {"created": float("inf")},
                {"created": 10**30},
                {"created": -(10**15)},
                {"data": None},
                {"data": []},
                {"data": {}},
                {"data": {"object": None}},
                {"data": {"object": []}},
                {"data": {"object": "text"}},
                {"data": {"object": {"metadata": "text"}}},
                {"data": {"object": {"metadata": ["a"]}}},
                {"data": {"object": {"metadata": 7}}},
            )
        ),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_what_is_signed_but_no_event_is_malformed(body: bytes) -> None:
    hold_refused("body", lambda: read(body))


@pytest.mark.parametrize("wrong", [{"id": None}, {"id": ["evt_1"]}, {"type": {}}, {"type": None}])
def test_an_event_whose_id_or_type_is_no_text_is_malformed(wrong: dict[str, object]) -> None:
    hold_refused("body", lambda: read(json.dumps({**EVENT, **wrong}).encode()))


def test_metadata_that_is_absent_or_empty_is_none_of_ours() -> None:
    abouts: tuple[dict[str, object], ...] = ({}, {"metadata": None}, {"metadata": {}})
    for about in abouts:
        said = read(json.dumps({**EVENT, "data": {"object": about}}).encode())
        assert (said.tenant, said.invoice, said.payment, said.refund) == (None,) * 4


def test_metadata_that_is_no_text_is_none_of_ours() -> None:
    for value in (None, 7, True, ["acme"], {"a": "b"}):
        about = {"metadata": {"counterfoil_tenant": value}}
        said = read(json.dumps({**EVENT, "data": {"object": about}}).encode())
        assert said.tenant is None


# --- effects --------------------------------------------------------------------------------------


@dataclass
class Shop:
    """A billing with one open invoice, and the processor behind it."""

    billing: Billing
    acme: Tenant
    fake: FakeProcessor
    invoice: str

    def facts(self) -> list[str]:
        recorded = self.billing.log.read("acme", self.invoice)
        return [type(one.fact).__name__ for one in recorded]

    def status(self) -> str:
        return self.acme.get_invoice(self.invoice).status

    def payment(self) -> str:
        return self.acme.payments.list(invoice=self.invoice).data[0].id

    def names(self, **more: str) -> dict[str, str]:
        return {"counterfoil_tenant": "acme", "counterfoil_invoice": self.invoice, **more}

    def intent(self, status: str, payment: str | None = None, **more: object) -> dict[str, object]:
        payment = payment or self.payment()
        return {
            "id": f"pi_of_{payment}",
            "status": status,
            "currency": "eur",
            "amount_received": 11_900 if status == "succeeded" else 0,
            "metadata": self.names(counterfoil_payment=payment),
            **more,
        }

    def hear(
        self, type: str, about: dict[str, object], *, event: str = "evt_1", at: datetime = NOON
    ) -> Invoice | None:
        return self.acme.hear(told(type, about, event=event, at=at))

    def hear_payment(
        self, status: str, *, event: str, at: datetime = NOON, payment: str | None = None
    ) -> Invoice | None:
        kind = {"requires_payment_method": "payment_failed"}.get(status, status)
        more: dict[str, object] = {}
        if kind == "payment_failed":
            more["last_payment_error"] = {"code": "card_declined", "message": "No."}
        about = self.intent(status, payment, **more)
        return self.hear(f"payment_intent.{kind}", about, event=event, at=at)


def told(
    type: str, about: dict[str, object], *, event: str = "evt_1", at: datetime = NOON
) -> Delivery:
    said = {"id": event, "type": type, "created": int(at.timestamp()), "data": {"object": about}}
    return read(json.dumps(said).encode())


def opened(fake: FakeProcessor, database: str | Path = ":memory:", **said: Any) -> Shop:
    billing = Billing.open(
        database,
        seller=Seller(name="Northwind"),
        processor=fake,
        **{"clock": lambda: NOON, "pdf": None, "documents": None, **said},
    )
    acme = billing.tenant("acme")
    return Shop(billing, acme, fake, invoiced(acme))


def invoiced(acme: Tenant) -> str:
    draft = acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK])
    return acme.finalize_invoice(draft.id).id


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = opened(FakeProcessor())
    yield shop
    shop.billing.close()


@pytest.fixture
def asked(shop: Shop) -> Shop:
    """Its invoice waits for the payer, who is to confirm."""
    assert isinstance(shop.acme.pay_invoice(shop.invoice, payment_method=ASKS), ActionRequired)
    return shop


@contextmanager
def refused_for(reason: Reason) -> Iterator[None]:
    with pytest.raises(Rejected) as refused:
        yield
    assert refused.value.reason is reason


def test_a_payer_who_confirms_late_pays(asked: Shop) -> None:
    (charge,) = asked.fake.booked()
    asked.fake.confirm(charge.id)
    body, signature = asked.fake.webhook(charge.id, SECRET, at=NOON)
    shown = asked.acme.hear(read(body, signature))
    assert shown is not None
    assert (shown.status, shown.amount_remaining) == ("paid", 0)
    (payment,) = asked.acme.payments.list().data
    assert (payment.status, payment.reference) == ("succeeded", charge.id)


def test_an_event_that_is_delivered_twice_has_one_effect(asked: Shop) -> None:
    for status in ("requires_action", "succeeded"):
        asked.hear_payment(status, event=f"evt_{status}", at=NOON)
        known = asked.facts()
        again = asked.hear_payment(status, event=f"evt_{status}", at=NOON)
        assert again is not None
        assert asked.facts() == known
    assert asked.facts()[-2:] == ["PaymentSucceeded", "InvoicePaid"]


def test_a_success_that_two_events_tell_counts_once(asked: Shop) -> None:
    asked.hear_payment("succeeded", event="evt_1")
    known = asked.facts()
    asked.hear_payment("succeeded", event="evt_2", at=NOON + HOUR)
    assert asked.facts() == known


def test_what_comes_after_a_success_is_late(asked: Shop) -> None:
    asked.hear_payment("succeeded", event="evt_3", at=NOON + 2 * HOUR)
    known = asked.facts()
    for status in ("requires_action", "requires_payment_method", "canceled"):
        for at in (NOON, NOON + 3 * HOUR):
            with refused_for(Reason.PAYMENT_ENDED):
                asked.hear_payment(status, event="evt_2", at=at)
    asked.hear_payment("processing", event="evt_4")
    assert asked.facts() == known


def test_an_older_failure_says_nothing_after_newer_news(asked: Shop) -> None:
    asked.hear_payment("requires_action", event="evt_2", at=NOON + HOUR)
    known = asked.facts()
    with refused_for(Reason.OUTDATED):
        asked.hear_payment("requires_payment_method", event="evt_1", at=NOON)
    assert asked.facts() == known
    asked.hear_payment("requires_payment_method", event="evt_3", at=NOON + HOUR)
    assert asked.facts()[-1] == "PaymentFailed"


def test_money_that_came_counts_however_old_its_news_is(asked: Shop) -> None:
    asked.hear_payment("requires_action", event="evt_2", at=NOON + HOUR)
    asked.hear_payment("succeeded", event="evt_1", at=NOON)
    assert asked.status() == "paid"


def test_money_that_came_counts_after_a_failure(asked: Shop) -> None:
    asked.hear_payment("requires_payment_method", event="evt_1")
    assert asked.status() == "open"
    asked.hear_payment("succeeded", event="evt_2", at=NOON + HOUR)
    assert asked.facts()[-3:] == ["PaymentFailed", "PaymentSucceeded", "InvoicePaid"]


def test_money_that_comes_after_another_payment_is_the_customers(asked: Shop) -> None:
    first = asked.payment()
    asked.hear_payment("requires_payment_method", event="evt_1")
    asked.acme.pay_invoice(asked.invoice, payment_method=VISA).unwrap()
    asked.hear_payment("succeeded", event="evt_2", at=NOON + HOUR, payment=first)
    late = next(one for one in asked.acme.payments.list() if one.id == first)
    assert (late.status, late.surplus) == ("succeeded", 11_900)


def test_payments_of_one_invoice_do_not_order_each_other(asked: Shop) -> None:
    asked.hear_payment("requires_action", event="evt_1", at=NOON + 2 * HOUR)
    asked.hear_payment("requires_payment_method", event="evt_2", at=NOON + 3 * HOUR)
    asked.acme.pay_invoice(asked.invoice, payment_method=ASKS)
    second = next(one.id for one in asked.acme.payments.list(status="requires_action"))
    asked.hear_payment("requires_action", event="evt_3", at=NOON, payment=second)
    asked.hear_payment("requires_payment_method", event="evt_4", at=NOON + HOUR, payment=second)
    assert [one.status for one in asked.acme.payments.list()] == ["failed", "failed"]


def test_the_same_event_tells_of_one_payment_only(asked: Shop) -> None:
    asked.hear_payment("requires_payment_method", event="evt_1")
    asked.acme.pay_invoice(asked.invoice, payment_method=ASKS)
    second = next(one.id for one in asked.acme.payments.list(status="requires_action"))
    known = asked.facts()
    asked.hear_payment("requires_payment_method", event="evt_1", payment=second)
    assert asked.facts() == known


def test_a_bank_that_answers_days_later_pays(shop: Shop) -> None:
    shop.acme.pay_invoice(shop.invoice, payment_method=DEBIT)
    known = shop.facts()
    assert shop.hear_payment("processing", event="evt_1") is not None
    assert shop.facts() == known
    shop.hear_payment("succeeded", event="evt_2", at=NOON + 100 * HOUR)
    assert shop.status() == "paid"


def test_nothing_of_another_tenant_is_heard(asked: Shop) -> None:
    known = asked.facts()
    said = told("payment_intent.succeeded", asked.intent("succeeded"))
    for name in ("beta", "ACME", "acme2"):
        with pytest.raises(Malformed) as refused:
            asked.billing.tenant(name).hear(said)
        assert refused.value.field == "metadata.counterfoil_tenant"
    names = {"counterfoil_invoice": asked.invoice, "counterfoil_payment": asked.payment()}
    with pytest.raises(Malformed):
        asked.hear("payment_intent.succeeded", asked.intent("succeeded", metadata=names))
    assert asked.facts() == known


def test_an_invoice_that_is_not_there_is_not_found(asked: Shop) -> None:
    for invoice in ("in_unknown", "cn_1", "in_", "", " ", "in_\0", "in_\ud800", "x" * 5_000):
        names = asked.names(counterfoil_payment="py_1") | {"counterfoil_invoice": invoice}
        with pytest.raises(NotFound):
            asked.hear("payment_intent.succeeded", asked.intent("succeeded", metadata=names))


def test_a_payment_that_is_not_there_is_refused(asked: Shop) -> None:
    names = asked.names(counterfoil_payment="py_unknown")
    with pytest.raises(NotFound, match="no payment py_unknown"):
        asked.hear("payment_intent.succeeded", asked.intent("succeeded", metadata=names))


def test_of_a_draft_no_payment_is_heard(asked: Shop) -> None:
    draft = asked.acme.draft_invoice(customer=ADA, currency="EUR", lines=[WORK]).id
    names = {**asked.names(counterfoil_payment=asked.payment()), "counterfoil_invoice": draft}
    for kind in ("payment_intent.succeeded", "invoice.paid"):
        about = asked.intent("succeeded", metadata=names)
        with refused_for(Reason.IS_DRAFT):
            asked.hear(kind, about)


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_received": 11_899},
        {"amount_received": 0},
        {"amount_received": -11_900},
        {"amount_received": 10**30},
        {"currency": "usd"},
        {"currency": "jpy"},
        {"currency": "x" * 1_000},
        {"currency": ""},
        {"status": "something_new"},
    ],
)
def test_another_amount_than_was_asked_is_no_payment(asked: Shop, wrong: dict[str, object]) -> None:
    known = asked.facts()
    with pytest.raises(Unavailable):
        asked.hear("payment_intent.succeeded", {**asked.intent("succeeded"), **wrong})
    assert asked.facts() == known


@pytest.mark.parametrize(
    "kind",
    [
        "payment_intent.created",
        "payment_intent.amount_capturable_updated",
        "payment_intent.partially_funded",
        "charge.succeeded",
        "charge.refunded",
        "invoice.finalized",
        "invoice.payment_failed",
        "customer.created",
        "refund",
        "",
        "PAYMENT_INTENT.SUCCEEDED",
    ],
)
def test_an_event_that_means_nothing_changes_nothing(asked: Shop, kind: str) -> None:
    known = asked.facts()
    assert asked.hear(kind, asked.intent("succeeded")) is None
    assert asked.hear(kind, {"id": "pi_foreign", "status": "succeeded"}) is None
    assert asked.facts() == known


def test_what_was_not_asked_for_by_us_is_none_of_ours(asked: Shop) -> None:
    known = asked.facts()
    for metadata in (None, {}, {"order": "4711"}, {"counterfoil_tenant": "acme"}):
        about = asked.intent("succeeded", metadata=metadata)
        assert asked.hear("payment_intent.succeeded", about) is None
    assert asked.hear("payment_intent.succeeded", asked.intent("x", metadata=asked.names())) is None
    assert asked.facts() == known


class Elsewhere(FakeProcessor):
    """Another processor."""

    @property
    def name(self) -> str:
        return "elsewhere"


def test_the_payment_of_another_processor_is_left_alone(tmp_path: Path) -> None:
    shop = opened(FakeProcessor(), tmp_path / "log.db")
    shop.acme.pay_invoice(shop.invoice, payment_method=ASKS)
    about = shop.intent("succeeded")
    shop.billing.close()
    other = opened(Elsewhere(), tmp_path / "log.db")
    with pytest.raises(ProcessorNotConfigured, match="one of fake"):
        other.hear("payment_intent.succeeded", about)
    other.billing.close()


def test_a_payment_that_is_named_strangely_is_refused_in_words_that_can_be_sent(
    asked: Shop,
) -> None:
    names = asked.names(counterfoil_payment="py_\ud800")
    with pytest.raises(CounterfoilError) as refused:
        asked.hear("payment_intent.succeeded", asked.intent("succeeded", metadata=names))
    assert str(refused.value).encode()


def test_what_is_heard_before_it_is_settled_is_not_asked_for_again(shop: Shop) -> None:
    shop.fake.fail(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        shop.acme.pay_invoice(shop.invoice, payment_method=VISA)
    (charge,) = shop.fake.booked()
    shop.acme.hear(read(*shop.fake.webhook(charge.id, SECRET, at=NOON)))
    calls = shop.fake.calls
    assert list(shop.acme.settle_payments(waiting_s=0)) == []
    assert shop.acme.settle_payment(shop.invoice) is None
    assert shop.fake.calls == calls
    assert shop.facts().count("PaymentSucceeded") == 1


# --- refunds --------------------------------------------------------------------------------------


@pytest.fixture
def refunding(shop: Shop) -> Shop:
    """A refund of 20.00 is on its way."""
    shop.acme.pay_invoice(shop.invoice, payment_method="pm_card_pendingRefund").unwrap()
    shop.acme.refund_payment(shop.invoice, amount="20.00")
    return shop


def refund_of(shop: Shop, status: str, **more: object) -> dict[str, object]:
    (refund,) = shop.acme.payments.refunds(shop.invoice)
    names = shop.names(counterfoil_payment=refund.payment, counterfoil_refund=refund.id)
    about: dict[str, object] = {
        "id": "re_at_stripe",
        "status": status,
        "amount": 2_000,
        "currency": "eur",
        "metadata": names,
    }
    return {**about, **more}


def test_a_refund_that_came_through_is_heard_once(refunding: Shop) -> None:
    assert refunding.hear("refund.updated", refund_of(refunding, "pending")) is not None
    assert refunding.acme.payments.refunds(refunding.invoice)[0].status == "pending"
    refunding.hear("refund.updated", refund_of(refunding, "succeeded"), event="evt_2")
    known = refunding.facts()
    refunding.hear("refund.updated", refund_of(refunding, "succeeded"), event="evt_2")
    refunding.hear("refund.created", refund_of(refunding, "succeeded"), event="evt_3")
    refunding.hear("refund.updated", refund_of(refunding, "pending"), event="evt_1")
    assert refunding.facts() == known
    (refund,) = refunding.acme.payments.refunds(refunding.invoice)
    assert (refund.status, refund.amount, refund.reference) == ("succeeded", 2_000, "re_at_stripe")


def test_a_refund_that_failed_gives_back_what_it_held(refunding: Shop) -> None:
    about = refund_of(refunding, "failed", failure_reason="expired_or_canceled_card")
    refunding.hear("refund.failed", about)
    known = refunding.facts()
    refunding.hear("refund.failed", about)
    assert refunding.facts() == known
    (refund,) = refunding.acme.payments.refunds(refunding.invoice)
    assert (refund.status, refund.failure_code) == ("failed", "expired_or_canceled_card")
    whole = refunding.acme.refund_payment(refunding.invoice, reference="cash")
    assert whole.status == "paid"
    assert refunding.acme.payments.list().data[0].amount_refunded == 11_900


def cash(shop: Shop) -> int:
    return sum(one.balance for one in shop.acme.journal.balances() if one.account == "cash")


def test_a_refund_that_bounces_after_it_came_through_is_money_that_is_back(
    refunding: Shop,
) -> None:
    refunding.hear("refund.updated", refund_of(refunding, "succeeded"))
    assert cash(refunding) == 9_900
    bounced = refund_of(refunding, "failed", failure_reason="expired_or_canceled_card")
    for event in ("evt_2", "evt_2", "evt_3"):
        shown = refunding.hear("refund.failed", bounced, event=event)
        assert shown is not None
        assert (shown.status, shown.amount_paid) == ("paid", 11_900)
    assert refunding.facts().count("RefundFailed") == 1
    (refund,) = refunding.acme.payments.refunds(refunding.invoice)
    assert (refund.status, refund.failure_code) == ("failed", "expired_or_canceled_card")
    assert refunding.acme.payments.list().data[0].amount_refunded == 0
    assert cash(refunding) == 11_900
    refunding.acme.refund_payment(refunding.invoice, reference="cash")
    assert cash(refunding) == 0


def test_a_refund_that_bounces_is_on_no_print_that_was_kept_before() -> None:
    printed = opened(FakeProcessor(), pdf=RecordingEngine(), documents=MemoryStore())
    with closing(printed.billing):
        pending = "pm_card_pendingRefund"
        printed.acme.pay_invoice(printed.invoice, payment_method=pending, amount="20.00").unwrap()
        printed.acme.refund_payment(printed.invoice)
        printed.hear("refund.updated", refund_of(printed, "succeeded"))
        (first,) = printed.acme.store_invoice_pdfs()
        printed.hear("refund.failed", refund_of(printed, "failed"), event="evt_2")
        (second,) = printed.acme.store_invoice_pdfs()
        (third,) = printed.acme.store_invoice_pdfs()
    assert first.stored is not None
    assert second.stored is not None
    assert (third.stored, third.error) == (None, None)


def test_a_refund_that_bounces_counts_again_towards_what_it_left_open(shop: Shop) -> None:
    pending = "pm_card_pendingRefund"
    shop.acme.pay_invoice(shop.invoice, payment_method=pending, amount="20.00").unwrap()
    shop.acme.refund_payment(shop.invoice)
    left = shop.hear("refund.updated", refund_of(shop, "succeeded"))
    assert left is not None
    assert (left.status, left.amount_remaining) == ("open", 11_900)
    shop.acme.record_payment(shop.invoice, amount="99.00")
    back = shop.hear("refund.failed", refund_of(shop, "failed"), event="evt_2")
    assert back is not None
    assert (back.status, back.amount_remaining) == ("paid", 0)
    assert shop.facts()[-2:] == ["RefundFailed", "InvoicePaid"]
    assert cash(shop) == 11_900


def test_a_refund_that_bounced_does_not_go_again_because_it_is_heard_late_that_it_went(
    refunding: Shop,
) -> None:
    refunding.hear("refund.updated", refund_of(refunding, "succeeded"))
    refunding.hear("refund.failed", refund_of(refunding, "failed"), event="evt_2")
    refunding.hear("refund.updated", refund_of(refunding, "succeeded"))
    assert cash(refunding) == 11_900


def test_a_refund_of_another_amount_is_no_refund(refunding: Shop) -> None:
    known = refunding.facts()
    for wrong in ({"amount": 1_999}, {"currency": "usd"}, {"status": "new"}):
        with pytest.raises(Unavailable):
            refunding.hear("refund.updated", {**refund_of(refunding, "succeeded"), **wrong})
    assert refunding.facts() == known


def test_a_refund_that_nobody_asked_for_is_not_found(refunding: Shop) -> None:
    names = refunding.names(counterfoil_refund="re_unknown")
    with pytest.raises(NotFound):
        refunding.hear("refund.updated", refund_of(refunding, "succeeded", metadata=names))


def desk(charge: str, *, refund: str = "re_desk", amount: int = 2_000) -> dict[str, object]:
    return {
        "id": refund,
        "status": "succeeded",
        "amount": amount,
        "currency": "eur",
        "payment_intent": charge,
    }


@pytest.fixture
def paid(shop: Shop) -> Shop:
    """Its invoice is paid by card."""
    shop.acme.pay_invoice(shop.invoice, payment_method=VISA).unwrap()
    return shop


def test_a_refund_at_the_processors_desk_is_found_by_the_charge_and_counts_once(
    paid: Shop,
) -> None:
    (charge,) = paid.fake.booked()
    for kind, event in (("created", "evt_1"), ("created", "evt_1"), ("updated", "evt_2")):
        assert paid.hear(f"refund.{kind}", desk(charge.id), event=event) is not None
    (refund,) = paid.acme.payments.refunds(paid.invoice)
    assert (refund.id, refund.status, refund.amount) == ("re_desk", "succeeded", 2_000)
    assert paid.facts().count("PaymentRefunded") == 1


def test_a_refund_at_the_desk_bounces_too(paid: Shop) -> None:
    (charge,) = paid.fake.booked()
    paid.hear("refund.created", desk(charge.id))
    assert cash(paid) == 9_900
    failed = {**desk(charge.id), "status": "failed", "failure_reason": "unknown"}
    for event in ("evt_2", "evt_2", "evt_3"):
        paid.hear("refund.failed", failed, event=event)
    (refund,) = paid.acme.payments.refunds(paid.invoice)
    assert (refund.status, refund.failure_code) == ("failed", "unknown")
    assert paid.facts().count("RefundFailed") == 1
    assert cash(paid) == 11_900
    paid.hear("refund.created", desk(charge.id, refund="re_2", amount=11_900))
    assert cash(paid) == 0


def test_at_the_desk_no_more_goes_back_than_is_left(paid: Shop) -> None:
    (charge,) = paid.fake.booked()
    paid.hear("refund.created", desk(charge.id))
    known = paid.facts()
    with refused_for(Reason.REFUND_EXCEEDS_PAYMENT):
        paid.hear("refund.created", desk(charge.id, refund="re_2", amount=9_901))
    assert paid.facts() == known
    paid.hear("refund.created", desk(charge.id, refund="re_2", amount=9_900))
    assert paid.acme.payments.list().data[0].amount_refunded == 11_900


def test_at_the_desk_what_is_unfinished_or_strange_changes_nothing(paid: Shop) -> None:
    (charge,) = paid.fake.booked()
    known = paid.facts()
    for wrong in (
        {"status": "pending"},
        {"status": "failed"},
        {"payment_intent": None},
        {"payment_intent": {"id": charge.id}},
        {"payment_intent": "pi_unknown"},
        {"currency": "xxx"},
        {"currency": ""},
    ):
        assert paid.hear("refund.updated", {**desk(charge.id), **wrong}) is None
    for malformed in (
        {"amount": 0},
        {"amount": -1},
        {"amount": "much"},
        {"id": ""},
        {"id": "x" * 101},
        {"id": None},
        {"payment_intent": "\0"},
    ):
        with pytest.raises(Malformed):
            paid.hear("refund.updated", {**desk(charge.id), **malformed})
    with refused_for(Reason.CURRENCY_MISMATCH):
        paid.hear("refund.updated", {**desk(charge.id), "currency": "usd"})
    assert paid.facts() == known


def test_a_refund_at_the_desk_is_not_lost_while_the_read_models_are_behind() -> None:
    shop = opened(FakeProcessor(), projections="async")
    shop.acme.pay_invoice(shop.invoice, payment_method=VISA).unwrap()
    (charge,) = shop.fake.booked()
    try:
        shop.hear("refund.created", desk(charge.id))
        heard = True
    except (Unavailable, NotFound):  # the processor will say it again
        heard = False
    assert not heard or "PaymentRefunded" in shop.facts()
    shop.billing.close()


def test_a_refund_at_the_desk_is_not_one_of_money_that_came_by_bank() -> None:
    hours = count()
    paid = opened(FakeProcessor(), clock=lambda: NOON + next(hours) * HOUR)
    paid.acme.pay_invoice(paid.invoice, payment_method=VISA).unwrap()
    (charge,) = paid.fake.booked()
    other = invoiced(paid.acme)
    paid.acme.record_payment(other, amount="119.00", reference=charge.id)
    paid.hear("refund.created", desk(charge.id))
    assert paid.acme.payments.refunds(other) == ()
    assert len(paid.acme.payments.refunds(paid.invoice)) == 1
    paid.billing.close()


# --- an outsider that is canonical ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invoice.paid", "paid"),
        ("invoice.voided", "void"),
        ("invoice.marked_uncollectible", "uncollectible"),
    ],
)
def test_what_the_processors_own_invoice_is_ours_becomes(
    shop: Shop, kind: str, status: str
) -> None:
    shown = shop.hear(kind, {"metadata": shop.names()})
    assert shown is not None
    assert shown.status == status
    known = shop.facts()
    shop.hear(kind, {"metadata": shop.names()})
    assert shop.facts() == known
    assert known[-1] == "InvoiceReconciled"


def test_what_the_processors_own_invoice_was_before_is_outdated(shop: Shop) -> None:
    shop.hear("invoice.paid", {"metadata": shop.names()}, event="evt_2", at=NOON + HOUR)
    with refused_for(Reason.OUTDATED):
        shop.hear("invoice.voided", {"metadata": shop.names()}, event="evt_1")
    assert shop.status() == "paid"


# --- at the same time -----------------------------------------------------------------------------


class Hasty(FakeProcessor):
    """Its webhook is heard before its answer."""

    hear: Callable[[bytes, str], object] | None = None

    def charge(self, charge: Charge) -> Outcome:
        outcome = super().charge(charge)
        if self.hear is not None:
            self.hear(*self.webhook(self.booked()[-1].id, SECRET, at=NOON))
        return outcome


class Confirmed(Hasty):
    """The payer confirms, and that is heard, before the answer says that they must."""

    def charge(self, charge: Charge) -> Outcome:
        outcome = FakeProcessor.charge(self, charge)
        assert self.hear is not None
        intent = self.booked()[-1].id
        self.confirm(intent)
        self.hear(*self.webhook(intent, SECRET, at=NOON))
        return outcome


@pytest.mark.parametrize(
    ("method", "kind", "facts"),
    [
        (VISA, Paid, ["PaymentAttempted", "PaymentSucceeded", "InvoicePaid"]),
        (ASKS, ActionRequired, ["PaymentAttempted", "PaymentActionRequired"]),
        ("pm_card_chargeDeclined", Declined, ["PaymentAttempted", "PaymentFailed"]),
    ],
)
def test_a_webhook_that_is_faster_than_the_answer_tells_the_same(
    method: str, kind: type[object], facts: list[str]
) -> None:
    fake = Hasty()
    shop = opened(fake)
    before = len(shop.facts())
    fake.hear = lambda body, signature: shop.acme.hear(read(body, signature))
    outcome = shop.acme.pay_invoice(shop.invoice, payment_method=method)
    assert isinstance(outcome, kind)
    assert shop.facts()[before:] == facts
    shop.billing.close()


def test_a_payer_who_confirms_before_the_answer_has_paid() -> None:
    fake = Confirmed()
    shop = opened(fake)
    fake.hear = lambda body, signature: shop.acme.hear(read(body, signature))
    outcome = shop.acme.pay_invoice(shop.invoice, payment_method=ASKS)
    assert isinstance(outcome, Paid)
    assert outcome.invoice.status == "paid"
    assert shop.facts().count("PaymentSucceeded") == 1
    shop.billing.close()


def test_an_event_that_is_delivered_eight_times_at_once_has_one_effect(tmp_path: Path) -> None:
    shop = opened(FakeProcessor(), tmp_path / "log.db")
    shop.acme.pay_invoice(shop.invoice, payment_method=ASKS)
    before = shop.facts()
    said = told("payment_intent.succeeded", shop.intent("succeeded"))
    barrier = Barrier(8)

    def deliver(_: int) -> str:
        barrier.wait(timeout=30)
        try:
            heard = shop.acme.hear(said)
        except Conflict:  # the processor will say it again
            return "again"
        return heard.status if heard is not None else "none"

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(deliver, range(8)))
    assert "paid" in answers
    assert answers <= {"paid", "again"}
    assert shop.facts() == [*before, "PaymentSucceeded", "InvoicePaid"]
    shop.billing.close()


def test_who_heard_it_stands_with_the_fact(asked: Shop) -> None:
    with actor("webhook", "evt_1"):
        asked.hear_payment("succeeded", event="evt_1")
    last = asked.billing.log.read("acme", asked.invoice)[-1]
    assert (last.envelope.actor.type, last.envelope.actor.id) == ("webhook", "evt_1")


# --- nothing leaks, nothing else escapes ----------------------------------------------------------


def test_a_delivery_shows_nobodys_data(asked: Shop) -> None:
    about = asked.intent("succeeded", client_secret="pi_1_secret_x", receipt_email=ADA.email)
    said = told("payment_intent.succeeded", about)
    shown = f"{said!r} {said}"
    for private in ("secret", "ada@example.com", "metadata", asked.invoice):
        assert private not in shown


def test_no_error_tells_a_secret_or_anybodys_data(asked: Shop) -> None:
    private = ("ada@example.com", "pi_1_secret_x", "Lovelace", SECRET)
    for wrong in (
        {"amount_received": 1, "client_secret": "pi_1_secret_x"},
        {"amount_received": "ada@example.com"},
        {"amount_received": 1, "id": "ada@example.com"},
        {"status": "ada@example.com"},
        {"currency": ["ada@example.com"]},
        {"metadata": asked.names(counterfoil_payment="pi_1_secret_x ada@example.com")},
    ):
        about = {**asked.intent("succeeded"), "receipt_email": "ada@example.com", **wrong}
        with pytest.raises(CounterfoilError) as refused:
            asked.hear("payment_intent.succeeded", about)
        if "metadata" in wrong:  # a name of ours, which the error may repeat
            continue
        shown = f"{refused.value} {refused.value!r}"
        assert not [word for word in private if word in shown]


def test_what_is_said_of_an_unknown_status_repeats_no_id_uncleaned(asked: Shop) -> None:
    with pytest.raises(Unavailable) as refused:
        asked.hear(
            "payment_intent.succeeded", asked.intent("new", id="ada@example.com\n" + "x" * 5_000)
        )
    assert ADA.email is not None
    assert ADA.email not in str(refused.value)
    assert len(str(refused.value)) < 1_000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["succeeded", "eur", "acme", "pi_fake_00001", "\ud800", "\0", "x" * 600]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
kinds = st.sampled_from(
    [
        *(f"payment_intent.{name}" for name in ("succeeded", "requires_action", "canceled")),
        *("payment_intent.payment_failed", "refund.updated", "refund.failed", "invoice.paid"),
    ]
)


@given(body=st.binary(max_size=200) | json_values.map(lambda said: json.dumps(said).encode()))
def test_whatever_is_signed_is_an_event_or_malformed(body: bytes) -> None:
    try:
        said = read(body)
    except Malformed:
        return
    assert isinstance(said.tenant, str | None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=kinds,
    wrong=st.dictionaries(
        st.sampled_from(
            ["id", "status", "currency", "amount_received", "last_payment_error", "metadata"]
        )
        | st.sampled_from(["amount", "payment_intent", "failure_reason"]),
        json_values,
        min_size=1,
        max_size=4,
    ),
    names=st.dictionaries(
        st.sampled_from(["counterfoil_payment", "counterfoil_refund", "counterfoil_invoice"]),
        json_values,
        max_size=2,
    ),
    event=json_values,
)
def test_whatever_a_signed_event_says_only_our_errors_come_of_it(
    asked: Shop, kind: str, wrong: dict[str, Any], names: dict[str, Any], event: object
) -> None:
    about: dict[str, Any] = {**asked.intent("succeeded"), **wrong}
    if "metadata" not in wrong:
        about["metadata"] = {**about["metadata"], **names}
    said = {"id": event, "type": kind, "created": 1, "data": {"object": about}}
    try:
        asked.acme.hear(read(json.dumps(said).encode()))
    except CounterfoilError:
        return


def test_however_deep_metadata_is_only_our_errors_come_of_it(asked: Shop) -> None:
    for depth in (*range(1, 850, 50), *range(850, 1_050)):
        body = nested(depth).replace(b'{"a":', b'{"counterfoil_invoice":')
        try:
            asked.acme.hear(read(body.replace(b'"t"', b'"payment_intent.succeeded"')))
        except CounterfoilError:
            continue
