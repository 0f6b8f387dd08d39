"""Opening what `--database` names, when it must be there already."""

from __future__ import annotations

from pathlib import Path

from counterfoil.domain.errors import Unavailable


def existing(database: str) -> str:
    """The database, if it is there: a mistyped path would be made as an empty one, which holds."""
    if "://" not in database and not Path(database).is_file():
        raise Unavailable(f"there is no database {database}")
    return database
