"""The tests find the application whatever folder pytest is started in; each takes back the rows and tasks that it leaves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.db.session import SessionFactory, engine  # noqa: E402: found through the path above


@pytest.fixture(autouse=True)
async def undo_after_test() -> AsyncIterator[None]:
    """One transaction around each test; what sessions commit meanwhile are savepoints in it."""
    async with engine.connect() as connection:
        outer = await connection.begin()
        SessionFactory.configure(
            bind=connection,
            join_transaction_mode="create_savepoint",
        )
        yield
        SessionFactory.configure(
            bind=engine,
            join_transaction_mode="conditional_savepoint",
        )
        await outer.rollback()


@pytest.fixture(autouse=True)
async def no_task_left(undo_after_test: None) -> AsyncIterator[None]:
    """Fails a test that leaves a task: on the session's loop it would run on, into the tests that follow."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not left, "still running: " + ", ".join(task.get_coro().__qualname__ for task in left)
