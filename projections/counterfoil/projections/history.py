"""What a projection is given: the facts of one stream as they are stored, each in its newest
version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from counterfoil.domain.errors import CorruptHistory


class Fact(NamedTuple):
    """One stored fact: `at` is when it was recorded, in microseconds since 1970 in UTC, and `body`
    its JSON.
    """

    type: str
    version: int
    position: int
    at: int
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class History:
    """All facts of a stream in order; of a number series, its first and any later ones.

    Of one that is `past`, the rows are only compared with those that came after it.
    """

    tenant: str
    stream: str
    facts: Sequence[Fact]
    past: bool = False

    @property
    def kind(self) -> str:
        """What the stream is about: the first word of what began it."""
        return self.facts[0][0].partition(".")[0]

    def corrupt(self, problem: str, fact: Fact) -> CorruptHistory:
        """An error that names where it is."""
        return CorruptHistory(problem, stream=self.stream, position=fact[2])


# What reading a fact raises that says nothing of the kind, or making rows of it.
UNREADABLE = (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError)
