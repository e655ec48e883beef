"""The generator: what nbgrader's generate_assignment would give, the same bytes each time, and
words for what cannot be released.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopbound import check, show
from loopbound.authoring.proof import answer_of, namespace, wrong_answers
from loopbound.authoring.release import checksum, released, stubbed
from loopbound.authoring.solution_form import solution_form
from loopbound.commands import exercises as command
from loopbound.course.manifest import assignments
from loopbound.figures import Figure
from loopbound.paths import repository
from loopbound.problem import Problem

ANSWER = (
    "def total():\n    # about 1 line\n    ### BEGIN SOLUTION\n    return 6\n    ### END SOLUTION"
)


def marked(grade_id: str, **more: object) -> dict[str, object]:
    return {
        "grade": False,
        "grade_id": grade_id,
        "locked": False,
        "schema_version": 3,
        "solution": False,
        "task": False,
    } | more


def cell(identity: str, source: str, **marks: object) -> dict[str, object]:
    metadata = {"nbgrader": marked(identity, **marks)} if marks else {}
    return {
        "cell_type": "code",
        "id": identity,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def notebook(*cells: dict[str, object]) -> str:
    return solution_form(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )


def test_a_stub_takes_the_answer_s_place_with_its_indent() -> None:
    assert (
        stubbed(ANSWER)
        == "def total():\n    # about 1 line\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    )


def test_cells_are_locked_and_sealed_as_nbgrader_0_9_6_does_it() -> None:
    text = notebook(
        cell("imports", "import asyncio"),
        cell("given", "REPORTS = 6", locked=True),
        cell("answer-01-1", ANSWER, solution=True),
        cell("check-01-1", 'check("01.1")', grade=True, locked=True, points=2),
    )
    plain, given, answer, test = json.loads(released(text))["cells"]
    assert plain["metadata"] == {}
    assert [given["metadata"].get(key) for key in ("deletable", "editable")] == [False, False]
    assert [answer["metadata"].get(key) for key in ("deletable", "editable")] == [False, None]
    assert [test["metadata"].get(key) for key in ("deletable", "editable")] == [False, False]
    # These three were computed by nbgrader 0.9.6 from the same cells.
    sums = [each["metadata"]["nbgrader"]["checksum"] for each in (given, answer, test)]
    assert sums == [
        "31fbfc59e04798af1ba893c3c79ef551",
        "ece880fe328f725e492d2f4d21452435",
        "c52e5a874996abd1abaa4b02c9feb704",
    ]
    assert checksum(answer) == sums[1] and test["metadata"]["nbgrader"]["cell_type"] == "code"


def test_it_gives_the_same_bytes_again_and_drops_outputs() -> None:
    done = cell("answer-01-1", ANSWER, solution=True)
    done |= {
        "outputs": [{"output_type": "stream", "name": "stdout", "text": "6\n"}],
        "execution_count": 3,
    }
    text = notebook(done)
    assert released(text) == released(text) and solution_form(text) == text
    assert '"outputs": []' in released(text) and '"execution_count": null' in released(text)


@pytest.mark.parametrize(
    ("source", "marks", "words"),
    [
        (ANSWER, {}, "holds a solution and is not marked"),
        ("return 6", {"solution": True}, "is a solution cell without"),
        (
            ANSWER.replace("    ### END SOLUTION", ""),
            {"solution": True},
            "'END SOLUTION' is missing",
        ),
        (
            ANSWER.replace("return 6", "### BEGIN SOLUTION"),
            {"solution": True},
            "stands inside a solution",
        ),
        (ANSWER, {"solution": True, "schema_version": 1}, "schema version is 1"),
    ],
)
def test_what_nbgrader_would_refuse_is_refused_by_name(
    source: str, marks: dict[str, object], words: str
) -> None:
    with pytest.raises(Problem, match="cell 'answer'") as caught:
        released(notebook(cell("answer", source, **marks)))
    assert words in str(caught.value)


def test_a_grade_id_is_taken_once() -> None:
    with pytest.raises(Problem, match="is taken"):
        released(
            notebook(
                cell("given", "REPORTS = 6", locked=True), cell("given", "USERS = 3", locked=True)
            )
        )


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one solution."""
    which = assignments()[0]
    source = tmp_path / "solutions" / which.file
    source.parent.mkdir(parents=True)
    source.write_bytes((repository() / "solutions" / which.file).read_bytes())
    monkeypatch.setattr(command, "repository", lambda: tmp_path)
    monkeypatch.setattr(command, "assignments", lambda: (which,))
    return tmp_path


def test_build_writes_and_check_changes_nothing(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    which = assignments()[0]
    exercise = course / "exercises" / which.file
    assert command.exercises_command("build", [], check=True) == 1 and not exercise.exists()
    assert "exercises build" in capsys.readouterr().out
    assert command.exercises_command("build", [], check=False) == 0
    assert exercise.read_bytes() == (repository() / "exercises" / which.file).read_bytes()
    assert command.exercises_command("build", [], check=True) == 0
    exercise.write_text(
        exercise.read_text(encoding="utf-8").replace("YOUR CODE HERE", "MY CODE HERE"),
        encoding="utf-8",
    )
    assert command.exercises_command("build", ["1"], check=True) == 1
    assert command.exercises_command("build", ["1"], check=False) == 0
    (exercise.parent / "copy.ipynb").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert command.exercises_command("build", [], check=True) == 1
    assert "copy.ipynb: belongs to no assignment" in capsys.readouterr().out


def test_a_solution_that_is_not_there_is_named(course: Path) -> None:
    (course / "solutions" / assignments()[0].file).unlink()
    with pytest.raises(Problem, match="the course's manifest names it"):
        command.exercises_command("build", [], check=True)


@pytest.mark.parametrize("identity", ["01.2", "01.3", "02.3", "02.4", "03.3", "03.4", "04.3"])
def test_show_draws_the_learner_s_own_run(identity: str) -> None:
    which = next(which for which in assignments() if which.number == identity[:2])
    code = next(
        answer.code for answer in wrong_answers(repository(), which) if answer.task == identity
    )
    figure = show(identity, namespace(repository(), identity, code))
    assert isinstance(figure, Figure) and figure.alt


def test_the_picture_of_a_prediction_is_drawn_after_a_pass() -> None:
    names = namespace(repository(), "04.1", answer_of(repository(), "04.1"))
    assert "after a pass" in repr(show("04.1", names))
    assert "draws the run" in repr(check("04.1", names))
    assert isinstance(show("04.1", names), Figure)


@pytest.mark.parametrize("identity", ["01.2", "01.3", "02.3", "02.4", "03.3", "03.4", "04.3"])
def test_show_has_a_word_where_there_is_nothing_to_draw(identity: str) -> None:
    stub = answer_of(repository(), identity, stub=True)
    assert "NotImplementedError" in repr(show(identity, namespace(repository(), identity, stub)))
    assert "yet" in repr(show(identity, {}))
    assert "nothing to draw" in repr(show("01.4", {}))
