"""A suite that does not end: its evidence, and that nothing of it goes on; Ctrl-C and kill -9 while
one runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import psycopg
import pytest
from patience import LONG, eventually, scaled
from suite_processes import suites_of

from loopbound import run_suite
from loopbound.database import scratch_database
from loopbound.suite import SuiteRun, run_suites
from loopbound.suite.warm import POSSIBLE


@functools.cache
def limit() -> float:
    """Seconds in which any suite of this file comes to the test that hangs."""
    return scaled(4.0 if POSSIBLE else 8.0)


# A stream's transaction outlives its loop, and the next test empties the table.
BLOCKED = """
import asyncio, os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
streams = []

async def stream():
    connection = await engine.connect()
    await connection.execute(text("SELECT title FROM reports"))
    streams.append(connection)

async def empty_table():
    async with engine.begin() as connection:
        await connection.execute(text("TRUNCATE reports"))

def test_stream(): asyncio.run(stream())
def test_reports(): asyncio.run(empty_table())
def test_later(): pass
"""

STUBBORN = """
import signal, subprocess, sys, time
def test_stubborn():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(98.5)"
    subprocess.Popen([sys.executable, "-c", code])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(98.5)
"""


def job(text: str, **more: object) -> dict:
    return {"project": {"test_hangs.py": text}, "limit": limit(), **more}


def running(word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if (
                any(word in part for part in process.cmdline())
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def hung() -> dict[str, SuiteRun]:
    # Two at a time: each of them takes all of its limit.
    jobs = {
        "blocked": job(BLOCKED),
        "teardown": job(
            "import pytest, time\n@pytest.fixture\ndef slow():\n    yield\n    time.sleep(99)\ndef"
            " test_a(slow): pass"
        ),
        "import": job("import time\ntime.sleep(99)\ndef test_a(): pass"),
        "exit": job(
            "import threading, time\ndef test_a(): threading.Thread(target=time.sleep,"
            " args=[99]).start()"
        ),
        "gil": job("import re\ndef test_a(): re.match('(a+)+$', 'a' * 60 + 'b')"),
        "stubborn": job(STUBBORN),
    }
    return dict(zip(jobs, run_suites(list(jobs.values())), strict=True))


def test_a_blocked_truncate_with_its_evidence(hung: dict[str, SuiteRun]) -> None:
    run = hung["blocked"]
    assert run.hung and run.hung_test == "test_hangs.py::test_reports"
    assert [(test.id[15:], test.outcome, test.phase, test.symptom) for test in run.tests] == [
        ("test_stream", "passed", "call", "ok"),
        ("test_reports", "hung", "call", "hung"),
    ]
    assert run.not_run == ("test_hangs.py::test_later",)
    holder, waiter = run.sessions
    assert (holder.state, holder.blocked_by) == ("idle in transaction", ())
    assert (waiter.state, waiter.wait_event_type, waiter.wait_event) == (
        "active",
        "Lock",
        "relation",
    )
    assert waiter.query == "TRUNCATE reports" and waiter.blocked_by == (holder.pid,)
    # The thread's stack shows that its loop waits, the task's what for.
    assert "in test_reports" in run.stacks and "in select" in run.stacks
    assert re.search(
        r"^Task Task-\d+ \(outermost call first\):\n  File .*, line 16 in empty_table\n",
        run.stacks,
        re.MULTILINE,
    )
    assert "in watch" not in run.stacks
    assert run.seconds >= limit()
    told = run.as_json()
    assert (told["hung"], told["passed"], told["failed"]) == (
        True,
        ["test_hangs.py::test_stream"],
        {},
    )


def test_nothing_is_collected_while_one_looks_at_a_hang() -> None:
    # A collection could free what the suite waits for, and it would go on meanwhile.
    collects = """
        import gc, os, threading, time

        def test_a():
            waits = threading.get_ident()
            told = lambda phase, info: threading.get_ident() == waits or os.write(2, b"in another thread")
            gc.callbacks.append(told)
            gc.set_threshold(1)
            time.sleep(98.5)
    """
    run = run_suite({"test_hangs.py": textwrap.dedent(collects)}, options=["-s"], limit=limit())
    assert run.hung and "in test_a" in run.stacks
    assert "in another thread" not in run.output


def test_a_teardown_that_hangs(hung: dict[str, SuiteRun]) -> None:
    (test,) = hung["teardown"].tests
    assert (test.outcome, test.phase, test.error) == ("hung", "teardown", "hung in its teardown")


def test_an_import_that_hangs(hung: dict[str, SuiteRun]) -> None:
    run = hung["import"]
    assert (run.hung, run.hung_test, run.tests) == (True, None, ())
    assert 'File "test_hangs.py", line 2 in <module>' in run.stacks


def test_a_thread_that_outlives_the_tests(hung: dict[str, SuiteRun]) -> None:
    run = hung["exit"]
    assert (run.hung, run.hung_test, run.passed) == (True, None, ["test_hangs.py::test_a"])
    assert "in _shutdown" in run.stacks


def test_a_process_that_cannot_answer(hung: dict[str, SuiteRun]) -> None:
    # A regular expression holds the interpreter's lock: nothing in that process but faulthandler's
    # own timer can write.
    run = hung["gil"]
    assert run.hung_test == "test_hangs.py::test_a"
    assert "in test_a" in run.stacks


def test_processes_that_do_not_want_to_end(hung: dict[str, SuiteRun]) -> None:
    assert hung["stubborn"].hung
    assert not running("time.sleep(98.5)")


def test_nothing_of_a_hung_suite_goes_on(hung: dict[str, SuiteRun]) -> None:
    assert suites_of(os.getpid()) == []


@pytest.mark.parametrize("ending", ["ctrl-c", "kill -9"])
@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGINT for one process of a console"
)
def test_the_caller_is_ended(tmp_path: Path, ending: str) -> None:
    code = (
        "from loopbound import run_suite\ntext = 'import os, time\\ndef test_a():\\n   "
        ' print("database", os.environ["DATABASE_URL"].split("/")[-1], flush=True)\\n   '
        " time.sleep(99)'\nrun_suite({'test_a.py': text}, options=['-s'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def said() -> str:
        return "".join(
            path.read_text("utf-8") for path in tmp_path.glob("loopbound-suite-*/output.txt")
        )

    assert eventually(
        lambda: "database loopbound_suite_" in said() and "\n" in said().split("database ")[1]
    )
    database = said().split("database ")[1].split()[0]
    child = suites_of(process.pid)
    assert len(child) == 1
    if ending == "ctrl-c":
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.communicate(timeout=LONG)[1]
        assert not child[0].is_running() and list(tmp_path.glob("loopbound-suite-*")) == []
        assert not _exists(database)
    else:
        process.kill()
        process.communicate(timeout=LONG)
        # It hears that nobody listens any more. The database goes with the next sweep.
        assert eventually(lambda: not child[0].is_running())
        assert list(tmp_path.glob("loopbound-suite-*")) == []
        assert eventually(lambda: not _exists(database))


def test_ctrl_c_ends_suites_in_threads() -> None:
    code = (
        "import _thread, threading, time\nfrom loopbound.suite import"
        " run_suites\nthreading.Timer(4, _thread.interrupt_main).start()\njob = {'project':"
        " {'test_a.py': 'import time\\ndef test_a(): time.sleep(97.5)'}}\nbegan ="
        " time.monotonic()\ntry: run_suites([job] * 5)\nexcept KeyboardInterrupt:"
        " print(round(time.monotonic() - began), threading.active_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG
    )
    seconds, threads = done.stdout.split()
    assert int(seconds) < 97 and threads == "1", done.stderr


def test_a_hung_process_keeps_its_exit_code() -> None:
    # Twice: two threads that wait for one process take turns at random.
    runs = run_suites([{"project": {"test_a.py": "while True: pass"}, "limit": 1.0}] * 2)
    assert [run.hung for run in runs] == [True, True] and 0 not in [run.exit_code for run in runs]


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows removes no folder that a process is in"
)
def test_a_suite_that_writes_while_its_caller_is_killed_leaves_no_folder(tmp_path: Path) -> None:
    text = """
    import pathlib, pytest
    @pytest.mark.parametrize("n", range(10_000))
    def test_a(n):
        folder = pathlib.Path(f"page{n % 7}")
        folder.mkdir(exist_ok=True)
        (folder / str(n)).touch()
    """
    code = f"from loopbound import run_suite; run_suite({{'test_a.py': {text!r}}})"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert eventually(lambda: list(tmp_path.glob("*/project/page6")))
    process.kill()
    process.wait()
    assert eventually(lambda: list(tmp_path.iterdir()) == [])


@pytest.mark.parametrize("method", ["signal", "thread"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGALRM")
def test_a_suites_own_time_out_comes_first(method: str) -> None:
    text = "import time\ndef test_a(): time.sleep(99)\ndef test_b(): pass"
    run = run_suite(
        {"test_a.py": text},
        options=["--timeout=1", f"--timeout-method={method}"],
        limit=float("inf"),
    )
    assert not run.hung
    if method == "signal":
        assert (run.failed, run.passed) == ({"test_a.py::test_a": "Failed"}, ["test_a.py::test_b"])
    else:  # it ends the process
        assert (run.failed, run.not_run) == (
            {"test_a.py::test_a": "process ended"},
            ("test_a.py::test_b",),
        )
        assert "Stack of MainThread" in run.output


def _exists(database: str) -> bool:
    with (
        scratch_database() as scratch,
        psycopg.connect(scratch.url.replace("+asyncpg", "")) as connection,
    ):
        return (
            connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone()
            is not None
        )
