"""The incident's backend, as found or with one of its fixes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loopbound.problem import Problem

from .results import SuiteRun
from .run import run_suite

BACKEND = Path(__file__).resolve().parents[3] / "notebooks" / "signal_scanner"
"""Where the backend is: beside the lessons, in the clone that Loopbound is installed from."""


def fixes() -> list[str]:
    """Names of the fixes."""
    folder = BACKEND / "fixes"
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._") if folder.is_dir() else []


def overlay_of(fix: str | None) -> Path | None:
    """The overlay of a fix; None for the backend as found.

    Raises:
        Problem: no fix has that name, or there is no backend.
    """
    if not BACKEND.is_dir():
        raise Problem(f"The backend is missing: {BACKEND}.\nRestore it: git checkout -- notebooks/signal_scanner")
    if fix is None:
        return None
    if fix not in fixes():
        raise Problem(f"There is no fix {fix!r}; there are: {', '.join(fixes()) or 'none'}.")
    return BACKEND / "fixes" / fix


def incident(fix: str | None = None, order: str = "default", **more: Any) -> SuiteRun:
    """Run the backend's suite once, as found or with a fix; further arguments as `run_suite`."""
    return run_suite(BACKEND, overlay=overlay_of(fix), order=order, **more)
