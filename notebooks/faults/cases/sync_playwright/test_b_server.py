import asyncio


async def answer():
    return 42


def test_sync():
    assert asyncio.run(answer()) == 42


async def test_async():
    assert await answer() == 42
