"""Is the log what was written? Every row is read once, in order, and every hash made again.

Two things a chain of hashes alone cannot show: that its end was cut off, and that all of it was
written anew. A checkpoint kept elsewhere shows both: it is the root of a Merkle tree over all rows
(RFC 6962), made again from the same number of rows and compared.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import Row
from counterfoil.domain.errors import Malformed
from counterfoil.domain.value import LARGEST

PAGE = 5_000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How many facts there were, and the root over them, in hexadecimal."""

    size: int
    root: str

    def save(self, path: Path) -> None:
        """Keep it in a file, best on another machine."""
        path.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read one that was kept."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(said["size"]), str(said["root"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise Malformed("checkpoint", f"{path} is no checkpoint") from None


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where the log is not what was written."""

    position: int
    tenant: str
    stream: str
    version: int
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found; `first` is the first bad place, `bad` how many there are."""

    facts: int
    root: str
    first: Broken | None
    bad: int

    @property
    def holds(self) -> bool:
        """Whether nothing bad was found."""
        return self.bad == 0


class Audit:
    """Proves the log, or names where it does not hold."""

    def __init__(self, log: FactsRecorder) -> None:
        self._log = log

    def size(self) -> int:
        """How many facts there are."""
        return int(self._log.max_notification_id() or 0)

    def checkpoint(self) -> Checkpoint:
        """The root over all facts there are now, to be kept where nobody can change it."""
        tree = _Tree()
        for row in self._rows():
            tree.add(row)
        return Checkpoint(tree.size, tree.root())

    def verify(
        self, checkpoint: Checkpoint | None = None, progress: Progress | None = None
    ) -> Report:
        """Read every row once; with a checkpoint, compare the log as it was then too."""
        tree, chains = _Tree(), _Chains()
        first: Broken | None = None
        bad = 0
        at_checkpoint = tree.root() if checkpoint is not None and checkpoint.size == 0 else None
        for row in self._rows():
            problem = chains.follow(row)
            if problem is not None:
                bad += 1
                first = first or _broken(row, problem)
            tree.add(row)
            if checkpoint is not None and tree.size == checkpoint.size:
                at_checkpoint = tree.root()
            if progress is not None and tree.size % PAGE == 0:
                progress(tree.size)
        if checkpoint is not None and at_checkpoint != checkpoint.root:
            bad += 1
            first = first or _against(checkpoint, tree.size)
        return Report(tree.size, tree.root(), first, bad)

    def _rows(self) -> Iterator[Row]:
        position = -LARGEST - 1  # nothing may hide before the first place
        while rows := self._log.rows_since(position, limit=PAGE):
            yield from rows
            position = rows[-1].position


def _broken(row: Row, problem: str) -> Broken:
    return Broken(row.position, row.tenant, row.stream, row.version, problem)


def _against(checkpoint: Checkpoint, size: int) -> Broken:
    if size < checkpoint.size:
        problem = f"{checkpoint.size - size} facts are missing at the end, by the checkpoint"
        return Broken(size + 1, "", "", 0, problem)
    problem = f"the first {checkpoint.size} facts are not those of the checkpoint"
    return Broken(checkpoint.size, "", "", 0, problem)


class _Chains:
    """Follows the chain of every stream, and the order of the log."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._position = 0

    def follow(self, row: Row) -> str | None:
        """What is wrong with the next row, if anything is."""
        key = (row.tenant, row.stream)
        version, head = self._heads.get(key, (min(row.version, 1) - 1, GENESIS))
        expected, self._position = self._position + 1, row.position
        self._heads[key] = (row.version, row.hash)
        if row.version != version + 1:
            return f"version {row.version} follows version {version}"
        if row.hash != link(head, row):
            return "the hash is not that of this row after the one before it"
        if row.position != expected:
            missing = row.position > expected
            return (
                f"position {expected} is missing before it"
                if missing
                else f"it stands where position {expected} should be"
            )
        return None


class _Tree:
    """A Merkle tree that grows row by row and keeps only the roots of its full subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[tuple[int, bytes]] = []

    def add(self, row: Row) -> None:
        """Add a leaf: the place in the log and the hash that stands there."""
        node = sha256(b"\0" + struct.pack(">q", row.position) + row.hash).digest()
        height = 0
        while self._full and self._full[-1][0] == height:
            node = sha256(b"\1" + self._full.pop()[1] + node).digest()
            height += 1
        self._full.append((height, node))
        self.size += 1

    def root(self) -> str:
        """The root over all leaves so far; that of no leaves is the hash of nothing."""
        if not self._full:
            return sha256(b"").hexdigest()
        node = self._full[-1][1]
        for _, left in reversed(self._full[:-1]):
            node = sha256(b"\1" + left + node).digest()
        return node.hex()
