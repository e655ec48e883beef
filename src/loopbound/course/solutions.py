"""The solution notebooks, the only place where an exercise is written: their cells, and a task's
answer in them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loopbound.course.manifest import Assignment, assignment, task
from loopbound.problem import Problem

__all__ = ["BEGIN", "COPY", "END", "answer_source", "cells_of", "grade_id_of", "nbgrader_of"]

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
"""nbgrader's marks around what a learner has to write; each stands in a comment line of its own."""
COPY = ".before-reset-"
"""In the name of a copy that a reset has kept: such a notebook is no exercise."""


def cells_of(root: Path, which: Assignment) -> list[dict[str, Any]]:
    """The cells of an assignment's solution. Raises ``Problem`` where it cannot be read."""
    path = root / "solutions" / which.file
    try:
        return json.loads(path.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise Problem(
            f"the solutions are not here: {path} cannot be read ({error.strerror})."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Problem(f"{path} is not a notebook: {error}") from error


def answer_source(root: Path, identity: str) -> str:
    """The source of a task's answer cell, marks included."""
    wanted = grade_id_of(identity, "answer")
    cells = cells_of(root, assignment(task(identity).id[:2]))
    return next(
        "".join(cell["source"]) for cell in cells if nbgrader_of(cell).get("grade_id") == wanted
    )


def nbgrader_of(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's nbgrader metadata, empty where it has none."""
    return cell["metadata"].get("nbgrader", {})


def grade_id_of(identity: str, role: str) -> str:
    """The ``grade_id`` of a task's cell: ``"answer-01-2"`` or ``"check-01-2"``."""
    return f"{role}-{identity.replace('.', '-')}"
