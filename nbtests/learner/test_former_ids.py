"""An assignment may get another number: what was kept or handed in under its old ids still counts,
also where another assignment has those ids now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loopbound.checks import CheckFailed
from loopbound.commands.reset import reset_command
from loopbound.course.manifest import assignment, assignments
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.handed import found
from loopbound.grading.results import Graded, TaskResult
from loopbound.grading.submission import read_submission
from loopbound.learner.cells import check, show
from loopbound.learner.progress import ProgressFile
from loopbound.paths import repository

OLD = "10-capstone"
CAPSTONE = assignment(OLD)
DONE = "def met():\n    return {'a_test_that_is_not_there': ''}"


def handed_out(which: str) -> dict[str, Any]:
    path = repository() / "exercises" / assignment(which).file
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def as_before(number: str = CAPSTONE.number, old: str = OLD[:2]) -> dict[str, Any]:
    """The exercise as it was handed out under its former number, with one answer."""
    text = json.dumps(handed_out(CAPSTONE.number))
    for sign in ("-{}-", "{}."):
        text = text.replace(sign.format(number), sign.format(old))
    notebook: dict[str, Any] = json.loads(text)
    answer = next(cell for cell in notebook["cells"] if cell["id"] == f"answer-{old}-1")
    answer["source"] = DONE
    return notebook


def written(path: Path, notebook: dict[str, Any]) -> Path:
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_former_ids_and_names_are_unambiguous() -> None:
    moved = [which for which in assignments() if which.formerly]
    assert CAPSTONE in moved and CAPSTONE.former_ids["10.1"] == "12.1"
    names = {which.name for which in assignments()}
    assert names.isdisjoint(which.formerly for which in moved)


def test_a_notebook_of_the_former_number_is_the_same_exercise(tmp_path: Path) -> None:
    path = written(tmp_path / f"{OLD}_mina.ipynb", as_before())
    with found([path], None) as hand_ins:
        assert [(each.learner, each.assignment) for each in hand_ins.notebooks] == [
            ("mina", CAPSTONE.name)
        ]
    plain = as_before()
    for cell in plain["cells"]:
        cell["metadata"] = {}
    for notebook in (path, written(tmp_path / "plain.ipynb", plain)):
        submission = read_submission(notebook)
        assert submission.assignment == CAPSTONE
        assert submission.answers["12.1"] == DONE and submission.handed_out == {"12.2", "12.3"}
        assert sorted(submission.checks) == [task.id for task in CAPSTONE.tasks]
        assert submission.notes == ()


def test_the_assignment_of_that_number_today_is_itself(tmp_path: Path) -> None:
    for which in assignments():
        path = repository() / "exercises" / which.file
        assert read_submission(path).assignment == which


def test_one_answer_of_it_is_put_back(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.ipynb", as_before())
    assert reset_command(str(path), "12.1") == 0
    assert read_submission(path).handed_out == {task.id for task in CAPSTONE.tasks}
    written(path, as_before())
    assert reset_command(str(path)) == 0
    assert json.loads(path.read_text(encoding="utf-8")) == handed_out(CAPSTONE.number)


def test_a_check_of_the_former_id_is_the_one_of_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBOUND_PROGRESS", str(tmp_path / "progress.jsonl"))
    names: dict[str, Any] = {"ORDER": []}
    exec("def met():\n    raise NotImplementedError", names)
    with pytest.raises(CheckFailed) as failed:
        check("10.1", names)
    assert failed.value.feedback.task.id == "12.1"
    assert "NotImplementedError" in failed.value.feedback.verdict.says
    assert "12.1 has nothing to draw" in repr(show("10.1", names))
    assert list(ProgressFile().entries()) == ["12.1"]


def test_progress_of_a_former_id_moves_once(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    old = {"outcome": "passed", "points": 3, "checks": 2, "hints": 1, "last": "2026-01-01"}
    rows: list[dict[str, Any]] = [{"loopbound": "progress", "version": 1}]
    rows += [
        {"clone": clone, "task": task} | old
        for clone in ("/mine", "/other")
        for task in ("09.1", "10.1", "10.3")
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    kept = ProgressFile(path, "/mine")
    assert list(kept.entries()) == ["09.1", "12.1", "12.3"]
    assert (kept.entry("12.1").task, kept.entry("12.1").points) == ("12.1", 3)
    kept.checked("10.1", "wrong", 0)  # the task that has this id now
    kept.checked("10.1", "raised", 0)
    assert {task: entry.outcome for task, entry in kept.entries().items()} == {
        "09.1": "passed",
        "10.1": "wrong",
        "12.1": "passed",
        "12.3": "passed",
    }
    # A clone of its own is moved by itself, also one that begins with the ids of today.
    assert '"/other", "task": "10.3"' in path.read_text(encoding="utf-8")
    assert list(ProgressFile(path, "/other").entries()) == ["09.1", "12.1", "12.3"]
    new = ProgressFile(path, "/new")
    new.hinted("10.1", 1)
    assert list(new.entries()) == ["10.1"]


def test_a_stored_result_of_the_former_name_is_shown_under_todays(tmp_path: Path) -> None:
    tasks = tuple(
        TaskResult(task, "passed", 3, 3, "Right.", "", 1.0, DONE) for task in CAPSTONE.former_ids
    )
    graded = Graded("a.ipynb", "mina", "digest", OLD, tasks)
    with Gradebook(tmp_path / "grades.sqlite") as gradebook:
        gradebook.store(graded)
        (result,) = gradebook.all()
    assert result.assignment == CAPSTONE.name
    assert [each.task for each in result.tasks] == [task.id for task in CAPSTONE.tasks]
