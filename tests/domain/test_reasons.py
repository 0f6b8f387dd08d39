"""Is every reason for saying no tested, said with the facts that its sentence needs, and stable?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.domain.errors import CounterfoilError, Reason, Rejected

TESTS = Path(__file__).parent
DOMAIN = TESTS.parents[1] / "domain"


def _calls(folder: Path, pattern: str) -> Iterator[tuple[Path, ast.Call]]:
    """Yield every call in the sources of a folder; read anew, so that it holds on every worker."""
    for path in sorted(folder.rglob(pattern)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, node


def _reasons(node: ast.AST) -> set[str]:
    return {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "Reason"
    }


TESTED = {
    reason
    for _, call in _calls(TESTS, "test_*.py")
    if isinstance(call.func, ast.Attribute) and call.func.attr == "then_rejected"
    for reason in _reasons(call)
}
RAISED = [
    (f"{path.stem}:{call.lineno}", reason, sorted(word.arg for word in call.keywords if word.arg))
    for path, call in _calls(DOMAIN, "*.py")
    if isinstance(call.func, ast.Name) and call.func.id == "Rejected" and call.args
    for reason in sorted(_reasons(call.args[0]))
]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_refused_for_in_a_test(reason: Reason) -> None:
    assert reason.name in TESTED


@pytest.mark.parametrize(
    ("reason", "facts"),
    [raised[1:] for raised in RAISED],
    ids=[f"{where}:{reason}" for where, reason, _ in RAISED],
)
def test_every_refusal_is_a_whole_sentence(reason: str, facts: list[str]) -> None:
    said = str(Rejected(Reason[reason], **dict.fromkeys(facts, "<fact>")))
    assert len(said) > 10
    assert "{" not in said


def test_no_reason_is_left_over() -> None:
    used = [
        _reasons(ast.parse(path.read_text()))
        for path in DOMAIN.rglob("*.py")
        if path.name != "errors.py"
    ]
    assert set().union(*used) == {reason.name for reason in Reason}


def test_a_refusal_carries_its_reason_and_its_facts() -> None:
    refusal = Rejected(Reason.NO_SUCH_LINE, line="line_9")
    assert isinstance(refusal, CounterfoilError)
    assert (refusal.reason, refusal.facts) == (Reason.NO_SUCH_LINE, {"line": "line_9"})
    assert str(refusal) == "there is no line line_9"


def test_a_refusal_without_the_facts_of_its_sentence_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Rejected(Reason.NO_SUCH_LINE)


def test_the_words_for_programs_are_the_names_in_small_letters() -> None:
    assert all(reason.value == reason.name.lower() for reason in Reason)
