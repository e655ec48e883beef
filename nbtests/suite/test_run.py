"""A suite that is run: each outcome, symptom and order, what it is kept apart from, and what is
left behind.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from loopbound import run_suite
from loopbound.database import scratch_database
from loopbound.problem import Problem
from loopbound.suite import SuiteRun, TestResult, ordered, run_alone, run_suites

OUTCOMES = """
import asyncio, os, warnings
import pytest

@pytest.fixture
def broken():
    raise LookupError("no such user")

@pytest.fixture
def breaks_later():
    yield
    raise OSError("cannot be closed")

@pytest.fixture
def left_open():
    yield
    assert False, "left open"

def test_passes(): pass
def test_fails(): assert [1, 2] == [1, 3], "the pages differ"
def test_setup(broken): pass
def test_teardown(breaks_later): pass
def test_call_and_teardown(left_open): raise KeyError("title")
def test_skipped(): pytest.skip("no network")
@pytest.mark.xfail
def test_expected(): raise ValueError("known")
@pytest.mark.xfail(strict=True)
def test_unexpected(): pass
def test_warns(): warnings.warn("old spelling", DeprecationWarning)
def test_caused():
    try:
        raise RuntimeError("Task 1 got Future 2 attached to a different loop")
    except RuntimeError as error:
        raise LookupError("no report") from error
def test_hidden():
    try:
        raise RuntimeError("Event loop is closed")
    except RuntimeError:
        raise LookupError("no report") from None
def test_group():
    raise ExceptionGroup("two", [ValueError("first"), RuntimeError("bound to a different event loop")])
def test_in_progress(): raise ConnectionError("cannot perform operation: another operation is in progress")
def test_closed():
    loop = asyncio.new_event_loop()
    loop.close()
    loop.call_soon(print)
def test_unprintable():
    class Silent(Exception):
        def __str__(self): raise ValueError
    raise Silent
@pytest.mark.parametrize("word", ["ä", "b"])
def test_words(word): assert word == "b"
"""

# outcome, phase, symptom, error
EXPECTED = {
    "passes": ("passed", "call", "ok", ""),
    "fails": ("failed", "call", "AssertionError", "AssertionError: the pages differ"),
    "setup": ("error", "setup", "LookupError", "LookupError: no such user"),
    "teardown": ("error", "teardown", "OSError", "OSError: cannot be closed"),
    "call_and_teardown": ("failed", "call", "KeyError", "KeyError: 'title'"),
    "skipped": ("skipped", "call", "Skipped", "Skipped: no network"),
    "expected": ("skipped", "call", "ValueError", "ValueError: known"),
    "unexpected": ("failed", "call", "Failed", "Failed: [XPASS(strict)]"),
    "warns": ("passed", "call", "ok", ""),
    "caused": ("failed", "call", "different loop", "LookupError: no report"),
    "hidden": ("failed", "call", "LookupError", "LookupError: no report"),
    "group": ("failed", "call", "different loop", "ExceptionGroup: two (2 sub-exceptions)"),
    "in_progress": (
        "failed",
        "call",
        "operation in progress",
        "ConnectionError: cannot perform operation: another operation",
    ),
    "closed": ("failed", "call", "loop closed", "RuntimeError: Event loop is closed"),
    "unprintable": ("failed", "call", "Silent", "Silent"),
    "words[\\xe4]": ("failed", "call", "AssertionError", "AssertionError: assert 'ä' == 'b'"),
    "words[b]": ("passed", "call", "ok", ""),
}

PAGES = {
    f"test_{name}.py": "def test_one(): pass\ndef test_two(): pass\ndef test_three(): pass"
    for name in ("reports", "users")
}

POOL = """
import os
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)

async def count():
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT count(*) FROM users"))).scalar_one()

@pytest.mark.asyncio
async def test_one(): assert await count() == 3

@pytest.mark.asyncio
async def test_two(): assert await count() == 3

@pytest.mark.asyncio
async def test_three():
    assert await count() == 3
    await engine.dispose()
"""


@pytest.fixture(scope="module")
def outcomes() -> SuiteRun:
    return run_suite({"tests/test_outcomes.py": OUTCOMES})


@pytest.fixture(scope="module")
def pool() -> SuiteRun:
    return run_suite({"test_pool.py": POOL}, trace=True)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_outcome(outcomes: SuiteRun, name: str) -> None:
    (test,) = [test for test in outcomes.tests if test.id == f"tests/test_outcomes.py::test_{name}"]
    outcome, phase, symptom, error = EXPECTED[name]
    assert (test.outcome, test.phase, test.symptom) == (outcome, phase, symptom)
    assert test.error.startswith(error) and bool(test.error) == bool(error)
    assert bool(test.traceback) == (outcome != "passed")


def test_a_run_as_a_whole(outcomes: SuiteRun) -> None:
    assert len(outcomes.tests) == len(EXPECTED)
    assert (
        outcomes.exit_code,
        outcomes.hung,
        outcomes.hung_test,
        outcomes.stacks,
        outcomes.sessions,
    ) == (1, False, None, "", ())
    assert set(outcomes.errors) == {
        f"tests/test_outcomes.py::test_{name}" for name in ("setup", "teardown")
    }
    assert len(outcomes.failed) == 10
    assert outcomes.warnings == ("DeprecationWarning: old spelling",)
    told = outcomes.as_json()
    assert list(told) == ["passed", "failed", "errors", "hung", "seconds"]
    assert told["failed"]["tests/test_outcomes.py::test_closed"] == "loop closed"
    assert 0 < sum(test.seconds for test in outcomes.tests) < outcomes.seconds
    assert "10 failed" in repr(outcomes)


def test_texts_show_no_place_of_this_machine(outcomes: SuiteRun) -> None:
    texts = [outcomes.output, *(test.traceback + test.error for test in outcomes.tests)]
    assert not [text for text in texts if tempfile.gettempdir() in text or sys.prefix in text]
    (traceback,) = [test.traceback for test in outcomes.tests if test.id.endswith("::test_closed")]
    assert (
        f'File "tests{os.sep}test_outcomes.py", line' in traceback
        and f'File "asyncio{os.sep}base_events.py", line' in traceback
    )


def test_a_test_result_is_no_test() -> None:
    assert TestResult.__test__ is False


def test_records_of_the_pool(pool: SuiteRun) -> None:
    assert pool.failed == {"test_pool.py::test_two": "different loop"}
    told = [
        (event.test[-3:], event.kind, event.record, event.loop, event.born_on)
        for event in pool.trace
    ]
    assert told == [
        ("one", "connect", 1, "loop 1", "loop 1"),
        ("one", "checkout", 1, "loop 1", "loop 1"),
        ("one", "checkin", 1, "loop 1", "loop 1"),
        # The pre-ping failed, so there is no checkout.
        ("two", "invalidate", 1, "loop 2", "loop 1"),
        ("two", "close", 1, "loop 2", ""),
        ("two", "checkin", 1, "loop 2", ""),
        ("ree", "connect", 1, "loop 3", "loop 3"),
        ("ree", "checkout", 1, "loop 3", "loop 3"),
        ("ree", "checkin", 1, "loop 3", "loop 3"),
        ("ree", "close", 1, "loop 3", "loop 3"),
        ("ree", "dispose", 0, "loop 3", ""),
    ]
    assert {event.phase for event in pool.trace} == {"call"}


def test_leftovers_are_the_sessions_after_the_last_test(pool: SuiteRun) -> None:
    # The one that the second test threw away could not be closed on a dead loop.
    assert 1 <= len(pool.leftovers) <= 2
    tidy = run_suite({"test_pool.py": POOL}, tests=["test_pool.py::test_three"])
    assert tidy.passed and tidy.leftovers == ()


def test_orders() -> None:
    default = [
        f"test_{file}.py::test_{name}"
        for file in ("reports", "users")
        for name in ("one", "two", "three")
    ]
    chosen = [default[4], default[0], default[3]]
    jobs = [
        {"order": order} for order in ("default", "reverse", "random:7", "random:7", "random:8")
    ] + [{"tests": chosen}]
    runs = run_suites([{"project": PAGES, **job} for job in jobs])
    ran = [[test.id for test in run.tests] for run in runs]
    assert ran[0] == default
    assert ran[1] == default[::-1]
    assert ran[2] == ran[3] == ordered(default, "random:7")
    assert ran[4] == ordered(default, "random:8")
    assert len({tuple(ids) for ids in (ran[0], ran[1], ran[2], ran[4])}) == 4
    assert sorted(ran[2]) == sorted(default)
    assert ran[5] == chosen


def test_each_test_alone() -> None:
    state = (
        "import os\ndef test_a(): os.environ['SEEN'] = '1'\ndef test_b(): assert 'SEEN' not in"
        " os.environ"
    )
    assert run_suite({"test_state.py": state}).failed
    alone = run_alone({"test_state.py": state})
    assert alone.passed == ["test_state.py::test_a", "test_state.py::test_b"]
    assert (alone.exit_code, alone.hung) == (0, False)


def test_the_suite_sees_its_own_surroundings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PYTEST_ADDOPTS": "--no-such-option",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTHONWARNINGS": "error",
        "PYTHONASYNCIODEBUG": "1",
        "CI": "1",
        "PGHOST": "nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    text = """
    import asyncio, os, sys, threading
    def test_surroundings(request):
        left = [name for name in os.environ if name.startswith(("PYTEST_A", "PYTEST_P", "PYTEST_X", "PYTHONW", "PYTHONA", "PG"))]
        assert left == [] and "CI" not in os.environ
        assert os.environ["COLOUR"] == "blue"
        assert threading.active_count() == 1
        assert sys.stdin is None or not sys.stdin.isatty()
        plugins = request.config.pluginmanager
        assert [name for name in ("asyncio", "anyio", "timeout", "xdist", "cacheprovider") if plugins.has_plugin(name)] == ["asyncio", "timeout"]
    def test_database():
        import psycopg
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            assert connection.execute("SELECT count(*) FROM reports").fetchone() == (6,)
        print(os.environ["DATABASE_URL"])
        assert not os.environ["DATABASE_URL"], os.environ["DATABASE_URL"]
    """
    run = run_suite(
        {"test_here.py": text}, environment={"COLOUR": "blue"}, options=("-p", "no:anyio")
    )
    assert run.passed == ["test_here.py::test_surroundings"], run.output
    (test,) = [test for test in run.tests if test.outcome == "failed"]
    with scratch_database() as scratch:
        password = scratch.url.split(":")[2].split("@")[0]
    assert "DATABASE_URL" in test.traceback and "***" in test.error
    assert password not in run.output + test.traceback + test.error


def test_a_configuration_above_does_not_reach_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('from above')\n")
    assert run_suite({"test_a.py": "def test_a(): pass"}).passed == ["test_a.py::test_a"]
    # The project's own counts.
    own = {
        "pytest.ini": "[pytest]\npython_functions = check_*",
        "test_a.py": "def check_a(): pass\ndef test_a(): pass",
    }
    assert run_suite(own).passed == ["test_a.py::check_a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conftest.py", "pytest.ini"]


def test_a_schema_of_its_own() -> None:
    text = """
    import os, psycopg
    def test_tables():
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert names == [("users",)]
    """
    project = {
        "test_schema.py": text,
        "schema.sql": "CREATE TABLE users (email text); CREATE INDEX ON users (email);",
    }
    assert run_suite(project).passed
    with pytest.raises(Problem, match="syntax error"):
        run_suite(project | {"schema.sql": "CREATE TABEL users ()"})


def test_while_the_callers_loop_runs() -> None:
    async def call() -> SuiteRun:
        return run_suite(PAGES)

    assert len(asyncio.run(call()).passed) == 6


def test_two_at_once_keep_apart_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = """
    import os, subprocess, sys, time, psycopg
    def test_alone():
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            connection.execute("INSERT INTO users (name) VALUES ('ravi')")
        time.sleep(1)
        with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (4,)
            print("my database:", connection.info.dbname)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    """
    seen: list[SuiteRun] = []
    threads = set(threading.enumerate())
    runs = run_suites(
        [{"project": {"test_two.py": text}, "options": ["-s", "-W", "ignore"]}] * 2,
        done=seen.append,
    )
    assert [len(run.passed) for run in runs] == [1, 1] and sorted(map(id, seen)) == sorted(
        map(id, runs)
    )
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= threads
    assert not [
        c
        for c in psutil.process_iter(["cmdline"])
        if "import time; time.sleep(99)" in (c.info["cmdline"] or ())
    ]
    databases = {run.output.split("my database: ")[1].split()[0] for run in runs}
    with (
        scratch_database() as scratch,
        psycopg.connect(scratch.url.replace("+asyncpg", "")) as connection,
    ):
        assert len(databases) == 2
        assert (
            connection.execute(
                "SELECT datname FROM pg_database WHERE datname = ANY(%s)", [list(databases)]
            ).fetchall()
            == []
        )


def test_one_that_cannot_run_ends_the_others() -> None:
    slow = {"project": {"test_slow.py": "import time\ndef test_slow(): time.sleep(99)"}}
    with pytest.raises(Problem, match="no project folder"):
        run_suites([slow, {"project": "/no/such"}])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"project": {}}, "The project is empty"),
        ({"project": "/no/such/project"}, "There is no project folder"),
        ({"project": {"../up.py": ""}}, "is no file below the project"),
        ({"project": {"up\0.py": ""}}, "is no file below the project"),
        (
            {"project": {"tests": "", "tests/test_a.py": ""}},
            "cannot be copied for a run: project.tests\nIt says: ",
        ),
        (
            {"order": "sideways"},
            "There is no order 'sideways'; there are: default, reverse, random:SEED",
        ),
        ({"order": "random:x"}, "There is no order 'random:x'"),
        ({"limit": 0}, "a number of seconds above 0"),
        ({"tests": "test_reports.py"}, "lists of words"),
        ({"tests": ["test_reports.py::test_nine"]}, r"not found: test_reports\.py::test_nine"),
        ({"options": ["--no-such-option"]}, "unrecognized arguments: --no-such-option"),
        ({"options": ["-k", "nothing"]}, "collected none"),
        (
            {"project": {"conftest.py": "import no_such_module", "test_a.py": ""}},
            "No module named 'no_such_module'",
        ),
        (
            {"project": {"conftest.py": "def (", "test_a.py": ""}},
            "It says: SyntaxError: invalid syntax",
        ),
        (
            {
                "project": {
                    "conftest.py": "def pytest_runtestloop(): raise LookupError('lost')",
                    "test_a.py": "def test(): 0",
                }
            },
            "lost",
        ),
        ({"python": "/no/such/python"}, "The interpreter .* cannot be started: no such file"),
    ],
)
def test_what_cannot_run_is_said_in_a_few_lines(arguments: dict, message: str) -> None:
    with pytest.raises(Problem, match=message) as caught:
        run_suite(**{"project": PAGES, **arguments})
    assert len(str(caught.value).splitlines()) <= 3


def test_a_file_that_cannot_be_imported_is_an_error_of_that_file() -> None:
    run = run_suite({"test_bad.py": "import no_such_module", "test_good.py": "def test_a(): pass"})
    assert run.errors == {"test_bad.py": "ModuleNotFoundError"}
    (test,) = run.tests
    assert (test.phase, test.error) == (
        "collection",
        "ModuleNotFoundError: No module named 'no_such_module'",
    )


def test_a_process_that_dies_has_said_what_it_did() -> None:
    run = run_suite(
        {
            "test_dies.py": (
                "import os\ndef test_a(): pass\ndef test_b(): os._exit(7)\ndef test_c(): pass"
            )
        }
    )
    assert run.passed == ["test_dies.py::test_a"]
    assert run.failed == {"test_dies.py::test_b": "process ended"}
    assert run.exit_code == 7 and run.not_run == ("test_dies.py::test_c",)


def test_much_output_is_cut_in_the_middle() -> None:
    text = "def test_a():\n    for _ in range(2000): print('x' * 100_000)\n    print('the end')"
    run = run_suite({"test_loud.py": text}, options=["-s"])
    assert run.passed and len(run.output) < 1_100_000
    assert (
        "test session starts" in run.output
        and "the end" in run.output
        and "bytes are left out" in run.output
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
def test_a_suite_may_take_its_own_folder_away() -> None:
    text = "import os, shutil\ndef test_a(): shutil.rmtree(os.path.dirname(os.getcwd()))"
    assert run_suite({"test_a.py": text}).passed == ["test_a.py::test_a"]


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
def test_an_interpreter_that_is_none_may_say_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = tmp_path / "python"
    strange.write_text("#!/bin/sh\necho '{}'\necho 7\n")
    strange.chmod(0o755)
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    with pytest.raises(Problem, match="could not run the suite"):
        run_suite(PAGES, python=strange)
    assert died == []


def test_two_files_of_one_name_are_explained() -> None:
    run = run_suite({"api/test_a.py": "def test_a(): pass", "core/test_a.py": "def test_a(): pass"})
    (refused,) = run.tests
    assert (refused.symptom, refused.error) == (
        "CollectError",
        "CollectError: import file mismatch",
    )


def test_a_mark_that_nobody_declared_is_named() -> None:
    run = run_suite(
        {
            "pytest.ini": "[pytest]\naddopts = --strict-markers\n",
            "test_report.py": "import pytest\n@pytest.mark.slow\ndef test_title(): pass\n",
        }
    )
    (refused,) = run.tests
    assert (refused.outcome, refused.phase, refused.symptom) == (
        "error",
        "collection",
        "CollectError",
    )
    assert refused.error == "CollectError: 'slow' not found in `markers` configuration option"
