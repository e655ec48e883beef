"""What lesson 05 says about the incident documents' claims, executed on the backend's suite."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from as_found import FIVE
from claims import claim

from loopbound.suite import SuiteRun, incident, pool_steps, run_suites
from loopbound.suite.incident import BACKEND, incident_job

BEFORE_AUTH = "tests/api/test_analyze.py::test_analyze_is_accepted_and_completed"


@pytest.fixture(scope="module")
def found() -> SuiteRun:
    return incident(trace=True)


@pytest.fixture(scope="module")
def other_orders() -> dict[str, SuiteRun]:
    """The suite as found, in three further orders."""
    orders = ("reverse", "random:1", "random:2")
    runs = run_suites([incident_job(order=order) for order in orders])
    return dict(zip(orders, runs, strict=True))


@pytest.fixture(scope="module")
def taking() -> set[str]:
    """The tests that take a connection, seen where none fails."""
    return {
        event.test for event in incident("dispose", trace=True).trace if event.kind == "checkout"
    }


def in_file(run: SuiteRun, name: str) -> list[str]:
    return [test.id for test in run.tests if f"/{name}::" in test.id]


@claim(
    "B03",
    verdict="holds",
    observed=(
        "ten runs out of ten fail in exactly the five named tests, each with 'attached to a"
        " different loop' in its call"
    ),
)
def test_exactly_the_five_named_tests_fail_ten_times_out_of_ten():
    # What a warm process forks has one hash seed; three of the ten get seeds of their own.
    seeds = [{"environment": {"PYTHONHASHSEED": str(number)}} for number in range(3)]
    for run in run_suites([incident_job() | more for more in (*seeds, *[{}] * 7)]):
        assert run.failed == dict.fromkeys(FIVE, "different loop")
        assert len(run.passed) == 28 and not run.errors and not run.hung


@claim(
    "B04",
    verdict="refuted",
    observed="28 of 33 tests pass and 5 fail, which is 15 %; 18 and 18 % do not add up",
)
def test_twenty_eight_pass_and_fifteen_per_cent_fail(found):
    assert (len(found.passed), len(found.failed), len(found.tests)) == (28, 5, 33)
    assert round(100 * len(found.failed) / len(found.tests)) == 15


@claim("B05", verdict="holds", observed="each of the five passes in a process of its own")
def test_each_of_the_five_passes_alone():
    run = incident(order="alone", tests=sorted(FIVE))
    assert set(run.passed) == FIVE


def test_failing_in_the_suite_alone_is_a_sign_and_no_signature():
    on_another_loop = """
        import pytest_asyncio
        from app.db.session import engine

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def wide():
            async with engine.connect(): pass

        async def test_meets_the_fixtures_connection(wide):
            async with engine.connect(): pass
    """
    left_over = """
        rows = []
        def test_leaves_a_row():
            rows.append(1)
        def test_expects_none():
            assert rows == []
    """
    overlay = {"tests/test_loop.py": on_another_loop, "tests/test_rows.py": left_over}
    alone = incident(
        overlay=overlay, order="alone", tests=["tests/test_loop.py", "tests/test_rows.py"]
    )
    # This fault, and it fails alone.
    assert alone.failed == {
        "tests/test_loop.py::test_meets_the_fixtures_connection": "different loop"
    }
    # Another fault, with the sign of this one.
    together = incident(overlay=overlay, tests=["tests/test_rows.py"])
    assert together.failed == {"tests/test_rows.py::test_expects_none": "AssertionError"}


@claim(
    "B07",
    verdict="holds with a correction",
    observed=(
        "another order fails in another set, and one order always in the same: nothing about it is"
        " random"
    ),
)
def test_the_failing_set_is_the_orders_and_the_orders_alone(found, other_orders):
    orders = ("reverse", "random:1")
    again = run_suites([incident_job(order=order) for order in orders])
    sets = [frozenset(other_orders[order].failed) for order in orders]
    assert sets == [frozenset(run.failed) for run in again]
    assert len({*sets, frozenset(found.failed)}) == 3


@claim(
    "B14",
    verdict="holds",
    observed=(
        "db_session and client are defined in four test files, and one of the four disposes the"
        " engine"
    ),
)
def test_two_fixtures_stand_in_four_files_and_a_dispose_in_one():
    files: dict[str, list[str]] = {}
    for path in sorted((BACKEND / "tests" / "api").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("test_"):
                files.setdefault(node.name, []).append(path.name)
    four = ["test_auth.py", "test_reports.py", "test_status.py", "test_stream.py"]
    assert files["db_session"] == files["client"] == four
    assert files["dispose_engine_after_test"] == ["test_auth.py"]


@claim(
    "B15",
    verdict="holds",
    observed="after a dispose the next test's first pool event is 'connect', on its own loop",
)
def test_after_a_dispose_the_next_test_connects_on_its_own_loop(found):
    after_dispose = in_file(found, "test_auth.py")[1:]
    assert len(after_dispose) == 4
    for test in after_dispose:
        first = next(event for event in found.trace if event.test == test)
        assert (first.kind, first.born_on) == ("connect", first.loop)


@claim(
    "B16",
    verdict="refuted",
    observed=(
        "its first test is one of the five: a dispose after a test cannot help that test; the four"
        " behind it are green, and without the dispose some of them fail too"
    ),
)
def test_auth_is_not_green_and_its_dispose_helps_the_tests_behind_the_first(found):
    first, *others = in_file(found, "test_auth.py")
    assert first in found.failed and not set(others) & set(found.failed)
    without = incident(overlay=without_dispose())
    assert set(in_file(without, "test_auth.py")) & set(without.failed) - {first}


def test_each_failing_test_takes_what_an_earlier_one_left_in_the_queue(found, other_orders):
    steps = pool_steps(found)
    names = [name for name, *_ in steps]
    assert names == [test.id.split("::")[-1] for test in found.tests]
    for number, (name, queue, taken, said) in enumerate(steps):
        test = found.tests[number]
        assert said == (test.symptom if taken else "no database"), name
        assert set(queue) <= {*names[:number], ""}, name
        # Whoever takes an empty record, or finds none, opens a connection and passes.
        assert (test.id in found.failed) == any(queue[:taken]), name
    # What a test leaves behind: two connections, and after two failures two empty records.
    first = names.index("test_get_report_returns_completed_report")
    assert [queue for _, queue, *_ in steps[first : first + 4]] == [
        [],
        [names[first]] * 2,
        [names[first], ""],
        ["", ""],
    ]
    assert {taken for _, _, taken, _ in pool_steps(other_orders["random:1"])} == {0}, "no trace"


def without_dispose() -> dict[str, str]:
    path = Path("tests/api/test_auth.py")
    text = (BACKEND / path).read_text(encoding="utf-8")
    assert text.count("await engine.dispose()") == 1
    return {path.as_posix(): text.replace("await engine.dispose()", "pass")}


SYNC = """
import asyncio
from app.db.session import engine

async def ask():
    async with engine.connect():
        pass

def test_first():
    asyncio.run(ask())

def test_second():
    asyncio.run(ask())
"""


@claim(
    "B24",
    verdict="holds with a correction",
    observed=(
        "none of the nine synchronous tests failed in four orders, and none of them takes a"
        " connection; of two that do, each with asyncio.run on the module's engine, the second"
        " fails"
    ),
)
def test_synchronous_tests_are_not_affected_as_long_as_they_take_no_connection(
    found, other_orders, taking
):
    assert_none_fails([found, *other_orders.values()], taking, "sync")
    run = incident(overlay={"tests/test_sync.py": SYNC}, tests=["tests/test_sync.py"])
    assert [test.symptom for test in run.tests] == ["ok", "different loop"]


@claim(
    "B25",
    verdict="holds with a correction",
    observed=(
        "no async test that takes no connection failed; an asyncio.Lock that is contended on two"
        " loops would fail there too (lesson 02)"
    ),
)
def test_async_tests_without_a_connection_are_not_affected(found, other_orders, taking):
    assert_none_fails([found, *other_orders.values()], taking, "async")


def assert_none_fails(runs: list[SuiteRun], taking: set[str], wanted: str) -> None:
    kinds = {
        f"{path.relative_to(BACKEND).as_posix()}::{node.name}": (
            "async" if isinstance(node, ast.AsyncFunctionDef) else "sync"
        )
        for path in sorted((BACKEND / "tests").rglob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    spared = {
        test.id
        for test in runs[0].tests
        if kinds[test.id] == wanted and (wanted == "sync" or test.id not in taking)
    }
    assert len(spared) >= 9
    for run in runs:
        assert spared <= set(run.passed)


@claim(
    "B26",
    verdict="refuted",
    observed=(
        "no dispose runs before test_auth's first test; it meets the connection that test_analyze"
        " left, and passes without that test"
    ),
)
def test_the_first_auth_test_fails_because_of_a_connection_left_before_it(found):
    first = in_file(found, "test_auth.py")[0]
    position = [event.test for event in found.trace].index(first)
    assert {event.kind for event in found.trace[:position]} == {"connect", "checkout", "checkin"}
    assert {event.test for event in found.trace[:position]} == {BEFORE_AUTH}
    assert found.trace[position].kind == "invalidate"
    assert found.trace[position].born_on == found.trace[0].loop != found.trace[position].loop
    assert first in incident(options=("--deselect", BEFORE_AUTH)).passed
