async def test_one(count):
    assert await count() == 3


async def test_two(count):
    assert await count() == 3
