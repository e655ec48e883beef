import os
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(os.environ["DATABASE_URL"], **options)


@asynccontextmanager
async def lifespan(app):
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/users")
async def users():
    async with engine.connect() as connection:
        return await connection.scalar(text("select count(*) from users"))


def ask_twice(client):
    assert client.get("/users").json() == 3
    assert client.get("/users").json() == 3


def test_one():
    if CURE == "client-with":
        with TestClient(app) as client:
            ask_twice(client)
    else:
        ask_twice(TestClient(app))


def test_two():
    test_one()
