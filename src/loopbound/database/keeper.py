"""The keeper: a process that stops the server when no client is left.

``python -m loopbound.database.keeper FOLDER``. A client that ends by ``kill -9`` cannot tidy up;
the keeper is no child of anybody, sees that the client's lock is free, drops its scratch databases,
and after a short grace without any client stops the server and ends.
"""

import contextlib
import sys
import time
from pathlib import Path

import fasteners
import psutil
import psycopg

from loopbound.database.folder import Folder
from loopbound.database.server import Server
from loopbound.database.sweep import sweep

POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0


def keep(folder: Folder) -> None:
    """Watch until no client is left, then stop the server."""
    server = Server(folder)
    process: psutil.Process | None = None
    alone_since: float | None = None
    watched = _identity(folder.clients)
    while watched and _identity(folder.clients) == watched:
        running = server.process()
        process = running or process
        with folder.locked(wait=False) as held:
            if held:
                clients = folder.living()
                if running:
                    _tidy_up(server, clients)
                if clients:
                    alone_since = None
                else:
                    alone_since = alone_since or time.monotonic()
                    # A server that was stopped on purpose (or killed) needs no grace.
                    if (process and not running) or time.monotonic() - alone_since >= GRACE_SECONDS:
                        server.stop()
                        return
        time.sleep(POLL_SECONDS)
    # The folder was deleted under a running server (it may be back, with a keeper of its own):
    # nothing is left to save.
    if process:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _identity(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        state = path.stat()
        return state.st_dev, state.st_ino
    return None


def _tidy_up(server: Server, clients: dict[str, list[str]]) -> None:
    """Drop what clients left behind, and forget each whose databases are gone.

    Whose are still there is tried again: the server may not have seen yet that the client's
    session has ended, and its lock then says that they have an owner.
    """
    left = server.folder.left_behind()
    if not left:
        return
    spared = [name for names in clients.values() for name in names]
    with (
        contextlib.suppress(psycopg.Error),
        psycopg.connect(**server.address().libpq(), autocommit=True) as connection,
    ):
        remaining = sweep(connection, spared)
        for stem, names in left.items():
            if remaining.isdisjoint(names):
                server.folder.forget(stem)


def main() -> None:
    folder = Folder(Path(sys.argv[1]))
    lock = fasteners.InterProcessLock(folder.path / "keeper.lock")
    # Others look at this lock for a moment now and then; who holds it for long is another keeper.
    if lock.acquire(timeout=5):
        keep(folder)


if __name__ == "__main__":
    main()
