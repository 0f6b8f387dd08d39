"""What our recorders of every database share: facts in, facts out, by two doors.

Our own door speaks of tenants, streams and envelopes (the port `EventLog`). The other is the
library's: there a stream of a tenant is the originator id `tenant/stream`, a type is a topic, a
body is a state, and a position is a notification id, so that its subscriptions run on our log.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, IntegrityError, Notification, StoredEvent

from counterfoil.adapters.event_store.chain import GENESIS
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.adapters.event_store.rows import COLUMNS, NewRow, Row, chained, recorded
from counterfoil.adapters.read_models.inline import Inline
from counterfoil.domain.envelope import Actor, ActorType, Recorded
from counterfoil.domain.errors import AppendOnly, Conflict
from counterfoil.domain.ports import Claim, Origin, Stream, Transaction
from counterfoil.domain.value import LARGEST, Event


class StoringTransaction(Transaction, Protocol):
    """A unit of work that also takes rows as they are."""

    @abstractmethod
    def store(self, rows: Sequence[NewRow], claim: tuple[str, Claim] | None) -> Sequence[int]:
        """Store rows and a claim by its command id, and return the positions of the rows."""


class FactsRecorder(ApplicationRecorder):
    """Both doors, on whatever a database does to select rows and to store them."""

    codec: Codec
    # Where another process finds the same log.
    url: str
    # What writers keep up to date beside the facts; a bare log keeps nothing.
    inline: Inline | None = None

    @abstractmethod
    def transaction(self, tenant: str) -> AbstractContextManager[StoringTransaction]:
        """Begin a unit of work; an exception undoes it."""

    @abstractmethod
    def plain(self, query: str, values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        """What a query finds; its values are written as `:name`."""

    @abstractmethod
    def heads(
        self, streams: Sequence[tuple[str, str]], upto: int
    ) -> Sequence[tuple[str, str, int, bytes]]:
        """The last version and hash of streams (tenant and name) as far as a position, by the order
        of the log. Those that have nothing there are left out.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back every connection."""

    # --- our door ---------------------------------------------------------------------------

    def select(self, query: str, values: Mapping[str, object]) -> Sequence[Row]:
        """The rows that a query finds."""
        return [Row._make(row) for row in self.plain(query, values)]

    def read(
        self, tenant: str, stream: str, *, upto: int | None = None
    ) -> Sequence[Recorded[Event]]:
        """The facts of a stream with their envelopes, as far as version `upto`."""
        rows = self.select(
            f"SELECT {COLUMNS} FROM facts"
            " WHERE tenant = :tenant AND stream = :stream AND version <= :upto ORDER BY version",
            {"tenant": tenant, "stream": stream, "upto": LARGEST if upto is None else upto},
        )
        return [recorded(row, self.codec) for row in rows]

    def since(self, position: int, *, limit: int) -> Sequence[Recorded[Event]]:
        """The next facts of all tenants and streams after a position, in order."""
        return [recorded(row, self.codec) for row in self.rows_since(position, limit=limit)]

    def rows_since(self, position: int, *, limit: int) -> Sequence[Row]:
        """The same, undecoded."""
        return self.select(
            f"SELECT {COLUMNS} FROM facts"
            " WHERE position > :position ORDER BY position LIMIT :limit",
            {"position": position, "limit": limit},
        )

    # --- the library's door -----------------------------------------------------------------

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **_: object
    ) -> Sequence[int] | None:
        """Store events of one tenant; of all that the library offers, this is overridden itself.

        An error in its inner hooks would be raised after a commit (facts/eventsourcing, trap 1).
        """
        if not stored_events:
            return None
        if self.inline is not None:
            raise AppendOnly("read models are kept of this log: its facts come by the front door")
        tenants = {_split(event.originator_id)[0] for event in stored_events}
        if len(tenants) != 1:
            raise ValueError("events of several tenants are not stored together")
        try:
            with self.transaction(tenants.pop()) as transaction:
                return transaction.store(_library_rows(stored_events, transaction), None)
        except Conflict as error:
            raise IntegrityError(str(error)) from error

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of a stream after version `gt`, as far as `lte`."""
        tenant, stream = _split(originator_id)
        order = "DESC" if desc else "ASC"
        rows = self.select(
            f"SELECT {COLUMNS} FROM facts"
            " WHERE tenant = :tenant AND stream = :stream AND version > :gt AND version <= :lte"
            f" ORDER BY version {order} LIMIT :limit",
            {
                "tenant": tenant,
                "stream": stream,
                "gt": -1 if gt is None else gt,
                "lte": LARGEST if lte is None else lte,
                "limit": LARGEST if limit is None else limit,
            },
        )
        return [
            StoredEvent(
                originator_id=_joined(row, like=originator_id),
                originator_version=row.version,
                topic=row.type,
                state=row.body,
            )
            for row in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The events of the log from position `start`, as far as `stop`."""
        after = -1 if start is None else start - inclusive_of_start
        named = {f"topic{place}": topic for place, topic in enumerate(topics)}
        only = f" AND type IN ({', '.join(f':{name}' for name in named)})" if named else ""
        rows = self.select(
            f"SELECT {COLUMNS} FROM facts"
            f" WHERE position > :after AND position <= :stop{only} ORDER BY position LIMIT :limit",
            {"after": after, "stop": LARGEST if stop is None else stop, "limit": limit, **named},
        )
        return [
            Notification(
                id=row.position,
                originator_id=_joined(row),
                originator_version=row.version,
                topic=row.type,
                state=row.body,
            )
            for row in rows
        ]

    def max_notification_id(self) -> Any:  # the library's recorders disagree about None
        """The last position, or None in an empty log."""
        rows = self.select(
            f"SELECT {COLUMNS} FROM facts ORDER BY position DESC LIMIT 1",
            {},
        )
        return rows[0].position if rows else None


_LIBRARY = Actor(type=ActorType.SYSTEM, id="eventsourcing")


def _library_rows(events: Sequence[StoredEvent], transaction: Transaction) -> Sequence[NewRow]:
    origin = Origin(recorded_at=datetime.now(UTC), actor=_LIBRARY, command_id="eventsourcing")
    heads: dict[str, Stream] = {}
    rows = []
    for event in events:
        tenant, name = _split(event.originator_id)
        head = heads.get(name) or transaction.head(name)
        after = event.originator_version - 1
        # The library's applications may count from 0; our own streams start at 1.
        if after != head.version and (head.head != GENESIS or after != -1):
            raise Conflict(f"{name} is at version {head.version}")
        (row,) = chained(
            tenant,
            name,
            after,
            head.head,
            bodies=[(event.topic, event.state)],
            origin=origin,
        )
        heads[name] = Stream(name, (), row.version, row.hash)
        rows.append(row)
    return rows


def _split(originator_id: UUID | str) -> tuple[str, str]:
    tenant, slash, stream = str(originator_id).partition("/")
    return (tenant, stream) if slash else ("", tenant)


def _joined(row: Row, like: UUID | str = "") -> UUID | str:
    if row.tenant:
        return f"{row.tenant}/{row.stream}"
    return UUID(row.stream) if isinstance(like, UUID) else row.stream
