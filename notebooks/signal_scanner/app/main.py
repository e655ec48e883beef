"""The application: `uvicorn app.main:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api import analyze, auth, reports, status, stream
from app.db import session as db


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await db.engine.dispose()


app = FastAPI(title="Signal Scanner", lifespan=lifespan)
for module in (auth, analyze, status, reports, stream):
    app.include_router(module.router)
