"""What grading a submission gives: plain values, with nothing to import that is slow."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Graded", "TaskResult"]


@dataclass(frozen=True)
class TaskResult:
    """What one task earned. ``seconds`` is the wall time of its cells and its check."""

    task: str
    outcome: str
    points: int
    of: int
    says: str
    diagnosis: str = ""
    seconds: float = 0.0
    answer: str = ""


@dataclass(frozen=True)
class Graded:
    """A graded submission.

    ``problem`` is why it could not be graded, else ""; ``notes`` what was put right in reading or
    running it.
    """

    file: str
    learner: str
    digest: str
    assignment: str = ""
    tasks: tuple[TaskResult, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> int:
        return sum(result.points for result in self.tasks)

    @property
    def of(self) -> int:
        return sum(result.of for result in self.tasks)
