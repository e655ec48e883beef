"""Scratch databases: one for each notebook run, exercise check or test; cloned, used, dropped."""

import atexit
import contextlib
import os
import threading
from dataclasses import dataclass
from types import TracebackType

import psycopg
from psycopg import sql

from ..problem import Problem
from . import reach
from .address import Address
from .sweep import drop, give_up, scratch_name, sweep, take
from .template import template


@dataclass(frozen=True)
class Session:
    """One session of a scratch database as the server sees it: a row of ``pg_stat_activity``."""

    pid: int
    """Process id of the server's process for this session."""
    state: str | None
    """``"active"``, ``"idle"``, ``"idle in transaction"`` …"""
    wait_event_type: str | None
    """What it waits for: ``"Client"``, ``"Lock"`` …; None while it works."""
    query: str
    """The statement that runs, or the last one."""
    application_name: str


class ScratchDatabase:
    """A database of one's own, with the tables ``users`` (3 rows) and ``reports`` (6 rows); a context manager."""

    url: str
    """``postgresql+asyncpg://…/name`` for ``create_async_engine``; holds the password, so it is not for printing."""
    name: str

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self._process = os.getpid()

    def sessions(self) -> list[Session]:
        """Who is connected to it now, oldest session first. Loopbound's own session is not among them."""
        with _mine.mutex:
            rows = _mine.connected().execute(
                "SELECT pid, state, wait_event_type, query, application_name FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                " ORDER BY backend_start, pid",
                [self.name],
            )
            return [Session(*row) for row in rows]

    def close(self) -> None:
        """Drop it, with whatever sessions it still has. Again: nothing. In a forked child: nothing."""
        if self._process == os.getpid():
            _mine.close(self.name)

    def __enter__(self) -> "ScratchDatabase":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ScratchDatabase({self.name!r})"


def scratch_database(label: str = "notebook") -> ScratchDatabase:
    """Make a database for one experiment.

    It is dropped by `ScratchDatabase.close`, at the end of a ``with`` block, when the interpreter ends, or, after a
    crash, by the embedded server's keeper or the next call of this function anywhere.

    Args:
        label: appears in the database's name; letters and digits of it are kept.

    Raises:
        Problem: no server can be had, or it cannot make a database.
    """
    with _mine.mutex:
        address = reach.server_address()
        try:
            return _mine.create(address, scratch_name(label))
        except psycopg.Error as error:
            raise Problem(
                f"The server at {address.host}:{address.port} could not make a scratch database.\n"
                f"It says: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
            ) from error


def close_all() -> None:
    """Drop every scratch database of this process and leave the server."""
    with _mine.mutex:
        for name in list(_mine.names):
            _mine.close(name)
        if _mine.connection:
            _mine.connection.close()
            _mine.connection = None


class _Mine:
    """The scratch databases of this process, and the session that owns them."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.names: list[str] = []
        self.connection: psycopg.Connection | None = None
        self.address: Address | None = None

    def create(self, address: Address, name: str) -> ScratchDatabase:
        connection = self.connected(address)
        sweep(connection, self._spared())
        source = template(connection, address.libpq())
        take(connection, name)
        self.names.append(name)
        try:
            self._record()
            # Copying files needs a checkpoint: quick on the embedded server, rude on somebody's busy one.
            strategy = "FILE_COPY" if address.kind == "embedded" else "WAL_LOG"
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
                    sql.Identifier(name), sql.Identifier(source), sql.SQL(strategy)
                )
            )
        except BaseException:
            self.close(name)
            raise
        return ScratchDatabase(name, address.url(name))

    def connected(self, address: Address | None = None) -> psycopg.Connection:
        """The owning session, opened again (with its locks) after the server was restarted."""
        address = address or reach.server_address()
        if self.connection and self.address == address and self._answers():
            return self.connection
        if self.connection:
            self.connection.close()
        self.connection = psycopg.connect(**address.libpq(), autocommit=True)
        self.address = address
        for name in self.names:
            take(self.connection, name)
        return self.connection

    def close(self, name: str) -> None:
        with self.mutex:
            if name not in self.names:
                return
            # A server that is gone is not started to drop something: the next sweep does it.
            with contextlib.suppress(psycopg.Error):
                if self._answers():
                    drop(self.connection, name)
                    give_up(self.connection, name)
            self.names.remove(name)
            self._record()

    def _answers(self) -> bool:
        try:
            self.connection.execute("SELECT 1")
        except (psycopg.Error, AttributeError):
            return False
        return True

    def _spared(self) -> list[str]:
        """Names that are in use although no lock may say so: after a crash of the server the locks are gone."""
        folder = reach.embedded_folder()
        if not folder:
            return self.names
        with folder.locked():
            living = folder.living()
        return self.names + [name for names in living.values() for name in names]

    def _record(self) -> None:
        folder = reach.embedded_folder()
        if folder:
            with contextlib.suppress(OSError):
                folder.record(self.names)


_mine = _Mine()
atexit.register(close_all)


def _forget_parent() -> None:
    # A forked child shares the parent's socket. While the child has it open, the server would not see the parent
    # die; and nothing may be sent on it. The descriptor now leads nowhere.
    global _mine
    if _mine.connection and not _mine.connection.closed:
        with contextlib.suppress(OSError, psycopg.Error):
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, _mine.connection.fileno(), inheritable=False)
            os.close(nowhere)
    _abandoned.append(_mine)  # kept, so that nothing is closed by the garbage collector
    _mine = _Mine()


_abandoned: list[_Mine] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
