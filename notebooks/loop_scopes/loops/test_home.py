import asyncio

import pytest


@pytest.fixture(scope="session")
async def home():
    return asyncio.get_running_loop()


async def test_home(home):
    assert asyncio.get_running_loop() is home
