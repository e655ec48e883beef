"""What stands in a connection pool's queue before each test of a row, and what the test takes from
its head.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from loopbound.figures.cells import cell, round_box, short_word
from loopbound.figures.lettering import ended, shorten, width_of
from loopbound.figures.style import (
    HAIRLINE,
    INK,
    MUTED,
    PAPER,
    WIDTH,
    Figure,
    canvas,
    colours_of,
    finish,
    tint,
)

__all__ = ["pool_queue"]

Step = tuple[str, Sequence[str], int, str]

_TOP, _ROW, _BOX, _NUMBER = 0.86, 0.3, 0.34, 0.46
_MOST = 10  # boxes in a row; what stands behind them is counted


@dataclass(frozen=True)
class _Row:
    number: str  # "" where tests are folded
    label: str
    queue: tuple[str, ...]
    taken: int
    verdict: str


def pool_queue(
    steps: Sequence[Step],
    title: str = "",
    good: str = "ok",
    neutral: Sequence[str] = ("no database", "skipped"),
    fold: bool = True,
) -> Figure:
    """Draw a pool's queue over a row of tests.

    steps
        One `(label, queue_before, taken, verdict)` a test, in the order run. `queue_before` has a
        birth for
        each connection record, the head first: the name of the loop (or of the test) in which its
        connection was made, "" for a record without a connection. `taken` says how many the test
        took from the head; what it took beyond the queue's length is a new record.
    good, neutral
        The verdicts that are drawn calm, and quiet; any other is drawn as an alarm.
    fold
        Whether two or more neighbours that take nothing, with the same queue and verdict, share a
        row.

    The boxes of one birth have one colour and one number: that of a loop's name ("loop 12" is 12),
    or the row of the test. A dashed box is an empty record, a heavy frame is taken, a plus is a new
    record.
    """
    rows = (
        _fold(steps) if fold else [_Row(str(n), *_plain(step)) for n, step in enumerate(steps, 1)]
    )
    births = list(dict.fromkeys(birth for _, queue, _, _ in steps for birth in queue if birth))
    colours, tags = colours_of(births), _tags(births, [label for label, *_ in steps])
    most = min(_MOST + 1, max([max(len(row.queue), row.taken) for row in rows] + [3]))
    verdict = max([width_of(short_word(row.verdict), 8, "bold") for row in rows] + [0.6]) + 0.42
    right = WIDTH - 0.16 - verdict
    queue_at = right - 0.14 - most * _BOX
    room = queue_at - _NUMBER - 0.2
    widest = max([width_of(row.label, 8.5) for row in rows] + [1.2])
    if widest < room:  # keep the queue near the names rather than far to the right
        queue_at -= room - widest
        right -= room - widest
        room = widest
    bottom = _TOP + _ROW * len(rows)
    with canvas(WIDTH, bottom + 0.5) as (figure, axes):
        axes.text(
            0.16,
            0.26,
            title or "What stands in the pool's queue",
            fontsize=11,
            fontweight="bold",
            va="center",
        )
        for x, words in ((_NUMBER, "test"), (queue_at, "queue before it, head first")):
            axes.text(x, _TOP - 0.17, words, va="center", color=MUTED, fontsize=8)
        for n, row in enumerate(rows):
            y = _TOP + n * _ROW
            middle = y + _ROW / 2
            axes.plot([0.16, right + verdict], [y, y], color=HAIRLINE, lw=0.6, zorder=0)
            axes.text(
                _NUMBER - 0.1,
                middle,
                row.number,
                ha="right",
                va="center",
                fontsize=7.5,
                color=MUTED,
            )
            quiet: dict[str, Any] = {} if row.number else {"color": MUTED, "style": "italic"}
            axes.text(
                _NUMBER,
                middle,
                shorten(row.label, room, 8.5, keep="end"),
                va="center",
                fontsize=8.5,
                **quiet,
            )
            _draw_queue(axes, queue_at, y, row, colours, tags)
            if row.verdict:
                kind = (
                    "good"
                    if row.verdict == good
                    else "neutral"
                    if row.verdict in neutral
                    else "alarm"
                )
                cell(axes, right, y, verdict, _ROW, short_word(row.verdict), kind, size=8)
        _draw_key(axes, bottom + 0.25, rows, _born(births, [label for label, *_ in steps]))
        return finish(figure, _in_words(rows, title))


def _plain(step: Step) -> tuple[str, tuple[str, ...], int, str]:
    label, queue, taken, verdict = step
    return label, tuple(queue), taken, verdict


def _fold(steps: Sequence[Step]) -> list[_Row]:
    rows: list[_Row] = []
    run: list[_Row] = []

    def close() -> None:
        if len(run) > 1:
            rows.append(
                _Row("", f"… {len(run)} tests take no connection", run[0].queue, 0, run[0].verdict)
            )
        else:
            rows.extend(run)
        run.clear()

    for number, step in enumerate(steps, 1):
        row = _Row(str(number), *_plain(step))
        if run and (row.taken or (row.queue, row.verdict) != (run[0].queue, run[0].verdict)):
            close()
        if row.taken:
            rows.append(row)
        else:
            run.append(row)
    close()
    return rows


def _tags(births: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """What stands in the boxes of a birth: the row of the test, the number of the loop, or two
    letters.
    """
    tags = {}
    for birth in births:
        number = re.search(r"(\d{1,3})$", birth)
        if birth in labels:
            tags[birth] = str(labels.index(birth) + 1)
        else:
            tags[birth] = number[1] if number else birth.removeprefix("loop ")[:3]
    return tags


def _born(births: Sequence[str], labels: Sequence[str]) -> str:
    """What the number 12 in a box says, "" where no box has one."""
    if not births:
        return ""
    if all(birth in labels for birth in births):
        return "connection made in test 12"
    return (
        "connection of loop 12"
        if all(birth.startswith("loop ") for birth in births)
        else "connection, with its birth"
    )


def _draw_queue(
    axes: Axes, x: float, y: float, row: _Row, colours: dict[str, str], tags: dict[str, str]
) -> None:
    drawn = max(len(row.queue), row.taken)
    for place in range(min(drawn, _MOST)):
        birth = row.queue[place] if place < len(row.queue) else None
        taken = place < row.taken
        style: dict[str, Any] = {"facecolor": PAPER, "lw": 0.9, "edgecolor": MUTED}
        if taken:
            style |= {"lw": 2.0, "edgecolor": INK}
        if birth:
            style["facecolor"] = tint(colours[birth], 0.4)
        elif birth == "":
            style["linestyle"] = (0, (2.2, 1.6))
        tag = tags[birth] if birth else "+" if birth is None else ""
        at = x + place * _BOX
        round_box(axes, at + 0.03, y + 0.05, _BOX - 0.06, _ROW - 0.1, 0.045, **style)
        axes.text(
            at + _BOX / 2,
            y + _ROW / 2 + 0.005,
            tag,
            ha="center",
            va="center",
            fontsize=7.5,
            color=INK,
            fontweight="bold" if taken else "normal",
        )
    if drawn > _MOST:
        axes.text(
            x + _MOST * _BOX + 0.02,
            y + _ROW / 2,
            f"+{drawn - _MOST}",
            va="center",
            fontsize=7.5,
            color=MUTED,
        )


def _draw_key(axes: Axes, y: float, rows: Sequence[_Row], born: str) -> None:
    x = 0.2
    light = {"lw": 0.9, "edgecolor": MUTED}
    keys = [
        (bool(born), "12", born, {"facecolor": tint("#0072B2", 0.4), **light}),
        (
            any("" in row.queue for row in rows),
            "",
            "record without connection",
            {"facecolor": PAPER, "linestyle": (0, (2.2, 1.6)), **light},
        ),
        (
            any(row.taken for row in rows),
            "",
            "taken by the test",
            {"facecolor": PAPER, "lw": 2.0, "edgecolor": INK},
        ),
        (
            any(row.taken > len(row.queue) for row in rows),
            "+",
            "new record",
            {"facecolor": PAPER, "lw": 2.0, "edgecolor": INK},
        ),
    ]
    for used, tag, words, style in keys:
        if not used:
            continue
        round_box(axes, x, y - 0.09, 0.27, 0.18, 0.045, **style)
        axes.text(x + 0.135, y, tag, ha="center", va="center", fontsize=7)
        axes.text(x + 0.34, y, words, va="center", fontsize=8, color=MUTED)
        x += 0.34 + width_of(words, 8) + 0.22


def _in_words(rows: Sequence[_Row], title: str) -> str:
    parts = []
    for row in rows:
        queue = ", ".join(birth or "no connection" for birth in row.queue) or "nothing"
        number = f"{row.number} " if row.number else ""
        took = f"takes {row.taken}" if row.taken else "takes none"
        parts.append(f"{number}{row.label}: queue {queue}; {took}; {row.verdict}.")
    return f"{ended(title or 'What stands in the pool’s queue before each test')} {' '.join(parts)}"
