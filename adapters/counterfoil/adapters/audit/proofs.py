"""Proofs that need no database: that a fact is one of those of a checkpoint, and that the log of a
checkpoint begins with all of an older one. Both are JSON that carries all it takes to check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from counterfoil.adapters.audit import merkle
from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.signing import PublicKey
from counterfoil.adapters.audit.walk import LEAF, Part, leaves_of, pages
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import COLUMNS, Row
from counterfoil.domain.errors import IntegrityFailed, Malformed, NotFound


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A fact, the hash before it in its stream, and the way from its leaf to the checkpoint."""

    kind: ClassVar = "inclusion"
    fact: Row
    previous: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: Checkpoint

    def hold(self, public_key: PublicKey | None = None) -> str:
        """What is proved, in words; `IntegrityFailed` says which step does not hold."""
        fact, size = self.fact, self.checkpoint.size
        if link(self.previous, fact) != fact.hash:
            raise IntegrityFailed(f"the hash at position {fact.position} is not that of this fact")
        leaf = merkle.leaf(fact.position, fact.hash)
        root = merkle.root_of_inclusion(leaf, self.index, size, self.path)
        if root is None or root.hex() != self.checkpoint.root:
            raise IntegrityFailed(
                f"position {fact.position} does not lead to the root of the checkpoint"
            )
        _hold_signed(self.checkpoint, public_key)
        return (
            f"position {fact.position} ({fact.type}, tenant {fact.tenant}, stream {fact.stream},"
            f" version {fact.version}) is one of the {size} facts of the checkpoint"
        )

    def as_json(self) -> dict[str, object]:
        """For a file. A body that is no UTF-8 is written so that it can be read back too."""
        fact: dict[str, object] = self.fact._asdict()
        fact["body"] = self.fact.body.decode(errors="surrogateescape")
        fact["hash"] = self.fact.hash.hex()
        return {
            "proof": self.kind,
            "fact": fact,
            "previous": self.previous.hex(),
            "leaf": merkle.leaf(self.fact.position, self.fact.hash).hex(),
            "index": self.index,
            "size": self.checkpoint.size,
            "path": [one.hex() for one in self.path],
            "checkpoint": self.checkpoint.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Consistency:
    """Two checkpoints, and the hashes that show that the newer log begins with the older one."""

    kind: ClassVar = "consistency"
    old: Checkpoint
    new: Checkpoint
    path: tuple[bytes, ...]

    def hold(self, public_key: PublicKey | None = None) -> str:
        """What is proved, in words; `IntegrityFailed` says which step does not hold."""
        trees = [(one.size, bytes.fromhex(one.root)) for one in (self.old, self.new)]
        if not merkle.is_consistent(trees[0], trees[1], self.path):
            raise IntegrityFailed(
                f"the log of {self.new.size} facts does not begin with that of {self.old.size}"
            )
        for one in (self.old, self.new):
            _hold_signed(one, public_key)
        return f"the log of {self.new.size} facts begins with all {self.old.size} of the older one"

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return {
            "proof": self.kind,
            "old": self.old.as_json(),
            "new": self.new.as_json(),
            "path": [one.hex() for one in self.path],
        }


def read_proof(said: object, where: object) -> Inclusion | Consistency:
    """Read a proof of either kind."""
    try:
        return _read(said, where)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Malformed("proof", f"{where} is no proof") from None


def _read(said: Any, where: object) -> Inclusion | Consistency:
    path = tuple(bytes.fromhex(one) for one in said["path"])
    if said["proof"] == Consistency.kind:
        old, new = (Checkpoint.of_json(said[name], where) for name in ("old", "new"))
        return Consistency(old, new, path)
    if said["proof"] != Inclusion.kind:
        raise ValueError
    checkpoint = Checkpoint.of_json(said["checkpoint"], where)
    made = Inclusion(
        _row(said["fact"]), bytes.fromhex(said["previous"]), int(said["index"]), path, checkpoint
    )
    # What is said twice must be the same twice, or a reader believes the one that nobody checked.
    if made.as_json() != said:
        raise ValueError
    return made


def _row(said: Mapping[str, Any]) -> Row:
    values = dict(said)
    values["body"] = said["body"].encode(errors="surrogateescape")
    values["hash"] = bytes.fromhex(said["hash"])
    for name, value in values.items():
        wanted = int if name in _NUMBERS else bytes if name in {"body", "hash"} else str
        if not isinstance(value, wanted) and not (value is None and name in _OPTIONAL):
            raise TypeError
    return Row(**values)


_NUMBERS = {"position", "version", "recorded_at"}
_OPTIONAL = {"causation_id", "correlation_id"}


def _hold_signed(checkpoint: Checkpoint, public_key: PublicKey | None) -> None:
    if public_key is not None:
        checkpoint.hold_signed_by(public_key)


# --- made of a log ------------------------------------------------------------------------


def prove_inclusion(log: FactsRecorder, position: int, checkpoint: Checkpoint) -> Inclusion:
    """The proof that the fact at a position is one of those of a checkpoint."""
    rows = log.select(
        f"SELECT {COLUMNS} FROM facts WHERE position = :position", {"position": position}
    )
    if not rows or position > checkpoint.size:
        raise NotFound("fact in the checkpoint", f"at position {position}")
    (fact,) = rows
    before = log.plain(
        "SELECT hash FROM facts WHERE tenant = :tenant AND stream = :stream AND version = :version",
        {"tenant": fact.tenant, "stream": fact.stream, "version": fact.version - 1},
    )
    previous = bytes(before[0][0]) if before else GENESIS
    index = position - 1
    path = _roots(log, checkpoint.size, merkle.inclusion_ranges(index, checkpoint.size))
    made = Inclusion(fact, previous, index, path, checkpoint)
    made.hold()
    return made


def prove_consistency(log: FactsRecorder, old: Checkpoint, new: Checkpoint) -> Consistency:
    """The proof that the log of a checkpoint begins with that of an older one."""
    if old.size > new.size:
        raise IntegrityFailed(
            f"{old.size - new.size} facts are missing at the end: the older checkpoint has"
            f" {old.size}, the newer one {new.size}"
        )
    path = _roots(log, new.size, merkle.consistency_ranges(old.size, new.size))
    made = Consistency(old, new, path)
    made.hold()
    return made


def _roots(log: FactsRecorder, size: int, ranges: Sequence[merkle.Range]) -> tuple[bytes, ...]:
    roots = merkle.Roots(ranges)
    for rows in pages(log, Part(0, size), LEAF):
        roots.extend(leaves_of(rows))
    return roots.made()
