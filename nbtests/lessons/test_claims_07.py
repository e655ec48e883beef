"""What lessons 07 and 07d say about dispose, and about the incident documents' first recipe,
executed.
"""

import asyncio
import gc
import os
import subprocess
import sys
import threading

import pytest
from claims import claim
from cures.disposing import ask, hold_two, sessions, sockets
from patience import LONG
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from loopbound import NamedLoop, Recorder, scratch_database
from loopbound.suite import BACKEND, run_suite, run_suites

FIXES = BACKEND / "fixes"
FORBIDDEN = "tests/api/test_status.py::test_get_status_forbidden"


@pytest.fixture
def db():
    with scratch_database("claim") as database:
        gc.disable()  # what nobody closes stays to be seen
        yield database
        gc.enable()


class Sides:
    """The connections between this process and a scratch database, as either side sees them."""

    def __init__(self, db):
        self.db = db
        self.others = sockets(db)

    def look(self):
        """(sessions that the server sees, sockets that this process has), after a while for
        goodbyes.
        """
        return sessions(self.db), sockets(self.db) - self.others


WAYS = {
    # name: (dispose, words in the pool's log, at once, after a collection, after A was closed)
    "own loop": (lambda A, B, engine: A.run(engine.dispose()), None, (0, 0), (0, 0), (0, 0)),
    "other loop": (lambda A, B, engine: B.run(engine.dispose()), "different loop", (0, 2), (0, 2), (0, 0)),
    "other loop, then the owner": (
        lambda A, B, engine: (B.run(engine.dispose()), A.run(asyncio.sleep(0))), "different loop", (0, 0), (0, 0), (0, 0),
    ),
    "owner closed": (
        lambda A, B, engine: (A.close(), B.run(engine.dispose())), "Event loop is closed", (0, 2), (0, 0), (0, 0),
    ),
    "close=False": (lambda A, B, engine: (A.close(), B.run(engine.dispose(close=False))), None, (2, 2), (0, 0), (0, 0)),
    "sync": (lambda A, B, engine: (A.close(), engine.sync_engine.dispose()), "MissingGreenlet", (2, 2), (0, 0), (0, 0)),
    "sync, close=False": (
        lambda A, B, engine: (A.close(), engine.sync_engine.dispose(close=False)), None, (2, 2), (0, 0), (0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_every_way_swaps_the_pool_and_only_the_owner_closes_its_connections(db, name):
    dispose, words, *expected = WAYS[name]
    sides = Sides(db)
    with Recorder() as log, NamedLoop("A") as A, NamedLoop("B") as B:
        engine = create_async_engine(db.url)
        log.watch(engine)
        A.run(hold_two(engine))
        old, seen = engine.pool, []
        assert (old.checkedin(), len(db.sessions()), sockets(db) - sides.others) == (2, 2, 2)
        dispose(A, B, engine)
        assert engine.pool is not old and engine.pool.checkedin() == 0
        del old
        for step in (int, gc.collect, A.close):
            step()
            seen.append(sides.look())
        assert B.run(ask(engine)) == "ok"
        B.run(engine.dispose())
    logged = [event.text for event in log.events if event.kind == "logged"]
    assert seen == expected
    assert len(logged) == (2 if words else 0) and all(words in line for line in logged)


def test_beside_an_owner_that_is_awake_no_socket_stays(db):
    sides, done = Sides(db), threading.Event()

    async def stay_awake():
        while not done.is_set():
            await asyncio.sleep(0.01)

    engine = create_async_engine(db.url)
    with Recorder(engine), NamedLoop("A") as A, NamedLoop("B") as B:
        A.run(hold_two(engine))
        awake = threading.Thread(target=lambda: A.run(stay_awake()))
        awake.start()
        B.run(engine.dispose())
        done.set()
        awake.join()
        assert sides.look() == (0, 0)


FORKED = """
import asyncio, gc, logging, os, sys, time
import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

url, way = sys.argv[1:]
logging.disable()  # the pool logs what it cannot close
engine = create_async_engine(url)

async def session(seconds):
    async with asyncio.timeout(seconds), engine.connect() as connection:
        return await connection.scalar(text("select pg_backend_pid()"))

async def in_the_child():
    if way != "before the fork":
        await engine.dispose(close=way == "in the child")
        gc.collect()
    return await session(60)

def is_there():
    with psycopg.connect(url.replace("+asyncpg", "")) as connection:
        asked = connection.execute("select count(*) from pg_stat_activity where pid = %s", [first])
        return asked.fetchone()[0] == 1

parent = asyncio.Runner()
first = parent.run(session(60))
if way == "before the fork":
    parent.run(engine.dispose())
child = os.fork()
if not child:
    os._exit(asyncio.run(in_the_child()) == first)  # 0: it connected afresh
assert os.waitpid(child, 0)[1] == 0
while is_there():  # its first session ends each time: what differs is who ended it
    time.sleep(0.05)
try:
    answer = parent.run(session(60 if way == "before the fork" else 2)) and "the parent goes on"
except Exception:
    answer = "the parent fails"
print(answer, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("before the fork", "the parent goes on"),
        ("in the child", "the parent fails"),
        pytest.param(
            "close=False",
            "the parent fails",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux alone"),
        ),
    ],
)
def test_dispose_before_a_fork_for_in_the_child_it_harms_the_parent(way, said):
    """After close=False the child's collector finds the connection, whose loop is open there too,
    and terminates it.
    """
    with scratch_database("claim") as db:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKED, db.url, way],
            capture_output=True,
            text=True,
            timeout=LONG,
        )
    assert (ended.stdout.strip(), ended.returncode) == (said, 0), ended.stderr


def test_without_a_dispose_the_next_loop_fails(db):
    engine = create_async_engine(db.url)
    with Recorder(engine), NamedLoop("A") as A, NamedLoop("B") as B:
        A.run(hold_two(engine))
        with pytest.raises(RuntimeError, match="different loop"):
            B.run(ask(engine))
        engine.sync_engine.dispose(close=False)


def test_a_connection_in_use_is_left_alone_and_goes_back_to_the_old_pool(db):
    async def while_held(engine):
        async with engine.connect() as connection:
            await connection.scalar(text("select 1"))
            await engine.dispose()
            return await connection.scalar(text("select 'works'"))

    sides = Sides(db)
    engine = create_async_engine(db.url)
    with Recorder(engine) as log, NamedLoop("A") as A:
        old = engine.pool
        assert A.run(while_held(engine)) == "works"
        assert (old.checkedin(), engine.pool.checkedin()) == (1, 0)
        A.run(engine.dispose())
        assert sides.look() == (1, 1), "the engine no longer knows the old pool"
        del old
        gc.collect()
        assert sides.look()[0] == 0
    assert any("unclosed connection" in aside for aside in log.asides)


# -- the incident's suite --------------------------------------------------------------------------

NEAR = (FIXES / "dispose" / "tests" / "conftest.py").read_text(encoding="utf-8")
REMOVE = 'remove = ["dispose_engine_after_test"]'
OPTIONS = ["-W", "default", "-o", "log_cli=true", "--log-cli-level=ERROR"]


def overlay_with(loop_scope):
    decorated = NEAR.replace(
        "@pytest.fixture(",
        f'import pytest_asyncio\n\n\n@pytest_asyncio.fixture(loop_scope="{loop_scope}", ',
    )
    assert decorated != NEAR
    return {"tests/conftest.py": decorated, "overlay.toml": REMOVE}


@pytest.fixture(scope="module")
def runs():
    """Name → a run of the incident's suite."""
    jobs = {
        "as found": {},
        "dispose": {"overlay": FIXES / "dispose"},
        "reverse": {"overlay": FIXES / "dispose", "order": "reverse"},
        "random:7": {"overlay": FIXES / "dispose", "order": "random:7"},
        "session loop": {"overlay": FIXES / "session-loop"},
        "far": {"overlay": overlay_with("session")},
        "far, unasked": {"overlay": overlay_with("session"), "options": []},
        "by option": {
            "overlay": FIXES / "dispose",
            "options": ["-o", "asyncio_default_fixture_loop_scope=session"],
        },
        "option and own scope": {
            "overlay": overlay_with("function"),
            "options": ["-o", "asyncio_default_fixture_loop_scope=session"],
        },
        "as written": {"overlay": FIXES / "recipe-1-as-written"},
        "corrected": {"overlay": FIXES / "recipe-1-corrected"},
    }
    common = {"project": BACKEND, "trace": True, "options": OPTIONS}
    return dict(zip(jobs, run_suites([common | job for job in jobs.values()]), strict=True))


def opened(run):
    return sum(event.kind == "connect" for event in run.trace)


@pytest.mark.parametrize("name", ["dispose", "reverse", "random:7", "corrected"])
def test_dispose_cures_all_33_in_any_order_and_leaves_nothing(runs, name):
    run = runs[name]
    assert (len(run.passed), run.failed, run.errors, run.hung) == (33, {}, {}, False)
    assert run.leftovers == () and not any("ResourceWarning" in warning for warning in run.warnings)
    assert "Exception closing connection" not in run.output


def test_the_autouse_fixture_disposes_after_db_session_has_given_its_connection_back(runs):
    events = [e for e in runs["dispose"].trace if e.test == FORBIDDEN and e.phase == "teardown"]
    assert [e.kind for e in events] == ["checkin", "close", "close", "dispose"]
    assert len({e.loop for e in events}) == 1 and all(
        e.loop == e.born_on for e in events if e.record
    )


def test_dispose_on_the_sessions_loop_is_green_and_closes_nothing(runs):
    far = runs["far"]
    assert len(far.passed) == 33
    assert far.output.count("Exception closing connection") == opened(far) > 0
    assert far.output.count("\nRuntimeError: Event loop is closed\n") >= opened(far), (
        "its owner was closed before"
    )
    assert any("ResourceWarning: unclosed transport" in warning for warning in far.warnings)
    assert not any(e.loop == e.born_on for e in far.trace if e.kind == "close")


def test_nobody_sees_that_without_asking(runs):
    unasked = runs["far, unasked"]
    assert len(unasked.passed) == 33 and opened(unasked) == opened(runs["far"])
    assert not any(e.loop == e.born_on for e in unasked.trace if e.kind == "close")
    assert unasked.warnings == () and "Exception closing connection" not in unasked.output


def test_the_option_moves_the_dispose_fixture_too_and_db_session_with_it(runs):
    run = runs["by option"]
    assert (len(run.passed), run.failed, set(run.errors.values())) == (24, {}, {"different loop"})
    tests = {test.id for test in run.tests if test.outcome == "error"}
    assert len(tests) == 9 and {test.phase for test in run.tests if test.id in tests} == {
        "teardown"
    }
    assert len({e.loop for e in run.trace if e.kind == "dispose"}) == 1


def test_its_own_loop_scope_brings_the_dispose_fixture_back_to_the_tests_loop(runs):
    loops = [{e.loop for e in runs[name].trace if e.kind == "dispose"}
             for name in ("option and own scope", "dispose")]  # fmt: skip
    assert len(loops[0]) == len(loops[1]) > 1


@claim(
    "B27",
    verdict="refuted",
    observed=(
        "10 of the 33 tests fail with NameError: client uses SessionFactory, which only db_session"
        " imports; with that import all 33 pass"
    ),
)
def test_the_first_recipe_as_written(runs):
    written, corrected = runs["as written"], runs["corrected"]
    assert (len(written.passed), len(written.failed), written.errors) == (23, 10, {})
    assert {test.error for test in written.tests if test.error} == {
        "NameError: name 'SessionFactory' is not defined"
    }
    assert len(corrected.passed) == 33
    lines = [(FIXES / name / "tests" / "conftest.py").read_text(encoding="utf-8").splitlines()
             for name in ("recipe-1-as-written", "recipe-1-corrected")]  # fmt: skip
    assert [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]] == [
        (
            "    from app.db.session import get_session",
            "    from app.db.session import SessionFactory, get_session",
        )
    ]


@claim(
    "B28",
    verdict="refuted",
    observed=(
        "its reason does not hold: recipe 1 opens 20 connections for the 33 tests, the session loop"
        " 7; the pool is reused within a test, never across tests"
    ),
)
def test_the_first_recipe_does_not_reuse_the_pool_across_tests(runs):
    assert (opened(runs["corrected"]), opened(runs["dispose"]), opened(runs["session loop"])) == (
        20,
        20,
        7,
    )
    assert len(runs["session loop"].passed) == 33
    for name in ("corrected", "dispose"):
        born = {e.record: e.test for e in runs[name].trace if e.kind == "connect"}
        assert all(born[e.record] == e.test for e in runs[name].trace if e.kind == "checkout")
    born = {e.record: e.test for e in runs["session loop"].trace if e.kind == "connect"}
    assert any(born[e.record] != e.test for e in runs["session loop"].trace if e.kind == "checkout")


@claim(
    "B31",
    verdict="refuted",
    observed=(
        "while db_session holds one connection, the request through client checks out another: two"
        " sessions, two connections"
    ),
)
def test_client_and_db_session_share_nothing(runs):
    held, most = set(), 0
    for event in (e for e in runs["corrected"].trace if e.test == FORBIDDEN):
        if event.kind == "checkout":
            held.add(event.record)
        elif event.kind == "checkin":
            held.discard(event.record)
        most = max(most, len(held))
    assert most == 2


def test_what_db_session_has_not_committed_is_not_there_for_client():
    files = {
        "tests/api/test_shared.py": (
            """
        from uuid import uuid4
        from app.core.security import create_access_token
        from app.db.models import Account, AnalysisTask
        async def status(client, task):
            headers = {"Authorization": f"Bearer {create_access_token(task.owner_id)}"}
            return (await client.get(f"/api/status/{task.id}", headers=headers)).status_code
        async def test_visibility(client, db_session):
            account = Account(email="mina@example.org", password_hash="unusable")
            db_session.add(account)
            await db_session.flush()
            task = AnalysisTask(owner_id=account.id, description="A calendar for school runs", state="pending")
            db_session.add(task)
            await db_session.flush()
            before = await status(client, task)
            await db_session.commit()
            assert (before, await status(client, task)) == (404, 200)
    """
        )
    }
    recipe = FIXES / "recipe-1-corrected"
    files |= {
        name: (recipe / name).read_text(encoding="utf-8")
        for name in ("pytest.ini", "overlay.toml", "tests/conftest.py")
    }
    run = run_suite(BACKEND, overlay=files, tests=["tests/api/test_shared.py"])
    assert len(run.passed) == 1, run.tests


LIMITS = """
    import asyncio, gc, pytest_asyncio
    from sqlalchemy import text
    from app.db.session import SessionFactory, engine
    gc.disable()

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def wide():
        async with SessionFactory() as session:
            await session.scalar(text("select 1"))
            yield session
    async def test_wide_fixture(wide):
        await wide.scalar(text("select 1"))

    async def job():
        async with SessionFactory() as session:
            await session.scalar(text("select 1"))
    def test_one_loop_inside():
        asyncio.run(job())
    def test_two_loops_inside():
        asyncio.run(job())
        asyncio.run(job())

    left = []
    async def test_leaves_a_session():
        left.append(SessionFactory())
        await left[0].scalar(text("select count(*) from accounts"))
    async def test_after_it():
        async with asyncio.timeout(3), engine.begin() as connection:
            await connection.execute(text("truncate accounts cascade"))
"""


@claim(
    "B29",
    verdict="holds with a correction",
    observed=(
        "all 33 pass in the default, the reverse and a random order; a module-wide session, a"
        " second loop within a test and a session left open fail or hang although the fixture"
        " disposes after each test"
    ),
)
def test_what_dispose_between_tests_does_not_reach(runs):
    assert all(
        len(runs[name].passed) == 33 for name in ("corrected", "dispose", "reverse", "random:7")
    )
    overlay = {"tests/conftest.py": NEAR, "overlay.toml": REMOVE, "tests/test_limits.py": LIMITS}
    run = run_suite(BACKEND, overlay=overlay, tests=["tests/test_limits.py"])
    assert {test.id.split("::")[1]: test.symptom for test in run.tests} == {
        "test_wide_fixture": "different loop",
        "test_one_loop_inside": "ok",
        "test_two_loops_inside": "different loop",
        "test_leaves_a_session": "ok",
        "test_after_it": "TimeoutError",
    }


BY_HAND = """
    import gc, pytest
    from sqlalchemy import text
    from app.db.session import SessionFactory, engine
    gc.disable()

    @pytest.fixture
    async def db_session():
        async with SessionFactory() as session:
            yield session
    async def test_disposes(db_session):
        assert await db_session.scalar(text("select 1")) == 1
        await engine.dispose()
        assert await db_session.scalar(text("select 1")) == 1
    async def test_after_it(db_session):
        assert await db_session.scalar(text("select 1")) == 1
        assert "this test" == "fails"
        await engine.dispose()
    async def test_after_the_failure(db_session):
        assert await db_session.scalar(text("select 1")) == 1
"""


@claim(
    "B51",
    verdict="holds with a correction",
    observed=(
        "a dispose in a test's body breaks no query, but leaves the held connection open in the old"
        " pool, and a test that fails before it passes its fault on; in a fixture after each test"
        " it is the cure"
    ),
)
def test_dispose_by_hand_in_a_test(runs):
    as_found = "import sys; sys.path.insert(0, '.')\n"
    by_hand, fixture = run_suites(
        [
            {"project": BACKEND, "overlay": {"tests/conftest.py": conftest, "overlay.toml": REMOVE, "tests/test_hand.py": BY_HAND},
             "tests": ["tests/test_hand.py"]}
            for conftest in (as_found, NEAR)
        ]
    )  # fmt: skip
    assert [test.symptom for test in by_hand.tests] == ["ok", "AssertionError", "different loop"]
    assert [test.symptom for test in fixture.tests] == [
        "ok",
        "AssertionError",
        "ok",
    ], "a fixture disposes whatever the test did"
    assert len(by_hand.leftovers) > len(fixture.leftovers) == 1, (
        "the connection of the old pool is still open"
    )
    assert len(runs["dispose"].passed) == 33 and len(runs["as found"].failed) == 5


# -- the recipe's settings -------------------------------------------------------------------------

STRICT = (
    "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\naddopts ="
    " --strict-markers\n"
)
TEST = "async def test_title(): pass\n"
MARK = "import pytest\npytestmark = pytest.mark.asyncio\n"
FIXTURE = (
    MARK + "import pytest_asyncio\n@{}\nasync def title(): return 'a'\nasync def test_title(title):"
    " assert title == 'a'\n"
)


@pytest.fixture(scope="module")
def settings():
    """Name → a run of a tiny project in strict mode, with --strict-markers."""
    projects = {
        "plain": {"test_report.py": TEST},
        "mode": {
            "conftest.py": (
                'def pytest_configure(config):\n    config.option.asyncio_mode = "auto"\n'
            ),
            "test_report.py": TEST,
        },
        "mark in conftest": {"conftest.py": MARK, "test_report.py": TEST},
        "mark in file": {
            "test_report.py": MARK + TEST + "@pytest.mark.anyio\ndef test_plain(): pass\n"
        },
        "plain async fixture": {"test_report.py": FIXTURE.format("pytest.fixture")},
        "pytest_asyncio's fixture": {"test_report.py": FIXTURE.format("pytest_asyncio.fixture")},
        "unknown mark": {
            "test_report.py": "import pytest\n@pytest.mark.slow\ndef test_plain(): pass\n"
        },
    }
    return dict(
        zip(
            projects,
            run_suites(
                [{"project": files | {"pytest.ini": STRICT}} for files in projects.values()]
            ),
            strict=True,
        )
    )


def test_strict_mode_wants_the_fixture_of_pytest_asyncio(settings):
    assert len(settings["pytest_asyncio's fixture"].passed) == 1
    assert settings["plain async fixture"].passed == []


@claim(
    "B30",
    verdict="holds",
    observed=(
        "in strict mode (pytest-asyncio 1.5.0) an unmarked async test fails; with the option set in"
        " pytest_configure it passes, and pytest's header says Mode.AUTO"
    ),
)
def test_the_mode_can_be_set_in_pytest_configure(settings):
    assert len(settings["plain"].failed) == 1 and "mode=Mode.STRICT" in settings["plain"].output
    assert len(settings["mode"].passed) == 1 and "mode=Mode.AUTO" in settings["mode"].output


@claim(
    "B32",
    verdict="refuted",
    observed=(
        "with pytestmark in conftest.py the async test is still unmarked and fails in strict mode;"
        " the same line in the test file makes it pass"
    ),
)
def test_pytestmark_in_conftest_marks_nothing(settings):
    (test,) = settings["mark in conftest"].tests
    assert test.error == "Failed: async def functions are not natively supported."
    assert settings["mark in file"].failed == {}


@claim(
    "B33",
    verdict="refuted",
    observed=(
        "under --strict-markers the marks asyncio and anyio pass undeclared, as the plugins declare"
        " them; an unknown mark is an error"
    ),
)
def test_the_plugins_declare_their_markers_themselves(settings):
    assert len(settings["mark in file"].passed) == 2
    assert (
        len(settings["unknown mark"].errors) == 1
        and "'slow' not found in `markers`" in settings["unknown mark"].output
    )
