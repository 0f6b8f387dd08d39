"""The SQL that a table of a read model asks for; the two databases differ in its types alone."""

from __future__ import annotations

from typing import Literal

from counterfoil.projections.projection import Column, Table

Dialect = Literal["sqlite", "postgres"]

_TYPES = {
    "sqlite": {"text": "TEXT", "integer": "INTEGER"},
    # Both databases are to sort alike: byte by byte.
    "postgres": {"text": 'text COLLATE "C"', "integer": "bigint"},
}


def create(table: Table, name: str, dialect: Dialect) -> str:
    """Make the table, without the indexes, which are made faster when its rows are there."""
    columns = ", ".join(_column(column, dialect) for column in table.columns)
    return f"CREATE TABLE {name} ({columns}){' STRICT' if dialect == 'sqlite' else ''}"


def _column(column: Column, dialect: Dialect) -> str:
    return f"{column.name} {_TYPES[dialect][column.type]}{'' if column.null else ' NOT NULL'}"


def index(table: Table, name: str, mark: str, number: int) -> str:
    """Make one of its indexes; `mark` sets its name apart from the replaced table's."""
    if number == 0:
        key = ", ".join(table.key)
        return f"CREATE UNIQUE INDEX IF NOT EXISTS {table.name}_key_{mark} ON {name} ({key})"
    one = table.indexes[number - 1]
    on = f"{name} ({one.columns})" + (f" WHERE {one.where}" if one.where else "")
    return f"CREATE INDEX IF NOT EXISTS {table.name}_{number}_{mark} ON {on}"


def insert(table: Table, name: str, values: str) -> str:
    """Write rows over those of the same key, or add to them."""
    others = table.names[len(table.key) :]
    if table.adds:
        sets = f"{table.adds} = {name}.{table.adds} + excluded.{table.adds}"
    else:
        sets = ", ".join(f"{other} = excluded.{other}" for other in others)
    return (
        f"INSERT INTO {name} ({', '.join(table.names)}) {values}"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {sets}"
    )
