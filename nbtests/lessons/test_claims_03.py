"""What lesson 03 says about the incident documents' claims, executed on bare asyncpg."""

import asyncio
import inspect
import threading
import time
import traceback
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncpg
import httpx
import psycopg
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


def test_a_call_that_needs_a_timer_of_a_dead_loop_meets_event_loop_is_closed_first():
    with connection_of_a() as (_, A, B, connection):
        assert A.run(ask(connection)) == 1
        A.close()
        with pytest.raises(RuntimeError, match="^Event loop is closed$") as caught:
            B.run(connection.fetchval("select 1", timeout=60))
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames[-3:] == ["call_later", "call_at", "_check_closed"]
        with pytest.raises(asyncpg.InterfaceError, match="another operation is in progress"):
            B.run(ask(connection))
        caught = None
        del connection  # collected while the recorder still listens


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # so that the client may keep its connection

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"42")

    def log_message(self, *_): ...


def test_event_loop_is_closed_is_all_that_a_pooled_httpx_client_says():
    async def page(client):
        return (await client.get(f"http://127.0.0.1:{server.server_port}/")).text

    said = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server, Recorder():
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        client = httpx.AsyncClient()
        for name in "ABCD":
            with NamedLoop(name) as loop:
                try:
                    said.append(loop.run(page(client)))
                except RuntimeError as error:
                    said.append(str(error))
                if name == "D":
                    loop.run(client.aclose())
        server.shutdown()
        serving.join()
        del client  # collected while the recorder still listens
    assert said == ["42", "Event loop is closed"] * 2


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


def test_a_psycopg_connection_crosses_until_its_lock_has_had_a_waiter():
    async def one(connection):
        return (await (await connection.execute("select 42")).fetchone())[0]

    async def two(connection):
        return await asyncio.gather(one(connection), one(connection), return_exceptions=True)

    async def connect(dsn):
        return await psycopg.AsyncConnection.connect(dsn)

    # On Windows psycopg runs on no other kind of loop.
    kind = asyncio.SelectorEventLoop
    with scratch_database("claim") as db, NamedLoop("A", kind) as A, NamedLoop("B", kind) as B:
        connection = A.run(connect(db.url.replace("+asyncpg", "")))
        assert B.run(one(connection)) == 42
        assert A.run(two(connection)) == [42, 42]
        assert B.run(one(connection)) == 42
        first, second = B.run(two(connection))
        assert first == 42
        assert isinstance(second, RuntimeError)
        assert str(second).endswith("is bound to a different event loop")
        A.run(connection.close())
