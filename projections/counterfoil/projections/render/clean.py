"""Text of strangers, made fit for a page: nothing that hides, turns round or piles up."""

from __future__ import annotations

import re

# What no page shows (C0, C1, noncharacters, lone surrogates), and what turns the direction of the
# text behind it, so that a total could be made to read backwards.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
MARKS_MAX = 8
_PILED = re.compile(
    f"([\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff"
    f"\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]{{{MARKS_MAX}}})"
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f]+"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEFT_TO_RIGHT = re.compile("[A-Za-z\u00aa-\u024f\u0370-\u052f\u1e00-\u1fff]")


def clean(text: str, direction: str = "ltr") -> str:
    """The text as a page may show it.

    Words that run against the page are set apart (UAX 9, isolates), or a number behind them would
    change sides.
    """
    if text.isascii() and direction == "ltr":
        return _HIDDEN.sub("", text)
    shown = _PILED.sub(r"\1", _HIDDEN.sub("", text))
    against = _RIGHT_TO_LEFT if direction == "ltr" else _LEFT_TO_RIGHT
    if against.search(shown):
        return "\n".join(f"\u2068{line}\u2069" if line else "" for line in shown.splitlines())
    return shown
