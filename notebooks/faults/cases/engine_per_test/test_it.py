from backend import ask


async def test_one():
    assert await ask() == 1


async def test_two():
    assert await ask() == 1


async def test_three():
    assert await ask() == 1
