"""Processes that each walk over a part of the log, and say what they found.

They are programs of their own, told on standard input what to do: nothing that the caller has open
is copied into them, and an address with a password in it is on no command line.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Lock
from typing import IO, TYPE_CHECKING, cast

from counterfoil.adapters.audit.walk import Part, Walk, Walked
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.domain.errors import CounterfoilError, Unavailable

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.postgres import PostgresLog

_FOUND, _FAILED = "found ", "failed "


def walk_apart(
    database: str, parts: Sequence[Part], watch: Callable[[int], None], *, deep: bool
) -> list[Walked]:
    """Walk over these parts, all at once; a process that fails ends all of them."""
    processes: list[subprocess.Popen[str]] = []
    done = [0] * len(parts)
    one_by_one = Lock()

    def follow(number: int) -> Walked:
        process, said = processes[number], ""
        for line in cast("IO[str]", process.stdout):
            if line.startswith((_FOUND, _FAILED)):
                said = line
                continue
            with one_by_one:
                done[number] = int(line)
                watch(sum(done))
        process.wait()
        return _answer(said, process)

    try:
        for part in parts:
            told = {"database": database, "after": part.after, "until": part.until, "deep": deep}
            processes.append(_started(told))
        with ThreadPoolExecutor(len(parts)) as threads:
            try:
                return list(threads.map(follow, range(len(parts))))
            except BaseException:
                _end(processes)
                raise
    finally:
        _end(processes)


def _started(told: Mapping[str, object]) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603  (our own module, by our own interpreter)
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with suppress(BrokenPipeError), cast("IO[str]", process.stdin) as stdin:
        stdin.write(json.dumps(told))  # if it has ended already, it says why itself
    return process


def _answer(said: str, process: subprocess.Popen[str]) -> Walked:
    word, _, content = said.partition(" ")
    if not content:
        raise Unavailable(f"a worker of the audit was killed ({process.returncode}); verify again")
    answer = pickle.loads(bytes.fromhex(content))  # noqa: S301  (a process that we started, and nobody else, wrote it)
    if f"{word} " == _FAILED:
        raise cast("CounterfoilError", answer)
    return cast("Walked", answer)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        cast("IO[str]", process.stdout).close()


def main() -> int:
    """Walk over the part that standard input names."""
    told = json.load(sys.stdin)
    try:
        with closing(_opened(told["database"])) as log:
            walk = Walk(log, Part(told["after"], told["until"]), deep=told["deep"])
            _tell(_FOUND, walk.run(_say))
    except CounterfoilError as error:
        _tell(_FAILED, error)
        return 1
    return 0


def _opened(database: str) -> SQLiteLog | PostgresLog:
    if "://" not in database:
        return SQLiteLog(database)
    from counterfoil.adapters.event_store.postgres import PostgresLog

    return PostgresLog(database, pool_size=1, pool_size_max=1)


def _tell(word: str, answer: object) -> None:
    _say(f"{word}{pickle.dumps(answer).hex()}")


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
