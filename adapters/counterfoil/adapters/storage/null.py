"""The store of those who keep no documents: it forgets, and says so when asked for one."""

from __future__ import annotations

from typing import NoReturn

from counterfoil.adapters.storage.keys import lifetime, words
from counterfoil.domain.errors import StorageNotConfigured
from counterfoil.domain.ports import Label


class NullStore:
    """A document store that keeps nothing. Keys are checked all the same, so that a program that
    works with it works with the others.
    """

    persists = False

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Keep nothing."""
        words(key)

    def get(self, key: str) -> NoReturn:
        """Refused: nothing was kept."""
        words(key)
        raise _nothing_kept()

    def delete(self, key: str) -> NoReturn:
        """Refused: nothing was kept."""
        words(key)
        raise _nothing_kept()

    def link(self, key: str, file_name: str, *, valid_s: int) -> NoReturn:
        """Refused: nothing was kept."""
        words(key)
        lifetime(valid_s)
        raise _nothing_kept()


def _nothing_kept() -> StorageNotConfigured:
    return StorageNotConfigured(
        "documents are not kept; to keep them, name a folder or s3://bucket/prefix as documents"
    )
