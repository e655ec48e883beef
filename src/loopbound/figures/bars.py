"""What things cost, as bars of a ratio to a named floor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes

from loopbound.figures.cells import round_box
from loopbound.figures.lettering import ended, line_height, shorten, width_of, wrap
from loopbound.figures.style import HAIRLINE, INK, MUTED, PAPER, WIDTH, Figure, canvas, finish, tint

__all__ = ["cost_bars"]

_TOP, _BAR, _LABEL, _WORDS = 0.86, 0.2, 2.4, 1.9
_FLOOR, _COLOUR = MUTED, "#0072B2"
_LEVEL = "no clear difference"


def cost_bars(
    rows: Mapping[str, tuple[float, float, float]],
    title: str = "",
    measure: str = "times as long",
    floor: str = "the floor",
    spread: str = "lowest to highest",
) -> Figure:
    """Draw costs as horizontal bars, in the order given, below a bar for the floor itself.

    rows
        Label → `(median, low, high)`, as ratios to the floor; 1.0 is the floor itself.
    measure
        What stands behind the number at each bar, as in "1.8 times as long".
    floor
        What is measured against: the name of the first bar, which is 1 long.
    spread
        What `low` and `high` are, for the key.

    The bar is the median and begins at zero, so that lengths compare; the line goes from low to
    high. A row whose line contains 1.0 is drawn hollow and says "no clear difference".
    Raises ValueError where low, median and high are not in that order, or not finite numbers from
    zero up.
    """
    for label, (median, low, high) in rows.items():
        if not (0 <= low <= median <= high < math.inf):
            raise ValueError(
                f"row {label!r}: median {median}, low {low}, high {high} are not 0 <= low <= median"
                " <= high"
            )
    drawn = {floor: (1.0, 1.0, 1.0), **rows}
    lines = {label: wrap(label, _LABEL, 9) for label in drawn}
    left = 0.32 + max(width_of(line, 9) for wrapped in lines.values() for line in wrapped)
    words = {floor: "taken as 1×"} | {label: _said(row, measure) for label, row in rows.items()}
    words_at = WIDTH - 0.16 - max(width_of(each, 9, "bold") for each in words.values())
    longest = max(high for _, _, high in drawn.values())
    scale = (words_at - 0.2 - left) / max(longest, 1.25)
    heights = {
        label: max(0.4, 0.14 + len(wrapped) * line_height(9)) for label, wrapped in lines.items()
    }
    bottom = _TOP + sum(heights.values())
    with canvas(WIDTH, bottom + 0.5) as (figure, axes):
        axes.text(0.16, 0.26, title or "What it costs", fontsize=11, fontweight="bold", va="center")
        _draw_scale(axes, left, scale, longest, bottom)
        y = _TOP
        for label, (median, low, high) in drawn.items():
            middle = y + heights[label] / 2
            axes.text(
                left - 0.14,
                middle,
                "\n".join(lines[label]),
                ha="right",
                va="center",
                fontsize=9,
                linespacing=1.15,
            )
            colour = _COLOUR if label in rows else _FLOOR
            hollow = words[label] == _LEVEL
            quiet = hollow or label not in rows
            round_box(
                axes,
                left,
                middle - _BAR / 2,
                max(median * scale, 0.02),
                _BAR,
                0.03,
                edgecolor=colour,
                facecolor=PAPER if hollow else tint(colour, 0.75),
                lw=1.1,
            )
            if label in rows:
                _draw_range(axes, left + low * scale, left + high * scale, middle)
            axes.text(
                words_at,
                middle,
                words[label],
                va="center",
                fontsize=9,
                fontweight="normal" if quiet else "bold",
                color=MUTED if quiet else INK,
            )
            y += heights[label]
        at_floor = left + scale
        axes.plot([at_floor] * 2, [_TOP - 0.07, bottom], color=INK, lw=1.1, dashes=(3, 2), zorder=3)
        _draw_key(axes, bottom + 0.26, spread, _LEVEL in words.values())
        return finish(figure, _in_words(rows, title, measure, floor, spread))


def _said(row: tuple[float, float, float], measure: str) -> str:
    """What stands at a bar, in words that fit."""
    median, low, high = row
    if low <= 1 <= high:
        return _LEVEL
    return shorten(f"{_number(median)} {measure}", _WORDS, 9, "bold")


def _number(value: float) -> str:
    """Two figures, or all before the point: 0.86, 1.8, 12."""
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _draw_scale(axes: Axes, left: float, scale: float, longest: float, bottom: float) -> None:
    """Lines at round numbers, as far as the bars go and not closer than a label needs."""
    steps = (1, 2, 5, 10, 20, 50, 100, 1000, 10_000)
    step = next((n for n in steps if n * scale >= 0.35), steps[-1])
    for number in range(0, int(longest) + 1, step):
        x = left + number * scale
        axes.plot([x, x], [_TOP, bottom], color=HAIRLINE, lw=1, zorder=0)
        words = f"{number}×" if number else "0"
        axes.text(x, _TOP - 0.17, words, ha="center", va="center", fontsize=8, color=MUTED)


def _draw_range(axes: Axes, low: float, high: float, y: float) -> None:
    axes.plot([low, high], [y, y], color=INK, lw=1.3, zorder=4)
    for end in (low, high):
        axes.plot([end] * 2, [y - 0.05, y + 0.05], color=INK, lw=1.3, zorder=4)


def _draw_key(axes: Axes, y: float, spread: str, hollow: bool) -> None:
    filled = {"facecolor": tint(_COLOUR, 0.75), "edgecolor": _COLOUR, "lw": 1.1}
    round_box(axes, 0.2, y - 0.06, 0.3, 0.12, 0.03, **filled)
    axes.text(0.58, y, "median", va="center", fontsize=8, color=MUTED)
    _draw_range(axes, 1.26, 1.56, y)
    axes.text(1.66, y, spread, va="center", fontsize=8, color=MUTED)
    if hollow:
        x = 1.66 + width_of(spread, 8) + 0.26
        round_box(axes, x, y - 0.06, 0.3, 0.12, 0.03, facecolor=PAPER, edgecolor=_COLOUR, lw=1.1)
        words = shorten(f"{_LEVEL}: the line reaches 1×", WIDTH - x - 0.5, 8)
        axes.text(x + 0.38, y, words, va="center", fontsize=8, color=MUTED)


def _in_words(
    rows: Mapping[str, tuple[float, float, float]],
    title: str,
    measure: str,
    floor: str,
    spread: str,
) -> str:
    told = "; ".join(
        f"{label} {_number(row[0])} ({_number(row[1])} to {_number(row[2])})"
        + (f", {_LEVEL}" if row[1] <= 1 <= row[2] else "")
        for label, row in rows.items()
    )
    return (
        f"{ended(title or 'What it costs')} In {measure}, where {floor} is 1; median and, in"
        f" brackets, {spread}: {told}."
    )
