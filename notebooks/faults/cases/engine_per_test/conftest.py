import asyncio

import backend
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

if backend.CURE == "dispose":

    @pytest.fixture(autouse=True)
    async def dispose():
        yield
        await backend.engine.dispose()


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
