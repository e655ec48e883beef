"""What lesson 10's cells call, so that they can be about clients: which connection serves each one,
and loops to try them on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import asyncpg
import httpx
from faults.cases.clients.servers import InThread
from loopbound import NamedLoop, Recorder, symptom_of
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

WHICH = "select pg_backend_pid()"  # each connection of PostgreSQL has a process of its own


async def of_engine(engine: AsyncEngine) -> int:
    """The connection on which an engine answers."""
    async with engine.connect() as connection:
        return await connection.scalar(text(WHICH))


async def of_pool(pool: asyncpg.Pool) -> int:
    """The connection on which a pool of asyncpg answers."""
    return await pool.fetchval(WHICH)


async def of_psycopg(pool: AsyncConnectionPool) -> int:
    """The connection on which a pool of psycopg answers."""
    async with pool.connection() as connection:
        return (await (await connection.execute(WHICH)).fetchone())[0]


async def of_http(client: httpx.AsyncClient, server: InThread) -> int:
    """The number that the HTTP server has given to the connection on which it answers."""
    return int((await client.get(f"http://127.0.0.1:{server.port}/number")).text)


async def of_streams(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
    """The number that the echo's server has given to a connection."""
    reader, writer = streams
    writer.write(b"number\n")
    return int(await reader.readline())


async def psycopg_pool(dsn: str) -> AsyncConnectionPool:
    """A pool of psycopg for one or two connections, with the first: a loop that ends while a worker
    connects would wait.
    """
    pool = AsyncConnectionPool(dsn, min_size=1, max_size=2, timeout=1, open=False)
    await pool.open(wait=True)
    return pool


async def close_streams(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Close a connection and wait until it is closed."""
    streams[1].close()
    await streams[1].wait_closed()


async def two_at_once(pool: AsyncConnectionPool) -> None:
    """Hold two connections of a pool at a time."""
    async with pool.connection(), pool.connection():
        pass


class Kept:
    """A client as programs keep one at module level: made by its first use, there for all later
    ones.
    """

    def __init__(
        self, make: Callable[[], Any], ask: Callable[[Any], Any], close: Callable[[Any], Any]
    ) -> None:
        self.make, self.ask, self.close = make, ask, close
        self.client: Any = None
        self.connections: set[int] = set()
        """Which ones have answered."""

    async def start(self) -> None:
        """Make it, on the running loop."""
        made = self.make()
        self.client = await made if hasattr(made, "__await__") else made

    async def use(self) -> None:
        """Ask it once."""
        if self.client is None:
            await self.start()
        self.connections.add(await self.ask(self.client))

    async def end(self) -> None:
        """Close it; the next use makes another one."""
        await self.close(self.client)
        self.client = None

    async def use_and_end(self) -> None:
        """Ask it once, and close it on the same loop."""
        try:
            await self.use()
        finally:
            await self.end()


def new_loop(name: str) -> NamedLoop:
    """An `asyncio.Runner` in a thread; on Windows psycopg runs on a selector loop only."""
    return NamedLoop(name, asyncio.SelectorEventLoop)


def outcome(
    loop: NamedLoop,
    work: Coroutine[Any, Any, Any],
    say: Callable[[BaseException], str] = symptom_of,
) -> str:
    """How some work ends on a loop: "ok", or what `say` makes of its error. What takes longer than
    half a minute is ended.
    """

    async def within_limit() -> None:
        async with asyncio.timeout(30):
            await work

    try:
        loop.run(within_limit())
    # Cancelled: what it waited for ended with another loop.
    except (Exception, asyncio.CancelledError) as error:
        return say(error)
    return "ok"


def message(error: BaseException) -> str:
    """An error's type and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def on_new_loops(
    count: int,
    work: Callable[[], Coroutine[Any, Any, Any]],
    say: Callable[[BaseException], str] = symptom_of,
) -> list[str]:
    """Call `work` on that many loops, one after the other, each closed before the next one begins;
    their outcomes.
    """
    outcomes = []
    for number in range(1, count + 1):
        with new_loop(str(number)) as loop:
            outcomes.append(outcome(loop, work(), say))
    return outcomes


Client = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]
"""How it is made, asked and closed, as `Kept` takes it."""


def ask_each(clients: Mapping[str, Client], count: int) -> dict[str, list[str]]:
    """Keep each client, and ask it on that many loops, one after the other; name → outcomes."""
    with Recorder():  # else the kernel shows what the broken connections warn of
        return {name: on_new_loops(count, Kept(*client).use) for name, client in clients.items()}


async def try_cures(clients: Mapping[str, Client], calls: int) -> dict[str, str]:
    """Ask each client that often with each of three cures; cure → how many calls went well, and on
    how many connections, for each group of clients where that is the same.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for name, client in clients.items():
        for cure, (kept, outcomes) in (await _cured(client, calls)).items():
            good, opened = outcomes.count("ok"), len(kept.connections)
            said = f"{good} of {calls} calls ok, connections: {opened}"
            found.setdefault(cure, {}).setdefault(said, []).append(name)
    return {
        cure: "; ".join(f"{len(names)} clients, each {said}" for said, names in groups.items())
        for cure, groups in found.items()
    }


async def _cured(client: Client, calls: int) -> dict[str, tuple[Kept, list[str]]]:
    own, one, home = (Kept(*client) for _ in range(3))
    with new_loop("kept") as loop:
        on_one = [outcome(loop, one.use()) for _ in range(calls)]
        loop.run(one.end())
    here = asyncio.get_running_loop()

    async def handed_over() -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(home.use(), here))

    handed = await asyncio.to_thread(on_new_loops, calls, handed_over)
    await home.end()
    return {
        "one for each loop": (own, on_new_loops(calls, own.use_and_end)),
        "one kept loop": (one, on_one),
        "handed over": (home, handed),
    }
