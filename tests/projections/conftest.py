"""Which databases the read models are tested in: a fresh one for each test, of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from projections import worlds
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from projections.worlds import World


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield worlds.sqlite(tmp_path)
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def world(database: str) -> Iterator[World]:
    with worlds.opened(database) as opened:
        yield opened
