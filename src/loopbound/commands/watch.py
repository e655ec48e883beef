"""``loopbound watch [FILE|FOLDER]``: checks a notebook again whenever it is saved, and of it only
what changed.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from loopbound.grading.submission import Submission, read_submission
from loopbound.learner.executor import kernels
from loopbound.learner.feedback import Executor, Executors, keep, say_feedback, total
from loopbound.learner.saves import Saved, Saves
from loopbound.learner.targets import notebook_meant
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.terminal import Console, ProgressLine, complain, ended_in_good_order

__all__ = ["watch_command"]

PAUSE = 0.2  # seconds between two looks


def watch_command(word: str | None, executors: Executors = kernels) -> int:
    """Watch a notebook (a path, or an assignment's number or name), or every notebook below a
    folder; without one, the exercises.

    A single notebook is checked at once. Does not return: Ctrl-C ends it, as a
    ``KeyboardInterrupt`` that goes up.

    Raises ``Problem`` for what is no exercise, and where there is nothing to watch.
    """
    watch = _Watch(_place(word))
    watch.begin()
    with ended_in_good_order(), executors() as watch.run:
        while True:
            began = time.monotonic()
            watch.look()
            # A large folder takes its time to look through; the machine is there for other things
            # too.
            time.sleep(max(PAUSE, 4 * (time.monotonic() - began) if watch.idle else 0))


def _place(word: str | None) -> Path:
    if word is None:
        return repository() / "exercises"
    return Path(word).resolve() if Path(word).is_dir() else notebook_meant(word)


class _Watch:
    run: Executor

    def __init__(self, where: Path) -> None:
        self.saves = Saves(where)
        self.console = Console()
        self.results: dict[Path, dict[str, Any]] = {}
        self.notes: dict[Path, tuple[str, ...]] = {}
        self.idle = True  # nothing was checked at the last look

    def begin(self) -> None:
        where = self.saves.where
        if self.saves.one:
            read_submission(where)  # what is no exercise is said at once
            self.console.say(
                f"Watching {where.name}: each time you save it, the answers that changed are"
                " checked. Ctrl-C ends this."
            )
            return
        found = self.saves.remember()
        if not found:
            raise Problem(f"there is no exercise in {where}.")
        notebooks = "1 notebook" if len(found) == 1 else f"{len(found)} notebooks"
        self.console.say(
            f"Watching {notebooks} in {where}: each time you save one, the answers that changed are"
            " checked. Ctrl-C ends this."
        )

    def look(self) -> None:
        self.idle = True
        for saved in self.saves.look():
            if saved.submission is None:
                complain(saved.problem)
            elif saved.tasks:
                self.idle = False
                self._check(saved, saved.submission)

    def _check(self, saved: Saved, submission: Submission) -> None:
        which, path = submission.assignment, saved.path
        began = time.monotonic()
        try:
            with ProgressLine() as progress:
                progress.pass_by(f"Checking {', '.join(sorted(saved.tasks))} …")
                found = self.run(path, set(saved.tasks))
        except Problem as problem:
            complain(str(problem))
            self.saves.forget_answers(path)
            self.results.pop(path, None)
            return
        # A task that was asked for and got no answer is not known any more.
        kept = {
            task: result
            for task, result in self.results.get(path, {}).items()
            if task not in saved.tasks
        }
        asked = {task: result for task, result in found.items() if task in saved.tasks}
        self.results[path] = kept | asked
        console = self.console
        console.say()
        console.say(
            console.painted(
                f"{datetime.now():%H:%M:%S} {path.name} ({time.monotonic() - began:.1f} s)", "2"
            )
        )
        console.say()
        if submission.notes != self.notes.get(path):
            for note in submission.notes:
                console.wrapped(note)
        self.notes[path] = submission.notes
        say_feedback(
            console,
            which,
            asked,
            [task.id for task in which.tasks if submission.untouched(task.id)],
        )
        console.say(total(which, self.results[path]))
        keep(asked, saved.tasks)
