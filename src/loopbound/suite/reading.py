"""From what a process said to results."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from loopbound.problem import Problem
from loopbound.recorder import OK, symptom_in
from loopbound.suite.process import PROGRAM, Child
from loopbound.suite.results import PoolEvent, SuiteRun, TestResult

HUNG = "hung"
DIED = "process ended"
OUTPUT_KEPT = 500_000  # bytes, of the beginning and of the end

Line = dict[str, Any]
Clean = Callable[[str], str]


def read(child: Child, copy: Path, secrets: Iterable[str]) -> SuiteRun:
    """The results of a process that has ended.

    Args:
        child: the process.
        copy: its folder, which is left out of every path.
        secrets: texts that must not be shown.

    Raises:
        Problem: pytest did not come as far as a test.
    """

    def of(*kinds: str) -> list[Line]:
        return [line for line in child.lines if line["kind"] in kinds]

    shortened = _shortened(copy, [path for line in of("places") for path in line["paths"]])

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***") if secret else text
        return shortened.sub("", text).replace(str(copy), "project")

    output, code = clean(_output(child.output)), child.process.returncode
    turns: dict[str, list[Line]] = {}
    for line in of("begin", "end"):
        turns.setdefault(line["id"], []).append(line)
    unreadable = of("unreadable")
    collected = [id for line in of("collected") for id in line["ids"]]
    if not (child.hung or turns or unreadable or (code == 0 and collected)):
        _explain(code, output)
    tests = [_unreadable(line, clean) for line in unreadable]
    tests += [_result(id, lines, child.hung, code, clean) for id, lines in turns.items()]
    return SuiteRun(
        tests=tuple(tests),
        hung=child.hung,
        hung_test=next((test.id for test in tests if test.outcome == HUNG), None),
        seconds=child.seconds,
        output=output,
        stacks=clean(_stacks(child.stacks)) if child.hung else "",
        sessions=tuple(child.sessions),
        trace=tuple(PoolEvent(*line["event"]) for line in of("pool")),
        leftovers=tuple(child.leftovers),
        warnings=tuple(clean(line["text"]) for line in of("warning")),
        exit_code=code,
        not_run=tuple(id for id in collected if id not in turns),
    )


def _shortened(copy: Path, places: list[str]) -> re.Pattern[str]:
    """What is left out of texts: the folders of the project, of the packages and of the standard
    library.
    """
    folders = {str(copy), str(PROGRAM.parent)}
    for place in places:
        folders |= {place, os.path.realpath(place)}
        with contextlib.suppress(ValueError):  # on another drive of Windows
            folders.add(os.path.relpath(place, copy))  # pytest's own way to write it
    # The longest first: packages may lie inside the standard library.
    return re.compile(
        "|".join(re.escape(folder + os.sep) for folder in sorted(folders, key=len, reverse=True))
    )


def _result(id: str, lines: list[Line], hung: bool, code: int, clean: Clean) -> TestResult:
    ends = [line for line in lines if line["kind"] == "end"]
    seconds = sum(line["seconds"] for line in ends)
    failed = {line["phase"]: line for line in reversed(ends) if line["outcome"] == "failed"}
    phase = lines[-1]["phase"]
    unfinished = lines[-1]["kind"] == "begin"
    if unfinished and hung:
        return TestResult(id, HUNG, phase, HUNG, seconds, f"hung in its {phase}")
    # A failing call counts, also where its teardown failed.
    if deciding := failed.get("call") or failed.get("setup") or failed.get("teardown"):
        return _told(
            id, "failed" if deciding["phase"] == "call" else "error", deciding, seconds, clean
        )
    if unfinished:
        return TestResult(
            id,
            "failed" if phase == "call" else "error",
            phase,
            DIED,
            seconds,
            f"its process ended with exit code {code}",
        )
    if skipped := [line for line in ends if line["outcome"] == "skipped"]:
        return _told(id, "skipped", skipped[0], seconds, clean)
    return TestResult(id, "passed", "call", OK, seconds)


def _told(id: str, outcome: str, line: Line, seconds: float, clean: Clean) -> TestResult:
    # Without an exception: a test that was expected to fail, strictly, and did not.
    errors = line["errors"] or [["Failed", line["traceback"]]]
    (name, text), traceback = errors[0], clean(line["traceback"])
    return TestResult(
        id,
        outcome,
        line["phase"],
        _symptom(errors),
        seconds,
        _first_line(name, clean(text)),
        traceback,
    )


def _symptom(errors: list[list[str]]) -> str:
    """The error's own symptom; where its words show none, that of the errors behind it."""
    return next((symptom for _, text in errors if (symptom := symptom_in("", text))), errors[0][0])


def _unreadable(line: Line, clean: Clean) -> TestResult:
    traceback = clean(line["traceback"])
    said = list(
        re.findall(r"^(?:E +)?(?!HINT: )((?:\w+\.)*\w+(?:: .*)?)$", traceback, re.MULTILINE)
    )
    # pytest's own refusals (a mark that is not declared) have no exception's name: then its words
    # are the error.
    refusal = next((line for line in traceback.splitlines() if line.strip()), "no reason given")
    error = said[-1] if said else f"CollectError: {refusal.removesuffix(':')}"
    name, _, text = error.partition(": ")
    return TestResult(
        line["id"],
        "error",
        "collection",
        symptom_in(name.split(".")[-1], text),
        0.0,
        error,
        traceback,
    )


def _first_line(name: str, text: str) -> str:
    lines = text.strip().splitlines()
    return f"{name}: {lines[0]}" if lines else name


def _explain(code: int, output: str) -> None:
    if code == 5:
        raise Problem("The suite has no tests: pytest collected none.")
    if "No module named 'pytest'" in output:
        raise Problem(
            "That interpreter has no pytest.\nInstall it there, or name another interpreter."
        )
    raise Problem(f"pytest could not run the suite (exit code {code}).\nIt says: {_reason(output)}")


def _reason(output: str) -> str:
    written = [line.rstrip() for line in output.splitlines() if line.strip()]
    internal = [
        line.removeprefix("INTERNALERROR>").strip()
        for line in written
        if line.startswith("INTERNALERROR>")
    ]
    # Python tells the place of a syntax error first, and what is wrong there last.
    for pattern in (
        r"(?:ERROR|.*: error): (?!usage: )(.+)",
        r"E {2,}((?:\w+\.)*\w+: .+)",
        r"E {2,}(.+)",
    ):
        for line in written:
            if found := re.match(pattern, line):
                return found[1]
    return ([line for line in internal if line] or written or ["nothing"])[-1]


def _output(path: Path) -> str:
    if not path.is_file():  # a test may have removed it
        return ""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= 2 * OUTPUT_KEPT:
            data = file.read()
        else:
            data = file.read(OUTPUT_KEPT) + b"\n[... %d bytes are left out here ...]\n" % (
                size - 2 * OUTPUT_KEPT
            )
            file.seek(-OUTPUT_KEPT, os.SEEK_END)
            data += file.read()
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")


def _stacks(path: Path) -> str:
    """Every thread's and task's stack, but for the thread that wrote them down."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    pieces = re.split(r"^(?=(?:Current thread|Thread|Task) )", text, flags=re.MULTILINE)
    writer = re.compile(
        rf'File "{re.escape(str(PROGRAM))}", line \d+ in (watch|write_stacks)$', re.MULTILINE
    )
    return (
        "\n".join(piece.strip() for piece in pieces if piece.strip() and not writer.search(piece))
        + "\n"
    )
