"""What lesson 07 measures: the connections of an engine, as the server and as this process see
them.
"""

from __future__ import annotations

import difflib
import gc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from loopbound import NamedLoop, Recorder
from loopbound.database import ScratchDatabase
from loopbound.suite import BACKEND, SuiteRun, run_suites

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


@dataclass(frozen=True)
class Left:
    """What one way to dispose left of loop A's two connections.

    `sessions` (at the server) and `sockets` (here) are counted three times: after the dispose,
    after a garbage collection, and after A was closed.
    """

    answer: str  # of B's next query
    logged: str
    sessions: tuple[int, ...]
    sockets: tuple[int, ...]
    asides: tuple[str, ...]  # what Python said meanwhile


def try_ways(db: ScratchDatabase, ways: Mapping[str, Way]) -> dict[str, Left]:
    """For each way: open two connections on loop A, dispose in this way, and count what is left."""
    return {name: attempt(db, way) for name, way in ways.items()}


def attempt(db: ScratchDatabase, way: Way) -> Left:
    """Open two connections on loop A, dispose in this way, and count what is left."""
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
    at_server, here = zip(*counts, strict=True)
    return Left(answer, " ".join(logged) or "nothing", at_server, here, tuple(log.asides))


def left_open(seen: Mapping[str, Left], looks: int) -> dict[str, list[tuple[str, str]]]:
    """Rows of a verdict table: B's answer, the log, and what was open at the first `looks` counts;
    good is what leaves nothing.
    """
    rows = {
        way: [left.answer, left.logged, *map(_counted, left.sockets[:looks], left.sessions)]
        for way, left in seen.items()
    }
    good = ("ok", "nothing")
    return {
        way: [("good" if word in good else "partly", word) for word in row]
        for way, row in rows.items()
    }


def _counted(here: int, at_server: int) -> str:
    counts = {"sockets": here, "server sessions": at_server}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing"


def warned(log: Recorder) -> str:
    """What Python complained of while it was recorded, in short."""
    return ", ".join(aside.split(";")[0] for aside in log.asides) or "nothing"


def unclosed(asides: Iterable[str]) -> str:
    """What Python's garbage collector complained of."""
    said = " ".join(asides)
    return (
        " and ".join(t for t in ("connection", "transport") if f"unclosed {t}" in said) or "nothing"
    )


def with_fixture(fixture: str) -> dict[str, str]:
    """The incident's backend with these lines at the end of its conftest.py, as an overlay; without
    test_auth.py's own copy of the fixture.
    """
    conftest = (BACKEND / "tests/conftest.py").read_text(encoding="utf-8")
    return {
        "tests/conftest.py": conftest + fixture,
        "overlay.toml": 'remove = ["dispose_engine_after_test"]',
    }


def in_three_orders(fixture: str) -> dict[str, SuiteRun]:
    """Run the incident's suite as found, and with this fixture in three orders."""
    cured = {"project": BACKEND, "trace": True, "overlay": with_fixture(fixture)}
    jobs = {
        "as found": {"project": BACKEND},
        "dispose": cured,
        "dispose, reversed": cured | {"order": "reverse"},
        "dispose, random": cured | {"order": "random:7"},
    }
    return dict(zip(jobs, run_suites(list(jobs.values())), strict=True))


def outcomes(runs: Iterable[SuiteRun], tests: Iterable[str]) -> dict[str, list[str]]:
    """Rows of an outcome grid: a test's name, and how it ended in each of the runs."""
    columns = [run.symptoms for run in runs]
    return {test.split("::")[1]: [column[test] for column in columns] for test in tests}


def changed_lines(before: Path, after: Path) -> str:
    """How two fixes' conftest.py differ, as `diff` says it, without its head."""
    old, new = (
        (fix / "tests/conftest.py").read_text(encoding="utf-8").splitlines()
        for fix in (before, after)
    )
    return "\n".join(list(difflib.unified_diff(old, new, n=0, lineterm=""))[3:])


def show_steps(run: SuiteRun, test: str) -> None:
    """Print what the pool did in a test, whose name ends so; without the opening of connections."""
    for event in run.trace:
        if event.test.endswith(test) and event.kind != "connect":
            what = f"connection {event.record}" if event.record else "the pool"
            print(f"{event.phase:9}{event.kind:9}{what} on {event.loop}")


def closed(run: SuiteRun) -> str:
    """How many connections a run closed, and how many of them on the loop that had opened them."""
    events = [event for event in run.trace if event.kind == "close"]
    own = sum(event.loop == event.born_on for event in events)
    return f"{len(events)} connections closed, {own} on their own loop"


def complaints(run: SuiteRun) -> str:
    """What a run showed of connections that were not closed well."""
    said = run.output + " ".join(run.warnings)
    words = ("Exception closing connection", "Event loop is closed", "ResourceWarning")
    return ", ".join(word for word in words if word in said) or "nothing"
