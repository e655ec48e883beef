from conftest import engine
from sqlalchemy import text


async def test_engine_answers():
    async with engine.connect() as connection:
        assert await connection.scalar(text("select 1")) == 1
