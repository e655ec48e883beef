import pytest
from backend import ask

pytestmark = pytest.mark.anyio


async def test_one():
    assert await ask() == 1


async def test_two():
    assert await ask() == 1


async def test_three():
    assert await ask() == 1
