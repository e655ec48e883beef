"""Is this environment fit for the course? Plain rows, for lesson 00 and for `loopbound doctor`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

_REPAIR = "End the lab, delete the folder .venv and start again with: python3 lab.py"
DATABASE_SECONDS = (
    60  # the first start of an embedded server on a slow disk is the longest thing here
)


@dataclass(frozen=True)
class Condition:
    """One thing that was looked at. `problem` and `help` are empty when it is as it should be."""

    name: str
    found: str
    problem: str = ""
    help: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def examine() -> list[Condition]:
    """Look at Python, packages, database and fonts, in this order. Never raises for what it finds:
    that is a row.

    Starts the embedded PostgreSQL if `DATABASE_URL` is not set. Works in a cell too, where an event
    loop is running.
    """
    return [_python(), *_packages(), _database(), _fonts()]


def _python() -> Condition:
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    wanted = metadata.metadata("loopbound")["Requires-Python"]
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return Condition("Python", version)
    return Condition(
        "Python",
        version,
        f"the course needs {wanted}",
        "Run lab.py with another Python; it makes a new .venv.",
    )


def _packages() -> Iterator[Condition]:
    """The packages that lessons speak about by name, then one row for each other that is missing or
    of a wrong version.
    """
    from packaging.requirements import Requirement

    spoken_of = {"jupyterlab", "sqlalchemy", "asyncpg", "aiosqlite", "psycopg"}
    for text in metadata.requires("loopbound") or []:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": "course"}):
            continue
        repair = _REPAIR
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Condition(
                requirement.name,
                "missing",
                "it is not installed in this kernel's environment",
                repair,
            )
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield Condition(
                requirement.name, version, f"the course needs {requirement.specifier}", repair
            )
        elif requirement.name in spoken_of:
            yield Condition(requirement.name, version)


def _database() -> Condition:
    from loopbound.problem import Problem

    help = (
        "Unset DATABASE_URL to use the embedded server."
        if os.environ.get("DATABASE_URL")
        else _REPAIR
    )
    try:
        return Condition("PostgreSQL", _on_own_loop(_server_version))
    except Problem as problem:
        return Condition("PostgreSQL", "not reached", str(problem), help)
    except Exception as error:  # the reader needs a row, and no traceback on the first page
        return Condition("PostgreSQL", "not reached", f"{type(error).__name__}: {error}", help)


async def _server_version() -> str:
    import asyncpg

    from loopbound.database import scratch_database

    with scratch_database("doctor") as database:
        connection = await asyncpg.connect(database.dsn, timeout=DATABASE_SECONDS)
        try:
            return (await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()


def _on_own_loop(function: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """Run a coroutine function to its end on a new loop in a thread: a cell's own thread already
    runs one.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(function())).result()


def _fonts() -> Condition:
    from matplotlib import font_manager

    name = "DejaVu Sans"  # comes with matplotlib; the figures' text is measured with it
    try:
        font_manager.findfont(name, fallback_to_default=False)
    except ValueError:
        return Condition(
            "Fonts",
            "missing",
            f"matplotlib does not find {name}, which comes with it",
            "Remove .venv and start again with: python3 lab.py",
        )
    return Condition("Fonts", name)
