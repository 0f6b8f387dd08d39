"""Who acts, and why: said once around a block, recorded with every fact that comes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from counterfoil.domain.envelope import Actor, ActorType


@dataclass(frozen=True, slots=True)
class Acting:
    """An actor, what caused them to act, and what belongs together with it."""

    actor: Actor
    cause: str | None
    correlation: str | None


_NOBODY = Acting(Actor(type=ActorType.SYSTEM, id="system"), None, None)
_ACTING: ContextVar[Acting] = ContextVar("acting", default=_NOBODY)


@contextmanager
def actor(
    type: ActorType | str, id: str, *, cause: str | None = None, correlation: str | None = None
) -> Iterator[Actor]:
    """Let what is done inside the block be done by this actor.

    `cause` is the event or request that led to it; `correlation` ties together all that one
    request did, and is the id of the active trace unless it is given.
    """
    acting = Acting(Actor(type=type, id=id), cause, correlation)
    token = _ACTING.set(acting)
    try:
        yield acting.actor
    finally:
        _ACTING.reset(token)


def current() -> Acting:
    """Who acts now, and why; the system itself, when nobody was named."""
    return _ACTING.get()


def current_trace() -> str | None:
    """The id of the active OpenTelemetry trace, where there is one."""
    # Whoever has an active span has imported the library; looking for it in vain each time costs
    # as much as the rest of a command.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
