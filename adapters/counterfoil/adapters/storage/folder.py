"""Documents as files below one folder, each written once, whole, and on the disk when answered.

A document is written as a draft beside its place (`~` and random letters, which no key can be),
flushed, and then given its name by a hard link, which fails if the name is taken. Whatever ends
the process in between, the name holds a whole document or nothing; at worst a draft is left, which
may be deleted. Every folder on the way is opened below the one before it and never through a
symbolic link, so nothing that somebody planted there leads out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from counterfoil.adapters.storage.keys import lifetime, words
from counterfoil.domain.errors import (
    Conflict,
    Malformed,
    ObjectNotFound,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.domain.ports import Label

# The umask of the process takes from these what it does not want to give.
_FILE, _FOLDER = 0o640, 0o750

_HELP = {
    errno.ENOSPC: "is full: make room on its disk",
    errno.EDQUOT: "has used up its quota: raise it, or make room",
    errno.EFBIG: "takes no file of this size: raise the limit of its disk or of this process",
    errno.EACCES: "is closed to this process: let its user read and write there",
    errno.EPERM: "is closed to this process: let its user read and write there",
    errno.EROFS: "is on a disk that is mounted read-only: mount it for writing",
    errno.EIO: "is on a disk that reports errors: look at the disk",
    errno.EMFILE: "cannot be opened, too many files are open: raise the limit of this process",
    errno.ENFILE: "cannot be opened, too many files are open: raise the limit of this machine",
}
# No document has this name: nothing has, or a folder has, or a part of the way is a document.
_NOTHING_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# What file systems say that have no hard links (FAT, some network shares), or no more of them.
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

_Enter = Callable[[str, int], AbstractContextManager[int]]


class FolderStore:
    """A document store in a folder, which is made by the first `put`."""

    persists = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Name the folder; a path that is something else is refused at once."""
        if not _is_path(root):
            raise Malformed("documents", "must be the path of a folder")
        # A process may change its working directory later; its documents stay where they are.
        self._root = Path(root).absolute()
        with self._translated():
            if self._root.exists() and not self._root.is_dir():
                raise Malformed("documents", f"must be a folder, which {self._root} is not")

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store under a key; `Conflict` if it holds other bytes."""
        *folders, name = words(key)
        with self._translated():
            self._make_root()
            try:
                with self._way(folders, _entered_new) as way:
                    self._write_once(way[-1], name, content)
                    # All of them, whoever made them: he may have been stopped before his flush.
                    for folder in reversed(way):
                        os.fsync(folder)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise Conflict(f"{key} is taken by another document, which is kept") from None

    def get(self, key: str) -> bytes:
        """What is stored under a key."""
        *folders, name = words(key)
        with self._translated():
            try:
                with self._way(folders, _entered) as way:
                    return _read(way[-1], name)
            except _NOTHING_THERE:
                raise ObjectNotFound(f"nothing is stored under {key}") from None

    def delete(self, key: str) -> None:
        """Remove what is stored under a key. A folder knows no retention and forbids nothing."""
        *folders, name = words(key)
        with (
            self._translated(),
            suppress(*_NOTHING_THERE),
            self._way(folders, _entered) as way,
        ):
            os.unlink(name, dir_fd=way[-1])
            os.fsync(way[-1])

    def link(self, key: str, file_name: str, *, valid_s: int) -> str:
        """The address of the file, for whoever may read the folder: its name is the one it has
        there, and it is valid for as long as the file is.
        """
        words(key)
        lifetime(valid_s)
        return (self._root / key).as_uri()

    def _make_root(self) -> None:
        missing = [one for one in (self._root, *self._root.parents) if not one.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=_FOLDER, exist_ok=True)
            with _opened(folder.parent) as parent:
                os.fsync(parent)

    @contextmanager
    def _way(self, folders: Sequence[str], enter: _Enter) -> Iterator[list[int]]:
        """Descriptors of the root and of the folders below it, each within the one before."""
        with ExitStack() as stack:
            way = [stack.enter_context(_opened(self._root))]
            for folder in folders:
                way.append(stack.enter_context(enter(folder, way[-1])))
            yield way

    def _write_once(self, folder: int, name: str, content: bytes) -> None:
        draft = f"~{secrets.token_hex(8)}"
        try:
            _write(folder, draft, content)
            self._publish(folder, draft, name)
        except FileExistsError:
            if _read(folder, name) != content:
                raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)

    def _publish(self, folder: int, draft: str, name: str) -> None:
        """Give a draft its name, unless that is taken."""
        try:
            self._hard_link(folder, draft, name)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _rename_once(folder, draft, name)

    def _hard_link(self, folder: int, draft: str, name: str) -> None:
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Say foreign errors in our words."""
        try:
            yield
        except OSError as error:
            help_ = _HELP.get(error.errno or 0, f"cannot be used now: {error.strerror}")
            raise Unavailable(f"the folder of documents {self._root} {help_}") from error


def _is_path(root: str | os.PathLike[str]) -> bool:
    try:
        return b"\0" not in os.fsencode(root) and bool(os.fspath(root))
    except UnicodeError:
        return False


def _entered(word: str, folder: int) -> AbstractContextManager[int]:
    """Open a folder that is there, below an open one."""
    return _opened(word, below=folder)


def _entered_new(word: str, folder: int) -> AbstractContextManager[int]:
    """Open a folder below an open one, made if it is not there."""
    with suppress(FileExistsError):
        os.mkdir(word, _FOLDER, dir_fd=folder)
    return _opened(word, below=folder)


@contextmanager
def _opened(
    path: str | Path, flags: int = os.O_RDONLY | os.O_DIRECTORY, *, below: int | None = None
) -> Iterator[int]:
    """Lend a descriptor. Below an open folder it is never that of what a symbolic link leads to."""
    try:
        descriptor = os.open(
            path, flags if below is None else flags | os.O_NOFOLLOW, _FILE, dir_fd=below
        )
    except OSError as error:
        if below is not None and _is_link(path, below):
            raise _planted(path) from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(folder: int, draft: str, content: bytes) -> None:
    with (
        _opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, below=folder) as descriptor,
        os.fdopen(descriptor, "wb", closefd=False) as file,
    ):
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _read(folder: int, name: str) -> bytes:
    # Without waiting: a pipe that somebody planted would otherwise be waited for.
    with _opened(name, os.O_RDONLY | os.O_NONBLOCK, below=folder) as descriptor:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise _planted(name)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()


def _rename_once(folder: int, draft: str, name: str) -> None:
    """The same without hard links: all who come this way take turns at the folder."""
    # Let go by whoever closes the folder's descriptor, be it the system after a crash.
    fcntl.flock(folder, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)


def _is_link(path: str | Path, below: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=below, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _planted(path: str | Path) -> StorageNotConfigured:
    return StorageNotConfigured(
        f"{path} in the folder of documents is a symbolic link or another thing that no document"
        " store puts there: find out who did, and remove it"
    )
