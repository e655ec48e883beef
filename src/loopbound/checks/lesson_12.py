"""The capstone: the incident's own suite.

Name who left what, mend the suite, and let its worker live outside pytest.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from loopbound.checks.capstone import LIMIT, hidden_files, labels_of, run_mended
from loopbound.checks.plain import as_text, plain
from loopbound.checks.suites import files_of, judge_suite, met_in, run_in_words, short
from loopbound.checks.task import Data, TaskCheck, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.problem import Problem
from loopbound.recorder import DIFFERENT, symptom_in
from loopbound.suite import BACKEND, incident, run_suite

CHECKS: dict[str, TaskCheck] = {}


# 12.1 Whose connection?


@functools.lru_cache(maxsize=4)
def _met(order: str) -> Data:
    """What a run of these tests gave: who failed, and in which test the connection that it met was
    made.
    """
    tests = json.loads(order)
    run = run_suite(BACKEND, tests=tests, trace=True, limit=LIMIT)
    return {
        "order": [short(test) for test in tests],
        "met": met_in(run),
        "disposing": [short(test) for test in tests if "test_auth.py" in test],
    }


def _judge_met(data: Data) -> Verdict:
    said, order, met = value_of(data), data["order"], data["met"]
    if not isinstance(said, dict) or not all(isinstance(name, str) for name in said.values()):
        return failed(
            "not a dict",
            f"`met()` returned {as_text(said)}. Wanted is a dict from each failing test to the test"
            " whose connection it met.",
        )
    said = {short(test): short(other) for test, other in said.items()}
    if strange := [name for pair in said.items() for name in pair if name not in order]:
        return failed("unknown test", f"`ORDER` has no test {strange[0]!r}.")
    if said == met:
        return passed(
            f"The {len(order)} tests were run in this order: {len(met)} failed, and each met the"
            " connection that you name."
        )
    if order[0] in said:
        return failed(
            "the first one",
            f"`{order[0]}` fails in your answer. What stood in the pool before the first test?",
        )
    if later := [test for test, other in said.items() if order.index(other) >= order.index(test)]:
        return failed(
            "from the future",
            f"You say that `{later[0]}` met a connection of `{said[later[0]]}`, which runs"
            f" {'later' if said[later[0]] != later[0] else 'then itself'}.",
        )
    extra, missing = (
        [test for test in order if test in said and test not in met],
        [test for test in order if test in met and test not in said],
    )
    words = (
        f"You name {len(said)} failing {'test' if len(said) == 1 else 'tests'}, and the run does"
        " not agree."
    )
    if set(said.values()) & set(data["disposing"]):
        return failed(
            "behind the dispose",
            f"{words}\nYou let a test meet a connection of `test_auth.py`. What does that file do"
            " behind each of its tests?",
        )
    if len(extra) + len(missing):
        wrong = (extra or missing)[0]
        taken = "fails in your answer, and passed" if extra else "is not among yours, and failed"
        before = order[order.index(wrong) - 1]
        if extra and before in data["disposing"]:
            return failed(
                "behind the dispose",
                f"{words}\n`{wrong}` {taken}. It ran behind `{before}`, of `test_auth.py`. What"
                " does that file do behind each of its tests?",
            )
        return failed(
            "another set",
            f"{words}\n`{wrong}` {taken}. Write down what stands in the queue behind `{before}`: a"
            " failed ping leaves an empty place.",
        )
    wrong = next(test for test in met if said[test] != met[test])
    return failed(
        "another culprit",
        f"The failing tests are right. `{wrong}` met a connection, and not one of `{said[wrong]}`."
        " Which record stood at the head of the queue?",
    )


CHECKS["12.1"] = TaskCheck(
    answers=("met",),
    given=("ORDER",),
    facts=lambda given: _met(json.dumps(plain(list(given["ORDER"])))),
    judge=_judge_met,
    hints=(
        (
            "Lesson 05's picture of the queue says who fails: draw it on paper, from the first"
            " test to the last."
        ),
        (
            "A test of reports, status or stream with `db_session` holds one connection while"
            " its request takes another: it leaves two. A test of `test_auth.py` leaves none."
        ),
        (
            "A failed ping leaves its place empty, and at the end of the queue. Who meets an"
            " empty place connects, and its own connection stands there next."
        ),
    ),
)


# 12.2 Mend the suite

_WHAT = "your files"
_SETTINGS = (
    "pyproject.toml",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    "overlay.toml",
)


@functools.lru_cache(maxsize=1)
def _as_found() -> Data:
    run = incident(limit=LIMIT)
    return {"tests": [test.id for test in run.tests], "failing": list(run.failed)}


def _refused(files: Mapping[str, str]) -> list[str]:
    """Names of files that an answer may not have: the given tests and tables, and what would shadow
    a package.
    """
    mine = {
        path.relative_to(BACKEND).as_posix().casefold()
        for path in BACKEND.glob("tests/**/test_*.py")
    }
    refused = []
    for name in files:
        path = PurePosixPath(name)
        inside = (
            (path.parts[:1] in (("app",), ("tests",)) and path.suffix == ".py")
            or path.name == "conftest.py"
            or path.as_posix() in _SETTINGS
        )
        if not inside or path.as_posix().casefold() in mine:
            refused.append(name)
    return refused


def _settle_mended(data: Data, given: Mapping[str, Any]) -> Data:
    files = files_of(value_of(data))
    refused = _refused(files or {})
    return {
        "suite": {"refused": refused, **run_mended({} if refused else files or {}, data["failing"])}
    }


def _judge_mended(data: Data) -> Verdict:
    suite, tests, before = data["suite"], data["tests"], data["failing"]
    if refused := suite["refused"]:
        if refused[0].endswith(".py") and refused[0].startswith("tests/"):
            return failed(
                "test file replaced",
                f"Your files have a `{refused[0]}` of their own. The tests are the measure, so each"
                f" of the {len(tests)} stays as it is. A fixture that is copied into them can go:"
                " name it in the list `remove` of an `overlay.toml`.",
            )
        return failed(
            "another file",
            f"Your files have `{refused[0]}`. To be changed are `app/`, a `conftest.py` and"
            " pytest's settings; the rest stays as it is.",
        )
    hidden = suite["hidden"]
    if hidden and hidden["driver"]:
        return failed(
            "another driver",
            f"The application's sessions speak through {hidden['driver']} now. That driver does not"
            " meet the fault, and the application runs on PostgreSQL through asyncpg: its suite"
            " has to prove that it works there.",
        )
    common = {"strange": [], "limit": LIMIT, "bug": None}
    for run in suite["runs"]:
        if run["crossed"] and not run["failed"] and not run["errors"]:
            if set(run["crossed"]) <= set(run["given_up"]):
                return failed(
                    "given up, not closed",
                    f"In the {run['order']} order no test failed. In `{short(run['crossed'][0])}`"
                    " the pool found a connection of another loop, gave it up and made a new one:"
                    " such a connection cannot take leave of the server, for its loop was closed"
                    " by then.\nWho could have closed it, and when?",
                )
            return failed(
                "failures hidden",
                f"In the {run['order']} order no test is reported as failed. But in"
                f" `{short(run['crossed'][0])}` the pool handed out a connection of another loop,"
                " as in the suite as found. What became of the error?",
            )
        ours = {"problem": suite["problem"], "runs": [run | {"left": 0}], **common}
        own = functools.partial(
            _judge_loops, before=before, unused=_unused(files_of(value_of(data)) or {})
        )
        if verdict := judge_suite(
            ours,
            value_of(data),
            tests=tests,
            own=own,
            what=_WHAT,
            wanted="a dict from file names to their texts",
        ):
            return verdict
        if run["left"]:
            behind = f"{run['left']} {'connection' if run['left'] == 1 else 'connections'}"
            more = (
                f"of the suite, which had opened connections on {run['loops']} loops. Who closes"
                " one before its loop ends?"
                if run["loops"] > 1
                else "of the suite in an open transaction. Who ends it?"
            )
            return failed(
                "connections left",
                f"In the {run['order']} order all {len(tests)} tests passed. When the last one was"
                f" over, the server still saw {behind} {more}",
            )
        if run["late"]:
            return failed(
                "closed on another loop",
                f"In the {run['order']} order all {len(tests)} tests passed. But in"
                f" `{short(run['late'][0])}` the pool closed a connection of another loop, which"
                " was closed by then: such a connection cannot take leave of the server.\nWhen,"
                " before or behind a test, is the loop of its connections still there?",
            )
    if suite["problem"] or not suite["runs"]:
        verdict = judge_suite(
            {"problem": suite["problem"], "runs": [], **common},
            value_of(data),
            tests=tests,
            what=_WHAT,
            wanted="a dict from file names to their texts",
        )
        assert verdict is not None
        return verdict
    for bug in suite["bugs"]:
        if verdict := judge_suite(
            {"problem": "", "runs": suite["runs"], **common, "bug": bug},
            value_of(data),
            tests=tests,
            what=_WHAT,
        ):
            return verdict
    if hidden and (verdict := _judge_hidden(hidden, len(tests))):
        return verdict
    for run in suite["alone"]:
        if not run["passed"]:
            wrong = run["failed"] | run["errors"] | run["skipped"]
            return failed(
                "fails alone",
                f"In the suite it passes. In a process of its own `{short(run['order'])}` does not:"
                f" {next(iter(wrong.values()), 'it did not run')}.",
            )
    if suite["production"]:
        return failed(
            "the server pays",
            f"All {len(tests)} tests pass. But your files below `app/` are also what runs in"
            " production: there, on one loop that lasts, the application opened"
            f" {suite['production']} connections for 9 requests, and one was enough before. Where"
            " can a cure sit that is the suite's alone?",
        )
    orders = [run["order"] for run in suite["runs"]]
    idle = max(run["idle"] for run in suite["runs"])
    stayed = f" ({idle} idled in the pool of the one loop that all share)" if idle else ""
    return passed(
        f"All {len(tests)} tests passed in {len(orders)} orders ({', '.join(orders)}), the five"
        f" also alone, and {hidden['count']} further tests that you have not seen. Nothing hung, no"
        f" connection was left behind{stayed}, and the suite noticed each of {len(suite['bugs'])}"
        " bugs that were put into the backend."
    )


def _unused(files: Mapping[str, str]) -> str:
    """A file of an answer that neither pytest nor the application looks for, and that no other one
    imports; "" where there is none.
    """
    for name in files:
        path = PurePosixPath(name)
        others = "\n".join(text for other, text in files.items() if other != name)
        if (
            path.suffix == ".py"
            and path.stem not in ("conftest", "__init__")
            and not (BACKEND / name).exists()
            and path.stem not in others
        ):
            return name
    return ""


def _judge_loops(run: Data, before: Sequence[str], unused: str) -> Verdict | None:
    """Why tests met another loop, by what the trace and the run's header say."""
    broken, said = {**run["failed"], **run["errors"]}, run["settings"]
    if run["never_awaited"] or not any(
        symptom_in(*_named(run["said"].get(test, ""))) == DIFFERENT for test in broken
    ):
        return None
    if said["fixtures"] != said["tests"] and "session" in (said["fixtures"], said["tests"]):
        header = (
            f"The run's header says: fixtures' loop scope {said['fixtures']}, tests' loop scope"
            f" {said['tests']}."
        )
        return failed(
            "two loop scopes",
            f"In the {run['order']} order {len(broken)} of {len(broken) + len(run['passed'])} tests"
            f" fail, `{short(next(iter(broken)))}` with a connection of another loop. {header}\nOn"
            " which loop was the connection made, and on which is it used?",
        )
    if run["errors"]:
        return None
    test, owner = next(iter(run["met"].items()), ("", ""))
    it_met = f"`{test}` met a connection that `{owner}` had made" if owner else ""
    if sorted(run["failed"]) == sorted(before) and run["order"] == "default":
        if unused:
            return failed(
                "file not used",
                f"In the default order the same {len(before)} tests fail as without your files."
                f" `{unused}` is a new file, and nothing imports it. Does pytest look for that"
                " name?",
            )
        return failed(
            "no effect",
            "In the default order the same tests fail as without your files:"
            f" {', '.join(map(short, sorted(before)))}. {it_met}.\nDoes your change run for each"
            " test, and does it reach the pool from which `SessionFactory` takes its connections?",
        )
    if not owner:
        return None
    return failed(
        "still failing",
        f"In the {run['order']} order {len(broken)}"
        f" {'test fails' if len(broken) == 1 else 'tests fail'}: {DIFFERENT}. {it_met}.\nWhich"
        " session took that connection, and where does it come from? Your cure has to reach every"
        " session.",
    )


def _named(error: str) -> tuple[str, str]:
    """An error's text as `symptom_in` takes it."""
    return error.partition(":")[0], error


def _judge_hidden(hidden: Data, count: int) -> Verdict | None:
    words = f"All {count} tests pass. "
    if hidden["problem"]:
        return failed(
            "further tests do not run",
            f"{words}Further tests, which you have not seen, could not be run with your files."
            f" {hidden['problem']}",
        )
    if hidden["hung"]:
        return failed(
            "hung",
            f"{words}Further tests, which you have not seen, had not ended after {LIMIT:.0f}"
            f" seconds: {hidden['hung']}.",
        )
    if hidden["failed"]:
        label, symptom = next(iter(hidden["failed"].items()))
        if label == "the application's start and shutdown":
            return failed(
                "shutdown broken",
                f"{words}But the application no longer starts and ends as it did: {symptom}."
                " `app/main.py` uses what your files have changed.",
            )
        question = (
            "Does your cure reach every test, in whichever folder, and every session, also those"
            " that no route asked for?"
        )
        return failed(
            "further tests fail",
            f"{words}A further one, which you have not seen, does not: {label} gives"
            f" {symptom}.\n{question}",
        )
    if hidden["missing"]:
        return failed(
            "tests taken away",
            f"{words}Of {hidden['count']} further ones {len(hidden['missing'])} did not run. A test"
            " that does not run proves nothing.",
        )
    if hidden["left"] or hidden["late"]:
        return failed(
            "connections left",
            f"{words}But among {hidden['count']} further ones, which you have not seen, a"
            " connection outlived its loop. Who closes what the last test leaves, and on which"
            " loop?",
        )
    if hidden["crossed"]:
        return failed(
            "failures hidden",
            f"{words}But in a further test, which you have not seen, the pool handed out a"
            " connection of another loop, and the test is reported as passed.",
        )
    return None


CHECKS["12.2"] = TaskCheck(
    answers=("mended",),
    facts=lambda given: _as_found(),
    settle=_settle_mended,
    judge=_judge_mended,
    hints=(
        (
            "Lesson 09's tree: may all tests share one loop, or does each keep its own? Either"
            " way is right here, and some answers need no line of Python."
        ),
        (
            "A cure has to sit where every session comes from: at the loop, at the factory or"
            " at the pool. `test_auth.py` has one fixture that all tests could have."
        ),
        (
            "In `tests/conftest.py`, below what stands there: an async fixture with"
            " `autouse=True` that yields, and then awaits `engine.dispose()`."
        ),
    ),
)


# 12.3 Outside pytest

_WORKER = "worker"


def _settle_worker(data: Data, given: Mapping[str, Any]) -> Data:
    files = files_of(value_of(data))
    refused = [
        name
        for name in files or {}
        if not (
            PurePosixPath(name).parts[:1] == ("app",)
            and name.endswith(".py")
            and ".." not in PurePosixPath(name).parts
        )
    ]
    seen: Data = {"refused": refused, "problem": "", "run": None, "errors": {}}
    if files and not refused:
        hidden = hidden_files(_WORKER)
        try:
            run = run_suite(
                BACKEND,
                overlay={**files, **hidden},
                tests=[*hidden, "tests/test_celery_basic.py"],
                limit=LIMIT,
            )
        except Problem as error:
            return {"worker": seen | {"problem": str(error)}}
        seen["run"] = run_in_words("default", run)
        seen["errors"] = {
            short(test.id): test.error for test in run.tests if test.outcome != "passed"
        }
        seen["count"] = len(run.tests)
        seen["wanted"] = len(labels_of(hidden)) + 2
    return {"worker": seen}


def _judge_worker(data: Data) -> Verdict:
    seen, value = data["worker"], value_of(data)
    if seen["refused"]:
        return failed(
            "another file",
            f"Your files have `{seen['refused'][0]}`. This task is about the application: only"
            " Python files below `app/` are yours.",
        )
    if seen["problem"] or not seen["run"] or seen["run"]["unreadable"]:
        unreadable = list((seen["run"] or {"unreadable": {}})["unreadable"].values())
        if seen["problem"] or unreadable:
            return failed(
                "does not load",
                "The application could not be loaded with your files."
                f" {seen['problem'] or unreadable[0]}",
            )
        return failed(
            "no text",
            f"Your function returned {as_text(value)}. Wanted is a dict from file names to their"
            " texts.",
        )
    if seen["run"]["hung"]:
        return failed("hung", f"The worker's tasks had not ended after {LIMIT:.0f} seconds.")
    errors = seen["errors"]
    four = errors.get("test_four_in_a_row", "")
    symptom = symptom_in(four.partition(":")[0], four)
    if four and symptom == DIFFERENT:
        return failed(
            "a task meets the one before",
            f"Four messages came to one worker, and one of their tasks ended with: {symptom}. Each"
            " task has a loop of its own. What did the one before it leave in the pool, and who"
            " could have closed it?",
        )
    if "assert None ==" in four:
        return failed(
            "no result",
            "Four messages came to one worker, and its task returned None, where `run_analysis`"
            " gives the state of the task. Who returns what it gave?",
        )
    if four:
        return failed(
            "a task fails",
            f"Four messages came to one worker, and one of their tasks ended with `{four}`.",
        )
    server = errors.get("test_the_server_keeps_its_pool", "")
    if "connections: " in server:
        return failed(
            "the server pays",
            "The worker's tasks succeed. But the server, whose loop lasts, opened"
            f" {server.rpartition(': ')[2]} connections for 9 requests, and one was enough before."
            " Server and worker import the same module. Which of the two has loops that end?",
        )
    if server:
        return failed(
            "the server fails",
            "The worker's tasks succeed. But the server, started, asked nine times and shut down,"
            f" gave `{server}`.",
        )
    left = errors.get("test_nothing_left", "")
    if "closed on another loop" in left:
        return failed(
            "disposed on another loop",
            "The tasks succeed. But when the pool closed a task's connection, that connection's"
            " loop was closed already, and the pool logged `Event loop is closed`. On which loop"
            " does it have to be closed?",
        )
    if left:
        return failed(
            "connection left",
            "The tasks succeed. But when one was over, the server still saw"
            f" {left.rpartition(': ')[2]} session of the worker. Who closes it, and on which loop?",
        )
    if failing := errors.get("test_nothing_left_of_one_that_fails", ""):
        if "sessions: " in failing:
            return failed(
                "left after an error",
                "A task that succeeds leaves nothing. One for a report that there is not left"
                f" {failing.rpartition(': ')[2]} session. What runs when a task raises?",
            )
        return failed(
            "error swallowed",
            "A task for a report that there is not has to raise `LookupError`, so that Celery"
            f" learns of it. The run said `{failing}`.",
        )
    if errors or seen["count"] < seen["wanted"]:
        test, error = next(iter(errors.items()), ("a test", "it did not run"))
        return failed(
            "Celery broken",
            f"The tasks succeed. But the worker's own test `{test}` does not: `{error}`.",
        )
    return passed(
        "Four tasks in a row succeeded, each on a loop of its own; nothing was left, also of one"
        " that failed; and the server opened one connection for nine requests."
    )


CHECKS["12.3"] = TaskCheck(
    answers=("survives",),
    settle=_settle_worker,
    judge=_judge_worker,
    hints=(
        (
            "`asyncio.run` in `app/worker.py` makes a loop for one task. What that task leaves"
            " in the pool, only that loop can close."
        ),
        (
            "Exercise 09.3 is the same in small: one coroutine that does the work and then"
            " disposes, given to `asyncio.run`."
        ),
        (
            "What has to happen also where the work raises stands in a `finally`."
            " `app/worker.py` has no `engine` yet: it is in `app.db.session`."
        ),
    ),
)
