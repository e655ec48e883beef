"""asyncio.run(engine.dispose()) at the end: on a loop that did not open the connection."""

import asyncio
import gc
import os
import warnings

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
engine = create_async_engine(os.environ["DATABASE_URL"])


async def job():
    async with engine.connect() as connection:
        await connection.scalar(text("select 1"))
    if CURE == "dispose-in-owner":
        await engine.dispose()


asyncio.run(job())
if CURE == "forget":
    asyncio.run(engine.dispose(close=False))
else:
    asyncio.run(engine.dispose())
if CURE == "forget":  # of the case
    with warnings.catch_warnings(action="ignore"):  # the sockets say that they were not closed
        gc.collect()
if CURE == "a second dispose":
    asyncio.run(engine.dispose())
