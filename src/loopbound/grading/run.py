"""Grades many submissions, some at a time, and hands each result over when it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from loopbound.grading.cleaned import cleaned
from loopbound.grading.grade import Facts, Limits, grade
from loopbound.grading.handed import Handed
from loopbound.grading.isolation.processes import Processes
from loopbound.grading.results import Graded
from loopbound.grading.submission import read_submission
from loopbound.problem import Problem

__all__ = ["grade_all"]


def grade_all(
    handed: Iterable[Handed],
    jobs: int,
    done: Callable[[Graded], None],
    processes: Processes | None = None,
    limits: Limits | None = None,
) -> None:
    """Grade submissions, ``jobs`` at a time; ``done`` is called with each result, in the thread of
    the caller.

    Raises:
        Problem: nothing could be run, for a reason that lies in no submission.
    """
    asyncio.run(_grade_all(list(handed), jobs, done, processes, limits))


async def _grade_all(
    handed: list[Handed],
    jobs: int,
    done: Callable[[Graded], None],
    given: Processes | None,
    limits: Limits | None,
) -> None:
    processes = await asyncio.to_thread(Processes) if given is None else given
    try:
        facts = Facts(processes)
        waiting = iter(handed)

        async def work(place: int) -> None:
            for each in waiting:
                done(await grade_one(processes, facts, each, place, limits))

        async with asyncio.TaskGroup() as group:
            for place in range(max(1, min(jobs, len(handed)))):
                group.create_task(work(place))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    finally:
        if given is None:
            processes.close()


async def grade_one(
    processes: Processes, facts: Facts, handed: Handed, place: int, limits: Limits | None = None
) -> Graded:
    """Grade one submission; a file that cannot be read is a result too."""
    began = time.perf_counter()
    file, digest, learner = handed.file, handed.digest(), cleaned(handed.learner, 200, lines=False)
    assignment = ""
    try:
        submission = read_submission(handed.path)
        assignment = submission.assignment.name
        shown: dict[int, tuple[dict[str, Any], ...]] = {}
        tasks = await grade(processes, facts, submission, place, limits, shown=shown)
    except Exception as error:
        if assignment and await asyncio.to_thread(processes.databases.trouble):
            raise
        # Whatever a notebook can bring about is a line for this notebook.
        said = str(error) if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
        return Graded(
            file,
            learner,
            digest,
            assignment,
            problem=cleaned(said),
            seconds=round(time.perf_counter() - began, 3),
        )
    return Graded(
        file,
        learner,
        digest,
        submission.assignment.name,
        tasks,
        submission.notes,
        seconds=round(time.perf_counter() - began, 3),
        shown=shown,
    )
