"""The recorder: what it says happened must be what happened, and listening must change nothing."""

import asyncio
import gc
import logging
import warnings
import weakref

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from loopbound import NamedLoop, Recorder, scratch_database, symptom_of
from loopbound.recorder import CLOSED, DIFFERENT, IN_PROGRESS, OK


@pytest.fixture
def db():
    with scratch_database("recorder") as database:
        yield database


async def ask(engine):
    async with engine.connect() as connection:
        return await connection.scalar(text("select 1"))


def attempt(loop, coroutine):
    try:
        loop.run(coroutine)
        return OK
    except Exception as error:
        return symptom_of(error)


def told(log, kind):
    return [(e.thing, e.loop, e.born_on, e.symptom) for e in log.events if e.kind == kind]


def test_birth_use_return_and_end_on_one_loop(db):
    engine = create_async_engine(db.url)
    with Recorder(engine) as log, NamedLoop("A") as A:
        A.run(ask(engine))
        A.run(ask(engine))
        A.run(engine.dispose())
    kinds = [e.kind for e in log.events]
    assert kinds == [
        "loop opened",
        "born",
        "used",
        "returned",
        "used",
        "returned",
        "gone",
        "loop closed",
    ]
    assert {e.thing for e in log.events if e.thing} == {"connection 1"}
    assert [e.at for e in log.events] == list(range(len(kinds)))
    assert log.asides == []


@pytest.mark.parametrize(
    "options", [{}, {"pool_pre_ping": True}, {"poolclass": NullPool}, {"pool_recycle": 0}]
)
def test_recorded_outcomes_are_those_that_the_caller_saw(db, options):
    engine = create_async_engine(db.url, **options)
    seen = []
    with Recorder(engine) as log:
        for name in "ABCDE":
            with NamedLoop(name) as loop:
                seen.append((name, attempt(loop, ask(engine))))
        engine.sync_engine.dispose(close=False)
    recorded = {}
    for e in log.events:
        if e.kind == "used":
            # The step's own outcome is that of its last use; one use a step here.
            recorded[e.loop] = e.symptom
    assert recorded == dict(seen)
    assert all(e.born_on == e.loop for e in log.events if e.kind == "born")
    foreign = [e for e in log.events if e.kind == "used" and e.loop != e.born_on]
    assert bool(foreign) == (options in ({}, {"pool_pre_ping": True}))


def test_the_three_symptoms_are_told_apart(db):
    engine = create_async_engine(db.url)
    with Recorder(engine) as log, NamedLoop("B") as B, NamedLoop("C") as C:
        with NamedLoop("A") as A:
            A.run(ask(engine))
        assert attempt(B, ask(engine)) == DIFFERENT
        assert attempt(C, ask(engine)) == IN_PROGRESS
        engine.sync_engine.dispose(close=False)
    assert [use[3] for use in told(log, "used")] == [OK, DIFFERENT, IN_PROGRESS]
    closed = RuntimeError("Event loop is closed")
    assert (
        symptom_of(closed) == CLOSED
        and symptom_of(ValueError("x")) == "ValueError"
        and symptom_of(None) == OK
    )


def test_a_failing_pre_ping_is_seen_although_checkout_is_never_announced(db):
    engine = create_async_engine(db.url, pool_pre_ping=True)
    with Recorder(engine) as log:
        for name in "AB":
            with NamedLoop(name) as loop:
                attempt(loop, ask(engine))
        engine.sync_engine.dispose(close=False)
    assert ("connection 1", "B", "A", DIFFERENT) in told(log, "used")
    assert ("connection 1", "B", "A", OK) in told(log, "gone")
    assert any("Event loop is closed" in aside for aside in log.asides)


def test_two_connections_in_one_step_are_told_apart(db):
    async def hold_two(engine):
        async with engine.connect() as first, engine.connect() as second:
            await first.scalar(text("select 1"))
            await second.scalar(text("select 1"))

    engine = create_async_engine(db.url)
    with Recorder(engine) as log, NamedLoop("A") as A:
        A.run(hold_two(engine))
        A.run(engine.dispose())
    assert [use[0] for use in told(log, "used")] == ["connection 1", "connection 2"]
    assert sorted(gone[0] for gone in told(log, "gone")) == ["connection 1", "connection 2"]


def test_a_database_error_belongs_to_the_connection_and_is_no_loop_symptom(db):
    async def wrong(engine):
        async with engine.connect() as connection:
            await connection.execute(text("select * from nowhere"))

    engine = create_async_engine(db.url)
    with Recorder(engine) as log, NamedLoop("A") as A:
        assert attempt(A, wrong(engine)) == "ProgrammingError"
        A.run(engine.dispose())
    (used,) = told(log, "used")
    assert used[3] == "ProgrammingError" or "Undefined" in used[3]


def test_loops_that_have_no_name_are_numbered_and_not_mixed_up(db):
    engine = create_async_engine(db.url, poolclass=NullPool)
    with Recorder(engine) as log:
        for _ in range(4):
            asyncio.run(ask(engine))
            gc.collect()  # the next loop may get this one's address
    births = [e.loop for e in log.events if e.kind == "born"]
    assert len(set(births)) == 4


def test_it_works_on_a_loop_that_already_runs(db):
    async def cell():
        engine = create_async_engine(db.url)
        with Recorder(engine) as log:
            await ask(engine)
            await engine.dispose()
        return log

    log = asyncio.run(cell())
    assert [e.kind for e in log.events] == ["loop opened", "born", "used", "returned", "gone"]


def test_stop_puts_everything_back(db):
    engine = create_async_engine(db.url)
    logger = logging.getLogger("sqlalchemy.pool")

    def state():
        hooks = (
            list(logger.handlers),
            logger.propagate,
            list(warnings.filters),
            warnings.showwarning,
        )
        return (*hooks, "do_ping" in engine.dialect.__dict__)

    before = state()
    log = Recorder(engine)
    assert state()[3:] != before[3:] and state()[4] is True
    log.stop()
    log.stop()
    assert state() == before
    with NamedLoop("A") as A:
        A.run(ask(engine))
        A.run(engine.dispose())
    assert log.events == []


def test_it_keeps_no_connection_and_no_loop_alive(db):
    engine = create_async_engine(db.url, poolclass=NullPool)
    with Recorder(engine) as log:
        A = NamedLoop("A")
        loop = weakref.ref(A.loop)
        A.run(ask(engine))
        A.close()
        del A
        gc.collect()
        assert loop() is None
    assert db.sessions() == []
    assert len(told(log, "used")) == 1


def test_futures_and_locks_can_be_recorded_too():
    async def make(log):
        return log.born(asyncio.get_running_loop().create_future(), "future")

    async def wait(log, future):
        with log.use(future):
            await future

    with Recorder() as log, NamedLoop("A") as A, NamedLoop("B") as B:
        future = A.run(make(log))
        assert attempt(B, wait(log, future)) == DIFFERENT
        log.gone(future)
    assert told(log, "used") == [("future 1", "B", "A", DIFFERENT)]
    assert told(log, "gone") == [("future 1", "", "A", OK)]


def test_a_coroutine_that_is_collected_where_there_are_no_builtins_is_a_warning_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def never() -> None: ...

    cycle: list[object] = [never()]
    cycle.append(cycle)
    # As a namedtuple's __new__, inside which any of them may be collected.
    inside = eval("lambda collect: collect()", {"__builtins__": {}})
    with Recorder() as log:
        del cycle
        inside(gc.collect)
    (aside,) = log.asides
    assert aside.startswith("RuntimeWarning: coroutine '")
    assert aside.endswith(".never' was never awaited")
    assert capfd.readouterr().err == ""
