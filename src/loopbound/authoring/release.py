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
from pathlib import Path
from typing import Any

from loopbound.authoring.solution_form import dumped, solution_form
from loopbound.course.manifest import Assignment
from loopbound.course.solutions import BEGIN, END, nbgrader_of
from loopbound.files import replace_text
from loopbound.problem import Problem

__all__ = ["STUB", "build", "checksum", "released", "stubbed"]

STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")


def released(text: str, name: str = "notebook") -> str:
    """The exercise notebook's text, from that of its solution.

    Raises:
        Problem: marks or metadata do not fit.
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

    Raises:
        Problem: marks do not pair.
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
    """nbgrader's checksum of a cell, by which it knows an answer that was not touched and a check
    that was.
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


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}") from error
