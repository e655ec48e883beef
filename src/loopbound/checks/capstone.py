"""Runs of the incident's suite with a learner's files: orders that cannot be foreseen, further
tests, bugs that must be noticed.

Returns plain data; `lesson_12` judges them. What is hidden from learners lies beside the capstone's
solution.
"""

from __future__ import annotations

import ast
import functools
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from loopbound.checks.suites import met_in, run_in_words, settings_of, short
from loopbound.course.manifest import assignment
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.suite import BACKEND, SuiteRun, run_suite, run_suites

__all__ = ["LIMIT", "hidden_files", "labels_of", "run_mended"]

Data = dict[str, Any]

CAUGHT = ("failed", "error")
LIMIT = 45.0  # seconds for one run of the suite, which takes three where nothing else runs


def _folder() -> Any:
    return repository() / "solutions" / assignment("12").name


@functools.cache
def hidden_files(name: str) -> dict[str, str]:
    """{file: text} of the further tests of that name.

    Raises:
        Problem: they are not here.
    """
    top = _folder() / "hidden" / name
    files = {
        path.relative_to(top).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(top.rglob("*.py"))
    }
    if not files:
        raise Problem(
            f"The capstone's further tests are missing: {top}.\nGet them back: git checkout --"
            " solutions"
        )
    return files


@functools.cache
def _bugs() -> dict[int, list[Data]]:
    """The bugs, by the run that they share."""
    path = _folder() / "bugs" / "bugs.toml"
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))["bug"]
    except OSError as error:
        raise Problem(
            f"The capstone's bugs are missing: {path}.\nGet them back: git checkout -- solutions"
        ) from error
    return {
        run: [row for row in rows if row["run"] == run]
        for run in sorted({row["run"] for row in rows})
    }


def labels_of(files: Mapping[str, str]) -> dict[str, str]:
    """Test function → what it tests, in words that feedback may show: its docstring."""
    return {
        node.name: ast.get_docstring(node) or node.name
        for text in files.values()
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
    }


def run_mended(files: Mapping[str, str], five: Iterable[str]) -> Data:
    """Run the backend's suite with files laid over it, two runs at a time, until one fails. Cheap
    and telling runs come first.

    Args:
        files: the learner's; without any nothing is run.
        five: ids of the tests that have to pass alone, too.

    Returns:
        "runs", as `run_in_words` with "crossed", the ids of tests that passed with a connection of
        another loop, "late", those in which one was closed on another loop than its own, "left",
        how many connections were left behind, "idle", how many were not but stayed, "loops", on how
        many any was opened, "met", from a test to the one whose connection it met, "given_up",
        tests in which such a one was replaced at once, and what the header says of settings;
        "hidden", None or what the further tests gave; "bugs", what was noticed of each; "alone", a
        run of each of the five; "production", how many connections the application opened without
        its suite, None where it is as found; "problem", "" or why pytest could not run the suite.
    """
    data: Data = {
        "runs": [],
        "hidden": None,
        "bugs": [],
        "alone": [],
        "production": None,
        "problem": "",
    }
    if not files:
        return data
    job = {"project": BACKEND, "overlay": dict(files), "limit": LIMIT, "trace": True}
    # No files can be written for orders that are drawn only now.
    seeds = [f"random:{secrets.randbelow(10**9)}" for _ in range(3)]
    hidden = hidden_files("suite")
    first, further = _each([job, job | {"overlay": {**files, **hidden}, "tests": list(hidden)}])
    data["hidden"] = _further(further, hidden)
    if isinstance(first, str):
        data["problem"] = first
        return data
    data["runs"].append(_in_words("default", first))
    if not _sound(first):
        return data
    # Beside further tests that fail, too: where tests were emptied, that is the news.
    data["bugs"] = _noticed(files)
    if not data["hidden"]["sound"] or any(
        said not in CAUGHT for bug in data["bugs"] for said in bug["caught"].values()
    ):
        return data
    for orders in (("reverse", seeds[0]), seeds[1:]):
        for order, run in zip(
            orders, run_suites([job | {"order": order} for order in orders]), strict=True
        ):
            data["runs"].append(_in_words(order, run))
            if not _sound(run):
                return data
    five = list(five)
    for test, run in zip(five, run_suites([job | {"tests": [test]} for test in five]), strict=True):
        data["alone"].append(run_in_words(test, run))
    data["production"] = _in_production(
        {name: text for name, text in files.items() if name.startswith("app/")}
    )
    return data


def _in_production(application: Mapping[str, str]) -> int | None:
    """How many connections the application opens for nine requests on one loop; None where it is as
    found, or cannot be asked without the rest of an answer.
    """
    if not application:
        return None
    hidden = hidden_files("worker")
    try:
        run = run_suite(
            BACKEND,
            overlay={**application, **hidden},
            tests=[f"{file}::test_the_server_keeps_its_pool" for file in hidden],
            limit=LIMIT,
        )
    except Problem:
        return None
    counted = next(
        (found for test in run.tests if (found := re.search(r"connections: (\d+)", test.error))),
        None,
    )
    return int(counted[1]) if counted else None


def _each(jobs: list[Data]) -> list[SuiteRun | str]:
    """The runs of two jobs; where pytest could not run one, its problem in its place."""
    try:
        return list(run_suites(jobs))
    except Problem:
        found: list[SuiteRun | str] = []
        for job in jobs:
            try:
                found.append(run_suite(**job))
            except Problem as error:
                found.append(str(error))
        return found


def _in_words(order: str, run: SuiteRun) -> Data:
    left = _outlived(run)
    seen = {
        "left": left,
        "idle": len(run.leftovers) - left,
        "loops": len(_loops(run)),
        "crossed": _crossed(run),
        "late": _late(run),
    }
    return (
        run_in_words(order, run)
        | settings_of(run)
        | seen
        | {
            "met": met_in(run),
            "given_up": _given_up(run),
        }
    )


def _sound(run: SuiteRun) -> bool:
    well = not (run.hung or run.not_run or any(test.outcome != "passed" for test in run.tests))
    return well and not (_outlived(run) or _crossed(run) or _late(run))


def _outlived(run: SuiteRun) -> int:
    """How many connections were left behind.

    Where all tests share one loop, the pool of that loop may keep what it has until the process
    ends, if nothing is in a transaction.
    """
    busy = [session for session in run.leftovers if session.state != "idle"]
    return len(run.leftovers) if len(_loops(run)) > 1 else len(busy)


def _loops(run: SuiteRun) -> set[str]:
    return {event.loop for event in run.trace if event.kind == "connect"}


def _given_up(run: SuiteRun) -> list[str]:
    """Tests in which the pool gave up a connection of another loop and made a new one in its place,
    before it handed out anything: a listener refused it.
    """
    refused: dict[int, str] = {}
    found = set()
    for event in run.trace:
        if event.kind == "invalidate" and event.loop and event.born_on not in ("", event.loop):
            refused[event.record] = event.test
        elif event.kind == "connect" and refused.get(event.record) == event.test:
            found.add(event.test)
        elif event.kind != "close":
            refused.pop(event.record, None)
    return sorted(found)


def _crossed(run: SuiteRun) -> list[str]:
    """Tests that are reported as passed though the pool handed out a connection of another loop in
    them.
    """
    met = {
        event.test
        for event in run.trace
        if event.kind in ("checkout", "invalidate")
        and event.loop
        and event.born_on not in ("", event.loop)
    }
    return [test for test in run.passed if test in met]


def _late(run: SuiteRun) -> list[str]:
    """Tests in which a connection was closed on another loop than its own, which cannot say goodbye
    to the server any more.
    """
    return sorted(
        {
            event.test
            for event in run.trace
            if event.kind == "close" and event.loop and event.born_on not in ("", event.loop)
        }
    )


_DRIVER = re.compile(r"driver: (\w+)")


def _further(run: SuiteRun | str, hidden: Mapping[str, str]) -> Data:
    """What the further tests gave, told by their labels: their names and their code are no
    learner's to see.
    """
    labels = labels_of(hidden)
    data: Data = {
        "problem": "",
        "driver": "",
        "failed": {},
        "missing": [],
        "hung": "",
        "left": 0,
        "crossed": [],
        "late": [],
        "count": len(labels),
        "sound": False,
    }
    if isinstance(run, str):
        return data | {"problem": run}
    unreadable = [test.error for test in run.tests if test.phase == "collection"]
    if unreadable:
        return data | {"problem": f"It says: {unreadable[0]}"}
    drivers = [found[1] for test in run.tests if (found := _DRIVER.search(test.error))]
    ran = {_name(test.id) for test in run.tests}
    data |= {
        "driver": drivers[0] if drivers else "",
        "failed": {
            labels[_name(test.id)]: test.symptom
            for test in run.tests
            if test.outcome in ("failed", "error", "skipped")
        },
        "missing": [label for name, label in labels.items() if name not in ran],
        "hung": (
            labels[_name(run.hung_test)]
            if run.hung_test
            else "no test had begun"
            if run.hung
            else ""
        ),
        "left": _outlived(run),
        "crossed": _crossed(run),
        "late": _late(run),
        "count": len(run.tests),
    }
    return data | {"sound": _sound(run) and not data["missing"]}


def _name(identity: str) -> str:
    return short(identity).partition("[")[0]


def _noticed(files: Mapping[str, str]) -> list[Data]:
    """Each bug, and what the suite said of it. Bugs that touch other things share a run."""
    batches = list(_bugs().values())
    jobs = [
        {"project": BACKEND, "overlay": {**files, **_with_bugs(files, bugs)}, "limit": LIMIT}
        for bugs in batches
    ]
    found = []
    for bugs, run in zip(batches, run_suites(jobs), strict=True):
        said = {test.id: test.outcome for test in run.tests}
        found += [
            {
                "says": bug["says"],
                "caught": {test: said.get(test, "not run") for test in bug["caught_by"]},
            }
            for bug in bugs
        ]
    return found


def _with_bugs(files: Mapping[str, str], bugs: list[Data]) -> dict[str, str]:
    """{file: text} with the bugs in them: in the learner's own version where it can take them, else
    in the backend's.
    """
    changed = {}
    for file in {bug["file"] for bug in bugs}:
        here = [bug for bug in bugs if bug["file"] == file]
        text = files.get(file, "")
        if not all(bug["there"] in text for bug in here):
            text = (BACKEND / file).read_text(encoding="utf-8")
        for bug in here:
            text = text.replace(bug["there"], bug["bug"])
        changed[file] = text
    return changed
