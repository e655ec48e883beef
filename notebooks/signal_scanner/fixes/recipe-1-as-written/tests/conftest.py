"""
全局测试配置和Fixture定义

这个conftest.py解决了异步事件循环问题:
1. 统一管理所有fixture,消除重复
2. 自动清理AsyncEngine连接池
3. 正确配置pytest-asyncio
"""
from __future__ import annotations

import sys
from pathlib import Path
from typing import AsyncIterator

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

# 设置Python路径
ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


# ============================================================
# pytest-asyncio配置
# ============================================================

def pytest_configure(config):
    """配置pytest-asyncio为auto模式"""
    config.option.asyncio_mode = "auto"


@pytest.fixture(scope="function")
def anyio_backend() -> str:
    """指定anyio使用asyncio后端"""
    return "asyncio"


# ============================================================
# 核心Fixture: 自动清理Engine (解决事件循环问题)
# ============================================================

@pytest.fixture(scope="function", autouse=True)
async def cleanup_engine():
    """
    每个测试后自动清理AsyncEngine连接池

    这是解决事件循环问题的关键:
    1. autouse=True: 自动应用到所有测试
    2. engine.dispose(): 关闭所有连接,释放资源
    3. 下个测试运行时,连接池在新循环中重新初始化

    原理:
    - AsyncEngine的连接池包含绑定到特定事件循环的Future对象
    - dispose()释放这些Future,避免"attached to different loop"错误
    """
    from app.db.session import engine

    yield  # 测试运行

    # 测试完成后清理
    await engine.dispose()


# ============================================================
# 数据库Session Fixture
# ============================================================

@pytest.fixture(scope="function")
async def db_session() -> AsyncIterator[AsyncSession]:
    """
    提供数据库session,测试结束后自动清理

    注意:
    - 不需要手动dispose engine (已由cleanup_engine处理)
    - scope="function"确保每个测试独立session
    """
    from app.db.session import SessionFactory

    async with SessionFactory() as session:
        yield session


# ============================================================
# HTTP客户端Fixture
# ============================================================

@pytest.fixture(scope="function")
async def client(db_session: AsyncSession) -> AsyncIterator[AsyncClient]:
    """
    提供FastAPI测试客户端

    依赖db_session确保:
    1. 数据库session先创建
    2. 客户端使用同一个session (通过dependency override)
    """
    from app.db.session import get_session
    from app.main import app

    async def override_get_session() -> AsyncIterator[AsyncSession]:
        """覆盖FastAPI的get_session依赖"""
        async with SessionFactory() as session:
            yield session

    # 注入依赖
    app.dependency_overrides[get_session] = override_get_session

    # 创建客户端
    transport = ASGITransport(app=app)
    async with AsyncClient(
        transport=transport,
        base_url="http://testserver"
    ) as test_client:
        yield test_client

    # 清理依赖覆盖
    app.dependency_overrides.pop(get_session, None)


# ============================================================
# 标记配置
# ============================================================

# 为所有异步测试自动添加asyncio标记
pytestmark = pytest.mark.asyncio
