"""The course's one manifest: lessons in teaching order, with titles, minutes and claims.

Everything that needs a file name, a title or an order asks here, so that a renamed lesson is
renamed in one place. The data is in ``course.toml`` and ``claims.toml`` beside this module.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from loopbound.paths import repository
from loopbound.problem import Problem


@dataclass(frozen=True)
class Notebook:
    """A notebook in ``notebooks/``: a lesson, or a page beside the lessons.

    ``minutes`` is the reading and running time in whole minutes, see `honest_minutes`.
    """

    file: str
    title: str
    minutes: int

    @property
    def number(self) -> str:
        """A lesson's number, see `Lesson`; empty for a page beside the lessons."""
        return ""

    @property
    def name(self) -> str:
        """The file name without its ending: ``"03-drivers-decide"``."""
        return self.file.removesuffix(".ipynb")

    @property
    def heading(self) -> str:
        """The first line of its opening cell: ``"# 03 · Drivers decide"``."""
        return f"# {self.number} · {self.title}" if self.number else f"# {self.title}"


@dataclass(frozen=True)
class Lesson(Notebook):
    """One lesson.

    ``number`` is what its file name starts with: two digits, and ``d`` for the deeper notebook
    beside a lesson, ``"01d"``. ``deeper`` are the lessons that the core path leaves out: those, and
    whole lessons. ``claims`` are the ids of the incident documents' claims that its cells settle.
    ``ask`` is the question that a facilitator asks before it, ``debrief`` what it has shown; a
    sentence each. ``waiting`` is how many minutes its cells run.
    """

    claims: tuple[str, ...] = ()
    ask: str = ""
    debrief: str = ""
    waiting: int = 0
    deeper: bool = False

    @property
    def number(self) -> str:
        return self.file.partition("-")[0]


@dataclass(frozen=True)
class Task:
    """One task of an assignment, with an id such as ``"01.2"``.

    ``kind`` is what the learner does: "write", "predict", "evidence", "suite" or "cure"; ``points``
    and ``minutes`` are whole numbers.
    """

    id: str
    title: str
    kind: str
    points: int
    minutes: int


@dataclass(frozen=True)
class Assignment:
    """The exercises to one lesson: a folder of this ``name`` in ``solutions/`` and in
    ``exercises/``, with a notebook of the same name.

    ``formerly`` is the name that it was handed out under before, if it was another.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    formerly: str = ""

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def minutes(self) -> int:
        """What its tasks take together."""
        return sum(task.minutes for task in self.tasks)

    @property
    def points(self) -> int:
        """What its tasks give together."""
        return sum(task.points for task in self.tasks)

    @property
    def former_ids(self) -> dict[str, str]:
        """Its tasks' ids under its former name, each with today's: ``{"10.1": "12.1"}``."""
        old = self.formerly[:2]
        return {f"{old}{task.id[2:]}": task.id for task in self.tasks} if old else {}

    @property
    def file(self) -> Path:
        """The notebook's place inside ``solutions/`` or ``exercises/``."""
        return Path(self.name, f"{self.name}.ipynb")


@dataclass(frozen=True)
class Pause:
    """A part of an agenda that is neither a lesson nor a task: its words and its minutes."""

    what: str
    minutes: int


@dataclass(frozen=True)
class Agenda:
    """A workshop of ``minutes`` whole minutes: its parts in order."""

    title: str
    minutes: int
    parts: tuple[Lesson | Task | Pause, ...]


def honest_minutes(cells: Iterable[Mapping[str, Any]], waiting: int = 0) -> float:
    """How long a reader needs for a notebook's cells: 120 words or five lines of code a minute, a
    minute for each prediction and each thing to try, and the time for which the cells run.

    A folded cell costs nothing. Of code that an output shows, to read or to paste, ten lines take a
    minute. The question of a prediction is read like words. Someone who reads English as a second
    language, and async code with care, needed this long.
    """
    words = tasks = 0
    lines = 0.0
    for cell in cells:
        for output in cell.get("outputs", ()):
            shown = "".join(output.get("data", {}).get("text/markdown", ""))
            if shown.startswith("```"):
                lines += sum(bool(line.strip()) for line in shown.splitlines()[1:-1]) / 2
        source = "".join(cell["source"])
        tasks += bool(re.search(r"= predict\(|^\*\*Try", source, re.MULTILINE))
        if cell["cell_type"] == "markdown" or re.search(r"= predict\(", source):
            words += len(source.split())
        elif not cell["metadata"].get("jupyter", {}).get("source_hidden"):
            lines += sum(bool(line.strip()) for line in source.splitlines())
    return words / 120 + lines / 5 + tasks + waiting


@functools.cache
def agendas() -> tuple[Agenda, ...]:
    """The workshop's agendas, the shortest first.

    Raises ``Problem`` where one names a lesson or a task that there is not.
    """
    return tuple(
        Agenda(
            title=row["title"],
            minutes=row["minutes"],
            parts=tuple(_part(part) for part in row["parts"]),
        )
        for row in _tables().get("agenda", ())
    )


def _part(part: str | dict[str, Any]) -> Lesson | Task | Pause:
    if isinstance(part, dict):
        return Pause(**part)
    return task(part) if "." in part else lesson(part)


@functools.cache
def assignments() -> tuple[Assignment, ...]:
    """All assignments in teaching order."""
    return tuple(
        Assignment(
            name=row["name"],
            title=row["title"],
            tasks=tuple(Task(**task) for task in row["tasks"]),
            formerly=row.get("formerly", ""),
        )
        for row in _tables().get("assignment", ())
    )


def assignment(name: str) -> Assignment:
    """The assignment with this number, name, former name or file name.

    Raises ``Problem`` where there is none.
    """
    return _called(name, assignments(), "assignment")


def task(identity: str) -> Task:
    """The task with this id; ``4.2`` is ``04.2``. Raises ``Problem`` where there is none."""
    known = {each.id: each for row in assignments() for each in row.tasks}
    if f"0{identity}" in known:
        identity = f"0{identity}"
    if identity not in known:
        raise Problem(f"there is no task {identity!r}.\nTasks: {', '.join(known)}")
    return known[identity]


@functools.cache
def lessons() -> tuple[Lesson, ...]:
    """All lessons in teaching order."""
    return tuple(
        Lesson(
            file=row["file"],
            title=row["title"],
            minutes=row["minutes"],
            claims=tuple(row["claims"]),
            ask=row.get("ask", ""),
            debrief=row.get("debrief", ""),
            waiting=row.get("waiting", 0),
            deeper=row.get("deeper", False),
        )
        for row in _tables()["lesson"]
    )


@functools.cache
def notebooks() -> tuple[Notebook, ...]:
    """All notebooks that are executed: the lessons, then the pages beside them."""
    return (*lessons(), *(Notebook(**row) for row in _tables().get("page", ())))


def notebook(name: str) -> Notebook:
    """The lesson or page with this number, name or file name.

    Raises ``Problem`` where there is none.
    """
    return _called(name, notebooks(), "lesson")


def lesson(name: str) -> Lesson:
    """The lesson with this number (``"03"``, ``"3"`` or ``"3d"``), name or file name.

    Raises ``Problem`` where there is none.
    """
    return _called(name, lessons(), "lesson")


def _called(name: str, all_of_them: tuple[Any, ...], kind: str) -> Any:
    wanted = Path(name).name.removesuffix(".ipynb")
    wanted = f"0{wanted}" if re.fullmatch(r"[0-9]d?", wanted) else wanted
    for known in all_of_them:
        if wanted in (known.number, known.name, getattr(known, "formerly", "") or known.name):
            return known
    raise Problem(
        f"there is no {kind} {name!r}.\n{kind.capitalize()}s:"
        f" {', '.join(known.name for known in all_of_them)}"
    )


@functools.cache
def _tables(file: str = "course.toml") -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))


def claims() -> dict[str, str]:
    """What the incident documents claim: id → the claim in a sentence or a part of one."""
    return dict(_tables("claims.toml"))


def wanted_claims() -> tuple[str, ...]:
    """The ids of every claim that some lesson has to settle, sorted."""
    return tuple(sorted(claim for known in lessons() for claim in known.claims))


def notebooks_folder() -> Path:
    """The ``notebooks`` folder of ``repository()``."""
    return repository() / "notebooks"
