"""The tests find the application whatever folder pytest is started in, and each leaves the database as it found it."""

from __future__ import annotations

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
        SessionFactory.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield
        SessionFactory.configure(bind=engine, join_transaction_mode="conditional_savepoint")
        await outer.rollback()
