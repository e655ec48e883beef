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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.authoring.release import stubbed
from loopbound.checks.task import namesake, task_check
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import BEGIN, cells_of, grade_id_of, nbgrader_of
from loopbound.grading.foreign import instead_of_json, instead_of_text, lesson_words, squeezed
from loopbound.machine import syntax_tree
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = [
    "Cell",
    "Submission",
    "Template",
    "definitions",
    "functions_in",
    "magic_of",
    "names_in",
    "read_submission",
    "renumber",
    "template",
]

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
class Cell:
    """A code cell of the learner's own.

    ``number`` is its place in the notebook, counted from 1; ``answers`` the tasks that it answers:
    those whose function it defines, and the one whose answer cell it is by nbgrader's mark.
    """

    number: int
    source: str
    answers: frozenset[str]

    def __str__(self) -> str:
        lines = [line.strip() for line in self.source.splitlines()]
        first = next((line for line in lines if line and not line.startswith("#")), "")
        first = first if len(first) <= 60 else f"{first[:60]} …"
        return f"cell {self.number} of the notebook (`{first.replace('`', chr(39))}`)"


@dataclass(frozen=True)
class Submission:
    """A learner's notebook, read.

    ``cells`` are all of the learner's own, in order, without answers as they were handed out:
    ``handed_out`` has the tasks of those. ``checks`` says behind which numbers a task's check
    stands, ``borders`` where the part of another task begins. ``notes``: what was put right in
    reading it, a line each.
    """

    path: Path
    assignment: Assignment
    cells: tuple[Cell, ...]
    handed_out: frozenset[str]
    checks: Mapping[str, tuple[int, ...]]
    borders: frozenset[int]
    notes: tuple[str, ...] = field(default=())

    @property
    def answers(self) -> dict[str, str]:
        """The code of each task's answer, or what was handed out; none where the cell is gone."""
        stubs = template(self.assignment).stubs
        last = self.cells[-1].number if self.cells else 0
        found = {task: self.judged(task, last) or stubs[task] for task in stubs}
        return {
            task: code
            for task, code in found.items()
            if task in self.handed_out or self.answering(task)
        }

    def untouched(self, task: str) -> bool:
        """Whether a task is as it was handed out or gone, so that nothing has to be run."""
        return not self.cells or (task in self.handed_out and not self.answering(task))

    def answering(self, task: str) -> list[Cell]:
        """The cells that answer a task."""
        return [cell for cell in self.cells if task in cell.answers]

    def instead(self, task: str) -> str:
        """The function of the learner's own that may be meant as a task's answer: by its name, or
        because it stands in the answer's cell; "" for none.
        """
        known = template(self.assignment)
        course = {name for source in (*known.given, *known.shown) for name in names_in(source)}
        course |= set(known.names)

        def own(cells: Iterable[Cell]) -> list[str]:
            return [
                name for cell in cells for name in functions_in(cell.source) if name not in course
            ]

        wanted = task_check(task).answers
        here = own(
            cell for cell in self.answering(task) if not set(wanted) & set(names_in(cell.source))
        )
        return namesake(wanted[0], own(self.cells)) or (here[-1] if here else "")

    def belonging(self) -> dict[str, tuple[str, ...]]:
        """For each task its answers, with the cells of the learner's own before them, and those
        behind them until a check or another answer comes.
        """
        found: dict[str, tuple[str, ...]] = {}
        waiting: tuple[str, ...] = ()
        here: frozenset[str] = frozenset()
        last = 0
        for cell in self.cells:
            if cell.answers or any(last < number < cell.number for number in self.borders):
                here = cell.answers
            waiting += (cell.source,)
            for task in here:
                found[task] = found.get(task, ()) + waiting
            if here:
                waiting = ()
            last = cell.number
        return found

    def judged(self, task: str, place: int) -> str:
        """The code that a task is judged by, when the cells up to this number have run."""
        cells = [cell for cell in self.answering(task) if cell.number <= place]
        wanted = set(task_check(task).answers)
        named = [cell for cell in cells if wanted & set(names_in(cell.source))]
        # Of several that define the function, the last one counts; half of a cell that was split
        # defines none.
        shown = [
            cell
            for cell in cells
            if cell not in named or not _hidden_by(named[named.index(cell) + 1 :], cell, wanted)
        ]
        return "\n\n".join(cell.source for cell in shown)

    def places(self, task: str) -> list[int]:
        """Behind which cells a task is checked until it passes, by their numbers: where its checks
        stand, and behind an answer that no check follows.
        """
        found = []
        answering = [cell.number for cell in self.answering(task)]
        for at, number in enumerate(answering, 1):
            following = answering[at] if at < len(answering) else None
            check = min((n for n in self.checks.get(task, ()) if n > number), default=None)
            if check is not None and (following is None or check < following):
                found.append(check)
            elif following is None:
                others = {each.number for each in self.cells if each.answers - {task}}
                ends = [n for n in self.borders | others if n > number]
                found.append(min(ends) - 1 if ends else self.cells[-1].number)
        # Nothing that defines it can be seen: a cell may do so in a way of its own.
        return found or [max(self.cells[-1].number, *self.checks.get(task, (0,)))]


def _hidden_by(later: Sequence[Cell], cell: Cell, wanted: set[str]) -> bool:
    mine = wanted & set(names_in(cell.source))
    return any(mine <= set(names_in(each.source)) for each in later)


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
    cells = list(_cells(_notebook(_text(path, notes), path.name, notes), path.name))
    renumber(cells)
    which = _assignment([cell for cell in cells if _source(cell).strip()], path)
    return _sorted_out(path, which, cells, notes)


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


def renumber(cells: Sequence[dict[str, Any]]) -> None:
    """Give the cells of a notebook from before its assignment got another number today's ids.

    Their number may be another assignment's now: which of the two it is, its functions say, and
    the course's own cells in it.
    """
    spoken = {mark[1] for cell in cells if (mark := _MARK.match(_grade_id(cell)))}
    spoken |= {task[:2] for cell in cells for task in _CHECK.findall(_source(cell))}
    for which in assignments():
        old = which.formerly[:2]
        if old not in spoken or _likeness(cells, which) <= max(
            (_likeness(cells, each) for each in assignments() if each.number == old), default=0
        ):
            continue
        marked = re.compile(rf"^((?:answer|check)-){old}(?=-\d+$)")
        called = re.compile(rf"""\b((?:check|hint|show|solution)\(\s*["']){old}(?=\.\d)""")
        for cell in cells:
            if marked.match(_grade_id(cell)):
                marks = cell["metadata"]["nbgrader"]
                marks["grade_id"] = marked.sub(rf"\g<1>{which.number}", marks["grade_id"])
            if called.search(source := _source(cell)):
                place = "source" if "source" in cell else "input"
                cell[place] = called.sub(rf"\g<1>{which.number}", source)


def _likeness(cells: Iterable[dict[str, Any]], which: Assignment) -> int:
    """How many cells define an answer of an assignment, or are marked as a cell of its own."""
    known = template(which)
    locked = {mark for mark in known.locked if not _MARK.match(mark)}
    room, found = 2 * LARGEST_CODE, 0
    for cell in cells:
        source = _source(cell)
        if cell.get("cell_type") != "code" or len(source) > LARGEST_CELL or len(source) > room:
            continue
        room -= len(source)
        found += _grade_id(cell) in locked or not known.names.keys().isdisjoint(names_in(source))
    return found


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
            for name in names_in(source):
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
    path: Path, which: Assignment, cells: list[dict[str, Any]], notes: list[str]
) -> Submission:
    """The learner's own cells, and where the checks stand between them."""
    known = template(which)
    answer_marks = {grade_id_of(task, "answer"): task for task in known.stubs}
    ours = {squeezed(source) for source in (*known.given, *known.shown)}
    stubs = {task: squeezed(stub) for task, stub in known.stubs.items()}
    own: list[Cell] = []
    handed_out: set[str] = set()
    checks: dict[str, list[int]] = {}
    borders: set[int] = set()
    room = LARGEST_CODE
    for number, cell in enumerate(cells, 1):
        source, mark = _source(cell), _grade_id(cell)
        # nbgrader gives an answer's cell its type back, too.
        code = cell.get("cell_type") == "code" or mark in answer_marks
        if not source.strip():
            continue
        calls = code and len(source) <= LARGEST_CELL and _only_asides(source)
        if mark.startswith("check-") or (calls and _CHECK.search(source)):
            marked = _MARK.match(mark)
            asked = [f"{marked[1]}.{marked[2]}"] if marked else _CHECK.findall(source)
            for task in asked:
                checks.setdefault(task, []).append(number)
            borders.add(number)
            continue
        if len(source) > LARGEST_CELL:
            if code:
                notes.append(
                    f"A cell of {len(source)} characters was left out; {LARGEST_CELL} are read at"
                    " most."
                )
            continue
        plain = squeezed(source)
        if not code or mark in known.locked or plain in ours or calls:
            continue
        room -= len(source)
        if room < 0:
            notes.append(
                f"The cells from the {number}th on were left out; {LARGEST_CODE} characters of code"
                " are read at most."
            )
            break
        task = answer_marks.get(mark, "")
        stub = next((each for each in [task, *stubs] if each and plain == stubs[each]), "")
        if stub:
            handed_out.add(stub)
            borders.add(number)
            continue
        answers = {known.names[name] for name in names_in(source) if name in known.names}
        own.append(Cell(number, source, frozenset(answers | ({task} if task else set()))))
    for each in which.tasks:
        named = [
            cell.number
            for cell in own
            if set(task_check(each.id).answers) <= set(names_in(cell.source))
        ]
        if len(named) > 1:
            notes.append(
                f"There are several answers to {each.id}, in the cells"
                f" {', '.join(map(str, named[:-1]))} and {named[-1]}: of those before a check the"
                " last one counts."
            )
        elif each.id not in handed_out and not any(each.id in cell.answers for cell in own):
            name = task_check(each.id).answers[0]
            texts = [
                f" Cell {number} defines `{name}`, and is no code cell."
                for number, cell in enumerate(cells, 1)
                if cell.get("cell_type") != "code"
                and re.search(rf"^(async )?def {name}\b", _source(cell), re.MULTILINE)
            ]
            notes.append(f"The answer cell of {each.id} is gone.{''.join(texts[:1])}")
    return Submission(
        path,
        which,
        tuple(own),
        frozenset(handed_out),
        {task: tuple(numbers) for task, numbers in checks.items()},
        frozenset(borders),
        tuple(notes),
    )


# Cell magics whose code runs among the notebook's own names.
_RUN_HERE = {"time", "capture", "prun", "debug"}
_MAGIC_LINE = re.compile(r"^(\s*)(?:[%!?].*|\w[\w.]*\?{1,2}\s*)$", re.MULTILINE)
_MAGIC_VALUE = re.compile(r"^(\s*\w[\w, ]*=\s*)[%!].*$", re.MULTILINE)


def magic_of(source: str) -> str:
    """The cell magic that runs a cell's code apart from the notebook's names; else ""."""
    found = re.match(r"\s*%%(\w+)", source)
    return found[1] if found and found[1] not in _RUN_HERE else ""


@functools.lru_cache(maxsize=1024)
def _parsed(source: str) -> ast.Module | None:
    """A cell's code without its magics; None where it is no Python."""
    try:
        return syntax_tree(source)
    except (RecursionError, MemoryError):
        return None
    except (SyntaxError, ValueError):
        pass
    if magic_of(source):
        return ast.Module([], [])
    source = re.sub(r"\A(\s*)%%.*", r"\1", source)
    try:
        return syntax_tree(_MAGIC_VALUE.sub(r"\1None", _MAGIC_LINE.sub(r"\1pass", source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(source: str) -> bool:
    """Whether a cell leaves a name behind; others only show something."""
    tree = _parsed(source)
    return tree is None or not all(isinstance(node, ast.Expr) for node in tree.body)


def names_in(source: str) -> list[str]:
    """The names that a cell binds at its top, also one whose code does not parse."""
    tree = _parsed(source)
    if tree is None:
        return re.findall(r"^(?:async\s+)?def\s+(\w+)", source, re.MULTILINE)
    return _bound(tree.body)


def functions_in(source: str) -> list[str]:
    """The functions that a cell defines at its top."""
    tree = _parsed(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in tree.body if isinstance(node, kinds)] if tree else []


def _bound(body: Sequence[ast.AST]) -> list[str]:
    found = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, (ast.Name, ast.Tuple, ast.List, ast.Starred)):
            found += [
                each.id
                for each in ast.walk(node)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            ]
        else:
            # What stands in an if, a try or a with is bound as well; what is inside a function is
            # not.
            for name in ("target", "targets", "body", "orelse", "handlers", "finalbody"):
                inner = getattr(node, name, [])
                found += _bound(inner if isinstance(inner, list) else [inner])
    return found


def definitions(source: str, after: int = 0) -> str:
    """What a cell defines below a line: its imports, functions, classes and plain values, each in
    its own line as before.
    """
    tree = _parsed(source)
    if tree is None:
        return ""
    kept = [node for node in tree.body if node.lineno > after and _only_defines(node)]
    lines = source.splitlines()
    chosen: set[int] = set()
    for node in kept:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        chosen |= set(range(first, (node.end_lineno or node.lineno) + 1))
    others = {node.lineno for node in tree.body if node not in kept}
    if chosen & others:  # two statements in one line
        return ast.unparse(ast.Module(kept, []))
    return "\n".join(line if at in chosen else "" for at, line in enumerate(lines, 1)).rstrip()


def _only_defines(node: ast.stmt) -> bool:
    if isinstance(
        node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    ):
        return True
    if isinstance(node, (ast.If, ast.Try)):
        parts = [*node.body, *node.orelse, *getattr(node, "finalbody", ())]
        parts += [each for handler in getattr(node, "handlers", ()) for each in handler.body]
        return all(isinstance(each, ast.Pass) or _only_defines(each) for each in parts)
    return (
        isinstance(node, ast.Assign)
        and all(isinstance(target, ast.Name) for target in node.targets)
        and not any(isinstance(each, (ast.Call, ast.Await)) for each in ast.walk(node.value))
    )


def _only_asides(source: str) -> bool:
    """Whether a cell holds nothing but calls of check, hint, show and solution, comments, and what
    installs packages.
    """
    # Line by line: one expression for all of them takes exponential time over a cell with many
    # blank lines.
    if all(_ASIDE.match(line) for line in source.splitlines()):
        return True
    tree = None if magic_of(source) else _parsed(source)
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
