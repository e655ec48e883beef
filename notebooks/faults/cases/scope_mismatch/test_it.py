import pytest
from conftest import CURE

if CURE == "same-loop-scope":
    pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one(parcels):
    assert parcels == [1, 2, 3]
