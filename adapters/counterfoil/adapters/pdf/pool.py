"""Prints in processes that can be killed: a hostile or huge document costs a worker, not a service.

Each worker has a bound on its memory, each print one on its time; a worker that breaks either is
replaced, and its document is `RenderFailed`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as TooLong
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from counterfoil.adapters.pdf.coverage import Coverage
from counterfoil.adapters.pdf.native import fingerprint, font_files, require_libraries
from counterfoil.adapters.pdf.weasy import LIMITS, Limits, WeasyPrintEngine
from counterfoil.domain.errors import EngineUnavailable, Malformed, RenderFailed
from counterfoil.domain.ports import Sheet

if TYPE_CHECKING:
    from pebble import ProcessPool

# A worker that printed this often has fragments enough in its memory to be worth a new one.
PRINTS_PER_WORKER = 500
WORKERS_MAX = 64


class WeasyPrintPool:
    """The same prints as `WeasyPrintEngine`, byte for byte, by so many processes at once."""

    def __init__(
        self,
        *,
        workers: int | None = None,
        fonts: Sequence[str | Path] = (),
        limits: Limits = LIMITS,
    ) -> None:
        if workers is not None and (type(workers) is not int or not 1 <= workers <= WORKERS_MAX):
            raise Malformed("workers", f"must be 1 to {WORKERS_MAX}")
        require_libraries()
        self._workers = workers or os.cpu_count() or 1
        self._fonts = font_files([Path(place) for place in fonts])
        self._coverage = Coverage(self._fonts)
        self._more = tuple(map(str, fonts))
        self._limits = limits
        # What the workers' own engines say. Fonts of East Asia are 40 MB, so they are read once.
        self.fingerprint = fingerprint(self._fonts)
        self._lock = Lock()
        self._pool: ProcessPool | None = None
        self._printing: set[Future[bytes]] = set()

    def render(self, sheet: Sheet) -> bytes:
        """Have a worker print the sheet, and wait for it."""
        self._coverage.hold(sheet)
        try:
            return self._print(sheet, self._started())
        except RuntimeError:  # a worker died while it had nothing to do, and the pool with it
            self.close()
        try:
            return self._print(sheet, self._started())
        except RuntimeError as error:
            self.close()
            raise EngineUnavailable("the processes that print do not start") from error

    def close(self) -> None:
        """End every worker; what is being printed is `RenderFailed`."""
        with self._lock:
            pool, self._pool = self._pool, None
            printing, self._printing = self._printing, set()
        for one in printing:
            one.cancel()
        if pool is not None:
            pool.stop()  # type: ignore[no-untyped-call]  # pebble leaves this one method untyped
            pool.join()

    def _print(self, sheet: Sheet, pool: ProcessPool) -> bytes:
        from pebble import ProcessExpired

        printing = pool.schedule(_render, args=[sheet], timeout=self._limits.seconds)
        with self._lock:
            self._printing.add(printing)
        try:
            printed: bytes = printing.result()
        except CancelledError:
            raise RenderFailed("the engine was closed while this was printed") from None
        except TooLong:
            raise RenderFailed(
                f"the document took longer than {self._limits.seconds:g} s, and was given up"
            ) from None
        except ProcessExpired as error:
            raise RenderFailed(f"{self._too_big()}, or its worker was killed") from error
        finally:
            with self._lock:
                self._printing.discard(printing)
        return printed

    def _too_big(self) -> str:
        return f"the document needs more than {self._limits.memory_bytes // 1024**2:,} MiB"

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._pool is None:
                from pebble import ProcessPool

                self._pool = ProcessPool(
                    max_workers=self._workers,
                    max_tasks=PRINTS_PER_WORKER,
                    initializer=_begin,
                    initargs=[self._more, self._limits],
                    # A service has threads and connections, which a forked worker would share.
                    context=multiprocessing.get_context("spawn"),
                )
            return self._pool


_ENGINE: list[WeasyPrintEngine] = []


def _begin(fonts: Sequence[str], limits: Limits) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    _ENGINE[:] = [WeasyPrintEngine(fonts=fonts, limits=limits)]
    # What a worker has loaded by now stays until its end: nobody need look for garbage in it.
    gc.freeze()


def _render(sheet: Sheet) -> bytes:
    if not _ENGINE:
        raise EngineUnavailable("a worker of the pool could not start")
    try:
        return _ENGINE[0].render(sheet)
    except RenderFailed as error:
        if isinstance(error.__cause__, MemoryError):
            os._exit(1)  # its memory is in pieces, and the next document would pay for this one
        raise
