# tests/conftest.py
"""显式管理事件循环和engine生命周期"""
from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import AsyncIterator, Generator

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="function")
def event_loop() -> Generator[asyncio.AbstractEventLoop, None, None]:
    """
    为每个测试创建新的事件循环

    这确保:
    1. 每个测试有独立的循环
    2. 测试间完全隔离
    3. 循环在测试后正确关闭
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    yield loop

    # 清理循环
    try:
        # 取消所有pending任务
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()

        # 运行直到所有任务取消
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))

        # 关闭循环
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


@pytest.fixture(scope="function", autouse=True)
async def reset_engine(event_loop: asyncio.AbstractEventLoop):
    """
    在新事件循环中重置engine

    机制:
    1. 测试前: dispose旧engine,在新循环中创建新engine
    2. 测试后: dispose清理
    """
    from app.db import session

    # 清理旧engine (如果存在)
    if hasattr(session, 'engine'):
        await session.engine.dispose()

    # 在新循环中创建engine
    session.engine = session._create_engine()

    yield

    # 测试后清理
    await session.engine.dispose()


@pytest.fixture(scope="function")
async def db_session(
    event_loop: asyncio.AbstractEventLoop
) -> AsyncIterator[AsyncSession]:
    """提供数据库session"""
    from app.db.session import SessionFactory

    async with SessionFactory() as session:
        yield session


@pytest.fixture(scope="function")
async def client(
    event_loop: asyncio.AbstractEventLoop
) -> AsyncIterator[AsyncClient]:
    """提供HTTP测试客户端"""
    from app.db.session import SessionFactory, get_session
    from app.main import app

    async def override_get_session() -> AsyncIterator[AsyncSession]:
        async with SessionFactory() as session:
            yield session

    app.dependency_overrides[get_session] = override_get_session
    transport = ASGITransport(app=app)

    async with AsyncClient(transport=transport, base_url="http://testserver") as test_client:
        yield test_client

    app.dependency_overrides.pop(get_session, None)
