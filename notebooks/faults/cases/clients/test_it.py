import pytest
from clients import CURE, library

shared = []


@pytest.fixture
async def client():
    if CURE == "client-per-test":
        own = await library.make()
        yield own
        await library.close(own)
    else:
        if not shared:
            shared.append(await library.make())
        yield shared[0]
        await library.end(shared[0])


async def test_one(client):
    await library.use(client)


async def test_two(client):
    await library.use(client)


async def test_three(client):
    await library.use(client)
