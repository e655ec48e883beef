"""The watcher in a process of its own making: a script, xdist's workers, a run that asks for
nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from loopbound import guard
from loopbound.database import scratch_database
from loopbound.guard import hooks
from loopbound.guard.watcher import LIMIT, Watcher
from loopbound.suite.run import UNWANTED

SUITE = {
    "pytest.ini": "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
    "db.py": """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine(os.environ["DATABASE_URL"])
async def ask():
    async with engine.connect() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar()
""",
    "test_a.py": """
import pytest
from db import ask
@pytest.mark.timeout(60)
async def test_1(): assert await ask() == 1
async def test_2(): assert await ask() == 1
""",
    "test_b.py": """
import pytest
from db import ask
pytestmark = pytest.mark.anyio
async def test_1(): assert await ask() == 1
async def test_2(): assert await ask() == 1
def test_sync(): pass
""",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database's address."""
    with scratch_database("guard") as scratch:
        yield scratch.url


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite's folder."""
    for name, content in SUITE.items():
        (tmp_path / name).write_text(content.lstrip("\n"), "utf-8")
    return tmp_path


def run(suite: Path, url: str, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest as its user starts it: with every plugin that is installed."""
    kept = {name: value for name, value in os.environ.items() if not UNWANTED.match(name)}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--basetemp=tmp",
            *options,
        ],
        cwd=suite,
        env={**kept, "DATABASE_URL": url, "COLUMNS": "200"},
        capture_output=True,
        encoding="utf-8",
    )


def test_workers_of_xdist_tell_the_one_that_started_them(suite: Path, url: str) -> None:
    done = run(
        suite, url, "-n2", "--dist=loadfile", "--loop-guard-report=guard.json", "--loop-guard"
    )
    report = json.loads((suite / "guard.json").read_text("utf-8"))
    crossed = {each["test"]: each for each in report["crossings"]}
    assert set(crossed) == {"test_a.py::test_2", "test_b.py::test_2[asyncio]"}, done.stdout
    assert all("made at db.py:4 (" in each["object"] for each in crossed.values())
    assert {loop["worker"] for loop in report["loops"]} == {"gw0", "gw1"}
    assert "2 crossings in 2 of 5 tests (4 loops)" in done.stdout
    assert "object: a connection of the engine made at db.py:4" in done.stdout


def test_a_page_stands_alone_and_what_is_wrong_is_said(suite: Path, url: str) -> None:
    done = run(suite, url, "-k", "test_a", "--loop-guard-report=out/guard.html")
    assert "written: out/guard.html" in done.stdout
    page = (suite / "out" / "guard.html").read_text("utf-8")
    assert page.count('<path class="x"') == page.count('<line class="c"') == 1
    assert "test_a.py::test_2" in page
    assert "engine made at db.py:4" in page and "http" not in page
    for options, said in (
        (["--loop-guard-report=guard.pdf"], "--loop-guard-report takes FILE.html or FILE.json"),
        (["-o", "loop_guard=loud"], "loop_guard is error, warn, off, not 'loud'."),
    ):
        wrong = run(suite, url, *options)
        assert (wrong.returncode, said in wrong.stderr) == (4, True), wrong.stderr


def test_who_asks_for_nothing_gets_nothing(suite: Path, url: str) -> None:
    (suite / "test_a.py").write_text(
        "import sys\n"
        "def test_silent(request):\n"
        "    there = request.config.pluginmanager.has_plugin('loop_guard')\n"
        "    assert there is ('-vv' in request.config.invocation_params.args)\n"
        "    assert not {name for name in sys.modules if name.startswith('loopbound.')} - {\n"
        "        'loopbound.guard', 'loopbound.guard.plugin'}\n"
        "    assert 'asyncpg' not in sys.modules\n",
        "utf-8",
    )
    for options in (["-vv"], ["-p", "no:loop_guard"]):
        done = run(suite, url, "test_a.py", *options)
        assert done.returncode == 0, done.stdout
        assert "loop guard" not in done.stdout


# Libraries whose next version has moved what the guard listens to.
MOVED = """
import sys
before = list(sys.meta_path)
from loopbound import guard
import asyncpg.pool
with guard.watch() as watcher:
    import psycopg_pool.pool_async
    print(watcher.broken)
print(sys.meta_path == before)
"""


def test_a_library_that_has_changed_is_imported_all_the_same(tmp_path: Path) -> None:
    for package, module in (("asyncpg", "pool"), ("psycopg_pool", "pool_async")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{module}.py").touch()
    (tmp_path / "worker.py").write_text(MOVED.lstrip("\n"), "utf-8")
    done = subprocess.run(
        [sys.executable, "worker.py"], cwd=tmp_path, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("AttributeError: ") and done.stdout.endswith("\nTrue\n")


def test_each_loop_has_a_number_of_its_own_also_when_the_first_are_forgotten() -> None:
    watcher = Watcher()
    numbers = []
    for _ in range(LIMIT + 3):
        loop = asyncio.new_event_loop()
        numbers.append(watcher.loop_of(loop).number)
        loop.close()
    assert numbers == list(range(1, LIMIT + 4))
    assert [loop.number for loop in watcher.loops] == numbers[-LIMIT:]


async def ask(engine: AsyncEngine) -> None:
    """One question."""
    async with AsyncSession(engine) as session:
        await session.execute(text("SELECT 1"))


# A program that uses its engines in one asyncio.run after another, within the guard and without.
PROGRAM = """
import asyncio, logging, os, sys
from asyncio import mixins
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool
from loopbound import guard
async def ask(engine):
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
def state():
    return asyncio.Lock.__init__, mixins._LoopBoundMixin._get_loop, AsyncEngine.__init__, list(sys.meta_path)
def once(engine):
    try:
        asyncio.run(ask(engine))
    except RuntimeError as error:
        print("failed")
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("sqlalchemy").setLevel(99)
before = state()
early = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
once(early)
with guard.watch(early):
    with guard.watch(tell=lambda said: print("told", len(said.splitlines()))) as watcher:
        late = create_async_engine(os.environ["DATABASE_URL"])
        once(early)
        once(late)
    once(late)
held = []
async def begin():
    held.append(AsyncSession(create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)))
    await held[0].execute(text("SELECT 1"))
async def go_on():
    await held[0].execute(text("SELECT 1"))
with guard.watch(tell=print):
    asyncio.run(begin())
    try:
        asyncio.run(go_on())
    except RuntimeError:
        pass
print("broken", watcher.broken)
print("back", state() == before, "do_ping" in vars(early.sync_engine.dialect), len(early.sync_engine.pool.dispatch.checkout))
"""


def test_a_script_is_told_and_everything_is_put_back(tmp_path: Path, url: str) -> None:
    (tmp_path / "worker.py").write_text(PROGRAM.lstrip("\n"), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "worker.py"],
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        encoding="utf-8",
    )
    said = done.stdout
    assert done.returncode == 0, done.stderr
    ping, row = said.split("ERROR loop crossing\n")[1:]
    assert ping.startswith("born:   on loop 1 (from before the guard); that loop is closed\n")
    assert "by the ping before a checkout\n" in ping
    assert "told 4\nfailed\n" in ping, "each who asked is told, and the program fails as ever"
    line = PROGRAM[: PROGRAM.index("late = ")].count("\n")
    assert f"object: a connection of the engine made at worker.py:{line} (" in row
    assert "cure:   one-loop: " in row
    assert "[session-object]\ncure:   session-per-use: " in row, "no option of pytest's"
    assert said.endswith("broken \nback True False 0\n")


def test_the_application_never_learns_of_the_guards_own_error(url: str) -> None:
    async def work() -> None:
        engine = create_async_engine(url, pool_pre_ping=True)
        for _ in range(2):
            await ask(engine)
        await engine.dispose()

    with guard.watch() as watcher:
        watcher.moment = lambda: 1 / 0  # type: ignore[assignment, method-assign, return-value]
        watcher.used = watcher.moment  # type: ignore[assignment, method-assign]
        asyncio.run(work())
        assert watcher.broken == "ZeroDivisionError: division by zero"
    assert hooks._running is None
