"""What a print may say in the log: nothing of the engine's own, which quotes what it was given.

A letter that no font has, a value that is no colour, an anchor that leads nowhere: WeasyPrint tells
of each in the page's own words, and those are a customer's. Only the thread that prints is hushed,
so a service that prints by WeasyPrint itself hears what it always heard.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HERE = threading.local()
_LOGGERS = ("weasyprint", "weasyprint.progress")


class _NotOfOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_HERE, "prints", False)


_FILTER = _NotOfOurs()


@contextmanager
def hushed() -> Iterator[None]:
    """Let this thread print without a word."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)  # once, however often it is asked
    _HERE.prints = True
    try:
        yield
    finally:
        _HERE.prints = False
