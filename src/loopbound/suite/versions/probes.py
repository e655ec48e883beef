"""Small suites that show what one version does, and the reading of what they did.

A probe is a project in the open, run once in an environment; `read` turns its run into facts. A
test that has something to report raises `Told`: an outcome alone would not say which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from loopbound.problem import Problem
from loopbound.recorder import symptom_in
from loopbound.suite.results import SuiteRun, TestResult

SCOPES = ("function", "class", "module", "package", "session")
FIXTURE_OPTION = "asyncio_default_fixture_loop_scope"
TEST_OPTION = "asyncio_default_test_loop_scope"
NO_SUCH_OPTION = "no such option"


@dataclass(frozen=True)
class Probe:
    """One run and what is read from it.

    Attributes:
        name: for progress and errors.
        job: arguments of `run_suite`, without ``python``.
        read: from the run to {fact: observed}; given a Problem where pytest refused to run.
        refusable: whether pytest may refuse the project (an option's value that it does not know,
            say).
    """

    name: str
    job: Mapping[str, Any]
    read: Callable[[Any], dict[str, str]]
    refusable: bool = False


# -- the plugin: modes, options, marks, overrides --------------------------------------------------

_TELL = """
class Told(Exception):
    "What a test has to report."
"""

_NOTHING_CONFIGURED = {
    "conftest.py": "",
    "told.py": _TELL,
    "test_mode.py": (
        """
        from told import Told

        def test_mode(request):
            raise Told(request.config.getini("asyncio_mode"))
        """
    ),
    "test_unmarked.py": (
        """
        async def test_unmarked():
            pass
        """
    ),
    "test_two_tests.py": (
        """
        import asyncio
        import pytest
        from told import Told

        loops = []

        @pytest.mark.asyncio
        async def test_first():
            loops.append(asyncio.get_running_loop())

        @pytest.mark.asyncio
        async def test_second():
            loops.append(asyncio.get_running_loop())

        def test_both():
            raise Told("one loop" if loops[0] is loops[1] else "a loop each")
        """
    ),
    "test_session_fixture.py": (
        """
        import asyncio
        import pytest
        import pytest_asyncio
        from told import Told

        @pytest_asyncio.fixture(scope="session")
        async def fixture_loop():
            return asyncio.get_running_loop()

        @pytest.mark.asyncio
        async def test_both(fixture_loop):
            raise Told("one loop" if fixture_loop is asyncio.get_running_loop() else "two loops")
        """
    ),
    "test_plain_fixture.py": (
        """
        import pytest
        from told import Told

        @pytest.fixture
        async def report():
            return "a report"

        @pytest.mark.asyncio
        async def test_report(report):
            raise Told("works" if report == "a report" else f"the test gets a {type(report).__name__}")
        """  # noqa: E501
    ),
    "test_asks_for_event_loop.py": (
        """
        import pytest
        from told import Told

        def test_event_loop(event_loop):
            raise Told("there is one")
        """
    ),
    "test_fixture_keyword.py": (
        """
        import pytest_asyncio
        from told import Told

        def test_loop_scope():
            try:
                @pytest_asyncio.fixture(loop_scope="session")
                async def report():
                    return "a report"
            except TypeError:
                raise Told("no such keyword") from None
            raise Told("known")
        """
    ),
}


def _read_nothing_configured(run: SuiteRun) -> dict[str, str]:
    return {
        "mode when unset": told(run, "test_mode.py::test_mode"),
        "mode unset, async test without a mark": told(run, "test_unmarked.py::test_unmarked"),
        "mode unset, async fixture under pytest.fixture": told(
            run, "test_plain_fixture.py::test_report"
        ),
        "nothing set, two tests": told(run, "test_two_tests.py::test_both"),
        "nothing set, session fixture and a test": told(run, "test_session_fixture.py::test_both"),
        "event_loop fixture asked for": told(run, "test_asks_for_event_loop.py::test_event_loop"),
        "pytest_asyncio.fixture(loop_scope=...)": told(
            run, "test_fixture_keyword.py::test_loop_scope"
        ),
        "warning about an unset option": warning(run, "is unset"),
    }


_BOTH_OPTIONS = {
    "pytest.ini": (
        f"""
        [pytest]
        asyncio_mode = auto
        {FIXTURE_OPTION} = session
        {TEST_OPTION} = session
        """
    ),
    "told.py": _TELL,
    "test_options.py": (
        """
        from told import Told

        def test_options():
            pass
        """
    ),
}


def _read_options(run: SuiteRun) -> dict[str, str]:
    unknown = [
        name
        for name in (FIXTURE_OPTION, TEST_OPTION)
        if f"Unknown config option: {name}" in _said(run)
    ]
    return {
        f"option {name}": "unknown" if name in unknown else "known"
        for name in (FIXTURE_OPTION, TEST_OPTION)
    }


# A loop for the whole session, as one wrote it before there were options. A global engine shows
# whether it takes effect.
_GLOBAL_ENGINE = """
    import os
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(os.environ["DATABASE_URL"])

    async def count_reports():
        async with engine.connect() as connection:
            return (await connection.execute(text("SELECT 1"))).scalar()
    """
_THREE_TESTS = """
    from reports import count_reports

    async def test_first():
        assert await count_reports() == 1

    async def test_second():
        assert await count_reports() == 1

    async def test_third():
        assert await count_reports() == 1
    """
_EVENT_LOOP = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
    "conftest.py": (
        """
        import asyncio
        import pytest

        @pytest.fixture(scope="session")
        def event_loop():
            loop = asyncio.new_event_loop()
            yield loop
            loop.close()
        """
    ),
    "reports.py": _GLOBAL_ENGINE,
    "test_reports.py": _THREE_TESTS,
}


def _read_event_loop(run: SuiteRun) -> dict[str, str]:
    outcome = seen(run)
    return {
        "event_loop overridden for the session": (
            {
                "passes": "effective",
                "different loop": "ignored",
            }.get(outcome, outcome)
        ),
        "event_loop overridden: warning": warning(run, "event_loop fixture"),
    }


_POLICY = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
    "told.py": _TELL,
    "conftest.py": (
        """
        import asyncio
        import pytest

        class OwnPolicy(asyncio.DefaultEventLoopPolicy):
            pass

        @pytest.fixture(scope="session")
        def event_loop_policy():
            return OwnPolicy()
        """
    ),
    "test_policy.py": (
        """
        import asyncio
        from told import Told

        async def test_policy():
            raise Told("effective" if type(asyncio.get_event_loop_policy()).__name__ == "OwnPolicy" else "ignored")
        """  # noqa: E501
    ),
}


def _read_policy(run: SuiteRun) -> dict[str, str]:
    return {
        "event_loop_policy overridden": told(run, "test_policy.py::test_policy"),
        "event_loop_policy overridden: warning": warning(run, '"event_loop_policy" fixture'),
    }


_LOOP_FACTORIES = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
    "told.py": _TELL,
    "conftest.py": (
        """
        import asyncio
        import pytest

        class OwnLoop(asyncio.SelectorEventLoop):
            pass

        @pytest.hookimpl(optionalhook=True)
        def pytest_asyncio_loop_factories(config, item):
            return {"own": OwnLoop}
        """
    ),
    "test_loop.py": (
        """
        import asyncio
        from told import Told

        async def test_loop():
            raise Told("effective" if type(asyncio.get_running_loop()).__name__ == "OwnLoop" else "no such hook")
        """  # noqa: E501
    ),
}


def _read_loop_factories(run: SuiteRun) -> dict[str, str]:
    return {
        "hook pytest_asyncio_loop_factories": "; ".join(
            dict.fromkeys(_told(test) for test in run.tests)
        )
    }


def _marked(keyword: str) -> dict[str, str]:
    return {
        "told.py": _TELL,
        "test_marks.py": (
            f"""
            import asyncio
            import pytest
            from told import Told

            loops = []

            @pytest.mark.asyncio({keyword}="session")
            async def test_first():
                loops.append(asyncio.get_running_loop())

            @pytest.mark.asyncio({keyword}="session")
            async def test_second():
                loops.append(asyncio.get_running_loop())

            def test_both():
                raise Told("one loop" if loops[0] is loops[1] else "a loop each: the word is ignored")
            """  # noqa: E501
        ),
    }


def _read_marked(keyword: str) -> Callable[[SuiteRun | Problem], dict[str, str]]:
    fact = f"mark asyncio({keyword}=...)"

    def read(run: SuiteRun | Problem) -> dict[str, str]:
        if isinstance(run, Problem):
            return {fact: refused(run), f"{fact}: warning": "none"}
        bad = [
            test
            for test in run.tests
            if test.id != "test_marks.py::test_both" and test.outcome != "passed"
        ]
        observed = _told(bad[0]) if bad else told(run, "test_marks.py::test_both")
        return {
            fact: observed,
            f"{fact}: warning": warning(run, '"scope" keyword', "scope= ", "'scope'"),
        }

    return read


_FIXTURE_SCOPE = {
    "pytest.ini": f"[pytest]\nasyncio_mode = auto\n{FIXTURE_OPTION} = fixture-scope\n",
    "test_value.py": (
        """
        import pytest

        @pytest.fixture(scope="session")
        async def report():
            return "a report"

        async def test_value(report):
            assert report == "a report"
        """
    ),
}


def _read_fixture_scope(run: SuiteRun | Problem) -> dict[str, str]:
    if isinstance(run, Problem):
        observed = refused(run)
    elif f"Unknown config option: {FIXTURE_OPTION}" in _said(run):
        observed = NO_SUCH_OPTION
    else:
        observed = seen(run)
    return {f"{FIXTURE_OPTION} = fixture-scope": observed}


_MODE_IN_CONFIGURE = {
    "conftest.py": (
        """
        def pytest_configure(config):
            config.option.asyncio_mode = "auto"
        """
    ),
    "test_unmarked.py": (
        """
        async def test_unmarked():
            pass
        """
    ),
}


_NOTHING = {"test_nothing.py": "def test_nothing(): pass"}


def _read_unset(run: SuiteRun) -> dict[str, str]:
    return {"warning about an unset option, with -W default": warning(run, "is unset")}


def _read_mode_in_configure(run: SuiteRun) -> dict[str, str]:
    return {
        "mode set to auto in pytest_configure, async test without a mark": told(
            run, "test_unmarked.py::test_unmarked"
        )
    }


def plugin() -> list[Probe]:
    """What pytest-asyncio does by itself, where nothing or something is set."""
    return [
        Probe("nothing configured", {"project": _NOTHING_CONFIGURED}, _read_nothing_configured),
        # pytest 8.4 leaves this one to Python's filter, which hides it.
        Probe(
            "unset option",
            {"project": _NOTHING, "environment": {"PYTHONWARNINGS": "default"}},
            _read_unset,
        ),
        Probe("event_loop", {"project": _EVENT_LOOP}, _read_event_loop),
        Probe("event_loop_policy", {"project": _POLICY}, _read_policy),
        Probe("loop factories", {"project": _LOOP_FACTORIES}, _read_loop_factories),
        Probe("mark scope", {"project": _marked("scope")}, _read_marked("scope"), refusable=True),
        Probe(
            "mark loop_scope",
            {"project": _marked("loop_scope")},
            _read_marked("loop_scope"),
            refusable=True,
        ),
        Probe("fixture-scope", {"project": _FIXTURE_SCOPE}, _read_fixture_scope, refusable=True),
        Probe("mode in pytest_configure", {"project": _MODE_IN_CONFIGURE}, _read_mode_in_configure),
    ]


# -- the matrix: fixture loop scope × test loop scope ----------------------------------------------


def matrix_project(fixture: str | None, test: str | None) -> dict[str, str]:
    """A session-wide async fixture that opens pooled connections, and tests that use the engine;
    options left out where None.
    """
    options = {FIXTURE_OPTION: fixture, TEST_OPTION: test}
    set_here = "".join(f"{name} = {scope}\n" for name, scope in options.items() if scope)
    return {
        "pytest.ini": f"[pytest]\nasyncio_mode = auto\n{set_here}",
        "reports.py": _GLOBAL_ENGINE,
        "tests/__init__.py": "",
        "tests/conftest.py": (
            """
            import pytest_asyncio
            from reports import count_reports, engine

            @pytest_asyncio.fixture(scope="session")
            async def tables():
                await count_reports()
                yield
                await engine.dispose()
            """
        ),
        # In a class and in a package, so that every scope has something to be the scope of.
        "tests/test_reports.py": (
            """
            from reports import count_reports

            class TestReports:
                async def test_first(self, tables):
                    assert await count_reports() == 1

                async def test_second(self, tables):
                    assert await count_reports() == 1

                async def test_third(self, tables):
                    assert await count_reports() == 1
            """
        ),
    }


def matrix_fact(fixture: str | None, test: str | None) -> str:
    """The name of one cell's fact."""
    return f"fixture loop {fixture or 'unset'}, test loop {test or 'unset'}"


def options() -> Probe:
    """Which of the two options there are: facts ``option NAME``, "known" or "unknown"."""
    return Probe("options", {"project": _BOTH_OPTIONS}, _read_options)


def matrix(unknown: Collection[str] = ()) -> tuple[list[Probe], dict[str, str]]:
    """Each of the 25 cells, and three in which an option is left out.

    Args:
        unknown: options that the environment's plugin does not know. pytest ignores such an option
            and warns: what a cell with it showed would be the outcome of another cell, so it is not
            run.

    Returns:
        The probes, and the facts of the cells that cannot be run.
    """
    pairs: list[tuple[str | None, str | None]] = [(f, t) for f in SCOPES for t in SCOPES]
    pairs += [(None, None), ("session", None), (None, "session")]
    found, without = [], {}
    for fixture, test in pairs:
        if (fixture and FIXTURE_OPTION in unknown) or (test and TEST_OPTION in unknown):
            without[matrix_fact(fixture, test)] = NO_SUCH_OPTION
        else:
            found.append(_cell(fixture, test))
    return found, without


def _cell(fixture: str | None, test: str | None) -> Probe:
    fact = matrix_fact(fixture, test)
    return Probe(fact, {"project": matrix_project(fixture, test)}, lambda run: {fact: seen(run)})


# -- the pool: one engine from loop to loop --------------------------------------------------------

_POOLS = (
    ("default pool", "", "engine.begin()"),
    ("pool_pre_ping=True", ", pool_pre_ping=True", "engine.begin()"),
    ("pool_pre_ping=True", ", pool_pre_ping=True", "AsyncSession(engine)"),
    # The others not by a session: where that leaks its connection, what comes next is up to the
    # garbage collector.
    ("pool_size=1, max_overflow=0", ", pool_size=1, max_overflow=0", "engine.begin()"),
    ("NullPool", ", poolclass=NullPool", "engine.begin()"),
    ("pool_recycle=0", ", pool_recycle=0", "engine.begin()"),
)
_POOL_FILE = """
    import os
    import pytest
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(os.environ["DATABASE_URL"]%s)

    @pytest.mark.parametrize("loop", range(1, 7))
    async def test_loop(loop):
        async with %s as connection:
            await connection.execute(text("SELECT 1"))
    """


def pool() -> list[Probe]:
    """One engine used from six loops, one after the other: by kind of pool and by way of use."""
    project = {"pytest.ini": f"[pytest]\nasyncio_mode = auto\n{FIXTURE_OPTION} = function\n"}
    facts: dict[str, str] = {}
    for name, argument, way in _POOLS:
        file = f"test_pool_{len(facts)}.py"
        project[file] = _POOL_FILE % (argument, way)
        facts[file] = f"{name}, {way}, loop after loop"

    def read(run: SuiteRun) -> dict[str, str]:
        return {
            fact: ", ".join(shown(test) for test in run.tests if test.id.startswith(f"{file}::"))
            for file, fact in facts.items()
        }

    return [Probe("pools", {"project": project}, read)]


def shown(test: TestResult) -> str:
    """What a reader sees first; and the symptom of what stands behind it, if that is another."""
    if test.outcome == "passed":
        return "ok"
    kind, _, text = test.error.partition(": ")
    symptom = symptom_in(kind, text)
    if symptom == kind:
        said = re.sub(r"^\([\w.]+\) |<class '[\w.]+'>: ", "", text)
        # Neither addresses nor a test's own name: a kind of error is to look the same wherever it
        # comes from.
        said = re.sub(r"\b0x[0-9a-f]+", "0x...", said).replace(
            test.id.rpartition("::")[2], "the test"
        )
        symptom = f"{kind}: {said}" if said else kind
    return symptom if test.symptom in (kind, symptom) else f"{symptom} (behind it: {test.symptom})"


# -- reading ---------------------------------------------------------------------------------------


def seen(run: SuiteRun) -> str:
    """A run in two words: "passes", or how its first test that did not pass failed."""
    if run.hung:
        return "hangs"
    return next((_failure(test) for test in run.tests if test.outcome != "passed"), "passes")


def _failure(test: TestResult) -> str:
    named = re.search(
        r"\b(ScopeMismatch|MultipleEventLoopsRequestedError)\b", f"{test.error}\n{test.traceback}"
    )
    return (
        named[1]
        if named
        else f"skipped: {_text(test)}"
        if test.outcome == "skipped"
        else test.symptom
    )


def told(run: SuiteRun, id: str) -> str:
    """What the test reported, or how it ended."""
    found = [test for test in run.tests if test.id == id]
    return _told(found[0]) if found else "not run"


def _told(test: TestResult) -> str:
    if test.error.startswith("Told: "):
        return test.error.removeprefix("Told: ")
    return test.outcome if test.outcome == "passed" else f"{test.outcome}: {_text(test)}"


def _text(test: TestResult) -> str:
    text = test.error.partition(": ")[2] or test.error
    missing = re.search(r"fixture '\w+' not found", f"{text}\n{test.traceback}")
    return missing[0] if missing else _failure(test) if "ScopeMismatch" in test.traceback else text


def warning(run: SuiteRun, *parts: str) -> str:
    """The first warning's text that holds one of the parts, without line breaks; "none" without
    one.
    """
    for text in run.warnings:
        if any(part in text for part in parts):
            return re.sub(r"\s+", " ", text).strip()
    # One that is given before pytest collects warnings goes to stderr, with its place before it.
    for line in run.output.splitlines():
        found = re.search(r"\b(\w*Warning: .*)", line)
        if found and any(part in line for part in parts):
            return found[1].strip()
    return "none"


def _said(run: SuiteRun) -> str:
    return run.output + "\n".join(run.warnings)


def refused(problem: Problem) -> str:
    """Why pytest did not run the suite, in its own words."""
    said = str(problem).splitlines()[-1].removeprefix("It says: ")
    return f"refused: {said}"
