"""The one way from a request to stored facts: claim, load, decide, append, in one transaction."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TypedDict

from pydantic_core import to_json

from counterfoil.adapters.acting import current, current_trace
from counterfoil.adapters.ids import IdFactory
from counterfoil.adapters.names import of_command
from counterfoil.domain.errors import Conflict, Malformed, NotFound, Rejected, Unavailable
from counterfoil.domain.ports import (
    Append,
    Claim,
    Clock,
    EventLog,
    Origin,
    Stream,
    Transaction,
)
from counterfoil.projections.keeping import Projections

ATTEMPTS_MAX = 10


class Call(TypedDict, total=False):
    """What every write may be told: `command_id` makes a repeat of it harmless for ever,
    `expected_version` refuses to decide on anything newer than the caller saw, and `wait_s` has
    the write return when read models that follow behind show it, or `Unavailable` is raised.
    """

    command_id: str | None
    expected_version: int | None
    wait_s: float | None


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, by name and arguments."""

    name: str
    arguments: Mapping[str, object]
    call: Call

    def __post_init__(self) -> None:
        # Call is a TypedDict, so only a type checker would notice a misspelt option.
        for option in self.call:
            if option not in Call.__annotations__:
                raise Malformed(option, f"is no option of {self.name}")
        of_command(self.command_id)
        version = self.call.get("expected_version")
        if version is not None and type(version) is not int:
            raise Malformed("expected_version", "must be a whole number")
        wait_s = self.call.get("wait_s")
        if wait_s is not None and (type(wait_s) not in {int, float} or not 0 <= wait_s < inf):
            raise Malformed("wait_s", "must be a number of seconds")

    @property
    def command_id(self) -> str | None:
        """The caller's own id of this request."""
        return self.call.get("command_id")

    @property
    def fingerprint(self) -> bytes:
        """Tells another request under the same command id from a repeat of this one.

        What is not said is left out, so that a field added later changes no old fingerprint.
        """
        said = to_json([self.name, self.arguments], exclude_none=True)
        return hashlib.sha256(said).digest()


@dataclass(frozen=True, slots=True)
class Decided:
    """New facts, and the stream whose state is the answer."""

    appends: Sequence[Append]
    answer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A stream as it was right after the request was obeyed."""

    stream: str
    version: int


class Desk:
    """Takes the requests of one tenant."""

    def __init__(
        self, log: EventLog, tenant: str, clock: Clock, ids: IdFactory, kept: Projections
    ) -> None:
        self._log = log
        self._kept = kept
        self._tenant = tenant
        self._clock = clock
        self._ids = ids

    def obey(self, request: Request, decide: Callable[[Transaction], Decided]) -> Answer:
        """Store what is decided, once; a repeat of an obeyed request gets the first answer.

        When somebody else wrote first, load and decide again, a bounded number of times.
        """
        answer = self._patiently(request, decide)
        self.show(request.call)
        return answer

    def show(self, call: Call) -> None:
        """Return when read models show all that is stored, if the caller waits for that."""
        wait_s = call.get("wait_s")
        if wait_s is not None:
            try:
                self._kept.wait(timeout_s=wait_s)
            except Unavailable as error:
                raise Unavailable(f"it is stored, but not shown yet: {error}") from error

    def known(self, request: Request) -> Answer | None:
        """The first answer, if this request was obeyed before; for those that do much to obey."""
        if request.command_id is None:
            return None
        with self._log.transaction(self._tenant) as transaction:
            return self._first_answer(transaction, request)

    def _patiently(self, request: Request, decide: Callable[[Transaction], Decided]) -> Answer:
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                return self._once(request, decide)
            except VersionDiffers:
                raise
            except Conflict:
                # Spread out those who collided, or they collide again.
                time.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311  (no secret)
        return self._once(request, decide)

    def _once(self, request: Request, decide: Callable[[Transaction], Decided]) -> Answer:
        with self._log.transaction(self._tenant) as transaction:
            first = self._first_answer(transaction, request)
            if first is not None:
                return first
            try:
                decided = decide(transaction)
            except (Rejected, NotFound, VersionDiffers):
                # A twin of this request may have been obeyed since, and that be the reason.
                first = self._first_answer(transaction, request)
                if first is not None:
                    return first
                raise
            answer = _answer(decided, transaction)
            transaction.append(decided.appends, self._origin(request), _claim(request, answer))
            return answer

    def _first_answer(self, transaction: Transaction, request: Request) -> Answer | None:
        if request.command_id is None:
            return None
        claim = transaction.claimed(request.command_id)
        if claim is None:
            return None
        if claim.fingerprint != request.fingerprint:
            raise Malformed("command_id", "was used for another command before; choose a new one")
        transaction.append((), self._origin(request), None)
        return Answer(claim.stream, claim.version)

    def _origin(self, request: Request) -> Origin:
        now, acting = self._clock(), current()
        if now.tzinfo is None:
            raise Malformed("clock", "must give times with a time zone")
        return Origin(
            recorded_at=now,
            actor=acting.actor,
            command_id=request.command_id or self._ids("cmd", now),
            causation_id=acting.cause,
            correlation_id=acting.correlation or current_trace(),
        )


class VersionDiffers(Conflict):
    """The caller expected another version; deciding again would not change that."""


def expect(stream: Stream, call: Call) -> None:
    """Hold the caller's `expected_version`, if there is one."""
    expect_version(stream.name, stream.version, call)


def expect_version(stream: str, version: int, call: Call) -> None:
    """The same, where only the version is known."""
    expected = call.get("expected_version")
    if expected is not None and version != expected:
        raise VersionDiffers(
            f"{stream} is at version {version}, expected was {expected}: "
            "load it again and decide again"
        )


def _answer(decided: Decided, transaction: Transaction) -> Answer:
    for append in decided.appends:
        if append.to.name == decided.answer:
            return Answer(decided.answer, append.to.version + len(append.facts))
    return Answer(decided.answer, transaction.read(decided.answer).version)


def _claim(request: Request, answer: Answer) -> Claim | None:
    if request.command_id is None:
        return None
    return Claim(request.fingerprint, answer.stream, answer.version)
