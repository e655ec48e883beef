"""nbgrader's autograde and ``loopbound grade`` give the same points for each task; where they do
not, it is on purpose, and listed here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
FIRST, DATABASE = assignment("01"), assignment("04")
ANSWERS = 60  # compared at least, beside those that are not there
Notebook = dict[str, Any]
Answers = dict[str, str]
Points = dict[str, dict[str, float]]

BROKEN = {
    "does not parse": "def {name}(:\n    return 1",
    "raises when it is run": "def {name}(*arguments):\n    return 1\n\n1 / 0",
    "another name": "def {name}_two(*arguments):\n    return 1",
    "no function": "{name} = 3",
    "empty": "",
    "raises when it is called": "def {name}(*arguments):\n    raise KeyError('mina')",
}


def answers_of(which: Assignment, wrongs: int, broken: Mapping[str, str]) -> dict[str, Answers]:
    """Answers by learner: right, none, all but one, one alone, so many with one right answer among
    wrong ones, and as many as hold what is broken.
    """
    right = {task.id: answer_of(ROOT, task.id) for task in which.tasks}
    made: dict[str, Answers] = {"all-right": right, "untouched": {}}
    first, *_, last = which.tasks
    made["all-but-the-first"] = {task: code for task, code in right.items() if task != first.id}
    made["the-last-alone"] = {last.id: right[last.id]}
    wrong: dict[str, list[str]] = {}
    for each in wrong_answers(ROOT, which):
        wrong.setdefault(each.task, []).append(each.code)
    for number in range(wrongs):
        # Another task is right each time, so that what is wrong has something to spoil.
        made[f"wrong-{number}"] = {
            task.id: (
                right[task.id]
                if number % len(which.tasks) == place
                else wrong[task.id][number % len(wrong[task.id])]
            )
            for place, task in enumerate(which.tasks)
        }
    for number, code in enumerate(broken.values()):
        task = which.tasks[number % len(which.tasks)]
        learner = made.setdefault(f"broken-{number // len(which.tasks)}", dict(right))
        learner[task.id] = code.format(name=_function(task))
    return made


def _function(task: Task) -> str:
    from loopbound.checks import task_check

    return task_check(task.id).answers[0]


def written(
    folder: Path,
    which: Assignment,
    learner: str,
    answers: Answers,
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


@dataclass(frozen=True)
class Both:
    """The points that the two gave to the same notebooks: by assignment, learner and task."""

    theirs: dict[str, Points]
    ours: dict[str, Points]
    answers: int


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Every notebook graded by both, in one course and one process of nbgrader's."""
    # What is broken is so before a database is asked; the first assignment's checks are the quicker
    # ones.
    learners = {
        FIRST.name: answers_of(FIRST, 5, BROKEN),
        DATABASE.name: answers_of(DATABASE, 4, {}),
    }
    course = Course(tmp_path_factory.mktemp("parity"), [FIRST, DATABASE])
    # A picture that is part of no task takes longer than all the checks beside it.
    course.replace(DATABASE, "four-engines", "# four_rows()")
    right = {task.id: answer_of(ROOT, task.id) for task in FIRST.tasks}
    paths = {
        which.name: {
            learner: written(course.root, which, learner, answers)
            for learner, answers in learners[which.name].items()
        }
        for which in (FIRST, DATABASE)
    }
    changes = {name: change for name, (change, _, _) in OTHERWISE.items()}
    course.run(
        Call(("generate_assignment", FIRST.name, "--force")),
        Call(("generate_assignment", DATABASE.name, "--force")),
        Call(("autograde", DATABASE.name)),
        Call(("autograde", FIRST.name)),
    )
    for learner, change in (changes | {"text-on-stderr": _warn}).items():
        paths[FIRST.name][learner] = written(course.root, FIRST, learner, right, change)
    # nbgrader gives up on some of these, and on the batch with them.
    course.run(
        Call(("autograde", FIRST.name, "--student=text-on-stderr")),
        *(
            Call(("autograde", FIRST.name, f"--student={learner}"), may_fail=True)
            for learner in changes
        ),
    )
    processes = Processes()
    try:
        ours = {name: graded(handed, processes) for name, handed in paths.items()}
    finally:
        processes.close()
    theirs = {which.name: course.points(which) for which in (FIRST, DATABASE)}
    compared = [answers for some in learners.values() for answers in some.values()]
    return Both(theirs, ours, sum(map(len, compared)))


def graded(paths: Mapping[str, Path], processes: Processes) -> Points:
    points: Points = {}
    grade_all(
        [Handed(path, learner) for learner, path in paths.items()],
        2,
        lambda graded: points.setdefault(
            graded.learner, {task.task: float(task.points) for task in graded.tasks}
        ),
        processes,
    )
    return points


@pytest.mark.parametrize("which", [FIRST, DATABASE], ids=lambda which: which.name)
def test_both_give_the_same_points(which: Assignment, both: Both) -> None:
    assert both.answers >= ANSWERS
    ours, theirs = both.ours[which.name], both.theirs[which.name]
    alike = {learner: row for learner, row in ours.items() if learner not in OTHERWISE}
    assert alike == {learner: row for learner, row in theirs.items() if learner not in OTHERWISE}
    assert len({tuple(row.values()) for row in alike.values()}) > 6  # they are not all alike


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


def _behind_its_check(notebook: Notebook) -> None:
    mine, cells = _cell(notebook, "answer-01-2"), notebook["cells"]
    place = cells.index(_cell(notebook, "check-01-2")) + 1
    cells.insert(place, {**json.loads(json.dumps(mine)), "id": "mine", "metadata": {}})
    mine["source"] = "def all_reports(users, fetch):\n    raise NotImplementedError()"


def _a_trial_ends_the_kernel(notebook: Notebook) -> None:
    _cell(notebook, "answer-01-3")["source"] += "\n\nimport os\nos._exit(0)"


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
    "behind-its-check": (_behind_its_check, RIGHT, "an answer counts wherever it stands"),
    "a-trial-ends-the-kernel": (
        _a_trial_ends_the_kernel,
        RIGHT,
        "what stands beside an answer costs no points",
    ),
    "a-check-twice": (_copy_of_a_check, RIGHT, "a copied cell stops no batch"),
}


def test_where_they_differ_it_is_on_purpose(both: Both) -> None:
    theirs, ours = both.theirs[FIRST.name], both.ours[FIRST.name]
    for learner, (_, wanted, why) in OTHERWISE.items():
        assert ours[learner] == wanted, why
        assert theirs.get(learner) != wanted, "nbgrader has learnt it: this row can go"
    assert ours["text-on-stderr"] == theirs["text-on-stderr"] == RIGHT  # here they agree
