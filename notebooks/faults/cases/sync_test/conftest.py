import asyncio
import os

import pytest_asyncio
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

# As found: a loop factory that ends the pool with its loop.
CURE = os.environ.get("CURE", "explicit-loop")
options = {"poolclass": NullPool} if CURE == "null-pool" else {}
engine = create_async_engine(os.environ["DATABASE_URL"], **options)


def make_loop():
    loop = asyncio.new_event_loop()
    close = loop.close

    def close_connections_first():
        if not loop.is_closed():
            loop.run_until_complete(engine.dispose())
        close()

    loop.close = close_connections_first
    return loop


if CURE in ("explicit-loop", "async-test"):

    def pytest_asyncio_loop_factories():
        return {"asyncio": make_loop}


if CURE == "dispose":

    @pytest_asyncio.fixture(autouse=True)
    async def dispose():
        yield
        await engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope=None if CURE == "session-loop" else "module")
async def schema():
    async with engine.begin() as connection:
        await connection.execute(text("create table parcels (id int)"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("drop table parcels"))


@pytest_asyncio.fixture(scope="module", loop_scope=None if CURE == "session-loop" else "module")
async def parcel(schema):
    async with engine.begin() as connection:
        await connection.execute(text("insert into parcels values (7)"))
    yield 7
