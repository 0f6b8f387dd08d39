"""Does the proof find whoever changes the log behind our back, and say where it first did?

The attacker is a superuser who drops the triggers first. Each attack is made on SQLite and on
PostgreSQL, on one small log of three interleaved streams:

    position  1 2 3 4 5 6 7 8 9
    stream    a a b b a b a c c
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

from counterfoil.adapters.audit import Broken, Checkpoint
from counterfoil.adapters.cli.main import main
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.event_store.rows import COLUMNS, Row
from counterfoil.adapters.event_store.schema import migrations
from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import AppendOnly, SchemaMissing, SchemaTooNew
from counterfoil.domain.invoice.events import MetadataSet
from counterfoil.domain.ports import Append, Origin
from support import databases, postgres
from support.cli import counterfoil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from counterfoil.adapters.audit import Report

ORDER = "aabbabacc"
TENANT = "acme"
STREAMS = {name: f"in_{name}" for name in "abc"}
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
_SQLITE_TRIGGERS = (
    "facts_are_not_changed",
    "facts_are_not_deleted",
    "facts_are_added_in_order",
)


@dataclass(frozen=True, slots=True)
class Victim:
    """A database and the superuser's way into it."""

    url: str

    @property
    def is_postgres(self) -> bool:
        """Whether it is a PostgreSQL one."""
        return "://" in self.url

    def run(self, *statements: str) -> None:
        """Run statements as they are."""
        if self.is_postgres:
            with psycopg.connect(self.url, autocommit=True) as superuser:
                for statement in statements:
                    superuser.execute(statement.encode())
        else:
            with closing(sqlite3.connect(self.url, isolation_level=None)) as superuser:
                for statement in statements:
                    superuser.execute(statement)

    def attack(self, *statements: str) -> None:
        """Run statements with the triggers dropped."""
        dropped = (
            ("DROP TRIGGER facts_are_append_only ON facts",)
            if self.is_postgres
            else tuple(f"DROP TRIGGER {name}" for name in _SQLITE_TRIGGERS)
        )
        self.run(*dropped, *statements)

    def rows(self) -> list[Row]:
        """Every row there is, wherever it stands."""
        query = f"SELECT {COLUMNS} FROM facts ORDER BY position"
        if self.is_postgres:
            with psycopg.connect(self.url) as superuser:
                return [Row(*row) for row in superuser.execute(query.encode())]
        with closing(sqlite3.connect(self.url)) as superuser:
            return [Row(*row) for row in superuser.execute(query)]

    def blob(self, content: bytes) -> str:
        """Bytes as SQL."""
        return f"'\\x{content.hex()}'::bytea" if self.is_postgres else f"x'{content.hex()}'"

    def insertion(self, row: Row) -> str:
        """The statement that stores a row as it is."""
        values = ", ".join(
            self.blob(value)
            if isinstance(value, bytes)
            else "NULL"
            if value is None
            else repr(value)
            for value in row
        )
        return f"INSERT INTO facts ({COLUMNS}) VALUES ({values})"

    def verify(self, checkpoint: Checkpoint | None = None) -> Report:
        """What the engine finds."""
        with Billing.open(self.url) as billing:
            return billing.audit.verify(checkpoint)

    def broken_by_sql(self) -> list[tuple[int, str, int]]:
        """What SQL alone finds on PostgreSQL: position, stream and version."""
        with psycopg.connect(self.url) as auditor:
            return [
                (position, stream, version)
                for position, stream, version in auditor.execute(
                    "SELECT position, stream, version FROM facts_broken ORDER BY position"
                )
            ]


def write(url: str) -> None:
    with Billing.open(url) as billing:
        billing.log.inline = None  # no invoice is told of here, only facts
        for number, name in enumerate(ORDER, start=1):
            origin = Origin(
                recorded_at=AT, actor=Actor(type="user", id="u_1"), command_id=f"cmd_{number}"
            )
            with billing.log.transaction(TENANT) as transaction:
                stream = transaction.read(STREAMS[name])
                fact = MetadataSet(metadata={"n": str(number)})
                transaction.append([Append(stream, [fact])], origin, None)
    victim = Victim(url)
    assert "".join(row.stream[-1] for row in victim.rows()) == ORDER
    assert [row.position for row in victim.rows()] == list(range(1, len(ORDER) + 1))


@pytest.fixture(params=["sqlite", "postgres"])
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Victim]:
    to = tmp_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with databases.copied(write, to) as url:
        yield Victim(url)


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[Victim]:
    with databases.copied(write, postgres_url) as url:
        yield Victim(url)


def kept(victim: Victim) -> Checkpoint:
    with Billing.open(victim.url) as billing:
        return billing.audit.checkpoint()


def place(first: Broken | None) -> tuple[int, str, str, int]:
    assert first is not None
    return (first.position, first.tenant, first.stream, first.version)


def rechained(rows: list[Row]) -> list[Row]:
    """The same rows of one stream with a chain that is right."""
    head, made = GENESIS, []
    for row in rows:
        head = link(head, row)
        made.append(row._replace(hash=head))
    return made


# --- an untouched log -----------------------------------------------------------------------


def test_an_untouched_log_holds_with_and_without_a_checkpoint(victim: Victim) -> None:
    checkpoint = kept(victim)
    for report in (victim.verify(), victim.verify(checkpoint)):
        assert report.holds
        assert (report.facts, report.root, report.first) == (9, checkpoint.root, None)
    if victim.is_postgres:
        assert victim.broken_by_sql() == []


# --- what the chain alone shows -------------------------------------------------------------

CHANGES = {
    "a byte of the body": "body = {body}",
    "the actor": "actor_id = 'u_2'",
    "the kind of actor": "actor_type = 'system'",
    "the time, by a microsecond": "recorded_at = recorded_at + 1",
    "the type": "type = 'invoice.sent.v1'",
    "the command": "command_id = 'cmd_x'",
    "the cause, from none to empty": "causation_id = ''",
    "the correlation": "correlation_id = 'x'",
    "the hash": "hash = {hash}",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_field_is_found_where_it_is(victim: Victim, change: str) -> None:
    row = victim.rows()[4]
    said = change.format(
        body=victim.blob(row.body.replace(b"5", b"6")),
        hash=victim.blob(bytes([row.hash[0] ^ 1]) + row.hash[1:]),
    )
    victim.attack(f"UPDATE facts SET {said} WHERE position = 5")
    report = victim.verify()
    assert place(report.first) == (5, TENANT, "in_a", 3)
    # A changed hash breaks the link of the fact after it as well.
    also = [(7, "in_a", 4)] if change.startswith("hash") else []
    assert report.bad == 1 + len(also)
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(5, "in_a", 3), *also]


@pytest.mark.parametrize("change", ["tenant = 'other'", "stream = 'in_z'"])
def test_a_fact_moved_to_another_stream_is_found_where_it_is(victim: Victim, change: str) -> None:
    victim.attack(f"UPDATE facts SET {change} WHERE position = 5")
    report = victim.verify()
    row = victim.rows()[4]
    assert place(report.first) == (5, row.tenant, row.stream, 3)
    if victim.is_postgres:
        assert [found[0] for found in victim.broken_by_sql()] == [5, 7]


def test_a_deleted_fact_in_the_middle_is_found_at_the_place_that_is_missing(
    victim: Victim,
) -> None:
    victim.attack("DELETE FROM facts WHERE position = 2")
    report = victim.verify()
    # What was there is gone; the first that can be named is the one that now stands after it.
    assert place(report.first) == (3, TENANT, "in_b", 1)
    assert report.first is not None
    assert "position 2 " in report.first.problem
    assert report.bad == 2
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(5, "in_a", 3)]


def test_a_deleted_fact_whose_place_was_closed_is_found_in_its_stream(victim: Victim) -> None:
    closed = [f"UPDATE facts SET position = {n - 1} WHERE position = {n}" for n in range(3, 10)]
    victim.attack("DELETE FROM facts WHERE position = 2", *closed)
    report = victim.verify()
    assert place(report.first) == (4, TENANT, "in_a", 3)
    assert report.bad == 1
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(4, "in_a", 3)]


def test_a_deleted_beginning_is_found(victim: Victim) -> None:
    victim.attack("DELETE FROM facts WHERE position = 1")
    report = victim.verify()
    assert place(report.first) == (2, TENANT, "in_a", 2)
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(2, "in_a", 2)]


def test_the_deleted_last_fact_of_a_stream_is_found_by_the_gap_it_leaves(victim: Victim) -> None:
    victim.attack("DELETE FROM facts WHERE position = 7")
    report = victim.verify()
    assert place(report.first) == (8, TENANT, "in_c", 1)
    assert report.first is not None
    assert "position 7 " in report.first.problem


def test_two_swapped_bodies_of_a_stream_are_found_at_the_first(victim: Victim) -> None:
    second, third = (victim.blob(victim.rows()[at].body) for at in (1, 4))
    victim.attack(
        f"UPDATE facts SET body = {third} WHERE position = 2",
        f"UPDATE facts SET body = {second} WHERE position = 5",
    )
    report = victim.verify()
    assert place(report.first) == (2, TENANT, "in_a", 2)
    assert report.bad == 2
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(2, "in_a", 2), (5, "in_a", 3)]


def test_two_swapped_versions_of_a_stream_are_found_at_the_first(victim: Victim) -> None:
    victim.attack(
        "UPDATE facts SET version = 99 WHERE position = 2",
        "UPDATE facts SET version = 2 WHERE position = 5",
        "UPDATE facts SET version = 3 WHERE position = 2",
    )
    report = victim.verify()
    assert place(report.first) == (2, TENANT, "in_a", 3)
    if victim.is_postgres:
        assert {(2, "in_a", 3), (5, "in_a", 2)} <= set(victim.broken_by_sql())


def test_two_swapped_positions_of_a_stream_are_found_at_the_first(victim: Victim) -> None:
    victim.attack(*_swap(2, 5))
    assert place(victim.verify().first) == (2, TENANT, "in_a", 3)


def test_an_inserted_fact_at_the_end_of_a_stream_is_found(victim: Victim) -> None:
    forged = victim.rows()[6]._replace(position=10, version=5)
    victim.attack(victim.insertion(forged))
    report = victim.verify()
    assert place(report.first) == (10, TENANT, "in_a", 5)
    assert report.bad == 1
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(10, "in_a", 5)]


def test_an_inserted_fact_in_the_middle_is_found(victim: Victim) -> None:
    """The forger makes room, and chains the new fact well; what follows it gives it away."""
    room = [f"UPDATE facts SET position = {n + 1} WHERE position = {n}" for n in range(9, 2, -1)]
    one, two = victim.rows()[:2]
    bare = two._replace(position=3, version=3, body=b'{"metadata":{"n":"0"}}')
    forged = bare._replace(hash=link(two.hash, bare))
    assert one.stream == forged.stream
    moved = [
        "UPDATE facts SET version = 5 WHERE stream = 'in_a' AND version = 4",
        "UPDATE facts SET version = 4 WHERE stream = 'in_a' AND version = 3",
    ]
    victim.attack(*room, *moved, victim.insertion(forged))
    report = victim.verify()
    assert place(report.first) == (6, TENANT, "in_a", 4)
    assert report.bad == 2
    if victim.is_postgres:
        assert victim.broken_by_sql() == [(6, "in_a", 4), (8, "in_a", 5)]


def well_chained(victim: Victim, position: int) -> str:
    """A forged end of stream a that counts for whoever reads the stream."""
    last = victim.rows()[6]
    bare = last._replace(position=position, version=5)
    return victim.insertion(bare._replace(hash=link(last.hash, bare)))


@pytest.mark.parametrize("position", [0, -1, -(2**62)])
def test_no_fact_is_stored_before_the_first_place(victim: Victim, position: int) -> None:
    with pytest.raises((sqlite3.IntegrityError, psycopg.errors.CheckViolation)):
        victim.attack(well_chained(victim, position))


@pytest.mark.parametrize("position", [0, -1, -(2**62)])
def test_a_fact_forged_before_the_first_place_does_not_hide(victim: Victim, position: int) -> None:
    """Whoever may drop a trigger may drop a check as well."""
    victim.attack(
        "ALTER TABLE facts DROP CONSTRAINT facts_position_check"
        if victim.is_postgres
        else "PRAGMA ignore_check_constraints = ON",
        well_chained(victim, position),
    )
    with Billing.open(victim.url) as billing:
        assert len(billing.log.read(TENANT, "in_a")) == 5
    report = victim.verify()
    assert report.facts == 10
    assert place(report.first)[0] <= 1


def test_a_text_that_is_no_text_is_found_where_it_is(tmp_path: Path) -> None:
    """SQLite stores any bytes as text; PostgreSQL refuses what is not UTF-8."""
    with databases.copied(write, tmp_path) as url:
        victim = Victim(url)
        victim.attack("UPDATE facts SET actor_id = CAST(x'ff' AS TEXT) WHERE position = 5")
        assert place(victim.verify().first) == (5, TENANT, "in_a", 3)


# --- what only a checkpoint shows -----------------------------------------------------------


def test_a_deleted_tail_is_found_by_a_checkpoint(victim: Victim) -> None:
    checkpoint = kept(victim)
    victim.attack("DELETE FROM facts WHERE position > 7")
    assert victim.verify().holds
    report = victim.verify(checkpoint)
    assert place(report.first)[0] == 8
    assert report.first is not None
    assert "2 facts are missing at the end" in report.first.problem


def test_a_deleted_tail_that_was_written_over_is_found_by_a_checkpoint(victim: Victim) -> None:
    checkpoint = kept(victim)
    victim.attack("DELETE FROM facts WHERE position > 7")
    (last, *_) = victim.rows()[6:]
    for position in (8, 9, 10):
        bare = last._replace(position=position, version=last.version + 1)
        last = bare._replace(hash=link(last.hash, bare))
        victim.run(victim.insertion(last))
    assert victim.verify().holds
    report = victim.verify(checkpoint)
    assert report.bad == 1
    assert 1 <= place(report.first)[0] <= 9


def test_swapped_positions_of_two_streams_are_found_by_a_checkpoint(victim: Victim) -> None:
    checkpoint = kept(victim)
    victim.attack(*_swap(4, 5))
    assert victim.verify().holds
    report = victim.verify(checkpoint)
    assert report.bad == 1
    assert 4 <= place(report.first)[0] <= 9


def test_a_stream_written_anew_with_a_right_chain_is_found_by_a_checkpoint(
    victim: Victim,
) -> None:
    checkpoint = kept(victim)
    stream = [row._replace(actor_id="u_9") for row in victim.rows() if row.stream == "in_a"]
    anew = [
        f"UPDATE facts SET actor_id = 'u_9', hash = {victim.blob(row.hash)}"
        f" WHERE position = {row.position}"
        for row in rechained(stream)
    ]
    victim.attack(*anew)
    assert victim.verify().holds
    if victim.is_postgres:
        assert victim.broken_by_sql() == []
    report = victim.verify(checkpoint)
    assert report.bad == 1
    assert 1 <= place(report.first)[0] <= 9


def test_a_log_that_grew_since_still_holds_against_the_checkpoint(victim: Victim) -> None:
    checkpoint = kept(victim)
    with Billing.open(victim.url, seller=Seller(name="Northwind")) as billing:
        billing.tenant(TENANT).draft_invoice(customer=Customer(id="c", name="A"), currency="EUR")
    report = victim.verify(checkpoint)
    assert (report.holds, report.facts) == (True, 10)
    victim.attack("UPDATE facts SET actor_id = 'u_2' WHERE position = 10")
    assert place(victim.verify(checkpoint).first)[0] == 10


def _swap(one: int, other: int) -> tuple[str, ...]:
    return (
        f"UPDATE facts SET position = 99 WHERE position = {one}",
        f"UPDATE facts SET position = {one} WHERE position = {other}",
        f"UPDATE facts SET position = {other} WHERE position = 99",
    )


# --- the engine's hash and that of SQL ------------------------------------------------------

TEXTS = ["", "a", "é", "愛", "🧾", "\u202e\ufeff", "a'b\"c\\d", "\t\n\r", "-1", "x" * 100]


@pytest.mark.parametrize("text", TEXTS)
def test_sql_makes_the_same_hash_as_the_engine(postgres_url: str, text: str) -> None:
    with postgres.database(postgres_url) as url:
        Billing.init(url)
        rows, head = [], GENESIS
        for version, (cause, correlation) in enumerate(
            [(None, None), (text, None), (None, text), (text, text), ("", None)], start=1
        ):
            bare = Row(
                version, text, text, version, text, text.encode(), -version, text, text, text,
                cause, correlation, b"",
            )  # fmt: skip
            head = link(head, bare)
            rows.append(bare._replace(hash=head))
        with psycopg.connect(url, autocommit=True) as connection:
            marks = ", ".join(["%s"] * len(Row._fields))
            connection.cursor().executemany(
                f"INSERT INTO facts ({COLUMNS}) VALUES ({marks})".encode(), rows
            )
            assert connection.execute("SELECT * FROM facts_broken").fetchall() == []
            hashes = connection.execute(
                "SELECT facts_hash(lag(hash, 1, decode(repeat('00', 32), 'hex'))"
                " OVER (ORDER BY version), facts) FROM facts ORDER BY version"
            ).fetchall()
        assert hashes == [(row.hash,) for row in rows]


# --- the triggers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE facts SET actor_id = 'nobody'",
        "UPDATE facts SET actor_id = 'nobody' WHERE false",
        "DELETE FROM facts",
        "DELETE FROM facts WHERE false",
        "TRUNCATE facts",
        "TRUNCATE claims",
        "TRUNCATE facts, claims CASCADE",
        "UPDATE claims SET version = 9",
        "DELETE FROM claims",
        (
            f"INSERT INTO facts SELECT {COLUMNS} FROM facts LIMIT 1 ON CONFLICT (position)"
            " DO UPDATE SET actor_id = 'nobody'"
        ),
        "MERGE INTO facts USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM facts RETURNING 1) SELECT count(*) FROM gone",
    ],
)
def test_postgres_refuses_even_a_superuser_by_a_code_of_its_own(
    on_postgres: Victim, statement: str
) -> None:
    before = on_postgres.rows()
    with (
        pytest.raises(psycopg.Error) as refused,
        psycopg.connect(on_postgres.url, autocommit=True) as superuser,
    ):
        superuser.execute(statement.encode())
    assert refused.value.sqlstate == "CF001"
    log = PostgresLog(on_postgres.url)
    try:
        with pytest.raises(AppendOnly, match="append-only"), log.connection() as connection:
            connection.execute(statement.encode())
    finally:
        log.close()
    assert on_postgres.rows() == before


def test_a_copy_without_triggers_is_what_it_takes(on_postgres: Victim) -> None:
    """The attacks above must not pass because the triggers never worked."""
    on_postgres.run(
        "ALTER TABLE facts DISABLE TRIGGER ALL", "UPDATE facts SET actor_id = 'x' WHERE position=1"
    )
    assert place(on_postgres.verify().first) == (1, TENANT, "in_a", 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE OR IGNORE facts SET actor_id = 'nobody'",
        "UPDATE OR REPLACE facts SET position = 1 WHERE position = 2",
        "INSERT OR IGNORE INTO facts SELECT * FROM facts",
        "INSERT INTO facts SELECT * FROM facts WHERE true ON CONFLICT DO UPDATE SET actor_id = ''",
        (
            "INSERT INTO facts SELECT * FROM facts WHERE true"
            " ON CONFLICT (position) DO UPDATE SET actor_id = ''"
        ),
        "DELETE FROM facts WHERE position = 9",
    ],
)
def test_sqlite_refuses_by_other_words_too(tmp_path: Path, statement: str) -> None:
    with databases.copied(write, tmp_path) as url:
        victim = Victim(url)
        before = victim.rows()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            victim.run(statement)
        assert victim.rows() == before


# --- the schema -----------------------------------------------------------------------------


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    with postgres.database(postgres_url) as url:
        yield url


def _steps(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        steps = connection.execute("SELECT number FROM schema_steps ORDER BY 1").fetchall()
    return [number for (number,) in steps]


def test_an_empty_database_is_refused_until_init(empty: str) -> None:
    with pytest.raises(SchemaMissing, match="counterfoil init"):
        Billing.open(empty)
    assert counterfoil("init", "--database", empty).returncode == 0
    Billing.open(empty).close()


def test_an_older_schema_is_refused_by_name(empty: str) -> None:
    Billing.init(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_steps")
    with pytest.raises(SchemaMissing, match=r"schema 0.*counterfoil init"):
        Billing.open(empty)


def test_a_newer_schema_is_refused_by_name(empty: str) -> None:
    Billing.init(empty)
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_steps VALUES (99)")
    for open_it in (Billing.open, Billing.init):
        with pytest.raises(SchemaTooNew, match=r"schema 99.*upgrade Counterfoil"):
            open_it(empty)
    assert _steps(empty) == [*(step.number for step in migrations("postgres")), 99]


def test_init_twice_changes_nothing(victim: Victim) -> None:
    before = victim.rows()
    for _ in range(2):
        done = counterfoil("init", "--database", victim.url)
        assert (done.returncode, done.stderr) == (0, "")
    assert victim.rows() == before
    if victim.is_postgres:
        assert _steps(victim.url) == [step.number for step in migrations("postgres")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_init_by_several_processes_at_once_is_one_init(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = str(tmp_path / "new.db") if kind == "sqlite" else request.getfixturevalue("empty")
    started = [
        subprocess.Popen(
            [*_COUNTERFOIL, "init", "--database", url], stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    ended = [(one.communicate(timeout=60)[1], one.returncode) for one in started]
    assert ended == [("", 0)] * 4
    if kind == "postgres":
        assert _steps(url) == [step.number for step in migrations("postgres")]
    with Billing.open(url) as billing:
        assert billing.audit.verify().facts == 0


# --- the command line -----------------------------------------------------------------------

_COUNTERFOIL = (sys.executable, "-m", "counterfoil.adapters.cli.main")


def test_the_command_line_says_that_a_log_holds(victim: Victim) -> None:
    done = counterfoil("audit", "verify", "--database", victim.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("9 facts hold. Root: ")
    told = json.loads(counterfoil("audit", "verify", "--database", victim.url, "--json").stdout)
    assert (told["holds"], told["facts"], told["first"], told["bad"]) == (True, 9, None, 0)
    assert told["root"] == kept(victim).root


@pytest.mark.slow
def test_the_command_line_names_the_place(victim: Victim) -> None:
    victim.attack("UPDATE facts SET actor_id = 'u_2' WHERE position = 5")
    done = counterfoil("audit", "verify", "--database", victim.url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "position 5 (tenant acme, stream in_a, version 3)" in done.stderr
    done = counterfoil("audit", "verify", "--database", victim.url, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["holds"], told["bad"]) == (False, 1)
    assert (told["first"]["position"], told["first"]["stream"]) == (5, "in_a")


@pytest.mark.slow
def test_the_command_line_keeps_a_checkpoint_and_compares_with_it(
    victim: Victim, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.json"
    on = ("--database", victim.url)
    done = counterfoil("audit", "checkpoint", *on, "--out", str(file))
    assert done.returncode == 0, done.stderr
    made, known = Checkpoint.load(file), kept(victim)
    assert (made.size, made.root, made.log) == (known.size, known.root, known.log)
    assert counterfoil("audit", "verify", *on, "--checkpoint", str(file)).returncode == 0
    victim.attack("DELETE FROM facts WHERE position = 9")
    assert counterfoil("audit", "verify", *on).returncode == 0
    done = counterfoil("audit", "verify", *on, "--checkpoint", str(file))
    assert done.returncode == 1
    assert "position 9: 1 facts are missing at the end" in done.stderr


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"size": "many", "root": ""}'])
def test_what_is_no_checkpoint_is_wrong_usage(
    victim: Victim, tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "checkpoint.json"
    if content is not None:
        file.write_text(content)
    status = main(["audit", "verify", "--database", victim.url, "--checkpoint", str(file)])
    assert status == 2
    assert "is no checkpoint" in capsys.readouterr().err


def test_an_unwritable_place_for_a_checkpoint_is_said_in_one_line(
    victim: Victim, tmp_path: Path
) -> None:
    gone = tmp_path / "gone" / "checkpoint.json"
    done = counterfoil("audit", "checkpoint", "--database", victim.url, "--out", str(gone))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_database_that_is_away_ends_with_3(tmp_path: Path) -> None:
    for url in (
        str(tmp_path / "none.db"),
        f"postgresql://nobody@/none?host={tmp_path}&connect_timeout=2",
    ):
        done = counterfoil("audit", "verify", "--database", url)
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr


def test_a_bill_of_the_front_door_holds(victim: Victim) -> None:
    with Billing.open(victim.url, seller=Seller(name="Northwind")) as billing:
        acme = billing.tenant(TENANT)
        line = NewLine(description="Work", quantity=1, unit_price="10.00", tax=Tax(rate="19"))
        draft = acme.draft_invoice(
            customer=Customer(id="cus_1", name="Ada"), currency="EUR", lines=[line]
        )
        acme.finalize_invoice(draft.id)
    assert victim.verify().holds
    if victim.is_postgres:
        assert victim.broken_by_sql() == []
