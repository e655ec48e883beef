import os

import anyio
import pytest

CURE = os.environ.get("CURE")
if CURE == "anyio-plugin":
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"


@pytest.fixture
async def group():
    async with anyio.create_task_group() as group:
        yield group


if CURE == "enter-in-test":

    async def test_one():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)

else:

    async def test_one(group):
        group.start_soon(anyio.sleep, 0)
