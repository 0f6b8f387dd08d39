"""What the domain asks of the world. Each port has one suite of tests that every adapter passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from counterfoil.domain.envelope import Actor, Recorded
from counterfoil.domain.money import Money
from counterfoil.domain.value import Event

# Aware, in UTC. Whoever needs the time is given a clock; the domain gets times in commands.
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for an append, when, and by which command."""

    recorded_at: datetime
    actor: Actor
    command_id: str
    causation_id: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as a unit of work read it: its facts, how many they are, and its last hash."""

    name: str
    facts: Sequence[Event]
    version: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """New facts that were decided on a stream as it was read."""

    to: Stream
    facts: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a command id was used for: which command, and which version of what was its answer."""

    fingerprint: bytes
    stream: str
    version: int


class Transaction(Protocol):
    """One unit of work of one tenant. It ends with its one append: all of that is stored, or none.

    A unit of work that does not append, or is left by an exception before, changes nothing.
    """

    def claimed(self, command_id: str) -> Claim | None:
        """The claim of this command id, if the command was obeyed before."""

    def read(self, stream: str) -> Stream:
        """All facts of a stream; one that does not exist has none."""

    def head(self, stream: str) -> Stream:
        """A stream without its facts: its version and its last hash."""

    def take(self, stream: str) -> Stream:
        """A stream with its first and its last fact only, held until this unit of work ends.

        For streams that everybody writes to: whoever takes the stream next waits, and then reads
        what this unit of work has stored.
        """

    def append(self, appends: Sequence[Append], origin: Origin, claim: Claim | None) -> None:
        """Store facts and the claim of their command; `Conflict` when a version is taken.

        Returns when they are on the disk. With nothing to store, it returns when all that was
        read is: an answer must not rest on what a crash could still undo.
        """


class EventLog(Protocol):
    """The append-only store. Positions rise in the order in which facts become visible."""

    def transaction(self, tenant: str) -> AbstractContextManager[Transaction]:
        """Begin a unit of work; an exception undoes it."""

    def read(
        self, tenant: str, stream: str, *, upto: int | None = None
    ) -> Sequence[Recorded[Event]]:
        """The facts of a stream with their envelopes, as far as version `upto`."""

    def since(self, position: int, *, limit: int) -> Sequence[Recorded[Event]]:
        """The next facts of all tenants and streams after a position, in order."""

    def close(self) -> None:
        """Give back every connection."""


@dataclass(frozen=True, slots=True)
class Asset:
    """Bytes that a document shows or carries; `name` is how the document refers to them."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document ready to be printed: well-formed HTML, its style sheets, and the images that it
    names as `asset:NAME`. `written_at` is the only time that the print may tell.
    """

    html: str
    styles: tuple[str, ...]
    images: tuple[Asset, ...] = ()
    attachments: tuple[Asset, ...] = ()
    archival: bool = False
    written_at: datetime | None = None


class PdfEngine(Protocol):
    """HTML in, PDF out; `PdfDisabled`, `EngineUnavailable` or `RenderFailed` otherwise."""

    @property
    def fingerprint(self) -> str:
        """Names all that the bytes depend on besides the sheet: versions and fonts. Raises at once
        where nothing can be printed.
        """

    def render(self, sheet: Sheet) -> bytes:
        """The document as PDF bytes: the same for the same sheet and fingerprint."""

    def close(self) -> None:
        """Give back every process."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a store is told of a document besides its key: whose it is, and how a reader who
    downloads it sees it named.
    """

    media_type: str
    seller: str
    file_name: str


class DocumentStore(Protocol):
    """Where documents are kept, each written once. A key is words of letters, digits and `._%-`,
    put together by slashes; no word is `.` or `..`.

    `Unavailable` when asking again may help, `StorageNotConfigured` when only an operator can.
    """

    @property
    def persists(self) -> bool:
        """Whether what is put is kept."""

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store under a key, durably, all or nothing. The same bytes again are fine; if the key
        holds others, `Conflict`, and it keeps them.
        """

    def get(self, key: str) -> bytes:
        """What is stored under a key; `ObjectNotFound` if nothing is."""

    def delete(self, key: str) -> None:
        """Remove what is stored under a key, or nothing if nothing is; `Conflict` while its
        retention forbids that.
        """

    def link(self, key: str, file_name: str, *, valid_s: int) -> str:
        """An address where anybody may download it for so long, under this file name."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Money that a processor is to take. All of it stands in the log before anybody is asked, so
    that whoever asks again, after a crash or elsewhere, asks the same under the same `key`.

    `reference` is the processor's own name of it, as far as that was heard.
    """

    key: str
    amount: Money
    payment_method: str
    tenant: str
    invoice: str
    payment: str
    customer: str
    attempted_at: datetime
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Repayment:
    """Money that a processor is to give back of a charge, by the processor's name of that."""

    key: str
    amount: Money
    charge: str
    tenant: str
    invoice: str
    payment: str
    refund: str


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money has moved."""

    reference: str


@dataclass(frozen=True, slots=True)
class Intent:
    """What the payer is shown, to confirm; the secret is for them alone and is never stored."""

    id: str
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NeedsAction:
    """The payer must confirm before any money moves."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Declined:
    """No money moves; `retryable` says whether asking for the same later may end otherwise."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """The processor does not know yet; ask again later."""


# The code of a charge that was withdrawn before it took any money.
CANCELED = "canceled"

Outcome = Succeeded | NeedsAction | Declined | Pending


class Processor(Protocol):
    """Who moves money. Never called inside a transaction, nor for a refused command.

    What it refuses is an outcome, `Declined`. `Unavailable` (of which `RateLimited` is one) says
    that nobody knows whether money moved, `ProcessorNotConfigured` that only an operator can help.
    """

    @property
    def name(self) -> str:
        """Which processor it is; stands with every attempt, so that no other is asked of it."""

    def default_payment_method(self, customer: str) -> str | None:
        """What this customer pays with, unless another method is said."""

    def charge(self, charge: Charge) -> Outcome:
        """Take money; asked again within a day under the same key, it is not taken twice."""

    def retrieve(self, charge: Charge) -> Outcome | None:
        """What became of a charge, however old; None if the processor never heard of it."""

    def cancel(self, charge: Charge) -> Outcome:
        """See to it that this charge takes no money from now on, even if its request is still on
        its way; `Declined` if it took none, and what it came to if it was too late.
        """

    def refund(self, repayment: Repayment) -> Outcome:
        """Give money back; the same key never gives it twice, however old it is."""

    def close(self) -> None:
        """Give back every connection."""
