"""Accounts and tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from httpx import ASGITransport, AsyncClient
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import settings
from app.core.security import read_access_token
from app.db.models import Account
from app.db.session import SessionFactory, engine, get_session
from app.main import app

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "password_profile", "CHEAPEST")


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


@pytest.fixture(autouse=True)
async def dispose_engine_after_test() -> AsyncIterator[None]:
    try:
        yield
    finally:
        await engine.dispose()


def _credentials() -> dict[str, str]:
    return {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}


async def test_register_user_creates_account(client: AsyncClient, db_session: AsyncSession) -> None:
    credentials = _credentials()
    response = await client.post("/api/auth/register", json=credentials | {"email": credentials["email"].upper()})
    assert response.status_code == 201
    assert "password" not in response.text
    account = await db_session.get_one(Account, UUID(response.json()["id"]))
    assert account.email == response.json()["email"] == credentials["email"]
    assert PASSWORD not in account.password_hash


async def test_register_user_conflict_returns_409(client: AsyncClient, db_session: AsyncSession) -> None:
    credentials = _credentials()
    assert (await client.post("/api/auth/register", json=credentials)).status_code == 201
    second = await client.post("/api/auth/register", json=credentials | {"password": "another password"})
    assert second.status_code == 409
    same = select(func.count()).select_from(Account).where(Account.email == credentials["email"])
    assert await db_session.scalar(same) == 1


async def test_login_user_success_returns_token(client: AsyncClient) -> None:
    credentials = _credentials()
    account = (await client.post("/api/auth/register", json=credentials)).json()
    response = await client.post("/api/auth/login", json=credentials)
    assert response.status_code == 200
    assert response.json()["token_type"] == "bearer"
    assert read_access_token(response.json()["access_token"]) == UUID(account["id"])


async def test_login_user_invalid_password(client: AsyncClient) -> None:
    credentials = _credentials()
    await client.post("/api/auth/register", json=credentials)
    wrong = await client.post("/api/auth/login", json=credentials | {"password": "a wrong password"})
    unknown = await client.post("/api/auth/login", json=_credentials())
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()  # nobody learns which addresses have an account


async def test_full_auth_flow_allows_protected_endpoint(client: AsyncClient) -> None:
    credentials = _credentials()
    await client.post("/api/auth/register", json=credentials)
    token = (await client.post("/api/auth/login", json=credentials)).json()["access_token"]
    request = {"description": "A shop that sends its invoices by itself"}
    assert (await client.post("/api/analyze", json=request)).status_code == 401
    response = await client.post("/api/analyze", json=request, headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 202
