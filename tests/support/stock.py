"""What would the library alone print? A process in which no lever was pulled answers.

It lives as long as it is asked, so that a property of many documents costs two prints an example.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from weasyprint import HTML

from counterfoil.domain.errors import RenderFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
    from counterfoil.domain.ports import Sheet

_STOCK = """
import os, pickle, sys
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
from counterfoil.adapters.pdf import faster, finishing
faster.pull = lambda configuration: None
finishing.write_once = lambda pdf: None
from counterfoil.adapters.pdf.weasy import WeasyPrintEngine
from support.stock import own, printed
engine = WeasyPrintEngine()
while True:
    try:
        sheet = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    pickle.dump(own(sheet) if isinstance(sheet, str) else printed(engine, sheet), answers)
    answers.flush()
"""
# Another process finds what this one does.
PATH = f"import sys; sys.path[:0] = {sys.path!r}\n"
# The host's own documents bring their font along, for a machine may have none.
_FONT = next((files("counterfoil.projections.render") / "fonts").glob("NotoSans-Regular*"))  # type: ignore[attr-defined]


class Stock:
    """Prints as the library alone does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._known: dict[Sheet | str, bytes | str] = {}

    def printed(self, sheet: Sheet | str) -> bytes | str:
        """The print, or why there is none; of HTML by the host itself."""
        if sheet not in self._known:
            asked, answers = self._process.stdin, self._process.stdout
            assert asked is not None
            assert answers is not None
            pickle.dump(sheet, asked)
            asked.flush()
            self._known[sheet] = pickle.load(answers)  # noqa: S301  (our own process)
        return self._known[sheet]


@contextmanager
def stock() -> Iterator[Stock]:
    """A process that prints as the library alone does."""
    command = [sys.executable, "-W", "ignore", "-c", PATH + _STOCK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Stock(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def printed(engine: WeasyPrintEngine, sheet: Sheet) -> bytes | str:
    """The print, or why there is none: a sheet that the library refuses is refused by us too."""
    try:
        return engine.render(sheet)
    except RenderFailed as error:
        return str(error)


def own(html: str) -> bytes:
    """A print by the host itself."""
    face = f"@font-face {{ font-family: 'Noto Sans'; src: url({_FONT.as_uri()}) }}"
    made: bytes = HTML(string=f"<style>{face}</style>{html}").write_pdf(pdf_tags=True)
    return made
