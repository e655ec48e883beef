"""The incident's backend, as found or with one of its fixes; and a stranger's project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopbound.problem import Problem
from loopbound.suite.alone import run_alone
from loopbound.suite.results import SuiteRun
from loopbound.suite.run import run_suite

_NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"
BACKEND = _NOTEBOOKS / "signal_scanner"
"""Where the backend is: beside the lessons, in the clone that Loopbound is installed from."""
COURIER = _NOTEBOOKS / "prevention" / "courier"
"""A small project that is red: an engine and a pool of asyncpg, under half of the loop options."""


def fixes() -> list[str]:
    """Names of the fixes."""
    folder = BACKEND / "fixes"
    return (
        sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
        if folder.is_dir()
        else []
    )


def incident_job(fix: str | None = None, order: str = "default", **more: Any) -> dict[str, Any]:
    """The arguments of `run_suite` for one run of the backend's suite, to be given to `run_suites`.

    Raises:
        Problem: no fix has that name, or there is no backend.
    """
    if not (BACKEND / "tests").is_dir():
        raise Problem(
            f"The incident's backend is missing: {BACKEND}.\nGet it back: git checkout --"
            " notebooks/signal_scanner"
        )
    if fix is not None and fix not in fixes():
        raise Problem(f"There is no fix {fix!r}; there are: {', '.join(fixes()) or 'none'}.")
    return {"project": BACKEND, "overlay": fix and BACKEND / "fixes" / fix, "order": order, **more}


def incident(fix: str | None = None, order: str = "default", **more: Any) -> SuiteRun:
    """Run the backend's suite once, as found or with a fix.

    Args:
        fix: one of `fixes`; None for the backend as found.
        order: as in `run_suite`, or "alone": each test in a process of its own.
        more: as `run_suite`.

    Raises:
        Problem: no fix has that name; and as `run_suite`.
    """
    if order == "alone":
        return run_alone(
            **{key: value for key, value in incident_job(fix, **more).items() if key != "order"}
        )
    return run_suite(**incident_job(fix, order, **more))
