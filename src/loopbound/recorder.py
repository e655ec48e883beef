"""Watch loops, pooled connections and their uses; give back plain records of what happened.

A `Recorder` listens: it changes no outcome and keeps no connection alive. What it
returns is a list of `Event` in the order in which things happened, which the figures
draw and a reader can print.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from loopbound import loops

__all__ = [
    "CLOSED",
    "DIFFERENT",
    "IN_PROGRESS",
    "OK",
    "Event",
    "Recorder",
    "symptom_in",
    "symptom_of",
]

OK = "ok"
DIFFERENT = "different loop"
IN_PROGRESS = "operation in progress"
CLOSED = "loop closed"

# The wordings of asyncio's Task, Lock and gather, of asyncpg, and of a closed loop: one fault,
# several messages.
_WORDINGS = (
    ("attached to a different loop", DIFFERENT),
    ("bound to a different event loop", DIFFERENT),
    ("future belongs to a different loop", DIFFERENT),
    ("another operation is in progress", IN_PROGRESS),
    ("Event loop is closed", CLOSED),
)


def symptom_of(error: BaseException | None) -> str:
    """The symptom that an exception shows: "ok" for None, one of this module's constants, else its
    type's name.
    """
    return OK if error is None else symptom_in(type(error).__name__, str(error))


def symptom_in(type_name: str, text: str) -> str:
    """`symptom_of` for an error of which only the type's name and the text are at hand."""
    for wording, symptom in _WORDINGS:
        if wording in text:
            return symptom
    return type_name


@dataclass(frozen=True)
class Event:
    """One thing that happened, as plain data.

    kind
        "loop opened", "loop closed"; "born", "used", "returned", "gone" of a thing
        (a connection, or what `Recorder.born` was given); "logged" for a line that
        SQLAlchemy's pool or asyncio logged; "warned" for a Python warning; "failed" for a
        step's error that no thing explains.
    at
        Position in the recording, from 0.
    loop
        Name of the loop it happened on, "" outside any loop.
    thing, born_on
        The thing's name and the name of its loop of birth, or "".
    symptom
        "ok", "different loop", "operation in progress", "loop closed" or an exception's type name.
    step
        Name of the step or task.
    text
        First line of the error, or of the log message.
    """

    at: int
    kind: str
    loop: str
    thing: str = ""
    born_on: str = ""
    symptom: str = OK
    step: str = ""
    text: str = ""


@dataclass
class _Thing:
    name: str
    born_on: str
    gone: bool = False
    open_use: int | None = None  # index of the "used" event whose outcome is still open


class Recorder:
    """Record what happens to the connections of some engines, on every loop, until `stop`.

    >>> log = Recorder(engine)
    >>> A.run(ask(engine)); B.run(ask(engine))
    >>> log.stop().events
    [Event(at=0, kind='loop opened', loop='A', …), …]

    Also a context manager. A `NamedLoop`'s steps are seen without being asked for.
    While it runs, the loggers `sqlalchemy.pool` and `asyncio` write into the recording rather
    than to stderr, and so do Python's warnings: a connection that is collected after its loop
    has died gives several. `asides` lists them.
    """

    def __init__(self, *engines: AsyncEngine) -> None:
        self._events: list[Event] = []
        self._lock = threading.RLock()
        # Weak keys everywhere: a recording must not be the reason why a connection lives.
        self._things: weakref.WeakKeyDictionary[Any, _Thing] = weakref.WeakKeyDictionary()
        self._counts: dict[str, int] = {}
        self._seen: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._last_used: dict[str, _Thing] = {}  # loop name -> thing used last in the running step
        self._threads_before = weakref.WeakSet(threading.enumerate())
        self._stopped = False
        self._stack = contextlib.ExitStack()
        loops.forget_names()
        loops.step_listeners.append(self._on_step)
        self._stack.callback(loops.step_listeners.remove, self._on_step)
        for logger in ("sqlalchemy.pool", "asyncio"):
            self._stack.enter_context(_log_to(self._on_log, logger))
        self._stack.enter_context(_warnings_to(self._on_warning))
        for engine in engines:
            self.watch(engine)

    # -- what a lesson calls -------------------------------------------------

    @property
    def events(self) -> list[Event]:
        """What has happened so far, oldest first."""
        with self._lock:
            return list(self._events)

    @property
    def asides(self) -> list[str]:
        """What was logged or warned meanwhile, each text once, sorted, without addresses and file
        descriptors.

        When a dead connection is collected is up to the garbage collector: complete after `stop`.
        """
        texts = (e.text for e in self.events if e.kind in ("logged", "warned"))
        return sorted({re.sub(r" (object )?at 0x[0-9a-fA-F]+| fd=\d+", "", text) for text in texts})

    def watch(self, engine: AsyncEngine) -> None:
        """Record another engine too."""
        sync = engine.sync_engine
        for target, name, listener in (
            (sync, "connect", self._on_connect),
            (sync, "checkout", self._on_checkout),
            (sync, "checkin", self._on_checkin),
            (sync, "invalidate", self._on_gone),
            (sync, "close", self._on_gone),
            (sync, "close_detached", self._on_gone),
            (sync, "handle_error", self._on_error),
        ):
            event.listen(target, name, listener)
            self._stack.callback(event.remove, target, name, listener)
        # `pool_pre_ping` pings before "checkout" is announced, and SQLAlchemy has no event
        # for a ping that fails with anything but a database error. So the dialect's
        # own method is wrapped, on this engine alone, and put back by `stop`.
        dialect: Any = sync.dialect
        ping = dialect.do_ping

        def watched_ping(dbapi_connection: Any) -> bool:
            thing = self._thing_of(dbapi_connection)
            try:
                alive = ping(dbapi_connection)
            except BaseException as error:
                if thing is not None:
                    self._add("used", thing, symptom_of(error), _first_line(error))
                raise
            return alive

        dialect.do_ping = watched_ping
        self._stack.callback(lambda: dialect.__dict__.pop("do_ping", None))

    def born(self, thing: Any, kind: str) -> Any:
        """Record that `thing` (a future, a lock, …) was made on the running loop; returns it."""
        with self._lock:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            self._things[thing] = _Thing(f"{kind} {number}", self._loop_name())
            self._add("born", self._things[thing])
        return thing

    @contextlib.contextmanager
    def use(self, thing: Any) -> Iterator[None]:
        """Around a use of `thing` inside a coroutine: records on which loop, and how it ended."""
        known = self._things[thing]
        try:
            yield
        except BaseException as error:
            self._add("used", known, symptom_of(error), _first_line(error))
            raise
        self._add("used", known)

    def gone(self, thing: Any) -> None:
        """Record that `thing` is no longer of use."""
        self._discard(self._things.get(thing))

    def stop(self) -> Recorder:
        """Stop listening and put everything back. Stopping twice does nothing."""
        if not self._stopped:
            self._stopped = True
            # What this recording has orphaned gives its warnings now, not in a later cell. A thread
            # that waits for a child process (Python 3.11 has one for each) still holds its
            # transport; one from before the recording is not the recording's, and may wait for
            # long.
            for thread in threading.enumerate():
                if "waitpid" in thread.name and thread not in self._threads_before:
                    thread.join(5)
            gc.collect()
            self._stack.close()
        return self

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Recorder: {len(self.events)} events>"

    # -- listeners -------------------------------------------------------------

    def _on_step(
        self, loop: asyncio.AbstractEventLoop, phase: str, step: str, error: BaseException | None
    ) -> None:
        name = loops.name_of(loop)
        with self._lock:
            if phase == "begin":
                self._saw(loop)
                self._last_used.pop(name, None)
            elif phase == "closed":
                if loop in self._seen:
                    self._append("loop closed", name)
            elif error is not None:
                self._settle(self._last_used.get(name), error, name, step)

    def _on_connect(self, dbapi_connection: Any, record: Any) -> None:
        self.born(dbapi_connection.driver_connection, "connection")

    def _on_checkout(self, dbapi_connection: Any, record: Any, proxy: Any) -> None:
        thing = self._thing_of(dbapi_connection)
        if thing is not None:
            with self._lock:
                self._add("used", thing)
                thing.open_use = len(self._events) - 1
                self._last_used[self._loop_name()] = thing

    def _on_checkin(self, dbapi_connection: Any, record: Any) -> None:
        thing = None if dbapi_connection is None else self._thing_of(dbapi_connection)
        if thing is not None and not thing.gone:
            self._add("returned", thing)

    def _on_gone(self, dbapi_connection: Any, *_: Any) -> None:
        self._discard(self._thing_of(dbapi_connection))

    def _on_error(self, context: Any) -> None:
        connection = context.connection
        if connection is None or context.original_exception is None:
            return
        thing = (
            self._thing_of(connection.connection.dbapi_connection)
            if not connection.invalidated
            else None
        )
        self._settle(thing, context.original_exception, self._loop_name(), self._task_name())

    def _on_log(self, message: str) -> None:
        self._append("logged", self._loop_name(), step=self._task_name(), text=message)

    def _on_warning(self, text: str) -> None:
        self._append("warned", "", text=text)

    # -- bookkeeping -------------------------------------------------------------

    def _settle(self, thing: _Thing | None, error: BaseException, loop: str, step: str) -> None:
        """An error has surfaced on `loop`: give it to the use that it explains, once."""
        with self._lock:
            symptom, text = symptom_of(error), _first_line(error)
            if thing is None:
                if not any(e.text == text and e.loop == loop for e in self._events):
                    self._append("failed", loop, symptom=symptom, step=step, text=text)
                return
            if thing.open_use is not None:
                old = self._events[thing.open_use]
                if old.loop == loop and old.symptom == OK:
                    self._events[thing.open_use] = replace(old, symptom=symptom, text=text)
                thing.open_use = None

    def _discard(self, thing: _Thing | None) -> None:
        if thing is not None and not thing.gone:
            thing.gone = True
            self._add("gone", thing)

    def _add(self, kind: str, thing: _Thing, symptom: str = OK, text: str = "") -> None:
        with self._lock:
            # The loop's name first: asking for it may record that the loop was seen.
            loop = self._loop_name()
            self._append(kind, loop, thing.name, thing.born_on, symptom, self._task_name(), text)

    def _append(self, kind: str, loop: str, *more: str, **named: str) -> None:
        with self._lock:
            self._events.append(Event(len(self._events), kind, loop, *more, **named))

    def _thing_of(self, dbapi_connection: Any) -> _Thing | None:
        driver = getattr(dbapi_connection, "driver_connection", None)
        return None if driver is None else self._things.get(driver)

    def _saw(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop not in self._seen:
            self._seen.add(loop)
            self._append("loop opened", loops.name_of(loop))

    def _loop_name(self) -> str:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return ""
        self._saw(loop)
        return loops.name_of(loop)

    @staticmethod
    def _task_name() -> str:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return ""
        return "" if task is None else task.get_name()


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


@contextlib.contextmanager
def _log_to(receive: Callable[[str], None], name: str) -> Iterator[None]:
    """Send one logger's records to `receive`, so that none reaches stderr meanwhile."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage().splitlines()[0]
            if record.exc_info and record.exc_info[1] is not None:
                message += f" ({_first_line(record.exc_info[1])})"
            receive(message)

    logger, handler = logging.getLogger(name), Handler()
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


@contextlib.contextmanager
def _warnings_to(receive: Callable[[str], None]) -> Iterator[None]:
    """Send Python's warnings to `receive`, each of them, whatever the filters say."""

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        receive(f"{category.__name__}: {str(message).splitlines()[0]}")

    def unraisable(found: Any) -> None:
        # Where the garbage collector begins inside a namedtuple's __new__, which has no builtins,
        # CPython cannot import `warnings` to say that a coroutine was never awaited. Since 3.14
        # the coroutine stands in the message only.
        named = re.search(r"<coroutine object (\S+) at", f"{found.err_msg} {found.object!r}")
        if named and str(found.exc_value) == "'__import__'":
            show(f"coroutine '{named[1]}' was never awaited", RuntimeWarning)
        else:
            before(found)

    before, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    finally:
        sys.unraisablehook = before
