"""Does SQLite itself refuse to change what is stored, and is what it refuses said in our words?"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.event_store.schema import migrations
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import AppendOnly, CorruptHistory, SchemaTooNew, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

ADA = Customer(id="cus_1", name="Ada")


def drafted(path: Path) -> str:
    with Billing.open(path, seller=Seller(name="Northwind")) as billing:
        line = NewLine(description="Work", quantity=1, unit_price="10.00", tax=Tax(rate="19"))
        tenant = billing.tenant("acme")
        draft = tenant.draft_invoice(customer=ADA, currency="EUR", lines=[line], command_id="first")
        return draft.id


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE facts SET actor_id = 'nobody'",
        "DELETE FROM facts",
        "REPLACE INTO facts SELECT * FROM facts",
        (
            "INSERT OR REPLACE INTO facts SELECT 1, tenant, 'in_2', 1, type, body, recorded_at,"
            " actor_type, actor_id, command_id, NULL, NULL, hash FROM facts WHERE position = 2"
        ),
        (
            "INSERT INTO facts SELECT 9, tenant, stream, 9, type, body, recorded_at,"
            " actor_type, actor_id, command_id, NULL, NULL, hash FROM facts WHERE position = 2"
        ),
        (
            "INSERT INTO facts SELECT 9, tenant, 'in_2', 2, type, body, recorded_at,"
            " actor_type, actor_id, command_id, NULL, NULL, hash FROM facts WHERE position = 2"
        ),
        (
            "REPLACE INTO facts SELECT NULL, tenant, stream, version, type, body, recorded_at,"
            " actor_type, actor_id, command_id, NULL, NULL, hash FROM facts"
        ),
        "REPLACE INTO claims SELECT * FROM claims",
        "UPDATE claims SET version = 9",
        "DELETE FROM claims",
    ],
)
def test_the_database_refuses_to_change_what_is_stored(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "log.db"
    drafted(path)
    connection = sqlite3.connect(path)
    before = connection.execute("SELECT * FROM facts").fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.rollback()
    assert connection.execute("SELECT * FROM facts").fetchall() == before
    connection.close()


def test_what_the_triggers_refuse_is_told_from_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    drafted(path)
    log = SQLiteLog(str(path))
    with pytest.raises(AppendOnly, match="append-only"), log.begun() as cursor:
        cursor.execute("DELETE FROM facts")
    log.close()


def test_the_facts_are_readable_json_to_an_auditor(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    invoice = drafted(path)
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT stream, type, body ->> '$.line.description', recorded_at FROM facts_readable"
    ).fetchall()
    connection.close()
    assert [row[:3] for row in rows] == [
        (invoice, "invoice.drafted.v1", None),
        (invoice, "invoice.line_added.v1", "Work"),
    ]
    assert rows[0][3].endswith("Z")
    assert len(rows[0][3]) == len("2026-11-20T12:00:00.000001Z")


def test_an_unknown_type_stops_and_names_stream_and_position(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    invoice = drafted(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER facts_are_not_changed")
    connection.execute("UPDATE facts SET type = 'invoice.dreamt.v1' WHERE version = 2")
    connection.commit()
    connection.close()
    with Billing.open(path) as billing:
        with pytest.raises(CorruptHistory, match=r"invoice\.dreamt\.v1") as caught:
            billing.tenant("acme").get_invoice(invoice)
        assert (caught.value.stream, caught.value.position) == (invoice, 2)


def test_opening_twice_migrates_once(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    drafted(path)
    drafted(path)
    connection = sqlite3.connect(path)
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert schema == migrations("sqlite")[-1].number


def test_a_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    drafted(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew, match=r"schema 99.*upgrade Counterfoil"):
        Billing.open(path)


def test_a_file_that_is_no_database_is_unavailable_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(Unavailable, match="not a database"):
        Billing.open(path)
    assert path.read_text() == "not a database, " * 100


def test_a_folder_that_does_not_exist_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open"):
        Billing.open(tmp_path / "missing" / "log.db")


def test_closing_while_others_read_ends_their_reading_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    invoice = drafted(path)
    billing = Billing.open(path)
    reading = Barrier(5)

    def read() -> None:
        reading.wait()
        while True:
            billing.tenant("acme").get_invoice(invoice)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        reading.wait()
        billing.close()
        for reader in readers:
            with pytest.raises(Unavailable):
                reader.result(timeout=30)


_WRITER = """
import sys
from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax

line = NewLine(description="Work", quantity=1, unit_price="10.00", tax=Tax(rate="19"))
with Billing.open(sys.argv[1], seller=Seller(name="Northwind")) as billing:
    acme = billing.tenant("acme")
    for number in range(int(sys.argv[2])):
        draft = acme.draft_invoice(
            customer=Customer(id="cus_1", name="Ada"), currency="EUR", lines=[line]
        )
        print(acme.finalize_invoice(draft.id).number, flush=True)
"""


def _writer(path: Path, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(count)], stdout=subprocess.PIPE, text=True
    )


def _assigned(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT body ->> '$.place' FROM facts_readable"
        " WHERE type = 'series.number_assigned.v1' ORDER BY position"
    ).fetchall()
    connection.close()
    return [place for (place,) in rows]


def test_two_processes_never_leave_a_gap_in_a_series(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writers = [_writer(path, 25) for _ in range(2)]
    numbers = [line for writer in writers for line in writer.communicate()[0].split()]
    assert all(writer.returncode == 0 for writer in writers)
    assert sorted(numbers) == [f"INV-{numbers[0][4:8]}-{place:04d}" for place in range(1, 51)]
    assert _assigned(path) == list(range(1, 51))


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writer = _writer(path, 10_000)
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip() for _ in range(20)]
    os.kill(writer.pid, signal.SIGKILL)
    told += writer.communicate()[0].split()
    assigned = _assigned(path)
    assert assigned == list(range(1, len(assigned) + 1))
    assert len(told) <= len(assigned) <= len(told) + 1
