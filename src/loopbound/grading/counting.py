"""Which of several hand-ins counts, what is late, and what a person has added by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loopbound.course.manifest import assignment, task
from loopbound.grading.results import Graded, TaskResult
from loopbound.grading.roster import compared, decoded, table
from loopbound.problem import Problem

__all__ = ["BEST", "KEEP", "LATEST", "Counted", "Mark", "alike", "counted", "marks", "with_marks"]

BEST, LATEST = "best", "latest"
KEEP = {BEST: "the one with the most points counts", LATEST: "the latest one counts"}
"""The rules for what is handed in more than once, in words."""


@dataclass(frozen=True)
class Counted:
    """A learner's submission to one assignment that counts, and the ``others`` that do not."""

    graded: Graded
    others: tuple[Graded, ...] = ()

    def result(self, task: str) -> TaskResult | None:
        """What it earned in a task; None where it was not asked for it."""
        return next((result for result in self.graded.tasks if result.task == task), None)


def counted(results: Iterable[Graded], keep: str = BEST) -> dict[tuple[str, str], Counted]:
    """What counts, by learner and assignment; what was not graded counts nowhere."""
    several: dict[tuple[str, str], list[Graded]] = defaultdict(list)
    for graded in results:
        if not graded.problem:
            several[graded.learner, graded.assignment].append(graded)
    found = {}
    for key, own in several.items():
        own.sort(key=lambda graded: (graded.order, graded.file))
        # Of equals the first one: it was in time.
        best = own[-1] if keep == LATEST else max(own, key=lambda graded: graded.points)
        found[key] = Counted(best, tuple(graded for graded in own if graded is not best))
    return found


def alike(results: Iterable[Graded]) -> list[tuple[str, tuple[str, ...]]]:
    """Which learners handed in the very same content as another file: the assignment, and their
    names. The exercise as it was given out does not count, nor does a group's one file.
    """
    same: dict[tuple[str, str], list[Graded]] = defaultdict(list)
    for graded in results:
        if graded.digest and graded.assignment and (graded.begun or graded.problem):
            same[graded.assignment, graded.digest].append(graded)
    return sorted(
        (which, tuple(sorted({graded.learner for graded in several})))
        for (which, _), several in same.items()
        if len({graded.file for graded in several}) > 1
        and len({graded.learner for graded in several}) > 1
    )


@dataclass(frozen=True)
class Mark:
    """What a person has set: points, or a comment, or both; ``where`` is the line of a file."""

    learner: str
    task: str
    points: float | None
    comment: str
    where: str = ""

    @property
    def empty(self) -> bool:
        """Whether it takes back what was set before."""
        return self.points is None and not self.comment


def marks(path: Path) -> list[Mark]:
    """Read points and comments that were set by hand: a CSV file with the columns learner, task,
    points, comment. ``task`` is a task's id, or an assignment's number for a comment on all of it;
    a line without points and comment takes back what was set before.

    Raises:
        Problem: it cannot be read, or a line says what cannot be.
    """
    try:
        rows = table(decoded(path.read_bytes()))
    except OSError as error:
        raise Problem(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    head = [compared(text) for text in rows[0]] if rows else []
    if not {"learner", "task"} <= {*head}:
        raise Problem(f"{path} needs a first line with these columns: learner,task,points,comment")
    found = []
    for number, row in enumerate(rows[1:], 2):
        given = dict(zip(head, row, strict=False))
        found.append(_mark(given, f"{path}, line {number}"))
    return found


def _mark(given: Mapping[str, str], where: str) -> Mark:
    what, text = given["task"], given.get("points", "").replace(",", ".")
    # A cell that begins with a sign was defused by us, or by the spreadsheet.
    learner = given["learner"].removeprefix("'")
    try:
        known = task(what) if "." in what else None
        name = known.id if known else assignment(what).name
    except Problem as problem:
        raise Problem(f"{where}: {problem}") from None
    if not text:
        return Mark(learner, name, None, given.get("comment", ""), where)
    try:
        points = float(text)
    except ValueError:
        points = -1.0
    if known is not None and points > known.points:
        raise Problem(
            f"{where}: {points:g} points are more than the {known.points} that {name} has. Nothing"
            " was graded or changed."
        )
    if known is None or not points >= 0:
        raise Problem(
            f"{where}: points are a number from 0 on, and stand beside a task such as 04.2."
        )
    whole = int(points) if points == int(points) else points
    return Mark(learner, name, whole, given.get("comment", ""), where)


def with_marks(results: Sequence[Graded], given: Iterable[Mark]) -> list[Graded]:
    """The results with what was set by hand in the place of what the grader says."""
    by_learner: dict[tuple[str, str], Mark] = {
        (compared(mark.learner), mark.task): mark for mark in given
    }
    changed = []
    for graded in results:
        who = compared(graded.learner)
        tasks = tuple(
            result
            if (mark := by_learner.get((who, result.task))) is None
            else replace(
                result,
                points=result.points if mark.points is None else mark.points,
                by_hand=mark.points is not None,
                comment=mark.comment,
            )
            for result in graded.tasks
        )
        whole = by_learner.get((who, graded.assignment))
        changed.append(
            replace(graded, tasks=tasks, comment=whole.comment if whole else graded.comment)
        )
    return changed
