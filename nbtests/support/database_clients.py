"""Real processes for the tests of the database floor: clients to order, each test with a cache
folder of its own.
"""

import contextlib
import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from patience import LONG, eventually

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

# Runs what it is sent line by line and answers with the value of `result`.
CLIENT = """
import json, sys
space = {}
for line in sys.stdin:
    space["result"] = None
    try:
        exec(json.loads(line), space)
        answer = {"result": space["result"]}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)
"""

SETUP = """
import psycopg
from loopbound.database import *
def sql(statement, url=None):
    address = (url or scratch.url).replace("+asyncpg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None
"""


class Refused(Exception):
    """What a client raised: (name of the exception, its message)."""


class Client:
    """A Python process that uses loopbound.database, as this user or another."""

    def __init__(
        self, cache: Path | str | None, user: str | None = None, **environment: str
    ) -> None:
        python, variables = (sys.executable, {}) if user is None else ordinary_python()
        account = {} if user is None else {"user": user, "group": _group(user), "extra_groups": []}
        self.process = subprocess.Popen(
            [python, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd="/" if os.name == "posix" else None,
            env=environment_for(cache) | variables | environment,
            start_new_session=True,
            **account,
        )
        self.send(SETUP)
        self.answer()

    def send(self, code: str) -> None:
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()

    def answer(self) -> object:
        line = self.process.stdout.readline()
        assert line, f"the client ended with {self.process.wait(10)}"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"], answer["message"])
        return answer["result"]

    def do(self, code: str) -> object:
        self.send(code)
        return self.answer()

    def start(self) -> int:
        """Reach the server; returns its port."""
        return self.do("result = server_address().port")

    def scratch(self, label: str = "test") -> str:
        return self.do(f"scratch = scratch_database({label!r}); result = scratch.name")

    def end(self) -> None:
        """End as a program ends that is done."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdout.closed:
            return
        self.end()


def environment_for(cache: Path | str | None) -> dict[str, str]:
    """This process's environment with that cache folder and no DATABASE_URL."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "LOOPBOUND_CACHE")
    }
    return kept | ({"LOOPBOUND_CACHE": str(cache)} if cache else {})


@contextlib.contextmanager
def cache_folder(name: str = "cache", owner: str | None = None) -> Iterator[Path]:
    """A folder below a temporary one that everybody can enter; afterwards nothing of ours runs in
    it any more.
    """
    top = Path(tempfile.mkdtemp(prefix="loopbound-test-")).resolve()
    try:
        top.chmod(0o755)
        if owner:
            os.chown(top, *_ids(owner))
        yield top / name
    finally:
        for process in processes(top):
            with contextlib.suppress(psutil.Error):
                process.kill()
        gone(top)
        shutil.rmtree(top, ignore_errors=True)


def processes(folder: Path, word: str = "") -> list[psutil.Process]:
    """Keepers and postmasters of the servers below a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            ours = any(
                "postgres" in part or "loopbound.database.keeper" in part for part in command
            )
            if ours and any(str(folder) in part for part in command) and word in " ".join(command):
                found.append(process)
    return found


def postmasters(folder: Path) -> list[psutil.Process]:
    found = {}
    for process in processes(folder, " -D "):
        with contextlib.suppress(psutil.Error):
            if "pg_ctl" not in process.cmdline()[0]:
                found[process.pid] = (process, process.ppid())
    # One that was forked a moment ago still has its postmaster's command line.
    return [process for process, parent in found.values() if parent not in found]


def keepers(folder: Path) -> list[psutil.Process]:
    return processes(folder, "loopbound.database.keeper")


def gone(folder: Path) -> bool:
    """Whether server and keeper end."""
    until = time.monotonic() + LONG
    while found := processes(folder):
        if time.monotonic() > until:
            return False
        # These are waited for: to look at all processes of the machine again and again costs more
        # than what the tests do. Now and then it is done, for one that nobody buries.
        psutil.wait_procs(found, timeout=2)
    return True


def kill9(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def ordinary_user() -> str | None:
    """As root: an account that is neither root nor the one that root's server runs as."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(
        (name for name in ("daemon", "games", "bin", "www-data", "_www") if name in names), None
    )


@functools.cache
def ordinary_python() -> tuple[str, dict[str, str]] | None:
    """A Python that an ordinary user can run with our packages, and the variables it needs; None if
    there is none.
    """
    user = ordinary_user()
    if user is None:
        return None
    places = [
        str(Path(importlib.util.find_spec(name).origin).parents[1])
        for name in ("loopbound", "psycopg")
    ]
    variables = {
        "PYTHONPATH": os.pathsep.join(places),
        "HOME": "/nonexistent",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        with contextlib.suppress(OSError):
            done = subprocess.run(
                [python, "-c", "import loopbound.database, sqlalchemy"],
                user=user,
                group=_group(user),
                extra_groups=[],
                cwd="/",
                env=variables,
                capture_output=True,
            )
            if done.returncode == 0:
                return python, variables
    return None


def _ids(user: str) -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _group(user: str) -> int:
    return _ids(user)[1]
