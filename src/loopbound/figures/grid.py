"""A grid of outcomes: a row for each thing, a column for each situation, a sign and a word in each
cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopbound.figures.cells import cell, short_word
from loopbound.figures.lettering import ended
from loopbound.figures.style import MUTED, WIDTH, Figure, canvas, finish

__all__ = ["outcome_grid", "scope_matrix"]

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
        Column labels, of one or two lines, as many as each row has outcomes.
    good
        The outcome that is drawn calm; any other is drawn as an alarm, the empty string as a blank.
    neutral
        Outcomes that are neither: drawn in a third, quiet style.

    Raises ValueError where a row's length is not that of `columns`. Cells differ by sign,
    lightness and word as well as by colour.
    """
    for label, outcomes in rows.items():
        if len(outcomes) != len(columns):
            raise ValueError(
                f"row {label!r} has {len(outcomes)} outcomes for {len(columns)} columns"
            )
    return _grid(rows, columns, title, good, neutral, ("", ""), _in_words(rows, columns, title))


def scope_matrix(
    cells: Mapping[tuple[str, str], str],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    good: str = "ok",
    neutral: Sequence[str] = ("ScopeMismatch",),
    headings: tuple[str, str] = ("loop scope\nof the fixture", "loop scope of the test"),
) -> Figure:
    """Draw the outcome of every combination of a row's scope with a column's.

    cells
        (row, column) → outcome; a combination that is missing stays blank.
    rows, columns
        The scopes in the order to draw them.
    good, neutral
        As for `outcome_grid`: neutral is what was refused before it could fail.
    headings
        What the rows are, and what the columns are.

    Raises ValueError for a cell whose row or column is not drawn.
    """
    for row, column in cells:
        if row not in rows or column not in columns:
            raise ValueError(f"cell {row!r} × {column!r} is in no row and column of the matrix")
    table = {row: [cells.get((row, column), "") for column in columns] for row in rows}
    met: dict[str, list[str]] = {}
    for row, outcomes in table.items():
        for column, outcome in zip(columns, outcomes, strict=False):
            if outcome:
                met.setdefault(outcome, []).append(f"{row} × {column}")
    axis = " × ".join(" ".join(heading.split()) for heading in headings)
    told = "; ".join(
        f"{outcome} ({len(where)} of {len(cells)}): {', '.join(where)}"
        for outcome, where in met.items()
    )
    title = title or "Which scopes go together"
    return _grid(table, columns, title, good, neutral, headings, f"{ended(title)} {axis}. {told}.")


def _grid(
    rows: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    title: str,
    good: str,
    neutral: Sequence[str],
    headings: tuple[str, str],
    alt: str,
) -> Figure:
    of_rows, of_columns = headings
    top = _TOP + (0.24 if of_columns else 0)
    left = (
        0.3
        + max([len(label) for label in rows] + [len(line) for line in of_rows.split("\n")])
        * _CHARACTER
    )
    longest = max(
        [len(line) for c in columns for line in c.split("\n")]
        + [len(short_word(o)) + 3 for r in rows.values() for o in r]
    )
    room = max(0.72, 0.16 + longest * _CHARACTER * 0.92)
    if of_columns:
        room = min(room, (WIDTH - 0.16 - left) / len(columns))
    width, height = (
        max(left + room * len(columns) + 0.16, WIDTH if of_columns else 4.2),
        top + _HEAD + _ROW * len(rows) + 0.16,
    )
    with canvas(width, height) as (figure, axes):
        axes.text(0.16, 0.26, title, fontsize=11, fontweight="bold", va="center")
        if of_columns:
            axes.text(
                left + room * len(columns) / 2,
                top - 0.05,
                of_columns,
                ha="center",
                va="center",
                fontsize=8.5,
            )
            axes.text(
                left - 0.12,
                top + _HEAD / 2 - 0.06,
                of_rows,
                ha="right",
                va="center",
                fontsize=8.5,
                linespacing=1.15,
            )
        for c, column in enumerate(columns):
            axes.text(
                left + (c + 0.5) * room,
                top + _HEAD / 2,
                column,
                ha="center",
                va="center",
                color=MUTED,
                fontsize=8.5,
            )
        for r, (label, outcomes) in enumerate(rows.items()):
            y = top + _HEAD + r * _ROW
            axes.text(left - 0.12, y + _ROW / 2, label, ha="right", va="center")
            for c, outcome in enumerate(outcomes):
                if outcome:
                    kind = (
                        "good" if outcome == good else "neutral" if outcome in neutral else "alarm"
                    )
                    cell(axes, left + c * room, y, room, _ROW, short_word(outcome), kind)
        return finish(figure, alt)


def _in_words(rows: Mapping[str, Sequence[str]], columns: Sequence[str], title: str) -> str:
    told = "; ".join(
        f"{label}: "
        + ", ".join(
            f"{' '.join(column.split())} {outcome}"
            for column, outcome in zip(columns, outcomes, strict=False)
            if outcome
        )
        for label, outcomes in rows.items()
    )
    return f"{title or 'Outcomes'}. {told}."
