"""Are stored documents the bytes whose SHA-256 was recorded? Each is fetched and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from counterfoil.adapters.audit.report import Broken
from counterfoil.adapters.audit.walk import Part
from counterfoil.adapters.event_store.recorder import FactsRecorder
from counterfoil.adapters.storage.keys import of_tenant
from counterfoil.domain.credit_note.events import CreditNoteStored
from counterfoil.domain.errors import (
    CorruptHistory,
    IntegrityFailed,
    Malformed,
    ObjectNotFound,
    Unavailable,
)
from counterfoil.domain.invoice.events import DocumentStored
from counterfoil.domain.ports import DocumentStore

Stored = DocumentStored | CreditNoteStored
_KINDS = (DocumentStored, CreditNoteStored)
_PAGE = 100
# A store is waited for, not computed with; a folder is as fast with one.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of one document: `broken` if it is not what was recorded, `away` if nobody can
    tell now.
    """

    broken: Broken | None = None
    away: str | None = None


class Papers:
    """The documents that facts of a part of the log say were stored."""

    def __init__(self, log: FactsRecorder, documents: DocumentStore, part: Part) -> None:
        self._log = log
        self._documents = documents
        self._part = part
        names = [name for kind in _KINDS for name in log.codec.names(kind)]
        self._types = {f"type{number}": name for number, name in enumerate(names)}
        self._where = (
            "FROM facts WHERE position > :position AND position <= :until"
            f" AND type IN ({', '.join(f':{name}' for name in self._types)})"
        )

    def count(self) -> int:
        """How many there are."""
        ((count,),) = self._log.plain(
            f"SELECT count(*) {self._where}", self._values(self._part.start)
        )
        return int(count)

    def compare(self) -> Iterator[Compared]:
        """Fetch one after the other, in the order of the log."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for page in self._pages():
                yield from threads.map(self._compared, page)

    def _pages(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        position = self._part.start
        while rows := self._log.plain(
            f"SELECT position, tenant, stream, version, type, body {self._where}"
            " ORDER BY position LIMIT :limit",
            self._values(position) | {"limit": _PAGE},
        ):
            yield rows
            position = rows[-1][0]

    def _values(self, position: int) -> dict[str, object]:
        return {"position": position, "until": self._part.until, **self._types}

    def _compared(self, row: tuple[Any, ...]) -> Compared:
        position, tenant, stream, version, type_name, body = row
        try:
            stored = self._log.codec.decode(type_name, body, stream=stream, position=position)
            problem = _problem(self._documents, tenant, cast("Stored", stored))
        except CorruptHistory:
            problem = f"the body is no {type_name}"
        except Unavailable as error:
            return Compared(None, str(error))
        if problem is None:
            return Compared()
        return Compared(Broken(position, tenant, stream, version, problem))


def _problem(documents: DocumentStore, tenant: str, stored: Stored) -> str | None:
    try:
        content = documents.get(of_tenant(tenant, stored.key))
    except (ObjectNotFound, Malformed):
        return f"the document {stored.key} is missing from the store"
    except IntegrityFailed:
        return f"the document {stored.key} is not what was put into the store"
    if len(content) != stored.size:
        return f"the document {stored.key} has {len(content)} bytes, recorded are {stored.size}"
    if hashlib.sha256(content).hexdigest() != stored.sha256:
        return f"the document {stored.key} is other bytes than those whose SHA-256 was recorded"
    return None
