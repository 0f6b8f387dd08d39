"""How much happened, day by day, week by week or month by month: facts by type and by actor, and
money by currency.

Facts are counted in the log, in one pass; money is what the journal says that they moved. No writer
pays for a counter, or for an index by time that only this question would use.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import NamedTuple, get_args

from counterfoil.domain.envelope import ActorType
from counterfoil.domain.errors import Malformed
from counterfoil.domain.money import exponent
from counterfoil.domain.value import LARGEST
from counterfoil.projections.credit_notes import TABLE as CREDIT_NOTES
from counterfoil.projections.invoice import View
from counterfoil.projections.invoices import TABLE as INVOICES
from counterfoil.projections.journal import TABLE as JOURNAL
from counterfoil.projections.paging import Found, microseconds, moment, moment_of, one_of, word
from counterfoil.projections.projection import Question
from counterfoil.projections.store import Store
from counterfoil.projections.totals import halves, wholes
from counterfoil.projections.words import AnyEvent

BUCKETS = ("day", "week", "month")
BUCKETS_MAX = 10_000

# What each sum is made of: which facts move it, on which account, in which direction.
_REVENUE, _TAX, _CASH = "revenue", "tax", "cash"
_MONEY: Mapping[tuple[str, str], tuple[str, int]] = {
    ("invoice.finalized.v", _REVENUE): ("invoiced", -1),
    ("invoice.finalized.v", _TAX): ("invoiced", -1),
    ("invoice.voided.v", _REVENUE): ("voided", 1),
    ("invoice.voided.v", _TAX): ("voided", 1),
    ("invoice.reconciled.v", _REVENUE): ("voided", 1),
    ("invoice.reconciled.v", _TAX): ("voided", 1),
    ("invoice.reconciled.v", _CASH): ("received", 1),
    ("invoice.payment_succeeded.v", _CASH): ("received", 1),
    ("invoice.payment_refunded.v", _CASH): ("refunded", -1),
    ("invoice.refund_failed.v", _CASH): ("refunded", -1),  # it came back
    ("invoice.credit_applied.v", _REVENUE): ("credited", 1),
    ("invoice.credit_applied.v", _TAX): ("credited", 1),
    ("invoice.credit_withdrawn.v", _REVENUE): ("credited", 1),
    ("invoice.credit_withdrawn.v", _TAX): ("credited", 1),
}
Counts = dict[int, Counter[str]]


class Sums(View):
    """Money in one currency, in minor units: what was invoiced and what of that was voided, what
    came and what went back, and what was credited.
    """

    invoiced: int = 0
    voided: int = 0
    received: int = 0
    refunded: int = 0
    credited: int = 0


class Bucket(View):
    """What happened from `start` on and before `end`; `name` is 2026-11-20, 2026-W47 or 2026-11."""

    name: str
    start: datetime
    end: datetime
    facts: int
    types: Mapping[str, int]
    actors: Mapping[str, int]
    sums: Mapping[str, Sums]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which activity, in which buckets."""

    bucket: str = "day"
    since: datetime | date | None = None
    until: datetime | date | None = None
    types: Sequence[str] = ()
    actor: str | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        one_of("bucket", self.bucket, BUCKETS)
        if self.currency is not None and exponent(word("currency", self.currency)) is None:
            raise Malformed("currency", "must be an ISO 4217 code, such as EUR")
        if self.actor is not None:
            one_of("actor", word("actor", self.actor).partition(":")[0], tuple(ActorType))
        for name in self.types:
            one_of("type", name, _KNOWN)


class Span(NamedTuple):
    """One bucket: its name, when it begins, and when the next one does."""

    name: str
    start: datetime
    end: datetime


def activity(
    store: Store, tenant: str, asked: Asked, zone: tzinfo, now: datetime
) -> tuple[Bucket, ...]:
    """What happened, bucket by bucket, those in which nothing did too."""
    ((ends,),) = store.ask(Question(_ENDS, {"tenant": tenant}))
    since, until = (_moment(f, getattr(asked, f), zone) for f in ("since", "until"))
    if since is None and ends[0] is None:
        return ()
    since = ends[0] if since is None else since
    until = max(microseconds(now), ends[1] or 0) + 1 if until is None else until
    if since >= until:
        return ()
    spans = [*_spans(asked.bucket, since, until, zone)]
    values, where = _conditions(tenant, asked)
    values.update(since=since, until=until)
    counted, summed = store.ask(
        Question(_COUNTED.format(where=where), values),
        Question(_SUMMED.format(where=where), values),
        of=(JOURNAL, INVOICES, CREDIT_NOTES),
    )
    types, actors, sums = _gathered(_placed(counted, spans), _placed(summed, spans), asked.currency)
    return tuple(
        Bucket(
            name=span.name,
            start=span.start,
            end=span.end,
            facts=types[place].total(),
            types=dict(sorted(types[place].items())),
            actors=dict(sorted(actors[place].items())),
            sums={code: Sums(**found) for code, found in sorted(sums[place].items())},
        )
        for place, span in enumerate(spans)
    )


# --- when -------------------------------------------------------------------------------------


def _moment(field: str, said: object, zone: tzinfo) -> int | None:
    """A moment as a caller said it; a day begins when it does in the time zone."""
    if said is None:
        return None
    if type(said) is date:
        return microseconds(datetime.combine(said, time(), zone))
    return moment_of(field, said)


def _spans(bucket: str, since: int, until: int, zone: tzinfo) -> Iterator[Span]:
    """The buckets that a time touches. Each ends where the next begins, whatever clocks do."""
    try:
        day = _first(bucket, moment(since).astimezone(zone).date())
        for _ in range(BUCKETS_MAX):
            start = datetime.combine(day, time(), zone)
            if microseconds(start) >= until:
                return
            day = _next(bucket, day)
            yield Span(_name(bucket, start), start, datetime.combine(day, time(), zone))
    except (OverflowError, ValueError):
        raise Malformed("since", "must be a time that calendars have, as until must") from None
    raise Malformed("since", f"makes more than {BUCKETS_MAX:,} buckets; ask for a shorter time")


def _first(bucket: str, day: date) -> date:
    if bucket == "week":  # ISO 8601: it begins on Monday
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if bucket == "month" else day


def _next(bucket: str, day: date) -> date:
    if bucket == "month":
        return (day + timedelta(days=31)).replace(day=1)
    return day + timedelta(days=7 if bucket == "week" else 1)


def _name(bucket: str, start: datetime) -> str:
    if bucket == "week":
        return f"{start:%G-W%V}"
    return f"{start:%Y-%m}" if bucket == "month" else f"{start:%Y-%m-%d}"


# --- asked ------------------------------------------------------------------------------------

_VERSION = "0123456789"
_KNOWN = tuple(
    sorted(kind.stored_as.rstrip(_VERSION).removesuffix(".v") for kind in get_args(AnyEvent))
)


def _conditions(tenant: str, asked: Asked) -> tuple[dict[str, object], str]:
    values: dict[str, object] = {"tenant": tenant}
    where = ""
    if asked.types:
        named = {f"type{place}": f"{name}.v" for place, name in enumerate(asked.types)}
        where += f" AND {_STEM} IN ({', '.join(f':{name}' for name in named)})"
        values.update(named)
    if asked.actor is not None:
        values["actor_type"], colon, values["actor_id"] = asked.actor.partition(":")
        where += " AND facts.actor_type = :actor_type"
        where += " AND facts.actor_id = :actor_id" if colon else ""
    if asked.currency is not None:
        values["currency"] = asked.currency
        where += f" AND ({' OR '.join(map(_OF_CURRENCY.format, ('invoices', 'credit_notes')))})"
    return values, where


_STEM = f"rtrim(facts.type, '{_VERSION}')"
_OF_CURRENCY = (
    "EXISTS (SELECT 1 FROM {0} WHERE {0}.tenant = facts.tenant AND {0}.id = facts.stream"
    " AND {0}.currency = :currency)"
)
_ENDS = "SELECT min(recorded_at), max(recorded_at) FROM facts WHERE tenant = :tenant"
# Every offset from UTC that clocks have now is a multiple of a quarter of an hour, so no bucket
# begins or ends inside of one. Where read models follow behind, everything is as of the fact that
# the journal has taken in last.
_QUARTER = 15 * 60 * 10**6
_FACTS = (
    f"SELECT facts.recorded_at / {_QUARTER}, %s FROM facts%s WHERE facts.tenant = :tenant"
    " AND facts.recorded_at >= :since AND facts.recorded_at < :until"
    " AND facts.position <= (SELECT CASE WHEN mode = 'inline'"
    f" THEN {LARGEST} ELSE (SELECT position FROM projections WHERE name = 'journal') END"
    f" FROM projecting){{where}}%s GROUP BY facts.recorded_at / {_QUARTER}, %s"
)
_BY = "facts.type, facts.actor_type, facts.actor_id"
_COUNTED = _FACTS % (f"{_BY}, count(*)", "", "", _BY)
_SAME_FACT = (
    "journal.tenant = facts.tenant AND journal.invoice = facts.stream"
    " AND journal.version = facts.version"
)
_MOVED = f"{_STEM}, journal.account, journal.currency"
_STEMS = ", ".join(f"'{stem}'" for stem in dict.fromkeys(stem for stem, _ in _MONEY))
_MOVING = f" AND {_STEM} IN ({_STEMS}) AND {_SAME_FACT}"
_SUMMED = _FACTS % (
    f"{_STEM}, journal.account, journal.currency, {halves('debit')}, {halves('credit')}",
    " CROSS JOIN journal",
    _MOVING,
    _MOVED,
)


def _placed(found: Sequence[Found], spans: Sequence[Span]) -> Iterator[Found]:
    """Rows of quarters of an hour as rows of buckets, by their places."""
    starts = [microseconds(span.start) for span in spans]
    for quarter, *row in found:
        # The first bucket may have begun inside of what was asked.
        place = bisect_right(starts, (quarter + 1) * _QUARTER - 1) - 1
        yield (max(place, 0), *row)


def _gathered(
    counted: Iterator[Found], summed: Iterator[Found], currency: str | None
) -> tuple[Counts, Counts, Mapping[int, Mapping[str, Counter[str]]]]:
    types: Counts = defaultdict(Counter)
    actors: Counts = defaultdict(Counter)
    sums: dict[int, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for place, type_name, kind, name, count in counted:
        types[place][type_name.rpartition(".")[0]] += count
        actors[place][f"{kind}:{name}"] += count
    for place, stem, account, code, *found in summed:
        moves = _MONEY.get((stem, account))
        if moves is not None and currency in {None, code}:
            name, sign = moves
            debit, credit = wholes(found)
            sums[place][code][name] += sign * (debit - credit)
    return types, actors, sums
