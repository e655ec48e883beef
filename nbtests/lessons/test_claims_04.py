"""What lesson 04 says about the incident documents' claims, executed through SQLAlchemy's pools."""

import asyncio
import gc

import asyncpg
import pytest
from claims import claim
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from loopbound import (
    NamedLoop,
    Recorder,
    outcome_on,
    scratch_database,
    symptom_of,
    through_loops,
)


async def ask(engine):
    async with asyncio.timeout(10), engine.connect() as connection:
        return await connection.scalar(text("select 1"))


def outcomes_of(engine, names="ABCDEFG"):
    outcomes, log = through_loops(engine, ask, names)
    # The outcomes are those of the recording, of as many loops as there are names.
    opened = [event.loop for event in log.events if event.kind == "loop opened"]
    assert opened == list(names)
    return outcomes


@pytest.fixture
def db():
    with scratch_database("claim") as database:
        yield database


PING = ["ok", "different loop"]
SPOILED = ["ok", "different loop"] + ["operation in progress"] * 5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, SPOILED),
        ({"pool_pre_ping": True}, PING * 3 + ["ok"]),
        ({"pool_size": 1, "max_overflow": 0}, SPOILED),
        ({"poolclass": NullPool}, ["ok"] * 7),
        ({"pool_recycle": 0}, ["ok"] * 7),
    ],
    ids=["default", "pool_pre_ping", "size-1", "NullPool", "pool_recycle-0"],
)
def test_pool_sequences_over_seven_loops(db, options, expected):
    assert outcomes_of(create_async_engine(db.url, **options)) == expected


async def two_tasks(engine):
    async with engine.connect() as connection:
        await connection.scalar(text("select 1"))
        await asyncio.gather(connection.scalar(text("select 2")), connection.commit())


@pytest.mark.parametrize(
    ("names", "use", "refused"),
    [("ABC", ask, ("A", "C")), ("A", two_tasks, ("A", "A"))],
    ids=["crossing", "race"],
)
def test_the_connections_loop_tells_a_race_from_a_crossing(db, names, use, refused):
    _, log = through_loops(create_async_engine(db.url), use, names)
    in_progress = [e for e in log.events if e.symptom == "operation in progress"]
    assert [(event.born_on, event.loop) for event in in_progress] == [refused]


def test_under_pre_ping_every_second_loop_fails_for_any_number_of_loops(db):
    names = [f"L{i}" for i in range(25)]
    engine = create_async_engine(db.url, pool_pre_ping=True)
    assert outcomes_of(engine, names) == (PING * 13)[:25]


@claim(
    "B08",
    verdict="holds with a correction",
    observed=(
        "the same module-level engine fails with a pool that keeps connections and passes with"
        " NullPool: what crosses loops is the pooled connection, not the engine or the factory"
    ),
)
def test_the_pooled_connection_is_the_cause_not_the_global_engine(db):
    assert outcomes_of(create_async_engine(db.url), "AB") == PING
    engine = create_async_engine(db.url, poolclass=NullPool)
    assert outcomes_of(engine, "AB") == ["ok", "ok"]


@claim(
    "B09",
    verdict="refuted",
    observed=(
        "after create_async_engine() the pool holds 0 connections and the server sees 0 sessions"
    ),
)
def test_creating_an_engine_opens_nothing(db):
    engine = create_async_engine(db.url)
    assert (engine.pool.checkedin(), db.sessions()) == (0, [])
    with NamedLoop("A") as A:
        A.run(ask(engine))
        assert (engine.pool.checkedin(), len(db.sessions())) == (1, 1)
        A.run(engine.dispose())


@claim(
    "B10",
    verdict="refuted",
    observed=(
        "while a connection is pooled no asyncpg.Pool object exists; the pool is SQLAlchemy's"
        " AsyncAdaptedQueuePool"
    ),
)
def test_asyncpgs_own_pool_is_not_used(db):
    def asyncpg_pools():
        return [o for o in gc.get_objects() if type(o) is asyncpg.pool.Pool]

    engine = create_async_engine(db.url)
    with NamedLoop("A") as A:
        A.run(ask(engine))
        assert type(engine.pool) is AsyncAdaptedQueuePool and engine.pool.checkedin() == 1
        assert asyncpg_pools() == []
        A.run(engine.dispose())

        async def own_pool():
            async with asyncpg.create_pool(db.url.replace("+asyncpg", ""), min_size=1):
                return len(asyncpg_pools())

        assert A.run(own_pool()) == 1, "the count must be able to find one"


@claim(
    "B12",
    verdict="refuted",
    observed=(
        "an engine created outside any loop, or inside loop A, works on whichever loop uses it"
        " first"
    ),
)
def test_an_engine_binds_at_first_use_not_at_creation(db):
    async def create():
        return create_async_engine(db.url)

    with NamedLoop("A") as A, NamedLoop("B") as B:
        for engine in (create_async_engine(db.url), A.run(create())):
            assert B.run(ask(engine)) == 1
            B.run(engine.dispose())


def test_a_pools_queue_binds_when_a_checkout_first_has_to_wait(db):
    async def two_at_once(engine):
        return await asyncio.gather(ask(engine), ask(engine), return_exceptions=True)

    def on_b(size):
        engine = create_async_engine(db.url, pool_recycle=0, pool_size=size, max_overflow=0)
        with Recorder(engine), NamedLoop("A") as A, NamedLoop("B") as B:
            assert A.run(two_at_once(engine)) == [1, 1]
            outcomes = B.run(two_at_once(engine))
            engine.sync_engine.dispose(close=False)
        return [
            symptom_of(outcome) if isinstance(outcome, Exception) else "ok" for outcome in outcomes
        ]

    assert on_b(size=2) == ["ok", "ok"], "nobody had to wait"
    assert on_b(size=1) == ["ok", "different loop"]


@claim(
    "B18",
    verdict="refuted",
    observed=(
        "an empty pool connects and passes; each pooled connection of a foreign loop fails at once,"
        " none within a deadline of ten seconds"
    ),
)
def test_an_empty_pool_passes_and_a_full_one_fails_at_once(db):
    async def hold_two(engine):
        async with engine.connect() as first, engine.connect() as second:
            await first.scalar(text("select 1"))
            await second.scalar(text("select 1"))

    engine = create_async_engine(db.url, pool_pre_ping=True)
    with Recorder(engine), NamedLoop("A") as A, NamedLoop("B") as B:
        A.run(hold_two(engine))
        outcomes = [outcome_on(B, ask(engine)) for _ in range(3)]
        engine.sync_engine.dispose(close=False)
    assert outcomes == ["different loop", "different loop", "ok"]


@claim(
    "B49",
    verdict="refuted",
    observed=(
        "a module-level engine is harmless until a loop uses it, and with NullPool it stays so:"
        " seven loops, seven times ok"
    ),
)
def test_a_module_level_engine_can_be_harmless(db):
    engine = create_async_engine(db.url, poolclass=NullPool)
    assert db.sessions() == []
    assert outcomes_of(engine) == ["ok"] * 7
