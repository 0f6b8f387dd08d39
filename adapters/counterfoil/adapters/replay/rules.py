"""What if another rule had been in force? A Python file says which rules and read models change.

The file runs in this process, as what it is: code of whoever runs the command. While its rules are
in force, they are so for the one thread that asks; everybody else goes on deciding by our own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from pathlib import Path
from threading import Lock
from types import ModuleType, NoneType
from typing import NamedTuple

from counterfoil.domain import crediting, line, money, tax, totals
from counterfoil.domain.errors import CounterfoilError, Malformed, Rejected
from counterfoil.domain.invoice import decisions
from counterfoil.domain.line import Line
from counterfoil.domain.tax import Tax
from counterfoil.domain.totals import Totals
from counterfoil.projections.catalogue import PROJECTIONS
from counterfoil.projections.projection import Projection

_NAME = "counterfoil_what_if"


class Rule(NamedTuple):
    """A function that may be another: where it is called by which name, and what it gives."""

    says: str
    gives: tuple[type, ...]
    places: tuple[tuple[ModuleType, str], ...] = ()


def _called(name: str, *modules: ModuleType) -> tuple[tuple[ModuleType, str], ...]:
    return tuple((module, name) for module in modules)


RULES: Mapping[str, Rule] = {
    "tax_of": Rule("tax_of(line, terms, issued_on) -> Tax", (Tax,)),
    "price": Rule("price(item, currency) -> Line", (Line,), _called("price", line, decisions)),
    "total": Rule(
        "total(lines, discount, currency, tax_rounding) -> Totals",
        (Totals,),
        _called("total", totals, decisions),
    ),
    "on_net": Rule("on_net(tax, net) -> int", (int,), _called("on_net", tax, totals, crediting)),
    "within": Rule("within(tax, gross) -> int", (int,), _called("within", tax, line, totals)),
    "round_half_away": Rule(
        "round_half_away(exact) -> int",
        (int,),
        _called("round_half_away", money, tax, line, totals, crediting),
    ),
    "due_on": Rule(
        "due_on(terms, issued_on) -> date | None",
        (date, NoneType),
        ((decisions, "_due_on"),),
    ),
}


class RuleFailed(CounterfoilError):
    """A rule of the operator's raised, or gave something else than it must."""


class Changed(NamedTuple):
    """What a file changes: rules by name, and read models."""

    path: Path
    rules: Mapping[str, Callable[..., object]]
    projections: tuple[Projection, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What is other than ours, in words."""
        return (*self.rules, *(f"projection {one.name}" for one in self.projections))

    def failed(self, what: str, error: BaseException) -> RuleFailed:
        """An error of the file's own, by the line at which it was raised."""
        where = _line(self.path, error)
        said = f"{error}" if isinstance(error, CounterfoilError) else f"{_kind(error)}: {error}"
        return RuleFailed(f"{what} ({where}): {said}")

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Have every decision ask whose rules it goes by, until the end of the block."""
        with _ONE_AT_A_TIME:
            places = [
                (module, called, name)
                for name in self.rules
                for module, called in RULES[name].places
            ]
            before = [(module, called, vars(module)[called]) for module, called, _ in places]
            try:
                for module, called, name in places:
                    setattr(module, called, _either(name, vars(module)[called]))
                yield
            finally:
                for module, called, ours in before:
                    setattr(module, called, ours)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Decide by these rules in this thread, until the end of the block."""
        token = _ASKED.set(self)
        try:
            yield
        finally:
            _ASKED.reset(token)

    def ask(self, name: str, *said: object, **named: object) -> object:
        """What a rule of the file's says. What it asks by its own name is ours."""
        rules = {other: rule for other, rule in self.rules.items() if other != name}
        token = _ASKED.set(self._replace(rules=rules))
        try:
            given = self.rules[name](*said, **named)
        except (Rejected, RuleFailed):
            raise
        except (Exception, SystemExit) as error:
            raise self.failed(name, error) from error
        finally:
            _ASKED.reset(token)
        wanted = RULES[name].gives
        if not isinstance(given, wanted) or isinstance(given, bool):
            must = " or ".join("None" if one is NoneType else one.__name__ for one in wanted)
            raise RuleFailed(f"{name} gave {_kind(given)}, but must give {must}")
        return given


_ONE_AT_A_TIME = Lock()
_ASKED: ContextVar[Changed | None] = ContextVar("counterfoil_what_if", default=None)


@contextmanager
def unchanged() -> Iterator[None]:
    """Decide by our own rules, until the end of the block."""
    token = _ASKED.set(None)
    try:
        yield
    finally:
        _ASKED.reset(token)


def _either(name: str, ours: Callable[..., object]) -> Callable[..., object]:
    """The rule of whoever asks: the changed one in the thread that wants it, else ours."""

    def rule(*said: object, **named: object) -> object:
        changed = _ASKED.get()
        if changed is None or name not in changed.rules:
            return ours(*said, **named)
        return changed.ask(name, *said, **named)

    return rule


# --- the file ---------------------------------------------------------------------------------


@contextmanager
def changed_by(path: Path) -> Iterator[Changed]:
    """What a file, or the `__init__.py` of a folder, changes."""
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise Malformed("with", f"there is no file {file}")
    folders = [str(path.resolve())] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(
        _NAME, file.resolve(), submodule_search_locations=folders
    )
    if spec is None:
        raise Malformed("with", f"{file} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    known = {*sys.modules}
    sys.modules[_NAME] = module  # dataclasses and modules beside it look for it there
    try:
        _run(file, module)
        yield _found(path, module)
    finally:
        for name in {*sys.modules} - known:
            if name.partition(".")[0] == _NAME:
                del sys.modules[name]


def _run(file: Path, module: ModuleType) -> None:
    try:
        # Not by its loader: that would leave its compiled form beside the operator's file.
        code = compile(file.read_bytes(), str(file.resolve()), "exec")
        exec(code, vars(module))  # noqa: S102  (to run it is what was asked for)
    except SyntaxError as error:
        raise Malformed("with", f"{file}, line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        failed = Changed(file, {}, ()).failed("running it failed", error)
        raise Malformed("with", str(failed)) from error


def _found(path: Path, module: ModuleType) -> Changed:
    said = vars(module)
    rules = {
        name: given
        for name in RULES
        if callable(given := said.get(name)) and not _is_ours(name, given)
    }
    several = said.get("PROJECTIONS", ())
    given = [*(several if isinstance(several, list | tuple) else ()), said.get("PROJECTION")]
    projections = tuple(one for one in given if isinstance(one, Projection))
    for one in projections:
        if one.name not in PROJECTIONS:
            raise Malformed(
                "with", f"there is no {one.name} to compare with, but {', '.join(PROJECTIONS)}"
            )
    if not rules and not projections:
        raise Malformed("with", f"{path} changes nothing: define {', '.join(RULES)} or PROJECTION")
    return Changed(path, rules, projections)


def _is_ours(name: str, given: object) -> bool:
    """Whether it was only imported from us."""
    return any(vars(module).get(called) is given for module, called in RULES[name].places)


def _line(path: Path, error: BaseException) -> str:
    """The last line of the file, or of one beside it, that the error came through."""
    inside = str(path.resolve())
    found, trace = path.name, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(inside):
            found = f"{Path(file).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _kind(given: object) -> str:
    return type(given).__name__
