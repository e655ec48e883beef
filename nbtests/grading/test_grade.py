"""The grader gives what the checks give: full points to every solution, and to every wrong answer
its own diagnosis.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopbound.authoring.proof import WrongAnswer, wrong_answers
from loopbound.checks import task_check
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import grade_id_of, nbgrader_of
from loopbound.grading.handed import Handed
from loopbound.grading.isolation.processes import Processes
from loopbound.grading.results import Graded
from loopbound.grading.run import grade_all
from loopbound.learner.executor import kernels
from loopbound.outcomes import NOT_ATTEMPTED, PASSED
from loopbound.paths import repository

_OWN_WAY = ("a bug goes unnoticed", "another file", "no text", "still hung")


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


def handed_in(folder: Path, which: Assignment, answers: dict[str, str], name: str) -> Handed:
    """The exercise as it is released, with answers in some of its cells."""
    notebook = json.loads((repository() / "exercises" / which.file).read_text(encoding="utf-8"))
    wanted = {grade_id_of(task, "answer"): code for task, code in answers.items()}
    for cell in notebook["cells"]:
        if code := wanted.get(nbgrader_of(cell).get("grade_id", "")):
            cell["source"] = code
    path = folder / name / which.file.name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return Handed(path, name)


def graded(handed: list[Handed], processes: Processes) -> dict[str, Graded]:
    results: dict[str, Graded] = {}
    grade_all(handed, 2, lambda one: results.setdefault(one.learner, one), processes)
    return results


@pytest.mark.parametrize("which", assignments(), ids=lambda which: which.name)
def test_what_the_checks_say_the_grader_says(
    which: Assignment, processes: Processes, tmp_path: Path
) -> None:
    by_task: dict[str, list[WrongAnswer]] = {}
    for wrong in wrong_answers(repository(), which):
        answers = by_task.setdefault(wrong.task, [])
        # Where an answer is a text that a suite is run with, all go the same way through the grader
        # and test_exercises has run each of them. Here are one of each kind of verdict, one that
        # ends before a run, and those that need the bugs that only the grader's own process sees.
        if task_check(wrong.task).settle is None or not answers or wrong.diagnosis in _OWN_WAY:
            answers.append(wrong)
    rounds = max(map(len, by_task.values()))
    picked = [
        {task: wrongs[number] for task, wrongs in by_task.items() if number < len(wrongs)}
        for number in range(rounds)
    ]
    handed = [
        handed_in(
            tmp_path,
            which,
            {task: wrong.code for task, wrong in answers.items()},
            f"learner-{number}",
        )
        for number, answers in enumerate(picked)
    ]
    handed.append(Handed(repository() / "solutions" / which.file, "the course"))
    handed.append(Handed(repository() / "exercises" / which.file, "nobody"))
    results = graded(handed, processes)
    right = results["the course"]
    # What went wrong, and not only how many points.
    assert [
        (task.task, task.outcome, task.diagnosis, task.says)
        for task in right.tasks
        if task.outcome != PASSED
    ] == []
    assert (right.points, right.of) == (which.points, which.points), right
    assert {task.outcome for task in results["nobody"].tasks} == {NOT_ATTEMPTED}
    for number, answers in enumerate(picked):
        for task in results[f"learner-{number}"].tasks:
            wrong = answers.get(task.task)
            assert (task.outcome, task.points) == (wrong.outcome if wrong else NOT_ATTEMPTED, 0), (
                wrong,
                task,
            )
            if wrong:
                assert task.diagnosis == wrong.diagnosis, (wrong.name, task)
                assert [words for words in wrong.says if words not in task.says] == [], (
                    wrong.name,
                    task.says,
                )


def test_a_fresh_kernel_gives_the_same(tmp_path: Path) -> None:
    which = assignments()[0]
    wrong = wrong_answers(repository(), which)[0]
    processes = Processes(warm=False)
    try:
        results = graded(
            [
                Handed(repository() / "solutions" / which.file, "right"),
                handed_in(tmp_path, which, {wrong.task: wrong.code}, "wrong"),
            ],
            processes,
        )
    finally:
        processes.close()
    assert not processes.forks and results["right"].points == which.points
    assert (
        next(task for task in results["wrong"].tasks if task.task == wrong.task).diagnosis
        == wrong.diagnosis
    )


def test_one_task_of_a_notebook_is_checked_alone() -> None:
    which = assignments()[0]
    with kernels() as run:
        checked = run(repository() / "solutions" / which.file, {which.tasks[1].id})
    assert [(task, result["outcome"]) for task, result in checked.items()] == [
        (which.tasks[1].id, PASSED)
    ]
