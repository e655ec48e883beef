"""What lessons 09 and 10 do with files and processes, so that its cells can be about cures."""

from __future__ import annotations

import ast
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from loopbound import scratch_database
from loopbound.database import ScratchDatabase
from loopbound.problem import Problem
from loopbound.suite import BACKEND, Listing, SuiteRun, listing, run_suites

HERE = Path(__file__).resolve().parent
FIXES = BACKEND / "fixes"

DATA = """
    insert into accounts (id, email, password_hash) values (gen_random_uuid(), 'mina@example.org', 'unusable');
    insert into analysis_tasks (id, owner_id, description)
    select lpad(to_hex(n), 32, '0')::uuid, accounts.id, 'An app for notes' from accounts, generate_series(1, 40) n;
"""


def tasks_database() -> ScratchDatabase:
    """A scratch database with the backend's tables, one account, and forty pending tasks whose ids are 1 to 40."""
    return scratch_database("tasks", schema=(BACKEND / "schema.sql").read_text(encoding="utf-8") + DATA)


def side_by_side(db: ScratchDatabase, programs: Mapping[str, tuple[str, int, str, str]]) -> dict[str, list[str]]:
    """Run programs of `programs/`, two at a time, each in a process of its own; the lines that each has printed.

    programs
        Name of the run → program, number of its first task, its cure ("" for none), the engine's pool ("queue" or "null").
    """

    def lines(given: tuple[str, int, str, str]) -> list[str]:
        program, first, cure, pool = given
        settings = {
            "DATABASE_URL": db.url,
            "SIGNAL_SCANNER_POOL": pool,
            "PYTHONPATH": str(BACKEND),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, str(HERE / "programs" / f"{program}.py"), str(first), cure]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip() or "It said nothing.").splitlines()[-1]
            raise Problem(f"cures/programs/{program}.py ended with exit code {done.returncode}.\nIt says: {last}")
        return done.stdout.splitlines()

    with ThreadPoolExecutor(2) as two:
        return dict(zip(programs, two.map(lines, programs.values())))


def files(*folders: Path | str) -> dict[str, str]:
    """Name → text of the Python and configuration files below folders: of `fixes/`, or of this folder."""
    found = {}
    for folder in folders:
        top = HERE / folder if (HERE / folder).is_dir() else FIXES / folder
        found |= {
            path.relative_to(top).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(top.rglob("*.*"))
            if path.suffix in (".py", ".toml", ".ini")
        }
    return found


def show(folder: str, begin: str = "@pytest.fixture") -> Listing:
    """The tests' file of a folder, as a notebook shows it: a cure's fixtures, or tests."""
    [text] = [text for name, text in files(folder).items() if name.startswith("tests/")]
    return listing(text, begin)


def fixture(folder: str, name: str, file: str = "tests/conftest.py") -> Listing:
    """One fixture, or another function, of a cure or a recipe, as a notebook shows it."""
    text = files(folder)[file]
    [found] = [node for node in ast.walk(ast.parse(text)) if getattr(node, "name", "") == name]
    first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    return listing("\n".join(text.splitlines()[first - 1 : found.end_lineno]))


def places(words: str) -> list[str]:
    """The application's files in which these words stand."""
    return [name for name, text in files(BACKEND / "app").items() if words in text]


def run_with(cures: Sequence[str], *more: str, **options: object) -> dict[str, SuiteRun]:
    """Run the backend's suite with each of these cures, or as found, see `run_suites`.

    more
        Folders with tests; they alone are run.
    """
    overlays = [files(*([] if cure == "as found" else [cure]), *more) for cure in cures]
    tests = [name for name in files(*more) if name.startswith("tests/")]
    jobs = [{"project": BACKEND, "overlay": overlay, "tests": tests, "trace": True, **options} for overlay in overlays]
    return dict(zip(cures, run_suites(jobs), strict=True))


def quickest(runs: Iterable[SuiteRun]) -> dict[str, float]:
    """Test → its seconds in the run where it was quickest: what else a machine does can only slow a test down."""
    seconds: dict[str, float] = {}
    for run in runs:
        for test in run.tests:
            seconds[test.id] = min(test.seconds, seconds.get(test.id, test.seconds))
    return seconds


def ratios(own: Mapping[str, float], floor: Mapping[str, float], tests: Iterable[str]) -> tuple[float, float, float]:
    """Median and quartiles (low, high) of the tests' times, each divided by the same test's time on the floor."""
    low, middle, high = statistics.quantiles([own[test] / floor[test] for test in tests], n=4)
    return middle, low, high


def judged(first: SuiteRun, second: SuiteRun) -> list[str | tuple[str, str]]:
    """Three cells of a verdict table, of a cure's runs in two orders: tests passed, connections
    opened in the first, sessions left at the server. One test polls against the clock: its
    connections are left out.
    """
    passed = f"{len(first.passed)} and {len(second.passed)}"
    counted = [event for event in first.trace if "time_limit" not in event.test]
    return [
        ("good" if passed == "33 and 33" else "bad", passed),
        str(sum(event.kind == "connect" for event in counted)),
        ("partly", "some: the pool is not disposed of") if first.leftovers else ("good", "none"),
    ]


def opened(run: SuiteRun, test: str = "") -> int:
    """How many connections a test opened, found by a word of its name; default: all tests."""
    return sum(event.kind == "connect" and test in event.test for event in run.trace)


def most_at_once(run: SuiteRun, test: str) -> int:
    """How many connections a test had open at the same time, at most."""
    step = {"connect": 1, "close": -1}
    return max(accumulate(step.get(event.kind, 0) for event in run.trace if test in event.test))


def works(row: list[str] | None) -> str | tuple[str, str]:
    """A row of outcomes as a cell of a verdict table; a dash where nothing was measured."""
    return "–" if row is None else ("good", "works") if set(row) == {"ok"} else ("bad", "fails")


async def engine_lap(url: str) -> tuple[float, float]:
    """Milliseconds to make an engine, and to check its first connection out."""
    begin = time.perf_counter()
    engine = create_async_engine(url)
    made = time.perf_counter()
    async with engine.connect():
        connected = time.perf_counter()
    await engine.dispose()
    return 1000 * (made - begin), 1000 * (connected - made)
