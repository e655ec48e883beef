"""Whole journeys through the application, each more than once, so that no loop is the only one. Docstrings are what feedback may tell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from app.core.config import settings
from app.core.security import create_access_token
from app.db.models import Account, AnalysisTask
from app.db.session import get_session, session_scope
from app.main import app
from app.services.analysis import run_analysis
from httpx import ASGITransport, AsyncClient
from sqlalchemy import select


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "password_profile", "CHEAPEST")


@pytest.fixture()
async def browser() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://testserver") as browser:
        yield browser


@pytest.fixture()
async def stored_at_the_end() -> AsyncIterator[list[UUID]]:
    """Its last lines use the database when the test is over."""
    wanted: list[UUID] = []
    yield wanted
    async with session_scope() as session:
        assert len((await session.scalars(select(AnalysisTask.id).where(AnalysisTask.id.in_(wanted)))).all()) == len(wanted)


async def _signed_up(browser: AsyncClient) -> dict[str, str]:
    credentials = {"email": f"{uuid4().hex}@example.org", "password": "a long enough password"}
    assert (await browser.post("/api/auth/register", json=credentials)).status_code == 201
    token = (await browser.post("/api/auth/login", json=credentials)).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def test_which_driver() -> None:
    """the database that the application's sessions speak to"""
    async with session_scope() as session:
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        module = type(raw.driver_connection).__module__
        assert module.startswith("asyncpg."), f"driver: {module.partition('.')[0]}"


async def test_which_driver_for_requests() -> None:
    """the database that the application's requests speak to"""
    async for session in get_session():
        raw = await (await session.connection()).get_raw_connection()
        module = type(raw.driver_connection).__module__
        assert module.startswith("asyncpg."), f"driver: {module.partition('.')[0]}"


@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_from_sign_up_to_report(browser: AsyncClient, turn: int) -> None:
    """a whole journey, from the sign-up to the report, three times"""
    headers = await _signed_up(browser)
    accepted = await browser.post("/api/analyze", json={"description": "Backup and sync for a home server"}, headers=headers)
    task_id = accepted.json()["task_id"]
    assert await run_analysis(UUID(task_id)) == "completed"
    followed = await browser.get(f"/api/stream/{task_id}", headers=headers)
    assert "event: completed" in followed.text
    report = (await browser.get(f"/api/reports/{task_id}", headers=headers)).json()
    assert report["keywords"] == ["backup", "sync", "home", "server"]


@pytest.mark.parametrize("turn", [1, 2])
async def test_rows_of_a_late_fixture(browser: AsyncClient, stored_at_the_end: list[UUID], turn: int) -> None:
    """a fixture that uses the database when its test is over"""
    headers = await _signed_up(browser)
    accepted = await browser.post("/api/analyze", json={"description": "Charts and statistics for teams"}, headers=headers)
    stored_at_the_end.append(UUID(accepted.json()["task_id"]))


async def test_a_report_of_somebody_else(browser: AsyncClient) -> None:
    """a report that belongs to somebody else"""
    async with session_scope() as session:
        account = Account(email=f"{uuid4().hex}@example.org", password_hash="unusable")
        session.add(account)
        await session.flush()
        task = AnalysisTask(owner_id=account.id, description="An app that is nobody else's business", state="completed")
        session.add(task)
    headers = {"Authorization": f"Bearer {create_access_token(uuid4())}"}
    assert (await browser.get(f"/api/reports/{task.id}", headers=headers)).status_code == 403


async def test_shutdown() -> None:
    """the application's start and shutdown"""
    async with app.router.lifespan_context(app):
        pass
