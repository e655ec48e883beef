"""Lesson 08, session-scope configuration: foretell six pairs, write the table, find the file that
wins, mark one module, keep rows apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from loopbound.checks.plain import as_text
from loopbound.checks.suites import (
    LIMIT,
    SeededBug,
    files_of,
    judge_suite,
    key_of,
    run_in_words,
    run_orders,
    settings_of,
    short,
    tests_of,
)
from loopbound.checks.task import Data, TaskCheck, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.recorder import DIFFERENT, OK
from loopbound.suite import SuiteRun, run_suite

CHECKS: dict[str, TaskCheck] = {}


# 08.1 Six pairs


_MISMATCH = "ScopeMismatch"


@lru_cache(maxsize=4)
def _outcomes(text: str, pairs: tuple[tuple[str, str], ...]) -> list[str]:
    run = run_suite(
        {
            f"test_{n}.py": text.format(fixture=fixture, test=test)
            for n, (fixture, test) in enumerate(pairs)
        },
        limit=LIMIT,
    )
    return [_MISMATCH if _MISMATCH in test.error else test.symptom for test in run.tests]


def _six_pairs(given: Mapping[str, Any]) -> Data:
    pairs = [(str(fixture), str(test)) for fixture, test in given["PAIRS"]]
    return {"pairs": pairs, "outcomes": _outcomes(given["FILE"], tuple(pairs))}


def _judge_pairs(data: Data) -> Verdict:
    said, outcomes, pairs = value_of(data), data["outcomes"], data["pairs"]
    if (
        not isinstance(said, list)
        or len(said) != len(pairs)
        or any(word not in (OK, DIFFERENT, _MISMATCH) for word in said)
    ):
        return failed(
            "not six outcomes",
            f"`six_outcomes()` returned {as_text(said)}. Wanted is a list of six words, each"
            f' "{OK}", "{DIFFERENT}" or "{_MISMATCH}", in the order of `PAIRS`.',
        )
    if said == outcomes:
        return passed(
            f"pytest ran the six files: {', '.join(outcomes)}. You predicted all of them."
        )
    wrong = [n for n in range(len(pairs)) if said[n] != outcomes[n]]
    fixture, test = pairs[wrong[0]]
    words = (
        f"{len(wrong)} of 6 outcomes {'differs' if len(wrong) == 1 else 'differ'} from yours. The"
        f" first: the fixture on the {fixture}'s loop, its test on the {test}'s, and you said"
        f" {said[wrong[0]]!r}."
    )
    if any(pairs[n][0] == pairs[n][1] for n in wrong):
        return failed(
            "only the session",
            f"{words}\nIn the lesson's 25 runs the fixture was kept for a session. How long is this"
            " one kept, and which loops live as long?",
        )
    for n in wrong:
        loop = pairs[n][0]
        if outcomes[n] == _MISMATCH:
            return failed(
                "leans on a shorter loop",
                f"{words}\nThe fixture is kept for its module. Does the {loop}'s loop live as"
                " long?",
            )
        if said[n] == _MISMATCH:
            return failed(
                "refused too often",
                f"{words}\nA fixture is refused for a loop that ends before its value does. Does"
                f" the {loop}'s loop end before the module?",
            )
    return failed(
        "a longer loop",
        f"{words}\nThe connection belongs to one loop. Is a loop that lives longer, or that starts"
        " earlier, the same loop?",
    )


CHECKS["08.1"] = TaskCheck(
    answers=("six_outcomes",),
    given=("PAIRS", "FILE"),
    facts=_six_pairs,
    judge=_judge_pairs,
    hints=(
        (
            "Ask two questions of each pair. The first: does the fixture's loop live as long as"
            " the fixture's value, which is kept for a module?"
        ),
        (
            "The second: does the test run on that very loop? Here each scope has a loop of its"
            " own, so two that are not equal are two loops."
        ),
        (
            'A loop that is too short gives "ScopeMismatch", in setup. A loop that is long'
            ' enough and is not the test\'s gives "different loop".'
        ),
    ),
)


# 08.2 One loop for all

_ONE_MORE = """

_sound = count

async def count(table):
    return await _sound(table) + 1
"""


def _run_table(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["SUITE"]
    bug = SeededBug(
        {"backend.py": suite["backend.py"] + _ONE_MORE},
        "a count that is too high by one",
        ("test_three_users", "test_list"),
    )
    return {
        "suite": run_orders(
            suite,
            files_of(value_of(data), "pyproject.toml"),
            may=["pyproject.toml"],
            bug=bug,
            also=settings_of,
        )
    }


def _judge_settings(run: Data) -> Verdict | None:
    """Why tests failed, by what the run's own header says is in force."""
    said, broken = run["settings"], [*run["failed"], *run["errors"]]
    if not broken or not said["mode"]:
        return None
    words = (
        f"{len(broken)} of {len(broken) + len(run['passed'])} tests failed, the first with"
        f" `{_cut(run['said'][broken[0]])}`."
    )
    header = (
        f"The run's header says: mode {said['mode']}, fixtures' loop scope {said['fixtures']},"
        f" tests' loop scope {said['tests']}."
    )
    if said["file"] != "pyproject.toml" or (said["mode"], said["fixtures"], said["tests"]) == (
        "strict",
        "none",
        "function",
    ):
        return failed(
            "table not read",
            f"{words}\n{header} Those are the defaults: pytest found nothing of yours. What is its"
            " table called?",
        )
    if run["unknown"]:
        return failed(
            "unknown option",
            f"{words}\npytest warned that it knows no option `{run['unknown'][0]}`. {header}",
        )
    if said["mode"] != "auto":
        return failed(
            "no mode",
            f"{words}\n{header}\nThe tests have no mark. In which mode do they need none?",
        )
    if said["fixtures"] == said["tests"] != "function":
        return failed(
            "not the session",
            f"{words}\n{header}\nOne fixture of the suite is kept for the session. Which loop lives"
            " as long?",
        )
    if said["tests"] == "session":
        return failed(
            "tests alone",
            f"{words}\n{header}\nAn option that is not set follows each fixture's `scope`. Which"
            " `scope` has the fixture `session`?",
        )
    if said["fixtures"] == "session":
        return failed(
            "fixtures alone", f"{words}\n{header}\nThe fixtures share a loop. And the tests?"
        )
    return failed(
        "no loop scope",
        f"{words}\n{header}\nTwo options decide on which loops fixtures and tests run.",
    )


def _cut(error: str) -> str:
    return error if len(error) <= 90 else f"{error[:50].rstrip()} … {error[-30:].lstrip()}"


def _judge_table(data: Data) -> Verdict:
    if wrong := judge_suite(
        data["suite"],
        value_of(data),
        tests=data["ids"],
        own=_judge_settings,
        what="your `pyproject.toml`",
    ):
        return wrong
    said = data["suite"]["runs"][0]["settings"]
    return passed(
        f"pytest ran the suite with your table: all {len(data['ids'])} tests passed in both orders,"
        f" and no connection was left. Its header says: mode {said['mode']}, fixtures' loop scope"
        f" {said['fixtures']}, tests' loop scope {said['tests']}."
    )


CHECKS["08.2"] = TaskCheck(
    answers=("pyproject",),
    given=("SUITE",),
    facts=lambda given: {"ids": tests_of(given["SUITE"])},
    settle=_run_table,
    judge=_judge_table,
    hints=(
        (
            "Three things have to be said: that async tests need no mark, on which loop"
            " fixtures run, and on which loop tests run."
        ),
        (
            "The two loop options begin with `asyncio_default_` and end with `_loop_scope`. The"
            " mode is `asyncio_mode`."
        ),
        (
            "The table's head is `[tool.pytest.ini_options]`, and its values are texts in"
            " quotation marks."
        ),
    ),
)


# 08.3 The file that wins


@lru_cache(maxsize=16)
def _run_without(project: str, file: str) -> Data:
    files = {name: text for name, text in json.loads(project).items() if name != file}
    run = run_suite(files, limit=LIMIT)
    return run_in_words("default", run) | settings_of(run)


def _as_found(given: Mapping[str, Any]) -> Data:
    return {
        "found": _run_without(key_of(given["PROJECT"]), ""),
        "files": sorted(given["PROJECT"]),
        "ids": tests_of(given["PROJECT"]),
    }


def _delete(data: Data, given: Mapping[str, Any]) -> Data:
    said = value_of(data)
    file = said.get("delete") if isinstance(said, dict) else None
    if (
        not isinstance(file, str)
        or file not in given["PROJECT"]
        or not file.endswith((".toml", ".ini", ".cfg"))
    ):
        return {"without": None}
    return {"without": _run_without(key_of(given["PROJECT"]), file)}


def _judge_culprit(data: Data) -> Verdict:
    said, found, without = value_of(data), data["found"], data["without"]
    if not isinstance(said, dict) or sorted(said) != ["delete", "mode", "tests"]:
        return failed(
            "not three words",
            f"`culprit()` returned {as_text(said)}. Wanted is a dict with the keys delete, mode and"
            " tests.",
        )
    if without is None:
        return failed(
            "no settings file",
            f"{as_text(said['delete'])} is no settings file of the project. Wanted is the name of"
            f" one of its files: {', '.join(data['files'])}.",
        )
    if broken := {**without["failed"], **without["errors"]}:
        words = f"Without `{said['delete']}` {len(broken)} of {len(data['ids'])} tests fail."
        if said["delete"] == "pyproject.toml":
            return failed(
                "the right settings deleted",
                f"{words}\nThat file holds the settings that the team wants. What keeps pytest from"
                " reading it?",
            )
        return failed(
            "a file that is not read",
            f"{words} They are those that failed with it: pytest did not read that file.\nWhich one"
            " does the run's header name?",
        )
    settings = found["settings"]
    mode = str(said["mode"]).lower().removeprefix("mode.")
    if mode != settings["mode"]:
        return failed(
            "another mode",
            f"Without `{said['delete']}` all tests pass. But the mode was not"
            f" {as_text(said['mode'])} before: the run's header says which.",
        )
    if str(said["tests"]).lower() != settings["tests"]:
        return failed(
            "the scope that was meant",
            f"Without `{said['delete']}` all tests pass. But the tests' loop scope was not"
            f" {as_text(said['tests'])} before. What does the header say was in force?",
        )
    return passed(
        f"Without `{said['delete']}` pytest read `{without['settings']['file']}`, and all"
        f" {len(data['ids'])} tests passed. Before, mode {mode} and a loop for each"
        f" {settings['tests']} were in force."
    )


CHECKS["08.3"] = TaskCheck(
    answers=("culprit",),
    given=("PROJECT",),
    facts=_as_found,
    settle=_delete,
    judge=_judge_culprit,
    hints=(
        (
            "`print(run_suite(PROJECT).output)` has the header near its top, below a warning:"
            " one line names the file that was read, one the settings in force."
        ),
        "A file whose name begins with a dot is easily overlooked, by people and not by pytest.",
    ),
)


# 08.4 A loop for one file


_ONE_MORE_THERE = """

_sound = count

async def count(engine, table):
    return await _sound(engine, table) + 1
"""


def _run_mark(data: Data, given: Mapping[str, Any]) -> Data:
    team, line = given["TEAM"], value_of(data)
    files = (
        {"test_reports.py": f"{team['test_reports.py']}\n{line.strip()}\n"}
        if isinstance(line, str) and line.strip()
        else None
    )
    bug = SeededBug(
        {"backend.py": team["backend.py"] + _ONE_MORE_THERE},
        "a count that is too high by one",
        ("test_list", "test_detail"),
    )
    return {
        "suite": run_orders(
            team, files, may=["test_reports.py"], bug=bug, also=_loops_of, trace=True
        )
    }


def _loops_of(run: SuiteRun) -> Data:
    """The loop on which each test asked for a connection, and the one on which the fixture's
    connection was made.
    """
    asked = {
        short(event.test): event.loop
        for event in run.trace
        if event.phase == "call" and event.kind in ("checkout", "connect")
    }
    made = next(
        (event.loop for event in run.trace if event.phase == "setup" and event.kind == "connect"),
        "",
    )
    return {"asked_on": asked, "made_on": made, "warnings": list(run.warnings)}


def _judge_loops(run: Data) -> Verdict | None:
    broken, asked = [short(test) for test in (*run["failed"], *run["errors"])], run["asked_on"]
    if any(test not in asked for test in broken):
        return None
    if not broken:
        return None
    where = ", ".join(f"`{test}` on {loop}" for test, loop in asked.items())
    words = (
        f"In the {run['order']} order {len(broken)} tests failed. They asked for a connection so:"
        f" {where}; the fixture's connection was made on {run['made_on']}."
    )
    if len(set(asked.values())) > 1:
        return failed(
            "a loop for each test",
            f"{words}\nEach test still has a loop of its own. What tells a mark which loop is"
            " meant, and what is a mark for a whole file called?",
        )
    return failed(
        "another long loop",
        f"{words}\nYour tests share a loop now, and their fixture runs on another. Which loop scope"
        " has the fixture?",
    )


def _judge_mark(data: Data) -> Verdict:
    if wrong := judge_suite(
        data["suite"],
        value_of(data),
        tests=data["ids"],
        own=_judge_loops,
        what="your line",
        wanted="the text of a line",
    ):
        return wrong
    warned = next(
        (
            f" pytest-asyncio warns: {text.partition(': ')[2]}"
            for text in data["suite"]["runs"][0]["warnings"]
            if "eprecat" in text
        ),
        "",
    )
    return passed(
        f"All {len(data['ids'])} tests passed in both orders: those of `test_reports.py` on their"
        f" fixture's loop, the others each on a loop of its own.{warned}"
    )


CHECKS["08.4"] = TaskCheck(
    answers=("mark",),
    given=("TEAM",),
    facts=lambda given: {"ids": tests_of(given["TEAM"])},
    settle=_run_mark,
    judge=_judge_mark,
    hints=(
        "The lesson's second grid has a fifth row: a mark, for one file.",
        "A mark for a whole file is assigned to the name `pytestmark`.",
        (
            "`pytest.mark.asyncio` takes `loop_scope=`; which scope, the fixture in"
            " `conftest.py` says."
        ),
    ),
)


# 08.5 Rows that stay at home

_ADDED_TWICE = """

_sound = add_report

async def add_report(session, title):
    await _sound(session, title)
    await _sound(session, title)
"""
# The table of task 08.2.
_ONE_LOOP = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""
_BACK = "test_a_rollback_undoes_what_was_not_committed"


def _run_isolated(data: Data, given: Mapping[str, Any]) -> Data:
    rows, file = given["ROWS"], "tests/conftest.py"
    bug = SeededBug(
        {"backend.py": rows["backend.py"] + _ADDED_TWICE},
        "a report that is added twice",
        ("test_a_report_is_added",),
    )
    return {
        "suite": run_orders(
            rows,
            files_of(value_of(data), file),
            may=[file],
            bug=bug,
            under={"pyproject.toml": _ONE_LOOP},
        )
    }


def _judge_rows(run: Data) -> Verdict | None:
    counted = {
        short(test): run["said"][test]
        for test, symptom in run["failed"].items()
        if symptom == "AssertionError"
    }
    if not counted or run["errors"]:
        return None
    test, error = next(iter(counted.items()))
    words = (
        f"In the {run['order']} order `{test}` counted other rows than it should: `{_cut(error)}`."
    )
    if list(counted) == [_BACK]:
        return failed(
            "rolled back too far",
            f"{words}\nIt committed a report, wrote a second one and rolled back, and the first is"
            " gone too. What was that commit, inside your transaction?",
        )
    return failed(
        "rows leak",
        f"{words}\nWhat an earlier test committed is still there. Your fixture's exit may commit,"
        " and so may the test: what undoes either of them?",
    )


def _judge_isolated(data: Data) -> Verdict:
    if wrong := judge_suite(data["suite"], value_of(data), tests=data["ids"], own=_judge_rows):
        return wrong
    return passed(
        f"All {len(data['ids'])} tests passed in both orders: each met the six reports, although"
        " others had committed rows. With a bug in the backend the suite failed, as it should."
    )


CHECKS["08.5"] = TaskCheck(
    answers=("isolated",),
    given=("ROWS",),
    facts=lambda given: {"ids": tests_of(given["ROWS"])},
    settle=_run_isolated,
    judge=_judge_isolated,
    hints=(
        (
            "Begin the transaction on a connection, before there is a session, and roll back"
            " that one after the `yield`."
        ),
        (
            "`AsyncSession(bind=…, join_transaction_mode=…)` takes what notebook 08d gave to the"
            " session factory."
        ),
        (
            "`async with engine.connect() as connection:`, in it `outer = await"
            " connection.begin()`, then the session, and at the end `await outer.rollback()`."
        ),
    ),
)
