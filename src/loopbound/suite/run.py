"""Run a suite once, in a process, a folder and a database of its own, within a limit of time."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg

from loopbound.database import ScratchDatabase, Session, scratch_database
from loopbound.problem import Problem

from .project import Project, lay_out
from .reading import read
from .results import SuiteRun

CHILD = Path(__file__).parent / "child" / "loopbound_child.py"
# The plugins that a suite gets, by name and module, where its interpreter has them. xdist, for one, has to stay out.
PLUGINS = (("asyncio", "pytest_asyncio.plugin"), ("anyio", "anyio.pytest_plugin"), ("timeout", "pytest_timeout"))
# Of the caller's environment a suite must not see what would change how it runs.
UNWANTED = re.compile(r"PYTEST|PYTHON|COV_|COVERAGE|PG[A-Z]+$|(CI|BUILD_NUMBER|DATABASE_URL|FORCE_COLOR|NO_COLOR|PY_COLORS|TERM)$")
STACKS_SECONDS = 3.0  # to wait for a hung process to write its stacks
END_SECONDS = 3.0  # between asking processes to end and killing them
OUTPUT_KEPT = 500_000  # bytes, of the beginning and of the end


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
) -> SuiteRun:
    """Run a pytest project once and return what happened. It touches neither the project nor an event loop.

    The suite runs on a copy, with a scratch database of its own in ``DATABASE_URL``: the tables of the project's
    ``schema.sql``, or the course's ``users`` and ``reports`` where it has none.

    Args:
        project: a folder, or {relative file name: text}.
        overlay: a folder or mapping laid over the copy. Its ``overlay.toml`` may say ``remove``, names of fixtures to
            take out of the files below ``tests/``, and ``delete``, names of files.
        order: "default", "reverse" or "random:SEED".
        tests: node ids to run; all without one.
        options: further words for pytest.
        limit: seconds; a suite that needs more is ended, with its evidence, and counts as hung.
        trace: also record what happens in the connection pools.
        environment: further variables for the suite's process.
        python: the interpreter, with pytest; this one by default.

    Raises:
        Problem: the suite could not run: no project, a word that is wrong, nothing to collect.
    """
    return _run(threading.Event(), project, overlay, order, tests, options, limit, trace, environment, python)


def run_suites(jobs: Sequence[Mapping[str, Any]], at_once: int = 2) -> list[SuiteRun]:
    """Run several suites, some at a time; results in the order of the jobs.

    Args:
        jobs: the arguments of `run_suite`, a mapping each.
        at_once: how many run at the same time.
    """
    stop = threading.Event()

    def one(job: Mapping[str, Any]) -> SuiteRun:
        job = {"overlay": None, "order": "default", "tests": (), "options": (), "limit": 60.0, "trace": False,
               "environment": None, "python": None} | job  # fmt: skip
        return _run(stop, **job)

    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(one, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def check_order(order: str) -> str:
    """`order` if it is one.

    Raises:
        Problem: it is none.
    """
    if order in ("default", "reverse") or re.fullmatch(r"random:[0-9]{1,18}", order):
        return order
    raise Problem(f"There is no order {order!r}; there are: default, reverse, random:SEED (a whole number).")


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
) -> SuiteRun:
    check_order(order)
    if not limit > 0:
        raise Problem(f"The limit is a number of seconds above 0, not {limit!r}.")
    with tempfile.TemporaryDirectory(prefix="loopbound-suite-", ignore_cleanup_errors=True) as made:
        top = Path(made).resolve()
        copy = top / "project"
        lay_out(project, overlay, copy)
        schema = copy / "schema.sql"
        with scratch_database("suite", schema=schema.read_text(encoding="utf-8") if schema.is_file() else None) as scratch:
            words = ["--rootdir", str(copy), "-p", "no:cacheprovider", "--color=no", *_config(copy, top), *options, *tests]
            given = {
                "order": order,
                "trace": trace,
                "limit": limit,
                "plugins": [pair for pair in PLUGINS if f"no:{pair[0]}" not in " ".join(options)],
                "words": words,
            }
            variables = _variables(scratch, environment)
            child = _Child([str(python or sys.executable), str(CHILD), json.dumps(given)], copy, variables, scratch)
            try:
                child.wait(limit, stop)
            finally:
                child.end()
            secrets = [scratch.url, _password(scratch.url)]
        return read(child, copy, secrets)


class _Child:
    """The suite's process and what it has said."""

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str], scratch: ScratchDatabase) -> None:
        self.lines: list[dict[str, Any]] = []
        self.leftovers: list[Session] = []
        self.sessions: list[Session] = []
        self.hung = False
        self.scratch = scratch
        self.folder = folder
        self.output = folder.parent / "output.txt"
        self.stacks = folder.parent / "stacks.txt"
        self._wrote_stacks = threading.Event()
        self._ended = threading.Event()
        # A group of its own, so that Ctrl-C reaches us alone: it is ours to end it.
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
        self.began = time.perf_counter()
        with open(self.output, "wb") as output:
            try:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, cwd=folder, env=variables, **apart
                )
            except OSError as error:
                raise Problem(f"{command[0]} cannot be started: {(error.strerror or str(error)).lower()}.") from None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._await)]
        for thread in self._threads:
            thread.start()

    def wait(self, limit: float, stop: threading.Event) -> None:
        """Until it ends, or until the limit: then the evidence is taken."""
        deadline = self.began + limit
        while not self._ended.wait(min(0.2, max(deadline - time.perf_counter(), 0))):
            if stop.is_set():
                raise KeyboardInterrupt
            if time.perf_counter() >= deadline:
                self.hung = True
                with contextlib.suppress(psycopg.Error):
                    self.sessions = self.scratch.sessions()
                self._order("stacks")
                # faulthandler's own timer writes them a second later, should the process not hear us.
                wait_until = time.perf_counter() + STACKS_SECONDS
                while not self._wrote_stacks.wait(0.05) and time.perf_counter() < wait_until:
                    if self._ended.is_set() or self.stacks.is_file() and self.stacks.stat().st_size:
                        break
                return

    def end(self) -> None:
        """End it with everything it has started, if it still runs."""
        self.seconds = time.perf_counter() - self.began
        family = [self.process.pid]
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            family = [*parent.children(recursive=True), parent]
        processes = [member for member in family if isinstance(member, psutil.Process)]
        for member in processes:
            with contextlib.suppress(psutil.Error):
                member.terminate()
        for member in psutil.wait_procs(processes, timeout=END_SECONDS)[1]:
            with contextlib.suppress(psutil.Error):
                member.kill()
        self._ended.wait(END_SECONDS)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for thread in self._threads:
            thread.join(END_SECONDS)
        with contextlib.suppress(OSError):
            self.process.stdout.close()

    def _listen(self) -> None:
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if said["kind"] == "last":
                self.leftovers = self._settled_sessions()
                self._order("go on")
            elif said["kind"] == "stacks":
                self._wrote_stacks.set()
            else:
                self.lines.append(said)

    def _await(self) -> None:
        self.process.wait()
        self._ended.set()

    def _settled_sessions(self) -> list[Session]:
        # A connection that was closed a moment ago may still be shown.
        with contextlib.suppress(psycopg.Error):
            for pause in (0.03, 0.1, None):
                found = self.scratch.sessions()
                if not found or pause is None:
                    return found
                time.sleep(pause)
        return []

    def _order(self, word: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(word.encode() + b"\n")
            self.process.stdin.flush()


def _variables(scratch: ScratchDatabase, more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not UNWANTED.match(name.upper())}
    return kept | {
        "DATABASE_URL": scratch.url,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "110",
        **(more or {}),
    }


def _config(copy: Path, top: Path) -> list[str]:
    """Words that keep pytest from a configuration above the copy, where the copy has none."""
    if any((copy / name).is_file() for name in ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")):
        return []
    for name, section in (("pyproject.toml", "[tool.pytest"), ("tox.ini", "[pytest]"), ("setup.cfg", "[tool:pytest]")):
        if (copy / name).is_file() and section in (copy / name).read_text(encoding="utf-8", errors="replace"):
            return []
    nothing = top / "no-settings.ini"
    nothing.write_text("[pytest]\n", encoding="utf-8")
    return ["-c", str(nothing)]


def _password(url: str) -> str:
    from sqlalchemy import make_url

    return str(make_url(url).password or "")
