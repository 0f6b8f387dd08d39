"""What every document store must do, wherever it keeps documents."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from counterfoil.adapters.storage.folder import FolderStore
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.adapters.storage.null import NullStore
from counterfoil.adapters.storage.s3 import S3Store
from counterfoil.domain.errors import Conflict, Malformed, ObjectNotFound, StorageNotConfigured
from counterfoil.domain.ports import Label

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from counterfoil.domain.ports import DocumentStore
    from support.s3 import S3

KEY = "acme/invoices/in_1.pdf"
LABEL = Label(media_type="application/pdf", seller="default", file_name="INV-2026-0001.pdf")
PDF = b"%PDF-1.7\n" + bytes(range(256)) + b"\r\n\0"

KINDS = ("memory", "folder", "folder without hard links", "s3", "s3 with versions")

NO_KEYS = [
    "",
    "/",
    "/etc/passwd",
    "invoices/",
    "/invoices",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a/..",
    "a\\b",
    "..\\a",
    "a\0b",
    "a\nb",
    "a\n",
    "a b",
    "~a",
    "a:b",
    "a?b",
    "a#b",
    "ä",
    "a\u2215b",
    "\ud800",
    "a" * 201,
    "/".join("a" * 400),
]


class WithoutHardLinks(FolderStore):
    """A folder on a file system such as FAT."""

    def _hard_link(self, folder: int, draft: str, name: str) -> None:
        raise OSError(errno.EPERM, "no hard links here")


@dataclass(frozen=True, slots=True)
class Kept:
    """A store, and a way to open it anew."""

    store: DocumentStore
    again: Callable[[], DocumentStore]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    from support.s3 import serving  # moto takes a second to load, which only S3 should cost

    with serving() as served:
        yield served


def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> Kept:
    match kind:
        case "memory":
            return Kept(MemoryStore(), MemoryStore)
        case "folder":
            return Kept(FolderStore(folder), lambda: FolderStore(folder))
        case "folder without hard links":
            return Kept(WithoutHardLinks(folder), lambda: WithoutHardLinks(folder))
        case _:
            s3: S3 = request.getfixturevalue("s3")
            bucket = s3.bucket(versions=kind == "s3 with versions")

            def s3_store() -> DocumentStore:
                return S3Store(bucket, "some/prefix", client=s3.client)

            return Kept(s3_store(), s3_store)


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    return opened(request.param, request, tmp_path / "documents")


@pytest.fixture
def store(kept: Kept) -> DocumentStore:
    return kept.store


@pytest.mark.parametrize("content", [b"", b"\0", PDF])
def test_what_is_put_is_got_byte_for_byte(store: DocumentStore, content: bytes) -> None:
    store.put(KEY, content, LABEL)
    assert store.get(KEY) == content
    assert store.persists


def test_the_same_bytes_may_be_put_again(store: DocumentStore) -> None:
    for _ in range(3):
        store.put(KEY, PDF, LABEL)
    assert store.get(KEY) == PDF


@pytest.mark.parametrize("other", [b"", PDF[:-1], PDF[:-1] + b"\1", PDF + b"\0"])
def test_other_bytes_are_a_conflict_and_the_first_are_kept(
    store: DocumentStore, other: bytes
) -> None:
    store.put(KEY, PDF, LABEL)
    with pytest.raises(Conflict, match=r"in_1\.pdf"):
        store.put(KEY, other, LABEL)
    assert store.get(KEY) == PDF


def test_keys_lead_to_documents_of_their_own(store: DocumentStore) -> None:
    keys = ["a", "b/a", "b/c/a", "A.pdf", "-_%.1", ".a", "...", "a%2Fb", "a%2e%2e", "z" * 200]
    for key in keys:
        store.put(key, key.encode(), LABEL)
    assert [store.get(key) for key in keys] == [key.encode() for key in keys]


def test_what_was_never_put_is_not_found(store: DocumentStore) -> None:
    with pytest.raises(ObjectNotFound, match=r"in_1\.pdf"):
        store.get(KEY)
    store.put(KEY, PDF, LABEL)
    for key in ("acme/invoices/in_2.pdf", "acme/invoices", "acme", "in_1.pdf"):
        with pytest.raises(ObjectNotFound):
            store.get(key)


def test_what_is_deleted_is_gone_and_its_key_is_free(store: DocumentStore) -> None:
    store.put(KEY, PDF, LABEL)
    store.put("acme/invoices/in_2.pdf", PDF, LABEL)
    store.delete(KEY)
    with pytest.raises(ObjectNotFound):
        store.get(KEY)
    assert store.get("acme/invoices/in_2.pdf") == PDF
    store.put(KEY, b"another", LABEL)
    assert store.get(KEY) == b"another"


def test_deleting_what_is_not_there_changes_nothing(store: DocumentStore) -> None:
    store.delete(KEY)
    store.put(KEY, PDF, LABEL)
    store.delete("acme/invoices/in_2.pdf")
    store.delete("acme/invoices")
    store.delete("other/invoices/in_1.pdf")
    assert store.get(KEY) == PDF


def test_of_16_writers_who_race_for_a_key_one_wins(store: DocumentStore) -> None:
    def put(writer: int) -> int | None:
        try:
            store.put(KEY, b"%d" % writer * 1000, LABEL)
        except Conflict:
            return None
        return writer

    with ThreadPoolExecutor(16) as pool:
        (winner,) = {*pool.map(put, range(16))} - {None}
    assert winner is not None
    assert store.get(KEY) == b"%d" % winner * 1000


def test_16_writers_of_the_same_bytes_all_succeed(store: DocumentStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(store.put, KEY, PDF, LABEL) for _ in range(16)]:
            done.result()
    assert store.get(KEY) == PDF


@pytest.mark.parametrize("kept", [kind for kind in KINDS if kind != "memory"], indirect=True)
def test_what_is_put_is_there_when_the_store_is_opened_anew(kept: Kept) -> None:
    kept.store.put(KEY, PDF, LABEL)
    assert kept.again().get(KEY) == PDF
    with pytest.raises(Conflict):
        kept.again().put(KEY, b"another", LABEL)


def test_a_large_document_comes_back_whole(store: DocumentStore) -> None:
    content = hashlib.shake_256(b"a thousand pages").digest(6_543_210)
    store.put(KEY, content, LABEL)
    assert store.get(KEY) == content


@pytest.fixture(params=["null", "memory", "folder", "s3"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> DocumentStore:
    """A store of any kind, also of the one that keeps nothing, which is asked for nonsense only."""
    match request.param:
        case "null":
            return NullStore()
        case "memory":
            return MemoryStore()
        case "folder":
            return FolderStore(tmp_path)
        case _:
            s3: S3 = request.getfixturevalue("s3")
            return S3Store("a-bucket-that-is-never-asked", client=s3.client)


@pytest.mark.parametrize("key", NO_KEYS)
def test_what_is_no_key_is_refused(asked: DocumentStore, key: str) -> None:
    for ask in (
        lambda: asked.put(key, PDF, LABEL),
        lambda: asked.get(key),
        lambda: asked.delete(key),
        lambda: asked.link(key, "a.pdf", valid_s=60),
    ):
        with pytest.raises(Malformed) as refused:
            ask()
        assert refused.value.field == "key"


@pytest.mark.parametrize("valid_s", [0, -1, 604_801, True])
def test_a_link_is_valid_for_seven_days_at_most(asked: DocumentStore, valid_s: int) -> None:
    with pytest.raises(Malformed, match="valid_s"):
        asked.link(KEY, "a.pdf", valid_s=valid_s)


@pytest.mark.parametrize("made", [MemoryStore, NullStore])
def test_a_store_that_nobody_can_reach_gives_no_links(
    made: type[MemoryStore | NullStore],
) -> None:
    store = made()
    store.put(KEY, PDF, LABEL)
    with pytest.raises(StorageNotConfigured):
        store.link(KEY, "a.pdf", valid_s=60)


def test_the_null_store_keeps_nothing_and_says_what_to_set() -> None:
    store = NullStore()
    assert not store.persists
    store.put(KEY, PDF, LABEL)
    store.put(KEY, b"another", LABEL)
    with pytest.raises(StorageNotConfigured, match="s3://"):
        store.get(KEY)
    with pytest.raises(StorageNotConfigured, match="s3://"):
        store.delete(KEY)
