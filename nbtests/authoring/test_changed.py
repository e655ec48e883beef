"""A reader who saved a changed lesson is told the way back."""

import shutil
import subprocess
from pathlib import Path

import pytest

from loopbound.authoring.changed import changed_notebooks, restore_hint

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "Zoë’s course"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("00-start-here.ipynb", "01-what-a-loop-is.ipynb", "note.txt"):
        (folder / "notebooks" / name).write_text("{}", encoding="utf-8")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_changed_notebooks_are_named_and_nothing_else(clone: Path):
    assert changed_notebooks(clone) == [] and restore_hint(clone) == ""
    for name in ("01-what-a-loop-is.ipynb", "note.txt", "new.ipynb"):
        (clone / "notebooks" / name).write_text("changed", encoding="utf-8")
    assert changed_notebooks(clone) == ["01-what-a-loop-is.ipynb"]
    assert restore_hint(clone).endswith(
        "01-what-a-loop-is.ipynb. To have the originals back: git restore notebooks"
    )


def test_without_a_clone_there_is_nothing_to_say(tmp_path: Path):
    assert changed_notebooks(tmp_path) == []
