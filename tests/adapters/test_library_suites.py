"""Do our recorders pass the suites that the `eventsourcing` library has for recorders?"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

from eventsourcing.tests.persistence import (
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)
from typing_extensions import override

from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from support import postgres


class _OurIds:
    """A stream of a tenant, as our recorders name it at the library's door."""

    def new_originator_id(self) -> UUID | str:
        return f"acme/in_{uuid4().hex}"


class TestSQLite(_OurIds, ApplicationRecorderTestCase[SQLiteLog]):
    @override
    def create_recorder(self) -> SQLiteLog:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        log = SQLiteLog(str(Path(folder.name) / "log.db"))
        self.addCleanup(log.close)
        return log

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestSQLiteInMemory(TestSQLite):
    @override
    def create_recorder(self) -> SQLiteLog:
        log = SQLiteLog(":memory:")
        self.addCleanup(log.close)
        return log


class _Server(_OurIds):
    """A cluster for the class, and an empty database for every recorder."""

    stack: ExitStack
    server: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = ExitStack()
        given = os.environ.get("COUNTERFOIL_TEST_POSTGRES_URL")
        cls.server = given or cls.stack.enter_context(postgres.cluster())

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    def open(self) -> PostgresLog:
        opened = ExitStack()
        log = PostgresLog(opened.enter_context(postgres.ready(self.server)))
        opened.callback(log.close)
        self.opened = opened
        return log


class TestPostgres(_Server, ApplicationRecorderTestCase[PostgresLog]):
    @override
    def create_recorder(self) -> PostgresLog:
        log = self.open()
        self.addCleanup(self.opened.close)
        return log

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestPostgresOrder(_Server, NonInterleavingNotificationIDsBaseCase):
    insert_num = 100

    @override
    def create_recorder(self) -> PostgresLog:
        log = self.open()
        self.addCleanup(self.opened.close)
        return log
