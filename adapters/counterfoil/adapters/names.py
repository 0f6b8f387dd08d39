"""What documents, tenants and requests may be called, checked before any database hears of it."""

from __future__ import annotations

import re

from counterfoil.domain.errors import Malformed, NotFound

INVOICE, CREDIT_NOTE, LINE = "in", "cn", "li"

_KINDS = {INVOICE: "invoice", CREDIT_NOTE: "credit note"}
_WORD = re.compile(r"[!-~]{1,100}")
# The library's door to the log writes a stream of a tenant as tenant/stream.
_TENANT = re.compile(r"[!-.0-~]{1,100}")


def of_kind(prefix: str, name: str) -> str:
    """The name, if a document of this kind could have it; nothing else can be found by it."""
    if not (_is_word(name) and name.startswith(f"{prefix}_")):
        raise NotFound(_KINDS[prefix], name if _is_word(name) else None)
    return name


def chosen(prefix: str, name: str | None) -> str | None:
    """A name that a caller chose for a new document or line, or None for one to be made."""
    if name is not None and not (_is_word(name) and name.startswith(f"{prefix}_")):
        raise Malformed(
            "id", f"must start with {prefix}_ and be at most 100 printable ASCII characters"
        )
    return name


def of_tenant(name: str) -> str:
    """The name of a tenant."""
    if not _matches(_TENANT, name):
        raise Malformed(
            "tenant", "must be 1 to 100 printable ASCII characters without spaces and slashes"
        )
    return name


def of_command(name: str | None) -> str | None:
    """A caller's own id of a request."""
    if name is not None and not _is_word(name):
        raise Malformed("command_id", "must be 1 to 100 printable ASCII characters without spaces")
    return name


def _is_word(name: object) -> bool:
    return _matches(_WORD, name)


def _matches(pattern: re.Pattern[str], name: object) -> bool:
    return isinstance(name, str) and pattern.fullmatch(name) is not None
