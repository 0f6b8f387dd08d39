"""How lists are asked for: a page at a time, newest first, in an order that never changes.

Every list is in the order of when its documents began, then of their ids, so a page is found by
one walk along an index, however deep it lies, and nothing is shown twice or left out because
something was added meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, TypeVar

from counterfoil.domain.errors import Malformed, NotFound
from counterfoil.projections.projection import Select

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
        if not isinstance(said, Range):
            raise Malformed(field, "must be a Range")
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
    """A text that a column may hold."""
    if not isinstance(value, str) or not sayable(value):
        raise Malformed(field, "must be text of at most 500 printable characters")
    return value


def sayable(value: object) -> bool:
    """Whether a value is a text that a database may be asked for, and a message may repeat."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 500


def moment_of(field: str, value: object) -> int:
    """A moment that a caller said, as read models keep it."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise Malformed(field, "must be a datetime with a time zone")
    return microseconds(value)


def _day(field: str, value: object) -> str:
    if type(value) is not date:
        raise Malformed(field, "must be a date")
    return value.isoformat()


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


def page(
    select: Select, columns: str, table: str, conditions: Conditions, asked: Asked, *, began: str
) -> tuple[list[Found], bool]:
    """The rows of a page, newest first, and whether there are more in its direction."""
    cursor = asked.cursor
    sign, order = (">", "ASC") if asked.backwards else ("<", "DESC")
    if cursor is not None:
        found = select(began, {**conditions.values, "cursor": cursor})
        if not found:
            raise NotFound(_NAMED[began], cursor)
        conditions.add(
            f"(created, id) {sign} (:cursor_created, :cursor_id)",
            cursor_created=found[0][0],
            cursor_id=cursor,
        )
    rows = select(
        f"SELECT {columns} FROM {table} WHERE {conditions}"  # noqa: S608  (our own words)
        f" ORDER BY created {order}, id {order} LIMIT :limit",
        {**conditions.values, "limit": asked.limit + 1},
    )
    shown = list(rows[: asked.limit])
    return shown[::-1] if asked.backwards else shown, len(rows) > asked.limit


def following(
    select: Select, columns: str, table: str, conditions: Conditions, *, after: Found, limit: int
) -> Sequence[Found]:
    """The next rows behind a moment and an id, oldest first; both come last in the columns."""
    created, id = after
    return select(
        f"SELECT {columns}, created, id FROM {table} WHERE {conditions}"  # noqa: S608
        " AND (created, id) > (:after_created, :after_id) ORDER BY created, id LIMIT :limit",
        {**conditions.values, "after_created": created, "after_id": id, "limit": limit},
    )
