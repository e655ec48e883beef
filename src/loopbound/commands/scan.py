"""``loopbound scan``: what a project's files show, without running any of them."""

from __future__ import annotations

from pathlib import Path

from loopbound.files import replace_text
from loopbound.problem import Problem
from loopbound.scan.mending import changes
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
    fix: bool,
    diff: bool,
) -> int:
    """Scan a project and print what was found.

    Args:
        path: its folder, or a file.
        form: one of those of `loopbound.scan.output.formatted`.
        python: a Python version, or the interpreter of the project's environment.
        select: the codes to report; none: all.
        ignore: the codes not to report.
        fix: print what can be mended safely as a diff, and write it.
        diff: print that diff only.

    Returns:
        0: nothing, notes only, or all of it mended; 1: findings; 2: it could not be done.
    """
    console = Console()
    try:
        report = scan(path, python, select, ignore)
        if diff or fix:
            made = changes(report)
            for each in made:
                console.say(each.diff())
            if not made:
                console.say("There is nothing that can be mended safely.")
            if diff:
                return 1 if made else 0
            for each in made:
                replace_text(each.path, each.after)
            report = scan(path, python, select, ignore)
            form = "text"  # below a diff
    except Problem as error:
        complain(f"loopbound: {error}")
        return 2
    for file, why in report.unread.items():
        complain(f"loopbound: {file} was left out: {why}")
    text = formatted(report, form, console.columns)
    (console.data if form in ("json", "sarif") else console.say)(text)
    return 1 if any(each.counts for each in report.findings) else 0
