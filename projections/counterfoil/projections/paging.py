"""How lists are asked for: a page at a time, newest first, in an order that never changes.

Every list is in the order of when its documents began, then of their ids, so a page is found by
one walk along an index, however deep it lies, and nothing is shown twice or left out because
something was added meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, TypeVar

from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.domain.value import PRINTABLE
from counterfoil.projections.projection import Question
from counterfoil.projections.store import Store

LIMIT_MAX = 100
LIMIT = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Item = TypeVar("Item")
Found = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of a list. `has_more` says whether it goes on, in the direction that was asked for."""

    data: tuple[Item, ...]
    has_more: bool

    def __iter__(self) -> Iterator[Item]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Range:
    """From when to when: moments with a time zone, or days where a list is of days."""

    gt: datetime | date | None = None
    gte: datetime | date | None = None
    lt: datetime | date | None = None
    lte: datetime | date | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page was asked for."""

    limit: int
    starting_after: str | None
    ending_before: str | None

    def __post_init__(self) -> None:
        if type(self.limit) is not int or not 1 <= self.limit <= LIMIT_MAX:
            raise Malformed("limit", f"must be a whole number from 1 to {LIMIT_MAX}")
        if self.starting_after is not None and self.ending_before is not None:
            raise Malformed("ending_before", "say starting_after or ending_before, not both")
        for field in ("starting_after", "ending_before"):
            cursor = getattr(self, field)
            if cursor is not None:
                word(field, cursor)

    @property
    def backwards(self) -> bool:
        """Whether the page lies before its cursor."""
        return self.ending_before is not None

    @property
    def cursor(self) -> str | None:
        """The item beside which the page lies."""
        return self.ending_before if self.backwards else self.starting_after


class Conditions:
    """What rows must meet, as SQL, with its values."""

    def __init__(self, tenant: str) -> None:
        self._parts = ["tenant = :tenant"]
        self.values: dict[str, object] = {"tenant": tenant}

    def equal(self, column: str, field: str, value: str | None) -> None:
        """That a column holds this text, if any was said."""
        if value is not None:
            self.add(f"{column} = :{field}", **{field: word(field, value)})

    def within(self, column: str, field: str, said: Range | None, *, days: bool = False) -> None:
        """That a column lies in a range, if one was said."""
        if said is None:
            return
        if type(said) is not Range or said == Range():
            raise Malformed(field, "must be a Range with at least one end")
        bound = _day if days else moment_of
        for name, sign in _SIGNS.items():
            value = getattr(said, name)
            if value is not None:
                place = f"{field}_{name}"
                self.add(f"{column} {sign} :{place}", **{place: bound(f"{field}.{name}", value)})

    def add(self, condition: str, **values: object) -> None:
        """Anything else."""
        self._parts.append(condition)
        self.values.update(values)

    def __str__(self) -> str:
        return " AND ".join(self._parts)


_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def word(field: str, value: object) -> str:
    """A name of something: an id, a number, a code."""
    if not isinstance(value, str) or not sayable(value):
        raise Malformed(field, "must be text of 1 to 500 printable characters")
    return value


def free_text(field: str, value: object) -> str:
    """A text that somebody wrote, with whatever the domain lets him write."""
    if isinstance(value, str) and len(value) <= 500 and _PRINTABLE.fullmatch(value):
        with suppress(UnicodeEncodeError):  # half of a surrogate pair
            value.encode()
            return value
    raise Malformed(field, "must be text of at most 500 characters without control characters")


_PRINTABLE = re.compile(PRINTABLE)


def one_of(field: str, value: str | None, known: Sequence[str]) -> str | None:
    """A word of which there are only these, if one was said."""
    if value is not None and value not in known:
        raise Malformed(field, f"must be one of {', '.join(known)}")
    return value


def sayable(value: object) -> bool:
    """Whether a value may be the name of something."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 500


def moment_of(field: str, value: object) -> int:
    """A moment that a caller said, as read models keep it."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise Malformed(field, "must be a datetime with a time zone")
    return microseconds(value)


def _day(field: str, value: object) -> str:
    if type(value) is not date:
        raise Malformed(field, "must be a date")
    return value.isoformat()


def not_found(kind: str, name: object) -> NotFound:
    """Say what there is not; a name that no message can repeat stays out of it."""
    said = isinstance(name, str) and name.isprintable() and 0 < len(name) <= 100
    return NotFound(kind, str(name) if said else None)


def microseconds(moment: datetime) -> int:
    """A moment as read models keep it."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(at: int) -> datetime:
    """A moment as users see it."""
    return _EPOCH + timedelta(microseconds=at)


# When what a cursor names began. A document may have gone from the list since: its facts remember.
INVOICE_BEGAN = (
    "SELECT recorded_at FROM facts WHERE tenant = :tenant AND stream = :cursor AND version = 1"
    " AND type LIKE 'invoice.%'"
)
CREDIT_NOTE_BEGAN = (
    "SELECT recorded_at FROM facts WHERE tenant = :tenant AND stream = :cursor AND version = 1"
    " AND type LIKE 'credit_note.%'"
)
PAYMENT_BEGAN = "SELECT created FROM payments WHERE tenant = :tenant AND id = :cursor"
_NAMED = {
    INVOICE_BEGAN: "invoice",
    CREDIT_NOTE_BEGAN: "credit note",
    PAYMENT_BEGAN: "payment",
}


def seek(store: Store, conditions: Conditions, asked: Asked, *, began: str) -> None:
    """Go to where a page begins, as its cursor says."""
    if asked.cursor is None:
        return
    # When something began never changes, so it may be asked before the page is.
    (found,) = store.ask(Question(began, {**conditions.values, "cursor": asked.cursor}))
    if not found:
        raise not_found(_NAMED[began], asked.cursor)
    conditions.add(
        f"(created, id) {'>' if asked.backwards else '<'} (:cursor_created, :cursor_id)",
        cursor_created=found[0][0],
        cursor_id=asked.cursor,
    )


def page(
    columns: str, table: str, conditions: Conditions, asked: Asked, *, more: int = 1
) -> Question:
    """What to ask for the rows of a page, and one more: it says whether there are more."""
    order = "ASC" if asked.backwards else "DESC"
    return Question(
        f"SELECT {columns} FROM {table} WHERE {conditions}"
        f" ORDER BY created {order}, id {order} LIMIT :limit",
        {**conditions.values, "limit": asked.limit + more},
    )


def shown(rows: Sequence[Found], asked: Asked) -> tuple[Sequence[Found], bool]:
    """The rows of a page in their order, and whether there are more in its direction."""
    here = rows[: asked.limit]
    return here[::-1] if asked.backwards else here, len(rows) > asked.limit
