"""The schema of the store: numbered files, applied in order and once, never taken back."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from counterfoil.domain.errors import CounterfoilError

Dialect = Literal["sqlite", "postgres"]


class SchemaTooNew(CounterfoilError):
    """The database was made by a newer Counterfoil; use that one, or a newer one still."""

    def __init__(self, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"the database has schema {found}, this Counterfoil knows up to {known}: "
            "upgrade Counterfoil to open it"
        )


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    number: int
    sql: str


def migrations(dialect: Dialect) -> tuple[Migration, ...]:
    """All steps for a database, in order."""
    folder = files(__package__).joinpath("migrations", dialect)
    steps = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple(
        Migration(int(name.split("_")[0]), folder.joinpath(name).read_text(encoding="utf-8"))
        for name in steps
    )


def pending(dialect: Dialect, current: int) -> tuple[Migration, ...]:
    """The steps that a database at this schema still lacks."""
    steps = migrations(dialect)
    if current > steps[-1].number:
        raise SchemaTooNew(current, steps[-1].number)
    return tuple(step for step in steps if step.number > current)
