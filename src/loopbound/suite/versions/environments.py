"""Environments with other packages than the course's own, made by uv from a project's lock.

They lie below Loopbound's cache folder, in a folder named by the lock's digest and the Python that
made them, so that a changed lock never meets an old environment. An environment is built under a
name of its own and renamed when it is whole; a second process waits for it and uses it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fasteners

from loopbound.paths import cache_folder
from loopbound.problem import Problem
from loopbound.suite.incident import BACKEND
from loopbound.suite.versions.observed import SHOWN

FORGET_AFTER_DAYS = 30
"""An environment that was not used for so long goes when the next one is made."""
LOCK_SECONDS = 300

# What says from where packages come (index, proxy, certificates, cache) is the reader's; what says
# which, or where to, is not.
_KEPT = re.compile(
    r"UV_(CACHE_DIR|NO_CACHE|LINK_MODE|OFFLINE|HTTP_\w+|CONCURRENT_\w+|SYSTEM_CERTS|NATIVE_TLS|INSECURE_HOST"
    r"|KEYRING_PROVIDER|\w*INDEX\w*|FIND_LINKS|REQUEST_TIMEOUT)"
)
_DROPPED = re.compile(
    r"UV_|VIRTUAL_ENV|CONDA_|PYTHON(HOME|PATH|WARNINGS|DEVMODE|STARTUP|OPTIMIZE|ASYNCIODEBUG|INSPECT)"
)
_NO_NETWORK = re.compile(
    r"dns error|error sending request|tcp connect error|client error \(Connect\)|[Nn]etwork is"
    r" unreachable|[Tt]imed out"
    r"|[Cc]onnection (refused|reset)|[Nn]etwork connectivity is disabled|[Nn]ame resolution|offline"
)

_ASK = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class NoNetwork(Problem):
    """The packages of an environment could not be fetched."""


@dataclass(frozen=True)
class Environment:
    """One environment of the versions project.

    Attributes:
        name: its dependency group, such as ``"asyncio-0-21"``.
        runs: what is run in it: some of ``"incident"``, ``"matrix"``, ``"plugin"``, ``"pool"``.
        newest_python: the newest Python it can have, such as ``"3.13"``; "" for any.
    """

    name: str
    runs: tuple[str, ...]
    newest_python: str = ""

    @property
    def fits_here(self) -> bool:
        """Whether the Python that runs this can have it."""
        return not self.newest_python or sys.version_info[:2] <= tuple(
            map(int, self.newest_python.split("."))
        )


def project() -> Path:
    """The folder of the versions project, in the clone that this package is installed from.

    Raises Problem if it is not there.
    """
    folder = BACKEND / "versions"
    if not (folder / "uv.lock").is_file():
        raise Problem(
            f"there is no lock in {folder}.\nRun this in a clone of Loopbound; git restore brings a"
            " lost file back."
        )
    return folder


def environments() -> list[Environment]:
    """All of them, in the order in which the project file names them."""
    said = tomllib.loads((project() / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "loopbound"
    ]
    return [
        Environment(name, tuple(topics), said["newest-python"].get(name, ""))
        for name, topics in said["runs"].items()
    ]


def chosen(names: Sequence[str]) -> list[Environment]:
    """The environments of these names; no names mean all that this Python can have.

    Raises Problem for a name that there is not, or whose packages this Python cannot have.
    """
    known = {environment.name: environment for environment in environments()}
    for name in names:
        if name not in known:
            raise Problem(f"no environment is called {name!r}.\nThere are: {', '.join(known)}.")
        if not known[name].fits_here:
            raise Problem(
                f"{name} has no packages for this Python.\nIts newest is"
                f" {known[name].newest_python}."
            )
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    return [environment for environment in known.values() if environment.fits_here]


def python_of(name: str, folder: Path | None = None) -> Path:
    """The interpreter of an environment, which is made first if need be (a second with packages in
    uv's cache).

    Args:
        name: a dependency group of the project.
        folder: the project, with its ``uv.lock``; the versions project by default.

    Raises:
        NoNetwork: its packages cannot be fetched.
        Problem: there is no uv, the folder cannot be written, or uv could not make it.
    """
    folder = folder or project()
    home = _home(folder)
    target = home / name
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with _locked(home / f"{name}.lock"):
            if not python.exists():
                _make(name, target, folder)
                _sweep(home)
        os.utime(target)
    except OSError as error:
        raise Problem(
            f"The environment {name} cannot be made in {home}:"
            f" {(error.strerror or str(error)).lower()}.\nSet LOOPBOUND_CACHE to a folder that you"
            " can write to."
        ) from None
    return python


@functools.cache
def versions_in(python: Path) -> dict[str, str]:
    """Package → version of `SHOWN`, as ``importlib.metadata`` says in that environment; with
    ``"python"``, as x.y.
    """
    done = subprocess.run(
        [python, "-I", "-c", _ASK, *SHOWN], capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        raise Problem(
            f"{python} does not work.\nDelete the folder {python.parents[1]}; it is made again."
        )
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **json.loads(done.stdout),
    }


def _home(folder: Path) -> Path:
    """Where the environments of this project's lock and this Python are."""
    made_of = hashlib.sha256((folder / "uv.lock").read_bytes())
    made_of.update(f"{sys.base_prefix} {sys.version} {sys.platform}".encode())
    return cache_folder() / "versions" / made_of.hexdigest()[:16]


def _make(name: str, target: Path, folder: Path) -> None:
    partial = target.with_name(f"{name}.{secrets.token_hex(4)}.partial")
    # Of a process that was killed: the lock is ours.
    for left in target.parent.glob(f"{name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)  # one whose interpreter has gone
    command = [
        _uv(),
        "sync",
        "--quiet",
        "--frozen",
        "--no-config",
        "--no-python-downloads",
        "--project",
        str(folder),
    ]
    command += ["--group", name, "--python", sys.executable]
    environment = {
        key: value
        for key, value in os.environ.items()
        if _KEPT.fullmatch(key) or not _DROPPED.match(key)
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            env=environment | {"UV_PROJECT_ENVIRONMENT": str(partial)},
        )
        if done.returncode:
            raise _problem(name, done.stderr)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _problem(name: str, said: str) -> Problem:
    if _NO_NETWORK.search(said):
        return NoNetwork(
            f"The packages of {name} cannot be fetched: no network.\nConnect once; they are kept"
            " after that."
        )
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return Problem(
        f"uv could not make the environment {name}.\nIt says: {lines[0] if lines else 'nothing'}"
    )


def _uv() -> str:
    """uv's program: of the tests' packages, else on the PATH."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if not found:
        raise Problem(
            "uv is not installed, and it makes these environments.\nRun: python3 lab.py versions"
        )
    return found


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The file keeps other processes out; threads of one process share its lock on a file.
    lock = fasteners.InterProcessLock(path)
    with _mutex:
        if not lock.acquire(blocking=True, timeout=LOCK_SECONDS):
            raise Problem(
                f"Another process has been making this environment for {LOCK_SECONDS} s.\nIf none"
                f" runs any more, delete {path}."
            )
        try:
            yield
        finally:
            lock.release()


def _sweep(home: Path) -> None:
    """Remove environments of other locks that were not used for long."""
    oldest = time.time() - FORGET_AFTER_DAYS * 86400
    with contextlib.suppress(OSError):  # another process may sweep too
        for other in home.parent.iterdir():
            if other != home and all(
                path.stat().st_mtime < oldest for path in (other, *other.iterdir())
            ):
                shutil.rmtree(other, ignore_errors=True)


_mutex = threading.Lock()
