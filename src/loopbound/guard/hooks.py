"""Where the watcher listens: SQLAlchemy, asyncpg, psycopg_pool, asyncio's primitives.

A library is listened to once the process imports it itself. One watcher serves all who asked for
one; with the last of them everything is put back.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.abc
import importlib.machinery
import os
import sys
import threading
import weakref
from asyncio import mixins
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from loopbound.guard.frames import held_by, module_of, place
from loopbound.guard.watcher import ERROR, LENIENT, MAYBE, NOTE, POOL_QUEUE, Owner, Thing, Watcher

_MADE_AT = "_loop_guard_made_at"  # an attribute of a primitive: file:line
_MADE_BY = "_loop_guard_made_by"  # the engine in whose pool it is
_MADE_OF = "_loop_guard_made_of"  # the library whose own it is
_POOL_QUEUE_FILE = os.path.join("sqlalchemy", "util", "queue.py")
_lock = threading.RLock()
_running: Watcher | None = None
_users = 0
_undo: list[Callable[[], object]] = []


def start() -> Watcher:
    """The watcher of this process, which listens from now on until as many calls of `stop`."""
    global _running, _users
    with _lock:
        _users += 1
        if _running is None:
            _running = Watcher()
            _listen(_running)
        return _running


def stop() -> None:
    """Put everything back, if nothing else needs the watcher."""
    global _running, _users
    with _lock:
        _users -= 1
        if _users == 0 and _running is not None:
            while _undo:
                _undo.pop()()
            for dialect in list(_running.owners):
                vars(dialect).pop("do_ping", None)
            _running = None


def _listen(watcher: Watcher) -> None:
    _primitives(watcher)
    finder = _Finder({name: functools.partial(hook, watcher) for name, hook in _HOOKS.items()})
    sys.meta_path.insert(0, finder)
    _undo.append(lambda: sys.meta_path.remove(finder))
    for name in _HOOKS:
        if name in sys.modules:
            finder.imported(sys.modules[name])


class _Finder(importlib.abc.MetaPathFinder):
    """Lets the others find a module, and calls a hook when it has been imported."""

    def __init__(self, hooks: dict[str, Callable[[ModuleType], None]]) -> None:
        self._hooks = hooks

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._hooks:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(fullname, path, target) if find and finder is not self else None
            if spec is not None:
                loader: Any = spec.loader
                execute = loader.exec_module

                def exec_module(module: ModuleType) -> None:
                    execute(module)
                    self.imported(module)

                loader.exec_module = exec_module
                return spec
        return None

    def imported(self, module: ModuleType) -> None:
        """Call the hook of a module, once."""
        hook = self._hooks.pop(module.__name__, None)
        if hook is not None and _running is not None:
            _quietly(_running, hook)(module)


def _quietly(watcher: Watcher, function: Callable[..., object]) -> Callable[..., None]:
    """A listener that never raises into the application."""

    def listener(*words: Any, **named: Any) -> None:
        try:
            function(*words, **named)
        except Exception as error:
            watcher.failed(error)

    return listener


def _wrap(
    owner: Any,
    name: str,
    before: Callable[..., object] | None = None,
    after: Callable[..., object] | None = None,
) -> None:
    """Call a listener before or after a method, with the method's arguments."""
    own = name in vars(owner)
    method = getattr(owner, name)

    @functools.wraps(method)
    def wrapped(*words: Any, **named: Any) -> Any:
        if before is not None:
            before(*words, **named)
        result = method(*words, **named)
        if after is not None:
            after(*words, **named)
        return result

    setattr(owner, name, wrapped)

    def undo() -> None:
        if own:
            setattr(owner, name, method)
        else:
            delattr(owner, name)

    _undo.append(undo)


# -- SQLAlchemy ------------------------------------------------------------------------------------


def _engines(watcher: Watcher, module: Any) -> None:
    """Engines, their pools and their connections."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    def made(engine: Any, sync_engine: Any, *_: Any, **__: Any) -> None:
        dialect = sync_engine.dialect
        if dialect not in watcher.owners:
            _know(watcher, dialect, place())

    def connected(dbapi_connection: Any, record: Any) -> None:
        driver = _driver(dbapi_connection)
        if driver is not None:
            known = watcher.thing(driver)
            if known is None:
                known = watcher.born(driver, "connection")
            known.what = "connection"
            # Until its first use says whose it is: this is SQLAlchemy's own.
            known.owner = known.owner or Owner("engine", "")

    def checked_out(dbapi_connection: Any, *_: Any) -> None:
        watcher.checked_out(_driver(dbapi_connection))

    def checked_in(dbapi_connection: Any, record: Any) -> None:
        watcher.checked_in(_driver(dbapi_connection))

    def closing(dbapi_connection: Any, record: Any) -> None:
        watcher.used(watcher.thing(_driver(dbapi_connection)), "close", NOTE)

    def thing_of(connection: Any) -> Thing | None:
        driver = _driver(connection.connection.dbapi_connection)
        thing = watcher.thing(driver) or _late(watcher, driver)
        if thing is not None and (thing.owner is None or not thing.owner.driver):
            dialect = connection.dialect
            # An engine from before the watcher: its line is not known.
            thing.owner = watcher.owners.get(dialect) or _know(watcher, dialect, "")
        return thing

    def executing(connection: Any, *_: Any) -> None:
        watcher.used(thing_of(connection), "a query")

    def ending(act: str) -> Callable[[Any], None]:
        def end(connection: Any) -> None:
            if connection.invalidated or connection.closed:
                return  # to ask for its driver's would connect again, or fail
            dbapi = connection.connection.dbapi_connection
            # Without a transaction the driver has nothing to say to the server.
            if getattr(dbapi, "_transaction", dbapi) is not None:
                watcher.used(thing_of(connection), act)

        return end

    _wrap(module.AsyncEngine, "__init__", after=_quietly(watcher, made))
    for target, name, function in (
        (Pool, "connect", connected),
        (Pool, "checkout", checked_out),
        (Pool, "checkin", checked_in),
        (Pool, "close", closing),
        (Engine, "before_cursor_execute", executing),
        (Engine, "commit", ending("commit")),
        (Engine, "rollback", ending("rollback")),
    ):
        listener = _quietly(watcher, function)
        event.listen(target, name, listener)
        _undo.append(functools.partial(event.remove, target, name, listener))


def _know(watcher: Watcher, dialect: Any, made_at: str) -> Owner:
    """Remember an engine by its dialect, which engines with other options share."""
    name = f"{dialect.name}+{dialect.driver}"
    owner = watcher.owners[dialect] = Owner("engine", made_at, name, dialect.driver in LENIENT)
    if not getattr(dialect, "is_async", False):
        return owner

    # The ping precedes "checkout", and no event tells of one that fails with anything but a
    # database error.
    def pinging(dbapi_connection: Any) -> None:
        driver = _driver(dbapi_connection)
        thing = watcher.thing(driver) or _late(watcher, driver)
        if thing is not None:
            thing.owner = owner
        watcher.used(thing, "the ping before a checkout")

    # The dialect must not hold itself: engines go with their last reference.
    weak, ping, listener = weakref.ref(dialect), type(dialect).do_ping, _quietly(watcher, pinging)

    def do_ping(dbapi_connection: Any) -> Any:
        listener(dbapi_connection)
        return ping(weak(), dbapi_connection)

    if "do_ping" not in vars(dialect):
        dialect.do_ping = do_ping
    return owner


def know(engine: Any) -> None:
    """Watch an engine that was made before the watcher."""
    watcher = _running
    if watcher is not None and engine.sync_engine.dialect not in watcher.owners:
        _know(watcher, engine.sync_engine.dialect, "")


def _driver(dbapi_connection: Any) -> Any:
    """The driver's own connection; None for a driver without asyncio."""
    if not hasattr(dbapi_connection, "run_async") and not hasattr(dbapi_connection, "await_"):
        return None
    return getattr(dbapi_connection, "driver_connection", None)


def _late(watcher: Watcher, driver: Any) -> Thing | None:
    """What can be told of a connection from before the watcher: asyncpg's know their loop."""
    loop = getattr(driver, "_loop", None)
    return None if loop is None else watcher.met(driver, "connection", None, loop)


def _sessions(watcher: Watcher, module: Any) -> None:
    """Session objects: where they are made."""
    _wrap(
        module.AsyncSession,
        "__init__",
        after=_quietly(watcher, lambda session, *_, **__: watcher.session(session)),
    )


# -- asyncpg and psycopg_pool ----------------------------------------------------------------------


def _asyncpg_connections(watcher: Watcher, module: Any) -> None:
    """Connections of asyncpg, with SQLAlchemy or without."""

    def made(connection: Any, *_: Any, **__: Any) -> None:
        watcher.born(connection, "connection")

    def used(connection: Any, *_: Any, **__: Any) -> None:
        holder = getattr(connection._proxy, "_holder", None)
        pool = watcher.thing(getattr(getattr(holder, "_pool", None), "_queue", None))
        watcher.used(pool or watcher.thing(connection), "a query")

    _wrap(module.Connection, "__init__", after=_quietly(watcher, made))
    for name in ("execute", "_execute", "_executemany", "_prepare"):
        if name in vars(module.Connection):
            _wrap(module.Connection, name, before=_quietly(watcher, used))


def _asyncpg_pools(watcher: Watcher, module: Any) -> None:
    """asyncpg's own pools, known by their queue: a pool itself takes no weak reference."""

    def made(pool: Any) -> None:
        if watcher.thing(pool._queue) is None:
            owner = Owner("asyncpg.Pool", place())
            watcher.born(pool._queue, "asyncpg.Pool", owner)
            for holder in pool._holders:
                connection = watcher.thing(holder._con)
                if connection is not None:
                    connection.owner = owner

    def used(act: str, severity: str = ERROR) -> Callable[..., None]:
        def use(pool: Any, *_: Any, **__: Any) -> None:
            watcher.used(watcher.thing(pool._queue), act, severity)

        return _quietly(watcher, use)

    initialise = module.Pool._async__init__

    def starting(pool: Any) -> None:
        # One that is made before any loop runs takes a loop that will not run it, and fails here.
        if pool._queue is None and pool._loop is not asyncio._get_running_loop():
            bound = watcher.loop_of(pool._loop, "a loop that does not run")
            moment = replace(watcher.moment(), loop=bound)
            thing = Thing("asyncpg.Pool", moment, Owner("asyncpg.Pool", moment.place))
            watcher.used(thing, "the start")

    @functools.wraps(initialise)
    async def initialised(pool: Any) -> Any:
        _quietly(watcher, starting)(pool)
        result = await initialise(pool)
        _quietly(watcher, made)(pool)
        return result

    module.Pool._async__init__ = initialised
    _undo.append(lambda: setattr(module.Pool, "_async__init__", initialise))
    _wrap(module.Pool, "_acquire", before=used("acquire"))
    _wrap(module.Pool, "release", before=used("release"))
    _wrap(module.Pool, "close", before=used("close", NOTE))  # without open connections it passes


def _psycopg_pools(watcher: Watcher, module: Any) -> None:
    """psycopg_pool's pools: lock, queue and workers live on the loop that opens them."""
    kind = module.AsyncConnectionPool

    def opened(pool: Any, *_: Any, **__: Any) -> None:
        if asyncio._get_running_loop() is not None and (
            watcher.thing(pool) is None or getattr(pool, "closed", False)
        ):
            watcher.born(pool, "psycopg_pool", Owner("psycopg_pool", place()))

    def used(act: str, severity: str = MAYBE) -> Callable[..., None]:
        return _quietly(
            watcher, lambda pool, *_, **__: watcher.used(watcher.thing(pool), act, severity)
        )

    _wrap(kind, "_open" if hasattr(kind, "_open") else "open", before=_quietly(watcher, opened))
    for name in ("getconn", "putconn", "close"):
        _wrap(kind, name, before=used(name))


# -- asyncio's primitives --------------------------------------------------------------------------


def _primitives(watcher: Watcher) -> None:
    """Locks, queues, events: they bind to the loop of the first one that has to wait."""
    bound: Any = mixins._LoopBoundMixin

    def made(primitive: Any, *_: Any, **__: Any) -> None:
        primitive.__dict__[_MADE_AT] = place()
        maker = sys._getframe(3)
        if library := module_of(maker):
            primitive.__dict__[_MADE_OF] = library
        # The queue of SQLAlchemy's pool: who waits in it may be a task without the pool's frames.
        if maker.f_code.co_filename.endswith(_POOL_QUEUE_FILE):
            pool = held_by("AsyncAdaptedQueuePool")
            if pool is not None:
                primitive.__dict__[_MADE_BY] = watcher.owners.get(pool._dialect)

    for name in ("Lock", "Event", "Condition", "Semaphore", "Barrier", "Queue"):
        kind = getattr(asyncio, name, None)
        if kind is not None:
            _wrap(kind, "__init__", after=_quietly(watcher, made))

    get_loop = bound._get_loop

    def what(primitive: Any) -> tuple[str, Owner]:
        engine = primitive.__dict__.get(_MADE_BY)
        if engine is not None:
            return POOL_QUEUE, engine
        name = type(primitive).__name__
        library = primitive.__dict__.get(_MADE_OF)
        what = f"asyncio.{name} of {library}" if library else f"asyncio.{name}"
        return what, Owner(name, primitive.__dict__.get(_MADE_AT, ""))

    def binds(primitive: Any) -> None:
        watcher.born(primitive, *what(primitive))

    def crosses(primitive: Any) -> None:
        thing = watcher.thing(primitive)
        if thing is None:  # it was bound before the watcher came
            thing = watcher.met(primitive, *what(primitive), primitive._loop)
        outer = watcher.thing(held_by("AsyncConnectionPool"))  # psycopg_pool's own locks
        watcher.bound_elsewhere(outer or thing, "a wait")

    def _get_loop(self: Any) -> Any:
        if self._loop is None:
            loop = get_loop(self)
            if loop is not None:
                _quietly(watcher, binds)(self)
            return loop
        try:
            return get_loop(self)
        except RuntimeError:
            _quietly(watcher, crosses)(self)
            raise

    bound._get_loop = _get_loop
    _undo.append(lambda: setattr(bound, "_get_loop", get_loop))


_HOOKS: dict[str, Callable[[Watcher, Any], None]] = {
    "sqlalchemy.ext.asyncio.engine": _engines,
    "sqlalchemy.ext.asyncio.session": _sessions,
    "asyncpg.connection": _asyncpg_connections,
    "asyncpg.pool": _asyncpg_pools,
    "psycopg_pool.pool_async": _psycopg_pools,
}
