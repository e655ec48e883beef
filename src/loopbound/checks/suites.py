"""What suite tasks share: a real pytest run with the learner's files laid over a suite, in several
orders, and its usual verdicts.

Outcomes that pytest reports can be forged by a hook, and a test that was emptied passes. So a suite
is also run with a bug seeded into what it tests, and the tests that catch it must fail. What comes
out of a run is plain data; `judge_suite` is pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from loopbound.checks.plain import as_text, plain
from loopbound.checks.verdict import Verdict, failed
from loopbound.machine import slowness
from loopbound.problem import Problem
from loopbound.suite import SuiteRun, run_suite, run_suites
from loopbound.suite.project import Project

__all__ = [
    "LIMIT",
    "SeededBug",
    "files_of",
    "judge_suite",
    "key_of",
    "miscounting",
    "run_in_words",
    "run_orders",
    "settings_of",
    "short",
    "tests_of",
]

Data = dict[str, Any]

LIMIT = 20.0  # seconds for one run of a few small tests, on a machine that is busy
_AT_ONCE = 2

_DISPOSE = re.compile(r"coroutine '[^']*\bdispose' was never awaited")


@dataclass(frozen=True)
class SeededBug:
    """A version of a suite's backend that is wrong on purpose.

    Attributes:
        files: {file: text}, laid over the suite after the learner's own.
        says: What is wrong in it, as feedback ends "With a bug in the backend, …".
        caught_by: Names or node ids of the tests that must fail with it.
    """

    files: Mapping[str, str]
    says: str
    caught_by: tuple[str, ...]


# Each test's first count of reports says what a foreign connection would say, once; every count is
# wrong. So neither a hook that turns reports round nor one that tries again gets past it.
_MISCOUNTING = """

_sound, _met = count, set()

async def count(*asked):
    table, test = asked[-1], os.environ.get("PYTEST_CURRENT_TEST", "")
    if table == "reports" and test.endswith("(call)") and test not in _met:
        _met.add(test)
        raise RuntimeError("Task got Future attached to a different loop")
    return await _sound(*asked) + 1
"""


def miscounting(suite: Mapping[str, str], *caught_by: str) -> SeededBug:
    """A bug for a suite whose ``backend.py`` imports ``os`` and has ``async def count(…, table)``;
    and the tests that must fail with it.
    """
    return SeededBug(
        {"backend.py": suite["backend.py"] + _MISCOUNTING},
        "a count that is too high by one and a query that fails once",
        caught_by,
    )


def key_of(suite: Mapping[str, str]) -> str:
    """A suite as a text, by which what was seen of it can be kept."""
    return json.dumps(plain(dict(suite)))


def tests_of(suite: Mapping[str, str]) -> list[str]:
    """The ids of a suite's tests, in the order in which pytest collects them."""
    return _tests_of(key_of(suite))


@lru_cache(maxsize=8)
def _tests_of(suite: str) -> list[str]:
    return list(run_suite(json.loads(suite), options=["--collect-only"], limit=LIMIT).not_run)


def short(identity: str) -> str:
    """A node id without its file: "test_list", "test_list[users]"."""
    name, bracket, rest = identity.partition("[")
    return name.split("::")[-1] + bracket + rest


def met_in(run: SuiteRun) -> dict[str, str]:
    """From a failing test to the one in which the connection was made that it met on another loop;
    short names.
    """
    owner: dict[str, str] = {}
    met: dict[str, str] = {}
    for event in run.trace:
        if event.loop and event.test:
            owner.setdefault(event.loop, short(event.test))
        if event.test in run.failed and event.born_on and event.born_on != event.loop:
            met.setdefault(short(event.test), owner.get(event.born_on, ""))
    return met


def files_of(value: Any, file: str | None = None) -> dict[str, str] | None:
    """A learner's answer as {file: text}: one text for ``file``, or a dict of texts that has it.

    None where it is neither.
    """
    if file and isinstance(value, str) and value.strip():
        return {file: value}
    if (
        isinstance(value, dict)
        and value
        and file in (None, *value)
        and all(isinstance(text, str) for text in value.values())
        and list(value) != ["type"]
    ):
        return dict(value)
    return None


def run_orders(
    suite: Project,
    files: Mapping[str, str] | None,
    *,
    may: Collection[str],
    orders: Sequence[str] = ("default", "reverse"),
    bug: SeededBug | None = None,
    under: Mapping[str, str] | None = None,
    also: Callable[[SuiteRun], Data] = lambda run: {},
    **more: Any,
) -> Data:
    """Run a suite with a learner's files in several orders, then once with a seeded bug. Stops at
    the first run that fails.

    Args:
        suite: a folder, or {file: text}.
        files: the learner's, laid over the suite; None runs nothing.
        may: names of the files that the answer may have.
        orders: as `loopbound.run_suite` takes them.
        bug: what the suite must notice; that run comes last.
        under: files laid over the suite before the learner's.
        also: further plain data of each run.
        more: further arguments of `loopbound.run_suite`; ``limit`` is `LIMIT` seconds unless it is
            given, and more where the machine is busy.

    Returns:
        For a key of its own among a task's data, such as "suite": "runs", each as `run_in_words`;
        "bug", None or what the suite reported of it; "problem", "" or why pytest could not run it;
        "strange", the names of files that the answer may not have; "limit", seconds.
    """
    more = {**more, "limit": more.get("limit", LIMIT) * int(slowness())}
    data: Data = {
        "runs": [],
        "bug": None,
        "problem": "",
        "strange": sorted(set(files or ()) - set(may)),
        "limit": more["limit"],
    }
    if not files or data["strange"]:
        return data
    mine = {**(under or {}), **files}
    jobs = [{"project": suite, "overlay": mine, "order": order, **more} for order in orders]
    if bug:
        jobs.append({"project": suite, "overlay": {**mine, **bug.files}, **more})
    try:
        for first in range(0, len(jobs), _AT_ONCE):
            pair = jobs[first : first + _AT_ONCE]
            for number, run in enumerate(run_suites(pair, at_once=_AT_ONCE), first):
                if number >= len(orders):
                    data["bug"] = _noticed(run, bug) if bug else None
                    continue
                data["runs"].append(run_in_words(orders[number], run) | also(run))
                if not _sound(run):
                    return data
    except Problem as error:
        data["problem"] = str(error)
    return data


def _sound(run: SuiteRun) -> bool:
    return not (run.hung or run.not_run or any(test.outcome != "passed" for test in run.tests))


def _noticed(run: SuiteRun, bug: SeededBug) -> Data:
    said = {test.id: test.outcome for test in run.tests}
    caught = {
        name: next((word for id, word in said.items() if name in (id, short(id))), "not run")
        for name in bug.caught_by
    }
    return {"says": bug.says, "caught": caught, "hung": run.hung}


def run_in_words(order: str, run: SuiteRun) -> Data:
    """What a run showed, as plain data; tests by their node ids."""
    return {
        "order": order,
        "passed": run.passed,
        "failed": run.failed,
        "errors": {test.id: test.error for test in run.tests if test.outcome == "error"},
        "unreadable": {test.id: test.error for test in run.tests if test.phase == "collection"},
        "skipped": {test.id: test.error for test in run.tests if test.outcome == "skipped"},
        "said": {test.id: test.error for test in run.tests if test.error},
        "hung": run.hung,
        "hung_test": run.hung_test or "",
        "left": len(run.leftovers),
        "never_awaited": any(_DISPOSE.search(text) for text in (*run.warnings, run.output)),
    }


def settings_of(run: SuiteRun) -> Data:
    """What the run's header says: the file that was read, the mode, the two loop scopes; "" for
    what it does not say. And the options unknown to pytest.
    """
    patterns = {
        "file": r"^configfile: (\S+)",
        "mode": r"mode=Mode\.(\w+)",
        "fixtures": r"asyncio_default_fixture_loop_scope=(\w+)",
        "tests": r"asyncio_default_test_loop_scope=(\w+)",
    }
    found = {
        name: re.search(pattern, run.output, re.MULTILINE) for name, pattern in patterns.items()
    }
    unknown = [
        text.rpartition(" ")[2] for text in run.warnings if "Unknown config option: " in text
    ]
    return {
        "settings": {name: match[1].lower() if match else "" for name, match in found.items()},
        "unknown": unknown,
    }


def judge_suite(
    data: Data,
    value: Any,
    *,
    tests: Sequence[str],
    before: Iterable[str] = (),
    own: Callable[[Data], Verdict | None] = lambda run: None,
    what: str = "your `conftest.py`",
    wanted: str = "the text of a file",
) -> Verdict | None:
    """The usual verdicts on what `run_orders` returned, or None where nothing is wrong. Pure.

    Args:
        data: what `run_orders` returned.
        value: what the learner's function returned, as plain data.
        tests: the ids of the suite's own tests, which all must run.
        before: ids of those that fail in the default order without an answer.
        own: the task's own verdict on a run in which every test counts; asked before those on
            failures and connections.
        what: the answer, as feedback names it; ``wanted``, what the function was to return.
    """
    if data["strange"]:
        return failed(
            "another file",
            f"You also give `{data['strange'][0]}`. The rest of the suite stays as it is: only"
            f" {what} is yours.",
        )
    if data["problem"]:
        return failed("does not load", f"With {what}: {data['problem']}")
    if not data["runs"]:
        return failed("no text", f"Your function returned {as_text(value)}. Wanted is {wanted}.")
    for run in data["runs"]:
        if verdict := _judge_run(run, tests, sorted(before), own, what, data["limit"]):
            return verdict
    return _judge_bug(data["bug"])


def _judge_run(
    run: Data,
    tests: Sequence[str],
    before: list[str],
    own: Callable[[Data], Verdict | None],
    what: str,
    limit: float,
) -> Verdict | None:
    order = f"In the {run['order']} order"
    ran = {*run["passed"], *run["failed"], *run["errors"], *run["skipped"]}
    ran |= {id.partition("[")[0] for id in ran}  # a mark may have given a test parameters
    if run["unreadable"]:
        file, error = next(iter(run["unreadable"].items()))
        return failed("does not load", f"With {what} pytest could not read `{file}`: `{error}`.")
    if run["hung"]:
        where = f", in `{short(run['hung_test'])}`" if run["hung_test"] else ""
        return failed("hung", f"{order} the suite had not ended after {limit:.0f} seconds{where}.")
    if missing := [test for test in tests if test not in ran]:
        return failed(
            "tests taken away",
            f"{order} `{short(missing[0])}` did not run: {len(tests) - len(missing)} of"
            f" {len(tests)} tests did. A test that does not run proves nothing.",
        )
    if run["skipped"]:
        test, error = next(iter(run["skipped"].items()))
        how = (
            "was skipped"
            if error.startswith("Skipped")
            else f"failed with `{error}`, and is marked as expected to fail"
        )
        return failed(
            "tests skipped",
            f"{order} `{short(test)}` {how}: {len(tests) - len(run['skipped'])} of {len(tests)}"
            " tests count. Such a test proves nothing.",
        )
    if verdict := own(run):
        return verdict
    if run["errors"]:
        test, error = next(iter(run["errors"].items()))
        if wanted := re.match(r"FixtureLookupError: \('(\w+)'", error):
            return failed(
                "fixture missing",
                f"{order} `{short(test)}` asks for a fixture `{wanted[1]}`, and pytest finds none"
                " of that name.",
            )
        return failed("fixture fails", f"{order} a fixture of `{short(test)}` raised `{error}`.")
    if run["never_awaited"]:
        count = len(run["failed"])
        ended = (
            f"{count} {'test' if count == 1 else 'tests'} failed" if count else "all tests passed"
        )
        return failed(
            "dispose not awaited",
            f"{order} {ended}, and Python warned that the coroutine of `dispose()` was never"
            " awaited.",
        )
    if before and sorted(run["failed"]) == before and run["order"] == "default":
        return failed(
            "no effect",
            f"{order} the same tests fail as without {what}: {', '.join(map(short, before))}. Does"
            " it run for each test, and does it reach the pool that they use?",
        )
    if run["failed"]:
        test, symptom = next(iter(run["failed"].items()))
        return failed("still failing", f"{order} `{short(test)}` fails: {symptom}.")
    if run["left"]:
        count = run["left"]
        return failed(
            "connections left",
            f"{order} all {len(tests)} tests passed. When the last one was over, the server still"
            f" saw {count} open {'connection' if count == 1 else 'connections'} of the suite.",
        )
    return None


def _judge_bug(bug: Data | None) -> Verdict | None:
    missed = [
        name
        for name, said in (bug or {}).get("caught", {}).items()
        if said not in ("failed", "error")
    ]
    if bug is None or not missed:
        return None
    words = (
        f"All tests pass. But with a bug in the backend, {bug['says']}, `{missed[0]}` has to fail,"
        f" and the run said: {bug['caught'][missed[0]]}."
    )
    return failed(
        "a bug goes unnoticed",
        f"{words}\nA suite that cannot fail tests nothing. Do its tests still run, and does the"
        " report say what they found?",
    )
