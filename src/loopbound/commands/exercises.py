"""``loopbound exercises build [--check]`` and ``loopbound exercises new``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopbound.authoring.new_task import new_task
from loopbound.authoring.release import build
from loopbound.course.manifest import assignment, assignments
from loopbound.course.solutions import COPY
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["exercises_command"]


def exercises_command(what: str, names: Sequence[str], check: bool) -> int:
    """Write the exercises from their solutions, or the draft of a new task.

    With ``check`` it changes nothing, and gives 1 where an exercise is stale.

    Raises:
        Problem: an assignment that there is not, or ``check`` for a draft.
    """
    if what == "new" and check:
        raise Problem("--check goes with build: a draft changes files.\nLeave --check out.")
    if what == "new":
        return new_task(names)
    root = repository()
    chosen = [assignment(name) for name in names] or list(assignments())
    stale = [what for which in chosen for what in build(root, which, check)]
    stale += [] if names else _strangers(root)
    for what in stale:
        print(what)
    if check and stale:
        print("run: python3 lab.py exercises build")
    return 1 if check and stale else 0


def _strangers(root: Path) -> list[str]:
    """Notebooks in ``exercises/`` that no assignment of the manifest has."""
    known = {root / "exercises" / which.file for which in assignments()}
    found = (
        path
        for path in (root / "exercises").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts and COPY not in path.name
    )
    return [
        f"{path.relative_to(root).as_posix()}: belongs to no assignment"
        for path in sorted(found)
        if path not in known
    ]
