"""A takes a free lock, which binds nothing; B waits on another loop; A's release wakes no one."""

import asyncio
import os
import threading
import time

CURE = os.environ.get("CURE")
lock, taken, waits = asyncio.Lock(), threading.Event(), threading.Event()
tasks = []


async def work():
    async with lock:
        pass


async def waiter(holders_loop):
    tasks.append(asyncio.current_task())
    asyncio.get_running_loop().call_soon(waits.set)
    if CURE == "hand-over":
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), holders_loop))
    else:
        await work()


async def holder():
    async with lock:
        thread = threading.Thread(target=asyncio.run, args=[waiter(asyncio.get_running_loop())])
        thread.start()
        await asyncio.to_thread(waits.wait)
        await asyncio.to_thread(time.sleep, 0.05)  # by now it sleeps in its selector
    # The lock is free now. One second is a hundred times what a waiter that is woken needs.
    await asyncio.to_thread(thread.join, 1 if CURE is None else 30)  # of the case
    if woken := not thread.is_alive():
        return woken
    print("the lock is free, and its waiter sleeps on:", tasks[0])
    tasks[0].print_stack()
    tasks[0].get_loop().call_soon_threadsafe(lambda: None)  # any event at all wakes it
    await asyncio.to_thread(thread.join)
    return woken


raise SystemExit(not asyncio.run(holder()))
