"""A library's sync function calls asyncio.run, and is itself called by a coroutine."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

CURE = os.environ.get("CURE")


async def answer():
    return 42


def ask():  # the library
    return asyncio.run(answer())


async def main():
    if CURE == "await-it":
        return await answer()
    if CURE == "own-thread":
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(ask).result()
    return ask()


assert asyncio.run(main()) == 42
