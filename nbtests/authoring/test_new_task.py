"""`exercises new` drafts a task that is whole but for what only its author can write."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from patience import LONG

from loopbound.authoring.new_task import new_task
from loopbound.commands.exercises import exercises_command
from loopbound.course.manifest import assignment
from loopbound.paths import repository
from loopbound.problem import Problem

ROOT = repository()
TITLE = 'A "new" task: über \\ alles'


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what exercises are made of."""
    folder = tmp_path_factory.mktemp("clone")
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("src", "solutions", "exercises", "notebooks", "nbtests/support"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    (folder / "nbtests" / "checks").mkdir()
    for name in ("pyproject.toml", "nbtests/conftest.py", "nbtests/checks/test_answers.py"):
        shutil.copy2(ROOT / name, folder / name)
    return folder


def python(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone / "src"), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LONG,
    )


def test_a_drafted_task_fails_where_its_author_has_to_write(clone: Path) -> None:
    which = assignment("01")
    identity = f"01.{len(which.tasks) + 1}"
    done = python(clone, "loopbound", "exercises", "new", "1", f"  {TITLE} ")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall(r"^\S+: (?:has a draft|written)", done.stdout, re.MULTILINE)) == 5
    assert f"-k {identity}" in done.stdout
    checked = python(clone, "loopbound", "exercises", "build", "--check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    manifest = (clone / "src/loopbound/course/course.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(manifest)["assignment"]
    assert [row["tasks"][-1]["title"] for row in tables if row["name"] == which.name] == [TITLE]

    # The course's own tests, on the draft and on what the whole assignment has to be.
    chosen = f"{identity} or {which.name} or belong"
    tests = ["nbtests/checks/test_answers.py", "-k", chosen, "-q", "-n0", "-p", "no:cacheprovider"]
    done = python(clone, "pytest", *tests)
    failed = re.findall(r"^FAILED \S+?::(\w+)\[", done.stdout, re.MULTILINE)
    assert sorted(failed) == [
        "test_a_task_has_enough_wrong_answers_and_hints",
        "test_a_wrong_answer_gets_its_diagnosis",
        "test_the_solution_passes",
    ], done.stdout + done.stderr
    assert (
        f"answer_{identity.replace('.', '_')}()` returned 'the value that is right'." in done.stdout
    )
    assert "NameError" not in done.stdout


@pytest.mark.parametrize(
    "words", [[], ["01"], ["01", "A", "title"], ["01", " "], ["77", "A title"]]
)
def test_what_cannot_be_drafted_is_said(words: list[str]) -> None:
    with pytest.raises(Problem, match=r"title are wanted|no assignment '77'"):
        new_task(words)


def test_a_draft_is_not_checked() -> None:
    with pytest.raises(Problem, match="--check goes with build"):
        exercises_command("new", ["01", "A title"], check=True)


def test_files_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopbound.authoring.new_task.repository", lambda: tmp_path)
    with pytest.raises(Problem, match=r"course\.toml cannot be read"):
        new_task(["01", "A title"])
    assert list(tmp_path.iterdir()) == []
