"""Is every fact counted once, in its own bucket, and every sum of money what the facts moved?"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from counterfoil.billing import actor
from counterfoil.domain.errors import Malformed
from projections import worlds
from projections.worlds import NOON, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from counterfoil.domain.envelope import Recorded
    from projections.worlds import World
    from support.databases import Place

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia")
DRAFT = Step(0, "draft", 0, 0)


def busily(world: World) -> None:
    """Two tenants, busy for weeks at all hours, by several hands."""
    for place, step in enumerate(worlds.FULL_LIFE):
        with actor(("user", "service")[place % 2], f"u_{place % 3}"):
            world.happen(step)
        world.clock.now += timedelta(hours=7, minutes=13)


@pytest.fixture
def busy(place: Place) -> Iterator[World]:
    with worlds.after(busily, place) as opened:
        yield opened


def facts(world: World, tenant: str) -> Sequence[Recorded[Any]]:
    return [one for one in world.billing.log.since(0, limit=9999) if one.envelope.tenant == tenant]


def day(recorded: Recorded[Any], zone: str) -> str:
    return recorded.envelope.recorded_at.astimezone(ZoneInfo(zone)).date().isoformat()


@pytest.mark.parametrize("zone", ZONES)
def test_every_fact_is_counted_in_its_day_by_type_and_by_actor(busy: World, zone: str) -> None:
    for tenant in ("a", "b"):
        buckets = busy.billing.tenant(tenant).activity(timezone=zone)
        told = facts(busy, tenant)
        for name, of in (("types", _type), ("actors", _actor)):
            expected = Counter((day(one, zone), of(one)) for one in told)
            found = {(b.name, key): n for b in buckets for key, n in getattr(b, name).items()}
            assert found == expected
        assert sum(bucket.facts for bucket in buckets) == len(told)
        days = [date.fromisoformat(bucket.name) for bucket in buckets]
        gapless = [days[0] + timedelta(days=place) for place in range(len(days))]
        assert days == gapless


def _type(one: Recorded[Any]) -> str:
    return one.envelope.type.rpartition(".")[0]


def _actor(one: Recorded[Any]) -> str:
    return f"{one.envelope.actor.type.value}:{one.envelope.actor.id}"


def test_money_is_summed_by_what_the_facts_say(busy: World) -> None:
    tenant = busy.billing.tenant("a")
    expected: Counter[tuple[str, str]] = Counter()
    currency: dict[str, str] = {}
    went: dict[str, int] = {}
    for one in facts(busy, "a"):
        stream, fact = one.envelope.stream, one.fact
        match _type(one):
            case "invoice.drafted":
                currency[stream] = fact.currency
            case "invoice.finalized":
                expected[currency[stream], "invoiced"] += fact.totals.total
            case "invoice.payment_succeeded":
                expected[currency[stream], "received"] += fact.amount - fact.settled_before
            case "invoice.reconciled":
                expected[currency[stream], "received"] += fact.settled
            case "invoice.payment_refunded":
                expected[currency[stream], "refunded"] += fact.amount
                went[fact.refund] = fact.amount
            case "invoice.refund_failed":  # after it went, it came back
                expected[currency[stream], "refunded"] -= went.pop(fact.refund, 0)
            case "invoice.credit_applied":
                expected[currency[stream], "credited"] += fact.credit.total
            case "invoice.credit_withdrawn":
                (back,) = (
                    other.fact.credit.total
                    for other in facts(busy, "a")
                    if getattr(other.fact, "credit_note", None) == fact.credit_note
                    and _type(other) == "invoice.credit_applied"
                )
                expected[currency[stream], "credited"] -= back
            case _:
                pass
    voided = [one.id for one in tenant.invoices.all(status="void")]
    for one in facts(busy, "a"):
        if _type(one) == "invoice.finalized" and one.envelope.stream in voided:
            expected[currency[one.envelope.stream], "voided"] += one.fact.totals.total
    for bucket in ("day", "week", "month"):
        found: Counter[tuple[str, str]] = Counter()
        for made in tenant.activity(bucket=bucket):
            for code, sums in made.sums.items():
                found.update({(code, name): amount for name, amount in sums})
        assert {key: amount for key, amount in found.items() if amount} == {
            key: amount for key, amount in expected.items() if amount
        }
    assert {"invoiced", "received", "refunded", "credited", "voided"} == {
        name for (_, name), amount in expected.items() if amount
    }


def test_what_is_asked_narrows_what_is_counted(busy: World) -> None:
    tenant, told = busy.billing.tenant("a"), facts(busy, "a")
    asked = tenant.activity(type="invoice.finalized")
    finalized = sum(_type(one) == "invoice.finalized" for one in told)
    assert sum(b.types.get("invoice.finalized", 0) for b in asked) == finalized > 2
    assert sum(b.facts for b in asked) == finalized
    assert {name for b in asked for sums in b.sums.values() for name, n in sums if n} == {
        "invoiced"
    }
    two = tenant.activity(type=["invoice.sent", "invoice.voided"])
    assert {name for b in two for name in b.types} == {"invoice.sent", "invoice.voided"}
    users = sum(b.facts for b in tenant.activity(actor="user"))
    assert users == sum(_actor(one).startswith("user:") for one in told) > 0
    one = sum(b.facts for b in tenant.activity(actor="user:u_2"))
    assert one == sum(_actor(each) == "user:u_2" for each in told) > 0
    by_currency = [
        sum(b.facts for b in tenant.activity(currency=code)) for code in ("EUR", "USD", "JPY")
    ]
    assert by_currency[0] > by_currency[1] > by_currency[2] == 0
    assert {code for b in tenant.activity(currency="USD") for code in b.sums} == {"USD"}


# --- when -------------------------------------------------------------------------------------


def at(world: World, moment: datetime) -> None:
    world.clock.now = moment.astimezone(UTC)
    world.happen(DRAFT)


def counts(world: World, **asked: Any) -> dict[str, int]:
    return {one.name: one.facts for one in world.billing.tenant("a").activity(**asked)}


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25)])
def test_a_day_on_which_clocks_change_holds_its_hours_and_no_others(
    world: World, day: date, hours: int
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(day.year, day.month, day.day, tzinfo=berlin).astimezone(UTC)
    for hour in range(-1, hours + 1):
        at(world, midnight + timedelta(hours=hour))
    at(world, midnight + timedelta(hours=hours, microseconds=-1))
    found = counts(world, timezone="Europe/Berlin")
    one = timedelta(days=1)
    assert found == {str(day - one): 1, str(day): hours + 1, str(day + one): 1}
    (bucket,) = world.billing.tenant("a").activity(
        since=day, until=day + one, timezone="Europe/Berlin"
    )
    length = bucket.end.astimezone(UTC) - bucket.start.astimezone(UTC)
    assert (length, bucket.facts) == (timedelta(hours=hours), hours + 1)


def test_the_first_moment_counts_and_the_last_does_not(world: World) -> None:
    for moment in (NOON - timedelta(microseconds=1), NOON, NOON + timedelta(hours=1)):
        at(world, moment)
    assert counts(world, since=NOON, until=NOON + timedelta(hours=1)) == {"2026-11-20": 1}
    assert counts(world, since=date(2026, 11, 20), until=date(2026, 11, 21)) == {"2026-11-20": 3}
    assert counts(world, since=date(2026, 11, 21), until=date(2026, 11, 23)) == {
        "2026-11-21": 0,
        "2026-11-22": 0,
    }
    assert counts(world, since=NOON, until=NOON) == {}


def test_weeks_are_those_of_iso_8601(world: World) -> None:
    for moment in (datetime(2020, 12, 28), datetime(2021, 1, 3, 23, 59), datetime(2021, 1, 4)):  # noqa: DTZ001
        at(world, moment.replace(tzinfo=UTC))
    world.clock.now = datetime(2021, 1, 20, tzinfo=UTC)
    assert counts(world, bucket="week") == {
        "2020-W53": 2,
        "2021-W01": 1,
        "2021-W02": 0,
        "2021-W03": 0,
    }


def test_months_are_as_long_as_they_are_and_empty_ones_are_there(world: World) -> None:
    at(world, datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    at(world, datetime(2026, 4, 1, tzinfo=UTC))
    assert counts(world, bucket="month") == {
        "2026-01": 1, "2026-02": 0, "2026-03": 0, "2026-04": 1,
    }  # fmt: skip
    assert counts(world, bucket="month", timezone="Europe/Berlin") == {
        "2026-02": 1, "2026-03": 0, "2026-04": 1,
    }  # fmt: skip


def test_nothing_that_happened_makes_no_buckets(world: World) -> None:
    assert counts(world) == {}
    assert counts(world, since=date(2026, 1, 1), until=date(2026, 1, 3)) == {
        "2026-01-01": 0,
        "2026-01-02": 0,
    }


def test_where_read_models_follow_behind_all_is_as_of_one_fact(database: str) -> None:
    with worlds.opened(database, "async") as world:
        world.live(worlds.FULL_LIFE[:20])
        assert sum(counts(world).values()) == 0
        world.billing.projections.run()
        known = counts(world)
        world.live(worlds.FULL_LIFE[20:])
        assert sum(counts(world).values()) == sum(known.values())
        world.billing.projections.run()
        tenants = [sum(b.facts for b in world.billing.tenant(t).activity()) for t in ("a", "b")]
        assert sum(tenants) == len(world.billing.log.since(0, limit=9999))


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"bucket": "year"}, "bucket"),
        ({"since": NOON.replace(tzinfo=None)}, "since"),
        ({"until": "2026-11-20"}, "until"),
        ({"since": date(1, 1, 1)}, "since"),
        ({"type": "invoice.teleported"}, "type"),
        ({"type": ["invoice.sent", 5]}, "type"),
        ({"actor": "alien"}, "actor"),
        ({"actor": ""}, "actor"),
        ({"currency": "EURO"}, "currency"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(
    world: World, asked: dict[str, Any], field: str
) -> None:
    world.happen(DRAFT)
    with pytest.raises(Malformed) as refused:
        counts(world, **asked)
    assert refused.value.field == field
