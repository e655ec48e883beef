import os

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
url = os.environ["DATABASE_URL"]
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(url, **options)  # made once, for all tests
Session = async_sessionmaker(engine)


async def ask():
    async with Session() as session:
        return await session.scalar(text("select 1"))
