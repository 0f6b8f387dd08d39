"""Writes a pack: files in a fixed order and with a fixed time, uncompressed, so that the same input
makes the same bytes on every machine; its end tells the SHA-256 of all before it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from counterfoil.adapters.audit.evidence.verifier import SEALED_AS
from counterfoil.domain.errors import Unavailable

_BEGINNING = (1980, 1, 1, 0, 0, 0)
_IN_MEMORY = 1 << 20
_END = 22  # bytes of the end of a zip, without its comment


class Zipped:
    """A zip that is being written, and what its files are."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.files: dict[str, dict[str, object]] = {}

    def add(self, name: str, content: Iterable[bytes]) -> None:
        """Add a file, piece by piece; how long it is must be known before it begins."""
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
            for piece in content:
                digest.update(piece)
                spool.write(piece)
            info = zipfile.ZipInfo(name, _BEGINNING)
            info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, everywhere
            info.file_size = spool.tell()
            spool.seek(0)
            with self._archive.open(info, "w") as file:
                shutil.copyfileobj(spool, file)
        self.files[name] = {"sha256": digest.hexdigest(), "size": info.file_size}


@contextmanager
def zipped(path: Path) -> Iterator[Zipped]:
    """Write a pack; under its name there is a whole one or none."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with zipfile.ZipFile(draft, "x", zipfile.ZIP_STORED) as archive:
            yield Zipped(archive)
        _seal(draft)
        draft.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _seal(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(-_END, os.SEEK_END)
        file.seek(0)
        digest, left = hashlib.sha256(), end
        while left:
            piece = file.read(min(left, _IN_MEMORY))
            digest.update(piece)
            left -= len(piece)
        seal = SEALED_AS + digest.hexdigest().encode()
        file.seek(end + _END - 2)
        file.write(struct.pack("<H", len(seal)) + seal)
        file.flush()
        os.fsync(file.fileno())
