"""One example of every fact, with every field said: what the golden bytes were made of."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from counterfoil.domain.credit_note.events import (
    CreditNoteIssued,
    CreditNoteStored,
    CreditNoteVoided,
)
from counterfoil.domain.crediting import Credit, CreditedLine
from counterfoil.domain.invoice.events import (
    CollectionMethod,
    CreditApplied,
    CreditWithdrawn,
    DiscountSet,
    DocumentStored,
    DraftAmended,
    DraftDiscarded,
    InvoiceDrafted,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceSent,
    InvoiceVoided,
    LineAdded,
    LineChanged,
    LineRemoved,
    MarkedUncollectible,
    MetadataSet,
    News,
    PaidReason,
    PaymentActionRequired,
    PaymentAttempted,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    RefundAttempted,
    RefundFailed,
    Status,
    Terms,
)
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.numbering import DocumentKind
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.domain.series.events import NumberAssigned, SeriesOpened
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding
from counterfoil.domain.totals import TaxGroup, Totals
from counterfoil.domain.value import (
    CreditNoteId,
    Event,
    InvoiceId,
    LineId,
    PaymentId,
    RefundId,
)

NOON = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
INVOICE = InvoiceId("in_019a")
NOTE = CreditNoteId("cn_019a")
PAYMENT = PaymentId("py_019a")
REFUND = RefundId("re_1")
NEWS = News(provider_event="evt_0", occurred_at=NOON)
VAT = Tax(rate="19.00")
EXEMPT = Tax(
    rate="0", category=TaxCategory.EXEMPT, exemption_reason="§ 4 Nr. 11 UStG", inclusive=True
)
CUSTOMER = Customer(
    id="cus_1",
    name='Ada "Æ" 愛達 آدا & Söhne',
    address=Address(
        line1="14 rue de l'Exemple",
        line2="2e étage",
        postal_code="75002",
        city="Paris",
        state="Île-de-France",
        country="FR",
    ),
    tax_id="FR12345678901",
    email="ada@example.com",
    phone="+33 1 23 45 67 89",
    preferred_locale="fr",
    preferred_timezone="Europe/Paris",
)
SELLER = Seller(
    id="north",
    name="Northwind Studio GmbH",
    address=Address(line1="Beispielstraße 12", postal_code="10115", city="Berlin", country="DE"),
    tax_id="DE123456789",
    registration="HRB 12345",
    email="billing@northwind.example",
    phone="+49 30 1234567",
    website="https://northwind.example",
    bank_name="Beispielbank",
    iban="DE02120300000000202051",
    bic="BYLADEM1001",
)
TERMS = Terms(
    customer=CUSTOMER,
    seller=SELLER,
    collection_method=CollectionMethod.SEND_INVOICE,
    days_until_due=30,
    period_start=date(2026, 10, 1),
    period_end=date(2026, 10, 31),
    subscription="sub_1",
    description="October\nas agreed",
    footer="Thank you.",
)
LINE = Line(
    id=LineId("li_019a"),
    description="Consulting",
    quantity=Decimal("2.50"),
    unit_price=Decimal("98.5"),
    tax=VAT,
    discount=Discount(percent="10"),
    discounted=2463,
    amount=22162,
    net=22162,
)
GROUPS = (
    TaxGroup(tax=VAT, taxable=22162, amount=4211),
    TaxGroup(tax=EXEMPT, taxable=-100, amount=0),
)
CREDIT = Credit(
    lines=(CreditedLine(line=LineId("li_019a"), quantity=Decimal("0.5"), taxable=4432, tax=842),),
    groups=(TaxGroup(tax=VAT, taxable=4432, amount=842), TaxGroup(tax=EXEMPT, taxable=0, amount=0)),
    subtotal=4432,
    tax=842,
    total=5274,
)

FACTS: tuple[Event, ...] = (
    InvoiceDrafted(
        invoice=INVOICE,
        currency="EUR",
        tax_rounding=TaxRounding.PER_LINE,
        terms=TERMS,
        metadata={"order": "4711"},
    ),
    LineAdded(line=LINE),
    LineChanged(line=LINE),
    LineRemoved(line=LineId("li_019a")),
    DiscountSet(discount=Discount(amount="5.00")),
    DraftAmended(terms=TERMS),
    MetadataSet(metadata={"order": "4712", "colour": "blau"}),
    DraftDiscarded(),
    InvoiceFinalized(
        number="INV-2026-0001",
        series="north:invoice:main:2026",
        issued_on=date(2026, 11, 20),
        due_on=date(2026, 12, 20),
        seller=SELLER,
        customer=CUSTOMER,
        totals=Totals(
            subtotal=22062,
            discount=0,
            tax=4211,
            rounding=0,
            total=26273,
            tax_rounding=TaxRounding.PER_LINE,
            groups=GROUPS,
            bases=(22162, -100),
            line_taxes=(4211, 0),
        ),
    ),
    InvoiceSent(delivery="dlv_1", to="ada@example.com"),
    PaymentAttempted(
        payment=PAYMENT, amount=26273, processor="fake", payment_method="pm_card_visa"
    ),
    PaymentActionRequired(payment=PAYMENT, intent="pi_1", news=NEWS),
    PaymentFailed(
        payment=PAYMENT, code="card_declined", message="No funds.", retryable=True, news=NEWS
    ),
    PaymentSucceeded(
        payment=PAYMENT,
        amount=30000,
        surplus=3727,
        processor="fake",
        reference="ch_1",
        received_at=NOON,
        settled_before=5000,
        news=NEWS,
    ),
    InvoicePaid(reason=PaidReason.PAYMENT),
    RefundAttempted(payment=PAYMENT, refund=REFUND, amount=1000, reason="goodwill"),
    RefundFailed(
        payment=PAYMENT,
        refund=REFUND,
        code="account_closed",
        message="The account is closed.",
        surplus=400,
    ),
    PaymentRefunded(
        payment=PAYMENT,
        refund=REFUND,
        amount=1000,
        reopened=0,
        reason="goodwill",
        reference="SEPA 1",
    ),
    MarkedUncollectible(reason="insolvent"),
    InvoiceVoided(reason="sent to the wrong customer"),
    CreditApplied(
        credit_note=NOTE,
        credit=CREDIT,
        before_payment=5000,
        refund=100,
        customer_credit=100,
        out_of_band=74,
    ),
    CreditWithdrawn(credit_note=NOTE),
    InvoiceReconciled(
        status=Status.PAID,
        settled=26273,
        provider="stripe",
        provider_event="evt_1",
        occurred_at=NOON,
    ),
    DocumentStored(
        key="invoices/in_019a.pdf",
        sha256="ab" * 32,
        size=48213,
        options={"locale": "fr"},
        branding="cd" * 32,
        renderer="weasyprint 70.0",
        version=7,
    ),
    CreditNoteIssued(
        credit_note=NOTE,
        number="CN-2026-0001",
        series="north:credit_note:main:2026",
        issued_on=date(2026, 11, 21),
        invoice=INVOICE,
        invoice_number="INV-2026-0001",
        invoice_issued_on=date(2026, 11, 20),
        currency="EUR",
        seller=SELLER,
        customer=CUSTOMER,
        credit=CREDIT,
        before_payment=5000,
        refund=100,
        customer_credit=100,
        out_of_band=74,
        reason="half an hour too much",
    ),
    CreditNoteVoided(reason="issued twice"),
    CreditNoteStored(
        key="credit_notes/cn_019a.pdf",
        sha256="ab" * 32,
        size=31007,
        options={"archival": "True"},
        branding="cd" * 32,
        renderer="weasyprint 70.0",
        version=1,
    ),
    SeriesOpened(
        series="north:invoice:main:2026",
        kind=DocumentKind.INVOICE,
        seller="north",
        format="INV-{year}-{number:04d}",
        year=2026,
        first=1,
    ),
    NumberAssigned(
        place=1, number="INV-2026-0001", document="in_019a", issued_on=date(2026, 11, 20)
    ),
)

# What was written before a fact got more fields: `tests/golden/earlier` is read as these, for ever.
EARLIER: tuple[Event, ...] = (
    PaymentActionRequired(payment=PAYMENT, intent="pi_1"),
    PaymentFailed(payment=PAYMENT, code="card_declined", message="No funds.", retryable=True),
    PaymentSucceeded(
        payment=PAYMENT,
        amount=30000,
        surplus=3727,
        processor="fake",
        reference="ch_1",
        received_at=NOON,
    ),
)
