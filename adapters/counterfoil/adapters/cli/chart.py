"""A bar chart as SVG: plain shapes and text, nothing that a browser would have to run or fetch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 20, 50, 70
_LINES = 4
_LABELS_MAX = 16
_FONT = "font-family='sans-serif'"

Bar = tuple[str, int]


def svg(title: str, bars: Sequence[Bar], label: Callable[[int], str]) -> str:
    """The bars with their names below and a scale at the left; what is negative hangs down."""
    top = _nice(max((size for _, size in bars), default=0))
    low = -_nice(-min((size for _, size in bars), default=0))
    top = top or (0 if low else 1)
    plot = _HEIGHT - _TOP - _BOTTOM

    def height(size: int) -> float:
        return _TOP + plot * (top - size) / (top - low)

    size = f"viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' role='img' {size}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#ffffff'/>",
        f"<text x='{_LEFT}' y='28' {_FONT} font-size='16' fill='#222222'>{escape(title)}</text>",
    ]
    for mark in sorted({low + (top - low) * step // _LINES for step in range(_LINES + 1)} | {0}):
        y = height(mark)
        colour = "#222222" if mark == 0 else "#dddddd"
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}'"
            f" stroke='{colour}'/>"
        )
        parts.append(_text(_LEFT - 8, y + 4, label(mark), "end"))
    parts += _bars(bars, label, height)
    return "\n".join([*parts, "</svg>", ""])


def _bars(
    bars: Sequence[Bar], label: Callable[[int], str], height: Callable[[int], float]
) -> list[str]:
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(bars), 1)
    every = -(-len(bars) // _LABELS_MAX)
    parts = []
    for place, (name, size) in enumerate(bars):
        x, ends = _LEFT + place * room, sorted((height(size), height(0)))
        parts.append(
            f"<rect x='{x + room * 0.1:.2f}' y='{ends[0]:.2f}' width='{room * 0.8:.2f}'"
            f" height='{ends[1] - ends[0]:.2f}' fill='#0b6e99'>"
            f"<title>{escape(f'{name}: {label(size)}')}</title></rect>"
        )
        if place % every == 0:
            middle, below = x + room / 2, _HEIGHT - _BOTTOM + 16
            turned = f" transform='rotate(-35 {middle:.1f} {below})'"
            parts.append(_text(middle, below, name, "end", turned))
    return parts


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {_FONT} font-size='11' fill='#444444'"
        f" text-anchor='{anchor}'{more}>{escape(text)}</text>"
    )


def _nice(size: int) -> int:
    """The next round number: 1, 2, 4 or 8 and zeros, so that a quarter of it reads well."""
    if size <= 0:
        return 0
    step = int("1" + "0" * (len(str(size)) - 1))
    return next(step * times for times in (1, 2, 4, 8, 10, 20) if step * times >= size)
