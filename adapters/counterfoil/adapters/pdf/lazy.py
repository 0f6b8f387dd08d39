"""An engine that is made when something is printed first: most services seldom do."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from counterfoil.domain.ports import PdfEngine, Sheet


class LazyEngine:
    """Stands for an engine until it is needed."""

    def __init__(self, make: Callable[[], PdfEngine]) -> None:
        self._make = make
        self._made: PdfEngine | None = None
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._engine().fingerprint

    def render(self, sheet: Sheet) -> bytes:
        """Print by the engine."""
        return self._engine().render(sheet)

    def close(self) -> None:
        """Close the engine, if there is one."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _engine(self) -> PdfEngine:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made
