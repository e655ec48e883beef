"""What lesson 06 says about the incident documents' claims: no retry, a lock instead, and time-outs
that may not fire.
"""

import asyncio
import gc
import inspect
import signal
import time
from collections import Counter

import httpx
import psycopg
import pytest
from claims import claim
from patience import LONG, scaled
from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.pool.base import _ConnectionFairy

from loopbound import NamedLoop, Recorder, scratch_database, symptom_of
from loopbound.suite import BACKEND, run_suite, run_suites

COUNT = text("select count(*) from reports")


@pytest.fixture
def db():
    with scratch_database("claim") as database:
        yield database


def end_sessions(db):
    with psycopg.connect(db.url.replace("+asyncpg", ""), autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(%s, 5000)", [db.sessions()[0].pid]
        ).fetchall()
    assert ended == [(True,)]


# No retry


class Counted:
    """An engine with pre-ping, whose pings and connects are counted."""

    def __init__(self, db):
        self.attempts = Counter()
        self.engine = create_async_engine(db.url, pool_pre_ping=True)
        for name in ("do_ping", "connect"):
            setattr(
                self.engine.dialect, name, self.counted(name, getattr(self.engine.dialect, name))
            )

    def counted(self, name, method):
        def call(*given, **more):
            self.attempts[name] += 1
            return method(*given, **more)

        return call

    def checkout_on(self, loop):
        async def checkout():
            async with asyncio.timeout(20), self.engine.connect() as connection:
                await connection.scalar(COUNT)

        self.attempts.clear()
        try:
            loop.run(checkout())
            outcome = "ok"
        except Exception as error:
            outcome = symptom_of(error)
        return self.attempts["do_ping"], self.attempts["connect"], outcome


@claim(
    "B17",
    verdict="refuted",
    observed=(
        "a checkout whose ping meets another loop's connection pings once, connects not at all and"
        " raises; only a connection that the server has ended is replaced, and SQLAlchemy's code"
        " allows two attempts"
    ),
)
def test_a_failing_ping_is_not_tried_again(db):
    counted = Counted(db)
    with Recorder(counted.engine), NamedLoop("A") as A, NamedLoop("B") as B:
        assert counted.checkout_on(A) == (0, 1, "ok")
        assert counted.checkout_on(B) == (1, 0, "different loop")
        assert counted.checkout_on(A) == (0, 1, "ok"), "the failing ping left its place empty"
        end_sessions(db)
        assert counted.checkout_on(A) == (1, 1, "ok"), "what the server ended is replaced, once"
        counted.engine.sync_engine.dispose(close=False)
    assert "attempts = 2" in inspect.getsource(_ConnectionFairy._checkout)


# The lock that outlives its loop


async def progress(session, ready):
    await session.execute(COUNT)
    ready.set()
    await asyncio.sleep(3600)


async def in_block(sessions, kept, ready):
    async with sessions() as session:
        await progress(session, ready)


async def in_variable(sessions, kept, ready):
    session = sessions()
    await progress(session, ready)


async def in_registry(sessions, kept, ready):
    session = kept["mina"] = sessions()
    await progress(session, ready)


@pytest.mark.parametrize(
    ("stream", "closed", "collected"),
    [(in_block, False, False), (in_variable, True, False), (in_registry, True, True)],
    ids=["block", "variable", "registry"],
)
def test_a_transaction_outlives_its_loop_while_something_holds_its_session(
    db, stream, closed, collected
):
    def left_open():
        return "idle in transaction" in [session.state for session in db.sessions()]

    async def begin():
        ready = asyncio.Event()
        task = asyncio.create_task(stream(sessions, kept, ready))
        await asyncio.wait(
            [task, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED
        )

    kept = {}
    engine = create_async_engine(db.url)
    sessions = async_sessionmaker(engine)
    gc.disable()
    try:
        with Recorder(engine):
            with NamedLoop("A") as A:
                A.run(begin())
                assert left_open()
            assert left_open() is closed
            gc.collect()
            assert settled(left_open, collected) is collected
            kept.clear()
            gc.collect()
            assert settled(left_open, False) is False
            engine.sync_engine.dispose(close=False)
    finally:
        gc.enable()


def settled(look, wanted, seconds=10.0):
    """What `look` says once it says what is wanted; a session that ends needs a moment."""
    for _ in range(int(seconds / 0.05)):
        if look() is wanted:
            break
        time.sleep(0.05)
    return look()


# Suites that hang

SUITE = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
    "test_reports.py": (
        """
import os, pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

SessionFactory = async_sessionmaker(create_async_engine(os.environ["DATABASE_URL"]))
open_streams = {}

async def open_stream(user):
    session = open_streams[user] = SessionFactory()
    await session.execute(text("select count(*) from reports"))

@pytest.fixture
async def no_reports():
    async with SessionFactory() as session, session.begin():
        await session.execute(text("truncate reports"))

async def test_stream():
    await open_stream("mina")

def test_empty(no_reports):
    pass

def test_title():
    pass
"""
    ),
}
BUSY = SUITE | {
    "test_reports.py": (
        """
import asyncio, pytest, time

async def stream():
    while True:
        time.sleep(0.2)
        await asyncio.sleep(0)

async def test_where_the_exception_lands():
    task = asyncio.create_task(stream())
    await asyncio.wait([task])
    assert isinstance(task.exception(), pytest.fail.Exception) and "pytest-timeout" in str(task.exception())

async def test_report_arrives():
    task = asyncio.create_task(stream())
    await asyncio.Event().wait()
"""
    )
}
OVERLAY = {
    "overlay.toml": 'remove = ["db_session"]',
    "tests/api/conftest.py": (
        """
import pytest, sqlalchemy
from app.db.session import SessionFactory

@pytest.fixture
async def db_session():
    return SessionFactory()

@pytest.fixture(autouse=True)
async def empty_tables():
    async with SessionFactory() as session, session.begin():
        await session.execute(sqlalchemy.text("truncate accounts cascade"))
"""
    ),
}
CLOSED = OVERLAY | {
    "tests/api/conftest.py": (
        OVERLAY["tests/api/conftest.py"].replace(
            "    return SessionFactory()",
            "    async with SessionFactory() as session:\n        yield session",
        )
    )
}
IN_C = SUITE | {"test_reports.py": "def test_sum():\n    sum(range(10**13))\n"}


def changed(*pairs):
    source = SUITE["test_reports.py"]
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return SUITE | {"test_reports.py": source}


def limited(setting):
    return changed(('_URL"]', f'_URL"], connect_args={{"server_settings": {{"{setting}": "1s"}}}}'))


COMMIT = ('from reports"))', 'from reports"))\n    await session.commit()')
NO_POOL = ('_URL"]', '_URL"], poolclass=NullPool')
METHODS = ["signal", "thread"] if hasattr(signal, "SIGALRM") else ["thread"]
needs_the_signal = pytest.mark.skipif("signal" not in METHODS, reason="Windows has no SIGALRM")


@pytest.fixture(scope="module")
def runs():
    """Every suite of this file, run once, three at a time: name -> SuiteRun."""
    short, long = scaled(4.0), scaled(12.0)
    jobs = {"hung": dict(project=SUITE, limit=short)}
    for method in METHODS:
        options = [f"--timeout={short / 2}", f"--timeout-method={method}"]
        jobs[method] = dict(project=SUITE, options=options)
        jobs[f"busy {method}"] = dict(project=BUSY, options=options, limit=long)
        jobs[f"in C {method}"] = dict(project=IN_C, options=options, limit=short)
    jobs["func_only"] = dict(
        project=SUITE,
        options=[f"--timeout={short / 2}", "-o", "timeout_func_only=true"],
        limit=long,
    )
    jobs["exit_on_timeout"] = dict(
        project=SUITE,
        options=[
            "-o",
            f"faulthandler_timeout={round(short / 2)}",
            "-o",
            "faulthandler_exit_on_timeout=true",
        ],
    )
    jobs["incident"] = dict(project=BACKEND)
    jobs["incident hung"] = dict(project=BACKEND, overlay=OVERLAY, limit=long)
    jobs["incident closed"] = dict(project=BACKEND, overlay=CLOSED)
    for setting in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        jobs[setting] = dict(project=limited(setting))
    jobs["delete"] = dict(project=changed(("truncate reports", "delete from reports")))
    jobs["commit"] = dict(project=changed(COMMIT))
    jobs["commit, NullPool"] = dict(project=changed(COMMIT, NO_POOL))
    results = dict(zip(jobs, run_suites(list(jobs.values()), at_once=3), strict=True))
    # On a machine that has become busy a limit may end a suite before it hangs: more time, then.
    for name, run in results.items():
        limit = long
        while jobs[name].get("limit") and not hangs(name, run) and limit < LONG:
            limit *= 2
            results[name] = run = run_suite(**jobs[name] | {"limit": limit})
    return results


HANGS = {"hung": "test_empty", "func_only": "test_empty", "busy signal": "test_report_arrives"}


def hangs(name, run):
    """Whether a suite that has a limit came to where it hangs, or ended by itself."""
    if name == "incident hung":
        return not run.hung or any(session.blocked_by for session in run.sessions)
    return not run.hung or str(run.hung_test).endswith(HANGS.get(name, "test_sum"))


def symptoms(run):
    return [test.symptom for test in run.tests]


@claim(
    "B06",
    verdict="holds with a correction",
    observed=(
        "the suite as found ends; with a db_session that nobody closes and a fixture that truncates"
        " it hangs for as long as it is let, and the cause here is a lock: TRUNCATE waits for a"
        " session that is idle in transaction, left open on a loop that is closed; without the open"
        " transaction the same suite ends"
    ),
)
def test_a_suite_hangs_on_a_transaction_whose_loop_is_closed(runs):
    hung = runs["hung"]
    assert hung.hung and hung.hung_test == "test_reports.py::test_empty"
    holder, waiting = hung.sessions
    assert (holder.state, holder.query) == ("idle in transaction", "select count(*) from reports")
    assert (waiting.wait_event_type, waiting.query, waiting.blocked_by) == (
        "Lock",
        "truncate reports",
        (holder.pid,),
    )
    threads, _, tasks = hung.stacks.partition("\nTask ")
    assert "in select" in threads and "no_reports" not in threads and "open_stream" not in threads
    assert "no_reports" in tasks, "the fixture is suspended in a task"
    assert not runs["commit, NullPool"].hung and len(runs["commit, NullPool"].passed) == 3

    incident = runs["incident hung"]
    assert not runs["incident"].hung and len(runs["incident"].tests) == 33
    assert incident.hung and len(incident.tests) < 33
    (waiting,) = [session for session in incident.sessions if session.blocked_by]
    assert (waiting.wait_event_type, waiting.query) == ("Lock", "truncate accounts cascade")
    blockers = [session for session in incident.sessions if session.pid in waiting.blocked_by]
    assert blockers and {session.state for session in blockers} == {"idle in transaction"}
    threads, _, tasks = incident.stacks.partition("\nTask ")
    assert "in select" in threads and "empty_tables" not in threads and "empty_tables" in tasks
    assert not runs["incident closed"].hung and len(runs["incident closed"].tests) == 33


@claim(
    "B19",
    verdict="holds with a correction",
    observed=(
        "pytest has none of its own; pytest-timeout's signal method ends the hung fixture and the"
        " suite goes on, but its exception can land in a background task, and then the test passes"
        " or hangs on; the thread method ends the process, unless C code keeps the GIL"
    ),
)
@needs_the_signal
def test_a_time_out_may_not_fire(runs):
    assert symptoms(runs["signal"]) == ["ok", "Failed", "ok"]
    assert runs["busy signal"].hung and runs["busy signal"].hung_test.endswith(
        "test_report_arrives"
    )
    assert [id.partition("::")[2] for id in runs["busy signal"].passed] == [
        "test_where_the_exception_lands"
    ]
    for method in METHODS:
        assert (
            runs[f"in C {method}"].hung
            and runs[f"in C {method}"].hung_test == "test_reports.py::test_sum"
        )


def test_the_thread_method_ends_the_process(runs):
    thread = runs["thread"]
    assert symptoms(thread) == ["ok", "process ended"] and thread.not_run == (
        "test_reports.py::test_title",
    )
    assert "Stack of MainThread" in thread.output and "1 passed" not in thread.output
    assert not runs["busy thread"].hung and runs["busy thread"].passed == []


def test_faulthandlers_time_out_ends_the_process_and_fails_no_single_test(runs):
    ended = runs["exit_on_timeout"]
    assert not ended.hung and symptoms(ended) == ["ok", "process ended"]
    assert ended.not_run == ("test_reports.py::test_title",) and "Timeout (0:0" in ended.output


def test_function_only_leaves_fixtures_without_a_limit(runs):
    assert runs["func_only"].hung and runs["func_only"].hung_test.endswith("test_empty")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("lock_timeout", "lock timeout"),
        ("statement_timeout", "statement timeout"),
        ("idle_in_transaction_session_timeout", None),
    ],
)
def test_the_servers_limits_end_the_waiting(runs, setting, expected):
    run = runs[setting]
    assert not run.hung
    if expected:
        assert [test.outcome for test in run.tests] == ["passed", "error", "passed"]
        assert run.tests[1].error.endswith(f"canceling statement due to {expected}")
    else:
        assert len(run.passed) == 3, "the blocker was ended, and nobody heard of it"


def test_without_the_open_transaction_the_old_fault_is_back(runs):
    assert symptoms(runs["commit"]) == ["ok", "different loop", "ok"]
    assert symptoms(runs["commit, NullPool"]) == symptoms(runs["delete"]) == ["ok", "ok", "ok"]


# The two other hangs


def test_asgi_transport_hands_over_a_response_when_the_app_has_finished():
    async def get(events):
        sent = 0

        async def app(scope, receive, send):
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while sent < events:
                sent += 1
                await send(
                    {"type": "http.response.body", "body": b"data: 42 %\n\n", "more_body": True}
                )
                await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b""})

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://signal-scanner"
        ) as client:
            try:
                async with asyncio.timeout(3), client.stream("GET", "/stream") as response:
                    return response.status_code, sent
            except TimeoutError:
                return None, sent

    with NamedLoop("A") as A:
        assert A.run(get(events=5)) == (200, 5), "not before the last event"
        status, sent = A.run(get(events=10**9))
    assert status is None and sent > 10


def test_an_exhausted_pool_waits_for_its_timeout(db):
    async def two_at_once():
        engine = create_async_engine(db.url, pool_size=1, max_overflow=0, pool_timeout=1)
        try:
            async with asyncio.timeout(20), engine.connect(), engine.connect():
                pass
        finally:
            await engine.dispose()

    assert create_async_engine(db.url).pool.timeout() == 30
    with (
        NamedLoop("A") as A,
        pytest.raises(exc.TimeoutError, match="QueuePool limit of size 1 overflow 0 reached"),
    ):
        A.run(two_at_once())
