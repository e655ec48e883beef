"""What lessons 10 and 10d say about the incident documents' claims, executed; and what it shows besides: six
clients on several loops, the cures, programs without pytest.
"""

import gc
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from beyond import clients as beyond
from beyond.clients import Kept, message, new_loop, on_new_loops, outcome, two_at_once
from claims import claim
from cures.helpers import engine_lap, side_by_side, tasks_database
from faults.cases.clients.servers import echo_server, http_server, redis_server
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import create_async_engine

from loopbound import NamedLoop, Recorder, scratch_database
from loopbound.authoring.execute import read_notebook
from loopbound.course.manifest import lesson
from loopbound.problem import Problem


@claim(
    "B36",
    verdict="holds with a correction",
    observed=(
        "making an engine takes a fraction of a millisecond; what takes milliseconds is its first"
        " connection"
    ),
)
def test_the_connection_costs_not_the_engine():
    with scratch_database("claim") as db, NamedLoop("A") as loop:
        made, connected = zip(*[loop.run(engine_lap(db.url)) for _ in range(20)], strict=True)
    assert statistics.median(made) * 4 < statistics.median(connected)


@claim(
    "B39",
    verdict="refuted",
    observed=(
        "since SQLAlchemy 2.0 True is the only value that future= may have: leaving it out gives"
        " the same engine"
    ),
)
def test_future_is_not_needed():
    url = "postgresql+asyncpg://localhost/reports"  # never connected to
    plain, future = (
        create_async_engine(url).sync_engine,
        create_async_engine(url, future=True).sync_engine,
    )
    assert type(plain) is type(future) and type(plain.dialect) is type(future.dialect)
    assert vars(plain).keys() == vars(future).keys()
    with pytest.raises(ArgumentError, match="may only be set to True"):
        create_async_engine(url, future=False)


@claim(
    "B50",
    verdict="refuted",
    observed=(
        "ten calls leave ten sessions on the server until the garbage collector ends their"
        " connections"
    ),
)
def test_a_new_engine_a_call_leaks():
    def get_engine():
        return create_async_engine(db.url)

    async def count_reports():
        async with get_engine().connect() as connection:
            return await connection.scalar(text("select count(*) from reports"))

    gc.collect()
    gc.disable()
    try:
        with scratch_database("claim") as db, Recorder() as log, NamedLoop("A") as loop:
            for _ in range(10):
                loop.run(count_reports())
            assert len(db.sessions()) == 10
            gc.collect()
            assert any("unclosed connection" in aside for aside in log.asides)
    finally:
        gc.enable()


# What the lesson shows besides the claims


@pytest.fixture(scope="module")
def clients(repository: Path) -> Iterator[dict[str, Any]]:
    """The lesson's own six, by its own cells."""
    cells = {
        cell["id"]: cell["source"]
        for cell in read_notebook(repository / "notebooks" / lesson("10").file).cells
    }
    imports = [
        line for line in cells["setup"].splitlines() if not line.startswith("from loopbound")
    ]
    servers = http_server(), redis_server(), echo_server()
    with scratch_database("clients") as db:
        names = dict(zip(("web", "cache", "echo"), servers, strict=True)) | {"db": db}
        exec("\n".join(imports), names)
        exec(cells["clients"], names)
        yield names["clients"]
    for server in servers:
        server.close()


DIFFERENT, CLOSED, BUSY = "different loop", "loop closed", "operation in progress"


def test_six_clients_on_four_loops(clients):
    assert beyond.ask_each(clients, 4) == {
        "AsyncEngine": ["ok", DIFFERENT, BUSY, BUSY],
        "asyncpg.Pool": ["ok", BUSY, CLOSED, CLOSED],
        "psycopg_pool": ["ok", "ok", "ok", "ok"],
        "httpx": ["ok", CLOSED, "ok", CLOSED],
        "redis": ["ok", CLOSED, "ok", CLOSED],
        "streams": ["ok", DIFFERENT, DIFFERENT, DIFFERENT],
    }


def moved(client):
    """Made on one loop and first asked on another; asked on one and closed on another."""
    unused, used = Kept(*client), Kept(*client)
    assert on_new_loops(1, unused.start) == on_new_loops(1, used.use) == ["ok"]
    return on_new_loops(1, unused.use) + on_new_loops(1, used.end, say=lambda error: "refused")


def test_what_connects_when_it_is_made_binds_then_and_closing_needs_the_loop(clients):
    with Recorder() as log:  # nothing of a client outlives it
        rows = {name: moved(client) for name, client in clients.items()}
    assert {name for name, (asked, _) in rows.items() if asked != "ok"} == {
        "asyncpg.Pool",
        "streams",
    }
    assert {name: closed for name, (_, closed) in rows.items()} == {
        **dict.fromkeys(clients, "refused"),
        "AsyncEngine": "ok",
    }
    assert "Exception closing connection" in log.asides[0]  # the line that the lesson shows


def grow(kept):
    with new_loop("1") as loop:
        outcomes = [outcome(loop, kept.use()), outcome(loop, two_at_once(kept.client))]
        loop.run(kept.end())
    outcomes += on_new_loops(1, kept.use)
    return outcomes + on_new_loops(1, lambda: two_at_once(kept.client), say=message)


def test_a_pool_of_psycopg_cannot_grow_on_a_second_loop(clients):
    with Recorder():
        *well, said = grow(Kept(*clients["psycopg_pool"]))
    assert well == ["ok", "ok", "ok"]
    assert said == "PoolTimeout: couldn't get a connection after 1.00 sec"


def test_the_clean_up_of_asyncpg_s_pool_hides_the_first_error():
    with scratch_database("claim") as db, NamedLoop("A") as home, NamedLoop("B") as away:

        async def opened() -> asyncpg.Pool:
            return await asyncpg.create_pool(db.url.replace("+asyncpg", ""), min_size=1, max_size=1)

        async def use() -> int:
            return await pool.fetchval("select 1")

        pool = home.run(opened())
        with pytest.raises(asyncpg.InterfaceError, match="another operation") as raised:
            away.run(use())
        pool.terminate()
    assert "attached to a different loop" in str(raised.value.__context__)


def test_three_cures_hold_for_all_six(clients):
    """One for each loop opens six connections in six calls, one kept loop and handing over one."""
    with Recorder() as log, new_loop("home") as loop:
        found = loop.run(beyond.try_cures(clients, 6))
    assert found == {
        "one for each loop": "6 clients, each 6 of 6 calls ok, connections: 6",
        "one kept loop": "6 clients, each 6 of 6 calls ok, connections: 1",
        "handed over": "6 clients, each 6 of 6 calls ok, connections: 1",
    }
    assert log.asides == []


def test_one_connection_for_two_tasks_and_one_group_for_two_tasks(repository: Path):
    """The look-alike and what is bound to the task, by the lesson's own cells: one loop in all."""
    cells = {
        cell["id"]: cell["source"]
        for cell in read_notebook(repository / "notebooks" / lesson("10d").file).cells
    }
    said: list[str] = []
    with tasks_database() as db:
        names = {"db": db, "print": said.append, **vars(beyond)}
        exec("import anyio, asyncpg", names)
        exec(cells["run-task"], names)
        exec(cells["run-race"], names)
    assert said == [
        "RuntimeError: Attempted to exit cancel scope in a different task than it was entered in",
        "InterfaceError: cannot perform operation: another operation is in progress",
    ]


FAILING = ["ok", DIFFERENT, "ok", DIFFERENT]


def test_the_fault_and_its_cures_outside_pytest():
    expected = {
        ("worker", "", "queue"): FAILING,
        ("client", "", "queue"): FAILING,
        ("client_with", "", "queue"): ["ok"] * 4,
        ("thread", "", "queue"): FAILING,
        ("worker", "disposing", "queue"): ["ok"] * 4,
        ("worker", "", "null"): ["ok"] * 4,
        ("thread", "disposing", "queue"): FAILING,
        ("thread", "", "null"): ["ok"] * 4,
        ("thread", "hand it over", "queue"): ["ok"] * 4,
    }
    with tasks_database() as db:
        programs = {
            given: (given[0], 4 * number + 1, *given[1:]) for number, given in enumerate(expected)
        }
        assert side_by_side(db, programs) == expected


def test_a_program_that_breaks_is_named():
    with tasks_database() as db, pytest.raises(Problem) as caught:
        side_by_side(db, {"it": ("no_such_program", 1, "", "queue")})
    said = str(caught.value).splitlines()
    assert (
        said[0] == "cures/programs/no_such_program.py ended with exit code 2."
        and "No such file" in said[1]
    )
