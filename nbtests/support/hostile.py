"""Hostile and broken submissions: each a right notebook with one thing done to it, with what must
come out of it.

Each row of the table in workshop/safety.md has its cases here, and test_hostile.py runs them all.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.course.manifest import assignment
from loopbound.course.solutions import answer_source, grade_id_of, nbgrader_of
from loopbound.grading.grade import Limits
from loopbound.paths import repository

NAMESPACES, GROUPS = "namespaces", "groups"
RUNS_AWAY, KILLS, LEAVES, TAMPERS, BROKEN, REACHES = (
    "runs away",
    "kills",
    "leaves behind",
    "tampers",
    "broken files",
    "reaches out",
)

# The tasks that are answered in the notebook of each number; the others stay as they are handed
# out.
ANSWERED = {"01": ("01.1", "01.2", "01.4"), "04": ("04.2", "04.3"), "05": ("05.1", "05.3")}
POINTS = {task.id: task.points for number in ANSWERED for task in assignment(number).tasks}
ANY = -1  # points that depend on who was quicker: whatever comes out, nobody else may suffer

# A cell that is going to use its time up need not have much of it.
LIMITS = Limits(cell=30, check=40, suite=90, notebook=200)
HASTY = Limits(cell=2, check=5, suite=4, notebook=60)

Notebook = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One submission.

    write
        Writes it into a folder of its own, as the file that is handed in; ``Place`` has what a
    submission may aim at. earns
        {task: points} where they are not those of the right answers; None where the file cannot be
    graded at all. says
        Words that stand in the line for this learner: in the feedback of a task that earned
    nothing, in the notes, or in the problem. isolation
        Behind which isolation this holds; the weaker ones only where the case can harm nobody else
    there. earns_in
        {isolation: earns} where they differ.
    """

    name: str
    kind: str
    write: Callable[[Place], Path]
    earns: Mapping[str, int] | None = field(default_factory=dict)
    says: tuple[str, ...] = ()
    isolation: tuple[str, ...] = (NAMESPACES, GROUPS)
    earns_in: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    number: str = "01"
    limits: Limits = LIMITS

    def points(self, isolation: str) -> dict[str, int] | None:
        """What each task must earn; None where nothing can be graded."""
        if self.earns is None:
            return None
        right = {
            task.id: task.points if task.id in ANSWERED[self.number] else 0
            for task in assignment(self.number).tasks
        }
        return right | dict(self.earns) | dict(self.earns_in.get(isolation, {}))


@dataclass(frozen=True)
class Place:
    """Where a submission is written, and what it may aim at: ``others`` is a neighbour's file,
    ``gradebook`` the facilitator's, ``port`` a server of the test's on 127.0.0.1, ``mark`` a word
    that no other process on this machine carries.
    """

    folder: Path
    others: Path
    gradebook: Path
    port: int
    mark: str

    def fill(self, code: str) -> str:
        solutions = repository() / "solutions" / assignment("01").file
        for word, text in {
            "OTHERS": self.others,
            "GRADEBOOK": self.gradebook,
            "SOLUTIONS": solutions,
            "PORT": self.port,
            "MARK": self.mark,
            "FOLDER": self.folder,
        }.items():
            code = code.replace(f"<{word}>", str(text))
        return code


def right(number: str = "01", tasks: Sequence[str] = ()) -> Notebook:
    """The exercise with right answers to some of its tasks."""
    notebook = json.loads(
        (repository() / "exercises" / assignment(number).file).read_text(encoding="utf-8")
    )
    for task in tasks or ANSWERED[number]:
        cell_of(notebook, task)["source"] = "\n".join(
            line for line in answer_source(repository(), task).splitlines() if "### " not in line
        )
    return notebook


def cell_of(notebook: Notebook, task: str, role: str = "answer") -> dict[str, Any]:
    return next(
        cell
        for cell in notebook["cells"]
        if nbgrader_of(cell).get("grade_id") == grade_id_of(task, role)
    )


def code_cell(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def saved(place: Place, notebook: Notebook | str | bytes, name: str = "answers.ipynb") -> Path:
    path = place.folder / name
    if isinstance(notebook, dict):
        notebook = json.dumps(notebook)
    path.write_bytes(notebook if isinstance(notebook, bytes) else notebook.encode())
    return path


def cell(code: str, task: str = "01.2") -> Callable[[Place], Path]:
    """A cell of the learner's own before a right answer."""

    def write(place: Place) -> Path:
        notebook = right(task[:2])
        cells = notebook["cells"]
        cells.insert(cells.index(cell_of(notebook, task)), code_cell(place.fill(code)))
        return saved(place, notebook)

    return write


def answer(code: str, task: str = "01.2", before: str = "") -> Callable[[Place], Path]:
    """Another answer to a task, and a cell before it."""

    def write(place: Place) -> Path:
        notebook = right(task[:2])
        cells = notebook["cells"]
        cell_of(notebook, task)["source"] = place.fill(code)
        if before:
            cells.insert(cells.index(cell_of(notebook, task)), code_cell(place.fill(before)))
        return saved(place, notebook)

    return write


def changed(change: Callable[[Notebook], Any], number: str = "01") -> Callable[[Place], Path]:
    """The notebook itself changed."""

    def write(place: Place) -> Path:
        notebook = right(number)
        return saved(place, change(notebook) or notebook)

    return write


def named(name: str) -> Callable[[Place], Path]:
    return lambda place: saved(place, right(), name)


def reached(code: str, task: str = "01.2") -> Callable[[Place], Path]:
    """A cell that tries something and spoils the answer if it succeeds: full points say that it did
    not.
    """
    lines = "\n".join(f"    {line}" for line in code.strip().splitlines())
    name = {"01.2": "all_reports", "04.2": "ask_once"}[task]

    def write(place: Place) -> Path:
        notebook = right(task[:2])
        tried = place.fill(
            f"import os, socket, pathlib\nreached = []\ndef attempt():\n{lines}\ntry:\n   "
            " reached.append(attempt())\nexcept Exception:\n    pass\n"
        )
        mine = cell_of(notebook, task)
        mine["source"] = (
            f"{tried}\n{mine['source']}\n\nif reached:\n    {name} = lambda *_: reached\n"
        )
        return saved(place, notebook)

    return write


def conftest(text: str) -> Callable[[Place], Path]:
    """A text for the suite's conftest in place of the right one."""
    return answer(f"def conftest():\n    return {text!r}\n", "05.3")


WRONG = "async def all_reports(users, fetch):\n    return [await fetch(user) for user in users]\n"
NONE = {"01.2": 0}
SQL = (
    "import psycopg\nfrom loopbound.database import scratch_database\nmine ="
    " scratch_database('mine')\nurl = mine.url.replace('+asyncpg', '')\n"
)
ONLY = (NAMESPACES,)
ASYNC = "async def all_reports(users, fetch):\n    "

_RUNS_AWAY = (
    Case("endless loop", RUNS_AWAY, cell("while True: pass"), {}, ("did not end",), limits=HASTY),
    Case(
        "endless loop that awaits",
        RUNS_AWAY,
        cell("import asyncio\nwhile True: await asyncio.sleep(0)"),
        {},
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "KeyboardInterrupt swallowed",
        RUNS_AWAY,
        cell("import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass"),
        {},
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "an await for ever",
        RUNS_AWAY,
        cell("import asyncio\nawait asyncio.Event().wait()"),
        {},
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "an answer that loops",
        RUNS_AWAY,
        answer(f"{ASYNC}while True: pass"),
        NONE,
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "an answer that swallows everything",
        RUNS_AWAY,
        answer(
            f"{ASYNC}while True:\n        try: await asyncio.sleep(60)\n        except"
            " BaseException: pass"
        ),
        NONE,
        ("did not end",),
        limits=HASTY,
    ),
    Case("input in a cell", RUNS_AWAY, cell("input('who? ')")),
    Case(
        "input in an answer",
        RUNS_AWAY,
        answer(f"{ASYNC}return input()"),
        NONE,
        ("raised", "EOFError"),
    ),
    Case("8 GB", RUNS_AWAY, answer(f"{ASYNC}return bytearray(8 * 2**30)"), NONE, ("MemoryError",)),
    Case("8 GB in a cell", RUNS_AWAY, cell("kept = [bytearray(2**28) for _ in range(32)]")),
    Case(
        "fork bomb",
        RUNS_AWAY,
        cell("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
        {},
        ("did not end",),
        ONLY,
        limits=HASTY,
    ),
    Case("200 MB printed", RUNS_AWAY, cell("for _ in range(200): print('x' * 2**20)")),
    Case("two million lines", RUNS_AWAY, cell("for _ in range(2_000_000): print('line')")),
    Case(
        "200 MB written to the descriptor",
        RUNS_AWAY,
        cell("import os\nfor _ in range(200): os.write(1, b'x' * 2**20)"),
    ),
    Case(
        "a thread that sends errors",
        RUNS_AWAY,
        cell(
            "import threading, time\nkernel = get_ipython().kernel\ndef flood():\n    while True:"
            " kernel.session.send(kernel.iopub_socket, 'error', {'ename': 'x' * 900_000, 'evalue':"
            " '', 'traceback': []}, parent=kernel.get_parent())\nthreading.Thread(target=flood,"
            " daemon=True).start()\ntime.sleep(1)"
        ),
        {"01.2": ANY},
    ),
    Case("a result of 100 MB", RUNS_AWAY, cell("'x' * 10**8")),
    Case("an error of 100 MB", RUNS_AWAY, cell("raise ValueError('x' * 10**8)")),
    Case(
        "an answer that raises 100 MB",
        RUNS_AWAY,
        answer(f"{ASYNC}raise ValueError('x' * 10**8)"),
        NONE,
        ("ValueError", "…"),
    ),
    Case(
        "notebook of 50 MB",
        RUNS_AWAY,
        changed(
            lambda n: n["cells"][1].update(
                outputs=[
                    {"output_type": "stream", "name": "stdout", "text": ["line\n" * 1000] * 10_000}
                ]
            )
        ),
    ),
    Case("cell of 2 MB", RUNS_AWAY, cell("pass\n" * 400_000), {}, ("left out",)),
    Case(
        "thousands of cells",
        RUNS_AWAY,
        changed(lambda n: n["cells"].extend(code_cell("number = 1\n" * 20) for _ in range(3_000))),
        {},
        ("left out",),
    ),
    Case("blank lines", RUNS_AWAY, cell("\n" * 5_000 + "number = 1")),
    Case("a cell that Python cannot nest", RUNS_AWAY, cell("number = " + "-" * 90_000 + "1")),
    Case(
        "a suite that never ends",
        RUNS_AWAY,
        conftest("while True: pass"),
        {"05.3": 0},
        ("took too long",),
        number="05",
        limits=HASTY,
    ),
    Case(
        "a suite that prints floods",
        RUNS_AWAY,
        conftest("import os\nfor _ in range(200): os.write(2, b'x' * 2**20)\n"),
        {"05.3": 0},
        ("`conftest.py`",),
        number="05",
    ),
)

_KILLS = (
    Case("os._exit", KILLS, cell("import os\nos._exit(0)"), {}, ("ended the kernel",)),
    Case(
        "os._exit in an answer",
        KILLS,
        answer(f"{ASYNC}import os; os._exit(3)"),
        NONE,
        ("ended the kernel",),
    ),
    Case("sys.exit in a cell", KILLS, cell("import sys\nsys.exit(1)")),
    Case(
        "sys.exit in an answer",
        KILLS,
        answer(f"{ASYNC}import sys; sys.exit()"),
        NONE,
        ("SystemExit",),
    ),
    Case("quit in a cell", KILLS, cell("quit()")),
    Case("exit in an answer", KILLS, answer(f"{ASYNC}exit()"), NONE),
    Case(
        "kernel killed",
        KILLS,
        cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
    ),
    Case(
        "kernel stopped",
        KILLS,
        cell("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"),
        limits=HASTY,
    ),
    Case(
        "kernel crashed",
        KILLS,
        cell("import ctypes\nctypes.string_at(0)"),
        {},
        ("ended the kernel",),
    ),
    Case(
        "parent killed",
        KILLS,
        cell("import os, signal\nos.kill(os.getppid() or -1, signal.SIGKILL)"),
    ),
    Case(
        "process group killed",
        KILLS,
        cell("import os, signal\nos.killpg(0, signal.SIGKILL)"),
    ),
    Case(
        "everybody killed",
        KILLS,
        cell("import os, signal\nos.kill(-1, signal.SIGKILL)"),
        isolation=ONLY,
    ),
    Case(
        "a suite that kills its parent",
        KILLS,
        conftest("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"),
        {"05.3": 0},
        ("our",),
        number="05",
    ),
    Case(
        "a suite that ends pytest",
        KILLS,
        conftest("import os\nos._exit(0)\n"),
        {"05.3": 0},
        ("pytest",),
        number="05",
    ),
)

_LEAVES = (
    Case(
        "thread",
        LEAVES,
        cell("import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()"),
    ),
    Case(
        "busy threads",
        LEAVES,
        cell(
            "import threading\ndef spin():\n    while True: pass\nfor _ in range(4):"
            " threading.Thread(target=spin, daemon=True).start()"
        ),
        {"01.2": ANY},
    ),
    Case(
        "thread without a name",
        LEAVES,
        cell("import _thread, time\n_thread.start_new_thread(time.sleep, (600,))"),
    ),
    Case(
        "task",
        LEAVES,
        cell(
            "import asyncio\nasync def stream():\n    while True: await asyncio.sleep(0.01)\nkept ="
            " asyncio.ensure_future(stream())"
        ),
    ),
    Case(
        "left-over task of an answer",
        LEAVES,
        answer(
            f"{ASYNC}asyncio.create_task(asyncio.sleep(60))\n    return await"
            " asyncio.gather(*map(fetch, users))"
        ),
        NONE,
        ("still pending",),
    ),
    Case(
        "process",
        LEAVES,
        cell(
            "import subprocess\nsubprocess.Popen(['sleep', '600', '<MARK>'][:2] and ['sh', '-c',"
            " 'sleep 600; : <MARK>'])"
        ),
    ),
    Case(
        "daemon",
        LEAVES,
        cell(
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n       "
            " os.execvp('sh', ['sh', '-c', 'sleep 600; : <MARK>'])\n    os._exit(0)\nos.wait()"
        ),
    ),
    Case(
        "daemon whose supervisor is killed",
        LEAVES,
        cell(
            "import os, signal\nif os.fork() == 0:\n    os.setsid()\n    os.execvp('sh', ['sh',"
            " '-c', 'sleep 600; : <MARK>'])\nos.kill(os.getppid() or -1, signal.SIGKILL)"
        ),
        {},
        earns_in={NAMESPACES: {"01.2": ANY}},
    ),
    Case("fork that goes on", LEAVES, cell("import os\nos.fork()"), {"01.2": ANY}),
    Case(
        "time bomb on the loop",
        LEAVES,
        cell("import asyncio, os\nasyncio.get_running_loop().call_later(0.3, os._exit, 1)"),
        {"01.2": ANY},
    ),
    Case(
        "time bomb in a thread",
        LEAVES,
        cell("import threading, os\nthreading.Timer(0.3, os._exit, [1]).start()"),
        {"01.2": ANY},
    ),
    Case(
        "alarm",
        LEAVES,
        cell(
            "import signal\nsignal.signal(signal.SIGALRM,"
            " signal.SIG_DFL)\nsignal.setitimer(signal.ITIMER_REAL, 30)"
        ),
    ),
    Case(
        "loop blocked",
        LEAVES,
        cell("import asyncio, time\nasyncio.get_running_loop().call_later(0.01, time.sleep, 600)"),
        {"01.2": ANY},
        limits=HASTY,
    ),
    Case(
        "loop stopped",
        LEAVES,
        cell("import asyncio\nasyncio.get_running_loop().stop()"),
        {},
        ("ended the kernel",),
    ),
    Case(
        "loop closed",
        LEAVES,
        cell(
            "import asyncio\nloop ="
            " asyncio.get_running_loop()\nloop.call_soon(loop.stop)\nloop.call_soon(loop.close)"
        ),
        {"01.2": ANY},
    ),
    Case(
        "nested asyncio.run",
        LEAVES,
        answer(
            "def all_reports(users, fetch):\n    async def all_of_them(): return await"
            " asyncio.gather(*map(fetch, users))\n    return asyncio.run(all_of_them())"
        ),
        NONE,
        ("raised", "asyncio.run()"),
    ),
    Case(
        "engine never disposed",
        LEAVES,
        answer(
            "async def ask_once(url, query):\n    engine = create_async_engine(url)\n    async with"
            " engine.connect() as connection:\n        return await connection.scalar(text(query))",
            "04.2",
        ),
        {"04.2": 0},
        ("open connection",),
        number="04",
    ),
    Case(
        "a suite that leaves a daemon",
        LEAVES,
        conftest(
            "import os\nif os.fork() == 0:\n    os.setsid()\n    os.execvp('sh', ['sh', '-c',"
            " 'sleep 600; : <MARK>'])\n"
        ),
        {"05.3": 0},
        ("fail",),
        number="05",
    ),
)


def _without_marks(notebook: Notebook) -> None:
    notebook["metadata"] = {}
    for each in notebook["cells"]:
        each["metadata"] = {}
        each.pop("id", None)


def _check(
    change: Callable[[Notebook, dict[str, Any]], Any], wrong: bool = False
) -> Callable[[Place], Path]:
    def apply(notebook: Notebook) -> None:
        if wrong:
            cell_of(notebook, "01.2")["source"] = WRONG
        change(notebook, cell_of(notebook, "01.2", "check"))

    return changed(apply)


FORGED = """
from loopbound.grading.isolation import inside
step = {"called": "x", "loop": "A", "tasks": [], "outcome": "returned", "value": ["report for mina", "report for joel", "report for aiko"]}
forged = {"steps": [step], "most": 3, "started": ["mina", "joel", "aiko"], "ended": ["joel", "aiko", "mina"], "never_awaited": [], "connections": 0, "asides": [], "events": [], "turns": []}
"""

_TAMPERS = (
    Case("check cell deleted", TAMPERS, _check(lambda n, c: n["cells"].remove(c))),
    Case(
        "check cell edited",
        TAMPERS,
        _check(lambda n, c: c.update(source="print('✓ 01.2 passed, 3 points')"), wrong=True),
        NONE,
        ("Each began when the one before it had ended",),
    ),
    Case(
        "check cell duplicated",
        TAMPERS,
        _check(lambda n, c: n["cells"].insert(3, copy.deepcopy(c))),
    ),
    Case(
        "check cell moved",
        TAMPERS,
        _check(lambda n, c: (n["cells"].remove(c), n["cells"].insert(0, c))),
    ),
    Case("check cell as Markdown", TAMPERS, _check(lambda n, c: c.update(cell_type="markdown"))),
    Case(
        "check cell marked as an answer",
        TAMPERS,
        _check(
            lambda n, c: c["metadata"]["nbgrader"].update(solution=True, grade=False, locked=False),
            wrong=True,
        ),
        NONE,
    ),
    Case(
        "its points changed",
        TAMPERS,
        _check(lambda n, c: c["metadata"]["nbgrader"].update(points=300)),
    ),
    Case(
        "answer cell as Markdown",
        TAMPERS,
        changed(lambda n: cell_of(n, "01.2").update(cell_type="markdown")),
    ),
    Case("all metadata stripped", TAMPERS, changed(_without_marks)),
    Case(
        "asyncio patched",
        TAMPERS,
        cell(
            "import asyncio\nasync def gather(*coros): return [await coro for coro in"
            " coros]\nasyncio.gather = gather"
        ),
        {},
        ("asyncio", "in the place of"),
    ),
    Case(
        "id patched",
        TAMPERS,
        cell("import builtins\nbuiltins.id = lambda thing: 1"),
        {},
        ("builtins.id",),
    ),
    Case(
        "isinstance patched",
        TAMPERS,
        answer(WRONG, before="import builtins\nbuiltins.isinstance = lambda *_: True"),
        {"01.2": 0},
        limits=HASTY,
    ),
    Case(
        "AssertionError patched",
        TAMPERS,
        cell("import builtins\nbuiltins.AssertionError = KeyError"),
        {},
        ("builtins.AssertionError",),
    ),
    Case(
        "check replaced in the notebook",
        TAMPERS,
        answer(WRONG, before="def check(*_): return '✓'"),
        NONE,
    ),
    Case(
        "judge replaced in the package",
        TAMPERS,
        answer(
            WRONG,
            before=(
                "from loopbound.checks import lesson_01\nfrom loopbound.checks.verdict import"
                " passed\nlesson_01._judge_reports = lambda data:"
                " passed('yes')\nlesson_01.CHECKS['01.2'].judge.__code__ = (lambda data:"
                " passed('yes')).__code__"
            ),
        ),
        NONE,
        ("in the place of",),
    ),
    Case(
        "a check's own values changed",
        TAMPERS,
        answer(WRONG, before="from loopbound.checks import lesson_01\nlesson_01._USERS.clear()"),
        NONE,
        ("lesson_01._USERS",),
    ),
    Case(
        "a check's own values changed by an answer",
        TAMPERS,
        answer(
            f"{ASYNC}from loopbound.checks import lesson_01\n    lesson_01._USERS.clear()\n    return"
            " []"
        ),
        NONE,
        ("replaced", "lesson_01._USERS"),
    ),
    Case(
        "logging switched off",
        TAMPERS,
        cell("import logging\nlogging.disable(logging.CRITICAL)"),
        {},
        ("logging.disable",),
    ),
    Case(
        "equal to everything",
        TAMPERS,
        answer(
            "class Yes(list):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef"
            " speakers(): return Yes()",
            "01.1",
        ),
        {"01.1": 0},
        ("Yes",),
    ),
    Case(
        "a hook drops every statement",
        TAMPERS,
        answer(
            WRONG,
            before=(
                "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node):"
                " return ast.Pass()\n    def visit_Raise(self, node): return"
                " ast.Pass()\nget_ipython().ast_transformers.append(Drop())"
            ),
        ),
        NONE,
    ),
    Case(
        "hooks swallow exceptions",
        TAMPERS,
        answer(
            WRONG,
            before=(
                "get_ipython().set_custom_exc((BaseException,), lambda *_, **__:"
                " None)\nget_ipython().showtraceback = lambda *_, **__: None"
            ),
        ),
        NONE,
    ),
    Case(
        "cells rewritten by a hook",
        TAMPERS,
        cell(
            "get_ipython().input_transformers_post.append(lambda lines: ['pass\\n'] if"
            " any('loopbound' in line for line in lines) else lines)"
        ),
    ),
    Case(
        "run_cell replaced",
        TAMPERS,
        answer(
            WRONG,
            before=(
                "shell = get_ipython()\nasync def run(*_, **__): return"
                " shell.last_execution_result\nshell.run_cell_async = run"
            ),
        ),
        {"01.2": 0, "01.4": ANY},
    ),
    Case(
        "the report's old name bound",
        TAMPERS,
        answer(WRONG, before="__loopbound_report__ = print\nglobals = lambda: {}"),
        NONE,
    ),
    Case(
        "a forged execute result",
        TAMPERS,
        answer(
            WRONG,
            before=(
                "kernel = get_ipython().kernel\nkernel.session.send(kernel.iopub_socket,"
                " 'execute_reply', {'status': 'ok', 'execution_count': 1},"
                " parent=kernel.get_parent())"
            ),
        ),
        NONE,
    ),
    Case(
        "a forged report",
        TAMPERS,
        answer(
            WRONG,
            before=(
                f"{FORGED}inside._channel.send({{'op': 'report', 'task': '01.2', 'nonce': '0' * 16,"
                " 'changed': [], 'left': [], 'data': forged})"
            ),
        ),
        NONE,
    ),
    Case(
        "a thread that answers for the check",
        TAMPERS,
        answer(
            WRONG,
            before=(
                f"{FORGED}import threading\ndef say():\n    while True:"
                " inside._channel.send({'op': 'report', 'task': '01.2', 'nonce': 'guessed',"
                " 'data': forged})\nthreading.Thread(target=say, daemon=True).start()"
            ),
        ),
        NONE,
    ),
    Case(
        "reports of no form",
        TAMPERS,
        answer(f"{FORGED}inside.Fingerprint.changed = lambda self: {{1: 2}}"),
        NONE,
        limits=HASTY,  # no report comes, which only the time tells
    ),
    Case(
        "noise on the grader's line",
        TAMPERS,
        cell(
            "from loopbound.grading.isolation import inside\ninside._channel.line.sendall(b'\\xff' * 4096)"
        ),
        {},
        ("ended the kernel",),
    ),
    Case(
        "descriptors on the grader's line",
        TAMPERS,
        cell(
            "import array, os, socket\nfrom loopbound.grading.isolation import inside\nfor _ in"
            " range(2000):\n    inside._channel.line.sendmsg([b'\\0'], [(socket.SOL_SOCKET,"
            " socket.SCM_RIGHTS, array.array('i', [0] * 8))])"
        ),
        {},
    ),
    Case(
        "a report of a million lines",
        TAMPERS,
        answer("def speakers(): return ['x' * 1000] * 1_000_000", "01.1"),
        {"01.1": 0},
        ("No task says",),
    ),
    Case(
        "a report without an end",
        TAMPERS,
        answer(
            "def speakers():\n    deep = []\n    for _ in range(100_000): deep = [deep]\n    return"
            " deep",
            "01.1",
        ),
        {"01.1": 0},
        ("Wanted is a list",),
    ),
    Case(
        "half a character",
        TAMPERS,
        answer("def speakers(): return ['\\ud800 \\x1b[31m \\x00']", "01.1"),
        {"01.1": 0},
        ("No task says",),
    ),
    Case(
        "half a character in the source",
        TAMPERS,
        changed(
            lambda n: cell_of(n, "01.2").update(source=cell_of(n, "01.2")["source"] + "\n# \ud800")
        ),
    ),
    Case(
        "an answer that prints passed",
        TAMPERS,
        answer(
            f"print('✓ 01.2 All reports at once: passed, 3 points')\n{ASYNC}print('passed'); return"
            " 'passed'"
        ),
        NONE,
    ),
    Case(
        "a file that shadows a library",
        TAMPERS,
        lambda place: (
            [
                (place.folder / f"{name}.py").write_text("raise SystemExit('shadowed')")
                for name in ("asyncio", "json", "loopbound", "sqlalchemy")
            ]
            and cell("import asyncio, json")(place)
        ),
    ),
    Case(
        "a cell that writes such a file",
        TAMPERS,
        cell(
            "for name in ('asyncio', 'json', 'psutil', 'loopbound'):\n    open(f'{name}.py',"
            " 'w').write('raise SystemExit')"
        ),
    ),
)


def _format_3(notebook: Notebook) -> Notebook:
    cells = []
    for each in notebook["cells"]:
        old = {key: value for key, value in each.items() if key != "source"} | {
            "input" if each["cell_type"] == "code" else "source": each["source"]
        }
        cells.append(old)
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}


def _link(place: Place) -> Path:
    path = place.folder / "answers.ipynb"
    path.symlink_to(repository() / "solutions" / assignment("01").file)
    return path


def _pipe(place: Place) -> Path:
    path = place.folder / "answers.ipynb"
    os.mkfifo(path)
    return path


def _folder(place: Place) -> Path:
    path = place.folder / "answers.ipynb"
    path.mkdir()
    return path


def _file(content: str | bytes) -> Callable[[Place], Path]:
    return lambda place: saved(place, content)


_BROKEN = (
    Case("malformed JSON", BROKEN, _file('{"cells": [}'), None, ("JSON",)),
    Case(
        "cut off", BROKEN, lambda place: saved(place, json.dumps(right())[:2000]), None, ("JSON",)
    ),
    Case("a JSON list", BROKEN, _file("[1, 2]"), None, ("list",)),
    Case("an empty file", BROKEN, _file(""), None, ("empty",)),
    Case("no cells", BROKEN, _file('{"nbformat": 4, "cells": []}'), None, ("no cells",)),
    Case(
        "cells of other kinds",
        BROKEN,
        _file('{"nbformat": 4, "cells": [1, null, {"source": 7}, {"source": [1], "metadata": 3}]}'),
        None,
        ("no exercise",),
    ),
    Case("nested without an end", BROKEN, _file("[" * 500_000), None, ("nested",)),
    Case(
        "a number without an end",
        BROKEN,
        _file('{"nbformat": ' + "9" * 100_000 + "}"),
        None,
        ("JSON",),
    ),
    Case("no text", BROKEN, _file(b"\x80\x81\x82" * 100), None, ("UTF-8",)),
    Case(
        "another course",
        BROKEN,
        _file(
            '{"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = 1", "metadata": {}}]}'
        ),
        None,
        ("no exercise",),
    ),
    Case("format 3", BROKEN, changed(_format_3), {}, ("format 3",)),
    Case("format 99", BROKEN, changed(lambda n: n.update(nbformat=99)), {}, ("format 99",)),
    Case(
        "UTF-16",
        BROKEN,
        lambda place: saved(place, json.dumps(right()).encode("utf-16")),
        {},
        ("UTF-16",),
    ),
    Case(
        "a byte-order mark",
        BROKEN,
        lambda place: saved(place, b"\xef\xbb\xbf" + json.dumps(right()).encode()),
    ),
    Case(
        "another kernel",
        BROKEN,
        changed(
            lambda n: n["metadata"].update(
                kernelspec={"name": "ir", "language": "R", "display_name": "R"}
            )
        ),
    ),
    Case(
        "no cell ids",
        BROKEN,
        changed(lambda n: [each.pop("id", None) for each in n["cells"]] and None),
    ),
    Case(
        "ids that are all the same",
        BROKEN,
        changed(lambda n: [each.update(id="same") for each in n["cells"]] and None),
    ),
    Case("re-ordered", BROKEN, changed(lambda n: n["cells"].reverse())),
    Case("a link", BROKEN, _link, None, ("link",)),
    Case("a pipe", BROKEN, _pipe, None, ("not a file",)),
    Case("a folder", BROKEN, _folder, None, ("not a file",)),
    Case("a name with blanks and signs", BROKEN, named("my answers (final) ✿ 01.ipynb")),
    Case("a name with a line's end", BROKEN, named("an\nswers\x1b[31m.ipynb")),
    Case(
        "a name that is no Unicode",
        BROKEN,
        lambda place: saved(place, right(), os.fsdecode(b"answers-\xff.ipynb")),
    ),
)

_REACHES = (
    Case("solutions read", REACHES, reached("return open('<SOLUTIONS>').read()"), isolation=ONLY),
    Case(
        "hidden tests read",
        REACHES,
        reached(
            "top = pathlib.Path('<SOLUTIONS>').parents[1]\nfound = [path for path in top.rglob('*')"
            " if path.is_file()]\nreturn found[0]"
        ),
        isolation=ONLY,
    ),
    Case("a neighbour read", REACHES, reached("return open('<OTHERS>').read()"), isolation=ONLY),
    Case(
        "a neighbour overwritten",
        REACHES,
        reached("open('<OTHERS>', 'w').write('{}')\nreturn 1"),
        isolation=ONLY,
    ),
    Case(
        "the gradebook emptied",
        REACHES,
        reached(
            "import sqlite3\nbook = sqlite3.connect('file:<GRADEBOOK>?mode=rw',"
            " uri=True)\nbook.execute('BEGIN EXCLUSIVE')\nreturn 1"
        ),
        isolation=ONLY,
    ),
    Case(
        "a file outside",
        REACHES,
        reached(
            "path = pathlib.Path('/tmp/hostile-<MARK>')\npath.write_text('here')\nfor part in"
            " ('/var/tmp', '<FOLDER>', '/usr', '/etc', '/dev/shm/../..'):\n    pathlib.Path(part,"
            " 'hostile-<MARK>').write_text('here')\nreturn 1"
        ),
        isolation=ONLY,
    ),
    Case(
        "the folder of the sockets filled",
        REACHES,
        reached(
            "folder = next(path for path in pathlib.Path('/tmp').glob('loopbound-grading-*/*') if"
            " path.is_dir())\n(folder / 'x').write_bytes(b'x')\nreturn 1"
        ),
        isolation=ONLY,
    ),
    Case(
        "a server on this machine",
        REACHES,
        reached("return socket.create_connection(('127.0.0.1', <PORT>), 2)"),
        isolation=ONLY,
    ),
    Case(
        "the network",
        REACHES,
        reached(
            "line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nline.connect(('192.0.2.1',"
            " 53))\nreturn 1"
        ),
        isolation=ONLY,
    ),
    Case(
        "other processes seen",
        REACHES,
        reached(
            "found = [name for name in os.listdir('/proc') if name.isdecimal() and b'pytest' in"
            " pathlib.Path('/proc', name, 'cmdline').read_bytes()]\nreturn found[0]"
        ),
        isolation=ONLY,
    ),
    Case("rights taken back", REACHES, reached("os.setuid(0)\nreturn 1"), isolation=ONLY),
    Case(
        "another database",
        REACHES,
        reached(f"{SQL}psycopg.connect(url.replace(mine.name, 'postgres'))\nreturn 1"),
        isolation=ONLY,
    ),
    Case(
        "the server's passwords",
        REACHES,
        reached(
            f"{SQL}return psycopg.connect(url).execute('SELECT rolpassword FROM"
            " pg_authid').fetchall()"
        ),
    ),
    Case(
        "another role",
        REACHES,
        reached(
            f"{SQL}line = psycopg.connect(url)\nowner = line.execute('SELECT rolname FROM pg_roles"
            " WHERE rolsuper').fetchone()[0]\nline.execute(f'SET ROLE \"{owner}\"')\nreturn 1"
        ),
    ),
    Case(
        "a role of its own made",
        REACHES,
        reached(f"{SQL}psycopg.connect(url).execute('CREATE ROLE mine SUPERUSER')\nreturn 1"),
    ),
    Case(
        "the database dropped",
        REACHES,
        reached(
            f"{SQL}line = psycopg.connect(url, autocommit=True)\nothers = [name for (name,) in"
            " line.execute('SELECT datname FROM pg_database')]\nfor name in others:\n    try:"
            " line.execute(f'DROP DATABASE \"{name}\" WITH (FORCE)')\n    except psycopg.Error:"
            " continue\n    return name\nraise ValueError"
        ),
    ),
    Case(
        "a program of the server",
        REACHES,
        reached(f"{SQL}psycopg.connect(url).execute(\"COPY users TO PROGRAM 'id'\")\nreturn 1"),
    ),
    Case(
        "sessions of others ended",
        REACHES,
        reached(
            f"{SQL}line = psycopg.connect(url, autocommit=True)\nwho = [pid for (pid,) in"
            " line.execute('SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND"
            " usename IS DISTINCT FROM current_user')]\nfor pid in who:\n    try: ended ="
            " line.execute('SELECT pg_terminate_backend(%s)', [pid]).fetchone()[0]\n    except"
            " psycopg.Error: continue\n    if ended: return pid\nraise ValueError"
        ),
    ),
    Case(
        "the database locked",
        REACHES,
        cell(
            f"{SQL}lines = []\nfor _ in range(3):\n    lines.append(psycopg.connect(url));"
            " lines[-1].execute(\"SET lock_timeout = '1s'\")\nlines[0].execute('LOCK TABLE users,"
            " reports'); lines[1].execute('SELECT pg_advisory_lock(1)')"
        ),
        number="01",
    ),
    Case(
        "every connection taken",
        REACHES,
        cell(f"{SQL}lines = []\nwhile len(lines) < 200: lines.append(psycopg.connect(url))"),
    ),
    Case(
        "every database taken",
        REACHES,
        cell(f"{SQL}kept = []\nwhile len(kept) < 200: kept.append(scratch_database('more'))"),
    ),
    Case(
        "every lock taken",
        REACHES,
        cell(
            f"{SQL}import threading\nline = psycopg.connect(url, autocommit=True)\nfull ="
            " threading.Event()\ndef take():\n    while True:\n        try: line.execute('SELECT"
            " pg_advisory_lock(n) FROM generate_series(1, 1000000) n')\n        except"
            " psycopg.errors.OutOfMemory: full.set()\ntake_on = threading.Thread(target=take,"
            " daemon=True)\ntake_on.start()\nfull.wait()\nscratch_database('more')"
        ),
        {"01.2": ANY, "01.4": ANY},
        ("took more locks",),
    ),
    Case(
        "a query that sleeps",
        REACHES,
        cell(f"{SQL}psycopg.connect(url).execute('SELECT pg_sleep(600)')"),
        {},
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "a schema that sleeps",
        REACHES,
        cell(
            "from loopbound.database import scratch_database\nscratch_database(schema='SELECT"
            " pg_sleep(600)')"
        ),
        {},
        ("did not end",),
        limits=HASTY,
    ),
    Case(
        "a schema of a thousand million rows",
        REACHES,
        cell(
            "from loopbound.database import scratch_database\nscratch_database(schema='SELECT"
            " generate_series(1, 1000000000)')"
        ),
        {"01.2": ANY},
        limits=HASTY,
    ),
    Case(
        "its own tables dropped",
        REACHES,
        answer(
            "async def ask_once(url, query):\n    engine = create_async_engine(url)\n    async with"
            " engine.begin() as connection:\n        await connection.execute(text('DROP TABLE"
            " reports, users CASCADE'))\n    await engine.dispose()\n    return 6",
            "04.2",
        ),
        {"04.2": 0},
        number="04",
    ),
    Case(
        "its own table locked",
        REACHES,
        answer(
            "kept = []\nasync def ask_once(url, query):\n    kept.append(await"
            " create_async_engine(url).connect())\n    await kept[-1].execute(text('LOCK TABLE"
            " reports'))\n    return 6",
            "04.2",
        ),
        {"04.2": 0},
        ("open connection",),
        number="04",
    ),
    Case(
        "a suite that reads the solutions",
        REACHES,
        conftest("import pathlib\nfound = pathlib.Path('<SOLUTIONS>').read_text()\n"),
        {"05.3": 0},
        ("No such file",),
        ONLY,
        number="05",
    ),
)

CASES = (*_RUNS_AWAY, *_KILLS, *_LEAVES, *_TAMPERS, *_BROKEN, *_REACHES)
assert len({case.name for case in CASES}) == len(CASES)
