"""Makes the exercise out of the solution, as nbgrader's ``generate_assignment`` does with its
default settings.

Between the marks ``### BEGIN SOLUTION`` and ``### END SOLUTION`` a stub takes the answer's place;
answers cannot be deleted, checks and given cells not be edited either; each of them gets nbgrader's
checksum.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from loopbound.course.solutions import BEGIN, END, nbgrader_of
from loopbound.exercises.form import dumped
from loopbound.problem import Problem

__all__ = ["STUB", "checksum", "released", "stubbed"]

STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")


def released(text: str, name: str = "notebook") -> str:
    """The exercise notebook's text, from that of its solution.

    Raises ``Problem`` where marks or metadata do not fit.
    """
    notebook = json.loads(text)
    taken: set[str] = set()
    for cell in notebook["cells"]:
        marks = nbgrader_of(cell)
        where = f"{name}, cell '{cell.get('id')}'"
        cell["source"] = "".join(cell["source"])
        if BEGIN in cell["source"] or END in cell["source"]:
            if not marks.get("solution"):
                raise Problem(f"{where} holds a solution and is not marked as a solution cell.")
            cell["source"] = stubbed(cell["source"], where)
        elif marks.get("solution"):
            raise Problem(
                f"{where} is a solution cell without '### {BEGIN}': the stub would take its"
                " signature too."
            )
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if marks:
            if marks["grade_id"] in taken:
                raise Problem(f"{where}: the grade_id {marks['grade_id']!r} is taken.")
            taken.add(marks["grade_id"])
            _seal(cell, marks)
    return dumped(notebook)


def stubbed(source: str, where: str = "cell") -> str:
    """A solution cell's source with nbgrader's stub in place of each answer.

    Raises ``Problem`` for marks that do not pair.
    """
    lines: list[str] = []
    inside = False
    for line in source.split("\n"):
        if BEGIN in line:
            if inside:
                raise Problem(f"{where}: '{BEGIN}' stands inside a solution.")
            inside = True
            indent = re.match(r"\s*", line)[0]  # type: ignore[index]  # matches every text
            lines += [indent + stub for stub in STUB]
        elif END in line:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise Problem(f"{where}: '{END}' is missing.")
    return "\n".join(lines)


def _seal(cell: dict[str, Any], marks: dict[str, Any]) -> None:
    locked = _locked(marks)
    if marks.get("solution") or locked:
        cell["metadata"]["deletable"] = False
        if locked:
            cell["metadata"]["editable"] = False
        marks["checksum"] = checksum(cell)
        marks["cell_type"] = cell["cell_type"]


def _locked(marks: dict[str, Any]) -> bool:
    return not marks.get("solution") and bool(marks.get("grade") or marks.get("locked"))


def checksum(cell: dict[str, Any]) -> str:
    """nbgrader's checksum of a cell, by which it knows an answer that nobody touched and a check
    that somebody did.
    """
    marks = nbgrader_of(cell)
    parts = [
        "".join(cell["source"]),
        cell["cell_type"],
        str(bool(marks.get("grade"))),
        str(bool(marks.get("solution"))),
        str(_locked(marks)),
        marks["grade_id"],
    ]
    if marks.get("grade"):
        parts.append(str(float(marks["points"])))
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()
