"""Control totals: a few sums that are the same before and after rows go through a database.

Whatever is lost, doubled or cut off on the way shows in them: how many rows there are, how long all
their texts are, and the sum of each column of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from counterfoil.projections.projection import Row, Select, Table

# The number of rows, the length of all texts, then a sum for each column of numbers; nothing at all
# for no rows.
Totals = Sequence[int]


def totals(table: Table, rows: Sequence[Row]) -> Totals:
    """The control totals of these rows."""
    if not rows:
        return ()
    length, sums = 0, []
    for column, cells in zip(table.columns, zip(*rows, strict=True), strict=True):
        there = filter(None, cells) if column.null else cells
        if column.type == "integer":
            sums.append(sum(there))
        else:
            length += len("".join(there))
    return [len(rows), length, *sums]


def halves(expression: str) -> str:
    """SQL for a sum in two halves: neither database adds up many times of day in 64 bits, and
    SQLite fails where PostgreSQL would go on.
    """
    number = f"CAST({expression} AS bigint)"
    return f"coalesce(sum({number} >> 32), 0), coalesce(sum({number} & 4294967295), 0)"


def wholes(found: Sequence[Any]) -> list[int]:
    """The sums that these halves make."""
    pairs = zip(found[::2], found[1::2], strict=True)
    return [(int(upper) << 32) + int(lower) for upper, lower in pairs]


def stored_totals(select: Select, table: Table, name: str) -> Totals:
    """The control totals of a table, worked out where it is."""
    length = "+".join(
        f"coalesce(length({column.name}), 0)" if column.null else f"length({column.name})"
        for column in table.columns
        if column.type == "text"
    )
    numbers = [column.name for column in table.columns if column.type == "integer"]
    sums = ", ".join(["count(*)", f"coalesce(sum({length}), 0)", *map(halves, numbers)])
    ((count, letters, *found),) = select(f"SELECT {sums} FROM {name}", {})
    return [int(count), int(letters), *wholes(found)] if count else ()


def summed(parts: Iterable[Totals]) -> Totals:
    """The control totals of all rows, from those of some of them."""
    found = [part for part in parts if part]
    return [sum(column) for column in zip(*found, strict=True)] if found else ()
