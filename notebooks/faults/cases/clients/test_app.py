"""An application with one client for all its requests, under Starlette's TestClient."""

from contextlib import asynccontextmanager

from clients import CURE, library
from fastapi import FastAPI
from fastapi.testclient import TestClient

shared = []


@asynccontextmanager
async def lifespan(app):
    if CURE == "client-with":
        shared.append(await library.make())
    yield
    if CURE == "client-with":
        await library.close(shared.pop())


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def answer():
    if CURE == "client-per-loop":
        own = await library.make()
        try:
            return await library.use(own)
        finally:
            await library.close(own)
    if not shared:
        shared.append(await library.make())
    await library.use(shared[0])


def ask(client):
    for _ in range(3):
        assert client.get("/").status_code == 200


def test_one():
    if CURE == "client-with":
        with TestClient(app) as client:
            ask(client)
    else:
        ask(TestClient(app))


def test_two():
    test_one()
