"""Lesson 03, drivers decide: read three errors of one night, foretell three drivers, ask on the
right loop, heal a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg

from loopbound.checks.plain import as_text, first_difference
from loopbound.checks.task import Data, TaskCheck, at, is_thing, timeline_of, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch, one_at_a_time
from loopbound.database import ScratchDatabase, scratch_database
from loopbound.loops import NamedLoop
from loopbound.recorder import DIFFERENT, IN_PROGRESS, OK, Event, Recorder, symptom_of

CHECKS: dict[str, TaskCheck] = {}

# On Windows psycopg runs on no other kind of loop, and a closed loop says the same on all systems.
_LOOP = asyncio.SelectorEventLoop


def _drawn(data: Data) -> Any:
    from loopbound.figures import timeline

    events = [Event(**event) for event in data["events"] if event["kind"] != "logged"]
    # Who asks again and again gets the same answer again and again: its first and its last say it
    # all.
    alike = [(event.kind, event.loop, event.thing, event.symptom) for event in events]
    inner = {
        place
        for place in range(1, len(events) - 1)
        if alike[place - 1] == alike[place] == alike[place + 1]
    }
    return timeline([event for place, event in enumerate(events) if place not in inner], "Your run")


# 03.1 Three jobs of one night

_KEYS = ("archive", "mail", "tidy_up", "future", "began")
_WORDS = (
    "attached to a different loop",
    "another operation is in progress",
    "Event loop is closed",
)


def night_log(archive: Any, mail: Any, tidy_up: Any) -> None:
    """Runs three jobs with one connection of loop A on another loop, and prints what each raised,
    sorted by name.

    Of each traceback the three innermost frames are kept; the order in which the jobs ran is lost.
    """
    for name, error in sorted(_night(archive, mail, tidy_up).items()):
        print(
            f"[{name}]",
            *(f"    {frame}" for frame in error["frames"][-3:]),
            f"{error['type']}: {error['message']}\n",
            sep="\n",
        )


def _night(archive: Any, mail: Any, tidy_up: Any) -> dict[str, Data]:
    """Each job's error as plain data, in the order in which they ran."""
    errors: dict[str, Data] = {}
    with (
        scratch_database("night") as database,
        Recorder(),
        NamedLoop("A", _LOOP) as A,
        NamedLoop("B", _LOOP) as B,
    ):
        connection = A.run(_connect(database))
        for name, job in (("mail", mail), ("archive", archive), ("tidy_up", tidy_up)):
            if name == "tidy_up":
                A.close()
            try:
                B.run(job(connection))
            except Exception as error:
                errors[name] = _as_data(error)
        del connection  # while the recorder keeps the warnings that come of it
    return errors


def _as_data(error: Exception) -> Data:
    # Paths differ from machine to machine, and say nothing here.
    message = re.sub(r"(running at )[^>]*:(\d+)>", r"\1<cell>:\2>", str(error))
    message = re.sub(r"(\(\) at )\S*?(\w+\.py:\d+)", r"\1…/\2", message)
    frames = [
        f"{_short_path(frame.filename)} in {frame.name.rpartition('.')[2]}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return {
        "type": type(error).__name__,
        "message": message,
        "symptom": symptom_of(error),
        "frames": frames,
    }


def _short_path(file: str) -> str:
    parts = Path(file).parts
    start = max((n for n, part in enumerate(parts) if part in ("asyncio", "asyncpg")), default=-1)
    return "/".join(parts[start:]) if start >= 0 else "<cell>"


async def _connect(
    database: ScratchDatabase, kind: type[asyncpg.Connection] = asyncpg.Connection
) -> asyncpg.Connection:
    return await asyncpg.connect(database.dsn, connection_class=kind)


def _night_facts(given: Mapping[str, Any]) -> Data:
    errors = _night(given["archive"], given["mail"], given["tidy_up"])
    facts = {name: _speaker(error["message"]) for name, error in errors.items()}
    crossed = next((name for name, error in errors.items() if error["symptom"] == DIFFERENT), "")
    callback = re.search(
        r"got Future <Future \w+ cb=\[(\w+)\.", errors[crossed]["message"] if crossed else ""
    )
    protocols = {kind.__name__ for kind in asyncpg.protocol.Protocol.__mro__}
    return {
        "facts": (
            facts
            | {
                "future": "asyncpg" if callback and callback[1] in protocols else "asyncio",
                "began": crossed,
            }
        )
    }


def _speaker(message: str) -> str:
    """The package whose source holds a message's words, as lesson 03 looks for them."""
    words = next((words for words in _WORDS if words in message), message)
    for package in (asyncio, asyncpg):
        files = [
            file
            for pattern in ("*.py", "*.pyx")
            for file in Path(str(package.__file__)).parent.rglob(pattern)
        ]
        if any(words in file.read_text(encoding="utf-8", errors="replace") for file in files):
            return package.__name__
    return ""


def _judge_night(data: Data) -> Verdict:
    said, facts = value_of(data), data["facts"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(_KEYS)
        or not all(isinstance(text, str) for text in said.values())
    ):
        return failed(
            "not five answers",
            f"`night()` returned {as_text(said)}. Wanted is a dict with a text for each of"
            f" {', '.join(_KEYS)}.",
        )
    said = {key: text.strip().removesuffix("()").lower() for key, text in said.items()}
    wrong = [key for key in _KEYS if said[key] != facts[key]]
    if not wrong:
        return passed(
            "The night was run once more. Your five answers are what its errors say, and what the"
            " sources of the two packages hold."
        )
    count = (
        f"{len(wrong)} of 5 answers {'does' if len(wrong) == 1 else 'do'} not fit:"
        f" {', '.join(wrong)}."
    )
    if strange := [key for key in _KEYS[:4] if said[key] not in ("asyncio", "asyncpg")]:
        return failed(
            "another package",
            f"{count}\nFor {strange[0]} you name {said[strange[0]]!r}. Two packages were at work"
            " here: asyncio and asyncpg.",
        )
    if "mail" in wrong:
        return failed(
            "the innermost frame",
            f"{count}\nThe last frame of mail's entry is where something was awaited. Who compares"
            " the loops, and throws the error in there?",
        )
    if "future" in wrong:
        return failed(
            "whose future",
            f"{count}\nMail's message shows whose hand is on the future: a class and its method, in"
            " `cb=`.",
        )
    if "began" in wrong:
        return failed(
            "not the first",
            f"{count}\nYou let the night begin with {said['began']!r}. Could its error be there if"
            " no earlier call had gone wrong?",
        )
    if "archive" in wrong:
        return failed(
            "who refuses",
            f"{count}\nArchive's entry ends in a function that looks at the state of a connection."
            " Whose function is it, and whose class is the error?",
        )
    return failed(
        "who had died",
        f"{count}\nLook at the last frames that the log kept of `tidy_up`: whose functions are"
        " they? And what is closed in the message, asyncpg's connection or a thing of asyncio's?",
    )


CHECKS["03.1"] = TaskCheck(
    answers=("night",),
    given=("archive", "mail", "tidy_up"),
    facts=_night_facts,
    judge=_judge_night,
    hints=(
        "Lesson 03 has a table of three messages: who raises each, and what it tells you.",
        (
            "A traceback's last frame is where an error *surfaced*. An error that is thrown"
            " into an `await` surfaces in the code that awaits."
        ),
        (
            "Two of the three errors need an earlier one: a connection that is in use, and a"
            " loop that has gone. The third needs none."
        ),
    ),
)


# 03.2 Three drivers and a nap

_STEPS = ("A asks", "B asks", "A naps", "B asks", "A asks", "A asks")
_ASKS = [f"{step}, step {number}" for number, step in enumerate(_STEPS, start=1) if "asks" in step]
_DRIVERS = ("aiosqlite", "asyncpg", "psycopg")


def _asked(given: Mapping[str, Any]) -> Data:
    import aiosqlite
    import psycopg

    async def connected(driver: str) -> Any:
        if driver == "aiosqlite":
            return await aiosqlite.connect(":memory:")
        return await (
            _connect(database)
            if driver == "asyncpg"
            else psycopg.AsyncConnection.connect(database.dsn, autocommit=True)
        )

    outcomes: dict[str, list[str]] = {driver: [] for driver in _DRIVERS}
    with scratch_database("drivers") as database, Recorder() as log:
        for driver in sorted(_DRIVERS, key="asyncpg".__ne__):
            with NamedLoop("A", _LOOP) as A, NamedLoop("B", _LOOP) as B:
                connection = A.run(_born(log, connected(driver)))
                for step in _STEPS:
                    loop = A if step.startswith("A") else B
                    if step.endswith("naps"):
                        loop.run(given["nap"]())
                        continue
                    outcomes[driver].append(loop.run(_outcome(log, connection, given["ask"])))
                    if outcomes[driver][-1] == DIFFERENT:
                        _answered(database)
                A.run(connection.close())
            if driver == "asyncpg":
                events = log.events  # the picture's
    return {
        "outcomes": outcomes,
        "events": [asdict(event) for event in events if event.kind != "warned"],
    }


async def _born(log: Recorder, connecting: Any) -> Any:
    return log.born(await connecting, "connection")


async def _outcome(log: Recorder, connection: Any, ask: Any) -> str:
    try:
        with log.use(connection):
            await ask(connection)
    except Exception as error:
        return symptom_of(error)
    return OK


def _answered(database: ScratchDatabase) -> None:
    """Waits until the server has answered everything that it was asked."""
    until = time.monotonic() + 5
    while (
        any(session.state == "active" for session in database.sessions())
        and time.monotonic() < until
    ):
        time.sleep(0.02)
    time.sleep(0.05)  # the server calls itself idle a moment before its answer leaves


def _judge_drivers(data: Data) -> Verdict:
    said, outcomes = value_of(data), data["outcomes"]
    words = {OK, DIFFERENT, IN_PROGRESS}
    fits = isinstance(said, dict) and sorted(said) == sorted(outcomes)
    if fits and (
        long := next(
            (
                driver
                for driver, row in said.items()
                if isinstance(row, list) and len(row) == len(_STEPS)
            ),
            None,
        )
    ):
        return failed(
            "the nap counted",
            f"For {long} you give six words. Wanted are the outcomes of the five asks: the nap,"
            " step 3, asks nothing.",
        )
    if not fits or not all(
        isinstance(row, list) and len(row) == len(_ASKS) and set(map(str, row)) <= words
        for row in said.values()
    ):
        return failed(
            "not three rows",
            f"`five_asks()` returned {as_text(said)}. Wanted is a dict: for {', '.join(outcomes)} a"
            " list of five words each.",
        )
    if said == outcomes:
        return passed(
            f"Each driver was asked five times. asyncpg gave {' → '.join(outcomes['asyncpg'])}, the"
            " two others five times ok. You predicted it."
        )
    if forgiving := [
        driver for driver in ("aiosqlite", "psycopg") if said[driver] != outcomes[driver]
    ]:
        driver = forgiving[0]
        first = first_difference(said[driver], outcomes[driver])
        return failed(
            "every driver minds",
            f"With {driver}, ask {first + 1} ({_ASKS[first]}) did not give your"
            f" {said[driver][first]!r}. From where does this driver take its loop, at each call?",
        )
    mine, theirs = said["asyncpg"], outcomes["asyncpg"]
    first = first_difference(mine, theirs)
    where = f"With asyncpg, ask {first + 1} ({_ASKS[first]}) did not give your {mine[first]!r}."
    if set(mine) == {OK}:
        return failed(
            "no driver minds", f"{where}\nOne of the three keeps the loop that it was opened on."
        )
    if first == 2 and mine[2] == IN_PROGRESS:
        return failed(
            "the nap read nothing",
            f"{where}\nasyncpg refuses until loop A reads the old answer. What does a loop do"
            " with its sockets while one of its tasks sleeps?",
        )
    if first == 2:
        return failed(
            "healed by a nap for everyone",
            f"{where}\nThe nap can free the connection for its own loop. Does it change whose loop"
            " that is?",
        )
    if first == 3:
        return failed(
            "home is always safe",
            f"{where}\nB has crossed once more, and this time A has not run since. Who has read the"
            " answer to B's request?",
        )
    if first == 4:
        return failed(
            "poisoned for good",
            f"{where}\nLoop A ran in the ask before this one, though that was refused. What can a"
            " loop read while it runs?",
        )
    return failed("another order", where)


CHECKS["03.2"] = TaskCheck(
    answers=("five_asks",),
    given=("ask", "nap"),
    facts=_asked,
    judge=_judge_drivers,
    show=timeline_of("asyncpg: five asks and a nap", logged=False),
    hints=(
        (
            "Two of the drivers take the loop that runs at each call. Only for the third one"
            " the steps differ."
        ),
        (
            "After B has crossed, asyncpg refuses until loop A has read the answer to B's"
            " request. While A naps, A runs."
        ),
        (
            "A healed connection is still A's. And a refused call on A lets A run for a moment,"
            " which is enough to read."
        ),
    ),
)


# 03.3 Ask at its home


async def _at_once() -> None:
    """No rest."""


def _watched(
    log: Recorder, rest: Callable[[], Awaitable[None]] = _at_once
) -> type[asyncpg.Connection]:
    """A class of asyncpg connections whose queries the recorder sees, with the loop that each ran
    on.

    ``rest`` is awaited behind the server's answer, before the query's caller has it.
    """

    class Watched(asyncpg.Connection):
        async def execute(self, *words: Any, **more: Any) -> Any:
            with log.use(self):
                return await super().execute(*words, **more)

        async def fetch(self, *words: Any, **more: Any) -> Any:
            with log.use(self):
                value = await super().fetch(*words, **more)
                await rest()
                return value

        async def fetchrow(self, *words: Any, **more: Any) -> Any:
            with log.use(self):
                value = await super().fetchrow(*words, **more)
                await rest()
                return value

        async def fetchval(self, *words: Any, **more: Any) -> Any:
            with log.use(self):
                value = await super().fetchval(*words, **more)
                await rest()
                return value

    return Watched


async def _gone(connection: asyncpg.Connection) -> None:
    """Closes a connection on its own loop, in any state that a learner's code left it in."""
    try:
        await connection.close(timeout=1)
    except Exception:
        connection.terminate()
    await asyncio.sleep(0)


@contextlib.contextmanager
def _running(loop: NamedLoop) -> Iterator[None]:
    """Lets a named loop run in its thread, as a service's loop does, until the end of the block."""
    began = threading.Event()

    async def stay() -> None:
        began.set()
        await ended

    async def make() -> asyncio.Future[None]:
        return loop.loop.create_future()

    ended = loop.run(make())
    thread = threading.Thread(target=lambda: loop.run(stay(), step="the service"), daemon=True)
    thread.start()
    began.wait(5)
    try:
        yield
    finally:
        loop.loop.call_soon_threadsafe(ended.set_result, None)
        thread.join(5)


_NO_COLUMN = "no such column"
_HOME_LIMIT = 3.0
_REST = 0.05
_THREADS = (
    "A `concurrent.futures.Future` belongs to threads, not to a loop, and cannot be awaited as"
    " it is."
)


def _observe_home(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {
        "went_on": None,
        "woken": True,
        "guessed": 0.0,
        "same": None,
        "error": "",
    }
    timers: list[float] = []  # that the answer set on loop B while its first query was under way
    caller: list[asyncio.AbstractEventLoop] = []

    async def rest() -> None:
        # It lets loop B fall asleep before the answer is there: what forgets to wake it is found
        # out each time.
        await asyncio.sleep(_REST)
        if seen["went_on"] is None and timers and caller:
            await outlast(max(timers))

    async def outlast(guess: float) -> None:
        """Makes the query longer than what the answer slept, and sees whether loop B has turns
        then; a guess stands in `result()` by now.
        """
        ends = time.monotonic() + watch.limit - 0.4
        await asyncio.sleep(min(guess + 0.2, watch.limit - 0.8))
        had_a_turn = threading.Event()
        caller[0].call_soon_threadsafe(had_a_turn.set)
        while not had_a_turn.is_set() and time.monotonic() < ends:
            await asyncio.sleep(0.02)
        if not had_a_turn.is_set():
            seen["guessed"] = guess
        await asyncio.sleep(_REST)

    def noted(delay: float, *more: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(float(delay))
        return type(caller[0]).call_later(caller[0], delay, *more, **named)

    async def asked(query: str) -> Any:
        turns: list[str] = []
        began = time.monotonic()

        async def other_work() -> None:
            turns.append("other work")

        # It gets its turn as soon as the answer awaits something. No timer here: one would wake the
        # loop for what forgot to.
        other = asyncio.create_task(other_work())
        if not caller:
            caller.append(asyncio.get_running_loop())
            caller[0].call_later = noted  # type: ignore[method-assign, assignment]
        value = names["ask_at_home"](home.loop, connection, query)
        value = await value if inspect.isawaitable(value) else value
        if seen["went_on"] is None:
            seen["went_on"] = bool(turns)
            # The only timer on this loop is that of the step's limit: what comes with it was not
            # brought by the answer.
            seen["woken"] = time.monotonic() - began < watch.limit - 0.1
        await other
        return value

    async def refused() -> Any:
        try:
            return await asked("select missing from reports")
        except asyncpg.PostgresError:
            seen["error"] = _NO_COLUMN

    with Watch(names, limit=_HOME_LIMIT) as watch:
        database, home = watch.database(), watch.loop("A")
        connection = home.run(
            _born(watch.recorder, _connect(database, _watched(watch.recorder, rest)))
        )
        pid = connection.get_server_pid()
        one_at_a_time(home.loop, connection)
        with _running(home):
            reports = watch.step(
                "B",
                'ask_at_home(home, connection, "select count(*) from reports")',
                lambda: asked("select count(*) from reports"),
            )
            if watch.well and type(reports) is int and seen["went_on"] and seen["woken"]:
                seen["same"] = (
                    watch.step(
                        "B",
                        'ask_at_home(home, connection, "select pg_backend_pid()")',
                        lambda: asked("select pg_backend_pid()"),
                    )
                    == pid
                )
                watch.step(
                    "C", 'ask_at_home(home, connection, "select missing from reports")', refused
                )
        home.run(_gone(connection))
    return watch.data(limit=watch.limit, **seen)


def _judge_home(data: Data) -> Verdict:
    call, value = at(data["steps"][0]), value_of(data)
    if is_thing(value, "Future"):
        return failed(
            "future not awaited",
            f"{call} returned a Future of `concurrent.futures`, not the number. Your code on loop"
            " B has not waited for it.",
        )
    if is_thing(value, "coroutine"):
        return failed(
            "never started", f"{call} returned a coroutine object: nothing of it has run."
        )
    if value is None:
        return failed("nothing returned", f"{call} returned None.")
    if value != 6:
        return failed("other value", f"{call} returned {as_text(value)}; the table has 6 rows.")
    if data["guessed"]:
        return failed(
            "a guess at the time",
            f"{call} returned 6. Your code slept {data['guessed']:g} s on loop B; this query took"
            " longer, and from then on no other task of loop B had a turn. What tells you that a"
            " future is done?",
        )
    if not data["went_on"]:
        return failed(
            "loop B stood still",
            f"{call} returned 6, and the query ran on loop A. Another task was ready on loop B all"
            " the while, and had not one turn. What did your code wait with?",
        )
    if not data["woken"]:
        return failed(
            "nobody woke loop B",
            f"{call} returned 6, but late: the number was there on loop A, and loop B slept until a"
            f" timer of the check woke it, {data['limit']:.0f} seconds after the call. Which thread"
            " finished the future that B waited for?",
        )
    if not data["same"]:
        return failed(
            "another connection",
            f"{at(data['steps'][1])} was not answered by the connection that it was given.",
        )
    if data["error"] != _NO_COLUMN:
        return failed(
            "error lost",
            f"{at(data['steps'][2])} names a column that there is not, and its caller learned of no"
            " error.",
        )
    return passed(
        "Three queries were asked from loops B and C. Each ran on loop A, where the connection is"
        " at home, and loop B went on meanwhile."
    )


CHECKS["03.3"] = TaskCheck(
    answers=("ask_at_home",),
    observe=_observe_home,
    judge=_judge_home,
    show=_drawn,
    hints=(
        (
            "`connection.fetchval(query)` makes a coroutine and runs nothing yet. Which loop"
            " may run it?"
        ),
        (
            "`asyncio.run_coroutine_threadsafe(connection.fetchval(query), home)` has it run at"
            " home. `.result()` of what it gives would block the thread of loop B."
        ),
        (
            "`asyncio.wrap_future(…)` makes a future of the running loop out of a"
            " `concurrent.futures.Future`, and that one can be awaited."
        ),
    ),
    explains=(
        (
            "attached to a different loop",
            "asked on loop B",
            (
                "The connection was opened on loop A, and what waits for its answer belongs to"
                " A. The error came up on the loop of the caller."
            ),
        ),
        ("can't be used in 'await' expression", "a future of no loop", _THREADS),
        (
            "asyncio.run() cannot be called",
            "a loop in a loop",
            (
                "`asyncio.run` makes a new loop, and loop B runs in this thread already. The"
                " loop that is wanted runs elsewhere: `home`."
            ),
        ),
        (
            "This event loop is already running",
            "a loop in a loop",
            (
                "Loop A runs already, in its own thread. It has to be handed the work, not run"
                " once more."
            ),
        ),
    ),
)


# 03.4 Healed where it was born

_LATE = 0.4  # seconds from the start of `recover` until the server answers


def _observe_recover(names: Mapping[str, Any]) -> Data:
    import psycopg

    seen: dict[str, Any] = {"crossed": "", "after": "", "closed": None}

    async def cross() -> str:
        try:
            # One message, and an answer that is late: the server waits for a lock that the check
            # holds.
            await connection.execute("select pg_advisory_xact_lock(3)")
        except RuntimeError as error:
            return symptom_of(error)
        return OK

    async def again() -> str:
        try:
            await connection.fetchval("select count(*) from reports")
        except Exception as error:
            return symptom_of(error)
        return OK

    def begin() -> Any:
        timer.start()
        return names["recover"](home, connection)

    with Watch(names) as watch:
        database, home = watch.database(), watch.loop("A")
        connection = home.run(_born(watch.recorder, _connect(database, _watched(watch.recorder))))
        with psycopg.connect(database.dsn, autocommit=True) as holder:
            holder.execute("select pg_advisory_lock(3)")
            timer = threading.Timer(_LATE, lambda: holder.execute("select pg_advisory_unlock(3)"))
            seen["crossed"] = watch.loop("B").run(cross())
            watch.plain_step("recover(A, connection)", begin)
            timer.join()
            seen["closed"] = connection.is_closed()
            if watch.well and not seen["closed"]:
                seen["after"] = home.run(again(), step="the check asks")
        if not home.left_running:
            home.run(_gone(connection))
    return watch.data(**seen)


def _judge_recover(data: Data) -> Verdict:
    value = value_of(data)
    if is_thing(value, "coroutine"):
        return failed(
            "async function",
            "`recover` is an `async def`: calling it gave a coroutine, and loop A never ran. It is"
            " called from a place without a loop.",
        )
    if data["closed"]:
        return failed(
            "closed instead",
            f"`recover(A, connection)` returned {as_text(value)}, and the connection is closed. It"
            " was to be healed, not replaced.",
        )
    if data["after"] != OK:
        return failed(
            "still poisoned",
            f"`recover(A, connection)` returned {as_text(value)}. After it the check asked the"
            f" connection on loop A: {data['after']}. Has loop A read the answer to B's request?",
        )
    if value != 6:
        return failed(
            "no number",
            "The connection answers on loop A again, and `recover(A, connection)` returned"
            f" {as_text(value)}; the table has 6 rows.",
        )
    return passed(
        "The server's answer came late. Loop A ran until it had read it, and the connection"
        " answered there, with 6."
    )


CHECKS["03.4"] = TaskCheck(
    answers=("recover",),
    observe=_observe_recover,
    judge=_judge_recover,
    show=_drawn,
    hints=(
        "Only loop A reads this socket, and A runs only inside `A.run(…)`.",
        (
            "The answer comes some time later. `A.run(asyncio.sleep(0.1))` lets A look at its"
            " sockets for a while, once."
        ),
        (
            "Ask on A; where asyncpg refuses with `asyncpg.InterfaceError`, let A run a little"
            " and ask again."
        ),
    ),
    explains=(
        (
            "another operation is in progress",
            "asked too soon",
            (
                "asyncpg was still waiting for the answer to B's request. Had the server sent it"
                " yet? And had loop A run since then, to read it?"
            ),
        ),
        (
            "attached to a different loop",
            "asked elsewhere",
            (
                "The connection was asked on another loop than A, where nothing can be read"
                " from its socket."
            ),
        ),
    ),
)
