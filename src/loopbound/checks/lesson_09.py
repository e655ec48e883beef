"""Lesson 09, choosing a cure: three teams and five rows, a thread beside the server's loop, a
worker's task, the cheapest cure for a suite.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from loopbound.checks.plain import as_text, plain
from loopbound.checks.suites import (
    LIMIT,
    files_of,
    judge_suite,
    key_of,
    miscounting,
    run_orders,
    short,
)
from loopbound.checks.task import Data, TaskCheck, at, is_thing, timeline_of, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch, one_at_a_time
from loopbound.loops import name_of
from loopbound.suite import SuiteRun, run_suite, run_suites

CHECKS: dict[str, TaskCheck] = {}

# 09.1 Three teams, five rows

_DISPOSE = """
import pytest
from backend import engine

@pytest.fixture(autouse=True)
async def emptied_pool():
    yield
    await engine.dispose()
"""

_ROLLBACK = """
import pytest
from backend import Session, engine

@pytest.fixture(autouse=True)
async def undo_after_test():
    async with engine.connect() as connection:
        outer = await connection.begin()
        Session.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield
        Session.configure(bind=engine, join_transaction_mode="conditional_savepoint")
        await outer.rollback()
"""

_ONE_LOOP = """
[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "session"
asyncio_default_test_loop_scope = "session"
"""

# Label → the cure's name, its files, its environment.
_CURES: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "v": ("session-loop", {"pyproject.toml": _ONE_LOOP}, {}),
    "w": ("null-pool", {}, {"POOL": "null"}),
    "x": ("the suite as found", {}, {}),
    "y": ("dispose", {"conftest.py": _DISPOSE}, {}),
    "z": ("session-loop-rollback", {"conftest.py": _ROLLBACK, "pyproject.toml": _ONE_LOOP}, {}),
}

# After the suite's own tests and without its engine: it fails, and its error has the number of rows
# that they left behind.
_ROWS_LEFT = """
import os, psycopg

def test_rows_left():
    with psycopg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", "")) as connection:
        raise AssertionError(f"rows: {connection.execute('select count(*) from reports').fetchone()[0] - 6}")
"""  # noqa: E501
_COUNTED = "test_rows_left"

_TEAMS = ("mail", "billing", "search")


@functools.lru_cache(maxsize=4)
def _measured(suite: str) -> dict[str, Data]:
    """What each cure gives on a suite: passed tests, loops, connections, idle ones, rows left
    behind.
    """
    project = json.loads(suite)
    jobs = [
        {
            "project": project,
            "overlay": {**files, "test_rows.py": _ROWS_LEFT},
            "environment": more,
            "trace": True,
            "limit": LIMIT,
        }
        for _, files, more in _CURES.values()
    ]
    return {label: _row(run) for label, run in zip(_CURES, run_suites(jobs), strict=True)}


def _row(run: SuiteRun) -> Data:
    tests = [test for test in run.tests if short(test.id) != _COUNTED]
    left = next(
        (re.search(r"rows: (\d+)", test.error) for test in run.tests if short(test.id) == _COUNTED),
        None,
    )
    following = [*run.trace[1:], None]
    return {
        "tests": len(tests),
        "passed": sum(test.outcome == "passed" for test in tests),
        "loops": len(
            {event.loop for event in run.trace if event.kind in ("checkout", "invalidate")}
        ),
        "connections": sum(event.kind == "connect" for event in run.trace),
        # Given back, and not closed at once.
        "idle": sum(
            event.kind == "checkin"
            and (then is None or (then.kind, then.record) != ("close", event.record))
            for event, then in zip(run.trace, following, strict=True)
        ),
        "rows": int(left[1]) if left else -1,
    }


def five_rows(suite: Mapping[str, str]) -> Any:
    """Runs a suite with four cures and without one, and draws what was measured; the cures' names
    are left out.
    """
    from loopbound.figures import verdict_table

    rows: dict[str, list[str | tuple[str, str]]] = {
        f"row {label}": [
            (
                "good" if row["passed"] == row["tests"] else "bad",
                f"{row['passed']} of {row['tests']}",
            ),
            *(str(row[measure]) for measure in ("loops", "connections", "idle", "rows")),
        ]
        for label, row in _measured(key_of(suite)).items()
    }
    columns = [
        "tests passed",
        "loops that used a connection",
        "connections opened",
        "times that one lay idle in the pool",
        "rows left behind",
    ]
    return verdict_table(rows, columns, "Four cures and the suite as found")


def _rows(given: Mapping[str, Any]) -> Data:
    return {
        "rows": _measured(key_of(given["SUITE"])),
        "names": {label: cure[0] for label, cure in _CURES.items()},
    }


def _unmet(team: str, row: Data, most_loops: int) -> str:
    """What keeps a team from taking a row, "" where nothing does."""
    if row["passed"] < row["tests"]:
        return f"{row['passed']} of {row['tests']} tests passed there"
    if team == "mail" and row["loops"] < most_loops:
        return (
            f"there {most_loops} tests used {row['loops']}"
            f" {'loop' if row['loops'] == 1 else 'loops'}"
        )
    if team == "billing" and row["rows"]:
        return f"there {row['rows']} rows were left behind"
    if team == "search" and row["idle"]:
        return f"there a connection lay idle {row['idle']} times"
    return ""


def _judge_teams(data: Data) -> Verdict:
    said, rows = value_of(data), data["rows"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(_TEAMS)
        or not all(row in rows for row in map(str, said.values()))
    ):
        return failed(
            "not three rows",
            f"`which_row()` returned {as_text(said)}. Wanted is a dict from {', '.join(_TEAMS)} to"
            f" a row's letter, {', '.join(rows)}.",
        )
    most = max(row["loops"] for row in rows.values())
    for team in _TEAMS:
        mine = rows[said[team]]
        words = f"For the team {team} you take row {said[team]}."
        if why := _unmet(team, mine, most):
            if mine["passed"] < mine["tests"]:
                return failed(
                    "no cure at all",
                    f"{words} But {why}: it cures nothing. Few connections are no merit of a suite"
                    " that fails.",
                )
            return failed(
                "condition unmet",
                f"{words} But {why}. What does that team ask for first, before the price counts?",
            )
        cheapest = min(row["connections"] for row in rows.values() if not _unmet(team, row, most))
        if mine["connections"] > cheapest:
            return failed(
                "not the cheapest",
                f"{words} It meets the condition with {mine['connections']} connections, and"
                f" another row does so with {cheapest}.",
            )
    names = data["names"]
    return passed(
        "Each team has the cheapest row that meets its condition: "
        + ", ".join(f"{team} {names[said[team]]} ({said[team]})" for team in _TEAMS)
        + "."
    )


CHECKS["09.1"] = TaskCheck(
    answers=("which_row",),
    given=("SUITE",),
    facts=_rows,
    judge=_judge_teams,
    hints=(
        (
            "First strike out, for each team, the rows that do not meet its condition, and the"
            " row whose tests fail. Only then compare prices."
        ),
        (
            "A loop for each test shows in the second column, an idle connection in the fourth,"
            " rows in the last."
        ),
    ),
)


# 09.2 A thread beside the server


def _observe_thread(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"values": [], "ran_on": [], "refused": None}

    with Watch(names) as watch:
        database = watch.database()
        engine = create_async_engine(database.url)
        watch.recorder.watch(engine)
        loop = watch.loop("server").loop

        @event.listens_for(engine.sync_engine, "connect")
        def opened(connection: Any, record: Any) -> None:
            one_at_a_time(asyncio.get_running_loop(), connection.driver_connection)

        async def work(mine: AsyncEngine) -> Any:
            seen["ran_on"].append(name_of(asyncio.get_running_loop()))
            return await names["count_reports"](mine)

        async def broken(mine: AsyncEngine) -> Any:
            async with mine.connect() as connection:
                return await connection.scalar(text("select nobody from reports"))

        async def in_thread(job: Any) -> Any:
            return await asyncio.to_thread(names["from_thread"], loop, engine, job)

        call = "to_thread(from_thread, loop, engine, work)"

        def on_server() -> bool:
            # The pool is empty at first, and who works on another loop is not asked again: a
            # connection of one loop, met by another, would say something about the pool.
            return watch.well and set(seen["ran_on"]) <= {"server"}

        for number in range(2):
            if on_server():
                seen["values"].append(plain(watch.step("server", call, lambda: in_thread(work))))
            if watch.well and not number:
                watch.step(
                    "server", "count_reports(engine)", lambda: names["count_reports"](engine)
                )
        if on_server():
            seen["refused"] = plain(
                watch.step(
                    "server",
                    "to_thread(from_thread, loop, engine, broken)",
                    lambda: _refusal(in_thread(broken)),
                )
            )
        if not watch.step("server", "engine.dispose()", engine.dispose) and not watch.well:
            engine.sync_engine.dispose(close=False)
    data = watch.data(**seen)
    data["born"] = sum(event["kind"] == "born" for event in data["events"])
    return data


_REFUSED = "ProgrammingError"


async def _refusal(call: Any) -> Any:
    """The name of the database's error that a call raises, as it should; else what it returns."""
    from sqlalchemy.exc import DBAPIError

    try:
        return await call
    except DBAPIError as error:
        return type(error).__name__


def _judge_thread(data: Data) -> Verdict:
    call, values = "`from_thread(loop, engine, work)`, called in a thread,", data["values"]
    if is_thing(values[0], "Future"):
        return failed(
            "not waited for",
            f"{call} returned a Future object. The thread wants the number. What does it have to"
            " ask that future for?",
        )
    if is_thing(values[0], "Handle"):
        return failed(
            "a callback",
            f"{call} returned a Handle object: the loop got a callback, and its result is lost."
            " What hands a coroutine over?",
        )
    if is_thing(values[0], "Task"):
        return failed(
            "a task",
            f"{call} returned a Task object: `create_task` belongs on the loop's own thread, and"
            " waits for nothing. What hands a coroutine over from another thread?",
        )
    if is_thing(values[0], "coroutine"):
        return failed(
            "never ran", f"{call} returned a coroutine object: `work` has run on no loop."
        )
    if set(map(str, values)) != {"6"}:
        return failed(
            "another number",
            f"{call} returned {as_text(next(value for value in values if value != 6))}, and `await"
            " work(engine)` gives 6.",
        )
    if strange := [loop for loop in data["ran_on"] if loop != "server"]:
        return failed(
            "another loop",
            f"{call} returned 6. But `work` ran on a loop of its own, {strange[0]}, and so with a"
            " connection of its own. The server's loop runs all the while: can it do that work?",
        )
    if data["refused"] != _REFUSED:
        return failed(
            "error swallowed",
            f"With a query that fails the call in the thread returned {as_text(data['refused'])},"
            " and the thread learns of no error.",
        )
    return passed(
        "Twice the thread got 6, `work` ran on the server's loop each time, and the server and the"
        f" thread shared {data['born']} connection. An error reached the thread."
    )


CHECKS["09.2"] = TaskCheck(
    answers=("from_thread",),
    given=("count_reports",),
    observe=_observe_thread,
    judge=_judge_thread,
    show=timeline_of("Your run"),
    hints=(
        (
            "The engine's connections belong to the server's loop, which is running. So the"
            " work has to run there, and the thread to wait."
        ),
        (
            "asyncio has one function that hands a coroutine to a loop of another thread. It"
            " returns a future of `concurrent.futures`."
        ),
        (
            "`asyncio.run_coroutine_threadsafe(coroutine, loop)`; the future's `result()`"
            " waits, and raises what the coroutine raised."
        ),
    ),
    explains=(
        (
            "attached to a different loop",
            "a loop of its own",
            (
                "Server and thread share the engine's pool, and one of the two met a connection"
                " that the other's loop had made. Which loop can use all of them?"
            ),
        ),
        (
            "operation is in progress",
            "a loop of its own",
            (
                "Server and thread share the engine's pool, and one of the two met a connection"
                " that the other's loop had made. Which loop can use all of them?"
            ),
        ),
        (
            "has no attribute 'run'",
            "no NamedLoop",
            (
                "`loop` is asyncio's own, not a `NamedLoop`, and it is running already. What"
                " hands a coroutine over to it from another thread?"
            ),
        ),
        (
            "already running",
            "a running loop",
            (
                "The server's loop runs in its own thread, so no other thread can run it. What"
                " hands a coroutine over to it?"
            ),
        ),
        (
            "no running event loop",
            "no loop here",
            "In the thread no loop runs: the loop that can do the work is the one you are given.",
        ),
        (
            "coroutine object is required",
            "work not called",
            "What is handed over is a coroutine: `work(engine)`, not `work`.",
        ),
        (
            "A coroutine object is required",
            "work not called",
            "What is handed over is a coroutine: `work(engine)`, not `work`.",
        ),
    ),
)


# 09.3 A worker's task


def _observe_worker(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"values": [], "left": [], "after_error": 0, "own_engine": True}
    loops: list[asyncio.AbstractEventLoop] = []

    async def work(mine: AsyncEngine) -> Any:
        loops.append(asyncio.get_running_loop())
        seen["own_engine"] = seen["own_engine"] and mine is engine
        return await names["count_reports"](engine)

    async def broken(engine: AsyncEngine) -> Any:
        async with engine.connect() as connection:
            return await connection.scalar(text("select nobody from reports"))

    def refused(engine: AsyncEngine) -> Any:
        from sqlalchemy.exc import DBAPIError

        try:
            return names["run_task"](engine, broken)
        except DBAPIError as error:
            return type(error).__name__

    with Watch(names, counts=False) as watch:
        database = watch.database()
        engine = create_async_engine(database.url)
        watch.recorder.watch(engine)
        for number in range(1, 4):
            seen["values"].append(
                plain(
                    watch.plain_step(
                        f"run_task(engine, task_{number})", lambda: names["run_task"](engine, work)
                    )
                )
            )
            seen["left"].append(watch.connected(database))
            if not watch.well or seen["left"][-1]:
                break
        else:
            seen["refused"] = plain(
                watch.plain_step("run_task(engine, broken_task)", lambda: refused(engine))
            )
            seen["after_error"] = watch.connected(database)
        engine.sync_engine.dispose(close=False)
        left_open = [loop for loop in loops if not loop.is_closed()]
        seen["left_open"] = len(left_open)
        for loop in left_open:
            loop.close()
    # Connections are judged below, in words that fit.
    return watch.data(**seen)


def _judge_worker(data: Data) -> Verdict:
    values, left = data["values"], data["left"]
    call = f"{at(data['steps'][0])}"
    if values[0] != 6:
        if is_thing(values[0], "coroutine"):
            return failed(
                "never ran",
                f"{call} returned a coroutine object. A worker is plain code: who starts a loop"
                " for it?",
            )
        return failed(
            "another number",
            f"{call} returned {as_text(values[0])}, and `await work(engine)` gives 6.",
        )
    if not data["own_engine"]:
        return failed(
            "another engine",
            "`run_task` returned 6. But `work` was given another engine than the worker's: what"
            " that one is set to, and who listens to it, counts for nothing then.",
        )
    if any("Event loop is closed" in aside for aside in data["asides"]):
        # The garbage collector may have taken the socket by now: what the server sees says nothing.
        return failed(
            "disposed on another loop",
            "`run_task` returned 6. But when the pool closed the task's connection, that"
            " connection's loop was closed already, and the pool logged `Event loop is closed`.\nOn"
            " which loop does a connection have to be closed, and until when?",
        )
    if any(left):
        words = (
            f"Task {len(left)} returned 6. When it was over, the server still saw {left[-1]} open"
            " connection of it."
        )
        if "dispose" in data["never_awaited"]:
            return failed(
                "dispose not awaited",
                f"{words}\n`engine.dispose()` gave a coroutine that was not awaited.",
            )
        if any("MissingGreenlet" in aside for aside in data["asides"]):
            return failed(
                "synchronous dispose",
                f"{words}\nThe synchronous `dispose` of an async engine cannot wait for a socket:"
                " look for the function that you can await.",
            )
        return failed(
            "connection left in the pool",
            f"{words}\nIt waits in the pool, and the next task comes with another loop. Who has to"
            " close it, and on which loop?",
        )
    if data["refused"] != _REFUSED:
        return failed(
            "error swallowed",
            f"With a query that fails `run_task` returned {as_text(data['refused'])}, and the"
            " worker learns of no error.",
        )
    if data["after_error"]:
        return failed(
            "left after an error",
            "Three tasks returned 6 and left nothing. After the one whose query fails, the server"
            f" still saw {data['after_error']} open connection. What runs when `work` raises?",
        )
    if data["left_open"]:
        return failed(
            "loop left open",
            f"No connection is left. But {data['left_open']} of the loops that the tasks ran on are"
            " still open: each keeps sockets of its own. Who closes a loop that you make"
            " yourself?",
        )
    return passed(
        "Three tasks in a row returned 6, the one that fails raised, and after each of the four the"
        " server saw no connection."
    )


CHECKS["09.3"] = TaskCheck(
    answers=("run_task",),
    given=("count_reports",),
    observe=_observe_worker,
    judge=_judge_worker,
    show=timeline_of("Your run"),
    hints=(
        (
            "`asyncio.run` makes a loop for one task and closes it. What the task leaves in the"
            " pool belongs to that loop."
        ),
        (
            "Write a coroutine function inside `run_task` that does the work and then disposes,"
            " and give it to one `asyncio.run`."
        ),
        (
            "`try: return await work(engine)` and `finally: await engine.dispose()`, both"
            " inside that coroutine."
        ),
    ),
    explains=(
        (
            "attached to a different loop",
            "pool not emptied",
            (
                "It met the connection that the task before it had left in the pool. When"
                " should that one have been closed?"
            ),
        ),
        (
            "a coroutine was expected",
            "no coroutine",
            (
                "`asyncio.run` wants a coroutine: call the async function, and give it what"
                " comes back."
            ),
        ),
        (
            "cannot be called from a running event loop",
            "a loop in a loop",
            "A loop already runs there: it cannot be started a second time. Dispose with `await`,"
            " inside the task.",
        ),
    ),
)


# 09.4 The cheapest cure for this suite

_MOST = 2  # connections that the cure may open in a run


@functools.lru_cache(maxsize=4)
def _as_found(suite: str) -> Data:
    run = run_suite(json.loads(suite), limit=LIMIT)
    return {"tests": [test.id for test in run.tests], "failing": list(run.failed)}


def _prices(run: SuiteRun) -> Data:
    return {
        "connections": sum(event.kind == "connect" for event in run.trace),
        "closed": any(event.kind == "close" for event in run.trace),
    }


def _run_cheapest(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["SUITE"]
    bug = miscounting(suite, "test_users", "test_list")
    may = ["conftest.py", "pyproject.toml", "pytest.ini"]
    return {
        "suite": run_orders(
            suite, files_of(value_of(data)), may=may, bug=bug, also=_prices, trace=True
        )
    }


def _judge_cheapest(data: Data) -> Verdict:
    suite, tests = data["suite"], data["tests"]
    runs = suite["runs"]
    # The price before the connections that are left: who opens one for each test has another cure
    # to find.
    sound = judge_suite(
        suite | {"runs": [run | {"left": 0} for run in runs]},
        value_of(data),
        tests=tests,
        before=data["failing"],
        what="`conftest.py` and `pyproject.toml`",
        wanted="a dict from file names to their texts",
    )
    if sound and sound.diagnosis != "a bug goes unnoticed":
        return sound
    if dear := next((run for run in runs if run["connections"] > _MOST), None):
        return failed(
            "too dear",
            f"In the {dear['order']} order all {len(tests)} tests passed, and the suite opened"
            f" {dear['connections']} connections. The server has {_MOST} to give. What makes each"
            " test open a new connection?",
        )
    if ends := next((run for run in runs if run["left"] and run["closed"]), None):
        return failed(
            "closed without a goodbye",
            f"In the {ends['order']} order all tests passed, and the pool closed a connection. But"
            f" when the last test was over, the server still saw {ends['left']}: it had been told"
            " nothing. Was that dispose awaited, and on the connection's own loop?",
        )
    if ends := next((run for run in runs if run["left"]), None):
        return failed(
            "connections left",
            f"In the {ends['order']} order all tests passed, and the suite opened"
            f" {_counted(ends['connections'])}. When the last test was over, the server still saw"
            f" {ends['left']}. Who closes the pool of a loop that lasts as long as the session?",
        )
    if sound:
        return sound
    most = max(run["connections"] for run in runs)
    return passed(
        f"All {len(tests)} tests passed in the default order and in reverse, with {_counted(most)}"
        " a run, and none was left."
    )


def _counted(connections: int) -> str:
    return f"{connections} connection{'' if connections == 1 else 's'}"


CHECKS["09.4"] = TaskCheck(
    answers=("cheapest",),
    given=("SUITE",),
    facts=lambda given: _as_found(key_of(given["SUITE"])),
    settle=_run_cheapest,
    judge=_judge_cheapest,
    hints=(
        (
            "A connection can serve several tests where they share its loop. Which two options"
            " of pytest-asyncio widen the loop of fixtures and of tests?"
        ),
        (
            "The two options stand in `pyproject.toml`, beside `asyncio_mode`. What is still"
            " open at the end waits for one fixture that lives as long as the session."
        ),
        (
            'A fixture with `scope="session"` and `autouse=True` that yields and then awaits'
            " `engine.dispose()`: on the session's loop it runs last."
        ),
    ),
)
