"""Run a suite once, in a process, a folder and a database of its own, within a limit of time."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from loopbound.database import scratch_database
from loopbound.problem import Problem
from loopbound.suite.child.loopbound_child import ordered as _ordered
from loopbound.suite.process import TURN_SECONDS, Child
from loopbound.suite.project import Project, lay_out, read_text
from loopbound.suite.reading import read
from loopbound.suite.results import SuiteRun

# The plugins that a suite gets, by name and module, where its interpreter has them. xdist, for one,
# has to stay out.
PLUGINS = (
    ("asyncio", "pytest_asyncio.plugin"),
    ("anyio", "anyio.pytest_plugin"),
    ("timeout", "pytest_timeout"),
)
# Of the caller's environment: what would change how a suite runs.
UNWANTED = re.compile(
    r"(PY|COV_|COVERAGE)|(PG[A-Z]+|CI|BUILD_NUMBER|DATABASE_URL|FORCE_COLOR|NO_COLOR|CELERY_\w+)$"
)
# Variables that an interpreter or a library reads once: a run that sets one gets a fresh process.
UNFORKED = re.compile(r"PYTHON|PYDANTIC|LANG|LC_|LD_|TZ|.*(SSL|SQLALCHEMY)", re.IGNORECASE)


def run_suite(
    project: Project,
    *,
    overlay: Project | None = None,
    order: str = "default",
    tests: Sequence[str] = (),
    options: Sequence[str] = (),
    limit: float = 60.0,
    trace: bool = False,
    environment: Mapping[str, str] | None = None,
    python: str | Path | None = None,
    fresh: bool = False,
) -> SuiteRun:
    """Run a pytest project once and return what happened. It touches neither the project nor an
    event loop.

    The suite runs on a copy, with a scratch database of its own in ``DATABASE_URL``: with the
    tables of the project's ``schema.sql``, or the course's ``users`` and ``reports`` where it has
    none.

    Args:
        project: a folder, or {relative file name: text}.
        overlay: a folder or mapping that is laid over the copy. Its ``overlay.toml`` may have two
            lists: ``remove``, names of fixtures to take out of the files below ``tests/``, and
            ``delete``, names of files.
        order: "default", "reverse" or "random:SEED".
        tests: node ids to run, in this order; all without one.
        options: further words for pytest. Tracebacks come as Python prints them, which is quick;
            ``--tb=long`` is pytest's form.
        limit: seconds; a suite that needs more is ended, with its evidence, and counts as hung.
        trace: also record what happens in the connection pools.
        environment: further variables for the suite's process.
        python: an interpreter that has pytest, in place of this one.
        fresh: start it for the run. Without, the run may be forked from a process of that
            interpreter which has imported pytest and the libraries.

    Raises:
        Problem: the suite could not run: no project, a word that is wrong, nothing to collect.
    """
    return _run(
        threading.Event(),
        project,
        overlay,
        order,
        tests,
        options,
        limit,
        trace,
        environment,
        python,
        fresh,
    )


def run_suites(
    jobs: Sequence[Mapping[str, Any]],
    at_once: int = 2,
    done: Callable[[SuiteRun], None] = lambda run: None,
) -> list[SuiteRun]:
    """Run several suites, some at a time; results in the order of the jobs.

    Args:
        jobs: the arguments of `run_suite`, a mapping each.
        at_once: how many run at the same time.
        done: called with each result when it is there, in a thread.

    Raises:
        Problem: as `run_suite`; the others are ended.
    """
    stop = threading.Event()

    def one(job: Mapping[str, Any]) -> SuiteRun:
        run = _run(stop, **{**_DEFAULTS, **job})
        done(run)
        return run

    with ThreadPoolExecutor(at_once, "suite") as threads:
        futures = [threads.submit(one, job) for job in jobs]
        try:
            # In turns: Ctrl-C does not reach a thread that waits for a lock, on Windows.
            while (state := wait(futures, TURN_SECONDS, FIRST_EXCEPTION)).not_done:
                if any(future.exception() for future in state.done):
                    break
            for future in state.done:
                future.result()
            return [future.result() for future in futures]
        finally:
            stop.set()
            threads.shutdown(cancel_futures=True)


def ordered(ids: Sequence[str], order: str) -> list[str]:
    """Node ids, given in the default order, as a suite runs them in another.

    Raises:
        Problem: no such order.
    """
    return _ordered(ids, check_order(order))


def check_order(order: str) -> str:
    """`order`, if it is one.

    Raises:
        Problem: it is none.
    """
    if order in ("default", "reverse") or re.fullmatch(r"random:[0-9]{1,18}", order):
        return order
    raise Problem(
        f"There is no order {order!r}; there are: default, reverse, random:SEED (SEED is a whole"
        " number)."
    )


_DEFAULTS = dict((run_suite.__kwdefaults__ or {}).items())


def _run(
    stop: threading.Event,
    project: Project,
    overlay: Project | None,
    order: str,
    tests: Sequence[str],
    options: Sequence[str],
    limit: float,
    trace: bool,
    environment: Mapping[str, str] | None,
    python: str | Path | None,
    fresh: bool,
) -> SuiteRun:
    check_order(order)
    if not limit > 0:
        raise Problem(f"The limit is a number of seconds above 0, not {limit!r}.")
    if isinstance(tests, str) or isinstance(options, str):
        raise Problem(
            "tests and options are lists of words: tests=['tests/test_report.py::test_title']."
        )
    with tempfile.TemporaryDirectory(prefix="loopbound-suite-", ignore_cleanup_errors=True) as made:
        top = Path(made).resolve()
        copy = top / "project"
        lay_out(project, overlay, copy)
        with scratch_database("suite", schema=_schema(copy)) as scratch:
            if stop.is_set():
                raise KeyboardInterrupt
            given = {
                "order": order,
                "trace": trace,
                "limit": limit,
                "plugins": [pair for pair in PLUGINS if not _blocked(pair[0], options)],
                "words": (
                    [
                        "--rootdir",
                        str(copy),
                        *_config(copy, top),
                        "-p",
                        "no:cacheprovider",
                        "--color=no",
                        "--tb=native",
                        *options,
                        *tests,
                    ]
                ),
            }
            variables = _variables()
            own = {**variables, "DATABASE_URL": scratch.url, **(environment or {})}
            started = fresh or any(map(UNFORKED.match, environment or ()))
            warm = None if started else variables
            child = Child(_interpreter(python), copy, given, own, scratch, warm)
            try:
                child.wait(limit, stop)
            finally:
                child.end()
        return read(child, copy, secrets=[scratch.url, _password(scratch.url)])


def _schema(copy: Path) -> str | None:
    path = copy / "schema.sql"
    return read_text(path) if path.is_file() else None


def _interpreter(python: str | Path | None) -> str:
    # The suite starts in another folder; links stay, because a virtual environment's Python is one.
    return (
        os.path.abspath(python)
        if python and os.path.dirname(python)
        else str(python or sys.executable)
    )


def _blocked(name: str, options: Sequence[str]) -> bool:
    return f"-pno:{name}" in "".join(options) or f"-p=no:{name}" in options


def _variables() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not UNWANTED.match(name.upper())}
    return kept | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "110",  # the same lines in a notebook, a terminal and CI
    }


def _config(copy: Path, top: Path) -> list[str]:
    """Words that keep pytest from a folder above, where the project has no configuration."""
    if any(
        (copy / name).is_file()
        for name in ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")
    ):
        return []
    for name, section in (
        ("pyproject.toml", "[tool.pytest"),
        ("tox.ini", "[pytest]"),
        ("setup.cfg", "[tool:pytest]"),
    ):
        if (copy / name).is_file() and section in (copy / name).read_text(
            encoding="utf-8", errors="replace"
        ):
            return []
    nothing = top / "no-settings.ini"
    nothing.write_text("[pytest]\n", encoding="utf-8")
    return ["-c", str(nothing)]


def _password(url: str) -> str:
    from sqlalchemy import make_url

    return str(make_url(url).password or "")
