import asyncio

import pytest_asyncio
from backend import CURE, Session, engine, url
from sqlalchemy.ext.asyncio import create_async_engine

if CURE == "dispose":

    @pytest_asyncio.fixture(autouse=True)
    async def dispose_after_each_test():
        yield
        await engine.dispose()


if CURE == "explicit-loop":

    def make_loop():
        loop = asyncio.new_event_loop()
        close = loop.close

        def close_connections_first():
            if not loop.is_closed():
                loop.run_until_complete(engine.dispose())
            close()

        loop.close = close_connections_first
        return loop

    def pytest_asyncio_loop_factories():
        return {"asyncio": make_loop}


if CURE == "function-engine":

    @pytest_asyncio.fixture(autouse=True)
    async def engine_of_this_test():
        own = create_async_engine(url)
        Session.configure(bind=own)
        yield
        Session.configure(bind=engine)
        await own.dispose()


if CURE == "event_loop override":

    @pytest_asyncio.fixture(scope="session")
    def event_loop():
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()
