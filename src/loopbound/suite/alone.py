"""Each test of a suite in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from loopbound.suite.project import Project
from loopbound.suite.results import SuiteRun
from loopbound.suite.run import run_suite, run_suites


def run_alone(
    project: Project,
    *,
    at_once: int = 2,
    done: Callable[[SuiteRun], None] = lambda run: None,
    **more: Any,
) -> SuiteRun:
    """Run each test of a project in a process and on a database of its own, and put the results
    together.

    Args:
        project: as in `run_suite`, and so are `more`.
        at_once: how many run at the same time.
        done: called with each test's run when it is there, in a thread.

    Returns:
        All tests in the default order. ``seconds`` is the whole time, from the first start to the
        last end; ``hung_test`` the first that hung, with its evidence; ``exit_code`` the first that
        is not 0.
    """
    began = time.perf_counter()
    listing = run_suite(
        project, **{**more, "options": [*more.get("options", ()), "--collect-only"]}
    )
    runs = run_suites(
        [{**more, "project": project, "tests": [id]} for id in listing.not_run], at_once, done
    )
    hung = next((run for run in runs if run.hung), None)
    return SuiteRun(
        tests=tuple(test for run in [listing, *runs] for test in run.tests),
        hung=hung is not None,
        hung_test=hung.hung_test if hung else None,
        seconds=time.perf_counter() - began,
        output="\n".join(run.output for run in runs),
        stacks=hung.stacks if hung else "",
        sessions=hung.sessions if hung else (),
        trace=tuple(event for run in runs for event in run.trace),
        leftovers=tuple(session for run in runs for session in run.leftovers),
        warnings=tuple(text for run in runs for text in run.warnings),
        exit_code=next((run.exit_code for run in runs if run.exit_code), 0),
    )
