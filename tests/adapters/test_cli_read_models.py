"""Does the command line say of read models and invoices what is so, and end as it says it ends?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.cli.main import DOES_NOT_HOLD, HOLDS, MISUSED, UNAVAILABLE, main
from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax

if TYPE_CHECKING:
    from pathlib import Path

WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Three invoices of one tenant: a draft, an open one and a paid one."""
    path = str(tmp_path / "counterfoil.db")
    with Billing.open(path, seller=Seller(name="Northwind")) as billing:
        acme = billing.tenant("acme")
        drafts = [
            acme.draft_invoice(
                customer=Customer(id=f"cus_{place}", name=f"Customer {place}"),
                currency="EUR",
                lines=[WORK],
                metadata={"order": str(place)},
            )
            for place in range(3)
        ]
        for draft in drafts[1:]:
            acme.finalize_invoice(draft.id)
        acme.record_payment(drafts[2].id, amount="119.00")
    return path


def run(*arguments: str) -> int:
    return main(arguments)


def damage(database: str, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(statement)
        connection.commit()


def test_status_shows_every_read_model(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("projections", "status", "--database", database) == HOLDS
    shown = capsys.readouterr().out
    for name in ("invoices", "lines", "journal", "current", "inline"):
        assert name in shown
    assert run("projections", "status", "--database", database, "--json") == HOLDS
    told = json.loads(capsys.readouterr().out)
    assert {one["lag"] for one in told} == {0}
    assert told[0]["rows"] == 3


def test_a_rebuild_says_how_far_it_is_and_what_it_made(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("projections", "rebuild", "lines", "--dry-run", "--database", database) == HOLDS
    assert "Would rebuild lines" in capsys.readouterr().out
    assert run("projections", "rebuild", "--database", database) == HOLDS
    said = capsys.readouterr()
    assert "3 invoices" in said.out
    assert "Writers waited" in said.out
    assert [line.partition(":")[0] for line in said.err.splitlines()] == [
        *("load", "index", "catch up", "swap")
    ]
    assert run("projections", "rebuild", "--json", "--database", database) == HOLDS
    *progress, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert {one["phase"] for one in progress} == {"load", "index", "catch up", "swap"}
    assert done["rows"]["invoices"] == 3


def test_verify_ends_with_1_and_names_what_is_damaged(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("projections", "verify", "--database", database) == HOLDS
    damage(database, "UPDATE invoices SET total = 1 WHERE number = 'INV-9' OR status = 'paid'")
    assert run("projections", "verify", "--database", database) == DOES_NOT_HOLD
    said = capsys.readouterr()
    assert "total is 1, the facts make it 11900" in said.out
    assert "counterfoil projections rebuild invoices" in said.err
    assert run("projections", "verify", "lines", "--database", database) == HOLDS
    assert run("projections", "rebuild", "invoices", "--database", database) == HOLDS
    assert run("projections", "verify", "--json", "--database", database) == HOLDS
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["holds"] is True


def test_tables_of_another_version_are_named_with_the_command_that_mends_them(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(database, "UPDATE projections SET version = 0 WHERE name = 'lines'")
    assert run("projections", "status", "--database", database) == DOES_NOT_HOLD
    assert "counterfoil projections rebuild lines" in capsys.readouterr().err
    assert run("invoice", "list", "--tenant", "acme", "--database", database) == DOES_NOT_HOLD
    assert "`counterfoil projections rebuild lines`" in capsys.readouterr().err
    assert run("audit", "verify", "--database", database) == HOLDS  # the log has nothing of it
    assert run("projections", "rebuild", "lines", "--database", database) == HOLDS
    assert run("invoice", "list", "--tenant", "acme", "--database", database) == HOLDS


def test_a_worker_takes_in_what_was_written(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("projections", "run", "--once", "--database", database) == HOLDS
    assert "kept inline" in capsys.readouterr().err
    seller = Seller(name="Northwind")
    with Billing.open(database, seller=seller, projections="async") as billing:
        acme = billing.tenant("acme")
        acme.draft_invoice(customer=Customer(id="cus_9", name="Nine"), currency="EUR")
        assert acme.invoices.count() == 3
        assert run("projections", "run", "--once", "--json", "--database", database) == HOLDS
        assert json.loads(capsys.readouterr().out) == {"facts": 1}
        assert acme.invoices.count() == 4


def test_invoices_are_listed_and_shown(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--database", database, "--tenant", "acme")
    assert run("invoice", "list", *on) == HOLDS
    shown = capsys.readouterr().out
    assert "3 of 3 invoices" in shown
    assert "Customer 2" in shown
    assert run("invoice", "list", *on, "--status", "paid", "--json") == HOLDS
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["has_more"]) == (1, False)
    (paid,) = told["data"]
    assert run("invoice", "show", paid["number"], *on) == HOLDS
    assert "119.00 EUR" in capsys.readouterr().out
    assert run("invoice", "show", paid["id"], *on, "--json") == HOLDS
    assert json.loads(capsys.readouterr().out) == paid
    assert run("invoice", "list", *on, "--limit", "1", "--metadata", "order=0") == HOLDS
    assert "1 of 1 invoices" in capsys.readouterr().out
    assert run("invoice", "list", *on, "--limit", "1") == HOLDS
    assert "for more: --starting-after in_" in capsys.readouterr().out
    assert run("invoice", "list", *on, "--json") == HOLDS
    *_, oldest = json.loads(capsys.readouterr().out)["data"]
    before = ("--limit", "1", "--ending-before", oldest["id"])
    assert run("invoice", "list", *on, *before) == HOLDS
    assert "--ending-before in_" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("invoice", "list", "--status", "lost"), MISUSED, "status: must be one of"),
        (("invoice", "list", "--limit", "0"), MISUSED, "limit"),
        (("invoice", "list", "--due-before", "soon"), MISUSED, "due-before"),
        (("invoice", "list", "--created-from", "2026-11-20"), MISUSED, "offset"),
        (("invoice", "list", "--metadata", "order"), MISUSED, "KEY=VALUE"),
        (("invoice", "show", "in_none"), DOES_NOT_HOLD, "there is no invoice in_none"),
        (("projections", "rebuild", "profits"), MISUSED, "there is no profits"),
        (("projections", "rebuild", "--workers", "2"), MISUSED, "one writer at a time"),
        (("projections", "rebuild", "--dry-run", "--resume"), MISUSED, "stores nothing"),
    ],
)
def test_what_is_wrong_is_named(
    database: str,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    tenant = ("--tenant", "acme") if arguments[0] == "invoice" else ()
    assert run(*arguments, "--database", database, *tenant) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["status", "rebuild", "verify", "run"])
def test_a_database_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    gone = tmp_path / "gone.db"
    assert run("projections", verb, "--database", str(gone)) == UNAVAILABLE
    assert "there is no database" in capsys.readouterr().err
    assert not gone.exists()
