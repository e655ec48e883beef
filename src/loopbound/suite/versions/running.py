"""Run the probes in an environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loopbound.problem import Problem
from loopbound.suite.incident import fixes, incident_job
from loopbound.suite.results import SuiteRun
from loopbound.suite.run import run_suite, run_suites
from loopbound.suite.versions import probes
from loopbound.suite.versions.probes import Probe

LIMIT = 180.0
"""Seconds for one suite. The probes end by themselves; on a busy machine they take long."""


def incident_probes(named: Sequence[str] | None = None) -> list[Probe]:
    """The backend's suite as found, with and without ``pool_pre_ping``, and with each fix (or with
    those of `named`).
    """
    found = [
        Probe("incident, as found", incident_job(), _read_found("incident, as found")),
        Probe(
            "incident, without pool_pre_ping",
            incident_job(environment={"SIGNAL_SCANNER_POOL_PRE_PING": "0"}),
            _read_found("incident, without pool_pre_ping"),
        ),
    ]
    # A fix for today's versions may ask for what another version does not have.
    return found + [
        Probe(f"incident, {fix}", incident_job(fix), _read_fix(f"incident, {fix}"), refusable=True)
        for fix in (fixes() if named is None else named)
    ]


def observe(
    python: Path,
    topics: Sequence[str],
    named_fixes: Sequence[str] | None = None,
    done: Callable[[int, int], None] = lambda number, of: None,
) -> dict[str, str]:
    """Run the probes of some topics with an interpreter, two at a time, and read them.

    Args:
        python: the environment's interpreter.
        topics: of "incident", "matrix", "plugin", "pool".
        named_fixes: the fixes that "incident" takes, all by default.
        done: called after each run with its number and how many there are, perhaps in a thread.

    Returns:
        {fact: observed}.

    Raises:
        Problem: a suite could not run that should.
    """
    facts: dict[str, str] = {}
    wanted: list[Probe] = []
    if {"matrix", "plugin"} & set(topics):
        options = probes.options()
        facts |= options.read(run_suite(**_job(options, python)))
    for topic in topics:
        if topic == "matrix":
            cells, without = probes.matrix(
                [fact.removeprefix("option ") for fact, said in facts.items() if said == "unknown"]
            )
            wanted += cells
            facts |= without
        else:
            makers = {
                "incident": lambda: incident_probes(named_fixes),
                "plugin": probes.plugin,
                "pool": probes.pool,
            }
            wanted += makers[topic]()
    numbers = iter(range(1, len(wanted) + 1))
    # What pytest may refuse is run by itself: in a row of runs a refusal ends the others.
    sure = [probe for probe in wanted if not probe.refusable]
    runs = run_suites(
        [_job(probe, python) for probe in sure], done=lambda run: done(next(numbers), len(wanted))
    )
    for probe, run in zip(sure, runs, strict=True):
        facts |= probe.read(run)
    for probe in wanted:
        if probe.refusable:
            try:
                facts |= probe.read(run_suite(**_job(probe, python)))
            except Problem as refused:
                facts |= probe.read(refused)
            done(next(numbers), len(wanted))
    return facts


def _job(probe: Probe, python: Path) -> dict[str, Any]:
    return {"limit": LIMIT, **probe.job, "python": python}


def _read_found(fact: str) -> Callable[[SuiteRun], dict[str, str]]:
    def read(run: SuiteRun) -> dict[str, str]:
        which = {**run.failed, **run.errors}
        return {fact: outcome(run), f"{fact}: which": ", ".join(sorted(which)) or "none"}

    return read


def _read_fix(fact: str) -> Callable[[SuiteRun | Problem], dict[str, str]]:
    return lambda run: {fact: outcome(run)}


def outcome(run: SuiteRun | Problem) -> str:
    """A run in a few words: "28 passed, 5 failed (different loop)"."""
    if isinstance(run, Problem):
        return probes.refused(run)
    said = [f"{len(run.passed)} passed"]
    for word, some in (("failed", run.failed), ("errors", run.errors)):
        if some:
            kinds = Counter(probes.shown(test) for test in run.tests if test.id in some)
            each = (
                kinds
                if len(kinds) == 1
                else [f"{count} {kind}" for kind, count in sorted(kinds.items())]
            )
            said.append(f"{len(some)} {word} ({'; '.join(each)})")
    return ", ".join([*said, f"hung in {run.hung_test}"] if run.hung else said)
