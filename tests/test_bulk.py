"""Do many prints end as one by one: each kept once, and none lost because another failed?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.billing import Billing, Branding, Range, Tenant, actor
from counterfoil.domain.errors import (
    Malformed,
    NotFound,
    PdfDisabled,
    RenderFailed,
    StorageNotConfigured,
    Unavailable,
)
from support import postgres
from support.invoices import BUYER, NOON, SELLER, WORK, Clock, drafted, issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.adapters.tenant.bulk import Kept
    from counterfoil.billing import Invoice
    from counterfoil.domain.ports import Label, Sheet

ALL = ["in_0", "in_1", "in_2", "in_3", "in_4"]
BLUE, RED = Branding(colour="#0b5fff"), Branding(colour="#ff0000")


class Printer(RecordingEngine):
    """It fails on what is cursed, and does what it is told to before each print."""

    def __init__(self) -> None:
        super().__init__()
        self.cursed = ""
        self.before: Callable[[], object] = lambda: None

    def render(self, sheet: Sheet) -> bytes:
        """Print, or fail."""
        self.before()
        if self.cursed and self.cursed in sheet.html:
            raise RenderFailed("it is cursed")
        return super().render(sheet)


class Shelf(MemoryStore):
    """A store that one key cannot be put into."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = ""

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store, or be stuck."""
        if self.stuck and self.stuck in key:
            raise Unavailable("the shelf is stuck")
        super().put(key, content, label)


@contextmanager
def opened(database: str = ":memory:", **settings: Any) -> Iterator[Tenant]:
    """A tenant whose log and read models hold at the end."""
    settings = {"documents": Shelf(), "pdf": Printer(), "clock": Clock(), **settings}
    with Billing.open(database, seller=SELLER, **settings) as billing:
        yield billing.tenant("acme")
        assert billing.audit.verify().holds
        assert billing.projections.verify().holds


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "log.db")
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def printer() -> Printer:
    return Printer()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def acme(tmp_path: Path, printer: Printer, shelf: Shelf) -> Iterator[Tenant]:
    with opened(str(tmp_path / "log.db"), pdf=printer, documents=shelf) as tenant:
        yield tenant


def several(tenant: Tenant, number: int = 5) -> list[Invoice]:
    """So many open invoices, each to a customer of its own, the oldest first."""
    return [
        issued(
            tenant,
            [WORK],
            id=f"in_{place}",
            customer=BUYER.model_copy(update={"id": f"cus_{place}", "name": f"Buyer {place}"}),
            metadata={"order": str(place)},
        )
        for place in range(number)
    ]


def stored(done: list[Kept]) -> list[str]:
    return [one.invoice for one in done if one.stored is not None]


def before(done: list[Kept]) -> list[str]:
    return [one.invoice for one in done if one.stored is None and one.error is None]


def failed(done: list[Kept]) -> list[str]:
    return [one.invoice for one in done if one.error is not None]


# --- a run and the next ---------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_keeps_all_and_the_next_only_what_has_changed(database: str, workers: int) -> None:
    branding = [BLUE]
    with opened(database, branding=lambda _: branding[0]) as acme:
        several(acme)

        def run(**options: Any) -> list[Kept]:
            return list(acme.store_invoice_pdfs(workers=workers, **options))

        assert stored(run()) == ALL
        assert before(run()) == ALL
        acme.record_payment("in_2", amount="10.00")
        changed = run()
        assert (stored(changed), len(before(changed))) == (["in_2"], 4)
        assert stored(run(archival=True, status="open")) == ALL
        assert stored(run(archival=True)) == []
        branding[0] = RED
        assert stored(run()) == ALL
        assert stored(run()) == []
        for place in range(5):
            prints = acme.stored_invoice_pdfs(f"in_{place}")
            assert len(prints) == (4 if place == 2 else 3)
            assert acme.fetch_invoice_pdf(f"in_{place}")


@pytest.mark.parametrize("change", ["metadata", "sent"])
def test_what_changed_nothing_on_paper_is_printed_at_most_once_more(
    acme: Tenant, change: str
) -> None:
    several(acme, 2)
    list(acme.store_invoice_pdfs())
    if change == "metadata":
        acme.set_metadata("in_1", {"order": "another"})
    else:
        acme.send_invoice("in_1")
    list(acme.store_invoice_pdfs())
    assert stored(list(acme.store_invoice_pdfs())) == []


def test_each_is_told_with_its_number_and_what_was_kept(acme: Tenant) -> None:
    (invoice,) = several(acme, 1)
    drafted(acme, [WORK], id="in_draft")
    first, second = acme.store_invoice_pdfs()
    assert (first.invoice, first.number, first.error) == (invoice.id, invoice.number, None)
    assert first.stored is not None
    assert first.stored.sha256 == acme.stored_invoice_pdfs(invoice)[0].sha256
    assert (second.invoice, second.number, second.error) == ("in_draft", None, None)
    assert second.stored is not None
    assert second.stored.key == "invoices/in_draft.draft.pdf"


def test_again_prints_what_is_kept_and_puts_back_what_was_lost(
    acme: Tenant, shelf: Shelf, printer: Printer
) -> None:
    several(acme, 2)
    list(acme.store_invoice_pdfs())
    shelf.delete("acme/invoices/in_1.pdf")
    assert stored(list(acme.store_invoice_pdfs(again=True))) == ["in_0", "in_1"]
    assert len(printer.sheets) == 4
    assert acme.fetch_invoice_pdf("in_1")
    assert len(acme.stored_invoice_pdfs("in_1")) == 1


def test_two_runs_at_once_keep_each_invoice_once(database: str) -> None:
    with opened(database) as acme:
        several(acme, 4)
        with ThreadPoolExecutor(2) as threads:
            runs = list(threads.map(lambda _: list(acme.store_invoice_pdfs(workers=2)), range(2)))
        assert [failed(run) for run in runs] == [[], []]
        assert [len(acme.stored_invoice_pdfs(f"in_{place}")) for place in range(4)] == [1] * 4


def test_more_than_a_page_of_them_is_printed(acme: Tenant, printer: Printer) -> None:
    for place in range(103):
        acme.draft_invoice(customer=BUYER, currency="EUR", id=f"in_{place:03}")
    done = list(acme.store_invoice_pdfs(workers=2))
    assert [one.invoice for one in done] == [f"in_{place:03}" for place in range(103)]
    assert len(printer.sheets) == 103


def test_workers_print_at_the_same_time(acme: Tenant, printer: Printer) -> None:
    several(acme, 3)
    meeting = threading.Barrier(3, timeout=60)
    printer.before = meeting.wait
    assert len(stored(list(acme.store_invoice_pdfs(workers=3)))) == 3


def test_nobody_elses_invoices_are_printed(tmp_path: Path) -> None:
    with Billing.open(
        tmp_path / "log.db",
        seller=SELLER,
        documents=MemoryStore(),
        pdf=RecordingEngine(),
        clock=Clock(),
    ) as billing:
        acme, other = billing.tenant("acme"), billing.tenant("other")
        several(acme, 2)
        several(other, 2)
        list(acme.store_invoice_pdfs())
        assert other.stored_invoice_pdfs("in_0") == ()
        assert len(stored(list(other.store_invoice_pdfs()))) == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_the_facts_of_a_run_say_who_ran_it(tmp_path: Path, workers: int) -> None:
    with Billing.open(
        tmp_path / "log.db",
        seller=SELLER,
        documents=MemoryStore(),
        pdf=RecordingEngine(),
        clock=Clock(),
    ) as billing:
        acme = billing.tenant("acme")
        several(acme, 2)
        with actor("user", "u_42", cause="button"):
            list(acme.store_invoice_pdfs(workers=workers))
        for name in ("in_0", "in_1"):
            envelope = billing.log.read("acme", name)[-1].envelope
            assert (envelope.actor.id, envelope.causation_id) == ("u_42", "button")


# --- which of them, and how -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ({}, ["in_0", "in_1", "in_2", "in_draft"]),
        ({"status": "open"}, ["in_0", "in_2"]),
        ({"status": "paid"}, ["in_1"]),
        ({"status": "draft"}, ["in_draft"]),
        ({"status": "void"}, []),
        ({"customer": "cus_2"}, ["in_2"]),
        ({"metadata": {"order": "0"}}, ["in_0"]),
        ({"number_prefix": "INV-2026-0002"}, ["in_1"]),
        ({"created": Range(lt=NOON)}, []),
        ({"status": "open", "customer": "cus_1"}, []),
        ({"currency": "EUR", "customer": None}, ["in_0", "in_1", "in_2", "in_draft"]),
    ],
)
def test_those_are_printed_that_meet_the_filters(filters: dict[str, Any], meant: list[str]) -> None:
    with opened() as acme:
        several(acme, 3)
        acme.record_payment("in_1", amount="119.00")
        drafted(acme, [WORK], id="in_draft")
        assert stored(list(acme.store_invoice_pdfs(**filters))) == meant


@pytest.mark.parametrize("workers", [0, 65, -1, "x", "2", 1.0, True, None])
def test_a_wrong_number_of_workers_is_refused_at_once(acme: Tenant, workers: Any) -> None:
    with pytest.raises(Malformed, match="workers: must be 1 to 64"):
        acme.store_invoice_pdfs(workers=workers)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("colour", {"colour": "red"}),
        ("status", {"status": "lost"}),
        ("overdue", {"overdue": "yes"}),
        ("size", {"size": "A9"}),
        ("margin_top", {"margin_top": "much"}),
        ("command_id", {"command_id": "one"}),
        ("limit", {"limit": 3}),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_printed(
    acme: Tenant, printer: Printer, field: str, wrong: dict[str, Any]
) -> None:
    several(acme, 2)
    with pytest.raises(Malformed, match=field):
        list(acme.store_invoice_pdfs(**wrong))
    assert printer.sheets == []


# --- what goes wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_one_that_fails_stops_no_other_and_the_next_run_goes_on_with_it(
    database: str, workers: int
) -> None:
    printer, shelf = Printer(), Shelf()
    with opened(database, pdf=printer, documents=shelf) as acme:
        invoices = several(acme, 6)
        printer.cursed, shelf.stuck = "Buyer 4", "in_1."
        done = list(acme.store_invoice_pdfs(workers=workers))
        assert [one.invoice for one in done] == [one.id for one in invoices]
        assert failed(done) == ["in_1", "in_4"]
        errors = [one.error for one in done if one.error is not None]
        assert [type(error) for error in errors] == [Unavailable, RenderFailed]
        assert [one.number for one in done if one.error is not None] == [
            *("INV-2026-0002", "INV-2026-0005")
        ]
        assert len(stored(done)) == 4
        assert acme.stored_invoice_pdfs("in_4") == acme.stored_invoice_pdfs("in_1") == ()
        printer.cursed = shelf.stuck = ""
        assert stored(list(acme.store_invoice_pdfs(workers=workers))) == ["in_1", "in_4"]


def test_a_draft_that_is_deleted_meanwhile_is_reported(acme: Tenant, printer: Printer) -> None:
    for place in range(3):
        drafted(acme, [WORK], id=f"in_{place}")

    def delete() -> None:
        printer.before = lambda: None
        acme.delete_draft("in_1")

    printer.before = delete
    done = list(acme.store_invoice_pdfs())
    assert (stored(done), failed(done)) == (["in_0", "in_2"], ["in_1"])
    assert isinstance(done[1].error, NotFound)


def test_without_an_engine_or_a_store_each_one_says_so(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database, pdf=None) as acme:
        several(acme, 2)
        done = list(acme.store_invoice_pdfs())
        assert [type(one.error) for one in done] == [PdfDisabled, PdfDisabled]
    with opened(database, documents=None) as acme:
        done = list(acme.store_invoice_pdfs(workers=2))
        assert [one.stored is not None and one.stored.persisted for one in done] == [False, False]
        assert acme.stored_invoice_pdfs("in_0") == ()
        with pytest.raises(StorageNotConfigured):
            acme.fetch_invoice_pdf("in_0")


@pytest.mark.parametrize("workers", [1, 3])
def test_who_stops_half_way_leaves_what_was_printed_and_can_go_on(
    database: str, workers: int
) -> None:
    printer, shelf = Printer(), Shelf()
    with opened(database, pdf=printer, documents=shelf) as acme:
        several(acme, 10)
        threads = threading.active_count()
        run = acme.store_invoice_pdfs(workers=workers)
        assert next(run).stored is not None
        assert next(run).stored is not None
        run.close()  # type: ignore[attr-defined]
        assert threading.active_count() == threads
        printed = len(printer.sheets)
        assert 2 <= printed < 10
        recorded = [
            name
            for name in (f"in_{place}" for place in range(10))
            if acme.stored_invoice_pdfs(name)
        ]
        assert len(recorded) == printed
        done = list(acme.store_invoice_pdfs(workers=workers))
        assert (len(stored(done)), len(before(done))) == (10 - printed, printed)
        assert len(printer.sheets) == 10


def test_a_run_that_nobody_asks_prints_nothing(acme: Tenant, printer: Printer) -> None:
    several(acme, 2)
    acme.store_invoice_pdfs()
    assert printer.sheets == []


@pytest.mark.slow
def test_a_pool_of_processes_prints_the_same_bytes(tmp_path: Path) -> None:
    from counterfoil.adapters.pdf.pool import WeasyPrintPool

    pool, database = WeasyPrintPool(workers=2), tmp_path / "log.db"
    with opened(str(database), pdf=pool, documents=tmp_path / "documents") as acme:
        several(acme, 4)
        assert len(stored(list(acme.store_invoice_pdfs(workers=2)))) == 4
        pooled = [
            one.sha256 for place in range(4) for one in acme.stored_invoice_pdfs(f"in_{place}")
        ]
    with opened(str(database), pdf="weasyprint", documents=tmp_path / "documents") as acme:
        assert stored(list(acme.store_invoice_pdfs(again=True))) == ALL[:4]
        warm = [one.sha256 for place in range(4) for one in acme.stored_invoice_pdfs(f"in_{place}")]
    assert warm == pooled


def test_an_own_engine_that_fails_stops_one_invoice_and_is_not_quoted(
    acme: Tenant, printer: Printer
) -> None:
    several(acme)
    turns = iter(range(5))

    def stumble() -> None:
        if next(turns) == 1:
            raise ZeroDivisionError("on the page of Buyer 1")

    printer.before = stumble
    done = list(acme.store_invoice_pdfs())
    assert [str(one.error) for one in done if one.error] == [
        "the engine failed (ZeroDivisionError)"
    ]
    assert len(stored(done)) == 4
