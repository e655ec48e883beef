import os

import pytest

CURE = os.environ.get("CURE")


@pytest.fixture(scope="session" if CURE == "equal-scopes" else "function")
def number():
    return 7


@pytest.fixture(scope="session")
def pair(number):
    return number, number


async def test_one(pair):
    assert pair == (7, 7)
