from app.db import session as db
from sqlalchemy import text

open_streams = {}


async def test_stream_opens():
    session = open_streams["mina"] = db.SessionFactory()
    await session.execute(text("select count(*) from accounts"))


async def test_accounts_can_be_emptied():
    async with db.session_scope() as session:
        # Fail after half a second, in place of waiting for ever.
        await session.execute(text("set local lock_timeout = '500ms'"))
        await session.execute(text("truncate accounts cascade"))
