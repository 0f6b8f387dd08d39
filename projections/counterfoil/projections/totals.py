"""Control totals: a few sums that are the same before and after rows go through a database.

Whatever is lost, doubled, cut off or shifted on the way shows in them: how many rows there are, and
for each column the sum of its numbers or of the lengths of its texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from counterfoil.projections.projection import Row, Select, Table

# The number of rows, then one sum for each column; nothing at all for no rows.
Totals = Sequence[int]


def totals(table: Table, rows: Sequence[Row]) -> Totals:
    """The control totals of these rows."""
    if not rows:
        return ()
    sums = [len(rows)]
    for column, cells in zip(table.columns, zip(*rows, strict=True), strict=True):
        there = filter(None, cells) if column.null else cells
        sums.append(sum(there) if column.type == "integer" else sum(map(len, there)))
    return sums


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
    sums = ", ".join(
        halves(column.name)
        if column.type == "integer"
        else f"0, coalesce(sum(length({column.name})), 0)"
        for column in table.columns
    )
    ((count, *found),) = select(f"SELECT count(*), {sums} FROM {name}", {})  # noqa: S608
    return [int(count), *wholes(found)] if count else ()


def summed(parts: Iterable[Totals]) -> Totals:
    """The control totals of all rows, from those of some of them."""
    found = [part for part in parts if part]
    return [sum(column) for column in zip(*found, strict=True)] if found else ()
