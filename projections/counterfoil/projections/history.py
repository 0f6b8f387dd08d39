"""What a projection is given: the facts of one stream as they are stored, each in its newest
version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Raw

from counterfoil.domain.errors import CorruptHistory


class Fact(msgspec.Struct, array_like=True, gc=False):
    """One stored fact: `at` is when it was recorded, in microseconds since 1970 in UTC, and `body`
    its JSON. In facts that were read together with their stream, that is the view of it already.
    """

    type: str
    version: int
    position: int
    at: int
    body: Raw


class History(NamedTuple):
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
        return self.facts[0].type.partition(".")[0]

    def corrupt(self, problem: str, fact: Fact) -> CorruptHistory:
        """An error that names where it is."""
        return CorruptHistory(problem, stream=self.stream, position=fact.position)


class Stretch(NamedTuple):
    """So many facts of a stream, one after the other, as they came from the log. `read` reads them,
    or raises `msgspec.DecodeError` when something in there is no JSON.
    """

    tenant: str
    stream: str
    length: int
    read: Callable[[], History]


# What reading a fact raises that says nothing of the kind, or making rows of it.
UNREADABLE = (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError)
