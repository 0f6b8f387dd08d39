"""One pass over a part of the log: every row is read once, in order, and its hash made again.

This is the loop that a million facts go through, so it spells out what elsewhere is a function.
What it hashes is what `chain.link` does; each attack in the tests is made on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from msgspec import DecodeError

from counterfoil.adapters.audit import merkle
from counterfoil.adapters.audit.numbers import NUMBERED, Given, Half, Numbers, Opened, Place
from counterfoil.adapters.audit.reading import reader
from counterfoil.adapters.audit.report import Broken, Found
from counterfoil.adapters.event_store import chain
from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.event_store.rows import COLUMNS
from counterfoil.domain.errors import CorruptHistory
from counterfoil.domain.value import LARGEST, Event
from counterfoil.projections.loading import undisturbed

# Leaves of one full subtree, which a worker tells by its root.
HEIGHT = 12
PAGE = 1 << HEIGHT
# Rows that are read at once: few enough to stay in a processor's cache, which is a third faster.
ROWS = 512
# What a leaf is made of.
LEAF = "position, hash"
# Nothing may hide before the first place.
BEGINNING = -LARGEST - 1

_UNLINKED = "the hash is not that of this row after the one before it"

_PLAIN = tuple[Any, ...]
_Head = tuple[int, bytes]
# With the byte 0 before it that makes a leaf of it (RFC 6962, 2.1).
_position = Struct(">xq").pack


@dataclass(frozen=True, slots=True)
class Part:
    """The facts after a position, as far as another one. What stands before `after` was looked at,
    or is looked at by somebody else; `after` 0 is the whole beginning.
    """

    after: int
    until: int

    @property
    def start(self) -> int:
        """After which position to read."""
        return self.after or BEGINNING


@dataclass(slots=True)
class Walked:
    """What a pass over a part found. Its leaves are those in `lead`, as far as to where a page of
    the tree begins, then those below the roots in `pages`, then `leaves`.
    """

    facts: int = 0
    found: Found = field(default_factory=Found)
    lead: list[bytes] = field(default_factory=list)
    pages: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    given: Half = field(default_factory=dict)
    said: Half = field(default_factory=dict)


class _Kind(NamedTuple):
    """How to look at the bodies of a type: `read` takes one apart, or raises when it is none."""

    kind: type[Event] | None
    name: bytes
    read: Callable[[bytes], object]
    earlier: bool
    # Whether that is not all there is to do.
    closer: bool


def pages(log: FactsRecorder, part: Part, columns: str) -> Iterator[Sequence[_PLAIN]]:
    """These columns of the rows of a part, the position first, page by page."""
    position = part.start
    query = (
        f"SELECT {columns} FROM facts WHERE position > :position AND position <= :until"
        " ORDER BY position LIMIT :limit"
    )
    while rows := log.plain(query, {"position": position, "until": part.until, "limit": ROWS}):
        yield rows
        position = rows[-1][0]


def leaves_of(rows: Sequence[_PLAIN]) -> list[bytes]:
    """The leaves of rows, whose position is first and whose hash is last."""
    return [sha256(_position(row[0]) + row[-1]).digest() for row in rows]


class Walk:
    """A pass over a part of the log."""

    def __init__(self, log: FactsRecorder, part: Part, *, deep: bool) -> None:
        self._log = log
        self._part = part
        self._deep = deep
        self._codec: Codec = log.codec
        self._kinds: dict[str, _Kind] = {}
        self._heads: dict[str, dict[str, _Head]] = {}
        self._numbers = Numbers(self._last_place)
        self._next = part.after + 1
        self._walked = Walked()

    def run(self, watch: Callable[[int], None]) -> Walked:
        """Read all of it; `watch` is told how many facts were read."""
        walked = self._walked
        with undisturbed():
            for rows in pages(self._log, self._part, COLUMNS):
                if self._part.after:
                    self._look_up(rows)
                self._follow(rows)
                self._grow(leaves_of(rows))
                walked.facts += len(rows)
                watch(walked.facts)
        walked.given, walked.said = self._numbers.given, self._numbers.said
        return walked

    def _grow(self, leaves: Sequence[bytes]) -> None:
        walked = self._walked
        lacking = -self._part.after % PAGE - len(walked.lead)
        walked.lead += leaves[:lacking]
        walked.leaves += leaves[lacking:]
        if len(walked.leaves) >= PAGE:
            walked.pages.append(merkle.full(walked.leaves[:PAGE]))
            del walked.leaves[:PAGE]

    def _follow(self, rows: Sequence[_PLAIN]) -> None:
        """The chain of every stream, the order of the log, and what a body must be."""
        text, numbers, length = chain.text, chain.numbers, chain.length
        kinds, expected = self._kinds, self._next
        tenant_before, command_before, actor_before = None, None, ("", "", None, None)
        owner, origin = b"", b""
        streams: dict[str, _Head] = {}
        for row in rows:
            (
                position, tenant, stream, version, type_name, body, at,
                actor_type, actor, command, cause, correlation, hash_,
            ) = row  # fmt: skip
            if tenant != tenant_before:
                tenant_before, owner = tenant, text(tenant)
                streams = self._heads.setdefault(tenant, {})
            if command != command_before or (actor_type, actor, cause, correlation) != actor_before:
                command_before, actor_before = command, (actor_type, actor, cause, correlation)
                origin = chain.origin(actor_type, actor, command, cause, correlation)
            kind = kinds.get(type_name) or self._known(type_name)
            # A stream may begin at 0, as the library's do.
            last, previous = streams.get(stream) or (min(version, 1) - 1, GENESIS)
            streams[stream] = (version, hash_)
            if version != last + 1:
                self._unlinked(kind, row, f"version {version} follows version {last}")
            elif (
                hash_
                != sha256(
                    previous
                    + numbers(version, at)
                    + owner
                    + text(stream)
                    + kind.name
                    + origin
                    + length(len(body))
                    + body
                ).digest()
            ):
                self._unlinked(kind, row, _UNLINKED)
            elif position != expected:
                self._unlinked(kind, row, _misplaced(position, expected))
            else:
                try:
                    told = kind.read(body)
                except (DecodeError, UnicodeDecodeError) as error:
                    # It names a field, and never what stands in one.
                    self._broken(row, f"the body is no {type_name}: {error}")
                else:
                    if kind.closer and (problem := self._look(kind, row, told)):
                        self._broken(row, problem)
            expected = position + 1
        self._next = expected

    def _unlinked(self, kind: _Kind, row: _PLAIN, problem: str) -> None:
        """A row that stands wrong. Its number counts all the same: those after it go on from it."""
        self._broken(row, problem)
        if kind.kind in NUMBERED:
            with suppress(DecodeError, UnicodeDecodeError):
                self._look(kind, row, kind.read(row[5]))

    def _look(self, kind: _Kind, row: _PLAIN, told: object) -> str | None:
        """A closer look at a body, for which most have no reason."""
        position, tenant, stream, version, type_name, body, *_ = row
        if kind.kind is None:
            return f"type {type_name} is unknown to this version of Counterfoil"
        try:
            if kind.earlier or self._deep:
                self._codec.decode(type_name, body, stream=stream, position=position)
            if kind.earlier:
                plain = self._codec.plain(type_name, version, position, 0, body, stream=stream)
                told = reader(kind.kind)(bytes(plain.body))
        except CorruptHistory as error:
            return f"{error}".removesuffix(f" ({stream}, position {position})")
        if kind.kind in NUMBERED:
            return self._numbers.take(Place(position, tenant, stream, version), told)
        return None

    def _broken(self, row: _PLAIN, problem: str) -> None:
        position, tenant, stream, version = row[:4]
        self._walked.found.add(Broken(position, tenant, stream, version, problem))

    def _known(self, type_name: str) -> _Kind:
        """What is known of a type, from now on without a question."""
        kind = self._codec.kind(type_name)
        newest = kind is not None and kind.stored_as == type_name
        # The body of another version is another until it is brought to the newest.
        reads = reader(kind) if newest else reader(None)
        closer = not newest or kind in NUMBERED or self._deep
        found = _Kind(kind, chain.text(type_name), reads, not newest, closer)
        self._kinds[type_name] = found
        return found

    # --- what stands before the part ------------------------------------------------------

    def _look_up(self, rows: Sequence[_PLAIN]) -> None:
        """Find the heads of streams that are met for the first time."""
        unknown = {
            (tenant, stream)
            for _, tenant, stream, *_ in rows
            if stream not in self._heads.get(tenant, {})
        }
        for tenant, stream, version, hash_ in self._log.heads([*unknown], self._part.after):
            self._heads.setdefault(tenant, {})[stream] = (version, hash_)

    def _last_place(self, tenant: str, stream: str) -> int | None:
        if not self._part.after:
            return None
        version = LARGEST
        while rows := self._log.plain(
            "SELECT version, type, body FROM facts WHERE tenant = :tenant AND stream = :stream"
            " AND version < :version AND position <= :upto ORDER BY version DESC LIMIT 1",
            {
                "tenant": tenant,
                "stream": stream,
                "version": version,
                "upto": self._part.after,
            },
        ):
            ((version, type_name, body),) = rows
            with suppress(CorruptHistory, DecodeError, UnicodeDecodeError):
                plain = self._codec.plain(type_name, 0, self._part.after, 0, body, stream=stream)
                told = reader(self._codec.kind(type_name))(bytes(plain.body))
                if isinstance(told, Opened | Given):
                    return told.last
        return None


def _misplaced(position: int, expected: int) -> str:
    if position > expected:
        return f"position {expected} is missing before it"
    return f"it stands where position {expected} should be"
