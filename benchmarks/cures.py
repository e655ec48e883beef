"""What each cure of the incident costs: its suite against the floor's, on 33 tests and on ten times
as many.

    .venv/bin/python benchmarks/cures.py [--rounds N] [--long-rounds N] [--json FILE] [CURE …]

The floor is `session-loop`: one loop and one pool for all tests, so connections are opened once and
nothing is thrown away (but by test_auth's own fixture). Every cure runs beside it in pairs, once
before it and once after it by turns, so that the machine's noise meets both. A pair gives two
ratios: of the whole process, pytest's start and the imports included, and of the tests alone,
set-up and teardown included. Printed are medians, with the lowest and the highest in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loopbound import run_suite
from loopbound.files import check_writable, replace_text
from loopbound.problem import Problem
from loopbound.suite import BACKEND, SuiteRun, fixes

FLOOR = "session-loop"
AS_FOUND = "as-found"  # no cure: five of its tests fail, and failing costs too
REPEATED = 10


def main() -> int:
    cures = [
        AS_FOUND,
        *(
            name
            for name in fixes()
            if name != FLOOR and not name.startswith(("recipe-1", "recipe-3"))
        ),
    ]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cures", nargs="*", metavar="CURE", help=f"default: {', '.join(cures)}")
    parser.add_argument("--rounds", type=int, default=5, help="pairs on 33 tests for each cure (5)")
    parser.add_argument(
        "--long-rounds",
        type=int,
        default=3,
        help=f"pairs on {33 * REPEATED} tests for each cure (3)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")
    options = parser.parse_args()
    if unknown := set(options.cures) - {AS_FOUND, *fixes()}:
        parser.error(
            f"no such cure: {', '.join(sorted(unknown))}; there are"
            f" {', '.join([AS_FOUND, *fixes()])}"
        )

    if options.json:
        check_writable(options.json)  # before the runs, which take minutes

    measured: dict[str, Any] = about()
    print(
        f"Python {measured['python']}, {sys.platform}, {measured['cores']} cores; floor: {FLOOR}"
        " = 1\n"
    )
    for project, rounds in ((backend(1), options.rounds), (backend(REPEATED), options.long_rounds)):
        if rounds > 0:
            size, rows = measure(project, options.cures or cures, rounds)
            measured["tests"][size] = rows
    if options.json:
        replace_text(options.json, json.dumps(measured, indent=1) + "\n")
    return 0


def about() -> dict[str, Any]:
    packages = ("pytest", "pytest-asyncio", "sqlalchemy", "asyncpg")
    return {
        "floor": FLOOR,
        "python": platform.python_version(),
        "platform": sys.platform,
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
        "tests": {},
    }


def backend(times: int) -> dict[str, str]:
    """The backend's files, with each test file as often as said, under names of their own."""
    files = {}
    for part in ("app", "tests"):
        for path in sorted((BACKEND / part).rglob("*.py")):
            name, text = path.relative_to(BACKEND), path.read_text(encoding="utf-8")
            files[name.as_posix()] = text
            if path.name.startswith("test_"):
                files |= {
                    name.with_stem(f"{name.stem}_{number:02}").as_posix(): text
                    for number in range(2, times + 1)
                }
    return files | {
        name: (BACKEND / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", "schema.sql")
    }


def measure(project: dict[str, str], cures: list[str], rounds: int) -> tuple[int, dict[str, Any]]:
    """Number of tests, and for each cure the ratios of its pairs and its own medians in seconds."""
    rows: dict[str, Any] = {}
    size = 0
    for cure in cures:
        pairs = []
        for number in range(rounds):
            both = [
                run(project, name) for name in ((FLOOR, cure) if number % 2 == 0 else (cure, FLOOR))
            ]
            pairs.append(both if number % 2 == 0 else both[::-1])
        if not size:
            size = len(pairs[0][0].tests)
            print(
                f"{f'{size} tests, {rounds} pairs':<26}{'the process':^24}{'the tests alone':^24}{'ms a test':>11}",
                flush=True,
            )
        rows[cure] = {
            "process": [theirs.seconds / floor.seconds for floor, theirs in pairs],
            "tests": [own(theirs) / own(floor) for floor, theirs in pairs],
            "process_seconds": statistics.median(theirs.seconds for _, theirs in pairs),
            "test_seconds": statistics.median(own(theirs) / size for _, theirs in pairs),
            "passed": [len(theirs.passed) for _, theirs in pairs],
        }
        said = "".join(f"{spread(rows[cure][what]):^24}" for what in ("process", "tests"))
        note = (
            "" if set(rows[cure]["passed"]) == {size} else f"   passed: {min(rows[cure]['passed'])}"
        )
        print(f"{cure:<26}{said}{1000 * rows[cure]['test_seconds']:>11.1f}{note}", flush=True)
    print()
    return size, rows


def run(project: dict[str, str], cure: str) -> SuiteRun:
    return run_suite(
        project,
        overlay=None if cure == AS_FOUND else BACKEND / "fixes" / cure,
        limit=600,
        fresh=True,  # started, not forked from a process that has imported everything
    )


def own(run: SuiteRun) -> float:
    return sum(test.seconds for test in run.tests)


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
