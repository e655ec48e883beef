import asyncio

from conftest import CURE

if CURE == "delete-override":

    async def test_one(running_loop):
        assert running_loop is asyncio.get_running_loop()

else:

    async def test_one(event_loop):
        assert event_loop is asyncio.get_running_loop()
