"""What every event log must do, whichever database is behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import Conflict
from counterfoil.domain.invoice.events import InvoiceVoided, MetadataSet
from counterfoil.domain.ports import Append, Claim, Origin, Stream
from golden_facts import FACTS
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from counterfoil.domain.value import Event

AT = datetime(2026, 11, 20, 12, 0, 0, 1, tzinfo=UTC)
ORIGIN = Origin(
    recorded_at=AT,
    actor=Actor(type="user", id="u_42"),
    command_id="cmd_1",
    causation_id="evt_1",
    correlation_id="4bf92f3577b34da6",
)
ONE, TWO, THREE = (MetadataSet(metadata={"n": str(number)}) for number in (1, 2, 3))


Log = SQLiteLog | PostgresLog


@pytest.fixture(params=["memory", "sqlite", "postgres", "postgres, one commit"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    match request.param:
        case "memory":
            opened: Log = SQLiteLog(":memory:")
        case "sqlite":
            opened = SQLiteLog(str(tmp_path / "log.db"))
        case kind:
            server: str = request.getfixturevalue("postgres_url")
            with postgres.ready(server) as url:
                opened = PostgresLog(url, early_lock_release=kind == "postgres")
                yield opened
                opened.close()
            return
    yield opened
    opened.close()


def append(
    log: Log, stream: str, *facts: Event, tenant: str = "acme", claim: Claim | None = None
) -> None:
    with log.transaction(tenant) as transaction:
        transaction.append([Append(transaction.read(stream), facts)], ORIGIN, claim)


def test_a_stream_that_does_not_exist_is_empty(log: Log) -> None:
    assert log.read("acme", "in_1") == []
    with log.transaction("acme") as transaction:
        assert transaction.read("in_1") == Stream("in_1", [], 0, GENESIS)
        assert transaction.take("in_1") == Stream("in_1", [], 0, GENESIS)


def test_facts_are_read_back_in_order_with_their_envelopes(log: Log) -> None:
    append(log, "in_1", *FACTS)
    recorded = log.read("acme", "in_1")
    assert [one.fact for one in recorded] == list(FACTS)
    assert [one.envelope.version for one in recorded] == list(range(1, len(FACTS) + 1))
    at = recorded[3].envelope
    assert (at.tenant, at.stream, at.type) == ("acme", "in_1", FACTS[3].stored_as)
    assert (at.recorded_at, at.actor, at.command_id) == (AT, ORIGIN.actor, "cmd_1")
    assert (at.causation_id, at.correlation_id) == ("evt_1", "4bf92f3577b34da6")


def test_a_stream_is_read_as_far_as_a_version(log: Log) -> None:
    append(log, "in_1", ONE, TWO, THREE)
    assert [one.fact for one in log.read("acme", "in_1", upto=2)] == [ONE, TWO]


def test_the_ends_of_a_stream_are_its_first_and_its_last_fact(log: Log) -> None:
    append(log, "in_1", ONE)
    with log.transaction("acme") as transaction:
        assert transaction.take("in_1") == transaction.read("in_1")
    append(log, "in_1", TWO, THREE)
    with log.transaction("acme") as transaction:
        whole, ends = transaction.read("in_1"), transaction.take("in_1")
    assert ends.facts == [ONE, THREE]
    assert (ends.version, ends.head) == (whole.version, whole.head) == (3, whole.head)


def test_the_log_is_read_in_pages_each_fact_once(log: Log) -> None:
    append(log, "in_1", ONE, TWO)
    append(log, "in_2", THREE, tenant="other")
    first = log.since(0, limit=2)
    rest = log.since(first[-1].envelope.position, limit=2)
    assert [one.fact for one in (*first, *rest)] == [ONE, TWO, THREE]
    positions = [one.envelope.position for one in (*first, *rest)]
    assert all(before < after for before, after in pairwise(positions))
    assert log.since(positions[-1], limit=2) == []


def test_one_append_of_several_streams_is_stored_whole_or_not_at_all(log: Log) -> None:
    append(log, "in_2", ONE)
    fresh, stale = Stream("in_1", [], 0, GENESIS), Stream("in_2", [], 0, GENESIS)
    both = [Append(fresh, [ONE, TWO]), Append(stale, [TWO])]
    with pytest.raises(Conflict), log.transaction("acme") as transaction:
        transaction.append(both, ORIGIN, None)
    assert log.read("acme", "in_1") == []
    assert [one.fact for one in log.read("acme", "in_2")] == [ONE]


def test_an_error_in_a_unit_of_work_undoes_it(log: Log) -> None:
    def fail() -> None:
        with log.transaction("acme") as transaction:
            transaction.take("in_1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(log.since(0, limit=10)) == []
    append(log, "in_1", TWO)
    assert [one.fact for one in log.since(0, limit=10)] == [TWO]


def test_a_version_that_is_taken_is_a_conflict(log: Log) -> None:
    with log.transaction("acme") as transaction:
        stale = transaction.read("in_1")
    append(log, "in_1", ONE)
    with pytest.raises(Conflict), log.transaction("acme") as transaction:
        transaction.append([Append(stale, [TWO])], ORIGIN, None)
    assert [one.fact for one in log.read("acme", "in_1")] == [ONE]


def test_a_claim_is_kept_with_the_facts_of_its_command(log: Log) -> None:
    claim = Claim(b"f" * 32, "in_1", 1)
    append(log, "in_1", ONE, claim=claim)
    with log.transaction("acme") as transaction:
        assert transaction.claimed("cmd_1") == claim
        assert transaction.claimed("cmd_2") is None


def test_a_command_id_is_claimed_once(log: Log) -> None:
    append(log, "in_1", ONE, claim=Claim(b"f" * 32, "in_1", 1))
    with pytest.raises(Conflict):
        append(log, "in_1", TWO, claim=Claim(b"g" * 32, "in_1", 2))
    assert [one.fact for one in log.read("acme", "in_1")] == [ONE]


def test_nothing_crosses_from_one_tenant_to_another(log: Log) -> None:
    claim = Claim(b"f" * 32, "in_1", 1)
    append(log, "in_1", ONE, tenant="acme", claim=claim)
    append(log, "in_1", TWO, tenant="other", claim=claim)
    assert [one.fact for one in log.read("acme", "in_1")] == [ONE]
    assert [one.fact for one in log.read("other", "in_1")] == [TWO]
    with log.transaction("third") as transaction:
        assert transaction.claimed("cmd_1") is None


def test_every_hash_covers_the_one_before_it(log: Log) -> None:
    append(log, "in_1", ONE)
    append(log, "in_1", TWO, THREE)
    previous = GENESIS
    for row in log.rows_since(0, limit=10):
        assert row.hash == link(previous, row)
        previous = row.hash


def test_text_of_any_script_survives_byte_for_byte(log: Log) -> None:
    fact = InvoiceVoided(reason="愛 آدا \"quoted\" 'single' \\ \t\n\r 🧾 \u202e \ufeff")
    append(log, "in_1", fact)
    assert [one.fact for one in log.read("acme", "in_1")] == [fact]
