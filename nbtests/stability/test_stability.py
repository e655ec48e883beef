"""``loopbound stability`` on small suites: which orders fail, which tests are to blame, what is left
over, and what happens to a suite that hangs, ends, or cannot begin.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from patience import LONG, eventually

from loopbound.cli import main
from loopbound.database import scratch_database
from loopbound.stability import process
from loopbound.stability.orders import shuffled, smallest
from loopbound.stability.output import formatted
from loopbound.stability.process import Suite
from loopbound.stability.study import Report, study

# A pair, a triple, and one that always fails.
STATE = {
    "app.py": "class Kept: seen = set()\nMODE, SEEN = 'live', Kept.seen\n",
    "test_a.py": """
import app
def test_one(): app.SEEN.add(1)
def test_two(): app.SEEN.add(2)
def test_three(): assert app.SEEN != {1, 2}
""",
    "test_b.py": """
import app
def test_reads(): assert app.MODE == "live"
""",
    "test_c.py": """
import os
import app
def test_writes():
    app.MODE = "test"
    os.environ["STAGE"] = "test"
def test_wrong(): assert 1 + 1 == 3
""",
}
# One pool for the loops of all tests: the order decides whose connection it is.
LOOPS = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
    "test_rows.py": """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine(os.environ["DATABASE_URL"])
async def ask():
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar() == 1
def test_sum(): assert 1 + 1 == 2
async def test_reports(): await ask()
async def test_users(): await ask()
""",
}
LEAVES = {
    "test_left.py": """
import asyncio, os, socket, threading
kept = []
async def poll(): await asyncio.sleep(3600)
async def begin(): kept.append(asyncio.ensure_future(poll()))
def test_leaves(monkeypatch):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    threading.Thread(target=threading.Event().wait, name="worker", daemon=True).start()
    server = socket.create_server(("127.0.0.1", 0))
    kept.extend([loop, server, socket.create_connection(server.getsockname())])
    os.environ["STAGE"] = "test"
    os.chdir("..")
    monkeypatch.setenv("UNDONE", "1")
def test_tidy(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
    asyncio.run(asyncio.sleep(0))
def test_ends(): os._exit(3)
def test_never(): pass
""",
}
HANGS = {
    "test_queue.py": """
import pathlib, queue
Q = queue.Queue()
def take():
    if Q.empty(): pathlib.Path("hangs").touch()
    return Q.get()
def test_puts(): Q.put(1)
def test_gets(): take()
def test_after(): pass
""",
}


def laid_out(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text.lstrip("\n"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _quick_pytest() -> Iterator[None]:
    """The suites need no plugin of the environment, and half a second less without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        yield


def studied(folder: Path, *words: str, orders: int = 1, bisect: int = 9) -> tuple[Report, str]:
    """A report, and what it was told meanwhile."""
    said: list[str] = []
    suite = Suite(folder, sys.executable, words, 7)
    report = study(suite, orders, False, LONG, bisect, lambda text, _: said.append(text))
    return report, "\n".join(said)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str]:
    return studied(laid_out(tmp_path_factory.mktemp("suite") / "state", STATE))


def test_the_tests_to_blame_are_found_and_run_again(state: tuple[Report, str]) -> None:
    report, said = state
    found = {each.test.partition("::")[2]: each for each in report.suspects}
    assert {name: (each.verdict, each.others) for name, each in found.items()} == {
        "test_reads": ("only-after", ["test_c.py::test_writes"]),
        "test_three": ("only-after", ["test_a.py::test_one", "test_a.py::test_two"]),
        "test_wrong": ("always", []),
    }
    assert (found["test_three"].fails[0], found["test_reads"].fails[0]) == ("own", "reversed")
    assert all(each.verified and each.smallest for each in found.values() if each.others)
    assert found["test_reads"].leaves["test_c.py::test_writes"] == [
        "environment variable STAGE",
        "app.MODE",
    ]
    assert "reversed: 6 tests, 2 failed" in said and "bisecting" in said
    assert report.explained == []  # none of it is a fault of loops


def test_the_command_that_it_prints_does_what_it_says(state: tuple[Report, str]) -> None:
    (pair,) = [each for each in state[0].suspects if each.test.endswith("test_reads")]
    command = pair.command.replace("python -m", f"{sys.executable} -m")
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


def test_a_report_as_text_and_as_data(state: tuple[Report, str]) -> None:
    report, _ = state
    text = formatted(report, "text")
    assert re.search(r"^reversed +6 +2 +0 ", text, re.MULTILINE)
    assert (
        "fails only after:\n    test_a.py::test_one, which leaves: app.Kept.seen, app.SEEN" in text
    )
    assert "environment variable STAGE, since test_c.py::test_writes" in text
    assert "Not looked at:" in text and "Not varied:" in text
    assert text.endswith(
        f"Not stable: 2 of 6 tests failed in some order, 1 in every order, and alone (3 orders,"
        f" {report.runs} runs; --seed 7 repeats them)."
    )
    data = json.loads(formatted(report, "json"))
    assert not data["stable"] and data["orders"][1]["tests"] == data["orders"][0]["tests"][::-1]
    assert {each["test"]: each["verified"] for each in data["tests"] if each["others"]} == {
        each.test: True for each in report.suspects if each.others
    }


def test_a_failure_that_the_order_does_not_explain(tmp_path: Path) -> None:
    files = {
        "test_once.py": """
import pathlib
def test_other(): pass
def test_once():
    ran = pathlib.Path("ran")
    before = ran.exists()
    ran.touch()
    assert before
"""
    }
    report, _ = studied(laid_out(tmp_path / "once", files), orders=0)
    (found,) = report.suspects
    assert (found.verdict, found.others, report.runs) == ("unsteady", [], 3)


def test_a_stable_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    laid_out(
        tmp_path / "stable",
        {"test_a.py": "def test_1(): pass\ndef test_2(): pass\ndef test_x(): 1/0\n"},
    )
    # A folder of tests is given to pytest; the runs begin here, as `python -m pytest` does.
    monkeypatch.chdir(laid_out(tmp_path, {"pytest.ini": "[pytest]\n"}))
    words = ["stability", "stable", "--orders", "9", "--seed", "1", "--mix"]
    assert main([*words, "--", "-k", "not x"]) == 0
    shown, said = capsys.readouterr()
    # Two tests have two orders: nothing is run twice.
    assert "Stable: 2 tests passed in every order (2 orders, 2 runs;" in shown
    assert "own: 2 tests, 0 failed\nreversed: 2 tests, 0 failed\n" in said
    assert not (tmp_path / ".pytest_cache").exists()
    assert main([*words, "--format", "json", "--", "-k", "not x"]) == 0
    (order, _) = json.loads(capsys.readouterr().out)["orders"]
    assert order["tests"] == ["stable/test_a.py::test_1", "stable/test_a.py::test_2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere does not exist."),
        ([".", "--python", "no-such-python"], "no-such-python cannot be started"),
        (["."], "pytest cannot read test_a.py: ModuleNotFoundError: No module named 'missing'"),
        (["test_b.py"], "pytest finds no tests in "),
        ([".", "--", "--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_what_cannot_be_run_is_said(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(laid_out(tmp_path, {"test_a.py": "import missing\n", "test_b.py": ""}))
    assert main(["stability", *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint and complaint.count("\n") <= 3 and "Traceback" not in complaint
    assert " in .." not in complaint, "a folder is named, not pointed at"


@pytest.mark.skipif(os.name == "nt", reason="connections are not seen there")
def test_what_is_left_and_a_test_that_ends_the_process(tmp_path: Path) -> None:
    run = Suite(laid_out(tmp_path / "leaves", LEAVES), sys.executable, (), 0).run(None, LONG)
    leaves, tidy, ends, never = run.tests
    connection, rest = "connection to 127.0.0.1:", run.left_by[leaves]
    assert [text for text in rest if not text.startswith(connection)] == [
        "task poll (test_left.py:3)",
        "thread worker",
        "environment variable STAGE",
        "working directory",
    ]
    assert sum(text.startswith(connection) for text in rest) == 1
    assert run.left_by[tidy] == []
    assert run.crashed == f"exit code 3 in {ends} (call)"
    assert (run.failed, run.not_run) == ([ends], [never])


class Clock:
    """Stands still, and jumps when a test says that it hangs: a limit of any length is over."""

    def __init__(self, sign: Path) -> None:
        self.sign, self.now = sign, 0.0

    def monotonic(self) -> float:
        if self.sign.exists():
            self.sign.unlink()
            self.now += 1e6
        return self.now


@pytest.mark.skipif(os.name == "nt", reason="no signal asks a process there where it is")
def test_a_hang_is_named_and_the_other_orders_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = laid_out(tmp_path / "hangs", HANGS)
    monkeypatch.setattr(process, "time", Clock(folder / "hangs"))
    assert main(["stability", str(folder), "--seed", "2", "--orders", "1", "--format", "json"]) == 1
    shown, said = capsys.readouterr()
    data = json.loads(shown)
    own, reversed_, random = data["orders"]
    # It may be asked between its sign and the line that waits.
    here = re.compile(r"test_queue\.py::test_gets \(call\) at test_queue\.py:[45] in take")
    assert here.fullmatch(reversed_["hung"])
    assert reversed_["not_run"] == ["test_queue.py::test_puts"]
    assert own["hung"] is None and len(random["tests"]) == 3
    assert here.search(said)
    (found,) = data["tests"]
    assert (found["test"], found["verdict"], found["others"], found["verified"]) == (
        "test_queue.py::test_gets",
        "only-without",
        ["test_queue.py::test_puts"],
        True,
    )


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process there")
def test_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    folder = laid_out(
        tmp_path / "waits",
        {
            "test_waits.py": """
import os, pathlib, signal, subprocess, sys, time
def test_waits():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as one that hangs in C
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    pathlib.Path("draft").write_text(f"{os.getpid()} {child.pid}")
    os.replace("draft", "pids")
    time.sleep(3600)
"""
        },
    )
    command = subprocess.Popen(
        [sys.executable, "-m", "loopbound", "stability", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert eventually((folder / "pids").exists)
    command.send_signal(signal.SIGINT)
    said, _ = command.communicate()
    assert command.returncode == 130 and said.endswith("loopbound: stopped.\n")
    for word in (folder / "pids").read_text().split():
        assert eventually(lambda: _gone(int(word)))


def _gone(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_the_fault_of_loops_has_its_victim_and_its_cure(tmp_path: Path) -> None:
    with scratch_database("stability") as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", scratch.url)
        folder = laid_out(tmp_path / "loops", LOOPS)
        words = ["-p", "pytest_asyncio.plugin"]
        report, _ = studied(folder, *words, orders=0, bisect=1)
        words += ["-p", "loopbound.guard.plugin", "--loop-guard"]
        guarded = Suite(folder, sys.executable, tuple(words), 7).run(None, LONG)
    _, reports, users = report.orders[0].run.tests
    # Which of the two fails is the order's doing alone.
    assert [order.run.failed for order in report.orders] == [[users], [reports]]
    found = report.suspects[0]
    assert (found.test, found.verdict, found.others) == (users, "only-after", [reports])
    assert found.verified and "attached to a different loop" in found.text
    assert "attached to a different loop\n" in formatted(report, "text"), "the end is not cut off"
    (told,) = report.explained
    assert told.kinds[0] == "engine-in-a-row" and set(told.tests) == {reports, users}
    # With the guard, its lines take the place of what the catalogue reads in the text.
    lines = guarded.guards[users]
    assert [line.partition(":")[0] for line in lines] == ["born", "used", "object", "cure"]
    assert f"in {reports} (call)" in lines[0] and "[engine-in-a-row]" in lines[2]
    # What listens to a suite is not in the way of what looks who runs its loops.
    assert "(pytest-asyncio)" in lines[0] and "session-loop" in lines[3]
    text = formatted(report, "text")
    assert text.count("cure:    session-loop: ") == 1 and "Not bisected (--bisect N):" in text
    (left,) = report.orders[0].run.left_by[reports]
    assert left.startswith("connection to ") and f"{reports}, which leaves: {left}\n" in text


def test_random_orders_keep_files_and_classes_together_unless_mixed() -> None:
    tests, groups = [], []
    for file in "abc":
        for inner in ("", "TestX", "TestY"):
            for number in range(4):
                outer = [f"test_{file}.py"] + ([f"test_{file}.py::{inner}"] if inner else [])
                tests.append(f"{outer[-1]}::test_{number}")
                groups.append(["tests", *outer])
    kept = shuffled(tests, groups, "1:1")
    assert kept == shuffled(tests, groups, "1:1") != shuffled(tests, groups, "1:2")
    assert sorted(kept) == sorted(tests) and kept != tests

    def runs(order: list[str], depth: int) -> int:
        names = ["::".join(test.split("::")[:depth]) for test in order if test.count("::") >= depth]
        return 1 + sum(one != other for one, other in pairwise(names))

    assert runs(kept, 1) == 3 and runs(kept, 2) - runs(sorted(tests), 2) == 0
    mixed = shuffled(tests, groups, "1:1", mix=True)
    assert sorted(mixed) == sorted(tests) and runs(mixed, 1) > 3


@pytest.mark.parametrize("needed", [{"t9"}, {"t0", "t63"}, {"t5", "t6", "t40"}])
def test_the_smallest_sequence_is_found_in_few_runs(needed: set[str]) -> None:
    tests = [f"t{number}" for number in range(64)]
    tried: set[tuple[str, ...]] = set()

    def enough(part: list[str]) -> bool:
        tried.add(tuple(part))
        return needed <= set(part)

    assert set(smallest(tests, enough)) == needed
    assert len(tried) <= {1: 12, 2: 40, 3: 60}[len(needed)]


def test_a_sequence_that_another_test_cleans_up_after() -> None:
    tests = ["dirty", "a", "clean", "dirty again", "b"]

    def enough(part: list[str]) -> bool:
        state = False
        for test in part:
            state = test.startswith("dirty") or (state and test != "clean")
        return state

    assert smallest(tests, enough) == ["dirty again"]
