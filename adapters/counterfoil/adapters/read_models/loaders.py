"""Processes that each load a part of a rebuild, and say how far they are.

They are programs of their own, told on standard input what to do: nothing that the caller has open
is copied into them, and an address with a password in it is on no command line.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
from threading import Lock
from typing import IO, cast

from counterfoil.domain.errors import CounterfoilError, Unavailable


def run(database: str, token: str, parts: Sequence[int], watch: Callable[[int], None]) -> None:
    """Load these parts, all at once, and return when all are loaded; one that fails ends all."""
    loaders: list[subprocess.Popen[str]] = []
    one_by_one = Lock()

    def follow(loader: subprocess.Popen[str]) -> None:
        with cast("IO[str]", loader.stdout) as stdout, cast("IO[str]", loader.stderr) as stderr:
            for line in stdout:
                with one_by_one:
                    watch(int(line))
            said = stderr.read().strip().rpartition("\n")[2]
        if loader.wait() != 0:
            raise _failure(said, loader.returncode)

    try:
        told = {"database": database, "token": token}
        loaders.extend(_started({**told, "part": part}) for part in parts)
        with ThreadPoolExecutor(len(loaders)) as threads:
            try:
                for followed in as_completed([threads.submit(follow, one) for one in loaders]):
                    followed.result()
            except BaseException:
                _end(loaders)
                raise
    finally:
        _end(loaders)


def _end(loaders: Sequence[subprocess.Popen[str]]) -> None:
    for loader in loaders:
        with suppress(ProcessLookupError):
            loader.kill()
        loader.wait()


def _started(told: Mapping[str, object]) -> subprocess.Popen[str]:
    loader = subprocess.Popen(  # noqa: S603  (our own module, by our own interpreter)
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with suppress(BrokenPipeError), cast("IO[str]", loader.stdin) as stdin:
        stdin.write(json.dumps(told))  # if it has ended already, it says why itself
    return loader


def _failure(said: str, status: int) -> CounterfoilError:
    """What a loader that ended with an error says, as it said it."""
    if said.startswith(_SAYS):
        error = pickle.loads(bytes.fromhex(said.removeprefix(_SAYS)))  # noqa: S301  (a process that we started, and nobody else, wrote it)
        return cast("CounterfoilError", error)
    why = said or f"it was killed ({status})"
    return Unavailable(f"a worker of the rebuild ended: {why}; go on with --resume")


_SAYS = "counterfoil error "


def _tell(facts: int) -> None:
    sys.stdout.write(f"{facts}\n")
    sys.stdout.flush()


def main() -> int:
    """Load the part that standard input names."""
    from counterfoil.adapters.event_store.postgres import PostgresLog
    from counterfoil.adapters.read_models.postgres import PostgresStore
    from counterfoil.projections.rebuild import load_part

    told = json.load(sys.stdin)
    try:
        with closing(PostgresLog(told["database"], pool_size=2, pool_size_max=3)) as log:
            load_part(
                PostgresStore(log),
                told["token"],
                told["part"],
                _tell,
            )
    except CounterfoilError as error:
        sys.stderr.write(f"{_SAYS}{pickle.dumps(error).hex()}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
