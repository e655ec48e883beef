"""What a word at the prompt means: a notebook, an assignment, a task."""

from __future__ import annotations

import os
import re
from pathlib import Path

from loopbound.course.manifest import Assignment, Task, assignment, assignments, task
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["handed_out_at", "is_task", "notebook_meant", "own_place", "task_meant"]


def is_task(word: str) -> bool:
    """Whether a word looks like a task's id."""
    return re.fullmatch(r"\d{1,2}\.\d+", word) is not None


def task_meant(word: str) -> Task:
    """The task with this id; ``4.2`` is ``04.2``. Raises ``Problem`` where there is none."""
    return task(word)


def notebook_meant(word: str) -> Path:
    """The notebook file of this path, or the exercise of this number or name.

    Raises ``Problem`` for a folder and for what is neither.
    """
    path = Path(word)
    if path.is_dir():
        raise Problem(f"{word} is a folder. Name one notebook in it.")
    if path.exists():
        return Path(os.path.realpath(path))
    if path.suffix == ".ipynb" or len(path.parts) > 1:
        raise Problem(f"there is no file {word}.")
    try:
        return handed_out_at(assignment(word))
    except Problem:
        raise Problem(
            f"{word} is neither a file nor an assignment.\nAssignments:"
            f" {', '.join(which.name for which in assignments())}"
        ) from None


def handed_out_at(which: Assignment) -> Path:
    """Where an exercise lies in the clone."""
    return repository() / "exercises" / which.file


def own_place(path: Path) -> Assignment | None:
    """The assignment whose exercise has its place at this path, even if another file is there."""
    try:
        here = [
            which
            for which in assignments()
            if os.path.realpath(handed_out_at(which)) == os.path.realpath(path)
        ]
    except Problem:  # not in a clone
        return None
    return here[0] if here else None
