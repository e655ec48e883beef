"""The work behind ``loopbound exercises build [--check]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopbound.course.manifest import Assignment, assignment, assignments
from loopbound.paths import repository
from loopbound.course.solutions import COPY
from loopbound.exercises.form import solution_form
from loopbound.exercises.release import released
from loopbound.files import replace_text
from loopbound.problem import Problem

__all__ = ["build", "build_command"]


def build_command(names: Sequence[str], check: bool) -> int:
    """Writes the exercises anew from their solutions; with ``check`` it changes nothing and gives 1
    where one is stale.
    """
    root = repository()
    chosen = [assignment(name) for name in names] or list(assignments())
    stale = [what for which in chosen for what in build(root, which, check)]
    stale += [] if names else _strangers(root)
    for what in stale:
        print(what)
    if check and stale:
        print("run: python3 lab.py exercises build")
    return 1 if check and stale else 0


def build(root: Path, which: Assignment, check: bool = False) -> list[str]:
    """Brings a solution into its form and writes the exercise made from it; gives a line for each
    file that was (or would be) changed.

    Raises ``Problem`` where the solution is no notebook, or one that nbgrader could not release.
    """
    source, target = root / "solutions" / which.file, root / "exercises" / which.file
    before = _text(source)
    if before is None:
        raise Problem(f"{source} is not there, and the course's manifest names it.")
    solution = solution_form(before, source.name)
    changed = []
    for path, old, new in (
        (source, before, solution),
        (target, _text(target), released(solution, source.name)),
    ):
        if old == new:
            continue
        place = path.relative_to(root).as_posix()
        if check:
            changed.append(f"{place}: is not what loopbound exercises build makes")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, new)
            changed.append(f"{place}: written")
    return changed


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


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from error
