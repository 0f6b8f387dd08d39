"""What a projection is given: the facts of one stream, as plain parsed JSON.

They were checked when they were stored, and checking them again would be most of what a rebuild
costs. What a projection cannot make sense of stops it all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from counterfoil.domain.errors import CorruptHistory

Body = Mapping[str, Any]


class Fact(NamedTuple):
    """One stored fact. `at` is when it was recorded, in microseconds since 1970 in UTC."""

    type: str
    version: int
    position: int
    at: int
    body: Body


@dataclass(frozen=True, slots=True)
class History:
    """All facts of a stream in order; of a number series, its first and any later ones."""

    tenant: str
    stream: str
    facts: Sequence[Fact]

    @property
    def kind(self) -> str:
        """What the stream is about: the first word of what began it."""
        return self.facts[0][0].partition(".")[0]

    def corrupt(self, problem: str, fact: Fact) -> CorruptHistory:
        """An error that names where it is."""
        return CorruptHistory(problem, stream=self.stream, position=fact[2])
