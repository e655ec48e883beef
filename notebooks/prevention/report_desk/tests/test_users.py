from app.database import SessionFactory
from app.desk import add_user, titles


async def test_a_user_begins_without_reports():
    async with SessionFactory() as session:
        assert await titles(session, await add_user(session, "nora")) == []
