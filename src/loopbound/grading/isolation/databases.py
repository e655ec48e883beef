"""Databases for learners' processes: each submission has a role of its own, and reaches its own
databases alone.

The grader holds the rights. A role may log in, use the tables of the databases made for it, and
nothing else; the sandbox lets it reach the server only through a relay, which looks at the database
that a connection asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import secrets
import socket
import struct
import threading
from dataclasses import asdict, replace
from typing import Any

import psycopg
from psycopg import sql

from loopbound.database import ScratchDatabase, scratch_database, server_address
from loopbound.database.reach import recorded_scratch
from loopbound.database.sweep import give_up, held_locks, lock_number, sweep, take
from loopbound.problem import Problem

__all__ = ["Databases", "SubmissionDatabases", "relay"]

GROUP = "loopbound_learners"
ROLE = "loopbound_learner_"
MOST_DATABASES = 40
MOST_CONNECTIONS = 60
MOST_LOCKS = 1_000  # of one session, where the server has no room for more
READY = 2  # databases that are cloned ahead of need

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102


class Databases:
    """The grader's side of the server: clones databases ahead of need, makes roles, and tidies up.

    Safe from any thread.
    """

    def __init__(self) -> None:
        self.address = server_address()
        self._mutex = threading.Lock()
        self._admin = psycopg.connect(**self.address.libpq(), autocommit=True)
        self._mark = f"{ROLE}{secrets.token_hex(6)}"
        self.has_roles = self._prepare()
        self._ready: queue.Queue[ScratchDatabase] = queue.Queue()
        self._work: queue.Queue[ScratchDatabase | str | None] = queue.Queue()
        self._wanted = 0
        self._made_now: set[ScratchDatabase] = set()  # and not dropped yet
        self._roles: dict[int, str] = {}  # by their number: without a look into the catalogue
        self.hoarders: set[str] = set()
        self._worker = threading.Thread(target=self._serve, name="databases", daemon=True)
        self._worker.start()

    def _prepare(self) -> bool:
        """Make the group that learners' roles belong to, and drop roles of graders that were
        killed. False where we may make no roles.
        """
        with self._mutex:
            ((allowed,),) = self._admin.execute(
                "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            )
            if not allowed:
                return False
            with contextlib.suppress(
                psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation
            ):
                self._admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(GROUP)))
            take(self._admin, self._mark)
            # Their databases first: a role that may still use one cannot be dropped.
            sweep(self._admin, recorded_scratch() if self.address.kind == "embedded" else ())
            held = held_locks(self._admin)
            roles = self._admin.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE %s",
                [f"{ROLE.replace('_', chr(92) + '_')}%"],
            ).fetchall()
            for (role,) in roles:
                if lock_number(role.rpartition("_")[0]) not in held:
                    # Somebody else was quicker, or it still owns something.
                    with contextlib.suppress(psycopg.Error):
                        self._admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
            # Its password is random: nothing is won by making it slow to
            # try. (The setting came with 16.)
            with contextlib.suppress(psycopg.errors.UndefinedObject):
                self._admin.execute("SET scram_iterations = 1")
            return True

    def execute(self, statement: sql.Composed) -> None:
        with self._mutex:
            self._admin.execute(statement)

    def role(self) -> tuple[str, str]:
        """Make a role for one submission; its name and password."""
        name, password = f"{self._mark}_{secrets.token_hex(4)}", secrets.token_urlsafe(18)
        self.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT {} IN ROLE {}").format(
                sql.Identifier(name),
                sql.Literal(password),
                sql.Literal(MOST_CONNECTIONS),
                sql.Identifier(GROUP),
            )
        )
        self.execute(
            sql.SQL("ALTER ROLE {} SET temp_file_limit = '256MB'").format(sql.Identifier(name))
        )
        with self._mutex:
            ((number,),) = self._admin.execute("SELECT %s::regrole::oid", [name])
        self._roles[number] = name
        return name, password

    def relieve(self) -> bool:
        """End the submissions whose sessions hold so many locks that the server has no room for
        others; whether there was one.

        Nothing in here takes a lock that needs room.
        """
        ended = False
        with self._mutex, contextlib.suppress(psycopg.Error):
            rows = self._admin.execute(
                "SELECT l.pid, a.usesysid::bigint FROM (SELECT pid FROM pg_lock_status() GROUP BY"
                " pid HAVING count(*) > %s) l, LATERAL pg_stat_get_activity(l.pid) a",
                [MOST_LOCKS],
            ).fetchall()
            for pid, role in rows:
                if name := self._roles.get(role):
                    self._admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                    self.hoarders.add(name)
                    ended = True
                    # Now there is room for this; it comes back no more.
                    self._admin.execute(
                        sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(name))
                    )
                    self._admin.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_get_activity(NULL)"
                        " WHERE usesysid = %s",
                        [role],
                    )
        return ended

    def trouble(self) -> str:
        """What the server says where it does not work; else ""."""
        try:
            self._drop(self._made(tables=False))
        except psycopg.Error as error:
            return (str(error).strip().splitlines() or [type(error).__name__])[0]
        except Problem as problem:
            return str(problem).splitlines()[-1]
        return ""

    def database(self, tables: bool = True) -> ScratchDatabase:
        """A database that was never used, with the course's tables or none."""
        if not tables:
            return self._made(tables=False)
        self._wanted = READY
        try:
            made = self._ready.get_nowait()
        except queue.Empty:
            made = self._made()
        self._work.put("refill")
        return made

    def drop(self, database: ScratchDatabase) -> None:
        """Drop it, not now but soon."""
        self._work.put(database)

    def drop_role(self, name: str) -> None:
        self._work.put(name)

    def close(self) -> None:
        """Drop everything that is left."""
        self._wanted = 0
        self._work.put(None)
        self._worker.join(60)
        # Also what could not be dropped while a submission left the server no room for locks.
        for database in [*self._made_now]:
            self._drop(database)
        with self._mutex, contextlib.suppress(psycopg.Error):
            if self.has_roles:
                ours = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)"
                for (name,) in self._admin.execute(ours, [f"{self._mark}_"]).fetchall():
                    self._admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
                give_up(self._admin, self._mark)
            self._admin.close()

    def _made(self, tables: bool = True) -> ScratchDatabase:
        made = scratch_database("grading") if tables else scratch_database("grading", schema="")
        self._made_now.add(made)
        if self.has_roles:
            with psycopg.connect(
                **self.address.libpq() | {"dbname": made.name}, autocommit=True
            ) as inside:
                inside.execute(
                    sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(GROUP))
                )
                for table in ("users", "reports") if tables else ():
                    inside.execute(
                        sql.SQL("ALTER TABLE {} OWNER TO {}").format(
                            sql.Identifier(table), sql.Identifier(GROUP)
                        )
                    )
                inside.execute(
                    sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(
                        sql.Identifier(made.name)
                    )
                )
        return made

    def _drop(self, database: ScratchDatabase) -> None:
        database.close()
        if database.closed:
            self._made_now.discard(database)

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            # What is not dropped now is swept by the next run.
            with contextlib.suppress(Exception):
                if isinstance(item, ScratchDatabase):
                    self._drop(item)
                elif item == "refill":
                    while self._ready.qsize() < self._wanted and self._work.empty():
                        self._ready.put(self._made())
                else:
                    self.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(item)))
            if self._work.empty() and self._ready.qsize() < self._wanted:
                self._work.put("refill")


class SubmissionDatabases:
    """What one submission has been lent.

    Its requests come from processes that are not to be trusted.
    """

    def __init__(self, databases: Databases, relayed: bool) -> None:
        self._lender = databases
        self._relayed = relayed
        self._mutex = threading.Lock()
        self._databases: dict[str, ScratchDatabase] = {}
        self._count = 0
        self._role: tuple[str, str] | None = None
        self.failed = ""  # what the server said to the grader itself: no submission's fault

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a process asked for; ``{"problem": …}`` where it cannot have it."""
        for again in (True, False):
            try:
                with self._mutex:
                    return self._answer(request)
            except (psycopg.Error, Problem) as error:
                if again and self._lender.relieve():
                    continue
                said = str(error).strip().splitlines() or [type(error).__name__]
                if isinstance(error, Problem):
                    self.failed = said[-1]
                    return {"problem": str(error)}
                self.failed = said[0]
                break
        return {"problem": f"The server could not do it.\nIt says: {self.failed}"}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.hoards:
            return {"problem": "This submission has taken all the locks of the server."}
        kind = request.get("op")
        if kind == "database":
            return self._make(request.get("tables") is not False)
        database = self._databases.get(str(request.get("name")))
        if database is None:
            return {"problem": "This database is not there any more."}
        if kind == "sessions":
            return {"sessions": [asdict(session) for session in database.sessions()]}
        if kind == "close":
            self._lender.drop(self._databases.pop(database.name))
            return {}
        return {"problem": "This is no request."}

    @property
    def hoards(self) -> bool:
        """Whether its sessions took so many locks that the server had no room for others."""
        return self._role is not None and self._role[0] in self._lender.hoarders

    def _make(self, tables: bool) -> dict[str, Any]:
        if self._count >= MOST_DATABASES:
            return {"problem": f"A submission has {MOST_DATABASES} databases at most."}
        self._count += 1
        database = self._lender.database(tables)
        self._databases[database.name] = database
        if self._lender.has_roles:
            self._role = self._role or self._lender.role()
            self._lender.execute(
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                    sql.Identifier(database.name), sql.Identifier(self._role[0])
                )
            )
        address = self._lender.address
        if self._role:
            address = replace(address, user=self._role[0], password=self._role[1])
        if self._relayed:
            address = replace(address, host="127.0.0.1")
        return {
            "name": database.name,
            "url": address.url(database.name),
            "libpq": address.libpq() | {"dbname": database.name},
        }

    def lends(self, database: str) -> bool:
        """Whether this submission may connect to a database."""
        return database in self._databases

    def close(self) -> None:
        """Take everything back."""
        with self._mutex:
            for database in self._databases.values():
                self._lender.drop(database)
            self._databases.clear()
            if self._role:
                self._lender.drop_role(self._role[0])


async def relay(
    listener: socket.socket, lent: SubmissionDatabases, host: str, port: int, looked_at: bool
) -> asyncio.Server:
    """Serve a listening socket of another network namespace: what connects there is passed on to
    the server, if it may be.

    ``looked_at``: read the first message and refuse another database; not possible where
    the connection is encrypted.
    """
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(open_now) < MOST_CONNECTIONS:
            open_now.add(task)
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, struct.error):
                    await _pass_on(reader, writer, lent, host, port, looked_at)
            finally:
                open_now.discard(task)
        writer.close()

    listener.setblocking(False)
    return await asyncio.start_server(serve, sock=listener)


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    lent: SubmissionDatabases,
    host: str,
    port: int,
    looked_at: bool,
) -> None:
    first = b""
    while looked_at:
        head = await reader.readexactly(8)
        size, code = struct.unpack("!II", head)
        if not 8 <= size <= 10_000:
            return
        first = head + await reader.readexactly(size - 8)
        if code in (_SSL, _GSS):
            writer.write(b"N")
            continue
        if code != _CANCEL and not lent.lends(_database_in(first)):
            writer.write(_refusal("this database is not yours"))
            await writer.drain()
            return
        break
    if host.startswith("/"):
        theirs, ours = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    else:
        theirs, ours = await asyncio.open_connection(host, port)
    ours.write(first)
    ways = [
        asyncio.ensure_future(_pour(reader, ours)),
        asyncio.ensure_future(_pour(theirs, writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        ours.close()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await source.read(1 << 16):
            target.write(part)
            await target.drain()


def _database_in(startup: bytes) -> str:
    words = startup[8:].split(b"\0")
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    return pairs.get(b"database", pairs.get(b"user", b"")).decode(errors="replace")


def _refusal(text: str) -> bytes:
    fields = b"SFATAL\0VFATAL\0C28000\0M" + text.encode() + b"\0\0"
    return b"E" + struct.pack("!I", len(fields) + 4) + fields
