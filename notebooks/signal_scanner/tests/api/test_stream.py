"""Following an analysis by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import settings
from app.core.security import create_access_token
from app.db.models import Account, AnalysisTask
from app.db.session import SessionFactory, get_session
from app.main import app
from app.services.task_system import TaskState


@pytest.fixture()
async def db_session() -> AsyncIterator[AsyncSession]:
    async with SessionFactory() as session:
        yield session


@pytest.fixture()
async def client() -> AsyncIterator[AsyncClient]:
    async def override_get_session() -> AsyncIterator[AsyncSession]:
        async with SessionFactory() as session:
            yield session

    app.dependency_overrides[get_session] = override_get_session
    transport = ASGITransport(app=app)
    async with AsyncClient(transport=transport, base_url="http://testserver") as test_client:
        yield test_client
    app.dependency_overrides.pop(get_session, None)


def _issue_token(account_id: UUID) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_access_token(account_id)}"}


async def _create_account(session: AsyncSession) -> Account:
    account = Account(email=f"{uuid4().hex}@example.org", password_hash="unusable")
    session.add(account)
    await session.flush()
    return account


async def _prepare_task(session: AsyncSession, state: TaskState, **more: str) -> AnalysisTask:
    """A stored task with an owner of its own."""
    owner = await _create_account(session)
    task = AnalysisTask(owner_id=owner.id, description="A calendar that plans around school runs", state=state, **more)
    session.add(task)
    await session.commit()
    await session.refresh(task)
    return task


def _events(text: str) -> list[str]:
    return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]


async def test_sse_connection_and_completion(client: AsyncClient, db_session: AsyncSession) -> None:
    task = await _prepare_task(db_session, TaskState.COMPLETED)
    response = await client.get(f"/api/stream/{task.id}", headers=_issue_token(task.owner_id))
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert _events(response.text) == ["connected", "completed"]


async def test_sse_ends_at_its_time_limit(
    client: AsyncClient, db_session: AsyncSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "stream_poll_seconds", 0.01)
    monkeypatch.setattr(settings, "stream_time_limit", 0.05)
    task = await _prepare_task(db_session, TaskState.RUNNING)
    async with asyncio.timeout(3):  # a stream without an end fails here rather than hangs
        response = await client.get(f"/api/stream/{task.id}", headers=_issue_token(task.owner_id))
    assert _events(response.text) == ["connected", "timeout"]


async def test_sse_requires_token(client: AsyncClient) -> None:
    response = await client.get(f"/api/stream/{uuid4()}")
    assert response.status_code == 401
