import pytest
from app.database import SessionFactory, engine
from app.desk import add_report, add_user, titles


@pytest.fixture(autouse=True)
async def dispose_engine_after_test():
    yield
    await engine.dispose()


async def test_a_report_is_listed():
    async with SessionFactory() as session:
        nora = await add_user(session, "nora")
        await add_report(session, nora, "Weekly Report")
        assert await titles(session, nora) == ["Weekly Report"]


async def test_the_oldest_report_comes_first():
    async with SessionFactory() as session:
        nora = await add_user(session, "nora")
        for title in ("Weekly Report", "Monthly Report"):
            await add_report(session, nora, title)
        assert await titles(session, nora) == ["Weekly Report", "Monthly Report"]
