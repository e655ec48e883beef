import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def plain():
    return "report"


async def test_pytest_fixture(plain):
    assert plain == "report"


@pytest_asyncio.fixture
async def special():
    return "report"


async def test_pytest_asyncio_fixture(special):
    assert special == "report"
