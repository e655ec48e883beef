"""Small projects as texts of files, for the tests of the scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DATABASE = """
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
engine = create_async_engine("postgresql+asyncpg://db/app", pool_pre_ping=True)
Session = async_sessionmaker(engine)
async def get_db():
    async with Session() as session:
        yield session
async def count():
    async with Session() as session:
        return await session.scalar("select 1")
"""
CHOSEN = DATABASE.replace(
    'engine = create_async_engine("postgresql+asyncpg://db/app", pool_pre_ping=True)',
    """from sqlalchemy.pool import NullPool
from app.config import settings
def make():
    options = {"pool_pre_ping": True}
    if settings.pool == "null":
        options["poolclass"] = NullPool
    return create_async_engine("postgresql+asyncpg://db/app", **options)
engine = make()""",
)
TESTS = """
from app.database import count
async def test_one():
    assert await count() == 1
async def test_two():
    assert await count() == 1
"""
MARKED = TESTS.replace(
    "async def", '@pytest.mark.asyncio(loop_scope="session")\nasync def'
).replace("from app", "import pytest\nfrom app")
AUTO = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
SESSION = AUTO.replace("= function", "= session") + "asyncio_default_test_loop_scope = session\n"
FIXTURE_ONLY = AUTO.replace("= function", "= session")
LATEST = "pytest-asyncio==1.5.0\nasyncpg==0.32.0\n"
OVERRIDE = """
import asyncio, pytest
@pytest.fixture(scope="session")
def event_loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()
"""
SESSION_FIXTURE = """
import pytest_asyncio
from app.database import Session
@pytest_asyncio.fixture
async def db_session():
    async with Session() as session:
        yield session
"""
USES_SESSION = """
async def test_one(db_session):
    await db_session.execute("select 1")
async def test_two(db_session):
    await db_session.execute("select 1")
"""
ROUTES = """
from fastapi import Depends, FastAPI
from app.database import get_db
app = FastAPI()
@app.get("/rows")
async def rows(db=Depends(get_db)):
    return await db.scalar("select 1")
"""
CLIENT = """
from fastapi.testclient import TestClient
from app.main import app
client = TestClient(app)
def test_one():
    assert client.get("/rows").json() == 1
def test_two():
    assert client.get("/rows").json() == 1
"""
TASK = """
import asyncio
from celery import shared_task
from app.database import count
@shared_task
def nightly():
    return asyncio.run(count())
"""
BASE = {"requirements.txt": LATEST, "app/__init__.py": "", "app/database.py": DATABASE}
SUITE = {**BASE, "pytest.ini": AUTO, "tests/test_it.py": TESTS}


def build(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
