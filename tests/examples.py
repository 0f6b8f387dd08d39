"""The facts and commands that the domain's tests tell their stories with.

One invoice of 2 × 50.00 EUR at 19 %, which comes to 119.00. What a fact says is spelled out, not
computed; `test_facts` proves that the domain, asked for them, makes these very facts.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from counterfoil.domain.crediting import Credit, CreditedLine
from counterfoil.domain.invoice.commands import (
    ApplyCredit,
    AttemptPayment,
    AttemptRefund,
    ChangeLine,
    DraftInvoice,
    FailPayment,
    FailRefund,
    FinalizeInvoice,
    MarkUncollectible,
    ReconcileInvoice,
    RecordPayment,
    RefundPayment,
    RequirePaymentAction,
    SendInvoice,
    SucceedPayment,
    VoidInvoice,
    WithdrawCredit,
)
from counterfoil.domain.invoice.events import (
    CreditApplied,
    CreditWithdrawn,
    DocumentStored,
    DraftDiscarded,
    InvoiceDrafted,
    InvoiceEvent,
    InvoiceFinalized,
    InvoicePaid,
    InvoiceReconciled,
    InvoiceSent,
    InvoiceVoided,
    LineAdded,
    MarkedUncollectible,
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
from counterfoil.domain.line import Discount, Line, LineItem
from counterfoil.domain.money import Money
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.domain.tax import Tax, TaxRounding
from counterfoil.domain.totals import TaxGroup, Totals
from counterfoil.domain.value import CreditNoteId, InvoiceId, LineId, PaymentId, RefundId

Amount = Money | Decimal | int

ISSUED_ON = date(2026, 3, 1)
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)

INVOICE = InvoiceId("inv_1")
NUMBER = "INV-2026-0001"
SERIES = "default:invoice:main:2026"
VAT = Tax(rate="19")
CUSTOMER = Customer(
    id="cus_1", name="Ada GmbH", address=Address(city="Berlin", country="DE"), tax_id="DE123456789"
)
SELLER = Seller(name="Counterfoil Ltd", iban="DE89370400440532013000")
TERMS = Terms(customer=CUSTOMER)


# --- lines ----------------------------------------------------------------------------------


def item(
    id: str = "line_1",
    *,
    quantity: str = "2",
    unit_price: str = "50.00",
    tax: Tax = VAT,
    discount: Discount | None = None,
) -> LineItem:
    """One thing sold: two hours at 50.00 unless said otherwise."""
    return LineItem(
        id=LineId(id),
        description="Consulting",
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        tax=tax,
        discount=discount,
    )


def line(
    id: str = "line_1",
    *,
    amount: int = 10_000,
    quantity: str = "2",
    unit_price: str = "50.00",
    tax: Tax = VAT,
) -> Line:
    """A line as it is stored, with a price that excludes tax and no discount."""
    return Line(
        id=LineId(id),
        description="Consulting",
        quantity=Decimal(quantity),
        unit_price=Decimal(unit_price),
        tax=tax,
        discounted=0,
        amount=amount,
        net=amount,
    )


def change_line(id: str = "line_1", *, quantity: str) -> ChangeLine:
    """Make it another quantity."""
    return ChangeLine(line=item(id, quantity=quantity))


# --- the draft ------------------------------------------------------------------------------


def draft(
    *items: LineItem,
    terms: Terms = TERMS,
    currency: str = "EUR",
    discount: Discount | None = None,
) -> DraftInvoice:
    """Start the invoice with these lines."""
    return DraftInvoice(
        invoice=INVOICE, currency=currency, terms=terms, lines=items, discount=discount
    )


DRAFTED = InvoiceDrafted(
    invoice=INVOICE,
    currency="EUR",
    tax_rounding=TaxRounding.PER_GROUP,
    terms=TERMS,
    metadata={},
)
LINE_ADDED = LineAdded(line=line())
DISCARDED = DraftDiscarded()
STORED = DocumentStored(
    key="invoices/inv_1.pdf",
    sha256="a" * 64,
    size=9_000,
    options={},
    branding="b" * 64,
    renderer="weasyprint 70.0",
    version=1,
)

# --- the document ---------------------------------------------------------------------------

TOTALS = Totals(
    subtotal=10_000,
    discount=0,
    tax=1_900,
    rounding=0,
    total=11_900,
    tax_rounding=TaxRounding.PER_GROUP,
    groups=(TaxGroup(tax=VAT, taxable=10_000, amount=1_900),),
    bases=(10_000,),
)
FINALIZED = InvoiceFinalized(
    number=NUMBER,
    series=SERIES,
    issued_on=ISSUED_ON,
    due_on=None,
    seller=SELLER,
    customer=CUSTOMER,
    totals=TOTALS,
)
SENT = InvoiceSent(delivery="mail_1", to="ada@example.com")
NOTHING_DUE = InvoicePaid(reason=PaidReason.NOTHING_DUE)
MARKED_UNCOLLECTIBLE = MarkedUncollectible(reason="insolvent")
VOIDED = InvoiceVoided(reason="sent by mistake")

FINALIZE = FinalizeInvoice(number=NUMBER, series=SERIES, issued_on=ISSUED_ON, seller=SELLER)
SEND = SendInvoice(delivery="mail_1", to="ada@example.com")
VOID = VoidInvoice(reason="sent by mistake")
GIVE_UP = MarkUncollectible(reason="insolvent")

# --- payments -------------------------------------------------------------------------------


def attempt(payment: str = "pay_1", amount: Amount | None = None) -> AttemptPayment:
    """Say that the processor is about to be asked."""
    return AttemptPayment(
        payment=PaymentId(payment), amount=amount, processor="stripe", payment_method="pm_1"
    )


def attempted(payment: str = "pay_1", amount: int = 11_900) -> PaymentAttempted:
    """The processor was about to be asked."""
    return PaymentAttempted(
        payment=PaymentId(payment), amount=amount, processor="stripe", payment_method="pm_1"
    )


def told(provider_event: str = "evt_pay_1", occurred_at: datetime = NOON) -> News:
    """Which event of the processor told it."""
    return News(provider_event=provider_event, occurred_at=occurred_at)


def require_action(
    payment: str = "pay_1", intent: str = "pi_1", news: News | None = None
) -> RequirePaymentAction:
    """Say that the payer must confirm."""
    return RequirePaymentAction(payment=PaymentId(payment), intent=intent, news=news)


def action_required(
    payment: str = "pay_1", intent: str = "pi_1", news: News | None = None
) -> PaymentActionRequired:
    """The payer had to confirm."""
    return PaymentActionRequired(payment=PaymentId(payment), intent=intent, news=news)


def fail(
    payment: str = "pay_1", code: str = "card_declined", news: News | None = None
) -> FailPayment:
    """Say that the processor did not get the money."""
    return FailPayment(
        payment=PaymentId(payment),
        code=code,
        message="Your card was declined.",
        retryable=True,
        news=news,
    )


def failed(payment: str = "pay_1", news: News | None = None) -> PaymentFailed:
    """The processor did not get the money."""
    return PaymentFailed(
        payment=PaymentId(payment),
        code="card_declined",
        message="Your card was declined.",
        retryable=True,
        news=news,
    )


def succeed(
    payment: str = "pay_1", reference: str | None = "ch_1", news: News | None = None
) -> SucceedPayment:
    """Say that the processor has the money."""
    return SucceedPayment(payment=PaymentId(payment), reference=reference, news=news)


def succeeded(
    payment: str = "pay_1",
    amount: int = 11_900,
    *,
    surplus: int = 0,
    settled_before: int = 0,
    news: News | None = None,
) -> PaymentSucceeded:
    """The processor had the money."""
    return PaymentSucceeded(
        payment=PaymentId(payment),
        amount=amount,
        surplus=surplus,
        processor="stripe",
        reference="ch_1",
        settled_before=settled_before,
        news=news,
    )


def record(
    payment: str = "bank_1", amount: Amount = 11_900, reference: str | None = "wire"
) -> RecordPayment:
    """Say that money came by bank."""
    return RecordPayment(payment=PaymentId(payment), amount=amount, reference=reference)


def recorded(
    payment: str = "bank_1",
    amount: int = 11_900,
    *,
    surplus: int = 0,
    reference: str | None = "wire",
) -> PaymentSucceeded:
    """Money came by bank."""
    return PaymentSucceeded(
        payment=PaymentId(payment), amount=amount, surplus=surplus, reference=reference
    )


def refund(
    payment: str = "bank_1", refund: str = "ref_1", amount: Amount | None = None
) -> RefundPayment:
    """Say that money went back."""
    return RefundPayment(payment=PaymentId(payment), refund=RefundId(refund), amount=amount)


def refunded(
    payment: str = "bank_1", refund: str = "ref_1", *, amount: int, reopened: int
) -> PaymentRefunded:
    """Money went back."""
    return PaymentRefunded(
        payment=PaymentId(payment), refund=RefundId(refund), amount=amount, reopened=reopened
    )


def attempt_refund(
    payment: str = "bank_1", refund: str = "ref_1", amount: Amount | None = None
) -> AttemptRefund:
    """Say that the processor is about to be asked to give money back."""
    return AttemptRefund(payment=PaymentId(payment), refund=RefundId(refund), amount=amount)


def refund_attempted(
    payment: str = "bank_1", refund: str = "ref_1", *, amount: int
) -> RefundAttempted:
    """The processor was about to be asked to give money back."""
    return RefundAttempted(payment=PaymentId(payment), refund=RefundId(refund), amount=amount)


def fail_refund(refund: str = "ref_1", code: str = "account_closed") -> FailRefund:
    """Say that the processor did not give the money back."""
    return FailRefund(refund=RefundId(refund), code=code, message="The account is closed.")


def refund_failed(
    payment: str = "bank_1", refund: str = "ref_1", *, surplus: int = 0
) -> RefundFailed:
    """The processor did not give the money back, or it came back."""
    return RefundFailed(
        payment=PaymentId(payment),
        refund=RefundId(refund),
        code="account_closed",
        message="The account is closed.",
        surplus=surplus,
    )


ATTEMPTED = attempted()
ACTION_REQUIRED = action_required()
FAILED = failed()
SUCCEEDED = succeeded()
RECORDED = recorded()
PAID = InvoicePaid(reason=PaidReason.PAYMENT)
CREDITED = InvoicePaid(reason=PaidReason.CREDITED)

# --- credit notes against the invoice -------------------------------------------------------


def credit(
    credit_note: str = "cn_1",
    amount: Amount | None = None,
    *,
    refund: Amount | None = None,
    customer_credit: Amount | None = None,
    out_of_band: Amount | None = None,
) -> ApplyCredit:
    """Take back this much with its tax, or all that is left."""
    return ApplyCredit(
        credit_note=CreditNoteId(credit_note),
        amount=amount,
        refund=refund,
        customer_credit=customer_credit,
        out_of_band=out_of_band,
    )


def of_line(taxable: int, tax: int, *, quantity: str | None = None) -> Credit:
    """The figures of a credit that takes this much back of the one line."""
    return Credit(
        lines=(
            CreditedLine(
                line="line_1",
                taxable=taxable,
                quantity=None if quantity is None else Decimal(quantity),
            ),
        ),
        groups=(TaxGroup(tax=VAT, taxable=taxable, amount=tax),),
        subtotal=taxable,
        tax=tax,
        total=taxable + tax,
    )


def applied(
    credit_note: str = "cn_1",
    figures: Credit | None = None,
    *,
    before_payment: int = 0,
    refund: int = 0,
    customer_credit: int = 0,
    out_of_band: int = 0,
) -> CreditApplied:
    """A credit note stands; over the full 119.00 unless said otherwise."""
    return CreditApplied(
        credit_note=CreditNoteId(credit_note),
        credit=figures or FULL_CREDIT,
        before_payment=before_payment,
        refund=refund,
        customer_credit=customer_credit,
        out_of_band=out_of_band,
    )


def withdraw(credit_note: str = "cn_1") -> WithdrawCredit:
    """Take the credit note away again."""
    return WithdrawCredit(credit_note=CreditNoteId(credit_note))


FULL_CREDIT = of_line(10_000, 1_900)
HALF_CREDIT = of_line(5_000, 950)  # 59.50
HALF_CREDITED = applied(figures=HALF_CREDIT, before_payment=5_950)
WITHDRAWN = CreditWithdrawn(credit_note=CreditNoteId("cn_1"))

# --- a canonical outsider -------------------------------------------------------------------


def reconcile(
    status: Status, provider_event: str = "evt_1", occurred_at: datetime = NOON
) -> ReconcileInvoice:
    """Believe what the provider says of the invoice."""
    match status:
        case Status.OPEN | Status.PAID | Status.UNCOLLECTIBLE | Status.VOID:
            return ReconcileInvoice(
                status=status,
                provider="stripe",
                provider_event=provider_event,
                occurred_at=occurred_at,
            )
        case _:
            raise AssertionError(status)


def reconciled(
    status: Status,
    *,
    settled: int = 0,
    provider_event: str = "evt_1",
    occurred_at: datetime = NOON,
) -> InvoiceReconciled:
    """The provider said so."""
    return InvoiceReconciled(
        status=status,
        settled=settled,
        provider="stripe",
        provider_event=provider_event,
        occurred_at=occurred_at,
    )


# --- whole histories ------------------------------------------------------------------------

DRAFT: tuple[InvoiceEvent, ...] = (DRAFTED, LINE_ADDED)
OPEN: tuple[InvoiceEvent, ...] = (*DRAFT, FINALIZED)
PAID_UP: tuple[InvoiceEvent, ...] = (*OPEN, RECORDED, PAID)
GIVEN_UP: tuple[InvoiceEvent, ...] = (*OPEN, MARKED_UNCOLLECTIBLE)
VOIDED_UP: tuple[InvoiceEvent, ...] = (*OPEN, VOIDED)
