from sqlalchemy.ext.asyncio import create_async_engine


async def test_cleans_up():
    create_async_engine("postgresql+asyncpg://").dispose()
