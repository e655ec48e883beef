import asyncio
import os
import weakref

import pytest

CURE = os.environ.get("CURE")
queue = asyncio.Queue()  # made once, for all tests
by_loop = weakref.WeakKeyDictionary()


@pytest.fixture
async def letters():
    if CURE == "make-inside":
        return asyncio.Queue()
    if CURE == "lock-per-loop":
        return by_loop.setdefault(asyncio.get_running_loop(), asyncio.Queue())
    return queue


async def one_waits(letters):
    waiting = asyncio.create_task(letters.get())
    await asyncio.sleep(0)  # it waits now, and binds the queue
    letters.put_nowait("a letter")
    assert await waiting == "a letter"


async def test_one(letters):
    await one_waits(letters)


async def test_two(letters):
    await one_waits(letters)
