"""Lesson 04, the global engine: foretell two left-over connections, leave none behind, choose a
pool, read four rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from loopbound.checks.plain import as_text, first_difference
from loopbound.checks.task import Data, TaskCheck, at, is_thing, timeline_of, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.recorder import DIFFERENT, IN_PROGRESS, OK, symptom_of

CHECKS: dict[str, TaskCheck] = {}

# 04.1 Two left over

_SIX = "ABCDEF"


async def _outcome(use: Any) -> str:
    try:
        async with asyncio.timeout(5):
            await use
    except Exception as error:
        return symptom_of(error)
    return OK


def _two_left_over(given: Mapping[str, Any]) -> Data:
    outcomes: list[str] = []
    with Watch(given, counts=False) as watch:
        engine = create_async_engine(watch.database().url, pool_pre_ping=True)
        watch.recorder.watch(engine)
        for name in _SIX:
            use = "hold_two" if name == "A" else "ask"
            outcomes.append(
                watch.step(
                    name,
                    f"{use}(engine)",
                    partial(lambda use: _outcome(given[use](engine)), use),
                )
            )
            watch.close(name)
        engine.sync_engine.dispose(close=False)
    return {"outcomes": outcomes, "events": watch.data()["events"]}


def _judge_two(data: Data) -> Verdict:
    said, outcomes = value_of(data), data["outcomes"]
    if (
        not isinstance(said, list)
        or len(said) != len(_SIX)
        or not all(isinstance(word, str) for word in said)
    ):
        return failed(
            "not six words",
            f"`six_loops()` returned {as_text(said)}. Wanted is a list of six outcomes, for the"
            " loops A to F.",
        )
    if said == outcomes:
        return passed(
            f"The engine went through the loops A to F: {' → '.join(outcomes)}. You predicted all"
            " of them."
        )
    first = first_difference(said, outcomes)
    words = f"Loop {_SIX[first]} gave something else than your {said[first]!r}."
    if IN_PROGRESS in said:
        return failed(
            "no ping",
            f"{words}\nThat message is the scar of a connection that went back to the pool. Does"
            " this pool take one back whose ping failed?",
        )
    if said == [OK, DIFFERENT] * 3:
        return failed(
            "one place",
            f"{words}\nYou foretell a pool with one place. How many connections did A leave in it?",
        )
    if set(said[1:]) == {DIFFERENT}:
        return failed(
            "never repaired",
            f"{words}\nYou expect that a failure changes nothing. What does a failing ping leave in"
            " its place in the queue?",
        )
    if first == 5:
        return failed(
            "the end of the queue",
            f"{words}\nUp to E you are right. D and E each gave a connection back, one behind the"
            " other: whose does F take?",
        )
    if said[:4] == [OK, DIFFERENT, DIFFERENT, OK]:
        return failed(
            "foreign again",
            f"{words}\nUp to D you are right. D's connection went to the end of the queue: what"
            " stood before it?",
        )
    if set(said) == {OK}:
        return failed(
            "ping as a cure",
            f"{words}\nThe ping itself runs on the loop that asks, with a connection of the loop"
            " that opened it.",
        )
    return failed("another order", words)


CHECKS["04.1"] = TaskCheck(
    answers=("six_loops",),
    given=("hold_two", "ask"),
    facts=_two_left_over,
    judge=_judge_two,
    show=timeline_of("The run", logged=False),
    hints=(
        (
            "Draw the queue: after A it holds two connections, both of A. A query takes from"
            " its head and gives back to its end."
        ),
        (
            "A failing ping empties the place, and the empty place goes to the end of the"
            " queue. A query that takes an empty place opens a new connection."
        ),
        (
            "B and C fail and leave two empty places. D fills the first of them; E takes the"
            " other one, which is still empty."
        ),
    ),
)


# 04.2 Ask and leave nothing

_REFUSED = "refused"


def _observe_ask(names: Mapping[str, Any]) -> Data:
    left: list[int] = []
    disposed: list[str] = []

    def noted(engine: Engine) -> None:
        disposed.append(engine.dialect.driver)

    async def refused(url: str) -> Any:
        try:
            return await names["ask_once"](url, "select missing from reports")
        except DBAPIError:
            return _REFUSED

    with Watch(names) as watch:
        database = watch.database()
        event.listen(Engine, "engine_disposed", noted)
        try:
            watch.step(
                "A",
                'ask_once(url, "select count(*) from reports")',
                lambda: names["ask_once"](database.url, "select count(*) from reports"),
            )
        finally:
            event.remove(Engine, "engine_disposed", noted)
        left.append(watch.connected(database))
        if watch.well and not left[0]:
            watch.step(
                "B", 'ask_once(url, "select missing from reports")', lambda: refused(database.url)
            )
            left.append(watch.connected(database))
    return watch.data(left=left, disposed=len(disposed))


def _judge_ask(data: Data) -> Verdict:
    call, value, left = at(data["steps"][0]), value_of(data), data["left"]
    if is_thing(value, "coroutine"):
        return failed(
            "scalar not awaited",
            f"{call} returned a coroutine object: what gives the number was called and never"
            " awaited.",
        )
    if is_thing(value):
        return failed(
            "no number", f"{call} returned {as_text(value)}, not the number in its first row."
        )
    if value is None:
        return failed("nothing returned", f"{call} returned None.")
    if value != 6:
        return failed("other value", f"{call} returned {as_text(value)}; the table has 6 rows.")
    if any("MissingGreenlet" in aside for aside in data["asides"]):
        return failed(
            "synchronous dispose",
            f"{call} returned 6, and meanwhile the pool logged MissingGreenlet: it could not close"
            " its connection. The synchronous engine cannot wait for a socket.",
        )
    if left[0]:
        saw = (
            f"{call} returned 6. When it had ended, the server still saw {left[0]} open connection"
            " of it."
        )
        if "dispose" in data["never_awaited"]:
            return failed(
                "dispose not awaited",
                f"{saw}\n`engine.dispose()` gave a coroutine that was not awaited: it never ran.",
            )
        if data["disposed"]:
            return failed(
                "disposed, not closed",
                f"{saw}\nThe engine was disposed, but that connection was not closed. A dispose"
                " closes what is in the pool at that moment; with `close=False` it closes"
                " nothing. Which of the two was it here?",
            )
        return failed(
            "pooled connection left",
            f"{saw}\nLeaving `async with engine.connect()` gives the connection back. Where does"
            " it go?",
        )
    if value_of(data, 1) != _REFUSED:
        return failed(
            "error swallowed",
            f"{at(data['steps'][1])} names a column that there is not. It returned"
            f" {as_text(value_of(data, 1))}, and the caller learns of no error.",
        )
    if left[1]:
        return failed(
            "left open after an error",
            f"With a query that works nothing is left. {at(data['steps'][1])} raised, as it should,"
            f" and the server still sees {left[1]} open connection of it.",
        )
    return passed(
        f"{call} returned 6, the query that fails on loop B raised, and the server sees no"
        " connection after either."
    )


CHECKS["04.2"] = TaskCheck(
    answers=("ask_once",),
    observe=_observe_ask,
    judge=_judge_ask,
    hints=(
        "Giving a connection back puts it into the engine's pool. What empties the pool?",
        (
            "`dispose` is a coroutine function of the engine, and it has to run on the loop"
            " that opened the connections."
        ),
        "`try: … finally: await engine.dispose()` runs it after an error too.",
    ),
    explains=(
        (
            "Textual SQL expression",
            "text missing",
            "SQLAlchemy does not accept a plain string as a statement: wrap it in `text(…)`.",
        ),
        (
            "Not an executable object",
            "text missing",
            "SQLAlchemy does not accept a plain string as a statement: wrap it in `text(…)`.",
        ),
        (
            "object AsyncConnection",
            "connect not entered",
            "`engine.connect()` is entered with `async with`.",
        ),
    ),
)


# 04.3 An engine for passing loops

_FIVE = "ABCDE"


async def _ask(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.scalar(text("select 1"))


def _observe_engine(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"driver": "", "outcomes": [], "left": []}

    async def twice(engine: AsyncEngine) -> list[str]:
        return [await _outcome(_ask(engine)), await _outcome(_ask(engine))]

    with Watch(names, counts=False) as watch:
        database = watch.database()
        engine = watch.plain_step("make_engine(url)", lambda: names["make_engine"](database.url))
        if isinstance(engine, AsyncEngine):
            seen["driver"] = f"{engine.dialect.name}+{engine.dialect.driver}"
            watch.recorder.watch(engine)
            for name in _FIVE:
                outcomes = watch.step(name, "two queries", lambda: twice(engine))
                seen["left"].append(watch.connected(database))
                watch.close(name)
                seen["outcomes"].append(outcomes)
                if seen["left"][-1] and name != "A":
                    break  # each further loop meets the same
            engine.sync_engine.dispose(close=False)
    return watch.data(**seen) | {"never_awaited": []}


def _judge_engine(data: Data) -> Verdict:
    outcomes, left = data["outcomes"], data["left"]
    if not data["driver"]:
        return failed(
            "no engine",
            f"`make_engine(url)` returned {as_text(value_of(data))}, and not an engine of"
            " `create_async_engine`.",
        )
    if data["driver"] != "postgresql+asyncpg":
        return failed(
            "another database",
            f"`make_engine(url)` made an engine for {data['driver']}. The reports are on"
            " PostgreSQL, and the driver is asyncpg.",
        )
    bad = next((n for n, pair in enumerate(outcomes) if pair != [OK, OK]), 0)
    if bad:  # loop A is the first: it meets no connection
        words = (
            f"Loop {_FIVE[bad]} got {' and '.join(outcomes[bad])}. What it met was made on loop"
            f" {_FIVE[bad - 1]}."
        )
        if outcomes[bad] == [DIFFERENT, OK]:
            return failed(
                "ping",
                f"{words}\nThe first query emptied the place, the second one filled it: that is"
                " what a ping makes of a foreign connection.",
            )
        return failed(
            "pooled connection crossed",
            f"{words}\nThe pool handed it out without asking for the loop.",
        )
    if any(left):
        return failed(
            "connection kept",
            f"Every query on the loops A to {_FIVE[len(outcomes) - 1]} passed. But when loop A's"
            f" work had ended, the server still saw {left[0]} open connection: the pool keeps one"
            " that the next loop cannot use.",
        )
    return passed(
        f"Ten queries on the loops A to {_FIVE[-1]} passed, and after each loop's work the server"
        " saw no connection."
    )


CHECKS["04.3"] = TaskCheck(
    answers=("make_engine",),
    observe=_observe_engine,
    judge=_judge_engine,
    show=timeline_of("The run", logged=False),
    hints=(
        ("Three engines of the lesson are ok on every loop. One of them never keeps a connection."),
        "The option is called `poolclass`, and the class comes from `sqlalchemy.pool`.",
    ),
    explains=(
        (
            "Pool class QueuePool cannot be used with asyncio",
            "a pool for threads",
            "That pool is made for threads, and SQLAlchemy refuses it under asyncio.",
        ),
        (
            "'str' object has no attribute",
            "a name for a class",
            (
                "SQLAlchemy got a text and wants a class: give the class itself, without"
                " quotation marks."
            ),
        ),
    ),
)


# 04.4 Four rows

_ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "w": ("pool_recycle=0", {"pool_recycle": 0}),
    "x": ("pool_pre_ping", {"pool_pre_ping": True}),
    "y": ("NullPool", {"poolclass": NullPool}),
    "z": ("default", {}),
}


def four_rows() -> Any:
    """Runs four engines through the loops A to D, two queries on each, and draws what they gave;
    the engines' names are left out.

    The last column is what the server sees when loop D's work has ended.
    """
    from loopbound.figures import outcome_grid

    rows: dict[str, list[str]] = {}
    for label, (_, options) in _ROWS.items():
        data = _observe_engine_row(options)
        rows[f"engine {label}"] = [*data["outcomes"], str(data["left"])]
    columns = [f"{loop} {query}" for loop in "ABCD" for query in ("first", "second")]
    return outcome_grid(
        rows,
        [*columns, "sessions"],
        "Four engines, two queries on each loop",
        neutral=["0", "1", "2", "3", "4"],
    )


def _observe_engine_row(options: dict[str, Any]) -> Data:
    outcomes: list[str] = []
    with Watch({}, counts=False) as watch:
        database = watch.database()
        engine = create_async_engine(database.url, **options)
        watch.recorder.watch(engine)
        for name in "ABCD":
            for _ in range(2):
                outcomes.append(watch.step(name, "a query", lambda: _outcome(_ask(engine))))
            if name == "D":
                left = watch.connected(database)
            watch.close(name)
        engine.sync_engine.dispose(close=False)
    return {"outcomes": outcomes, "left": left}


def _judge_rows(data: Data) -> Verdict:
    said, engines = value_of(data), data["engines"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(engines)
        or sorted(map(str, said.values())) != sorted(engines.values())
    ):
        names = ", ".join(sorted(engines.values()))
        return failed(
            "not four names",
            f"`which_engine()` returned {as_text(said)}. Wanted is a dict from w, x, y and z to"
            f" {names}, each once.",
        )
    wrong = [label for label in engines if said[label] != engines[label]]
    if not wrong:
        return passed(
            "Each row is the one that its engine gave. x leaves more than one session: its pool"
            " dropped each connection whose ping failed, and the loop that could have said goodbye"
            " for it to the server was closed."
        )
    words = f"{len(wrong)} of 4 rows belong to other engines: {', '.join(wrong)}."
    swapped = {said[label] for label in wrong}
    if swapped == {"NullPool", "pool_recycle=0"}:
        return failed(
            "sessions unread",
            f"{words}\nBoth rows are green. Which of the two engines can leave a session on the"
            " server when its work is done?",
        )
    if swapped == {"default", "pool_pre_ping"}:
        return failed(
            "repair unread",
            f"{words}\nBoth rows fail. In which of them does the second query on a loop pass after"
            " the first one failed?",
        )
    return failed(
        "green and red",
        f"{words}\nBegin with the rows that fail: which two pools hand a foreign connection to a"
        " query?",
    )


CHECKS["04.4"] = TaskCheck(
    answers=("which_engine",),
    facts=lambda given: {"engines": {label: name for label, (name, _) in _ROWS.items()}},
    judge=_judge_rows,
    hints=(
        (
            "Two rows fail and two do not. Of the engines, which two reuse a connection on"
            " another loop?"
        ),
        (
            "In a failing row look at the second query on loops B, C and D: does one failure"
            " repair anything?"
        ),
        "In a green row look at the last column: a pool that keeps a connection leaves a session.",
    ),
)
