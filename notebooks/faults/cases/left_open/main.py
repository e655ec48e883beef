"""A session that stays open, found by the garbage collector when its loop is closed."""

import asyncio
import gc
import os

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

CURE = os.environ.get("CURE")
engine = create_async_engine(os.environ["DATABASE_URL"])


async def job():
    if CURE == "dispose-in-owner":
        async with AsyncSession(engine) as session:
            await session.scalar(text("select 1"))
        await engine.dispose()
    else:
        await AsyncSession(engine).scalar(text("select 1"))


gc.disable()  # it shall come when the loop has gone
asyncio.run(job())
gc.collect()
