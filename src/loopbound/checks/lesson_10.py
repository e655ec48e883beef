"""Lesson 10, beyond the engine: four clients on a second loop, a client for each loop, one loop
that is kept, and the fault told from what looks like it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncpg

from loopbound.checks.plain import as_text, plain
from loopbound.checks.task import Data, TaskCheck, is_thing, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.loops import NamedLoop
from loopbound.recorder import OK, symptom_of

CHECKS: dict[str, TaskCheck] = {}

_COUNT = "select count(*) from reports"
_ROWS = 6

# On Windows psycopg runs on no other kind of loop, and a closed loop says the same on all systems.
_LOOP = asyncio.SelectorEventLoop

# 10.1 What is kept

_CLIENTS = ("keep-alive", "no keep-alive", "pool", "psycopg")


class _Page(BaseHTTPRequestHandler):
    """A page of two letters; the connection stays open for the next request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is dropped with its loop closes no connection in good order."""


@contextlib.contextmanager
def _page() -> Iterator[str]:
    """The address of a page on this machine, as long as the block lasts."""
    with _Server(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


async def _outcome(call: Any) -> str:
    try:
        await call
    except Exception as error:
        return symptom_of(error)
    return OK


async def _ended(client: Any) -> None:
    """Close what a client still has on the loop that runs; what belongs to another stays."""
    with contextlib.suppress(Exception):
        if isinstance(client, asyncpg.Pool):
            client.terminate()
        else:
            await (client.aclose if hasattr(client, "aclose") else client.close)()


def _four_clients(given: Mapping[str, Any]) -> Data:
    outcomes: dict[str, list[str]] = {}

    async def made(make: Any, dsn: str) -> Any:
        client = make(dsn)
        return await client if inspect.isawaitable(client) else client

    with Watch(given, counts=False) as watch, _page() as page:
        database = watch.database()
        for name in _CLIENTS:
            with NamedLoop("B", _LOOP) as second:
                with NamedLoop("A", _LOOP) as first:
                    client = first.run(made(given["MAKE"][name], database.dsn))
                    first.run(given["use"](client, page))
                outcomes[name] = [
                    second.run(_outcome(given["use"](client, page))) for _ in range(2)
                ]
                second.run(_ended(client))
    return {"outcomes": outcomes}


def _judge_clients(data: Data) -> Verdict:
    said, outcomes = value_of(data), data["outcomes"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(_CLIENTS)
        or not all(type(number) is int and 0 <= number <= 2 for number in said.values())
    ):
        return failed(
            "not four counts",
            f"`failures()` returned {as_text(said)}. Wanted is a dict from {', '.join(_CLIENTS)} to"
            " how many of its two uses on B fail: 0, 1 or 2.",
        )
    fails = {name: sum(each != OK for each in pair) for name, pair in outcomes.items()}
    wrong = next((name for name in _CLIENTS if said[name] != fails[name]), None)
    if wrong is None:
        return passed(
            "On loop B, first and second use: "
            + "; ".join(f"{name} {', '.join(outcomes[name])}" for name in _CLIENTS)
            + ". You predicted how many fail."
        )
    words = f"On B, `{wrong}` fails more or less often than the {said[wrong]} of 2 that you say."
    if wrong == "keep-alive":
        if said[wrong] == 0:
            return failed(
                "HTTP has no loop",
                f"{words}\nA request is over, and its connection is not: keep-alive holds it for"
                " the next one. On which loop was it opened?",
            )
        return failed(
            "never repaired",
            f"{words}\nhttpx throws a connection away that has failed. What does the next request"
            " find then?",
        )
    if wrong == "no keep-alive":
        return failed(
            "the object blamed",
            f"{words}\nThe client object is kept in both rows of httpx. What else does this one"
            " keep when a request is over?",
        )
    if wrong == "pool":
        if said[wrong] == 1:
            return failed(
                "repaired like an engine",
                f"{words}\nSQLAlchemy's pool opens the next connection on the loop that asks."
                " asyncpg's pool remembers a loop itself. On which does it open one?",
            )
        return failed(
            "the pool asks",
            f"{words}\nIts one connection was opened on A. The pool does not check the loop before"
            " it gives that connection to a task.",
        )
    return failed(
        "all drivers alike",
        f"{words}\nWhether a connection may cross is its driver's matter. What does psycopg's wait"
        " on: a future that it made on A, or the socket, on the loop that runs?",
    )


CHECKS["10.1"] = TaskCheck(
    answers=("failures",),
    given=("MAKE", "use"),
    facts=_four_clients,
    judge=_judge_clients,
    hints=(
        (
            "For each client, ask what it still holds when the first use on A is over. A client"
            " that keeps nothing has nothing of loop A."
        ),
        (
            "Then ask what a failure leaves behind. httpx drops the connection and opens another"
            " where it is asked; asyncpg's pool opens each on the loop that it was made on. One of"
            " the four never waits on anything of A."
        ),
    ),
)


# 10.2 One for each loop, closed in it

_SHORT_LIVED, _MOST_LOOPS = 6, 300


def _observe_per_loop(names: Mapping[str, Any]) -> Data:
    made: list[Any] = []
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []
    seen: dict[str, Any] = dict.fromkeys(
        ("pair", "same", "client", "apart", "kept", "fresh", "one_thread"), True
    ) | {"open": [], "stale": 0, "alive": 0}

    with Watch(names, counts=False) as watch:
        database = watch.database()

        def make() -> Any:
            made.append(names["Client"](database.dsn))
            return made[-1]

        pair = watch.plain_step("per_loop(make)", lambda: names["per_loop"](make))
        seen["pair"] = (
            isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(callable, pair))
        )
        get: Any
        close: Any
        get, close = pair if seen["pair"] else (None, None)
        held: dict[str, Any] = {}

        async def count(key: str) -> Any:
            held[key] = client = get()
            if key == "other" and client is held["first"]:
                return None  # it is found out, and nothing need cross
            return await client.count() if isinstance(client, names["Client"]) else plain(client)

        def on(loop: str, key: str) -> None:
            if watch.well and seen["pair"] and seen["client"]:
                watch.step(loop, "get().count()", lambda: count(key))
                seen["client"] = isinstance(held.get(key), names["Client"]) or not watch.well

        def closes(loop: str) -> None:
            if watch.well and seen["client"] and seen["apart"] and seen["pair"]:
                watch.step(loop, "close()", close)
                seen["open"].append(watch.connected(database))

        on("A", "first")
        on("A", "again")
        seen["same"] = held.get("first") is held.get("again")
        if seen["same"]:
            on("B", "other")
            seen["apart"] = held.get("other") is not held.get("first")
            closes("B")
        if seen["same"] and seen["apart"] and seen["open"] == [1]:
            on("A", "third")
            seen["kept"] = held.get("third") is held.get("first")
            closes("A")
            closes("A")  # nothing is left to be closed
        if seen["open"] == [1, 0, 0] and seen["kept"]:
            on("A", "new")
            seen["fresh"] = held.get("new") is not held.get("first")
            closes("A")

            async def look() -> int:
                before = len(made)
                get()
                seen["stale"] += len(made) == before
                loops.append(weakref.ref(asyncio.get_running_loop()))
                return id(asyncio.get_running_loop())

            def two_on_one_thread() -> bool:
                # Both are held, so that the second cannot get the first one's address: that
                # mistake has words of its own.
                with asyncio.Runner() as first, asyncio.Runner() as second:
                    return first.run(thing()) is not second.run(thing())

            async def thing() -> Any:
                return get()

            def many() -> None:
                # Until one gets the address of a dead one, as CPython hands it on before long.
                addresses: list[int] = []
                while len(addresses) < _SHORT_LIVED or (
                    len(addresses) == len(set(addresses)) < _MOST_LOOPS
                ):
                    addresses.append(asyncio.run(look()))
                    # A loop dies young: the whole heap of a kernel need not be searched each time.
                    gc.collect(1)

            if watch.well:
                seen["one_thread"] = watch.plain_step("get(), on two loops", two_on_one_thread)
            if watch.well and seen["one_thread"]:
                watch.plain_step("get(), on loops that come and go", many)
            gc.collect()
            seen["alive"] = sum(loop() is not None for loop in loops)
        for client in made:
            # What an answer has left open ends here; its loops are still there.
            connection = client.connection
            if connection is not None and not connection.is_closed():
                connection.terminate()
        seen["made"] = len(made)
    return watch.data(**seen)


def _judge_per_loop(data: Data) -> Verdict:
    if not data["pair"]:
        return failed(
            "not two functions",
            f"`per_loop(make)` returned {as_text(value_of(data))}. Wanted are two functions,"
            " `get, close`.",
        )
    if not data["client"]:
        last = data["steps"][-1]
        return failed(
            "no client",
            f"`get()` on loop {last['loop']} returned {as_text(last.get('value'))}, and not what"
            " `make()` gives. It is a plain function that returns the client.",
        )
    if not data["same"]:
        return failed(
            "a new one each time",
            "`get()` was called twice on loop A, and the second call returned another client than"
            " the first: each opens a connection of its own.",
        )
    if not data["apart"]:
        return failed(
            "one for all",
            "`get()` was called on loop A, then on loop B, and on B it returned the client of A.",
        )
    words = "A and B had a client each, and A's was in use when `close()` was awaited on B. "
    left = data["open"]
    if left[0] == 0:
        return failed(
            "closed another's",
            f"{words}Afterwards the server saw no connection at all: the one of A is gone too. A"
            " loop closes its own client, and no other.",
        )
    if left[0] > 1:
        return failed(
            "not closed",
            f"{words}Afterwards the server still saw {left[0]} connections. Which of them was to be"
            " closed, and is that call awaited?",
        )
    if not data["kept"]:
        return failed(
            "all forgotten",
            f"{words}Afterwards `get()` on A returned another client than before, and the old one"
            " stays open.",
        )
    if left[1]:
        return failed(
            "not closed",
            "`close()` was awaited on A too, and the server still saw"
            f" {left[1]} {'connection' if left[1] == 1 else 'connections'}.",
        )
    if not data["fresh"]:
        return failed(
            "a closed one handed out",
            "After `close()` on A, `get()` on A returned the client that `close()` had ended. What"
            " is closed has to be forgotten, too.",
        )
    if not data["one_thread"]:
        return failed(
            "one for each thread",
            "Two loops ran on one thread, one after the other, as two calls of `asyncio.run` do."
            " The second got the client of the first.",
        )
    if data["stale"]:
        return failed(
            "the address of a dead loop",
            "Short-lived loops called `get()` and ended without `close()`, and one got the client"
            " of an earlier loop, which is dead: your key is the same for both.",
        )
    if data["alive"] > 1:
        return failed(
            "dead loops kept",
            "Short-lived loops called `get()` and ended without `close()`, before a connection was"
            f" made. {data['alive']} of them are still in memory, held by your code.",
        )
    return passed(
        "A and B had a client each. `close()` on B closed B's alone, A's went on, and in the end"
        " the server saw none. Short-lived loops had one each, and none of them was kept."
    )


CHECKS["10.2"] = TaskCheck(
    answers=("per_loop",),
    given=("Client",),
    observe=_observe_per_loop,
    judge=_judge_per_loop,
    hints=(
        (
            "`get` is 02.3 once more: a `weakref.WeakKeyDictionary()` from the running loop to its"
            " client."
        ),
        (
            "A client that is connected holds its loop, so the weak key alone would not let it go:"
            " `close` takes the client out of the dictionary."
        ),
        (
            "`clients.pop(asyncio.get_running_loop(), None)` gives the client of this loop and"
            " forgets it. Where there was one, await its `close()`."
        ),
    ),
    explains=(
        (
            "no running event loop",
            "no loop yet",
            "`per_loop` is called at import, where no loop runs. Ask for the loop inside `get`.",
        ),
        (
            "attached to a different loop",
            "closed on another loop",
            (
                "A connection was closed from a loop that is not its own. `close` closes the client"
                " of the running loop, and no other."
            ),
        ),
        (
            "another operation is in progress",
            "closed on another loop",
            "A connection was used from a loop that is not its own.",
        ),
        (
            "connection is closed",
            "a closed one handed out",
            "`get()` returned a client that was closed: take it out of the dictionary, too.",
        ),
        (
            "KeyError",
            "nothing to close",
            "`close()` was awaited on a loop that has no client any more. That is no error.",
        ),
    ),
)


# 10.3 One kept loop

_CALLS = 6
_REFUSED = "UndefinedColumnError"


def _observe_keep(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"pair": True, "values": [], "refused": None, "open": 0, "after": 0}
    loops: list[asyncio.AbstractEventLoop] = []
    connections: list[Any] = []

    async def broken(connection: Any) -> Any:
        return await connection.fetchval("select nobody from reports")

    with Watch(names, counts=False) as watch:
        database = watch.database()

        async def connect() -> Any:
            loops.append(asyncio.get_running_loop())
            connections.append(await asyncpg.connect(database.dsn))
            return connections[-1]

        pair = watch.plain_step("keep(connect)", lambda: names["keep"](connect))
        seen["pair"] = (
            isinstance(pair, (tuple, list)) and len(pair) == 2 and all(map(callable, pair))
        )
        ask: Any
        close: Any
        ask, close = pair if seen["pair"] else (None, None)

        def refused() -> Any:
            try:
                return ask(broken)
            except asyncpg.PostgresError as error:
                return type(error).__name__

        def asks() -> bool:
            if watch.well and seen["pair"]:
                seen["values"].append(
                    plain(
                        watch.plain_step("ask(count_reports)", lambda: ask(names["count_reports"]))
                    )
                )
                return watch.well and seen["values"][-1] == _ROWS
            return False

        if all(asks() for _ in range(_CALLS)):
            seen["open"] = watch.connected(database)
            seen["opened"] = len(loops)
            if seen["opened"] == 1:
                seen["refused"] = plain(watch.plain_step("ask(broken)", refused))
                if seen["refused"] == _REFUSED and asks():
                    watch.plain_step("close()", close)
                    seen["after"] = watch.connected(database)
        seen["left_open"] = sum(not loop.is_closed() for loop in loops)
        # In a thread: here the notebook's loop may run.
        ending = threading.Thread(target=_end, args=(loops, connections))
        ending.start()
        ending.join()
        # While the recorder takes the warnings of what a closed loop has left.
        pair = ask = close = None
        gc.collect()
    return watch.data(**seen)


def _end(loops: list[asyncio.AbstractEventLoop], connections: list[Any]) -> None:
    """End what an answer has left: connections, and their loops, perhaps running in a thread."""
    while connections:
        loop, connection = loops[len(connections) - 1], connections.pop()
        until = time.monotonic() + 5
        while loop.is_running() and time.monotonic() < until:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.stop)
            time.sleep(0.01)
        with contextlib.suppress(RuntimeError):  # the loop is closed, or could not be stopped
            connection.terminate()
            if not loop.is_closed():
                loop.run_until_complete(asyncio.sleep(0))
                loop.close()


def _judge_keep(data: Data) -> Verdict:
    values = data["values"]
    if not data["pair"]:
        return failed(
            "not two functions",
            f"`keep(connect)` returned {as_text(value_of(data))}. Wanted are two plain functions,"
            " `ask, close`.",
        )
    if is_thing(values[-1], "coroutine"):
        return failed(
            "never ran",
            "`ask(count_reports)` returned a coroutine object. Its callers are plain code and"
            " cannot await: who runs it for them?",
        )
    if values[-1] != _ROWS:
        return failed(
            "another number",
            f"`ask(count_reports)` returned {as_text(values[-1])}, and `await"
            f" count_reports(connection)` gives {_ROWS}.",
        )
    if data["opened"] > 1:
        return failed(
            "a connection for each call",
            f"{_CALLS} calls of `ask` returned {_ROWS} each, and `connect()` was awaited"
            f" {data['opened']} times. The callers are to share one connection: what has to stay"
            " from one call to the next?",
        )
    if data["refused"] != _REFUSED:
        return failed(
            "error swallowed",
            f"With a query that fails `ask` returned {as_text(data['refused'])}, and the caller"
            " learns of no error.",
        )
    if data["after"]:
        return failed(
            "connection left",
            f"{_CALLS} calls shared one connection. After `close()` the server still sees it. Who"
            " closes it, on which loop, and before what?",
        )
    if data["left_open"]:
        return failed(
            "loop left open",
            f"{_CALLS} calls shared one connection, and `close()` closed it. But its loop is still"
            " open, with sockets of its own. Who closes a loop that you make yourself?",
        )
    return passed(
        f"{_CALLS} calls of plain code shared one connection, where {_CALLS} calls of `asyncio.run`"
        " would have opened one each. The error reached its caller, the call after it passed, and"
        " after `close()` the server sees no connection, and the loop is closed."
    )


CHECKS["10.3"] = TaskCheck(
    answers=("keep",),
    given=("count_reports",),
    observe=_observe_keep,
    judge=_judge_keep,
    hints=(
        (
            "`asyncio.run` closes its loop at the end of each call, and a connection must not"
            " outlive its loop. What runs several coroutines on one loop, one after the other?"
        ),
        (
            "`runner = asyncio.Runner()` has a loop that stays until `runner.close()`;"
            " `runner.run(…)` takes a coroutine and returns its result."
        ),
        (
            "Connect with `runner.run(connect())`; `ask` runs `work(connection)`; `close` runs"
            " `connection.close()` first, and then closes the runner."
        ),
    ),
    explains=(
        (
            "attached to a different loop",
            "a loop for each call",
            "The connection was opened on another loop than the one that runs `work` now.",
        ),
        (
            "Event loop is closed",
            "a loop for each call",
            "The connection's loop was closed before its next use. Which loop has to stay?",
        ),
        (
            "another operation is in progress",
            "a loop for each call",
            "An earlier use of the connection, on another loop, has not ended.",
        ),
        (
            "a coroutine was expected",
            "no coroutine",
            "A runner wants a coroutine: call the async function, and give it what comes back.",
        ),
        (
            "cannot be called from a running event loop",
            "a loop in a loop",
            "A loop already runs there: it cannot be started a second time. `ask` and `close` are"
            " plain functions.",
        ),
    ),
)


# 10.4 Told from its look-alikes

_WAYS = ("one for each loop", "one for each use", "one after the other", "give back first")
_FOUND = "as found"
_PROGRAMS = ("w", "x", "y")
_WAIT = 0.3  # seconds for what cannot come


class _Lender:
    """Lends connections to a program in one of the ways, and counts: connections opened, loops that
    used one, and the most uses at once. A pool has one place, and a use that waits for it
    in vain gets a TimeoutError.
    """

    def __init__(self, dsn: str, way: str, pooled: bool) -> None:
        self.dsn, self.way, self.pooled = dsn, way, pooled
        self.opened = self.now = self.most = 0
        self.loops: set[NamedLoop] = set()
        self._kept: dict[NamedLoop | None, tuple[NamedLoop, Any]] = {}
        self._turn, self._place = asyncio.Lock(), asyncio.Semaphore(1)

    async def _open(self) -> Any:
        self.opened += 1
        return await asyncpg.connect(self.dsn)

    async def _connection(self, loop: NamedLoop) -> Any:
        key = loop if self.way == "one for each loop" else None
        if key not in self._kept:
            self._kept[key] = (loop, await self._open())
        return self._kept[key][1]

    @contextlib.asynccontextmanager
    async def borrow(self, loop: NamedLoop) -> AsyncIterator[Any]:
        self.loops.add(loop)
        async with contextlib.AsyncExitStack() as stack:
            if self.way == "one after the other":
                await self._acquired(stack, self._turn)
            if self.way == "one for each use":
                connection = await self._open()
                stack.push_async_callback(connection.close)
            else:
                if self.pooled:
                    await self._acquired(stack, self._place)
                connection = await self._connection(loop)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                yield connection
            finally:
                self.now -= 1

    async def _acquired(self, stack: contextlib.AsyncExitStack, gate: Any) -> None:
        # Only for what cannot come: the task that waits is the one that holds it.
        async with asyncio.timeout(_WAIT if gate.locked() and self.pooled else None):
            await stack.enter_async_context(gate)

    def close(self) -> None:
        """Drop what was kept, each connection on its own loop."""
        for loop, connection in self._kept.values():
            loop.run(_terminated(connection))


async def _terminated(connection: Any) -> None:
    connection.terminate()
    await asyncio.sleep(0)


async def _use(lender: _Lender, loop: NamedLoop) -> None:
    async with lender.borrow(loop) as connection:
        await connection.fetchval(_COUNT)


async def _inside_another(lender: _Lender, loop: NamedLoop) -> None:
    async with lender.borrow(loop) as outer:
        await outer.fetchval(_COUNT)
        if lender.way != "give back first":
            await _use(lender, loop)
            return
    await _use(lender, loop)


async def _at_once(lender: _Lender, loop: NamedLoop) -> None:
    first = asyncio.create_task(_use(lender, loop))
    if lender.way != "one for each use":
        # The connection is there before the others want it, as a kept one is.
        await first
        first = asyncio.create_task(_use(lender, loop))
    results = await asyncio.gather(
        first, _use(lender, loop), _use(lender, loop), return_exceptions=True
    )
    for error in filter(None, results):
        raise error


async def _with_retry(lender: _Lender, loop: NamedLoop) -> None:
    for _ in range(2):
        try:
            await _use(lender, loop)
        except Exception:
            await _use(lender, loop)


_RUNS: dict[str, tuple[Callable[[_Lender, NamedLoop], Any], str]] = {
    "w": (_inside_another, "A"),
    "x": (_at_once, "A"),
    "y": (_with_retry, "ABC"),
}


@functools.cache
def _measured() -> dict[str, dict[str, Data]]:
    """What each program gives as it was found, and with each way to lend it connections."""
    found: dict[str, dict[str, Data]] = {}
    with Watch({}, counts=False) as watch:
        dsn = watch.database().dsn
        for program, (run, names) in _RUNS.items():
            found[program] = {}
            for way in (_FOUND, *_WAYS):
                lender = _Lender(dsn, way, pooled=program == "w")
                with contextlib.ExitStack() as stack:
                    loops = [stack.enter_context(NamedLoop(name)) for name in names]
                    outcomes = [loop.run(_outcome(run(lender, loop))) for loop in loops]
                    lender.close()
                found[program][way] = {
                    "outcome": next((each for each in outcomes if each != OK), OK),
                    "loops": len(lender.loops),
                    "most": lender.most,
                    "opened": lender.opened,
                }
    return found


def three_reports() -> Any:
    """Runs three programs that fail and draws what was seen of each; their code is left out."""
    from loopbound.figures import verdict_table

    rows: dict[str, list[str | tuple[str, str]]] = {
        f"program {program}": [
            ("bad", ways[_FOUND]["outcome"]),
            *(str(ways[_FOUND][measure]) for measure in ("loops", "most", "opened")),
        ]
        for program, ways in _measured().items()
    }
    columns = ["what the caller saw", "loops that used one", "most uses at once", "connections"]
    return verdict_table(rows, columns, "Three programs that fail")


def _ways_of(given: Mapping[str, Any]) -> Data:
    return {"runs": _measured()}


def _judge_ways(data: Data) -> Verdict:
    said, runs = value_of(data), data["runs"]
    if (
        not isinstance(said, dict)
        or sorted(said) != sorted(_PROGRAMS)
        or not all(way in _WAYS for way in map(str, said.values()))
    ):
        return failed(
            "not three remedies",
            f"`remedies()` returned {as_text(said)}. Wanted is a dict from w, x and y to one of"
            f" these: {', '.join(_WAYS)}.",
        )
    for program in _PROGRAMS:
        found, mine = runs[program][_FOUND], runs[program][said[program]]
        words = f"Program {program} was run with “{said[program]}”"
        if mine["outcome"] != OK:
            words = f"{words}, and it still ends in: {mine['outcome']}."
            if found["loops"] > 1:
                return failed(
                    "loops not seen",
                    f"{words}\nHow many loops used its one connection? No order and no waiting"
                    " makes a connection belong to another loop.",
                )
            if said[program] == "one for each loop":
                return failed(
                    "loops blamed",
                    f"{words}\nOnly one loop ran there, so it changed nothing: this is another"
                    " fault. How many used a connection at one moment, or waited for one?",
                )
            return failed(
                "another fault",
                f"{words}\nOne loop, one connection: how many uses were there at one moment? Where"
                " it is one, who still holds the connection while it waits?",
            )
        cheapest = min(
            runs[program][way]["opened"] for way in _WAYS if runs[program][way]["outcome"] == OK
        )
        if mine["opened"] > cheapest:
            return failed(
                "not the cheapest",
                f"{words}. It passes, with {mine['opened']} connections; another remedy does so"
                f" with {cheapest}.",
            )
    y = said["y"]
    return passed(
        "Each program passes with your remedy, and none with fewer connections: "
        + ", ".join(f"{name} {runs[name][said[name]]['opened']}" for name in _PROGRAMS)
        + f". Only y was the fault of this course: “{y}”. The others ran on one loop."
    )


CHECKS["10.4"] = TaskCheck(
    answers=("remedies",),
    facts=_ways_of,
    judge=_judge_ways,
    hints=(
        (
            "The message is not enough: x and y have the same one. How many loops used the"
            " connection? Where it is one loop, it is not the fault of this course."
        ),
        (
            "Where several uses meet on one connection, they can take turns. Where one task waits"
            " for a second connection while it holds the only one, waiting never helps."
        ),
    ),
)
