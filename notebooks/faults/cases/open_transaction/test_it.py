import os

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
options = {"poolclass": NullPool} if CURE == "null-pool" else {}
engine = create_async_engine(os.environ["DATABASE_URL"], **options)
Session = async_sessionmaker(engine)
kept = []


@pytest.fixture(autouse=True)
async def end():
    yield
    if CURE == "close-it":
        for session in kept:
            await session.close()
    if CURE in ("dispose", "close-it"):
        await engine.dispose()


async def test_a_stream_reads():
    kept.append(Session())
    await kept[0].execute(text("select * from reports"))  # a transaction begins, and keeps its lock


async def test_b_table_can_be_emptied():
    async with Session() as session:
        await session.execute(text("set lock_timeout = '300ms'"))
        await session.execute(text("truncate reports"))
