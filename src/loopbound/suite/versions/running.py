"""Run the probes in an environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ...problem import Problem
from ..incident import fixes, incident_job
from ..results import SuiteRun
from ..run import run_suite, run_suites
from . import probes
from .probes import Probe

LIMIT = 180.0
"""Seconds for one suite. The probes end by themselves; on a busy machine they take long."""


def incident_probes(named: Sequence[str] | None = None) -> list[Probe]:
    """The backend's suite as found, with and without ``pool_pre_ping``, and with each fix (or with those of `named`)."""
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


def probes_of(topics: Sequence[str], named_fixes: Sequence[str] | None = None) -> list[Probe]:
    """The probes of these topics: "incident", "matrix", "plugin", "pool"."""
    by_topic = {
        "incident": lambda: incident_probes(named_fixes),
        "matrix": probes.matrix,
        "plugin": probes.plugin,
        "pool": probes.pool,
    }
    return [probe for topic in topics for probe in by_topic[topic]()]


def observe(python: Path, wanted: Sequence[Probe], done: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Run probes with an interpreter, two at a time, and read them.

    Args:
        python: the environment's interpreter.
        wanted: the probes.
        done: called after each run, perhaps in a thread.

    Returns:
        {fact: observed}.

    Raises:
        Problem: a suite could not run that should.
    """
    facts: dict[str, str] = {}
    sure = [probe for probe in wanted if not probe.refusable]
    runs = run_suites([{"limit": LIMIT, **probe.job, "python": python} for probe in sure], done=lambda run: done())
    for probe, run in zip(sure, runs, strict=True):
        facts |= probe.read(run)
    for probe in wanted:
        if probe.refusable:
            try:
                run: SuiteRun | Problem = run_suite(**{"limit": LIMIT, **probe.job, "python": python})
            except Problem as refused:
                run = refused
            facts |= probe.read(run)
            done()
    return facts


def _read_found(fact: str) -> Callable[[SuiteRun | Problem], dict[str, str]]:
    def read(run: SuiteRun | Problem) -> dict[str, str]:
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
    for word, found in (("failed", run.failed), ("errors", run.errors)):
        if found:
            kinds = Counter(found.values())
            said.append(f"{len(found)} {word} ({', '.join(kinds if len(kinds) == 1 else _counted(kinds))})")
    return ", ".join([*said, f"hung in {run.hung_test}"] if run.hung else said)


def _counted(kinds: Counter) -> list[str]:
    return [f"{count} {kind}" for kind, count in sorted(kinds.items())]
