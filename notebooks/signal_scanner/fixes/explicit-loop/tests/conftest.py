"""The tests find the application whatever folder pytest is started in, and no connection outlives its loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from app.db.session import engine  # noqa: E402: found through the path above


def make_loop() -> asyncio.AbstractEventLoop:
    """The platform's own loop, which closes the engine's connections before it closes itself.

    Tied to the loop and not to a fixture, this holds for each scope's loop that is made here, and a fixture that ends
    late still finds its connections. pytest-asyncio 1.5 does not make all of them here: where a sync test is the first to
    ask for an async fixture, that fixture's loop leaves its connections in the pool. One such loop at a time: dispose()
    would also close the connections of another that still runs.
    """
    loop = asyncio.new_event_loop()
    close = loop.close

    def close_connections_first() -> None:
        if not loop.is_closed():
            loop.run_until_complete(engine.dispose())
        close()

    loop.close = close_connections_first  # type: ignore[method-assign]
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """pytest-asyncio (1.4 or later) makes its loops this way, instead of by a fixture `event_loop` or a loop policy."""
    return {"asyncio": make_loop}
