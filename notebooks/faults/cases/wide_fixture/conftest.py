import pytest_asyncio
from backend import engine
from sqlalchemy import text


@pytest_asyncio.fixture(scope="session")
async def parcels():
    async with engine.begin() as connection:
        await connection.execute(text("create table parcels (id int)"))
    yield
    await engine.dispose()
