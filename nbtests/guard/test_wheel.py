"""The package as a team installs it: a wheel, in environments that have only what a suite has.

Each environment is one process; uv makes them, and keeps what it has made.
"""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopbound.cli import TOOLS
from loopbound.database import scratch_database
from loopbound.suite.run import UNWANTED

ENGINE = """
import os
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
engine = create_async_engine(os.environ["DATABASE_URL"])
async def ask():
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
"""
ASYNCPG = """
import asyncpg, os
pools = []
async def ask():
    if not pools:
        address = os.environ["DATABASE_URL"].replace("+asyncpg", "")
        pools.append(await asyncpg.create_pool(address, min_size=1, max_size=1))
    await pools[0].fetchval("SELECT 1")
"""
PSYCOPG = """
import os
from psycopg_pool import AsyncConnectionPool
pools = []
async def ask():
    if not pools:
        address = os.environ["DATABASE_URL"].replace("+asyncpg", "")
        pools.append(AsyncConnectionPool(address, min_size=1, max_size=1, open=False))
        await pools[0].open(wait=True)
    async with pools[0].connection() as connection:
        await connection.execute("SELECT 1")
"""
QUEUE = """
import asyncio
queue = asyncio.Queue()
async def ask():
    task = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(1)
    await task
"""
ASYNC = "from db import ask\nasync def test_1(): await ask()\nasync def test_2(): await ask()\n"
MARKED = "import pytest\npytestmark = pytest.mark.{}\n" + ASYNC
SYNC = "import asyncio\nfrom db import ask\ndef test_1(): asyncio.run(ask())\ndef test_2(): asyncio.run(ask())\n"

# packages, db.py, test_row.py, further words, and what is said: kind, the cure's beginning
ENVIRONMENTS: dict[str, tuple[list[str], str, str, list[str], tuple[str, str]]] = {
    "pytest-7": (
        [
            "pytest==7.4.4",
            "pytest-asyncio==0.21.2",
            "sqlalchemy[asyncio]==1.4.54",
            "asyncpg==0.29.0",
        ],
        ENGINE,
        MARKED.format("asyncio"),
        [],
        ("engine-in-a-row", "dispose: "),
    ),
    "pytest-8": (
        [
            "pytest==8.3.5",
            "pytest-asyncio==0.24.0",
            "sqlalchemy[asyncio]==2.0.41",
            "asyncpg==0.30.0",
        ],
        ENGINE,
        MARKED.format("asyncio"),
        ["-o", "asyncio_default_fixture_loop_scope=function"],
        ("engine-in-a-row", "dispose: "),
    ),
    "pytest-9": (
        [
            "pytest==9.*",
            "pytest-asyncio==1.*",
            "sqlalchemy[asyncio]==2.1.*",
            "asyncpg",
            "pytest-randomly",
        ],
        ENGINE,
        MARKED.format("asyncio"),
        ["-p", "randomly", "-p", "no:anyio"],
        ("engine-in-a-row", "session-loop: "),
    ),
    "anyio": (
        ["pytest==8.*", "anyio==4.*", "asyncpg"],
        ASYNCPG,
        MARKED.format("anyio"),
        [],
        ("asyncpg-pool", "client-per-test: "),
    ),
    "psycopg": (
        ["pytest==9.*", "pytest-asyncio==1.*", "psycopg[binary,pool]"],
        PSYCOPG,
        MARKED.format("asyncio"),
        [],
        ("psycopg-pool", "session-loop: "),
    ),
    "none": (["pytest==7.4.4"], QUEUE, SYNC, [], ("contended-primitive", "make-inside: ")),
}
UV = shutil.which("uv", path=os.path.dirname(sys.executable))


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built as for an index."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database's address."""
    with scratch_database("wheel") as scratch:
        yield scratch.url


def run(
    wheel: Path, packages: list[str], folder: Path, url: str, *words: str
) -> subprocess.CompletedProcess[str]:
    """A command in an environment of the wheel and these packages."""
    kept = {name: value for name, value in os.environ.items() if not UNWANTED.match(name)}
    given = [word for package in [str(wheel), *packages] for word in ("--with", package)]
    command = [str(UV), "run", "-q", "--no-project", "--isolated", "--python", sys.executable]
    return subprocess.run(
        [*command, *given, *words],
        cwd=folder,
        env={**kept, "DATABASE_URL": url, "COLUMNS": "200"},
        capture_output=True,
        encoding="utf-8",
    )


def test_a_wheel_needs_no_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        said = email.message_from_bytes(archive.read(name))
    needed = [line for line in said.get_all("Requires-Dist") if "extra ==" not in line]
    assert needed == []
    assert {"course", "test"} <= set(said.get_all("Provides-Extra"))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_guard_in_a_bare_environment(name: str, wheel: Path, url: str, tmp_path: Path) -> None:
    packages, db, tests, words, (kind, cure) = ENVIRONMENTS[name]
    (tmp_path / "db.py").write_text(db.lstrip("\n"), "utf-8")
    (tmp_path / "test_row.py").write_text(tests, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
    done = run(
        wheel, packages, tmp_path, url,
        "python", "-m", "pytest", "-q", "--basetemp=tmp", "--loop-guard-report=out.json", *words,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (tmp_path / "out.json").is_file(), said
    report: dict[str, Any] = json.loads((tmp_path / "out.json").read_text("utf-8"))
    # A pool of psycopg_pool for which nothing waits gets away with it.
    (found,) = report["notes" if name == "psycopg" else "crossings"]
    assert (found["kind"], found["cure"][: len(cure)]) == (kind, cure), said
    assert done.returncode == (0 if name == "psycopg" else 1), said
    assert report["guard_failed"] == ""
    # The order may be a random one.
    assert {found["born"]["test"].partition("::")[2][:6], found["test"].partition("::")[2][:6]} == {
        "test_1",
        "test_2",
    }


def test_the_tools_are_there_and_a_command_of_the_course_says_what_is_missing(
    wheel: Path, url: str, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(
        "RuntimeError: Task <Task pending> got Future <Future pending> attached to a different loop"
    )
    explained = run(wheel, [], tmp_path, url, "loopbound", "explain", "log")
    assert explained.returncode == 0 and "cure:" in explained.stdout, explained.stderr
    named = run(wheel, [], tmp_path, url, "loopbound")
    assert re.findall(r"^    (\w+)\b", named.stdout, re.MULTILINE) == list(TOOLS), named.stderr
    assert "pytest --loop-guard" in named.stdout
    refused = run(wheel, [], tmp_path, url, "loopbound", "doctor")
    assert refused.returncode == 1
    assert "belongs to the course, which is not installed" in refused.stderr


def test_stability_in_a_bare_environment_with_plugins_that_reorder(
    wheel: Path, url: str, tmp_path: Path
) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    for name in names:
        (tmp_path / f"test_{name}.py").write_text(
            "def test_1(): pass\ndef test_2(): pass\n", "utf-8"
        )
    packages = ["pytest==7.4.4", "pytest-randomly", "pytest-random-order", "pytest-xdist"]
    done = run(
        wheel, packages, tmp_path, url,
        "loopbound", "stability", "--format=json", "--orders=1", "--", "-n2", "--random-order",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    own, backwards, mixed = [order["tests"] for order in json.loads(done.stdout)["orders"]]
    assert own == [f"test_{name}.py::test_{number}" for name in names for number in (1, 2)]
    assert backwards == own[::-1] and sorted(mixed) == own
