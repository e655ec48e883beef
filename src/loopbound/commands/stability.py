"""``loopbound stability``: a suite in several orders, and the tests that are to blame."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

from loopbound.problem import Problem
from loopbound.stability.output import formatted
from loopbound.stability.process import Suite
from loopbound.stability.study import study
from loopbound.terminal import Console, ProgressLine, complain, ended_in_good_order

__all__ = ["stability_command"]

PROJECT = ("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "setup.py")


def stability_command(
    path: Path,
    orders: int,
    seed: int | None,
    mix: bool,
    timeout: float | None,
    bisect: int,
    python: str | None,
    form: str,
    words: list[str],
) -> int:
    """Run a suite in several orders and print what came of it.

    Args:
        path: a project's folder, or in the project of the current folder a part of its tests.
        orders: how many random ones.
        seed: of these; None: another one each time.
        mix: do not keep the tests of a file together.
        timeout: seconds for a run.
        bisect: for how many tests the others are looked for.
        python: the project's interpreter; None: this one.
        form: one of those of `loopbound.stability.output.formatted`.
        words: for pytest.

    Returns:
        0: every test passed in every order; 1: one did not; 2: the suite could not be run.
    """
    console = Console()
    seed = random.randrange(100_000) if seed is None else seed
    try:
        if not path.exists():
            raise Problem(f"{path} does not exist.")
        begin = _project(path)
        if begin != path:
            words = [*words, str(path)]
        found = shutil.which(python) if python else sys.executable
        suite = Suite(
            begin,
            str(Path(found or python or "").absolute()),
            tuple(words),
            seed,
        )
        named = "python" if python is None else suite.python
        with ProgressLine() as line, ended_in_good_order():
            report = study(
                suite,
                orders,
                mix,
                timeout,
                bisect,
                lambda text, stays: (line.stay if stays else line.pass_by)(text),
                named,
            )
    except Problem as error:
        complain(f"loopbound: {error}")
        return 2
    text = formatted(report, form, console.columns)
    (console.data if form == "json" else console.say)(text)
    return 0 if report.stable else 1


def _project(path: Path) -> Path:
    """Where the runs begin: `path`, unless it is a part of what the current folder holds."""
    if path.is_file():
        return Path()
    inside = Path.cwd() in path.resolve().parents
    return Path() if inside and not any((path / name).is_file() for name in PROJECT) else path
