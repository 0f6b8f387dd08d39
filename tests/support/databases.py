"""Where do the tests get a database that takes long to fill? It is filled once, and copied."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from counterfoil.billing import Billing
from support import postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Where a database goes: into a folder, or to a server.
    Place = Path | str
    # Fills the database of an address, which has our schema, and leaves nothing open.
    Fill = Callable[[str], object]


@contextmanager
def copied(fill: Fill, place: Place) -> Iterator[str]:
    """Yield the address of a filled database that nobody else has, and drop it afterwards.

    Each worker fills it once in a file, and once on each server; all that follow are copies.
    """
    if isinstance(place, Path):
        if fill not in _FILES:
            _FILES[fill] = _file(fill)
        file = place / "log.db"
        file.write_bytes(_FILES[fill])
        yield str(file)
        return
    if (fill, place) not in _TEMPLATES:
        _TEMPLATES[fill, place] = postgres.template(place, fill)
    with postgres.database(place, _TEMPLATES[fill, place]) as url:
        yield url


_FILES: dict[Fill, bytes] = {}
_TEMPLATES: dict[tuple[Fill, str], str] = {}


def _file(fill: Fill) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "log.db"
        Billing.init(file)
        fill(str(file))
        # Who closes a file last leaves all of it in one piece.
        assert [*file.parent.iterdir()] == [file]
        return file.read_bytes()
