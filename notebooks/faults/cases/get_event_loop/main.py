"""An old helper asks for the current loop, after asyncio.run has taken it away."""

import asyncio
import os

CURE = os.environ.get("CURE")


async def answer():
    if CURE == "get-running-loop":
        return await asyncio.get_running_loop().run_in_executor(None, lambda: 42)
    return 42


def helper():
    if CURE in ("asyncio-run", "get-running-loop"):
        return asyncio.run(answer())
    if CURE == "set_event_loop_policy":
        asyncio.set_event_loop_policy(asyncio.get_event_loop_policy())
    return asyncio.get_event_loop().run_until_complete(answer())


asyncio.run(answer())
assert helper() == 42
