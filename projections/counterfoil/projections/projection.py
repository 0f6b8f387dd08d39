"""What a projection is: a name, a version, tables, and one pure function from facts to their rows.

The rows that a stream makes depend on nothing but its facts. That is all there is to keeping them:
a write stores what differs between the rows before and after it, a rebuild loads the rows of every
stream, and a verification compares them with what is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol

from counterfoil.projections.history import UNREADABLE, History
from counterfoil.projections.invoice_fold import fold_invoice

Cell = str | int | None
Row = tuple[Cell, ...]
Key = tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; text is compared byte by byte, so that both databases sort alike."""

    name: str
    type: Literal["text", "integer"]
    null: bool = False


def text(*names: str, null: bool = False) -> tuple[Column, ...]:
    """Columns of text; dates are text too, as in 2026-11-20."""
    return tuple(Column(name, "text", null) for name in names)


def integer(*names: str, null: bool = False) -> tuple[Column, ...]:
    """Columns of whole numbers: amounts, counts, and times in microseconds since 1970."""
    return tuple(Column(name, "integer", null) for name in names)


class Index(NamedTuple):
    """What an index holds, in order, and which rows are in it."""

    columns: str
    where: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table. Its key begins with the tenant and the document that a row belongs to.

    The column named by `adds` is a sum: streams add to it, so that a row of it belongs to many.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    adds: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order of a row."""
        return tuple(column.name for column in self.columns)

    @property
    def indexed(self) -> tuple[str, ...]:
        """The columns by which rows are found."""
        found = [column for index in self.indexes for column in index.columns.split(", ")]
        return tuple(dict.fromkeys((*self.key, *found)))

    @property
    def indexes_count(self) -> int:
        """How many indexes it has; the first is its key's."""
        return 1 + len(self.indexes)

    def key_of(self, row: Row) -> Key:
        """The part of a row that tells it from all others; the key's columns come first."""
        return row[: len(self.key)]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A read model. Raise `version` whenever its tables or its rows become others."""

    name: str
    version: int
    kind: Literal["invoice", "credit_note", "series"]
    tables: tuple[Table, ...]
    # From what a stream of this kind was folded to, to the rows of each table.
    rows: Callable[[Any], Sequence[Sequence[Row]]]
    reads_books: bool = False


_KINDS = frozenset({"invoice", "credit_note", "series"})

# The rows of one stream, table by table.
TableRows = Iterator[tuple[Table, Sequence[Row]]]


def rows_of(projections: tuple[Projection, ...], history: History) -> TableRows:
    """All rows that a stream makes in the tables of these projections."""
    kind = history.kind
    if kind not in _KINDS:
        raise history.corrupt(f"no read model knows {history.facts[0].type}", history.facts[0])
    mine, noting = _of_kind(projections, kind)
    subject: object = history
    if mine and kind == "invoice":
        subject = fold_invoice(history, noting=noting)
    for projection in mine:
        try:
            made = projection.rows(subject)
        except UNREADABLE as error:
            last = history.facts[-1]
            raise history.corrupt(f"{projection.name} cannot be made of it", last) from error
        yield from zip(projection.tables, made, strict=True)


@lru_cache(maxsize=256)
def _of_kind(projections: tuple[Projection, ...], kind: str) -> tuple[Sequence[Projection], bool]:
    """Those that are made of such streams, and whether one of them reads the books."""
    mine = [projection for projection in projections if projection.kind == kind]
    return mine, any(projection.reads_books for projection in mine)


class Change(NamedTuple):
    """What becomes of a table: new rows, other rows, keys to delete, and what is added to sums."""

    table: Table
    insert: Sequence[Row] = ()
    write: Sequence[Row] = ()
    delete: Sequence[Key] = ()
    add: Sequence[Row] = ()


def changes(
    projections: tuple[Projection, ...], before: History | None, after: History
) -> Iterator[Change]:
    """What differs between the rows of a stream as it was and as it is."""
    if before is None:
        for table, rows in rows_of(projections, after):
            if rows:
                yield Change(table, add=rows) if table.adds else Change(table, insert=rows)
        return
    was = dict(rows_of(projections, before._replace(past=True)))
    for table, rows in rows_of(projections, after):
        if table.adds:
            taken_back = [(*row[:-1], -_number(row[-1])) for row in was[table]]
            yield Change(table, add=added([*rows, *taken_back]))
        else:
            yield _differing(table, was[table], rows)


def _differing(table: Table, old: Sequence[Row], new: Sequence[Row]) -> Change:
    known = {table.key_of(row): row for row in old}
    insert, write = [], []
    for row in new:
        before = known.pop(table.key_of(row), None)
        if before is None:
            insert.append(row)
        elif before != row:
            write.append(row)
    return Change(table, insert, write, list(known))


def added(rows: Sequence[Row]) -> list[Row]:
    """The rows of a table of sums, added up by key; what comes to nothing is left out.

    They are in order: who adds to the same rows at the same time waits, and blocks nobody.
    """
    sums: Counter[Any] = Counter()
    for (*key, amount), times in Counter(rows).items():  # many rows are the same
        sums[tuple(key)] += _number(amount) * times
    return sorted((*key, amount) for key, amount in sums.items() if amount)


def _number(cell: Cell) -> int:
    if not isinstance(cell, int):
        raise TypeError(cell)
    return cell


class Question(NamedTuple):
    """What is asked, and its values, which are written as `:name`."""

    query: str
    values: Mapping[str, object]


class Select(Protocol):
    """How a read model is asked: plain SQL that SQLite and PostgreSQL read alike."""

    def __call__(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """The rows that a query finds; its values are written as `:name`."""
