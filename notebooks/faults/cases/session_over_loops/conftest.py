import os

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
options = {"poolclass": NullPool} if CURE in ("null-pool", "session-per-use") else {}
engine = create_async_engine(os.environ["DATABASE_URL"], **options)
Session = async_sessionmaker(engine)


@pytest.fixture(scope="session")
async def session():
    async with Session() as session:
        await session.execute(text("create temporary table parcels (id int)"))
        yield session
    await engine.dispose()


if CURE == "session-per-use":

    @pytest.fixture
    async def count():
        async def count():
            async with Session() as session:
                return await session.scalar(text("select count(*) from users"))

        yield count

else:

    @pytest.fixture
    async def count(session):
        async def count():
            return await session.scalar(text("select count(*) from users"))

        yield count
        if CURE == "dispose":
            await engine.dispose()
