"""Is a body one of its type? Its fields are looked for, which is several times faster than to
decode their values; `--deep` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from msgspec import Raw, defstruct
from msgspec.json import Decoder

from counterfoil.adapters.audit.numbers import NUMBERED
from counterfoil.domain.value import Event


@cache
def reader(kind: type[Event] | None) -> Callable[[bytes], object]:
    """Take bodies of a kind apart: a JSON object with the fields that it must have, or an error of
    msgspec's. Of one with a number in it, that is read.
    """
    numbered = NUMBERED.get(kind)
    fields = kind.model_fields if kind is not None else {}
    known = numbered.__struct_fields__ if numbered is not None else ()
    required = [
        (field.alias or name, Raw)
        for name, field in fields.items()
        if field.is_required() and name not in known
    ]
    bases = () if numbered is None else (numbered,)
    return Decoder(defstruct("Body", required, bases=bases, kw_only=True, gc=False)).decode
