"""Which notebooks were saved, and which of their answers changed since the last look."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopbound.course.solutions import COPY
from loopbound.grading.submission import Submission, read_submission
from loopbound.machine import syntax_tree
from loopbound.problem import Problem

__all__ = ["Saved", "Saves", "changed_tasks", "exercises_below"]

PATIENCE = 1.0  # seconds for a program that writes a file to finish

Signature = tuple[int, int, int]  # time of the last change, size, and which file it is


@dataclass(frozen=True)
class Saved:
    """A notebook that was saved: what it holds now, and the tasks whose answers have changed.

    ``problem`` instead, where it cannot be read.
    """

    path: Path
    submission: Submission | None
    tasks: frozenset[str]
    problem: str = ""


@dataclass
class _Known:
    """What is remembered of a file: how it was when it was last read, what it held, and since when
    it cannot be read.
    """

    signature: Signature | None = None
    submission: Submission | None = None
    exercise: bool = False  # it was one at some time
    trouble: tuple[Signature | None, float] | None = None
    told: bool = False


class Saves:
    """Looks at one notebook, or at all below a folder, again and again.

    A file that is half written is looked at again, and spoken of only when it stays so. One that
    vanishes is remembered: editors put a new file in the old one's place.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self.one = not where.is_dir()
        self._known: dict[Path, _Known] = {}

    def remember(self) -> list[Path]:
        """Take every notebook as it is now for seen; gives those that are exercises."""
        for _ in self.look():
            pass
        return [path for path, known in sorted(self._known.items()) if known.exercise]

    def look(self) -> Iterator[Saved]:
        """The notebooks that were saved since the last look, with the answers that changed, if any;
        and those that cannot be read.
        """
        for path in [self.where] if self.one else list(exercises_below(self.where)):
            if saved := self._looked_at(path):
                yield saved

    def forget_answers(self, path: Path) -> None:
        """Let the next save of a notebook count as one that changed every answer: they could not be
        checked.
        """
        self._known[path].submission = None

    def _looked_at(self, path: Path) -> Saved | None:
        known = self._known.setdefault(path, _Known())
        signature = _signature(path)
        if known.trouble is None or known.trouble[0] != signature:
            if signature is not None and signature == known.signature:
                known.trouble = None
                return None
            known.trouble, known.told = (signature, time.monotonic()), False
        elif known.told:
            return None  # nothing about it has changed
        if signature is None:
            return self._trouble(
                path, known, f"{path.name} is not there; it will be looked at when it comes back."
            )
        try:
            submission = read_submission(path)
        except Problem as problem:
            # In a folder many a notebook is no exercise, and never was one.
            if not self.one and not known.exercise:
                known.signature, known.trouble = signature, None
                return None
            return self._trouble(path, known, str(problem))
        before = known.submission
        self._known[path] = _Known(signature, submission, exercise=True)
        return Saved(path, submission, frozenset(changed_tasks(before, submission)))

    def _trouble(self, path: Path, known: _Known, problem: str) -> Saved | None:
        assert known.trouble is not None
        if time.monotonic() - known.trouble[1] < PATIENCE:
            return None
        known.told = True
        return Saved(path, None, frozenset(), problem)


def changed_tasks(before: Submission | None, now: Submission) -> set[str]:
    """The tasks whose verdict may have changed: those with another cell of the learner's, and those
    that use a name such a cell defines.
    """
    if before is None or before.assignment != now.assignment:
        return {task.id for task in now.assignment.tasks}
    old, new = before.belonging(), now.belonging()
    changed = {task.id for task in now.assignment.tasks if old.get(task.id) != new.get(task.id)}
    names = {
        task: _names(*old.get(task, ()), *new.get(task, ()))
        for task in (task.id for task in now.assignment.tasks)
    }
    reached = set(changed)
    while True:
        defined = {name for task in reached for name in names[task][0]}
        more = {task for task, (_, used) in names.items() if used & defined} - reached
        if not more:
            return reached
        reached |= more


def _names(*sources: str) -> tuple[set[str], set[str]]:
    """The names that cells define at their top, and those that they use."""
    defined: set[str] = set()
    used: set[str] = set()
    for source in sources:
        try:
            tree = syntax_tree(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                defined.update(
                    (alias.asname or alias.name).partition(".")[0] for alias in node.names
                )
            else:
                defined.update(
                    name.id
                    for name in ast.walk(node)
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
                )
        used |= {
            name.id
            for name in ast.walk(tree)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)
        }
    return defined, used


def exercises_below(folder: Path) -> Iterator[Path]:
    """The notebooks below a folder, without hidden ones, Jupyter's own copies and those that a
    reset has kept.
    """
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in ("__pycache__", "node_modules")
        )
        for name in sorted(files):
            if name.endswith(".ipynb") and not name.startswith((".", "~")) and COPY not in name:
                yield Path(here, name)


def _signature(path: Path) -> Signature | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
