import asyncio
import os

import pytest

CURE = os.environ.get("CURE")
if CURE == "event_loop with scope=session":

    @pytest.fixture(scope="session")
    def event_loop():
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()


if CURE == "delete-override":

    @pytest.fixture
    async def running_loop():
        return asyncio.get_running_loop()
