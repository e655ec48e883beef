"""What lesson 03 says about the incident documents' claims, executed on bare asyncpg."""

import asyncio
import inspect
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from claims import claim

from loopbound import NamedLoop, Recorder, scratch_database


async def ask(connection):
    async with asyncio.timeout(10):
        return await connection.fetchval("select 1")


@contextmanager
def connection_of_a():
    """A scratch database, open loops A and B, and an asyncpg connection that was opened on A."""
    # The recorder keeps the warnings of a connection that cannot be closed any more.
    with scratch_database("claim") as db, Recorder(), NamedLoop("A") as A, NamedLoop("B") as B:
        connection = A.run(_connect(db.url.replace("+asyncpg", "")))
        try:
            yield db, A, B, connection
        finally:
            if not A.closed and not connection.is_closed():
                A.run(_terminate(connection))
            del connection


async def _connect(url):
    return await asyncpg.connect(url)


async def _terminate(connection):
    connection.terminate()


@claim(
    "B01",
    verdict="holds with a correction",
    observed=(
        "the future's callback is asyncpg's _on_waiter_completed; since asyncpg names the class in"
        " it, it reads BaseProtocol._on_waiter_completed on 0.32, and the words before it differ"
        " with the version"
    ),
)
def test_the_future_in_the_message_carries_asyncpgs_waiter_callback():
    with connection_of_a() as (_, A, B, connection):
        assert A.run(ask(connection)) == 1
        with pytest.raises(
            RuntimeError,
            match=(
                r"got Future <Future pending cb=\[\w*Protocol\._on_waiter_completed\(\)\]> attached"
            ),
        ):
            B.run(ask(connection))


@claim(
    "B02",
    verdict="holds",
    observed=(
        "closing a connection whose loop has been closed raises RuntimeError: Event loop is closed,"
        " from the call_soon of the dead loop's transport"
    ),
)
def test_event_loop_is_closed_comes_from_cleaning_up_after_a_dead_loop():
    with connection_of_a() as (_, A, B, connection):
        A.close()
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            B.run(ask(connection))
        with pytest.raises(RuntimeError, match="^Event loop is closed$") as caught:
            B.run(connection.close())
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames[-2:] == ["call_soon", "_check_closed"]
        caught = None
        del connection  # collected while the recorder still listens


@claim(
    "B11",
    verdict="holds",
    observed=(
        "after a foreign use every call is refused until the connection's own loop runs and reads"
        " the answer; then its own loop can use it again, and the foreign loop fails as before"
    ),
)
def test_a_connection_stays_bound_to_its_loop_which_alone_can_heal_it():
    with connection_of_a() as (db, A, B, connection):
        # Prepared now, so that B's call sends the whole query at once.
        assert A.run(ask(connection)) == 1
        with pytest.raises(RuntimeError, match="different loop"):
            B.run(ask(connection))
        deadline = time.monotonic() + 20
        while (states := [session.state for session in db.sessions()]) != [
            "idle"
        ] and time.monotonic() < deadline:
            time.sleep(0.05)  # the server may still be on its way to answering B's request
        assert states == ["idle"] and not connection.is_closed()
        time.sleep(0.2)  # and its answer on the way to the socket that A reads
        for loop in (B, B, A):
            with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
                loop.run(ask(connection))
        assert A.run(ask(connection)) == 1
        with pytest.raises(RuntimeError, match="different loop"):
            B.run(ask(connection))


def test_once_its_loop_is_closed_a_poisoned_connection_is_refused_for_ever():
    with connection_of_a() as (_, A, B, connection):
        A.close()
        with pytest.raises(RuntimeError, match="different loop"):
            B.run(ask(connection))
        for _ in range(20):
            time.sleep(0.02)
            with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
                B.run(ask(connection))
        del connection  # collected while the recorder still listens


@claim(
    "B13",
    verdict="refuted",
    observed=(
        "no file of the asyncpg package holds the words 'different loop'; asyncio's Task raises,"
        " also for a future that no driver has touched"
    ),
)
def test_asyncio_compares_the_loops_and_asyncpg_does_not():
    package = [file for file in Path(asyncpg.__file__).parent.rglob("*") if file.is_file()]
    assert any(b"another operation is in progress" in file.read_bytes() for file in package), (
        "the search must be able to find"
    )
    assert not any(b"different loop" in file.read_bytes() for file in package)
    assert "attached to a different loop" in inspect.getsource(asyncio.tasks)

    async def make():
        return asyncio.get_running_loop().create_future()

    async def wait_for(future):
        await future

    with NamedLoop("A") as A, NamedLoop("B") as B:
        future = A.run(make())
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            B.run(wait_for(future))
