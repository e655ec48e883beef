"""The worker's process: plain tests, so no loop runs but the tasks' own. Errors are read by the check: "sessions: 2", "connections: 9"."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from app.core.security import create_access_token
from app.db import session as db
from app.main import app
from app.worker import analyse
from httpx import ASGITransport, AsyncClient
from sqlalchemy import event
from sqlalchemy.pool import Pool

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "")


@pytest.fixture(autouse=True)
def from_the_start() -> Iterator[None]:
    """An empty pool, so that each test speaks for itself; and what a task leaves must not vanish because the garbage collector came by."""
    gc.disable()
    if hasattr(db, "engine"):
        asyncio.run(db.engine.dispose(close=False))
    yield
    gc.enable()


def ask(query: str, *arguments: Any) -> Any:
    """The first value of a query, over a connection of the test's own."""

    async def asked() -> Any:
        connection = await asyncpg.connect(URL)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    return asyncio.run(asked())


def pending() -> UUID:
    task_id = uuid4()
    account = ask("insert into accounts (id, email, password_hash) values ($1, $2, 'unusable') returning id", uuid4(), f"{task_id.hex}@example.org")
    ask("insert into analysis_tasks (id, owner_id, description) values ($1, $2, 'Sync and backup for the home')", task_id, account)
    return task_id


def sessions() -> set[int]:
    """Of this database, but the one that asks."""
    return set(ask("select array_agg(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()") or ())


def left(before: set[int]) -> int:
    """How many sessions there are that were not there before; one that is closed a moment ago may still be leaving."""
    until = time.monotonic() + 2
    while (seen := sessions() - before) and time.monotonic() < until:
        time.sleep(0.05)
    return len(seen)


def test_four_in_a_row() -> None:
    for _ in range(4):
        task_id = pending()
        assert analyse.apply(args=[str(task_id)], throw=True).get() == "completed"
        assert ask("select keywords->>0 from analysis_reports where task_id = $1", task_id) == "sync"


def test_nothing_left(caplog: pytest.LogCaptureFixture) -> None:
    before = sessions()
    analyse.apply(args=[str(pending())], throw=True)
    closing = [record.getMessage() for record in caplog.records if "Exception closing connection" in record.getMessage()]
    assert not closing, "closed on another loop"
    seen = left(before)
    assert not seen, f"sessions: {seen}"


def test_nothing_left_of_one_that_fails() -> None:
    before = sessions()
    with pytest.raises(LookupError):
        analyse.apply(args=[str(uuid4())], throw=True)
    seen = left(before)
    assert not seen, f"sessions: {seen}"
    assert analyse.apply(args=[str(pending())], throw=True).get() == "completed"


def test_the_server_keeps_its_pool() -> None:
    opened = []
    event.listen(Pool, "connect", lambda connection, record: opened.append(record))

    async def serve() -> None:
        headers = {"Authorization": f"Bearer {create_access_token(uuid4())}"}
        async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as client:
            for _ in range(9):
                assert (await client.get(f"/api/status/{uuid4()}", headers=headers)).status_code == 404

    asyncio.run(serve())
    assert len(opened) == 1, f"connections: {len(opened)}"
