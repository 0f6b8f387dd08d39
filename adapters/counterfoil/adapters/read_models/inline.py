"""What a writer keeps up to date in the transaction that stores his facts.

The database says whether read models are kept so, and counts a generation up whenever that, or
what they are, changes. A writer who finds a generation that he does not know looks again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import NewRow
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.history import Fact, History
from counterfoil.projections.projection import Change, Projection, Select, changes
from counterfoil.projections.status import hold_versions

# The rows of each stream that was read: type, version, position, time and body, then whatever.
Seen = dict[str, Sequence[Sequence[Any]]]


class Inline:
    """What writers of this process keep, as far as they know."""

    def __init__(self) -> None:
        self.generation = 0
        self.doubted = True
        self._projections: tuple[Projection, ...] = ()

    def look(self, select: Select) -> None:
        """See what the database asks for, if that is another than what is known."""
        ((generation, mode),) = select("SELECT generation, mode FROM projecting", {})
        if generation != self.generation:
            hold_versions(select)
            self._projections = tuple(PROJECTIONS.values()) if mode == "inline" else ()
            self.generation = generation
        self.doubted = False

    def changes(
        self, tenant: str, seen: Seen, rows: Sequence[NewRow], codec: Codec
    ) -> Iterator[Change]:
        """What new rows change in the read models, given the streams as they were read."""
        if not self._projections:
            return
        new: dict[str, list[Fact]] = {}
        for row in rows:
            plain = codec.plain(
                row.type, row.version, 0, row.recorded_at, row.body, stream=row.stream
            )
            new.setdefault(row.stream, []).append(plain)
        for stream, facts in new.items():
            old = [codec.plain(*row[:5], stream=stream) for row in seen.get(stream, ())]
            before = History(tenant, stream, old) if old else None
            after = History(tenant, stream, [*old, *facts])
            yield from changes(self._projections, before, after)
