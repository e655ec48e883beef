"""Scratch databases: one for each notebook run, exercise check or test; cloned, used, dropped."""

import atexit
import contextlib
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import psycopg
from psycopg import sql

from loopbound.database import reach
from loopbound.database.address import Address
from loopbound.database.sweep import drop, give_up, scratch_name, sweep, take
from loopbound.database.template import NO_TABLES, template
from loopbound.problem import Problem


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
    wait_event: str | None = None
    """What exactly it waits for: ``"ClientRead"``, ``"relation"``, ``"transactionid"`` …"""
    blocked_by: tuple[int, ...] = ()
    """Process ids of the sessions whose locks it waits for."""


class ScratchDatabase:
    """A database of one's own, with the tables ``users`` (3 rows) and ``reports`` (6 rows) or a
    schema; a context manager.
    """

    url: str
    """``postgresql+asyncpg://…/name`` for ``create_async_engine``, with the password."""
    name: str

    def __init__(self, name: str, url: str, owner: "Owner") -> None:
        self.name = name
        self.url = url
        self._owner = owner
        self._process = os.getpid()
        self._closed = False

    @property
    def dsn(self) -> str:
        """``postgresql://…/name`` for asyncpg's and psycopg's ``connect``; with the password."""
        return self.url.replace("+asyncpg", "", 1)

    def sessions(self, looks: int = 1) -> list[Session]:
        """Who is connected to it now, oldest session first. Loopbound's own session is not among
        them.

        Args:
            looks: how often to look until there is no session: one that was closed a moment ago may
                still be shown. The pauses grow to 0.02 seconds; on a busy machine each look takes
                longer.
        """
        pause = 0.001
        while (found := self._sessions()) and (looks := looks - 1) > 0:
            time.sleep(pause)
            pause = min(2 * pause, 0.02)  # most are gone within a few milliseconds
        return found

    def _sessions(self) -> list[Session]:
        with _mutex:
            return self._owner.sessions(self.name)

    @property
    def closed(self) -> bool:
        """Whether `close` has dropped it."""
        return self._closed

    def close(self) -> None:
        """Drop it, with the sessions that it still has.

        Again: nothing, unless the server refused it before. In a forked child: nothing.
        """
        with _mutex:
            self._closed = self._process != os.getpid() or self._owner.close(self.name)

    def __enter__(self) -> "ScratchDatabase":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ScratchDatabase({self.name!r})"


class Owner(Protocol):
    """Who makes scratch databases, looks after them and drops them: a session of this process, or
    the grader that lends them to it.
    """

    def create(self, label: str, schema: str | None) -> ScratchDatabase: ...

    def sessions(self, name: str) -> list[Session]: ...

    def close(self, name: str) -> bool:
        """Drop one; False where the server refuses it now."""


def lend(owner: Owner) -> None:
    """Have all further scratch databases of this process made by another owner: one that may not
    reach the server itself.
    """
    global _lender
    _lender = owner


def scratch_database(label: str = "notebook", *, schema: str | None = None) -> ScratchDatabase:
    """Make a database for one experiment.

    It is dropped by `ScratchDatabase.close`, at the end of a ``with`` block, when the interpreter
    ends, or, after a crash, by the embedded server's keeper or the next call of this function
    anywhere.

    Args:
        label: appears in the database's name; its ASCII letters and digits are kept.
        schema: SQL statements that make its tables, in place of the course's ``users`` and
            ``reports``.

    Raises:
        Problem: no server can be had, it cannot make a database, or it refuses the schema.
    """
    with _mutex:
        if _lender:
            return _lender.create(label, schema)
        address = reach.server_address()
        key = address if address.kind == "url" else None
        owner = _owners.setdefault(key, _Owner(key))
        try:
            return owner.create(label, schema)
        except psycopg.Error as error:
            said = str(error).strip() or type(error).__name__
            raise Problem(
                f"The server at {address.host}:{address.port} could not make a scratch database.\n"
                f"It says: {said.splitlines()[0]}"
            ) from error


def close_all() -> None:
    """Drop every scratch database of this process and leave the servers."""
    with _mutex:
        for owner in _owners.values():
            owner.leave()


def stop_if_unused(timeout: float = 10.0) -> bool:
    """Leave, and stop the embedded server and its keeper now instead of some seconds later.

    Waits up to `timeout` seconds for other clients to go (kernels that are ending) and for the
    keeper to end.

    Returns:
        True if no server or keeper of ours runs any more; False if others still use them.
    """
    close_all()
    return reach.stop_server(timeout)


class _Owner:
    """The scratch databases of this process on one server, and the session that owns them."""

    def __init__(self, given: Address | None) -> None:
        self.given = given  # None: the embedded server, whose port changes when it is started again
        self.names: list[str] = []
        self.connection: psycopg.Connection | None = None
        self.reached: Address | None = None  # where the connection leads

    def create(self, label: str, schema: str | None = None) -> ScratchDatabase:
        name = scratch_name(label)
        address = self.given or reach.embedded_address()
        connection = self.connected()
        sweep(connection, self._spared())
        source = template(connection, address.libpq())
        take(connection, name)
        self.names.append(name)
        try:
            self._record()
            # Copying files needs a checkpoint: quick on the embedded server, slow on another's
            # busy one.
            strategy = "WAL_LOG" if self.given else "FILE_COPY"
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
                    sql.Identifier(name), sql.Identifier(source), sql.SQL(strategy)
                )
            )
            if schema is not None:
                with psycopg.connect(
                    **address.libpq() | {"dbname": name}, autocommit=True
                ) as inside:
                    inside.execute(NO_TABLES)
                    inside.execute(schema)
            return ScratchDatabase(name, address.url(name), self)
        except BaseException:
            self.close(name)
            raise

    def connected(self) -> psycopg.Connection:
        """The owning session, opened again (with its locks) after the server was restarted."""
        address = self.given or reach.embedded_address()
        # A server whose folder was deleted still answers, until its keeper sees that.
        if address != self.reached or not (connection := self._answering()):
            if self.connection:
                self.connection.close()
            connection = self.connection = psycopg.connect(**address.libpq(), autocommit=True)
            self.reached = address
            for name in self.names:
                take(connection, name)
        return connection

    def sessions(self, name: str) -> list[Session]:
        rows = self.connected().execute(
            "SELECT pid, state, wait_event_type, query, application_name, wait_event,"
            " pg_blocking_pids(pid) FROM pg_stat_activity WHERE datname = %s AND pid <>"
            " pg_backend_pid() AND backend_type = 'client backend' ORDER BY backend_start, pid",
            [name],
        )
        return [Session(*(*row, tuple(blockers))) for *row, blockers in rows]

    def close(self, name: str) -> bool:
        if name in self.names and self._drop(name):
            self.names.remove(name)
            self._record()
        return name not in self.names

    def _drop(self, name: str) -> bool:
        # A server that is gone is not started to drop something: the next sweep does it.
        if connection := self._answering():
            try:
                drop(connection, name)
                give_up(connection, name)
            except psycopg.Error:
                return self._answering() is None
        return True

    def leave(self) -> None:
        for name in list(self.names):
            self.close(name)
        if self.names:  # without our lock, the next sweep drops what was refused
            self.names.clear()
            self._record()
        if self.connection:
            self.connection.close()
            self.connection = None

    def forget(self) -> None:
        """In a forked child: let go of the parent's session without a word to the server."""
        if self.connection and not self.connection.closed:
            # While a child has the socket open the server would not see the parent die, and nothing
            # may be sent on it. The descriptor now leads nowhere.
            with contextlib.suppress(OSError, psycopg.Error):
                nowhere = os.open(os.devnull, os.O_RDWR)
                os.dup2(nowhere, self.connection.fileno(), inheritable=False)
                os.close(nowhere)

    def _answering(self) -> psycopg.Connection | None:
        """The owning session, if the server still answers it."""
        if not self.connection:
            return None
        try:
            self.connection.execute("SELECT 1")
        except psycopg.Error:
            return None
        return self.connection

    def _spared(self) -> list[str]:
        """Names that are in use although no lock may say so: after a crash of the server the locks
        are gone.
        """
        if self.given:
            return self.names
        return self.names + reach.recorded_scratch()

    def _record(self) -> None:
        if not self.given:
            reach.record_scratch(self.names)


_mutex = threading.RLock()
_lender: Owner | None = None
_owners: dict[Address | None, _Owner] = {}
atexit.register(close_all)


def _forget_parent() -> None:
    global _mutex, _owners
    for owner in _owners.values():
        owner.forget()
    _abandoned.append(_owners)  # kept, so that the garbage collector closes nothing of the parent's
    _mutex = threading.RLock()
    _owners = {}


_abandoned: list[dict[Address | None, _Owner]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
