import asyncio

import pytest
import pytest_asyncio
from backend import CURE, engine
from sqlalchemy import text

if CURE == "event-loop-fixture":

    @pytest.fixture(scope="session")
    def event_loop():
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()


options = {"same-loop-scope": {"loop_scope": "session"}}.get(CURE, {})


@pytest_asyncio.fixture(scope="session", **options)
async def parcels():
    async with engine.begin() as connection:
        await connection.execute(text("create table parcels (id int)"))
    yield
    await engine.dispose()
