"""The course's one manifest: lessons in teaching order, with titles, minutes and claims.

Everything that needs a file name, a title or an order asks here, so that a renamed lesson is renamed in one place.
The data is in ``course.toml`` beside this module.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from loopbound.problem import Problem


@dataclass(frozen=True)
class Lesson:
    """One lesson: a notebook in ``notebooks/``.

    ``number`` is the two digits that its file name starts with, ``minutes`` the reading and running time in whole
    minutes, ``claims`` the ids of the incident documents' claims that its cells settle.
    """

    file: str
    title: str
    minutes: int
    claims: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        return self.file[:2]

    @property
    def name(self) -> str:
        """The file name without its ending: ``"03-drivers-decide"``."""
        return self.file.removesuffix(".ipynb")

    @property
    def heading(self) -> str:
        """The first line of its opening cell: ``"# 03 · Drivers decide"``."""
        return f"# {self.number} · {self.title}"


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons in teaching order."""
    text = resources.files(__package__).joinpath("course.toml").read_text(encoding="utf-8")
    return tuple(
        Lesson(file=row["file"], title=row["title"], minutes=row["minutes"], claims=tuple(row["claims"]))
        for row in tomllib.loads(text)["lesson"]
    )


def lesson(name: str) -> Lesson:
    """The lesson with this number (``"03"`` or ``"3"``), name or file name. Raises ``Problem`` where there is none."""
    wanted = Path(name).name.removesuffix(".ipynb")
    if wanted.isdecimal():
        wanted = wanted.zfill(2)
    for known in lessons():
        if wanted in (known.number, known.name):
            return known
    raise Problem(f"there is no lesson {name!r}.\nLessons: {', '.join(known.name for known in lessons())}")


def wanted_claims() -> tuple[str, ...]:
    """The ids of every claim that some lesson has to settle, sorted."""
    return tuple(sorted(claim for known in lessons() for claim in known.claims))


def repository() -> Path:
    """The folder that holds ``notebooks/``: the clone that the package was installed from, or the current folder.

    Raises ``Problem`` where neither has a ``notebooks`` folder.
    """
    for folder in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise Problem(f"no notebooks folder was found from {Path.cwd()}.\nRun this inside the clone of the course.")


def notebooks_folder() -> Path:
    """The ``notebooks`` folder of ``repository()``."""
    return repository() / "notebooks"
