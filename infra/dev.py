#!/usr/bin/env python3
"""Set up a checkout and run one job in it, with nothing but Python 3.11 or newer.

usage: python3 infra/dev.py JOB [ARGS]        (or, where there is make: make JOB)

  demo             a first invoice, in a SQLite file and a local folder
  test [ARGS]      the tests; ARGS go to pytest, such as -k credit or a path
  test-slow [ARGS] chaos, load and whole rebuilds, and three times as many examples
  check            formatting, lint, types and layers: all four, whatever fails
  bench [ARGS]     the benchmarks
  coverage [ARGS]  the tests once more, with the lines that no test reaches
  format           put the code in form
  lock [ARGS]      choose the pinned versions anew; --upgrade takes the newest
  run CMD ...      anything else inside the environment

The environment is .venv, filled with what infra/requirements/all.txt pins by
hash; it is made again whenever that file, pyproject.toml or Python changes.
System libraries that are missing (Pango for PDF; PostgreSQL for the tests, when
root runs them) are installed where apt can do so without a question; elsewhere
the line to run is printed.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python must get this far to be told
    sys.exit(
        "dev.py: this project needs Python 3.11 or newer, and this is "
        + ".".join(map(str, sys.version_info[:3]))
        + "\n  run: python3.11 infra/dev.py (or any newer one)"
    )

import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "counterfoil-stamp"
REQUIREMENTS = ROOT / "infra" / "requirements" / "all.txt"

# Tests wait for servers and processes now and then; one worker more than cores uses that time.
WORKERS = str((os.cpu_count() or 1) + 1)

# What WeasyPrint loads by name, and the Debian package that holds it.
PANGO = {
    "libpango-1.0.so.0": "libpango-1.0-0",
    "libpangoft2-1.0.so.0": "libpangoft2-1.0-0",
    "libharfbuzz-subset.so.0": "libharfbuzz-subset0",
}

COMMANDS = {
    "demo": ["counterfoil", "demo"],
    "test": ["pytest", "-n", WORKERS, "--dist", "worksteal", "-m", "not slow"],
    "test-slow": [
        *("env", "COUNTERFOIL_TEST_EXAMPLES=thorough"),
        *("pytest", "-m", "slow or hypothesis"),
    ],
    "bench": ["python", "tests/bench/run.py"],
    "coverage": ["pytest", "-n", "auto", "-m", "not slow", "--cov", "--cov-report=term-missing"],
    "run": [],
}
CHECKS = {
    "format": ["ruff", "format", "--check"],
    "lint": ["ruff", "check"],
    "types": ["mypy"],
    "layers": ["lint-imports"],
}
NEED_PANGO = {"demo", "test", "test-slow", "bench", "coverage"}
NEED_POSTGRES = NEED_PANGO - {"demo"}


def main(arguments: Sequence[str]) -> int:
    """Make the environment what the checkout says, then run the job in it."""
    job, *rest = arguments or ["help"]
    if job in {"help", "-h", "--help"}:
        say(__doc__.strip())
        return 0
    if job not in {*COMMANDS, "check", "format", "lock"} or (job == "run" and not rest):
        say(__doc__.strip(), f"\ndev.py: no such job: {' '.join(arguments)}", to=sys.stderr)
        return 2
    with alone():
        missing = list(missing_libraries(job))
        if missing:
            apt(missing)
        prepare()
    # No `match` in this file: an older Python must get as far as the message above.
    if job == "check":
        return check()
    if job == "format":
        return run(["ruff", "check", "--fix", "--quiet"]) or run(["ruff", "format"])
    if job == "lock":
        return lock(rest)
    return run([*COMMANDS[job], *rest])


# --- jobs ---------------------------------------------------------------------------------


def run(command: Sequence[str]) -> int:
    """Run one command of the environment and pass its answer on."""
    try:
        done = subprocess.run(located(command), env=inside(), cwd=ROOT, check=False)
    except FileNotFoundError:
        say(f"dev.py: no such command: {command[0]}", to=sys.stderr)
        return 127
    return done.returncode


def check() -> int:
    """Run every check, whatever the others say, and show what the failing ones said."""
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(one_check, CHECKS.items()))
    return max(results)


def one_check(named: tuple[str, list[str]]) -> int:
    """Run one check, and print one line, preceded by its output if it failed."""
    name, command = named
    began = time.monotonic()
    done = subprocess.run(
        located(command),
        env=inside(),
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = done.stdout if done.returncode else ""
    verdict = "FAILED" if done.returncode else "ok"
    # One write, so that two checks that end together do not mix their lines.
    seconds = time.monotonic() - began
    say(f"{said}{name:<8}{verdict:<8}{seconds:5.1f} s  {' '.join(command)}")
    return int(done.returncode != 0)


def lock(rest: Sequence[str]) -> int:
    """Choose the pinned versions, for every platform, with the hashes of their files."""
    code = run(
        [
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--all-extras",
            "--group=dev",
            "--universal",
            "--python-version=3.11",
            "--generate-hashes",
            # A lock tells what was chosen, not where this machine found it.
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--custom-compile-command=python3 infra/dev.py lock",
            "--quiet",
            f"--output-file={REQUIREMENTS.relative_to(ROOT)}",
            *rest,
        ]
    )
    if code == 0:
        with alone():
            prepare()
    return code


# --- the environment ----------------------------------------------------------------------


def prepare() -> None:
    """Bring .venv to what the lock says; cheap when it is there already.

    The stamp is taken away first and written last. So a run that was killed half
    way leaves none, and the next one starts from nothing.
    """
    wanted = f"{interpreter()}\n{digest()}\n"
    found = STAMP.read_text() if STAMP.is_file() and PYTHON.exists() else ""
    if found == wanted:
        return
    say("dev.py: preparing .venv ...", to=sys.stderr)
    STAMP.unlink(missing_ok=True)
    if not found.startswith(f"{interpreter()}\n") or not (VENV / "bin" / "uv").is_file():
        build_venv()
    uv(["sync", "--require-hashes", str(REQUIREMENTS)])
    uv(["install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    half = STAMP.with_suffix(".half")
    half.write_text(wanted)
    half.replace(STAMP)


def build_venv() -> None:
    """Make an empty .venv with the pinned uv in it, checked against its hashes."""
    invalidate_caches()  # apt may just have brought it
    if find_spec("ensurepip") is None:
        sys.exit(
            "dev.py: this Python has no ensurepip; install it first:\n"
            "  sudo apt-get install -y python3-venv"
        )
    shutil.rmtree(VENV, ignore_errors=True)
    # Asked from inside a .venv, `sys.executable` is the very one that was just removed.
    base = getattr(sys, "_base_executable", None) or sys.executable
    require([base, "-m", "venv", str(VENV)])
    only_uv = VENV / "uv.txt"
    only_uv.write_text(pin_of("uv"))
    pip = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    require([*pip, "--no-deps", "--require-hashes", "-r", str(only_uv)])


def uv(arguments: Sequence[str]) -> None:
    """Let the environment's own uv change the environment, never another one."""
    program = str(VENV / "bin" / "uv")
    require([program, "pip", *arguments, "--quiet", "--python", str(PYTHON)])


def pin_of(name: str) -> str:
    """Return the lines of the lock that pin one package."""
    pattern = rf"^{re.escape(name)}==(?:.*\\\n)*.*"
    found = re.search(pattern, REQUIREMENTS.read_text(), flags=re.MULTILINE)
    if found is None:
        sys.exit(f"dev.py: {REQUIREMENTS} does not pin {name}")
    return found[0] + "\n"


def interpreter() -> str:
    """Say which Python made the environment: another one makes it anew."""
    return f"{sys.base_prefix} {sys.version}".replace("\n", " ")


def digest() -> str:
    """Say what the environment was made from; the folder counts, for scripts name it."""
    parts = (str(ROOT).encode(), REQUIREMENTS.read_bytes(), (ROOT / "pyproject.toml").read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def inside() -> dict[str, str]:
    """Return the caller's variables, less those that would lead out of the environment.

    What concerns the network stays: a proxy, a certificate, an index of one's own. The wish to
    keep no bytecode, which many container images have, does not: without it every worker and
    every program that a test starts would compile all that it imports anew.
    """
    leaks = re.compile(
        r"PYTHON(PATH|HOME|STARTUP|DONTWRITEBYTECODE)|MYPYPATH|(VIRTUAL_ENV|CONDA)(_.*)?|__PYVENV_LAUNCHER__"
        r"|PIP_(USER|TARGET|PREFIX|ROOT|REQUIREMENT|CONSTRAINT|PYTHON|NO_BINARY|DRY_RUN)"
        r"|UV_(SYSTEM_PYTHON|PYTHON|TARGET|PREFIX|CONSTRAINT|OVERRIDE|NO_BINARY|EXCLUDE_NEWER)"
    )
    kept = {name: value for name, value in os.environ.items() if not leaks.fullmatch(name)}
    path = f"{VENV / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "VIRTUAL_ENV": str(VENV)}


def located(command: Sequence[str]) -> list[str]:
    """Return the command with the environment's own program of that name, if it has one."""
    program, *rest = command
    return [shutil.which(program, path=inside()["PATH"]) or program, *rest]


def require(command: Sequence[str]) -> None:
    """Run a step of the set-up, and stop when it fails; it has said why."""
    done = subprocess.run(command, env=inside(), cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"dev.py: could not set up .venv; this failed:\n  {' '.join(command)}")


@contextmanager
def alone() -> Iterator[None]:
    """Let one process at a time set up this checkout; the kernel frees the lock of a dead one."""
    folder = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


# --- the system ---------------------------------------------------------------------------


def missing_libraries(job: str) -> Iterator[str]:
    """Yield the Debian packages that the job lacks on this machine."""
    if not sys.platform.startswith("linux"):
        return
    if find_spec("ensurepip") is None and not STAMP.is_file():
        yield "python3-venv"
    if job in NEED_PANGO:
        yield from (package for library, package in PANGO.items() if not loads(library))
    if job in NEED_POSTGRES and lacks_postgres():
        yield "postgresql"


def loads(library: str) -> bool:
    """Tell whether the loader finds a library, as WeasyPrint will ask it."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def lacks_postgres() -> bool:
    """Tell whether the tests will find no server.

    The one inside the wheel serves everybody but root: PostgreSQL refuses to run
    as root, and another user cannot read a checkout in root's home.
    """
    installed = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    elsewhere = "COUNTERFOIL_TEST_POSTGRES_URL" in os.environ
    return os.geteuid() == 0 and not installed and not elsewhere


def apt(packages: Sequence[str]) -> None:
    """Install Debian packages where that takes no question; else say how, and go on."""
    by_hand = f"  sudo apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say("dev.py: missing system packages; on Debian:", by_hand, to=sys.stderr)
        return
    say(f"dev.py: installing {' '.join(packages)} ...", to=sys.stderr)
    with no_default_cluster():
        done = apt_get("update") or apt_get("install", "-y", "--no-install-recommends", *packages)
    if done:
        say("dev.py: apt failed; going on without. By hand:", by_hand, to=sys.stderr)


def apt_get(*arguments: str) -> int:
    """Run apt-get without a question, and show what it said only if it failed."""
    done = subprocess.run(
        ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        say(done.stdout.rstrip(), to=sys.stderr)
    return done.returncode


@contextmanager
def no_default_cluster() -> Iterator[None]:
    """Keep Debian from starting a server of its own: the tests start theirs, and end it."""
    settings = Path("/etc/postgresql-common/createcluster.d/counterfoil.conf")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        settings.unlink(missing_ok=True)


def say(*lines: str, to: TextIO | None = None) -> None:
    """Print whole lines at once."""
    print("\n".join(lines), file=to, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
