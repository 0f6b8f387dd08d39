"""Is the log what was written? Every row is read once, in order, and every hash made again.

Two things a chain of hashes alone cannot show: that its end was cut off, and that all of it was
written anew. A checkpoint kept elsewhere shows both: it is the root of a Merkle tree over all rows
(RFC 6962), made again from the same number of rows and compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.merkle import Tree, leaf
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import Row
from counterfoil.domain.value import LARGEST

PAGE = 5_000
Progress = Callable[[int], None]


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
        tree, first = Tree(), None
        for row in self._rows():
            first = first or row.hash.hex()
            tree.add(leaf(row.position, row.hash))
        return Checkpoint(tree.size, tree.root().hex(), datetime.now(UTC), first)

    def verify(
        self, checkpoint: Checkpoint | None = None, progress: Progress | None = None
    ) -> Report:
        """Read every row once; with a checkpoint, compare the log as it was then too."""
        tree, chains = Tree(), _Chains()
        first: Broken | None = None
        bad = 0
        at_checkpoint = (
            tree.root().hex() if checkpoint is not None and checkpoint.size == 0 else None
        )
        for row in self._rows():
            problem = chains.follow(row)
            if problem is not None:
                bad += 1
                first = first or _broken(row, problem)
            tree.add(leaf(row.position, row.hash))
            if checkpoint is not None and tree.size == checkpoint.size:
                at_checkpoint = tree.root().hex()
            if progress is not None and tree.size % PAGE == 0:
                progress(tree.size)
        if checkpoint is not None and at_checkpoint != checkpoint.root:
            bad += 1
            first = first or _against(checkpoint, tree.size)
        return Report(tree.size, tree.root().hex(), first, bad)

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
