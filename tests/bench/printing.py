"""How long does a print take beside warm Chromium's of the same page, and how much memory?

Both are given the HTML that is ready, and the bundled fonts. Real time: Chromium works in
processes of its own.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pypdfium2
from rich.console import Console
from rich.table import Table

from bench.chromium import Chromium, chromium, ghostscript, program
from bench.harness import Contender, Pair, Sample
from bench.kept import once
from counterfoil.adapters.pdf.pool import WeasyPrintPool
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
from counterfoil.billing import Billing
from counterfoil.domain import Address, Customer, Discount, NewLine, Seller, Tax
from counterfoil.domain.ports import Sheet
from counterfoil.projections.render.sheet import as_page

FONTS = Path(str(files("counterfoil.projections.render"))) / "fonts"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
# One after the other in a sample, as a service prints; a sample of one would be mostly chance.
PRINTS = 4

SELLER = Seller(
    name="Northwind Studio GmbH",
    address=Address(line1="Lange Reihe 29", postal_code="20099", city="Hamburg", country="DE"),
    tax_id="DE123456789",
    email="billing@northwind.example",
    bank_name="Nordbank",
    iban="DE89370400440532013000",
    bic="COBADEFFXXX",
)
CUSTOMER = Customer(
    id="cus_1",
    name="Ada GmbH",
    address=Address(line1="Weg 1", postal_code="10117", city="Berlin", country="DE"),
    tax_id="DE987654321",
    email="books@ada.example",
)
_RATES = (Tax(rate="19"), Tax(rate="7"))


@lru_cache
def sheet(lines: int, *, archival: bool = False) -> Sheet:
    """What the front door has printed of an invoice of so many lines, with a code to pay it by."""
    engine = RecordingEngine()
    with Billing.open(
        ":memory:", seller=SELLER, documents=None, pdf=engine, clock=lambda: NOON
    ) as billing:
        acme = billing.tenant("acme")
        drafted = acme.draft_invoice(
            id="in_1",
            customer=CUSTOMER,
            currency="EUR",
            collection_method="send_invoice",
            days_until_due=30,
            lines=tuple(map(_line, range(lines))),
        )
        acme.finalize_invoice(drafted.id)
        acme.render_invoice_pdf(drafted.id, archival=archival)
    (printed,) = engine.sheets
    return printed


def _line(place: int) -> NewLine:
    return NewLine(
        description=f"Design and engineering, sprint {place + 1}",
        quantity=f"{place % 9 + 1}.5",
        unit_price=f"{place % 97 + 3}.{place % 89 + 10}",
        tax=_RATES[place % 2],
        discount=Discount(percent="12.5") if place % 3 == 0 else None,
    )


def engine() -> WeasyPrintEngine:
    """Ours, made once in a run."""
    return once("engine", lambda: closing(WeasyPrintEngine()))


def browser() -> Chromium:
    """The peer, started once in a run."""
    return once("chromium", lambda: chromium(FONTS))


def prints(times: int, work: Callable[[], object]) -> Callable[[], Sample]:
    """A sample of so many prints."""

    def sample() -> Sample:
        began = perf_counter()
        for _ in range(times):
            work()
        return Sample(times, perf_counter() - began)

    return sample


# --- one process ----------------------------------------------------------------------------


@contextmanager
def plain(lines: int, *, times: int) -> Iterator[Sequence[Contender]]:
    """The print as it usually is; Chromium's has tags as well."""
    theirs, one = browser(), sheet(lines)
    page = as_page(one)
    ours = engine()
    _same(one, ours.render(one), theirs.print(page))
    yield (
        Contender("WeasyPrintEngine", "ours", prints(times, lambda: ours.render(one))),
        Contender("Chromium", "peer", prints(times, lambda: theirs.print(page))),
    )


@contextmanager
def archival(lines: int) -> Iterator[Sequence[Contender]]:
    """A print for an archive; Chromium makes none, so Ghostscript makes one of its print."""
    theirs, one = browser(), sheet(lines, archival=True)
    page = as_page(one)
    ours = engine()
    with TemporaryDirectory(prefix="bench-") as made:
        command = ghostscript(Path(made))

        def by_both() -> bytes:
            Path(made, "printed.pdf").write_bytes(theirs.print(page))
            subprocess.run(command, check=True, capture_output=True)
            return Path(made, "archival.pdf").read_bytes()

        _same(one, ours.render(one), by_both())
        yield (
            Contender("WeasyPrintEngine", "ours", prints(1, lambda: ours.render(one))),
            Contender("Chromium, then gs", "peer", prints(1, by_both)),
        )


def _same(given: Sheet, *printed: bytes) -> None:
    """All say the same, on as many pages when it is one."""
    pages, last = set(), f"sprint {given.html.count('sprint')}"
    for pdf in printed:
        with closing(pypdfium2.PdfDocument(pdf)) as opened:
            text = "".join(
                opened[number].get_textpage().get_text_bounded() for number in range(len(opened))
            )
            assert last in " ".join(text.split()), f"a print lacks {last}"
            pages.add(len(opened))
    assert 1 not in pages or len(pages) == 1, f"the prints have {pages} pages"


# --- workers --------------------------------------------------------------------------------


@contextmanager
def workers(count: int) -> Iterator[Sequence[Contender]]:
    """So many prints by two processes, and by one."""
    one = sheet(6)

    def sample(pool: WeasyPrintPool) -> Sample:
        began = perf_counter()
        for printed in callers.map(pool.render, [one] * count):
            assert printed
        return Sample(count, perf_counter() - began)

    with (
        closing(WeasyPrintPool(workers=2)) as two,
        closing(WeasyPrintPool(workers=1)) as alone,
        ThreadPoolExecutor(4) as callers,
    ):
        yield (
            Contender("2 workers", "ours", partial(sample, two)),
            Contender("1 worker", "peer", partial(sample, alone)),
        )


# --- memory ---------------------------------------------------------------------------------

MEMORY = "print-memory"
MEMORY_JOB = "print so often, from a start: how much is held at most?"
# How many lines are printed how often: what is held grows with the first prints.
MEMORY_JOBS = ((6, 20), (1_000, 2))
# Prints the sheet that it is given, and says what it ever held at most, in KiB.
_PRINT = """
import pickle, re, sys
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
sheet, times = pickle.load(sys.stdin.buffer)
engine = WeasyPrintEngine()
for _ in range(times):
    engine.render(sheet)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True, slots=True)
class Held:
    """The most bytes that were held for so many prints of an invoice of so many lines."""

    lines: int
    prints: int
    ours: int
    chromium: int

    @property
    def share(self) -> float:
        """Ours by the measure of Chromium's."""
        return self.ours / self.chromium


def memory(jobs: Sequence[tuple[int, int]] = MEMORY_JOBS) -> Sequence[Held]:
    """Both, for each job. No other browser may run: what several share would count less."""
    program("chromium")
    return [
        Held(lines, times, _ours_held(lines, times), _chromium_held(lines, times))
        for lines, times in jobs
    ]


def _ours_held(lines: int, times: int) -> int:
    """By a process that prints and does no more."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINT],
        input=pickle.dumps((sheet(lines), times)),
        capture_output=True,
        check=True,
    )
    return int(done.stdout) * 1024


def _chromium_held(lines: int, times: int) -> int:
    page = as_page(sheet(lines))
    with chromium(FONTS) as one, one.watched() as seen:
        for _ in range(times):
            one.print(page)
    return max(seen)


def print_memory(console: Console, held: Sequence[Held]) -> None:
    """Show who held how much, as a table of its own."""
    console.print()
    console.print(f"[bold]{MEMORY}[/]: {MEMORY_JOB}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("", "ours", "Chromium", "ours is"):
        table.add_column(name, justify="right" if name else "left")
    for one in held:
        table.add_row(
            f"{one.lines:,} lines, {one.prints} times",
            *(f"{size / 2**20:,.0f} MiB" for size in (one.ours, one.chromium)),
            f"{one.share:.2f} of it",
        )
    console.print(table)
    console.print(
        "Target: less than 0.25. Ours is what one process holds (RSS), "
        "Chromium's all of its processes (PSS).",
        style="dim",
    )


SAME = "Both are given the same HTML and fonts, and print with tags."
PAIRS = (
    Pair(
        name="print-page",
        job="print an invoice of 6 lines, on one page",
        unit="print",
        size=6,
        setup=partial(plain, times=PRINTS),
        note=f"Target: 1.2 × as fast. {SAME} Chromium is warm.",
    ),
    Pair(
        name="print-archival",
        job="the same for an archive, as PDF/A-3b",
        unit="print",
        size=6,
        setup=archival,
        note=(
            "Target: 3 × as fast. Chromium makes no PDF/A, so Ghostscript makes one of its print; "
            "it gets no output intent, so it is not valid, which would take longer."
        ),
    ),
    Pair(
        name="print-long",
        job="print an invoice of 1,000 lines",
        unit="print",
        size=1_000,
        setup=partial(plain, times=1),
        note=f"Target: 0.5 × as fast or more. {SAME} Chromium is warm.",
    ),
    Pair(
        name="print-workers",
        job="print an invoice of 6 lines by two processes of the pool",
        unit="print",
        size=24,
        setup=workers,
        note="Target: 1.5 × as fast, which needs two cores that nobody else uses.",
    ),
)
PAIRS_LONG = tuple(pair for pair in PAIRS if pair.name in {"print-long", "print-workers"})
