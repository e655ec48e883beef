"""What lesson 07 measures: the connections of an engine, as the server and as this process see
them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil
from loopbound import NamedLoop, Recorder
from loopbound.database import ScratchDatabase
from loopbound.suite import SuiteRun
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

Way = Callable[[NamedLoop, NamedLoop, AsyncEngine], Any]
LOOKS = 100  # at the sessions, until those that are about to end are gone

# Options of pytest: with them, a run shows what it would otherwise keep to itself.
TELL = ("-W", "default", "-o", "log_cli=true", "--log-cli-level=ERROR")


async def ask(engine: AsyncEngine) -> str:
    """One query, on a connection of the pool."""
    async with engine.connect() as connection:
        return await connection.scalar(text("select 'ok'"))


async def hold_two(engine: AsyncEngine) -> None:
    """Open two connections, and give both to the pool."""
    async with engine.connect() as first, engine.connect() as second:
        await first.scalar(text("select 1"))
        await second.scalar(text("select 1"))


def sessions(db: ScratchDatabase) -> int:
    """How many sessions the server sees; those that are ending get a moment."""
    return len(db.sessions(LOOKS))


def sockets(db: ScratchDatabase) -> int:
    """How many sockets to the server this process has."""
    port = make_url(db.url).port or 5432
    return sum(
        bool(s.raddr) and s.raddr.port == port for s in psutil.Process().net_connections("tcp")
    )


def attempt(db: ScratchDatabase, way: Way) -> tuple[list[str], list[str]]:
    """Open two connections on loop A, dispose in this way, and count what is left.

    Returns:
        A row of four: what B's next query gives, what was logged, the sessions at the server and
        the sockets here; both counted after the dispose, after a garbage collection, and after A
        was closed. Then what Python said meanwhile.
    """
    words = ("different loop", "Event loop is closed", "MissingGreenlet")
    engine, others, counts = create_async_engine(db.url), sockets(db), []
    with Recorder(engine) as log, NamedLoop("A") as A, NamedLoop("B") as B:
        A.run(hold_two(engine))
        for step in (lambda: way(A, B, engine), gc.collect, A.close):
            step()
            counts.append((sessions(db), sockets(db) - others))
        answer = B.run(ask(engine))
        B.run(engine.dispose())
    logged = [
        word for word in words if any(word in e.text for e in log.events if e.kind == "logged")
    ]
    row = [
        answer,
        " ".join(logged) or "nothing",
        *(" → ".join(map(str, n)) for n in zip(*counts, strict=True)),
    ]
    return row, list(log.asides)


def marked(rows: Mapping[str, list[str]]) -> dict[str, list[tuple[str, str]]]:
    """Rows of `attempt` as those of a verdict table: good is what leaves nothing."""
    good = {word: ("good", word) for word in ("ok", "nothing", "0 → 0 → 0")}
    return {way: [good.get(word, ("partly", word)) for word in row] for way, row in rows.items()}


def unclosed(asides: Iterable[str]) -> str:
    """What Python's garbage collector complained of."""
    said = " ".join(asides)
    return " and ".join(t for t in ("connection", "transport") if f"unclosed {t}" in said) or "nothing"


def outcomes(runs: Iterable[SuiteRun], tests: Iterable[str]) -> dict[str, list[str]]:
    """Rows of an outcome grid: a test's name, and how it ended in each of the runs."""
    columns = [run.symptoms for run in runs]
    return {test.split("::")[1]: [column[test] for column in columns] for test in tests}


def show_steps(run: SuiteRun, test: str) -> None:
    """Print what the pool did in a test, whose name ends so; without the opening of connections."""
    for event in run.trace:
        if event.test.endswith(test) and event.kind != "connect":
            what = f"connection {event.record}" if event.record else "the pool"
            print(f"{event.phase:9}{event.kind:9}{what} on {event.loop}")


def closed(run: SuiteRun) -> str:
    """How many connections a run closed, and how many of them on the loop that had opened them."""
    events = [event for event in run.trace if event.kind == "close"]
    return f"{len(events)}, on their own loop {sum(e.loop == e.born_on for e in events)}"


def complaints(run: SuiteRun) -> str:
    """What a run showed of connections that were not closed well."""
    said = run.output + " ".join(run.warnings)
    words = ("Exception closing connection", "Event loop is closed", "ResourceWarning")
    return ", ".join(word for word in words if word in said) or "nothing"
