"""Tables are made with asyncio.run, then a server starts its loop; one engine for both."""

import asyncio
import os
import threading
import time
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"null-pool": {"poolclass": NullPool}, "pool_pre_ping": {"pool_pre_ping": True}}.get(
    CURE, {}
)
engine = create_async_engine(os.environ["DATABASE_URL"], **options)


async def start_up():
    async with engine.begin() as connection:
        await connection.execute(text("create table parcels (id int)"))
    if CURE == "dispose":
        await engine.dispose()


@asynccontextmanager
async def lifespan(app):
    if CURE == "lifespan":
        await start_up()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/parcels")
async def parcels():
    async with engine.connect() as connection:
        return await connection.scalar(text("select count(*) from parcels"))


if CURE != "lifespan":
    asyncio.run(start_up())
server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
codes = [httpx.get(f"http://127.0.0.1:{port}/parcels").status_code for _ in range(3)]
server.should_exit = True
thread.join()
raise SystemExit(codes != [200, 200, 200])
