"""What grading a submission gives: plain values, with nothing to import that is slow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loopbound.outcomes import NOT_ATTEMPTED

__all__ = ["Graded", "TaskResult"]


@dataclass(frozen=True)
class TaskResult:
    """What one task earned. ``seconds`` is the wall time of its cells and its check; ``by_hand`` is
    whether a person has set the points, ``comment`` what that person says.
    """

    task: str
    outcome: str
    points: float
    of: int
    says: str
    diagnosis: str = ""
    seconds: float = 0.0
    answer: str = ""
    by_hand: bool = False
    comment: str = ""


@dataclass(frozen=True)
class Graded:
    """A graded submission.

    ``problem`` is why it could not be graded, else ""; ``notes`` what was put right in reading or
    running it. ``handed_in`` is an ISO time, "" where it is not known; ``order`` sorts what one
    learner handed in to one assignment, ``place`` is its file below what was named, and ``comment``
    what a person says about the whole. ``shown`` has its cells' errors, as outputs of a notebook,
    by their numbers; None where it was not run now.
    """

    file: str
    learner: str
    digest: str
    assignment: str = ""
    tasks: tuple[TaskResult, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    seconds: float = 0.0
    handed_in: str = ""
    late: bool = False
    order: str = ""
    place: str = ""
    comment: str = ""
    shown: Mapping[int, tuple[dict[str, Any], ...]] | None = None

    @property
    def begun(self) -> bool:
        """Whether an answer was tried; False too where the exercise came back as it was given."""
        return any(result.outcome != NOT_ATTEMPTED or result.by_hand for result in self.tasks)

    @property
    def points(self) -> float:
        return sum(result.points for result in self.tasks)

    @property
    def of(self) -> int:
        return sum(result.of for result in self.tasks)
