"""A sync function that calls asyncio.run each time, with one client for all calls."""

import asyncio
import gc
import threading
import weakref

from clients import CURE, library

client = library.make_now() if CURE == "make it at import" else None
by_loop = weakref.WeakKeyDictionary()


async def job():
    global client
    if CURE == "client-per-loop":
        own = await library.make()
        try:
            return await library.use(own)
        finally:
            await library.close(own)
    if CURE == "one client for each loop that is never closed":
        loop = asyncio.get_running_loop()
        by_loop[loop] = by_loop.get(loop) or await library.make()
        return await library.use(by_loop[loop])
    if client is None:
        client = await library.make()
    try:
        await library.use(client)
    finally:
        await library.end(client)


def in_a_thread(work):
    """Run work on a loop that lives on beside; as hand-over does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        work(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def hand_over(loop):
    for _ in range(3):
        asyncio.run(handed(loop))
    asyncio.run_coroutine_threadsafe(library.close(client), loop).result()


async def handed(loop):
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(job(), loop))


if CURE == "one-loop":
    with asyncio.Runner() as runner:
        for _ in range(3):
            runner.run(job())
        runner.run(library.close(client))
elif CURE == "hand-over":
    in_a_thread(hand_over)
else:
    for _ in range(3):
        asyncio.run(job())
if by_loop:
    gc.collect()
    raise SystemExit(f"{len(by_loop)} closed loops are kept, with their connections")
