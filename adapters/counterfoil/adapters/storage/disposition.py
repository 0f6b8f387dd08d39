"""How does a browser learn the name of what it downloads? By RFC 6266, whatever the name holds."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

_LENGTH_MAX = 150
# What no file name may hold: what a path is made of, and what turns the direction of writing, so
# that a name shows another ending than it has.
_UNFIT = re.compile(r"[/\\\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# attr-char of RFC 5987, beside letters and digits.
_ATTRIBUTE = "!#$&+-.^_`|~"


def attachment(file_name: str) -> str:
    """The value of a Content-Disposition header: ASCII, and one line."""
    name = _fit(file_name)
    plain = re.sub(r"[^ !#-$&-\[\]-~]", "_", _ascii(name))
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTRIBUTE)}"


def _fit(file_name: str) -> str:
    one_line = "".join(
        "_" if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter
        for letter in file_name
    )
    stem, dot, ending = _UNFIT.sub("_", one_line).strip().rpartition(".")
    if not stem or len(ending) > 10:
        stem, dot, ending = stem + dot + ending, "", ""
    return f"{stem[:_LENGTH_MAX] or 'document'}{dot}{ending}"


def _ascii(name: str) -> str:
    """The name for the few that read no other: accents go, other letters become `_`."""
    apart = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
