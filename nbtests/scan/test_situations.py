"""What the scan says of small projects: each is a twin of a situation found in real ones."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from scan_trees import (
    AUTO,
    BASE,
    CHOSEN,
    CLIENT,
    DATABASE,
    FIXTURE_ONLY,
    LATEST,
    MARKED,
    OVERRIDE,
    ROUTES,
    SESSION,
    SESSION_FIXTURE,
    SUITE,
    TASK,
    TESTS,
    USES_SESSION,
    build,
)

from loopbound.scan.scan import scan


def said(root: Path, **options: str) -> set[str]:
    """``file:line CODE severity`` of each finding that is more than a note."""
    found = scan(root, **options).findings
    return {f"{each.file}:{each.line} {each.code} {each.severity}" for each in found if each.counts}


ENGINE = "app/database.py:3 ENGINE_OVER_FUNCTION_LOOPS error"
FIXTURE = "tests/conftest.py:5 FIXTURE_TEST_LOOP_MISMATCH error"
TASK_LINE = "app/tasks.py:7 ASYNCIO_RUN_GLOBAL_ENGINE error"

SITUATIONS: dict[str, tuple[dict[str, str], set[str]]] = {
    "engine over per-test loops": (SUITE, {ENGINE}),
    "both options": ({**SUITE, "pytest.ini": SESSION}, set()),
    "marks on every test": (
        {**SUITE, "pytest.ini": FIXTURE_ONLY, "tests/test_it.py": MARKED},
        set(),
    ),
    "mark of the module": (
        {
            **SUITE,
            "tests/test_it.py": "import pytest\npytestmark = [pytest.mark.asyncio(loop_scope='session')]\n"
            + TESTS,
        },
        set(),
    ),
    "mark given at collection": (
        {
            **SUITE,
            "tests/conftest.py": "import pytest\ndef pytest_collection_modifyitems(items):\n"
            "    for item in items:\n"
            "        item.add_marker(pytest.mark.asyncio(loop_scope='session'), append=False)\n",
        },
        set(),
    ),
    "NullPool": (
        {
            **SUITE,
            "app/database.py": DATABASE.replace("pool_pre_ping=True", "poolclass=NullPool").replace(
                "\nengine", "\nfrom sqlalchemy.pool import NullPool\nengine"
            ),
        },
        set(),
    ),
    "NullPool by a setting that tests do not name": (
        {**SUITE, "app/database.py": CHOSEN},
        {"app/database.py:10 ENGINE_OVER_FUNCTION_LOOPS warning"},
    ),
    "NullPool by a setting that tests set": (
        {
            **SUITE,
            "app/database.py": CHOSEN,
            "tests/conftest.py": "import os\nos.environ['APP_POOL'] = 'null'\n",
        },
        set(),
    ),
    "NullPool by a setting of pytest-env": (
        {**SUITE, "app/database.py": CHOSEN, "pytest.ini": AUTO + "env =\n    APP_POOL=null\n"},
        set(),
    ),
    "NullPool for tests": (
        {**SUITE, "app/database.py": CHOSEN.replace("settings.pool ==", "settings.testing is")},
        set(),
    ),
    "NullPool by an argument": (
        {
            **SUITE,
            "app/database.py": CHOSEN.replace("settings.pool ==", "pool ==")
            .replace("def make():", "def make(pool):")
            .replace("= make()", "= make('null')"),
        },
        set(),
    ),
    "dispose in the same loop": (
        {
            **SUITE,
            "tests/conftest.py": "import pytest_asyncio\nfrom app.database import engine\n"
            "@pytest_asyncio.fixture(autouse=True)\nasync def clean():\n    yield\n"
            "    await engine.dispose()\n",
        },
        set(),
    ),
    "dispose in all files but one": (
        {
            **SUITE,
            "tests/test_it.py": "import pytest\nfrom app.database import engine\n"
            "@pytest.fixture(autouse=True)\nasync def clean():\n    yield\n"
            "    await engine.dispose()\n" + TESTS,
            "tests/test_other.py": TESTS.partition("async def test_two")[0],
        },
        {ENGINE.replace("error", "warning")},
    ),
    "dispose in all files but one, on one loop": (
        {
            **SUITE,
            "pytest.ini": SESSION,
            "tests/test_it.py": "import pytest\nfrom app.database import engine\n"
            "@pytest.fixture(autouse=True)\nasync def clean():\n    yield\n"
            "    await engine.dispose()\n" + TESTS,
            "tests/test_other.py": TESTS.partition("async def test_two")[0],
        },
        set(),
    ),
    "sync dispose hides it": (
        {
            **SUITE,
            "tests/conftest.py": "import pytest\nfrom app.database import engine\n"
            "@pytest.fixture(autouse=True)\ndef clean():\n    yield\n"
            "    engine.sync_engine.dispose()\n",
        },
        {
            ENGINE.replace("error", "warning"),
            "tests/conftest.py:6 SYNC_DISPOSE_ASYNC_ENGINE warning",
        },
    ),
    "one test has one loop": (
        {
            **SUITE,
            "tests/test_it.py": "from app.database import count\n"
            "async def test_one():\n    await count()\n",
        },
        set(),
    ),
    "aiosqlite gets away with it": (
        {
            **SUITE,
            "app/database.py": DATABASE.replace("postgresql+asyncpg", "sqlite+aiosqlite")
            + "# For the server: url.replace('sqlite', 'postgresql+asyncpg')\n",
        },
        set(),
    ),
    "a mocked session": (
        {
            **SUITE,
            "tests/test_it.py": "from unittest.mock import AsyncMock, patch\n"
            + TESTS.replace(
                "    assert await",
                "  with patch('app.database.Session', AsyncMock()):\n    assert await",
            ),
        },
        set(),
    ),
    "a fixture's session crosses": (
        {
            **SUITE,
            "pytest.ini": FIXTURE_ONLY,
            "tests/conftest.py": SESSION_FIXTURE,
            "tests/test_it.py": USES_SESSION,
        },
        {FIXTURE},
    ),
    **{
        f"a fixture's {made.partition('(')[0]} crosses": (
            {
                "requirements.txt": LATEST,
                "pytest.ini": FIXTURE_ONLY,
                "tests/conftest.py": f"\nimport pytest_asyncio\n{line}\n"
                "@pytest_asyncio.fixture(scope='session')\nasync def db_session():\n"
                f"    client = {made}\n    yield client\n    await client.aclose()\n",
                "tests/test_it.py": USES_SESSION,
            },
            {FIXTURE},
        )
        for line, made in (
            ("import asyncpg", "await asyncpg.create_pool()"),
            ("import redis.asyncio as redis", "redis.from_url('redis://cache')"),
            ("import redis.asyncio as redis", "redis.Redis()"),
            ("from redis.asyncio import Redis", "Redis.from_url('redis://cache')"),
            ("from pymongo import AsyncMongoClient", "AsyncMongoClient()"),
            ("import grpc.aio", "grpc.aio.insecure_channel('parcels:1')"),
        )
    },
    "a fixture's client on the loop of all tests": (
        {
            "requirements.txt": LATEST,
            "pytest.ini": SESSION,
            "tests/conftest.py": "import pytest_asyncio\nimport redis.asyncio as redis\n"
            "@pytest_asyncio.fixture(scope='session')\nasync def db_session():\n"
            "    async with redis.Redis() as client:\n        yield client\n",
            "tests/test_it.py": USES_SESSION,
        },
        set(),
    ),
    "the other way round": (
        {
            **SUITE,
            "pytest.ini": SESSION.replace(
                "fixture_loop_scope = session", "fixture_loop_scope = function"
            ),
            "tests/conftest.py": SESSION_FIXTURE,
            "tests/test_it.py": USES_SESSION,
        },
        {FIXTURE},
    ),
    "NullPool is not enough": (
        {
            **SUITE,
            "app/database.py": DATABASE.replace("pool_pre_ping=True", "poolclass=NullPool"),
            "pytest.ini": FIXTURE_ONLY,
            "tests/conftest.py": SESSION_FIXTURE,
            "tests/test_it.py": USES_SESSION,
        },
        {FIXTURE, "app/database.py:3 NULLPOOL_NOT_ENOUGH error"},
    ),
    "a fixture yields a mock": (
        {
            **SUITE,
            "pytest.ini": FIXTURE_ONLY,
            "tests/conftest.py": "import pytest_asyncio\nfrom unittest.mock import AsyncMock\n"
            "@pytest_asyncio.fixture\nasync def db_session():\n    yield AsyncMock()\n",
            "tests/test_it.py": USES_SESSION,
        },
        set(),
    ),
    "a wide fixture fills the pool": (
        {
            **SUITE,
            "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
            "tests/conftest.py": "import pytest_asyncio\nfrom app.database import engine\n"
            "@pytest_asyncio.fixture(scope='session', autouse=True)\nasync def tables():\n"
            "    async with engine.begin() as connection:\n        await connection.run_sync(print)\n",
        },
        {ENGINE, "tests/conftest.py:4 FIXTURE_TEST_LOOP_MISMATCH error"},
    ),
    "override on 1.5": (
        {**SUITE, "pytest.ini": SESSION, "tests/conftest.py": OVERRIDE},
        {"tests/conftest.py:4 DEAD_EVENT_LOOP_OVERRIDE warning"},
    ),
    "override that a sync test asks for": (
        {
            **SUITE,
            "pytest.ini": SESSION,
            "tests/conftest.py": OVERRIDE,
            "tests/test_it.py": TESTS + "def test_sync(event_loop):\n    event_loop.stop()\n",
        },
        set(),
    ),
    "override on 0.21": (
        {
            **SUITE,
            "requirements.txt": "pytest-asyncio==0.21.1\nasyncpg\n",
            "tests/conftest.py": OVERRIDE,
        },
        {"tests/conftest.py:4 EVENT_LOOP_OVERRIDE_PINNED warning"},
    ),
    "override on 0.23 with a wide fixture": (
        {
            **SUITE,
            "requirements.txt": "pytest-asyncio==0.23.8\nasyncpg\n",
            "tests/conftest.py": OVERRIDE
            + SESSION_FIXTURE.replace("fixture\nasync", "fixture(scope='session')\nasync"),
            "tests/test_it.py": USES_SESSION,
        },
        {
            "tests/conftest.py:4 EVENT_LOOP_OVERRIDE_PINNED warning",
            "tests/conftest.py:12 FIXTURE_TEST_LOOP_MISMATCH error",
        },
    ),
    "strict mode": (
        {
            **SUITE,
            "pytest.ini": SESSION.replace("auto", "strict"),
            "tests/conftest.py": SESSION_FIXTURE.replace(
                "import pytest_asyncio", "import pytest"
            ).replace("@pytest_asyncio.", "@pytest."),
            "tests/test_it.py": "import pytest\n"
            + USES_SESSION.replace("async def", "@pytest.mark.asyncio\nasync def"),
        },
        {"tests/conftest.py:5 STRICT_MODE_ASYNC_FIXTURE error"},
    ),
    "anyio: a loop a test": (
        {
            **SUITE,
            "requirements.txt": "anyio\nasyncpg\n",
            "pytest.ini": "[pytest]\n",
            "tests/test_it.py": "import pytest\npytestmark = pytest.mark.anyio\n" + TESTS,
        },
        {ENGINE},
    ),
    "anyio: one loop while a wide async fixture lives": (
        {
            **SUITE,
            "requirements.txt": "anyio\nasyncpg\n",
            "pytest.ini": "[pytest]\n",
            "tests/conftest.py": "import pytest\n@pytest.fixture(scope='session')\n"
            "def anyio_backend():\n    return 'asyncio'\n"
            "@pytest.fixture(scope='session', autouse=True)\nasync def start():\n    yield\n",
            "tests/test_it.py": "import pytest\npytestmark = pytest.mark.anyio\n" + TESTS,
        },
        set(),
    ),
    "anyio: a sync wide fixture keeps no loop": (
        {
            **SUITE,
            "requirements.txt": "anyio\nasyncpg\n",
            "pytest.ini": "[pytest]\n",
            "tests/conftest.py": "import pytest\n@pytest.fixture(scope='session', autouse=True)\n"
            "def start():\n    yield\n",
            "tests/test_it.py": "import pytest\npytestmark = pytest.mark.anyio\n" + TESTS,
        },
        {ENGINE},
    ),
    "unittest makes a loop a test": (
        {
            **SUITE,
            "tests/test_it.py": "import unittest\nfrom app.database import count\n"
            "class TestIt(unittest.IsolatedAsyncioTestCase):\n"
            "    async def test_one(self):\n        await count()\n"
            "    async def test_two(self):\n        await count()\n",
        },
        {ENGINE},
    ),
    "TestClient without with": (
        {**SUITE, "app/main.py": ROUTES, "tests/test_it.py": CLIENT},
        {"tests/test_it.py:4 TESTCLIENT_PORTAL_LOOP warning"},
    ),
    "TestClient with an override": (
        {
            **SUITE,
            "app/main.py": ROUTES,
            "tests/test_it.py": CLIENT + "app.dependency_overrides[print] = print\n",
        },
        set(),
    ),
    "TestClient for a health check": (
        {**SUITE, "app/main.py": ROUTES, "tests/test_it.py": CLIENT.replace("/rows", "/health")},
        set(),
    ),
    "a sync fixture's own loop": (
        {
            **SUITE,
            "pytest.ini": SESSION,
            "tests/conftest.py": "import asyncio, pytest\nfrom app.database import count\n"
            "@pytest.fixture(scope='session', autouse=True)\ndef seed():\n"
            "    asyncio.run(count())\n",
        },
        {"tests/conftest.py:5 LOOP_IN_SYNC_FIXTURE error"},
    ),
    "a sync fixture's loop on another fixture's engine": (
        {
            **SUITE,
            "pytest.ini": SESSION,
            "tests/conftest.py": "import asyncio, pytest\n"
            "from sqlalchemy.ext.asyncio import create_async_engine\n"
            "@pytest.fixture(scope='session')\ndef engine():\n"
            "    return create_async_engine('postgresql+asyncpg://db/test')\n"
            "@pytest.fixture(scope='session', autouse=True)\ndef tables(engine):\n"
            "    async def create():\n        async with engine.begin() as connection:\n"
            "            await connection.run_sync(print)\n    asyncio.run(create())\n",
            "tests/test_it.py": "async def test_one(engine):\n"
            "    async with engine.connect() as connection:\n        pass\n",
        },
        {"tests/conftest.py:11 LOOP_IN_SYNC_FIXTURE error"},
    ),
    "TestClient in each test's with": (
        {
            **SUITE,
            "app/main.py": ROUTES,
            "tests/conftest.py": "import pytest\nfrom fastapi.testclient import TestClient\n"
            "from app.main import app\n@pytest.fixture\ndef client():\n"
            "    with TestClient(app) as client:\n        yield client\n",
            "tests/test_it.py": CLIENT.split("client = ")[0]
            + "def test_one(client):\n    client.get('/rows')\n"
            "def test_two(client):\n    client.get('/rows')\n",
        },
        {"tests/conftest.py:6 TESTCLIENT_PORTAL_LOOP warning"},
    ),
    "TestClient whose application disposes": (
        {
            **SUITE,
            "app/main.py": ROUTES + "async def stop():\n    await engine.dispose()\n",
            "tests/conftest.py": "import pytest\nfrom fastapi.testclient import TestClient\n"
            "from app.main import app\n@pytest.fixture\ndef client():\n"
            "    with TestClient(app) as client:\n        yield client\n",
            "tests/test_it.py": "def test_one(client):\n    client.get('/rows')\n"
            "def test_two(client):\n    client.get('/rows')\n",
        },
        set(),
    ),
    "a task's own loop": ({**BASE, "app/tasks.py": TASK}, {TASK_LINE}),
    "a task that disposes": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "asyncio.run(work())")
            + "async def work():\n    await count()\n    await database.engine.dispose()\n",
        },
        set(),
    ),
    "a task on a persistent loop": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "run(count())")
            + "_loop = None\ndef run(work):\n    global _loop\n    if _loop is None:\n"
            "        _loop = asyncio.new_event_loop()\n    return _loop.run_until_complete(work)\n",
        },
        set(),
    ),
    "a helper makes the loop": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "run(count())")
            + "def run(work):\n    loop = asyncio.new_event_loop()\n"
            "    return loop.run_until_complete(work)\n",
        },
        {"app/tasks.py:9 ASYNCIO_RUN_GLOBAL_ENGINE error"},
    ),
    "a task by way of a class": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "asyncio.run(work())")
            + "async def work():\n    await Store().load()\n"
            "class Store:\n    async def load(self):\n        await count()\n",
        },
        {TASK_LINE.replace("error", "warning")},
    ),
    "a task by way of an inherited method": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "asyncio.run(store.load())")
            + "class Base:\n    async def load(self):\n        await count()\n"
            "class Store(Base):\n    pass\nstore = Store()\n",
        },
        {TASK_LINE},
    ),
    "a task that reaches no engine": (
        {
            **BASE,
            "app/tasks.py": TASK.replace("asyncio.run(count())", "asyncio.run(work())")
            + "async def work():\n    await asyncio.sleep(0)\n",
        },
        set(),
    ),
    "a command of the shell": ({**BASE, "app/tasks.py": TASK.replace("@shared_task\n", "")}, set()),
    "two loops in a row": (
        {
            **BASE,
            "run.py": "import asyncio\nfrom app.database import count\n"
            "def main():\n    asyncio.run(count())\n    asyncio.run(count())\n",
        },
        {"run.py:5 ASYNCIO_RUN_GLOBAL_ENGINE error"},
    ),
    "one loop or the other": (
        {
            **BASE,
            "run.py": "import asyncio\nfrom app.database import count\n"
            "def main(once):\n    if once:\n        asyncio.run(count())\n"
            "    else:\n        asyncio.run(count())\n",
        },
        set(),
    ),
    "work before the server starts": (
        {
            **BASE,
            "run.py": "import asyncio, uvicorn\nfrom app.database import count\n"
            "def main():\n    asyncio.run(count())\n    uvicorn.run('app.main:app')\n",
        },
        {"run.py:4 ASYNCIO_RUN_GLOBAL_ENGINE error"},
    ),
    "nested run": (
        {"a.py": "import asyncio\nasync def main():\n    asyncio.run(other())\n"},
        {"a.py:3 NESTED_ASYNCIO_RUN error"},
    ),
    "nested run in a thread": (
        {
            "a.py": "import asyncio\nasync def main():\n"
            "    await asyncio.to_thread(lambda: asyncio.run(other()))\n"
        },
        set(),
    ),
    "nested run that is to raise": (
        {
            "a.py": "import asyncio, pytest\nasync def test_it():\n"
            "    with pytest.raises(RuntimeError):\n        asyncio.run(other())\n"
        },
        set(),
    ),
    "migrations in an async fixture": (
        {
            "alembic/env.py": "import asyncio\nasyncio.run(main())\n",
            "tests/conftest.py": "import pytest_asyncio\nfrom alembic import command\n"
            "@pytest_asyncio.fixture\nasync def schema():\n    command.upgrade(config, 'head')\n",
        },
        {"tests/conftest.py:5 NESTED_ASYNCIO_RUN error"},
    ),
    "dispose after a fork": (
        {
            **BASE,
            "hooks.py": "from app.database import engine\nengine.sync_engine.dispose(close=False)\n",
        },
        set(),
    ),
    "drivers of the other kind": (
        {
            "a.py": "from sqlalchemy import create_engine\n"
            "from sqlalchemy.ext.asyncio import create_async_engine\n"
            "URL = 'postgresql+asyncpg://x'\none = create_engine(URL)\n"
            "two = create_async_engine('sqlite:///a.db')\nthree = create_engine('sqlite://')\n"
            "four = create_async_engine('postgresql+psycopg://x')\n"
        },
        {"a.py:4 OTHER_DRIVER_URL warning", "a.py:5 OTHER_DRIVER_URL warning"},
    ),
    "a committed environment": (
        {
            "deps/pyvenv.cfg": "home = /usr\n",
            "deps/lib/a.py": "import asyncio\nasync def main():\n    asyncio.run(other())\n",
            ".venv/a.py": "import asyncio\nasync def main():\n    asyncio.run(other())\n",
        },
        set(),
    ),
    "a newer Python's except": (
        {
            "a.py": "import asyncio\nasync def main():\n    try:\n        asyncio.run(other())\n"
            "    except ValueError, TypeError:\n        pass\n"
        },
        {"a.py:4 NESTED_ASYNCIO_RUN error"},
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_told_rightly(name: str, tmp_path: Path) -> None:
    files, expected = SITUATIONS[name]
    assert said(build(tmp_path, files)) == expected


def test_the_incidents_own_backend(repository: Path, tmp_path: Path) -> None:
    backend = repository / "notebooks" / "signal_scanner"
    found = said(backend)
    assert {each for each in found if "ENGINE_OVER" in each} == {
        "app/db/session.py:22 ENGINE_OVER_FUNCTION_LOOPS warning"
    }
    assert any("ASYNCIO_RUN_GLOBAL_ENGINE" in each for each in found)
    for part in (backend, backend / "fixes" / "null-pool"):
        shutil.copytree(
            part, tmp_path, ignore=shutil.ignore_patterns("fixes", "versions"), dirs_exist_ok=True
        )
    assert not any("ENGINE_OVER" in each for each in said(tmp_path))


def test_notes_are_notes(tmp_path: Path) -> None:
    root = build(
        tmp_path,
        {
            **SUITE,
            "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
            "tests/conftest.py": "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n",
            "tests/test_it.py": "async def test_one():\n    pass\n",
            **{
                f"tests/test_{n}.py": "import pytest\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
                "@pytest.fixture\ndef engine():\n    return create_async_engine(URL)\n"
                for n in "ab"
            },
        },
    )
    found = scan(root).findings
    assert {(each.code, each.severity) for each in found} == {
        ("CONFIG_SCOPE_UNSET", "info"),
        ("UNUSED_ANYIO_BACKEND", "info"),
        ("DUPLICATED_ENGINE_FIXTURE", "info"),
    }


def test_no_finding_recommends_what_does_not_cure(tmp_path: Path) -> None:
    (found,) = (each for each in scan(build(tmp_path, SUITE)).findings if each.counts)
    assert "pool_pre_ping is no protection" in found.why
    assert "pool_pre_ping" not in found.cure
    assert "asyncio_default_test_loop_scope = session in pytest.ini" in found.cure
    assert found.kind == "engine-in-a-row" and re.fullmatch(r"\d\d", found.lesson)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.5.0", "Set asyncio_default_fixture_loop_scope = session and asyncio_default_test"),
        ("0.24.0", "loop_scope='session'"),
        ("0.23.8", "scope='session'"),
        ("0.21.1", "Go to pytest-asyncio 1.3"),
    ],
)
def test_the_cure_is_one_of_this_version(version: str, words: str, tmp_path: Path) -> None:
    root = build(tmp_path, {**SUITE, "requirements.txt": f"pytest-asyncio=={version}\nasyncpg\n"})
    assert words in next(each.cure for each in scan(root).findings if each.counts)
