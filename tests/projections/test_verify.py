"""Is one damaged cell, in whichever table, found, named and repaired?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.domain.errors import NotFound
from counterfoil.projections import loading
from counterfoil.projections.verify import DESCRIBED, Difference
from projections import worlds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from counterfoil.projections.projection import Cell, Column, Projection, Row, Table
    from projections.worlds import Dump, World
    from support.databases import Place

CELLS = [
    (projection, table, column) for projection, table in worlds.TABLES for column in table.columns
]
KINDS = ("sqlite", "postgres")
PLACES = {"first": 0, "middle": None, "last": -1}


@pytest.fixture(scope="module", params=KINDS)
def prepared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Dump]]:
    """A database in which everything has happened, and what its tables hold."""
    if request.param == "sqlite":
        place: Place = tmp_path_factory.mktemp("verify")
    else:
        place = request.getfixturevalue("postgres_url")
    with worlds.after(worlds.full, place) as world:
        yield world, worlds.dump(world)


@pytest.fixture
def world(prepared: tuple[World, Dump]) -> Iterator[World]:
    """The same, which each test leaves as it was."""
    yield prepared[0]
    assert worlds.dump(prepared[0]) == prepared[1]


@pytest.fixture
def true(prepared: tuple[World, Dump]) -> Dump:
    return prepared[1]


def where(names: Sequence[str]) -> str:
    return " AND ".join(f"{name} = :k_{name}" for name in names)


def named(table: Table, row: Row) -> dict[str, Cell]:
    return dict(zip(table.key, table.key_of(row), strict=True))


def keyed(table: Table, row: Row) -> dict[str, object]:
    return {f"k_{name}": cell for name, cell in named(table, row).items()}


def damage(world: World, table: Table, row: Row, column: str, value: Cell) -> None:
    changed = worlds.execute(
        world,
        f"UPDATE {table.name} SET {column} = :value WHERE {where(table.key)}",
        {"value": value, **keyed(table, row)},
    )
    assert changed == 1


def put(world: World, table: Table, row: Row) -> None:
    """Store this row, in the place of the one that has its key."""
    with world.store.writing() as session:
        session.delete(table, table.name, [table.key_of(row)])
        session.load(table, table.name, [row])


def remove(world: World, table: Table, row: Row) -> None:
    with world.store.writing() as session:
        session.delete(table, table.name, [table.key_of(row)])


def other(column: Column, value: Cell) -> Cell:
    if column.type == "integer":
        return 1 if value is None else int(value) + 1_000
    return "x" if value is None else f"{value}x"


def with_cell(table: Table, row: Row, column: str, value: Cell) -> Row:
    place = table.names.index(column)
    return (*row[:place], value, *row[place + 1 :])


def row_at(table: Table, true: Dump, place: int | None) -> Row:
    found = true[table.name]
    return found[len(found) // 2 if place is None else place]


def everywhere() -> Iterator[Any]:
    """Every cell, in both databases; three of four on PostgreSQL are tried in the slow tests."""
    for kind in KINDS:
        for projection, table, column in CELLS:
            few = kind == "sqlite" or table.columns.index(column) % 4 == 0
            yield pytest.param(
                kind,
                projection,
                table,
                column,
                id=f"{kind}-{table.name}.{column.name}",
                marks=() if few else pytest.mark.slow,
            )


@pytest.mark.parametrize(
    ("prepared", "projection", "table", "column"), [*everywhere()], indirect=["prepared"]
)
def test_a_damaged_cell_is_found_and_named(
    world: World, true: Dump, projection: Projection, table: Table, column: Column
) -> None:
    # At the first place of the key order, at the last, or between, each for a third of the cells.
    row = row_at(table, true, [*PLACES.values()][table.columns.index(column) % 3])
    was = row[table.names.index(column.name)]
    value = other(column, was)
    bad = with_cell(table, row, column.name, value)
    damage(world, table, row, column.name, value)
    found = world.billing.projections.verify()
    remove(world, table, bad)
    put(world, table, row)
    key = _Key(named(table, row))
    if column.name in table.key:
        moved = _Key(named(table, bad))
        expected = {
            Difference(projection.name, table.name, key, None, None, "a row"),
            Difference(projection.name, table.name, moved, None, "a row", None),
        }
    else:
        expected = {Difference(projection.name, table.name, key, column.name, value, was)}
        text = str(found.differences[0])
        for said in (table.name, column.name, repr(value), repr(was), *map(str, key.values())):
            assert said in text
    assert {_hashed(one) for one in found.differences} == expected
    assert (found.holds, found.count) == (False, len(expected))


class _Key(dict[str, "Cell"]):
    """A key that can be in a set."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def _hashed(one: Difference) -> Difference:
    return Difference(one.projection, one.table, _Key(one.key), one.column, one.stored, one.true)


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for _, table, column in CELLS if column.null],
    ids=[f"{table.name}.{column.name}" for _, table, column in CELLS if column.null],
)
def test_a_cell_that_was_emptied_is_found(
    world: World, true: Dump, table: Table, column: Column
) -> None:
    place = table.names.index(column.name)
    row = next(row for row in true[table.name] if row[place] is not None)
    damage(world, table, row, column.name, None)
    (found,) = world.billing.projections.verify().differences
    put(world, table, row)
    assert (found.column, found.stored, found.true) == (column.name, None, row[place])


@pytest.mark.parametrize("table", [t for _, t in worlds.TABLES], ids=lambda table: table.name)
@pytest.mark.parametrize("place", PLACES)
def test_a_missing_row_is_found(world: World, true: Dump, table: Table, place: str) -> None:
    row = row_at(table, true, PLACES[place])
    remove(world, table, row)
    found = world.billing.projections.verify()
    put(world, table, row)
    (one,) = found.differences
    assert (one.table, one.key, one.column, one.stored) == (
        table.name,
        named(table, row),
        None,
        None,
    )
    assert "missing" in str(one)


# Before all tenants, between two, after all; before and after the documents of one.
STRANGERS = ("", "0", "a", "aa", "b", "z")
DOCUMENTS = ("", "in_000000", "in_zzzz", "series:zz", "zzzz")


@pytest.mark.parametrize("table", [t for _, t in worlds.TABLES], ids=lambda table: table.name)
def test_an_extra_row_is_found_wherever_it_is(world: World, true: Dump, table: Table) -> None:
    row = true[table.name][0]
    extra = [(tenant, document, *row[2:]) for tenant in STRANGERS for document in DOCUMENTS]
    for one in extra:
        put(world, table, one)
    found = world.billing.projections.verify()
    for one in extra:
        remove(world, table, one)
    assert found.count == len(extra)
    assert [one.key for one in found.differences] == [named(table, row) for row in extra] or (
        {_Key(one.key) for one in found.differences} == {_Key(named(table, row)) for row in extra}
    )
    assert {(one.column, one.true) for one in found.differences} == {(None, None)}
    assert all("should not be there" in str(one) for one in found.differences)


def test_a_count_of_none_that_should_be_some_is_named_as_a_cell(world: World, true: Dump) -> None:
    ((_, table),) = [(p, t) for p, t in worlds.TABLES if t.adds]
    row = true[table.name][0]
    damage(world, table, row, "count", 0)
    (found,) = world.billing.projections.verify().differences
    put(world, table, row)
    assert (found.column, found.stored, found.true) == ("count", 0, row[-1])


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_a_sound_database_holds_however_it_is_cut(
    world: World, true: Dump, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PIECE", piece)
    found = world.billing.projections.verify()
    assert [str(one) for one in found.differences] == []
    assert found.rows == sum(map(len, true.values()))


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_each_damage_is_found_once_however_it_is_cut(
    world: World, true: Dump, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "PIECE", piece)
    damaged = [(table, true[table.name][place]) for _, table in worlds.TABLES for place in (0, -1)]
    for table, row in damaged:
        damage(world, table, row, table.names[-1], other(table.columns[-1], row[-1]))
    found = world.billing.projections.verify()
    for table, row in damaged:
        put(world, table, row)
    assert {(one.table, _Key(one.key), one.column) for one in found.differences} == {
        (table.name, _Key(named(table, row)), table.names[-1]) for table, row in damaged
    }
    assert found.count == len(damaged)


def test_of_much_damage_some_is_described_and_all_is_counted(world: World, true: Dump) -> None:
    worlds.execute(world, "UPDATE journal SET debit = debit + 1, credit = credit + 1")
    found = world.billing.projections.verify()
    worlds.execute(world, "UPDATE journal SET debit = debit - 1, credit = credit - 1")
    assert len(found.differences) == DESCRIBED
    assert found.count == 2 * len(true["journal"])


def test_what_was_not_asked_for_is_not_compared(world: World, true: Dump) -> None:
    ((lines,),) = [[t for _, t in worlds.TABLES if t.name == "lines"]]
    row = true["lines"][0]
    damage(world, lines, row, "amount", -1)
    assert world.billing.projections.verify("invoices", "series").holds
    assert not world.billing.projections.verify("lines").holds
    put(world, lines, row)
    with pytest.raises(NotFound, match="nonsense"):
        world.billing.projections.verify("nonsense")


def test_every_damage_is_repaired_by_a_rebuild_of_its_read_model(world: World, true: Dump) -> None:
    for projection, table in worlds.TABLES:
        row = true[table.name][-1]
        damage(world, table, row, table.names[-1], 4711)
        remove(world, table, true[table.name][0])
        put(world, table, ("zz", "zz", *row[2:]))
        others = dict(worlds.dump(world))
        world.billing.projections.rebuild(projection.name)
        after: Mapping[str, object] = worlds.dump(world)
        for name, rows in after.items():
            ours = {table.name for table in projection.tables}
            assert rows == (true[name] if name in ours else others[name]), name
    assert world.billing.projections.verify().holds
