"""The same facts once more: into a fresh database, whose every table is compared with the live one.

Read models are made there from nothing but the facts, by the code of today. What differs from the
tables that everybody reads was changed behind the front door, or is a mistake of ours.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from counterfoil.adapters.event_store.rows import Row, microseconds
from counterfoil.adapters.event_store.sqlite import SQLiteLog
from counterfoil.adapters.replay.playing import CLAIM, Player, load, pages, rest
from counterfoil.domain.errors import CorruptHistory, Malformed
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.comparing import Compared, Comparison, table_size
from counterfoil.projections.follow import follow
from counterfoil.projections.progress import Progress, Watch
from counterfoil.projections.rebuild import rebuild
from counterfoil.projections.status import hold_versions, last_position, mode_of
from counterfoil.projections.store import Session, Store
from counterfoil.projections.swapping import PAGE
from counterfoil.projections.totals import halves, wholes
from counterfoil.projections.verify import Difference

if TYPE_CHECKING:
    from counterfoil.adapters.event_store.postgres import PostgresLog


class Opened(NamedTuple):
    """A database: its log, and its read models."""

    log: SQLiteLog | PostgresLog
    store: Store


Open = Callable[[str], Opened]


@dataclass(frozen=True, slots=True)
class Total:
    """What invoices of a status and a currency come to, in minor units."""

    currency: str
    status: str
    invoices: int
    total: int
    amount_paid: int
    amount_remaining: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did, and found. Only the whole log has live tables to be `compared` with."""

    facts: int
    claims: int
    play_s: float
    rebuild_s: float
    seconds: float
    rows: Mapping[str, int]
    totals: tuple[Total, ...]
    compared: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    count: int

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return self.count == 0


def position_of(opened: Opened, to: int | datetime | None) -> int:
    """The position that is meant: the last one, this one, or the last before a fact that was
    recorded later than a time. Where a clock was set back, the order of the log decides.
    """
    with opened.store.reading() as session:
        end = last_position(session.select)
        match to:
            case None:
                return end
            case bool():
                raise Malformed("to", "must be a position or a time")
            case int():
                if not 0 <= to <= end:
                    raise Malformed("to", f"must be a position from 0 to {end}, the last")
                return to
            case datetime() if to.tzinfo is None:
                raise Malformed("to", "must say its time zone, as in 2026-11-20T08:00+01:00")
            case datetime():
                ((later,),) = session.select(
                    "SELECT min(position) FROM facts WHERE recorded_at > :until",
                    {"until": microseconds(to)},
                )
                return end if later is None else int(later) - 1
            case _:
                raise Malformed("to", "must be a position or a time")


def replay(
    of: Opened,
    open_: Open,
    *,
    to: int | datetime | None = None,
    into: str | None = None,
    watch: Watch = lambda _: None,
) -> Replayed:
    """Play the log into a database that is empty; unless `to` cuts it off, compare all tables.

    Without `into`, that is a file which is thrown away. The original is only read.
    """
    began = perf_counter()
    upto = position_of(of, to) if to is not None else _compared_at(of)
    with _target(of, open_, into) as target:
        player = Player(target.log)
        for rows in pages(of.log, player.position, upto):
            player.play(rows)
            watch(Progress("play", player.position, upto))
        _hold_whole(player, upto)
        played = perf_counter()
        rebuild(target.store, watch=watch)
        rebuilt = perf_counter()
        comparison = Comparison(watch)
        if to is None:
            _compare(of, target, player, comparison)
        claims = 0 if into is None else _copy_claims(of, target, player.position, watch)
        with target.store.reading(*_TABLES) as session:
            sizes = {table.name: table_size(session, table) for table in _TABLES}
            totals = tuple(_totals(session))
        return Replayed(
            facts=player.position,
            claims=claims,
            play_s=played - began,
            rebuild_s=rebuilt - played,
            seconds=perf_counter() - began,
            rows=sizes,
            totals=totals,
            compared=tuple(comparison.tables),
            differences=tuple(comparison.described),
            count=comparison.count,
        )


_EVERY = tuple(PROJECTIONS.values())
_TABLES = tuple(table for projection in _EVERY for table in projection.tables)


def _hold_whole(player: Player, upto: int) -> None:
    if player.position != upto:
        problem = f"positions from {player.position + 1} to {upto} are missing"
        raise CorruptHistory(problem, stream="the log as a whole", position=player.position + 1)


# --- the database that is played into ---------------------------------------------------------


@contextmanager
def _target(of: Opened, open_: Open, into: str | None) -> Iterator[Opened]:
    """An empty database. Until its read models are made, nobody can work in it."""
    with ExitStack() as stack:
        address = into
        if address is None:
            folder = TemporaryDirectory(prefix="counterfoil-replay-", ignore_cleanup_errors=True)
            address = str(Path(stack.enter_context(folder)) / "replayed.db")
        elif not address or address == ":memory:":
            raise Malformed("into", "must be a file or postgresql://…, to be looked at later")
        elif "://" not in address:
            _hold_new(Path(address))
        target = open_(address)
        stack.callback(target.log.close)
        target.log.codec = of.log.codec
        _begin(target)
        yield target


def _hold_new(path: Path) -> None:
    """Hold that an SQLite file is not there, is empty, or has our tables: we add none to others."""
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*), coalesce(sum(name = 'claims'), 0) FROM sqlite_master"
            count, ours = connection.execute(query).fetchone()
    except sqlite3.Error:
        raise Malformed("into", f"{path} is there and is no SQLite database") from None
    if count and not ours:
        raise Malformed("into", f"{path} holds other tables; name a file that is not there yet")


def _begin(target: Opened) -> None:
    with target.store.writing() as session:
        ((facts, claims),) = session.select(
            "SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM claims)", {}
        )
        if facts or claims:
            raise Malformed(
                "into", f"holds {facts:,} facts already; a replay begins with an empty database"
            )
        session.execute("UPDATE projections SET version = 0", {})


# --- comparing --------------------------------------------------------------------------------


def _compared_at(of: Opened) -> int:
    """The position as far as all live tables reflect the log."""
    with of.store.reading() as session:
        hold_versions(session.select)
        return min(_positions(session).values())


def _positions(session: Session) -> Mapping[str, int]:
    end = last_position(session.select)
    inline = mode_of(session.select) == "inline"
    stored = session.select("SELECT name, position FROM projections", {})
    return {name: end if inline else at for name, at in stored if name in PROJECTIONS}


def _compare(of: Opened, target: Opened, player: Player, comparison: Comparison) -> None:
    """Compare all tables as of one moment, after what was written until then was played too."""
    while (upto := _compared_at(of)) - player.position > PAGE:
        _play_on(target, player, pages(of.log, player.position, upto))
    with of.store.reading(*_TABLES) as live:
        positions = _positions(live)
        for position in sorted(set(positions.values())):
            _play_on(target, player, rest(live, player.position, position))
            _hold_whole(player, position)
            group = tuple(one for one in _EVERY if positions[one.name] == position)
            with target.store.reading(*_TABLES) as made:
                comparison.compare(group, live, made)
        # What live read models have not taken in yet is a part of the log all the same.
        _play_on(target, player, rest(live, player.position, last_position(live.select)))


def _play_on(target: Opened, player: Player, following: Iterable[Sequence[Row]]) -> None:
    for rows in following:
        before = player.position
        player.play(rows)
        with target.store.writing() as session:
            follow(session, _EVERY, before, limit=len(rows))


# --- what is no fact, and what it comes to ------------------------------------------------------


def _copy_claims(of: Opened, target: Opened, upto: int, watch: Watch) -> int:
    """Copy which command ids were used, so that a repeated command is known there as well."""
    tenant, command, copied = "", "", 0
    while True:
        with of.store.reading() as session:
            found = session.select(
                _CLAIMS, {"tenant": tenant, "command": command, "upto": upto, "limit": CLAIMS}
            )
        if not found:
            return copied
        load(target.log, "claims", CLAIM, found)
        tenant, command, *_ = found[-1]
        copied += len(found)
        watch(Progress("claims", copied, copied))


CLAIMS = 5_000
# A claim names the version that answered its command.
_CLAIMS = (
    f"SELECT {', '.join(CLAIM)} FROM claims WHERE (tenant, command_id) > (:tenant, :command)"
    " AND EXISTS (SELECT 1 FROM facts WHERE facts.tenant = claims.tenant"
    " AND facts.stream = claims.stream AND facts.version = claims.version AND position <= :upto)"
    " ORDER BY tenant, command_id LIMIT :limit"
)


def _totals(session: Session) -> Iterator[Total]:
    sums = ", ".join(halves(name) for name in ("total", "amount_paid", "amount_remaining"))
    for currency, status, count, *found in session.select(
        f"SELECT currency, status, count(*), {sums} FROM invoices"
        " GROUP BY currency, status ORDER BY currency, status",
        {},
    ):
        yield Total(currency, status, count, *wholes(found))
