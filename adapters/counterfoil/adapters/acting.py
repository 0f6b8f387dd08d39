"""Who acts: said once around a block, recorded with every fact that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from counterfoil.domain.envelope import Actor, ActorType

SYSTEM = Actor(type=ActorType.SYSTEM, id="system")
_ACTOR: ContextVar[Actor] = ContextVar("actor", default=SYSTEM)


@contextmanager
def actor(type: ActorType | str, id: str) -> Iterator[Actor]:
    """Let what is done inside the block be done by this actor."""
    acting = Actor(type=type, id=id)
    token = _ACTOR.set(acting)
    try:
        yield acting
    finally:
        _ACTOR.reset(token)


def current_actor() -> Actor:
    """Who acts now; the system itself, when nobody was named."""
    return _ACTOR.get()
