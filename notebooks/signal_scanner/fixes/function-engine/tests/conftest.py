"""The tests find the application whatever folder pytest is started in, and each has an engine of its own."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.core.config import settings  # noqa: E402: found through the path above
from app.db import session as db  # noqa: E402


@pytest.fixture(autouse=True)
async def engine_of_the_test() -> AsyncIterator[None]:
    """Sessions of this test, the application's too, come from an engine that begins and ends with its loop."""
    engine = create_async_engine(settings.database_url)
    db.SessionFactory.configure(bind=engine)  # the factory stays the same object: whoever has imported it follows
    yield
    db.SessionFactory.configure(bind=db.engine)
    await engine.dispose()
