"""Lesson 07, recovery by dispose: foretell what the server sees, tidy up by the rule, tell four
green suites apart, mend a recipe.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from loopbound.checks.plain import as_text, first_difference
from loopbound.checks.suites import LIMIT, files_of, judge_suite, miscounting, run_orders, tests_of
from loopbound.checks.task import Data, TaskCheck, is_thing, timeline_of, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.database import ScratchDatabase
from loopbound.recorder import OK, symptom_in, symptom_of
from loopbound.suite import SuiteRun, run_suites

CHECKS: dict[str, TaskCheck] = {}


# 07.1 Six steps, two pools


def _sessions(database: ScratchDatabase) -> int:
    """How many sessions the server sees, once two looks in a row agree: one that says goodbye may
    still be shown.
    """
    seen = -1
    while (now := len(database.sessions())) != seen:
        seen = now
        time.sleep(0.1)
    return seen


def _six_steps(given: Mapping[str, Any]) -> Data:
    counts: list[int] = []
    with Watch(given, counts=False) as watch:
        database = watch.database()
        engine = create_async_engine(database.url)
        watch.recorder.watch(engine)
        old, taken = engine.pool, []

        async def take() -> None:
            taken.extend(await given["take_three"](engine))

        for loop, step in (
            ("A", take),
            ("A", lambda: given["give_back"](*taken[:2])),
            ("A", engine.dispose),
            ("A", lambda: given["give_back"](taken[2])),
            ("B", lambda: given["ask"](engine)),
            ("B", engine.dispose),
        ):
            watch.step(loop, "a step", step)
            counts.append(_sessions(database))
        watch.step("A", "the old pool's dispose", lambda: greenlet_spawn(old.dispose))
    return {"counts": counts, "events": watch.data()["events"]}


def _judge_steps(data: Data) -> Verdict:
    said, counts = value_of(data), data["counts"]
    if (
        not isinstance(said, list)
        or len(said) != 6
        or not all(type(number) is int for number in said)
    ):
        return failed(
            "not six numbers",
            f"`six_numbers()` returned {as_text(said)}. Wanted is a list of six whole numbers, one"
            " for each step.",
        )
    if said == counts:
        return passed(
            f"The six steps were run. After them the server saw {', '.join(map(str, counts))}"
            " sessions, as you predicted."
        )
    first = first_difference(said, counts)
    words = (
        f"After step {first + 1} the server saw another number of sessions than your {said[first]}."
    )
    number, before = said[first], said[first - 1] if first else 0
    if first == 1 and number < before:
        return failed(
            "given back is closed",
            f"{words}\nA connection that is given back goes to a pool. Does the server learn"
            " of it?",
        )
    if first == 2 and number == 0:
        return failed(
            "held one closed",
            f"{words}\nDispose takes what stands in the pool. Where is the third connection at that"
            " moment?",
        )
    if first == 2 and number == before:
        return failed(
            "dispose closes nothing",
            f"{words}\nTwo connections stand in the pool, and the loop that made them awaits the"
            " dispose.",
        )
    if first == 3 and number < before:
        return failed(
            "closed on its return",
            f"{words}\nThe connection goes back to the pool it came from, and `old` keeps that pool"
            " alive. Does it close anything?",
        )
    if first == 4 and number == before:
        return failed(
            "the old pool asked",
            f"{words}\nWhich pool does the engine ask in step 5, and what stands in it?",
        )
    if first == 5 and number == 0:
        return failed(
            "both pools emptied",
            f"{words}\nWhich of the two pools is the engine's when B disposes?",
        )
    return failed(
        "another number",
        f"{words}\nNote for each of the three connections where it is: held, in the first pool, in"
        " the second pool, or closed.",
    )


CHECKS["07.1"] = TaskCheck(
    answers=("six_numbers",),
    given=("take_three", "give_back", "ask"),
    facts=_six_steps,
    judge=_judge_steps,
    show=timeline_of("The six steps, and the old pool's own end", logged=False),
    hints=(
        (
            "Draw two boxes, the first pool and the second, and a place for what is held. Move"
            " the connections step by step."
        ),
        (
            "Dispose closes what stands in the engine's pool, and then the engine has a new"
            " one. A held connection is in neither."
        ),
        "A connection goes back to the pool it came from. Who would ever close it there?",
    ),
)


# 07.2 Tidy up by the rule


async def _hold_two(engine: AsyncEngine) -> None:
    async with engine.connect() as first, engine.connect() as second:
        await first.scalar(text("select 1"))
        await second.scalar(text("select 1"))


async def _ask(engine: AsyncEngine) -> str:
    try:
        async with engine.connect() as connection:
            await connection.scalar(text("select 1"))
    except Exception as error:
        return symptom_of(error)
    return OK


def _observe_tidy(names: Mapping[str, Any]) -> Data:
    cases: list[Data] = []
    with Watch(names, counts=False) as watch:
        for state, owner, spare in (("open", "A", "B"), ("closed", "C", "D")):
            database = watch.database()
            engine = create_async_engine(database.url)
            watch.recorder.watch(engine)
            watch.step(owner, f"two connections on loop {owner}", partial(_hold_two, engine))
            owning, other = watch.loop(owner), watch.loop(spare)
            if state == "closed":
                watch.close(owner)
            before = len(watch.recorder.events)
            watch.plain_step(
                f"tidy(engine, {owner}, {spare})",
                partial(names["tidy"], engine, owning, other),
            )
            well = watch.well
            if well:
                case: Data = {
                    "state": state,
                    "owner": owner,
                    "spare": spare,
                    "left": watch.connected(database) if state == "open" else 0,
                }
                case["next"] = watch.step(spare, f"a query on loop {spare}", partial(_ask, engine))
                case["logged"] = _words(
                    next(
                        (
                            event.text
                            for event in watch.recorder.events[before:]
                            if event.kind == "logged"
                        ),
                        "",
                    )
                )
                cases.append(case)
            # The check tidies up too, also behind a right answer: nothing of it may be
            # collected, with a warning, in a later cell.
            watch.step(
                spare,
                "the check's own dispose",
                partial(engine.dispose, close=well),
            )
            del engine
            gc.collect()
            if not well:
                break
    return watch.data(cases=cases)


def _words(line: str) -> str:
    """A line of the pool's log without the objects in it: what went wrong, and the error's name or
    symptom.
    """
    what, _, error = line.partition(" <")
    kind = re.search(r"\((\w+): ", error)
    return f"{what}: {symptom_in(kind[1], error)}" if kind else what


def _judge_tidy(data: Data) -> Verdict:
    awaited = data["never_awaited"]
    if any(
        is_thing(step.get("value"), "coroutine")
        for step in data["steps"]
        if step["called"].startswith("tidy(")
    ):
        return failed(
            "async def",
            "`tidy(…)` returned a coroutine object, so nothing of it ran. The caller has no loop"
            " and awaits nothing: wanted is a plain `def`.",
        )
    for case in data["cases"]:
        whose = f"Loop {case['owner']} had opened two connections and was {case['state']}"
        if (
            "dispose" in awaited
            and case["state"] == "open"
            and case["next"] == OK
            and not case["left"]
            and len(data["cases"]) > 1
        ):
            # this owner's connections were closed, so the dispose that was not awaited is the other
            # one's
            continue
        if "dispose" in awaited:
            return failed(
                "dispose not awaited",
                f"{whose}. `engine.dispose()` gave a coroutine, and no loop ran it: who awaits it"
                " in a plain function?",
            )
        if "tidy" in awaited:
            return failed(
                "async def",
                "`tidy(…)` gave a coroutine, and nothing of it ran. The caller has no loop and"
                " awaits nothing: wanted is a plain `def`.",
            )
        if case["logged"]:
            said = f"{whose}. Your `tidy` ended, and the pool logged `{case['logged']}`."
            if "MissingGreenlet" in case["logged"]:
                return failed(
                    "synchronous dispose",
                    f"{said}\nThe synchronous engine cannot wait for a socket. Which two ways of"
                    " the lesson log nothing?",
                )
            return failed(
                "on the wrong loop",
                f"{said}\nOn which loop did your dispose run, and whose are the connections?",
            )
        if case["next"] != OK:
            return failed(
                "pool kept",
                f"{whose}. After your `tidy` a query on loop {case['spare']} failed:"
                f" {case['next']}. What stood in the pool that it asked?",
            )
        if case["state"] == "open" and case["left"]:
            return failed(
                "sessions left",
                f"{whose}. After your `tidy` the server still saw {case['left']} sessions. The"
                " owner could have said goodbye: who else could close them?",
            )
    return passed(
        "With its owner open, both connections were closed and no session stayed. With its owner"
        " closed, the pool was swapped, and nothing was logged."
    )


CHECKS["07.2"] = TaskCheck(
    answers=("tidy",),
    observe=_observe_tidy,
    judge=_judge_tidy,
    show=timeline_of("An open owner, A, and a closed one, C; each time a query on another loop"),
    hints=(
        (
            "The lesson ends its four ways with a rule: one line for an owner that is open, one"
            " for an owner that is gone."
        ),
        (
            "`owner.closed` tells which it is. `owner.run(…)` runs a coroutine on that loop and"
            " waits for it."
        ),
        (
            "Where the owner is gone, `close=False` swaps the pool and does not try to close"
            " anything; any open loop can run it."
        ),
    ),
    explains=(
        (
            "Event loop is closed",
            "a closed owner asked",
            "That loop runs nothing any more. Which loop is still there?",
        ),
        (
            "runs coroutines, not",
            "no coroutine",
            (
                "`run` wants the coroutine itself: call `engine.dispose(…)` inside its"
                " brackets, without `await`."
            ),
        ),
    ),
)


# 07.3 Four green suites

_SUITE = {
    "backend.py": (
        """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"])

async def count(table):
    async with engine.connect() as connection:
        return await connection.scalar(text(f"select count(*) from {table}"))
"""
    ),
    "test_reports.py": (
        """
from backend import count

async def test_list(): assert await count("reports") == 6
async def test_users(): assert await count("users") == 3
async def test_detail(): assert await count("reports") > 0
async def test_summary(): assert await count("reports") > 3
"""
    ),
    "pyproject.toml": '[tool.pytest.ini_options]\nasyncio_mode = "auto"\n',
}
# The garbage collector is off, so that what was not closed can be counted.
# The collector is kept away, so that what was not closed stays to be counted.
_CONFTEST = """
import gc, pytest, pytest_asyncio
from backend import engine

gc.disable()

@pytest_asyncio.fixture(autouse=True, loop_scope="{scope}")
async def emptied_pool():
    yield
    {way}
"""
_WAYS = {
    "w": ("sync_engine", "function", "engine.sync_engine.dispose()"),
    "x": ("own loop", "function", "await engine.dispose()"),
    "y": ("close=False", "function", "await engine.dispose(close=False)"),
    "z": ("session's loop", "session", "await engine.dispose()"),
}


def four_green_suites() -> Any:
    """Runs one suite with four fixtures that empty the pool after each test, and draws what each
    run showed; the fixtures are left out.
    """
    from loopbound.figures import verdict_table

    def cell(value: Any, fine: bool) -> tuple[str, str]:
        return ("good" if fine else "partly", str(value))

    rows = {
        f"suite {label}": [
            cell(f"{row['passed']} of 4", row["passed"] == 4),
            cell(row["logged"], row["logged"] == "nothing"),
            cell(row["left"], not row["left"]),
        ]
        for label, row in _green_rows().items()
    }
    return verdict_table(
        rows,
        ["tests passed", "the pool logged", "sessions when the last test was over"],
        "One suite, four ways to empty the pool",
    )


@lru_cache(maxsize=1)
def _green_rows() -> dict[str, Data]:
    jobs = [
        {
            "project": _SUITE | {"conftest.py": _CONFTEST.format(scope=scope, way=way)},
            "options": ["-o", "log_cli=true", "--log-cli-level=ERROR"],
            "limit": LIMIT,
        }
        for _, scope, way in _WAYS.values()
    ]
    rows = {}
    for label, run in zip(_WAYS, run_suites(jobs), strict=True):
        errors = run.output.count("Exception closing connection")
        rows[label] = {
            "passed": len(run.passed),
            "logged": f"{errors} errors" if errors else "nothing",
            "left": len(run.leftovers),
        }
    return rows


def _judge_ways(data: Data) -> Verdict:
    said, ways = value_of(data), data["ways"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(ways)
        or sorted(map(str, said.values())) != sorted(ways.values())
    ):
        return failed(
            "not four ways",
            f"`which_way()` returned {as_text(said)}. Wanted is a dict from w, x, y and z to"
            f" {', '.join(sorted(ways.values()))}, each once.",
        )
    wrong = [label for label in ways if said[label] != ways[label]]
    if not wrong:
        return passed("Each suite had the fixture that you name.")
    words = f"{len(wrong)} of 4 suites had another fixture: {', '.join(wrong)}."
    mixed = {said[label] for label in wrong}
    if mixed == {"own loop", "close=False"}:
        return failed(
            "two silent ways",
            f"{words}\nBoth log nothing. Which of the two says goodbye to the server, so that no"
            " session stays?",
        )
    if mixed == {"session's loop", "sync_engine"}:
        return failed(
            "two loud ways",
            f"{words}\nBoth log an error for each connection. From which of them does a goodbye"
            " still reach the server?",
        )
    if mixed == {"own loop", "session's loop"}:
        return failed(
            "green is not quiet",
            f"{words}\nIn both no session stays. Whose connections can the session's loop close"
            " without an error?",
        )
    if mixed == {"close=False", "sync_engine"}:
        return failed(
            "who keeps quiet",
            f"{words}\nIn both the sessions stay. Which of the two does not even try to close a"
            " connection?",
        )
    return failed(
        "another order",
        f"{words}\nAsk two questions of each row: was an error logged, and did sessions stay?",
    )


CHECKS["07.3"] = TaskCheck(
    answers=("which_way",),
    facts=lambda given: {"ways": {label: name for label, (name, _, _) in _WAYS.items()}},
    judge=_judge_ways,
    hints=(
        "Each row answers two questions: did the pool log errors, and did sessions stay?",
        "Only the loop that opened a connection closes it quietly and at once. That is one row.",
        (
            "`close=False` does not try to close, so nothing fails, and the server is not told. A"
            " dispose on another loop still tells the server."
        ),
    ),
)


# 07.4 A recipe to mend


def _run_mended(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["SUITE"]
    bug = miscounting(suite, "test_users", "test_detail")
    files = files_of(value_of(data), "conftest.py")
    return {
        "suite": run_orders(
            suite, files, may=["conftest.py"], bug=bug, also=_in_the_pool, trace=True
        )
    }


def _in_the_pool(run: SuiteRun) -> Data:
    """What the trace says of the suite's connections: opened, taken, given back, closed by their
    own loop or elsewhere.
    """
    kinds = [event.kind for event in run.trace]
    disposed = [event.phase for event in run.trace if event.kind == "dispose" and event.test]
    closed = [event for event in run.trace if event.kind == "close"]
    return {
        "opened": kinds.count("connect"),
        "taken": kinds.count("checkout"),
        "given_back": kinds.count("checkin"),
        "closed": len(closed),
        "before": bool(disposed) and set(disposed) == {"setup"},
        "closed_at_home": sum(event.loop == event.born_on for event in closed),
    }


def _judge_pool(run: Data) -> Verdict | None:
    if run["failed"] or run["errors"]:
        return None
    green = (
        f"In the {run['order']} order all {len(run['passed'])} tests passed. But look at the pool:"
    )
    opened, closed, home = run["opened"], run["closed"], run["closed_at_home"]
    if run["taken"] > run["given_back"]:
        return failed(
            "never given back",
            f"{green} {run['taken']} times a connection was taken, and {run['given_back']} times"
            " one came back.\nDispose takes what stands in the pool. Which fixture keeps one out"
            " of it?",
        )
    if closed > home and run["before"]:
        return failed(
            "disposed before",
            f"{green} {closed} connections were closed, {home} of them by the loop that had opened"
            " them. Your dispose ran before each test.\nWhich loop runs then, and whose"
            " connections stand in the pool?",
        )
    if closed > home:
        return failed(
            "closed elsewhere",
            f"{green} {closed} connections were closed, {home} of them by the loop that had opened"
            " them.\nOn which loop does the part after the `yield` run?",
        )
    if closed < opened:
        return failed(
            "never closed",
            f"{green} {opened} connections were opened, and {closed} closed.\nThe loop that opened"
            " them still runs then, and could say goodbye.",
        )
    return None


def _judge_mended(data: Data) -> Verdict:
    if wrong := judge_suite(data["suite"], value_of(data), tests=data["ids"], own=_judge_pool):
        return wrong
    run = data["suite"]["runs"][0]
    return passed(
        f"All {len(data['ids'])} tests passed in both orders. In the default order {run['opened']}"
        " connections were opened, and each was closed by the loop that had opened it. With a bug"
        " in the backend the suite failed, as it should."
    )


CHECKS["07.4"] = TaskCheck(
    answers=("mended",),
    given=("SUITE", "RECIPE"),
    facts=lambda given: {"ids": tests_of(given["SUITE"] | {"conftest.py": given["RECIPE"]})},
    settle=_run_mended,
    judge=_judge_mended,
    hints=(
        "One mistake is loud: a name is imported where the fixtures cannot see it.",
        (
            "The other two are silent. Look at the pool: is every connection given back, and"
            " which loop closes it?"
        ),
        (
            "A fixture that gives something back needs a `yield`, inside `async with"
            " engine.connect() as connection`. The dispose belongs on the test's own loop."
        ),
    ),
)
