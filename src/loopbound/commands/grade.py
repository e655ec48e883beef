"""The work behind ``loopbound grade``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loopbound.files import check_writable, write_json
from loopbound.grading.cleaned import cleaned
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.handed import Handed, found
from loopbound.grading.results import Graded
from loopbound.machine import cores
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, TABLE_SIGNS, WRONG
from loopbound.problem import Problem
from loopbound.terminal import ProgressLine, ended_in_good_order

__all__ = ["as_json", "grade_command", "table"]


def grade_command(
    paths: Sequence[Path],
    jobs: int | None,
    target: Path | None,
    html: Path | None,
    gradebook: Path,
    again: bool,
    names: bool,
) -> int:
    """Grade notebooks; print a table, and write what else is wanted.

    Returns 0 where every notebook was graded, whatever its points, and 1 where one could not be
    read.

    Raises:
        Problem: no such path, nothing to grade, a file that cannot be written, a gradebook that
            cannot be used.
    """
    handed = found(paths)
    if target:
        check_writable(target)  # before the work, which may take long
    if html:
        # With the figures' colours, which take a second to import.
        from loopbound.report import check_folder, write_report

        check_folder(html)
    results: list[Graded] = []
    with Gradebook(gradebook) as book, ended_in_good_order(), ProgressLine() as progress:
        open_ones = []
        for each in handed:
            known = None if again else book.known(each.file, each.digest())
            if known is None:
                open_ones.append(each)
            else:
                results.append(known)
        if results:
            progress.stay(
                f"{len(results)} of {len(handed)} were graded before and have not changed; --again"
                " grades them once more."
            )

        def done(graded: Graded) -> None:
            book.store(graded)
            results.append(graded)
            progress.stay(f"{len(results)} of {len(handed)}: {one_line(graded)}")

        stopped = None
        if open_ones:
            progress.pass_by("starting …")
            try:
                _grade(open_ones, jobs or workers(), done, progress.stay)
            except Problem as problem:
                stopped = problem  # what is known by then is written even so
    results.sort(key=lambda graded: (graded.learner, graded.assignment, graded.file))
    print(table(results))
    if target:
        write_json(target, as_json(results))
    if html:
        print(f"\n{write_report(html, results, names=names)}")
    if stopped:
        raise stopped
    return 1 if any(graded.problem for graded in results) else 0


def _grade(
    handed: Sequence[Handed], jobs: int, done: Callable[[Graded], None], say: Callable[[str], None]
) -> None:
    # The processes's warm process imports for a second. So do we, and meanwhile.
    from loopbound.grading.isolation.processes import Processes

    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(Processes)
        try:
            from loopbound.grading.run import grade_all

            if started.result().isolation != "namespaces":
                say(
                    "No namespaces can be made here: what was handed in runs with your own rights."
                    " workshop/safety.md says what that means."
                )
            grade_all(handed, jobs, done, started.result())
        finally:
            if started.exception() is None:
                started.result().close()


def one_line(graded: Graded) -> str:
    """A result in a line: whose, which assignment, points, seconds."""
    if graded.problem:
        return f"{graded.learner}, {_name(graded)}: {graded.problem.splitlines()[0]}"
    return (
        f"{graded.learner}, {graded.assignment}: {graded.points} of {graded.of} points,"
        f" {graded.seconds:.1f} s"
    )


def _name(graded: Graded) -> str:
    return cleaned(Path(graded.file).name, 120, lines=False)


def table(results: Sequence[Graded]) -> str:
    """The results for people: a line each, a sign a task, then what has to be said."""
    wide = max([len(graded.learner) for graded in results] or [0], default=0)
    name = max([len(graded.assignment) for graded in results] or [0], default=0)
    lines, remarks = [], []
    for graded in results:
        signs = "".join(TABLE_SIGNS[result.outcome] for result in graded.tasks) or "?"
        points = f"{graded.points:>3} of {graded.of:<3}" if graded.tasks else " " * 10
        lines.append(
            f"{graded.learner:<{wide}}  {graded.assignment:<{name}}  {points}  {signs}".rstrip()
        )
        said = [*graded.problem.splitlines(), *graded.notes]
        remarks += [f"{graded.learner}, {_name(graded)}: {text}" for text in said]
    several: dict[tuple[str, str], list[str]] = {}
    for graded in results:
        several.setdefault((graded.learner, graded.assignment), []).append(_name(graded))
    remarks += [
        f"{learner} has {len(names)} notebooks of {which}, each with a line of its own:"
        f" {', '.join(names)}."
        for (learner, which), names in several.items()
        if which and len(names) > 1
    ]
    legend = (
        f"{TABLE_SIGNS[PASSED]} passed   {TABLE_SIGNS[WRONG]} wrong   {TABLE_SIGNS[RAISED]} raised"
        f"   {TABLE_SIGNS[NOT_ATTEMPTED]} not attempted   ? not graded"
    )
    blocks = ["\n".join(lines), legend, "\n".join(remarks)]
    return "\n\n".join(block for block in blocks if block)


def as_json(results: Sequence[Graded]) -> dict[str, Any]:
    """The results as plain data: ``{"submissions": [{"learner", "assignment", "points", "of",
    "problem", "notes", "tasks": {id: {…}}}]}``.
    """
    rows = []
    for graded in results:
        row = asdict(graded)
        row["tasks"] = {task.pop("task"): task for task in row["tasks"]}
        rows.append(
            {
                "learner": graded.learner,
                "assignment": graded.assignment,
                "points": graded.points,
                "of": graded.of,
                **row,
            }
        )
    return {"submissions": rows}


def workers() -> int:
    """How many submissions are graded at a time by default: one for each processor that we may use,
    four at most.
    """
    return min(4, cores())
