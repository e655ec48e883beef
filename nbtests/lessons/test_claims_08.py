"""What lessons 08 and 08d say about the incident documents' claims, and the two fixes, each executed
by pytest in a process of its own.
"""

from __future__ import annotations

import textwrap
import tomllib

import pytest
from claims import claim

from loopbound.suite import BACKEND, run_suite, run_suites
from loopbound.suite.versions import observed

FIXTURE, TEST = "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope"


def suite(files, **options):
    lines = [f"{name} = '{value}'" for name, value in ({"asyncio_mode": "auto"} | options).items()]
    return {"project": files | {"pyproject.toml": "\n".join(["[tool.pytest.ini_options]", *lines])}}


def ran(files, **options):
    return run_suite(**suite(files, **options))


def outcomes(run):
    return {test.id.rpartition("::test_")[2]: test.outcome for test in run.tests}


def symptoms(run):
    return {test.id.rpartition("::test_")[2]: test.symptom for test in run.tests}


LOOPS = {
    "conftest.py": (
        """
        import asyncio, asyncpg, os, pytest

        @pytest.fixture(scope="session")
        async def home():
            return asyncio.get_running_loop()

        @pytest.fixture(scope="session")
        async def connection():
            connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
            yield connection
            connection.terminate()
        """
    ),
    "test_loops.py": (
        """
        import asyncio

        seen = []

        async def test_is_at_home(home):
            assert asyncio.get_running_loop() is home

        async def test_uses_connection(connection):
            assert await connection.fetchval("select 1") == 1

        async def test_first():
            seen.append(asyncio.get_running_loop())

        async def test_as_first():
            assert asyncio.get_running_loop() is seen[0]
        """
    ),
}
APART = {
    "is_at_home": "failed",
    "uses_connection": "failed",
    "first": "passed",
    "as_first": "failed",
}
TOGETHER = dict.fromkeys(APART, "passed")
MARK = '\nimport pytest\npytestmark = pytest.mark.asyncio(loop_scope="function")\n'


@pytest.fixture(scope="module")
def loops():
    """The same four tests under no option, the fixture's, the test's, and both."""
    options = {
        "none": {},
        "fixture": {FIXTURE: "session"},
        "test": {TEST: "session"},
        "both": {FIXTURE: "session", TEST: "session"},
    }
    jobs = {name: suite(LOOPS, **words) for name, words in options.items()}
    ini = [
        "[pytest]",
        "addopts = -q",
        "asyncio_mode = auto",
        f"{FIXTURE} = session",
        f"{TEST} = session",
    ]
    jobs["ini"] = {"project": LOOPS | {"pytest.ini": "\n".join(ini)}, "options": ["-v"]}
    marked = textwrap.dedent(LOOPS["test_loops.py"]) + MARK
    jobs["own mark"] = suite(LOOPS | {"test_loops.py": marked}, **options["both"])
    return dict(zip(jobs, run_suites(list(jobs.values())), strict=True))


def test_an_ini_file_wants_no_quotes_and_its_header_is_seen_with_v(loops):
    assert outcomes(loops["ini"]) == TOGETHER
    assert "configfile: pytest.ini" in loops["ini"].output


def test_the_loop_scope_of_a_mark_wins_over_the_options(loops):
    assert outcomes(loops["own mark"]) == APART


@claim(
    "A04",
    verdict="holds",
    observed=(
        "a session fixture and a test run on different loops by default, on one with both"
        " options set"
    ),
)
def test_fixtures_and_tests_can_have_different_loops(loops):
    assert outcomes(loops["none"])["is_at_home"] == "failed"
    assert outcomes(loops["both"])["is_at_home"] == "passed"


@claim(
    "A05",
    verdict="holds",
    observed=(
        "a function test gets 'attached to a different loop' from its session fixture's asyncpg"
        " connection"
    ),
)
def test_a_session_fixtures_connection_fails_in_a_function_test(loops):
    assert symptoms(loops["none"])["uses_connection"] == "different loop"
    assert symptoms(loops["both"])["uses_connection"] == "ok"


@claim(
    "A06",
    verdict="holds",
    observed=(
        "with the fixture option alone the outcome of every test is as with none: two tests, two"
        " loops"
    ),
)
def test_the_fixture_option_alone_changes_no_tests_loop(loops):
    assert outcomes(loops["fixture"]) == outcomes(loops["none"]) == APART


@claim(
    "B23",
    verdict="holds",
    observed="with no option set a test does not run on the loop of the test before it",
)
def test_each_test_has_a_loop_by_default(loops):
    assert outcomes(loops["none"])["as_first"] == "failed"


@pytest.fixture(scope="module")
def backend():
    """The backend's suite in four combinations of the options, a test's scope in a fixture's."""
    pairs = [
        (fixture, test) for fixture in ("function", "session") for test in ("function", "session")
    ]
    # pytest reads sources for its own tracebacks, which Python 3.11 gives up when the collector
    # finds a lost connection.
    words = [
        ["--tb=native", "-o", f"{FIXTURE}={fixture}", "-o", f"{TEST}={test}"]
        for fixture, test in pairs
    ]
    return dict(
        zip(
            pairs,
            run_suites([{"project": BACKEND, "options": options} for options in words]),
            strict=True,
        )
    )


@claim(
    "A07",
    verdict="holds with a correction",
    observed=(
        "the backend passes with both options and with neither one alone; a suite whose async"
        " fixtures have an unset loop scope, or which has none, needs the test's option only"
    ),
)
def test_both_options_are_needed_where_fixtures_carry_something_across(backend, loops):
    assert len(backend["session", "session"].passed) == 33
    for pair in (("function", "function"), ("session", "function"), ("function", "session")):
        assert "different loop" in {**backend[pair].failed, **backend[pair].errors}.values(), pair
    assert outcomes(loops["test"]) == TOGETHER


def test_one_option_alone_breaks_teardowns(backend):
    for pair in (("session", "function"), ("function", "session")):
        assert "different loop" in {
            test.symptom for test in backend[pair].tests if test.phase == "teardown"
        }, pair
    assert not backend["function", "session"].failed
    assert not backend["function", "function"].errors


SCOPES = ("function", "class", "module", "package", "session")


def test_only_session_with_session_shares_a_session_fixtures_connection():
    pairs = [(fixture, test) for fixture in SCOPES for test in SCOPES]
    one = {"tests": ["test_loops.py::test_uses_connection"]}
    runs = run_suites(
        [suite(LOOPS, **{FIXTURE: fixture, TEST: test}) | one for fixture, test in pairs]
    )
    said = {}
    for pair, run in zip(pairs, runs, strict=True):
        [test] = run.tests
        said[pair] = "ScopeMismatch" if "ScopeMismatch" in test.error else test.symptom
    assert said == {
        (fixture, test): (
            "ScopeMismatch"
            if fixture != "session"
            else "ok"
            if test == "session"
            else "different loop"
        )
        for fixture, test in pairs
    }


def test_loop_scope_of_a_mark_and_of_a_fixture_is_the_per_test_form():
    files = {
        "test_loops.py": (
            """
            import asyncio, pytest, pytest_asyncio

            @pytest_asyncio.fixture(scope="session", loop_scope="session")
            async def home():
                return asyncio.get_running_loop()

            @pytest.mark.asyncio(loop_scope="session")
            async def test_marked(home):
                assert asyncio.get_running_loop() is home

            async def test_unmarked(home):
                assert asyncio.get_running_loop() is home
            """
        )
    }
    run = ran(files, **{FIXTURE: "function", TEST: "function"})
    assert outcomes(run) == {"marked": "passed", "unmarked": "failed"}


MODES = {
    "test_modes.py": (
        """
        import pytest, pytest_asyncio

        @pytest.fixture
        async def plain():
            return "report"

        @pytest_asyncio.fixture
        async def special():
            return "report"

        async def test_unmarked():
            pass

        @pytest.mark.asyncio
        async def test_marked():
            pass

        @pytest.mark.asyncio
        async def test_plain(plain):
            assert plain == "report"

        @pytest.mark.asyncio
        async def test_special(special):
            assert special == "report"
        """
    )
}


@pytest.fixture(scope="module")
def modes():
    jobs = {
        "unset": {"project": MODES},
        "strict": suite(MODES, asyncio_mode="strict"),
        "auto": suite(MODES),
        "auto, empty pytest.ini": suite(MODES | {"pytest.ini": ""}),
    }
    return dict(zip(jobs, run_suites(list(jobs.values())), strict=True))


STRICT = {"unmarked": "failed", "marked": "passed", "plain": "error", "special": "passed"}


@claim(
    "A08",
    verdict="refuted",
    observed=(
        "a left-over pytest.ini, even an empty one, makes pytest ignore pyproject.toml: tests that"
        " pass in auto mode fail"
    ),
)
def test_a_left_over_ini_file_wins(modes):
    assert outcomes(modes["auto"]) == dict.fromkeys(STRICT, "passed")
    assert outcomes(modes["auto, empty pytest.ini"]) == STRICT
    assert "ignoring pytest config in pyproject.toml" in modes["auto, empty pytest.ini"].output


@claim(
    "B21",
    verdict="refuted",
    observed="unset, the mode is strict on pytest-asyncio 0.19 and legacy on 0.18: older than 0.23",
)
def test_strict_is_the_default_and_older_than_0_23(modes):
    assert "mode=Mode.STRICT" in modes["unset"].output
    assert outcomes(modes["unset"]) == outcomes(modes["strict"]) == STRICT
    defaults = {by_version(row): row.observed for row in observed("mode when unset")}
    assert defaults[0, 18] == "legacy"
    assert {mode for version, mode in defaults.items() if version > (0, 18)} == {"strict"}
    assert min(version for version, mode in defaults.items() if mode == "strict") < (0, 23)


@claim(
    "B22",
    verdict="holds with a correction",
    observed=(
        "in strict mode an async test without a mark fails, and so does a marked one whose async"
        " fixture is a plain pytest.fixture"
    ),
)
def test_strict_mode_needs_marks_and_fixtures_of_its_own(modes):
    assert outcomes(modes["strict"]) == STRICT


FORGETFUL = {
    "test_clean_up.py": (
        """
        from sqlalchemy.ext.asyncio import create_async_engine

        async def test_cleans_up():
            create_async_engine("postgresql+asyncpg://").dispose()
        """
    )
}


@claim(
    "A11",
    verdict="refuted",
    observed=(
        "it hides 'coroutine AsyncEngine.dispose was never awaited', and switches filterwarnings ="
        " error off: a failing suite passes"
    ),
)
def test_no_warnings_hides_evidence():
    plain = {FIXTURE: "function"}  # an unset option is a warning too
    wanted = plain | {"filterwarnings": "error"}
    told, strict, silenced = run_suites(
        [
            suite(FORGETFUL, **options)
            for options in (plain, wanted, wanted | {"addopts": "-p no:warnings"})
        ]
    )
    assert len(told.passed) == 1 and "AsyncEngine.dispose' was never awaited" in told.warnings[0]
    assert len(strict.failed) == 1
    assert (
        len(silenced.passed) == 1
        and not silenced.warnings
        and "never awaited" not in silenced.output
    )


OVERRIDE = """
    @pytest.fixture(scope="session")
    def event_loop():
        yield (loop := asyncio.new_event_loop())
        loop.close()
"""


@pytest.fixture(scope="module")
def overridden():
    conftest = textwrap.dedent(LOOPS["conftest.py"]) + textwrap.dedent(OVERRIDE)
    return ran(LOOPS | {"conftest.py": conftest})


@claim(
    "A09",
    verdict="holds",
    observed=(
        "a suite without the fixture has one loop through the two options, and an override changes"
        " no test's loop"
    ),
)
def test_no_event_loop_fixture_is_needed(loops, overridden):
    assert outcomes(loops["both"]) == TOGETHER
    assert outcomes(overridden) == outcomes(loops["none"])


@claim(
    "B41",
    verdict="holds until",
    until="pytest-asyncio 1.0",
    observed=(
        "a session-wide override of event_loop is effective up to 0.26; since 1.0 it is ignored,"
        " without a warning"
    ),
)
def test_an_overridden_event_loop_decided_until_1_0(overridden):
    assert outcomes(overridden) == APART and not overridden.warnings
    assert "event_loop" not in overridden.output.replace("scoped_event_loop", "")
    for row in observed("event_loop overridden for the session"):
        assert row.observed == ("effective" if by_version(row) < (1, 0) else "ignored"), row


@claim(
    "B52",
    verdict="refuted",
    observed="0.21 knows neither option: the fixture's came with 0.24, the test's with 0.26",
)
def test_0_21_does_not_know_the_options():
    for option, first in ((FIXTURE, (0, 24)), (TEST, (0, 26))):
        known = {by_version(row): row.observed for row in observed(f"option {option}")}
        assert (0, 21) in known
        assert {version for version, said in known.items() if said != "unknown"} == {
            v for v in known if v >= first
        }, option


def by_version(row):
    major, minor = row.versions["pytest-asyncio"].split(".")[:2]
    return int(major), int(minor)


ANYIO = {
    "test_anyio.py": (
        """
        import asyncio, pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def home():
            return asyncio.get_running_loop(), asyncio.current_task().get_coro().__qualname__

        async def test_fixture_is_run_by_anyio(home):
            assert "TestRunner" in home[1]

        async def test_is_run_by_anyio(home):
            assert "TestRunner" in asyncio.current_task().get_coro().__qualname__

        async def test_is_at_home(home):
            assert asyncio.get_running_loop() is home[0]
        """
    )
}


@claim(
    "B20",
    verdict="refuted",
    observed=(
        "strict mode: anyio runs tests and fixtures on one loop; auto mode: pytest-asyncio runs the"
        " tests and anyio the fixtures, on two loops; the same on every run"
    ),
)
def test_an_anyio_mark_beside_pytest_asyncio_is_well_defined():
    modes = ("strict", "strict", "auto", "auto")
    runs = run_suites([suite(ANYIO, asyncio_mode=mode, **{FIXTURE: "function"}) for mode in modes])
    *strict, once, again = map(outcomes, runs)
    assert (
        strict
        == [
            {
                "fixture_is_run_by_anyio": "passed",
                "is_run_by_anyio": "passed",
                "is_at_home": "passed",
            }
        ]
        * 2
    )
    assert (
        once
        == again
        == {
            "fixture_is_run_by_anyio": "passed",
            "is_run_by_anyio": "failed",
            "is_at_home": "failed",
        }
    )


HEAD = """
    import asyncio, pytest
    from sqlalchemy import func, select
    from app.db.models import Account
    from app.db.session import SessionFactory, engine

    accounts = select(func.count()).select_from(Account)

    @pytest.fixture
    async def session():
        async with SessionFactory() as session:
            yield session
            await session.rollback()

    async def register(session):
        session.add(Account(email="mina@example.org", password_hash="unusable"))
        await session.flush()
"""
KEPT_APART = (
    HEAD
    + """
    async def test_registers(session):
        await register(session)
        await session.commit()

    async def test_nobody_is_there(session):
        assert await session.scalar(accounts) == 0
"""
)


def with_fix(name, files, **more):
    fix = BACKEND / "fixes" / name
    overlay = {
        path.relative_to(fix).as_posix(): path.read_text(encoding="utf-8")
        for path in fix.rglob("*.*")
        if path.is_file()
    }
    return {"project": BACKEND, "overlay": overlay | files, **more}


def only(*pairs):
    """Outcomes of further tests, and of no others, each time with a fix: (its name, the tests'
    text).
    """
    jobs = [
        with_fix(name, {"tests/test_more.py": text}, tests=["tests/test_more.py"])
        for name, text in pairs
    ]
    return [outcomes(run) for run in run_suites(jobs)]


@claim(
    "A10",
    verdict="refuted",
    observed=(
        "after a commit the rollback has nothing to undo: the second test sees the first one's"
        " account"
    ),
)
def test_a_rollback_at_the_end_isolates_nothing_after_a_commit():
    uncommitted = KEPT_APART.replace("await session.commit()", "pass")
    with_commit, without = only(("session-loop", KEPT_APART), ("session-loop", uncommitted))
    assert with_commit == {"registers": "passed", "nobody_is_there": "failed"}
    assert set(without.values()) == {"passed"}, "without a commit the rollback does isolate"


LIMITS = (
    HEAD
    + """
    async def test_now_moves_on(session):
        first = await session.scalar(select(func.now()))
        await session.commit()
        assert await session.scalar(select(func.now())) > first

    async def test_a_forgotten_commit_is_noticed(session):
        await register(session)
        async with SessionFactory() as another:
            assert await another.scalar(accounts) == 0

    async def test_a_commit_is_seen_outside(session):
        await register(session)
        await session.commit()
        async with engine.connect() as outside:
            assert await outside.scalar(accounts) == 1

    async def test_two_sessions_at_once():
        async def request():
            async with SessionFactory.begin() as session:
                await session.scalar(accounts)

        await asyncio.gather(request(), request())

    async def test_the_first_to_begin_is_the_first_to_end():
        async with SessionFactory() as first, SessionFactory() as second:
            await first.scalar(accounts)
            await second.scalar(accounts)
            await first.commit()
            await second.commit()
"""
)
WITHIN_LIMITS = (
    HEAD
    + """
    async def test_the_last_to_begin_is_the_first_to_end():
        async with SessionFactory() as first, SessionFactory() as second:
            await first.scalar(accounts)
            await second.scalar(accounts)
            await second.commit()
            await first.commit()

    async def test_a_forgotten_commit_is_noticed_once_its_session_is_closed():
        async with SessionFactory() as forgetful:
            await register(forgetful)
        async with SessionFactory() as another:
            assert await another.scalar(accounts) == 0
"""
)


@claim(
    "A18",
    verdict="holds with a correction",
    observed=(
        "one loop and an outer transaction per test isolate committed rows; then other sessions see"
        " the rows of an open one that forgets to commit, now() stands still, no other connection"
        " sees a commit, and two sessions fail unless the last to begin ends first"
    ),
)
def test_one_loop_and_an_outer_transaction_isolate_at_a_price():
    more = "tests/test_more.py"
    limits = WITHIN_LIMITS + LIMITS.removeprefix(HEAD)
    pairs = [
        ("session-loop-rollback", KEPT_APART),
        ("session-loop", limits),
        ("session-loop-rollback", limits),
    ]
    apart, real, saved = run_suites(
        [with_fix(name, {more: text}, tests=[more]) for name, text in pairs]
    )
    assert set(outcomes(apart).values()) == set(outcomes(real).values()) == {"passed"}
    assert list(outcomes(saved).values()) == ["passed"] * 2 + ["failed"] * 5
    for test in saved.tests[-2:]:
        assert 'savepoint "sa_savepoint_2" does not exist' in test.error, (
            "two sessions, and the first to begin ends first"
        )


@pytest.mark.parametrize(
    ("fix", "version", "passed"),
    [
        ("session-loop", (0, 23), 28),
        ("session-loop", (0, 24), 24),
        ("session-loop", (1, 0), 31),
        ("session-loop", (1, 3), 33),
    ],
)
def test_the_fix_needs_a_plugin_that_keeps_the_sessions_loop(fix, version, passed):
    rows = [row for row in observed(f"incident, {fix}") if by_version(row) == version]
    assert rows and all(row.observed.startswith(f"{passed} passed") for row in rows)


# The two fixes

LEFT = '''

@pytest.fixture(scope="session", autouse=True)
async def nothing_left():
    """Set up before every other fixture, torn down after it."""
    from sqlalchemy import text

    yield
    async with engine.connect() as connection:
        for table in ("analysis_reports", "analysis_tasks", "accounts"):
            assert await connection.scalar(text(f"select count(*) from {table}")) == 0, table
'''


def test_the_rollback_leaves_no_row_behind():
    conftest = (BACKEND / "fixes" / "session-loop-rollback" / "tests" / "conftest.py").read_text(
        encoding="utf-8"
    )
    jobs = [
        with_fix("session-loop-rollback", {"tests/conftest.py": conftest + LEFT}, order=order)
        for order in ("default", "reverse", "random:1")
    ]
    for run in run_suites(jobs):
        assert (len(run.passed), run.failed, run.errors) == (33, {}, {})
    without = conftest.replace("await outer.rollback()", "await outer.commit()")
    assert without != conftest
    seen = run_suite(**with_fix("session-loop-rollback", {"tests/conftest.py": without + LEFT}))
    assert len(seen.errors) == 1, "the count must be able to find a row"


def test_the_fixes_change_nothing_in_the_backends_settings_but_the_loop_scopes():
    def read(folder):
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text.replace("pytest-asyncio>=0.24", "pytest-asyncio>=1.3"))

    expected = read(BACKEND)
    expected["tool"]["pytest"]["ini_options"] |= {FIXTURE: "session", TEST: "session"}
    for fix in ("session-loop", "session-loop-rollback"):
        assert read(BACKEND / "fixes" / fix) == expected, fix


TASKS = (
    HEAD
    + """
    async def audit():
        await asyncio.sleep(0.2)
        async with SessionFactory.begin() as session:
            await register(session)

    async def test_starts_an_audit():
        asyncio.create_task(audit())

    async def test_nobody_registers(session):
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert await session.scalar(accounts) == 0
"""
)


def test_a_task_outlives_its_test_on_a_session_loop_and_the_guard_names_it():
    files = {"tests/test_more.py": TASKS}
    jobs = [
        {"project": BACKEND, "overlay": files},
        *(with_fix(name, files) for name in ("session-loop", "session-loop-rollback")),
    ]
    function, session, guarded = run_suites(
        [job | {"tests": list(files)} for job in jobs], at_once=3
    )
    assert outcomes(function) == {"starts_an_audit": "passed", "nobody_registers": "passed"}
    assert outcomes(session) == {"starts_an_audit": "passed", "nobody_registers": "failed"}
    assert outcomes(guarded) == {"starts_an_audit": "error", "nobody_registers": "passed"}
    assert "still running: audit" in guarded.tests[0].error
