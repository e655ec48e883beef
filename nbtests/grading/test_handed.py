"""Whose notebook it is, and which notebooks there are below a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopbound.grading.handed import found, learner_of
from loopbound.problem import Problem

NAME = "04-the-global-engine"


@pytest.mark.parametrize(
    ("place", "top", "learner"),
    [
        (f"submitted/mina/{NAME}/{NAME}.ipynb", "submitted", "mina"),
        (f"submitted/mina/{NAME}/{NAME}.ipynb", ".", "mina"),
        (f"homes/mina/exercises/{NAME}/{NAME}.ipynb", "homes", "mina"),
        (f"homes/mina/exercises/{NAME}/{NAME}.ipynb", "homes/mina/exercises", "mina"),
        (f"team/mina/{NAME}.ipynb", "team", "mina"),
        ("team/mina/final version.ipynb", "team", "mina"),
        (f"team/{NAME}-mina.ipynb", "team", "mina"),
        (f"team/mina_{NAME}.ipynb", "team", "mina"),
        (f"mina/{NAME}.ipynb", "mina", "mina"),
        (f"mina/{NAME}/{NAME}.ipynb", "mina", "mina"),
    ],
)
def test_a_notebook_belongs_to_whom_its_place_names(
    place: str, top: str, learner: str, tmp_path: Path
) -> None:
    assert learner_of(tmp_path / place, tmp_path / top) == learner


def test_what_is_found_below_a_folder(tmp_path: Path) -> None:
    for name in (
        "mina/a.ipynb",
        "mina/.ipynb_checkpoints/a.ipynb",
        "mina/a.before-reset-20261126-120000.ipynb",
        "omar/b.ipynb",
        "omar/notes.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert [(each.learner, each.path.name) for each in found([tmp_path, tmp_path / "omar"])] == [
        ("mina", "a.ipynb"),
        ("omar", "b.ipynb"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match="nothing to grade"):
        found([tmp_path / "empty"])
    with pytest.raises(Problem, match="there is no"):
        found([tmp_path / "nobody"])
