"""Which invoices do the tests of prints show: a seller, a buyer, and what the one sold the other?

All of it is said in full and stands still, so that a test can name each word it looks for.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.billing import Billing
from counterfoil.domain import Address, Customer, Discount, NewLine, Seller, Tax

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from counterfoil.billing import Branding, Invoice, Tenant
    from counterfoil.domain.ports import DocumentStore, PdfEngine

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DUE = date(2026, 4, 1)

SELLER = Seller(
    name="Nordlicht Werkzeuge GmbH",
    address=Address(
        line1="Speicherstraße 12",
        line2="Aufgang C",
        postal_code="20457",
        city="Hamburg",
        country="DE",
    ),
    tax_id="DE136695976",
    registration="HRB 148 322",
    email="rechnung@nordlicht.example",
    phone="+49 40 5550 1234",
    website="nordlicht.example",
    bank_name="Hamburger Volksbank",
    iban="DE89370400440532013000",
    bic="COBADEFFXXX",
)
BUYER = Customer(
    id="cus_4711",
    name="Analytical Engines Ltd",
    address=Address(
        line1="12 St James's Square",
        postal_code="SW1Y 4JH",
        city="London",
        state="Greater London",
        country="GB",
    ),
    tax_id="GB123456789",
    email="ada@engines.example",
    phone="+44 20 7946 0958",
)
SWISS = Seller(
    name="Alpenglühen AG",
    address=Address(line1="Bahnhofstrasse 7", postal_code="8001", city="Zürich", country="CH"),
    tax_id="CHE-123.456.788 MWST",
    iban="CH93 0076 2011 6238 5295 7",
)

STANDARD = Tax(rate="19")
REDUCED = Tax(rate="7")
REVERSE = Tax(
    rate="0", category="reverse_charge", exemption_reason="Steuerschuldnerschaft, § 13b UStG"
)
EXEMPT = Tax(rate="0", category="exempt", exemption_reason="§ 4 Nr. 21 UStG")

WORK = NewLine(description="Work", quantity="2", unit_price="50.00", tax=STANDARD)
# 221.63 + 90.00 at 19 %, 39.80 at 7 %, 1200.00 and 250.00 at 0 %, and 3.98 after 19 % from within.
LINES = (
    NewLine(
        description="Consulting on site",
        quantity="2.5",
        unit_price="98.50",
        tax=STANDARD,
        discount=Discount(percent="10"),
    ),
    NewLine(
        description="Torque wrench 20–100 Nm",
        quantity=1,
        unit_price="100.00",
        tax=STANDARD,
        discount=Discount(amount="10.00"),
    ),
    NewLine(description="Handbook, printed", quantity=2, unit_price="19.90", tax=REDUCED),
    NewLine(description="Remote support", quantity=12, unit_price="100.00", tax=REVERSE),
    NewLine(description="Training course", quantity=1, unit_price="250.00", tax=EXEMPT),
    NewLine(
        description="Data traffic per GB",
        quantity="1234.5",
        unit_price="0.003842",
        tax=Tax(rate="19", inclusive=True),
    ),
)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """The time."""
        return self.now


def counted() -> Callable[[str, datetime], str]:
    """Ids that say how many there were before."""
    numbers = count(1)
    return lambda prefix, _now: f"{prefix}_{next(numbers):06d}"


@contextmanager
def office(
    engine: PdfEngine | str | None = None,
    *,
    seller: Seller | None = SELLER,
    branding: Branding | None = None,
    documents: DocumentStore | None = None,
    clock: Clock | None = None,
) -> Iterator[Tenant]:
    """A tenant with an empty database in memory; unless said otherwise, prints are only recorded.

    The engine stays open: it is whoever made it who closes it.
    """
    printer = Borrowed(engine or RecordingEngine()) if not isinstance(engine, str) else engine
    with Billing.open(
        ":memory:",
        seller=seller,
        branding=branding,
        documents=documents or MemoryStore(),
        pdf=printer,
        clock=clock or Clock(),
        ids=counted(),
    ) as billing:
        yield billing.tenant("acme")


class Borrowed:
    """An engine that many billings share, so none of them may close it."""

    def __init__(self, engine: PdfEngine) -> None:
        self._engine = engine

    @property
    def fingerprint(self) -> str:
        """The engine's own."""
        return self._engine.fingerprint

    def render(self, sheet: Any) -> bytes:
        """Print by the engine."""
        return self._engine.render(sheet)

    def close(self) -> None:
        """Leave it open."""


def drafted(
    tenant: Tenant,
    lines: Sequence[NewLine] = LINES,
    *,
    customer: Customer = BUYER,
    currency: str = "EUR",
    **said: Any,
) -> Invoice:
    """A draft that is to be paid by bank until the 1st of April."""
    terms: dict[str, Any] = {"collection_method": "send_invoice", "due_date": DUE, **said}
    return tenant.draft_invoice(customer=customer, currency=currency, lines=tuple(lines), **terms)


def issued(tenant: Tenant, lines: Sequence[NewLine] = LINES, **said: Any) -> Invoice:
    """The same, finalized."""
    return tenant.finalize_invoice(drafted(tenant, lines, **said).id)


def many(number: int) -> tuple[NewLine, ...]:
    """So many lines, each told from all others by its text."""
    return tuple(
        NewLine(
            description=f"Item {each:05d}", quantity=1 + each % 7, unit_price="12.50", tax=STANDARD
        )
        for each in range(1, number + 1)
    )
