import os

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
engine = create_async_engine(os.environ["DATABASE_URL"])

if CURE == "await-dispose":

    @pytest.fixture(autouse=True)
    async def dispose():
        yield
        await engine.dispose()

else:

    @pytest.fixture(autouse=True)
    def dispose():
        yield
        engine.sync_engine.dispose()


async def test_one():
    async with engine.connect() as connection:
        assert await connection.scalar(text("select 1")) == 1


async def test_two():
    await test_one()
