import asyncio

import pytest

pytestmark = pytest.mark.anyio


def made_by():
    return asyncio.current_task().get_coro().__qualname__


@pytest.fixture
async def home():
    return asyncio.get_running_loop(), made_by()


async def test_fixture(home):
    assert "TestRunner" in home[1]


async def test_test():
    assert "TestRunner" in made_by()


async def test_loop(home):
    assert asyncio.get_running_loop() is home[0]
