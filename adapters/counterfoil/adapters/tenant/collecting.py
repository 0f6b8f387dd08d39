"""Collecting what is due from customers who are charged automatically."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from counterfoil.adapters.desk import VersionDiffers
from counterfoil.adapters.tenant.asking import settle
from counterfoil.adapters.tenant.documents import Documents
from counterfoil.adapters.tenant.outcomes import PaymentOutcome
from counterfoil.adapters.tenant.settling import WAITING_S, Settling
from counterfoil.domain.errors import CounterfoilError, Malformed, Rejected
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
    it was too early; `error` when it could not be done, or not even be known.
    """

    invoice: Invoice
    step: Step | None
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
                try:
                    done = self._collect(invoice, at, schedule, give_up=give_up, dry_run=dry_run)
                except CounterfoilError as error:
                    done = Collected(invoice, None, error=error)
                yield done

    def _collect(
        self,
        invoice: Invoice,
        at: datetime,
        schedule: Schedule,
        *,
        give_up: bool,
        dry_run: bool,
    ) -> Collected:
        recorded = self._recorded(invoice.id)
        step = collecting.next_step(recorded, schedule, at, self._house.timezone)
        if dry_run:
            return Collected(invoice, step)
        version = recorded[-1].envelope.version
        method = None
        if isinstance(step, Collect):
            method = self._house.processor.default_payment_method(invoice.customer.id)
            if method is None or method == step.not_with:
                why = "no_payment_method" if method is None else "no_other_payment_method"
                is_over = step.ends is not None and step.ends <= at
                step = GiveUp(step.attempt - 1) if is_over else Nothing(why)
        try:
            return self._do(invoice, step, method, version, give_up=give_up)
        except (Rejected, VersionDiffers):  # somebody else has decided on it in this very moment
            return Collected(self.get_invoice(invoice.id), Nothing("changed_meanwhile"))

    def _do(
        self, invoice: Invoice, step: Step, method: str | None, version: int, *, give_up: bool
    ) -> Collected:
        outcome, after = None, invoice
        match step:
            case Collect():
                outcome = self.pay_invoice(
                    invoice.id, payment_method=method, expected_version=version
                )
            case Settle(payment=payment, since=since):
                # Whatever time it is said to be, a request that has just begun may be on its way.
                if self._house.clock() - since >= timedelta(seconds=WAITING_S):
                    outcome = self._bring(invoice.id, PaymentId(payment), settle)
            case GiveUp(attempts=attempts) if give_up:
                reason = f"payments refused: {attempts}"
                after = self.mark_uncollectible(invoice.id, reason=reason, expected_version=version)
            case _:
                pass
        return Collected(after if outcome is None else outcome.invoice, step, outcome)

    def _moment(self, now: datetime | None) -> datetime:
        at = self._house.clock() if now is None else now
        if at.tzinfo is None:
            raise Malformed("now", "must be a time with a time zone")
        return at
