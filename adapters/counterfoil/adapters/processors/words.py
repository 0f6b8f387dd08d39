"""Words of a processor as facts may hold them: printable, short, and nothing private among them."""

from __future__ import annotations

import re
from typing import Final

_UNPRINTABLE: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_PRIVATE: Final = re.compile(
    r"\b(?:sk|rk|pk|ek|whsec)_[\w*]+"  # keys
    r"|\b\w+_secret_\w+"  # what lets a payer confirm
    r"|[^\s@'\"<>]+@[^\s@'\"<>]+"  # addresses of people
    r"|(?<!\w)\d(?:[ -]?\d){11,18}(?!\w)"  # numbers of cards and accounts
)


def said(text: str) -> str:
    """A message, at most 500 characters."""
    return _PRIVATE.sub("…", _UNPRINTABLE.sub(" ", text).strip())[:500]


def clean_code(text: str) -> str:
    """A code as an id of ours: 1 to 100 printable ASCII characters."""
    return re.sub(r"[^!-~]+", "_", said(text).replace("…", "_"))[:100] or "unknown"


def name(text: str) -> str:
    """The processor's name of something: what fits is kept as it is, for it is found by it."""
    return re.sub(r"[^!-~]+", "_", text)[:100] or "unknown"
