"""Who has what: tests, their loops, the socket that one of them listens to, and the pool."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from loopbound.figures.cells import round_box
from loopbound.figures.style import (
    ALARM,
    HAIRLINE,
    INK,
    LOOP_COLOURS,
    MUTED,
    PAPER,
    WIDTH,
    Figure,
    canvas,
    finish,
    tint,
)

__all__ = ["owners"]

_HEIGHT, _BOX = 3.05, 0.62
_ROWS = (0.62, 1.72)
# Left edge and width of each column.
_TEST, _LOOP, _SOCKET, _CONNECTION, _POOL = (
    (0.2, 1.1),
    (2.0, 1.1),
    (4.0, 0.95),
    (5.3, 1.2),
    (6.95, 1.05),
)


def owners(first: str = "test_one", second: str = "test_two", title: str = "") -> Figure:
    """Draw why a pooled connection fails on a second loop.

    Args:
        first: the test that opens the connection, on loop A.
        second: the test that gets it out of the pool, on loop B.
        title: of the picture.
    """
    title = title or "One connection, and the only loop that can serve it"
    blue, orange = LOOP_COLOURS[:2]
    top, low = _ROWS
    with canvas(WIDTH, _HEIGHT) as (figure, axes):
        axes.text(0.16, 0.26, title, fontsize=11, fontweight="bold", va="center")
        for row, name, loop, colour in ((top, first, "A", blue), (low, second, "B", orange)):
            _card(axes, _TEST, row, name, "a task", INK, share=0.04)
            _card(axes, _LOOP, row, f"loop {loop}", "one thread", colour)
            _arrow(axes, (_right(_TEST), row + 0.31), (_LOOP[0], row + 0.31), "runs on")
        _card(axes, _SOCKET, top, "socket", "of the system", blue)
        _card(axes, _CONNECTION, top, "connection 1", "born on loop A", blue)
        _card(axes, _POOL, top, "pool", "of the engine", MUTED, share=0.1)
        middle = top + 0.31
        _arrow(axes, (_right(_LOOP), middle), (_SOCKET[0], middle), "listens to")
        _arrow(axes, (_right(_SOCKET), middle), (_CONNECTION[0], middle), "")
        _arrow(axes, (_right(_CONNECTION), middle), (_POOL[0], middle), "")
        axes.text(_POOL[0] + 0.36, top + 0.76, "has no loop", **_SMALL, ha="center", color=MUTED)
        # Loop B does not reach the socket.
        start, end = (_right(_LOOP), low + 0.2), (_SOCKET[0] + 0.4, top + _BOX)
        axes.plot(*zip(start, end, strict=True), color=ALARM, lw=1.4, ls=(0, (4, 3)), zorder=1)
        axes.plot([3.65], [1.62], marker="x", ms=9, mew=2.4, color=ALARM, zorder=3)
        axes.text(3.9, 1.66, "does not listen to it:", **_SMALL, color=INK)
        axes.text(3.9, 1.84, "attached to a different loop", **_SMALL, weight="bold", color=ALARM)
        # And still the pool hands the connection to the second test.
        end_at, floor = _POOL[0] + 0.92, _HEIGHT - 0.3
        path = [(end_at, top + _BOX), (end_at, floor), (0.75, floor), (0.75, low + _BOX)]
        axes.plot([x for x, _ in path], [y for _, y in path], color=INK, lw=1.2, zorder=1)
        axes.plot([0.75], [low + _BOX + 0.04], marker="^", ms=5, mfc=INK, mec=INK, zorder=2)
        words = f"the pool hands connection 1 to {second}, and asks nothing about loops"
        axes.text(4.0, floor, words, **_SMALL, ha="center", bbox=_PLATE)
        return finish(figure, _told(first, second, title))


_SMALL: dict[str, Any] = {"fontsize": 8.5, "va": "center", "zorder": 4}
_PLATE: dict[str, Any] = {"facecolor": PAPER, "edgecolor": HAIRLINE, "boxstyle": "round,pad=0.3"}


def _right(column: tuple[float, float]) -> float:
    return column[0] + column[1]


def _card(
    axes: Axes,
    column: tuple[float, float],
    y: float,
    name: str,
    what: str,
    colour: str,
    share: float = 0.18,
) -> None:
    x, width = column
    round_box(axes, x, y, width, _BOX, facecolor=tint(colour, share), edgecolor=colour, lw=1.4)
    centre = x + width / 2
    axes.text(centre, y + 0.22, name, ha="center", va="center", fontsize=9.5, weight="bold")
    axes.text(centre, y + 0.43, what, ha="center", va="center", fontsize=8, color=INK)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], words: str) -> None:
    axes.plot([start[0], end[0] - 0.05], [start[1], end[1]], color=INK, lw=1.2, zorder=1)
    axes.plot([end[0] - 0.06], [end[1]], marker=">", ms=5, mfc=INK, mec=INK, zorder=2)
    axes.text((start[0] + end[0]) / 2 - 0.03, start[1] - 0.11, words, **_SMALL, ha="center")


def _told(first: str, second: str, title: str) -> str:
    return (
        f"{title}. {first} runs on loop A, and {second} on loop B. Loop A listens to the socket of"
        " connection 1, which was born on loop A. After the first test the connection waits in the"
        f" engine's pool, which has no loop. The pool hands it to {second}. Loop B does not listen"
        " to that socket: attached to a different loop."
    )
