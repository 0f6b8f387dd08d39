"""Does `counterfoil payments` list, settle and collect what is so, and end as it says it ends?"""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.cli.main import DOES_NOT_HOLD, HOLDS, MISUSED, UNAVAILABLE, main
from counterfoil.adapters.processors.fake import Fault
from counterfoil.billing import Billing, FakeProcessor, Tenant
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import Unavailable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
LONG = "Bär & Söhne Vermietungs- und Verwaltungsgesellschaft mbH"
VISA = "pm_card_visa"
FAR = "2027-06-01T00:00+00:00"


@dataclass
class Shop:
    """A database with invoices of two tenants, and the ledger of the processor, as files."""

    database: Path
    ledger: Path

    @property
    def log(self) -> tuple[str, ...]:
        return ("--database", str(self.database), "--tenant", "acme")

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.log, "--processor", f"fake:{self.ledger}")

    def open(self, processor: FakeProcessor | None = None) -> AbstractContextManager[Billing]:
        return Billing.open(
            self.database,
            seller=Seller(name="Northwind"),
            processor=processor or FakeProcessor(self.ledger),
            documents=None,
            pdf=None,
        )

    def books(self) -> list[tuple[str, str]]:
        fake = FakeProcessor(self.ledger)
        try:
            return [(one.invoice, one.status) for one in fake.booked()]
        finally:
            fake.close()

    def facts(self) -> int:
        with self.open() as billing:
            return len(billing.log.since(0, limit=10_000))

    def status(self, invoice: str) -> str:
        with self.open() as billing:
            return billing.tenant("acme").get_invoice(invoice).status


def invoiced(acme: Tenant, place: int, name: str = "Ada") -> str:
    draft = acme.draft_invoice(
        customer=Customer(id=f"cus_{place}", name=name), currency="EUR", lines=[WORK]
    )
    return acme.finalize_invoice(draft.id).id


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """One is paid and refunded in part, one declined, one waits for its payer, one is due."""
    folder = tmp_path_factory.mktemp("seeded")
    shop = Shop(folder / "counterfoil.db", folder / "ledger.db")
    with shop.open() as billing:
        acme = billing.tenant("acme")
        invoices = [invoiced(acme, place, name) for place, name in enumerate(("A", LONG, "C", "D"))]
        acme.pay_invoice(invoices[0], payment_method=VISA)
        acme.refund_payment(invoices[0], amount="20.00")
        acme.pay_invoice(invoices[1], payment_method="pm_card_chargeDeclinedInsufficientFunds")
        acme.pay_invoice(invoices[2], payment_method="pm_card_authenticationRequired")
        invoiced(billing.tenant("beta"), 9)
    return shop


@pytest.fixture
def shop(seeded: Shop, tmp_path: Path) -> Shop:
    """A copy of it, to be changed."""
    return Shop(*(Path(shutil.copy(place, tmp_path)) for place in (seeded.database, seeded.ledger)))


@pytest.fixture
def empty(tmp_path: Path) -> Shop:
    """No invoice yet."""
    shop = Shop(tmp_path / "counterfoil.db", tmp_path / "ledger.db")
    with shop.open():
        return shop


class Terminal(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(verb: str, *arguments: str) -> str:
    """What a dumb terminal of 80 columns shows."""
    with pytest.MonkeyPatch.context() as environment, redirect_stdout(Terminal()) as shown:
        environment.setenv("TERM", "dumb")
        environment.setenv("COLUMNS", "80")
        assert run(verb, *arguments) == HOLDS
    assert max(map(len, shown.getvalue().splitlines())) <= 80
    return shown.getvalue()


Out = pytest.CaptureFixture[str]


def run(verb: str, *arguments: str) -> int:
    return main(("payments", verb, *arguments))


def told(out: Out) -> Any:
    """The last line of JSON; those before it tell of progress."""
    *progress, last = out.readouterr().out.splitlines()
    assert all(set(json.loads(line)) == {"phase", "done", "total"} for line in progress)
    return json.loads(last)


def hold_wrong_usage(out: Out, said: str, *arguments: str) -> None:
    assert main(("payments", *arguments)) == MISUSED
    captured = out.readouterr()
    assert said in captured.err.splitlines()[-1]
    assert captured.err.splitlines()[-1].startswith("counterfoil: ")
    assert captured.out == ""


# --- list -----------------------------------------------------------------------------------------


def test_payments_are_listed_newest_first(shop: Shop, capsys: Out) -> None:
    assert run("list", *shop.log) == HOLDS
    lines = capsys.readouterr().out.splitlines()
    heads = "began status amount refunded reference or reason by invoice id"
    assert " ".join(lines[0].split()) == heads
    rows = [line for line in lines if " py_" in line]
    assert [row.split()[2] for row in rows] == ["requires_action", "failed", "succeeded"]
    assert all(" fake " in row and " in_" in row for row in rows)
    assert "insufficient_funds" in rows[1]
    assert "119.00 EUR" in rows[2]
    assert "20.00 EUR" in rows[2]
    assert lines[-1] == "3 payments"


def test_payments_are_listed_as_json(shop: Shop, capsys: Out) -> None:
    assert run("list", *shop.log, "--json") == HOLDS
    said = told(capsys)
    assert (said["object"], said["has_more"]) == ("list", False)
    assert [one["status"] for one in said["data"]] == ["requires_action", "failed", "succeeded"]
    assert said["data"][2]["amount_refunded"] == 2_000
    assert said["data"][1]["failure_code"] == "insufficient_funds"


def test_a_list_is_narrowed_by_what_is_asked(shop: Shop, capsys: Out) -> None:
    run("list", *shop.log, "--json")
    known = told(capsys)["data"]
    for option, field in (
        ("status", "status"),
        ("customer", "customer"),
        ("invoice", "invoice"),
        ("reference", "reference"),
    ):
        value = known[2][field]
        assert run("list", *shop.log, "--json", f"--{option}", value) == HOLDS
        assert [one["id"] for one in told(capsys)["data"]] == [known[2]["id"]]
    assert run("list", *shop.log, "--customer", "cus_unknown") == HOLDS
    assert capsys.readouterr().out.splitlines()[-1] == "0 payments"


def test_the_end_of_a_page_says_how_to_go_on(shop: Shop, capsys: Out) -> None:
    seen: list[str] = []
    more: tuple[str, ...] = ()
    for _ in range(4):
        run("list", *shop.log, "--limit", "1", *more)
        out = capsys.readouterr().out
        seen += re.findall(r"py_\w+", out.rpartition("1 payment")[0])
        hint = re.search(r"1 payment; for more: (--starting-after) (py_\w+)$", out.strip())
        if hint is None:
            break
        more = (hint[1], hint[2])
    assert len(seen) == len(set(seen)) == 3
    run("list", *shop.log, "--ending-before", seen[2], "--json")
    assert [one["id"] for one in told(capsys)["data"]] == seen[:2]


def test_another_tenants_payments_are_not_listed(shop: Shop, capsys: Out) -> None:
    for tenant in ("beta", "nobody"):
        assert run("list", "--database", str(shop.database), "--tenant", tenant) == HOLDS
        assert capsys.readouterr().out.splitlines()[-1] == "0 payments"


def test_what_cannot_be_listed_is_said(shop: Shop, capsys: Out) -> None:
    hold_wrong_usage(capsys, "status: must be one of", "list", *shop.log, "--status", "paid")
    hold_wrong_usage(capsys, "limit: must be", "list", *shop.log, "--limit", "0")
    hold_wrong_usage(capsys, "limit: must be", "list", *shop.log, "--limit", "101")
    both = ("--starting-after", "py_1", "--ending-before", "py_2")
    hold_wrong_usage(capsys, "not both", "list", *shop.log, *both)
    assert run("list", *shop.log, "--starting-after", "py_unknown") == DOES_NOT_HOLD
    assert "there is no payment py_unknown" in capsys.readouterr().err


def test_on_a_terminal_of_80_columns_a_list_can_be_read(shop: Shop) -> None:
    shown = on_a_terminal("list", *shop.log)
    for word in ("succeeded", "failed", "requires_action", "insufficient_funds", "20.00 EUR"):
        assert word in shown
    assert "…" not in shown
    assert "py_" not in shown


def test_on_a_terminal_of_80_columns_a_long_reference_is_told_whole(shop: Shop) -> None:
    reference = "".join(f"{place:04d}" for place in range(20))
    with shop.open() as billing:
        acme = billing.tenant("acme")
        acme.record_payment(invoiced(acme, 7), amount="119.00", reference=reference)
    shown = on_a_terminal("list", *shop.log)
    assert "…" not in shown
    assert reference in "".join(line[62:].strip() for line in shown.splitlines())


def test_what_is_piped_on_has_a_payment_in_each_line(shop: Shop, capsys: Out) -> None:
    with shop.open() as billing:
        acme = billing.tenant("acme")
        acme.record_payment(invoiced(acme, 7), amount="119.00", reference="x" * 200)
    assert run("list", *shop.log) == HOLDS
    lines = capsys.readouterr().out.splitlines()
    assert sum(" py_" in line for line in lines) == 4
    assert sum("x" * 200 in line for line in lines) == 1


# --- settle ---------------------------------------------------------------------------------------


def test_without_anything_in_progress_there_is_nothing_to_settle(empty: Shop, capsys: Out) -> None:
    assert run("settle", *empty.all) == HOLDS
    assert capsys.readouterr().out == "Nothing to do.\n"
    assert run("settle", *empty.all, "--json") == HOLDS
    assert told(capsys) == {"settled": []}


def test_what_is_young_is_left_alone(shop: Shop, capsys: Out) -> None:
    assert run("settle", *shop.all) == HOLDS
    assert capsys.readouterr().out == "Nothing to do.\n"
    assert run("settle", *shop.all, "--waiting", "0") == HOLDS
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"py_\w+ of in_\w+: requires_action", lines[0])
    assert lines[1:] == ["1 requires_action"]


@pytest.mark.parametrize(
    ("fault", "status", "invoice"),
    [(Fault.ANSWER_LOST, "succeeded", "paid"), (Fault.UNREACHABLE, "failed", "open")],
)
def test_what_was_asked_without_an_answer_is_settled(
    empty: Shop, capsys: Out, *, fault: Fault, status: str, invoice: str
) -> None:
    fake = FakeProcessor(empty.ledger)
    with empty.open(fake) as billing:
        acme = billing.tenant("acme")
        name = invoiced(acme, 1)
        fake.fail(fault)
        with pytest.raises(Unavailable):
            acme.pay_invoice(name, payment_method=VISA)
    assert run("settle", *empty.all, "--waiting", "0", "--json") == HOLDS
    (one,) = told(capsys)["settled"]
    assert (one["invoice"], one["status"], one["error"]) == (name, status, None)
    assert empty.status(name) == invoice
    assert run("settle", *empty.all, "--waiting", "0") == HOLDS
    assert capsys.readouterr().out == "Nothing to do.\n"


KILLED = """
import os, signal, sys
from counterfoil.billing import Billing, FakeProcessor

class Last(FakeProcessor):
    def charge(self, charge):
        super().charge(charge)
        os.kill(os.getpid(), signal.SIGKILL)

database, ledger, invoice = sys.argv[1:]
with Billing.open(database, processor=Last(ledger), documents=None, pdf=None) as billing:
    billing.tenant("acme").pay_invoice(invoice, payment_method="pm_card_visa")
"""


def test_the_work_of_a_killed_process_is_finished(empty: Shop, capsys: Out) -> None:
    with empty.open() as billing:
        name = invoiced(billing.tenant("acme"), 1)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(empty.database), str(empty.ledger), name], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert empty.books() == [(name, "succeeded")]
    assert empty.status(name) == "open"
    assert run("collect", *empty.all) == HOLDS
    assert "in progress" in capsys.readouterr().out
    assert run("settle", *empty.all, "--waiting", "0") == HOLDS
    assert "1 succeeded" in capsys.readouterr().out
    assert empty.status(name) == "paid"
    assert empty.books() == [(name, "succeeded")]


class Elsewhere(FakeProcessor):
    """Another processor."""

    @property
    def name(self) -> str:
        return "elsewhere"


def test_what_cannot_be_asked_stops_no_other_and_ends_with_1(empty: Shop, capsys: Out) -> None:
    elsewhere = Elsewhere(empty.ledger)
    with empty.open(elsewhere) as billing:
        acme = billing.tenant("acme")
        acme.pay_invoice(invoiced(acme, 1), payment_method="pm_usBankAccount")
    with empty.open() as billing:
        acme = billing.tenant("acme")
        acme.pay_invoice(invoiced(acme, 2), payment_method="pm_usBankAccount")
    assert run("settle", *empty.all, "--waiting", "0") == DOES_NOT_HOLD
    said = capsys.readouterr()
    assert "is one of elsewhere, and the processor here is fake" in said.out
    assert said.out.splitlines()[-1] == "1 not asked, 1 processing"
    assert said.err.splitlines()[-1] == (
        "counterfoil: 1 of 2 could not be asked; run it again later"
    )
    assert run("settle", *empty.all, "--waiting", "0", "--json") == DOES_NOT_HOLD
    assert [one["status"] for one in told(capsys)["settled"]] == [None, "processing"]


@pytest.mark.parametrize("waiting", ["-1", "nan", "inf", "1e12"])
def test_a_wait_that_makes_no_sense_is_wrong_usage(empty: Shop, capsys: Out, waiting: str) -> None:
    hold_wrong_usage(
        capsys, "must be a number of seconds", "settle", *empty.all, f"--waiting={waiting}"
    )


# --- collect --------------------------------------------------------------------------------------


def results(shop: Shop, capsys: Out, *arguments: str) -> list[str]:
    assert run("collect", *shop.all, "--json", *arguments) == HOLDS
    return [one["result"] for one in told(capsys)["invoices"]]


def test_what_is_due_is_charged_once(shop: Shop, capsys: Out) -> None:
    assert run("collect", *shop.all) == HOLDS
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if "INV-" in line]
    assert len(rows) == 3
    assert "too early, until 2" in rows[0]
    assert LONG in rows[0]
    assert "waits for the payer" in rows[1]
    assert rows[2].split()[-3:] == ["0.00", "EUR", "paid"]
    assert said.out.splitlines()[-1] == "1 too early, 1 waits for the payer, 1 paid"
    assert said.err.startswith("collect: 0 of 3 invoices")
    assert len(shop.books()) == 4
    assert results(shop, capsys) == ["too early", "waits for the payer"]
    assert len(shop.books()) == 4


def test_a_dry_run_says_what_would_be_done_and_does_nothing(shop: Shop, capsys: Out) -> None:
    facts, books = shop.facts(), shop.books()
    assert run("collect", *shop.all, "--dry-run") == HOLDS
    out = capsys.readouterr().out
    assert "to be charged, attempt 1" in out
    assert out.splitlines()[-2:] == [
        "1 too early, 1 waits for the payer, 1 to be charged",
        "Nobody was charged.",
    ]
    assert results(shop, capsys, "--dry-run", "--now", FAR, "--give-up") == [
        "to be charged",
        "waits for the payer",
        "to be charged",
    ]
    assert (shop.facts(), shop.books()) == (facts, books)


def test_collecting_as_if_it_were_another_time(shop: Shop, capsys: Out) -> None:
    assert results(shop, capsys, "--now", "2001-01-01T00:00Z")[2] == "too early"
    assert results(shop, capsys, "--now", FAR) == ["paid", "waits for the payer", "paid"]


def test_without_days_one_refusal_is_enough_to_give_up(shop: Shop, capsys: Out) -> None:
    assert run("collect", *shop.all, "--retry-days", "", "--give-up", "--json") == HOLDS
    done = {one["result"]: one["invoice"] for one in told(capsys)["invoices"]}
    assert shop.status(done["given up"]) == "uncollectible"
    assert shop.status(done["paid"]) == "paid"


@pytest.mark.parametrize("option", [(), ("--give-up", "--dry-run")])
def test_what_was_not_given_up_is_not_said_to_be(
    shop: Shop, capsys: Out, option: tuple[str, ...]
) -> None:
    assert run("collect", *shop.all, "--retry-days", "", *option) == HOLDS
    out = capsys.readouterr().out
    assert "given up" not in out
    assert "tried in vain" in out


def test_on_a_terminal_of_80_columns_what_was_collected_can_be_read(shop: Shop) -> None:
    shown = on_a_terminal("collect", *shop.all, "--dry-run")
    for word in ("INV-", "119.00 EUR", "too early", "waits for the payer", "to be charged"):
        assert shown.count(word) >= 1
    assert "Vermietungs-" in shown


@pytest.mark.parametrize(
    "now", ["2026-11-20", "2026-11-20T08:00", "now", "", "1763640000", "2026-13-01T00:00Z"]
)
def test_a_time_that_is_none_or_has_no_zone_is_wrong_usage(
    shop: Shop, capsys: Out, now: str
) -> None:
    books = shop.books()
    hold_wrong_usage(capsys, "--now: must be a time with", "collect", *shop.all, "--now", now)
    assert shop.books() == books


@pytest.mark.parametrize("now", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"])
def test_the_first_and_the_last_of_all_times_are_times(shop: Shop, capsys: Out, now: str) -> None:
    assert len(results(shop, capsys, "--dry-run", "--now", now)) == 3


@pytest.mark.parametrize(
    "days",
    ["x", "1,,3", "1, 3", " ", ",", "-1", "1.5", "²", "366", ",".join("1" * 51), "1;3", "1,3,"],
)
def test_days_that_make_no_schedule_are_wrong_usage(shop: Shop, capsys: Out, days: str) -> None:
    books = shop.books()
    hold_wrong_usage(capsys, "retry", "collect", *shop.all, f"--retry-days={days}")
    assert shop.books() == books


def test_a_day_of_5000_digits_is_wrong_usage(empty: Shop, capsys: Out) -> None:
    hold_wrong_usage(capsys, "retry", "collect", *empty.all, "--retry-days", "9" * 5_000)


# --- who is asked, and where ----------------------------------------------------------------------

BOTH = pytest.mark.parametrize("verb", ["settle", "collect"])


@BOTH
def test_a_processor_must_be_named(shop: Shop, capsys: Out, verb: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(verb, *shop.log)
    assert ended.value.code == MISUSED
    assert "required: --processor" in capsys.readouterr().err


@BOTH
@pytest.mark.parametrize("processor", ["nothing", "fake:", "STRIPE", "", "stripe:sk_test_1"])
def test_an_unknown_processor_is_wrong_usage(
    shop: Shop, capsys: Out, verb: str, processor: str
) -> None:
    hold_wrong_usage(capsys, "processor: must be", verb, *shop.log, "--processor", processor)


@BOTH
def test_stripe_without_a_key_says_what_is_missing(
    shop: Shop, capsys: Out, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert run(verb, *shop.log, "--processor", "stripe") == DOES_NOT_HOLD
    assert "STRIPE_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["missing/ledger.db", ".", "text"])
def test_a_ledger_that_cannot_be_opened_is_said_in_one_line(
    empty: Shop, capsys: Out, place: str
) -> None:
    (empty.database.parent / "text").write_text("this is no database, but long enough to be one")
    ledger = empty.database.parent / place
    status = run("settle", *empty.log, "--processor", f"fake:{ledger}")
    assert status == DOES_NOT_HOLD
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{ledger} cannot hold the books of the fake processor" in said


@BOTH
def test_a_fake_without_a_file_is_no_processor_of_the_command_line(
    shop: Shop, capsys: Out, verb: str
) -> None:
    facts = shop.facts()
    assert run(verb, *shop.log, "--processor", "fake") == MISUSED
    assert shop.facts() == facts
    assert "fake:FILE" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["list", "settle", "collect"])
def test_a_database_that_is_not_there_is_not_made(empty: Shop, capsys: Out, verb: str) -> None:
    nowhere = empty.database.parent / "nowhere.db"
    processor = () if verb == "list" else ("--processor", f"fake:{empty.ledger}")
    assert run(verb, "--database", str(nowhere), "--tenant", "acme", *processor) == UNAVAILABLE
    assert f"there is no database {nowhere}" in capsys.readouterr().err
    assert not nowhere.exists()


@BOTH
def test_a_tenant_without_invoices_has_nothing_to_do(shop: Shop, capsys: Out, verb: str) -> None:
    arguments = ("--database", str(shop.database), "--processor", f"fake:{shop.ledger}")
    assert run(verb, *arguments, "--tenant", "nobody") == HOLDS
    assert capsys.readouterr().out == "Nothing to do.\n"
    hold_wrong_usage(capsys, "tenant: must be", verb, *arguments, "--tenant", "a b")


def test_the_environment_names_what_is_not_said(
    shop: Shop, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_DATABASE", str(shop.database))
    monkeypatch.setenv("COUNTERFOIL_TENANT", "acme")
    monkeypatch.setenv("COUNTERFOIL_PROCESSOR", f"fake:{shop.ledger}")
    monkeypatch.setenv("COUNTERFOIL_TIMEZONE", "Pacific/Kiritimati")
    assert run("collect", "--dry-run") == HOLDS
    assert "1 to be charged" in capsys.readouterr().out
    monkeypatch.setenv("COUNTERFOIL_TIMEZONE", "Mars/Olympus")
    hold_wrong_usage(capsys, "timezone: must be", "collect", "--dry-run")


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verbs", "words"),
    [
        ((), ("list", "settle", "collect")),
        (("list",), ("--invoice", "--status", "--reference", "--limit", "--json")),
        (("settle",), ("--waiting SECONDS", "(default: 600)", "--processor", "fake:FILE")),
        (
            ("collect",),
            (
                "each run with a time to come",
                "--now TIME",
                "(default:",
                "1,3,5,7)",
                "--give-up",
                "--dry-run",
            ),
        ),
    ],
)
def test_the_help_fits_80_columns_and_tells_of_every_option(
    capsys: Out, monkeypatch: pytest.MonkeyPatch, *, verbs: tuple[str, ...], words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(("payments", *verbs, "--help"))
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for word in words:
        assert word in out
    # An option without a word about it would be followed by the next one at once.
    options = out.partition("\noptions:\n")[2]
    for option, following in zip(
        options.splitlines(), [*options.splitlines()[1:], ""], strict=True
    ):
        if re.fullmatch(r"  (-h, )?--\S+( [A-Z]+)?", option):
            assert following.startswith(" " * 20)
