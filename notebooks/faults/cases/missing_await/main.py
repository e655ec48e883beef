"""A coroutine function is called, and nothing awaits what it gives."""

import asyncio
import os

CURE = os.environ.get("CURE")
saved = []


async def save(what):
    saved.append(what)


async def main():
    if CURE == "await-it":
        await save(7)
    else:
        save(7)


asyncio.run(main())
raise SystemExit(saved != [7])
