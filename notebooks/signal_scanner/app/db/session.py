"""The engine, and sessions on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.config import settings


def _create_engine() -> AsyncEngine:
    options: dict[str, Any] = {"pool_pre_ping": settings.pool_pre_ping}
    if settings.pool == "null":
        options["poolclass"] = NullPool
    return create_async_engine(settings.database_url, **options)


engine: AsyncEngine = _create_engine()
SessionFactory = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    """A session for one request (a FastAPI dependency). Who writes commits."""
    async with SessionFactory() as session:
        yield session


@asynccontextmanager
async def session_scope() -> AsyncIterator[AsyncSession]:
    """A session for one piece of work outside a request: commits at the end, rolls back on an error."""
    async with SessionFactory() as session, session.begin():
        yield session
