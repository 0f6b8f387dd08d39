"""Does a rebuild need more memory for more facts? Not one of the pairs: some minutes alone.

    .venv/bin/python tests/bench/rebuild_memory.py

Each rebuild is a process of its own, which says by how much the most that it ever held has grown
since it was ready to begin. Exits with 1 if a million facts need a tenth more than 200,000.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory

# Python looks for modules beside the program; these names start one folder higher.
sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.ledger import FACTS_PER_INVOICE, Ledger, fill_postgres, fill_sqlite
from bench.saving import VAR
from bench.server import database, server
from counterfoil.billing import Billing

SIZES = (200_000, 1_000_000)
# What is given back to the system late makes some megabytes of difference from run to run.
RUNS = 5
MORE_MAX = 1.1

Fill = Callable[[str, Ledger, int], None]


def main() -> int:
    """Measure both databases at both sizes."""
    flat = True
    for name, opens, fill in (
        ("PostgreSQL", postgres, fill_postgres),
        ("SQLite", sqlite, fill_sqlite),
    ):
        for names in (("invoices", "lines"), ()):
            grown = measured(opens, fill, names)
            ratio = grown[-1] / grown[0]
            flat = flat and ratio <= MORE_MAX
            said = ", ".join(
                f"{size:,} facts {kilobytes / 1024:.1f} MiB"
                for size, kilobytes in zip(SIZES, grown, strict=True)
            )
            print(f"{name}, {' and '.join(names) or 'all read models'}: {said}, {ratio:.2f} times")
    return 0 if flat else 1


def measured(opens: Callable[[], Iterator[str]], fill: Fill, names: Sequence[str]) -> list[int]:
    """By how many KiB rebuilds of more and more facts grew, in one database."""
    grown: list[int] = []
    ledger = Ledger()
    with contextmanager(opens)() as address:
        Billing.init(address)
        for size in SIZES:
            fill(address, ledger, size // FACTS_PER_INVOICE - len(ledger.ids))
            grown.append(median_low(rebuilt(address, names) for _ in range(RUNS)))
    return grown


def rebuilt(address: str, names: Sequence[str]) -> int:
    """By how many KiB one of them grew."""
    done = subprocess.run(
        [sys.executable, __file__, address, *names], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def postgres() -> Iterator[str]:
    """An empty database on a server of its own."""
    with server(0) as url, database(url, "rebuild_memory") as own:
        yield own


def sqlite() -> Iterator[str]:
    """The path of a file."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        yield str(Path(made) / "rebuild_memory.db")


def grown_by(address: str, names: Sequence[str]) -> int:
    """How many KiB a rebuild adds to the most that this process ever held."""
    with Billing.upkeep(address) as projections:
        projections.status()
        before = peak()
        projections.rebuild(*names)
        return peak() - before


def peak() -> int:
    """The most that this process ever held, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise OSError("this system does not say what a process held at most")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(grown_by(sys.argv[1], sys.argv[2:]))
        sys.exit(0)
    sys.exit(main())
