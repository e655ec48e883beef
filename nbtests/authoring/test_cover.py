"""The README's picture is lesson 00's own, and a command keeps it so."""

import shutil
from pathlib import Path

import pytest

from loopbound.authoring.cover import COVER, cover
from loopbound.commands import notebooks as commands
from loopbound.course.manifest import notebooks_folder
from loopbound.problem import Problem


def test_the_committed_picture_is_lesson_00s(repository: Path):
    assert (notebooks_folder() / COVER).read_text(encoding="utf-8") == cover(), (
        "run: python3 lab.py format"
    )
    assert f"notebooks/{COVER.as_posix()})" in (repository / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = shutil.copytree(notebooks_folder(), tmp_path / "notebooks")
    monkeypatch.setattr(commands, "notebooks_folder", lambda: folder)
    return folder


def test_a_stale_picture_is_told_and_then_written(copy: Path, capsys: pytest.CaptureFixture[str]):
    (copy / COVER).write_text("<svg/>", encoding="utf-8")
    assert commands.format_command([], check=True) == 1
    assert (
        f"{COVER.as_posix()} is not up to date; run: python3 lab.py format"
        in capsys.readouterr().out
    )
    assert (copy / COVER).read_text(encoding="utf-8") == "<svg/>"
    assert commands.format_command([], check=False) == 0
    assert (copy / COVER).read_text(encoding="utf-8") == cover()
    assert commands.format_command([], check=True) == 0


def test_a_lesson_without_the_figure_is_a_problem(copy: Path):
    (copy / "00-start-here.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', encoding="utf-8"
    )
    with pytest.raises(Problem, match="there is no figure to take for the README"):
        cover(copy)
