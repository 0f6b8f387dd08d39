"""Does an answer take longer where a hundred times as many invoices are kept?

The peer is ours again, asked of a hundredth of the invoices: 1.00 × as fast is no difference.
A sample's time is the median of its questions, times their number: they are of other invoices each
time, and one that the disk had to be asked for is not what is measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal

from bench.harness import Contender, Pair, Sample
from bench.kept import bare_server, once
from bench.ledger import MIXED, TENANT, Ledger, fill_postgres, fill_sqlite
from bench.saving import VAR
from bench.server import database
from counterfoil.adapters.tenant import Tenant
from counterfoil.billing import Billing

QUESTIONS = 60
SMALLER = 100
PER_CUSTOMER = 10

Kind = Literal["sqlite", "pg"]
Invoices = tuple[Tenant, Ledger]
Ask = Callable[[Tenant, Ledger, random.Random], object]


@contextmanager
def asked(invoices: int, *, kind: Kind, ask: Ask) -> Iterator[Sequence[Contender]]:
    """The same question of many invoices and of few."""
    few = max(PER_CUSTOMER, invoices // SMALLER)
    many = max(PER_CUSTOMER + 1, invoices)
    yield (
        Contender(f"of {many:,} invoices", "ours", sample(kept(kind, many), ask)),
        Contender(f"of {few:,} invoices", "peer", sample(kept(kind, few), ask)),
    )


def sample(invoices: Invoices, ask: Ask) -> Callable[[], Sample]:
    """The median of so many questions, for each of them."""
    tenant, ledger = invoices
    chance = random.Random(1)  # noqa: S311 - the same questions in each run

    def asked() -> Sample:
        took = []
        for _ in range(QUESTIONS):
            began = perf_counter()
            ask(tenant, ledger, chance)
            took.append(perf_counter() - began)
        return Sample(QUESTIONS, QUESTIONS * median(took))

    return asked


def kept(kind: Kind, invoices: int) -> Invoices:
    """A database of so many invoices, made once in a run."""
    return once((kind, invoices), partial(_OPENS[kind], invoices))


@contextmanager
def sqlite(invoices: int) -> Iterator[Invoices]:
    """A file of so many invoices."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        path = str(Path(made) / "asked.db")
        Billing.open(path).close()
        ledger = _ledger(invoices)
        fill_sqlite(path, ledger, invoices)
        with opened(path) as tenant:
            yield tenant, ledger


@contextmanager
def postgres(invoices: int) -> Iterator[Invoices]:
    """A database of so many invoices."""
    with database(bare_server(), f"asked_{invoices}") as url:
        Billing.init(url)
        ledger = _ledger(invoices)
        fill_postgres(url, ledger, invoices)
        with opened(url) as tenant:
            yield tenant, ledger


def _ledger(invoices: int) -> Ledger:
    return Ledger(lives=MIXED, customers=max(1, invoices // PER_CUSTOMER))


@contextmanager
def opened(address: str) -> Iterator[Tenant]:
    """Its tenant, with the read models that are asked here."""
    with Billing.open(address) as billing:
        billing.projections.rebuild("invoices", "lines")
        yield billing.tenant(TENANT)


_OPENS = {"sqlite": sqlite, "pg": postgres}


# --- questions ------------------------------------------------------------------------------


def get(tenant: Tenant, ledger: Ledger, chance: random.Random) -> object:
    """One invoice."""
    return tenant.invoices.get(chance.choice(ledger.ids))


def by_customer(tenant: Tenant, ledger: Ledger, chance: random.Random) -> object:
    """All invoices of a customer."""
    found = tenant.invoices.find_by_customer(ledger.customer(chance.randrange(len(ledger.ids))))
    assert len(found) == PER_CUSTOMER
    return found


def newest(tenant: Tenant, _: Ledger, __: random.Random) -> object:
    """The first page of a list."""
    return tenant.invoices.list()


def deep(tenant: Tenant, ledger: Ledger, chance: random.Random) -> object:
    """A page from around the middle of the list."""
    middle = len(ledger.ids) // 2
    cursor = ledger.ids[chance.randrange(middle, middle + middle // 10 + 1)]
    return tenant.invoices.list(starting_after=cursor)


def count(tenant: Tenant, _: Ledger, __: random.Random) -> object:
    """How many are open."""
    return tenant.invoices.count(status="open")


ASKED: dict[str, tuple[str, Ask]] = {
    "get": ("get an invoice", get),
    "find": ("find the 10 invoices of a customer", by_customer),
    "list": ("list the newest 10 invoices", newest),
    "deep": ("list 10 invoices from the middle", deep),
    "count": ("count the open invoices", count),
}
_WHERE: tuple[tuple[Kind, str], ...] = (("sqlite", "SQLite"), ("pg", "PostgreSQL"))
PAIRS = tuple(
    Pair(
        name=f"{name}-{kind}",
        job=f"{job} in {where}, of 100,000",
        unit="query",
        size=100_000,
        setup=partial(asked, kind=kind, ask=ask),
        note="Target: 0.5 × as fast or more. The peer is ours among a hundredth of the invoices.",
    )
    for kind, where in _WHERE
    for name, (job, ask) in ASKED.items()
)
