"""Several things judged by several measures: a sign and a short word in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loopbound.figures.cells import cell
from loopbound.figures.lettering import ended, line_height, width_of, wrap
from loopbound.figures.style import HAIRLINE, MUTED, WIDTH, Figure, canvas, finish

__all__ = ["verdict_table"]

Verdict = str | tuple[str, str]

_TOP, _SIZE, _HEAD = 0.5, 8, 8
_KINDS = {"good": "good", "partly": "partly", "bad": "alarm"}


def verdict_table(
    rows: Mapping[str, Sequence[Verdict]], columns: Sequence[str], title: str = ""
) -> Figure:
    """Draw a table of judgements.

    rows
        Row label → one judgement a column: `(verdict, words)` with the verdict "good", "partly" or
        "bad", or a plain string that is neither, such as a cost.
    columns
        What is judged, as many as each row has judgements.

    Good is a ring, partly a triangle, bad a cross; long words are wrapped. Raises ValueError for a
    row of another length, and for an unknown verdict.
    """
    for label, verdicts in rows.items():
        if len(verdicts) != len(columns):
            raise ValueError(
                f"row {label!r} has {len(verdicts)} verdicts for {len(columns)} columns"
            )
        for verdict in verdicts:
            if not isinstance(verdict, str) and verdict[0] not in _KINDS:
                raise ValueError(
                    f"row {label!r}: verdict {verdict[0]!r} is none of {', '.join(_KINDS)}"
                )
    names = {label: wrap(label, 1.7, 9) for label in rows}
    left = 0.32 + max([width_of(line, 9) for lines in names.values() for line in lines] + [0.5])
    widths = _widths(rows, columns, WIDTH - 0.16 - left)
    starts = [left + sum(widths[:c]) for c in range(len(columns) + 1)]
    heads = [
        wrap(column, width - 0.1, _HEAD) for column, width in zip(columns, widths, strict=False)
    ]
    top = _TOP + 0.14 + max([len(lines) for lines in heads] + [1]) * line_height(_HEAD)
    cells = {
        label: [
            (kind, wrap(words, width - _frame(kind), _SIZE, _weight(kind)))
            for (kind, words), width in zip(map(_parts, verdicts), widths, strict=False)
        ]
        for label, verdicts in rows.items()
    }
    heights = {
        label: max(
            [0.36, 0.12 + len(names[label]) * line_height(9)]
            + [0.16 + len(words) * line_height(_SIZE) for _, words in row]
        )
        for label, row in cells.items()
    }
    with canvas(WIDTH, top + sum(heights.values()) + 0.18) as (figure, axes):
        axes.text(
            0.16, 0.26, title or "By every measure", fontsize=11, fontweight="bold", va="center"
        )
        for c, lines in enumerate(heads):
            axes.text(
                starts[c] + widths[c] / 2,
                top - 0.07,
                "\n".join(lines),
                ha="center",
                va="bottom",
                color=MUTED,
                fontsize=_HEAD,
                linespacing=1.15,
            )
        y = top
        for label, row in cells.items():
            height = heights[label]
            axes.plot([0.16, starts[-1]], [y, y], color=HAIRLINE, lw=0.6, zorder=0)
            axes.text(
                left - 0.12,
                y + height / 2,
                "\n".join(names[label]),
                ha="right",
                va="center",
                fontsize=9,
                linespacing=1.15,
            )
            for c, (kind, words) in enumerate(row):
                if kind:
                    cell(
                        axes,
                        starts[c],
                        y,
                        widths[c],
                        height,
                        "\n".join(words),
                        _KINDS[kind],
                        size=_SIZE,
                    )
                elif words != [""]:
                    axes.text(
                        starts[c] + widths[c] / 2,
                        y + height / 2,
                        "\n".join(words),
                        ha="center",
                        va="center",
                        fontsize=_SIZE,
                    )
            y += height
        return finish(figure, _in_words(rows, columns, title))


def _parts(verdict: Verdict) -> tuple[str, str]:
    return ("", verdict) if isinstance(verdict, str) else (verdict[0], verdict[1])


def _weight(kind: str) -> str:
    return "bold" if kind == "bad" else "normal"


def _frame(kind: str) -> float:
    """How much of a cell's width is not there for its words: the sign and the margins."""
    return 0.4 if kind else 0.16


def _widths(
    rows: Mapping[str, Sequence[Verdict]], columns: Sequence[str], room: float
) -> list[float]:
    """Each column as wide as its longest word at least; what is left goes to texts that would be
    wrapped, then to all.
    """
    least, wish = [], []
    for c, column in enumerate(columns):
        texts = [(column, _HEAD, "normal", 0.1)]
        texts += [
            (words, _SIZE, _weight(kind), _frame(kind))
            for kind, words in (_parts(row[c]) for row in rows.values())
        ]
        least.append(
            max(
                width_of(word, *font) + frame
                for text, *font, frame in texts
                for word in [*text.split(), ""]
            )
        )
        wish.append(
            max(
                width_of(line, *font) + frame
                for text, *font, frame in texts
                for line in text.split("\n")
            )
        )
    if sum(least) > room:
        return [width * room / sum(least) for width in least]
    widths, rest = list(least), room - sum(least)
    # Those who need little first.
    for n, c in enumerate(sorted(range(len(columns)), key=lambda c: wish[c] - least[c])):
        widths[c] += min(wish[c] - least[c] + 0.001, rest / (len(columns) - n))
        rest = room - sum(widths)
    return [width + min(max(rest, 0) / len(columns), 0.5) for width in widths]


def _in_words(rows: Mapping[str, Sequence[Verdict]], columns: Sequence[str], title: str) -> str:
    def told(verdict: Verdict) -> str:
        return (
            verdict
            if isinstance(verdict, str)
            else f"{verdict[1]} ({verdict[0]})"
            if verdict[1]
            else verdict[0]
        )

    parts = (
        f"{label}: "
        + ", ".join(f"{c} {told(v)}" for c, v in zip(columns, verdicts, strict=False) if v)
        for label, verdicts in rows.items()
    )
    return f"{ended(title or 'By every measure')} {'; '.join(parts)}."
