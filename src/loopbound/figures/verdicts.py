"""Several things judged by several measures: a sign and a short word in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopbound.figures.cells import cell
from loopbound.figures.lettering import line_height, width_of, wrap
from loopbound.figures.style import HAIRLINE, MUTED, WIDTH, Figure, canvas, finish

__all__ = ["verdict_table"]

Verdict = str | tuple[str, str]

_TOP, _SIZE, _HEAD = 0.5, 8, 8
_KINDS = {"good": "good", "partly": "partly", "bad": "alarm"}


def verdict_table(rows: Mapping[str, Sequence[Verdict]], columns: Sequence[str], title: str = "") -> Figure:
    """Draw a table of judgements.

    rows
        Row label → one judgement a column: `(verdict, words)` with the verdict "good", "partly" or "bad", or a
        plain string that is neither, such as a cost.
    columns
        What is judged, as many as each row has judgements.

    Good is a ring, partly a triangle, bad a cross; long words are wrapped. Raises ValueError for a row of another
    length, and for an unknown verdict.
    """
    for label, verdicts in rows.items():
        if len(verdicts) != len(columns):
            raise ValueError(f"row {label!r} has {len(verdicts)} verdicts for {len(columns)} columns")
        for verdict in verdicts:
            if not isinstance(verdict, str) and verdict[0] not in _KINDS:
                raise ValueError(f"row {label!r}: verdict {verdict[0]!r} is none of {', '.join(_KINDS)}")
    names = {label: wrap(label, 1.7, 9) for label in rows}
    left = 0.32 + max([width_of(line, 9) for lines in names.values() for line in lines] + [0.5])
    room = min((WIDTH - 0.16 - left) / max(len(columns), 1), 2.2)
    heads = [wrap(column, room - 0.1, _HEAD) for column in columns]
    top = _TOP + 0.14 + max([len(lines) for lines in heads] + [1]) * line_height(_HEAD)
    cells = {
        label: [(v[0], wrap(v[1], room - 0.38, _SIZE, "bold")) if not isinstance(v, str) else ("", wrap(v, room - 0.2, _SIZE + 1))
                for v in verdicts]
        for label, verdicts in rows.items()
    }
    heights = {
        label: max([0.36, 0.12 + len(names[label]) * line_height(9)] + [0.16 + len(words) * line_height(_SIZE) for _, words in row])
        for label, row in cells.items()
    }
    with canvas(WIDTH, top + sum(heights.values()) + 0.18) as (figure, axes):
        axes.text(0.16, 0.26, title or "By every measure", fontsize=11, fontweight="bold", va="center")
        for c, lines in enumerate(heads):
            axes.text(left + (c + 0.5) * room, top - 0.07, "\n".join(lines), ha="center", va="bottom", color=MUTED, fontsize=_HEAD,
                      linespacing=1.15)
        y = top
        for label, row in cells.items():
            height = heights[label]
            axes.plot([0.16, left + room * len(columns)], [y, y], color=HAIRLINE, lw=0.6, zorder=0)
            axes.text(left - 0.12, y + height / 2, "\n".join(names[label]), ha="right", va="center", fontsize=9, linespacing=1.15)
            for c, (verdict, words) in enumerate(row):
                if verdict:
                    cell(axes, left + c * room, y, room, height, "\n".join(words), _KINDS[verdict], size=_SIZE)
                elif words != [""]:
                    axes.text(left + (c + 0.5) * room, y + height / 2, "\n".join(words), ha="center", va="center", fontsize=_SIZE + 1)
            y += height
        return finish(figure, _in_words(rows, columns, title))


def _in_words(rows: Mapping[str, Sequence[Verdict]], columns: Sequence[str], title: str) -> str:
    def told(verdict: Verdict) -> str:
        return verdict if isinstance(verdict, str) else f"{verdict[1]} ({verdict[0]})" if verdict[1] else verdict[0]

    parts = (f"{label}: " + ", ".join(f"{c} {told(v)}" for c, v in zip(columns, verdicts) if v) for label, verdicts in rows.items())
    return f"{title or 'By every measure'}. {'; '.join(parts)}."
