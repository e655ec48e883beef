"""What a learner asks for at the prompt: check, watch, hint, progress, reset; with real files, and
the real checks in place of the grader's kernels.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from patience import LONG

from loopbound.authoring.proof import answer_of, verdict_on, wrong_answers
from loopbound.authoring.stable import without_colour
from loopbound.cli import main
from loopbound.commands.check import check_command
from loopbound.commands.progress import progress_command
from loopbound.commands.reset import reset_command
from loopbound.commands.watch import watch_command
from loopbound.course.manifest import assignment, assignments, lesson, lessons, task
from loopbound.course.solutions import BEGIN, COPY, grade_id_of
from loopbound.grading.submission import read_submission
from loopbound.learner import targets as naming
from loopbound.learner.progress import ProgressFile
from loopbound.learner.saves import Saves, changed_tasks, exercises_below
from loopbound.outcomes import PASSED
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.terminal import Console

ROOT = repository()
WHICH = assignment("01")
TASKS = [each.id for each in WHICH.tasks]  # these tests know the first four


def counted(passed: int, points: int) -> str:
    """The last line of a check."""
    return (
        f"01 {WHICH.title}: {passed} of {len(TASKS)} tasks passed, {points} of {WHICH.points}"
        " points."
    )


def run(path: Path, tasks: set[str] | None) -> dict[str, dict[str, Any]]:
    """Checks answers as a grader's engine does, in this process and without its sandbox."""
    submission = read_submission(path)
    results = {}
    for each in submission.assignment.tasks:
        if tasks is None or each.id in tasks:
            verdict = verdict_on(ROOT, each.id, submission.answers.get(each.id, ""))
            points = each.points if verdict.outcome == PASSED else 0
            results[each.id] = {
                "outcome": verdict.outcome,
                "says": verdict.says,
                "diagnosis": verdict.diagnosis,
                "points": points,
                "of": each.points,
            }
    return results


@contextlib.contextmanager
def executor() -> Iterator[Callable[[Path, set[str] | None], dict[str, dict[str, Any]]]]:
    yield run


def only(*tasks: str) -> Any:
    """An executor that gives results for these tasks alone, whatever it is asked for."""
    return lambda: contextlib.nullcontext(lambda path, _: run(path, set(tasks)))


def solved(identity: str) -> str:
    return "\n".join(
        line for line in answer_of(ROOT, identity).split("\n") if "SOLUTION" not in line
    )


WRONG = {answer.task: answer.code for answer in reversed(wrong_answers(ROOT, WHICH))}


def written(path: Path, **answers: str) -> Path:
    """The first assignment as a learner saves it, with answers to some tasks: ``t2="…"`` is to
    01.2.
    """
    notebook = nbformat.read(ROOT / "exercises" / WHICH.file, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    for name, source in answers.items():
        cells[grade_id_of(f"01.{name[1:]}", "answer")].source = source
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    nbformat.write(notebook, draft)
    os.replace(draft, path)
    return path


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A progress file of this test's own."""
    path = tmp_path / "kept" / "progress.jsonl"
    monkeypatch.setenv("LOOPBOUND_PROGRESS", str(path))
    return path


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for the clone where exercises have their place."""
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.setattr(naming, "repository", lambda: folder)
    return folder


def loopbound(*words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "loopbound", *words],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=LONG,
        env=os.environ | more,
    )


# check --------------------------------------------------------------------------------------------


def test_a_solved_notebook_passes_and_counts(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {f"t{name[3:]}": solved(name) for name in TASKS}
    path = written(tmp_path / "my copy.ipynb", **answers)
    assert check_command(str(path), executor) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line for line in lines if line.startswith("✓")] == [
        f"✓ {each.id} {each.title}: passed, {each.points} points" for each in WHICH.tasks
    ]
    assert lines[-1] == counted(len(TASKS), WHICH.points)
    assert said.err == "" and "\x1b" not in said.out
    entries = ProgressFile().entries()
    assert {name: entry.outcome for name, entry in entries.items()} == dict.fromkeys(
        TASKS, "passed"
    )


def test_a_notebook_in_part_is_said_in_part(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        tmp_path / "my copy.ipynb", t2=solved("01.2"), t3=WRONG["01.3"], t4="def ring(:\n"
    )
    assert (
        check_command(
            str(path), lambda: contextlib.nullcontext(lambda path, tasks: run_safely(path))
        )
        == 1
    )
    out = capsys.readouterr().out
    for words in (
        "· 01.1 Who speaks when: not attempted",
        "✓ 01.2 All reports at once: passed",
        "✗ 01.3 ",
        "python3 lab.py hint 01.3",
    ):
        assert words in out
    # A task that nobody checked is none that passed.
    assert out.splitlines()[-1] == f"{counted(1, 3)} Not checked: 01.4."
    assert {name: entry.outcome for name, entry in ProgressFile().entries().items()} == {
        **dict.fromkeys([name for name in TASKS if name != "01.4"], "not attempted"),
        "01.2": "passed",
        "01.3": "wrong",
    }


def run_safely(path: Path) -> dict[str, dict[str, Any]]:
    """As ``run``, without a result for an answer whose code does not run."""
    found = {}
    for each in WHICH.tasks:
        with contextlib.suppress(SyntaxError):
            found |= run(path, {each.id})
    return found


def test_all_that_was_checked_passed_is_not_all_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "my copy.ipynb", t2=solved("01.2"))
    assert check_command(str(path), only("01.2")) == 1
    assert f"1 of {len(TASKS)} tasks passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("no-such.ipynb", "there is no file"),
        ("77", "neither a file nor an assignment"),
        (".", "is a folder"),
        (str(ROOT / "notebooks" / lessons()[0].file), "is the lesson 00, not an exercise"),
        (
            str(ROOT / "notebooks" / lesson("1d").file),
            "is the lesson 01d, not an exercise.\nThe exercise is exercises/01-",
        ),
        (str(ROOT / "pyproject.toml"), "is not a notebook"),
    ],
)
def test_what_is_no_exercise_is_said_to_be_none(word: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        check_command(word, executor)


def test_an_assignment_is_named_by_its_number(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(clone / "exercises" / WHICH.file, t2=solved("01.2"))
    assert check_command("1", executor) == 1
    assert "✓ 01.2" in capsys.readouterr().out


def test_one_task_is_checked_alone(
    clone: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(clone / "exercises" / WHICH.file, t2=solved("01.2"), t3=WRONG["01.3"])
    assert [check_command(word, executor) for word in ("1.2", "01.3")] == [0, 1]
    out = capsys.readouterr().out
    assert "✓ 01.2" in out and "✗ 01.3" in out and "01.1" not in out and "tasks passed" not in out
    assert set(ProgressFile().entries()) == {"01.2", "01.3"}


def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "my copy.ipynb", t2=solved("01.2"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    said = []
    for terminal, refused in ((True, ""), (True, "1"), (False, "")):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setenv("NO_COLOR", refused)
        check_command(str(path), only("01.2"))
        progress_command()
        said.append(capsys.readouterr().out)
    assert "\x1b[1;32m✓ 01.2 All reports at once: passed, 3 points\x1b[0m" in said[0]
    assert "\x1b" not in said[1] + said[2]
    assert "░" in said[0] and "░" not in said[1] + said[2] and without_colour(said[0]) != said[0]


def test_an_encoding_without_our_signs_fails_no_command(kept: Path) -> None:
    ProgressFile().checked("01.1", "passed", 2)
    done = loopbound("progress", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    signs = " ".join(["+", *["."] * (len(TASKS) - 1)])
    assert f"2 of {WHICH.points:2} points  {signs}".encode() in done.stdout


# hint ---------------------------------------------------------------------------------------------


def test_hints_come_one_at_a_time_also_from_the_prompt(kept: Path) -> None:
    done = [loopbound("hint", word, PYTHONUTF8="1") for word in ("01.3", "1.3")]
    assert [each.returncode for each in done] == [0, 0], done
    assert [re.findall(r"Hint (\d) of 2:", each.stdout.decode()) for each in done] == [
        ["1"],
        ["1", "2"],
    ]
    assert (
        done[1].stdout.decode().startswith("01.3 A long count")
        and "\x1b" not in done[1].stdout.decode()
    )
    assert ProgressFile().entry("01.3").hints == 2


def test_a_hint_to_no_task_is_a_problem_and_a_hint_without_progress_is_the_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hint", "99.1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("loopbound: there is no task '99.1'") and "Traceback" not in said
    monkeypatch.setenv("LOOPBOUND_PROGRESS", "off")
    assert main(["hint", "01.3"]) == 0
    out = capsys.readouterr().out
    assert "Hint 1 of 2" in out and "Progress is off" in out


# progress -----------------------------------------------------------------------------------------


def test_progress_shows_bars_points_the_next_task_and_where_it_is(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress_command()
    nothing = capsys.readouterr().out
    assert f"Nothing is kept yet; it will be in {kept}" in nothing and "Next: 01.1 " in nothing
    for name, outcome, points in (
        ("01.1", "passed", 2),
        ("01.2", "wrong", 0),
        ("01.3", "passed", 2),
        ("02.1", "raised", 0),
    ):
        ProgressFile().checked(name, outcome, points)
    assert progress_command() == 0
    lines = capsys.readouterr().out.splitlines()
    full, second = 16 * 4 // WHICH.points, assignments()[1]
    assert re.fullmatch(rf"01  {WHICH.title} +\[#{{{full}}}-{{{16 - full}}}\]   4 of .*", lines[0])
    signs = " ".join(["✓", "✗", "✓", *["·"] * (len(TASKS) - 3)])
    assert lines[0].endswith(f"] {4:3} of {WHICH.points:2} points  {signs}")
    signs = " ".join(["✗", *["·"] * (len(second.tasks) - 1)])
    # Lesson 02 is deeper: what is next there comes after the core's tasks.
    assert lines[1].endswith(f"0 of {second.points:2} points  {signs}  deeper")
    assert len(lines) == len(assignments()) + 5
    count = sum(len(which.tasks) for which in assignments())
    assert (
        f"2 of {count} tasks passed, 4 of {sum(which.points for which in assignments())} points."
        in lines
    )
    assert "Next: 01.2 All reports at once (write, about 7 minutes)" in lines
    assert lines[-1] == f"Kept in {kept}"
    for each in WHICH.tasks:
        ProgressFile().checked(each.id, "passed", each.points)
    progress_command()
    assert "Next: 03.1 " in capsys.readouterr().out


def test_progress_at_its_end_and_of_tasks_that_changed(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for which in assignments():
        for each in which.tasks:
            ProgressFile().checked(each.id, "passed", each.points + 1)
    ProgressFile().checked("88.8", "passed", 5)
    progress_command()
    out = capsys.readouterr().out
    points = sum(which.points for which in assignments())
    assert (
        "Next: nothing. Every task has passed." in out
        and f"{points} of {points} points." in out
        and "[-" not in out
        and "-]" not in out
    )


def test_progress_that_is_off_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    progress_command()
    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "Progress is not kept, because LOOPBOUND_PROGRESS is off."
    )


# reset --------------------------------------------------------------------------------------------


def as_vs_code(notebook: Any) -> None:
    notebook.metadata = {
        "language_info": {"name": "python", "version": "3.12.1"},
        "orig_nbformat": 4,
    }
    notebook.nbformat_minor = 2
    for cell in notebook.cells:
        del cell["id"]
        cell.metadata["vscode"] = {"languageId": "python"}


def as_colab(notebook: Any) -> None:
    notebook.metadata = {
        "colab": {"provenance": []},
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {"id": f"xJ{number}"}
        cell.id = f"xJ{number}"


def as_reordered(notebook: Any) -> None:
    notebook.cells.reverse()


def as_markdown(notebook: Any) -> None:
    notebook.cells[:] = [
        (
            nbformat.v4.new_markdown_cell(cell.source, id=cell.id, metadata=cell.metadata)
            if cell.id == "answer-01-2"
            else cell
        )
        for cell in notebook.cells
    ]


def as_doubled(notebook: Any) -> None:
    number = next(number for number, cell in enumerate(notebook.cells) if cell.id == "answer-01-2")
    for extra in ("second", "third"):
        twin = nbformat.from_dict(json.loads(json.dumps(notebook.cells[number])))
        twin.id = extra
        twin.source = "async def all_reports(users, fetch):\n    return []  # " + extra
        notebook.cells.insert(number + 1, twin)


def as_deleted(notebook: Any) -> None:
    notebook.cells[:] = [cell for cell in notebook.cells if cell.id != "answer-01-2"]


def as_it_is(notebook: Any) -> None:
    pass


SAVED = pytest.mark.parametrize(
    "saved", [as_it_is, as_vs_code, as_colab, as_reordered, as_markdown, as_doubled, as_deleted]
)


def resaved(path: Path, saved: Callable[[Any], None]) -> bytes:
    """A learner's notebook with two answers and a run's outputs, as another editor saves it."""
    written(path, t2=solved("01.2"), t3=WRONG["01.3"])
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 3
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"of {cell.id}\n")]
    saved(notebook)
    path.write_text(json.dumps(notebook, indent=2), encoding="utf-8")
    return path.read_bytes()


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{COPY}*"))


@SAVED
def test_one_task_is_put_back_and_nothing_else(
    saved: Callable[[Any], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Übung, kopiert (2).ipynb"
    before = resaved(path, saved)
    old = read_submission(path)
    assert reset_command(str(path), "01.2") == 0
    out = capsys.readouterr().out
    assert "a pass from before stays a pass" in out
    new = read_submission(path)
    assert new.untouched("01.2") and new.answers.keys() == set(TASKS)
    assert new.answers["01.3"] == old.answers["01.3"] == WRONG["01.3"]
    (copy,) = copies(tmp_path)
    assert copy.read_bytes() == before and copy.name in out and copy.suffix == ".ipynb"
    after = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(after)
    outputs = {
        "".join(cell.source): cell.outputs for cell in after.cells if cell.cell_type == "code"
    }
    assert outputs['check("01.2")'] == [] and outputs['check("01.3")'] != []
    assert ("2 further cells" in out) == (saved is as_doubled)
    # A second time there is nothing to do, and no second copy.
    assert (
        reset_command(str(path), "1.2") == 0
        and "already" in capsys.readouterr().out
        and copies(tmp_path) == [copy]
    )


@SAVED
def test_a_whole_notebook_is_put_back(
    saved: Callable[[Any], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "copy.ipynb"
    before = resaved(path, saved)
    assert reset_command(str(path)) == 0
    assert path.read_bytes() == (ROOT / "exercises" / WHICH.file).read_bytes()
    (copy,) = copies(tmp_path)
    assert copy.read_bytes() == before and copy.name in capsys.readouterr().out
    assert (
        reset_command(str(path)) == 0
        and "already" in capsys.readouterr().out
        and copies(tmp_path) == [copy]
    )


def test_a_task_alone_means_the_exercise_in_its_place(clone: Path) -> None:
    path = written(clone / "exercises" / WHICH.file, t2=solved("01.2"), t3=WRONG["01.3"])
    assert reset_command("01.2") == 0
    assert read_submission(path).untouched("01.2") and not read_submission(path).untouched("01.3")
    assert reset_command("01") == 0 and read_submission(path).untouched("01.3")
    assert len(copies(path.parent)) == 2


@pytest.mark.parametrize("content", [None, b"", b'{"cells": [', b"\x00\x01\xff"])
def test_an_exercise_that_is_gone_or_damaged_comes_back(content: bytes | None, clone: Path) -> None:
    path = clone / "exercises" / WHICH.file
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    if content is None:
        with pytest.raises(Problem):
            reset_command(str(path))
    assert reset_command("01") == 0
    assert path.read_bytes() == (ROOT / "exercises" / WHICH.file).read_bytes()
    assert [copy.read_bytes() for copy in copies(path.parent)] == (
        [] if content is None else [content]
    )


def a_lesson(folder: Path) -> Path:
    return ROOT / "notebooks" / lessons()[4].file


def a_solution(folder: Path) -> Path:
    return ROOT / "solutions" / WHICH.file


def a_link_to_a_solution(folder: Path) -> Path:
    path = folder / "link.ipynb"
    try:
        path.symlink_to(ROOT / "solutions" / WHICH.file)
    except OSError:
        pytest.skip("no links for this user")
    return path


def of_the_same_name(folder: Path) -> Path:
    path = folder / "mine.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell("async def all_reports(users, fetch):\n    return 1")]
        ),
        path,
    )
    return path


def of_no_format(folder: Path) -> Path:
    path = folder / "mine.ipynb"
    path.write_text('{"cells": ')
    return path


def with_a_long_name(folder: Path) -> Path:
    # Its copy's name would be too long for the file system.
    return written(folder / f"{'x' * 235}.ipynb", t2=solved("01.2"))


@pytest.mark.parametrize(
    "make",
    [a_lesson, a_solution, a_link_to_a_solution, of_the_same_name, of_no_format, with_a_long_name],
)
@pytest.mark.parametrize("name", [None, "01.2"])
def test_what_is_no_exercise_or_cannot_be_copied_is_left_alone(
    make: Callable[[Path], Path], name: str | None, tmp_path: Path
) -> None:
    path = make(tmp_path)
    before = path.read_bytes()
    with pytest.raises(Problem):
        reset_command(str(path), name)
    assert (
        path.read_bytes() == before
        and copies(path.parent) == []
        and copies(path.resolve().parent) == []
    )


def test_a_task_of_another_assignment_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "copy.ipynb")
    with pytest.raises(Problem, match="has no task 04.2"):
        reset_command(str(path), "04.2")
    with pytest.raises(Problem, match="there is no task '01.9'"):
        reset_command(str(path), "01.9")


RESETS = """
import sys
from pathlib import Path
from loopbound.files import replace_text
from loopbound.commands.reset import reset_command
path = Path(sys.argv[1])
text = path.read_text(encoding="utf-8")
while True:
    print("begins", flush=True)
    reset_command(str(path), *sys.argv[2:])
    replace_text(path, text)
"""


@pytest.mark.parametrize("words", [[], ["01.2"]])
def test_kill_9_leaves_the_old_or_the_new_and_always_a_copy_of_the_old(
    words: list[str], tmp_path: Path
) -> None:
    chance = random.Random(4)
    path = written(tmp_path / "copy.ipynb", t2=solved("01.2"))
    answered = path.read_bytes()
    for _ in range(3):
        for copy in copies(tmp_path):
            copy.unlink()
        process = subprocess.Popen(
            [sys.executable, "-c", RESETS, str(path), *words],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUTF8": "1"},
        )
        assert process.stdout is not None and process.stdout.readline().startswith(b"begins")
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        now = read_submission(path)  # whole, whichever of the two
        if path.read_bytes() != answered:
            assert now.untouched("01.2") and answered in [
                copy.read_bytes() for copy in copies(tmp_path)
            ]
        path.write_bytes(answered)


# what changed -------------------------------------------------------------------------------------


def changes(tmp_path: Path, before: dict[str, str], now: dict[str, str]) -> set[str]:
    first = read_submission(written(tmp_path / "first.ipynb", **before))
    return changed_tasks(first, read_submission(written(tmp_path / "second.ipynb", **now)))


def test_only_answers_that_changed_are_checked_again(tmp_path: Path) -> None:
    two, three = solved("01.2"), solved("01.3")
    assert changes(tmp_path, {"t2": two}, {"t2": two}) == set()
    assert changes(tmp_path, {}, {"t2": two}) == {"01.2"}
    assert changes(tmp_path, {"t2": two, "t3": three}, {"t3": WRONG["01.3"], "t2": two}) == {"01.3"}
    assert changes(tmp_path, {"t2": two}, {"t2": "async def all_reports(:"}) == {"01.2"}


def test_what_uses_a_name_of_a_changed_cell_is_checked_again_too(tmp_path: Path) -> None:
    before = {
        "t2": f"limit = 3\n{solved('01.2')}",
        "t3": "def most():\n    return limit",
        "t4": f"{solved('01.4')}\nmost()",
    }
    now = before | {"t2": f"limit = 4\n{solved('01.2')}"}
    assert changes(tmp_path, before, now) == {"01.2", "01.3", "01.4"}
    assert changes(tmp_path, before, before | {"t2": solved("01.2")}) == {
        "01.2",
        "01.3",
        "01.4",
    }, "a name that is gone"
    assert changes(tmp_path, before, before | {"t4": solved("01.4")}) == {"01.4"}


def test_a_cell_of_ones_own_counts_for_its_task(tmp_path: Path) -> None:
    path = written(tmp_path / "copy.ipynb", t2=solved("01.2"))
    before = read_submission(path)
    notebook = nbformat.read(path, as_version=4)
    number = next(number for number, cell in enumerate(notebook.cells) if cell.id == "answer-01-2")
    notebook.cells.insert(number, nbformat.v4.new_code_cell("async def helper():\n    pass"))
    nbformat.write(notebook, path)
    assert changed_tasks(before, read_submission(path)) == {"01.2"}


def test_a_notebook_that_another_editor_saved_without_a_change_has_none(tmp_path: Path) -> None:
    path = tmp_path / "copy.ipynb"
    resaved(path, as_it_is)
    before = read_submission(path)
    for saved in (as_vs_code, as_colab):
        resaved(path, saved)
        assert changed_tasks(before, read_submission(path)) == set()


def settled(saves: Saves, seconds: float = 1.3) -> list[Any]:
    """What a watch sees within this time."""
    found, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        found += list(saves.look())
        time.sleep(0.05)
    return found


def test_a_half_written_file_is_waited_for_and_a_broken_one_is_said_once(tmp_path: Path) -> None:
    path = written(tmp_path / "copy.ipynb")
    saves = Saves(path)
    assert [saved.tasks for saved in saves.look()] == [set(TASKS)]
    whole = written(tmp_path / "other.ipynb", t2=solved("01.2")).read_bytes()
    for end in (0, 1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:end])
        assert list(saves.look()) == []
    path.write_bytes(whole)
    assert [saved.tasks for saved in saves.look()] == [{"01.2"}]
    path.write_bytes(whole[: len(whole) // 3])
    (broken,) = settled(saves)
    assert broken.submission is None and "ends or breaks early" in broken.problem
    path.write_bytes(whole[: len(whole) // 4])
    assert len(settled(saves)) == 1, "another save, another word"
    path.write_bytes(whole)
    assert [saved.tasks for saved in settled(saves, 0.2)] == [frozenset()]


def test_a_file_that_vanishes_and_comes_back_is_compared_with_what_it_was(tmp_path: Path) -> None:
    path = written(tmp_path / "copy.ipynb", t2=solved("01.2"))
    saves = Saves(path)
    list(saves.look())
    away = path.rename(tmp_path / "away")
    assert list(saves.look()) == [], "an editor may be putting a new one there"
    (gone,) = settled(saves)
    assert "is not there" in gone.problem
    away.rename(path)
    assert settled(saves, 0.3) == []
    path.unlink()
    written(path, t2=solved("01.2"), t4=solved("01.4"))
    assert [saved.tasks for saved in settled(saves, 0.3)] == [{"01.4"}]


def test_a_folder_is_watched_with_what_appears_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "exercises"
    path = written(folder / "01" / "mine.ipynb")
    (folder / "02").mkdir()
    (folder / "02" / "notes.ipynb").write_text("{}")
    saves = Saves(folder)
    assert saves.remember() == [path]
    assert list(saves.look()) == []
    written(path, t2=solved("01.2"))
    assert [(saved.path, saved.tasks) for saved in saves.look()] == [(path, {"01.2"})]
    new = written(folder / "03" / "later.ipynb")
    for ignored in (
        folder / ".ipynb_checkpoints" / "x.ipynb",
        folder / ".~mine.ipynb",
        folder / f"mine{COPY}20260101-120000.ipynb",
    ):
        written(ignored, t3=solved("01.3"))
    assert [saved.path for saved in saves.look()] == [new]
    path.unlink()
    (folder / "02" / "notes.ipynb").write_text("[")
    assert settled(saves) == []
    written(path, t2=solved("01.2"))
    assert [saved.tasks for saved in saves.look() if saved.tasks] == []
    assert sorted(exercises_below(folder)) == sorted([path, new, folder / "02" / "notes.ipynb"])


# watch --------------------------------------------------------------------------------------------

HERE = Path(__file__).parent
WATCH = """
import contextlib, sys, time
sys.path[:0] = {places!r}
import test_prompt
from loopbound import cli
from loopbound.commands import doctor
from loopbound.problem import Problem
from loopbound.commands.watch import watch_command

def run(path, tasks):
    print("ASKED", *sorted(tasks), flush=True)
    if "be slow" in path.read_text(encoding="utf-8"):
        time.sleep(60)
    if "be broken" in path.read_text(encoding="utf-8"):
        raise Problem("the kernel did not start")
    return test_prompt.run(path, tasks)

doctor.doctor_command = lambda: watch_command({word!r}, lambda: contextlib.nullcontext(run))
sys.exit(cli.main(["doctor"]))
"""


class Watched:
    """A watch in a process of its own, with what it prints."""

    def __init__(self, word: str, real: bool = False, **more: str) -> None:
        code = WATCH.format(places=[str(HERE), str(HERE.parent / "support")], word=word)
        command = ["-m", "loopbound", "watch", word] if real else ["-c", code]
        environment = os.environ | {"PYTHONUTF8": "1"} | more
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def closed(self) -> None:
        self._reader.join(10)
        assert self.process.stdout is not None and not self._reader.is_alive(), (
            "somebody was left behind who can still print"
        )
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.decode().rstrip())

    def children(self, module: str) -> list[int]:
        """Its own children that run this module, by process id."""
        children = psutil.Process(self.process.pid).children()
        return [child.pid for child in children if module in child.cmdline()]

    def until(self, part: str, seconds: float = LONG) -> list[str]:
        """The lines up to one that contains this."""
        found: list[str] = []
        end = time.monotonic() + seconds
        while not found or part not in found[-1]:
            try:
                found.append(self._lines.get(timeout=0.2))
            except queue.Empty:
                ended = not self._reader.is_alive() and self._lines.empty()
                if ended or time.monotonic() > end:
                    raise AssertionError(f"{part!r} did not come: {found}") from None
        return found

    def quiet(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self._lines.empty()

    def interrupted(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does: to everybody in the group
        return self.process.wait(10)


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    running: list[Watched] = []

    def start(word: str, **more: Any) -> Watched:
        running.append(Watched(word, **more))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.wait()
        each.closed()


UNIX = pytest.mark.skipif(
    os.name == "nt", reason="a console's Ctrl-C cannot be sent to one process on Windows"
)


@UNIX
def test_a_watch_checks_what_changed_and_ends_with_130(
    watched: Any, tmp_path: Path, kept: Path
) -> None:
    path = written(tmp_path / "copy.ipynb", t2=WRONG["01.2"])
    watch = watched(str(path))
    said = watch.until("tasks passed")
    assert said[0].startswith("Watching copy.ipynb") and f"ASKED {' '.join(TASKS)}" in said
    # What nobody attempted takes a line, and no more.
    place = said.index("· 01.1 Who speaks when: not attempted")
    assert said[place + 1 : place + 3] == [
        "",
        next(line for line in said if line.startswith("✗ 01.2")),
    ]
    for answer in (solved("01.2"), WRONG["01.2"]) * 3:
        written(path, t2=answer)
        said = watch.until("tasks passed")
        assert [line for line in said if line.startswith("ASKED")] == ["ASKED 01.2"]
        assert said[-1] == (counted(1, 3) if answer == solved("01.2") else counted(0, 0))
    written(path, t2=WRONG["01.2"])  # saved, and nothing changed
    assert watch.quiet(0.8)
    assert watch.interrupted() == 130
    assert not any("Traceback" in line for line in watch.until("loopbound: stopped."))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.ipynb", "kept"]
    assert (ProgressFile().entry("01.2").outcome, ProgressFile().entry("01.2").checks) == (
        "passed",
        7,
    )


@UNIX
def test_a_watch_of_a_folder_outlives_what_happens_in_it(watched: Any, tmp_path: Path) -> None:
    folder = tmp_path / "exercises"
    path = written(folder / "mine.ipynb")
    watch = watched(str(folder))
    assert "Watching 1 notebook in" in watch.until("Watching")[-1]
    written(path, t2=solved("01.2") + "\n# be broken")
    assert watch.until("the kernel did not start")
    assert watch.quiet(0.6), "it is not tried again and again"
    written(path, t2=solved("01.2"))
    said = watch.until("tasks passed")
    assert f"ASKED {' '.join(TASKS)}" in said, "what could not be checked then is checked now"
    path.unlink()
    (folder / "half.ipynb").write_text('{"cells": [')
    assert watch.quiet(0.6)
    written(folder / "half.ipynb", t3=WRONG["01.3"])
    assert any("half.ipynb" in line for line in watch.until("tasks passed"))
    written(folder / "half.ipynb", t3=WRONG["01.3"], t4=solved("01.4") + "\n# be slow")
    watch.until("ASKED 01.4")
    assert watch.interrupted() == 130, "also while something is being checked"
    lines = watch.until("loopbound: stopped.")
    assert not any("Traceback" in line for line in lines)


@UNIX
def test_a_watch_forks_the_graders_kernels_from_one_process_and_leaves_nothing(
    watched: Any, tmp_path: Path
) -> None:
    path = written(tmp_path / "copy.ipynb", t2=WRONG["01.2"])
    # A short path: below a long one there is no room for sockets.
    temporary = Path(tempfile.mkdtemp(prefix="w"))
    watch = watched(str(path), real=True, TMPDIR=str(temporary))
    assert any(line.startswith("✗ 01.2") for line in watch.until("tasks passed"))
    assert list(temporary.iterdir()) != []
    warm = watch.children("loopbound.grading.isolation.warm")
    for answer in (solved("01.2"), WRONG["01.2"]) * 3:
        written(path, t2=answer)
        said = watch.until("tasks passed")
        assert any(
            line.startswith("✓ 01.2" if answer == solved("01.2") else "✗ 01.2") for line in said
        ), said
    if sys.platform == "linux":  # elsewhere each kernel is a fresh one
        assert len(warm) == 1
        assert watch.children("loopbound.grading.isolation.warm") == warm
    assert watch.interrupted() == 130
    assert not any("Traceback" in line for line in watch.until("loopbound: stopped."))
    assert list(temporary.iterdir()) == []
    temporary.rmdir()


def test_check_at_the_prompt_runs_the_graders_kernels(tmp_path: Path, kept: Path) -> None:
    path = written(tmp_path / "copy.ipynb", t2=solved("01.2"), t4="import os\nos._exit(0)")
    done = loopbound("check", str(path), PYTHONUTF8="1")
    said = done.stdout.decode()
    assert done.returncode == 1 and done.stderr == b"", done.stderr
    assert "✓ 01.2" in said and "✗ 01.4" in said and counted(1, 3) in said
    assert ProgressFile().entry("01.2").passed and ProgressFile().entry("01.4").outcome == "raised"


def test_what_cannot_be_watched_is_said_at_once(tmp_path: Path) -> None:
    for word, words in (
        ("no-such.ipynb", "there is no file"),
        (str(tmp_path), "no exercise in"),
        (str(ROOT / "pyproject.toml"), "not a notebook"),
    ):
        with pytest.raises(Problem, match=words):
            watch_command(word, executor)


def test_a_console_that_was_closed_or_is_narrow_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        Console().say("nobody hears")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "2")
    Console().wrapped(textwrap.dedent("a connection remembers its loop"))
    assert all(len(line) <= 20 for line in capsys.readouterr().out.splitlines())


def test_the_tasks_here_are_those_of_the_course() -> None:
    assert TASKS[:4] == ["01.1", "01.2", "01.3", "01.4"]
    assert WRONG.keys() == set(TASKS)
    assert all(BEGIN not in solved(each.id) for each in WHICH.tasks) and task("01.2").points == 3
