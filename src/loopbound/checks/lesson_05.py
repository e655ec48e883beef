"""Lesson 05, the failing suite: foretell who fails, name who left the connection, write the conftest that a real run judges."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Mapping
from typing import Any

from loopbound.checks.plain import plain, told
from loopbound.checks.task import Data, TaskCheck, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.problem import Problem
from loopbound.suite import SuiteRun, run_suite

_LIMIT = 20.0  # seconds for a run of six small tests


def _short(identity: str) -> str:
    return identity.split("::")[-1]


@functools.lru_cache(maxsize=4)
def _as_found(suite: str) -> Data:
    """The suite's own run: who fails, and who had made the connection that a failing test met."""
    run = run_suite(json.loads(suite), trace=True, limit=_LIMIT)
    owner: dict[str, str] = {}
    left_by: dict[str, str] = {}
    for event in run.trace:
        if event.loop and event.test:
            owner.setdefault(event.loop, _short(event.test))
        if event.born_on and event.born_on != event.loop and _short(event.test) in map(_short, run.failed):
            left_by.setdefault(_short(event.test), owner.get(event.born_on, ""))
    return {"tests": [_short(test.id) for test in run.tests], "failing": [_short(test) for test in run.failed], "left_by": left_by}


def _found(given: Mapping[str, Any]) -> Data:
    return _as_found(json.dumps(plain(given["SUITE"])))


def _observed(names: Mapping[str, Any], answer: str) -> Data:
    with Watch(names) as watch:
        watch.plain_step(f"{answer}()", names[answer])
    return watch.data()


# 05.1 Who fails?


def _observe_failing(names: Mapping[str, Any]) -> Data:
    return _observed(names, "failing")


def _judge_failing(data: Data) -> Verdict:
    said, tests, failing = value_of(data), data["tests"], data["failing"]
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        return failed("not a list", f"`failing()` returned {told(said)}. Wanted is a list of the names of tests.")
    said = [_short(name) for name in said]
    if strange := [name for name in said if name not in tests]:
        return failed("unknown test", f"The suite has no test {strange[0]!r}.")
    if sorted(said) == sorted(failing):
        return passed(f"The suite was run: of its {len(tests)} tests {', '.join(failing)} failed, as you foretold.")
    words = f"You name {len(said)} of {len(tests)} tests, and the run does not agree."
    if "test_title" in said:
        return failed("no connection", f"{words}\n`test_title` fails in your list. Which connection could it meet?")
    if len(said) > len(failing) and set(failing) < set(said):
        return failed("never repaired", f"{words}\nThose that fail are among yours. What does a failed ping leave behind for the next test?")
    if tests[0] in said:
        return failed("the first one", f"{words}\n`{tests[0]}` fails in your list. What stood in the pool before it?")
    return failed("another set", f"{words}\nGo through the tests in their order, and note after each what stands in the pool.")


# 05.2 Who left it?


def _observe_left(names: Mapping[str, Any]) -> Data:
    return _observed(names, "left_by")


def _judge_left(data: Data) -> Verdict:
    said, truth = value_of(data), data["left_by"]
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said.values()):
        return failed("not a dict", f"`left_by()` returned {told(said)}. Wanted is a dict from each failing test to the test whose connection it met.")
    said = {_short(test): _short(other) for test, other in said.items()}
    if said == truth:
        return passed("In the trace of the run each failing test met a connection that was made in the test you name.")
    if sorted(said) != sorted(truth):
        return failed("other tests", f"Your keys are {', '.join(said) or 'none'}. In the run {len(truth)} tests failed; task 05.1 is about them.")
    wrong = next(test for test in truth if said[test] != truth[test])
    words = f"The connection that `{wrong}` met was not made in `{said[wrong]}`."
    if said[wrong] == wrong:
        return failed("the victim itself", f"{words}\nOne that it had made itself would be of its own loop, and harmless.")
    if said[wrong] == "test_title":
        return failed("the neighbour", f"{words}\nThat test stands right before it, and took no connection at all.")
    return failed("another culprit", f"{words}\nWho was the last test before it that connected, and gave its connection back?")


# 05.3 A conftest


def _observe_conftest(names: Mapping[str, Any]) -> Data:
    return _observed(names, "conftest")


def _run_with(data: Data, given: Mapping[str, Any]) -> Data:
    runs: list[Data] = []
    problem = ""
    text = value_of(data)
    if isinstance(text, str):
        for order in ("default", "reverse"):
            try:
                run = run_suite(given["SUITE"], overlay={"conftest.py": textwrap.dedent(text)}, order=order, limit=_LIMIT)
            except Problem as error:
                problem = str(error)
                break
            runs.append(_in_words(order, run))
            if run.failed or run.errors or run.hung:
                break
    return {"runs": runs, "problem": problem}


def _in_words(order: str, run: SuiteRun) -> Data:
    return {
        "order": order,
        "passed": [_short(test) for test in run.passed],
        "failed": {_short(test): symptom for test, symptom in run.failed.items()},
        "errors": {_short(test): symptom for test, symptom in run.errors.items()},
        "error": next((test.error for test in run.tests if test.outcome == "error"), ""),
        "hung": run.hung,
        "left": len(run.leftovers),
        "never_awaited": any("dispose' was never awaited" in text for text in (*run.warnings, run.output)),
    }


def _judge_conftest(data: Data) -> Verdict:
    if data["problem"]:
        return failed("does not load", f"pytest could not run the suite with your `conftest.py`. {data['problem']}")
    if not data["runs"]:
        return failed("no text", f"`conftest()` returned {told(value_of(data))}. Wanted is the text of a file.")
    tests, before = data["tests"], data["failing"]
    for run in data["runs"]:
        order = f"In the {run['order']} order"
        seen = [*run["passed"], *run["failed"], *run["errors"]]
        if run["hung"]:
            return failed("hung", f"{order} the suite had not ended after {_LIMIT:.0f} seconds.")
        if missing := [test for test in tests if test not in seen]:
            return failed("tests taken away", f"{order} `{missing[0]}` did not run: {len(set(seen))} of {len(tests)} tests did. A test that does not run proves nothing.")
        if run["errors"]:
            test = next(iter(run["errors"]))
            return failed("fixture fails", f"{order} a fixture of `{test}` raised `{run['error']}`.")
        if run["never_awaited"]:
            return failed("dispose not awaited", f"{order} {len(run['failed'])} tests failed, and Python warned that a coroutine was never awaited.")
        if sorted(run["failed"]) == sorted(before) and run["order"] == "default":
            return failed("no effect", f"{order} the same tests fail as without your `conftest.py`: {', '.join(before)}. Does it run after each test?")
        if run["failed"]:
            test, symptom = next(iter(run["failed"].items()))
            return failed("still failing", f"{order} `{test}` fails: {symptom}.")
        if run["left"]:
            return failed(
                "connections left",
                f"{order} all {len(tests)} tests passed. When the last one was over, the server still saw {run['left']} open connections of the suite.",
            )
    return passed(f"pytest ran the suite with your `conftest.py`: all {len(tests)} tests passed in the default order and in reverse, and no connection was left.")


CHECKS = {
    "05.1": TaskCheck(
        answers=("failing",),
        given=("SUITE",),
        observe=_observe_failing,
        facts=_found,
        judge=_judge_failing,
        hints=(
            "Each async test has a loop of its own, and one connection is in use at a time: the pool has one place that matters.",
            "Note after each test what stands in that place: nothing, a connection of this test, or an emptied place after a failed ping.",
        ),
    ),
    "05.2": TaskCheck(
        answers=("left_by",),
        given=("SUITE",),
        observe=_observe_left,
        facts=_found,
        judge=_judge_left,
        hints=(
            "A failing test met a connection that an earlier test had made and given back.",
            "A test that fails at its ping empties the place. Who connected last before each failing test?",
        ),
    ),
    "05.3": TaskCheck(
        answers=("conftest",),
        given=("SUITE",),
        observe=_observe_conftest,
        facts=_found,
        settle=_run_with,
        judge=_judge_conftest,
        hints=(
            "`test_auth.py` of the incident emptied the pool after each of its tests. A fixture can do that for all of them.",
            "An async fixture with `yield` runs what follows it after the test, on the test's own loop. `autouse=True` gives it to every test.",
            "After the `yield`: `await engine.dispose()`, with `from backend import engine` at the top of the file.",
        ),
    ),
}
