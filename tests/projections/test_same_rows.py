"""Do the rows say what the facts say, whichever way they came into the tables?

An invoice is folded twice: by the domain, typed, and by the read models, plain. Here the domain's
state is the judge; nothing of the read models' own arithmetic is used to judge them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import microseconds
from counterfoil.domain.credit_note.events import CreditNoteEvent
from counterfoil.domain.envelope import Actor, Envelope, Recorded
from counterfoil.domain.invoice.events import (
    InvoiceEvent,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
    Status,
)
from counterfoil.domain.invoice.state import Invoice, Issued, fold
from counterfoil.domain.line import Discount
from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.totals import TaxGroup
from counterfoil.domain.value import Event
from counterfoil.projections import keeping
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.credit_note import view_credit_note
from counterfoil.projections.history import Fact, History
from counterfoil.projections.invoice import view_invoice
from counterfoil.projections.projection import rows_of
from examples import INVOICE, OPEN, fail_refund, reconcile
from examples import recorded as recorded_payment
from histories import HALF_BACK, after, back_commands, gone, histories, money_commands
from projections import worlds
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.worlds import Step, World

    Facts = tuple[InvoiceEvent, ...]

CODEC = Codec()
START = datetime(2026, 3, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ACTOR = Actor(type="system", id="t")
Named = Mapping[str, Any]
# Often at the same moment, as facts of one command are.
gaps = st.lists(st.sampled_from((0, 0, 1, 86_400_000_001)), min_size=90, max_size=90)


# What is drawn seldom: money comes back when but a part of it, or nothing, is still owed.
PART_OWED = (*OPEN, *HALF_BACK, recorded_payment("bank_2", 10_000))
CREDITED = example(facts=after(PART_OWED, [fail_refund()]), apart=[1] * 90)
WITHDRAWN = example(
    facts=after(PART_OWED, [reconcile(Status.VOID), fail_refund(), fail_refund()]), apart=[0] * 90
)
lives_of_money = histories() | histories(money_commands) | histories(back_commands, gone)


# --- one invoice, without a database --------------------------------------------------------


def recorded(facts: Sequence[Event], apart: Sequence[int]) -> list[Recorded[Any]]:
    """These facts with envelopes, so many microseconds apart."""
    times = [START + timedelta(microseconds=since) for since in accumulate(apart[: len(facts)])]
    return [
        Recorded(
            Envelope("a", INVOICE, v, v + 7, fact.stored_as, at, ACTOR, "c", None, None, b""), fact
        )
        for v, (fact, at) in enumerate(zip(facts, times, strict=True), 1)
    ]


def plain(facts: Sequence[Recorded[Any]]) -> History:
    """The same facts as the read models get them: written down, and read again unchecked."""
    return History("a", INVOICE, [_plain(one) for one in facts])


def _plain(one: Recorded[Any]) -> Fact:
    said, at = one.envelope, microseconds(one.envelope.recorded_at)
    body = CODEC.encode(one.fact)
    return CODEC.plain(said.type, said.version, said.position, at, body, stream=said.stream)


def made(history: History) -> Mapping[str, list[Named]]:
    """The rows of a stream in every table, each by the names of its columns."""
    every = rows_of(tuple(PROJECTIONS.values()), history)
    return {
        table.name: [dict(zip(table.names, row, strict=True)) for row in rows]
        for table, rows in every
    }


def moment(micros: int | None) -> datetime | None:
    return None if micros is None else EPOCH + timedelta(microseconds=micros)


def one(rows: Sequence[Named]) -> Named:
    (row,) = rows
    return row


AMOUNTS = (
    "subtotal", "total_discount", "tax", "rounding", "total", "amount_due", "amount_paid",
    "amount_remaining", "pre_payment_credit_notes_amount", "post_payment_credit_notes_amount",
    "attempt_count", "version",
)  # fmt: skip
TIMES = (
    "created", "finalized_at", "sent_at", "paid_at", "voided_at", "marked_uncollectible_at",
)  # fmt: skip
WORDS = (
    "id", "number", "status", "currency", "subscription", "collection_method", "tax_rounding",
    "description", "footer",
)  # fmt: skip
DAYS = ("issued_on", "due_date", "period_start", "period_end")


@CREDITED
@WITHDRAWN
@given(lives_of_money, gaps)
def test_a_row_says_of_an_invoice_what_the_domain_says(facts: Facts, apart: list[int]) -> None:
    history = recorded(facts, apart)
    seen = view_invoice(history)
    rows = made(plain(history)) if history else {}
    if seen is None:
        assert not any(rows.values())
        return
    row = one(rows["invoices"])
    for name in AMOUNTS:
        assert row[name] == getattr(seen, name), name
        assert type(row[name]) is int
    for name in TIMES:
        assert moment(row[name]) == getattr(seen, name), name
    for name in WORDS:
        said = getattr(seen, name)
        assert row[name] == (None if said is None else str(said)), name
    for name in DAYS:
        day = getattr(seen, name)
        assert row[name] == (None if day is None else day.isoformat()), name
    assert Customer.model_validate_json(row["customer"]) == seen.customer
    assert row["customer_id"] == seen.customer.id
    seller = None if row["seller"] is None else Seller.model_validate_json(row["seller"])
    assert seller == seen.seller
    discount = None if row["discount"] is None else Discount.model_validate_json(row["discount"])
    assert discount == seen.discount
    groups = tuple(TaxGroup.model_validate(group) for group in json.loads(row["tax_groups"]))
    assert groups == seen.tax_groups
    assert json.loads(row["metadata"]) == seen.metadata
    state = fold(facts)
    assert row["series"] == (state.document.series if isinstance(state, Issued) else None)


@given(histories(), gaps)
def test_the_lines_and_the_metadata_are_those_of_the_domain(facts: Facts, apart: list[int]) -> None:
    history = recorded(facts, apart)
    seen = view_invoice(history)
    if seen is None:
        return
    rows = made(plain(history))
    assert [row["place"] for row in rows["lines"]] == list(range(1, len(seen.lines) + 1))
    for row, line in zip(rows["lines"], seen.lines, strict=True):
        assert (row["id"], row["description"]) == (line.id, line.description)
        assert (Decimal(row["quantity"]), Decimal(row["unit_price"])) == (
            line.quantity,
            line.unit_price,
        )
        assert (row["discounted"], row["amount"], row["net"]) == (
            line.discount_amount,
            line.amount,
            line.net,
        )
        assert Decimal(row["tax_rate"]) == line.tax.rate
        assert row["tax_category"] == str(line.tax.category)
        assert row["tax_exemption_reason"] == line.tax.exemption_reason
        assert row["tax_inclusive"] is not True
        assert bool(row["tax_inclusive"]) == line.tax.inclusive
        percent, amount = row["discount_percent"], row["discount_amount"]
        assert (percent and Decimal(percent)) == (line.discount and line.discount.percent)
        assert (amount and Decimal(amount)) == (line.discount and line.discount.amount)
    assert {row["name"]: row["value"] for row in rows["invoice_metadata"]} == seen.metadata
    assert one(rows["invoice_counts"])["status"] == seen.status


@CREDITED
@WITHDRAWN
@given(lives_of_money, gaps)
def test_every_payment_and_every_refund_has_its_row(facts: Facts, apart: list[int]) -> None:
    history = recorded(facts, apart)
    rows = made(plain(history)) if history else {"payments": [], "refunds": []}
    at = [(each.fact, each.envelope.recorded_at) for each in history]
    expected: dict[str, dict[str, object]] = {}
    refunds: dict[str, dict[str, object]] = {}
    back: dict[str, PaymentRefunded] = {}
    for fact, when in at:
        match fact:
            case PaymentAttempted():
                expected[fact.payment] = {
                    "status": "processing",
                    "amount": fact.amount,
                    "surplus": 0,
                    "processor": fact.processor,
                    "payment_method": fact.payment_method,
                    "created": when,
                }
            case PaymentActionRequired():
                expected[fact.payment] |= {"status": "requires_action", "intent": fact.intent}
            case PaymentFailed():
                expected[fact.payment] |= {
                    "status": "failed",
                    "failure_code": fact.code,
                    "failure_message": fact.message,
                    "ended_at": when,
                }
            case PaymentSucceeded():
                expected.setdefault(fact.payment, {"created": when})
                expected[fact.payment] |= {
                    "status": "succeeded",
                    "amount": fact.amount,
                    "surplus": fact.surplus,
                    "processor": fact.processor,
                    "reference": fact.reference,
                    "failure_code": None,
                    "failure_message": None,
                    "ended_at": when,
                }
            case RefundAttempted():
                refunds[fact.refund] = {
                    **dict.fromkeys(("reference", "failure_code", "failure_message", "ended_at")),
                    "payment": fact.payment,
                    "status": "pending",
                    "amount": fact.amount,
                    "reopened": 0,
                    "reason": fact.reason,
                    "created": when,
                }
            case RefundFailed():
                back.pop(fact.refund, None)
                refunds[fact.refund] |= {
                    "status": "failed",
                    "reopened": 0,
                    "reference": None,
                    "failure_code": fact.code,
                    "failure_message": fact.message,
                    "ended_at": when,
                }
            case PaymentRefunded():
                back[fact.refund] = fact
                refunds.setdefault(fact.refund, {"created": when})
                refunds[fact.refund] |= {
                    "payment": fact.payment,
                    "status": "succeeded",
                    "amount": fact.amount,
                    "reopened": fact.reopened,
                    "reason": fact.reason,
                    "reference": fact.reference,
                    "failure_code": None,
                    "failure_message": None,
                    "ended_at": when,
                }
            case _:
                pass
    found = {row["id"]: row for row in rows["payments"]}
    assert found.keys() == expected.keys()
    for name, said in expected.items():
        row = {**found[name], "created": moment(found[name]["created"])}
        row["ended_at"] = moment(row["ended_at"])
        for column, value in said.items():
            assert row[column] == value, column
        assert row["refunded"] == sum(one.amount for one in back.values() if one.payment == name)
    times = ("created", "ended_at")
    assert {
        row["id"]: {
            name: moment(row[name]) if name in times else row[name] for name in refunds[row["id"]]
        }
        for row in rows["refunds"]
    } == refunds


# --- the books ------------------------------------------------------------------------------


def books(invoice: Invoice | None) -> dict[str, int]:
    """What the accounts must come to, debits positive, worked out from the domain's own state."""
    if not isinstance(invoice, Issued):
        return {}
    received = sum(payment.amount for payment in invoice.payments)
    settled = sum(news.settled for news in invoice.reconciled)
    settled -= sum(payment.settled_before for payment in invoice.payments)
    cash = received - sum(refund.amount for refund in invoice.refunds) + settled
    if invoice.status is Status.VOID:
        return _there(cash=cash, credit=-cash)
    totals, applied = invoice.document.totals, invoice.credits
    surplus = sum(payment.surplus for payment in invoice.payments)
    surplus -= sum(refund.amount - refund.reopened for refund in invoice.refunds)
    surplus += sum(failure.surplus for failure in invoice.refund_failures)
    left = invoice.amount_remaining
    lost = invoice.status is Status.UNCOLLECTIBLE
    tax = totals.tax - sum(one.credit.tax for one in applied)
    return _there(
        receivable=0 if lost else left,
        bad_debt=left if lost else 0,
        cash=cash,
        tax=-tax,
        revenue=-(totals.total - sum(one.credit.total for one in applied) - tax),
        credit=-(surplus + sum(one.credit.total - one.before_payment for one in applied)),
    )


def _there(**accounts: int) -> dict[str, int]:
    return {name: amount for name, amount in accounts.items() if amount}


def balances(entries: Sequence[Named]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for entry in entries:
        sums[entry["account"]] += entry["debit"] - entry["credit"]
    return {name: amount for name, amount in sums.items() if amount}


@CREDITED
@WITHDRAWN
@given(lives_of_money, gaps)
def test_after_every_fact_debits_are_credits_and_the_accounts_say_what_the_invoice_says(
    facts: Facts, apart: list[int]
) -> None:
    history = recorded(facts, apart)
    entries = made(plain(history))["journal"] if history else []
    for entry in entries:
        assert (entry["debit"] > 0) != (entry["credit"] > 0)
        assert min(entry["debit"], entry["credit"]) == 0
    for version in range(1, len(facts) + 1):
        now = [entry for entry in entries if entry["version"] == version]
        assert sum(e["debit"] for e in now) == sum(e["credit"] for e in now)
        assert {e["currency"] for e in now} <= {history[0].fact.currency}
        upto = [entry for entry in entries if entry["version"] <= version]
        assert balances(upto) == books(fold(facts[:version])), facts[version - 1]
        # What was written once is never written otherwise because of what comes later.
        assert made(plain(history[:version]))["journal"] == upto


@CREDITED
@WITHDRAWN
@given(lives_of_money, gaps)
def test_at_every_moment_the_debts_that_stand_are_the_receivable(
    facts: Facts, apart: list[int]
) -> None:
    history = recorded(facts, apart)
    if not history:
        return
    rows = made(plain(history))
    moments = {microseconds(each.envelope.recorded_at) for each in history}
    for at in sorted({*moments, *(m - 1 for m in moments), *(m + 1 for m in moments)}):
        owed = sum(row["owed"] for row in rows["ageing"] if row["since"] <= at < row["until"])
        journal = [e for e in rows["journal"] if e["account"] == "receivable" and e["at"] <= at]
        assert owed == sum(e["debit"] - e["credit"] for e in journal)


@CREDITED
@WITHDRAWN
@given(lives_of_money, gaps)
def test_a_customer_owes_and_has_paid_what_the_invoice_says(facts: Facts, apart: list[int]) -> None:
    history = recorded(facts, apart)
    rows = made(plain(history)) if history else {"customers": []}
    state = fold(facts)
    if not isinstance(state, Issued):
        assert rows["customers"] == []
        return
    row, status = one(rows["customers"]), state.status
    assert row["open"] == (state.amount_remaining if status is Status.OPEN else 0)
    assert row["uncollectible"] == (state.amount_remaining if status is Status.UNCOLLECTIBLE else 0)
    assert row["paid"] == state.amount_paid
    assert row["invoiced"] == (0 if status is Status.VOID else state.document.totals.total)
    assert row["credit"] == -books(state).get("credit", 0)


@given(histories(), gaps, st.data())
def test_what_a_stream_changes_is_what_differs(
    facts: Facts, apart: list[int], data: st.DataObject
) -> None:
    """Changes applied in any pieces come to the rows of the whole."""
    from counterfoil.projections.projection import changes

    history = plain(recorded(facts, apart)) if facts else None
    if history is None:
        return
    cuts = data.draw(st.sets(st.integers(1, len(facts)))) | {len(facts)}
    kept: dict[str, dict[tuple[object, ...], tuple[object, ...]]] = defaultdict(dict)
    counts: Counter[tuple[object, ...]] = Counter()
    before = None
    for cut in sorted(cuts):
        after = History("a", INVOICE, history.facts[:cut])
        for table, insert, write, delete, add in changes(
            tuple(PROJECTIONS.values()), before, after
        ):
            for key in delete:
                del kept[table.name][key]
            assert not kept[table.name].keys() & {table.key_of(row) for row in insert}
            assert kept[table.name].keys() >= {table.key_of(row) for row in write}
            for row in (*insert, *write):
                kept[table.name][table.key_of(row)] = row
            for row in add:
                counts[row[:-1]] += cast("int", row[-1])
        before = after
    whole = dict(rows_of(tuple(PROJECTIONS.values()), history))
    for table, rows in whole.items():
        if table.adds:
            assert sorted((*key, count) for key, count in counts.items() if count) == [*rows]
        else:
            assert kept[table.name] == {table.key_of(row): row for row in rows}


# --- databases ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, World]]:
    """Both databases, each once with inline and once with async read models."""
    folder = tmp_path_factory.mktemp("everywhere")
    server = request.getfixturevalue("postgres_url")
    with ExitStack() as stack:
        found = {}
        for mode in ("inline", "async"):
            url = stack.enter_context(postgres.ready(server))
            found[f"postgres {mode}"] = stack.enter_context(worlds.opened(url, mode))
            file = worlds.sqlite(folder, f"{mode}.db")
            found[f"sqlite {mode}"] = stack.enter_context(worlds.opened(file, mode))
        yield found


_LIVES = iter(range(1_000_000))


# Each example lives in four databases, all of which are rebuilt.
@settings(
    max_examples=max(3, settings().max_examples // 7),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(worlds.lives, st.integers(1, 9), st.integers(3, 40))
def test_inline_async_and_rebuilt_rows_are_the_same_in_both_databases(
    everywhere: Mapping[str, World], life: Sequence[Step], every: int, page: int
) -> None:
    prefix = f"t{next(_LIVES)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeping, "PAGE", page)
        for world in everywhere.values():
            for place, step in enumerate(life):
                world.happen(step, prefix)
                if place % every == 0:
                    world.billing.projections.step()
            world.billing.projections.run()
    dumps = {name: worlds.dump(world) for name, world in everywhere.items()}
    expected = dumps["sqlite inline"]
    for name, found in dumps.items():
        for table, rows in found.items():
            assert rows == expected[table], (name, table)
    for name, world in everywhere.items():
        assert worlds.differences(world) == [], name
        world.billing.projections.rebuild()
        assert worlds.dump(world) == expected, name
    _hold_sums(everywhere["postgres inline"])


def _hold_sums(world: World) -> None:
    """What must add up over all documents of a tenant."""
    unequal = worlds.rows(
        world,
        "SELECT tenant, invoice, version, currency FROM journal GROUP BY tenant, invoice, version,"
        " currency HAVING sum(debit) <> sum(credit)",
    )
    assert unequal == []
    counted = worlds.rows(
        world,
        "SELECT tenant, status, sum(count)::bigint FROM invoice_counts GROUP BY tenant, status"
        " HAVING sum(count) <> 0 ORDER BY tenant, status",
    )
    assert counted == worlds.rows(
        world,
        "SELECT tenant, status, count(*) FROM invoices GROUP BY tenant, status"
        " ORDER BY tenant, status",
    )


@settings(max_examples=10)
@given(worlds.lives)
def test_credit_notes_and_series_say_what_the_domain_says(life: Sequence[Step]) -> None:
    with worlds.opened(":memory:") as world:
        world.live(life)
        notes = worlds.rows(world, "SELECT * FROM credit_notes")
        names = next(table.names for _, table in worlds.TABLES if table.name == "credit_notes")
        assert len(notes) == sum(map(len, world.notes.values()))
        for row in (dict(zip(names, cells, strict=True)) for cells in notes):
            _hold_note(world, row)
        for tenant, stream in worlds.rows(world, "SELECT DISTINCT tenant, stream FROM series"):
            places = worlds.rows(
                world,
                "SELECT place, number FROM series WHERE tenant = :t AND stream = :s ORDER BY place",
                {"t": tenant, "s": stream},
            )
            assert [place for place, _ in places] == list(range(1, len(places) + 1))
            assert [str(number)[-4:] for _, number in places] == [
                f"{place:04d}" for place, _ in places
            ]
        used = worlds.rows(world, "SELECT tenant, document, number FROM series ORDER BY 1, 2")
        assert used == sorted(
            worlds.rows(world, "SELECT tenant, id, number FROM invoices WHERE number IS NOT NULL")
            + worlds.rows(world, "SELECT tenant, id, number FROM credit_notes")
        )


def _hold_note(world: World, row: Named) -> None:
    facts = world.billing.log.read(row["tenant"], row["id"])
    seen = view_credit_note(cast("Sequence[Recorded[CreditNoteEvent]]", facts))
    assert seen is not None
    for name in ("subtotal", "tax", "total", "pre_payment_amount", "post_payment_amount"):
        assert row[name] == getattr(seen, name), name
    for name in ("refund", "customer_credit", "out_of_band", "version", "number", "currency"):
        assert row[name] == getattr(seen, name), name
    for name in ("invoice", "invoice_number", "reason", "id"):
        assert row[name] == getattr(seen, name), name
    assert row["status"] == seen.status
    assert row["issued_on"] == seen.issued_on.isoformat()
    assert (moment(row["created"]), moment(row["voided_at"])) == (seen.created, seen.voided_at)
    assert json.loads(row["customer"]) == seen.customer.model_dump(mode="json")
    assert json.loads(row["seller"]) == seen.seller.model_dump(mode="json")
    assert row["customer_id"] == seen.customer.id
    assert json.loads(row["lines"]) == [line.model_dump(mode="json") for line in seen.lines]
    assert json.loads(row["tax_groups"]) == [g.model_dump(mode="json") for g in seen.tax_groups]


@settings(max_examples=5)
@given(worlds.lives)
def test_the_front_door_answers_what_the_tables_hold(life: Sequence[Step]) -> None:
    with worlds.opened(":memory:") as world:
        world.live(life)
        for tenant, ids in world.invoices.items():
            for id in ids:
                facts = world.billing.log.read(tenant, id)
                seen = view_invoice(cast("Sequence[Recorded[InvoiceEvent]]", facts))
                found = worlds.rows(
                    world,
                    "SELECT status, amount_remaining, version FROM invoices"
                    " WHERE tenant = :tenant AND id = :id",
                    {"tenant": tenant, "id": id},
                )
                said = [] if seen is None else [(seen.status, seen.amount_remaining, seen.version)]
                assert found == said
