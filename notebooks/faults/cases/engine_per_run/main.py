"""A job that the machine calls again and again: an asyncio.run each time, one engine for all."""

import asyncio
import os

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(os.environ["DATABASE_URL"], **options)


async def job():
    async with engine.connect() as connection:
        await connection.scalar(text("select 1"))
    if CURE == "dispose":
        await engine.dispose()


if CURE == "one-loop":
    with asyncio.Runner() as runner:
        for _ in range(3):
            runner.run(job())
        runner.run(engine.dispose())
else:
    for _ in range(3):
        asyncio.run(job())
