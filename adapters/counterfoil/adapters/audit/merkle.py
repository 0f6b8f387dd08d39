"""The Merkle tree over the log, hashed as RFC 6962 says, and what can be proved of it.

A root stands for all facts in their order. That a fact is among them, and that a later log begins
with all of an earlier one, is shown by a few dozen hashes, without the log.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256

EMPTY = sha256(b"").digest()
_POSITION = struct.Struct(">q")

Range = tuple[int, int]


def leaf(position: int, hash_: bytes) -> bytes:
    """The leaf of a fact: its place in the log, and the hash that stands there."""
    return sha256(b"\0" + _POSITION.pack(position) + hash_).digest()


def node(left: bytes, right: bytes) -> bytes:
    """What stands above two subtrees."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf and keeps only the roots of its full subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[tuple[int, bytes]] = []

    def add(self, one: bytes) -> None:
        """Add a leaf."""
        self._push(0, one)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves; by whole levels where that many make a full subtree, which is faster."""
        done, count = 0, len(leaves)
        while done < count:
            height = (count - done).bit_length() - 1
            if self.size:
                height = min(height, _trailing_zeros(self.size))
            self._push(height, full(leaves[done : done + (1 << height)]))
            done += 1 << height

    def graft(self, height: int, root_: bytes) -> None:
        """Add a full subtree whose root is known; the tree so far must end where one may begin."""
        if self.size % (1 << height):
            raise ValueError(f"no subtree of height {height} begins behind {self.size} leaves")
        self._push(height, root_)

    def copy(self) -> Tree:
        """A tree of the same leaves, to be grown otherwise."""
        twin = Tree()
        twin.size, twin._full = self.size, self._full.copy()
        return twin

    def root(self) -> bytes:
        """The root over all leaves so far; that of no leaves is the hash of nothing."""
        if not self._full:
            return EMPTY
        _, above = self._full[-1]
        for _, left in reversed(self._full[:-1]):
            above = node(left, above)
        return above

    def _push(self, height: int, above: bytes) -> None:
        self.size += 1 << height
        while self._full and self._full[-1][0] == height:
            above = node(self._full.pop()[1], above)
            height += 1
        self._full.append((height, above))


def full(leaves: Sequence[bytes]) -> bytes:
    """The root of a full subtree: of 1, 2, 4, 8 … leaves."""
    level = leaves
    while len(level) > 1:
        level = [
            sha256(b"\1" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0]


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaves."""
    tree = Tree()
    tree.extend(leaves)
    return tree.root()


# --- that a fact is in the log ------------------------------------------------------------


def inclusion_ranges(index: int, size: int) -> tuple[Range, ...]:
    """Whose roots prove that a leaf is in a tree: the sibling of each node above it, lowest
    first (RFC 6962, 2.1.1).
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    siblings: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _left(end - start)
        if index < middle:
            siblings.append((middle, end))
            end = middle
        else:
            siblings.append((start, middle))
            start = middle
    return tuple(reversed(siblings))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes that lead from a leaf to the root over all of these."""
    return tuple(root(leaves[start:end]) for start, end in inclusion_ranges(index, len(leaves)))


def root_of_inclusion(one: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its proof lead to; None if no proof of this place can be so."""
    if not 0 <= index < size:
        return None
    ranges = inclusion_ranges(index, size)
    if len(ranges) != len(proof):
        return None
    above = one
    for (_, end), sibling in zip(ranges, proof, strict=True):
        above = node(sibling, above) if end <= index else node(above, sibling)
    return above


# --- that a later log begins with an earlier one ------------------------------------------


def consistency_ranges(size: int, total: int) -> tuple[Range, ...]:
    """Whose roots prove that a tree of `total` leaves begins with one of `size`, in the order of
    RFC 6962, 2.1.2. Every tree begins with that of no leaves, so nothing proves it.
    """
    if not 0 <= size <= total:
        raise ValueError(f"{total} leaves do not begin with {size}")
    ranges: list[Range] = []
    start, end, whole = 0, total, True
    while start < size < end:
        middle = start + _left(end - start)
        if size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start, whole = middle, False
    if not whole:
        ranges.append((start, end))
    return tuple(reversed(ranges))


def consistency_proof(leaves: Sequence[bytes], size: int) -> tuple[bytes, ...]:
    """The hashes that show that the tree over these begins with that over the first `size`."""
    return tuple(root(leaves[start:end]) for start, end in consistency_ranges(size, len(leaves)))


def is_consistent(old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the new tree begins with the old; each is a size and a root."""
    (size, old_root), (total, new_root) = old, new
    if not 0 <= size <= total:
        return False
    if size == 0:
        return old_root == EMPTY and not proof
    ranges = consistency_ranges(size, total)
    if len(ranges) != len(proof):
        return False
    steps = list(zip(ranges, proof, strict=True))
    # Where the old tree is no full subtree of the new one, the proof begins with one of both.
    begins = bool(steps) and steps[0][0][1] == size
    was = now = steps.pop(0)[1] if begins else old_root
    for (start, _), sibling in steps:
        if start < size:
            was, now = node(sibling, was), node(sibling, now)
        else:
            now = node(now, sibling)
    return (was, now) == (old_root, new_root)


# --- over a log that is too long to be held -----------------------------------------------


class Roots:
    """The roots over some ranges of leaves that come by once, in order."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self._ranges = ranges
        self._trees = [Tree() for _ in ranges]
        self._open = sorted(range(len(ranges)), key=lambda number: ranges[number], reverse=True)
        self._index = 0

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Take in the next leaves."""
        first, self._index = self._index, self._index + len(leaves)
        for number in reversed(self._open):
            start, end = self._ranges[number]
            self._trees[number].extend(leaves[max(0, start - first) : max(0, end - first)])
        while self._open and self._ranges[self._open[-1]][1] <= self._index:
            self._open.pop()

    def made(self) -> tuple[bytes, ...]:
        """The roots, in the order of the ranges; all leaves must have come by."""
        return tuple(tree.root() for tree in self._trees)


def _left(size: int) -> int:
    """How many leaves are left of the root: the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1
