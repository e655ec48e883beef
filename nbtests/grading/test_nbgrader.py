"""The repository is a working nbgrader course: the real nbgrader generates, hands out, collects,
grades and gives feedback in a copy of it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from nbgrader_course import Call, Course

from loopbound.authoring.proof import answer_of, wrong_answers
from loopbound.course.manifest import Assignment, assignment, assignments
from loopbound.paths import repository

ROOT = repository()
FIRST = assignment("01")
EXCHANGE = pytest.mark.skipif(os.name == "nt", reason="nbgrader has no exchange on Windows")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its place."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def committed(which: Assignment) -> bytes:
    return (ROOT / "exercises" / which.file).read_bytes()


# Generating ---------------------------------------------------------------------------------------


def test_what_it_generates_is_what_the_course_has(tmp_path: Path) -> None:
    course = Course(tmp_path, assignments())
    solutions = contents(course.root / "solutions")
    # One from nothing, the others over what is there.
    shutil.rmtree(course.root / "exercises" / FIRST.name)
    with pytest.raises(AssertionError, match="No notebooks were matched by .*99-no-such-lesson"):
        course.run(
            *(Call(("generate_assignment", each.name, "--force")) for each in assignments()),
            Call(("generate_assignment", "99-no-such-lesson")),
        )
    # Nothing but the notebooks, so nothing that tells an answer; and not a byte in them differs.
    assert contents(course.root / "exercises") == {
        each.file.as_posix(): committed(each) for each in assignments()
    }
    assert contents(course.root / "solutions") == solutions
    assert any(name.endswith("wrong_answers.toml") for name in solutions)


# From release to feedback -------------------------------------------------------------------------

WRONG = next(answer for answer in wrong_answers(ROOT, FIRST) if answer.task == "01.2")


@dataclass(frozen=True)
class Round:
    """An assignment that two learners worked on, from its release to the feedback that they
    fetched.
    """

    course: Course
    said: str


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """Mina answers everything; Omar one task rightly, one wrongly, leaves two, and has changed what
    the checks of these say.
    """
    course = Course(tmp_path_factory.mktemp("nbgrader"), [FIRST])
    name = FIRST.name
    said = course.run(
        Call(("generate_assignment", name, "--force")),
        Call(("release_assignment", name)),
        Call(("fetch_assignment", name), "mina"),
        Call(("fetch_assignment", name), "omar"),
    )
    course.hand_in("mina", FIRST, {task.id: answer_of(ROOT, task.id) for task in FIRST.tasks})
    answers = {"01.1": answer_of(ROOT, "01.1"), "01.2": WRONG.code}
    course.hand_in("omar", FIRST, answers, {"check-01-3": "print('passed')", "check-01-4": ""})
    said += course.run(
        Call(("submit", name), "mina"),
        Call(("submit", name), "omar"),
        Call(("collect", name, "--ExchangeCollect.check_owner=False")),
        Call(("autograde", name)),
        Call(("generate_feedback", name)),
        Call(("release_feedback", name)),
        Call(("fetch_feedback", name), "mina"),
        Call(("fetch_feedback", name), "omar"),
    )
    return Round(course, said)


@EXCHANGE
def test_learners_get_the_exercise_and_nothing_else(worked: Round) -> None:
    outbound = worked.course.exchange / "loopbound" / "outbound" / FIRST.name
    assert contents(outbound) == {FIRST.file.name: committed(FIRST)}


@EXCHANGE
def test_the_gradebook_has_the_points_of_each_task(worked: Round) -> None:
    everything = {task.id: float(task.points) for task in FIRST.tasks}
    # A changed check is put back before it runs, so it earns nothing.
    omars = {task.id: float(task.points) if task.id == "01.1" else 0.0 for task in FIRST.tasks}
    assert worked.course.points(FIRST) == {"mina": everything, "omar": omars}


@EXCHANGE
def test_the_feedback_says_what_the_check_said_and_tells_no_answer(worked: Round) -> None:
    pages = {}
    for learner in ("mina", "omar"):
        (page,) = (worked.course.home(learner) / FIRST.name / "feedback").rglob("*.html")
        pages[learner] = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    assert all(f"✓ {task.id} {task.title}: passed" in pages["mina"] for task in FIRST.tasks)
    assert "✗ 01.2 All reports at once: wrong" in pages["omar"] and "· 01.3" in pages["omar"]
    assert all(
        words.replace("`", "") in pages["omar"].replace("`", "").replace("\n", " ")
        for words in WRONG.says
    )
    for task in ("01.2", "01.3", "01.4"):
        answer = answer_of(ROOT, task).split("### BEGIN SOLUTION\n")[1].split("\n", 1)[0].strip()
        assert answer in pages["mina"] and answer not in pages["omar"]


@EXCHANGE
def test_what_tells_answers_lies_beside_no_submission(worked: Round) -> None:
    names = {
        path.name
        for path in worked.course.root.rglob("*")
        if path.is_file() and "solutions" not in path.parts
    }
    assert f"{FIRST.name}.html" in names and "wrong_answers.toml" not in names


@EXCHANGE
@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_what_nbgrader_leaves_in_a_clone_is_no_change_of_it(worked: Round, tmp_path: Path) -> None:
    ours = {"solutions", "exercises", "nbgrader_config.py"}
    left = sorted(
        path.name + "/" * path.is_dir()
        for path in worked.course.root.iterdir()
        if path.name not in ours
    )
    assert {"gradebook.db", "submitted/", "autograded/", "feedback/"} <= set(left)
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    ignored = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", *left], capture_output=True, text=True
    ).stdout.split()
    assert ignored == left
