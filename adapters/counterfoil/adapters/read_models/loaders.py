"""Processes that each load a part of a rebuild, and say how far they are.

They are programs of their own, told on standard input what to do: nothing that the caller has open
is copied into them, and an address with a password in it is on no command line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import IO, cast

from counterfoil.domain.errors import Unavailable


def run(database: str, token: str, parts: Sequence[int], watch: Callable[[int], None]) -> None:
    """Load these parts, all at once, and return when all are loaded."""
    loaders = [_started({"database": database, "token": token, "part": part}) for part in parts]
    try:
        with ThreadPoolExecutor(len(loaders)) as threads:
            for followed in [threads.submit(_follow, loader, watch) for loader in loaders]:
                followed.result()
    finally:
        for loader in loaders:
            with suppress(ProcessLookupError):
                loader.kill()
            loader.wait()


def _started(told: dict[str, object]) -> subprocess.Popen[str]:
    loader = subprocess.Popen(  # noqa: S603  (ourselves)
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with suppress(BrokenPipeError), cast("IO[str]", loader.stdin) as stdin:
        stdin.write(json.dumps(told))  # if it has ended already, it says why itself
    return loader


def _follow(loader: subprocess.Popen[str], watch: Callable[[int], None]) -> None:
    with cast("IO[str]", loader.stdout) as stdout, cast("IO[str]", loader.stderr) as stderr:
        for line in stdout:
            watch(int(line))
        said = stderr.read().strip()
    if loader.wait() != 0:
        why = said.rpartition("\n")[2] or f"it was killed ({loader.returncode})"
        raise Unavailable(f"a worker of the rebuild ended: {why}; go on with --resume")


def main() -> None:
    """Load the part that standard input names."""
    from counterfoil.adapters.event_store.postgres import PostgresLog
    from counterfoil.adapters.read_models.postgres import PostgresStore
    from counterfoil.projections.rebuild import load_part

    told = json.load(sys.stdin)
    with closing(PostgresLog(told["database"], pool_size=2, pool_size_max=2)) as log:
        load_part(
            PostgresStore(log),
            told["token"],
            told["part"],
            lambda facts: print(facts, flush=True),  # noqa: T201  (that is how it is heard)
        )


if __name__ == "__main__":
    main()
