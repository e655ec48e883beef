"""A Celery task that runs its coroutine with asyncio.run; here the worker's steps without a broker."""

import asyncio
import os
import sys

from celery import Celery
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(os.environ["DATABASE_URL"], **options)
app = Celery("worker", broker="memory://")
if CURE == "one-loop":
    runner = asyncio.Runner()


async def count():
    async with engine.connect() as connection:
        found = await connection.scalar(text("select count(*) from users"))
    if CURE == "dispose":
        await engine.dispose()
    return found


@app.task
def count_users():
    return runner.run(count()) if CURE == "one-loop" else asyncio.run(count())


for _ in range(3):
    done = count_users.apply()
    if done.failed():
        sys.exit(done.traceback)
if CURE == "one-loop":
    runner.run(engine.dispose())
    runner.close()
