"""Does the command line show the past so that a person can read it, and a machine too?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from counterfoil.adapters.cli.chart import svg
from counterfoil.adapters.cli.main import main
from counterfoil.billing import Billing, actor
from counterfoil.domain import Customer, NewLine, Seller, Tax

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """An invoice of 119.00, of which 100.00 was paid."""
    path = str(tmp_path / "log.db")
    with (
        Billing.open(path, seller=Seller(name="Northwind"), clock=lambda: NOON) as billing,
        actor("user", "u_42", cause="order_1"),
    ):
        acme = billing.tenant("acme")
        line = NewLine(
            description="[b]Wörk[/b]", quantity="2", unit_price="50.00", tax=Tax(rate="19")
        )
        invoice = acme.draft_invoice(
            id="in_1", customer=Customer(id="cus_1", name="Ada GmbH"), currency="EUR", lines=[line]
        )
        acme.finalize_invoice(invoice.id)
        acme.record_payment(invoice.id, amount="100.00", command_id="cmd_pay")
    return path


@pytest.fixture
def run(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    monkeypatch.setenv("COLUMNS", "80")

    def asked(*arguments: str, status: int = 0) -> str:
        given = ["audit", *arguments, "--database", database, "--tenant", "acme"]
        assert main(given) == status
        said = capsys.readouterr()
        return said.out if status == 0 else said.out + said.err

    return asked


def test_a_story_is_readable_in_80_columns(run: Callable[..., str]) -> None:
    said = run("history", "INV-2026-0001")
    lines = [line.rstrip() for line in said.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[:3] == ["in_1", "", "   4  2026-11-20 12:00:00+00:00  user:u_42"]
    assert all(line.startswith("      ") for line in lines[3:7])
    assert "      · amount paid: 0.00 EUR → 100.00 EUR" in lines
    assert "      · amount remaining: 119.00 EUR → 19.00 EUR" in lines
    assert "100.00 EUR came, payment py_" in lines[3]
    assert "command cmd_pay" in said
    assert "cause order_1" in said
    assert "[b]Wörk[/b]" in said  # what somebody wrote is no markup
    assert said.index("finalized as INV-2026-0001") < said.index("The invoice was drafted")


def test_a_walk_through_a_story_goes_on_as_it_says(run: Callable[..., str]) -> None:
    first = run("history", "in_1", "--limit", "2")
    assert "for more: --before 3" in first
    second = run("history", "in_1", "--limit", "2", "--before", "3")
    assert "for more" not in second
    oldest = run("history", "in_1", "--limit", "3", "--oldest-first")
    assert "for more: --after 3" in oldest
    page = json.loads(run("history", "in_1", "--after", "3", "--json"))
    assert [entry["version"] for entry in page["data"]] == [4]
    assert page["has_more"] is False
    assert page["data"][0]["changes"][0] == {
        "field": "amount paid", "was": "0.00 EUR", "now": "100.00 EUR",
    }  # fmt: skip


def test_a_fact_that_cannot_be_read_is_shown_by_its_position(
    run: Callable[..., str], database: str
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO facts SELECT max(position) + 1, tenant, stream, max(version) + 1,"
            " 'invoice.teleported.v7', body, recorded_at, actor_type, actor_id, command_id,"
            " causation_id, correlation_id, hash FROM facts WHERE stream = 'in_1'"
        )
    said = " ".join(run("history", "in_1").split())
    assert "type invoice.teleported.v7 is unknown to this version of Counterfoil" in said
    assert "position 6" in said
    assert "The invoice was drafted for Ada GmbH" in said


def test_an_invoice_is_shown_as_it_was(run: Callable[..., str]) -> None:
    assert "Draft, draft, for Ada GmbH" in run("as-of", "in_1", "--version", "2")
    assert "as version 3 left it" in run("as-of", "in_1", "--version", "3")
    then = json.loads(run("as-of", "in_1", "--at", "2026-11-20T13:00+01:00", "--json"))
    assert then["amount_remaining"] == 1_900
    assert "1 invoice as of" in run("as-of", "--at", "2026-11-20T13:00+01:00", "--status", "open")
    assert "0 invoices as of" in run("as-of", "--at", "2026-11-20T12:59+01:00")


@pytest.mark.parametrize(
    "arguments",
    [
        ("as-of", "in_1"),
        ("as-of", "in_1", "--at", "2026-11-20"),
        ("as-of", "in_1", "--version", "1", "--status", "open"),
        ("as-of",),
        ("history", "in_1", "--limit", "0"),
        ("history", "in_1", "--after", "1", "--before", "2"),
        ("explain", "in_1", "vat"),
        ("activity", "--bucket", "year"),
        ("activity", "--since", "yesterday"),
        ("activity", "--draw", "joy"),
        ("activity", "--timezone", "Mars"),
    ],
)
def test_what_cannot_be_understood_ends_with_2(
    run: Callable[..., str], arguments: tuple[str, ...]
) -> None:
    assert run(*arguments, status=2).startswith("counterfoil: ")


def test_a_difference_is_a_table(run: Callable[..., str]) -> None:
    said = run("diff", "in_1", "2", "3")
    assert "draft" in said
    assert "INV-2026-0001" in said
    assert json.loads(run("diff", "in_1", "3", "4", "--json"))[0]["field"] == "amount paid"
    assert "there is no version 9 of in_1" in run("diff", "in_1", "1", "9", status=1)


def test_an_amount_is_explained_step_by_step(run: Callable[..., str]) -> None:
    said = " ".join(run("explain", "INV-2026-0001", "tax").split())
    assert "tax = 19.00 EUR BR-CO-14" in said
    assert "BR-CO-17: tax of a group" in said
    assert "tax is 19.00 EUR: worked out anew, it comes to the same." in said
    assert json.loads(run("explain", "in_1", "total", "--json"))["agrees"] is True


def test_activity_is_drawn_and_written(run: Callable[..., str], tmp_path: Path) -> None:
    drawn = run("activity", "--since", "2026-11-19", "--until", "2026-11-22")
    days = [line for line in drawn.splitlines() if line.startswith("2026-")]
    assert days[0] == "2026-11-19   0"
    assert days[1].startswith("2026-11-20  ███")
    assert days[1].endswith("█ 6")
    assert max(map(len, drawn.splitlines())) <= 80
    assert "6 facts in 3 buckets" in drawn
    file = tmp_path / "chart.svg"
    run("activity", "--draw", "received", "--bucket", "week", "--svg", str(file))
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    told = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert told == ["received by week, acme, UTC", "2026-W47: 100.00 EUR"]
    bucket = json.loads(run("activity", "--json"))[0]
    assert (bucket["name"], bucket["facts"]) == ("2026-11-20", 6)
    assert bucket["sums"]["EUR"]["invoiced"] == 11_900
    assert "cannot be written" in run("activity", "--svg", str(tmp_path / "no" / "x"), status=3)


def test_a_chart_is_well_formed_whatever_it_is_called_and_its_bars_are_in_proportion() -> None:
    bars = [("a < b & c", 400), ("d", -100), ("e", 0), ('"', 200)]
    root = ElementTree.fromstring(svg("<script>&", bars, str))  # noqa: S314
    rects = [*root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    heights = [float(rect.attrib["height"]) for rect in rects]
    assert heights[0] == pytest.approx(4 * heights[1], abs=0.05)
    assert heights[0] == pytest.approx(2 * heights[3], abs=0.05)
    assert heights[2] == 0
    assert not [*root.iter("{http://www.w3.org/2000/svg}script")]
    ElementTree.fromstring(svg("nothing", [], str))  # noqa: S314
