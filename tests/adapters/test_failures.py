"""What happens when a database goes away, is full, locked or cut off in the middle of a command?

It is `Unavailable` (or `Conflict`, for a lock), nothing is half written, and the same open
`Billing` works again once the cause is gone.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from counterfoil.adapters.acting import current_trace
from counterfoil.adapters.event_store import postgres as store
from counterfoil.adapters.event_store import sqlite as sqlite_store
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.billing import Billing, actor
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import Conflict, Unavailable
from counterfoil.domain.invoice.events import MetadataSet
from counterfoil.domain.ports import Append, Origin
from support import postgres
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from counterfoil.adapters.tenant import Tenant
    from counterfoil.projections.invoice import Invoice

SELLER = Seller(name="Northwind")
ADA = Customer(id="cus_1", name="Ada")
WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=Tax(rate="19"))
FACT = MetadataSet(metadata={"a": "b"})
ORIGIN = Origin(
    recorded_at=datetime(2026, 11, 20, tzinfo=UTC),
    actor=Actor(type="system", id="test"),
    command_id="cmd_1",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of this module's own, which others would miss when it is stopped."""
    with postgres.cluster() as url:
        yield url


@pytest.fixture
def url(server: str) -> Iterator[str]:
    with postgres.ready(server) as made:
        yield made


def draft(tenant: Tenant, command: str | None = None) -> Invoice:
    return tenant.draft_invoice(
        customer=ADA, currency="EUR", lines=[WORK, WORK], command_id=command
    )


def works_again(billing: Billing) -> Invoice:
    """The front door opens again within some seconds, without being opened anew."""
    deadline = time.monotonic() + 20
    while True:
        try:
            tenant = billing.tenant("acme")
            return tenant.finalize_invoice(draft(tenant).id)
        except Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def nothing_half_written(billing: Billing) -> None:
    """Every draft has all its facts, numbers have no gap, and the chain holds."""
    by_command: dict[str, list[str]] = {}
    for one in billing.log.since(0, limit=100_000):
        by_command.setdefault(one.envelope.command_id, []).append(one.envelope.type)
    whole = {"invoice.drafted.v1": 3, "series.opened.v1": 3, "series.number_assigned.v1": 2}
    for command, types in by_command.items():
        assert len(types) == whole[types[0]], (command, types)
    assert billing.audit.verify().holds


# --- PostgreSQL goes away -------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_that_stops_is_unavailable_until_it_is_back(server: str) -> None:
    operator = Server(server)
    url = urlsplit(server)._replace(path="/stopped").geturl() + "&connect_timeout=2"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE stopped")  # gone with its server
    Billing.init(url)
    with Billing.open(url, seller=SELLER) as billing:
        acme = billing.tenant("acme")
        before = draft(acme)
        operator.stop()
        try:
            began = time.monotonic()
            for ask in (
                lambda: draft(acme),
                lambda: acme.finalize_invoice(before.id),
                lambda: acme.get_invoice(before.id),
                billing.audit.verify,
            ):
                with pytest.raises(Unavailable):
                    ask()
            assert time.monotonic() - began < 45
        finally:
            operator.start()
        assert works_again(billing).number == f"INV-{datetime.now(UTC).year}-0001"
        assert acme.get_invoice(before.id) == before
        nothing_half_written(billing)


def test_a_server_that_is_not_there_is_unavailable_when_it_is_opened(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable):
        Billing.open(f"postgresql://nobody@/none?host={tmp_path}&connect_timeout=2")
    assert time.monotonic() - began < 15
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pool-")]


def cut_all(url: str, *, how: str = "true") -> int:
    """Cut every connection to a database but our own; return how many there were."""
    with psycopg.connect(url, autocommit=True) as operator:
        cut = operator.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname ="
            f" current_database() AND pid <> pg_backend_pid() AND {how}".encode()
        ).fetchall()
    return len(cut)


def test_a_connection_cut_between_reading_and_appending_stores_nothing(url: str) -> None:
    with Billing.open(url, seller=SELLER) as billing:

        def append() -> None:
            billing.log.inline = None  # no invoice is told of here, only facts
            with billing.log.transaction("acme") as transaction:
                stream = transaction.read("in_1")
                assert cut_all(url) > 0
                transaction.append([Append(stream, [FACT])], ORIGIN, None)

        with pytest.raises(Unavailable):
            append()
        works_again(billing)
        assert billing.log.read("acme", "in_1") == []
        nothing_half_written(billing)


def test_a_connection_cut_while_a_series_is_held_uses_no_number(url: str) -> None:
    """The clock is asked for the last time when the number is taken, just before the append."""
    armed = threading.Event()

    def clock() -> datetime:
        if armed.is_set() and cut_all(url, how="state = 'idle in transaction'"):
            armed.clear()
        return datetime(2026, 11, 20, tzinfo=UTC)

    with Billing.open(url, seller=SELLER, clock=clock) as billing:
        acme = billing.tenant("acme")
        invoice = draft(acme)
        armed.set()
        with pytest.raises(Unavailable):
            acme.finalize_invoice(invoice.id, command_id="f")
        assert not armed.is_set()
        assert acme.get_invoice(invoice.id).status == "draft"
        assert acme.finalize_invoice(invoice.id, command_id="f").number == "INV-2026-0001"
        assert works_again(billing).number == "INV-2026-0002"
        nothing_half_written(billing)


def test_cut_idle_connections_cost_one_call_at_most(url: str) -> None:
    with Billing.open(url, seller=SELLER) as billing:
        acme = billing.tenant("acme")
        draft(acme)
        assert cut_all(url) >= 1
        refused = 0
        for _ in range(20):
            try:
                draft(acme)
            except Unavailable:
                refused += 1
        nothing_half_written(billing)
        assert refused <= 1


def test_what_is_raised_in_a_unit_of_work_is_not_hidden_by_a_cut(url: str) -> None:
    with Billing.open(url, seller=SELLER) as billing:

        def fail() -> None:
            billing.log.inline = None  # no invoice is told of here, only facts
            with billing.log.transaction("acme") as transaction:
                transaction.take("in_1")
                cut_all(url)
                raise ZeroDivisionError

        with pytest.raises((ZeroDivisionError, Unavailable)):
            fail()
        works_again(billing)


# --- PostgreSQL is busy ---------------------------------------------------------------------


def test_an_exhausted_pool_is_unavailable_and_recovers(url: str) -> None:
    log = PostgresLog(url, pool_size=1, pool_size_max=1)
    with closing(log):
        log.datastore.pool.timeout = 0.2
        with log.transaction("acme") as transaction:
            stream = transaction.read("in_1")
            began = time.monotonic()
            with pytest.raises(Unavailable, match="connections"):
                log.read("acme", "in_1")
            with pytest.raises(Unavailable, match="connections"), log.transaction("acme"):
                pass
            assert time.monotonic() - began < 5
            transaction.append([Append(stream, [FACT])], ORIGIN, None)
        assert [one.fact for one in log.read("acme", "in_1")] == [FACT]


@pytest.mark.slow
@pytest.mark.parametrize("lock", ["log", "series", "table"])
def test_a_lock_that_is_not_given_is_a_conflict(url: str, lock: str) -> None:
    impatient = f"{url}&options=-c%20lock_timeout%3D20ms"
    clock = lambda: datetime(2026, 11, 20, tzinfo=UTC)  # noqa: E731
    with (
        Billing.open(impatient, seller=SELLER, clock=clock) as billing,
        psycopg.connect(url) as other,
    ):
        acme = billing.tenant("acme")
        invoice = draft(acme)
        match lock:
            case "log":
                other.execute("SELECT pg_advisory_xact_lock(%s)", (store._LOG_LOCK,))
            case "series":
                other.execute(
                    "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
                    (store._STREAM_LOCKS, "acme/series:default:invoice:main:2026"),
                )
            case _:
                other.execute("LOCK TABLE facts IN SHARE MODE")
        before = billing.log.max_notification_id()
        with pytest.raises(Conflict):
            acme.finalize_invoice(invoice.id)
        assert billing.log.max_notification_id() == before
        other.rollback()
        assert acme.finalize_invoice(invoice.id).number == "INV-2026-0001"
        nothing_half_written(billing)


def test_a_session_left_open_in_a_transaction_is_ended_by_the_server(url: str) -> None:
    """Who sleeps while holding a series would keep everybody else from it."""
    with closing(PostgresLog(url)) as log, log.connection() as connection:
        limits = connection.execute(
            "SELECT current_setting('lock_timeout') AS lock,"
            " current_setting('idle_in_transaction_session_timeout') AS idle"
        ).fetchone()
        assert limits == {"lock": "10s", "idle": "1min"}


def test_a_deployment_may_choose_its_own_lock_timeout(url: str) -> None:
    with (
        closing(PostgresLog(f"{url}&options=-c%20lock_timeout%3D123ms")) as log,
        log.connection() as connection,
    ):
        limit = connection.execute("SELECT current_setting('lock_timeout') AS lock").fetchone()
        assert limit == {"lock": "123ms"}


def test_a_database_whose_transactions_are_serializable_serves_writers_at_once(url: str) -> None:
    """A deployment may set `default_transaction_isolation`; our order comes of our own locks."""
    with psycopg.connect(url, autocommit=True) as operator:
        name = urlsplit(url).path[1:]
        operator.execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'".encode()
        )
    with Billing.open(url, seller=SELLER) as billing, ThreadPoolExecutor(8) as pool:
        acme = billing.tenant("acme")
        drafts = [draft(acme).id for _ in range(24)]
        numbers = [opened.number for opened in pool.map(acme.finalize_invoice, drafts)]
        assert len(set(numbers)) == 24


def test_who_waits_for_a_number_over_midnight_is_not_refused(url: str) -> None:
    """Nobody said a day, so none may be refused for having gone back."""
    evening = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)
    morning = datetime(2026, 11, 21, tzinfo=UTC)
    overtaking: list[Callable[[], Invoice]] = []

    now = [evening]

    def clock() -> datetime:
        read = now[0]
        if overtaking:  # read just before midnight, used just after
            now[0] = morning
            overtaking.pop()()
        return read

    with (
        Billing.open(url, seller=SELLER, clock=clock) as slow,
        Billing.open(url, seller=SELLER, clock=lambda: morning) as quick,
    ):
        late, early = slow.tenant("acme"), quick.tenant("acme")
        one, two = draft(late), draft(early)
        overtaking.append(lambda: early.finalize_invoice(two.id))
        assert late.finalize_invoice(one.id).number == "INV-2026-0002"


# --- a disk that is full --------------------------------------------------------------------


@contextmanager
def small_disk(kilobytes: int) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A folder on a disk of this size, and a way to make it another."""
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-disk-"))
    size = f"size={kilobytes}k,mode=0777"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no small disk: {mounted.stderr.strip()}")

    def resize(kilobytes: int) -> None:
        option = f"remount,size={kilobytes}k"
        subprocess.run(["mount", "-o", option, str(folder)], check=True)

    try:
        yield folder, resize
    finally:
        # Lazily: a server may still hold files there for a moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(billing: Billing) -> int:
    """Draft until there is no more room; return how many drafts were answered."""
    acme = billing.tenant("acme")
    for answered in range(100_000):
        try:
            draft(acme)
        except Unavailable:
            return answered
    raise AssertionError("the disk is never full")


def test_a_full_disk_under_sqlite_is_unavailable_and_works_again_with_room() -> None:
    with (
        small_disk(1024) as (folder, resize),
        Billing.open(folder / "log.db", seller=SELLER) as billing,
    ):
        answered = fill(billing)
        assert answered > 0
        for _ in range(3):
            with pytest.raises(Unavailable):
                draft(billing.tenant("acme"))
        assert billing.log.max_notification_id() == answered * 3
        nothing_half_written(billing)
        resize(16_384)
        assert works_again(billing).status == "open"
        nothing_half_written(billing)


def test_a_full_disk_under_postgres_is_unavailable_and_works_again_with_room(
    server: str, url: str
) -> None:
    user = postgres._User.of_the_server()
    with small_disk(384) as (folder, resize):
        place = folder / "facts"
        place.mkdir()
        user.own(place)
        with psycopg.connect(url, autocommit=True) as operator:
            operator.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
            try:
                operator.execute("ALTER TABLE facts SET TABLESPACE small")
                with Billing.open(url, seller=SELLER) as billing:
                    answered = fill(billing)
                    assert answered > 0
                    assert billing.log.max_notification_id() == answered * 3
                    nothing_half_written(billing)
                    resize(32_768)
                    assert works_again(billing).status == "open"
                    nothing_half_written(billing)
            finally:
                operator.execute("ALTER TABLE facts SET TABLESPACE pg_default")
                operator.execute("DROP TABLESPACE small")


# --- an SQLite file that cannot be used -----------------------------------------------------

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_locked_by_another_process_is_unavailable_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "_LOCK_TIMEOUT_S", 0.2)
    path = tmp_path / "log.db"
    with Billing.open(path, seller=SELLER) as billing:
        acme = billing.tenant("acme")
        invoice = draft(acme)
        with subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises((Unavailable, Conflict)):
                acme.finalize_invoice(invoice.id)
            assert acme.get_invoice(invoice.id) == invoice  # readers wait for nobody
            assert billing.audit.verify().holds
            holder.kill()
        assert acme.finalize_invoice(invoice.id).status == "open"
        nothing_half_written(billing)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user who may not write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_only_be_read_is_unavailable_and_unharmed() -> None:
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-"))
    path = folder / "log.db"
    try:
        with Billing.open(path, seller=SELLER) as billing:
            draft(billing.tenant("acme"))
        content = path.read_bytes()
        path.chmod(0o444)
        folder.chmod(0o555)
        with unprivileged(), pytest.raises(Unavailable):
            Billing.open(path)
        assert path.read_bytes() == content
        folder.chmod(0o755)
        path.chmod(0o644)
        with Billing.open(path, seller=SELLER) as billing:
            works_again(billing)
            nothing_half_written(billing)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_that_was_replaced_by_rubbish_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with Billing.open(path) as billing:
        draft(billing.tenant("acme"))
    content = bytearray(path.read_bytes())
    content[100:] = b"\xff" * (len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(Unavailable), Billing.open(path) as billing:
        billing.audit.verify()
    with pytest.raises(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as reader:
        reader.execute("SELECT * FROM facts").fetchall()


# --- OpenTelemetry --------------------------------------------------------------------------

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


def tracing(monkeypatch: pytest.MonkeyPatch, *, valid: bool) -> None:
    """Install what little of OpenTelemetry is asked for."""
    context = SimpleNamespace(trace_id=TRACE if valid else 0, is_valid=valid)
    span = SimpleNamespace(get_span_context=lambda: context)
    package, trace = ModuleType("opentelemetry"), ModuleType("opentelemetry.trace")
    vars(trace)["get_current_span"] = lambda: span
    vars(package)["trace"] = trace
    monkeypatch.setitem(sys.modules, "opentelemetry", package)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)


def correlations(billing: Billing) -> set[str | None]:
    return {one.envelope.correlation_id for one in billing.log.since(0, limit=10)}


def test_without_opentelemetry_there_is_no_trace() -> None:
    assert current_trace() is None
    with Billing.open(":memory:") as billing:
        draft(billing.tenant("acme"))
        assert correlations(billing) == {None}


def test_the_active_trace_ties_facts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing(monkeypatch, valid=True)
    with Billing.open(":memory:") as billing:
        draft(billing.tenant("acme"))
        assert correlations(billing) == {f"{TRACE:032x}"}


def test_a_correlation_that_was_said_comes_before_the_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracing(monkeypatch, valid=True)
    with Billing.open(":memory:") as billing:
        with actor("user", "u_1", cause="evt_1", correlation="mine"):
            draft(billing.tenant("acme"))
        assert correlations(billing) == {"mine"}


def test_a_span_that_is_not_recording_is_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing(monkeypatch, valid=False)
    assert current_trace() is None
