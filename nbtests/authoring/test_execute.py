"""Running notebooks: a good one has no problems, and everything that can go wrong is seen.

Real kernels throughout.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import LONG
from small_notebooks import code, saved

from loopbound.authoring.execute import run_notebook, run_notebooks
from loopbound.problem import Problem

LOOPBOUND = [sys.executable, "-m", "loopbound"]


def test_a_good_notebook_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "beside.txt").write_text("here")
    path = saved(
        tmp_path / "good.ipynb",
        code("imports", "import asyncio, os\nfrom loopbound import NamedLoop, scratch_database"),
        code("folder", "print(os.listdir('.'))"),
        code("task", "task = asyncio.create_task(asyncio.sleep(0.01, 'rows'))\nawait task"),
        code("thread", "await asyncio.to_thread(len, 'abc')"),
        code(
            "process",
            "process = await asyncio.create_subprocess_exec('git', '--version', stdout=-3)\nawait"
            " process.wait()",
        ),
        code("loop", "A = NamedLoop('A')\nprint(A.run(asyncio.sleep(0, 'on A')))\nA.close()"),
        code("wanted", "raise RuntimeError('different loop')", tags=("raises-exception",)),
        code(
            "database",
            "import asyncpg\ndatabase = scratch_database('test')\nurl ="
            " database.url.replace('+asyncpg', '')\nconnection = await"
            " asyncpg.connect(url)\nprint(await connection.fetchval('SELECT 1'))\nawait"
            " connection.close()\ndatabase.close()",
        ),
    )
    before = path.read_bytes()
    result = run_notebook(path)
    assert result.problems == []
    outputs = {
        cell.id: [
            output.get("text") or output.get("data") or output.get("ename")
            for output in cell.outputs
        ]
        for cell in result.notebook.cells
    }
    assert outputs["task"] == [{"text/plain": "'rows'"}]
    assert "beside.txt" in outputs["folder"][0]
    assert (outputs["loop"], outputs["wanted"], outputs["database"]) == (
        ["on A\n"],
        ["RuntimeError"],
        ["1\n"],
    )
    assert set(result.cell_seconds) == set(outputs)
    assert 0 < sum(result.cell_seconds.values()) < result.seconds
    assert path.read_bytes() == before


# Notebooks that go wrong: what is in each cell, and a part of what has to be said of it. Where the
# kernel tells in time which cell it was, that is asked for too. Faults that let a notebook run on
# share one, because a kernel's start is the slowest part of these tests.
HERE, ANYWHERE = True, False
BROKEN: dict[str, list[tuple[str, bool, str]]] = {
    "unwanted error": [
        (
            "import asyncio\nasyncio.run(asyncio.sleep(0))",
            HERE,
            "asyncio.run() cannot be called from a running event loop",
        )
    ],
    "dead kernel": [("import os\nos._exit(3)", HERE, "the kernel died")],
    "stderr": [
        ("import sys\nprint('careful', file=sys.stderr)", HERE, "wrote to stderr\n    careful"),
        (
            "import subprocess\n"
            "_ = subprocess.run([sys.executable, '-c', 'import os; os.write(2, b\"child\")'])",
            ANYWHERE,
            "child",
        ),
        (
            "import warnings\nwarnings.warn('old way', UserWarning)",
            HERE,
            "UserWarning: old way",
        ),
        (
            "warnings.warn('older way', DeprecationWarning)",
            HERE,
            "DeprecationWarning: older way",
        ),
        (
            "async def fetch(): ...\nfetch()\nNone",
            HERE,
            "coroutine 'fetch' was never awaited",
        ),
        (
            "import os\nfile = open(os.devnull)\ndel file",
            HERE,
            "ResourceWarning: unclosed file",
        ),
    ],
    "late stderr": [
        (
            "import os\nring = [open(os.devnull)]\nring.append(ring)\ndel ring",
            ANYWHERE,
            "ResourceWarning: unclosed file",
        ),
        (
            "import asyncio, sys\n"
            "asyncio.get_running_loop().call_later(0.2, sys.stderr.write, 'too late\\n')\nNone",
            ANYWHERE,
            "too late",
        ),
        ("await asyncio.sleep(0.5)", ANYWHERE, ""),
    ],
    "exception": [
        ("import asyncio, gc\nasync def fail(): 1 / 0", ANYWHERE, ""),
        (
            "task = asyncio.create_task(fail())\nawait asyncio.sleep(0.1)\ndel task\n_ ="
            " gc.collect()",
            ANYWHERE,
            "Task exception was never retrieved",
        ),
    ],
    "left": [
        (
            "import asyncio\nstream = asyncio.create_task(asyncio.sleep(600), name='stream')",
            ANYWHERE,
            "the task 'stream' (sleep) is still pending",
        ),
        (
            "from loopbound import NamedLoop\nA = NamedLoop('A')",
            ANYWHERE,
            "the named loop 'A' was not closed",
        ),
        ("loop = asyncio.new_event_loop()", ANYWHERE, "an event loop was not closed"),
        (
            # It ends when the main thread does, and not sooner.
            "import threading\n"
            "threading.Thread(target=threading.main_thread().join, name='worker').start()",
            ANYWHERE,
            "the thread 'worker' still runs",
        ),
        (
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)",
            ANYWHERE,
            "left a process running",
        ),
        (
            "server = await asyncio.start_server(lambda r, w: asyncio.sleep(600), '127.0.0.1', 0)\n"
            "reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
            "server.close()",
            ANYWHERE,
            "a transport was not closed: _SelectorSocketTransport",
        ),
    ],
    "left in the database": [
        (
            "import asyncpg\nfrom loopbound import scratch_database\n"
            "left = scratch_database('left')",
            ANYWHERE,
            "was not closed (0 sessions still open)",
        ),
        (
            "used = scratch_database('used')\n"
            "connection = await asyncpg.connect(used.url.replace('+asyncpg', ''))",
            ANYWHERE,
            "was not closed (1 sessions still open)",
        ),
    ],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_goes_wrong_is_seen(name: str, tmp_path: Path) -> None:
    cells = [code(f"cell-{number}", source) for number, (source, *_) in enumerate(BROKEN[name])]
    problems = run_notebook(saved(tmp_path / "broken.ipynb", *cells)).problems
    for cell, (_, here, said) in zip(cells, BROKEN[name], strict=True):
        matching = [problem for problem in problems if said in str(problem)]
        assert matching, (said, problems)
        assert matching[0].cell == cell.id or not here
    assert {problem.notebook for problem in problems} == {"broken.ipynb"}
    assert not any("loopbound_probe" in str(problem) for problem in problems)


def test_an_endless_cell_is_ended_and_named(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "endless.ipynb",
        code("ready", "print('ready')"),
        code("endless", "while True:\n    pass"),
        code("never", "print('never')"),
    )
    result = run_notebook(path, limit=6)
    assert [(problem.cell, problem.what) for problem in result.problems] == [
        ("endless", "did not end: the notebook may take 6 seconds")
    ]
    assert "never" not in result.cell_seconds
    assert _kernels() == []


def test_a_wanted_error_that_does_not_come_is_seen(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "calm.ipynb",
        code("calm", "calm = 1", tags=("raises-exception",)),
        code("after", "print(calm)"),
    )
    result = run_notebook(path)
    assert [(problem.cell, problem.what) for problem in result.problems] == [
        ("calm", "is tagged raises-exception and raised nothing")
    ]


def test_a_kernel_that_does_not_start_is_seen(tmp_path: Path) -> None:
    # A kernel is started in the notebook's folder, as `python -m ipykernel_launcher`: this file
    # comes first.
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    (problem,) = run_notebook(saved(tmp_path / "one.ipynb", code("count", "one = 1"))).problems
    assert problem.what.startswith("the kernel did not start") and "no kernel today" in problem.view


def test_exit_handlers_of_the_kernel_run(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "exit.ipynb",
        code("exit", "import atexit, pathlib\n_ = atexit.register(pathlib.Path('left').touch)"),
    )
    assert run_notebook(path).problems == []
    assert (tmp_path / "left").exists()


def test_results_come_in_the_order_asked_for(tmp_path: Path) -> None:
    slow = saved(tmp_path / "slow.ipynb", code("wait", "import time; time.sleep(1.5)"))
    quick = saved(tmp_path / "quick.ipynb", code("count", "one = 1"))
    done: list[str] = []
    results = run_notebooks(
        [slow, quick], workers=2, done=lambda result: done.append(result.path.name)
    )
    assert [result.path.name for result in results] == ["slow.ipynb", "quick.ipynb"]
    assert sorted(done) == ["quick.ipynb", "slow.ipynb"]


def test_no_notebook_among_others_is_a_problem_for_people(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.ipynb", code("count", "one = 1"))
    with pytest.raises(Problem, match=r"nowhere\.ipynb cannot be read"):
        run_notebooks([good, tmp_path / "nowhere.ipynb"], workers=2)
    assert _kernels() == []


def test_no_notebook_is_a_problem_for_people(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"nowhere\.ipynb cannot be read"):
        run_notebook(tmp_path / "nowhere.ipynb")


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGINT for one process of a console"
)
def test_ctrl_c_ends_the_kernel(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "long.ipynb",
        code(
            "long", "import os, time\nopen('started', 'w').write(str(os.getpid()))\ntime.sleep(300)"
        ),
    )
    process = subprocess.Popen(
        [*LOOPBOUND, "run", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    started = tmp_path / "started"
    until = time.monotonic() + LONG
    while not (started.exists() and started.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    kernel = int(started.read_text())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not psutil.pid_exists(kernel)


def _kernels() -> list[Any]:
    """Kernels among this process's descendants."""
    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended, and waits to be asked how
            if "ipykernel_launcher" in " ".join(child.cmdline()):
                found.append(child)
    return found
