"""Sessions that stay open use the pool up; one loop in all."""

import asyncio
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CURE = os.environ.get("CURE")
size = 3 if CURE == "larger-pool" else 1
engine = create_async_engine(
    os.environ["DATABASE_URL"], pool_size=size, max_overflow=0, pool_timeout=0.2
)
Session = async_sessionmaker(engine)


async def main():
    sessions = [Session() for _ in range(3)]
    for session in sessions:
        await session.scalar(text("select 1"))
        if CURE == "close-sessions":
            await session.close()
    for session in sessions:
        await session.close()
    await engine.dispose()


asyncio.run(main())
