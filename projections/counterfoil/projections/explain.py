"""Why is an amount what it is? The facts and the rules that make it, step by step, worked out anew.

Nothing here asks the domain for a sum: lines are priced, discounts spread and taxes rounded by
arithmetic of its own, from what the facts say was agreed. Where that does not come to what is
stored, the explanation says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import floor
from typing import get_args

from counterfoil.domain.envelope import Recorded
from counterfoil.domain.errors import NotFound
from counterfoil.domain.invoice import events
from counterfoil.domain.invoice.events import InvoiceEvent
from counterfoil.domain.line import Discount, Line
from counterfoil.domain.money import scale
from counterfoil.domain.tax import Tax, TaxRounding
from counterfoil.projections import words
from counterfoil.projections.invoice import AmountName, Invoice, View, view_invoice
from counterfoil.projections.paging import one_of

AMOUNTS: tuple[str, ...] = get_args(AmountName)

RULES: Mapping[str, str] = {
    "BT-131": "line net = quantity × unit price − discount of the line, less the tax in it; "
    "rounded are the discount, that tax and what is left",
    "BR-CO-10": "subtotal = sum of the line nets",
    "BR-CO-13": "what is taxed = subtotal − discount; the discount is spread over what is taxed "
    "alike by largest remainder, so that the parts sum to it",
    "BR-CO-17": "tax of a group = its taxable amount × rate, rounded once a group",
    "per_line": "tax is rounded on every line, as was chosen for this invoice instead of BR-CO-17",
    "BR-CO-14": "tax = sum of the tax of all groups",
    "BT-114": "prices contain the tax: net and tax derive from what a group comes to with tax, and "
    "what the rounded line nets leave over is `rounding`",
    "BR-CO-15": "total = subtotal − discount + tax + rounding",
    "BR-CO-16": "due = total − credited before payment; remaining = due − paid",
    "R2": "halves are rounded away from zero",
}


class Step(View):
    """One step: what is worked out, what it comes to in minor units, by which rule, and from which
    versions of the invoice.
    """

    says: str
    amount: int
    rule: str
    versions: tuple[int, ...] = ()


class Source(View):
    """A fact that an amount rests on."""

    version: int
    position: int
    type: str
    says: str


class Rule(View):
    """A rule by which an amount is made; the names are those of EN 16931 where it has one."""

    name: str
    says: str


class Explanation(View):
    """An amount of an invoice: as it is stored, as it is worked out anew, and how."""

    invoice: str
    number: str | None
    amount: str
    currency: str
    stored: int
    recomputed: int
    agrees: bool
    steps: tuple[Step, ...]
    facts: tuple[Source, ...]
    rules: tuple[Rule, ...]


def explained(facts: Sequence[Recorded[InvoiceEvent]], name: str) -> Explanation:
    """Why an amount of the invoice that these facts make is what it is."""
    one_of("amount", name, AMOUNTS)
    invoice = view_invoice(facts)
    if invoice is None:
        raise NotFound("invoice", facts[0].envelope.stream)
    books = _Books(invoice, facts)
    recomputed = books.work_out(name)
    stored: int = getattr(invoice, name)
    used = {version for step in books.steps for version in step.versions}
    rules = dict.fromkeys((*(step.rule for step in books.steps), "R2"))
    return Explanation(
        invoice=invoice.id,
        number=invoice.number,
        amount=name,
        currency=invoice.currency,
        stored=stored,
        recomputed=recomputed,
        agrees=stored == recomputed,
        steps=tuple(books.steps),
        facts=tuple(_source(one, invoice) for one in facts if one.envelope.version in used),
        rules=tuple(Rule(name=rule, says=RULES[rule]) for rule in rules),
    )


def _source(told: Recorded[InvoiceEvent], invoice: Invoice) -> Source:
    envelope = told.envelope
    return Source(
        version=envelope.version,
        position=envelope.position,
        type=envelope.type,
        says=words.sentence(told.fact, invoice.currency),
    )


@dataclass(frozen=True, slots=True)
class _Agreed:
    """A line as the facts agreed it, what it comes to, and the version that says so."""

    line: Line
    version: int
    amount: int
    net: int


@dataclass(frozen=True, slots=True)
class _Group:
    """What tax is rounded on at once."""

    tax: Tax
    lines: Sequence[_Agreed]
    reduction: int

    @property
    def versions(self) -> tuple[int, ...]:
        return tuple(agreed.version for agreed in self.lines)

    @property
    def left(self) -> int:
        return sum(agreed.amount for agreed in self.lines) - self.reduction

    @property
    def amount(self) -> int:
        return _contained(self.tax, self.left) if self.tax.inclusive else _added(self)

    @property
    def discount(self) -> int:
        """The part of the reduction that is no tax."""
        return self.reduction - (_contained(self.tax, self.reduction) if self.tax.inclusive else 0)


def _added(group: _Group) -> int:
    return _percent(Decimal(group.left), group.tax.rate)


class _Books:
    """Works out the amounts of one invoice, and writes down how."""

    def __init__(self, invoice: Invoice, facts: Sequence[Recorded[InvoiceEvent]]) -> None:
        self.steps: list[Step] = []
        self._currency = invoice.currency
        self._facts = facts
        self._per_line = invoice.tax_rounding is TaxRounding.PER_LINE
        self._lines, self._discount, self._begun = _agreed(facts, invoice.currency)
        self._groups = [*self._grouped()]
        self._known: dict[str, int] = {}

    def work_out(self, name: str) -> int:
        """An amount, after whatever it rests on."""
        if name not in self._known:
            self._known[name] = self._BY_NAME[name](self)
        return self._known[name]

    def _step(self, says: str, amount: int, rule: str, *versions: int) -> int:
        said = f"{says} = {words.money(amount, self._currency)}"
        self.steps.append(Step(says=said, amount=amount, rule=rule, versions=versions))
        return amount

    # --- the document -----------------------------------------------------------------------

    def _subtotal(self) -> int:
        for agreed in self._lines:
            line = agreed.line
            less = f" − {words.discount(line.discount, self._currency)}" if line.discount else ""
            of = f"{words.named(line)}: {line.quantity:f} × {line.unit_price:f}{less}"
            if line.tax.inclusive:
                of += f" − the {line.tax.rate.normalize():f} % tax in it"
            self._step(of, agreed.net, "BT-131", agreed.version)
        nets = [agreed.net for agreed in self._lines]
        return self._step(_sum("subtotal", nets, self._currency), sum(nets), "BR-CO-10")

    def _total_discount(self) -> int:
        if self._discount is None:
            return self._step("discount: none was given", 0, "BR-CO-13")
        given, version = self._discount
        said = words.discount(given, self._currency)
        for group in self._groups:
            of = f"of {said}, the part of {self._name(group)}"
            self._step(of, group.discount, "BR-CO-13", version, *group.versions)
        parts = [group.discount for group in self._groups]
        return self._step(_sum("discount", parts, self._currency), sum(parts), "BR-CO-13", version)

    def _tax(self) -> int:
        self.work_out("subtotal")
        if self._discount is not None:
            self.work_out("total_discount")
        for group in self._groups:
            left, rate = words.money(group.left, self._currency), f"{group.tax.rate.normalize():f}"
            if group.tax.inclusive:
                how, rule = f"{left} × {rate} / (100 + {rate})", "BT-114"
            else:
                how, rule = f"{left} × {rate} %", "per_line" if self._per_line else "BR-CO-17"
            said = f"tax on {self._name(group)}: {how}"
            self._step(said, group.amount, rule, self._begun, *group.versions)
        parts = [group.amount for group in self._groups]
        return self._step(_sum("tax", parts, self._currency), sum(parts), "BR-CO-14")

    def _rounding(self) -> int:
        return self.work_out("total") - self._before_rounding()

    def _before_rounding(self) -> int:
        subtotal, reduced = self.work_out("subtotal"), self.work_out("total_discount")
        return subtotal - reduced + self.work_out("tax")

    def _total(self) -> int:
        before = self._before_rounding()
        total = sum(
            group.left if group.tax.inclusive else group.left + group.amount
            for group in self._groups
        )
        if total != before:
            self._step(
                "rounding: what was agreed with tax, less the above", total - before, "BT-114"
            )
        finalized = [one.envelope.version for one in self._facts if isinstance(one.fact, _DOCUMENT)]
        parts = [self.work_out(name) for name in ("subtotal", "total_discount", "tax")]
        subtotal, reduced, tax = (words.money(part, self._currency) for part in parts)
        rounding = f" + {words.money(total - before, self._currency)}" if total != before else ""
        return self._step(
            f"total: {subtotal} − {reduced} + {tax}{rounding}", total, "BR-CO-15", *finalized
        )

    def _name(self, group: _Group) -> str:
        lines = ", ".join(words.named(agreed.line) for agreed in group.lines[:3])
        more = f" and {len(group.lines) - 3} more" if len(group.lines) > 3 else ""
        return f"{words.tax(group.tax)} ({lines}{more})"

    def _grouped(self) -> Iterator[_Group]:
        units: dict[object, list[_Agreed]] = {}
        for agreed in self._lines:
            alike = agreed.line.id if self._per_line else agreed.line.tax
            units.setdefault(alike, []).append(agreed)
        agreed_upon = [sum(agreed.amount for agreed in unit) for unit in units.values()]
        reduction = self._reduction(sum(agreed_upon))
        parts = _shares(reduction, agreed_upon)
        for unit, part in zip(units.values(), parts, strict=True):
            yield _Group(unit[0].line.tax, unit, part)

    def _reduction(self, agreed_upon: int) -> int:
        if self._discount is None:
            return 0
        given, _ = self._discount
        if given.percent is not None:
            return _percent(Decimal(agreed_upon), given.percent)
        wanted = _rounded((given.amount or Decimal()) * scale(self._currency))
        return min(wanted, max(agreed_upon, 0))

    # --- what became of it ------------------------------------------------------------------

    def _amount_due(self) -> int:
        total = self.work_out("total")
        credited = self.work_out("pre_payment_credit_notes_amount")
        said = f"due: {words.money(total, self._currency)}"
        return self._step(
            f"{said} − {words.money(credited, self._currency)}", total - credited, "BR-CO-16"
        )

    def _pre_payment(self) -> int:
        return self._credited("lowers what is due", lambda fact: fact.before_payment)

    def _post_payment(self) -> int:
        return self._credited(
            "goes back", lambda fact: fact.refund + fact.customer_credit + fact.out_of_band
        )

    def _amount_paid(self) -> int:
        paid = 0
        went: dict[str, events.PaymentRefunded] = {}
        for told in self._facts:
            match told.fact:
                case events.PaymentSucceeded() as fact:
                    counts = fact.amount - fact.surplus - fact.settled_before
                case events.PaymentRefunded() as fact:
                    went[fact.refund], counts = fact, -fact.reopened
                case events.RefundFailed(refund=refund) as fact if refund in went:  # it came back
                    counts = went.pop(refund).reopened - fact.surplus
                case events.InvoiceReconciled(settled=counts) if counts:
                    pass
                case _:
                    continue
            paid += counts
            version = told.envelope.version
            says = words.sentence(told.fact, self._currency).removesuffix(".")
            self._step(f"{says}; what counts", counts, "BR-CO-16", version)
        return self._step("paid: all of these", paid, "BR-CO-16")

    def _amount_remaining(self) -> int:
        due, paid = self.work_out("amount_due"), self.work_out("amount_paid")
        said = f"remaining: {words.money(due, self._currency)}"
        return self._step(f"{said} − {words.money(paid, self._currency)}", due - paid, "BR-CO-16")

    def _credited(self, what: str, part: Callable[[events.CreditApplied], int]) -> int:
        live: dict[str, tuple[events.CreditApplied, int]] = {}
        for told in self._facts:
            match told.fact:
                case events.CreditApplied() as fact:
                    live[fact.credit_note] = fact, told.envelope.version
                case events.CreditWithdrawn(credit_note=gone):
                    live.pop(gone, None)
                case _:
                    pass
        for note, (fact, version) in live.items():
            self._step(f"credit note {note}: what {what}", part(fact), "BR-CO-16", version)
        parts = [part(fact) for fact, _ in live.values()]
        return self._step(_sum(f"credited, {what}", parts, self._currency), sum(parts), "BR-CO-16")

    _BY_NAME: Mapping[str, Callable[[_Books], int]] = {
        "subtotal": _subtotal,
        "total_discount": _total_discount,
        "tax": _tax,
        "rounding": _rounding,
        "total": _total,
        "amount_due": _amount_due,
        "amount_paid": _amount_paid,
        "amount_remaining": _amount_remaining,
        "pre_payment_credit_notes_amount": _pre_payment,
        "post_payment_credit_notes_amount": _post_payment,
    }


_DOCUMENT = events.InvoiceFinalized


def _agreed(
    facts: Sequence[Recorded[InvoiceEvent]], currency: str
) -> tuple[Sequence[_Agreed], tuple[Discount, int] | None, int]:
    """The lines and the discount that the facts leave, and the version that began it all."""
    lines: dict[str, _Agreed] = {}
    discount: tuple[Discount, int] | None = None
    for told in facts:
        version = told.envelope.version
        match told.fact:
            case events.LineAdded(line=line) | events.LineChanged(line=line):
                lines[line.id] = _priced(line, version, currency)
            case events.LineRemoved(line=gone):
                lines.pop(gone, None)
            case events.DiscountSet(discount=given):
                discount = None if given is None else (given, version)
            case _:
                pass
    return [*lines.values()], discount, facts[0].envelope.version


def _priced(line: Line, version: int, currency: str) -> _Agreed:
    full = _EXACT.multiply(_EXACT.multiply(line.quantity, line.unit_price), scale(currency))
    discount = line.discount
    if discount is None:
        less = Decimal()
    elif discount.percent is not None:
        less = Decimal(_percent(full, discount.percent))
    else:
        less = ((discount.amount or Decimal()) * scale(currency)).copy_sign(full)
    amount = _rounded(_EXACT.subtract(full, less))
    if amount * full < 0:  # half a minor unit, with a whole one taken off
        amount = 0
    net = amount - _contained(line.tax, amount) if line.tax.inclusive else amount
    return _Agreed(line, version, amount, net)


# --- arithmetic -------------------------------------------------------------------------------

# More digits than a quantity, a price, a percentage and a sum of them have together.
_EXACT = Context(prec=100, rounding=ROUND_HALF_UP)


def _rounded(exact: Decimal) -> int:
    """Halves away from zero, which decimal calls up."""
    return int(exact.to_integral_value(ROUND_HALF_UP, _EXACT))


def _percent(of: Decimal, rate: Decimal) -> int:
    return _rounded(_EXACT.divide(_EXACT.multiply(of, rate), 100))


def _contained(tax: Tax, gross: int) -> int:
    return _rounded(_EXACT.divide(_EXACT.multiply(gross, tax.rate), 100 + tax.rate))


def _shares(whole: int, weights: Sequence[int]) -> list[int]:
    """Parts in proportion to the weights that sum to the whole: rounded down, and what is left
    over goes to the largest remainders, the first of equals first.
    """
    total = sum(weights)
    if total == 0:
        weights = [abs(weight) for weight in weights]
        total = sum(weights)
    if total == 0:
        return [whole, *([0] * (len(weights) - 1))] if weights else []
    exact = [Fraction(whole * weight, total) for weight in weights]
    parts = [floor(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda place: parts[place] - exact[place])
    for place in order[: whole - sum(parts)]:
        parts[place] += 1
    return parts


def _sum(what: str, parts: Sequence[int], currency: str) -> str:
    """A sum, written out while there is something to add and it is short."""
    if len(parts) > 6:
        return f"{what}: all {len(parts)} of these"
    written = " + ".join(words.money(part, currency) for part in parts)
    return f"{what}: {written}" if len(parts) > 1 else what
