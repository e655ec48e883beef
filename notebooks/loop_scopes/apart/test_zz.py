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


async def test_mina_registers(session):
    await session.execute(MINA)
    await session.commit()


async def test_empty_again(session):
    assert await session.scalar(ACCOUNTS) == 0
