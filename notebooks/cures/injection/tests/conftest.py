import pytest
from app.core.config import settings
from app.db.session import get_session
from app.main import app
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine


@pytest.fixture
async def sessions():
    engine = create_async_engine(settings.database_url)
    yield async_sessionmaker(engine, expire_on_commit=False)
    await engine.dispose()


@pytest.fixture
async def db_session(sessions):
    async with sessions() as session:
        yield session


@pytest.fixture
async def client(sessions):
    async def session_of_this_test():
        async with sessions() as session:
            yield session

    app.dependency_overrides[get_session] = session_of_this_test
    transport = ASGITransport(app)
    async with AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client
    del app.dependency_overrides[get_session]
