"""Does a replay, or a what-if, need more memory for more facts?"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.ledger import FACTS_PER_INVOICE, Ledger, fill_postgres, fill_sqlite
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.rows import Row
from counterfoil.billing import Billing
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

FEW, MANY = 48_000, 144_000
MORE_MAX = 1.25
CACHE = 32 * 1024  # of SQLite, in KiB

RULES = "import math\n\ndef round_half_away(exact):\n    return math.floor(exact)\n"
REPLAY = """
import json, sys
from pathlib import Path
from counterfoil.billing import Billing
def peak():
    said = Path("/proc/self/status").read_text()
    return int(said.partition("VmHWM:")[2].split()[0])
with Billing.auditing(sys.argv[1]) as audit:
    audit.size()
    before, grown = peak(), {}
    def watch(progress):
        grown[progress.phase] = peak() - before
    if len(sys.argv) > 2:
        done = audit.replay(with_=sys.argv[2], watch=watch)
        assert done.count
    else:
        done = audit.replay(watch=watch)
        assert done.holds
    print(json.dumps({"facts": done.facts, "rate": round(done.facts / done.seconds), **grown}))
"""


class Chained(Ledger):
    """A ledger whose hashes are those of chains."""

    def rows(self, invoices: int) -> Iterator[tuple[object, ...]]:
        heads: dict[str, bytes] = {}
        for plain in super().rows(invoices):
            row = Row._make(plain)
            heads[row.stream] = link(heads.get(row.stream, GENESIS), row)
            yield tuple(row._replace(hash=heads[row.stream]))


@contextmanager
def filled(kind: str, server: str, folder: Path, facts: int) -> Iterator[str]:
    """A database of so many facts, with its read models."""
    if kind == "postgres":
        with postgres.ready(server) as url:
            fill_postgres(url, Chained(), facts // FACTS_PER_INVOICE)
            yield rebuilt(url)
    else:
        url = str(folder / f"{facts}.db")
        Billing.init(url)
        fill_sqlite(url, Chained(), facts // FACTS_PER_INVOICE)
        yield rebuilt(url)


def rebuilt(url: str) -> str:
    with Billing.upkeep(url) as projections:
        projections.rebuild()
    return url


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_replay_of_three_times_as_many_facts_needs_no_more_memory(
    kind: str, postgres_url: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.py"
    rules.write_text(RULES)
    grown: list[dict[str, int]] = []
    for facts in (FEW, MANY):
        with filled(kind, postgres_url, tmp_path, facts) as url:
            found = replayed(url) | replayed(url, str(rules))
            assert found["facts"] == facts
            sys.stdout.write(f"{kind}, in KiB: {found}\n")
            grown.append(found)
    few, many = grown
    assert many["play"] <= few["play"] * MORE_MAX
    # The rest goes through caches of SQLite's, which fill up to 32 MB each: deciding reads streams
    # in another order than they were stored in, and comparing reads whole tables.
    for phase in ("swap", "compare", "decide"):
        assert many[phase] <= few[phase] + CACHE, phase


def replayed(url: str, *rules: str) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, url, *rules], capture_output=True, text=True, check=True
    )
    said: dict[str, int] = json.loads(done.stdout)
    return said
