"""What things cost, as bars of a ratio to a named floor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from matplotlib.axes import Axes

from loopbound.figures.cells import round_box
from loopbound.figures.lettering import ended, line_height, shorten, width_of, wrap
from loopbound.figures.style import HAIRLINE, INK, MUTED, PAPER, WIDTH, Figure, canvas, finish, tint

__all__ = ["cost_bars"]

_TOP, _BAR, _LABEL = 0.86, 0.2, 2.6
_COLOUR = "#0072B2"


def cost_bars(
    rows: Mapping[str, tuple[float, float, float]],
    title: str = "",
    unit: str = "×",
    floor: str = "the floor",
    spread: str = "lowest to highest",
) -> Figure:
    """Draw costs as horizontal bars, in the order given.

    rows
        Label → `(median, low, high)`, as ratios to the floor; 1.0 is the floor itself.
    unit
        What stands behind the number at each bar's end, as in "1.8×".
    floor
        What is measured against: the name of the line at 1.0.
    spread
        What `low` and `high` are, for the key.

    The bar is the median and begins at zero, so that lengths compare; the whisker goes from low to
    high. A row whose whisker contains 1.0 is drawn hollow: it is not told apart from the floor.
    Raises ValueError where low, median and high are not in that order, or not finite numbers from
    zero up.
    """
    for label, (median, low, high) in rows.items():
        if not (0 <= low <= median <= high < math.inf):
            raise ValueError(
                f"row {label!r}: median {median}, low {low}, high {high} are not 0 <= low <= median"
                " <= high"
            )
    level = [label for label, (_, low, high) in rows.items() if low <= 1 <= high]
    lines = {label: wrap(label, _LABEL, 9) for label in rows}
    left = 0.32 + max([width_of(line, 9) for wrapped in lines.values() for line in wrapped] + [0.5])
    numbers = {
        label: f"{_number(median)}{'' if unit == '×' else ' '}{unit}"
        for label, (median, _, _) in rows.items()
    }
    top = max([high for _, _, high in rows.values()] + [1.25])
    scale = (
        WIDTH - 0.24 - left - max([width_of(n, 9, "bold") for n in numbers.values()] + [0]) - 0.12
    ) / top
    heights = {
        label: max(0.4, 0.14 + len(wrapped) * line_height(9)) for label, wrapped in lines.items()
    }
    bottom = _TOP + sum(heights.values())
    at_floor = left + scale
    with canvas(WIDTH, bottom + 0.5) as (figure, axes):
        axes.text(0.16, 0.26, title or "What it costs", fontsize=11, fontweight="bold", va="center")
        words = f"{floor} = 1"
        half = width_of(words, 8) / 2
        axes.text(
            min(max(at_floor, 0.16 + half), WIDTH - 0.16 - half),
            _TOP - 0.17,
            words,
            ha="center",
            va="center",
            fontsize=8,
            color=MUTED,
        )
        axes.plot([left, left], [_TOP, bottom], color=HAIRLINE, lw=1, zorder=0)
        y = _TOP
        for label, (median, low, high) in rows.items():
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
            style = {"facecolor": PAPER} if label in level else {"facecolor": tint(_COLOUR, 0.75)}
            round_box(
                axes,
                left,
                middle - _BAR / 2,
                max(median * scale, 0.02),
                _BAR,
                0.03,
                edgecolor=_COLOUR,
                lw=1.1,
                **style,
            )
            axes.plot(
                [left + low * scale, left + high * scale],
                [middle, middle],
                color=INK,
                lw=1.3,
                zorder=4,
            )
            for end in (low, high):
                axes.plot(
                    [left + end * scale] * 2,
                    [middle - 0.05, middle + 0.05],
                    color=INK,
                    lw=1.3,
                    zorder=4,
                )
            # The floor's line may run under it.
            axes.text(
                left + high * scale + 0.1,
                middle,
                numbers[label],
                va="center",
                fontsize=9,
                fontweight="bold",
                zorder=5,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
            )
            y += heights[label]
        axes.plot(
            [at_floor, at_floor], [_TOP - 0.07, bottom], color=INK, lw=1.1, dashes=(3, 2), zorder=3
        )
        _draw_key(axes, bottom + 0.26, spread, bool(level), floor)
        return finish(figure, _in_words(rows, title, unit, floor, spread))


def _number(value: float) -> str:
    """Two figures, or all before the point: 0.86, 1.8, 12."""
    return f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _draw_key(axes: Axes, y: float, spread: str, hollow: bool, floor: str) -> None:
    round_box(
        axes,
        0.2,
        y - 0.06,
        0.3,
        0.12,
        0.03,
        facecolor=tint(_COLOUR, 0.75),
        edgecolor=_COLOUR,
        lw=1.1,
    )
    axes.text(0.58, y, "median", va="center", fontsize=8, color=MUTED)
    axes.plot([1.26, 1.56], [y, y], color=INK, lw=1.3)
    for x in (1.26, 1.56):
        axes.plot([x, x], [y - 0.05, y + 0.05], color=INK, lw=1.3)
    axes.text(1.66, y, spread, va="center", fontsize=8, color=MUTED)
    if hollow:
        x = 1.66 + width_of(spread, 8) + 0.26
        round_box(axes, x, y - 0.06, 0.3, 0.12, 0.03, facecolor=PAPER, edgecolor=_COLOUR, lw=1.1)
        axes.text(
            x + 0.38,
            y,
            shorten(f"not told apart from {floor}", WIDTH - x - 0.5, 8),
            va="center",
            fontsize=8,
            color=MUTED,
        )


def _in_words(
    rows: Mapping[str, tuple[float, float, float]], title: str, unit: str, floor: str, spread: str
) -> str:
    told = "; ".join(
        f"{label} {_number(median)} ({_number(low)} to {_number(high)})"
        for label, (median, low, high) in rows.items()
    )
    return (
        f"{ended(title or 'What it costs')} In {unit}, where {floor} is 1; median and, in brackets,"
        f" {spread}: {told}."
    )
