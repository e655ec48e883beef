"""Every task is proven: its stub is not attempted, its solution passes, each wrong answer gets the
diagnosis that it must get.
"""

from __future__ import annotations

import json

import pytest
from lesson_rules import AMERICAN, BANNED
from prose import prose

from loopbound.authoring.proof import WrongAnswer, answer_of, verdict_on, wrong_answers
from loopbound.authoring.release import build
from loopbound.checks import task_check
from loopbound.course.manifest import assignments
from loopbound.course.solutions import grade_id_of, nbgrader_of
from loopbound.outcomes import NOT_ATTEMPTED, PASSED
from loopbound.paths import repository

ROOT = repository()
ASSIGNMENTS = pytest.mark.parametrize("which", assignments(), ids=lambda which: which.name)
TASKS = pytest.mark.parametrize(
    "identity", [task.id for which in assignments() for task in which.tasks]
)
WRONG = [answer for which in assignments() for answer in wrong_answers(ROOT, which)]


@pytest.fixture(autouse=True)
def one_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check runs two orders of a suite at once, so that a learner waits less, and stops at the
    first that fails. Here that makes every second run of a wrong answer work for nothing.
    """
    monkeypatch.setattr("loopbound.checks.suites._AT_ONCE", 1)


@TASKS
def test_the_stub_is_not_attempted(identity: str) -> None:
    verdict = verdict_on(ROOT, identity, answer_of(ROOT, identity, stub=True))
    assert (verdict.outcome, "NotImplementedError" in verdict.says) == (
        NOT_ATTEMPTED,
        True,
    ), verdict


# A solution whose check runs a suite is proven in test_exercises_kernel, in a real kernel: that run
# is the same work once more.
@pytest.mark.parametrize(
    "identity",
    [task.id for which in assignments() for task in which.tasks if not task_check(task.id).settle],
)
def test_the_solution_passes(identity: str) -> None:
    verdict = verdict_on(ROOT, identity, answer_of(ROOT, identity))
    assert verdict.outcome == PASSED, verdict


@pytest.mark.parametrize("answer", WRONG, ids=[f"{answer.task} {answer.name}" for answer in WRONG])
def test_a_wrong_answer_gets_its_diagnosis(answer: WrongAnswer) -> None:
    verdict = verdict_on(ROOT, answer.task, answer.code)
    assert (verdict.outcome, verdict.diagnosis) == (answer.outcome, answer.diagnosis), verdict
    assert [words for words in answer.says if words not in verdict.says] == [], verdict.says


@TASKS
def test_a_task_has_enough_wrong_answers_and_hints(identity: str) -> None:
    mine = [answer for answer in WRONG if answer.task == identity]
    assert len({answer.diagnosis for answer in mine}) >= 3
    assert all(answer.says for answer in mine)
    assert len(task_check(identity).hints) >= 2


def test_wrong_answers_belong_to_tasks() -> None:
    assert {answer.task for answer in WRONG} <= {
        task.id for which in assignments() for task in which.tasks
    }


@ASSIGNMENTS
def test_the_exercise_is_what_its_solution_gives(which) -> None:
    assert build(ROOT, which, check=True) == []


@ASSIGNMENTS
def test_a_notebook_has_its_tasks_as_the_manifest_says(which) -> None:
    cells = json.loads((ROOT / "solutions" / which.file).read_text(encoding="utf-8"))["cells"]
    marks = {
        nbgrader_of(cell)["grade_id"]: (cell, nbgrader_of(cell))
        for cell in cells
        if nbgrader_of(cell)
    }
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert f"**{which.minutes} minutes**" in text
    for task in which.tasks:
        cell, answer = marks.pop(grade_id_of(task.id, "answer"))
        assert (
            answer["solution"]
            and not answer["grade"]
            and "# " in "".join(cell["source"]).split("### BEGIN")[0]
        )
        assert "about " in "".join(cell["source"]), f"{task.id} does not say how big the answer is"
        cell, check = marks.pop(grade_id_of(task.id, "check"))
        assert (check["grade"], check["locked"], check["points"]) == (True, True, task.points)
        assert "".join(cell["source"]) == f'check("{task.id}")'
        points = "1 point" if task.points == 1 else f"{task.points} points"
        assert (
            f"## {task.id} {task.title}\n" in text and f"{task.minutes} minutes · {points}*" in text
        )
    assert all(mark["locked"] and not mark["grade"] for _, mark in marks.values()), (
        "a graded cell that no task has"
    )
    assert 300 <= prose(text).words <= 650


@ASSIGNMENTS
def test_an_exercise_holds_no_answer(which) -> None:
    text = (ROOT / "exercises" / which.file).read_text(encoding="utf-8")
    sources = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert "SOLUTION" not in sources
    for task in which.tasks:
        answer = (
            answer_of(ROOT, task.id)
            .split("### BEGIN SOLUTION")[1]
            .split("### END SOLUTION")[0]
            .rstrip()
        )
        assert len(answer) > 20 and answer not in sources


@ASSIGNMENTS
def test_the_language_is_that_of_the_lessons(which) -> None:
    cells = json.loads((ROOT / "solutions" / which.file).read_text(encoding="utf-8"))["cells"]
    pieces = [
        piece
        for cell in cells
        if cell["cell_type"] == "markdown"
        for piece in prose("".join(cell["source"])).text
    ]
    checks = [task_check(task.id) for task in which.tasks]
    pieces += [
        text
        for check in checks
        for text in (*check.hints, *(told for _, _, told in check.explains))
    ]
    found = [
        word[0] for piece in pieces for rule in (BANNED, AMERICAN) for word in rule.finditer(piece)
    ]
    assert found == []


@ASSIGNMENTS
def test_links_lead_somewhere(which) -> None:
    folder = (ROOT / "exercises" / which.file).parent
    cells = json.loads((ROOT / "exercises" / which.file).read_text(encoding="utf-8"))["cells"]
    links = [
        link
        for cell in cells
        if cell["cell_type"] == "markdown"
        for link in prose("".join(cell["source"])).links
    ]
    assert links and [link for link in links if not (folder / link).is_file()] == []
