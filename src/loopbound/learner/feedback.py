"""From what a check found to what a learner reads at the prompt, and to the kept progress."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from loopbound.checks.verdict import Feedback, Verdict
from loopbound.course.manifest import Assignment, Task
from loopbound.learner.progress import ProgressFile
from loopbound.outcomes import NOT_ATTEMPTED, PASSED
from loopbound.terminal import Console, complain

__all__ = ["Executor", "Executors", "Results", "keep", "say_feedback", "total"]

Results = Mapping[str, Mapping[str, Any]]
"""Task id → ``outcome``, ``says``, ``diagnosis``, ``points`` earned and ``of`` the task."""

Executor = Callable[[Path, set[str] | None], Results]
"""Checks a notebook's answers: the file, and which tasks; None for all of them."""

Executors = Callable[[], AbstractContextManager[Executor]]
"""Makes an executor that holds processes, and ends them at the end of its block."""


def say_feedback(
    console: Console, which: Assignment, results: Results, untouched: Collection[str] = ()
) -> None:
    """Print the feedback on each task that was checked, in the assignment's order; of one that is
    ``untouched``, only a line.
    """
    for task in (task for task in which.tasks if task.id in results):
        feedback = _feedback(task, results[task.id])
        text = feedback.text(console.colour, console.columns)
        console.say(
            text.partition("\n")[0]
            if task.id in untouched and feedback.verdict.outcome == NOT_ATTEMPTED
            else text
        )
        console.say()


def _feedback(task: Task, found: Mapping[str, Any]) -> Feedback:
    verdict = Verdict(found["outcome"], found["says"], found.get("diagnosis", ""))
    if verdict.outcome == PASSED:
        return Feedback(
            task,
            verdict,
            (f'In the notebook, `solution("{task.id}")` shows the course\'s own answer.',),
        )
    return Feedback(task, verdict, (f"`python3 lab.py hint {task.id}` gives a hint.",))


def total(which: Assignment, results: Results) -> str:
    """The line that sums an assignment up.

    A task without a result is none that passed, and is counted as not checked.
    """
    passed = [
        task for task in which.tasks if task.id in results and results[task.id]["outcome"] == PASSED
    ]
    points = sum(results[task.id]["points"] for task in which.tasks if task.id in results)
    unknown = [task.id for task in which.tasks if task.id not in results]
    line = (
        f"{which.number} {which.title}: {len(passed)} of {len(which.tasks)} tasks passed, {points}"
        f" of {which.points} points."
    )
    return f"{line} Not checked: {', '.join(unknown)}." if unknown else line


def keep(results: Results, tasks: Collection[str]) -> None:
    """Write these tasks' results down as progress."""
    kept = ProgressFile(say=complain)
    for task in sorted(tasks):
        if task in results:
            kept.checked(task, results[task]["outcome"], results[task]["points"])
