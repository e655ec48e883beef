"""The small cell of several figures, with a sign and a word: good, neutral, partly or alarm."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from loopbound.figures.style import ALARM, INK, PAPER, tint

__all__ = ["cell", "round_box", "short_word"]

_GOOD, _DIM, _PARTLY = "#009E73", "#56B4E9", "#E69F00"
# kind → face, ink, colour of the sign, sign, weight: told apart by sign, lightness and weight as
# well as by colour
_KINDS = {
    "good": (tint(_GOOD, 0.16), INK, _GOOD, "o", "normal"),
    "neutral": (tint(_DIM, 0.22), INK, INK, "D", "normal"),
    "partly": (tint(_PARTLY, 0.30), INK, INK, "^", "normal"),
    "alarm": (ALARM, PAPER, PAPER, "x", "bold"),
}


def short_word(outcome: str) -> str:
    """The outcome as it stands in a cell."""
    return {"operation in progress": "in progress"}.get(outcome, outcome)


def round_box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    radius: float = 0.06,
    **style: Any,
) -> None:
    """A box with round corners, its upper left corner at (x, y); inches."""
    axes.add_patch(
        FancyBboxPatch(
            (x, y), width, height, boxstyle=f"round,pad=0,rounding_size={radius}", **style
        )
    )


def cell(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    word: str,
    kind: str,
    size: float = 8.5,
) -> None:
    """A filled cell with the sign of `kind` ("good", "neutral", "partly", "alarm") and `word`,
    which may have several lines.
    """
    face, ink, mark, sign, weight = _KINDS[kind]
    round_box(
        axes, x + 0.03, y + 0.03, width - 0.06, height - 0.06, facecolor=face, edgecolor="none"
    )
    axes.plot([x + 0.17], [y + height / 2], marker=sign, ms=5.2, mfc="none", mec=mark, mew=1.8)
    axes.text(
        x + 0.29, y + height / 2, word, va="center", color=ink, fontsize=size, fontweight=weight
    )
