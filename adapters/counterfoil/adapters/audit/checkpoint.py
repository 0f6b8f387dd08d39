"""A checkpoint: how many facts there were and the root over them, to be kept out of the reach of
whoever can change the database. Against it a cut-off end shows, and a history written anew.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil.adapters.audit.signing import PublicKey, SigningKey, public_of, sign, verifies
from counterfoil.domain.errors import (
    Conflict,
    IntegrityFailed,
    Malformed,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.domain.ports import DocumentStore, Label

FOLDER = "checkpoints"
_SIGNED_AS = b"counterfoil checkpoint v1\n"
_ROOT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How many facts there were, and the root over them, in hexadecimal; when that was, and of
    which log: the hash of its first fact. Those of earlier versions said size and root only.
    """

    size: int
    root: str
    made_at: datetime | None = None
    log: str | None = None
    public_key: str | None = None
    signature: str | None = None

    @property
    def key(self) -> str:
        """Where it lies in a document store."""
        return f"{FOLDER}/{self.size}-{self.root[:12]}.json"

    @property
    def signed_bytes(self) -> bytes:
        """What a signature covers: JSON in the order of its names, without spaces."""
        said = {
            "log": self.log,
            "made_at": self.made_at and self.made_at.isoformat(),
            "root": self.root,
            "size": self.size,
        }
        return _SIGNED_AS + json.dumps(said, separators=(",", ":")).encode()

    def signed(self, key: SigningKey) -> Checkpoint:
        """The same with a signature."""
        return replace(self, public_key=public_of(key), signature=sign(key, self.signed_bytes))

    def hold_signed_by(self, key: PublicKey) -> None:
        """Refuse it with `IntegrityFailed` unless the owner of this key has signed it."""
        if self.signature is None:
            raise IntegrityFailed(f"the checkpoint of {self.size} facts is not signed")
        if not verifies(key, self.signature, self.signed_bytes):
            raise IntegrityFailed(
                f"the checkpoint of {self.size} facts is not what the owner of this key has signed"
            )

    def as_json(self) -> dict[str, object]:
        """As it is kept."""
        return asdict(self) | {"made_at": self.made_at and self.made_at.isoformat()}

    @classmethod
    def of_json(cls, said: object, where: object) -> Checkpoint:
        """Read one that was kept, also by an earlier version."""
        try:
            return _read(said)
        except (ValueError, KeyError, TypeError):
            raise Malformed("checkpoint", f"{where} is no checkpoint") from None

    # --- in a file ------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Keep it in a file, best on another machine; whatever happens, the file is whole."""
        write_whole(path, self._written())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read one that was kept in a file."""
        try:
            said = json.loads(path.read_bytes())
        except (OSError, ValueError):
            raise Malformed("checkpoint", f"{path} is no checkpoint") from None
        return cls.of_json(said, path)

    # --- in a document store --------------------------------------------------------------

    def store(self, documents: DocumentStore) -> Checkpoint:
        """Keep it in a document store, for ever where that locks what it keeps, and return what is
        kept there: one of the same facts may have been made before.
        """
        if not documents.persists:
            raise StorageNotConfigured(
                "documents are not kept here; name a folder or s3://bucket/prefix for checkpoints"
            )
        label = Label("application/json", seller="", file_name=self.key.rpartition("/")[2])
        try:
            documents.put(self.key, self._written(), label)
        except Conflict:
            there = Checkpoint.fetch(documents, self.key)
            if (there.size, there.root, there.log) != (self.size, self.root, self.log):
                raise
            if self.signature is not None and there.public_key != self.public_key:
                raise Conflict(
                    f"{self.key} holds the same checkpoint, not signed by this key; it is kept"
                ) from None
            return there
        return self

    @classmethod
    def fetch(cls, documents: DocumentStore, key: str) -> Checkpoint:
        """Read one that was kept in a document store."""
        try:
            said = json.loads(documents.get(key))
        except ValueError:
            raise Malformed("checkpoint", f"{key} is no checkpoint") from None
        return cls.of_json(said, key)

    def _written(self) -> bytes:
        return json.dumps(self.as_json()).encode() + b"\n"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there with all of it or as it was before."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _read(said: Any) -> Checkpoint:
    size, root = int(said["size"]), str(said["root"])
    if size < 0 or _ROOT.fullmatch(root) is None:
        raise ValueError
    made_at = said.get("made_at")
    moment = None if made_at is None else datetime.fromisoformat(made_at).astimezone(UTC)
    texts: Mapping[str, str | None] = {
        name: said.get(name) for name in ("log", "public_key", "signature")
    }
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise TypeError
    return Checkpoint(size, root, moment, **texts)
