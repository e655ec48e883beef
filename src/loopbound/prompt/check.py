"""``loopbound check FILE``: what the checks say about a notebook as it is saved."""

from __future__ import annotations

from loopbound.checks.verdict import PASSED
from loopbound.grading.submission import read_submission
from loopbound.prompt.console import Console
from loopbound.prompt.feedback import Executor, keep, say_feedback, total
from loopbound.prompt.naming import notebook_meant
from loopbound.suite.terminal import Progress

__all__ = ["check_command"]


def check_command(word: str, run: Executor) -> int:
    """Check every task of a notebook (a path, or an assignment's number or name); gives 0 when all of them passed, else 1.

    Raises ``Problem`` for what is no exercise.
    """
    path = notebook_meant(word)
    submission = read_submission(path)
    console = Console()
    for note in submission.notes:
        console.wrapped(note)
    with Progress() as progress:
        progress.pass_by(f"Checking {path.name} …")
        results = run(path, None)
    say_feedback(console, submission.assignment, results)
    console.say(total(submission.assignment, results))
    keep(results, set(results))
    return 0 if all(task.id in results and results[task.id]["outcome"] == PASSED for task in submission.assignment.tasks) else 1
