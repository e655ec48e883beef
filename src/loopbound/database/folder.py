"""The folder that the embedded server lives in, and who uses it.

::

    postgres-18/
        data/            the cluster; belongs to the server's user
        password         of the role postgres
        lock             held while a process starts, stops, joins or leaves
        keeper.lock      held by the keeper for as long as it lives
        clients/         for each client <pid>-<nonce>.lock, which it holds, and .json
                         with its scratch databases; a .json alone was left by a client that was
                         killed, and stays until the keeper has dropped what it lists
        server.log  keeper.log  keeper.pid

Whether a client lives is asked of the operating system: it holds a lock on its file, and the lock
goes when the process goes, however it ended. Process ids and start times were the other way; ids
are used again, and start times move when the clock is set.
"""

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import fasteners
import psutil

from loopbound.database import programs
from loopbound.paths import ELSEWHERE, cache_folder, is_root, own_mode
from loopbound.problem import Problem

LOCK_SECONDS = 120


class Folder:
    """The embedded server's folder.

    Methods that read or change who uses it want `locked` around them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.password = path / "password"
        self.clients = path / "clients"
        self.log = path / "server.log"
        self.keeper_log = path / "keeper.log"
        self.keeper_pid = path / "keeper.pid"
        self._mutex = threading.Lock()
        self._mine: tuple[str, fasteners.InterProcessLock] | None = None

    @contextlib.contextmanager
    def locked(self, wait: bool = True) -> Iterator[bool]:
        """Hold the lock between processes; yields False where it is taken and `wait` is False."""
        with self._mutex:
            lock = fasteners.InterProcessLock(self.path / "lock")
            held = lock.acquire(blocking=wait, timeout=LOCK_SECONDS if wait else None)
            if wait and not held:
                raise Problem(
                    f"Another process has been starting PostgreSQL for {LOCK_SECONDS} s.\nSee"
                    f" {self.log}; if no Loopbound is running any more, delete"
                    f" {self.path / 'lock'}."
                )
            try:
                yield held
            finally:
                if held:
                    lock.release()
                elif lock.lockfile is not None:
                    lock.lockfile.close()

    # -- clients -----------------------------------------------------------------------------------

    def register(self) -> None:
        """Make this process a client."""
        if self._mine:
            return
        stem = f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = fasteners.InterProcessLock(self.clients / f"{stem}.lock")
        lock.acquire(blocking=False)
        self._mine = (stem, lock)
        self.record([])

    def record(self, scratch: list[str]) -> None:
        """Write down the scratch databases of this process."""
        stem, _ = self._mine  # type: ignore[misc]  # asked of a registered process alone
        partial = self.clients / f"{stem}.partial"
        partial.write_text(json.dumps({"pid": os.getpid(), "scratch": scratch}), encoding="utf-8")
        partial.replace(self.clients / f"{stem}.json")

    def unregister(self) -> None:
        """This process is a client no longer."""
        if not self._mine:
            return
        stem, lock = self._mine
        self._mine = None
        lock.release()
        self.forget(stem)

    @property
    def registered(self) -> bool:
        return self._mine is not None

    @property
    def deleted(self) -> bool:
        """Whether the folder was deleted, or this process's place in it, while it was in
        use.
        """
        return not self.clients.is_dir() or (
            self._mine is not None and not (self.clients / f"{self._mine[0]}.lock").exists()
        )

    def let_go(self) -> None:
        """Close what this process holds open here, without a word to others: in a forked child it
        is the parent's.
        """
        if self._mine and self._mine[1].lockfile is not None:
            self._mine[1].lockfile.close()
        self._mine = None

    def living(self) -> dict[str, list[str]]:
        """Clients and their scratch databases; the ones whose process is gone are `left_behind`."""
        found = {}
        for path in sorted(self.clients.glob("*.lock")):
            stem = path.stem
            # Never try the own lock: closing any handle of a file gives up all locks that the
            # process has on it.
            if not (self._mine and stem == self._mine[0]) and _free(path):
                self._remove(stem, "partial", "lock")
            else:
                found[stem] = self._recorded(stem)
        return found

    def left_behind(self) -> dict[str, list[str]]:
        """Clients that ended without a word, as `living` last saw it, and their scratch
        databases.
        """
        stems = sorted(path.stem for path in self.clients.glob("*.json"))
        return {
            stem: self._recorded(stem)
            for stem in stems
            if not (self.clients / f"{stem}.lock").exists()
        }

    def others(self) -> list[str]:
        """Living clients apart from this process."""
        mine = self._mine[0] if self._mine else None
        return [stem for stem in self.living() if stem != mine]

    def forget(self, stem: str) -> None:
        """Delete all that is written down about a client."""
        self._remove(stem, "json", "partial", "lock")

    def _recorded(self, stem: str) -> list[str]:
        try:
            text = (self.clients / f"{stem}.json").read_text(encoding="utf-8")
            return list(json.loads(text)["scratch"])
        except (OSError, ValueError, KeyError):
            return []

    def _remove(self, stem: str, *suffixes: str) -> None:
        for suffix in suffixes:
            with contextlib.suppress(OSError):
                (self.clients / f"{stem}.{suffix}").unlink(missing_ok=True)

    # -- keeper ------------------------------------------------------------------------------------

    def keeper_lives(self) -> bool:
        """Whether a keeper runs, or is starting and does not hold its lock yet."""
        if not _free(self.path / "keeper.lock"):
            return True
        try:
            process = psutil.Process(int(self.keeper_pid.read_text(encoding="ascii")))
            return str(self.path) in process.cmdline()
        except (OSError, ValueError, psutil.Error):
            return False


def open_folder() -> Folder:
    """Find the folder and make it.

    Raises:
        Problem: it cannot be made or written, or as root the server could not reach it.
    """
    base = cache_folder()
    if is_root() and not programs.reachable(base):
        raise Problem(
            f"{base} will not do: as root the server runs as user 'nobody', who cannot enter it.\n"
            "Set LOOPBOUND_CACHE to a folder that everybody can enter."
        )
    return _prepared(base / f"postgres-{programs.wheel_version().split('.')[0]}")


def _prepared(path: Path) -> Folder:
    # Resolved, so that one folder has one name: the server's command line carries it.
    folder = Folder(path.resolve())
    try:
        path.mkdir(exist_ok=True)
        state = path.stat()
        if not programs.WINDOWS and state.st_uid != os.geteuid():
            raise Problem(f"The folder {path} belongs to another user.\n{ELSEWHERE}")
        path.chmod(own_mode())
        folder.clients.mkdir(exist_ok=True)
        folder.clients.chmod(0o700)
        for name in ("lock", "keeper.lock", "keeper.log", "keeper.pid"):
            (path / name).touch(mode=0o600)
        probe = path / f"probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Problem(f"The folder {path} cannot be written: {why}.\n{ELSEWHERE}") from None
    return folder


def _free(path: Path) -> bool:
    """Whether the lock on the file is free."""
    lock = fasteners.InterProcessLock(path)
    if lock.acquire(blocking=False):
        lock.release()
        return True
    if lock.lockfile is not None:
        lock.lockfile.close()  # fasteners leaves it open where the lock was taken
    return False
