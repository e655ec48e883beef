"""Solutions and exercises in real kernels: what a learner sees, and that checks leave nothing
behind while Jupyter's loop runs.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from loopbound.authoring.execute import run_notebook
from loopbound.authoring.stable import without_colour
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import grade_id_of
from loopbound.paths import repository

ROOT = repository()
ASSIGNMENTS = pytest.mark.parametrize("which", assignments(), ids=lambda which: which.name)


@ASSIGNMENTS
def test_a_solution_passes_every_check(which: Assignment) -> None:
    result = run_notebook(ROOT / "solutions" / which.file)
    assert not result.problems, "\n".join(map(str, result.problems))
    cells = {cell["id"]: cell for cell in result.notebook.cells}
    for task in which.tasks:
        (output,) = cells[grade_id_of(task.id, "check")]["outputs"]
        # Displayed, not returned: nbgrader would read a cell's result as partial credit.
        assert output["output_type"] == "display_data"
        points = "1 point" if task.points == 1 else f"{task.points} points"
        assert f"✓ {task.id} {task.title}: passed, {points}" in output["data"]["text/markdown"]


@ASSIGNMENTS
def test_an_untouched_exercise_is_not_attempted_and_says_so_kindly(
    which: Assignment, tmp_path: Path
) -> None:
    notebook = nbformat.read(ROOT / "exercises" / which.file, as_version=4)
    for cell in notebook.cells:
        if cell.id.startswith("check-"):
            cell.metadata["tags"] = ["raises-exception"]
    path = tmp_path / "a copy, renamed.ipynb"
    nbformat.write(notebook, path)
    result = run_notebook(path)
    assert not result.problems, "\n".join(map(str, result.problems))
    cells = {cell["id"]: cell for cell in result.notebook.cells}
    for task in which.tasks:
        (output,) = cells[grade_id_of(task.id, "check")]["outputs"]
        assert output["ename"] == "CheckFailed"
        shown = without_colour("\n".join(output["traceback"]))
        assert (
            shown.startswith(f"· {task.id} {task.title}: not attempted")
            and f'hint("{task.id}")' in shown
        )
        assert "Traceback" not in shown and ".py" not in shown
