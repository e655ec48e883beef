"""``loopbound hint TASK``: the hints to a task, one more each time, as in the notebook."""

from __future__ import annotations

from loopbound.checks.task import task_check
from loopbound.learner.cells import next_hints
from loopbound.learner.progress import progress_path
from loopbound.learner.targets import task_meant
from loopbound.terminal import Console, complain

__all__ = ["hint_command"]


def hint_command(word: str) -> int:
    """Print the hints that have been given to a task and one more.

    Raises ``Problem`` for a task that there is not.
    """
    task = task_meant(word)
    console = Console()
    hints = next_hints(task.id, say=complain)
    of = len(task_check(task.id).hints)
    console.say(console.painted(f"{task.id} {task.title}", "1"))
    for number, text in enumerate(hints, start=1):
        console.say()
        console.wrapped(f"Hint {number} of {of}: {text}")
    if len(hints) < of and progress_path() is None:
        console.say()
        console.wrapped(
            "Progress is off, so this will be the first hint again. In the notebook,"
            f' `hint("{task.id}")` gives one more each time.'
        )
    return 0
