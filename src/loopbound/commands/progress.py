"""``loopbound progress``: how far the reader has come, what comes next, and where that is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from loopbound.course.manifest import Assignment, Task, assignments, lessons
from loopbound.learner.progress import Entry, ProgressFile
from loopbound.outcomes import ANSI, SIGNS
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.terminal import Console, complain

__all__ = ["progress_command"]

_BAR = 16  # columns


def progress_command() -> int:
    """Print a bar for each assignment, the points, the next task, and where progress is kept."""
    console = Console()
    kept = ProgressFile(say=complain)
    entries = kept.entries()
    width = max(len(which.title) for which in assignments())
    for which in assignments():
        console.say(_row(console, which, entries, width))
    every = [task for which in assignments() for task in which.tasks]
    passed = sum(entries[task.id].passed for task in every if task.id in entries)
    console.say(
        f"{passed} of {len(every)} tasks passed, {_points(every, entries)} of"
        f" {sum(task.points for task in every)} points."
    )
    console.say()
    for line in _next(entries):
        console.say(line)
    console.say(_where(kept.path))
    return 0


def _row(console: Console, which: Assignment, entries: Mapping[str, Entry], width: int) -> str:
    earned = _points(which.tasks, entries)
    # Full only when everything is earned.
    full = _BAR * earned // which.points
    signs = [
        console.painted(SIGNS[outcome], ANSI[outcome])
        for outcome in (entries.get(task.id, Entry(task.id)).outcome for task in which.tasks)
    ]
    if console.colour:
        bar = console.painted("█" * full, "32") + console.painted("░" * (_BAR - full), "2")
    else:
        bar = f"[{'#' * full}{'-' * (_BAR - full)}]"
    return (
        f"{which.number}  {which.title:{width}}  {bar}  {earned:2} of {which.points:2} points "
        f" {' '.join(signs)}{'  deeper' if _deeper(which) else ''}"
    )


def _deeper(which: Assignment) -> bool:
    """Whether the core path leaves its lesson out."""
    return any(lesson.deeper and lesson.number == which.number for lesson in lessons())


def _points(tasks: list[Task] | tuple[Task, ...], entries: Mapping[str, Entry]) -> int:
    # A task's points may have been changed since they were earned.
    return sum(min(entries[task.id].points, task.points) for task in tasks if task.id in entries)


def _next(entries: Mapping[str, Entry]) -> list[str]:
    """The first task in teaching order that has not passed, the core's before the others."""
    for which in sorted(assignments(), key=_deeper):
        for task in which.tasks:
            if task.id not in entries or not entries[task.id].passed:
                minutes = "1 minute" if task.minutes == 1 else f"{task.minutes} minutes"
                return [
                    f"Next: {task.id} {task.title} ({task.kind}, about {minutes})",
                    f"      in {_place(which)}",
                ]
    return ["Next: nothing. Every task has passed."]


def _place(which: Assignment) -> str:
    path = Path("exercises") / which.file
    try:
        return os.path.relpath(repository() / path)
    except (Problem, ValueError):  # on Windows, a clone on another drive
        return path.as_posix()


def _where(path: Path | None) -> str:
    if path is None:
        return "Progress is not kept, because LOOPBOUND_PROGRESS is off."
    return f"Kept in {path}" if path.exists() else f"Nothing is kept yet; it will be in {path}"
