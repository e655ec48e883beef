"""Grades many submissions, some at a time, and hands each result over when it is there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopbound.course.manifest import assignments
from loopbound.course.solutions import COPY
from loopbound.grading.cleaned import cleaned, file_name
from loopbound.grading.grade import Facts, Graded, Limits, grade
from loopbound.grading.processes import House
from loopbound.grading.submission import LARGEST_FILE, read_submission
from loopbound.problem import Problem

__all__ = ["Handed", "check_notebook", "found", "grade_all", "learner_of"]


# Folders that are named after what is in them, not after whose it is.
_PASSED_BY = frozenset({"exercises", "submitted", "autograded"})


@dataclass(frozen=True)
class Handed:
    """A notebook that was handed in: its ``path``, and whose it is."""

    path: Path
    learner: str

    @property
    def file(self) -> str:
        """Its absolute path as text that can be stored and printed, also where its name is no Unicode."""
        return file_name(self.path.absolute())

    def digest(self) -> str:
        """A digest of its content; empty where it cannot be read."""
        try:
            status = os.lstat(self.path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
                return ""
            return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""


def found(paths: Sequence[Path]) -> list[Handed]:
    """The notebooks at these paths, those in folders included; no folder is entered through a link.

    Raises:
        Problem: there is no such path, or no notebook.
    """
    handed: dict[Path, Handed] = {}
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise Problem(f"there is no {path}.")
        if not path.is_dir():
            handed.setdefault(path.absolute(), Handed(path, learner_of(path, path.parent)))
            continue
        inside = []
        # A folder that cannot be read is told as somebody's notebook that cannot be: nobody is left out without a word.
        for folder, folders, files in os.walk(path, onerror=lambda error: inside.append(Path(error.filename))):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            inside += [Path(folder, name) for name in sorted(files) if name.endswith(".ipynb") and not name.startswith(".") and COPY not in name]
        if not inside:
            raise Problem(f"there is nothing to grade in {path}: no .ipynb is in it.")
        for each in inside:
            handed.setdefault(each.absolute(), Handed(each, learner_of(each, path)))
    return list(handed.values())


def learner_of(path: Path, top: Path) -> str:
    """Whose notebook this is, from where it lies below the folder that was named: nbgrader's ``learner/assignment/file``, a folder of the learner's
    own, that folder itself, or the file's own name."""
    assigned = {which.name for which in assignments()}
    path, top = path.absolute(), top.absolute()
    below = path.parent.relative_to(top).parts
    for folder in reversed(below):
        if folder not in assigned | _PASSED_BY:
            return folder
    stem = path.stem
    for name in assigned:
        stem = stem.replace(name, "")
    own = stem.strip(" -_.()")
    above = [folder for folder in (top.name, top.parent.name) if folder not in assigned | _PASSED_BY]
    return own or (above[0] if above else "") or path.stem


def grade_all(
    handed: Iterable[Handed],
    jobs: int,
    done: Callable[[Graded], None],
    house: House | None = None,
    limits: Limits | None = None,
) -> None:
    """Grade submissions, ``jobs`` at a time; ``done`` is called with each result, in the thread of the caller.

    Raises:
        Problem: nothing could be run, for a reason that lies in no submission.
    """
    asyncio.run(_grade_all(list(handed), jobs, done, house, limits))


async def _grade_all(handed: list[Handed], jobs: int, done: Callable[[Graded], None], house: House | None, limits: Limits | None) -> None:
    own = house is None
    house = house or await asyncio.to_thread(House)
    try:
        facts = Facts(house)
        waiting = iter(handed)

        async def work(place: int) -> None:
            for each in waiting:
                done(await grade_one(house, facts, each, place, limits))

        async with asyncio.TaskGroup() as group:
            for place in range(max(1, min(jobs, len(handed)))):
                group.create_task(work(place))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    finally:
        if own:
            house.close()


async def grade_one(house: House, facts: Facts, handed: Handed, place: int, limits: Limits | None = None) -> Graded:
    """Grade one submission; a file that cannot be read is a result too."""
    began = time.perf_counter()
    file, digest, learner = handed.file, handed.digest(), cleaned(handed.learner, 200, lines=False)
    try:
        submission = read_submission(handed.path)
    except Problem as problem:
        return Graded(file, learner, digest, problem=cleaned(str(problem)), seconds=round(time.perf_counter() - began, 3))
    tasks = await grade(house, facts, submission, place, limits)
    return Graded(file, learner, digest, submission.assignment.name, tasks, submission.notes, seconds=round(time.perf_counter() - began, 3))


def check_notebook(house: House, path: Path, only: Iterable[str] | None = None) -> Graded:
    """Check a learner's own notebook, as at the prompt: the same way, without a gradebook.

    Raises:
        Problem: it cannot be read, or nothing can be run.
    """
    submission = read_submission(path)
    began = time.perf_counter()
    tasks = asyncio.run(grade(house, Facts(house), submission, only=None if only is None else set(only)))
    return Graded(str(path), "", "", submission.assignment.name, tasks, submission.notes, seconds=time.perf_counter() - began)


def assignment_names() -> list[str]:
    """The names of the assignments, in teaching order."""
    return [which.name for which in assignments()]
