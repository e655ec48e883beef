"""A server's loop at work, and a background job on a thread with a loop of its own; one engine."""

import asyncio
import os
import threading

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
url = os.environ["DATABASE_URL"]
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(url, **options)
failed = []


async def ask(engine):
    async with engine.connect() as connection:
        await connection.scalar(text("select 1"))


async def background(server_loop):
    own = create_async_engine(url) if CURE == "own-engine" else engine
    for _ in range(3):
        if CURE == "hand-over":
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(ask(engine), server_loop))
        else:
            await ask(own)
    if CURE in ("own-engine", "dispose"):
        await own.dispose()


def in_thread(server_loop):
    try:
        asyncio.run(background(server_loop))
    except Exception:
        failed.append(True)
        raise  # the thread prints it


async def server():
    await asyncio.gather(ask(engine), ask(engine))  # two connections of this loop are in the pool
    thread = threading.Thread(target=in_thread, args=[asyncio.get_running_loop()])
    thread.start()
    while thread.is_alive():
        if CURE == "hand-over":  # of the case
            await asyncio.sleep(0.01)
        else:
            # asyncpg can end the process when two threads are in one connection at a time.
            thread.join()
    if not failed:
        await ask(engine)
        await engine.dispose()


asyncio.run(server())
raise SystemExit(bool(failed))
