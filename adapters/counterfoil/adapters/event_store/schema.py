"""The schema of the store: numbered files, applied in order and once, never taken back."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from counterfoil.domain.errors import SchemaTooNew

Dialect = Literal["sqlite", "postgres"]


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
        raise SchemaTooNew(
            f"the database has schema {current}, this Counterfoil knows up to {steps[-1].number}: "
            "upgrade Counterfoil to open it"
        )
    return tuple(step for step in steps if step.number > current)
