"""What may come of asking a processor for money, as the front door tells it.

`unwrap` returns the invoice only when the money came. Each other outcome is an error as well, which
`unwrap` raises, so that a caller may look at it or catch it, under the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from counterfoil.domain import errors
from counterfoil.domain.ports import Intent
from counterfoil.projections.invoice import Invoice


@dataclass(frozen=True, slots=True)
class Paid:
    """The money came. A part of what was owed leaves the invoice open."""

    invoice: Invoice

    def unwrap(self) -> Invoice:
        """The invoice."""
        return self.invoice


class ActionRequired(errors.ActionRequired):
    """The payer must confirm: give them the intent. Nothing is paid yet."""

    __match_args__ = ("invoice", "intent")
    intent: Intent

    def __init__(self, invoice: Invoice, intent: Intent) -> None:
        super().__init__(intent)
        self.invoice = invoice

    def unwrap(self) -> NoReturn:
        """Raise it."""
        raise self


class Declined(errors.PaymentDeclined):
    """The processor refused; the invoice is as open as it was."""

    __match_args__ = ("invoice", "error")

    def __init__(self, invoice: Invoice, error: errors.PaymentDeclined) -> None:
        super().__init__(error.code, error.message, retryable=error.retryable)
        self.invoice = invoice
        self.error = error

    def unwrap(self) -> NoReturn:
        """Raise it."""
        raise self


class Processing(errors.PaymentPending):
    """The processor does not know yet, as with a bank debit, which takes days."""

    __match_args__ = ("invoice", "payment")

    def __init__(self, invoice: Invoice, payment: str) -> None:
        super().__init__(payment)
        self.invoice = invoice

    def unwrap(self) -> NoReturn:
        """Raise it."""
        raise self


PaymentOutcome = Paid | ActionRequired | Declined | Processing
