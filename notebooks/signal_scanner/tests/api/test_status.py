"""Asking how far an analysis is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

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


async def test_get_status_returns_state_and_error(client: AsyncClient, db_session: AsyncSession) -> None:
    task = await _prepare_task(db_session, TaskState.FAILED, error="The source did not answer.")
    response = await client.get(f"/api/status/{task.id}", headers=_issue_token(task.owner_id))
    assert response.status_code == 200
    assert response.json()["state"] == "failed"
    assert response.json()["error"] == "The source did not answer."


async def test_get_status_forbidden(client: AsyncClient, db_session: AsyncSession) -> None:
    task = await _prepare_task(db_session, TaskState.PENDING)
    response = await client.get(f"/api/status/{task.id}", headers=_issue_token(uuid4()))
    assert response.status_code == 403


async def test_get_status_requires_token(client: AsyncClient) -> None:
    response = await client.get(f"/api/status/{uuid4()}")
    assert response.status_code == 401
