"""Grades one submission: its cells in a kernel of their own, task by task, and what the checks
observed judged out here.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from loopbound.checks.task import IMPORTS_RUN, another_name, judge, task_check
from loopbound.checks.verdict import Verdict, failed
from loopbound.course.manifest import Assignment, Task
from loopbound.grading.cleaned import cleaned
from loopbound.grading.isolation.channel import REQUEST
from loopbound.grading.isolation.databases import SubmissionDatabases
from loopbound.grading.isolation.kernel import Kernel, Ran
from loopbound.grading.isolation.processes import Ended, LearnerProcess, Processes
from loopbound.grading.results import TaskResult
from loopbound.grading.submission import (
    Cell,
    Submission,
    definitions,
    magic_of,
    names_in,
    template,
)
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED
from loopbound.problem import Problem

__all__ = ["Facts", "Limits", "grade"]

FACTS = 600.0  # seconds that may pass until a task's facts are found out: no learner's run


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
    shown: dict[int, tuple[dict[str, Any], ...]] | None = None,
) -> tuple[TaskResult, ...]:
    """Grade a submission.

    Args:
        processes: the grader's processes.
        facts: of the same processes.
        place: which of the grader's workers this is; no two at the same time.
        only: ids of the tasks to grade; all without it.
        shown: gets the error of each of the learner's cells, as outputs, by its number.

    Raises:
        Problem: nothing could be run at all, and not for a reason that lies in the submission.
    """
    run = _Run(processes, facts, submission, place, limits or Limits())
    run.shown = {} if shown is None else shown
    wanted = [task for task in submission.assignment.tasks if only is None or task.id in only]
    try:
        return await run.results(wanted)
    finally:
        await run.close()


class _NoTime(Exception):
    """The notebook's seconds are used up."""


@dataclass
class _Run:
    """The grading of one submission: its cells from the top in one kernel, as a reader would run
    them, each check at its place between them.

    Where the kernel ends, or something in it keeps a check from being fair, a new one runs the
    cells again, and of those that did the harm only the imports and definitions.

    ``done`` are the cells that this kernel has run, and ``runs`` whose code each of its executions
    was, None for the course's own; ``reduced`` the numbers of cells that do harm, and ``dropped``
    of those that do it even so; ``sound`` of those behind which a check came through. ``troubles``
    says of a cell what became of it, and ``told`` has those of which it was said. ``uneasy``: an
    answer left something in this kernel. ``cut_off``: it left the server no room. ``spent``:
    seconds for cells.
    """

    processes: Processes
    facts: Facts
    submission: Submission
    place: int
    limits: Limits
    kernel: Kernel | None = None
    lent: SubmissionDatabases | None = None
    runs: list[Cell | None] = field(default_factory=list)
    done: list[Cell] = field(default_factory=list)
    reduced: set[int] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)
    troubles: dict[int, str] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    sound: set[int] = field(default_factory=set)
    shown: dict[int, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    uneasy: bool = False
    cut_off: bool = False
    spent: float = 0.0
    until: float = 0.0

    async def results(self, tasks: list[Task]) -> tuple[TaskResult, ...]:
        self.until = time.perf_counter() + self.limits.notebook
        results = {
            task.id: self._result(task, self._untouched(task.id), 0, 0)
            for task in tasks
            if self.submission.untouched(task.id)
        }
        stops = [
            (place, number)
            for number, task in enumerate(tasks)
            if task.id not in results
            for place in self.submission.places(task.id)
        ]
        for place, number in sorted(stops):
            task = tasks[number]
            before = results.get(task.id)
            if before and before.outcome == PASSED:
                continue
            began = time.perf_counter()
            verdict = self._with_remarks(await self._bounded_verdict(task, place), place)
            seconds = time.perf_counter() - began + (before.seconds if before else 0)
            # A later cell may use the function's name for something else.
            if not before or (
                verdict.outcome != NOT_ATTEMPTED and verdict.diagnosis != "not a function"
            ):
                results[task.id] = self._result(task, verdict, place, seconds)
        return tuple(results[task.id] for task in tasks)

    def _result(self, task: Task, verdict: Verdict, place: int, seconds: float) -> TaskResult:
        code = self.submission.judged(task.id, place)
        if not code and task.id in self.submission.handed_out:
            code = template(self.submission.assignment).stubs[task.id]
        return TaskResult(
            task.id,
            verdict.outcome,
            task.points if verdict.outcome == PASSED else 0,
            task.points,
            cleaned(verdict.says),
            cleaned(verdict.diagnosis, 100, lines=False),
            round(seconds, 3),
            code,
        )

    def _untouched(self, task: str) -> Verdict:
        name = task_check(task).answers[0]
        if task not in self.submission.handed_out:
            return Verdict(NOT_ATTEMPTED, f"There is no `{name}` in this notebook.")
        if found := self.submission.instead(task):
            return another_name(name, found)
        return Verdict(NOT_ATTEMPTED, f"`{name}` is as it was handed out.")

    async def _bounded_verdict(self, task: Task, place: int) -> Verdict:
        try:
            return await self._verdict(task, place)
        except _NoTime:
            return failed(
                "no time left",
                f"The notebook's {self.limits.notebook:.0f} seconds were used up before this task.",
            )

    def _with_remarks(self, verdict: Verdict, place: int) -> Verdict:
        """The verdict, and below it what became of the cells since the check before."""
        said = [
            self.troubles[number]
            for number in sorted(self.troubles)
            if number <= place and number not in self.told
        ]
        self.told |= {number for number in self.troubles if number <= place}
        if missing := _NO_NAME.search(verdict.says):
            verdict = replace(verdict, says=verdict.says.replace(f" {IMPORTS_RUN}", ""))
            said += self._about_name(missing[1], place)
        fresh = [text for text in said if text not in verdict.says]
        more = [f"{len(fresh) - 5} more cells did not end well."] if len(fresh) > 5 else []
        return replace(verdict, says="\n".join([verdict.says, *fresh[:5], *more]))

    def _about_name(self, name: str, place: int) -> list[str]:
        """What there is to say about a name that was not there when a task was checked."""
        cells = [
            cell
            for cell in self.submission.cells
            if name in names_in(cell.source)
            or (cell.number in self.troubles and re.search(rf"\b{name}\b", cell.source))
        ]
        said = [self.troubles[cell.number] for cell in cells if cell.number in self.troubles]
        if cells and cells[0].number > place:
            said.append(f"`{name}` is first defined in {cells[0]}, below this check.")
        return said if cells else [f"No cell of the notebook defines `{name}`."]

    async def _verdict(self, task: Task, place: int) -> Verdict:
        first: Verdict | None = None
        tried: dict[Cell, str] = {}  # what is left out to be fair, and may be innocent
        cramped = False
        while not self.cut_off:
            kernel = await self._reach(place)
            uneasy = self.uneasy
            try:
                message = await self._report(kernel, task)
            except Ended as ended:
                first = first or _ended(ended)
                doubts = self._doubts(ended)
                await self.close()
                if self._reduce(doubts) or uneasy:
                    tried |= doubts
                    continue
                break
            if self.lent and self.lent.hoards:
                self.cut_off = True
                await self.close()
                return failed("locks", _HOARDS)
            if self.lent and self.lent.failed and not cramped:
                # It may be what another submission does to the server.
                cramped = True
                await self._make_room()
                continue
            if message is None:
                await self.close()
                first = failed(
                    "no report",
                    "The check did not report what it observed. Something in the notebook keeps it"
                    " from running.",
                )
                break
            # From here on everything comes from a process that ran the learner's code: it need not
            # have any form.
            changed, culprits = _words(message.get("changed")), self._noted("changed")
            if changed or culprits:
                for cell, named in culprits.items():
                    self.troubles[cell.number] = (
                        f"{_capital(cell)} put something else in the place of `{named[0]}`. A check"
                        f" runs with Python's own. {_REDUCED}"
                    )
                suspects = culprits or self.done
                await self.close()
                if self._reduce(suspects):
                    continue
                names = changed or next(iter(culprits.values()))
                return failed(
                    "replaced",
                    f"Your cells put something else in the place of `{names[0]}`. A check runs with"
                    " Python's own, so this task was not checked.",
                )
            self.sound |= {cell.number for cell in self.done}
            verdict = await self._judgement(task, message, place)
            left = {
                cell: f"{_capital(cell)} left {_listed(words)} behind; beside it the check failed."
                for cell, words in self._noted("left").items()
                if _BESIDE & set(words)
            }
            if after := _words(message.get("after")):
                verdict = _with_change(verdict, after)
                await self.close()  # for the tasks that follow
            self.uneasy = bool(_BESIDE & set(_words(message.get("left")))) or uneasy
            if verdict.outcome == PASSED:
                self._tell(tried)
                return verdict
            if "out of shared memory" in verdict.says and not cramped:
                cramped = True
                await self._make_room()
                continue
            if first is None and (self._reduce(left) or uneasy):
                first, tried = verdict, left
                await self.close()
                continue
            first = first or verdict
            break
        if first is None:
            return failed("locks", _HOARDS)
        if tried:
            self.reduced -= {cell.number for cell in tried}
            await self.close()
        return first

    def _doubts(self, ended: Ended) -> dict[Cell, str]:
        """The cells of this kernel that may be the reason for its end, with words for it: those
        that left something, or those behind which no check has come through yet.
        """
        noted = self._noted("left")
        if noted or ended.why == "time":
            return {
                cell: f"{_capital(cell)} left {_listed(words)} behind, and the kernel ended later."
                for cell, words in noted.items()
            }
        doubted = [cell for cell in self.done if cell.number not in self.sound | self.reduced]
        return {
            cell: f"Some time after {cell} had run, something ended the kernel."
            for cell in doubted or self.done
        }

    def _tell(self, tried: Mapping[Cell, str]) -> None:
        """Say of these cells what they did, where it is they that were run otherwise."""
        for cell, words in tried.items():
            if definitions(cell.source).split() != cell.source.split():
                self.troubles[cell.number] = f"{words} {_REDUCED}"

    async def _make_room(self) -> None:
        """End what takes the server's room away, and this submission's kernel with it.

        Raises ``Problem`` where the server does not work even so.
        """
        await self.close()
        databases = self.processes.databases
        await asyncio.to_thread(databases.relieve)
        if said := await asyncio.to_thread(databases.trouble):
            raise Problem(
                "the database server does not answer as it should, so nothing more is graded.\nIt"
                f" says: {said}"
            )

    def _noted(self, what: str) -> dict[Cell, list[str]]:
        """What this kernel noted behind each cell that had not been noted behind the one before."""
        found: dict[Cell, list[str]] = {}
        known: set[str] = set()
        for note in self.kernel.child.notes if self.kernel else ():
            words, at = _words(note.get(what)), note.get("cell")
            cell = self.runs[at] if isinstance(at, int) and 0 <= at < len(self.runs) else None
            if cell and set(words) - known:
                found.setdefault(cell, words)
            known = known | set(words) if what == "changed" else set(words)
        return found

    def _reduce(self, cells: Iterable[Cell]) -> bool:
        """Run no more than the imports and definitions of these cells from now on; whether that is
        news for one of them.
        """
        fewer = {cell.number for cell in cells} - self.reduced
        self.reduced |= fewer
        return bool(fewer)

    async def _reach(self, place: int) -> Kernel:
        """A kernel in which all cells up to a number have run.

        Raises ``_NoTime``.
        """
        tried: dict[Cell, str] = {}
        while True:
            if time.perf_counter() > self.until:
                raise _NoTime
            kernel = await self._kernel()
            rest = self.submission.cells[len(self.done) :]
            if not rest or rest[0].number > place:
                self._tell(tried)
                return kernel
            try:
                await self._cell(kernel, rest[0])
            except Ended as ended:
                doubts = self._doubts(ended)
                await self.close()
                if self._reduce(doubts):
                    tried |= doubts
                    continue
                # It is this one: it ended the kernel without the others, too.
                self.reduced -= {cell.number for cell in tried}
                tried = {}
                self._blame(rest[0], ended)

    def _blame(self, cell: Cell, ended: Ended) -> None:
        number = cell.number
        if number in self.reduced:
            self.dropped.add(number)
        self.reduced.add(number)
        told = {
            "time": f"{_capital(cell)} did not end, and could not be stopped.",
            "garbled": f"While {cell} ran, the kernel said what no kernel says.",
            "dead": f"While {cell} ran, {_SOMETHING}",
        }[ended.why]
        self.troubles[number] = f"{told} {_REDUCED}"

    async def _cell(self, kernel: Kernel, cell: Cell) -> None:
        number = cell.number
        if self.spent > self.limits.notebook / 2 and number not in self.reduced:
            self.reduced.add(number)  # so that there is time for the checks
            self.troubles[number] = (
                f"{_capital(cell)} was not run, because those before took {self.spent:.0f} seconds."
                f" {_REDUCED}"
            )
        if number in self.reduced:
            await self._definitions(kernel, cell, 0)
        else:
            self.runs.append(cell)
            seconds = self._left(self.limits.cell)
            began = time.perf_counter()
            ran = await self._run(kernel, cell.source, seconds)
            self.shown.setdefault(number, ran.shown)  # when it ran first, with all that was there
            self.spent += time.perf_counter() - began
            where = f" in line {ran.line}" if ran.line else ""
            below = 0 < ran.line < len(cell.source.rstrip().splitlines())
            rest = (
                " The rest of that cell was not run, but for imports and definitions."
                if below
                else ""
            )
            if ran.stopped:
                self.reduced.add(number)  # in another kernel
                self.troubles[number] = (
                    f"{_capital(cell)} did not end within {seconds:.0f} seconds, and was"
                    f" stopped{where}.{rest}"
                )
                await self._definitions(kernel, cell, ran.line - 1)
            elif ran.error:
                if ran.error.startswith(("SyntaxError", "IndentationError", "TabError")):
                    rest = " Nothing of it was run."
                if ran.error.startswith("ModuleNotFoundError"):
                    rest += " What installs packages is passed over where notebooks are graded."
                if "U+00A0" in ran.error:
                    rest += " U+00A0 is a blank as chats and web pages have it: type it again."
                self.troubles[number] = f"{_capital(cell)} raised `{ran.error}`{where}.{rest}"
                await self._definitions(kernel, cell, ran.line)
        self.done.append(cell)

    async def _definitions(self, kernel: Kernel, cell: Cell, after: int) -> None:
        """Run what a cell imports and defines below a line, also behind an import that fails.

        Imports may take long on a machine that is busy.
        """
        while cell.number not in self.dropped and (source := definitions(cell.source, after)):
            self.runs.append(cell)
            ran = await self._run(kernel, source, self._left(self.limits.check))
            if not ran.error or ran.line <= after:
                return
            after = ran.line

    async def _judgement(self, task: Task, message: dict[str, Any], place: int) -> Verdict:
        data = message.get("data")
        if isinstance(message.get("problem"), str):
            return failed("could not run", message["problem"])
        if isinstance(message.get("raised"), str):
            return failed(
                "check broke off",
                f"The check of this task broke off with `{message['raised']}`. Something in the"
                " notebook changed what it works with.",
            )
        if not isinstance(data, dict):
            return _MALFORMED
        if ("missing" in data and not data.get("given")) or "no_function" in data:
            if words := self._why_missing(task, place):
                return words
            if "missing" in data and not data.get("near"):
                name = task_check(task.id).answers[0]
                return Verdict(NOT_ATTEMPTED, f"When the cells had run, there was no `{name}`.")
        return await self._judged(task, data)

    def _why_missing(self, task: Task, place: int) -> Verdict | None:
        """Why there is nothing to check, where one of the cells is the reason."""
        wanted = task_check(task.id).answers
        for cell in reversed(self.submission.answering(task.id)):
            if cell.number in self.troubles:
                self.told.add(cell.number)
                return Verdict(
                    RAISED,
                    f"{self.troubles[cell.number]} So there was nothing to check.",
                )
        for cell in self.submission.cells:
            magic = magic_of(cell.source)
            if magic and re.search(rf"\bdef\s+{wanted[0]}\b", cell.source):
                return failed(
                    "runs apart",
                    f"{_capital(cell)} begins with `%%{magic}`, which runs its code apart from the"
                    f" notebook: the `{wanted[0]}` in it is gone afterwards.",
                )
        found = self.submission.instead(task.id)
        return another_name(wanted[0], found) if found else None

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
        seconds = max(self.limits.suite, FACTS)
        try:
            return await self.facts.of(self.submission.assignment, task.id, self.place, seconds)
        except (Ended, Problem):
            # Once more, when this submission takes nothing from it, and no other one all of it.
            await self.close()
            await asyncio.to_thread(self.processes.databases.relieve)
        try:
            return await self.facts.of(self.submission.assignment, task.id, self.place, seconds)
        except Ended as ended:
            raise Problem(
                f"what {task.id} is compared with could not be found out: its run"
                f" {'took too long' if ended.why == 'time' else 'broke off'}."
            ) from None

    async def _report(self, kernel: Kernel, task: Task) -> dict[str, Any] | None:
        """What the task's check reports; None where nothing comes that carries our word."""
        nonce = secrets.token_hex(8)
        seconds = self._left(self.limits.check)
        running = asyncio.ensure_future(
            self._run(kernel, f"{REQUEST}{task.id} {nonce}", seconds, interrupt=False)
        )
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
        """The kernel, started where there is none, with the course's own cells run."""
        kernel = self.kernel
        if kernel is None:
            try:
                kernel = await self._start()
            except Problem:
                await self.close()
                kernel = await self._start()  # once more: a machine that is very busy
            for source in template(self.submission.assignment).given:
                self.runs.append(None)
                await self._run(kernel, source, self.limits.check)
        return kernel

    async def _start(self) -> Kernel:
        self.lent = SubmissionDatabases(
            self.processes.databases, self.processes.isolation == "namespaces"
        )
        self.kernel = await Kernel.start(self.processes, self.lent, self.place)
        return self.kernel

    async def _run(
        self, kernel: Kernel, source: str, seconds: float, interrupt: bool = True
    ) -> Ran:
        """Execute a cell. Raises ``Ended``, also where the kernel says what no kernel says."""
        try:
            return await kernel.run(source, seconds, interrupt)
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
        self.done, self.runs = [], []
        self.uneasy = False


_NO_NAME = re.compile(r"NameError: name '(\w+)' is not defined")
# What goes on while a check holds the kernel's own loop.
_BESIDE = {"thread", "process"}
_REDUCED = "Only what it imports and defines was used."
_SOMETHING = "something ended the kernel: an exit, a signal, or more memory than it may have."
_HOARDS = (
    "Your code took more locks than the database server has for all of its users. Its sessions were"
    " ended, and nothing more of this notebook was run."
)


def _capital(cell: Cell) -> str:
    return f"C{str(cell)[1:]}"


def _listed(words: list[str]) -> str:
    return " and ".join(f"an {word}" if word[0] in "aeiou" else f"a {word}" for word in words)


def _with_change(verdict: Verdict, names: list[str]) -> Verdict:
    """The verdict on an answer that put something else in another's place when it ran: what is
    Python's may be meant well, what is the check's own is not.
    """
    words = f"When your answer ran, it put something else in the place of `{names[0]}`."
    if any(name.startswith("loopbound.") for name in names):
        return failed("replaced", f"{words} So this task was not checked.")
    return replace(verdict, says=f"{verdict.says}\n{words} The tasks after it ran without that.")


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
    """The verdict on an answer during whose check the kernel ended."""
    if ended.why == "garbled":
        return failed("garbled", "The kernel that ran your answer said what no kernel says.")
    if ended.why == "time":
        return failed(
            "did not end",
            "Your answer did not end within the time that it has, and could not be stopped.",
        )
    return Verdict(
        RAISED,
        f"While your answer ran, {_SOMETHING}",
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
