"""Can a spec fail? Each way of being wrong is tried, and must be noticed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from counterfoil.domain.credit_note.decisions import VoidCreditNote
from counterfoil.domain.errors import Malformed, NotFound, Reason, Rejected
from counterfoil.domain.invoice.commands import SetMetadata
from counterfoil.domain.invoice.events import InvoiceVoided, MetadataSet
from examples import (
    ATTEMPTED,
    DRAFT,
    DRAFTED,
    FINALIZE,
    FINALIZED,
    GIVE_UP,
    LINE_ADDED,
    MARKED_UNCOLLECTIBLE,
    NUMBER,
    OPEN,
    PAID,
    RECORDED,
    VOID,
    VOIDED,
    draft,
    item,
    record,
    succeed,
    withdraw,
)
from spec import Ask, Facts, When, given

TOO_MUCH_METADATA = SetMetadata(metadata={f"new_{place}": "x" for place in range(50)})
OLD_METADATA = MetadataSet(metadata={"old": "x"})

RIGHT: dict[str, Callable[[], None]] = {
    "one fact": lambda: given(*DRAFT).when(FINALIZE).then(FINALIZED),
    "two facts in order": lambda: given(*OPEN).when(record()).then(RECORDED, PAID),
    "a start from nothing": lambda: given().when(draft(item())).then(DRAFTED, LINE_ADDED),
    "quiet": lambda: given(*OPEN, VOIDED).when(VOID).then_nothing(),
    "refused": lambda: given(*OPEN, RECORDED, PAID).when(VOID).then_rejected(Reason.ALREADY_PAID),
    "refused, with a fact": lambda: (
        given(*OPEN, RECORDED, PAID).when(VOID).then_rejected(Reason.ALREADY_PAID, number=NUMBER)
    ),
    "not found": lambda: given().when(VOID).then_not_found(),
    "malformed": lambda: (
        given(*DRAFT, OLD_METADATA).when(TOO_MUCH_METADATA).then_malformed("metadata")
    ),
    "refused when asked twice": lambda: When(
        (), _answering((VOIDED,), Rejected(Reason.IS_VOID))
    ).then(VOIDED),
}

WRONG: dict[str, Callable[[], None]] = {
    "another fact": lambda: given(*OPEN).when(VOID).then(MARKED_UNCOLLECTIBLE),
    "the same fact with other content": lambda: given(*OPEN).when(VOID).then(InvoiceVoided()),
    "a fact too few": lambda: given(*OPEN).when(record()).then(RECORDED),
    "a fact too many": lambda: given(*DRAFT).when(FINALIZE).then(FINALIZED, PAID),
    "another order": lambda: given(*OPEN).when(record()).then(PAID, RECORDED),
    "facts, but it was quiet": lambda: given(*OPEN, VOIDED).when(VOID).then(VOIDED),
    "then() of nothing": lambda: given(*OPEN, VOIDED).when(VOID).then(),
    "nothing, but something happened": lambda: given(*OPEN).when(VOID).then_nothing(),
    "another reason of refusal": lambda: (
        given(*OPEN, RECORDED, PAID).when(VOID).then_rejected(Reason.MONEY_RECEIVED)
    ),
    "a refusal with another fact": lambda: (
        given(*OPEN, RECORDED, PAID).when(VOID).then_rejected(Reason.ALREADY_PAID, number="2")
    ),
    "a refusal with a fact that is not said": lambda: (
        given(*OPEN, RECORDED, PAID).when(VOID).then_rejected(Reason.ALREADY_PAID, payment="pay_1")
    ),
    "a refusal, but it was allowed": lambda: (
        given(*OPEN).when(GIVE_UP).then_rejected(Reason.IS_UNCOLLECTIBLE)
    ),
    "a refusal, but it was quiet": lambda: (
        given(*OPEN, VOIDED).when(VOID).then_rejected(Reason.IS_VOID)
    ),
    "not found, but it was": lambda: given(*OPEN).when(VOID).then_not_found(),
    "malformed, but it was not": lambda: given(*OPEN).when(VOID).then_malformed("reason"),
    "malformed in another field": lambda: (
        given(*DRAFT, OLD_METADATA).when(TOO_MUCH_METADATA).then_malformed("terms")
    ),
    "new facts when asked twice": lambda: When((), _answering((VOIDED,), (VOIDED,))).then(VOIDED),
    "a question of another aggregate": lambda: given(*OPEN).when(VoidCreditNote()).then_nothing(),
}

# What a spec did not ask about is no comparison that failed; it goes through as it is.
UNEXPECTED: dict[str, Callable[[], None]] = {
    "facts, but it was refused": lambda: given(*OPEN, ATTEMPTED).when(VOID).then(VOIDED),
    "nothing, but it was refused": lambda: given(*OPEN).when(withdraw()).then_nothing(),
    "facts, but there was no invoice": lambda: given().when(VOID).then(VOIDED),
    "refused, but there was no invoice": lambda: given().when(VOID).then_rejected(Reason.DISCARDED),
    "refused, but it was malformed": lambda: (
        given(*DRAFT, OLD_METADATA).when(TOO_MUCH_METADATA).then_rejected(Reason.NO_LINES)
    ),
    "not found, but it was refused": lambda: given(*OPEN).when(succeed()).then_not_found(),
    "malformed when asked twice": lambda: When(
        (), _answering((VOIDED,), Malformed("reason", "is wrong"))
    ).then(VOIDED),
}


@pytest.mark.parametrize("spec", RIGHT.values(), ids=RIGHT)
def test_a_spec_that_is_right_passes(spec: Callable[[], None]) -> None:
    spec()


@pytest.mark.parametrize("spec", WRONG.values(), ids=WRONG)
def test_a_spec_that_is_wrong_fails(spec: Callable[[], None]) -> None:
    with pytest.raises(AssertionError):
        spec()


@pytest.mark.parametrize("spec", UNEXPECTED.values(), ids=UNEXPECTED)
def test_an_answer_of_another_kind_is_not_swallowed(spec: Callable[[], None]) -> None:
    with pytest.raises((Rejected, NotFound, Malformed)):
        spec()


def test_what_follows_is_asked_again_over_the_new_history() -> None:
    histories: list[Facts] = []

    def ask(history: Facts) -> Facts:
        histories.append(history)
        return () if VOIDED in history else (VOIDED,)

    When(OPEN, ask).then(VOIDED)
    assert histories == [OPEN, (*OPEN, VOIDED)]


def test_a_failure_shows_both_sides() -> None:
    with pytest.raises(AssertionError, match=r"expected: \n  Marked.*\ngot: \n  InvoiceVoided"):
        given(*OPEN).when(VOID).then(MARKED_UNCOLLECTIBLE)


def test_a_spec_without_then_fails_its_test(tmp_path: Path) -> None:
    said = _pytest(tmp_path, "given(*OPEN).when(VOID)")
    assert "a spec without `then` checks nothing" in said
    assert "1 failed" in said


def test_a_spec_with_then_passes_its_test(tmp_path: Path) -> None:
    assert "1 passed" in _pytest(tmp_path, "given(*OPEN).when(VOID).then(VOIDED)")


def _answering(first: Facts, second: Facts | Exception) -> Ask:
    """Make an aggregate that answers twice, whatever its history is."""
    answers = iter((first, second))

    def ask(_: Facts) -> Facts:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def _pytest(folder: Path, spec: str) -> str:
    """Run one test of this one spec as a user would, under the filter that the project sets."""
    test = folder / "test_example.py"
    test.write_text(
        "from examples import OPEN, VOID, VOIDED\n"
        "from spec import given\n"
        "def test_example() -> None:\n"
        f"    {spec}\n"
    )
    done = subprocess.run(
        (
            *(sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
            *("-o", f"pythonpath={Path(__file__).parent}", "--rootdir", str(folder), str(test)),
        ),
        cwd=folder,
        env={
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
