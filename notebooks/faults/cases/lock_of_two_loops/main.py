"""A lock that a server's loop and a scheduler's share: its second loop is refused."""

import asyncio
import os
import threading

CURE = os.environ.get("CURE")
lock = asyncio.Lock()


async def step():
    async with lock:
        await asyncio.sleep(0.01)


async def two_steps():
    await asyncio.gather(step(), step())


async def server():
    await two_steps()  # one of them waits: the lock is this loop's now
    loop, failed = asyncio.get_running_loop(), []

    def schedule():
        try:
            if CURE == "hand-over":
                asyncio.run_coroutine_threadsafe(two_steps(), loop).result()
            else:
                asyncio.run(two_steps())
        except RuntimeError:
            failed.append(True)
            raise

    thread = threading.Thread(target=schedule)
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.01)
    return bool(failed)


raise SystemExit(asyncio.run(server()))
