"""No engine: for services that link to their invoices, and never print them."""

from __future__ import annotations

from counterfoil.domain.errors import PdfDisabled
from counterfoil.domain.ports import Sheet

DOCS = "the README, under “Documents”"


class NullEngine:
    """Prints nothing and says so, each time."""

    @property
    def fingerprint(self) -> str:
        """Refuse: whoever called shows a link instead."""
        raise PdfDisabled("adapter_disabled", DOCS)

    def render(self, sheet: Sheet) -> bytes:
        """Refuse likewise."""
        raise PdfDisabled("adapter_disabled", DOCS)

    def close(self) -> None:
        """Nothing to give back."""
