"""Who waits for whom in PostgreSQL: a box a session, an arrow from the one that waits to the one
that it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from loopbound.figures.cells import round_box
from loopbound.figures.lettering import ended, shorten, width_of
from loopbound.figures.style import ALARM, INK, MUTED, PAPER, WIDTH, Figure, canvas, finish, tint

__all__ = ["waiting_chain"]

Session = tuple[str, str, str, str, Sequence[str]]

_LEFT, _TOP, _BOX, _GAP, _LANE = 0.2, 0.56, 0.62, 0.36, 0.24
_WAITS, _HOLDS, _FREE = "waits", "is waited for", "free"


def waiting_chain(sessions: Sequence[Session], title: str = "") -> Figure:
    """Draw sessions of one database and which waits for which.

    sessions
        `(name, state, wait, query, blocked_by)` a session: a name to show ("session 1"), its state
        as in `pg_stat_activity` ("idle in transaction"), what it waits for ("Lock: relation", ""
        for nothing), the text of its query, and the names of the sessions that block it. A blocker
        that is not in the list gets a box of its own.

    Those who wait stand above those they wait for. A dashed box waits for another session; a heavy
    one waits for no
    session and has others waiting: the place to look.
    """
    rows = _in_order(sessions)
    place = {row[0]: n for n, row in enumerate(rows)}
    blockers = {name for *_, blocked_by in rows for name in blocked_by}
    edges = [
        (place[name], place[other])
        for name, _, _, _, blocked_by in rows
        for other in dict.fromkeys(blocked_by)
    ]
    detours = [(a, b) for a, b in edges if b != a + 1]
    lanes = _lanes(detours)
    right = WIDTH - _LEFT - (0.12 + _LANE * (max(lanes.values()) + 1) if lanes else 0)
    bottom = _TOP + len(rows) * (_BOX + _GAP) - (_GAP if rows else 0)
    with canvas(WIDTH, bottom + 0.2) as (figure, axes):
        axes.text(
            0.16, 0.26, title or "Who waits for whom", fontsize=11, fontweight="bold", va="center"
        )
        for n, row in enumerate(rows):
            role = _WAITS if row[4] else _HOLDS if row[0] in blockers else _FREE
            _draw_session(axes, _TOP + n * (_BOX + _GAP), right, row, role)
        for a, b in edges:
            if b == a + 1:
                x, y = _LEFT + 0.5, _TOP + b * (_BOX + _GAP)
                _arrow(axes, (x, y - _GAP), (x, y - 0.03))
                axes.text(
                    x + 0.12,
                    y - _GAP / 2,
                    "waits for",
                    va="center",
                    fontsize=8,
                    color=ALARM,
                    fontweight="bold",
                )
        for edge in lanes:
            _draw_detour(axes, right, edge, lanes)
        return finish(figure, _in_words(rows, blockers, title))


def _in_order(sessions: Sequence[Session]) -> list[Session]:
    """Those who wait before those they wait for; who has nothing to do with it comes last."""
    known = {session[0]: session for session in sessions}
    for session in sessions:
        for name in session[4]:
            known.setdefault(name, (name, "not in the list", "", "", ()))
    order: list[str] = []

    # Depth first, blockers before the blocked; a deadlock's ring is cut where it closes.
    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for other in known[name][4]:
            visit(other)
        order.append(name)

    seen: set[str] = set()
    involved = {name for name, session in known.items() if session[4]} | {
        n for s in sessions for n in s[4]
    }
    for name in known:
        if name in involved:
            visit(name)
    return [known[name] for name in reversed(order)] + [
        known[name] for name in known if name not in involved
    ]


def _lanes(detours: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The first free lane at the right for each arrow that cannot go straight down, short ones
    nearest to the boxes.
    """
    lanes: dict[tuple[int, int], int] = {}
    for a, b in sorted(detours, key=lambda edge: (abs(edge[1] - edge[0]), edge)):
        low, high = sorted((a, b))
        taken = {
            lane for (c, d), lane in lanes.items() if max(low, min(c, d)) <= min(high, max(c, d))
        }
        lanes[a, b] = next(n for n in range(len(lanes) + 1) if n not in taken)
    return lanes


def _draw_session(axes: Axes, y: float, right: float, row: Session, role: str) -> None:
    name, state, wait, query, _ = row
    frame: dict[str, Any] = {
        _WAITS: {"facecolor": PAPER, "edgecolor": ALARM, "lw": 1.4, "linestyle": (0, (3, 2))},
        _HOLDS: {"facecolor": tint(ALARM, 0.12), "edgecolor": ALARM, "lw": 2.6},
        _FREE: {"facecolor": PAPER, "edgecolor": MUTED, "lw": 0.9},
    }[role]
    round_box(axes, _LEFT, y, right - _LEFT, _BOX, **frame)
    axes.text(_LEFT + 0.14, y + 0.19, name, va="center", fontsize=9.5, fontweight="bold")
    x = _LEFT + 0.14 + width_of(name, 9.5, "bold") + 0.16
    room = right - 0.14 - x
    if wait:
        words = shorten(f"wait event {wait}", room * 0.5, 8.5)
        axes.text(right - 0.14, y + 0.19, words, ha="right", va="center", fontsize=8.5, color=MUTED)
        room -= width_of(words, 8.5) + 0.16
    axes.text(x, y + 0.19, shorten(state, room, 9), va="center", fontsize=9)
    line = " ".join(query.split()) or "no query"
    axes.text(
        _LEFT + 0.14,
        y + 0.44,
        shorten(line, right - _LEFT - 0.28, 8.5),
        va="center",
        fontsize=8.5,
        color=INK if query else MUTED,
    )


def _draw_detour(
    axes: Axes, right: float, edge: tuple[int, int], lanes: dict[tuple[int, int], int]
) -> None:
    x = right + 0.12 + _LANE * (lanes[edge] + 0.5)
    start, end = (_TOP + row * (_BOX + _GAP) + _port(row, edge, lanes) for row in edge)
    _arrow(axes, (right, start), (x, start), (x, end), (right + 0.03, end))
    axes.text(
        x,
        (start + end) / 2,
        "waits for",
        rotation=90,
        ha="center",
        va="center",
        fontsize=7,
        color=ALARM,
        fontweight="bold",
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
        zorder=5,
    )


def _port(row: int, edge: tuple[int, int], lanes: dict[tuple[int, int], int]) -> float:
    """How far below its upper edge an arrow touches a box: each has a place of its own, in the
    order that crosses least.
    """

    def order(touching: tuple[int, int]) -> tuple[bool, int]:
        other = sum(touching) - row
        return other > row, lanes[touching] if other < row else -lanes[touching]

    ports = sorted((e for e in lanes if row in e), key=order)
    return _BOX * (ports.index(edge) + 1) / (len(ports) + 1)


def _arrow(axes: Axes, *points: tuple[float, float]) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=ALARM,
        lw=1.8,
        zorder=3,
        solid_joinstyle="round",
    )
    (_x0, y0), (x1, y1) = points[-2:]
    marker = "v" if y1 > y0 else "<"
    back = (0, -0.04) if marker == "v" else (0.04, 0)  # the point of the head touches the box
    axes.plot([x1 + back[0]], [y1 + back[1]], marker=marker, ms=6, color=ALARM, zorder=4)


def _in_words(rows: Sequence[Session], blockers: set[str], title: str) -> str:
    parts = []
    for name, state, wait, query, blocked_by in rows:
        if blocked_by:
            role = f"waits for {' and '.join(blocked_by)}"
        else:
            role = (
                "waits for no session and is waited for"
                if name in blockers
                else "waits for no session"
            )
        parts.append(
            f"{name}, {', '.join(filter(None, [state, wait]))}, {role}:"
            f" {' '.join(query.split()) or 'no query'}."
        )
    return f"{ended(title or 'Who waits for whom')} {' '.join(parts)}"
