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


async def audit():
    await asyncio.sleep(0.2)
    async with SessionFactory.begin() as session:
        await session.execute(MINA)


async def test_starts_an_audit():
    asyncio.create_task(audit())


async def test_still_empty(session):
    for _ in range(40):
        await asyncio.sleep(0.1)
        assert await session.scalar(ACCOUNTS) == 0
