import os

import pytest_asyncio

CURE = os.environ.get("CURE")


@pytest_asyncio.fixture(
    scope="session", loop_scope="session" if CURE == "same-loop-scope" else None
)
async def parcels():
    yield [1, 2, 3]
