"""What a learner handed in: a notebook, however it was copied, renamed, re-ordered or saved, read
as answers to the tasks of an assignment.

Only the learner's own code cells are kept. The given cells and the checks are the course's,
in any case.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.authoring.release import stubbed
from loopbound.checks.task import task_check
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import BEGIN, cells_of, grade_id_of, nbgrader_of
from loopbound.grading.foreign import instead_of_json, instead_of_text, lesson_words
from loopbound.machine import syntax_tree
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["Submission", "Template", "read_submission", "template"]

# Bytes; outputs of a long session fit, a file that only fills memory does not.
LARGEST_FILE = 64 * 2**20
LARGEST_CELL = 100_000  # characters of source
LARGEST_CODE = 500_000  # characters of source, of all of the learner's own cells together

_CHECK = re.compile(r"""\bcheck\(\s*["'](\d\d\.\d+)["']""")
_MARK = re.compile(r"(?:answer|check)-(\d\d)-(\d+)$")
_ASIDE = re.compile(r"\s*(#|[%!]\s*(pip|uv|conda)\b|$)")
_ASIDES = {"check", "hint", "show", "solution"}


@dataclass(frozen=True)
class Template:
    """An assignment as the course has it.

    ``given`` are the sources of its own code cells that define something, ``shown`` those that only
    show something, ``stubs`` the answer cells as they are handed out, by task; ``names`` says whose
    answer a function is.
    """

    assignment: Assignment
    given: tuple[str, ...]
    shown: tuple[str, ...]
    stubs: dict[str, str]
    names: dict[str, str]
    locked: frozenset[str]


@dataclass(frozen=True)
class Submission:
    """A learner's notebook, read.

    ``answers``: the source of each task's answer cell, by task id; a task whose cell is gone is not
    among them. ``cells``: per task, all of the learner's own code cells that belong to it, in
    order, the answer among them. ``notes``: what was put right in reading it, a line each.
    """

    path: Path
    assignment: Assignment
    answers: dict[str, str]
    cells: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = field(default=())

    def untouched(self, task: str) -> bool:
        """Whether a task is as it was handed out, so that nothing has to be run."""
        stub = template(self.assignment).stubs[task]
        return all(_same(cell, stub) for cell in self.cells.get(task, ()))


@functools.cache
def template(which: Assignment) -> Template:
    """The assignment as it is written in ``solutions/``.

    Raises ``Problem`` where it cannot be read.
    """
    given: list[str] = []
    shown: list[str] = []
    stubs: dict[str, str] = {}
    locked: set[str] = set()
    answers = {grade_id_of(task.id, "answer"): task.id for task in which.tasks}
    for cell in cells_of(repository(), which):
        if cell["cell_type"] != "code":
            continue
        source, marks = "".join(cell["source"]), nbgrader_of(cell)
        if marks.get("grade_id") in answers:
            stubs[answers[marks["grade_id"]]] = stubbed(source) if BEGIN in source else source
            continue
        if marks:
            locked.add(marks["grade_id"])
        if not marks.get("grade"):
            (given if _defines(source) else shown).append(source)
    names = {name: task.id for task in which.tasks for name in task_check(task.id).answers}
    return Template(which, tuple(given), tuple(shown), stubs, names, frozenset(locked))


def read_submission(path: Path) -> Submission:
    """Read a learner's notebook.

    Raises:
        Problem: it is no file that can be read, no notebook, or none of this course.
    """
    notes: list[str] = []
    cells = [
        cell
        for cell in _cells(_notebook(_text(path, notes), path.name, notes), path.name)
        if _source(cell).strip()
    ]
    which = _assignment(cells, path)
    known = template(which)
    answers, belonging = _sorted_out(cells, known, notes)
    for task in which.tasks:
        if task.id not in belonging and task.id not in answers:
            notes.append(f"The answer cell of {task.id} is gone.")
    return Submission(path, which, answers, belonging, tuple(notes))


def _text(path: Path, notes: list[str]) -> str:
    try:
        # What the name leads to is asked first: opening a pipe would wait for a writer.
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise Problem(
                f"{path.name} is a link. Hand in the notebook itself; links are not followed."
            )
        if not stat.S_ISREG(found.st_mode):
            raise Problem(f"{path.name} is not a file.")
        if found.st_size > LARGEST_FILE:
            raise Problem(
                f"{path.name} has {found.st_size // 2**20} MB; {LARGEST_FILE // 2**20} are read at"
                " most.\nClear its outputs and save it again."
            )
        content = path.read_bytes()
    except OSError as error:
        raise Problem(
            f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}."
        ) from None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        notes.append("The file was saved as UTF-16, not UTF-8.")
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise Problem(
            instead_of_text(content, path.name)
            or f"{path.name} is not text in UTF-8.\nSave the notebook again from Jupyter."
        ) from None


def _notebook(text: str, name: str, notes: list[str]) -> dict[str, Any]:
    if not text.strip():
        raise Problem(f"{name} is empty.")
    try:
        notebook = json.loads(text)
    except RecursionError:
        raise Problem(f"{name} is not a notebook: its JSON is nested too deeply.") from None
    except ValueError as error:
        raise Problem(
            instead_of_json(text, name)
            or f"{name} is not a notebook: its JSON ends or breaks early ({error})."
        ) from None
    if not isinstance(notebook, dict):
        raise Problem(f"{name} is not a notebook: it holds a JSON {type(notebook).__name__}.")
    version = notebook.get("nbformat")
    if version != 4:
        notes.append(f"The notebook says that it has format {str(version)[:20]}, not 4.")
    return notebook


def _cells(notebook: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The cells that a learner can have written in, in any format."""
    found = notebook.get("cells")
    if found is None:  # format 3
        sheets = notebook.get("worksheets")
        found = (
            [
                cell
                for sheet in sheets
                if isinstance(sheet, dict)
                for cell in sheet.get("cells") or []
            ]
            if isinstance(sheets, list)
            else None
        )
    if not isinstance(found, list) or not found:
        raise Problem(f"{name} is not a notebook: it has no cells.")
    return (cell for cell in found if isinstance(cell, dict))


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    # JSON can write half of a character; nothing behind this line could store or send that.
    return (
        source.replace("\r\n", "\n").encode("utf-8", "replace").decode()
        if isinstance(source, str)
        else ""
    )


def _grade_id(cell: dict[str, Any]) -> str:
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = marks.get("grade_id") if isinstance(marks, dict) else None
    return found if isinstance(found, str) else ""


def _assignment(cells: list[dict[str, Any]], path: Path) -> Assignment:
    """The assignment that most of the cells speak of: by nbgrader's marks, by the checks that they
    call, by the functions that they define.
    """
    answered = any(_MARK.match(_grade_id(cell)) or _CHECK.search(_source(cell)) for cell in cells)
    if not answered and (words := lesson_words(map(_source, cells), path.name)):
        raise Problem(words)
    votes: Counter[str] = Counter()
    room = 2 * LARGEST_CODE  # the course's own cells among them
    numbers = {which.number: which for which in assignments()}
    for cell in cells:
        source = _source(cell)
        if mark := _MARK.match(_grade_id(cell)):
            votes[mark[1]] += 3
        for task in _CHECK.findall(source):
            votes[task[:2]] += 2
        if (
            cell.get("cell_type") == "code"
            and len(source) <= LARGEST_CELL
            and (room := room - len(source)) >= 0
        ):
            for name in _defined(source):
                votes.update(_wanted_by().get(name, ()))
    for number, _ in votes.most_common():
        if number in numbers:
            return numbers[number]
    raise Problem(
        f"no exercise of this course is in {path.name}.\nAssignments:"
        f" {', '.join(which.name for which in assignments())}"
    )


@functools.cache
def _wanted_by() -> dict[str, list[str]]:
    """For each name that an answer can have, the numbers of the assignments that ask for it."""
    found: dict[str, list[str]] = {}
    for which in assignments():
        for name in {name for task in which.tasks for name in task_check(task.id).answers}:
            found.setdefault(name, []).append(which.number)
    return found


def _sorted_out(
    cells: list[dict[str, Any]], known: Template, notes: list[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The answers, and the learner's own cells of each task.

    A cell of the learner's belongs to the answer behind it, or to the one before it as long as that
    one's check has not come.
    """
    answer_marks = {grade_id_of(task, "answer"): task for task in known.stubs}
    ours = {_squeezed(source) for source in (*known.given, *known.shown)}
    marked = {answer_marks[mark] for cell in cells if (mark := _grade_id(cell)) in answer_marks}
    answers: dict[str, str] = {}
    belonging: dict[str, list[str]] = {}
    waiting: list[str] = []
    open_task, room = "", LARGEST_CODE
    for number, cell in enumerate(cells, 1):
        source, mark = _source(cell), _grade_id(cell)
        # nbgrader gives an answer's cell its type back, too.
        code = cell.get("cell_type") == "code" or mark in answer_marks
        if mark.startswith("check-") or (
            code and len(source) <= LARGEST_CELL and _CHECK.search(source) and _only_asides(source)
        ):
            open_task = ""  # what comes now belongs to the next task
            continue
        if len(source) > LARGEST_CELL:
            if code:
                notes.append(
                    f"A cell of {len(source)} characters was left out; {LARGEST_CELL} are read at"
                    " most."
                )
            continue
        if not code or mark in known.locked or _squeezed(source) in ours or _only_asides(source):
            continue
        room -= len(source)
        if room < 0:
            notes.append(
                f"The cells from the {number}th on were left out; {LARGEST_CODE} characters of code"
                " are read at most."
            )
            break
        task = answer_marks.get(mark) or next(
            (
                known.names[name]
                for name in _defined(source)
                if known.names.get(name) not in (None, *marked)
            ),
            "",
        )
        if not task:
            (belonging[open_task] if open_task else waiting).append(source)
            continue
        if task in answers and not _same(answers[task], known.stubs[task]):
            if _same(source, known.stubs[task]):
                continue
            notes.append(f"There are several answers to {task}; the last one counts.")
        answers[task] = source
        belonging.setdefault(task, []).extend([*waiting, source])
        waiting, open_task = [], task
    if waiting:  # behind the last check: nothing asks for it
        notes.append(
            f"{len(waiting)} {'cell' if len(waiting) == 1 else 'cells'} of your own behind the last"
            f" task {'was' if len(waiting) == 1 else 'were'} not run."
        )
    return answers, {task: tuple(sources) for task, sources in belonging.items()}


def _parsed(source: str) -> ast.Module | None:
    try:
        return syntax_tree(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(source: str) -> bool:
    """Whether a cell leaves a name behind; others only show something."""
    tree = _parsed(source)
    return tree is None or not all(isinstance(node, ast.Expr) for node in tree.body)


def _defined(source: str) -> list[str]:
    """The names that a cell binds at its top, also one whose code does not parse."""
    tree = _parsed(source)
    if tree is None:
        return re.findall(r"^(?:async\s+)?def\s+(\w+)", source, re.MULTILINE)
    found = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return found


def _only_asides(source: str) -> bool:
    """Whether a cell holds nothing but calls of check, hint, show and solution, comments, and what
    installs packages.
    """
    # Line by line: one expression for all of them takes exponential time over a cell with many
    # blank lines.
    if all(_ASIDE.match(line) for line in source.splitlines()):
        return True
    tree = _parsed(source)
    return tree is not None and all(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in _ASIDES
        and all(
            isinstance(part, ast.Constant)
            for part in [*node.value.args, *(word.value for word in node.value.keywords)]
        )
        for node in tree.body
    )


def _squeezed(source: str) -> str:
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _same(one: str, other: str) -> bool:
    return _squeezed(one) == _squeezed(other)
