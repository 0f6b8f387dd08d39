"""Objects of a PDF as bytes, each made once.

pydyf makes an object into bytes to write it and again to hash it for the /ID, and looks at every
part of it as if it could be anything. Nearly all objects of a tagged print are small dictionaries
of names, numbers and references.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

import pydyf

LEVEL = 4


def write_once(pdf: Any) -> None:
    """Have each object of the PDF made into bytes now, and those that are added later on demand."""
    for place, one in enumerate(pdf.objects):
        if one.free != "f":
            pdf.objects[place] = _Written(one)  # one by one: what is written is let go
    add = pdf.add_object

    def add_object(late: Any) -> None:
        # The stream of all tags, by far the longest, is made while the file is written.
        if type(late) is pydyf.Stream:
            late.__class__ = _Late
        add(late)

    pdf.add_object = add_object


class _Written:
    """An object of a PDF as bytes."""

    def __init__(self, made: Any) -> None:
        self.number, self.generation, self.free = made.number, made.generation, made.free
        self.offset, self.compressible, self.reference = 0, made.compressible, made.reference
        plain = getattr(type(made), "data", None) is pydyf.Stream.data
        self.data = _stream(made) if plain else _bytes(made)

    @property
    def indirect(self) -> bytes:
        """The object under its number."""
        return b"%d %d obj\n%b\nendobj" % (self.number, self.generation, self.data)


class _Late(pydyf.Stream):
    """A stream that is made into bytes when it is asked for them first."""

    @cached_property
    def data(self) -> bytes:
        """The stream."""
        return _stream(self)


def _stream(stream: Any) -> bytes:
    """A stream as bytes, compressed less hard than pydyf would: 4 to 11 % more of them, sooner."""
    content = b"\n".join([_bytes(part) for part in stream.stream])
    extra = pydyf.Dictionary(stream.extra)
    if stream.compress:
        content = zlib.compress(content, LEVEL)
        extra["Filter"] = "/FlateDecode"
    extra["Length"] = len(content)
    return b"\n".join((_dictionary(extra), b"stream", content, b"endstream"))


def _bytes(part: Any) -> bytes:
    """What pydyf would make of it."""
    make = _MAKERS.get(type(part))
    made: bytes = make(part) if make else pydyf._to_bytes(part)
    return made


def _dictionary(given: Any) -> bytes:
    entries = [b"/%b %b" % (_bytes(name), _bytes(value)) for name, value in given.items()]
    return b"<<%b>>" % b"".join(entries)


def _array(given: Any) -> bytes:
    return b"[%b]" % b" ".join([_bytes(part) for part in given])


_MAKERS: dict[type, Callable[[Any], bytes]] = {
    bytes: bytes,
    str: str.encode,
    int: b"%d".__mod__,
    pydyf.Dictionary: _dictionary,
    pydyf.Array: _array,
}
