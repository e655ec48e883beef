"""`loopbound incident`: the runs, a table for people, and the outcomes as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from loopbound.problem import Problem

from .incident import fixes, incident, incident_job
from .results import SuiteRun, TestResult
from .run import check_order, run_suites


def incident_command(fix: str | None, order: str, repeat: int, target: Path | None) -> int:
    """Run the incident and tell; returns 0 when it ran, whatever its tests said.

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
        check_target(target)
    with _ended_in_good_order():
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
    files = [file for file, _ in groupby(turns, key=_file)]
    mixed = len(files) > len(set(files))
    names = {id: id if mixed else id.partition("::")[2] or id for id in turns}
    wide = max(map(len, names.values()), default=0)
    file = None
    for id, tests in turns.items():
        if not mixed and _file(id) != file:
            file = _file(id)
            yield f"\n{file}"
        said = Counter(test.outcome if test.outcome == "passed" else f"{test.outcome}: {test.symptom}" for test in tests)
        told = ", ".join(text if count == len(runs) else f"{text} ({count} of {len(runs)})" for text, count in said.items())
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
    counted = {"passed": run.passed, "failed": run.failed, "errors": run.errors, "skipped": skipped, "not run": run.not_run}
    words = [f"{len(some)} {word}" for word, some in counted.items() if some or word == "passed"]
    return ", ".join([*words, f"hung in {run.hung_test or 'no test'}"] if run.hung else words)


def check_target(target: Path) -> None:
    """Find out, before the first run, whether `write_json` can write there.

    Raises:
        Problem: it cannot.
    """
    if os.path.isdir(target) or not os.path.isdir(target.absolute().parent):
        raise Problem(f"{target} cannot be written: it is a folder, or its folder does not exist.")
    # Putting a file in its place would take /dev/null away from the whole machine.
    if os.path.exists(target) and not os.path.isfile(target):
        raise Problem(f"{target} cannot be written: it exists and is no file.")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.stat(target)  # a name that is too long
        handle, draft = _draft(target)
        os.close(handle)
        os.unlink(draft)
    except OSError as error:
        raise _unwritable(target, error) from None


def write_json(target: Path, data: dict) -> None:
    """Write a whole file or none; where `target` is a link, the file that it leads to.

    Raises:
        Problem: it cannot be written.
    """
    check_target(target)
    try:
        handle, draft = _draft(target)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=2, ensure_ascii=False)
                file.write("\n")
            os.chmod(draft, 0o644)
            os.replace(draft, os.path.realpath(target))
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise _unwritable(target, error) from None


def _draft(target: Path) -> tuple[int, str]:
    return tempfile.mkstemp(dir=os.path.dirname(os.path.realpath(target)), prefix=".loopbound-")


def _unwritable(target: Path, error: OSError) -> Problem:
    return Problem(f"{target} cannot be written: {(error.strerror or str(error)).lower()}.")


@contextlib.contextmanager
def _ended_in_good_order() -> Iterator[None]:
    """A terminal that is closed, or `kill`, ends the suites as Ctrl-C does, unless the caller had them ignored."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    changed = []
    if threading.current_thread() is threading.main_thread():
        wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        changed = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _runs(fix: str | None, order: str, repeat: int) -> list[SuiteRun]:
    what = f"the incident {f'with {fix}' if fix else 'as found'}, order {order}"
    with _Progress(what) as progress:
        if order == "alone":
            runs = []
            for number in range(1, repeat + 1):
                run = incident(fix, order, done=lambda one: progress.test())
                runs.append(run)
                progress.run(run, number, repeat)
            return runs
        finished = iter(range(1, repeat + 1))
        return run_suites(
            [incident_job(fix, order)] * repeat, done=lambda run: progress.run(run, next(finished), repeat)
        )


class _Progress:
    """Says on stderr what goes on: a line a run, and between them a line that moves, where somebody watches."""

    def __init__(self, what: str) -> None:
        self._moves = sys.stderr is not None and sys.stderr.isatty()
        self._tests = 0
        self._lock = threading.Lock()
        self._show(f"running {what} …", stays=not self._moves)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._moves:
            self._show("", stays=False)

    def test(self) -> None:
        with self._lock:
            self._tests += 1
            if self._moves:
                self._show(f"test {self._tests} …", stays=False)

    def run(self, run: SuiteRun, number: int, of: int) -> None:
        with self._lock:
            self._tests = 0
            self._show(f"{f'run {number} of {of}: ' if of > 1 else ''}{summary(run)}, {run.seconds:.1f} s", stays=True)

    def _show(self, text: str, stays: bool) -> None:
        if sys.stderr is None:  # closed by the caller
            return
        start = "\r\x1b[K" if self._moves else ""
        if not stays:
            text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps could not be taken back
        print(f"{start}{text}", end="\n" if stays else "", file=sys.stderr, flush=True)
