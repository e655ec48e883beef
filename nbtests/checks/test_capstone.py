"""The capstone judges suites: every cure of the course passes, and whoever takes tests away,
empties them or forges outcomes is found out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from loopbound.authoring.proof import namespace, wrong_answers
from loopbound.checks import judge, observe, observed
from loopbound.checks.capstone import _bugs as bugs_by_run
from loopbound.checks.capstone import hidden_files, labels_of
from loopbound.checks.lesson_12 import _as_found as as_found
from loopbound.checks.lesson_12 import _refused as refused
from loopbound.checks.verdict import Verdict
from loopbound.course.manifest import assignment
from loopbound.faults.explain import explain
from loopbound.outcomes import PASSED
from loopbound.paths import repository
from loopbound.scan.scan import scan
from loopbound.suite import BACKEND, COURIER, run_suite

ROOT = repository()
CURES = (
    "dispose",
    "explicit-loop",
    "function-engine",
    "null-pool",
    "session-loop",
    "session-loop-rollback",
)
CONFTEST = (BACKEND / "tests" / "conftest.py").read_text(encoding="utf-8")
DISPOSE = """
import pytest
from app.db.session import engine

@pytest.fixture(autouse=True)
async def empty_pool_after_test():
    yield
    await engine.dispose()
"""


drawn: set[str] = set()


def of_fix(name: str) -> dict[str, str]:
    top = BACKEND / "fixes" / name
    return {
        path.relative_to(top).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(top.rglob("*"))
        if path.suffix in (".py", ".toml", ".ini")
    }


def data_on(files: dict[str, str]) -> dict[str, Any]:
    names = namespace(ROOT, "12.2", f"def mended():\n    return {files!r}\n")
    return observed("12.2", names)


def verdict_on_conftest(more: str) -> Verdict:
    return judge("12.2", data_on({"tests/conftest.py": CONFTEST + more}))


@pytest.mark.parametrize("fix", CURES)
def test_every_cure_of_the_course_mends_the_suite(fix: str) -> None:
    data = data_on(of_fix(fix))
    verdict = judge("12.2", data)
    assert verdict.outcome == PASSED, verdict
    orders = [run["order"] for run in data["suite"]["runs"]]
    assert orders[:2] == ["default", "reverse"] and len(set(orders)) == 5
    assert drawn.isdisjoint(orders[2:])  # drawn anew for each check: nobody can foresee them
    drawn.update(orders[2:])
    assert [run["order"] for run in data["suite"]["alone"]] == as_found()["failing"]
    assert judge("12.2", json.loads(json.dumps(data))) == verdict  # from stored data as well


def test_the_bugs_are_caught_by_every_test_of_the_suite() -> None:
    bugs = [bug for batch in bugs_by_run().values() for bug in batch]
    for bug in bugs:
        assert (BACKEND / bug["file"]).read_text(encoding="utf-8").count(bug["there"]) == 1, bug[
            "says"
        ]
    assert {test for bug in bugs for test in bug["caught_by"]} == set(as_found()["tests"])


def test_what_is_hidden_stays_hidden() -> None:
    shown = "".join((ROOT / "exercises" / assignment("12").file).read_text(encoding="utf-8"))
    files = hidden_files("suite") | hidden_files("worker")
    names = [name for name in labels_of(files) if name.startswith("test_")]
    assert len(names) > 8
    assert [name for name in names if name in shown] == []
    assert [Path(file).name for file in files if Path(file).name in shown] == []
    # Feedback tells labels: no name of a function is one.
    assert [label for label in labels_of(hidden_files("suite")).values() if "_" in label] == []


@pytest.mark.parametrize(
    "name",
    [
        "tests/api/test_auth.py",
        "./tests/api/test_auth.py",
        "tests//api/test_auth.py",
        "tests/API/test_auth.py",
        "schema.sql",
        "asyncpg/__init__.py",
        "sqlalchemy.py",
        "sitecustomize.py",
        "app/../sitecustomize.py",
        "/tests/conftest.py",
    ],
)
def test_files_that_no_cure_needs_are_refused(name: str) -> None:
    verdict = judge("12.2", data_on({name: ""}))
    assert verdict.diagnosis in ("test file replaced", "another file", "does not load"), verdict


def test_files_of_every_cure_are_not_refused() -> None:
    assert [
        refused(of_fix(fix)) for fix in (*CURES, "recipe-1-corrected", "recipe-2-as-written")
    ] == [[]] * 8


CHEATS = {
    "a second try where the first one fails": (
        """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    try:
        item.runtest()
    except RuntimeError:
        item.runtest()
    item.runtest = lambda: None
""",
        {"failures hidden", "still failing"},
    ),
    "the five emptied, beside a real cure": (
        DISPOSE
        + """
import functools, inspect

FIVE = ("creates_account", "permission_denied", "requires_completion", "status_forbidden", "connection_and_completion")

def emptied(test):
    @functools.wraps(test)
    async def nothing(**given):
        pass
    return nothing

def pytest_collection_modifyitems(items):
    for item in items:
        if item.name.endswith(FIVE):
            item.obj = emptied(item.obj)
""",
        {"a bug goes unnoticed"},
    ),
    "every report a good one, beside a real cure": (
        DISPOSE
        + """
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
""",
        {"a bug goes unnoticed"},
    ),
    "errors swallowed in the tests": (
        """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    outcome = yield
    if outcome.excinfo is not None:
        outcome.force_result(None)
""",
        {"failures hidden"},
    ),
    "another database for the five": (
        """
import pytest
from app.db import session as db
from app.db.models import Base
from sqlalchemy.ext.asyncio import create_async_engine

TAKES = ("test_auth.py", "test_reports.py", "test_status.py", "test_stream.py", "test_analyze.py")

@pytest.fixture(autouse=True)
async def another(request):
    if request.path.name not in TAKES:
        yield
        return
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    db.SessionFactory.configure(bind=engine)
    yield
    db.SessionFactory.configure(bind=db.engine)
    await engine.dispose()
""",
        {"another driver", "a bug goes unnoticed", "further tests fail"},
    ),
    "no test collected": ("collect_ignore_glob = ['*']", {"does not load", "tests taken away"}),
    "the process ended": ("import os\nos._exit(0)", {"does not load", "tests taken away"}),
    "pytest left in the middle": (
        """
import pytest

def pytest_runtest_setup(item):
    if "test_auth" in item.nodeid:
        pytest.exit("enough", returncode=0)
""",
        {"tests taken away"},
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_nothing_and_is_named(name: str) -> None:
    more, diagnoses = CHEATS[name]
    verdict = verdict_on_conftest(more)
    assert verdict.diagnosis in diagnoses, verdict
    assert not re.search(
        r"test_from_sign_up|test_rows_of|test_an_analysis|test_which|test_journeys", verdict.says
    )


def test_an_answer_is_only_read_in_the_learners_process() -> None:
    # The suite is no part of the first stage: a grader runs the others elsewhere.
    answer = next(
        answer for answer in wrong_answers(ROOT, assignment("12")) if answer.task == "12.2"
    )
    data = observe("12.2", namespace(ROOT, "12.2", answer.code))
    assert set(data["steps"][0]["value"]) == {"pyproject.toml"} and "suite" not in data


def test_the_strangers_project_is_red_and_each_tool_says_why(tmp_path: Path) -> None:
    """Task 11.3 begins here: nothing is said for it but what the tools say."""
    report = tmp_path / "guard.json"
    options = ["-p", "loopbound.guard.plugin", f"--loop-guard-report={report}"]
    run = run_suite(COURIER, options=options)
    assert len(run.failed) == 3 and len(run.passed) == 1
    crossed = json.loads(report.read_text(encoding="utf-8"))["crossings"]
    assert {each["kind"] for each in crossed} == {"asyncpg-pool", "fixture-and-test"}
    assert {each["cure"].partition(":")[0] for each in crossed} == {"session-loop"}
    answer = explain(run.output)
    assert {*answer.kinds, *answer.also} >= {"asyncpg-pool"}
    assert {each.code for each in scan(COURIER).findings} == {
        "ENGINE_OVER_FUNCTION_LOOPS",
        "FIXTURE_TEST_LOOP_MISMATCH",
    }
