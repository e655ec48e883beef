"""The parent used the engine; its forked child inherits the pool."""

import asyncio
import gc
import multiprocessing
import os
import sys

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
url = os.environ["DATABASE_URL"]
# What waits for an answer that the other process has taken ends by itself.
engine = create_async_engine(url, connect_args={"command_timeout": 5}, **options)
fork = multiprocessing.get_context("fork")


async def ask():
    async with engine.connect() as connection:
        return await connection.scalar(text("select 1"))


async def dispose_and_ask():
    await engine.dispose()
    await ask()
    await engine.dispose()


def child():
    if CURE == "close=False":
        engine.sync_engine.dispose(close=False)
        gc.collect()
    if CURE == "dispose":
        return asyncio.run(dispose_and_ask())
    return asyncio.run(ask())


def in_child():
    process = fork.Process(target=child)
    process.start()
    process.join()
    return process.exitcode


with asyncio.Runner() as runner:
    if CURE != "after-fork":
        runner.run(ask())
    if CURE == "dispose-before-fork":
        runner.run(engine.dispose())
    code = in_child()
    runner.run(ask())  # the parent goes on with what it has
    runner.run(engine.dispose())
sys.exit(code)
