"""
Function-scoped AsyncEngine,彻底消除全局状态

优点:
- 每个操作使用独立engine,100%避免事件循环冲突
- 代码清晰,无隐式依赖
- 适合测试环境,隔离性强

缺点:
- 每次创建engine有开销 (~10ms)
- 无法复用连接池 (测试环境可接受)
"""
from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import AsyncIterator

from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

DEFAULT_DATABASE_URL = "postgresql+asyncpg://postgres:postgres@localhost:5432/reddit_scanner"
DATABASE_URL = os.getenv("DATABASE_URL", DEFAULT_DATABASE_URL)


def _create_engine() -> AsyncEngine:
    """创建新的AsyncEngine实例"""
    return create_async_engine(
        DATABASE_URL,
        pool_pre_ping=True,
        future=True,
        # 测试环境: 小连接池,快速超时
        pool_size=2,
        max_overflow=0,
        pool_timeout=5,
    )


# ❌ 删除全局engine
# engine: AsyncEngine = _create_engine()
# SessionFactory = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def get_engine() -> AsyncIterator[AsyncEngine]:
    """
    上下文管理器: 创建并清理engine

    使用方式:
        async with get_engine() as engine:
            # 使用engine
            pass
        # 自动dispose
    """
    engine = _create_engine()
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def get_session_context() -> AsyncIterator[AsyncSession]:
    """
    提供事务性session,自动commit/rollback

    使用方式:
        async with get_session_context() as session:
            # 数据库操作
            session.add(user)
            # 自动commit
    """
    async with get_engine() as engine:
        factory = async_sessionmaker(
            engine,
            expire_on_commit=False,
            class_=AsyncSession
        )
        async with factory() as session:
            try:
                yield session
                await session.commit()
            except Exception:
                await session.rollback()
                raise


async def get_session() -> AsyncIterator[AsyncSession]:
    """
    FastAPI依赖注入: 提供session

    使用方式:
        @router.get("/users")
        async def get_users(db: AsyncSession = Depends(get_session)):
            users = await db.execute(select(User))
            return users.scalars().all()
    """
    async with get_engine() as engine:
        factory = async_sessionmaker(
            engine,
            expire_on_commit=False,
            class_=AsyncSession
        )
        async with factory() as session:
            yield session


# Celery任务使用的同步wrapper
session_scope = get_session_context
