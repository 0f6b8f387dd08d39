"""Do the same facts, played into another database, make the same tables, and other rules others?"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, cast

import psycopg
import pytest
from hypothesis import given, settings

from counterfoil.adapters.cli.main import DOES_NOT_HOLD, HOLDS, MISUSED, main
from counterfoil.adapters.replay import playing, supposing
from counterfoil.adapters.replay.rules import RULES
from counterfoil.billing import Billing, Invoice
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import (
    CorruptHistory,
    Malformed,
    RebuildNeeded,
    SchemaMissing,
)
from counterfoil.projections import comparing
from counterfoil.projections.invoice import view_invoice
from projections import worlds
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from counterfoil.adapters.replay import Differing
    from counterfoil.domain.envelope import Recorded
    from counterfoil.domain.invoice.events import InvoiceEvent
    from counterfoil.projections.progress import Progress
    from projections.worlds import Step, World

FOLDER = Path(__file__).parent
KINDS = ("sqlite", "postgres")
OTHER = {"sqlite": "postgres", "postgres": "sqlite"}
FACTS = "SELECT * FROM facts ORDER BY position"
CLAIMS = "SELECT * FROM claims ORDER BY tenant, command_id"


@contextmanager
def database(kind: str, server: str) -> Iterator[str]:
    """An empty database of a kind, ready to be played into."""
    if kind == "postgres":
        with postgres.ready(server) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield str(Path(folder) / "counterfoil.db")


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, postgres_url: str, tmp_path: Path) -> Iterator[World]:
    """A database of each kind in which everything has happened."""
    place = tmp_path if request.param == "sqlite" else postgres_url
    with worlds.after(worlds.full, place) as opened:
        yield opened


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[World]:
    """A file in which everything has happened."""
    with worlds.after(worlds.full, tmp_path) as opened:
        yield opened


def everything(world: World) -> tuple[object, ...]:
    """All that a database holds."""
    return worlds.rows(world, FACTS), worlds.rows(world, CLAIMS), worlds.dump(world)


# --- the same facts, the same tables ------------------------------------------------------------


# Each example fills four databases.
@settings(max_examples=max(2, settings().max_examples // 15))
@given(life=worlds.lives)
def test_a_replay_into_the_other_kind_of_database_gives_equal_tables(
    postgres_url: str, life: Sequence[Step]
) -> None:
    for kind, other in OTHER.items():
        with ExitStack() as stack:
            url, into = (stack.enter_context(database(one, postgres_url)) for one in (kind, other))
            world = stack.enter_context(worlds.opened(url))
            world.live(life)
            acme = world.billing.tenant("a")
            once = acme.draft_invoice(
                customer=worlds.CUSTOMERS[0], currency="EUR", command_id="once"
            )
            done = world.billing.audit.replay(into=into)
            assert (done.holds, done.differences, done.claims) == (True, (), 1)
            there = stack.enter_context(worlds.opened(into))
            assert everything(there) == everything(world)
            assert there.billing.audit.verify() == world.billing.audit.verify()
            assert there.billing.audit.verify().holds
            assert worlds.differences(there) == []
            # It is a database like any other: it knows what was asked, and goes on.
            again = there.billing.tenant("a").draft_invoice(
                customer=worlds.CUSTOMERS[0], currency="EUR", command_id="once"
            )
            assert again == once
            for one in (world, there):
                one.billing.tenant("a").add_line(
                    once.id, **dict(worlds._line(1, "more")), id="li_x"
                )
            assert worlds.dump(there) == worlds.dump(world)


@pytest.mark.parametrize("page", [1, 7])
def test_pages_of_any_size_and_streams_that_go_on_much_later_are_the_same(
    world: World, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playing, "PAGE", page)
    monkeypatch.setattr(playing, "HEADS_KEPT", 2)
    monkeypatch.setattr(comparing, "PAGE", page)
    with tempfile.TemporaryDirectory() as folder:
        into = str(Path(folder) / "replayed.db")
        done = world.billing.audit.replay(into=into)
        assert done.holds
        assert all(one.rows == one.replayed for one in done.compared)
        with worlds.opened(into) as there:
            assert everything(there) == everything(world)


def test_what_is_written_meanwhile_is_played_and_compared_too(world: World) -> None:
    written: list[str] = []

    def watch(progress: Progress) -> None:
        if progress.phase in {"index", "compare"} and len(written) < 3:
            draft = world.billing.tenant("a").draft_invoice(
                customer=worlds.CUSTOMERS[1], currency="EUR"
            )
            written.append(draft.id)

    before = len(worlds.rows(world, FACTS))
    done = world.billing.audit.replay(watch=watch)
    assert done.holds
    assert before < done.facts <= before + 3
    assert len(written) == 3


def test_read_models_that_follow_behind_are_compared_where_they_are(world: World) -> None:
    world.billing.projections.keep("async")
    world.live(worlds.BEGINNING)
    assert world.billing.projections.status()[0].lag == 10
    end = len(worlds.rows(world, FACTS))
    done = world.billing.audit.replay()
    assert (done.holds, done.facts) == (True, end)
    # Some are further than others, and one says that it is where it is not.
    worlds.execute(world, "UPDATE projections SET position = position + 1 WHERE name = 'series'")
    assert world.billing.audit.replay().holds
    worlds.execute(world, "UPDATE projections SET position = position + 9 WHERE name = 'invoices'")
    done = world.billing.audit.replay()
    assert {one.table for one in done.differences} >= {"invoices", "invoice_counts"}
    assert {one.projection for one in done.differences} == {"invoices"}


def test_a_throw_away_database_is_thrown_away(
    lived: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    seen: list[int] = []
    assert lived.billing.audit.replay(
        watch=lambda _: seen.append(len([*temporary.iterdir()]))
    ).holds
    assert set(seen) == {1}
    worlds.delete_fact(lived, 7)
    with pytest.raises(CorruptHistory):
        lived.billing.audit.replay()
    assert [*temporary.iterdir()] == []


# --- what differs ------------------------------------------------------------------------------


def test_one_damaged_cell_of_each_table_is_reported_with_both_values(world: World) -> None:
    expected = []
    mend = []
    for projection, table in worlds.TABLES:
        column = table.columns[-1]
        key = " AND ".join(f"{name} = :{name}" for name in table.key)
        filled = f" WHERE {table.adds} <> 0" if table.adds else ""
        row = worlds.rows(world, f"SELECT * FROM {table.name}{filled} ORDER BY 1, 2, 3 LIMIT 1")[0]
        named = dict(zip(table.names, row, strict=True))
        keys = {name: named[name] for name in table.key}
        wrong = 77 if column.type == "integer" else "damaged"
        change = f"UPDATE {table.name} SET {column.name} = :value WHERE {key}"
        assert worlds.execute(world, change, {**keys, "value": wrong}) == 1
        expected.append((projection.name, table.name, column.name, keys, wrong, row[-1]))
        mend.append((change, {**keys, "value": row[-1]}))
    done = world.billing.audit.replay()
    assert sorted(map(str, expected)) == sorted(
        str((one.projection, one.table, one.column, dict(one.key), one.stored, one.true))
        for one in done.differences
    )
    assert (done.count, done.holds) == (len(worlds.TABLES), False)
    assert {one.name: one.differing for one in done.compared} == {
        table.name: 1 for _, table in worlds.TABLES
    }
    for change, values in mend:
        worlds.execute(world, change, values)
    assert world.billing.audit.replay().holds


def test_a_row_too_few_and_a_row_too_many_are_reported(world: World) -> None:
    worlds.execute(world, "DELETE FROM lines WHERE invoice = 'in_000001' AND tenant = 'b'")
    worlds.execute(world, "UPDATE customers SET invoice = 'zz' WHERE invoice = 'in_000054'")
    done = world.billing.audit.replay()
    said = [str(one) for one in done.differences]
    assert sum("lines" in one and "the row is missing" in one for one in said) == 3
    assert [one for one in said if "zz" in one and "should not be there" in one]
    assert [one for one in said if "customers" in one and "in_000054: the row is missing" in one]
    assert done.count == len(said) == 5


def test_tables_of_another_version_are_refused_with_the_command_that_mends_them(
    world: World,
) -> None:
    worlds.execute(world, "UPDATE projections SET version = 0 WHERE name = 'lines'")
    with Billing.auditing(world.url) as audit:
        with pytest.raises(RebuildNeeded, match="projections rebuild lines"):
            audit.replay()
        assert audit.replay(to=5).facts == 5  # what was needs no live table


# --- the log is not believed --------------------------------------------------------------------


def tamper(world: World, statement: str) -> None:
    """Change facts, which nobody may."""
    if "://" in world.url:
        with psycopg.connect(world.url) as connection:
            connection.execute("ALTER TABLE facts DISABLE TRIGGER ALL")
            connection.execute(statement.encode())
            connection.execute("ALTER TABLE facts ENABLE TRIGGER ALL")
        return
    with closing(sqlite3.connect(world.url)) as connection:
        connection.execute("DROP TRIGGER IF EXISTS facts_are_not_changed")
        connection.execute("DROP TRIGGER IF EXISTS facts_are_not_deleted")
        connection.execute(statement)
        connection.commit()


HASH_OF_ANOTHER = """
UPDATE facts SET hash = (SELECT hash FROM facts WHERE position = 39) WHERE position = 40
"""


@pytest.mark.parametrize(
    ("statement", "position"),
    [
        ("UPDATE facts SET recorded_at = recorded_at + 1 WHERE position = 40", 40),
        ("UPDATE facts SET actor_id = 'u_7' WHERE position = 40", 40),
        ("UPDATE facts SET causation_id = 'evt' WHERE position = 1", 1),
        (HASH_OF_ANOTHER, 40),
        ("UPDATE facts SET tenant = 'z' WHERE position = 40", 40),
        ("DELETE FROM facts WHERE position = 40", 41),
        ("DELETE FROM facts WHERE position <= 3", 4),
        ("UPDATE facts SET position = 1000 WHERE position = 40", 41),
        ("UPDATE facts SET type = 'invoice.sent.v9' WHERE position = 40", 40),
    ],
)  # fmt: skip
def test_a_tampered_log_is_refused_with_the_position(
    world: World, statement: str, position: int, tmp_path: Path
) -> None:
    tamper(world, statement)
    into = tmp_path / "replayed.db"
    with Billing.auditing(world.url) as audit, pytest.raises(CorruptHistory) as refused:
        audit.replay(into=into)
    assert refused.value.position == position
    with pytest.raises(RebuildNeeded):  # nobody works in what was made of it
        Billing.open(into)


def test_one_flipped_bit_of_a_body_is_refused_with_its_position(lived: World) -> None:
    ((body,),) = worlds.rows(lived, "SELECT body FROM facts WHERE position = 33")
    flipped = bytes([*cast("bytes", body)[:-1], cast("bytes", body)[-1] ^ 1])
    tamper(lived, f"UPDATE facts SET body = x'{flipped.hex()}' WHERE position = 33")
    with pytest.raises(CorruptHistory, match="position 33"):
        lived.billing.audit.replay()


def test_text_that_is_none_is_refused_with_its_position(lived: World) -> None:
    tamper(lived, "UPDATE facts SET actor_id = CAST(x'ff00' AS TEXT) WHERE position = 9")
    with pytest.raises(CorruptHistory, match="position 9"):
        lived.billing.audit.replay()


def test_a_cut_off_end_and_a_log_of_nothing_are_what_they_are(world: World) -> None:
    assert world.billing.audit.replay(to=0).rows["invoices"] == 0
    tamper(world, "DELETE FROM facts WHERE position > 100")
    # Only a checkpoint shows that the end is gone; that the tables know more shows here as well.
    assert not world.billing.audit.replay().holds


def test_a_fact_of_an_unknown_future_is_reported_by_its_position(world: World) -> None:
    position = worlds.insert_fact(world, "a", "in_000054", "invoice.beamed.v1", b"{}")
    with pytest.raises(CorruptHistory, match=r"invoice\.beamed\.v1 is unknown") as refused:
        world.billing.audit.replay()
    assert refused.value.position == position
    assert world.billing.audit.replay(to=position - 1).facts == position - 1


# --- as of ------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [41, pytest.param(19, marks=pytest.mark.slow)])
def test_a_replay_to_any_position_is_the_state_as_of_it(world: World, apart: int) -> None:
    end = len(worlds.rows(world, FACTS))
    for cut in range(0, end + 1, apart):
        _hold_as_of(world, cut, cut)


@pytest.mark.parametrize("apart", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_a_replay_to_a_time_is_the_state_as_of_it(world: World, apart: int) -> None:
    times = [cast("int", at) for (at,) in worlds.rows(world, "SELECT recorded_at FROM facts")]
    for at in (min(times) - 1, *sorted({*times})[::apart], max(times)):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
        _hold_as_of(world, moment, sum(one <= at for one in times))


def _hold_as_of(world: World, to: int | datetime, position: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        into = str(Path(folder) / "past.db")
        done = world.billing.audit.replay(to=to, into=into)
        assert (done.facts, done.compared, done.holds) == (position, (), True)
        with worlds.opened(into) as past:
            assert worlds.rows(past, FACTS) == worlds.rows(
                world, "SELECT * FROM facts WHERE position <= :upto ORDER BY position",
                {"upto": position},
            )  # fmt: skip
            assert worlds.differences(past) == []
            found_bad = past.billing.audit.verify()
            # Cut between a number and its document, which are stored as one, it lacks the latter.
            assert found_bad.first is None or (
                found_bad.bad == 1
                and found_bad.first.position == position
                and "which has it not" in found_bad.first.problem
            )
            expected = {
                (tenant, id): shown
                for tenant, ids in world.invoices.items()
                for id in ids
                if (shown := _as_of(world, tenant, id, position)) is not None
            }
            found = {
                (tenant, invoice.id): invoice
                for tenant in world.invoices
                for invoice in past.billing.tenant(tenant).invoices.all()
            }
            assert found == expected
            assert done.rows["invoices"] == len(expected)
            by_state = {(one.currency, one.status): one for one in done.totals}
            assert sum(one.invoices for one in done.totals) == len(expected)
            for (currency, status), total in by_state.items():
                of = [
                    one
                    for one in expected.values()
                    if (one.currency, one.status) == (currency, status)
                ]
                assert total.total == sum(one.total for one in of)
                assert total.amount_paid == sum(one.amount_paid for one in of)
                assert total.amount_remaining == sum(one.amount_remaining for one in of)


def _as_of(world: World, tenant: str, id: str, position: int) -> Invoice | None:
    recorded = [
        one for one in world.billing.log.read(tenant, id) if one.envelope.position <= position
    ]
    return view_invoice(cast("Sequence[Recorded[InvoiceEvent]]", recorded))


@pytest.mark.parametrize("to", [-1, 100_000, True, "5", datetime(2026, 11, 20)])  # noqa: DTZ001
def test_what_is_no_place_in_the_log_is_refused(lived: World, to: int) -> None:
    with pytest.raises(Malformed, match="to: must"):
        lived.billing.audit.replay(to=to)


# --- where it is played into --------------------------------------------------------------------


def test_a_database_that_holds_anything_is_refused(
    lived: World, postgres_url: str, tmp_path: Path
) -> None:
    before = everything(lived)
    with database("postgres", postgres_url) as used:
        with worlds.opened(used) as other:
            other.live(worlds.BEGINNING)
        other_app = tmp_path / "app.db"
        with closing(sqlite3.connect(other_app)) as connection:
            connection.execute("CREATE TABLE mine (id integer)")
        letter = tmp_path / "letter.txt"
        letter.write_text("Dear Ada, " * 1_000)
        for into in (used, lived.url, str(other_app), str(letter), str(tmp_path), ":memory:", ""):
            with pytest.raises(Malformed, match="into: "):
                lived.billing.audit.replay(into=into)
        with closing(sqlite3.connect(other_app)) as connection:
            query = "SELECT group_concat(name) FROM sqlite_master"
            assert connection.execute(query).fetchone() == ("mine",)
        assert letter.read_text().startswith("Dear Ada, Dear")
    assert everything(lived) == before


def test_a_server_without_our_schema_is_refused(lived: World, postgres_url: str) -> None:
    with postgres.database(postgres_url) as bare:
        with pytest.raises(SchemaMissing, match="counterfoil init"):
            lived.billing.audit.replay(into=bare)
        Billing.init(bare)
        assert lived.billing.audit.replay(into=bare).holds


def test_an_empty_file_and_an_empty_database_are_played_into(lived: World, tmp_path: Path) -> None:
    touched, made = tmp_path / "touched.db", tmp_path / "made.db"
    touched.touch()
    Billing.init(made)
    for into in (touched, made):
        assert lived.billing.audit.replay(into=into).holds
        with worlds.opened(str(into)) as there:
            assert everything(there) == everything(lived)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from counterfoil.adapters.replay import playing
from counterfoil.billing import Billing
playing.PAGE = 20
def watch(progress):
    if progress.phase == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
with Billing.auditing(sys.argv[2]) as audit:
    audit.replay(into=sys.argv[3], watch=watch)
"""


# Each phase once, in one of the databases; the slow tests have it in the other as well.
@pytest.mark.parametrize(
    ("world", "phase"),
    [
        ("sqlite", "play"),
        ("sqlite", "load"),
        ("postgres", "index"),
        ("postgres", "compare"),
        *(
            pytest.param(kind, phase, marks=pytest.mark.slow)
            for kind, phase in (
                ("sqlite", "index"),
                ("sqlite", "compare"),
                ("postgres", "play"),
                ("postgres", "load"),
            )
        ),
    ],
    indirect=["world"],
)
def test_a_replay_that_is_killed_leaves_the_original_as_it_was(
    world: World, tmp_path: Path, phase: str
) -> None:
    before, into = everything(world), tmp_path / "replayed.db"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(FOLDER), world.url, str(into), phase], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert everything(world) == before
    assert worlds.differences(world) == []
    if phase != "compare":  # then it was made already
        with pytest.raises(RebuildNeeded):
            Billing.open(into)
    with pytest.raises(Malformed, match="holds"):
        world.billing.audit.replay(into=into)
    assert world.billing.audit.replay().holds


# --- other rules --------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Billing]:
    """Four invoices: two whose tax is rounded up, one without rounding, one of July."""
    clock = worlds.Clock()
    with Billing.open(
        worlds.sqlite(tmp_path), seller=Seller(name="Northwind"), clock=clock, ids=worlds.Ids()
    ) as billing:
        clock.now = datetime(2026, 6, 30, 12, tzinfo=UTC)
        for price, rate in (("0.10", "19"), ("1.00", "19"), ("0.50", "7")):
            issue(billing, price, rate)
        clock.now = datetime(2026, 7, 1, 12, tzinfo=UTC)
        issue(billing, "100.00", "7")
        yield billing


def issue(billing: Billing, price: str, rate: str) -> str:
    acme = billing.tenant("acme")
    draft = acme.draft_invoice(
        customer=Customer(id="cus_1", name="Ada"),
        currency="EUR",
        lines=[NewLine(description="Work", quantity="1", unit_price=price, tax=Tax(rate=rate))],
    )
    return acme.finalize_invoice(draft.id).id


def rules(folder: Path, text: str) -> Path:
    file = folder / "rules.py"
    file.write_text(text)
    return file


DOWN = """
import math

def round_half_away(exact):
    return math.floor(exact)
"""
JULY = """
from datetime import date
from counterfoil.domain import Tax

def tax_of(line, terms, issued_on):
    if line.tax.rate == 7 and issued_on >= date(2026, 7, 1):
        return Tax(rate="5")
    return line.tax
"""


def fields(document: Differing) -> dict[str, tuple[object, object]]:
    """What is other, without the figures of single lines."""
    return {
        field.name: (field.was, field.would_be)
        for field in document.fields
        if not field.name.startswith("line ")
    }


def test_another_rounding_names_exactly_the_documents_that_differ(
    shop: Billing, tmp_path: Path
) -> None:
    found = shop.audit.replay(with_=rules(tmp_path, DOWN))
    assert found.changes == ("round_half_away",)
    assert {document.number: fields(document) for document in found.documents} == {
        "INV-2026-0001": {
            "19 %: tax": (2, 1),
            "tax": (2, 1),
            "total": (12, 11),
            "amount_remaining": (12, 11),
        },
        "INV-2026-0003": {
            "7 %: tax": (4, 3),
            "tax": (4, 3),
            "total": (54, 53),
            "amount_remaining": (54, 53),
        },
    }
    (sums,) = found.sums
    assert (sums.kind, sums.currency, sums.documents, sums.differing) == ("invoice", "EUR", 4, 2)
    assert (sums.tax, sums.tax_would_be) == (2 + 19 + 4 + 700, 1 + 19 + 3 + 700)
    assert (sums.total, sums.total_would_be) == (12 + 119 + 54 + 10_700, 11 + 119 + 53 + 10_700)


def test_another_rate_names_exactly_the_documents_that_differ(
    shop: Billing, tmp_path: Path
) -> None:
    invoice = shop.tenant("acme").invoices.by_number("INV-2026-0004")
    note = shop.tenant("acme").issue_credit_note(invoice.id, amount="53.50")
    rest = shop.tenant("acme").issue_credit_note(invoice.id)
    found = shop.audit.replay(with_=rules(tmp_path, JULY))
    one, half, remaining = found.documents
    assert (one.number, half.number, remaining.number) == (
        "INV-2026-0004",
        "CN-2026-0001",
        "CN-2026-0002",
    )
    assert fields(one) == {
        "7 %: taxable": (10_000, None),
        "7 %: tax": (700, None),
        "5 %: taxable": (None, 10_000),
        "5 %: tax": (None, 500),
        "tax": (700, 500),
        "total": (10_700, 10_500),
    }
    # 53.50 were asked for, and are given back; how much of it is tax is another.
    assert (half.id, remaining.id) == (note.id, rest.id)
    assert fields(half)["subtotal"] == (5_000, 5_095)
    assert fields(half)["tax"] == (350, 255)
    assert "total" not in fields(half)
    # What was left is other, and comes to all of it.
    assert fields(remaining)["total"] == (5_350, 5_150)
    assert {(s.kind, s.tax, s.tax_would_be) for s in found.sums} == {
        ("invoice", 725, 525),
        ("credit_note", 700, 500),
    }


def test_another_day_to_pay_and_other_totals_are_found_too(shop: Billing, tmp_path: Path) -> None:
    found = shop.audit.replay(
        with_=rules(
            tmp_path,
            "from datetime import timedelta\n"
            "def due_on(terms, issued_on):\n    return issued_on + timedelta(days=14)\n",
        )
    )
    assert [fields(one) for one in found.documents] == [
        {"due_date": (None, day)} for day in ("2026-07-14",) * 3 + ("2026-07-15",)
    ]
    # What it asks by its own name is ours, and is not asked again and again.
    found = shop.audit.replay(
        with_=rules(
            tmp_path,
            "from counterfoil.domain import totals\n"
            "def total(lines, discount, currency, tax_rounding):\n"
            "    return totals.total(lines, discount, currency, 'per_line')\n"
            "def within(tax, gross):\n    raise AssertionError('no price contains tax here')\n",
        )
    )
    assert found.changes == ("total", "within")


SAME = """
from counterfoil.domain import line, money, tax, totals
from counterfoil.domain.invoice import decisions

def tax_of(line, terms, issued_on):
    return line.tax

def price(item, currency):
    return line.price(item, currency)

def total(*said):
    return totals.total(*said)

def on_net(*said):
    return tax.on_net(*said)

def within(*said):
    return tax.within(*said)

def round_half_away(exact):
    return money.round_half_away(exact)

def due_on(*said):
    return decisions._due_on(*said)
"""


@settings(max_examples=15)
@given(worlds.lives)
def test_the_same_rules_decide_every_document_as_it_was(life: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder, worlds.opened(":memory:") as world:
        world.live(life)
        found = world.billing.audit.replay(with_=rules(Path(folder), SAME))
        assert found.documents == ()
        assert all(sums.total == sums.total_would_be for sums in found.sums)
        assert sum(sums.documents for sums in found.sums) == _finalized(world)


def test_the_same_rules_decide_a_full_life_as_it_was(world: World, tmp_path: Path) -> None:
    seen: list[Progress] = []
    found = world.billing.audit.replay(with_=rules(tmp_path, SAME), watch=seen.append)
    assert (found.count, found.facts) == (0, len(worlds.rows(world, FACTS)))
    assert sum(sums.documents for sums in found.sums) == _finalized(world) > 10
    assert (seen[-1].done, seen[-1].total) == (found.facts, found.facts)


def _finalized(world: World) -> int:
    query = (
        "SELECT count(*) FROM facts WHERE type IN ('invoice.finalized.v1', 'credit_note.issued.v1')"
    )
    return cast("int", worlds.rows(world, query)[0][0])


def places() -> Iterator[object]:
    """What is called by everybody who decides."""
    for rule in RULES.values():
        for module, name in rule.places:
            yield vars(module)[name]


def test_nothing_is_stored_and_everybody_else_goes_on_by_our_rules(
    shop: Billing, tmp_path: Path
) -> None:
    ours = [*places()]
    issued: list[str] = []

    def tell(_: Differing) -> None:
        # Whoever is told, and whoever works beside it, decides by our rules.
        issued.append(issue(shop, "0.10", "19"))
        beside = Thread(target=lambda: issued.append(issue(shop, "0.10", "19")))
        beside.start()
        beside.join()

    file = rules(tmp_path, DOWN)
    before = len(shop.log.since(0, limit=1_000))
    found = shop.audit.replay(to=before, with_=file, tell=tell)
    assert found.count == 2
    assert [shop.tenant("acme").get_invoice(id).tax for id in issued] == [2] * 4
    assert len(shop.log.since(0, limit=1_000)) == before + 4 * 4
    assert [*places()] == ours
    assert "counterfoil_what_if" not in sys.modules
    assert [path.name for path in tmp_path.iterdir() if path.name == "__pycache__"] == []


def test_only_the_first_documents_are_kept_and_all_are_told(
    shop: Billing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supposing, "KEPT", 1)
    told: list[Differing] = []
    found = shop.audit.replay(with_=rules(tmp_path, DOWN), tell=told.append)
    assert (found.count, len(told), found.documents) == (2, 2, (told[0],))


def test_a_document_that_would_be_refused_says_why(shop: Billing, tmp_path: Path) -> None:
    file = rules(tmp_path, "def on_net(tax, net):\n    return -2 * net if net == 10 else 0\n")
    refused, *_ = shop.audit.replay(with_=file).documents
    assert (refused.number, refused.fields) == ("INV-2026-0001", ())
    assert refused.refused is not None
    assert "the total is -10" in refused.refused


def test_a_folder_is_a_module_with_others_beside_it(shop: Billing, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .down import round_half_away\n")
    (folder / "down.py").write_text(DOWN)
    assert shop.audit.replay(with_=folder).count == 2
    assert not [name for name in sys.modules if name.startswith("counterfoil_what_if")]


RAISES = "def on_net(tax, net):\n    return 1 // (net - 50)\n"
TOO_MUCH = "from counterfoil.domain import Tax\n\ndef tax_of(*said):\n    return Tax(rate='101')\n"
NO_BASES = """
from counterfoil.domain.totals import total as ours
def total(*said):
    return ours(*said).model_copy(update={"bases": ()})
"""
REPLACED = """
from dataclasses import replace
from counterfoil.projections import lines
PROJECTION = replace(lines.PROJECTION, {})
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            RAISES,
            r"invoice INV-2026-0003 \(in_\w+, tenant acme\): on_net \(rules.py, line 2\): Zero",
        ),
        (
            "def on_net(tax, net):\n    return net * 0.19\n",
            "0001 .*: on_net gave float, .* give int",
        ),
        ("def tax_of(line, terms, issued_on):\n    return None\n", "tax_of gave NoneType, .* Tax"),
        ("def tax_of(line):\n    return line.tax\n", "INV-2026-0001 .*: tax_of .*TypeError"),
        (TOO_MUCH, r"INV-2026-0001 .*: tax_of \(rules.py, line 4\): rate: must be a percentage"),
        (NO_BASES, "INV-2026-0001 .*makes no document"),
        ("import sys\ndef price(*said):\n    sys.exit(4)\n", r"price \(.*, line 3\): SystemExit"),
        ("def on_net(:\n", "rules.py, line 1: invalid syntax"),
        ("x = 1\n1 / 0\n", r"rules.py, line 2\): ZeroDivisionError"),
        ("import sys\nsys.exit('no')\n", r"rules.py, line 2\): SystemExit"),
        ("from counterfoil.domain.tax import on_net\n", "changes nothing: define tax_of, "),
        ("def totals(lines):\n    return 0\n", "changes nothing: define tax_of, "),
        (REPLACED.format("name='rows'"), "there is no rows to compare"),
        (
            REPLACED.format("rows=lambda _: [][0]"),
            r"in_\w+ .*: projection lines \(.*, line 4\): Index",
        ),
    ],
)
def test_what_fails_in_a_file_of_rules_is_said_with_the_document_and_the_line(
    shop: Billing, tmp_path: Path, text: str, said: str
) -> None:
    ours = [*places()]
    with pytest.raises(Malformed, match=f"with: .*{said}"):
        shop.audit.replay(with_=rules(tmp_path, text))
    assert [*places()] == ours


def test_a_file_that_is_not_there_is_refused(shop: Billing, tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="there is no file"):
        shop.audit.replay(with_=tmp_path / "none.py")
    letter = tmp_path / "letter.txt"
    letter.write_text("def on_net(tax, net): return 0")
    with pytest.raises(Malformed, match=r"must end in \.py"):
        shop.audit.replay(with_=letter)


def test_another_projection_shows_the_rows_that_would_be_others(
    shop: Billing, tmp_path: Path
) -> None:
    file = rules(
        tmp_path,
        "from dataclasses import replace\n"
        "from counterfoil.projections import lines\n"
        "def rows(invoice):\n"
        "    (found,) = lines.PROJECTION.rows(invoice)\n"
        "    place = lines.TABLE.names.index('description')\n"
        "    return [[\n"
        "        row[:place] + ('Labour',) + row[place + 1:] if invoice.document\n"
        "        and invoice.document.number.endswith('2') else row for row in found\n"
        "    ]]\n"
        "PROJECTION = replace(lines.PROJECTION, version=99, rows=rows)\n",
    )
    found = shop.audit.replay(with_=file)
    (other,) = found.documents
    assert other.id == shop.tenant("acme").invoices.by_number("INV-2026-0002").id
    (field,) = other.fields
    assert field.name.startswith("lines li_")
    assert field.name.endswith(": description")
    assert (field.was, field.would_be) == ("Work", "Labour")


# --- the command line ---------------------------------------------------------------------------


def run(*said: object) -> int:
    return main([str(one) for one in said])


def test_the_command_line_compares_and_ends_with_1_when_a_cell_differs(
    lived: World, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("audit", "replay", "--database", lived.url)
    assert run(*command) == HOLDS
    said = capsys.readouterr()
    assert "every hash and position came out the same" in said.out
    assert re.search(r"All [1-9]\d+ rows of 11 tables are what the facts make of them", said.out)
    assert [line.partition(":")[0] for line in said.err.splitlines()] == [
        *("play", "load", "index", "catch up", "swap", "compare")
    ]
    worlds.execute(lived, "UPDATE invoices SET total = 1 WHERE id = 'in_000054'")
    assert run(*command) == DOES_NOT_HOLD
    said = capsys.readouterr()
    assert "total is 1, the facts make it 979" in said.out
    assert "1 cells or rows differ: `counterfoil projections rebuild invoices`" in said.err
    assert run(*command, "--json") == DOES_NOT_HOLD
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["holds"], told["count"], told["differences"][0]["stored"]) == (False, 1, 1)


def test_the_command_line_keeps_the_state_of_the_past(
    lived: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("audit", "replay", "--database", lived.url)
    past = tmp_path / "past.db"
    assert run(*command, "--to", 60, "--into", past) == HOLDS
    said = capsys.readouterr().out
    assert "60 facts played" in said
    assert f"Kept, with the ids of 0 commands, in {past}" in said
    assert run("invoice", "list", "--database", past, "--tenant", "b") == HOLDS
    assert "INV-2026-0004" in capsys.readouterr().out
    assert run(*command, "--to", "60", "--into", past) == MISUSED
    assert "holds 60 facts already" in capsys.readouterr().err
    assert run(*command, "--to", "2026-11-20T12:00:00+00:00", "--json") == HOLDS
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < told["facts"] < 132
    for wrong in ("yesterday", "-3"):
        with pytest.raises(SystemExit) as ended:
            run(*command, "--to", wrong)
        assert ended.value.code == MISUSED
    assert run(*command, "--to", "2026-11-20") == MISUSED
    assert "must say its time zone" in capsys.readouterr().err


def test_the_example_of_the_help_does_what_it_says(
    shop: Billing,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        run("audit", "replay", "--help")
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 80
    code = told.split("# july.py\n")[1].split("  counterfoil audit replay")[0]
    file = rules(tmp_path, "\n".join(line.removeprefix("  ") for line in code.splitlines()))
    url = worlds.sqlite(tmp_path)
    assert run("audit", "replay", "--database", url, "--with", file) == HOLDS
    said = capsys.readouterr().out
    assert "invoice INV-2026-0004" in said
    assert "  tax: 7.00 EUR → 5.00 EUR\n" in said
    assert "With another tax_of, documents would be others: 1." in said
    assert run("audit", "replay", "--database", url, "--with", file, "--json") == HOLDS
    *said_so_far, done = map(json.loads, capsys.readouterr().out.splitlines())
    (document,) = [one["document"] for one in said_so_far if "document" in one]
    assert document["number"] == "INV-2026-0004"
    assert (done["count"], done["sums"][0]["tax_would_be"]) == (1, 525)
    kept = tmp_path / "kept.db"
    assert run("audit", "replay", "--database", url, "--with", file, "--into", kept) == MISUSED
    assert not kept.exists()
