"""The watcher: which loop an object was born on, and each use of it on another one.

It changes nothing of what it watches, and keeps neither a loop nor a connection alive. Loops are
told apart by weak references: a new loop may have the ``id()`` of one that has gone.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from asyncio import _get_running_loop
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loopbound.guard.frames import held_by, place, runner, waits

LIMIT = 1000
"""Crossings, and loops outside tests, that are kept: a process that runs for months has more."""
# Drivers of SQLAlchemy whose connections do not bind to a loop as long as nothing waits.
LENIENT = {"aiosqlite", "psycopg", "psycopg_async"}

POOL_QUEUE = "queue of an engine's pool"
ERROR = "error"
MAYBE = "maybe"  # it binds only what waits: a fault if the test fails by it
NOTE = "note"


@dataclass(eq=False)
class Loop:
    """An event loop that was seen.

    Attributes:
        number: in the order in which they were seen, from 1.
        runner: who runs it.
        test: in which it was first seen.
        thread: the name of its thread; "" for the main one.
        scope: the loop scope that stands at the fixture or test itself, over the configuration's.
        ref: the loop, while it lives.
        tests: test → what happened on it there: "o" used, "x" crossed.
    """

    number: int
    runner: str
    test: str
    thread: str
    scope: str
    ref: weakref.ref[Any]
    tests: dict[str, str] = field(default_factory=dict)

    def state(self) -> str:
        """ "closed", "idle", "awake", or "waits": it runs, and its thread waits for another."""
        loop = self.ref()
        if loop is None or loop.is_closed():
            return "closed"
        if not loop.is_running():
            return "idle"
        return "waits" if waits(loop) else "awake"


@dataclass(frozen=True)
class Moment:
    """Where something happened: test, phase of it, fixture (with its scope), line, loop."""

    test: str
    phase: str
    fixture: str
    place: str
    loop: Loop | None


@dataclass(eq=False)
class Owner:
    """What made a connection: an engine, a pool.

    Attributes:
        what: such as ``"engine"``.
        place: where it was made; "" if that was before anything watched.
        driver: such as ``"postgresql+asyncpg"``; "" without SQLAlchemy.
        lenient: its driver binds no connection to a loop.
    """

    what: str
    place: str
    driver: str = ""
    lenient: bool = False


@dataclass(eq=False)
class Thing:
    """An object that binds to a loop.

    Attributes:
        what: ``"connection"``, ``"asyncpg.Pool"``, ``"psycopg_pool"``, a primitive's type, or
            `POOL_QUEUE`.
        born: when it bound to its loop.
        owner: what it belongs to.
        out: when it was last checked out of its pool.
        crossed: the last test and loop to which it crossed.
    """

    what: str
    born: Moment
    owner: Owner | None = None
    out: Moment | None = None
    crossed: tuple[str, int] | None = None


@dataclass(eq=False)
class Crossing:
    """One use of a thing on another loop than its own.

    Attributes:
        kind: its kind's id in the catalogue.
        severity: `ERROR`, `MAYBE` or `NOTE`.
        act: what was done, such as ``"ping"``.
        used: when and where.
        state: of the loop of birth, at that time.
        session: when the session that held the connection was made.
    """

    kind: str
    severity: str
    thing: Thing
    act: str
    used: Moment
    state: str
    session: Moment | None = None

    @property
    def born(self) -> Moment:
        """When the thing bound to its loop."""
        return self.thing.born


class Watcher:
    """Remembers births, and tells of crossings.

    Attributes:
        test: the test that runs, with `phase`, `fixture` and `loop_scope`: set by the plugin.
        loops: each that was seen.
        crossings: the latest.
        broken: the first error of the watcher's own; it goes on without the record in question.
    """

    def __init__(self) -> None:
        self.test = self.phase = self.fixture = self.loop_scope = ""
        self.loops: list[Loop] = []
        self.crossings: list[Crossing] = []
        self.listeners: list[Callable[[Crossing], None]] = []
        self.broken: str = ""
        self.owners: weakref.WeakKeyDictionary[Any, Owner] = weakref.WeakKeyDictionary()
        self._things: weakref.WeakKeyDictionary[Any, Thing] = weakref.WeakKeyDictionary()
        self._loops: weakref.WeakKeyDictionary[Any, Loop] = weakref.WeakKeyDictionary()
        self._sessions: weakref.WeakKeyDictionary[Any, Moment] = weakref.WeakKeyDictionary()
        self._out: weakref.WeakKeyDictionary[Any, Thing] = weakref.WeakKeyDictionary()
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    # -- births ------------------------------------------------------------------------------------

    def moment(self) -> Moment:
        """Now and here."""
        return Moment(self.test, self.phase, self.fixture, place(), self._loop_here())

    def _loop_here(self) -> Loop | None:
        running = _get_running_loop()
        return None if running is None else self.loop_of(running)

    def loop_of(self, loop: Any, who: str = "") -> Loop:
        """The record of a loop, which is made when the loop is first seen, in it.

        Args:
            loop: an event loop.
            who: who runs it, where that is not to be asked of the frames.
        """
        found = self._loops.get(loop)
        if found is None:
            with self._lock:
                thread = threading.current_thread()
                found = Loop(
                    next(self._numbers),
                    who or runner(),
                    self.test,
                    "" if thread is threading.main_thread() else thread.name,
                    self.loop_scope,
                    weakref.ref(loop),
                )
                self._loops[loop] = found
                self.loops.append(found)
                if not self.test:  # no table of tests to draw: a process may make many loops
                    del self.loops[:-LIMIT]
        return found

    def born(self, key: Any, what: str, owner: Owner | None = None) -> Thing:
        """Remember that an object has bound to the running loop."""
        moment = self.moment()
        thing = self._things[key] = Thing(what, moment, owner)
        self._used(moment)
        return thing

    def met(self, key: Any, what: str, owner: Owner | None, loop: Any) -> Thing:
        """Remember an object that was bound to a loop before anything watched."""
        moment = Moment("", "", "", "", self.loop_of(loop, "from before the guard"))
        thing = self._things[key] = Thing(what, moment, owner)
        return thing

    def thing(self, key: Any) -> Thing | None:
        """What is known of an object."""
        return None if key is None else self._things.get(key)

    def session(self, session: Any) -> None:
        """Remember where a session object is made."""
        self._sessions[session] = self.moment()

    # -- uses --------------------------------------------------------------------------------------

    def checked_out(self, key: Any) -> None:
        """A pool has given out a connection."""
        thing = self.thing(key)
        if thing is not None:
            # Without its line: a checkout is frequent, and to find that takes time.
            thing.out = Moment(self.test, self.phase, self.fixture, "", self._loop_here())
            self._out[key] = thing
            self._used(thing.out)

    def checked_in(self, key: Any) -> None:
        """A connection has come back."""
        thing = None if key is None else self._out.pop(key, None)
        if thing is not None:
            thing.out = None

    def used(self, thing: Thing | None, act: str, severity: str = ERROR) -> None:
        """An object is about to be used on the running loop."""
        running = _get_running_loop()
        if running is None or thing is None or thing.born.loop is None:
            return
        if thing.born.loop.ref() is not running:
            self._cross(thing, act, severity)

    def bound_elsewhere(self, thing: Thing, act: str) -> None:
        """asyncio itself says that an object is bound to another loop."""
        self._cross(thing, act, ERROR)

    def _cross(self, thing: Thing, act: str, severity: str) -> None:
        loop = self._loop_here()
        if loop is None or thing.crossed == (self.test, loop.number):
            return
        thing.crossed = (self.test, loop.number)
        used = self.moment()
        if thing.owner is not None and thing.owner.lenient and severity == ERROR:
            severity = MAYBE
        state = thing.born.loop.state() if thing.born.loop else "closed"
        held = held_by("AsyncSession") if thing.what == "connection" else None
        session = self._sessions.get(held) if held is not None else None
        kind = "dispose-elsewhere" if severity == NOTE else _kind(thing, used, state)
        crossing = Crossing(kind, severity, thing, act, used, state, session)
        if used.test:
            loop.tests[used.test] = "x" if severity == ERROR else "n"
        self.crossings.append(crossing)
        del self.crossings[:-LIMIT]
        for listener in list(self.listeners):
            listener(crossing)

    def left_open(self, test: str = "") -> list[Thing]:
        """Connections that are out of their pool in a transaction, and whose loop has closed.

        Args:
            test: also those on open loops that an earlier test than this one took.
        """
        found = []
        for key, thing in list(self._out.items()):
            out = thing.out or thing.born
            closed = out.loop is not None and out.loop.state() == "closed"
            if not closed and (not test or out.test == test):
                continue
            with contextlib.suppress(Exception):
                if _in_transaction(key):
                    found.append(thing)
        return found

    def _used(self, moment: Moment) -> None:
        if moment.loop is not None and moment.test:
            moment.loop.tests.setdefault(moment.test, "o")

    def failed(self, error: Exception) -> None:
        """The watcher itself has failed; what it watches must not learn of it."""
        self.broken = self.broken or f"{type(error).__name__}: {error}"


def _kind(thing: Thing, used: Moment, state: str) -> str:
    """The kind of a crossing, as the catalogue names it."""
    if thing.what == "asyncpg.Pool":
        return "asyncpg-pool"
    if thing.what == "psycopg_pool":
        return "psycopg-pool"
    if thing.what not in ("connection", POOL_QUEUE):
        return "contended-primitive"
    if state in ("awake", "waits"):
        return "two-awake-loops"
    if thing.owner is None or (thing.out is not None and thing.out.loop is not used.loop):
        return "session-object"
    if used.loop is not None and used.loop.runner == "uvicorn":
        return "startup-loop"
    if used.test and state == "idle" and (thing.born.phase != "call" or used.phase != "call"):
        return "fixture-and-test"
    return "engine-in-a-row"


def _in_transaction(driver: Any) -> bool:
    """Whether a driver's connection says that a transaction is open."""
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return not driver.is_closed() and bool(driver.is_in_transaction())
    if hasattr(driver, "pgconn"):  # psycopg
        return not driver.closed and driver.info.transaction_status.name != "IDLE"
    return bool(getattr(driver, "in_transaction", False))  # aiosqlite
