"""``loopbound check FILE|TASK``: what the checks say about a notebook as it is saved."""

from __future__ import annotations

from pathlib import Path

from loopbound.grading.submission import read_submission
from loopbound.learner.executor import kernels
from loopbound.learner.feedback import Executors, keep, say_feedback, total
from loopbound.learner.targets import is_task, notebook_meant, task_meant
from loopbound.outcomes import PASSED
from loopbound.terminal import Console, ProgressLine, ended_in_good_order

__all__ = ["check_command"]


def check_command(word: str, executors: Executors = kernels) -> int:
    """Check every task of a notebook (a path, or an assignment's number or name), or one task of an
    exercise; gives 0 when all of them passed, else 1.

    Raises ``Problem`` for what is no exercise.
    """
    wanted = task_meant(word) if is_task(word) and not Path(word).exists() else None
    path = notebook_meant(wanted.id[:2] if wanted else word)
    submission = read_submission(path)
    console = Console()
    for note in submission.notes:
        console.wrapped(note)
    with ended_in_good_order(), ProgressLine() as progress:
        progress.pass_by(f"Checking {wanted.id if wanted else path.name} …")
        with executors() as run:
            results = run(path, {wanted.id} if wanted else None)
    which = submission.assignment
    asked = (wanted,) if wanted else which.tasks
    results = {task.id: results[task.id] for task in asked if task.id in results}
    say_feedback(
        console, which, results, [task.id for task in which.tasks if submission.untouched(task.id)]
    )
    if not wanted:
        console.say(total(which, results))
    keep(results, set(results))
    return (
        0
        if all(task.id in results and results[task.id]["outcome"] == PASSED for task in asked)
        else 1
    )
