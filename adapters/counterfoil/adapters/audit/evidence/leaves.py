"""All nodes of the Merkle tree over a log, on disk: a proof of any fact is read from there, and
memory does not grow with the log.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from types import TracebackType
from typing import IO, Self

from counterfoil.adapters.audit.merkle import EMPTY, Range, inclusion_ranges, node

_HASH = 32
_PIECE = 1 << 18


class Leaves:
    """The leaves of a log, and once they are `grown`, what stands above them. A context manager:
    its files are gone when it is left.
    """

    def __init__(self) -> None:
        self.size = 0
        self._files = ExitStack()
        self._levels = [self._file()]
        self._ragged: dict[Range, bytes] = {}

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take in the next leaves."""
        self._levels[0].write(b"".join(leaves))
        self.size += len(leaves)

    def grow(self) -> None:
        """Make the roots of all full subtrees, level by level."""
        while self.size >> len(self._levels):
            below, above = self._levels[-1], self._file()
            below.seek(0)
            while pairs := below.read(_PIECE):
                above.write(b"".join(_parents(pairs)))
            self._levels.append(above)

    def root(self) -> bytes:
        """The root over all of them."""
        return self._over((0, self.size)) if self.size else EMPTY

    def path(self, index: int, before: int | None) -> tuple[Sequence[bytes], int]:
        """The proof of a leaf, less its upper end where that is the same as for the leaf `before`:
        the hashes, lowest first, and how many more are kept.
        """
        ranges = inclusion_ranges(index, self.size)
        kept = 0
        if before is not None:
            earlier = inclusion_ranges(before, self.size)
            while kept < min(len(ranges), len(earlier)) and (
                ranges[-1 - kept] == earlier[-1 - kept]
            ):
                kept += 1
        return [self._over(one) for one in ranges[: len(ranges) - kept]], kept

    def _over(self, leaves: Range) -> bytes:
        start, end = leaves
        level = (end - start - 1).bit_length()
        if end - start == 1 << level:
            file = self._levels[level]
            file.seek((start >> level) * _HASH)
            return file.read(_HASH)
        if leaves not in self._ragged:  # there are a few dozen of them, all at the right edge
            middle = start + (1 << level - 1)
            self._ragged[leaves] = node(self._over((start, middle)), self._over((middle, end)))
        return self._ragged[leaves]

    def _file(self) -> IO[bytes]:
        return self._files.enter_context(tempfile.TemporaryFile(buffering=_PIECE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()


def _parents(pairs: bytes) -> Iterator[bytes]:
    """What stands above each pair; the last of an odd number has nothing above it yet."""
    for start in range(0, len(pairs) - 2 * _HASH + 1, 2 * _HASH):
        yield sha256(b"\1" + pairs[start : start + 2 * _HASH]).digest()
