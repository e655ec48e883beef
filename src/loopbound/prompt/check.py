"""``loopbound check FILE``: what the checks say about a notebook as it is saved."""

from __future__ import annotations

from loopbound.checks.verdict import PASSED
from loopbound.grading.submission import read_submission
from loopbound.prompt.console import Console
from loopbound.prompt.feedback import Executors, keep, say_feedback, total
from loopbound.prompt.naming import notebook_meant
from loopbound.suite.terminal import Progress, ended_in_good_order

__all__ = ["check_command"]


def check_command(word: str, executors: Executors) -> int:
    """Check every task of a notebook (a path, or an assignment's number or name); gives 0 when all of them passed, else 1.

    Raises ``Problem`` for what is no exercise.
    """
    path = notebook_meant(word)
    submission = read_submission(path)
    console = Console()
    for note in submission.notes:
        console.wrapped(note)
    with ended_in_good_order(), Progress() as progress:
        progress.pass_by(f"Checking {path.name} …")
        with executors() as run:
            results = run(path, None)
    which = submission.assignment
    say_feedback(console, which, results, [task.id for task in which.tasks if submission.untouched(task.id)])
    console.say(total(which, results))
    keep(results, set(results))
    return 0 if all(task.id in results and results[task.id]["outcome"] == PASSED for task in which.tasks) else 1
