"""From a child's lines to results."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopbound.problem import Problem
from loopbound.recorder import OK, symptom_in

from .results import PoolEvent, SuiteRun, TestResult

if TYPE_CHECKING:
    from .run import _Child

HUNG = "hung"
DIED = "process ended"
OUTPUT_KEPT = 500_000  # bytes, of the beginning and of the end


def read(child: _Child, copy: Path, secrets: list[str]) -> SuiteRun:
    """The results of a child that has ended.

    Raises:
        Problem: pytest could not run at all.
    """

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***") if secret else text
        return text.replace(str(copy) + os.sep, "")

    lines = child.lines
    output = clean(_output(child.output))
    code = child.process.returncode
    collected = [id for line in lines if line["kind"] == "collected" for id in line["ids"]]
    if not child.hung:
        _check(code, output, lines)
    tests = [_unreadable(line, clean) for line in lines if line["kind"] == "unreadable"]
    running: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        if line["kind"] in ("begin", "end"):
            running.setdefault(line["id"], []).append(line)
    for id, said in running.items():
        tests.append(_result(id, said, child.hung, code, clean))
    return SuiteRun(
        tests=tuple(tests),
        hung=child.hung,
        hung_test=next((test.id for test in tests if test.outcome == HUNG), None),
        seconds=child.seconds,
        output=output,
        stacks=clean(_stacks(child.stacks)) if child.hung else "",
        sessions=tuple(child.sessions),
        trace=tuple(PoolEvent(*line["event"]) for line in lines if line["kind"] == "pool"),
        leftovers=tuple(child.leftovers),
        warnings=tuple(clean(line["text"]) for line in lines if line["kind"] == "warning"),
        exit_code=code,
        not_run=tuple(id for id in collected if id not in running),
    )


def _result(id: str, said: list[dict[str, Any]], hung: bool, code: int, clean: Any) -> TestResult:
    ends = [line for line in said if line["kind"] == "end"]
    seconds = sum(line["seconds"] for line in ends)
    bad = {line["phase"]: line for line in ends if line["outcome"] == "failed"}
    last = said[-1]
    unfinished = last["kind"] == "begin"
    # A failing call counts, whatever its teardown did; else the first phase that failed.
    deciding = bad.get("call") or bad.get("setup") or bad.get("teardown")
    if deciding is None and unfinished:
        if hung:
            return TestResult(id, HUNG, last["phase"], HUNG, seconds, f"hung in its {last['phase']}")
        outcome = "failed" if last["phase"] == "call" else "error"
        return TestResult(id, outcome, last["phase"], DIED, seconds, f"its process ended with code {code}")
    if deciding is not None:
        outcome = "failed" if deciding["phase"] == "call" else "error"
        if unfinished and hung:  # it failed, and then hung in its teardown
            outcome = HUNG
        return _told(id, outcome, deciding, seconds, clean)
    skipped = [line for line in ends if line["outcome"] == "skipped"]
    if skipped:
        return _told(id, "skipped", skipped[0], seconds, clean)
    return TestResult(id, "passed", "call", OK, seconds)


def _told(id: str, outcome: str, line: dict[str, Any], seconds: float, clean: Any) -> TestResult:
    errors = line["errors"] or [["Failed", ""]]
    name, text = errors[0]
    return TestResult(
        id, outcome, line["phase"], _symptom(errors), seconds, _first_line(name, clean(text)), clean(line["traceback"])
    )


def _symptom(errors: list[list[str]]) -> str:
    """The test's own error decides; where it shows no symptom, the errors behind it."""
    shown = [symptom_in("", text) for _, text in errors]
    return next((symptom for symptom in shown if symptom), errors[0][0])


def _unreadable(line: dict[str, Any], clean: Any) -> TestResult:
    name, _, text = line["error"].partition(": ")
    error = clean(line["error"])
    return TestResult(line["id"], "error", "collection", symptom_in(name, text), 0.0, error, clean(line["traceback"]))


def _first_line(name: str, text: str) -> str:
    lines = text.splitlines()
    return f"{name}: {lines[0]}" if lines else name


def _check(code: int, output: str, lines: list[dict[str, Any]]) -> None:
    started = any(line["kind"] in ("begin", "unreadable") for line in lines)
    if started:
        return
    if code == 5:
        raise Problem("The suite has no tests: pytest collected none.")
    if code != 0:
        raise Problem(f"pytest could not run the suite (exit code {code}).\nIt says: {_reason(output)}")


def _reason(output: str) -> str:
    written = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"ERROR: (?!usage)(.+)", r"(?:__main__\.py|loopbound_child\.py|pytest): error: (.+)", r"E {2,}(.+)"):
        for line in written:
            if found := re.match(pattern, line):
                return found[1].strip()
    internal = [line.removeprefix("INTERNALERROR>").strip() for line in written if line.startswith("INTERNALERROR>")]
    return (internal or written or ["nothing"])[-1]


def _output(path: Path) -> str:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= 2 * OUTPUT_KEPT:
            data = file.read()
        else:
            data = file.read(OUTPUT_KEPT) + b"\n[... %d bytes left out ...]\n" % (size - 2 * OUTPUT_KEPT)
            file.seek(-OUTPUT_KEPT, os.SEEK_END)
            data += file.read()
    return data.decode("utf-8", errors="replace")


def _stacks(path: Path) -> str:
    """Every thread's stack, without the thread that wrote them down."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    sections = re.split(r"\n(?=(?:Current thread|Thread) 0x)", "\n" + text)
    return "\n".join(section.strip() for section in sections if section.strip() and "loopbound_child.py\", line" not in
                     section.split("\n  File", 2)[1:2].__str__())
