"""On which disk is PostgreSQL measured? On one whose flush takes 2 ms longer than this one's.

A flush to a good disk of one's own takes a tenth of that, and hides what waits for whom.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import psycopg
from psycopg import sql

from support.postgres import cluster

VAR = Path(__file__).parents[2] / "var"
SHIM = Path(__file__).with_name("slow_disk.c")
SLOWER_US = 2_000

# Room for the tables of one pair, and no checkpoint before it is over.
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
# What slow_disk.c slows down; the others write through the file without a call of their own.
SLOWED_METHODS = {"fdatasync", "fsync"}


@contextmanager
def server(slower_us: int = SLOWER_US) -> Iterator[str]:
    """The address of a fresh server that flushes every commit, to a disk so much slower."""
    VAR.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=VAR) as made:
        shim = compiled(Path(made)) if slower_us else None
        with cluster(
            durable=True, preload=shim, env={"SHIM_US": str(slower_us)}, settings=SETTINGS
        ) as url:
            if shim is not None:
                hold_slow(url, slower_us)
            yield url


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """An empty database of this name. It stays: dropping it would disturb those that follow."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield url.replace("/postgres?", f"/{name}?")


def compiled(folder: Path) -> Path | None:
    """The library that slows flushes down, or None where nobody can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        say("no cc: PostgreSQL is measured on this disk as it is, not on one that is slower")
        return None
    library = folder / "slow_disk.so"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-o", library, SHIM, "-ldl"],
        check=True,
        capture_output=True,
    )
    # The server runs as a user of its own.
    folder.chmod(0o755)
    return library


def hold_slow(url: str, slower_us: int) -> None:
    """Say so if the server's flushes are not slower after all."""
    with psycopg.connect(url, autocommit=True) as connection:
        (method,) = connection.execute("SHOW wal_sync_method").fetchone() or ("",)
        took = median(commit_seconds(connection) for _ in range(5))
    if method not in SLOWED_METHODS or took * 1e6 < slower_us:
        say(f"the disk is not slower: a commit takes {took * 1e6:.0f} µs, flushed by {method}")


def commit_seconds(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """How long the smallest commit takes that is flushed."""
    began = perf_counter()
    connection.execute("SELECT pg_logical_emit_message(true, 'bench', '')")
    return perf_counter() - began


def say(warning: str) -> None:
    """Beside the figures, not among them."""
    print(f"bench: {warning}", file=sys.stderr)
