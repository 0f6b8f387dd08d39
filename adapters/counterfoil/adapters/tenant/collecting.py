"""Collecting what is due from customers who are charged automatically."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from counterfoil.adapters.tenant.asking import settle
from counterfoil.adapters.tenant.documents import Documents
from counterfoil.adapters.tenant.outcomes import PaymentOutcome
from counterfoil.adapters.tenant.settling import WAITING_S, Settling
from counterfoil.domain.errors import CounterfoilError, Malformed
from counterfoil.domain.invoice import collecting
from counterfoil.domain.invoice.collecting import (
    Collect,
    GiveUp,
    Nothing,
    Schedule,
    Settle,
    Step,
)
from counterfoil.domain.invoice.events import CollectionMethod
from counterfoil.domain.value import PaymentId
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.invoices import Invoices

DAYS_1_3_5_7 = Schedule()


@dataclass(frozen=True, slots=True)
class Collected:
    """What was to be done about an invoice, and what came of it: nothing yet in a dry run, or when
    it was too early.
    """

    invoice: Invoice
    step: Step
    outcome: PaymentOutcome | None = None
    error: CounterfoilError | None = None


class Collecting(Settling, Documents):
    """Payments that nobody asks for one by one."""

    invoices: Invoices

    def next_collection_step(
        self, invoice: str, *, now: datetime | None = None, schedule: Schedule = DAYS_1_3_5_7
    ) -> Step:
        """What is to be done next, so that an invoice is paid."""
        at = self._moment(now)
        return collecting.next_step(self._recorded(invoice), schedule, at, self._house.timezone)

    def collect_payments(
        self,
        *,
        now: datetime | None = None,
        schedule: Schedule = DAYS_1_3_5_7,
        give_up: bool = False,
        dry_run: bool = False,
    ) -> Iterator[Collected]:
        """Do what is to be done about every open invoice that is charged automatically: charge it
        when it is due, again after a refusal as the schedule says, and ask what became of payments
        without an answer. With `give_up`, mark as uncollectible what was tried often enough.

        One invoice that cannot be collected stops no other. Two runs at once charge nothing twice.
        """
        at = self._moment(now)
        for invoice in self.invoices.all(status="open"):
            if invoice.collection_method is CollectionMethod.CHARGE_AUTOMATICALLY:
                recorded = self._recorded(invoice.id)
                step = collecting.next_step(recorded, schedule, at, self._house.timezone)
                if dry_run:
                    yield Collected(invoice, step)
                    continue
                version = recorded[-1].envelope.version
                try:
                    yield self._do(invoice, step, version, at, give_up=give_up)
                except CounterfoilError as error:
                    yield Collected(invoice, step, error=error)

    def _do(
        self, invoice: Invoice, step: Step, version: int, at: datetime, *, give_up: bool
    ) -> Collected:
        outcome = None
        match step:
            case Collect(not_with=refused):
                method = self._house.processor.default_payment_method(invoice.customer.id)
                if method is None or method == refused:
                    why = "no_payment_method" if method is None else "no_other_payment_method"
                    return Collected(invoice, Nothing(why))
                # Whoever decided on the same version at the same time is refused here.
                outcome = self.pay_invoice(
                    invoice.id, payment_method=method, expected_version=version
                )
            case Settle(payment=payment, since=since):
                if at - since >= timedelta(seconds=WAITING_S):
                    outcome = self._bring(invoice.id, PaymentId(payment), settle)
            case GiveUp(attempts=attempts) if give_up:
                reason = f"{attempts} payments were refused"
                self.mark_uncollectible(invoice.id, reason=reason, expected_version=version)
        shown = invoice if outcome is None else outcome.invoice
        return Collected(shown, step, outcome)

    def _moment(self, now: datetime | None) -> datetime:
        at = self._house.clock() if now is None else now
        if at.tzinfo is None:
            raise Malformed("now", "must be a time with a time zone")
        return at
