"""The language of the domain's tests: given these facts, when this is asked, then that follows.

`then` compares whole facts in order and asks the same command again over the new history: a
second time, no new fact may come of it. A question without an answer fails its test too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from counterfoil.domain.credit_note import decisions as credit_note_decisions
from counterfoil.domain.credit_note import state as credit_note_state
from counterfoil.domain.credit_note.decisions import CreditNoteCommand
from counterfoil.domain.credit_note.events import CreditNoteEvent
from counterfoil.domain.errors import CounterfoilError, Malformed, NotFound, Reason, Rejected
from counterfoil.domain.invoice import decisions as invoice_decisions
from counterfoil.domain.invoice import state as invoice_state
from counterfoil.domain.invoice.commands import InvoiceCommand
from counterfoil.domain.invoice.events import InvoiceEvent
from counterfoil.domain.series import decisions as series_decisions
from counterfoil.domain.series import state as series_state
from counterfoil.domain.series.decisions import SeriesCommand
from counterfoil.domain.series.events import SeriesEvent

Fact = InvoiceEvent | CreditNoteEvent | SeriesEvent
Asked = InvoiceCommand | CreditNoteCommand | SeriesCommand
Facts = tuple[Fact, ...]
Ask = Callable[[Facts], Facts]

Refusal = TypeVar("Refusal", bound=CounterfoilError)


def given(*facts: Fact) -> Given:
    """Start from the history of one invoice, one credit note or one series; from none, if empty."""
    return Given(facts)


class Given:
    """A history that waits for a question."""

    def __init__(self, history: Facts) -> None:
        self._history = history

    def when(self, command: Asked) -> When:
        """Ask this of the aggregate that the command belongs to."""
        return When(self._history, lambda history: decide(command, history))


class When:
    """A command over a history, which waits to hear what shall follow."""

    def __init__(self, history: Facts, ask: Ask) -> None:
        self._history = history
        self._ask = ask
        self._answered = False

    def __del__(self) -> None:
        # Python cannot raise from here; pytest makes a failed test of it (filterwarnings = error).
        assert self._answered, "a spec without `then` checks nothing"

    def then(self, *expected: Fact) -> None:
        """Exactly these facts follow, and none when the same is asked once more."""
        self._answered = True
        assert expected, "say then_nothing() when no fact shall follow"
        facts = self._ask(self._history)
        assert facts == expected, _difference(facts, expected)
        again = self._again((*self._history, *facts))
        assert again == (), f"asked twice, it made new facts: {_listed(again)}"

    def then_nothing(self) -> None:
        """It is so already: no fact, no refusal."""
        self._answered = True
        facts = self._ask(self._history)
        assert facts == (), f"something happened: {_listed(facts)}"

    def then_rejected(self, reason: Reason, **facts: object) -> None:
        """The domain says no for this reason. Every fact named here must be among the refusal's
        own and equal; those not named are not compared.
        """
        error = self._refused(Rejected)
        assert error.reason is reason, f"refused for {error.reason!r}, not for {reason!r}"
        said = {name: error.facts.get(name, "not said") for name in facts}
        assert said == facts, f"refused with {said}, not with {facts}"

    def then_not_found(self) -> None:
        """There is nothing of which it could be asked."""
        self._refused(NotFound)

    def then_malformed(self, field: str) -> None:
        """What would become of it breaks a limit of this field."""
        error = self._refused(Malformed)
        assert error.field == field, f"{error.field} is malformed, not {field}"

    def _refused(self, kind: type[Refusal]) -> Refusal:
        self._answered = True
        try:
            facts = self._ask(self._history)
        except kind as error:
            return error
        raise AssertionError(f"not refused; it made these facts: {_listed(facts)}")

    def _again(self, history: Facts) -> Facts:
        try:
            return self._ask(history)
        except Rejected:
            return ()


def decide(command: Asked, history: Facts) -> Facts:
    """The facts that this command makes over this history, by the aggregate it belongs to."""
    if isinstance(command, InvoiceCommand):
        invoice_facts = [fact for fact in history if isinstance(fact, InvoiceEvent)]
        _hold_one_aggregate(len(invoice_facts), history)
        invoice = invoice_state.fold(invoice_facts)
        invoice_answer = invoice_decisions.decide(command, invoice)
        assert invoice == invoice_state.fold(invoice_facts), "deciding changed the state"
        return invoice_answer
    if isinstance(command, CreditNoteCommand):
        note_facts = [fact for fact in history if isinstance(fact, CreditNoteEvent)]
        _hold_one_aggregate(len(note_facts), history)
        return credit_note_decisions.decide(command, credit_note_state.fold(note_facts))
    series_facts = [fact for fact in history if isinstance(fact, SeriesEvent)]
    _hold_one_aggregate(len(series_facts), history)
    return series_decisions.decide(command, series_state.fold(series_facts))


def _hold_one_aggregate(own: int, history: Facts) -> None:
    assert own == len(history), "the history and the command belong to different aggregates"


def _difference(facts: Facts, expected: Facts) -> str:
    return f"expected: {_listed(expected)}\ngot: {_listed(facts)}"


def _listed(facts: Facts) -> str:
    return "".join(f"\n  {fact!r}" for fact in facts) or "nothing"
