"""A fact as a row: the columns that every database has, and how a row is made and read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from counterfoil.adapters.event_store.chain import Links
from counterfoil.adapters.event_store.codec import Codec
from counterfoil.domain.envelope import Actor, ActorType, Envelope, Recorded
from counterfoil.domain.errors import CorruptHistory, CounterfoilError
from counterfoil.domain.ports import Append, Origin
from counterfoil.domain.value import Event

COLUMNS = (
    "position, tenant, stream, version, type, body, recorded_at, actor_type, actor_id,"
    " command_id, causation_id, correlation_id, hash"
)


class NewRow(NamedTuple):
    """A row that has no position yet: the log gives it."""

    tenant: str
    stream: str
    version: int
    type: str
    body: bytes
    recorded_at: int
    actor_type: str
    actor_id: str
    command_id: str
    causation_id: str | None
    correlation_id: str | None
    hash: bytes


class Row(NamedTuple):
    """A row as it was stored; the names and order of `COLUMNS`."""

    position: int
    tenant: str
    stream: str
    version: int
    type: str
    body: bytes
    recorded_at: int
    actor_type: str
    actor_id: str
    command_id: str
    causation_id: str | None
    correlation_id: str | None
    hash: bytes


def new_rows(tenant: str, append: Append, origin: Origin, codec: Codec) -> Iterator[NewRow]:
    """The rows of new facts, each with the hash that covers the one before."""
    bodies = [(fact.stored_as, codec.encode(fact)) for fact in append.facts]
    return chained(
        tenant, append.to.name, append.to.version, append.to.head, bodies=bodies, origin=origin
    )


def chained(
    tenant: str,
    stream: str,
    after: int,
    head: bytes,
    *,
    bodies: Iterable[tuple[str, bytes]],
    origin: Origin,
) -> Iterator[NewRow]:
    """The rows of typed bodies that follow a version of a stream."""
    shared = NewRow(
        tenant,
        stream,
        after,
        "",
        b"",
        microseconds(origin.recorded_at),
        origin.actor.type.value,
        origin.actor.id,
        origin.command_id,
        origin.causation_id,
        origin.correlation_id,
        head,
    )
    links = Links(shared)
    origin_columns = shared[5:-1]
    for version, (type_name, body) in enumerate(bodies, after + 1):
        head = links.link(head, version, type_name, body)
        yield NewRow._make((tenant, stream, version, type_name, body, *origin_columns, head))


def recorded(row: Row, codec: Codec) -> Recorded[Event]:
    """The fact that a row tells."""
    fact = codec.decode(row.type, row.body, stream=row.stream, position=row.position)
    return Recorded(envelope_of(row), fact)


def envelope_of(row: Row) -> Envelope:
    """What stands around the fact that a row tells."""
    try:
        return _envelope(row)
    except (ValueError, OverflowError, CounterfoilError) as error:
        raise CorruptHistory(
            "the envelope cannot be true", stream=row.stream, position=row.position
        ) from error


def _envelope(row: Row) -> Envelope:
    return Envelope(
        tenant=row.tenant,
        stream=row.stream,
        version=row.version,
        position=row.position,
        type=row.type,
        recorded_at=_EPOCH + timedelta(microseconds=row.recorded_at),
        actor=_actor(row.actor_type, row.actor_id),
        command_id=row.command_id,
        causation_id=row.causation_id,
        correlation_id=row.correlation_id,
        hash=row.hash,
    )


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@lru_cache(maxsize=1024)
def _actor(kind: str, name: str) -> Actor:
    return Actor(type=ActorType(kind), id=name)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
