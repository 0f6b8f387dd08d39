"""What became of payments and refunds whose answer never came: a process was killed, a network cut,
a bank took days?
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from counterfoil.adapters.tenant.asking import issued_of, settle
from counterfoil.adapters.tenant.outcomes import ActionRequired, Declined, Paid, Processing
from counterfoil.adapters.tenant.refunding import Refunding
from counterfoil.domain.errors import CounterfoilError, Malformed, PaymentDeclined
from counterfoil.domain.value import PaymentId, RefundId
from counterfoil.projections.payments import Payments, Unsettled

# A request that is younger may still be on its way, in a process that waits for its answer.
WAITING_S = 600.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a payment or refund now: "succeeded", "failed", "requires_action" or
    "processing"; or `error`, when nobody could be asked.
    """

    invoice: str
    id: str
    status: str | None
    error: CounterfoilError | None = None


class Settling(Refunding):
    """Payments and refunds in progress."""

    payments: Payments

    def settle_payments(self, *, waiting_s: float = WAITING_S) -> Iterator[Settled]:
        """Ask what became of every payment and refund that has waited so long for its outcome, and
        take it in; a payment that the processor never heard of is withdrawn. One that cannot be
        asked stops no other.
        """
        if type(waiting_s) not in {int, float} or not 0 <= waiting_s < 10**9:
            raise Malformed("waiting_s", "must be a number of seconds")
        before = self._house.clock() - timedelta(seconds=waiting_s)
        return map(self._settle, self.payments.unsettled(before=before))

    def _settle(self, one: Unsettled) -> Settled:
        try:
            status = self._refund(one) if one.is_refund else self._payment(one)
        except CounterfoilError as error:
            return Settled(one.invoice, one.id, None, error)
        return Settled(one.invoice, one.id, status)

    def _payment(self, one: Unsettled) -> str:
        match self._bring(one.invoice, PaymentId(one.id), settle):
            case Paid():
                return "succeeded"
            case Declined():
                return "failed"
            case ActionRequired():
                return "requires_action"
            case Processing():
                return "processing"

    def _refund(self, one: Unsettled) -> str:
        refund = RefundId(one.id)
        with suppress(PaymentDeclined):
            self._bring_back(one.invoice, refund)
        issued = issued_of(self._recorded(one.invoice))
        if any(live.refund == refund for live in issued.refunding):
            return "processing"
        return "failed" if issued.refund(refund) is None else "succeeded"
