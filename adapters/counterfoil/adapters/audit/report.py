"""What a verification found: the first bad place, how many there are, and what was looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


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
    """What a verification found; `first` is the first bad place, `bad` how many there are.

    `since` is how many facts were compared by their hashes only, `rows` and `documents` are how
    many rows of read models and stored documents were compared; `unchecked` says what could not
    be, and why, which is not bad but not proved either.
    """

    facts: int
    root: str
    first: Broken | None
    bad: int
    since: int = 0
    rows: int | None = None
    documents: int | None = None
    unchecked: int = 0
    why_unchecked: str | None = None

    @property
    def holds(self) -> bool:
        """Whether nothing bad was found."""
        return self.bad == 0

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return asdict(self) | {"holds": self.holds}


@dataclass(slots=True)
class Found:
    """Bad places as they are found, in whatever order: the first by position, and how many."""

    first: Broken | None = field(default=None)
    bad: int = 0

    def add(self, broken: Broken, count: int = 1) -> None:
        """One more; or so many, of which this is the first."""
        self.bad += count
        if self.first is None or broken.position < self.first.position:
            self.first = broken
