"""The loop-ownership timeline: lanes are loops, bars are what was born on them, marks are uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from loopbound.figures.style import (
    ALARM,
    HAIRLINE,
    INK,
    MUTED,
    PAPER,
    Figure,
    canvas,
    colours_of,
    finish,
    tint,
)
from loopbound.recorder import OK, Event

__all__ = ["timeline"]

# All lengths are inches. How much room an event takes on the time axis: time is order here,
# not seconds, so that the same run draws the same picture.
_ROOM = {
    "loop opened": 0.13,
    "born": 0.20,
    "used": 0.44,
    "returned": 0.12,
    "gone": 0.26,
    "loop closed": 0.40,
}
_FAILURE_ROOM, _CROSSING_ROOM = 1.02, 0.84
_OWN_FAILURE_ROOM = 1.36  # its error stands in one line below it, left of the next sign
_LEFT, _RIGHT, _TOP, _BAR, _PITCH, _LANE_PAD, _GAP = 0.95, 0.45, 0.42, 0.17, 0.34, 0.17, 0.12
_SHORT = {
    "operation in progress": "operation\nin progress",
    "different loop": "different\nloop",
    "loop closed": "loop\nclosed",
}


@dataclass
class _Bar:
    name: str
    born_on: str
    start: float
    end: float | None = None
    row: int = 0
    uses: list[tuple[float, Event]] = field(default_factory=list)


@dataclass
class _Lane:
    name: str
    opened: float
    closed: float | None = None
    rows: int = 1
    top: float = 0.0


def timeline(events: Iterable[Event], title: str = "") -> Figure:
    """Draw who was born on which loop, and who was used where.

    events
        A `Recorder`'s events, oldest first.
    title
        A line above the drawing.

    A bar starts where the thing was born and ends where it was thrown away; where it goes on
    hatched, its loop has been closed. A ring is a use on the loop of birth, in the colour of an
    alarm where it failed. A use on another loop leaves the bar and ends on that loop's lane: a
    cross where it failed, a diamond where it passed.
    """
    lanes, bars, right = _lay_out(list(events))
    bottom = _stack(lanes, bars)
    keys = _keys(lanes, bars)
    width = max(_LEFT + right + _RIGHT, 6.6, 0.3 + sum(_key_width(label) for label, _ in keys))
    with canvas(width, bottom + 0.62) as (figure, axes):
        colours = colours_of(list(lanes))
        axes.text(
            0.16, 0.24, title or "Which loop owns what", fontsize=11, fontweight="bold", va="center"
        )
        edge = width - _RIGHT
        for lane in lanes.values():
            _draw_lane(axes, lane, colours[lane.name], edge)
        for bar in bars.values():
            _draw_bar(axes, bar, lanes, colours[bar.born_on], edge)
        for bar in bars.values():
            for x, use in bar.uses:
                _draw_use(axes, _LEFT + x, use, bar, lanes, colours[bar.born_on])
        _draw_key(axes, bottom + 0.30, keys)
        return finish(figure, _in_words(lanes, bars, title))


def _lay_out(events: list[Event]) -> tuple[dict[str, _Lane], dict[str, _Bar], float]:
    lanes: dict[str, _Lane] = {}
    bars: dict[str, _Bar] = {}
    x = 0.0
    for event in events:
        if event.kind not in _ROOM:
            continue  # log lines and warnings are read, not drawn
        failed = event.kind == "used" and event.symptom != OK
        crossing = event.kind == "used" and event.loop != event.born_on
        if failed:
            room = _FAILURE_ROOM if crossing else _OWN_FAILURE_ROOM
        else:
            room = _CROSSING_ROOM if crossing else _ROOM[event.kind]
        if event.kind == "returned" and event.loop != event.born_on:
            continue
        at = x + min(room, 0.44) / 2
        if event.loop and event.loop not in lanes:
            lanes[event.loop] = _Lane(event.loop, opened=x)
        if event.kind == "loop closed":
            lanes[event.loop].closed = at
        elif event.kind == "born":
            bars[event.thing] = _Bar(event.thing, event.born_on, at)
        elif event.kind == "gone" and event.thing in bars:
            bars[event.thing].end = at
        elif event.kind == "used" and event.thing in bars:
            bars[event.thing].uses.append((at, event))
        x += room
    return lanes, bars, x + 0.1


def _stack(lanes: dict[str, _Lane], bars: dict[str, _Bar]) -> float:
    """Give each bar the first free row of its lane, and each lane its place; returns the lower
    edge.
    """
    for lane in lanes.values():
        rows: list[float] = []  # where the last bar of each row ends
        for bar in bars.values():
            if bar.born_on != lane.name:
                continue
            free = next((i for i, end in enumerate(rows) if end < bar.start), len(rows))
            rows[free : free + 1] = [bar.end if bar.end is not None else float("inf")]
            bar.row = free
        lane.rows = max(1, len(rows))
    y = _TOP + 0.06
    for lane in lanes.values():
        lane.top = y
        y += _height(lane) + _GAP
    return y


def _height(lane: _Lane) -> float:
    return 2 * _LANE_PAD + _BAR + (lane.rows - 1) * _PITCH


def _centre(bar: _Bar, lanes: dict[str, _Lane]) -> float:
    return lanes[bar.born_on].top + _LANE_PAD + _BAR / 2 + bar.row * _PITCH


def _outlived(bar: _Bar, lanes: dict[str, _Lane]) -> float | None:
    """Where the loop of its birth was closed, if it lives on after that."""
    closed = lanes[bar.born_on].closed
    if closed is None or (bar.end is not None and bar.end <= closed):
        return None
    return closed


def _round_box(
    axes: Axes, x: float, y: float, width: float, height: float, radius: float, **style: Any
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            max(width, 0.02),
            height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            **style,
        )
    )


def _draw_lane(axes: Axes, lane: _Lane, colour: str, edge: float) -> None:
    height = _height(lane)
    end = edge if lane.closed is None else _LEFT + lane.closed
    middle = lane.top + height / 2
    axes.plot(
        [_LEFT - 0.08, edge], [middle, middle], color=HAIRLINE, lw=1, dashes=(1, 2.4), zorder=0
    )
    start = _LEFT + lane.opened
    _round_box(
        axes,
        start,
        lane.top,
        end - start,
        height,
        0.07,
        facecolor=tint(colour, 0.13),
        edgecolor="none",
        zorder=1,
    )
    axes.plot(
        [start, start],
        [lane.top + 0.05, lane.top + height - 0.05],
        color=colour,
        lw=2.2,
        solid_capstyle="round",
        zorder=2,
    )
    label = lane.name if lane.name.startswith(("loop", "Jupyter")) else f"loop {lane.name}"
    axes.text(0.16, middle, label, fontweight="bold", va="center", color=INK)
    if lane.closed is not None:
        axes.plot([end, end], [lane.top, lane.top + height], color=MUTED, lw=1.2, zorder=6)
        axes.text(
            end + 0.06,
            lane.top + height - 0.035,
            "closed",
            fontsize=7.5,
            va="bottom",
            color=MUTED,
            zorder=6,
        )


def _draw_bar(axes: Axes, bar: _Bar, lanes: dict[str, _Lane], colour: str, edge: float) -> None:
    y = _centre(bar, lanes) - _BAR / 2
    start = _LEFT + bar.start
    end = edge if bar.end is None else _LEFT + bar.end
    alive_until = end
    closed = _outlived(bar, lanes)
    if closed is not None:  # the picture's whole point
        alive_until = _LEFT + closed
        _round_box(
            axes,
            alive_until - 0.1,
            y,
            end - alive_until + 0.1,
            _BAR,
            0.06,
            facecolor=PAPER,
            edgecolor=colour,
            hatch="/////",
            lw=1.1,
            zorder=3,
        )
    _round_box(
        axes,
        start,
        y,
        alive_until - start,
        _BAR,
        0.06,
        facecolor=colour,
        edgecolor=colour,
        lw=1.1,
        zorder=4,
    )
    if bar.end is not None:
        axes.plot(
            [end, end],
            [y - 0.05, y + _BAR + 0.05],
            color=INK,
            lw=1.8,
            solid_capstyle="round",
            zorder=5,
        )
    axes.text(start, y - 0.02, bar.name, fontsize=7.5, va="bottom", color=INK, zorder=6)


def _draw_use(
    axes: Axes, x: float, use: Event, bar: _Bar, lanes: dict[str, _Lane], colour: str
) -> None:
    y = _centre(bar, lanes)
    if use.loop == bar.born_on or use.loop not in lanes:
        marker: dict[str, Any] = dict(marker="o", ms=7.0, mfc=PAPER, mec=INK, mew=1.8)
        if use.symptom != OK:
            marker |= {"mec": ALARM}
            axes.text(
                x - 0.07,
                y + _BAR / 2 + 0.02,
                use.symptom,
                fontsize=7.5,
                va="top",
                color=ALARM,
                fontweight="bold",
                zorder=9,
            )
        axes.plot([x], [y], zorder=8, **marker)
        return
    lane = lanes[use.loop]
    target = lane.top + _height(lane) / 2
    failed = use.symptom != OK
    stroke = ALARM if failed else MUTED
    axes.plot([x, x], [y, target], color=PAPER, lw=4.5, zorder=6)
    axes.plot(
        [x, x],
        [y, target],
        color=stroke,
        lw=1.8,
        zorder=7,
        dashes=(None, None) if failed else (2, 1.2),
    )
    axes.plot([x], [y], marker="o", ms=5, mfc=stroke, mec=PAPER, mew=1, zorder=8)
    if failed:
        axes.plot([x], [target], marker="o", ms=14, mfc=ALARM, mec=PAPER, mew=1.6, zorder=8)
        axes.plot([x], [target], marker="x", ms=6.2, mec=PAPER, mew=2.2, zorder=9)
        axes.text(
            x + 0.17,
            target,
            _SHORT.get(use.symptom, use.symptom),
            fontsize=8,
            fontweight="bold",
            va="center",
            color=ALARM,
            linespacing=1.05,
            zorder=9,
        )
    else:
        axes.plot([x], [target], marker="D", ms=7, mfc=PAPER, mec=MUTED, mew=1.8, zorder=8)
        axes.text(x + 0.13, target, "passes", fontsize=8, va="center", color=MUTED, zorder=9)


def _keys(lanes: dict[str, _Lane], bars: dict[str, _Bar]) -> list[tuple[str, dict[str, Any]]]:
    """The signs that this picture uses: a label, and how matplotlib draws the sign ("hatch" for the
    bar of a closed loop).
    """
    uses = [
        (use.loop == bar.born_on, use.symptom == OK) for bar in bars.values() for _, use in bar.uses
    ]
    signs: list[tuple[bool, str, dict[str, Any]]] = [
        (
            True,
            "used on its own loop",
            {"marker": "o", "ms": 7, "mfc": PAPER, "mec": INK, "mew": 1.8},
        ),
        (
            (True, False) in uses,
            "used on its own loop: error",
            {"marker": "o", "ms": 7, "mfc": PAPER, "mec": ALARM, "mew": 1.8},
        ),
        (
            (False, False) in uses,
            "used on another loop: error",
            {"marker": "X", "ms": 8, "mfc": ALARM, "mec": ALARM},
        ),
        (
            (False, True) in uses,
            "used on another loop: passes",
            {"marker": "D", "ms": 6, "mfc": PAPER, "mec": MUTED, "mew": 1.8},
        ),
        (
            any(_outlived(bar, lanes) is not None for bar in bars.values()),
            "its loop is closed",
            {"hatch": "/////"},
        ),
        (
            any(bar.end is not None for bar in bars.values()),
            "thrown away",
            {"marker": "|", "ms": 11, "mec": INK, "mew": 1.8},
        ),
    ]
    return [(label, sign) for used, label, sign in signs if used]


def _key_width(label: str) -> float:
    return 0.42 + 0.066 * len(label)


def _draw_key(axes: Axes, y: float, keys: list[tuple[str, dict[str, Any]]]) -> None:
    x = 0.24
    for label, sign in keys:
        if "hatch" in sign:
            _round_box(
                axes,
                x - 0.1,
                y - 0.05,
                0.22,
                0.1,
                0.04,
                facecolor=PAPER,
                edgecolor=MUTED,
                lw=1,
                **sign,
            )
        else:
            axes.plot([x], [y], **sign)
        axes.text(x + 0.17, y, label, fontsize=8, va="center", color=MUTED)
        x += _key_width(label)


def _in_words(lanes: dict[str, _Lane], bars: dict[str, _Bar], title: str) -> str:
    count = "one loop" if len(lanes) == 1 else f"{len(lanes)} loops"
    parts = [f"{title or 'Timeline'}: {count} ({', '.join(lanes)})."]
    for bar in bars.values():
        uses = "; ".join(f"on {use.loop}: {use.symptom}" for _, use in bar.uses)
        fate = "thrown away" if bar.end is not None else "kept to the end"
        parts.append(
            f"{bar.name}, born on {bar.born_on}, {'used ' + uses if uses else 'never used'};"
            f" {fate}."
        )
    return " ".join(parts)
