"""The guard in suites of its own: what crosses is named, what does not is left alone, and nothing
else changes.

Each project below holds several situations, a file each; they run once, and the tests share what
they gave.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loopbound.suite import SuiteRun, run_suites
from loopbound.suite.cases import Case, cases

DB = """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
URL = os.environ["DATABASE_URL"]
async def ask(engine):
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar()
"""
ENGINE = """
from db import *
engine = create_async_engine(URL)
"""
AUTO = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"

# On loops of their own: each of these files crosses.
CROSSING = {
    "pytest.ini": AUTO,
    "db.py": DB,
    "test_row.py": f"""{ENGINE}
async def test_1(): assert await ask(engine) == 1
async def test_2(): assert await ask(engine) == 1
async def test_3(): assert await ask(engine) == 1
""",
    "test_ping.py": """
from db import *
engine = create_async_engine(URL, pool_pre_ping=True)
async def test_1(): assert await ask(engine) == 1
async def test_2(): assert await ask(engine) == 1
""",
    "test_swallowed.py": f"""{ENGINE}
import contextlib
async def test_1(): assert await ask(engine) == 1
async def test_2():
    with contextlib.suppress(Exception):
        await ask(engine)
""",
    "test_queue.py": """
import asyncio
Q = asyncio.Queue()
async def hand_over():
    task = asyncio.create_task(Q.get())
    await asyncio.sleep(0)
    Q.put_nowait(1)
    await task
async def test_1(): await hand_over()
async def test_2(): await hand_over()
""",
    "test_runs.py": f"""{ENGINE}
import asyncio
def test_1(): assert asyncio.run(ask(engine)) == 1
def test_2(): assert asyncio.run(ask(engine)) == 1
""",
    "test_portal.py": f"""{ENGINE}
from fastapi import FastAPI
from fastapi.testclient import TestClient
app = FastAPI()
@app.get("/")
async def one(): return await ask(engine)
def test_1():
    client = TestClient(app)
    assert client.get("/").json() == 1
    assert client.get("/").json() == 1
""",
    "test_portal_pool.py": """
import asyncpg
from db import URL
from fastapi import FastAPI
from fastapi.testclient import TestClient
app, pools = FastAPI(), []
@app.get("/")
async def one():
    if not pools: pools.append(await asyncpg.create_pool(URL.replace("+asyncpg", ""), min_size=1))
    return await pools[0].fetchval("SELECT 1")
def test_1():
    client = TestClient(app)
    assert client.get("/").json() == 1
    assert client.get("/").json() == 1
""",
    "test_library.py": """
import asyncio, psycopg
from db import URL
held = []
async def ask():
    rows = await held[0].execute("SELECT 1")
    return await rows.fetchone()
async def test_1():
    held.append(await psycopg.AsyncConnection.connect(URL.replace("+asyncpg", "")))
    await asyncio.gather(ask(), ask())
async def test_2():
    await asyncio.gather(ask(), ask())
""",
    "test_thread.py": f"""{ENGINE}
import asyncio, sys, threading, traceback
def work(waits):
    while not any(frame.f_code.co_name == "join" for frame, _ in
                  traceback.walk_stack(sys._current_frames()[waits])):
        threading.Event().wait(0.001)
    asyncio.run(ask(engine))
async def test_1():
    await ask(engine)
    thread = threading.Thread(target=work, args=[threading.get_ident()])
    thread.start()
    thread.join()  # this loop is awake and waits: two threads at once on one connection may crash
""",
    "test_session.py": f"""{ENGINE}
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session():
    session = AsyncSession(engine)
    yield session
    await session.rollback()
async def test_1(session):
    await session.execute(text("SELECT 1"))
""",
    "test_open_session.py": f"""{ENGINE}
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool
engine = create_async_engine(URL, poolclass=NullPool)
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session():
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT 1"))
        yield session
async def test_1(session):
    await session.execute(text("SELECT 1"))
""",
    "test_fixture.py": f"""{ENGINE}
import pytest_asyncio
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rows():
    await ask(engine)
async def test_1(rows): assert await ask(engine) == 1
""",
    "test_asyncpg.py": """
import asyncpg
import pytest_asyncio
from db import URL
PLAIN = URL.replace("+asyncpg", "")
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool():
    pool = await asyncpg.create_pool(PLAIN, min_size=1, max_size=2)
    yield pool
    pool.terminate()
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def connection():
    connection = await asyncpg.connect(PLAIN)
    yield connection
    connection.terminate()
async def test_pool(pool): assert await pool.fetchval("SELECT 1") == 1
async def test_connection(connection): assert await connection.fetchval("SELECT 1") == 1
""",
    "test_mixed.py": f"""{ENGINE}
import asyncio
async def test_1(): assert await ask(engine) == 1
def test_2(): assert asyncio.run(ask(engine)) == 1
""",
    "test_pool_queue.py": """
from db import *
import asyncio
engine = create_async_engine(URL, pool_size=1, max_overflow=0)
async def test_1():
    await asyncio.gather(ask(engine), ask(engine))
    async with engine.connect() as connection:
        await connection.invalidate()
async def test_2():
    await asyncio.gather(ask(engine), ask(engine))
""",
    "test_unittest.py": f"""{ENGINE}
import unittest
class TestRows(unittest.IsolatedAsyncioTestCase):
    async def test_1(self): assert await ask(engine) == 1
    async def test_2(self): assert await ask(engine) == 1
""",
    "test_marks.py": f"""{ENGINE}
import contextlib
import pytest
async def test_1(): assert await ask(engine) == 1
@pytest.mark.loop_guard("off")
async def test_off():
    with contextlib.suppress(Exception):
        await ask(engine)
@pytest.mark.loop_guard("warn")
async def test_warn():
    with contextlib.suppress(Exception):
        await ask(engine)
@pytest.mark.xfail(raises=AssertionError)
async def test_wrong(): assert False
""",
}

# test → kind, a cure's name, what is made where, and further words of the four lines
NAMED = {
    "test_row.py::test_2": ("engine-in-a-row", "session-loop", "test_row.py:2", "by a query"),
    "test_row.py::test_3": (
        "engine-in-a-row",
        "session-loop",
        "test_row.py:2",
        "in test_row.py::test_1 (call)",
    ),
    "test_ping.py::test_2": ("engine-in-a-row", "session-loop", "test_ping.py:2", "by the ping"),
    "test_swallowed.py::test_2": (
        "engine-in-a-row",
        "session-loop",
        "test_swallowed.py:2",
        "in test_swallowed.py::test_2 (call), at db.py:7",
    ),
    "test_queue.py::test_2": (
        "contended-primitive",
        "make-inside",
        "test_queue.py:2",
        "asyncio.Queue",
    ),
    "test_runs.py::test_2": ("engine-in-a-row", "dispose", "test_runs.py:2", "(asyncio.run)"),
    "test_portal.py::test_1": ("engine-in-a-row", "client-with", "test_portal.py:2", "TestClient"),
    "test_portal_pool.py::test_1": (
        "asyncpg-pool",
        "client-with",
        "test_portal_pool.py:8",
        "TestClient",
    ),
    "test_library.py::test_2": (
        "contended-primitive",
        "make-inside",
        "test_library.py:8",
        "the asyncio.Lock of psycopg made at",
    ),
    "test_thread.py::test_1": (
        "two-awake-loops",
        "own-engine",  # the owner's loop cannot do the work: its thread waits for it
        "test_thread.py:2",
        "that loop still runs, but its thread waits for another one",
    ),
    "test_session.py::test_1": (
        "session-object",
        "session-per-use",
        "test_session.py:2",
        "its session was made in test_session.py::test_1 (setup), fixture session (module)",
    ),
    "test_open_session.py::test_1": (
        "session-object",
        "session-per-use",
        "test_open_session.py:7",
        "fixture session (module)",
    ),
    "test_fixture.py::test_1": (
        "fixture-and-test",
        "same-loop-scope",
        "test_fixture.py:2",
        "fixture rows (module)",
    ),
    "test_asyncpg.py::test_pool": (
        "asyncpg-pool",
        "client-per-test",
        "test_asyncpg.py:7",
        "asyncpg.Pool",
    ),
    "test_asyncpg.py::test_connection": (
        "session-object",
        "session-per-use",
        "asyncpg.connect",
        "fixture connection (module)",
    ),
    "test_mixed.py::test_2": ("engine-in-a-row", "null-pool", "test_mixed.py:2", "(asyncio.run)"),
    "test_pool_queue.py::test_2": (
        "engine-in-a-row",
        "session-loop",
        "queue of an engine's pool made at test_pool_queue.py:3",
        "by a wait",
    ),
    "test_unittest.py::TestRows::test_2": (
        "engine-in-a-row",
        "null-pool",
        "test_unittest.py:2",
        "(unittest)",
    ),
    "test_marks.py::test_off": None,
    "test_marks.py::test_warn": (
        "engine-in-a-row",
        "session-loop",
        "test_marks.py:2",
        "by a query",
    ),
}
# What the same suite gives without the guard, where that is another outcome.
PASSES_WITHOUT = {"test_swallowed.py::test_2", "test_thread.py::test_1"}

# On loops of their own, and nothing is wrong.
QUIET = {
    "pytest.ini": AUTO,
    "db.py": DB,
    "test_pools.py": """
from db import *
from sqlalchemy.pool import NullPool
null = create_async_engine(URL, poolclass=NullPool)
disposed = create_async_engine(URL)
async def test_1(): assert await ask(null) == 1
async def test_2(): assert await ask(null) == 1
async def test_3():
    await ask(disposed)
    await disposed.dispose()
async def test_4():
    await ask(disposed)
    await disposed.dispose()
""",
    "test_invalidated.py": f"""{ENGINE}
async def test_1():
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.invalidate()
        await connection.rollback()
        await connection.execute(text("SELECT 1"))
    await engine.dispose()
""",
    "test_engine_fixture.py": """
from db import *
import pytest_asyncio
@pytest_asyncio.fixture
async def engine():
    engine = create_async_engine(URL)
    yield engine
    await engine.dispose()
async def test_1(engine): assert await ask(engine) == 1
async def test_2(engine): assert await ask(engine) == 1
""",
    "test_sync_dispose.py": f"""{ENGINE}
import pytest
@pytest.fixture(autouse=True)
def disposed():
    yield
    engine.sync_engine.dispose()
async def test_1(): assert await ask(engine) == 1
async def test_2(): assert await ask(engine) == 1
""",
    "test_primitives.py": """
import asyncio
L, E = asyncio.Lock(), asyncio.Event()
async def test_1():
    async with L: E.set()
async def test_2():
    async with L: await E.wait()
""",
    "test_lenient.py": """
from db import *
psycopg = create_async_engine(URL.replace("+asyncpg", "+psycopg"))
sqlite = create_async_engine("sqlite+aiosqlite:///x.db")
async def test_1(): assert (await ask(psycopg), await ask(sqlite)) == (1, 1)
async def test_2(): assert (await ask(psycopg), await ask(sqlite)) == (1, 1)
""",
    "test_dispose_elsewhere.py": f"""{ENGINE}
import asyncio
def test_1():
    asyncio.run(ask(engine))
    asyncio.run(engine.dispose())
    assert asyncio.run(ask(engine)) == 1
""",
    "test_portal.py": f"""{ENGINE}
from fastapi import FastAPI
from fastapi.testclient import TestClient
app = FastAPI()
@app.get("/")
async def one(): return await ask(engine)
def test_1():
    with TestClient(app) as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 1, 1]
""",
    "test_portal_pool.py": """
import contextlib
import asyncpg
from db import URL
from fastapi import FastAPI
from fastapi.testclient import TestClient
@contextlib.asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(URL.replace("+asyncpg", ""), min_size=1) as app.state.pool:
        yield
app = FastAPI(lifespan=lifespan)
@app.get("/")
async def one(): return await app.state.pool.fetchval("SELECT 1")
def test_1():
    with TestClient(app) as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 1, 1]
def test_2(): test_1()
""",
    "test_session.py": """
from db import *
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool
engine = create_async_engine(URL, poolclass=NullPool)
@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def session():
    yield AsyncSession(engine)
async def test_1(session):
    async with session: await session.execute(text("SELECT 1"))
""",
    "pages.py": """
def title():
    \"\"\"
    >>> title()
    'Reports'
    \"\"\"
    return "Reports"
""",
}

SESSION = AUTO.replace("= function", "= session")
ROW = {"db.py": DB, "test_row.py": CROSSING["test_row.py"]}
HALF = {
    **ROW,
    "pytest.ini": SESSION,
    "test_wide.py": f"""{ENGINE}
import pytest_asyncio
@pytest_asyncio.fixture(scope="session")
async def rows():
    await ask(engine)
async def test_1(rows): assert await ask(engine) == 1
""",
    "test_session_loop.py": f"""{ENGINE}
import pytest_asyncio
@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def connection():
    async with engine.connect() as connection: yield connection
async def test_1(connection): await connection.execute(text("SELECT 1"))
""",
    "test_portals.py": f"""{ENGINE}
from anyio.from_thread import start_blocking_portal
def test_1():
    for _ in range(2):
        with start_blocking_portal() as portal: portal.call(ask, engine)
""",
}
BOTH = {**ROW, "pytest.ini": SESSION + "asyncio_default_test_loop_scope = session\n"}
ANYIO = {
    "pytest.ini": "[pytest]\n",
    "db.py": DB,
    "conftest.py": """
import pytest
@pytest.fixture(scope="session")
def anyio_backend(): return "asyncio"
""",
    "test_row.py": "import pytest\npytestmark = pytest.mark.anyio\n" + CROSSING["test_row.py"],
}
# Nothing crosses here, and the failures are of this family all the same.
OTHERS = {
    "pytest.ini": AUTO,
    "test_scope.py": """
import pytest_asyncio
@pytest_asyncio.fixture(scope="session")
async def rows(): return 1
async def test_1(rows): assert rows == 1
""",
    "test_plain.py": "def test_1(): assert 'pages' == 'page'\n",
}
# The guard itself fails, where it finds words.
BROKEN = {
    **{
        name: CROSSING[name] for name in ("pytest.ini", "db.py", "test_row.py", "test_swallowed.py")
    },
    "conftest.py": "from loopbound.guard import words\nwords.Words.lines = None\n",
}
# A lock that a test leaves behind, on a loop that has gone.
LEFT = {
    "pytest.ini": AUTO + "timeout = 300\n",
    "db.py": DB,
    "schema.sql": "CREATE TABLE pages (title text)",
    "test_left.py": f"""{ENGINE}
held = []
async def test_holds():
    held.append(await engine.connect())
    await held[0].execute(text("LOCK TABLE pages"))
def test_waits():
    import psycopg
    with psycopg.connect(URL.replace("+asyncpg", "")) as connection:
        connection.execute("SET lock_timeout = '200ms'")
        connection.execute("TRUNCATE pages")
""",
}
# Of the catalogue's cases those in which something crosses that the guard sees.
CASES = [
    case
    for case in cases().values()
    if case.tests
    and not case.client
    and case.kind in {
        "engine-in-a-row",
        "fixture-and-test",
        "session-object",
        "contended-primitive",
        "sync-test-async-fixture",
    }
    and "ScopeMismatch" not in case.signs
]  # fmt: skip
PROJECTS: dict[str, tuple[Mapping[str, str] | Path, list[str]]] = {
    **{case.name: (case.folder, ["-o", "asyncio_mode=auto", *case.words]) for case in CASES},
    "crossing": (CROSSING, []),
    "unguarded": (CROSSING, ["-o", "loop_guard=off"]),
    "warned": (
        {**CROSSING, "pytest.ini": AUTO + "filterwarnings = error\nloop_guard = warn\n"},
        ["test_swallowed.py", "test_row.py"],
    ),
    "quiet": (QUIET, ["--doctest-modules"]),
    "half": (HALF, []),
    "both": (BOTH, []),
    "anyio": (ANYIO, ["-p", "no:asyncio"]),
    "others": (OTHERS, []),
    "broken": (BROKEN, []),
    "left": (LEFT, []),
}


class Guarded:
    """A project's run, and the report that the guard wrote."""

    def __init__(self, run: SuiteRun, report: Path) -> None:
        self.run = run
        self.report: dict[str, Any] = (
            json.loads(report.read_text("utf-8")) if report.is_file() else {}
        )
        self.by_test = {each["test"]: each for each in self.report.get("crossings", ())}

    @property
    def outcomes(self) -> dict[str, str]:
        """Test → outcome; one in two phases has the later one."""
        return {test.id: test.outcome for test in self.run.tests}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Guarded]:
    """Each project's run."""
    folder = tmp_path_factory.mktemp("reports")
    jobs = []
    for name, (files, options) in PROJECTS.items():
        asked = [] if name in ("unguarded", "warned") else ["--loop-guard"]
        if name != "unguarded":
            asked.append(f"--loop-guard-report={folder / name}.json")
        jobs.append(
            {"project": files, "options": ["-p", "loopbound.guard.plugin", *asked, *options]}
        )
    done = run_suites(jobs)
    return {
        name: Guarded(run, folder / f"{name}.json")
        for name, run in zip(PROJECTS, done, strict=True)
    }


@pytest.mark.parametrize("test", NAMED)
def test_a_crossing_is_named_where_it_happens(test: str, runs: dict[str, Guarded]) -> None:
    found = runs["crossing"].by_test.get(test)
    expected = NAMED[test]
    if expected is None:
        assert found is None
        return
    assert found is not None, runs["crossing"].run.output
    kind, cure, made, words = expected
    said = "\n".join(found["lines"])
    assert (found["kind"], found["cure"].partition(":")[0]) == (kind, cure)
    assert made in found["object"]
    assert words in said
    assert [line.partition(":")[0] for line in found["lines"]] == ["born", "used", "object", "cure"]
    assert said in runs["crossing"].run.output or test == "test_marks.py::test_warn"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_catalogue_gets_its_kind_and_one_of_its_cures(
    case: Case, runs: dict[str, Guarded]
) -> None:
    found = runs[case.name].report["crossings"]
    assert found and {each["cure"].partition(":")[0] for each in found} <= set(case.cures)
    if case.kind != "sync-test-async-fixture":  # there the test that crosses is a later one
        assert {each["kind"] for each in found} == {case.kind}


def test_nothing_else_crosses(runs: dict[str, Guarded]) -> None:
    assert set(runs["crossing"].by_test) == {test for test, named in NAMED.items() if named}
    assert runs["crossing"].report["guard_failed"] == ""


def test_no_outcome_changes_but_by_the_guards_own_error(runs: dict[str, Guarded]) -> None:
    without, guarded = runs["unguarded"].outcomes, runs["crossing"].outcomes
    changed = {test for test in without if without[test] != guarded[test]}
    assert changed == PASSES_WITHOUT
    (failed,) = [t for t in runs["crossing"].run.tests if t.id == "test_swallowed.py::test_2"]
    assert (failed.outcome, failed.symptom) == ("failed", "LoopCrossing")
    assert "loop guard" not in runs["unguarded"].run.output


def test_a_warning_changes_nothing_even_where_warnings_are_errors(runs: dict[str, Guarded]) -> None:
    run = runs["warned"].run
    assert runs["warned"].outcomes["test_swallowed.py::test_2"] == "passed"
    assert "LoopCrossingWarning: test_swallowed.py::test_2: a loop crossing\n" in run.output
    assert len(runs["warned"].report["crossings"]) == 3


def test_a_guard_that_fails_itself_goes_on(runs: dict[str, Guarded]) -> None:
    broken, whole = runs["broken"], runs["crossing"].outcomes
    assert broken.outcomes == {test: whole[test] for test in broken.outcomes}
    assert len(broken.outcomes) == 5 and "LoopCrossing: a loop crossing" in broken.run.output
    assert (
        "The guard itself failed once, so it may have missed one: TypeError: " in broken.run.output
    )


def test_what_is_right_is_left_alone(runs: dict[str, Guarded]) -> None:
    quiet = runs["quiet"]
    assert set(quiet.outcomes.values()) == {"passed"}
    assert "pages.py::pages.title" in quiet.outcomes
    assert (quiet.report["crossings"], quiet.report["guard_failed"]) == ([], "")
    # What gets away with it is a note, and so is a dispose on another loop.
    assert {
        (note["test"], note["object"].rpartition("(")[2], note["kind"])
        for note in quiet.report["notes"]
    } == {
        ("test_lenient.py::test_2", "postgresql+psycopg)", "engine-in-a-row"),
        ("test_lenient.py::test_2", "sqlite+aiosqlite)", "engine-in-a-row"),
        ("test_dispose_elsewhere.py::test_1", "postgresql+asyncpg)", "dispose-elsewhere"),
    }


def test_the_cure_is_that_of_the_configuration(runs: dict[str, Guarded]) -> None:
    half = runs["half"].by_test["test_row.py::test_2"]["cure"]
    assert "both to session in pytest.ini (now: fixtures session, tests function)" in half
    assert re.search(r"\[pytest-asyncio [\d.]+ is here\]", half)
    wide = runs["half"].by_test["test_wide.py::test_1"]
    assert (wide["kind"], wide["cure"]) == ("fixture-and-test", half)
    # The fixture's own loop_scope is the one that the options give to all.
    connection = runs["half"].by_test["test_session_loop.py::test_1"]
    assert (connection["kind"], connection["cure"]) == ("session-object", half)
    # A portal without a TestClient has none that could stand in a with statement.
    assert runs["half"].by_test["test_portals.py::test_1"]["cure"].startswith("null-pool: ")
    assert runs["both"].report["crossings"] == [] and len(runs["both"].report["loops"]) == 1
    anyio = runs["anyio"].by_test["test_row.py::test_2"]
    assert anyio["cure"].startswith("anyio-one-loop: a session-scoped async autouse fixture")
    assert "(anyio's plugin)" in anyio["lines"][1]


def test_a_failure_without_a_crossing_is_explained_if_it_is_one_of_these(
    runs: dict[str, Guarded],
) -> None:
    others = runs["others"]
    assert others.report["crossings"] == []
    assert set(others.report["explained"]) == {"test_scope.py::test_1"}
    assert (
        "fixture and test on different loops" in others.report["explained"]["test_scope.py::test_1"]
    )


def test_a_transaction_that_was_left_open_explains_who_waits_for_it(
    runs: dict[str, Guarded],
) -> None:
    left = runs["left"]
    assert left.outcomes == {
        "test_left.py::test_holds": "passed",
        "test_left.py::test_waits": "failed",
    }
    said = left.report["explained"]["test_left.py::test_waits"]
    assert "in test_left.py::test_holds (call)" in said and "[open-transaction]" in said


def test_the_end_has_a_table_and_the_loops_over_the_tests(runs: dict[str, Guarded]) -> None:
    output = runs["anyio"].run.output
    assert "2 crossings in 2 of 3 tests (3 loops)\n" in output
    assert "   2 × a connection of the engine made at test_row.py:5" in output
    assert "cure for the suite (2 of 2 crossings): anyio-one-loop: " in output
    rows = re.findall(r"^  loop (\d) anyio's plugin  (\S+)$", output, re.MULTILINE)
    assert rows == [("1", "o··"), ("2", "·x·"), ("3", "··x")]
    many = re.findall(r"^  loop \d+ .*  ([ox·]+)$", runs["crossing"].run.output, re.MULTILINE)
    assert len(many) == 12 and sum("x" in row for row in many) >= 6, "those that tell of a crossing"
    # Each file has a cure of its own; one line holds for the most of them.
    found = runs["crossing"].report["crossings"]
    times, of, cure = re.search(
        r"cure for the suite \((\d+) of (\d+) crossings\): (.+)", runs["crossing"].run.output
    ).groups()
    counts = Counter(line for each in found for line in each["cures"])
    assert (counts[cure], len(found)) == (int(times), int(of))
    assert counts[cure] == max(counts.values()) > 1
