"""How this process reaches its PostgreSQL, and how it leaves again."""

import atexit
import contextlib
import os
import threading
import time
from typing import Any

import psycopg

from loopbound.database import address as addresses
from loopbound.database.address import Address
from loopbound.database.folder import Folder, open_folder
from loopbound.database.server import Server, spawn_keeper


class _State:
    """What this process knows. A forked child starts with a fresh one."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.checked: dict[str, Address] = {}
        self.folder: Folder | None = None
        self.cache: str | None = None


_state = _State()


def server_address() -> Address:
    """Address of the PostgreSQL to use: DATABASE_URL's if that is set, else the embedded server's.

    The embedded server is started when needed, and this process is registered as one of its
    clients: it runs until the last client has gone. Safe to call from any thread, often, and in a
    child process.

    Raises:
        Problem: no server can be had; the message says what to do.
    """
    with _state.mutex:
        given = os.environ.get("DATABASE_URL", "").strip()
        if given:
            if given not in _state.checked:
                address = addresses.parse(given)
                addresses.check(address)
                _state.checked[given] = address
            return _state.checked[given]
        return embedded_address()


def embedded_address() -> Address:
    """Address of the embedded server, also where DATABASE_URL is set; otherwise as
    `server_address`.
    """
    with _state.mutex:
        folder = _folder()
        server = Server(folder)
        if folder.registered and folder.keeper_lives() and server.process():
            return server.address()
        with folder.locked():
            folder.register()
            if not folder.keeper_lives():
                # First, so that a start that is killed half-way is tidied up too.
                spawn_keeper(folder)
            if not server.process():
                server.start()
            return server.address()


def record_scratch(names: list[str]) -> None:
    """Write down the scratch databases that this process has on the embedded server."""
    if _state.folder and _state.folder.registered:
        with contextlib.suppress(OSError):
            _state.folder.record(names)


def recorded_scratch() -> list[str]:
    """Scratch databases on the embedded server that belong to a living client."""
    folder = _folder()
    with folder.locked():
        return [name for names in folder.living().values() for name in names]


def describe() -> dict[str, Any]:
    """The server in use, for people: kind, version ("18.6"), host, port, user, database, folder
    (None for a URL).

    Starts the embedded server when needed; never holds a password.

    Raises:
        Problem: as `server_address`.
    """
    address = server_address()
    with psycopg.connect(**address.libpq(), autocommit=True) as connection:
        version = addresses.readable_version(connection.info.server_version)
    folder = _state.folder if address.kind == "embedded" else None
    return {
        "kind": address.kind,
        "version": version,
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "database": address.database,
        "folder": str(folder.path) if folder else None,
    }


def stop_server(timeout: float) -> bool:
    """Leave the embedded server, and stop it and its keeper once no other client is left.

    Returns:
        True if no server or keeper of ours runs any more; False if others still use them after
            `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    with _state.mutex:
        folder = _folder()
        server = Server(folder)
        folder.unregister()
        while True:
            with folder.locked():
                if not folder.others():
                    server.stop()
                    break
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        while folder.keeper_lives():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def _folder() -> Folder:
    wanted = os.environ.get("LOOPBOUND_CACHE", "")
    deleted = _state.folder is not None and _state.folder.deleted
    if _state.folder is None or _state.cache != wanted or deleted:
        if _state.folder and deleted:
            _state.folder.let_go()
        elif _state.folder:
            _state.folder.unregister()
        _state.folder = open_folder()
        _state.cache = wanted
    return _state.folder


@atexit.register
def _leave() -> None:
    if _state.folder:
        _state.folder.unregister()


def _forget_parent() -> None:
    # The parent's registration, its threads' locks and its lock objects mean nothing in a forked
    # child.
    global _state
    if _state.folder:
        _state.folder.let_go()
    _state = _State()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
