"""Lesson 11, preventing it: a configuration in which planted faults show, a suite that is green in
one order alone, and a stranger's project from red to guarded.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopbound.checks.suites import (
    LIMIT,
    SeededBug,
    files_of,
    judge_suite,
    miscounting,
    run_orders,
    short,
)
from loopbound.checks.task import Data, TaskCheck, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.machine import slowness
from loopbound.problem import Problem
from loopbound.scan.scan import scan
from loopbound.suite import COURIER, SuiteRun, run_suite, run_suites
from loopbound.suite.project import lay_out
from loopbound.suite.run import ordered

CHECKS: dict[str, TaskCheck] = {}

_ASYNC = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def _ids(suite: Mapping[str, str]) -> list[str]:
    return [f"{file}::{name}" for file, text in suite.items() for name in _ASYNC.findall(text)]


# 11.1 A configuration that speaks

_FILE = "pyproject.toml"
_GUARD = ["-p", "loopbound.guard.plugin"]  # as an installed plugin is loaded
_LONGEST = 10.0  # seconds that a test may hang
_WAITS, _FORGETS, _CROSSES = "test_stream", "test_mail", "test_second"

# A file for each planted fault, laid beside the suite; the test of the name is the one to fail.
_FAULTS = {
    _WAITS: """
import asyncio

async def test_stream():
    await asyncio.Event().wait()
""",
    _FORGETS: """
async def send(): ...

async def test_mail():
    send()
""",
    _CROSSES: """
import asyncio

turn = asyncio.Lock()

async def take():
    async with turn:
        await asyncio.sleep(0)

async def test_first(): await asyncio.gather(take(), take(), return_exceptions=True)
async def test_second(): await asyncio.gather(take(), take(), return_exceptions=True)
""",
}


def _time_out(run: SuiteRun) -> Data:
    said = re.search(r"^timeout: ([\d.]+)s", run.output, re.MULTILINE)
    return {"timeout": float(said[1]) if said else 0.0}


def _run_planted(data: Data, given: Mapping[str, Any]) -> Data:
    suite, text = given["SUITE"], files_of(value_of(data), _FILE)
    sound = run_orders(
        suite, text, may=[_FILE], orders=("default",), also=_time_out, options=_GUARD
    )
    found: Data = {"suite": sound, "ids": _ids(suite), "planted": {}}
    found["filters"] = "filterwarnings" in str(text)
    if not text or sound["problem"] or not sound["runs"]:
        return found
    (run,) = sound["runs"]
    # A suite without a time-out that fires need not be waited for.
    if len(run["passed"]) < len(found["ids"]) or not 0 < run["timeout"] <= _LONGEST:
        return found
    jobs = [
        {
            "project": suite,
            "overlay": {**text, f"{name}.py": _FAULTS[name]},
            "options": _GUARD,
            "limit": LIMIT * int(slowness()),
        }
        for name in _FAULTS
    ]
    try:
        runs = run_suites(jobs)
    except Problem as error:
        return found | {"suite": sound | {"problem": str(error)}}
    found["planted"] = {
        name: {
            "red": not run.hung
            and any(test.outcome != "passed" for test in run.tests if short(test.id) == name),
            "watched": "= loop guard =" in run.output,
        }
        for name, run in zip(_FAULTS, runs, strict=True)
    }
    return found


def _judge_planted(data: Data) -> Verdict:
    if wrong := judge_suite(
        data["suite"],
        value_of(data),
        tests=data["ids"],
        what=f"your `{_FILE}`",
        wanted=f"the text of a `{_FILE}`",
    ):
        return wrong
    timeout, planted = data["suite"]["runs"][0]["timeout"], data["planted"]
    green = "The sound suite is green with it."
    if not timeout:
        return failed(
            "no time-out",
            f"{green} But pytest's header names no time-out, so a test that waits for what never"
            " comes keeps the run for ever.",
        )
    if timeout > _LONGEST:
        return failed(
            "time-out too long",
            f"{green} But its time-out is {timeout:g} seconds; a test that hangs has to end within"
            f" {_LONGEST:g}.",
        )
    if not planted[_WAITS]["red"]:
        return failed(
            "a hang unnoticed",
            f"{green} But `{_WAITS}`, which waits for what never comes, did not fail.",
        )
    if not planted[_FORGETS]["red"]:
        words = f"{green} But `{_FORGETS}` calls an async function without `await`, and passed."
        if data["filters"]:
            return failed(
                "a warning escapes",
                f"{words}\nPython warns where an object is deleted, and nothing can be raised"
                " there: pytest makes another warning of it, of a class of its own. Which filter"
                " takes both?",
            )
        return failed(
            "a forgotten await unnoticed",
            f"{words}\nPython warned, and a warning fails no test until you say so.",
        )
    if not planted[_CROSSES]["red"]:
        words = f"{green} But `{_CROSSES}` uses a lock of another loop, and passed: it gathers with"
        words = f"{words} `return_exceptions`, and drops the error."
        if planted[_CROSSES]["watched"]:
            return failed(
                "the guard only warns",
                f"{words}\nThe guard saw it, and was not told to fail the test.",
            )
        return failed("a crossing unnoticed", f"{words}\nWho watches what crosses, and is silent?")
    return passed(
        f"The sound suite is green, and each planted fault makes it red: `{_WAITS}` ends after"
        f" {timeout:g} seconds, the forgotten `await` of `{_FORGETS}` is an error, and the guard"
        f" fails `{_CROSSES}`, which had dropped the error itself."
    )


CHECKS["11.1"] = TaskCheck(
    answers=("settings",),
    given=("SUITE",),
    settle=_run_planted,
    judge=_judge_planted,
    hints=(
        (
            "Three settings, one for each fault: pytest-timeout reads `timeout`, pytest itself"
            " `filterwarnings`, the guard `loop_guard`."
        ),
        (
            "The guard has `off`, `warn` and `error`. And a filter for one class of warnings lets"
            " through what pytest makes of it: begin with all of them."
        ),
        '`timeout = 5`, `filterwarnings = ["error"]` and `loop_guard = "error"`.',
    ),
)


# 11.2 Green in one order

_ORDERS = ("default", "reverse", "random:3")


def _run_mended(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["DESK"]
    ids = _ids(suite)

    def in_order(run: SuiteRun) -> Data:
        return {"ran": [test.id for test in run.tests]}

    return {
        "suite": run_orders(
            suite,
            files_of(value_of(data)),
            may=["conftest.py", _FILE],
            orders=_ORDERS,
            bug=miscounting(suite, "test_list", "test_users"),
            also=in_order,
        ),
        "ids": ids,
        "orders": {order: ordered(ids, order) for order in _ORDERS},
    }


def _judge_mended(data: Data) -> Verdict:
    for run in data["suite"]["runs"]:
        wanted = data["orders"][run["order"]]
        if run["ran"] != wanted and sorted(run["ran"]) == sorted(wanted):
            return failed(
                "order fixed",
                f"The {run['order']} order was asked for, and the tests ran in another:"
                f" {', '.join(map(short, run['ran']))}. A fixed order hides the fault; it comes"
                " back when some of the tests run alone.",
            )
    if wrong := judge_suite(
        data["suite"],
        value_of(data),
        tests=data["ids"],
        what="your files",
        wanted=f"a dict from `conftest.py` or `{_FILE}` to its text",
    ):
        return wrong
    return passed(
        f"All {len(data['ids'])} tests pass in {len(_ORDERS)} orders, {', '.join(_ORDERS)}, and no"
        " connection is left. With a bug in the backend the suite failed, as it should."
    )


CHECKS["11.2"] = TaskCheck(
    answers=("mended",),
    given=("DESK",),
    settle=_run_mended,
    judge=_judge_mended,
    hints=(
        (
            '`run_suite(DESK, order="reverse")` is red. Which file empties the pool behind its'
            " tests, and which one does not?"
        ),
        (
            "A fixture in a test file serves that file alone. In `conftest.py`, with"
            " `autouse=True`, it serves all of them."
        ),
    ),
)


# 11.3 A stranger's project

_MAY = ("tests/conftest.py", _FILE, "app/database.py", "app/labels.py")
_WATCHED = [*_GUARD, "--loop-guard"]
_LATER = "tests/test_later.py"
# A crossing that a colleague adds one day: two runs of their own, a lock, and no error.
_CROSSES_LATER = (
    _FAULTS[_CROSSES].partition("async def test_first")[0]
    + """
async def both(): await asyncio.gather(take(), take(), return_exceptions=True)

def test_later():
    asyncio.run(both())
    asyncio.run(both())
"""
)
_LOST = """

_sound = waiting

async def waiting(session):
    return (await _sound(session))[1:]
"""


def _courier(pattern: str) -> dict[str, str]:
    return {
        path.relative_to(COURIER).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(COURIER.glob(pattern))
    }


def _crossing(run: SuiteRun) -> Data:
    said = re.search(r"^object: (.*)$", run.output, re.MULTILINE)
    return {"crossing": said[1] if said else ""}


def _run_guarded(data: Data, given: Mapping[str, Any]) -> Data:
    files, parcels = files_of(value_of(data)), "app/parcels.py"
    suite = run_orders(
        COURIER,
        files,
        may=_MAY,
        orders=_ORDERS,
        bug=SeededBug(
            {parcels: _courier(parcels)[parcels] + _LOST},
            "a parcel that is lost",
            ("test_each_parcel_waits", "test_a_delivered_parcel_does_not_wait"),
        ),
        also=_crossing,
        options=_WATCHED,
    )
    found: Data = {"suite": suite, "ids": _ids(_courier("tests/test_*.py")), "scan": []}
    if suite["bug"] is None:  # it failed before
        return found
    with tempfile.TemporaryDirectory(prefix="loopbound-courier-") as made:
        copy = Path(made).resolve() / COURIER.name
        lay_out(COURIER, files, copy)
        found["scan"] = [
            {"code": each.code, "place": f"{each.file}:{each.line}"}
            for each in scan(copy).findings
            if each.counts
        ]
    later = run_suite(
        COURIER,
        overlay={**(files or {}), _LATER: _CROSSES_LATER},
        tests=[_LATER],
        options=_GUARD,
        limit=LIMIT * int(slowness()),
    )
    return found | {"later": [test.outcome for test in later.tests]}


def _judge_guarded(data: Data) -> Verdict:
    def crosses(run: Data) -> Verdict | None:
        if not (run["crossing"] and run["failed"]):
            return None
        return failed(
            "still crosses",
            f"In the {run['order']} order `{short(next(iter(run['failed'])))}` fails, and the guard"
            f" names {run['crossing']}.\nWhich of the project's two clients does your cure reach?",
        )

    if wrong := judge_suite(
        data["suite"],
        value_of(data),
        tests=data["ids"],
        own=crosses,
        what="your files",
        wanted="a dict from file names to their texts",
    ):
        return wrong
    green = f"All {len(data['ids'])} tests pass in {len(_ORDERS)} orders, and nothing stays open."
    if data["scan"]:
        (first, *_) = data["scan"]
        return failed(
            "the scan objects",
            f"{green} But `loopbound scan` finds {first['code']} in `{first['place']}`: what the"
            " tests do not notice, a reader of this project will.",
        )
    if "passed" in data["later"]:
        return failed(
            "not guarded",
            f"{green} Then a colleague added a test in which a lock crosses, and the error is"
            " dropped: it passed.\nWith `--loop-guard` it would not. Where does a setting stand"
            " that no person has to remember?",
        )
    return passed(
        f"{green} The guard had nothing to say, and the scan neither; with a bug in the"
        " application the suite failed, as it should. A crossing that was planted later is red"
        " without a word on the command line."
    )


CHECKS["11.3"] = TaskCheck(
    answers=("guarded",),
    settle=_run_guarded,
    judge=_judge_guarded,
    hints=(
        (
            "`run_suite(COURIER, options=GUARD).output` ends with a table: two objects cross, and"
            " one cure serves both. The configuration has half of it."
        ),
        (
            "On one loop for all tests nothing crosses, and at its end two things are open: the"
            " engine's pool and asyncpg's. A fixture with `scope=\"session\"` and `autouse=True`"
            " can close both behind its `yield`."
        ),
        '`loop_guard = "error"` below `[tool.pytest.ini_options]` switches the guard on for good.',
    ),
)
