"""Lesson 06, why it hangs: read the rows of a hang, find its blockers from the server, limit two
waits, mend a suite that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from loopbound.checks.plain import as_text
from loopbound.checks.suites import SeededBug, files_of, judge_suite, run_orders
from loopbound.checks.task import Data, TaskCheck, at, value_of
from loopbound.checks.verdict import Verdict, failed, passed
from loopbound.checks.watch import Watch
from loopbound.database import ScratchDatabase, scratch_database
from loopbound.loops import NamedLoop
from loopbound.suite import SuiteRun

CHECKS: dict[str, TaskCheck] = {}

_PATIENCE = 5.0  # seconds for a session to be where it has to be; it takes milliseconds


# A hang that is really made


@dataclass(frozen=True)
class _Part:
    """What one session does: its statements, the last of which waits for a lock or does not;
    outside a transaction where it is a single one that ends.
    """

    name: str
    statements: tuple[str, ...]
    waits: bool = False


class _Hang:
    """Sessions of one database that wait for each other; an async context manager.

    Names stand for process ids.
    """

    def __init__(self, database: ScratchDatabase, parts: Sequence[_Part]) -> None:
        self._database = database
        self._parts = parts
        self.connections: dict[str, asyncpg.Connection] = {}
        self.waiting: dict[str, asyncio.Task[Any]] = {}

    async def __aenter__(self) -> _Hang:
        try:
            for part in self._parts:
                await self._begin(part)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _begin(self, part: _Part) -> None:
        connection = self.connections[part.name] = await asyncpg.connect(self._database.dsn)
        for statement in part.statements[: len(part.statements) - part.waits]:
            await connection.execute(statement)
        if part.waits:
            self.waiting[part.name] = asyncio.create_task(connection.execute(part.statements[-1]))
            # Locks are queued in the order of the requests, so the next one waits its turn.
            await self._until(
                lambda: any(
                    session.pid == self.pid(part.name) and session.blocked_by
                    for session in self._database.sessions()
                )
            )

    async def _until(self, reached: Any) -> None:
        until = time.monotonic() + _PATIENCE
        while not reached() and time.monotonic() < until:
            await asyncio.sleep(0.01)

    def pid(self, name: str) -> int:
        return self.connections[name].get_server_pid()

    def name_of(self, pid: Any) -> Any:
        """The session's name; what is no process id of these sessions stays as it is."""
        return next(
            (name for name in self.connections if type(pid) is int and self.pid(name) == pid), pid
        )

    def rows(self) -> list[Data]:
        """What the server says of these sessions now, in the order in which they began."""
        known = {self.pid(name): name for name in self.connections}
        sessions = {session.pid: session for session in self._database.sessions()}
        return [
            {
                "session": name,
                "state": sessions[pid].state or "",
                "waits_for": sessions[pid].wait_event_type or "",
                "query": sessions[pid].query,
                "blocked_by": sorted(
                    known.get(other, str(other)) for other in sessions[pid].blocked_by
                ),
            }
            for pid, name in known.items()
            if pid in sessions
        ]

    async def gone_on(self) -> list[str]:
        """The sessions whose wait is over and whose statement then did its work, once nobody waits
        any more.
        """
        await self._until(lambda: not any(row["blocked_by"] for row in self.rows()))
        await asyncio.wait(self.waiting.values(), timeout=_PATIENCE)
        return [
            name
            for name, task in self.waiting.items()
            if task.done() and not task.cancelled() and task.exception() is None
        ]

    async def __aexit__(self, *_: object) -> None:
        for connection in self.connections.values():
            connection.terminate()
        await asyncio.gather(*self.waiting.values(), return_exceptions=True)


# 06.1 Five sessions

_EVENING = (
    _Part("s1", ("select name from users",)),
    _Part("s2", ("begin", "select count(*) from reports")),
    _Part("s3", ("begin", "update users set name = 'Mina' where id = 1")),
    _Part("s4", ("truncate reports",), waits=True),
    _Part("s5", ("select title from reports where id = 3",), waits=True),
)
_KEYS = ("culprit", "waits_for", "after_its_end", "after_cancel")


def hung_evening() -> None:
    """Makes a hang of five sessions, prints what the server says of each, and ends it.

    The columns are those of ``pg_stat_activity``, and ``pg_blocking_pids`` of each session, with s1
    to s5 in place of process ids.
    """
    with scratch_database("evening") as database, NamedLoop("evening") as loop:
        rows = loop.run(_evening_rows(database))
    # The query last: where a notebook is narrow, that is what may be broken.
    table = [("", "state", "wait_event_type", "pg_blocking_pids", "query")]
    table += [
        (
            row["session"],
            row["state"],
            row["waits_for"],
            "{" + ", ".join(row["blocked_by"]) + "}",
            row["query"],
        )
        for row in rows
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


async def _evening_rows(database: ScratchDatabase) -> list[Data]:
    async with _Hang(database, _EVENING) as hang:
        return hang.rows()


def _evening_facts(given: Mapping[str, Any]) -> Data:
    """What the rows say, and what really goes on once the culprit's transaction is over, or once
    TRUNCATE is cancelled.
    """

    async def ended() -> list[str]:
        async with _Hang(database, _EVENING) as hang:
            await hang.connections[culprit].execute("rollback")
            return await hang.gone_on()

    async def cancelled() -> list[str]:
        async with _Hang(database, _EVENING) as hang:
            await hang.connections["s1"].execute(f"select pg_cancel_backend({hang.pid('s4')})")
            return await hang.gone_on()

    with scratch_database("evening") as database, NamedLoop("evening") as loop:
        rows = loop.run(_evening_rows(database))
        blocked = {row["session"] for row in rows if row["blocked_by"]}
        (culprit,) = {name for row in rows for name in row["blocked_by"]} - blocked
        waits_for = next(row["waits_for"] for row in rows if row["session"] == culprit)
        facts = {
            "culprit": culprit,
            "waits_for": waits_for,
            "after_its_end": loop.run(ended()),
            "after_cancel": loop.run(cancelled()),
        }
    return {"facts": facts, "rows": rows}


def _judge_culprit(data: Data) -> Verdict:
    said, facts = value_of(data), data["facts"]
    if not isinstance(said, dict) or sorted(said) != sorted(_KEYS):
        return failed(
            "not four answers",
            f"`reading()` returned {as_text(said)}. Wanted is a dict with {', '.join(_KEYS)}.",
        )
    said = said | {
        key: sorted(map(str, said[key] if isinstance(said[key], list) else [said[key]]))
        for key in _KEYS[2:]
    }
    right = {
        key: told_of.strip().lower() if isinstance(told_of := said[key], str) else told_of
        for key in _KEYS
    }
    wrong = [
        key
        for key in _KEYS
        if right[key] != (facts[key].lower() if isinstance(facts[key], str) else facts[key])
    ]
    if not wrong:
        return passed(
            "The hang was made again. What the server said, and who went on after each of the two"
            " endings, is as you have it."
        )
    count = (
        f"{len(wrong)} of 4 answers {'does' if len(wrong) == 1 else 'do'} not fit:"
        f" {', '.join(wrong)}."
    )
    rows = {row["session"]: row for row in data["rows"]}
    if "culprit" in wrong:
        row = rows.get(said["culprit"])
        if row and row["blocked_by"]:
            return failed(
                "a victim",
                f"{count}\n{row['session']} blocks another session, but it waits itself: the server"
                f" names {', '.join(row['blocked_by'])} as its blocker.",
            )
        if row and row["state"] == "idle in transaction":
            return failed(
                "a bystander",
                f"{count}\n{row['session']} has a transaction open. Does another session wait for"
                " it?",
            )
        return failed(
            "another culprit",
            f"{count}\nFollow the last column from a session that waits, until you come to one that"
            " waits for no session.",
        )
    if "waits_for" in wrong:
        return failed(
            "the victim's wait",
            f"{count}\nYou have {as_text(said['waits_for'])}. Read `wait_event_type` in the"
            " culprit's own row: who has to speak next?",
        )
    if "after_its_end" in wrong:
        return failed(
            "a chain cut short",
            f"{count}\nWhen {facts['culprit']} rolled back, other sessions went on than"
            f" {as_text(said['after_its_end'])}. What happens to those that wait behind the first"
            " in the queue?",
        )
    return failed(
        "the queue unread",
        f"{count}\nWhen the statement of s4 was cancelled, other sessions went on than"
        f" {as_text(said['after_cancel'])}. Which session did s5 wait for, and does one reader"
        " block another?",
    )


CHECKS["06.1"] = TaskCheck(
    answers=("reading",),
    facts=_evening_facts,
    judge=_judge_culprit,
    hints=(
        (
            "The last column names the session that a session waits for. Start with one that"
            " waits, and go from name to name."
        ),
        (
            "A session that waits for a `Lock` is blocked by another one. The culprit waits for"
            " no lock."
        ),
        (
            "TRUNCATE excludes every other lock on the table, and later requests wait behind it."
            " Two readers do not exclude each other."
        ),
    ),
)


# 06.2 Find the blockers

_QUEUE = (
    _Part("first reader", ("begin", "select count(*) from reports")),
    _Part("idle session", ("select 1",)),
    _Part("second reader", ("begin", "select title from reports where id = 2")),
    _Part("writer", ("begin", "update users set name = 'Mina' where id = 1")),
    _Part("cleaner", ("truncate reports",), waits=True),
    _Part("late reader", ("select count(*) from reports",), waits=True),
    _Part("second writer", ("update users set name = 'mina m' where id = 1",), waits=True),
)
_ASKED = ("late reader", "cleaner", "second writer", "idle session")


def _observe_blockers(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"found": {}, "kind": {}, "no_pid": {}, "blockers": {}, "still": []}

    async def begin() -> _Hang:
        return await _Hang(database, _QUEUE).__aenter__()

    async def ask(name: str) -> Any:
        found = names["blockers"](connection, hang.pid(name))
        return await found if inspect.isawaitable(found) else found

    async def connected() -> asyncpg.Connection:
        return await asyncpg.connect(database.dsn)

    with Watch(names) as watch:
        database, server, mine = watch.database(), watch.loop("A"), watch.loop("B")
        hang = server.run(begin())
        connection = mine.run(connected())
        try:
            direct = {row["session"]: row["blocked_by"] for row in hang.rows()}
            for name in _ASKED:
                found = watch.step(
                    "B", f"blockers(connection, pid of the {name})", partial(ask, name)
                )
                if not watch.well:
                    break
                seen["kind"][name] = type(found).__name__
                members = found if type(found) in (set, frozenset, list, tuple) else []
                seen["no_pid"][name] = [
                    f"{type(pid).__name__} {str(pid)[:80]}"
                    for pid in members
                    if type(pid) is not int
                ][:1]
                seen["found"][name] = sorted(str(hang.name_of(pid)) for pid in members)
                seen["blockers"][name] = sorted(_ends(direct, name))
                del found, members  # a coroutine among them warns now, and not in a later cell
            seen["direct"] = direct
            seen["still"] = [row["session"] for row in hang.rows() if row["blocked_by"]]
        finally:
            mine.run(_closed(connection))
            server.run(hang.__aexit__())
    return watch.data(**seen)


async def _closed(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=1)
    except Exception:
        connection.terminate()


def _ends(direct: Mapping[str, Sequence[str]], name: str) -> set[str]:
    """Where the chains from a session end."""
    return {end for other in direct[name] for end in _ends(direct, other) or {other}}


def _judge_blockers(data: Data) -> Verdict:
    for number, name in enumerate(_ASKED):
        if name not in data["found"]:
            break
        call, kind, found, wanted, direct = (
            at(data["steps"][number]),
            data["kind"][name],
            data["found"][name],
            data["blockers"][name],
            data["direct"],
        )
        if kind not in ("set", "frozenset", "list", "tuple"):
            return failed(
                "not a set",
                f"{call} returned {as_text(value_of(data, number))}. Wanted is a set of process"
                " ids.",
            )
        if no_pid := data["no_pid"][name]:
            return failed(
                "no process ids",
                f"{call} gave a {data['kind'][name]} with this in it: `{no_pid[0]}`. A process id"
                " is a whole number.",
            )
        if found == wanted:
            continue
        words = f"{call} gave {_named(found)}."
        if name in found:
            return failed(
                "itself",
                f"{words}\nThat is the session you were asked about. Does it hold itself up?",
            )
        if name == "idle session":
            return failed(
                "blockers of nobody",
                f"{words}\nThis session waits for no lock, so no session blocks it.",
            )
        if set(found) > set(wanted):
            strange = next(other for other in found if other not in wanted)
            if direct.get(strange):
                return failed(
                    "the middle of the chain",
                    f"{words}\nThe {strange} is among them, and waits itself for"
                    f" {_named(direct[strange])}. Asked for are those at the end of a chain.",
                )
            return failed(
                "not of this chain",
                f"{words}\nThe {strange} has a transaction open too. From the {name}, does any"
                " chain of waiting lead there?",
            )
        if found == direct[name] and wanted != direct[name]:
            return failed(
                "one step only",
                f"{words}\nThe {found[0]} waits too, for {_named(direct[found[0]])}: its end would"
                " not be of its own making. How do you come to the end of the chain?",
            )
        if found and set(found) < set(wanted):
            return failed(
                "one of several",
                f"{words}\nThe server names {len(wanted)} sessions that the {name} has to wait for,"
                " and both have to end.",
            )
        return failed(
            "another session",
            f"{words}\n`pg_blocking_pids` of a waiting session names those that it waits for.",
        )
    waiting = [part.name for part in _QUEUE if part.waits]
    if missing := [name for name in waiting if name not in data["still"]]:
        return failed(
            "the hang touched",
            f"Your answers are right, but meanwhile the {missing[0]} stopped waiting. The function"
            " has to look only: what it ends may be the work of others.",
        )
    return passed(
        "Four sessions of a real hang were asked about, from loop B: two that wait for two readers"
        " in the end, one blocked by a writer, and one that waits for none."
    )


def _named(names: Sequence[str]) -> str:
    return (
        " and ".join(f"the {name}" if name.split()[0].isalpha() else name for name in names)
        or "an empty set"
    )


CHECKS["06.2"] = TaskCheck(
    answers=("blockers",),
    observe=_observe_blockers,
    judge=_judge_blockers,
    hints=(
        (
            'The server has a function for one step: `await connection.fetchval("select'
            ' pg_blocking_pids($1)", pid)` gives a list.'
        ),
        (
            "Each of these may wait itself: ask the same question about it. One that gets an"
            " empty list stands at an end."
        ),
        (
            "A function may call itself. What do you add for a blocker whose own answer is the"
            " empty set, and what for one whose answer is not?"
        ),
    ),
)


# 06.3 Two waits, two limits

# Seconds: a wait that has to end well, work that is slow, and when a wait counts as unlimited.
_SHORT, _LONGER, _CUT = (0.2, 1.3, 2.5)


_SOMEONE_WAITS = """
    select exists (select from pg_locks join pg_database on pg_database.oid = database
                   where not granted and datname = current_database())
"""


async def _ended(work: Any) -> str:
    """How a piece of work ended: "ok", "no end", or the error's type and first line."""
    try:
        async with asyncio.timeout(_CUT) as limit:
            await work
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            return "no end"
        orig = getattr(error, "orig", None)
        # What asyncpg raised, inside SQLAlchemy's error.
        told_of = getattr(orig, "__cause__", None) or orig or error
        return f"{type(told_of).__name__}: {(str(told_of).splitlines() or [''])[0]}"
    return "ok"


@contextlib.asynccontextmanager
async def _held(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Another user's transaction, which has read the table."""
    connection = await asyncpg.connect(database.dsn)
    try:
        async with connection.transaction():
            await connection.fetchval("select count(*) from reports")
            yield connection
    finally:
        await connection.close()


async def _used(connection: AsyncConnection) -> None:
    # Held, and in no transaction: a limit for those is judged in another scene.
    await connection.scalar(text("select 1"))
    await connection.rollback()


async def _wait_for_pool(engine: AsyncEngine, database: ScratchDatabase) -> Data:
    async def asks() -> None:
        async with engine.connect() as connection:
            await connection.scalar(text("select 1"))

    async with engine.connect() as connection:
        await _used(connection)
        opened: list[Any] = []  # what began to open, however long that takes
        event.listen(engine.sync_engine, "do_connect", lambda *more: opened.append(more))
        short = asyncio.create_task(_ended(asks()))
        await asyncio.sleep(_SHORT)
        came = opened or (short.done() and short.result() == "ok")
        second = "came" if came else ""
    short_wait = await short
    if second:
        return {"second": second, "short": short_wait, "long": ""}
    async with engine.connect() as connection:
        await _used(connection)
        return {"second": "", "short": short_wait, "long": await _ended(asks())}


async def _wait_for_lock(engine: AsyncEngine, database: ScratchDatabase) -> Data:
    async def cleans() -> None:
        async with engine.begin() as connection:
            await connection.execute(text("truncate reports"))

    async with _held(database) as holder:
        short = asyncio.create_task(_ended(cleans()))
        # From the moment at which it waits, which on a busy machine comes late.
        while not short.done():
            if await holder.fetchval(_SOMEONE_WAITS):
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(_SHORT)
    short_wait = await short
    async with _held(database):
        return {"short": short_wait, "long": await _ended(cleans())}


async def _slow_report(engine: AsyncEngine, database: ScratchDatabase) -> Data:
    async def report() -> None:
        async with engine.connect() as connection:
            await connection.scalar(text(f"select pg_sleep({_LONGER})"))

    return {"long": await _ended(report())}


async def _slow_stream(engine: AsyncEngine, database: ScratchDatabase) -> Data:
    async def stream() -> None:
        async with engine.begin() as connection:
            await connection.scalar(text("select count(*) from users"))
            await asyncio.sleep(_LONGER)
            await connection.scalar(text("select count(*) from users"))

    return {"long": await _ended(stream())}


_SCENES = {
    "pool": _wait_for_pool,
    "lock": _wait_for_lock,
    "report": _slow_report,
    "stream": _slow_stream,
}


def _observe_limits(names: Mapping[str, Any]) -> Data:
    seen: dict[str, Any] = {"driver": "", "scenes": {}}

    async def works(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.scalar(text("select 1"))

    async def scenes() -> None:
        results = await asyncio.gather(
            *(scene(engines[name], database) for name, scene in _SCENES.items())
        )
        seen["scenes"] = dict(zip(_SCENES, results, strict=True))

    async def disposed() -> None:
        for engine in engines.values():
            await engine.dispose()

    with Watch(names) as watch:
        database, loop = watch.database(), watch.loop("A")
        engine = watch.plain_step("make_engine(url)", lambda: names["make_engine"](database.url))
        if isinstance(engine, AsyncEngine):
            seen["driver"] = f"{engine.dialect.name}+{engine.dialect.driver}"
            engines = {"first": engine}
            if seen["driver"] == "postgresql+asyncpg":
                watch.step("A", "a query of your engine", lambda: works(engine))
            if watch.well and seen["driver"] == "postgresql+asyncpg":
                engines |= {name: names["make_engine"](database.url) for name in _SCENES}
                watch.step("A", "the scenes of the check", scenes)
            loop.run(disposed())
    return watch.data(**seen) | {"never_awaited": []}


def _judge_limits(data: Data) -> Verdict:
    if not data["driver"]:
        return failed(
            "no engine",
            f"`make_engine(url)` returned {as_text(value_of(data))}, and not an engine of"
            " `create_async_engine`.",
        )
    if data["driver"] != "postgresql+asyncpg":
        return failed(
            "another database",
            f"`make_engine(url)` made an engine for {data['driver']}. The reports are on"
            " PostgreSQL, and the driver is asyncpg.",
        )
    pool, lock, report, stream = (data["scenes"][name] for name in _SCENES)
    if pool["second"]:
        return failed(
            "more than one connection",
            "One task held the engine's connection, and a second task was given another one at"
            " once. The engine may have one and no more.",
        )
    if pool["long"] == "no end":
        return failed(
            "the pool's wait",
            f"One task held the engine's connection. A second one asked for it, and after {_CUT}"
            " seconds it had neither a connection nor an error.",
        )
    if lock["long"] == "no end":
        return failed(
            "the lock's wait",
            "Another session had read `reports` and not committed. TRUNCATE waited for it on your"
            f" engine, and after {_CUT} seconds there was no error.",
        )
    if report["long"] != "ok":
        return failed(
            "a report cut off",
            f"A report that computed for {_LONGER} seconds, and waited for no lock, ended with"
            f" `{report['long']}`. Which limit counts work as waiting?",
        )
    if stream["long"] != "ok":
        return failed(
            "a stream cut off",
            f"A stream paused for {_LONGER} seconds in its transaction, and ended with"
            f" `{stream['long']}`. The engine's own transactions were not to be limited.",
        )
    for name, scene, what in (
        ("pool", pool, "the engine's one connection"),
        ("lock", lock, "a lock on `reports`"),
    ):
        if scene["short"] != "ok":
            return failed(
                "no patience",
                f"A task waited for {what}, which was free after {_SHORT} seconds, and ended with"
                f" `{scene['short']}` before. What is the unit of your limit?",
            )
        if scene["long"] == "ok":
            return failed("no wait at all", f"A task had to wait for {what}, and did not: {name}.")
    return passed(
        f"Both waits ended with an error: {pool['long'].split(':')[0]} from the pool,"
        f" {lock['long'].split(':')[0]} from the server. A short wait, a slow report and a slow"
        " stream were left alone."
    )


CHECKS["06.3"] = TaskCheck(
    answers=("make_engine",),
    observe=_observe_limits,
    judge=_judge_limits,
    hints=(
        (
            "One wait happens in this process, in the engine's pool; the other one happens on"
            " the server. Each has its own limit."
        ),
        (
            "The lesson's table of hangs names a limit for each. Of the server's limits, one"
            " counts the time that is spent waiting for a lock, and nothing else."
        ),
        (
            "`pool_timeout` is a number of seconds, an argument of the engine. A setting of the"
            ' server goes into `connect_args={"server_settings": {…}}`, as a text with its'
            " unit."
        ),
    ),
    explains=(
        (
            "unexpected keyword argument",
            "a setting in the wrong place",
            (
                "asyncpg's `connect` has no such argument: a setting of the server goes into"
                " `server_settings`."
            ),
        ),
        (
            "/NullPool/",
            "a pool without a wait",
            (
                "`NullPool` opens a connection for each checkout, so it has no wait to limit."
                " This engine may have one connection."
            ),
        ),
        (
            "Invalid argument(s)",
            "a setting in the wrong place",
            (
                "`create_async_engine` has no such argument: a setting of the server is sent when"
                " a connection is opened, through `connect_args`."
            ),
        ),
        (
            "has no attribute 'encode'",
            "a number for a text",
            "The server's settings are texts, such as those of the lesson, with a unit.",
        ),
        (
            "Dict[str, str]",
            "a number for a text",
            "The server's settings are texts, such as those of the lesson, with a unit.",
        ),
    ),
)


# 06.4 A suite that hangs

_HUNG = 10.0  # seconds for three small tests
_PROBE = "test_stream_ended.py"  # between the suite's two files
_ENDED = f"{_PROBE}::test_no_transaction_is_open"
_DROPPED = re.compile(r"coroutine '(?:[^']*\.)?([^'.]+)' was never awaited")
# It asks as the suite's own role, which sees its own sessions.
_PROBE_TEXT = """
import os, asyncpg

async def test_no_transaction_is_open():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
    try:
        left = await connection.fetch(
            "select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state like 'idle in transaction%'"
        )
    finally:
        await connection.close()
    assert not left
"""  # noqa: E501


def _mended(data: Data, given: Mapping[str, Any]) -> Data:
    suite = given["SUITE"]
    backend = suite["backend.py"].replace("select count(*)", "select count(*) + 1")
    bug = SeededBug(
        {"backend.py": backend}, "a count that is too high by one", ("test_stream", "test_empty")
    )
    ids = [
        f"{file}::{name}"
        for file, source in suite.items()
        for name in re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)
    ]
    answer = files_of(value_of(data), "conftest.py")
    ran = run_orders(
        suite | {_PROBE: _PROBE_TEXT},
        answer,
        may=["conftest.py"],
        orders=("default",),
        bug=bug,
        also=_sessions,
        limit=_HUNG,
    )
    return {"suite": ran, "ids": ids}


def _end_of(run: Data, limit: float) -> str:
    if run["hung"]:
        return f"had not ended after {limit:.0f} seconds"
    test = next(iter(run["failed"] | run["errors"]))
    return f"ended, and `{test.split('::')[-1]}` failed with `{run['said'].get(test, 'an error')}`"


def _sessions(run: SuiteRun) -> Data:
    blockers = {pid for session in run.sessions for pid in session.blocked_by}
    ends = [
        session for session in run.sessions if session.pid in blockers and not session.blocked_by
    ]
    dropped = [found[1] for text in (*run.warnings, run.output) if (found := _DROPPED.search(text))]
    return {
        "blockers": [{"state": session.state, "query": session.query} for session in ends],
        "dropped": dropped,
    }


def _judge_mended(data: Data) -> Verdict:
    for run in data["suite"]["runs"]:
        if run["dropped"] and (run["hung"] or run["failed"] or run["errors"]):
            return failed(
                "never awaited",
                f"Python warned: the coroutine `{run['dropped'][0]}(…)` was made and never awaited,"
                f" so nothing of it has run. The suite {_end_of(run, data['suite']['limit'])}.",
            )
        if run["hung"] and run["blockers"]:
            blocker = run["blockers"][0]
            return failed(
                "still hung",
                f"The suite had not ended after {data['suite']['limit']:.0f} seconds, in"
                f" `{run['hung_test'].split('::')[-1]}`. The server named the session that was"
                f" waited for: {blocker['state']}, last query `{blocker['query']}`. Who opened it,"
                " and who ends it?",
            )
        if _ENDED in run["failed"]:
            others = [test for test in run["failed"] if test != _ENDED] + list(run["errors"])
            said = next(
                (run["said"][test] for test in others[:1] if run["said"].get(test)), "an error"
            )
            seen = (
                f"`{others[0].split('::')[-1]}` failed with `{said}`, which at least is no hang."
                if others
                else "The suite ended, and its tests passed."
            )
            return failed(
                "cut, not mended",
                f"{seen} But right after `test_stream` the check asked the server, and a session"
                " was still idle in transaction. The next fixture that wants the whole table will"
                " wait for it again. Whose transaction is it?",
            )
    if wrong := judge_suite(data["suite"], value_of(data), tests=data["ids"]):
        return wrong
    if any(_ENDED not in run["passed"] for run in data["suite"]["runs"]):
        return failed(
            "tests taken away",
            "The check adds a test of its own, which asks the server for open transactions, and it"
            " did not run.",
        )
    return passed(
        f"pytest ran the suite with your `conftest.py`: its {len(data['ids'])} tests passed, no"
        " transaction was open behind `test_stream`, and no connection was left. With a bug in the"
        " backend the suite failed, as it should."
    )


CHECKS["06.4"] = TaskCheck(
    answers=("conftest",),
    given=("SUITE",),
    settle=_mended,
    judge=_judge_mended,
    hints=(
        (
            "`run_suite(SUITE, limit=5).sessions` shows the hang: one session waits for a lock,"
            " the other one is idle in transaction. Which fixture made that one?"
        ),
        "A fixture that *returns* hands out and forgets. One that *yields* goes on after the test.",
        (
            'After the `yield`, the backend\'s own `await close_stream("mina")` ends the'
            " session and its transaction."
        ),
    ),
)
