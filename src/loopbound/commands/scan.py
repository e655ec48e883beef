"""``loopbound scan``: what a project's files show, without running any of them."""

from __future__ import annotations

import sys
from pathlib import Path

from loopbound.problem import Problem
from loopbound.scan.output import formatted
from loopbound.scan.scan import scan
from loopbound.terminal import Console, complain

__all__ = ["scan_command"]


def scan_command(
    path: Path,
    form: str,
    python: str | None,
    select: list[str],
    ignore: list[str],
) -> int:
    """Scan a project and print what was found.

    Args:
        path: its folder, or a file.
        form: one of `loopbound.scan.output.FORMATS`.
        python: a Python version, or the interpreter of the project's environment.
        select: the codes to report; none: all.
        ignore: the codes not to report.

    Returns:
        0: nothing, or notes only; 1: findings; 2: it could not be done.
    """
    console = Console()
    try:
        report = scan(path, python, select, ignore)
    except Problem as error:
        complain(f"loopbound: {error}")
        return 2
    for file, why in report.unread.items():
        complain(f"loopbound: {file} was left out: {why}")
    text = formatted(report, form, console.columns)
    if form in ("json", "sarif") and sys.stdout is not None:
        # For programs: in UTF-8 whatever the console has.
        getattr(sys.stdout, "reconfigure", lambda **_: None)(encoding="utf-8")
    console.say(text)
    return 1 if any(each.counts for each in report.findings) else 0
