"""What a check says about an answer: one of four outcomes, and feedback that names what was
observed.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from loopbound.course.manifest import Task
from loopbound.outcomes import ANSI, PASSED, SIGNS, WRONG

__all__ = [
    "CheckFailed",
    "Feedback",
    "Verdict",
    "failed",
    "passed",
]

_COLUMNS = 96


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    ``outcome`` is ``PASSED``, ``WRONG``, ``RAISED`` or ``NOT_ATTEMPTED``; ``says`` one or a few
    paragraphs that name what was observed, on which loop and with which input; ``diagnosis`` the
    short name of a typical mistake, or "".
    """

    outcome: str
    says: str
    diagnosis: str = ""


def passed(says: str) -> Verdict:
    """The answer does what the task asks; ``says`` what was observed."""
    return Verdict(PASSED, says)


def failed(diagnosis: str, says: str) -> Verdict:
    """The answer ran and is wrong, by a mistake that has a name."""
    return Verdict(WRONG, says, diagnosis)


@dataclass(frozen=True)
class Feedback:
    """A verdict with its task, as a reader meets it."""

    task: Task
    verdict: Verdict
    ways_on: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """The points that the verdict earns: all of the task's, or none."""
        return self.task.points if self.verdict.outcome == PASSED else 0

    @property
    def headline(self) -> str:
        """``"✗ 01.2 Fetch them all: wrong"``; with the points where it passed."""
        earned = (
            f", {self.points} {'point' if self.points == 1 else 'points'}"
            if self.verdict.outcome == PASSED
            else ""
        )
        return (
            f"{SIGNS[self.verdict.outcome]} {self.task.id} {self.task.title}:"
            f" {self.verdict.outcome}{earned}"
        )

    def text(self, colour: bool = False, columns: int = _COLUMNS) -> str:
        """The feedback in lines of so many columns, by default such that they fit a notebook;
        ``colour`` adds ANSI colours.
        """
        headline = (
            f"\x1b[1;{ANSI[self.verdict.outcome]}m{self.headline}\x1b[0m"
            if colour
            else self.headline
        )
        paragraphs = [*self.verdict.says.split("\n"), *self.ways_on]
        wrapped = [
            textwrap.fill(part, columns, break_long_words=False, break_on_hyphens=False)
            for part in paragraphs
            if part.strip()
        ]
        return "\n\n".join([headline, *wrapped])

    def _repr_markdown_(self) -> str:
        return "\n\n".join([f"**{self.headline}**", *self.verdict.says.split("\n"), *self.ways_on])

    def __repr__(self) -> str:
        return self.text()

    def _ipython_display_(self) -> None:
        # Displayed, not returned as the cell's result: nbgrader reads a result as partial credit.
        from IPython.display import display

        display({"text/markdown": self._repr_markdown_(), "text/plain": self.text()}, raw=True)


class CheckFailed(AssertionError):
    """Raised by ``check`` for every outcome but passed, so that nbgrader and any runner see the
    cell fail.
    """

    def __init__(self, feedback: Feedback) -> None:
        super().__init__(feedback.text())
        self.feedback = feedback

    def _render_traceback_(self) -> list[str]:
        # IPython shows these lines in place of a traceback: where the package raised this does
        # not help.
        return self.feedback.text(colour=True).split("\n")
