"""Two tasks of one loop share a session."""

import asyncio
import os

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
options = {"poolclass": NullPool} if CURE == "null-pool" else {}
engine = create_async_engine(os.environ["DATABASE_URL"], **options)
Session = async_sessionmaker(engine)


async def ask(session):
    if CURE == "session-per-task":
        async with Session() as session:
            return await session.scalar(text("select 1"))
    return await session.scalar(text("select 1"))


async def main():
    async with Session() as session:
        await asyncio.gather(ask(session), ask(session))
    await engine.dispose()


asyncio.run(main())
