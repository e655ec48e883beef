"""The world of one run of the tests: a cache with a database server, and a folder for temporary
files, that no other run shares; and what the tests have left in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

import psutil
import psycopg
from patience import eventually

MARK = "LOOPBOUND_TEST_RUN"
# Seconds that what the tests have started may take to end, where they are not the usual ones.
ENDING = "LOOPBOUND_TEST_RUN_ENDING"
# What programs that are not ours keep in the folder for temporary files.
FOREIGN = ("uv-*.lock", ".org.chromium.*", "org.chromium.*", "playwright*", "node-compile-cache")


class World:
    """What the controller makes for its workers and for all that they start.

    It is handed on through the environment; `close` brings the former one back.
    """

    def __init__(self) -> None:
        from loopbound.database import reach
        from loopbound.paths import cache_folder

        usual, environments = tempfile.gettempdir(), cache_folder() / "versions"
        environments.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="lb-", dir=_place())).resolve()
        self.folder.chmod(0o711)  # root's server is another user's
        self.cache, self.temporary = self.folder / "c", self.folder / "t"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        self.mark = uuid.uuid4().hex
        self._before = dict(os.environ)
        os.environ |= {
            MARK: self.mark,
            "LOOPBOUND_CACHE": str(self.cache),
            # What a failed test leaves to look at stays where pytest always puts it.
            "PYTEST_DEBUG_TEMPROOT": os.environ.get("PYTEST_DEBUG_TEMPROOT", usual),
        }
        os.environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary))
        tempfile.tempdir = None
        # The environments of `loopbound versions` take long to make, and their users lock each other out.
        with contextlib.suppress(OSError):  # Windows may forbid links
            (cache_folder() / "versions").symlink_to(environments, target_is_directory=True)
        # A client for as long as the run lasts: the first test that needs the server starts it, and
        # no pause between two tests ends it.
        folder = reach._folder()
        with folder.locked():
            folder.register()

    def close(self) -> list[str]:
        """End it.

        Returns:
            What the tests have left, a line each.
        """
        from loopbound.database import stop_if_unused
        from loopbound.suite import warm

        warm.end()  # without workers it is this process's own, and would go with it
        eventually(lambda: not self._processes(), float(os.environ.get(ENDING, 20)))
        found = [f"process {process.pid}: {words}" for process, words in self._processes()]
        for process, _ in self._processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if os.environ.get("DATABASE_URL") or list(self.cache.glob("*/data/postmaster.pid")):
            found += left_on_the_server()
        if not stop_if_unused(timeout=60):
            found.append("a client of the database server")
        foreign = {path for pattern in FOREIGN for path in self.temporary.glob(pattern)}
        found += [f"file {path}" for path in sorted({*self.temporary.iterdir()} - foreign)]
        os.environ.clear()
        os.environ |= self._before
        tempfile.tempdir = None
        shutil.rmtree(self.folder, ignore_errors=True)
        return found

    def _processes(self) -> list[tuple[psutil.Process, str]]:
        """Every process that the tests have started, at however many removes, but for the server
        that they share.
        """
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                ours = str(self.temporary) in words or process.environ().get(MARK) == self.mark
                shared = str(self.cache) in words or words.startswith("postgres:")
                if ours and not shared and process.status() != psutil.STATUS_ZOMBIE:
                    found.append((process, words))
        return found


def _place() -> str | None:
    """Where the folder of a run goes: in memory, if there is room and programs may run there.

    ext4 looks at every file that was deleted a moment ago before it makes a new one, and each
    scratch database is 300 files: on a disk, making one came to take longer than its suite.

    Returns:
        A short path, because sockets lie below it; None for the system's usual folder.
    """
    if sys.platform == "win32":
        return None
    places = (("/dev/shm", 2 << 30), ("/tmp", 0))
    wide = [
        place
        for place, free in places
        if os.access(place, os.W_OK) and shutil.disk_usage(place).free >= free
    ]
    barred = getattr(os, "ST_NOEXEC", 0)
    return next((place for place in wide if not os.statvfs(place).f_flag & barred), None)


def left_on_the_server() -> list[str]:
    """Scratch databases and learners' roles without an owner.

    What a process that was killed has left is swept by the next one that uses the server: here that
    is done first.
    """
    from loopbound.database import server_address
    from loopbound.database.sweep import NAME, held_locks, lock_number
    from loopbound.grading.isolation.databases import ROLE, Databases

    Databases().close()
    with psycopg.connect(**server_address().libpq(), autocommit=True) as admin:
        # In this order: what has an owner had it before it was there.
        databases = [name for (name,) in admin.execute("SELECT datname FROM pg_database")]
        roles = [name for (name,) in admin.execute("SELECT rolname FROM pg_roles")]
        held = held_locks(admin)
    found = [
        f"database {name}"
        for name in databases
        if NAME.fullmatch(name) and lock_number(name) not in held
    ]
    return found + [
        f"role {name}"
        for name in roles
        if name.startswith(ROLE) and lock_number(name.rpartition("_")[0]) not in held
    ]
