"""How far something long is, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: facts in its tables, of so many."""

    phase: str
    done: int
    total: int


Watch = Callable[[Progress], None]
