"""Documents in the memory of this process, for tests and for trying things out."""

from __future__ import annotations

from threading import Lock

from counterfoil.adapters.storage.keys import lifetime, words
from counterfoil.domain.errors import Conflict, ObjectNotFound, StorageNotConfigured
from counterfoil.domain.ports import Label


class MemoryStore:
    """A document store that is empty again when the process ends."""

    persists = True

    def __init__(self) -> None:
        self._lock = Lock()
        self._documents: dict[str, bytes] = {}

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store under a key; `Conflict` if it holds other bytes."""
        words(key)
        with self._lock:
            if self._documents.setdefault(key, content) != content:
                raise Conflict(f"{key} holds another document, and keeps it")

    def get(self, key: str) -> bytes:
        """What is stored under a key."""
        words(key)
        with self._lock:
            if (content := self._documents.get(key)) is None:
                raise ObjectNotFound(f"nothing is stored under {key}")
            return content

    def delete(self, key: str) -> None:
        """Remove what is stored under a key."""
        words(key)
        with self._lock:
            self._documents.pop(key, None)

    def link(self, key: str, file_name: str, *, valid_s: int) -> str:
        """Refused: no address leads into the memory of a process."""
        words(key)
        lifetime(valid_s)
        raise StorageNotConfigured(
            "documents in memory are nothing that a link could lead to; keep them in S3 for that"
        )
