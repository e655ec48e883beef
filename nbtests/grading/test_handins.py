"""What honest people hand in earns what the notebook shows when it is run from the top, or says why
not: each is a right notebook with one line or cell of difference.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hostile import Notebook, Place, cell_of, code_cell, right, saved

from loopbound.commands.check import check_command
from loopbound.course.manifest import assignment
from loopbound.grading.grade import Limits
from loopbound.grading.handed import Handed
from loopbound.grading.isolation.processes import Processes
from loopbound.grading.results import Graded
from loopbound.grading.run import grade_all
from loopbound.grading.submission import definitions, template
from loopbound.learner.executor import kernels

ALL = tuple(task.id for task in assignment("01").tasks)
FULL = {task.id: task.points for task in assignment("01").tasks}
TOP = 3  # behind the cell with the imports
APART = ("%%bash", "%%writefile", "name = input")  # what leaves no names, or raises
Change = Callable[[Notebook], Any]


@dataclass(frozen=True)
class HandIn:
    """A right notebook of exercise 01 with a change.

    ``lost`` are the tasks that earn nothing, ``says`` words of what is said about a task or about
    the notebook, ``never`` words that would not be true.
    """

    change: Change
    lost: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    hasty: bool = False


def top(*sources: str) -> Change:
    """Cells above everything; the answer to 01.3 uses a name that each of them binds at its end."""
    names = [f"v{number}" for number, source in enumerate(sources) if not source.startswith(APART)]

    def change(notebook: Notebook) -> None:
        notebook["cells"][TOP:TOP] = [
            code_cell(source if source.startswith(APART) else f"{source}\nv{number} = 0")
            for number, source in enumerate(sources)
        ]
        of("01.3", **{"count):": f"count):\n    {', '.join(names)}"})(notebook)

    return change


def of(task: str, before: str = "", after: str = "", **replaced: str) -> Change:
    """Lines before and after an answer in its own cell, and words in it replaced."""

    def change(notebook: Notebook) -> None:
        mine = cell_of(notebook, task)
        for old, new in replaced.items():
            mine["source"] = mine["source"].replace(old, new)
        mine["source"] = "\n".join(part for part in (before, mine["source"], after) if part)

    return change


def beside(task: str, source: str, place: int = 1, role: str = "answer") -> Change:
    """A cell of the learner's own beside an answer or a check; 0 is before it, 1 behind it."""

    def change(notebook: Notebook) -> None:
        cells = notebook["cells"]
        cells.insert(cells.index(cell_of(notebook, task, role)) + place, code_cell(source))

    return change


def inside(line: str) -> Change:
    """A line more in the answer to 01.2."""
    return of("01.2", **{"fetch):": f"fetch):\n    {line}"})


def moved(task: str, source: str, place: int, role: str = "answer") -> Change:
    """An answer written into another cell, its own left as it was handed out."""

    def change(notebook: Notebook) -> None:
        stub = template(assignment("01")).stubs[task]
        written = cell_of(notebook, task)["source"]
        cell_of(notebook, task)["source"] = stub
        beside(task, source.replace("<ANSWER>", written), place, role)(notebook)

    return change


def halves(first: str, second: str) -> Change:
    """The answer's cell to 01.2 split, as JupyterLab does it: the mark goes to both halves."""

    def change(notebook: Notebook) -> None:
        mine = cell_of(notebook, "01.2")
        other = copy.deepcopy(mine)
        answer = mine["source"]
        mine["source"] = first.replace("<ANSWER>", answer)
        other["source"] = second.replace("<ANSWER>", answer)
        notebook["cells"].insert(notebook["cells"].index(mine) + 1, other)

    return change


def together(notebook: Notebook) -> None:
    """All answers in one cell of a notebook of one's own."""
    sources = [cell_of(notebook, task)["source"] for task in ALL]
    notebook["cells"] = [code_cell("\n\n".join(sources)), code_cell('check("01.1")')]
    notebook["metadata"] = {}


def two_in_one(notebook: Notebook) -> None:
    third = cell_of(notebook, "01.3")
    notebook["cells"].remove(third)
    of("01.2", after=f"\n\n{third['source']}")(notebook)


INNOCENT = (
    "import numpy as np",
    "import matplotlib.pyplot as plt\n%matplotlib inline",
    "%%bash\nls -la",
    "%%time\nx = 1",
    "!echo hello\nfound = !ls\n%pip install -q sqlalchemy\n!pip install -q nothing-of-that-name",
    "%cd ~/Desktop\n%load_ext autoreload\n%autoreload 2",
    "import asyncio, time\nprint(await asyncio.to_thread(time.sleep, 0))",
    "loop = asyncio.get_running_loop()\nprint(await loop.run_in_executor(None, sum, [1, 2]))",
    "from concurrent.futures import ThreadPoolExecutor\n"
    "pool = ThreadPoolExecutor(2)\nprint(pool.submit(sum, [1, 2]).result())",
    "async def beat():\n    while True:\n        await asyncio.sleep(0.5)\n"
    "kept = asyncio.create_task(beat())",
    "%%writefile helper.py\nX = 1",
    "import helper",
    "import subprocess, sys\nsubprocess.run([sys.executable, '--version'])",
    "proc = await asyncio.create_subprocess_exec('echo', 'hi')\nawait proc.wait()",
    "import threading\nthreading.Thread(target=time.sleep, args=[600], daemon=True).start()",
    "import warnings\nwarnings.filterwarnings('ignore')",
)
FUNCTION = "async def all_reports"

HAND_INS = {
    "innocent cells": HandIn(top(*INNOCENT), never=("Cell",)),
    "a cell that raises above an import": HandIn(
        top("x = 1", "from google.colab import drive\nfrom functools import reduce"),
        says=(
            "Cell 5 of the notebook (`from google.colab import drive`)",
            "in line 1",
            "installs packages is passed over",
        ),
    ),
    "input": HandIn(top("name = input('Name? ')"), says=("Cell 4", "input requests")),
    "a trial that raises": HandIn(
        beside("01.2", "print(1)\nawait all_reports(['a'], None)"), says=("Cell 11", "in line 2")
    ),
    "a trial that never ends": HandIn(
        beside("01.2", "import functools\nwhile True:\n    await asyncio.sleep(1)"),
        says=("Cell 11 of the notebook (`import functools`) did not end within",),
        hasty=True,
    ),
    "a trial that never ends above the answer": HandIn(
        of("01.2", before="while True:\n    pass\n"),
        says=("Cell 10", "did not end", "in line"),
        hasty=True,
    ),
    "a trial that exits": HandIn(
        beside("01.2", "import os\nos._exit(1)"), says=("While cell 11", "ended the kernel")
    ),
    "an answer that exits": HandIn(
        inside("import os; os._exit(1)"), ("01.2",), ("While your answer ran",)
    ),
    "split: import and function": HandIn(
        halves("import functools as f", "<ANSWER>"), never=("several answers",)
    ),
    "split: function and trial": HandIn(
        halves("<ANSWER>", "print(all_reports)"), never=("several answers",)
    ),
    "split: the rest of the stub": HandIn(
        halves("<ANSWER>", "    # YOUR CODE HERE\n    raise NotImplementedError()")
    ),
    "below its place": HandIn(moved("01.2", "<ANSWER>", 1)),
    "above its place": HandIn(moved("01.2", "<ANSWER>", 0)),
    "behind its check": HandIn(moved("01.2", "<ANSWER>\ncheck('01.2')", 1, "check")),
    "in a try": HandIn(
        moved(
            "01.4",
            "try:\n    import uvloop\nexcept ImportError:\n    ring = "
            "lambda loop, bell: loop.call_soon_threadsafe(bell.set)",
            1,
        )
    ),
    "two answers in one cell": HandIn(two_in_one, never=("gone", "no `total`")),
    "one cell with all of them": HandIn(together, never=("gone",)),
    "a draft behind the check": HandIn(
        beside("01.2", "async def all_reports(*_):\n    return []", 1, "check"),
        says=("several answers to 01.2, in the cells 10 and 12",),
    ),
    "its name used again": HandIn(beside("01.1", "speakers = speakers()", 1, "check")),
    "its own check": HandIn(
        of("01.2", after="\ncheck('01.2')\nsolution('01.2')\nimport functools"), never=("Cell",)
    ),
    "renamed": HandIn(
        of("01.2", all_reports="all_reports_v2"),
        ("01.2",),
        ("wrong", "You wrote `all_reports_v2`; the check looks for `all_reports`."),
        ("attempted",),
    ),
    "renamed altogether": HandIn(
        of("01.2", all_reports="everybody"), ("01.2",), ("You wrote `everybody`",), ("attempted",)
    ),
    "renamed beside the stub": HandIn(
        moved("01.2", "async def all_reports_2(users, fetch): pass", 1),
        ("01.2",),
        ("You wrote `all_reports_2`",),
        ("attempted",),
    ),
    "a letter of another alphabet": HandIn(
        of("01.2", all_reports="\u0430ll_reports"),
        ("01.2",),
        ("You wrote", "Cyrillic small letter a"),
        ("attempted",),
    ),
    "timed": HandIn(of("01.2", before="%%timeit -n1 -r1"), ("01.2",), ("begins with `%%timeit`",)),
    "time": HandIn(of("01.2", before="%%time"), never=("Cell",)),
    "a blank from a chat": HandIn(
        of("01.2", **{"    return": "\u00a0\u00a0\u00a0 return"}),
        ("01.2",),
        ("SyntaxError", "in line", "as chats and web pages have it"),
        (".py",),
    ),
    "an import below the check": HandIn(
        lambda notebook: (
            of("01.1", **{"    return": "    later.x\n    return"})(notebook),
            beside("01.2", "import functools as later\nlater.x = 1")(notebook),
        ),
        ("01.1",),
        ("`later` is first defined in cell 11",),
    ),
    "an import that is nowhere": HandIn(
        inside("reduce"),
        ("01.2",),
        ("`NameError: name 'reduce' is not defined`", "No cell of the notebook defines `reduce`."),
        ("with the imports above",),
    ),
    "an answer that is a text": HandIn(
        lambda notebook: cell_of(notebook, "01.2").update(cell_type="raw", metadata={}),
        ("01.2",),
        ("Cell 10 defines `all_reports`, and is no code cell.",),
    ),
    "its stub deleted": HandIn(
        lambda notebook: notebook["cells"].remove(cell_of(notebook, "01.2")),
        ("01.2",),
        ("When the cells had run, there was no `all_reports`", "answer cell of 01.2 is gone"),
    ),
    "nested loops allowed": HandIn(
        top("import nest_asyncio2\nnest_asyncio2.apply()"), says=("Cell 4", "in the place of")
    ),
    "nested loops allowed in an answer": HandIn(
        inside("import nest_asyncio2; nest_asyncio2.apply()"), says=("When your answer ran",)
    ),
    "logging switched off in an answer": HandIn(
        inside("import logging; logging.disable()"), says=("When your answer ran",)
    ),
    "a builtin replaced in an answer": HandIn(
        inside("import builtins; builtins.print = lambda *_: None"), says=("`builtins.print`",)
    ),
    "a builtin replaced in a trial": HandIn(
        beside("01.2", "import builtins\nbuiltins.isinstance = lambda *_: True"),
        says=("Cell 11", "`builtins.isinstance`"),
        never=("memory",),
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Graded]]:
    """All of them graded in one run of the grader, those that take their time up in a second."""
    folder = tmp_path_factory.mktemp("handed")
    graded: dict[str, Graded] = {}
    processes = Processes()
    try:
        for hasty, limits in ((False, Limits()), (True, Limits(cell=4))):
            handed = [
                Handed(written(folder, name), name)
                for name, each in HAND_INS.items()
                if each.hasty == hasty
            ]
            grade_all(handed, 2, lambda one: graded.setdefault(one.learner, one), processes, limits)
        yield graded
    finally:
        processes.close()


def written(folder: Path, name: str) -> Path:
    """A hand-in as a file."""
    notebook = right("01", ALL)
    HAND_INS[name].change(notebook)
    return saved(Place(folder, folder, folder, 0, ""), notebook, f"{name.replace(':', '')}.ipynb")


@pytest.mark.parametrize("name", HAND_INS)
def test_it_earns_what_the_notebook_shows(name: str, results: dict[str, Graded]) -> None:
    one, graded = HAND_INS[name], results[name]
    wanted = {task: 0 if task in one.lost else points for task, points in FULL.items()}
    assert {task.task: task.points for task in graded.tasks} == wanted, [
        task.says for task in graded.tasks
    ]
    lines = [f"{task.task} {task.outcome} {task.says}" for task in graded.tasks]
    said = "\n".join([*lines, *graded.notes])
    assert [words for words in one.says if words not in said] == [], said
    assert [words for words in one.never if words in said] == [], said
    assert not one.lost or all(task.says for task in graded.tasks if task.task in one.lost)


def test_the_code_that_was_judged_is_shown(results: dict[str, Graded]) -> None:
    shown = {
        name: {task.task: task.answer for task in graded.tasks}["01.2"]
        for name, graded in results.items()
        if name not in ("its stub deleted", "renamed beside the stub", "an answer that is a text")
    }
    assert {name for name, code in shown.items() if "gather" not in code} == set()
    assert "YOUR CODE" not in shown["behind its check"]
    assert "return []" not in shown["a draft behind the check"]


def test_check_says_the_same(
    results: dict[str, Graded], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with kernels() as run:
        for name in ("renamed", "a cell that raises above an import"):
            path = str(written(tmp_path, name))
            passed = check_command(path, lambda: contextlib.nullcontext(run)) == 0
            said = " ".join(capsys.readouterr().out.split())
            assert passed == (not HAND_INS[name].lost)
            for task in results[name].tasks:
                assert " ".join(task.says.split()) in said


def test_definitions_keep_their_lines() -> None:
    source = (
        "import os\nx = [1]\n!ls\nfor n in x:\n    print(n)\n@cache\ndef f():\n    return 1\n"
        "y = f()\ntry:\n    import one\nexcept ImportError:\n    one = None\nawait f()"
    )
    kept = definitions(source).splitlines()
    assert [kept[line] for line in (0, 1, 2, 3, 5, 6, 7)] == [
        "import os", "x = [1]", "", "", "@cache", "def f():", "    return 1"
    ]  # fmt: skip
    assert definitions("y = f(); z = 2") == "z = 2"
    assert definitions(source, after=2).count("import") == 1
    assert definitions("def f(:") == "" and definitions("%%bash\nls") == ""
