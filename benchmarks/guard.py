"""What the guard costs: the incident's suite with one loop for all tests, with the guard and without.

    .venv/bin/python benchmarks/guard.py [--pairs N] [--times N]

Each pair runs the suite once with ``--loop-guard`` and once without, in turns, so that the machine's
noise meets both. A pair gives three ratios: of the whole process, pytest's start and the imports
included; of the processor's time that it took (not under Windows), which a busy machine disturbs
least; and of the tests alone. Printed are medians, with the lowest and the highest in brackets. The
aim is 1.02.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys

from cures import backend

from loopbound import run_suite
from loopbound.problem import Problem
from loopbound.suite import BACKEND, SuiteRun

PLUGIN = ["-p", "loopbound.guard.plugin"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="(7)")
    parser.add_argument("--times", type=int, default=10, help="each test file so often (10)")
    options = parser.parse_args()
    project, pairs = backend(options.times), []
    for number in range(options.pairs):
        order = (False, True) if number % 2 else (True, False)
        runs = {guarded: run(project, guarded) for guarded in order}
        pairs.append((runs[True], runs[False]))
    print(f"Python {platform.python_version()}, {sys.platform}, {os.cpu_count()} cores,", end=" ")
    print(f"{len(pairs[0][0][0].tests)} tests, {len(pairs)} pairs; guarded / not")
    for name, of in (
        ("the process", lambda run, cpu: run.seconds),
        ("its processor's time", lambda run, cpu: cpu or 1.0),
        ("the tests alone", lambda run, cpu: sum(test.seconds for test in run.tests)),
    ):
        ratios = [of(*guarded) / of(*without) for guarded, without in pairs]
        middle = statistics.median(ratios)
        print(f"{name:<22}{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    return 0


def run(project: dict[str, str], guarded: bool) -> tuple[SuiteRun, float]:
    before = os.times()
    done = run_suite(
        project,
        overlay=BACKEND / "fixes" / "session-loop",
        options=[*PLUGIN, *(["--loop-guard"] if guarded else [])],
        limit=600,
        fresh=True,  # started, not forked from a process that has imported everything
    )
    if len(done.passed) != len(done.tests):
        raise Problem(f"Not every test passed, so the times say nothing:\n{done.output[-2000:]}")
    after = os.times()
    return done, sum(after[2:4]) - sum(before[2:4])  # the children's, of the user and the system


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(str(problem))
