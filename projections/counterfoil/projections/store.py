"""What keeping read models asks of a database. SQLite and PostgreSQL each have an adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from counterfoil.projections.history import Fact, History, Stretch
from counterfoil.projections.projection import Key, Question, Row, Table


class Place(NamedTuple):
    """A place in the order of streams: after so many facts of this one."""

    tenant: str
    stream: str
    version: int


START = Place("", "", 0)


class Session(Protocol):
    """One transaction. It ends with what it was opened for: all of it is stored, or none.

    More than `window_max` facts at once are better read in several windows.
    """

    window_max: int

    def select(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; its values are written as `:name`."""

    def held(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; whoever would change them waits for the end of this."""

    def execute(self, query: str, values: Mapping[str, object]) -> int:
        """Change something, and say how many rows of it."""

    def create(self, table: Table, name: str) -> None:
        """Make an empty table by this name, without indexes; one that is there is dropped."""

    def index(self, table: Table, name: str, mark: str, number: int) -> None:
        """Make one of its indexes, by a name that no other table's has."""

    def survey(self, table: Table, name: str) -> None:
        """Let the database know what is in it, to choose by how it answers."""

    def load(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows in a table that has none of their keys, by the fastest way there is."""

    def insert(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows whose keys should not be there yet; over those that are."""

    def write(self, table: Table, name: str, rows: Sequence[Row]) -> None:
        """Store rows over those of the same keys; in a table of sums, add to them."""

    def delete(self, table: Table, name: str, keys: Sequence[Key]) -> None:
        """Delete the rows of these keys."""

    def swap(self, table: Table, new: str, old: str) -> None:
        """Put the new table, with the live one's grants, in its place, and call that one `old`."""

    def views(self, name: str) -> Sequence[str]:
        """The views that would keep to a table when another takes its place."""

    def drop(self, name: str) -> None:
        """Drop a table, if it is there."""

    def size(self, name: str) -> int:
        """How many bytes a table and its indexes take."""

    def window(
        self, after: Place, until: Place | None, position: int, limit: int
    ) -> Iterable[Stretch]:
        """The next facts in the order of streams, as far as a place and a position; nothing of them
        is read yet. Until the last has come, nothing else can be asked.
        """

    def page(self, after: int, limit: int) -> list[tuple[str, str, Fact]]:
        """The next facts in the order of the log, with their tenants and streams."""

    def histories(self, streams: Iterable[tuple[str, str]], position: int) -> list[History]:
        """Whole streams, as far as a position."""

    def beginnings(self, streams: Iterable[tuple[str, str]]) -> list[History]:
        """The first facts of streams."""


class Store(Protocol):
    """A database that keeps facts and read models."""

    # Whether it stores rows while we make others.
    stores_apart: bool

    # How many processes may load at once, and why no more.
    workers_max: int
    workers_why: str

    def writing(self, *, lasting: bool = True) -> AbstractContextManager[Session]:
        """Begin a transaction that changes something; an exception undoes it. One that is not
        `lasting` need not be on the disk before a later one is that lasts.
        """

    def reading(self, *tables: Table) -> AbstractContextManager[Session]:
        """Begin a transaction that sees one moment only, however long it reads these tables."""

    def ask(
        self, *questions: Question, of: Sequence[Table] = ()
    ) -> Sequence[Sequence[tuple[Any, ...]]]:
        """Answer some questions of these tables, all as of one moment."""

    def load_apart(self, token: str, parts: Sequence[int], watch: Callable[[int], None]) -> None:
        """Load parts of a rebuild, each in a process of its own."""

    def alone(self) -> AbstractContextManager[Session]:
        """Begin a transaction that changes something while nobody writes facts: those who were
        writing have ended, those who come wait.
        """
