"""A grid of outcomes: a row for each thing, a column for each situation, a sign and a word in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from loopbound.figures.style import ALARM, INK, MUTED, PAPER, Figure, canvas, finish, tint

__all__ = ["outcome_grid"]

_GOOD = "#009E73"
_DIM = "#56B4E9"
_ROW, _HEAD, _TOP = 0.36, 0.34, 0.5
_CHARACTER = 0.078  # inches, a wide letter at 9 points


def outcome_grid(
    rows: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    title: str = "",
    good: str = "ok",
    neutral: Sequence[str] = (),
) -> Figure:
    """Draw outcomes as a grid.

    rows
        Row label → one outcome a column.
    columns
        Column labels, as many as each row has outcomes.
    good
        The outcome that is drawn calm; any other is drawn as an alarm, the empty string as a blank.
    neutral
        Outcomes that are neither: drawn in a third, quiet style.

    Raises ValueError where a row's length is not that of `columns`. Cells differ by sign,
    lightness and word as well as by colour.
    """
    for label, outcomes in rows.items():
        if len(outcomes) != len(columns):
            raise ValueError(f"row {label!r} has {len(outcomes)} outcomes for {len(columns)} columns")
    left = 0.3 + max(len(label) for label in rows) * _CHARACTER
    longest = max([len(c) for c in columns] + [len(_shown(o)) + 3 for r in rows.values() for o in r])
    cell = max(0.72, 0.16 + longest * _CHARACTER * 0.92)
    width, height = max(left + cell * len(columns) + 0.16, 4.2), _TOP + _HEAD + _ROW * len(rows) + 0.16
    with canvas(width, height) as (figure, axes):
        axes.text(0.16, 0.26, title, fontsize=11, fontweight="bold", va="center")
        for c, column in enumerate(columns):
            axes.text(left + (c + 0.5) * cell, _TOP + _HEAD / 2, column, ha="center", va="center", color=MUTED, fontsize=8.5)
        for r, (label, outcomes) in enumerate(rows.items()):
            y = _TOP + _HEAD + r * _ROW
            axes.text(left - 0.12, y + _ROW / 2, label, ha="right", va="center")
            for c, outcome in enumerate(outcomes):
                _draw_cell(axes, left + c * cell, y, cell, outcome, good, neutral)
        return finish(figure, _in_words(rows, columns, title))


def _shown(outcome: str) -> str:
    return {"different loop": "different loop", "operation in progress": "in progress"}.get(outcome, outcome)


def _draw_cell(axes: Axes, x: float, y: float, width: float, outcome: str, good: str, neutral: Sequence[str]) -> None:
    if not outcome:
        return
    if outcome == good:
        face, ink, sign, weight = tint(_GOOD, 0.16), INK, "o", "normal"
    elif outcome in neutral:
        face, ink, sign, weight = tint(_DIM, 0.22), INK, "D", "normal"
    else:
        face, ink, sign, weight = ALARM, PAPER, "x", "bold"
    axes.add_patch(
        FancyBboxPatch((x + 0.03, y + 0.03), width - 0.06, _ROW - 0.06, boxstyle="round,pad=0,rounding_size=0.06",
                       facecolor=face, edgecolor="none")
    )
    axes.plot([x + 0.17], [y + _ROW / 2], marker=sign, ms=5.2, mfc="none", mec=ink if sign != "o" else _GOOD, mew=1.8)
    axes.text(x + 0.29, y + _ROW / 2, _shown(outcome), va="center", color=ink, fontsize=8.5, fontweight=weight)


def _in_words(rows: Mapping[str, Sequence[str]], columns: Sequence[str], title: str) -> str:
    told = "; ".join(
        f"{label}: " + ", ".join(f"{column} {outcome}" for column, outcome in zip(columns, outcomes) if outcome)
        for label, outcomes in rows.items()
    )
    return f"{title or 'Outcomes'}. {told}."
