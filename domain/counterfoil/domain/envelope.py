"""What every stored fact carries besides its body: whose, where, when, by whom, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from counterfoil.domain.value import Event, Id, Value


class ActorType(StrEnum):
    """What kind of thing may act."""

    USER = "user"
    SYSTEM = "system"
    SERVICE = "service"
    JOB = "job"
    WEBHOOK = "webhook"
    ADMIN = "admin"


class Actor(Value):
    """Who did it."""

    type: ActorType
    id: Id

    if TYPE_CHECKING:

        def __init__(self, *, type: ActorType | str, id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Envelope:
    """A fact's place and origin. `hash` covers the previous hash of the stream and all the rest."""

    tenant: str
    stream: str
    version: int
    position: int
    type: str
    recorded_at: datetime
    actor: Actor
    command_id: str
    causation_id: str | None
    correlation_id: str | None
    hash: bytes


Fact_co = TypeVar("Fact_co", bound=Event, covariant=True)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[Fact_co]):
    """A fact as the log keeps it."""

    envelope: Envelope
    fact: Fact_co
