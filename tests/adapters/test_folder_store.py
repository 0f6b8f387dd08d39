"""Is a folder as safe as an archive must be: from crashes, full disks, and whoever plants links?"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from counterfoil.adapters.storage.folder import FolderStore
from counterfoil.domain.errors import (
    Conflict,
    Malformed,
    ObjectNotFound,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.domain.ports import Label
from support.disks import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "acme/invoices/in_1.pdf"
LABEL = Label(media_type="application/pdf", seller="default", file_name="INV-2026-0001.pdf")
PDF = b"%PDF-1.7\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "documents"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return FolderStore(root)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


# --- the folder -----------------------------------------------------------------------------


def test_the_folder_is_made_by_the_first_put_and_not_before(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there" / "yet"
    store = FolderStore(root)
    with pytest.raises(ObjectNotFound):
        store.get(KEY)
    store.delete(KEY)
    assert not (tmp_path / "not").exists()
    store.put(KEY, PDF, LABEL)
    assert files(root) == [KEY]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "one")
    store.put(KEY, PDF, LABEL)
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(ObjectNotFound):
        store.get(KEY)
    store.put(KEY, b"another", LABEL)
    assert store.get(KEY) == b"another"
    assert FolderStore(tmp_path / "two").get(KEY) == PDF


@pytest.mark.parametrize("root", ["", "a\0b", "a\ud800"])
def test_what_is_no_path_is_refused_at_once(root: str) -> None:
    with pytest.raises(Malformed, match="documents"):
        FolderStore(root)


def test_a_file_in_place_of_the_folder_is_refused_at_once(root: Path) -> None:
    root.write_bytes(b"")
    with pytest.raises(Malformed, match="must be a folder"):
        FolderStore(root)


def test_documents_stay_where_they_are_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FolderStore("documents")
    monkeypatch.chdir("/")
    store.put(KEY, PDF, LABEL)
    assert (tmp_path / "documents" / KEY).read_bytes() == PDF


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [(0o022, 0o640, 0o750), (0o077, 0o600, 0o700), (0, 0o640, 0o750)]
)
def test_documents_are_never_open_to_everybody(
    store: FolderStore, root: Path, umask: int, file: int, folder: int
) -> None:
    before = os.umask(umask)
    try:
        store.put(KEY, PDF, LABEL)
    finally:
        os.umask(before)
    path = root / KEY
    modes = [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent, root)]
    assert modes == [file, folder, folder]


def test_the_link_is_the_address_of_the_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "my documents ä")
    store.put("a/in%2F1.pdf", PDF, LABEL)
    parts = urlsplit(store.link("a/in%2F1.pdf", "INV-1.pdf", valid_s=60))
    assert (parts.scheme, parts.netloc) == ("file", "")
    assert Path(url2pathname(parts.path)).read_bytes() == PDF


def test_a_key_within_the_key_of_a_document_is_a_conflict(store: FolderStore, root: Path) -> None:
    store.put("a/b", PDF, LABEL)
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(Conflict, match=key):
            store.put(key, PDF, LABEL)
    for key in ("a", "a/b/c", "a/b/c/d"):
        store.delete(key)
        with pytest.raises(ObjectNotFound):
            store.get(key)
    assert files(root) == ["a/b"]


# --- what somebody planted ------------------------------------------------------------------


@pytest.mark.parametrize("planted", ["acme", "acme/invoices", KEY])
def test_a_planted_link_leads_nowhere(
    store: FolderStore, root: Path, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "invoices").mkdir(parents=True)
    secret = outside / "invoices" / "in_1.pdf"
    secret.write_bytes(b"secret")
    (outside / "in_1.pdf").write_bytes(b"secret")
    before = files(outside)
    (root / planted).parent.mkdir(parents=True)
    (root / planted).symlink_to(secret if planted == KEY else outside)

    with pytest.raises(StorageNotConfigured, match="symbolic link"):
        store.get(KEY)
    with pytest.raises(StorageNotConfigured, match="symbolic link"):
        store.put(KEY, b"secret", LABEL)
    with pytest.raises(StorageNotConfigured, match="symbolic link"):
        store.put(KEY, PDF, LABEL)
    if planted != KEY:  # or the link itself is what is deleted, which leads nowhere either
        with pytest.raises(StorageNotConfigured, match="symbolic link"):
            store.delete(KEY)
    assert files(outside) == before
    assert {(outside / name).read_bytes() for name in before} == {b"secret"}


def test_a_link_to_a_file_that_is_not_there_makes_none(
    store: FolderStore, root: Path, tmp_path: Path
) -> None:
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).symlink_to(tmp_path / "canary")
    with pytest.raises(StorageNotConfigured):
        store.put(KEY, PDF, LABEL)
    store.delete(KEY)
    assert not (tmp_path / "canary").exists()
    store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == PDF


def test_a_planted_pipe_is_not_waited_for(store: FolderStore, root: Path) -> None:
    (root / KEY).parent.mkdir(parents=True)
    os.mkfifo(root / KEY)
    with pytest.raises(StorageNotConfigured, match="no document"):
        store.get(KEY)
    with pytest.raises(StorageNotConfigured, match="no document"):
        store.put(KEY, PDF, LABEL)


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "documents").symlink_to(tmp_path / "disk")
    store = FolderStore(tmp_path / "documents")
    store.put(KEY, PDF, LABEL)
    assert files(tmp_path / "disk") == [KEY]


# --- disks and rights -----------------------------------------------------------------------


def test_a_full_disk_says_so_and_leaves_nothing_behind() -> None:
    with small_disk("size=256k,mode=0777") as disk:
        store = FolderStore(disk.folder)
        store.put(KEY, PDF, LABEL)
        for _ in range(3):
            with pytest.raises(Unavailable, match="make room"):
                store.put("acme/invoices/in_2.pdf", b"x" * 400_000, LABEL)
        assert files(disk.folder) == [KEY]
        with pytest.raises(ObjectNotFound):
            store.get("acme/invoices/in_2.pdf")
        disk.change("size=1024k")
        store.put("acme/invoices/in_2.pdf", b"x" * 400_000, LABEL)
        assert store.get("acme/invoices/in_2.pdf") == b"x" * 400_000


def test_a_disk_that_is_mounted_read_only_says_so() -> None:
    with small_disk("size=256k") as disk:
        store = FolderStore(disk.folder)
        store.put(KEY, PDF, LABEL)
        disk.change("ro")
        for key in (KEY, "other/in_2.pdf"):
            with pytest.raises(Unavailable, match="read-only"):
                store.put(key, PDF, LABEL)
        with pytest.raises(Unavailable, match="read-only"):
            store.delete(KEY)
        assert store.get(KEY) == PDF


_PUT = """
import os, sys
from counterfoil.adapters.storage.folder import FolderStore
from counterfoil.domain.errors import CounterfoilError
from counterfoil.domain.ports import Label

def put(root, key, content):
    FolderStore(root).put(key, content, Label("application/pdf", "default", "a.pdf"))

def say(root, key, content):
    try:
        put(root, key, content)
        print("stored")
    except CounterfoilError as error:
        print(type(error).__name__, error)
"""


def program(text: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", _PUT + text, *arguments]


def said_by(text: str, *arguments: str) -> str:
    done = subprocess.run(
        program(text, *arguments), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_a_folder_that_is_closed_to_us_says_so(root: Path) -> None:
    (root / "acme").mkdir(parents=True, mode=0o555)
    (root / "acme").chmod(0o555)
    # Root may do everything, so it becomes nobody once all is imported.
    said = said_by(
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "say(sys.argv[1], 'acme/invoices/in_1.pdf', b'x')",
        str(root),
    )
    assert said.startswith("Unavailable"), said
    assert "let its user read and write there" in said
    assert files(root) == []


def test_a_limit_on_the_size_of_files_says_so_and_leaves_nothing(root: Path) -> None:
    said = said_by(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "say(sys.argv[1], 'in_1.pdf', b'x' * 1_000_000)",
        str(root),
    )
    assert said.startswith("Unavailable"), said
    assert "no file of this size" in said
    assert files(root) == []


# --- processes that race and die ------------------------------------------------------------


@contextmanager
def running(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that has said that it is ready, and goes on when it is sent a line."""
    ready = "print('ready', flush=True); sys.stdin.readline()\n"
    with subprocess.Popen(
        program(ready + text, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


def test_of_processes_that_race_for_a_key_one_wins(root: Path) -> None:
    text = "say(sys.argv[1], 'a/in_1.pdf', sys.argv[2].encode() * 300_000)"
    with ExitStack() as stack:
        writers = [stack.enter_context(running(text, str(root), name)) for name in "abc"]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        said = [writer.communicate()[0].split()[0] for writer in writers]
    assert sorted(said) == ["Conflict", "Conflict", "stored"]
    winner = "abc"[said.index("stored")]
    assert FolderStore(root).get("a/in_1.pdf") == winner.encode() * 300_000
    assert files(root) == ["a/in_1.pdf"]


def killed_while_writing(root: Path, key: str) -> bool:
    """Whether a process that puts a document was killed before it was done."""
    with running("put(sys.argv[1], sys.argv[2], b'x' * 100_000_000)", str(root), key) as writer:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
        while not any(path.stat().st_size for path in root.glob("**/~*")):
            assert writer.poll() is None
        writer.kill()
        writer.wait()
    return not (root / key).exists()


def test_a_process_that_is_killed_while_writing_leaves_nothing_under_the_key(root: Path) -> None:
    store = FolderStore(root)
    # On a machine that stalls it may have been done before it was killed; then once more.
    key = next(key for key in ("in_1", "in_2", "in_3") if killed_while_writing(root, key))
    with pytest.raises(ObjectNotFound):
        store.get(key)
    assert [name for name in files(root) if name[0] == "~"]
    store.put(key, PDF, LABEL)
    assert store.get(key) == PDF


def test_a_process_that_dies_within_a_write_leaves_nothing_under_the_key(root: Path) -> None:
    """The limit is one at which the system kills who passes it, with half a document written."""
    done = subprocess.run(
        program(
            "import resource, signal\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
            "put(sys.argv[1], 'in_1', b'x' * 1_000_000)",
            str(root),
        ),
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGXFSZ
    (draft,) = files(root)
    assert (root / draft).stat().st_size == 500_000
    store = FolderStore(root)
    with pytest.raises(ObjectNotFound):
        store.get("in_1")
    store.put("in_1", PDF, LABEL)
    assert store.get("in_1") == PDF
