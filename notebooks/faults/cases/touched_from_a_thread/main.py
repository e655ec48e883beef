"""A callback of a library's thread hands a result over; in debug mode the loop says what is wrong."""

import asyncio
import os
import threading

CURE = os.environ.get("CURE")


async def main():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    call = loop.call_soon_threadsafe if CURE == "threadsafe" else loop.call_soon
    thread = threading.Timer(0.05, lambda: call(done.set_result, 42))
    thread.start()
    async with asyncio.timeout(1 if CURE is None else 30):  # of the case
        await done
    thread.join()


asyncio.run(main(), debug=True)
