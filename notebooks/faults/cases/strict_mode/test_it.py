import os

import pytest
import pytest_asyncio

CURE = os.environ.get("CURE")
if CURE == "mark-them":
    pytestmark = pytest.mark.asyncio


@(pytest_asyncio.fixture if CURE == "mark-them" else pytest.fixture)
async def number():
    yield 7


async def test_one(number):
    assert number == 7
