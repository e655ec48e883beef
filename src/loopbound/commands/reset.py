"""``loopbound reset FILE|TASK``: an exercise, or one answer in it, as it was handed out; what it
held is kept beside it.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from loopbound.authoring.release import released
from loopbound.checks.task import task_check
from loopbound.course.manifest import Assignment, Task, assignment
from loopbound.course.solutions import COPY, grade_id_of
from loopbound.files import replace_text
from loopbound.grading.submission import Submission, read_submission, renumber, template
from loopbound.learner.targets import handed_out_at, is_task, notebook_meant, own_place, task_meant
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.terminal import Console

__all__ = ["reset_command"]


def reset_command(what: str, task: str | None = None) -> int:
    """Put a notebook (a path, or an assignment's number or name) back as it was handed out; or one
    task's answer cell.

    ``what`` may be a task, whose notebook in ``exercises/`` is meant, or a notebook with ``task``
    naming the one in it.

    Raises ``Problem`` for what is no exercise, and where a file cannot be written; then nothing was
    changed.
    """
    console = Console()
    if is_task(what) and task is None and not Path(what).exists():
        task = what
        path = handed_out_at(assignment(task_meant(task).id[:2]))
    else:
        path = notebook_meant(what)
    wanted = task_meant(task) if task else None
    which = _exercise(path)
    if wanted and wanted not in which.tasks:
        raise Problem(f"{path.name} has no task {wanted.id}: it is assignment {which.name}.")
    new, aside = _without_answer(path, wanted) if wanted else (_handed_out(which), "")
    named = f"{wanted.id} in {path.name}" if wanted else path.name
    if new is None or (path.exists() and path.read_bytes() == new.encode()):
        console.say(f"{named} is as it was handed out already.")
        return 0
    copy = _copied(path) if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, new)
    console.say(f"{named} is as it was handed out.{aside}")
    console.say("`progress` keeps the best outcome of each task: a pass from before stays a pass.")
    if copy:
        console.say(f"What it held is kept in {os.path.relpath(copy) if _near(copy) else copy}")
        console.say("If it is open in Jupyter, load it again: File > Reload Notebook from Disk.")
    return 0


def _exercise(path: Path) -> Assignment:
    """Whose exercise a file is.

    An exercise in its own place may be damaged or gone: then a reset is what helps.
    """
    if which := own_place(path):
        return which
    for folder, what in (
        ("solutions", "where the exercises are written"),
        ("notebooks", "a lesson; `git restore notebooks` brings the lessons back"),
    ):
        if path.is_relative_to(os.path.realpath(repository() / folder)):
            raise Problem(
                f"{path.name} in {folder}/ is no exercise but {what}.\nNothing was changed."
            )
    submission = read_submission(path)
    which = submission.assignment
    number = "|".join(name[:2] for name in (which.name, which.formerly) if name)
    # A notebook may define a function of the same name and be something else altogether.
    if not re.search(
        rf"""check\(\s*\\?["']({number})\.\d|(answer|check)-({number})-\d""",
        path.read_bytes().replace(b"\0", b"").decode("utf-8", "replace"),
    ):
        raise Problem(
            f"{path.name} has none of the checks of assignment {which.name}, so it"
            " is no exercise.\nNothing was changed."
        )
    return which


def _handed_out(which: Assignment) -> str:
    source = repository() / "solutions" / which.file
    try:
        return released(source.read_bytes().decode("utf-8"), source.name)
    except OSError as error:
        raise Problem(
            f"an exercise is made from its solution, and {source} cannot be read"
            f" ({error.strerror})."
        ) from None


def _without_answer(path: Path, task: Task) -> tuple[str | None, str]:
    """The notebook's text with the task's answer cell as handed out (None: it is so already), and
    what else is to be said.
    """
    submission = read_submission(path)
    whole = f"Reset the whole notebook instead: python3 lab.py reset {path.name}"
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError:
        raise Problem(f"{path.name} is not saved in UTF-8.\n{whole}") from None
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        raise Problem(f"{path.name} is in an old format of notebooks.\n{whole}")
    renumber([cell for cell in cells if isinstance(cell, dict)])
    original = {
        cell["id"]: cell for cell in json.loads(_handed_out(submission.assignment))["cells"]
    }
    answer = original[grade_id_of(task.id, "answer")]
    found = [
        number
        for number, cell in enumerate(cells)
        if isinstance(cell, dict) and _answers(cell, task, submission)
    ]
    checks = [
        number
        for number, cell in enumerate(cells)
        if isinstance(cell, dict) and _checks(cell, task)
    ]
    if (
        len(found) == 1
        and cells[found[0]].get("cell_type") == "code"
        and _source(cells[found[0]]).rstrip() == _source(answer)
    ):
        return None, ""
    for number in checks:  # what it says is about an answer that is gone
        if cells[number].get("cell_type") == "code":
            cells[number] |= {"outputs": [], "execution_count": None}
    place = found[0] if found else checks[0] if checks else len(cells)
    kept = cells[place].get("id") if found else None
    ids = {
        cell.get("id")
        for number, cell in enumerate(cells)
        if isinstance(cell, dict) and number not in found
    }
    new = dict(answer)
    if not _has_ids(notebook):
        del new["id"]
    elif answer["id"] in ids:
        new["id"] = kept or f"{answer['id']}-again"
    for number in reversed(found):
        del cells[number]
    cells.insert(place, new)
    more = len(found) - 1
    aside = (
        f" {more} further {'cell' if more == 1 else 'cells'} with an answer to it"
        f" {'was' if more == 1 else 'were'} taken out."
        if more > 0
        else ""
    )
    return _dumped(notebook), aside


def _answers(cell: dict[str, Any], task: Task, submission: Submission) -> bool:
    """Whether a cell answers a task: by its mark, else by the function that it defines."""
    mark = _mark(cell)
    if mark == grade_id_of(task.id, "answer"):
        return True
    if mark and (
        mark in template(submission.assignment).locked or mark.startswith(("answer-", "check-"))
    ):
        return False
    source = _source(cell)
    names = "|".join(map(re.escape, task_check(task.id).answers))
    return (
        cell.get("cell_type") == "code"
        and re.search(
            rf"^(?:(?:async\s+)?def\s+(?:{names})\b|(?:{names})\s*=)", source, re.MULTILINE
        )
        is not None
    )


def _checks(cell: dict[str, Any], task: Task) -> bool:
    called = re.search(rf"""^check\(\s*["']{re.escape(task.id)}["']""", _source(cell), re.MULTILINE)
    return _mark(cell) == grade_id_of(task.id, "check") or (
        cell.get("cell_type") == "code" and called is not None
    )


def _mark(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    mark = marks.get("grade_id") if isinstance(marks, dict) else None
    return mark if isinstance(mark, str) else ""


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else source
    return source.replace("\r\n", "\n") if isinstance(source, str) else ""


def _has_ids(notebook: dict[str, Any]) -> bool:
    """Whether the notebook's format has ids for cells: 4.5 and later."""
    minor = notebook.get("nbformat_minor")
    return isinstance(minor, int) and minor >= 5


def _dumped(notebook: dict[str, Any]) -> str:
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # half a pair of surrogates, which JSON can say and UTF-8 cannot
        text = json.dumps(notebook, indent=1) + "\n"
    return text


def _copied(path: Path) -> Path:
    """A copy beside the file, under a name that was free."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    try:
        content = path.read_bytes()
        for number in range(1, 100):
            copy = path.with_name(
                f"{path.stem}{COPY}{stamp}{'' if number == 1 else f'-{number}'}{path.suffix}"
            )
            try:
                with open(copy, "xb") as file:
                    file.write(content)
            except FileExistsError:
                continue
            return copy
    except OSError as error:
        raise Problem(
            f"no copy of {path} could be kept beside it"
            f" ({(error.strerror or str(error)).lower()}).\nNothing was changed."
        ) from None
    raise Problem(
        f"no copy of {path} could be kept beside it: there are too many of this second.\nNothing"
        " was changed."
    )


def _near(path: Path) -> bool:
    return path.is_relative_to(os.path.realpath(os.getcwd()))
