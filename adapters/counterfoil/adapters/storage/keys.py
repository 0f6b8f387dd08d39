"""What a document may be called in a store, checked before any disk or bucket hears of it."""

from __future__ import annotations

import hashlib
import re

from counterfoil.domain.errors import Malformed

# Together with a prefix of ours a key stays below the 1,024 bytes of S3, and a word below the
# 255 bytes that a file may be called by.
_KEY_MAX = 700
_PREFIX_MAX = 300
# A store takes words of 200 signs; of a document's, options and digest come behind this.
_NAME_MAX = 100
_WORDS = re.compile(r"[A-Za-z0-9._%-]{1,200}(?:/[A-Za-z0-9._%-]{1,200})*")

# A signature of S3 (SigV4) may live for seven days; a link of any store is asked for alike.
_LINK_S_MAX = 7 * 24 * 60 * 60


def words(key: str) -> list[str]:
    """The words of a key."""
    if not _is_key(key, _KEY_MAX):
        raise Malformed(
            "key",
            f"must be words of 1 to 200 letters, digits and ._%- put together by slashes, none of"
            f" them . or .., and at most {_KEY_MAX} characters in all",
        )
    return key.split("/")


def prefix(text: str) -> str:
    """What all keys of a store begin with: "" or words that end with a slash."""
    bare = text.strip("/")
    if bare and not _is_key(bare, _PREFIX_MAX):
        raise Malformed(
            "documents",
            "needs a prefix of words of letters, digits and ._%- put together by slashes,"
            f" of at most {_PREFIX_MAX} characters",
        )
    return f"{bare}/" if bare else ""


def of_tenant(tenant: str, key: str) -> str:
    """Where a document of a tenant lies."""
    return f"{word(tenant)}/{key}"


def word(name: str) -> str:
    """The name as a word of a key: letters and digits, and what else it has as %XX."""
    quoted = "".join(
        sign if sign.isalnum() or sign in "_-" else f"%{ord(sign):02X}" for sign in name
    )
    return quoted if len(quoted) <= _NAME_MAX else hashlib.sha256(name.encode()).hexdigest()


def lifetime(valid_s: int) -> int:
    """The seconds for which a link leads to a document."""
    if type(valid_s) is not int or not 1 <= valid_s <= _LINK_S_MAX:
        raise Malformed("valid_s", f"must be 1 to {_LINK_S_MAX} whole seconds, which is 7 days")
    return valid_s


def _is_key(text: object, longest: int) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= longest
        and _WORDS.fullmatch(text) is not None
        and not {".", ".."} & set(text.split("/"))
    )
