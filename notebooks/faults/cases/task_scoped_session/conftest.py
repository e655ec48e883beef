import asyncio
import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
engine = create_async_engine(os.environ["DATABASE_URL"])


def this_test():
    return os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]


scope = this_test if CURE == "scope-per-test" else asyncio.current_task
Session = async_scoped_session(async_sessionmaker(engine), scopefunc=scope)


@pytest.fixture(scope="session", autouse=True)
async def parcels():
    async with engine.begin() as connection:
        await connection.execute(text("create table parcels (id int)"))
    yield
    await engine.dispose()


@pytest.fixture
async def parcel():
    await Session.execute(text("insert into parcels values (7)"))  # pending, in the task's session
    yield 7
    await Session.remove()
