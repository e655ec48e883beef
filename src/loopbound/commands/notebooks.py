"""The work behind ``loopbound run`` and ``loopbound format``.

Each gives the exit code: 0 when all is well, 1 when something is
    wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loopbound.authoring.changed import restore_hint
from loopbound.authoring.finding import Finding
from loopbound.authoring.normal_form import form_differences, normal_form
from loopbound.course.manifest import notebook, notebooks, notebooks_folder
from loopbound.files import replace_text
from loopbound.problem import Problem

if TYPE_CHECKING:
    from nbformat import NotebookNode

    from loopbound.authoring.execute import RunResult


def chosen(names: Sequence[str | Path]) -> list[Path]:
    """The notebook files meant by paths, names or numbers; all lessons and pages that exist when
    there are none.

    Raises ``Problem`` for a name that is neither a file nor a lesson.
    """
    if not names:
        files = [notebooks_folder() / known.file for known in notebooks()]
        found = [file for file in files if file.is_file()]
        if not found:
            raise Problem(f"there is no lesson in {notebooks_folder()}.")
        return found
    return [
        Path(name) if Path(name).is_file() else notebooks_folder() / notebook(str(name)).file
        for name in names
    ]


def format_command(notebooks: Sequence[Path], check: bool) -> int:
    """``loopbound format [--check] [NOTEBOOK …]``: rewrites notebooks in normal form, or tells what
    is not.

    Without notebooks it looks after the README's picture and the cheat sheet too.
    """
    wrong = 0
    for path in chosen(notebooks):
        text = _text(path)
        differences = form_differences(text, path.name)
        if not differences:
            continue
        wrong += 1
        if check:
            for cell, what in differences:
                print(
                    f"{path.name}: {what}"
                    if cell is None
                    else f"{path.name}, cell '{cell}': {what}"
                )
        else:
            replace_text(path, normal_form(text, path.name))
            print(f"{path.name}: written in normal form")
    if check and wrong:
        print(
            f"{wrong} {'notebook is' if wrong == 1 else 'notebooks are'} not in normal form; run:"
            " python3 lab.py format"
        )
    if not notebooks:
        wrong += _generated(check)
    return 1 if check and wrong else 0


def _generated(check: bool) -> int:
    """What is made from lessons, catalogue and figures: two pictures and the cheat sheet.

    Written, or only looked at; returns how many were stale.
    """
    from loopbound.authoring.cover import COVER, cover
    from loopbound.authoring.sheet import OWNERS, SHEET, owners_svg, sheet

    stale = 0
    for place, made in ((COVER, cover), (OWNERS, owners_svg), (SHEET, sheet)):
        path, text = notebooks_folder() / place, made()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if check:
            print(f"{place.as_posix()} is not up to date; run: python3 lab.py format")
        else:
            path.parent.mkdir(exist_ok=True)
            replace_text(path, text)
            print(f"{place.as_posix()}: written")
    return stale


def run_command(notebooks: Sequence[Path], write: bool) -> int:
    """``loopbound run [--write] [NOTEBOOK …]``: executes notebooks; compares them with their files,
    or writes them.
    """
    from loopbound.authoring.compare import compare
    from loopbound.authoring.execute import run_notebooks

    paths = chosen(notebooks)
    committed = {path: _text(path) for path in paths}
    for path in paths:
        # Refuses what is no notebook before a kernel starts.
        normal_form(committed[path], path.name)
    failed = 0

    def done(result: RunResult) -> None:
        nonlocal failed
        problems = list(result.problems)
        verb = "ran"
        if not write:
            before = _notebook(committed[result.path], result.path.name)
            # After a problem the rest did not run: its missing outputs are no news.
            problems += [] if problems else compare(result.path.name, before, result.notebook)
        elif not problems:
            try:
                verb = (
                    "written"
                    if _write_run(result, committed[result.path])
                    else "ran, nothing to write"
                )
            except Problem as refused:  # the other notebooks go on
                problems.append(Finding(result.path.name, None, str(refused)))
        own = sum(result.cell_seconds.values())
        state = (
            f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
            if problems
            else verb
        )
        print(
            f"{result.path.name}: {state} ({len(result.cell_seconds)} cells, {own:.1f} s of"
            f" {result.seconds:.1f} s)",
            flush=True,
        )
        for problem in problems:
            print(problem, file=sys.stderr, flush=True)
        failed += bool(problems)

    run_notebooks(paths, done=done)
    if failed:
        print(
            f"{failed} of {len(paths)} notebooks failed"
            + (" and were not written." if write else "."),
            file=sys.stderr,
        )
        if not write and (said := restore_hint(notebooks_folder().parent)):
            print(said, file=sys.stderr)
    return 1 if failed else 0


def _write_run(result: RunResult, committed: str) -> bool:
    """Writes the outputs of a run. False when the file holds them already."""
    import nbformat

    from loopbound.authoring.compare import same_outputs

    before = {cell["id"]: cell for cell in _notebook(committed, result.path.name)["cells"]}
    for cell in result.notebook.cells:
        old = before.get(cell["id"])
        # Where a run says nothing new, the committed text stays, so that measured times do not
        # change at every run.
        if (
            cell["cell_type"] == "code"
            and old is not None
            and old.get("outputs")
            and same_outputs(old, cell)
        ):
            cell["outputs"] = old["outputs"]
    text = normal_form(nbformat.writes(result.notebook), result.path.name)
    if text == committed:
        return False
    # What the author saved while the kernel ran must not be lost.
    if _text(result.path) != committed:
        raise Problem(f"{result.path} was changed while it ran; it is not written. Run it again.")
    replace_text(result.path, text)
    return True


def _notebook(text: str, name: str) -> NotebookNode:
    import nbformat

    return nbformat.reads(normal_form(text, name), as_version=4)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path} is not UTF-8 text; save it as UTF-8.") from error
