"""How a loop shared its time: one column a turn, one lane a task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from loopbound.figures.style import INK, MUTED, PAPER, Figure, canvas, colours_of, finish, tint

__all__ = ["schedule"]

_LANE, _TURN, _TOP = 0.46, 0.5, 0.78


def schedule(
    turns: Sequence[tuple[str, Collection[str], Collection[str]]], title: str = ""
) -> Figure:
    """Draw which task ran at each turn of the loop, and what the others were doing.

    turns
        One `(running, ready, waiting)` a turn: the name of the task that ran, the names in the
        ready queue behind it, and the names that waited for a timer or for something else.
        `running` is "" for a turn in which the loop slept.

    A solid block is the task that ran; an outlined one waited its turn in the ready
    queue; a dotted line waited for a timer. Time is counted in turns, not in seconds.
    """
    names = list(
        dict.fromkeys(
            n for running, ready, waiting in turns for n in (running, *ready, *waiting) if n
        )
    )
    # By name, so that a task keeps its colour from figure to figure.
    colours = colours_of(sorted(names))
    left = 0.34 + 0.085 * max([len(n) for n in names] + [4])
    width = max(left + _TURN * len(turns) + 0.3, 6.2)
    bottom = _TOP + _LANE * len(names)
    with canvas(width, bottom + 0.62) as (figure, axes):
        axes.text(0.16, 0.24, title or "Who ran when", fontsize=11, fontweight="bold", va="center")
        axes.text(
            left - 0.12, _TOP - 0.16, "turn", ha="right", va="center", color=MUTED, fontsize=8
        )
        for t, (running, ready, waiting) in enumerate(turns):
            x = left + t * _TURN
            axes.text(
                x + _TURN / 2,
                _TOP - 0.16,
                str(t + 1),
                ha="center",
                va="center",
                color=MUTED,
                fontsize=8,
            )
            for row, name in enumerate(names):
                y = _TOP + row * _LANE
                if name == running:
                    _block(axes, x, y, facecolor=colours[name], edgecolor=colours[name])
                elif name in ready:
                    _block(
                        axes,
                        x,
                        y,
                        facecolor=tint(colours[name], 0.12),
                        edgecolor=colours[name],
                        lw=1.2,
                    )
                elif name in waiting:
                    middle = y + _LANE / 2
                    axes.plot(
                        [x, x + _TURN], [middle, middle], color=colours[name], lw=2, dashes=(1, 1.4)
                    )
        for row, name in enumerate(names):
            axes.text(
                left - 0.12,
                _TOP + (row + 0.5) * _LANE,
                name,
                ha="right",
                va="center",
                fontweight="bold",
            )
        _key(axes, bottom + 0.32, turns)
        return finish(figure, _in_words(turns, title))


def _block(axes: Axes, x: float, y: float, **style: Any) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.03, y + 0.07),
            _TURN - 0.06,
            _LANE - 0.14,
            boxstyle="round,pad=0,rounding_size=0.06",
            **style,
        )
    )


def _key(
    axes: Axes, y: float, turns: Sequence[tuple[str, Collection[str], Collection[str]]]
) -> None:
    box: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.04"}
    axes.add_patch(FancyBboxPatch((0.2, y - 0.07), 0.26, 0.14, facecolor=INK, edgecolor=INK, **box))
    axes.text(0.54, y, "runs", fontsize=8, va="center", color=MUTED)
    x = 1.12
    if any(ready for _, ready, _ in turns):
        axes.add_patch(
            FancyBboxPatch((x, y - 0.07), 0.26, 0.14, facecolor=PAPER, edgecolor=INK, lw=1.2, **box)
        )
        axes.text(x + 0.34, y, "in the ready queue", fontsize=8, va="center", color=MUTED)
        x += 1.75
    if any(waiting for _, _, waiting in turns):
        axes.plot([x, x + 0.3], [y, y], color=INK, lw=2, dashes=(1, 1.4))
        axes.text(x + 0.38, y, "waits (timer, future)", fontsize=8, va="center", color=MUTED)


def _in_words(turns: Sequence[tuple[str, Collection[str], Collection[str]]], title: str) -> str:
    order = ", ".join(running or "the loop sleeps" for running, _, _ in turns)
    return f"{title or 'Schedule'}: one task a turn, in this order: {order}."
