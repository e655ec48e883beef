import asyncio

from app.main import app
from httpx import ASGITransport, AsyncClient


async def log_in(client):
    response = await client.post("/api/auth/login", json={"email": "mina@example.org", "password": "not hers"})
    assert response.status_code == 401


async def test_twenty_in_a_row():
    async with AsyncClient(transport=ASGITransport(app), base_url="http://signal-scanner") as client:
        for _ in range(20):
            await log_in(client)


async def test_thirty_at_once():
    async with AsyncClient(transport=ASGITransport(app), base_url="http://signal-scanner") as client:
        await asyncio.gather(*[log_in(client) for _ in range(30)])


async def test_shutdown():
    async with app.router.lifespan_context(app):
        pass
