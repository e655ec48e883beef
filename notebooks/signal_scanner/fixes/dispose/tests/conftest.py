"""The tests find the application whatever folder pytest is started in, and each leaves an empty pool to the next."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.db.session import engine  # noqa: E402: found through the path above


@pytest.fixture(autouse=True)
async def dispose_engine_after_test() -> AsyncIterator[None]:
    """Set up before a test's other fixtures, so torn down after them: by then every connection is back in the pool."""
    yield
    await engine.dispose()
