"""Does the database itself refuse each role what it must not do, and let it do its work?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import AppendOnly
from counterfoil.projections.catalogue import PROJECTIONS
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES_SQL = (Path(__file__).parents[2] / "infra" / "roles.sql").read_bytes()
ADA = Customer(id="cus_1", name="Ada", email="ada@example.com")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
ROLES = ("writer", "reader", "auditor")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A database with our roles, one login for each, and an invoice of the owner's."""

    owner: str
    writer: str
    reader: str
    auditor: str
    invoice: str

    def of(self, role: str) -> str:
        """The address at which a role logs in."""
        return {"writer": self.writer, "reader": self.reader, "auditor": self.auditor}[role]


@pytest.fixture(scope="module")
def deployment(postgres_url: str) -> Iterator[Deployment]:
    logins = {role: f"{role}_{uuid4().hex}" for role in ROLES}
    with postgres.ready(postgres_url) as url:
        with Billing.open(url, seller=Seller(name="Northwind")) as billing:
            draft = billing.tenant("acme").draft_invoice(
                customer=ADA, currency="EUR", lines=[WORK], command_id="cmd_1"
            )
        with psycopg.connect(url, autocommit=True) as owner:
            for _ in range(2):
                owner.execute(ROLES_SQL)
            for role, login in logins.items():
                owner.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                        sql.Identifier(login), login, sql.Identifier(f"counterfoil_{role}")
                    )
                )
        named = {role: _as(url, login) for role, login in logins.items()}
        yield Deployment(owner=url, invoice=draft.id, **named)
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        for login in logins.values():
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def _as(url: str, login: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{login}:{login}@{place}").geturl()


_ROW = (
    "SELECT 99, tenant, 'in_2', 1, type, body, recorded_at, actor_type, actor_id, command_id,"
    " NULL, NULL, hash FROM facts WHERE position = 1"
)

NOBODY_MAY = [
    "UPDATE facts SET actor_id = 'nobody'",
    "UPDATE facts SET actor_id = 'nobody' WHERE false",
    "UPDATE claims SET version = 9",
    "DELETE FROM facts",
    "DELETE FROM claims",
    "TRUNCATE facts",
    "TRUNCATE facts, claims CASCADE",
    "DROP TABLE facts CASCADE",
    "DROP VIEW facts_broken",
    "DROP TRIGGER facts_are_append_only ON facts",
    "DROP FUNCTION refuse_change() CASCADE",
    "ALTER TABLE facts ADD COLUMN more text",
    "ALTER TABLE facts DISABLE TRIGGER ALL",
    "ALTER TABLE claims DISABLE TRIGGER claims_are_append_only",
    "ALTER TABLE facts RENAME TO fiction",
    "CREATE TABLE mine (it text)",
    "CREATE TEMPORARY TABLE facts (it text)",
    "CREATE SCHEMA mine",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE RULE quiet AS ON INSERT TO facts DO INSTEAD NOTHING",
    "CREATE INDEX mine ON facts (actor_id)",
    "CREATE ROLE mine",
    "SELECT 1 FROM facts FOR UPDATE",
    "LOCK TABLE facts IN ACCESS EXCLUSIVE MODE",
    "SET session_replication_role = replica",
    "COPY facts TO PROGRAM 'cat'",
    "INSERT INTO schema_steps VALUES (99)",
    "DELETE FROM schema_steps",
    (
        f"INSERT INTO facts {_ROW} ON CONFLICT (tenant, stream, version)"
        " DO UPDATE SET actor_id = 'nobody'"
    ),
    (
        "MERGE INTO facts USING (SELECT 1) AS one ON true"
        " WHEN MATCHED THEN UPDATE SET actor_id = 'nobody'"
    ),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", NOBODY_MAY)
def test_no_role_may_change_what_is_stored_or_how(
    deployment: Deployment, role: str, statement: str
) -> None:
    _refused(deployment.of(role), statement)


@pytest.mark.parametrize("role", ["reader", "auditor"])
@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO facts {_ROW}",
        "INSERT INTO claims VALUES ('acme', 'cmd_2', '', 'in_1', 1)",
        "COPY facts FROM STDIN",
        "LOCK TABLE facts IN ROW EXCLUSIVE MODE",
    ],
)
def test_only_a_writer_may_add(deployment: Deployment, role: str, statement: str) -> None:
    _refused(deployment.of(role), statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("writer", "SELECT 1 FROM facts_readable"),
        ("writer", "SELECT 1 FROM facts_broken"),
        ("reader", "SELECT 1 FROM claims"),
        ("reader", "SELECT 1 FROM facts_readable"),
        ("reader", "SELECT 1 FROM facts_broken"),
        ("reader", "SELECT length_and_text('')"),
    ],
)
def test_a_role_reads_only_what_it_needs(deployment: Deployment, role: str, statement: str) -> None:
    _refused(deployment.of(role), statement)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("other", ROLES)
def test_no_role_is_another(deployment: Deployment, role: str, other: str) -> None:
    if role != other:
        _refused(deployment.of(role), f"SET ROLE counterfoil_{other}")


def test_a_writer_does_all_that_the_front_door_offers(deployment: Deployment) -> None:
    with Billing.open(deployment.writer, seller=Seller(name="Northwind")) as billing:
        acme = billing.tenant("acme")
        assert acme.finalize_invoice(deployment.invoice, command_id="cmd_2").status == "open"
        assert acme.record_payment(deployment.invoice, amount="119.00").status == "paid"
        note = acme.issue_credit_note(deployment.invoice, amount="19.00", refund="19.00")
        assert note.total == 1900
        again = acme.finalize_invoice(deployment.invoice, command_id="cmd_2")
        assert again.status == "open"
        with billing.log.subscribe() as events:
            assert next(events).id == 1
        assert billing.audit.verify().holds


@pytest.mark.parametrize("role", ["reader", "auditor"])
def test_who_may_not_write_is_told_so_and_nothing_is_claimed(
    deployment: Deployment, role: str
) -> None:
    with Billing.open(deployment.of(role), seller=Seller(name="Northwind")) as billing:
        before = billing.log.max_notification_id()
        with pytest.raises(AppendOnly, match="permission denied"):
            billing.tenant("acme").draft_invoice(customer=ADA, currency="EUR")
        assert billing.log.max_notification_id() == before


def test_a_reader_follows_the_log(deployment: Deployment) -> None:
    with Billing.open(deployment.reader) as billing:
        assert billing.log.since(0, limit=1)[0].envelope.stream == deployment.invoice
        with billing.log.subscribe() as events:
            assert next(events).id == 1


def test_an_auditor_proves_the_log_by_the_engine_and_by_sql_alone(deployment: Deployment) -> None:
    with Billing.open(deployment.auditor) as billing:
        report = billing.audit.verify()
        assert report.holds
        assert billing.audit.checkpoint().root == report.root
    with psycopg.connect(deployment.auditor) as connection:
        assert connection.execute("SELECT * FROM facts_broken").fetchall() == []
        told = connection.execute(
            "SELECT body ->> 'currency' FROM facts_readable WHERE position = 1"
        ).fetchone()
        assert told == ("EUR",)
        made = connection.execute(
            "SELECT facts_hash(decode(repeat('00', 32), 'hex'), facts) = hash"
            " FROM facts WHERE position = 1"
        ).fetchone()
        assert made == (True,)
        assert connection.execute("SELECT count(*) > 0 FROM claims").fetchone() == (True,)


def test_what_the_file_grants_is_all_that_is_granted(deployment: Deployment) -> None:
    with psycopg.connect(deployment.owner, autocommit=True) as owner:
        before = _grants(owner)
        owner.execute("GRANT UPDATE, DELETE, TRUNCATE ON facts TO counterfoil_writer")
        owner.execute("GRANT INSERT ON claims TO PUBLIC")
        owner.execute(ROLES_SQL)
        assert _grants(owner) == before
        assert ("counterfoil_writer", "facts", "INSERT") in before


def _grants(owner: psycopg.Connection) -> list[tuple[object, ...]]:
    return owner.execute(
        "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE table_schema = 'public' AND grantee <> current_user ORDER BY 1, 2, 3"
    ).fetchall()


def _refused(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_every_read_model_is_granted_by_name() -> None:
    for projection in PROJECTIONS.values():
        for table in projection.tables:
            assert f"'{table.name}'" in ROLES_SQL.decode()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_reads_read_models_and_keeps_doing_so_after_a_rebuild(
    deployment: Deployment, role: str
) -> None:
    with Billing.open(deployment.of(role)) as billing:
        before = billing.tenant("acme").invoices.get(deployment.invoice)
        with Billing.upkeep(deployment.owner) as projections:
            projections.rebuild()
        assert billing.tenant("acme").invoices.get(deployment.invoice) == before
        assert billing.projections.verify().holds


@pytest.mark.parametrize("role", ["reader", "auditor"])
def test_who_only_reads_changes_no_read_model(deployment: Deployment, role: str) -> None:
    with psycopg.connect(deployment.of(role), autocommit=True) as connection:
        for statement in ("UPDATE invoices SET total = 0", "DELETE FROM journal"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement.encode())


@pytest.mark.parametrize("role", ROLES)
def test_a_rebuild_takes_the_owner(deployment: Deployment, role: str) -> None:
    with (
        pytest.raises(AppendOnly, match="permission denied"),
        Billing.upkeep(deployment.of(role)) as projections,
    ):
        projections.rebuild("lines")
