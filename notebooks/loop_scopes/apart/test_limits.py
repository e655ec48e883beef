import asyncio

import pytest
from app.db.session import SessionFactory
from sqlalchemy import text

ACCOUNTS = text("select count(*) from accounts")
MINA = text("insert into accounts values (gen_random_uuid(), 'mina', '')")


@pytest.fixture
async def session():
    async with SessionFactory() as session:
        yield session
        await session.rollback()


async def test_now_moves_on(session):
    async with SessionFactory() as early:
        first = await early.scalar(text("select now()"))
    assert await session.scalar(text("select now()")) > first


async def test_a_forgotten_commit_is_noticed(session):
    await session.execute(MINA)
    async with SessionFactory() as another:
        assert await another.scalar(ACCOUNTS) == 0


async def test_two_at_once():
    async def request():
        async with SessionFactory.begin() as session:
            await session.scalar(ACCOUNTS)

    await asyncio.gather(request(), request())
