"""What is other between two states of a document, in words: field, from, to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import Enum

from counterfoil.domain.credit_note.state import CreditNote
from counterfoil.domain.invoice.state import Discarded, Draft, Invoice, Issued
from counterfoil.domain.line import Line
from counterfoil.domain.totals import Totals, total
from counterfoil.domain.value import Value
from counterfoil.projections import words
from counterfoil.projections.invoice import View

State = Invoice | CreditNote | None
Facets = dict[str, str]


class Change(View):
    """A field of a document that was one thing and is another; None where there is nothing."""

    field: str
    was: str | None
    now: str | None

    def __str__(self) -> str:
        return f"{self.field}: {self.was or '–'} → {self.now or '–'}"


def changes(before: State, after: State) -> tuple[Change, ...]:
    """What a fact made other. The totals of a draft are no fact, and are left out."""
    if before is after:
        return ()
    return _changes(before, facets(before), after, facets(after))


def difference(before: State, after: State) -> tuple[Change, ...]:
    """All that is other between two states, with the totals that a draft would come to."""
    return _changes(before, _figured(before), after, _figured(after))


def _changes(before: State, said: Facets, after: State, says: Facets) -> tuple[Change, ...]:
    found = [*compared(said, says)]
    was, now = _draft(before), _draft(after)
    if now is not None:
        lines = was.lines if was else ()
        found += _lines(lines, now.lines, now.currency)
    return tuple(found)


def compared(was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Change]:
    """The facets that differ, in the order in which they are said."""
    for field in dict.fromkeys((*now, *was)):
        if was.get(field) != now.get(field):
            yield Change(field=field, was=was.get(field), now=now.get(field))


def facets(state: State) -> Facets:
    """All that a state says but its lines, field by field, in words."""
    match state:
        case None:
            return {}
        case Discarded(status=status):
            return {"status": status.value}
        case Draft():
            return {"status": state.status.value, **_drafted(state)}
        case Issued():
            return {**_issued(state), **_drafted(state.draft), **_money(state)}
        case CreditNote(document=document):
            return {
                "status": state.status.value,
                "number": document.number,
                "credited": words.money(document.credit.total, document.currency),
                **{f"print {one.key}": one.sha256 for one in state.prints},
            }


def _figured(state: State) -> Facets:
    if not isinstance(state, Draft):
        return facets(state)
    worked_out = total(state.lines, state.discount, state.currency, state.tax_rounding)
    return facets(state) | totals(worked_out, state.currency)


def totals(of: Totals, currency: str) -> Facets:
    """The figures of a document."""
    said = {"subtotal": of.subtotal, "discount": of.discount, "tax": of.tax}
    if of.rounding:
        said["rounding"] = of.rounding
    said["total"] = of.total
    return {name: words.money(minor, currency) for name, minor in said.items()}


def _draft(state: State) -> Draft | None:
    match state:
        case Draft():
            return state
        case Issued(draft=draft):
            return draft
        case _:
            return None


def _drafted(draft: Draft) -> Facets:
    return {
        "currency": draft.currency,
        **_terms(draft),
        **(
            {"discount given": words.discount(draft.discount, draft.currency)}
            if draft.discount
            else {}
        ),
        **{f"metadata {key}": value for key, value in draft.metadata.items()},
        **{f"print {one.key}": one.sha256 for one in draft.documents},
    }


def _terms(draft: Draft) -> Facets:
    found: Facets = {"tax rounding": draft.tax_rounding.value}
    _flat("", draft.terms, found)
    return found


def _flat(above: str, value: Value, found: Facets) -> None:
    """The leaves of a value, each by its path: `customer address city`."""
    for field in type(value).model_fields:
        part = getattr(value, field)
        name = f"{above} {field}".strip().replace("_", " ")
        match part:
            case None:
                pass
            case Value():
                _flat(name, part, found)
            case Enum():
                found[name] = str(part.value)
            case date():
                found[name] = part.isoformat()
            case _:
                found[name] = str(part)


def _issued(invoice: Issued) -> Facets:
    document = invoice.document
    said: Facets = {
        "status": invoice.status.value,
        "number": document.number,
        "issued on": document.issued_on.isoformat(),
    }
    if document.due_on:
        said["due on"] = document.due_on.isoformat()
    return said | totals(document.totals, invoice.draft.currency)


def _money(invoice: Issued) -> Facets:
    currency = invoice.draft.currency
    said = {
        "amount due": invoice.amount_due,
        "amount paid": invoice.amount_paid,
        "amount remaining": invoice.amount_remaining,
    }
    found = {name: words.money(minor, currency) for name, minor in said.items()}
    for sent in invoice.sent:
        found["sent to"] = sent.to
    return {**found, **_payments(invoice, currency), **_credits(invoice, currency)}


def _payments(invoice: Issued, currency: str) -> Facets:
    """What became of each payment and refund, in the order in which they ended."""
    found: Facets = {}
    for attempt in invoice.attempts:
        found[f"payment {attempt.payment}"] = f"{words.money(attempt.amount, currency)} asked for"
    for intent in invoice.intents:
        found[f"payment {intent.payment}"] = "to be confirmed by the payer"
    for failure in invoice.failures:
        found[f"payment {failure.payment}"] = f"failed ({failure.code})"
    for paid in invoice.payments:
        found[f"payment {paid.payment}"] = f"{words.money(paid.amount, currency)} received"
    for begun in invoice.refund_attempts:
        found[f"refund {begun.refund}"] = f"{words.money(begun.amount, currency)} asked for"
    for refused in invoice.refund_failures:
        found[f"refund {refused.refund}"] = f"failed ({refused.code})"
    for back in invoice.refunds:
        found[f"refund {back.refund}"] = f"{words.money(back.amount, currency)} sent back"
    return found


def _credits(invoice: Issued, currency: str) -> Facets:
    return {
        f"credit note {one.credit_note}": words.money(one.credit.total, currency)
        for one in invoice.credits
    }


def _lines(was: Sequence[Line], now: Sequence[Line], currency: str) -> Iterator[Change]:
    """What is other in the lines. Those that nobody touched are the same objects: a long invoice
    is compared by what changed in it.
    """
    if was is now:
        return
    same = next(
        (place for place, (old, new) in enumerate(zip(was, now, strict=False)) if old is not new),
        min(len(was), len(now)),
    )
    old = {one.id: one for one in was[same:]}
    for line in now[same:]:
        before = old.pop(line.id, None)
        if before is None:
            yield _line(line, None, words.line(line, currency))
        elif before != line:
            yield from _line_changed(before, line, currency)
    for gone in old.values():
        yield _line(gone, words.line(gone, currency), None)


def _line_changed(before: Line, line: Line, currency: str) -> Iterator[Change]:
    was, now = words.line(before, currency), words.line(line, currency)
    if before.description != line.description:
        was, now = f"{words.named(before)}, {was}", f"{words.named(line)}, {now}"
    yield _line(line, was, now)


def _line(line: Line, was: str | None, now: str | None) -> Change:
    return Change(field=f"line {words.named(line)}", was=was, now=now)
