"""Notebooks as the grader ran them: the traceback of each cell that raised, and at each check what
it said. What cells print does not leave their kernel.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopbound.files import check_writable, make_folder, replace_text
from loopbound.grading.results import Graded, TaskResult
from loopbound.outcomes import SIGNS
from loopbound.problem import Problem
from loopbound.report.naming import Naming

__all__ = ["check_notebooks", "executed", "write_notebooks"]

_CHECK = re.compile(r"""\bcheck\(\s*["'](\d\d?\.\d+)["']""")
_OURS = "loopbound_grade"  # in the metadata of a notebook that a later run may replace


def check_notebooks(folder: Path) -> None:
    """Find out, before any work is done for it, whether notebooks can be written there; makes the
    folder.

    Raises:
        Problem: they cannot.
    """
    make_folder(folder, "notebooks")
    check_writable(folder / "notebook.ipynb")


def write_notebooks(
    folder: Path,
    results: Sequence[Graded],
    paths: Mapping[str, Path],
    *,
    names: bool,
    others: Sequence[Graded] = (),
) -> str:
    """Write each notebook that was run now as it ran, named as the learner's page is.

    Args:
        folder: there is one. A notebook of an earlier run is replaced, and no other file.
        results: of any number of learners and assignments.
        paths: where the notebooks can be read, by the files of the results.
        names: whether learners are named.
        others: what the report shows beside the results: without names, its numbers are theirs.

    Returns:
        What to say about it.

    Raises:
        Problem: one cannot be written, or a file of another kind has its name.
    """
    naming = Naming([*results, *others], names)
    written = 0
    turns: Counter[tuple[str, str]] = Counter()
    for graded in results:
        turns[graded.learner, graded.assignment] += 1
        if graded.shown is None or graded.file not in paths or not graded.begun:
            continue
        page = naming.page(graded.learner).removesuffix(".html")
        turn = turns[graded.learner, graded.assignment]
        target = folder / f"{page}-{graded.assignment}{f'-{turn}' if turn > 1 else ''}.ipynb"
        if target.exists() and _OURS not in target.read_text(encoding="utf-8", errors="replace"):
            raise Problem(
                f"{target} was not written by this command, and is not replaced.\nName another"
                " folder for the notebooks: --notebooks DIR."
            )
        replace_text(target, executed(paths[graded.file].read_bytes(), graded, naming))
        written += 1
    rest = sum(graded.shown is None for graded in results if graded.begun)
    before = f" {rest} had been graded before and did not run; --again runs them." if rest else ""
    return f"{folder}: {written} {'notebook' if written == 1 else 'notebooks'}.{before}"


def executed(content: bytes, graded: Graded, naming: Naming) -> str:
    """A notebook's text with the outputs of the grader's run in the place of its own; without
    names, where they are left out, and without what editors keep beside cells.
    """
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    notebook: dict[str, Any] = json.loads(content.decode(encoding))
    results = {result.task: result for result in graded.tasks}
    found = notebook.get("cells")
    cells = [cell for cell in found if isinstance(cell, dict)] if isinstance(found, list) else []
    for number, cell in enumerate(cells, 1):
        if not naming.names:
            cell.pop("attachments", None)
            cell["metadata"] = {}
            cell["source"] = _unnamed(cell.get("source"), naming)
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        asked = _CHECK.findall("".join(source) if isinstance(source, list) else str(source))
        said = [results[task.zfill(4)] for task in asked if task.zfill(4) in results]
        outputs = [*((graded.shown or {}).get(number, ())), *map(_said, said)]
        cell["outputs"] = _unnamed(outputs, naming)
        cell["execution_count"] = None
    metadata = notebook.get("metadata") if naming.names else None
    notebook["metadata"] = (metadata if isinstance(metadata, dict) else {}) | {_OURS: True}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _unnamed(value: Any, naming: Naming) -> Any:
    """The texts in plain data as they may be shown."""
    if isinstance(value, str):
        return naming.code(value)
    if isinstance(value, list):
        return [_unnamed(each, naming) for each in value]
    if isinstance(value, dict):
        return {key: _unnamed(each, naming) for key, each in value.items()}
    return value


def _said(result: TaskResult) -> dict[str, Any]:
    """What a check has said, as its cell's output."""
    head = (
        f"{SIGNS[result.outcome]} {result.task} {result.outcome}, {result.points:g} of {result.of}"
    )
    return {
        "output_type": "stream",
        "name": "stdout",
        "text": "\n".join(part for part in (head, result.says, result.comment) if part) + "\n",
    }
