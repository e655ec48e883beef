"""`loopbound incident`: the runs, a table for people, and the outcomes as JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from loopbound.files import check_writable, write_json
from loopbound.suite.incident import fixes, incident, incident_job
from loopbound.suite.results import SuiteRun, TestResult
from loopbound.suite.run import check_order, run_suites
from loopbound.terminal import ProgressLine, ended_in_good_order


def incident_command(fix: str | None, order: str, repeat: int, target: Path | None) -> int:
    """Run the incident and tell; returns 0 when it ran, also where its tests failed.

    Args:
        fix: a fix's name, "list" for their names, None for the backend as found.
        order: "default", "reverse", "random:SEED" or "alone".
        repeat: how many times.
        target: where to write the outcomes as JSON.

    Raises:
        Problem: no such fix or order, or no place for the file.
    """
    if fix == "list":
        incident_job()  # without a backend there is nothing to list
        print("\n".join(fixes()))
        return 0
    if order != "alone":
        check_order(order)
    incident_job(fix)
    if target:
        check_writable(target)
    with ended_in_good_order():
        runs = _runs(fix, order, repeat)
    print("\n".join(table(runs)))
    if target:
        write_json(target, {"fix": fix, "order": order, "runs": [run.as_json() for run in runs]})
    return 0


def table(runs: Sequence[SuiteRun]) -> Iterator[str]:
    """Lines for people: each test's outcome, symptom and seconds, then what came out in all.

    In the order in which they ran; below their file's name, unless the order mixes the files.

    Args:
        runs: one run or several of the same suite in the same order.
    """
    turns: dict[str, list[TestResult]] = {}
    for run in runs:
        for test in run.tests:
            turns.setdefault(test.id, []).append(test)
    files = [file for file, _ in itertools.groupby(turns, key=_file)]
    mixed = len(files) > len(set(files))
    names = {id: id if mixed else id.partition("::")[2] or id for id in turns}
    wide = max(map(len, names.values()), default=0)
    file = None
    for id, tests in turns.items():
        if not mixed and _file(id) != file:
            file = _file(id)
            yield f"\n{file}"
        said = Counter(
            test.outcome if test.outcome == "passed" else f"{test.outcome}: {test.symptom}"
            for test in tests
        )
        told = ", ".join(
            text if count == len(runs) else f"{text} ({count} of {len(runs)})"
            for text, count in said.items()
        )
        seconds = sum(test.seconds for test in tests) / len(tests)
        yield f"  {names[id]:<{wide}}  {seconds:6.2f} s  {told}"
    yield ""
    for run in runs[:1]:
        yield from (f"not run: {id}" for id in run.not_run)
    kinds = Counter(summary(run) for run in runs)
    for text, count in kinds.items():
        yield f"{text}{f'  ({count} of {len(runs)} runs)' if len(runs) > 1 else ''}"


def _file(id: str) -> str:
    return id.partition("::")[0]


def summary(run: SuiteRun) -> str:
    """One line without times: "28 passed, 5 failed"."""
    skipped = [test for test in run.tests if test.outcome == "skipped"]
    counted = {
        "passed": run.passed,
        "failed": run.failed,
        "errors": run.errors,
        "skipped": skipped,
        "not run": run.not_run,
    }
    words = [f"{len(some)} {word}" for word, some in counted.items() if some or word == "passed"]
    return ", ".join([*words, f"hung in {run.hung_test or 'no test'}"] if run.hung else words)


def _runs(fix: str | None, order: str, repeat: int) -> list[SuiteRun]:
    what = f"running the incident {f'with {fix}' if fix else 'as found'}, order {order} …"
    with ProgressLine() as progress:
        (progress.pass_by if progress.moves else progress.stay)(what)

        def tell(run: SuiteRun, number: int) -> None:
            of = f"run {number} of {repeat}: " if repeat > 1 else ""
            progress.stay(f"{of}{summary(run)}, {run.seconds:.1f} s")

        if order == "alone":
            runs = []
            for number in range(1, repeat + 1):
                tests = itertools.count(1)
                run = incident(
                    fix, order, done=lambda one: progress.pass_by(f"test {next(tests)} …")
                )
                runs.append(run)
                tell(run, number)
            return runs
        numbers = itertools.count(1)
        return run_suites(
            [incident_job(fix, order)] * repeat, done=lambda run: tell(run, next(numbers))
        )
