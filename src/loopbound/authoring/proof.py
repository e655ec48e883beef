"""What proves a task: its stub, its solution, and the wrong answers that people give, each with the
feedback it must get.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopbound.authoring.release import stubbed
from loopbound.checks import complete, facts_of, judge, observe
from loopbound.checks.verdict import Verdict
from loopbound.course.manifest import Assignment, assignment, task
from loopbound.course.solutions import answer_source, cells_of, nbgrader_of
from loopbound.problem import Problem

__all__ = ["WrongAnswer", "answer_of", "namespace", "verdict_on", "wrong_answers"]


@dataclass(frozen=True)
class WrongAnswer:
    """A wrong answer to a task.

    ``name`` says what the mistake is, ``code`` takes the place of the answer's cell, ``outcome`` is
    "wrong", "raised" or "not attempted", ``diagnosis`` the check's name for it, and ``says`` are
    words that the feedback must contain.
    """

    task: str
    name: str
    code: str
    outcome: str
    diagnosis: str
    says: tuple[str, ...]


def wrong_answers(root: Path, which: Assignment) -> list[WrongAnswer]:
    """The wrong answers beside a solution notebook, in ``wrong_answers.toml``.

    Raises:
        Problem: the file cannot be read.
    """
    path = root / "solutions" / which.name / "wrong_answers.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from error
    return [
        WrongAnswer(
            task=identity,
            name=row["name"],
            code=row["code"],
            outcome=row.get("outcome", "wrong"),
            diagnosis=row.get("diagnosis", ""),
            says=tuple(row["says"]),
        )
        for identity, rows in tables.items()
        for row in rows
    ]


def answer_of(root: Path, identity: str, stub: bool = False) -> str:
    """The source of a task's answer cell: the solution, or the stub that a learner finds."""
    source = answer_source(root, identity)
    return stubbed(source) if stub else source


def namespace(root: Path, identity: str, code: str) -> dict[str, Any]:
    """A namespace as a kernel has it after the notebook's own cells and this answer, without the
    other tasks' answers.
    """
    names = dict(_given(root, assignment(task(identity).id[:2])))
    # As in a notebook, where a cell whose code does not run leaves nothing behind.
    ast.parse(code)
    exec(compile(code, f"<{identity}>", "exec"), names)
    return names


def verdict_on(root: Path, identity: str, code: str) -> Verdict:
    """The verdict on an answer, given as the source of its cell.

    What a task's answers are compared with is found out once in a process.
    """
    names = namespace(root, identity, code)
    facts = _facts(root, identity)
    return judge(identity, complete(identity, observe(identity, names), names, facts))


@functools.cache
def _facts(root: Path, identity: str) -> dict[str, Any]:
    return facts_of(identity, _given(root, assignment(task(identity).id[:2])))


@functools.cache
def _given(root: Path, which: Assignment) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells_of(root, which):
        marks = nbgrader_of(cell)
        if cell["cell_type"] == "code" and not marks.get("solution") and not marks.get("grade"):
            exec(compile("".join(cell["source"]), f"<{which.name} {cell['id']}>", "exec"), names)
    return names
