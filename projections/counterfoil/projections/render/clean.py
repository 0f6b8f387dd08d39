"""Text of strangers, made fit for a page: nothing that hides, turns round or piles up."""

from __future__ import annotations

import re
import unicodedata

# What no page shows (C0, C1, noncharacters, lone surrogates), and what turns the direction of the
# text behind it, so that a total could be made to read backwards.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
MARKS_MAX = 8
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_LEFT_TO_RIGHT = re.compile("[0-9A-Za-z\u00aa-\u024f\u0370-\u052f\u1e00-\u1fff]")


def clean(text: str, direction: str = "ltr") -> str:
    """The text as a page may show it.

    Words that run against the page are set apart (UAX 9, isolates), or a number behind them would
    change sides.
    """
    shown = strip(text)
    if direction == "ltr" and shown.isascii():
        return shown
    against = _RIGHT_TO_LEFT if direction == "ltr" else _LEFT_TO_RIGHT
    if against.search(shown):
        return "\n".join(f"\u2068{line}\u2069" if line else "" for line in shown.splitlines())
    return shown


def strip(text: str) -> str:
    """The text without what hides, turns round or piles up."""
    shown = _HIDDEN.sub("", text)
    return shown if shown.isascii() else _flat(shown)


def _flat(text: str) -> str:
    """The text with no more marks on a letter than any language sets."""
    kept, marks = [], 0
    for sign in text:
        kind = unicodedata.category(sign) if sign >= "\u0300" else ""
        if kind in _MARKS:
            marks += 1
            if marks > MARKS_MAX:
                continue
        elif kind != "Cf":  # a joiner between two marks parts nothing
            marks = 0
        kept.append(sign)
    return "".join(kept)


_MARKS = {"Mn", "Mc", "Me"}
