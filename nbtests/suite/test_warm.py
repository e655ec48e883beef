"""A suite that a warm process has forked is like one whose process was started for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from suite_processes import suites_of

from loopbound.suite import BACKEND, SuiteRun, run_suite, run_suites
from loopbound.suite.warm import POSSIBLE

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="suites are forked on Linux only")

# What a test can see of its process, in a form that is the same in each run.
SURROUNDINGS = """
    import asyncio, ctypes, faulthandler, gc, json, locale, multiprocessing, os, random, signal, sys, threading, warnings
    import pytest

    HOME = os.path.dirname(os.getcwd())

    def seen():
        return {
            "argv": [os.path.basename(word) for word in sys.argv + sys.orig_argv[1:]],
            "path": [place.replace(HOME, "") for place in sys.path],
            "variables": sorted(os.environ),
            "streams": [(stream.fileno(), stream.encoding, stream.errors, stream.line_buffering)
                        for stream in (sys.stdin, sys.__stdout__, sys.__stderr__)],
            "descriptors": sorted(os.readlink(f"/proc/self/fd/{n}").partition(":")[0].replace(HOME, "")
                                  for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
            "leads": [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()],
            "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals()) if number not in (9, 19)],
            "masked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "threads": [thread.name for thread in threading.enumerate()],
            "main": [sys.modules["__main__"].__name__, os.path.basename(sys.modules["__main__"].__file__)],
            "flags": [str(sys.flags), sys.warnoptions, gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit()],
            "filters": [str(one) for one in warnings.filters],
            "locale": [locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding()],
            "dumpable": ctypes.CDLL(None).prctl(3),
            "depth": len([frame for frame in iter(Frames())]),
        }

    class Frames:
        def __iter__(self):
            frame = sys._getframe(2)
            while frame:
                yield frame
                frame = frame.f_back

    def test_seen():
        print("seen:", json.dumps(seen()))

    def test_drawn():
        print("drawn:", random.random())

    def double(queue):
        queue.put(2 * 21)

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_processes(method):
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=double, args=[queue])
        process.start()
        assert queue.get() == 42
        process.join()

    def test_no_loop_is_there_yet():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    def test_rewritten(rewritten):
        pass
"""
PROJECT = {
    "test_surroundings.py": SURROUNDINGS,
    "conftest.py": "pytest_plugins = ['helper']\n",
    "helper.py": (
        """
        import pytest

        def compare(given):
            assert given == {"title": "report"}

        @pytest.fixture
        def rewritten():
            with pytest.raises(AssertionError, match="'title'"):
                compare({"name": "report"})
        """
    ),
}


def said(run: SuiteRun, word: str) -> str:
    return run.output.split(f"{word}: ")[1].splitlines()[0]


def test_a_test_sees_what_it_would_see_in_a_process_started_for_it() -> None:
    common = {"project": PROJECT, "options": ["-s"]}
    forked, again, started = run_suites([common, common, common | {"fresh": True}], at_once=1)
    for run in (forked, again, started):
        assert len(run.passed) == len(run.tests) == 6, run.output
    assert json.loads(said(forked, "seen")) == json.loads(said(started, "seen"))
    assert len({said(run, "drawn") for run in (forked, again, started)}) == 3


def test_the_incident_gives_the_same_with_all_its_warnings() -> None:
    common = {"project": BACKEND, "options": ["-W", "default"], "trace": True}
    forked, started = run_suites([common, common | {"fresh": True}])
    told = [
        [(test.id, test.outcome, test.phase, test.symptom) for test in run.tests]
        for run in (forked, started)
    ]
    assert told[0] == told[1] and len(told[0]) == 33
    # A stream asks until its time is over: how often, no run decides.
    events = [
        dict.fromkeys((e.test, e.phase, e.kind, e.loop, e.born_on) for e in run.trace)
        for run in (forked, started)
    ]
    assert list(events[0]) == list(events[1])
    # Without those of what was not closed: the garbage collector decides when it says so.
    warned = [
        {text.partition(":")[0] for text in run.warnings} - {"ResourceWarning"}
        for run in (forked, started)
    ]
    assert warned[0] == warned[1] == {"RuntimeWarning"}


def test_a_module_of_the_project_comes_before_an_installed_one() -> None:
    run_suite({"test_a.py": "import httpx, statistics\ndef test_a(): pass"})
    project = {
        "httpx.py": "MINE = True",
        "tests/statistics.py": "MINE = True",
        "tests/test_a.py": (
            "import httpx, statistics\ndef test_a(): assert httpx.MINE and statistics.MINE"
        ),
    }
    assert run_suite(project).passed == ["tests/test_a.py::test_a"]


def test_variables_of_the_interpreter_count() -> None:
    text = "import sys\ndef test_a(): assert sys.flags.dev_mode and hash('a') == {}"
    seed = {"PYTHONHASHSEED": "7", "PYTHONDEVMODE": "1"}
    wanted = subprocess.run(
        [sys.executable, "-c", "print(hash('a'))"],
        env=os.environ | seed,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert run_suite({"test_a.py": text.format(wanted)}, environment=seed).passed


def test_a_variable_of_the_caller_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import os\ndef test_a(): assert os.environ.get('COLOUR') == {!r}"
    for colour in (None, "blue", None):
        if colour:
            monkeypatch.setenv("COLOUR", colour)
        else:
            monkeypatch.delenv("COLOUR", raising=False)
        assert run_suite({"test_a.py": text.format(colour)}).passed


def test_the_warm_process_imports_no_project_and_is_one_thread() -> None:
    text = (
        "import sys, fastapi\nseen = set(sys.modules)\ndef test_a(): assert 'app.main' not in seen"
    )
    run_suite(BACKEND, tests=["tests/test_schemas.py"])
    assert run_suite({"test_a.py": text}).passed
    [warm] = suites_of(os.getpid(), warm=True)
    assert warm.num_threads() == 1 and warm.children() == []


@pytest.mark.skipif(POSSIBLE and os.getuid() == 0, reason="root may reach into every process")
def test_the_code_of_a_project_cannot_reach_into_the_warm_process() -> None:
    text = """
    import os, psutil, pytest
    def test_a():
        warm = psutil.Process().parent().parent()
        assert "warm" in warm.cmdline()
        with pytest.raises(PermissionError):
            open(f"/proc/{warm.pid}/mem", "r+b")
    """
    assert run_suite({"test_a.py": text}).passed


def test_a_warm_process_that_was_killed_is_replaced() -> None:
    project = {"test_a.py": "def test_a(): pass"}
    run_suite(project)
    [warm] = suites_of(os.getpid(), warm=True)
    warm.kill()
    assert run_suite(project).passed and run_suite(project).passed
    [another] = suites_of(os.getpid(), warm=True)
    assert another.pid != warm.pid


@pytest.mark.parametrize("ending", ["at its end", "kill -9"])
def test_it_ends_with_its_caller(ending: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom loopbound import run_suite\nrun_suite({'test_a.py': 'def test_a():"
        " pass'})\nprint('ran', flush=True)\nsys.stdin.read()\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert caller.stdin and caller.stdout and caller.stdout.readline() == b"ran\n"
    [warm] = suites_of(caller.pid, warm=True)
    if ending == "kill -9":
        caller.send_signal(signal.SIGKILL)
    caller.stdin.close()
    caller.wait()
    caller.stdout.close()
    if ending == "at its end":
        assert not warm.is_running()
    until = time.monotonic() + 60
    while warm.is_running() and warm.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.02)
    assert not warm.is_running() or warm.status() == psutil.STATUS_ZOMBIE
    assert list(tmp_path.iterdir()) == []
