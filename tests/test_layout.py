"""Does the tree keep its promises: three roots, one typed package, every dependency explained?"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
LAYERS = ("domain", "projections", "adapters")

# What one layer's folder holds of `counterfoil`, and nothing else.
SHARES = {
    "domain": {"domain"},
    "projections": {"projections"},
    "adapters": {"adapters", "billing.py", "py.typed"},
}
PURE_PACKAGES = {"counterfoil", "iso4217", "pydantic", "pydantic_core", "typing_extensions"}


# --- three import roots of one package ------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_no_init_file_hides_the_other_two_roots(layer: str) -> None:
    assert not (ROOT / layer / "__init__.py").exists()
    assert not (ROOT / layer / "counterfoil" / "__init__.py").exists()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_holds_its_share_and_nothing_else(layer: str) -> None:
    assert _names(ROOT / layer) == {"counterfoil"}
    assert _names(ROOT / layer / "counterfoil") == SHARES[layer]
    assert (ROOT / layer / "counterfoil" / layer / "py.typed").is_file()


def test_the_domain_imports_nothing_but_its_own_kind() -> None:
    allowed = PURE_PACKAGES | sys.stdlib_module_names
    strangers = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "domain").rglob("*.py"))
        for name in _imported(path)
        if name.split(".")[0] not in allowed
    }
    assert not strangers


# The front door is a file beside the three layers, where import-linter does not look.
def test_the_layers_below_do_not_know_the_front_door() -> None:
    knowing = {
        str(path.relative_to(ROOT))
        for layer in ("domain", "projections")
        for path in sorted((ROOT / layer).rglob("*.py"))
        if "counterfoil.billing" in _imported(path)
    }
    assert not knowing


def test_the_front_door_does_not_know_the_eventsourcing_library() -> None:
    named = {name.split(".")[0] for name in _imported(ROOT / "adapters/counterfoil/billing.py")}
    assert "eventsourcing" not in named


# --- the wheel, as its users get it ---------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (built,) = folder.glob("counterfoil-*.whl")
    return built


def test_the_wheel_holds_one_package_of_three_layers(wheel: Path) -> None:
    files = set(ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in files if ".dist-info/" not in name} == {"counterfoil"}
    assert {name.split("/")[1] for name in files if name.startswith("counterfoil/")} == {
        "domain",
        "projections",
        "adapters",
        "billing.py",
        "py.typed",
    }
    assert {f"counterfoil/{layer}/py.typed" for layer in LAYERS} <= files


def test_the_wheel_holds_every_file_of_the_three_roots(wheel: Path) -> None:
    ours = {
        path.relative_to(ROOT / layer).as_posix()
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= set(ZipFile(wheel).namelist())


def test_a_strict_user_of_the_wheel_sees_real_types(wheel: Path, tmp_path: Path) -> None:
    python = _installed(wheel, tmp_path / "site")
    program = tmp_path / "user.py"
    program.write_text(
        "from counterfoil.billing import Billing\n"
        "from counterfoil.domain import Money\n"
        "\n"
        "opened: Billing = Billing.open(':memory:')\n"
        "\n"
        "def wrong_billing() -> int:\n"
        "    return Billing.open(':memory:')\n"
        "\n"
        "def wrong_money(money: Money) -> int:\n"
        "    return money\n"
    )
    said = _run(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull),
        *("--python-executable", str(python), "--cache-dir", str(ROOT / ".mypy_cache" / "wheel")),
        program.name,
        cwd=tmp_path,
        expect=1,
    )
    # Were the package untyped to its user, `Any` would be returned where an int is promised.
    assert re.findall(r"user.py:(\d+): error: .*?got \"(\w+)\", expected \"int\"", said) == [
        ("7", "Billing"),
        ("10", "Money"),
    ]
    assert said.endswith("Found 2 errors in 1 file (checked 1 source file)\n"), said


# --- what the project says about its dependencies -------------------------------------------


def test_every_dependency_is_pinned() -> None:
    text = (ROOT / "infra" / "requirements" / "all.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==\S+", text, flags=re.MULTILINE))
    assert set(_dependencies()) <= pinned
    assert text.count("--hash=sha256:") >= len(pinned)


def test_the_readme_says_what_every_dependency_is_for() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\|\s*`([^`\[]+)[^|]*\|", readme, flags=re.MULTILINE)
    assert set(_dependencies()) <= {_normal(name) for name in rows}


# --- what a public tree does not say --------------------------------------------------------


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    # Written in pieces, or this file would be the first to break the rule.
    hosts = ["pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org"]
    folders = [rf"(?<![\w.-])/{name}/" for name in ("work", "root", "farm")]
    forbidden = re.compile("|".join([*map(re.escape, hosts), *folders]))
    found = {
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if forbidden.search(line)
    }
    assert not found


# --- helpers --------------------------------------------------------------------------------


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"__pycache__"}


def _imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{name.name}" for name in names)
            case _:
                pass


def _installed(wheel: Path, home: Path) -> Path:
    """Install the wheel into an environment of its own, and return that one's Python.

    A wheel is installed by unpacking it; MYPYPATH would not do, for a type checker believes what
    stands there without asking for py.typed. What we depend on is borrowed from our environment,
    whose own .pth files (one leads to this checkout) do not count from there.
    """
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    packages = Path(
        sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    )
    ZipFile(wheel).extractall(packages)
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _run(*command: str, cwd: Path, expect: int = 0) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def _dependencies() -> Iterator[str]:
    """Yield every package that pyproject.toml names, of the library, its extras and our tools."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named: list[Iterable[object]] = [
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    for requirement in (one for group in named for one in group if isinstance(one, str)):
        name = _normal(re.split(r"[^\w.-]", requirement)[0])
        if name != "counterfoil":
            yield name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _tracked() -> list[Path]:
    """Return the files that git would publish; without git, those outside the usual litter."""
    try:
        listed = _run(
            *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), cwd=ROOT
        )
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (AssertionError, FileNotFoundError):
        litter = re.compile(r"\.git|\.venv|\..*_cache|__pycache__|\.hypothesis|var|dist|htmlcov")
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(litter.fullmatch(part) for part in path.relative_to(ROOT).parts)
        ]
    return [path for path in paths if path.is_file()]
