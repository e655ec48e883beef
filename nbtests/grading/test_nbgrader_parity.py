"""nbgrader's autograde and ``loopbound grade`` give the same points for each task; where they do
not, it is on purpose, and listed here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nbgrader_course import Call, Course

from loopbound.authoring.proof import answer_of, wrong_answers
from loopbound.course.manifest import Assignment, Task, assignment
from loopbound.course.solutions import grade_id_of, nbgrader_of
from loopbound.grading.handed import Handed
from loopbound.grading.isolation.processes import Processes
from loopbound.grading.run import grade_all
from loopbound.paths import repository

ROOT = repository()
WHICH = [assignment("01"), assignment("04")]
SUBMISSIONS = 30
Notebook = dict[str, Any]

BROKEN = {
    "does not parse": "def {name}(:\n    return 1",
    "raises when it is run": "def {name}(*arguments):\n    return 1\n\n1 / 0",
    "another name": "def {name}_two(*arguments):\n    return 1",
    "no function": "{name} = 3",
    "empty": "",
    "raises when it is called": "def {name}(*arguments):\n    raise KeyError('mina')",
}


def answers_of(which: Assignment) -> dict[str, dict[str, str]]:
    """Answers by learner: right, none, all but one, one alone, wrong in every known way, and broken
    in some.
    """
    right = {task.id: answer_of(ROOT, task.id) for task in which.tasks}
    made: dict[str, dict[str, str]] = {"all-right": right, "untouched": {}}
    first, *_, last = which.tasks
    made["all-but-the-first"] = {task: code for task, code in right.items() if task != first.id}
    made["the-last-alone"] = {last.id: right[last.id]}
    wrong: dict[str, list[str]] = {}
    for each in wrong_answers(ROOT, which):
        wrong.setdefault(each.task, []).append(each.code)
    for number in range(5):
        # Every second task is right, so that what is wrong has something to spoil.
        made[f"wrong-{number}"] = {
            task.id: (
                right[task.id]
                if (place + number) % 2
                else wrong[task.id][number % len(wrong[task.id])]
            )
            for place, task in enumerate(which.tasks)
        }
    for number, (what, code) in enumerate(BROKEN.items()):
        task = which.tasks[number % len(which.tasks)]
        made[what.replace(" ", "-")] = right | {task.id: code.format(name=_function(task))}
    return made


def _function(task: Task) -> str:
    from loopbound.checks import task_check

    return task_check(task.id).answers[0]


def written(
    folder: Path,
    which: Assignment,
    learner: str,
    answers: dict[str, str],
    change: Callable[[Notebook], None] = lambda notebook: None,
) -> Path:
    """A learner's notebook where nbgrader looks for what it has collected."""
    notebook = json.loads((ROOT / "exercises" / which.file).read_text(encoding="utf-8"))
    wanted = {grade_id_of(task, "answer"): code for task, code in answers.items()}
    for cell in notebook["cells"]:
        cell["source"] = wanted.get(nbgrader_of(cell).get("grade_id"), cell["source"])
    change(notebook)
    path = folder / "submitted" / learner / which.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.close()


def ours(paths: dict[str, Path], processes: Processes) -> dict[str, dict[str, float]]:
    points: dict[str, dict[str, float]] = {}
    grade_all(
        [Handed(path, learner) for learner, path in paths.items()],
        2,
        lambda graded: points.setdefault(
            graded.learner, {task.task: float(task.points) for task in graded.tasks}
        ),
        processes,
    )
    return points


@pytest.mark.parametrize("which", WHICH, ids=lambda which: which.name)
def test_both_give_the_same_points(which: Assignment, processes: Processes, tmp_path: Path) -> None:
    learners = answers_of(which)
    assert len(learners) * len(WHICH) >= SUBMISSIONS
    course = Course(tmp_path, [which])
    paths = {
        learner: written(course.root, which, learner, answers)
        for learner, answers in learners.items()
    }
    course.run(
        Call(("generate_assignment", which.name, "--force")), Call(("autograde", which.name))
    )
    theirs = course.points(which)
    assert ours(paths, processes) == theirs
    assert len({tuple(row.values()) for row in theirs.values()}) > 6  # they are not all alike


def _warn(notebook: Notebook) -> None:
    _cell(notebook, "answer-01-2")["source"] += "\n\nimport sys\nprint('a remark', file=sys.stderr)"


def _strip(notebook: Notebook) -> None:
    for cell in notebook["cells"]:
        cell["metadata"] = {}


def _copy_of_a_check(notebook: Notebook) -> None:
    cells = notebook["cells"]
    cells.insert(
        cells.index(_cell(notebook, "check-01-2")),
        json.loads(json.dumps(_cell(notebook, "check-01-2"))) | {"id": "a-copy"},
    )


def _ends_the_kernel(notebook: Notebook) -> None:
    _cell(notebook, "answer-01-3")["source"] = "import os\nos._exit(0)"


def _cell(notebook: Notebook, grade_id: str) -> dict[str, Any]:
    return next(cell for cell in notebook["cells"] if nbgrader_of(cell).get("grade_id") == grade_id)


RIGHT = {task.id: float(task.points) for task in assignment("01").tasks}

# What the grader does otherwise than nbgrader, and on purpose: the change to a right notebook, what
# ours gives, and why.
OTHERWISE: dict[str, tuple[Callable[[Notebook], None], dict[str, float], str]] = {
    "metadata-stripped": (_strip, RIGHT, "an editor that drops metadata takes nobody's points"),
    "ends-the-kernel": (
        _ends_the_kernel,
        RIGHT | {"01.3": 0.0},
        "the tasks beside it are run in a new kernel",
    ),
    "a-check-twice": (_copy_of_a_check, RIGHT, "a copied cell stops no batch"),
}


def test_where_they_differ_it_is_on_purpose(processes: Processes, tmp_path: Path) -> None:
    which = assignment("01")
    right = {task.id: answer_of(ROOT, task.id) for task in which.tasks}
    course = Course(tmp_path, [which])
    paths = {
        learner: written(course.root, which, learner, right, change)
        for learner, (change, _, _) in OTHERWISE.items()
    }
    paths["text-on-stderr"] = written(course.root, which, "text-on-stderr", right, _warn)
    course.run(
        Call(("generate_assignment", which.name, "--force")),
        Call(("autograde", which.name, "--student=text-on-stderr")),
    )
    for learner in OTHERWISE:
        with contextlib.suppress(AssertionError):  # nbgrader gave up on it
            course.run(Call(("autograde", which.name, f"--student={learner}")))
    theirs, own = course.points(which), ours(paths, processes)
    for learner, (_, wanted, why) in OTHERWISE.items():
        assert own[learner] == wanted, why
        assert theirs.get(learner) != wanted, "nbgrader has learnt it: this row can go"
    assert own["text-on-stderr"] == theirs["text-on-stderr"] == RIGHT  # here they agree
