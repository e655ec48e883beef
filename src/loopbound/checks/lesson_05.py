"""Lesson 05, the failing suite: foretell who fails, name who left the connection, write the
conftest that a real run judges.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from loopbound.checks.plain import as_text
from loopbound.checks.suites import (
    LIMIT,
    files_of,
    judge_suite,
    key_of,
    met_in,
    miscounting,
    run_orders,
    short,
)
from loopbound.checks.task import Data, TaskCheck, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.suite import SuiteRun, run_suite

CHECKS: dict[str, TaskCheck] = {}


@functools.lru_cache(maxsize=4)
def _as_found(suite: str) -> Data:
    """The suite's own run: who fails, and who had made the connection that a failing test met."""
    run = run_suite(json.loads(suite), trace=True, limit=LIMIT)
    return {
        "tests": [short(test.id) for test in run.tests],
        "ids": [test.id for test in run.tests],
        "failing": [short(test) for test in run.failed],
        "failing_ids": list(run.failed),
        "left_by": met_in(run),
    }


def _found(given: Mapping[str, Any]) -> Data:
    return _as_found(key_of(given["SUITE"]))


# 05.1 Who fails?


def _judge_failing(data: Data) -> Verdict:
    said, tests, failing = value_of(data), data["tests"], data["failing"]
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        return failed(
            "not a list",
            f"`failing()` returned {as_text(said)}. Wanted is a list of the names of tests.",
        )
    said = [short(name) for name in said]
    if strange := [name for name in said if name not in tests]:
        return failed("unknown test", f"The suite has no test {strange[0]!r}.")
    if sorted(said) == sorted(failing):
        return passed(
            f"The suite was run: of its {len(tests)} tests {', '.join(failing)} failed, as you"
            " predicted."
        )
    first = next(name for name in tests if (name in said) != (name in failing))
    words = (
        f"You name {len(set(said))} of {len(tests)} tests. In their order `{first}` is the first on"
        f" which you and the run differ: you let it {'fail' if first in said else 'pass'}."
    )
    if "test_title" in said:
        return failed(
            "no connection",
            f"{words}\n`test_title` fails in your list. Which connection could it meet?",
        )
    if set(failing) < set(said) and first not in (tests[0], "test_title"):
        return failed(
            "never repaired",
            f"{words}\nThose that fail are among yours. What does a failed ping leave behind for"
            " the next test?",
        )
    if tests[0] in said:
        return failed(
            "the first one",
            f"{words}\n`{tests[0]}` fails in your list. What stood in the pool before it?",
        )
    if not said:
        return failed(
            "nobody fails",
            f"{words}\nA ping runs on the loop of the test that asks. On which loop was the"
            " connection made that it tests?",
        )
    if first not in said:
        return failed(
            "another set",
            f"{words}\nWho was the last test before it that connected, and what stands in the pool"
            " when it asks?",
        )
    return failed(
        "another set",
        f"{words}\nWhat did the tests before it leave in the pool: a connection, an emptied place,"
        " or nothing?",
    )


CHECKS["05.1"] = TaskCheck(
    answers=("failing",),
    given=("SUITE",),
    facts=_found,
    judge=_judge_failing,
    hints=(
        (
            "Each async test has a loop of its own, and one connection is in use at a time: the"
            " pool has one place that matters."
        ),
        (
            "Note after each test what stands in that place: nothing, a connection of this"
            " test, or an emptied place after a failed ping."
        ),
    ),
)


# 05.2 Who left it?


def _judge_left(data: Data) -> Verdict:
    said, truth = value_of(data), data["left_by"]
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said.values()):
        return failed(
            "not a dict",
            f"`left_by()` returned {as_text(said)}. Wanted is a dict from each failing test to the"
            " test whose connection it met.",
        )
    said = {short(test): short(other) for test, other in said.items()}
    if said == truth:
        return passed(
            "In the trace of the run each failing test met a connection that was made in the test"
            " you name."
        )
    if sorted(said) != sorted(truth):
        return failed(
            "other tests",
            f"Your keys are {', '.join(said) or 'none'}. In the run {len(truth)} tests failed; task"
            " 05.1 is about them.",
        )
    wrong = next(test for test in truth if said[test] != truth[test])
    words = f"The connection that `{wrong}` met was not made in `{said[wrong]}`."
    if said[wrong] == wrong:
        return failed(
            "the victim itself",
            f"{words}\nOne that it had made itself would be of its own loop, and harmless.",
        )
    if said[wrong] == "test_title":
        return failed(
            "the neighbour",
            f"{words}\nThat test stands right before it, and took no connection at all.",
        )
    return failed(
        "another culprit",
        f"{words}\nWho was the last test before it that connected, and gave its connection back?",
    )


CHECKS["05.2"] = TaskCheck(
    answers=("left_by",),
    given=("SUITE",),
    facts=_found,
    judge=_judge_left,
    hints=(
        "A failing test met a connection that an earlier test had made and given back.",
        (
            "A test that fails at its ping empties the place. Who connected last before each"
            " failing test?"
        ),
    ),
)


# 05.3 A conftest


def _run_with(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["SUITE"]
    bug = miscounting(suite, "test_users", "test_detail")
    return {
        "suite": run_orders(
            suite,
            files_of(value_of(data), "conftest.py"),
            may=["conftest.py"],
            bug=bug,
            also=_closed_abroad,
            trace=True,
        )
    }


def _closed_abroad(run: SuiteRun) -> Data:
    """Tests in which a connection was closed on another loop than its own: its socket goes, and
    nobody says goodbye to the server.
    """
    return {
        "abroad": [
            short(event.test)
            for event in run.trace
            if event.kind == "close" and event.loop and event.born_on not in ("", event.loop)
        ]
    }


def _on_its_own_loop(run: Data) -> Verdict | None:
    if not run["abroad"]:
        return None
    count, words = len(run["abroad"]), f"In the {run['order']} order"
    return failed(
        "closed on another loop",
        f"{words} {count} {'connection was' if count == 1 else 'connections were'} closed on"
        f" another loop than the one that opened it; the first in `{run['abroad'][0]}`. Its own"
        " loop, on which it can say goodbye to the server, was not running.\nOn which loop does"
        " your fixture run?",
    )


def _judge_conftest(data: Data) -> Verdict:
    if wrong := judge_suite(
        data["suite"], value_of(data), tests=data["ids"], before=data["failing_ids"]
    ):
        return wrong
    if wrong := next(
        (wrong for run in data["suite"]["runs"] if (wrong := _on_its_own_loop(run))), None
    ):
        return wrong
    words = (
        f"pytest ran the suite with your `conftest.py`: all {len(data['ids'])} tests passed in the"
        " default order and in reverse, and no connection was left or closed on a foreign loop."
    )
    return passed(f"{words} With a bug in the backend the suite failed, as it should.")


CHECKS["05.3"] = TaskCheck(
    answers=("conftest",),
    given=("SUITE",),
    facts=_found,
    settle=_run_with,
    judge=_judge_conftest,
    hints=(
        (
            "`test_auth.py` of the incident emptied the pool after each of its tests. A fixture"
            " can do that for all of them."
        ),
        (
            "An async fixture with `yield` runs what follows it after the test, on the test's"
            " own loop. `autouse=True` gives it to every test."
        ),
        (
            "After the `yield`: `await engine.dispose()`, with `from backend import engine` at"
            " the top of the file."
        ),
    ),
)
