import pytest
from backend import CURE, engine
from sqlalchemy import text

if CURE == "same-loop-scope":
    pytestmark = pytest.mark.asyncio(loop_scope="session")


async def count():
    async with engine.connect() as connection:
        return await connection.scalar(text("select count(*) from parcels"))


async def test_one(parcels):
    assert await count() == 0


async def test_two(parcels):
    assert await count() == 0
