"""Asking for an analysis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from httpx import ASGITransport, AsyncClient

from app.core.security import create_access_token
from app.db.models import Account
from app.db.session import session_scope
from app.main import app
from app.services.analysis import run_analysis

DESCRIPTION = "An AI-powered note-taking app for research teams"


@pytest.fixture()
async def api() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as api:
        yield api


def _bearer(account_id: UUID, **more: timedelta) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_access_token(account_id, **more)}"}


async def test_analyze_is_accepted_and_completed(api: AsyncClient) -> None:
    async with session_scope() as session:
        account = Account(email=f"{uuid4().hex}@example.org", password_hash="unusable")
        session.add(account)
    headers = _bearer(account.id)
    accepted = await api.post("/api/analyze", json={"description": DESCRIPTION}, headers=headers)
    assert accepted.status_code == 202
    task_id = accepted.json()["task_id"]
    assert accepted.headers["Location"] == f"/api/status/{task_id}"
    assert (await api.get(f"/api/status/{task_id}", headers=headers)).json()["state"] == "pending"
    assert await run_analysis(UUID(task_id)) == "completed"  # what the worker does when the message reaches it
    report = (await api.get(f"/api/reports/{task_id}", headers=headers)).json()
    assert report["keywords"][:3] == ["ai-powered", "note-taking", "app"]
    assert "r/notetaking" in [community["name"] for community in report["communities"]]


async def test_analyze_requires_token(api: AsyncClient) -> None:
    response = await api.post("/api/analyze", json={"description": DESCRIPTION})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_analyze_rejects_expired_token(api: AsyncClient) -> None:
    headers = _bearer(uuid4(), expires_in=timedelta(seconds=-1))
    response = await api.post("/api/analyze", json={"description": DESCRIPTION}, headers=headers)
    assert response.status_code == 401


async def test_analyze_rejects_blank_description(api: AsyncClient) -> None:
    response = await api.post("/api/analyze", json={"description": " " * 40}, headers=_bearer(uuid4()))
    assert response.status_code == 422
