"""What do several pairs of one run share? A server, and databases that take long to fill.

The first pair that asks has it made; whoever runs the pairs closes it after the last.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeVar

from bench.server import server

Made = TypeVar("Made")

_stack = ExitStack()
_made: dict[Hashable, Any] = {}


def once(name: Hashable, opens: Callable[[], AbstractContextManager[Made]]) -> Made:
    """What was made by this name, or is made now."""
    if name not in _made:
        _made[name] = _stack.enter_context(opens())
    made: Made = _made[name]
    return made


def close() -> None:
    """Give all of it back; what is asked for later is made anew."""
    _made.clear()
    _stack.close()


def bare_server() -> str:
    """The address of a server that flushes to this disk as it is."""
    return once("server", lambda: server(0))
