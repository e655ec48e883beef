"""Grades one submission: its cells in a kernel of their own, task by task, and what the checks
observed judged out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from loopbound.checks.task import judge, task_check
from loopbound.checks.verdict import Verdict, failed
from loopbound.course.manifest import Assignment, Task
from loopbound.grading.cleaned import cleaned
from loopbound.grading.isolation.channel import REQUEST
from loopbound.grading.isolation.databases import SubmissionDatabases
from loopbound.grading.isolation.kernel import Kernel, Ran
from loopbound.grading.isolation.processes import Ended, LearnerProcess, Processes
from loopbound.grading.results import TaskResult
from loopbound.grading.submission import Submission, template
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED
from loopbound.problem import Problem

__all__ = ["Facts", "Limits", "grade"]

OWN_SECONDS = 600.0  # for what runs nothing of a learner, on a machine that is very busy


@dataclass(frozen=True)
class Limits:
    """Seconds that parts of a submission may take: a ``cell`` of the learner's, a task's ``check``,
    a ``suite`` that an answer asks for, the whole ``notebook``.
    """

    cell: float = 10.0
    check: float = 60.0
    suite: float = 120.0
    notebook: float = 300.0


class Facts:
    """What tasks' answers are compared with, found out once for all submissions."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._known: dict[str, Any] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def of(self, which: Assignment, task: str, place: int, seconds: float) -> dict[str, Any]:
        """The facts of a task; empty where there are none."""
        if task_check(task).facts is None:
            return {}
        async with self._locks.setdefault(task, asyncio.Lock()):
            if task not in self._known:
                self._known[task] = await _carried_out(
                    self._processes, place, which, task, None, None, seconds
                )
            return self._known[task]


async def grade(
    processes: Processes,
    facts: Facts,
    submission: Submission,
    place: int = 0,
    limits: Limits | None = None,
    only: Collection[str] | None = None,
) -> tuple[TaskResult, ...]:
    """Grade a submission.

    Args:
        processes: the grader's processes.
        facts: of the same processes.
        place: which of the grader's workers this is; no two at the same time.
        only: ids of the tasks to grade; all without it.

    Raises:
        Problem: nothing could be run at all, and not for a reason that lies in the submission.
    """
    run = _Run(processes, facts, submission, place, limits or Limits())
    try:
        return tuple(
            [
                await run.task(task)
                for task in submission.assignment.tasks
                if only is None or task.id in only
            ]
        )
    finally:
        await run.close()


@dataclass
class _Run:
    """The grading of one submission: its kernel, replaced when an answer has spoilt it, and the
    cells that have proved harmless.
    """

    processes: Processes
    facts: Facts
    submission: Submission
    place: int
    limits: Limits
    kernel: Kernel | None = None
    lent: SubmissionDatabases | None = None
    harmless: list[str] = field(default_factory=list)
    until: float = 0.0

    async def task(self, task: Task) -> TaskResult:
        began = time.perf_counter()
        self.until = self.until or began + self.limits.notebook
        name = task_check(task.id).answers[0]
        if self.submission.untouched(task.id):
            gone = task.id not in self.submission.answers
            verdict = Verdict(
                NOT_ATTEMPTED,
                (
                    f"There is no `{name}` in this notebook."
                    if gone
                    else f"`{name}` is as it was handed out."
                ),
            )
        elif began > self.until:
            verdict = failed(
                "no time left",
                f"The notebook's {self.limits.notebook:.0f} seconds were used up before this task.",
            )
        else:
            try:
                verdict = await self._fair_verdict(task)
            except Ended as ended:
                await self.close()
                verdict = _ended(ended)
        return TaskResult(
            task.id,
            verdict.outcome,
            task.points if verdict.outcome == PASSED else 0,
            task.points,
            cleaned(verdict.says),
            cleaned(verdict.diagnosis, 100, lines=False),
            round(time.perf_counter() - began, 3),
            self.submission.answers.get(task.id, ""),
        )

    async def _fair_verdict(self, task: Task) -> Verdict:
        """As `_verdict`; a kernel that dies may have been the doing of an earlier task's cells, so
        this one is tried without them.
        """
        others = self.kernel is not None or bool(self.harmless)
        try:
            return await self._verdict(task)
        except Ended as ended:
            if ended.why != "dead" or not others:
                raise
        await self.close()
        self.harmless.clear()
        return await self._verdict(task)

    async def _verdict(self, task: Task) -> Verdict:
        kernel = await self._kernel()
        error = Ran()
        for source in self.submission.cells[task.id]:
            ran = await self._run(kernel, source, self._left(self.limits.cell))
            error = ran if ran.error else error
        message = await self._report(kernel, task)
        if self.lent and self.lent.failed:
            raise Problem(
                "the database server does not answer as it should, so nothing more is graded.\nIt"
                f" says: {self.lent.failed}"
            )
        if message is None:
            return failed(
                "no report",
                "The check did not report what it observed. Something in the notebook keeps it from"
                " running.",
            )
        # From here on everything comes from a process that ran the learner's code: it need not have
        # any form.
        changed, left, data = (
            _words(message.get("changed")),
            _words(message.get("left")),
            message.get("data"),
        )
        if isinstance(data, dict) and not (changed or left):
            self.harmless += self.submission.cells[task.id]
        else:
            await self.close()  # for the tasks that follow, without these cells
        if changed:
            return failed(
                "replaced",
                f"Your cells put something else in the place of `{changed[0]}`. A check runs with"
                " Python's own, so this task was not checked.",
            )
        if isinstance(message.get("problem"), str):
            verdict = failed("could not run", message["problem"])
        elif isinstance(message.get("raised"), str):
            verdict = failed(
                "check broke off",
                f"The check of this task broke off with `{message['raised']}`. Something in the"
                " notebook changed what it works with.",
            )
        elif not isinstance(data, dict):
            verdict = _MALFORMED
        elif error.error and ("missing" in data or "no_function" in data):
            where = f", in line {error.line}" if error.line else ""
            verdict = Verdict(
                RAISED,
                f"The cell of your answer raised `{error.error}`{where}, so there was nothing to"
                " check.",
            )
        else:
            verdict = await self._judged(task, data)
        if left:
            words = " and ".join(
                f"an {word}" if word[0] in "aeiou" else f"a {word}" for word in left
            )
            verdict = replace(
                verdict,
                says=(
                    f"{verdict.says}\nYour cells left {words} behind. It was ended, and the tasks"
                    " after this one ran without these cells."
                ),
            )
        return verdict

    async def _judged(self, task: Task, data: dict[str, Any]) -> Verdict:
        which = self.submission.assignment
        sound = "missing" not in data and "no_function" not in data
        facts = await self._facts(task) if sound else {}
        try:
            if sound:
                if task_check(task.id).settle:
                    data = await _carried_out(
                        self.processes,
                        self.place,
                        which,
                        task.id,
                        data,
                        facts,
                        self._left(self.limits.suite),
                    )
                elif all(step["outcome"] == "returned" for step in data["steps"]):
                    data = data | facts
            return judge(task.id, data)
        except Ended as ended:
            return failed(
                "run ended",
                (
                    "The run that your answer asks for took too long and was ended."
                    if ended.why == "time"
                    else "What your answer asks for ended the process that ran it."
                ),
            )
        except Problem as problem:
            return failed("could not run", str(problem))
        except Exception:
            return _MALFORMED

    async def _facts(self, task: Task) -> dict[str, Any]:
        """What the task is compared with.

        Nothing of the learner's is in it, so that it fails is not the learner's fault.
        """
        try:
            return await self.facts.of(self.submission.assignment, task.id, self.place, OWN_SECONDS)
        except (Ended, Problem):
            await self.close()  # once more, when this submission takes nothing from it
        try:
            return await self.facts.of(self.submission.assignment, task.id, self.place, OWN_SECONDS)
        except Ended as ended:
            raise Problem(
                f"what {task.id} is compared with could not be found out: its run"
                f" {'took too long' if ended.why == 'time' else 'broke off'}."
            ) from None

    async def _report(self, kernel: Kernel, task: Task) -> dict[str, Any] | None:
        """What the task's check reports; None where nothing comes that carries our word."""
        nonce = secrets.token_hex(8)
        seconds = self._left(self.limits.check)
        running = asyncio.ensure_future(self._run(kernel, f"{REQUEST}{task.id} {nonce}", seconds))
        try:
            while True:
                reported = asyncio.ensure_future(kernel.child.report(seconds))
                await asyncio.wait([running, reported], return_when=asyncio.FIRST_COMPLETED)
                if not reported.done():
                    # The cell is over, and what it sent is on its way, if it sent anything.
                    running.result()
                    await asyncio.wait([reported], timeout=0.5)
                if not reported.done():
                    reported.cancel()
                    return None
                message = reported.result()
                if message.get("nonce") == nonce and message.get("task") == task.id:
                    with contextlib.suppress(Ended):
                        await running
                    return message
        finally:
            if not running.done():
                running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Ended):
                await running

    async def _kernel(self) -> Kernel:
        """The kernel, started where there is none, with the course's own cells and the
        learner's harmless ones run.
        """
        kernel = self.kernel
        if kernel is None:
            try:
                kernel = await self._start()
            except Problem:
                await self.close()
                kernel = await self._start()  # once more: a machine that is very busy
            for source in template(self.submission.assignment).given:
                await self._run(kernel, source, self.limits.check)
            # One that does not behave the second time does not come back.
            harmless, self.harmless = self.harmless, []
            for source in harmless:
                await self._run(kernel, source, self._left(self.limits.cell))
                self.harmless.append(source)
        return kernel

    async def _start(self) -> Kernel:
        self.lent = SubmissionDatabases(
            self.processes.databases, self.processes.isolation == "namespaces"
        )
        self.kernel = await Kernel.start(self.processes, self.lent, self.place)
        return self.kernel

    async def _run(self, kernel: Kernel, source: str, seconds: float) -> Ran:
        """Execute a cell. Raises ``Ended``, also where the kernel says what no kernel says."""
        try:
            return await kernel.run(source, seconds)
        except (Ended, Problem):
            raise
        except Exception:
            raise Ended("garbled") from None

    def _left(self, most: float) -> float:
        return max(1.0, min(most, self.until - time.perf_counter()))

    async def close(self) -> None:
        if self.kernel:
            await self.kernel.close()
        if self.lent:
            self.lent.close()
        self.kernel = self.lent = None


def _words(said: object) -> list[str]:
    """A list of words, also where a process said something else."""
    return (
        [cleaned(word, 100, lines=False) for word in said[:5] if isinstance(word, str) and word]
        if isinstance(said, list)
        else []
    )


_MALFORMED = failed(
    "malformed report",
    "What the check reported has no form that it could have given it. Something in the notebook"
    " changed it.",
)


def _ended(ended: Ended) -> Verdict:
    if ended.why == "garbled":
        return failed(
            "garbled",
            "The kernel that ran your code said what no kernel says, and was ended. The other tasks"
            " were run in a new one.",
        )
    if ended.why == "time":
        return failed(
            "did not end",
            "Your code did not end within the time that it has, and its kernel was ended. The other"
            " tasks were run in a new one.",
        )
    return Verdict(
        RAISED,
        "Your code ended the kernel that ran it: an exit, a signal, or more memory than it may"
        " have. The other tasks were run in a new one.",
        "ended the kernel",
    )


async def _carried_out(
    processes: Processes,
    place: int,
    which: Assignment,
    task: str,
    data: dict[str, Any] | None,
    facts: dict[str, Any] | None,
    seconds: float,
) -> dict[str, Any]:
    """`facts_of` (without data) or `complete`, in a process of their own.

    Raises ``Ended`` or ``Problem``.
    """
    lent = SubmissionDatabases(processes.databases, processes.isolation == "namespaces")
    child = LearnerProcess(processes, lent, place)
    try:
        await child.start("stage")
        child.send({"task": task, "data": data, "facts": facts, "given": template(which).given})
        message = await child.report(seconds)
        if "problem" in message:
            raise Problem(message["problem"])
        return message["data"]
    finally:
        await child.close()
        lent.close()
