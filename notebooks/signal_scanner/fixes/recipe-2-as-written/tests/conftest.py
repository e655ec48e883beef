# tests/conftest.py
"""简化的conftest,因为session.py已经处理了engine生命周期"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="function")
async def db_session() -> AsyncIterator[AsyncSession]:
    """提供数据库session"""
    from app.db.session import get_session

    async for session in get_session():
        yield session


@pytest.fixture(scope="function")
async def client() -> AsyncIterator[AsyncClient]:
    """提供HTTP测试客户端"""
    from app.db.session import get_session
    from app.main import app

    async def override_get_session() -> AsyncIterator[AsyncSession]:
        async for session in get_session():
            yield session

    app.dependency_overrides[get_session] = override_get_session
    transport = ASGITransport(app=app)

    async with AsyncClient(transport=transport, base_url="http://testserver") as test_client:
        yield test_client

    app.dependency_overrides.pop(get_session, None)


pytestmark = pytest.mark.asyncio
