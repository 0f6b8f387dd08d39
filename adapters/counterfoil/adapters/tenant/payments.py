"""A tenant's money: what came, and what an outsider says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Unpack

from counterfoil.adapters.desk import Call
from counterfoil.adapters.tenant.office import AmountGiven, Office, made
from counterfoil.domain.invoice import commands
from counterfoil.domain.value import PaymentId
from counterfoil.projections.invoice import Invoice


class Payments(Office):
    """Writes on payments."""

    def record_payment(
        self,
        invoice: str,
        *,
        amount: AmountGiven,
        reference: str | None = None,
        received_at: datetime | None = None,
        **call: Unpack[Call],
    ) -> Invoice:
        """Record money that came another way, partly or in full; a surplus is customer credit."""
        command = made(
            commands.RecordPayment,
            payment=PaymentId(self._new("py")),
            amount=amount,
            reference=reference,
            received_at=received_at,
        )
        said = {
            "invoice": invoice,
            "amount": amount,
            "reference": reference,
            "received_at": received_at,
        }
        return self._change("record_payment", invoice, said, lambda _: command, call)

    def reconcile_invoice(
        self,
        invoice: str,
        *,
        status: str,
        provider_event_id: str,
        occurred_at: datetime,
        provider: str = "external",
        **call: Unpack[Call],
    ) -> Invoice:
        """Take over what a canonical outsider says of an invoice; each of its events counts."""
        command = made(
            commands.ReconcileInvoice,
            status=status,
            provider=provider,
            provider_event=provider_event_id,
            occurred_at=occurred_at,
        )
        said: dict[str, object] = {"invoice": invoice, **dict(command)}
        return self._change("reconcile_invoice", invoice, said, lambda _: command, call)
