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
    from support.databases import Place


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


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a copy of a database goes: into a folder, or to a server."""
    if request.param == "sqlite":
        return tmp_path
    server: str = request.getfixturevalue("postgres_url")
    return server


@pytest.fixture
def full(place: Place) -> Iterator[World]:
    """A database in which everything has happened, to two tenants."""
    with worlds.after(worlds.full, place) as opened:
        yield opened
