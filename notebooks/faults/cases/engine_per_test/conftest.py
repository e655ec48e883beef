import asyncio

import backend
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

if backend.CURE == "dispose":

    @pytest.fixture(autouse=True)
    async def dispose():
        yield
        await backend.engine.dispose()


if backend.CURE == "explicit-loop":

    def make_loop():
        loop = asyncio.new_event_loop()
        close = loop.close

        def close_connections_first():
            if not loop.is_closed():
                loop.run_until_complete(backend.engine.dispose())
            close()

        loop.close = close_connections_first
        return loop

    def pytest_asyncio_loop_factories():
        return {"asyncio": make_loop}


if backend.CURE == "function-engine":

    @pytest.fixture(autouse=True)
    async def engine():
        engine = create_async_engine(backend.url)
        backend.Session.configure(bind=engine)
        yield
        await engine.dispose()


if backend.CURE == "event_loop override":

    @pytest.fixture(scope="session")
    def event_loop():
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()
