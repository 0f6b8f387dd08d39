"""Everything that Counterfoil may raise, on one screen.

CounterfoilError
├─ Rejected(reason, **facts)   the domain said no: expected, never retried
├─ Conflict                    someone wrote first and went on doing so
├─ NotFound                    no such document
├─ Malformed(field, problem)   input that is not a command
├─ ActionRequired(intent)      the payer must act (strong customer authentication)
├─ PaymentDeclined(code, …)    the processor refuses to move money
├─ PaymentPending              the processor does not know yet
├─ ProcessorNotConfigured      no processor, another one, or it does not let us in
├─ CorruptHistory              stored bytes do not parse, a chain is broken: stop
├─ AppendOnly                  the store refused to change or delete what is stored
├─ SchemaMissing · SchemaTooNew
├─ RebuildNeeded(names)        read models are those of another version
├─ PdfDisabled · EngineUnavailable · RenderFailed
├─ StorageNotConfigured · ObjectNotFound · IntegrityFailed
└─ Unavailable                 a store, a bucket or a processor is down; may be retried
   └─ RateLimited(retry_after_s)
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why the domain said no. Public and stable; the order is the order of the checks."""

    ALREADY_EXISTS = "already_exists"
    DISCARDED = "discarded"
    IS_DRAFT = "is_draft"
    ALREADY_FINALIZED = "already_finalized"
    ALREADY_PAID = "already_paid"
    IS_VOID = "is_void"
    IS_UNCOLLECTIBLE = "is_uncollectible"
    OUTDATED = "outdated"
    LINE_EXISTS = "line_exists"
    NO_SUCH_LINE = "no_such_line"
    TOO_MANY_LINES = "too_many_lines"
    NO_LINES = "no_lines"
    CURRENCY_MISMATCH = "currency_mismatch"
    TOO_PRECISE = "too_precise"
    DISCOUNT_EXCEEDS_LINE = "discount_exceeds_line"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    NEGATIVE_TOTAL = "negative_total"
    DUE_BEFORE_ISSUE = "due_before_issue"
    PAYMENT_EXCEEDS_REMAINING = "payment_exceeds_remaining"
    PAYMENT_IN_PROGRESS = "payment_in_progress"
    PAYMENT_EXISTS = "payment_exists"
    NO_SUCH_PAYMENT = "no_such_payment"
    PAYMENT_ENDED = "payment_ended"
    MONEY_RECEIVED = "money_received"
    CREDIT_NOTE_LIVES = "credit_note_lives"
    NO_SUCH_REFUND = "no_such_refund"
    REFUND_EXISTS = "refund_exists"
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    NO_SUCH_CREDIT_NOTE = "no_such_credit_note"
    CREDIT_EXCEEDS_LINE = "credit_exceeds_line"
    CREDIT_EXCEEDS_GROUP = "credit_exceeds_group"
    CREDIT_EXCEEDS_INVOICE = "credit_exceeds_invoice"
    NOTHING_TO_CREDIT = "nothing_to_credit"
    SPLIT_MISMATCH = "split_mismatch"
    SERIES_DIFFERS = "series_differs"
    ISSUE_DATE_BACKWARDS = "issue_date_backwards"


_SAYS: dict[Reason, str] = {
    Reason.ALREADY_EXISTS: "{id} exists already; choose another id",
    Reason.DISCARDED: "the draft was deleted; start a new one",
    Reason.IS_DRAFT: "the invoice is still a draft; finalize it first",
    Reason.ALREADY_FINALIZED: "the invoice is {number} and can no longer change; "
    "correct it with a credit note",
    Reason.ALREADY_PAID: "the invoice is paid; correct it with a credit note",
    Reason.IS_VOID: "the document is void; nothing can be done with it any more",
    Reason.IS_UNCOLLECTIBLE: "the invoice was given up as uncollectible; it may be paid or voided",
    Reason.OUTDATED: "something newer is known, from {known}; this is from {given}",
    Reason.LINE_EXISTS: "line {line} exists in this invoice; choose another id",
    Reason.NO_SUCH_LINE: "there is no line {line}",
    Reason.TOO_MANY_LINES: "an invoice holds at most {limit} lines",
    Reason.NO_LINES: "an invoice without lines cannot be finalized; add one",
    Reason.CURRENCY_MISMATCH: "{field} is in {given}, this document in {expected}; "
    "two currencies never add",
    Reason.TOO_PRECISE: "{field} {given} has more decimals than {currency} has ({exponent})",
    Reason.DISCOUNT_EXCEEDS_LINE: "the discount of {discount} exceeds the line's {amount} "
    "(minor units)",
    Reason.AMOUNT_OUT_OF_RANGE: "{field} would pass {limit} minor units, "
    "the most that every store can hold",
    Reason.NEGATIVE_TOTAL: "the total is {total} (minor units); "
    "an invoice is not negative, issue a credit note instead",
    Reason.DUE_BEFORE_ISSUE: "due_date {due_on} is before the issue date {issued_on}",
    Reason.PAYMENT_IN_PROGRESS: "payment {payment} is still in progress; "
    "settle it, cancel it, or wait for its outcome",
    Reason.PAYMENT_EXCEEDS_REMAINING: "only {left} (minor units) are left to pay",
    Reason.PAYMENT_EXISTS: "payment {payment} exists with other content; choose another id",
    Reason.NO_SUCH_PAYMENT: "there is no payment {payment}",
    Reason.PAYMENT_ENDED: "payment {payment} has ended already, otherwise than this says",
    Reason.MONEY_RECEIVED: "{received} (minor units) were received; "
    "correct the invoice with a credit note instead",
    Reason.CREDIT_NOTE_LIVES: "credit note {credit_note} stands against it; void that one first",
    Reason.NO_SUCH_REFUND: "there is no refund {refund}",
    Reason.REFUND_EXISTS: "refund {refund} exists with other content; choose another id",
    Reason.REFUND_EXCEEDS_PAYMENT: "at most {left} (minor units) of payment {payment} "
    "can still be refunded",
    Reason.NO_SUCH_CREDIT_NOTE: "no credit note {credit_note} stands against this invoice",
    Reason.CREDIT_EXCEEDS_LINE: "at most {left} of line {line} can still be credited",
    Reason.CREDIT_EXCEEDS_GROUP: "at most {left} (minor units, without tax) at {rate} % "
    "can still be credited",
    Reason.CREDIT_EXCEEDS_INVOICE: "at most {left} (minor units) of the invoice "
    "can still be credited",
    Reason.NOTHING_TO_CREDIT: "a credit note gives back more than 0; this one would give {total}",
    Reason.SPLIT_MISMATCH: "{after_payment} (minor units) are credited after payment, but refund, "
    "customer credit and out of band add up to {given}",
    Reason.SERIES_DIFFERS: "series {series} was opened with other settings; "
    "a change of format needs a series of its own",
    Reason.ISSUE_DATE_BACKWARDS: "{issued_on} is before {last}, the date of number {number}; "
    "dates in a series never go back",
}


class CounterfoilError(Exception):
    """The root of the tree. Every error can be copied, and sent to another process."""

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[CounterfoilError], said: tuple[object, ...], state: dict[str, object]
) -> CounterfoilError:
    error = kind.__new__(kind)
    error.args = said
    error.__dict__.update(state)
    return error


class Rejected(CounterfoilError):
    """The domain said no. `reason` is for programs, `facts` are what it was judged by."""

    def __init__(self, reason: Reason, **facts: object) -> None:
        self.reason = reason
        self.facts = facts
        super().__init__(_SAYS[reason].format_map(facts))


class Conflict(CounterfoilError):
    """Someone wrote first, every time; load again and ask again."""


class NotFound(CounterfoilError):
    """There is no such document."""

    def __init__(self, kind: str, name: str | None = None) -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"there is no {kind} {name}" if name else f"there is no such {kind}")


class Malformed(CounterfoilError):
    """Input that is not a command. `field` names the first problem, `problems` all of them."""

    def __init__(self, field: str, problem: str, *more: tuple[str, str]) -> None:
        self.field = field
        self.problem = problem
        self.problems = ((field, problem), *more)
        super().__init__("; ".join(f"{name}: {text}" for name, text in self.problems))


class ActionRequired(CounterfoilError):
    """The payer must act before the money moves; `intent` is what to show them."""

    def __init__(self, intent: object) -> None:
        self.intent = intent
        super().__init__("the payer must confirm this payment; hand them the intent")


class PaymentDeclined(CounterfoilError):
    """The processor refuses; `retryable` says whether it may agree later."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        self.code = code
        self.message = message
        self.retryable = retryable
        super().__init__(f"the payment was declined ({code}): {message}")


class PaymentPending(CounterfoilError):
    """The processor does not know yet whether money will move; it is asked again by settling."""

    def __init__(self, payment: str) -> None:
        self.payment = payment
        super().__init__(f"payment {payment} is still being processed; settle it later")


class ProcessorNotConfigured(CounterfoilError):
    """No processor is configured, it is not the one of this payment, or it does not let us in."""


class CorruptHistory(CounterfoilError):
    """Stored history cannot be true: stop, and look at this stream and position."""

    def __init__(self, problem: str, *, stream: str, position: int | None = None) -> None:
        self.stream = stream
        self.position = position
        where = stream if position is None else f"{stream}, position {position}"
        super().__init__(f"{problem} ({where})")


class AppendOnly(CounterfoilError):
    """The store refused to change or delete what is stored."""


class SchemaMissing(CounterfoilError):
    """The database has no schema, or an old one: `counterfoil init` makes it."""


class SchemaTooNew(CounterfoilError):
    """The database was made by a newer Counterfoil; use that one, or a newer one still."""


class RebuildNeeded(CounterfoilError):
    """Read models were made by another version of their projections; `command` makes them anew."""

    def __init__(self, problem: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.command = f"counterfoil projections rebuild {' '.join(names)}"
        super().__init__(f"{problem}; run `{self.command}`")


class PdfDisabled(CounterfoilError):
    """No PDF engine is wanted here; link to the invoice instead. Asking again changes nothing."""

    def __init__(self, reason: str, docs: str) -> None:
        self.reason = reason
        self.docs = docs
        super().__init__(f"no PDF is made here ({reason}); see {docs}")


class EngineUnavailable(CounterfoilError):
    """The PDF engine misses something of the system; the message names the packages."""


class RenderFailed(CounterfoilError):
    """The engine could not make this document."""


class StorageNotConfigured(CounterfoilError):
    """No document store is configured, or it does not let us in; the message says what to set."""


class ObjectNotFound(CounterfoilError):
    """The document store holds nothing under this key."""


class IntegrityFailed(CounterfoilError):
    """Stored bytes are not the bytes whose SHA-256 was recorded."""


class Unavailable(CounterfoilError):
    """A store, a bucket or a processor is down; asking again later may work."""


class RateLimited(Unavailable):
    """We asked too much; `retry_after_s` is how long to wait, where that was said."""

    def __init__(self, problem: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(problem)
