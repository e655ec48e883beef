"""What a learner calls in a cell: `check`, `hint`, `show`, `solution`."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loopbound.checks.task import judge, observed, task_check
from loopbound.checks.verdict import CheckFailed, Feedback
from loopbound.course import manifest
from loopbound.course.solutions import BEGIN, END, answer_source
from loopbound.learner.progress import ProgressFile
from loopbound.outcomes import NOT_ATTEMPTED, PASSED
from loopbound.paths import repository

__all__ = ["Note", "check", "hint", "next_hints", "show", "solution", "solution_source"]

# This kernel's own memory, for where progress cannot be kept in a file; what an earlier kernel knew
# comes from there.
_hints_given: dict[str, int] = {}
_passed: set[str] = set()


class Note:
    """A text that a notebook shows as Markdown."""

    def __init__(self, markdown: str) -> None:
        self.markdown = markdown

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown


def check(identity: str, names: Mapping[str, Any] | None = None) -> Feedback:
    """Run the answers to a task on loops of their own, and say what was observed.

    ``names`` is the namespace with the answers; by default the caller's, which in a notebook is the
    notebook's.

    Raises:
        CheckFailed: the outcome is not "passed". In a notebook it is shown as feedback, not as a
            traceback.
    """
    names = _names(names)
    task = _meant(identity, names)
    identity = task.id
    with _working(identity):
        verdict = judge(identity, observed(identity, names))
    drawn = task_check(identity).show is not None
    ProgressFile().checked(identity, verdict.outcome, Feedback(task, verdict).points)
    if verdict.outcome == PASSED:
        _passed.add(identity)
        ways_on = [f'`solution("{identity}")` shows the course\'s own answer.']
        if drawn:
            ways_on.append(f'`show("{identity}")` draws the run.')
        return Feedback(task, verdict, (" ".join(ways_on),))
    ways_on = [f'`hint("{identity}")` gives a hint.']
    if verdict.outcome != NOT_ATTEMPTED and drawn and task.kind != "predict":
        ways_on.append(f'`show("{identity}")` draws what your code did.')
    raise CheckFailed(Feedback(task, verdict, (" ".join(ways_on),))) from None


@contextlib.contextmanager
def _working(identity: str) -> Iterator[None]:
    """In a notebook, say that a check that runs a suite is at work; gone when it is over."""
    kernel = sys.modules.get("ipykernel.zmqshell")
    if (
        task_check(identity).settle is None
        or kernel is None
        or not kernel.ZMQInteractiveShell.initialized()
    ):
        yield
        return
    from IPython.display import clear_output

    print("pytest runs with your answer; that takes some seconds …", flush=True)
    try:
        yield
    finally:
        clear_output(wait=True)  # at the next output, the feedback: nothing jumps


def hint(identity: str) -> Note:
    """The hints to a task: one the first time, one more each time, also after the kernel was
    restarted.
    """
    given = next_hints(identity)
    of = len(task_check(identity).hints)
    return Note(
        "\n\n".join(
            f"**Hint {number} of {of}:** {text}" for number, text in enumerate(given, start=1)
        )
    )


def next_hints(identity: str, say: Callable[[str], None] = print) -> tuple[str, ...]:
    """The hints to a task that were given before and one more, which counts as given now; ``say``
    is told where that cannot be kept.
    """
    identity = manifest.task(identity).id
    hints = task_check(identity).hints
    kept = ProgressFile(say=say)
    before = max(_hints_given.get(identity, 0), kept.entry(identity).hints)
    given = _hints_given[identity] = min(before + 1, len(hints))
    kept.hinted(identity, given)
    return hints[:given]


def show(identity: str, names: Mapping[str, Any] | None = None) -> Any:
    """Run the answers to a task once more and draw what they did."""
    names = _names(names)
    identity = _meant(identity, names).id
    draw = task_check(identity).show
    if draw is None:
        return Note(f"Task {identity} has nothing to draw; `check` says what was observed.")
    if manifest.task(identity).kind == "predict" and not _has_passed(identity):
        return Note(
            f"A picture of this run would be the answer to {identity}. It is drawn after a pass."
        )
    data = observed(identity, names)
    verdict = judge(identity, data)
    # What never ran has no turns and no events; the check has the words for it.
    if verdict.outcome == NOT_ATTEMPTED or not data.get("turns", data["events"]):
        return Note(verdict.says)
    return draw(data)


def solution(identity: str, anyway: bool = False) -> Note:
    """The course's own answer to a task, once `check` has passed, in this kernel or an earlier one;
    ``anyway=True`` shows it before.
    """
    task = manifest.task(identity)
    identity = task.id
    if not anyway and not _has_passed(identity):
        return Note(
            f'The solution of {identity} is shown after a pass. `hint("{identity}")` gives a hint; '
            f'to read it now: `solution("{identity}", anyway=True)`.'
        )
    return Note(f"**{task.id} {task.title}**\n\n```python\n{solution_source(identity)}\n```")


def solution_source(identity: str) -> str:
    """The code of a task's solution cell, without nbgrader's markers.

    Raises:
        Problem: the repository's ``solutions/`` is not here.
    """
    source = answer_source(repository(), identity)
    return re.sub(rf"^\s*### ({BEGIN}|{END})\n?", "", source, flags=re.MULTILINE).rstrip()


def _has_passed(identity: str) -> bool:
    return identity in _passed or ProgressFile().entry(identity).passed


def _meant(identity: str, names: Mapping[str, Any]) -> manifest.Task:
    """The task of this id; in a notebook from before its assignment got another number, today's."""
    for which in manifest.assignments():
        now = which.former_ids.get(identity)
        if now and any(name in names for name in task_check(now).answers):
            return manifest.task(now)
    return manifest.task(identity)


def _names(names: Mapping[str, Any] | None) -> Mapping[str, Any]:
    # The frame of the cell that called check(): in a notebook its globals are the user's namespace.
    return sys._getframe(2).f_globals if names is None else names
