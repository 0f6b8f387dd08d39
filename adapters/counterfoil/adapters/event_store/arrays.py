"""New rows as PostgreSQL takes arrays in binary: column by column, each made in one piece.

psycopg would ask every element for its type and write it by a call of its own, which takes longer
than to chain the hashes of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from struct import Struct

import psycopg
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

from counterfoil.adapters.event_store.chain import text
from counterfoil.adapters.event_store.rows import NewRow

# The types of elements, by the numbers that PostgreSQL never changes.
_BYTEA, _BIGINT, _TEXT = 17, 20, 25
# How many dimensions, no null, the type of elements; how many of them, counted from where.
_HEAD = Struct(">iiIii")
_SIZE = Struct(">i")
_VERSION = Struct(">iq")


class Array(bytes):
    """An array as it goes over the wire; the statement says of what: `%b::text[]`."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """Hands it over as it is."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Array:
        """The same."""
        return obj


ADAPTERS = AdaptersMap(psycopg.adapters)
ADAPTERS.register_dumper(Array, ArrayDumper)


def columns(rows: Sequence[NewRow]) -> tuple[Array, ...]:
    """What differs from row to row of one append: streams, versions, types, bodies, hashes."""
    if not rows:
        return (_array(_TEXT, 0), _array(_BIGINT, 0), _array(_TEXT, 0), *[_array(_BYTEA, 0)] * 2)
    _, streams, versions, types, bodies, *_, hashes = zip(*rows, strict=True)
    size = len(rows)
    return (
        # Elements are texts after their lengths, which is how they are hashed.
        _array(_TEXT, size, map(text, streams)),
        _array(_BIGINT, size, [_VERSION.pack(8, version) for version in versions]),
        _array(_TEXT, size, map(text, types)),
        _array(_BYTEA, size, _sized(bodies)),
        _array(_BYTEA, size, _sized(hashes)),
    )


def _array(element: int, size: int, elements: Iterable[bytes] = ()) -> Array:
    return Array(b"".join((_HEAD.pack(1, 0, element, size, 1), *elements)))


def _sized(values: Sequence[bytes]) -> Iterator[bytes]:
    return chain.from_iterable(zip(map(_SIZE.pack, map(len, values)), values, strict=True))
