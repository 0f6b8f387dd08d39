"""Control totals: a few sums that are the same before and after rows go through a database.

Whatever is lost, doubled, cut off or shifted on the way shows in them: how many rows there are, and
for each column the sum of its numbers or of the lengths of its texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def stored_totals(select: Select, table: Table, name: str) -> Totals:
    """The control totals of a table, worked out where it is."""
    sums = []
    for column in table.columns:
        if column.type == "integer":
            # In two halves: neither database adds many times of day up in 64 bits.
            sums.append(f"coalesce(sum({column.name} >> 32), 0)")
            sums.append(f"coalesce(sum({column.name} & 4294967295), 0)")
        else:
            sums.append(f"coalesce(sum(length({column.name})), 0)")
            sums.append("0")
    ((count, *halves),) = select(f"SELECT count(*), {', '.join(sums)} FROM {name}", {})  # noqa: S608
    if not count:
        return ()
    found = [int(count)]
    for column, first, second in zip(table.columns, halves[::2], halves[1::2], strict=True):
        whole = (int(first) << 32) + int(second) if column.type == "integer" else int(first)
        found.append(whole)
    return found


def summed(parts: Iterable[Totals]) -> Totals:
    """The control totals of all rows, from those of some of them."""
    found = [part for part in parts if part]
    return [sum(column) for column in zip(*found, strict=True)] if found else ()
