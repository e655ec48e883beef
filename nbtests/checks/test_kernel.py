"""Exercises and solutions in real kernels: what a learner sees, and that checks leave nothing
behind while Jupyter's loop runs.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import nbformat
import pytest

from loopbound.authoring.execute import run_notebook
from loopbound.authoring.stable import without_colour
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import grade_id_of
from loopbound.paths import repository

ROOT = repository()


@pytest.mark.parametrize("which", assignments(), ids=lambda which: which.name)
def test_a_stub_is_not_attempted_and_the_solution_behind_it_passes(
    which: Assignment, tmp_path: Path
) -> None:
    """One kernel for both, as a learner has it: each task is checked as it was handed out, then
    with the course's answer.
    """
    handed_out = nbformat.read(ROOT / "exercises" / which.file, as_version=4)
    solved = nbformat.read(ROOT / "solutions" / which.file, as_version=4)
    assert [cell.id for cell in handed_out.cells] == [cell.id for cell in solved.cells]
    answers = {cell.id: cell for cell in solved.cells}
    cells = []
    for cell in handed_out.cells:
        cells.append(cell)
        if cell.id.startswith("check-"):
            again = [answers[cell.id.replace("check", "answer")], deepcopy(cell)]
            for each in again:
                each["id"] = f"{each.id}-again"
            cells += again
            cell.metadata["tags"] = ["raises-exception"]
    handed_out.cells = cells
    path = tmp_path / "a copy, renamed.ipynb"
    nbformat.write(handed_out, path)
    result = run_notebook(path)
    assert not result.problems, "\n".join(map(str, result.problems))
    outputs = {cell["id"]: cell.get("outputs") for cell in result.notebook.cells}
    for task in which.tasks:
        check = grade_id_of(task.id, "check")
        (output,) = outputs[check]
        assert output["ename"] == "CheckFailed"
        shown = without_colour("\n".join(output["traceback"]))
        assert shown.startswith(f"· {task.id} {task.title}: not attempted")
        assert f'hint("{task.id}")' in shown
        assert "Traceback" not in shown
        assert ".py" not in shown
        (output,) = outputs[f"{check}-again"]
        # Displayed, not returned: nbgrader would read a cell's result as partial credit.
        assert output["output_type"] == "display_data"
        points = "1 point" if task.points == 1 else f"{task.points} points"
        assert f"✓ {task.id} {task.title}: passed, {points}" in output["data"]["text/markdown"]
